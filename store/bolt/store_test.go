package bolt

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func init() { knownSpace = func(string) (free, total uint64, err error) { return 1, 1, nil } }

// clock is a Config.Now that a test moves while the keeper may ask it.
type clock struct {
	began time.Time
	later atomic.Int64
}

func newClock() *clock { return &clock{began: time.Now()} }

func (c *clock) Now() time.Time { return c.began.Add(time.Duration(c.later.Load())) }

func (c *clock) pass(d time.Duration) { c.later.Add(int64(d)) }

// testStore opens a store in dir with accounts 1 to n.
func testStore(t testing.TB, cfg Config, accounts int) *Store {
	t.Helper()
	if cfg.FreeSpace == nil {
		cfg.MinFree = -1 // tests do not depend on how full the machine is
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range accounts {
		if _, err := s.CreateAccount(context.Background(), store.Account{Name: fmt.Sprintf("u%d", i)}); err != nil && store.CodeOf(err) != store.CodeConflict {
			t.Fatal(err)
		}
	}
	return s
}

func testPair(t testing.TB, s *Store, a, b store.AccountID) store.LogInfo {
	t.Helper()
	info, _, err := s.Open(context.Background(), store.PairKey(a, b), store.Creation{By: a,
		Members: []store.Member{{Account: a, Role: store.RoleMember}, {Account: b, Role: store.RoleMember}}})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestFirst(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir}, 3)
	info := testPair(t, s, 1, 2)
	for i := range 200 {
		r, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Device: 7, CID: fmt.Sprint("c", i), Text: fmt.Appendf(nil, "hello %d", i), Need: store.RoleMember, Version: 1}).Result()
		if err != nil || r.Seq != store.Seq(i+1) {
			t.Fatal(r, err)
		}
	}
	check := func(s *Store) {
		t.Helper()
		after := store.Seq(0)
		for after < 200 {
			p, err := s.Read(store.Query{Log: info.ID, Viewer: 2, After: after, Max: 50})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range p.Records {
				after++
				if r.Seq != after || string(r.Text) != fmt.Sprintf("hello %d", after-1) {
					t.Fatalf("%+v", r)
				}
			}
			if p.Next != after {
				t.Fatal(p.Next, after)
			}
		}
		r, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Device: 7, CID: "c5", Text: []byte("x")}).Result()
		if err != nil || r.Seq != 6 || !r.Repeated {
			t.Fatal(r, err)
		}
		refs, err := s.LogsOf(2, 0, 0)
		if err != nil || len(refs) != 1 || refs[0].Head != 200 {
			t.Fatal(refs, err)
		}
	}
	check(s)
	if err := s.writeCheckpoint(); err != nil {
		t.Fatal(err)
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = testStore(t, Config{Dir: dir, CacheBytes: -1}, 3)
	check(s)
}

// Who sends while the store is closed is told so, whatever of its conversation is in memory.
func TestAppendClosed(t *testing.T) {
	s := testStore(t, Config{Dir: t.TempDir()}, 2)
	info := testPair(t, s, 1, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Text: []byte("late")}).Result(); store.CodeOf(err) != store.CodeUnavailable {
		t.Fatal(err)
	}
}
