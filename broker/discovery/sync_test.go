package discovery

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const joinedText = ", one of your contacts, has joined"

func TestMutual(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user("alice", 1), w.user("bob", 2)
	want(t, "bob does not have alice", w.full(alice, 2, 3), "")
	w.settle()
	want(t, "bob finds alice", w.full(bob, 1), "alice*")
	w.settle()
	want(t, "and alice is told", w.notices(alice), "bob"+joinedText)
	want(t, "bob's own devices", w.notices(bob), "Your friends have changed")
	want(t, "friends", w.friends(alice)+" / "+w.friends(bob), "bob / alice")
	want(t, "again", w.full(alice, 2, 3), "bob*")
	w.settle()
	want(t, "no second notice", w.notices(alice)+w.notices(bob), "")

	// A friend who was removed stays removed.
	_, err := w.store.SetEdge(context.Background(), store.EdgeFriend, alice, bob, false, 0)
	w.must(err)
	want(t, "not a friend", w.full(alice, 2), "bob")
	w.settle()
	want(t, "friends", w.friends(alice)+w.notices(alice), "")
}

func TestAnyoneAndOff(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.user("alice", 1), w.user("bob", 2), w.user("carol", 3)
	dave := w.user("dave", -1) // without a number of its own
	w.discovery(bob, graph.DiscoveryAnyone)
	w.discovery(carol, graph.DiscoveryOff)
	want(t, "carol has alice", w.full(carol, 1), "")
	want(t, "alice finds", w.full(alice, 2, 3), "bob*")
	want(t, "dave finds", w.full(dave, 1, 2, 3), "bob*")
	w.settle()
	want(t, "carol is told of alice, which has its number", w.notices(carol), "alice"+joinedText)
	want(t, "nobody is told of carol", w.notices(alice)+"/"+w.notices(bob), "Your friends have changed/")
	w.discovery(bob, graph.DiscoveryOff)
	want(t, "off is off for everybody", w.full(alice, 2, 3), "")
}

func TestJoined(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user("alice", 1), w.user("bob", 2)
	off := false
	w.full(alice, 2, 5, 6, 7)
	w.sync(Request{Account: bob, Region: "KR", Numbers: []string{num(1), num(5), num(6)}, Add: &off})
	w.settle()
	w.notices(alice)
	w.notices(bob)

	// Whoever lets anyone find it.
	u, err := w.store.CreateAccount(context.Background(), store.Account{Name: "open"})
	w.must(err)
	w.discovery(u.ID, graph.DiscoveryAnyone)
	w.number(u.ID, 5)
	w.settle()
	want(t, "alice", w.notices(alice), "open"+joinedText)
	want(t, "bob", w.notices(bob), "open"+joinedText)
	want(t, "alice's friends", w.friends(alice), "bob open")
	want(t, "bob adds none", w.friends(bob), "")

	// By default those are told whose number the new one has, when it has synced.
	carol := w.user("carol", 6)
	w.settle()
	want(t, "nobody yet", w.notices(alice)+w.notices(bob), "")
	want(t, "carol finds", w.full(carol, 1), "alice*")
	w.settle()
	want(t, "alice", w.notices(alice), "carol"+joinedText)
	want(t, "bob", w.notices(bob), "")

	// Another number: who waits for it is told, who knows the account already is not.
	w.full(carol, 1, 2)
	w.settle()
	w.notices(alice)
	w.notices(bob)
	w.number(carol, 7)
	w.settle()
	want(t, "alice waited for that one too", w.notices(alice), "carol"+joinedText)
	want(t, "bob has the old one", w.notices(bob), "")
	if err := w.d.Joined(context.Background(), carol, w.hash(7)); err != nil {
		t.Fatal(err)
	}
	w.settle()
	want(t, "said again", w.notices(alice), "")
}

func TestJoinedIsNotToldAcrossABlock(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user("alice", 1), w.user("bob", 2)
	w.full(alice, 9)
	w.full(bob, 9)
	u, err := w.store.CreateAccount(context.Background(), store.Account{Name: "eve"})
	w.must(err)
	w.discovery(u.ID, graph.DiscoveryAnyone)
	_, err = w.store.SetEdge(context.Background(), store.EdgeBlock, u.ID, alice, true, 0)
	w.must(err)
	_, err = w.store.SetEdge(context.Background(), store.EdgeBlock, bob, u.ID, true, 0)
	w.must(err)
	w.settle()
	w.number(u.ID, 9)
	w.settle()
	want(t, "told", w.notices(alice)+w.notices(bob), "")
	want(t, "asking tells what it would without the block", w.full(alice, 9), "eve*")
	want(t, "who blocks gets no friend", w.full(bob, 9), "eve")
}

// What a user learns by syncing does not change when somebody blocks it, also not somebody who then deletes it.
func TestBlockCannotBeNoticedBySyncing(t *testing.T) {
	trace := func(block bool) string {
		w := newWorld(t)
		alice, bob, carol := w.user("alice", 1), w.user("bob", 2), w.user("carol", 3)
		w.full(bob, 1)
		w.full(carol, 1)
		w.settle()
		out := w.full(alice, 2)
		if block {
			for _, who := range []store.AccountID{bob, carol} {
				_, err := w.graph.SetBlock(context.Background(), who, alice, graph.BlockProfile, false, 0)
				w.must(err)
			}
			w.full(bob, 5)
		}
		w.settle()
		out += "|" + w.full(alice, 2, 3)
		a := w.sync(Request{Account: alice, Region: "KR", Numbers: []string{num(2), num(3)}})
		b := w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Removed: []string{num(2)}})
		c := w.sync(Request{Account: alice, Region: "KR", Token: b.Token, Numbers: []string{num(2), num(4)}})
		w.settle()
		return fmt.Sprint(out, "|", names(a), "|", names(c), "|", w.friends(alice), "|", w.notices(alice))
	}
	without, with := trace(false), trace(true)
	want(t, "with a block", with, without)
	want(t, "found", without[:13], "bob*|bob* car")
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	alice := w.user("alice", 1)
	a := w.sync(Request{Account: alice, Region: "KR", Numbers: nums(10, 20)})
	b := w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Numbers: nums(20, 25), Removed: nums(10, 12)})
	w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Numbers: nums(20, 25), Removed: nums(10, 12)}) // a repeat
	for i, has := range map[int]bool{10: false, 11: false, 12: true, 20: true, 24: true, 25: false} {
		got, err := w.d.has(alice, shortOf(w.hash(i)))
		w.must(err)
		want(t, num(i), got, has)
	}
	for _, token := range []string{"x", b.Token + "0", "000000010000000000000009"} {
		_, err := w.d.Sync(context.Background(), Request{Account: alice, Token: token})
		wantCode(t, token, err, store.CodeConflict)
	}
	c := w.sync(Request{Account: alice, Region: "KR", Numbers: nums(20, 22)}) // everything else is gone
	_, err := w.d.Sync(context.Background(), Request{Account: alice, Token: b.Token})
	wantCode(t, "the token of an earlier address book", err, store.CodeConflict)
	got, err := w.d.has(alice, shortOf(w.hash(12)))
	w.must(err)
	want(t, "left out", got, false)
	_, err = w.d.Sync(context.Background(), Request{Account: alice, Removed: nums(1, 2)})
	wantCode(t, "removed without a token", err, store.CodeBad)
	_, err = w.d.Sync(context.Background(), Request{Account: alice, Region: "XX"})
	wantCode(t, "a region that is none", err, store.CodeBad)
	_, err = w.d.Sync(context.Background(), Request{Account: alice, Numbers: make([]string, 2001)})
	wantCode(t, "too many", err, store.CodeTooLarge)

	// After 90 days all of it is asked for again, after 180 it is gone.
	w.later(91 * day)
	_, err = w.d.Sync(context.Background(), Request{Account: alice, Token: c.Token})
	wantCode(t, "old", err, store.CodeConflict)
	w.later(90 * day)
	book, err := w.d.readBook(alice)
	w.must(err)
	want(t, "forgotten", len(book.entries), 0)
}

func TestNumberFormats(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user("alice", 1), w.user("bob", 2)
	w.discovery(bob, graph.DiscoveryAnyone)
	a := w.sync(Request{Account: alice, Numbers: []string{ // the region is that of alice's own number
		"+82 10 2000 0002", "", "01020000002", "hello", "00 82 10-2000-0002", "010.2000.0001", "+1 (650) 253-0000",
		"123456789012345678901234567890123456789012345678901234567890123456789"}})
	want(t, "bad", a.Bad, "[1 3 4 7]") // in Korea one dials 001, 002 …
	want(t, "found", names(a), "bob* bob*")
	want(t, "indexes", a.Found[0].Number+a.Found[1].Number, 2)
}

// A new account has 1,000 numbers on its first day, 2,000 in ten; then 200 a day, 50 a minute. Known ones are free.
func TestBudget(t *testing.T) {
	w := newWorld(t)
	alice := w.user("alice", 1)
	a := w.sync(Request{Account: alice, Region: "KR", Numbers: nums(100, 1500)})
	want(t, "first day", len(a.Later), 400)
	want(t, "which", a.Later[0], 1000)
	want(t, "when", a.Retry, day)
	w.later(time.Hour)
	b := w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Numbers: nums(1000, 1101)})
	want(t, "one that is new", b.Later, "[100]")
	want(t, "when", b.Retry.Round(time.Second), 23*time.Hour)
	w.later(23 * time.Hour)
	b = w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Numbers: nums(1100, 3000)})
	want(t, "within ten days", len(b.Later), 900)
	want(t, "when", b.Retry.Round(time.Minute), 9*day)
	w.later(9 * day)
	total := 0
	for i := range 8 { // a day
		b = w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Numbers: nums(2100+total, 2200+total)})
		n := 100 - len(b.Later)
		if n > 50 {
			t.Fatalf("%d in a minute", n)
		}
		total += n
		w.later(time.Minute)
		if i == 7 {
			w.later(day - 8*time.Minute)
		}
	}
	want(t, "a day later", total, 200)
	b = w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Numbers: nums(4000, 4100)})
	want(t, "the next day", len(b.Later), 50)
	want(t, "when", b.Retry <= time.Minute && b.Retry > 0, true)
}

func TestRemovedNumbersComeBackForNothing(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.FirstDay = 20 })
	alice := w.user("alice", 1)
	w.sync(Request{Account: alice, Region: "KR", Numbers: nums(100, 120)})
	w.sync(Request{Account: alice, Region: "KR", Numbers: nums(100, 101)})
	a := w.sync(Request{Account: alice, Region: "KR", Numbers: nums(100, 121)})
	want(t, "later", a.Later, "[20]")
	w.sync(Request{Account: alice, Region: "KR", Numbers: nums(100, 101)})
	w.later(11 * day) // now the removed ones are forgotten
	w.sync(Request{Account: alice, Region: "KR", Numbers: nums(100, 101)})
	b, err := w.d.readBook(alice)
	w.must(err)
	want(t, "kept", len(b.entries), 1)
}

func TestBookIsBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Book = 20 })
	alice := w.user("alice", 1)
	a := w.sync(Request{Account: alice, Region: "KR", Numbers: nums(100, 120)})
	_, err := w.d.Sync(context.Background(), Request{Account: alice, Region: "KR", Token: a.Token, Numbers: nums(120, 121)})
	wantCode(t, "full", err, store.CodeFull)
	a = w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Removed: nums(100, 101)})
	w.sync(Request{Account: alice, Region: "KR", Token: a.Token, Numbers: nums(120, 121)}) // removed ones make room
}

// A full list of friends does not keep a contact from being found.
func TestFriendsFull(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Friends = 1 })
	alice := w.user("alice", 1)
	for i := range 3 {
		w.discovery(w.user(fmt.Sprint("b", i), 10+i), graph.DiscoveryAnyone)
	}
	want(t, "found", w.full(alice, 10, 11, 12), "b0 b1 b2")
	want(t, "friends", w.friends(alice), "")
	want(t, "one by one", w.full(w.user("carol", 2), 11), "b1*")
}

// More than 10,000 numbers of a network in a day wait, and what they find comes as notices.
func TestSlowNetwork(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Prefix, c.Limits.SlowRate, c.Limits.SlowMost = 30, 60, 100 })
	people := w.users(200)
	for _, p := range people {
		w.discovery(p, graph.DiscoveryAnyone)
	}
	alice, bob := w.user("alice", 1000), w.user("bob", 1001)
	a := w.sync(Request{Account: alice, Address: network(1), Region: "KR", Numbers: nums(0, 50)})
	want(t, "at once", len(a.Found), 30)
	want(t, "wait", a.Waiting, 20)
	again := w.sync(Request{Account: alice, Address: network(1), Region: "KR", Numbers: nums(0, 50)})
	want(t, "asking again is not faster", say(len(again.Found), again.Waiting), "30 0")
	b := w.sync(Request{Account: bob, Address: network(1), Region: "KR", Numbers: nums(50, 100)})
	want(t, "somebody else there", say(len(b.Found), b.Waiting), "0 50")
	c := w.sync(Request{Account: bob, Address: network(1), Region: "KR", Token: b.Token, Numbers: nums(100, 140)})
	want(t, "the queue is bounded", say(c.Waiting, len(c.Later), c.Retry), "30 10 1h0m0s")
	other := w.sync(Request{Account: bob, Address: network(2), Region: "KR", Token: b.Token, Numbers: nums(150, 160)})
	want(t, "another network", len(other.Found), 10)

	w.settle()
	want(t, "nothing yet", w.notices(bob), "Your friends have changed")
	w.notices(alice)
	w.close() // what waits is durable
	w.open()
	for range 4 {
		w.later(time.Hour)
		w.settle()
	}
	want(t, "friends in the end", len(split(w.friends(alice)))+len(split(w.friends(bob))), 50+50+30+10)
	want(t, "notices", len(split(w.notices(alice)))/len(split("u1"+joinedText)), 20)
	rows, err := w.store.AllRows(tableSlow, "", "", 0)
	w.must(err)
	want(t, "the queue is empty", len(rows), 0)
	w.later(day)
	a = w.sync(Request{Account: alice, Address: network(1), Region: "KR", Token: again.Token, Numbers: nums(160, 170)})
	want(t, "the next day", len(a.Found), 10)
}

// However many sync behind one address at once, and whatever the worker counts meanwhile, as many numbers wait as may.
func TestSlowNetworkAtOnce(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Prefix, c.Limits.SlowRate, c.Limits.SlowMost = 1, 1, 100 })
	people := w.users(40)
	w.settle()
	answers := make([]*Answer, len(people))
	w.must(each(len(people), func(i int) (err error) {
		answers[i], err = w.d.Sync(context.Background(), Request{Account: people[i], Address: network(1), Region: "KR", Numbers: nums(1000+5*i, 1005+5*i)})
		return err
	}))
	waiting, later := 0, 0
	for _, a := range answers {
		waiting += a.Waiting
		later += len(a.Later)
	}
	want(t, "wait, and are to be sent later", say(waiting, later), "100 99")
}

// What the end of the server, or a full disk, keeps from being written is written the next time.
func TestCountsAreWrittenLater(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Prefix = 10 })
	w.settle()
	n := networkOf(network(1))
	_, _, _, err := w.d.prefixes.take(n, 10)
	w.must(err)
	w.d.ratios.mu.Lock()
	w.d.ratios.move("KR", 0, 200)
	w.d.ratios.mu.Unlock()
	ended, end := context.WithCancel(context.Background())
	end()
	if err := w.d.save(ended); err == nil {
		t.Fatal("written")
	}
	w.close()
	w.open()
	now, slow, _, err := w.d.prefixes.take(n, 1)
	w.must(err)
	want(t, "the network has asked for enough", say(now, slow), "0 1")
	w.d.ratios.mu.Lock()
	defer w.d.ratios.mu.Unlock()
	if h := w.d.ratios.by["KR"]; h == nil || h[199] != 1 {
		t.Fatal("the account does not stand where it stood")
	}
}

func TestCarriersNetwork(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Limits.Prefix, c.Limits.Carrier = 10, 50
		c.Carriers = append(c.Carriers, networkOf(network(3)))
	})
	alice := w.user("alice", 1)
	want(t, "waiting", w.sync(Request{Account: alice, Address: network(3), Region: "KR", Numbers: nums(100, 160)}).Waiting, 10)
}

// An account that finds far fewer than its country does learns nothing, and cannot tell.
func TestHitRatio(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Limits.Accounts, c.Limits.Tried, c.Limits.FirstDay = 150, 100, 2000
	})
	people := w.users(151)
	for _, p := range people {
		w.discovery(p, graph.DiscoveryAnyone)
	}
	for i, p := range people[:120] { // half of what they have is here
		w.sync(Request{Account: p, Address: network(i), Region: "KR", Numbers: slices.Concat(nums(0, 30), nums(5000+i, 5030+i))})
	}
	w.settle()
	mallory := people[150]
	w.number(mallory, 9000)
	a := w.sync(Request{Account: mallory, Address: network(500), Region: "KR", Numbers: nums(120, 1120)}) // 30 are here
	want(t, "found", names(a), "")
	want(t, "told to send later", len(a.Later)+a.Waiting, 0)
	want(t, "notices", w.notices(mallory), "")
	w.settle()
	w.user("new", 700)
	w.settle()
	want(t, "joined", w.notices(mallory), "")
	honest := w.sync(Request{Account: people[149], Address: network(501), Region: "KR", Numbers: slices.Concat(nums(0, 40), nums(6000, 6070))})
	want(t, "an honest one", len(honest.Found), 40)

	w.close() // the counts survive
	w.open()
	b := w.sync(Request{Account: mallory, Address: network(500), Region: "KR", Token: a.Token, Numbers: nums(100, 110)})
	want(t, "after a restart", names(b), "")
}
