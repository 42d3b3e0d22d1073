package bolt

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

func TestSalts(t *testing.T) {
	dir := t.TempDir()
	d := testDirectory(t, dir, directoryOptions{})
	a, err := d.CreateAccount(t.Context(), store.Account{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	server, err := d.salt(0)
	if err != nil || server == [32]byte{} {
		t.Fatalf("%x, %v", server, err)
	}
	mine, err := d.salt(a.ID)
	if err != nil || mine == server || mine == [32]byte{} {
		t.Fatalf("%x, %v", mine, err)
	}
	if _, err := d.salt(a.ID + 1); store.CodeOf(err) != store.CodeNotFound {
		t.Fatalf("got %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = testDirectory(t, dir, directoryOptions{})
	if again, err := d.salt(0); err != nil || again != server {
		t.Fatalf("the server's salt changed: %v", err)
	}
}

// Damaged rows are errors that name the row's owner; others are read as before.
func TestDamagedDirectoryRows(t *testing.T) {
	d := testDirectory(t, t.TempDir(), directoryOptions{})
	a, err := d.CreateAccount(t.Context(), store.Account{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.CreateAccount(t.Context(), store.Account{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	id := key64(uint64(a.ID))
	if err := d.file.update(t.Context(), func(w *writeTx) error {
		for _, row := range []struct{ bucket, key []byte }{
			{dirAccounts, id}, {dirFriends, id}, {dirSalts, id}, {dirDevices, key128(uint64(a.ID), 7)},
			{dirTokens, tokenKey(a.ID, [32]byte{1})}, {dirAnswers, answerKey(key128(uint64(a.ID), 7), "r")},
		} {
			if err := w.bucket(row.bucket).put(row.key, []byte{1, 0xff, 0xff}); err != nil {
				return err
			}
		}
		return nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	fails := func(err error) {
		t.Helper()
		if store.CodeOf(err) != store.CodeInternal || !strings.Contains(err.Error(), "a1") {
			t.Errorf("got %v", err)
		}
	}
	_, err = d.Account(a.ID)
	fails(err)
	_, err = d.AccountByName("a")
	fails(err)
	_, err = d.Accounts(0, 0)
	fails(err)
	_, err = d.HasEdge(store.EdgeFriend, a.ID, b.ID)
	fails(err)
	_, err = d.SetEdge(t.Context(), store.EdgeFriend, a.ID, b.ID, true, 0)
	fails(err)
	_, err = d.salt(a.ID)
	fails(err)
	_, err = d.Device(a.ID, 7)
	fails(err)
	_, err = d.Devices(a.ID)
	fails(err)
	_, err = d.TokenByHash(a.ID, [32]byte{1})
	fails(err)
	_, err = d.AnswerTo(a.ID, 7, "r")
	fails(err)
	if _, err := d.Account(b.ID); err != nil {
		t.Error(err)
	}
}

// FuzzDirectoryRows: no row makes a decoder panic, and what is read is written the same way again.
func FuzzDirectoryRows(f *testing.F) {
	account := appendAccount(nil, store.Account{Name: "alice", Display: "A", Status: "s", Language: "ko", State: 2, Created: -5})
	device := appendDevice(nil, store.Device{ClientID: "phone", Label: "l", Created: 4, LastSeen: 1 << 50, NoEcho: true})
	token := appendToken(nil, store.Token{Device: 1 << 63, Label: "l", Scopes: []string{"a", ""}, Created: 1, Expires: 2})
	edges := appendEdges(nil, []store.AccountID{1, 2, 900, 1 << 60})
	answer := appendAnswer(nil, store.Answer{Status: 409, Body: []byte("{}"), Time: 1700000000000}, 7)
	for _, row := range [][]byte{account, device, token, edges, answer} {
		f.Add(row)
		f.Add(row[:len(row)-1])
		f.Add(append(bytes.Clone(row), 1))
	}
	f.Add([]byte{edgesVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1})
	f.Add([]byte{edgesVersion, 3, 1, 0, 1})
	f.Fuzz(func(t *testing.T, row []byte) {
		key := bytes.Repeat([]byte{1}, 40)
		if a, err := decodeAccount(key[:8], row); err == nil {
			again, err := decodeAccount(key[:8], appendAccount(nil, a))
			same(t, again, a, err)
		}
		if d, err := decodeDevice(key[:16], row); err == nil {
			again, err := decodeDevice(key[:16], appendDevice(nil, d))
			same(t, again, d, err)
		}
		if tok, err := decodeToken(key, row); err == nil {
			again, err := decodeToken(key, appendToken(nil, tok))
			same(t, again, tok, err)
		}
		if e, err := decodeEdges(row); err == nil {
			again, err := decodeEdges(appendEdges(nil, e))
			same(t, again, e, err)
		}
		if ans, n, err := decodeAnswer(row); err == nil {
			again, m, err := decodeAnswer(appendAnswer(nil, ans, n))
			same(t, again, ans, err)
			same(t, m, n, nil)
		}
	})
}

func same(t *testing.T, got, want any, err error) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); err != nil || g != w {
		t.Fatalf("got %s, want %s, %v", g, w, err)
	}
}

// A value that was read before a change is not kept after it.
func TestCacheNeverKeepsTheOld(t *testing.T) {
	c := newRowCache(1<<20, func(int, string) int { return 100 })
	_, age, _ := c.get(1)
	c.forget(1) // the change
	c.put(1, "old", age)
	if v, _, ok := c.get(1); ok {
		t.Fatalf("kept %q", v)
	}
	_, age, _ = c.get(1)
	c.put(1, "new", age)
	if v, _, ok := c.get(1); !ok || v != "new" {
		t.Fatalf("got %q, %v", v, ok)
	}
}

func TestCacheBudget(t *testing.T) {
	const cost, budget = 100, cacheShards * 2000
	c := newRowCache(budget, func(int, int) int { return cost })
	put := func(k int) {
		_, age, _ := c.get(k)
		c.put(k, k, age)
	}
	put(-1)
	kept := 0
	for k := range 10_000 {
		put(k)
		if v, _, ok := c.get(k); !ok || v != k {
			t.Fatalf("key %d is not kept", k)
		}
		if _, _, ok := c.get(-1); ok {
			kept++
		} else {
			put(-1)
		}
		if k%7 == 0 {
			c.forget(k)
		}
	}
	if kept < 9_900 { // asked all the time, it seldom goes
		t.Fatalf("kept %d times of 10,000", kept)
	}
	used := 0
	for i := range c.shards {
		s := &c.shards[i]
		used += s.used
		if s.used != len(s.at)*cost || len(s.slots) > budget/cacheShards/cost {
			t.Fatalf("shard %d: used %d, keys %d, slots %d", i, s.used, len(s.at), len(s.slots))
		}
	}
	if used > budget {
		t.Fatalf("%d bytes used of %d", used, budget)
	}
	huge := newRowCache(budget, func(int, int) int { return budget })
	_, age, _ := huge.get(1)
	huge.put(1, 1, age)
	if _, _, ok := huge.get(1); ok {
		t.Fatal("one value took the whole cache")
	}
}
