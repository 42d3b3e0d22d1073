package discovery

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// The index against a map: random additions over months, merged many times.
func TestWaitingAgainstModel(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Waiting = 50 })
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	type pair struct {
		n short
		a store.AccountID
	}
	model := make(map[pair]int64) // → month
	pool := make([]short, 3000)
	for i := range pool {
		pool[i] = short(r.Uint64())
		if i%10 == 0 {
			pool[i] = pool[0]&^0xffff_ffff_ffff | pool[i]&0xffff_ffff_ffff // crowded in one place
		}
	}
	month := func() int64 { return w.now().UnixMilli() / waitMonth.Milliseconds() }
	for step := range 400 {
		var add []waitEntry
		for range 1 + r.IntN(80) {
			e := waitEntry{pool[r.IntN(len(pool))], store.AccountID(1 + r.IntN(40) + r.IntN(2)<<33)}
			add = append(add, e)
			model[pair{e.n, e.account}] = month()
		}
		w.must(w.d.waiting.add(context.Background(), add))
		if step%40 == 0 {
			w.later(20 * day)
		}
	}
	// Numbers with equal first four bytes are one to the index.
	for _, n := range pool {
		var expect []store.AccountID
		for k, m := range model {
			if k.n>>32 == n>>32 && month()-m <= int64(w.d.waiting.keep) {
				expect = append(expect, k.a)
			}
		}
		slices.Sort(expect)
		got, err := w.d.waiting.find(n)
		w.must(err)
		want(t, fmt.Sprintf("who waits for %x", n), got, slices.Compact(expect))
	}
	rows, err := w.store.Rows(tableWaiting, "", "", "", 1<<20)
	w.must(err)
	total, level := 0, byte(0)
	for _, row := range rows {
		total += len(row.Value) / waitRecord
		level = max(level, row.Key[0])
		if row.Expires == 0 {
			t.Fatal("a row that does not end")
		}
	}
	if level < 2 || total > 3*len(model) {
		t.Fatalf("%d levels, %d records for %d", level, total, len(model))
	}
	w.later(400 * day)
	n, err := w.store.SweepRows(context.Background(), w.now().UnixMilli(), 1<<20)
	w.must(err)
	if n == 0 {
		t.Fatal("nothing has ended")
	}
}

// A number that everybody has does not make the index grow without bound, and not everybody is told.
func TestWaitingForOneNumberIsBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Waiting = 20 })
	hot := short(0xfeed_beef_0000_0001)
	for i := range 16 * 16 * 4 {
		w.must(w.d.waiting.add(context.Background(), []waitEntry{{hot, store.AccountID(1 + i)}}))
	}
	list, err := w.d.waiting.find(hot)
	w.must(err)
	if len(list) > 20*(waitLevels+1)*waitRows || len(list) < 20 {
		t.Fatalf("%d wait", len(list))
	}
	people := w.users(60)
	for _, p := range people {
		w.full(p, 100)
	}
	w.settle()
	u, err := w.store.CreateAccount(context.Background(), store.Account{Name: "star"})
	w.must(err)
	w.discovery(u.ID, graph.DiscoveryAnyone)
	w.number(u.ID, 100)
	w.settle()
	told := 0
	for _, p := range people {
		if w.notices(p) != "" {
			told++
		}
	}
	want(t, "told", told, 20)
}

// The packed book against a map, over several chunks.
func TestBookAgainstModel(t *testing.T) {
	w := newWorld(t)
	alice := w.user("alice", -1)
	r := rand.New(rand.NewPCG(3, 4))
	model := make(map[short]tag)
	for round := range 12 {
		b, err := w.d.readBook(alice)
		w.must(err)
		var add []entry
		for range 1500 {
			e := entry{short(r.Uint64()), tag(r.IntN(1 << 16))}
			if _, ok := model[e.n]; !ok {
				add, model[e.n] = append(add, e), e.tag
			}
		}
		slices.SortFunc(add, compareEntries)
		b.addAll(add)
		if round == 6 {
			b.drop()
			for n, t := range model {
				if t&tagGone != 0 {
					delete(model, n)
				}
			}
		}
		w.must(w.store.Update(context.Background(), store.Update{Owner: store.OwnerOf(alice), Rows: b.puts(w.now().Add(day).UnixMilli())}))
	}
	n := 0
	for key, is := range model {
		got, ok, err := w.d.tagIn(alice, key)
		w.must(err)
		want(t, "tag", say(got, ok), say(is, true))
		if n++; n%500 == 0 {
			put, changed, err := w.d.retag(alice, key, func(t tag) tag { return t ^ 1 })
			w.must(err)
			want(t, "changed", changed, true)
			w.must(w.store.Update(context.Background(), store.Update{Owner: store.OwnerOf(alice), Rows: []store.RowPut{put}}))
			model[key] ^= 1
			got, _, err = w.d.tagIn(alice, key)
			w.must(err)
			want(t, "retagged", got, model[key])
		}
	}
	for range 1000 {
		if _, ok, err := w.d.tagIn(alice, short(r.Uint64())); ok || err != nil {
			t.Fatal("found what is not there", err)
		}
	}
	b, err := w.d.readBook(alice)
	w.must(err)
	want(t, "entries", len(b.entries), len(model))
	want(t, "chunks", b.stored, 4)
}

// A crash at any moment of telling somebody leaves work that is done again, and one notice.
func TestWorkIsRepeatable(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user("alice", 1), w.user("bob", 2)
	w.settle()
	w.full(alice, 2)
	w.settle()
	r := Request{Account: bob, Region: "KR", Numbers: []string{num(1)}}
	w.sync(r)
	w.settle()
	want(t, "told", w.notices(alice), "bob"+joinedText)
	// As after a crash between the notice and the address book.
	put, changed, err := w.d.retag(alice, shortOf(w.hash(2)), func(tag) tag { return 0 })
	w.must(err)
	want(t, "forgotten", changed, true)
	w.must(w.store.Update(context.Background(), store.Update{Owner: store.OwnerOf(alice), Rows: []store.RowPut{put}}))
	w.must(w.store.Update(context.Background(), store.Update{Owner: store.OwnerOf(bob),
		Rows: []store.RowPut{{Table: tableNew, Key: "again", Value: pack(netip.Prefix{}, []phone.Hash{w.hash(1)})}}}))
	w.close()
	w.open()
	w.settle()
	want(t, "told again", w.notices(alice), "")
	got, _, err := w.d.tagIn(alice, shortOf(w.hash(2)))
	w.must(err)
	want(t, "remembered", got.told(bob), true)
	rows, err := w.store.AllRows(tableNew, "", "", 0)
	w.must(err)
	want(t, "queue", len(rows), 0)
}

// One damaged row does not stop the others for ever, and is counted.
func TestDamagedRows(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user("alice", 1), w.user("bob", 2)
	w.settle()
	w.must(w.store.Update(context.Background(), store.Update{Owner: store.OwnerOf(alice), Rows: []store.RowPut{{Table: tableNew, Key: "x", Value: []byte{9}}}}))
	w.must(w.store.Update(context.Background(), store.Update{Owner: store.OwnerOf(alice), Rows: []store.RowPut{{Table: tableSlow, Key: "x", Value: []byte{9}}}}))
	w.must(w.store.Update(context.Background(), store.Update{Owner: store.OwnerOf(alice), Rows: []store.RowPut{{Table: tableJoined, Value: []byte{9}}}}))
	w.full(alice, 2, 5)
	w.full(bob, 1)
	w.settle()
	want(t, "alice", w.notices(alice), "bob"+joinedText)
	for _, table := range []store.Table{tableNew, tableSlow, tableJoined} {
		rows, err := w.store.AllRows(table, "", "", 0)
		w.must(err)
		want(t, string(table), len(rows), 0)
	}
	list, err := w.d.waiting.find(shortOf(w.hash(5)))
	w.must(err)
	want(t, "waits", list, []store.AccountID{alice})
}

func TestNetworks(t *testing.T) {
	for in, out := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48",
	} {
		want(t, in, networkOf(netip.MustParseAddr(in)), out)
	}
	want(t, "none", networkOf(netip.Addr{}).IsValid(), false)
}

// A tag keeps apart whom a number belonged to, within its 14 bits.
func TestTags(t *testing.T) {
	same := 0
	for a := store.AccountID(1); a < 20_000; a++ {
		if tagOf(a) == 0 || tagOf(a)&^tagWho != 0 {
			t.Fatalf("tag of %v: %x", a, tagOf(a))
		}
		if tagOf(a).told(a + 1) {
			same++
		}
	}
	if same > 20 {
		t.Fatalf("%d neighbours have one tag", same)
	}
}

func FuzzRows(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 1})
	f.Add([]byte{1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f.Add(pack(netip.MustParsePrefix("192.0.2.0/24"), make([]phone.Hash, 2)))
	f.Add([]byte{1, 200, 'x'})
	f.Add(append([]byte{1, 254}, make([]byte, 300)...)) // the longest network's length, plus two, is no byte
	f.Add((&friendList{seq: 9, floor: 2, friends: []friendState{{7, 1, 3}, {300, 2, 9}}, removed: []friendState{{8, 0, 4}}}).encode())
	f.Add([]byte{1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := chunkLen(b); err == nil && n != (len(b)-2)/10 {
			t.Fatal(n)
		}
		if n, list, err := unpack(b); err == nil {
			again, same, err := unpack(pack(n, list))
			if err != nil || again != n || !slices.Equal(same, list) {
				t.Fatal(n, list, err)
			}
		}
		if l, err := decodeFriends(b); err == nil {
			again, err := decodeFriends(l.encode())
			if err != nil || !bytes.Equal(again.encode(), l.encode()) {
				t.Fatal(l, err)
			}
		}
		if len(b) >= 8 {
			_ = chunkOf(short(binary.BigEndian.Uint64(b)), 8)
		}
	})
}

// Tokens from anywhere are the beginning, never an error.
func FuzzFriendsToken(f *testing.F) {
	w := newWorld(f)
	alice := w.user("alice", -1)
	for _, s := range []string{"", "0", "1.0.0", "1.1.zzzzzzzzzzzzz", "..", "1.2.3.4", "1.-1.0", "😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := w.d.FriendsSince(context.Background(), alice, token, 10); err != nil {
			t.Fatal(err)
		}
	})
}

// A client that keeps a list by its changes has the list, however often it asks and whatever happens meanwhile.
func TestFriendsSinceAgainstModel(t *testing.T) {
	w := newWorld(t)
	me := w.user("me", -1)
	r := rand.New(rand.NewPCG(5, 6))
	people := w.users(60)
	mirror, token := map[string]string{}, FriendsBegin
	pull := func() {
		for {
			c, err := w.d.FriendsSince(context.Background(), me, token, 7)
			w.must(err)
			if c.Full {
				clear(mirror)
			}
			for _, n := range c.Removed {
				delete(mirror, n)
			}
			for _, f := range c.Friends {
				mirror[f.Account.Name] = say(f.Account.Shown(), f.Favourite)
			}
			token = c.Token
			if !c.More {
				return
			}
		}
	}
	for step := range 120 {
		for range 1 + r.IntN(6) {
			p := people[r.IntN(len(people))]
			switch r.IntN(4) {
			case 0, 1:
				_, err := w.graph.SetFriend(context.Background(), me, p, r.IntN(2) == 0, 0)
				w.must(err)
			case 2:
				friend, err := w.store.HasEdge(store.EdgeFriend, me, p)
				w.must(err)
				if friend {
					w.must(w.graph.ChangeRelation(context.Background(), me, p, func(r *graph.Relation) ([]store.EdgePut, error) {
						r.Favourite = !r.Favourite
						return nil, nil
					}))
				}
			case 3:
				u, err := w.store.Account(p)
				w.must(err)
				u.Display = fmt.Sprint("name ", step)
				w.must(w.store.SetAccount(context.Background(), u))
			}
		}
		pull()
		now, err := w.d.friendsNow(me)
		w.must(err)
		want(t, "size", len(mirror), len(now))
		for _, f := range now {
			want(t, f.Account.Name, mirror[f.Account.Name], say(f.Account.Shown(), f.Favourite))
		}
	}
	before := token
	pull()
	want(t, "nothing changed", token, before)
	want(t, "unknown tokens begin again", func() bool {
		c, err := w.d.FriendsSince(context.Background(), me, "zz.1.1", 1000)
		w.must(err)
		return c.Full && len(c.Friends) == len(mirror)
	}(), true)
}

func TestCloseWithoutWork(t *testing.T) {
	w := newWorld(t)
	w.later(time.Hour)
	w.must(w.d.Close())
}
