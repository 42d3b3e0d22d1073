package graph

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

// world is a real store with two users and a clock that tests move.
type world struct {
	*Graph
	store *bolt.Store
	dir   string
	a, b  store.AccountID
	clock clock
}

// clock is the time of the store and of the graph. A test moves it while the store may ask.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) now() time.Time       { return *c.at.Load() }
func (c *clock) set(t time.Time)      { c.at.Store(&t) }
func (c *clock) pass(d time.Duration) { c.set(c.now().Add(d)) }

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{}
	w.clock.set(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s, err := bolt.Open(bolt.Config{Dir: filepath.Join(dir, "data"), MinFree: -1, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w.store, w.Graph, w.dir = s, New(s, w.clock.now), filepath.Join(dir, "data")
	for i, name := range []string{"alice", "bob"} {
		acct, err := s.CreateAccount(t.Context(), store.Account{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		*[]*store.AccountID{&w.a, &w.b}[i] = acct.ID
	}
	return w
}

func (w *world) relation(t *testing.T, of, to store.AccountID) Relation {
	t.Helper()
	r, err := w.Relation(of, to)
	if err != nil {
		t.Fatal(err)
	}
	return *r
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	s, err := w.Settings(w.a)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(s.StrangersMode(), s.InvitationsMode(), s.HideBlocked, s.Presence, s.Unfindable, s.PreviewMode(), s.DiscoveryMode())
	if want := "warn ask false false false sender mutual\n"; got != want {
		t.Errorf("defaults are %s, want %s", got, want)
	}
	set := func(mode Strangers) int64 {
		t.Helper()
		if err := w.SetSettings(t.Context(), w.a, func(s *Settings) error { s.Strangers = mode; return nil }); err != nil {
			t.Fatal(err)
		}
		s, err := w.Settings(w.a)
		if err != nil || s.StrangersMode() != mode {
			t.Fatalf("%+v, %v", s, err)
		}
		return s.Closed
	}
	if closed := set(StrangersClosed); closed != w.clock.now().UnixMilli() {
		t.Errorf("closed at %d", closed)
	}
	first := w.clock.now().UnixMilli()
	w.clock.pass(time.Hour)
	if closed := set(StrangersClosed); closed != first {
		t.Error("closing what is closed counts again")
	}
	set(StrangersOpen)
	if closed := set(StrangersClosed); closed != w.clock.now().UnixMilli() {
		t.Errorf("closed again at %d", closed)
	}
	if err := w.SetSettings(t.Context(), 999, func(s *Settings) error { s.Presence = true; return nil }); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("settings of nobody: %v", err)
	}
	no := store.Bad("no")
	if err := w.SetSettings(t.Context(), w.a, func(s *Settings) error { s.Presence = true; return no }); err != no { //nolint:errorlint // as it is
		t.Errorf("got %v", err)
	}
	if s, _ := w.Settings(w.a); s.Presence {
		t.Error("a refused change was stored")
	}
}

func TestBlockFreezes(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	block := func(level Block, want bool) {
		t.Helper()
		if changed, err := w.SetBlock(ctx, w.b, w.a, level, false, 0); err != nil || changed != want {
			t.Fatalf("block %v: %v, %v", level, changed, err)
		}
	}
	friend := func(on bool) {
		t.Helper()
		if _, err := w.SetFriend(ctx, w.b, w.a, on, 0); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(want bool) {
		t.Helper()
		if got, err := w.HasFriend(w.b, w.a); err != nil || got != want {
			t.Errorf("the other side sees friend %v, %v", got, err)
		}
	}
	log, _, err := w.store.Open(ctx, store.PairKey(w.a, w.b), store.Creation{Members: []store.Member{
		{Account: w.a, Role: store.RoleMember}, {Account: w.b, Role: store.RoleMember}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.store.Append(store.Draft{Log: log.ID, Sender: w.a, Text: []byte("x")}).Result(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.store.SetMark(store.Mark{Log: log.ID, Account: w.b, Seq: 1}).Result(); err != nil {
		t.Fatal(err)
	}
	friend(true)
	sees(true)
	begin := w.clock.now().UnixMilli()
	block(BlockMessages, true)
	block(BlockMessages, false)
	if r := w.relation(t, w.b, w.a); r.Mark != 1 || !r.Friend || r.BlockedAt(begin-1) || !r.BlockedAt(begin) {
		t.Errorf("%+v", r)
	}
	friend(false)
	sees(true) // frozen
	w.clock.pass(time.Minute)
	block(BlockProfile, true)
	sees(true)
	if on, err := w.store.HasEdge(store.EdgeBlock, w.b, w.a); err != nil || !on {
		t.Errorf("edge %v, %v", on, err)
	}
	w.clock.pass(time.Minute)
	end := w.clock.now().UnixMilli()
	block(BlockNone, true)
	block(BlockNone, false)
	sees(false)
	r := w.relation(t, w.b, w.a)
	if r.Barrier != end || r.Mark != 1 || r.Seen != 0 || r.BlockedAt(end) || !r.BlockedAt(end-1) || len(r.Blocked) != 1 {
		t.Errorf("after unblocking: %+v", r)
	}
	if on, err := w.store.HasEdge(store.EdgeBlock, w.b, w.a); err != nil || on {
		t.Errorf("edge %v, %v", on, err)
	}
	list, err := w.Relations(w.b, 0, 0)
	if err != nil || len(list) != 1 || list[0] != w.a {
		t.Errorf("relations %v, %v", list, err)
	}
	if _, err := w.SetBlock(ctx, w.a, w.a, BlockMessages, false, 0); store.CodeOf(err) != store.CodeBad {
		t.Errorf("blocking oneself: %v", err)
	}
	if _, err := w.SetBlock(ctx, w.a, 999, BlockMessages, false, 0); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("blocking nobody: %v", err)
	}
	if r := w.relation(t, w.a, 999); r.Block != BlockNone {
		t.Error("half of a refused block was stored")
	}
}

func TestBlockIntervalsAreBounded(t *testing.T) {
	w := newWorld(t)
	first := w.clock.now().UnixMilli()
	for range maxIntervals + 10 {
		for _, level := range []Block{BlockMessages, BlockNone} {
			if _, err := w.SetBlock(t.Context(), w.a, w.b, level, false, 0); err != nil {
				t.Fatal(err)
			}
			w.clock.pass(time.Second)
		}
	}
	r := w.relation(t, w.a, w.b)
	if len(r.Blocked) > maxIntervals || !r.BlockedAt(first) || r.BlockedAt(first-1) || r.BlockedAt(w.clock.now().UnixMilli()) {
		t.Errorf("%d intervals: %+v", len(r.Blocked), r)
	}
}

func TestBudget(t *testing.T) {
	w := newWorld(t)
	spend := func(on string, want bool) {
		t.Helper()
		left, renews, err := w.Spend(t.Context(), w.a, "stranger", on, 2)
		if err != nil || left != want {
			t.Errorf("spend on %q: %v, %v", on, left, err)
		}
		if want := time.Date(2026, 3, w.clock.now().Day()+1, 0, 0, 0, 0, time.UTC); !renews.Equal(want) {
			t.Errorf("renews %v, want %v", renews, want)
		}
	}
	spend("x", true)
	spend("x", true) // counted today
	spend("y", true)
	spend("z", false)
	spend("y", true)
	if counted, left, err := w.Counted(w.a, "stranger", "z", 2); err != nil || left || counted {
		t.Errorf("counted: %v, %v", left, err)
	}
	if counted, left, err := w.Counted(w.a, "stranger", "x", 2); err != nil || !left || !counted {
		t.Errorf("counted: %v, %v", left, err)
	}
	w.clock.pass(24 * time.Hour)
	if counted, left, err := w.Counted(w.a, "stranger", "z", 2); err != nil || !left || counted {
		t.Errorf("the next day: %v, %v", left, err)
	}
	spend("z", true)
	spend("", true)
	spend("", false)
}

// However many try at once, no budget is exceeded.
func TestBudgetUnderConcurrency(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := 0
	for i := range 20 {
		wg.Go(func() {
			left, _, err := w.Spend(context.Background(), w.a, "invite", fmt.Sprint(i), 5)
			mu.Lock()
			defer mu.Unlock()
			if left {
				got++
			}
			if err != nil && store.CodeOf(err) != store.CodeConflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got > 5 || got == 0 {
		t.Errorf("%d of a budget of 5", got)
	}
}
