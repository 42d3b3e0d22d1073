package bulk

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// town is a real store with users who have registered one device each, at two providers in turn.
type town struct {
	t     *testing.T
	store *bolt.Store
	graph *graph.Graph
	users []store.AccountID

	mu    sync.Mutex
	clock time.Time                // zero: it is that of the bubble
	skip  map[store.AccountID]bool // the source has nothing for them
	shown map[store.AccountID]map[push.ID]int
	posts int
}

func newTown(t *testing.T, users int) *town {
	return townAt(t, users, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
}

// bubble runs a test about time in a synctest bubble: what is waited for comes when nothing else happens, however long the
// machine takes.
func bubble(t *testing.T, users int, test func(t *testing.T, w *town)) {
	synctest.Test(t, func(t *testing.T) { test(t, townAt(t, users, time.Time{})) })
}

func townAt(t *testing.T, users int, at time.Time) *town {
	w := &town{t: t, clock: at, skip: map[store.AccountID]bool{}, shown: map[store.AccountID]map[push.ID]int{}}
	var err error
	w.store, err = bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	w.graph = graph.New(w.store, w.now)
	for i := range users {
		a, err := w.store.CreateAccount(t.Context(), store.Account{Name: fmt.Sprint("u", i)})
		if err != nil {
			t.Fatal(err)
		}
		w.users = append(w.users, a.ID)
		p := graph.APNs
		if i%2 == 1 {
			p = graph.FCM
		}
		if _, err := w.graph.Register(t.Context(), a.ID, graph.Registration{Device: 1, Provider: p, Token: fmt.Sprintf("%064x", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *town) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.clock.IsZero() {
		return time.Now()
	}
	return w.clock
}

func (w *town) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// Page and Push make a town a Source.
func (w *town) Page(_ context.Context, _ *Job, after store.AccountID, max int) (out []store.AccountID, err error) {
	for _, a := range w.users {
		if a > after && len(out) < max {
			out = append(out, a)
		}
	}
	return out, nil
}

func (w *town) Push(_ context.Context, j *Job, a store.AccountID, r *graph.Registration) (*push.Push, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.skip[a] {
		return nil, nil
	}
	return &push.Push{ID: push.NewID(r.Device, store.LogID(a), store.Seq(j.Number), push.KindAnnounce), Collapse: "announce",
		Note: push.Note{Kind: push.KindAnnounce, Seq: store.Seq(j.Number), Body: string(j.Data), Badge: -1}}, nil
}

// line is a lane whose every answer a test chooses. It answers from goroutines of its own.
type line struct {
	w      *town
	answer func(n int, j lane.Job) lane.Result // n counts from 1; Push is set for it
	refuse func(n int) bool
	before func() // nil, or called before a push is made
	none   func() // nil, or called when none was made

	wg   sync.WaitGroup // of what it has
	mu   sync.Mutex
	asks int
	n    int
}

func (l *line) Submit(j lane.Job) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asks++; l.refuse != nil && l.refuse(l.asks) {
		return l.w.now().Add(time.Millisecond), false
	}
	l.n++
	n := l.n
	l.wg.Go(func() {
		if l.before != nil {
			l.before()
		}
		p := j.Build(context.Background())
		if p == nil {
			if l.none != nil {
				l.none()
			}
			j.Done(lane.Result{Action: lane.Unneeded})
			return
		}
		r := lane.Result{Action: lane.Sent}
		if l.answer != nil {
			r = l.answer(n, j)
		}
		r.Push, r.Tried = p, true
		if r.Action == lane.Sent {
			l.w.mu.Lock()
			a := j.(*item).account
			if l.w.shown[a] == nil {
				l.w.shown[a] = map[push.ID]int{}
			}
			l.w.shown[a][p.ID]++
			l.w.posts++
			l.w.mu.Unlock()
		}
		j.Done(r)
	})
	return time.Time{}, true
}

func (w *town) start(lanes map[graph.PushProvider]Lane) *Bulk {
	w.t.Helper()
	return w.startOn(w.store, lanes)
}

func (w *town) startOn(s store.Tables, lanes map[graph.PushProvider]Lane) *Bulk {
	w.t.Helper()
	b, err := New(Config{Store: s, Graph: w.graph, Lanes: lanes, Sources: map[string]Source{"town": w}, Page: 7, Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = b.Close() })
	return b
}

// await waits until a job is in a state, however long the machine takes.
func (w *town) await(b *Bulk, id string, want State) Progress {
	w.t.Helper()
	for {
		p, err := b.Find(id)
		if err != nil {
			w.t.Fatal(err)
		}
		if p.State == want {
			return p
		}
		if p.State.Ended() {
			w.t.Fatalf("the job is %s, want %s", p.State, want)
		}
		select {
		case <-w.t.Context().Done():
			w.t.Fatal("the test ended first")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (w *town) create(b *Bulk, id string) Progress {
	w.t.Helper()
	p, created, err := b.Create(w.t.Context(), "town", id, "hello", time.Hour)
	if err != nil || !created {
		w.t.Fatalf("created %v, %v", created, err)
	}
	return p
}

// Whatever the lanes answer, everybody is told once, the counts add up, and who has nothing gets nothing.
func TestEverybodyOnce(t *testing.T) {
	w := newTown(t, 60)
	w.skip[w.users[3]], w.skip[w.users[10]] = true, true
	answer := func(n int, _ lane.Job) lane.Result {
		switch rand.IntN(6) {
		case 0:
			return lane.Result{Action: lane.Again, At: w.now().Add(time.Millisecond)}
		case 1:
			return lane.Result{Action: lane.Bare}
		}
		return lane.Result{Action: lane.Sent}
	}
	refuse := func(n int) bool { return n%5 == 0 }
	b := w.start(map[graph.PushProvider]Lane{graph.APNs: &line{w: w, answer: answer, refuse: refuse}, graph.FCM: &line{w: w, answer: answer}})
	w.create(b, "one")
	if p, created, err := b.Create(t.Context(), "town", "one", "other", time.Hour); err != nil || created || string(p.Data) != `"hello"` {
		t.Fatalf("a second time: %v, %v, %s", created, err, p.Data)
	}
	w.create(b, "two")
	for _, id := range []string{"one", "two"} {
		p := w.await(b, id, Done)
		if sum := p.Sum(); sum.Users != 60 || sum.Sent != 58 || sum.Skipped != 2 || sum.Failed+sum.Gone+sum.Late != 0 {
			t.Errorf("%s: %+v", id, sum)
		}
		if p.Ended == 0 || len(p.Parts) != 2 {
			t.Errorf("%+v", p)
		}
	}
	for a, ids := range w.shown {
		if len(ids) != 2 {
			t.Errorf("%v got %d different ones, want 2", a, len(ids))
		}
		for id, n := range ids {
			if n != 1 {
				t.Errorf("%v got %v %d times", a, id, n)
			}
		}
	}
	if list, err := b.List("town", 10); err != nil || len(list) != 2 || list[0].ID != "two" {
		t.Errorf("list %+v, %v", list, err)
	}
}

// One that takes nothing for hours does not keep the others waiting, and is told when it takes something; after a restart
// too.
func TestOneHoldsUpNobody(t *testing.T) {
	bubble(t, 60, func(t *testing.T, w *town) {
		told := make(chan struct{}, 100)
		var up atomic.Bool
		answer := func(_ int, j lane.Job) lane.Result {
			if j.(*item).account == w.users[2] && !up.Load() {
				return lane.Result{Action: lane.Again, At: w.now().Add(20 * time.Minute)}
			}
			told <- struct{}{}
			return lane.Result{Action: lane.Sent}
		}
		b := w.start(map[graph.PushProvider]Lane{graph.APNs: &line{w: w, answer: answer}})
		w.create(b, "one")
		late := time.After(10 * time.Minute)
		for n := range 29 {
			select {
			case <-told:
			case <-late:
				t.Fatalf("%d of 29 were told, and then nobody for minutes", n)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		up.Store(true)
		time.Sleep(21 * time.Minute)
		b = w.start(map[graph.PushProvider]Lane{graph.APNs: &line{w: w, answer: answer}})
		if sum := w.await(b, "one", Done).Sum(); sum.Users != 60 || sum.Late != 0 {
			t.Errorf("%+v", sum)
		}
		if len(w.shown) != 30 {
			t.Errorf("%d users were told, want 30", len(w.shown))
		}
	})
}

// Those who take nothing are given up when they are many and others were told for an hour; where nobody is told, nobody.
func TestGivesUp(t *testing.T) {
	w := newTown(t, 0)
	now := w.now()
	for _, c := range []struct {
		name        string
		sent        time.Time
		left, fresh int
		want        int // are left
		leaves      bool
	}{
		{"few", now, mostLeft, 0, mostLeft, true},
		{"many, and others are told", now, mostLeft + 7, 0, mostLeft, true},
		{"many, and nobody is told", now.Add(-3 * time.Hour), mostLeft + 7, 0, mostLeft + 7, true},
		{"new ones have some seconds", now, 2, 3, 5, false},
		{"many new ones", now, mostLeft - 1, 3, mostLeft, true},
	} {
		p := &page{worker: &worker{Bulk: &Bulk{now: w.now}}, began: now.Add(-time.Minute), sent: &c.sent}
		if !c.leaves {
			p.began = now
		}
		for range c.left {
			p.items = append(p.items, &item{since: now.Add(-2 * time.Hour).UnixMilli()})
		}
		for range c.fresh {
			p.items = append(p.items, &item{})
		}
		if leaves := p.leaves(now); leaves != c.leaves || len(p.items) != c.want || p.counts.Late != c.left+c.fresh-c.want {
			t.Errorf("%s: %v, %d are left, %d late", c.name, leaves, len(p.items), p.counts.Late)
		}
	}
}

// A crash may come when every provider's part is stored as done, and the end of the job is not.
func TestCrashBeforeTheEnd(t *testing.T) {
	w := newTown(t, 10)
	lanes := map[graph.PushProvider]Lane{graph.APNs: &line{w: w}, graph.FCM: &line{w: w}}
	b := w.start(lanes)
	w.create(b, "party")
	before := w.await(b, "party", Done)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	j := before.Job
	j.State, j.Ended = Running, 0
	value, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Update(t.Context(), store.Update{Rows: []store.RowPut{{Table: tableJob, Key: store.KeyOf(j.Number), Value: value}}}); err != nil {
		t.Fatal(err)
	}
	b = w.start(lanes)
	if after := w.await(b, "party", Done); after.Sum().Users != before.Sum().Users || after.Sum().Sent != before.Sum().Sent {
		t.Errorf("%+v, and before the crash %+v", after.Sum(), before.Sum())
	}
	if w.posts != len(w.users) {
		t.Errorf("%d pushes to %d users", w.posts, len(w.users))
	}
}

// mortal is a store to which nothing is written any more once who writes is dead.
type mortal struct {
	store.Tables
	dead atomic.Bool
}

func (m *mortal) Update(ctx context.Context, u store.Update) error {
	if m.dead.Load() {
		return store.ErrUnavailable
	}
	return m.Tables.Update(ctx, u)
}

// What was under way in a crash goes out again under the same identifiers; what was settled does not.
func TestCrash(t *testing.T) {
	w := newTown(t, 60)
	reached := make(chan struct{})
	stuck := &line{w: w, refuse: func(n int) bool {
		if n == 26 {
			close(reached)
		}
		return n > 25
	}}
	disk := &mortal{Tables: w.store}
	crashed := w.startOn(disk, map[graph.PushProvider]Lane{graph.APNs: stuck})
	w.create(crashed, "one")
	<-reached
	disk.dead.Store(true)
	stuck.wg.Wait()
	before, err := crashed.Find("one")
	if err != nil {
		t.Fatal(err)
	}
	if users := before.Sum().Users; users == 0 || users >= 60 {
		t.Fatalf("%d users before the crash: it tests nothing", users)
	}
	// What crashed lives on, but writes nothing, and its lane stays stuck until the test ends.
	b := w.start(map[graph.PushProvider]Lane{graph.APNs: &line{w: w}})
	p := w.await(b, "one", Done)
	if sum := p.Sum(); sum.Users != 60 || sum.Sent != 30 {
		t.Errorf("%+v", sum)
	}
	if len(w.shown) != 30 {
		t.Errorf("%d users were told, want the 30 of this provider", len(w.shown))
	}
	for a, ids := range w.shown {
		if len(ids) != 1 {
			t.Errorf("%v got %d different ones", a, len(ids))
		}
	}
	if again := w.posts - 30; again > 7 {
		t.Errorf("%d were sent again, a page has 7", again)
	}
}

func TestPauseCancelExpire(t *testing.T) {
	w := newTown(t, 30)
	begun := make(chan struct{}, 100)
	hold := make(chan struct{})
	b := w.start(map[graph.PushProvider]Lane{graph.APNs: &line{w: w, answer: func(n int, _ lane.Job) lane.Result {
		begun <- struct{}{}
		<-hold
		return lane.Result{Action: lane.Sent}
	}}})
	w.create(b, "one")
	<-begun
	if p, err := b.Set(t.Context(), "one", Paused); err != nil || p.State != Paused {
		t.Fatalf("%+v, %v", p, err)
	}
	close(hold)
	if p, err := b.Find("one"); err != nil || p.State != Paused {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := b.Set(t.Context(), "one", Running); err != nil {
		t.Fatal(err)
	}
	if p := w.await(b, "one", Done); p.Sum().Sent != 15 {
		t.Errorf("%+v", p.Sum())
	}
	if _, err := b.Set(t.Context(), "one", Canceled); store.CodeOf(err) != store.CodeConflict {
		t.Errorf("canceled after its end: %v", err)
	}
	if _, err := b.Set(t.Context(), "none", Canceled); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("canceled one that is not there: %v", err)
	}
	if _, err := b.Set(t.Context(), "one", Done); store.CodeOf(err) != store.CodeBad {
		t.Errorf("set to done: %v", err)
	}

	down := w.start(map[graph.PushProvider]Lane{graph.FCM: &line{w: w, refuse: func(int) bool { return true }}})
	w.create(down, "late")
	w.pass(2 * time.Hour)
	down.kick()
	if p := w.await(down, "late", Expired); p.Sum().Sent != 0 {
		t.Errorf("%+v", p.Sum())
	}
}

// Who was to be told in a moment in which the job was paused is told when it goes on, however soon that is.
func TestPausedForAMoment(t *testing.T) {
	w := newTown(t, 10)
	begun, paused, none, goesOn := make(chan struct{}, 100), make(chan struct{}), make(chan struct{}, 100), make(chan struct{})
	b := w.start(map[graph.PushProvider]Lane{graph.APNs: &line{w: w,
		before: func() {
			begun <- struct{}{}
			<-paused
		},
		none: func() {
			none <- struct{}{}
			<-goesOn
		},
	}})
	w.create(b, "one")
	<-begun
	if _, err := b.Set(t.Context(), "one", Paused); err != nil {
		t.Fatal(err)
	}
	close(paused)
	<-none
	if _, err := b.Set(t.Context(), "one", Running); err != nil {
		t.Fatal(err)
	}
	close(goesOn)
	if sum := w.await(b, "one", Done).Sum(); sum.Sent != 5 || sum.Skipped != 0 {
		t.Errorf("%+v", sum)
	}
}

// A token that is gone is forgotten, and only that registration.
func TestGone(t *testing.T) {
	w := newTown(t, 4)
	b := w.start(map[graph.PushProvider]Lane{graph.APNs: &line{w: w, answer: func(n int, j lane.Job) lane.Result {
		if j.(*item).account != w.users[0] {
			return lane.Result{Action: lane.Dropped}
		}
		return lane.Result{Action: lane.TokenGone}
	}}})
	w.create(b, "one")
	if sum := w.await(b, "one", Done).Sum(); sum.Gone != 1 || sum.Failed != 1 {
		t.Errorf("%+v", sum)
	}
	for i, want := range []int{0, 1} {
		if list, err := w.graph.Registrations(w.users[2*i]); err != nil || len(list) != want {
			t.Errorf("user %d has %d registrations, %v", 2*i, len(list), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newTown(t, 1)
	b := w.start(nil)
	for _, id := range []string{"", fmt.Sprintf("%065d", 1)} {
		if _, _, err := b.Create(t.Context(), "town", id, nil, time.Hour); store.CodeOf(err) != store.CodeBad {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if _, _, err := b.Create(t.Context(), "town", "x", nil, 0); store.CodeOf(err) != store.CodeBad {
		t.Errorf("no life: %v", err)
	}
	if _, _, err := b.Create(t.Context(), "nobody", "x", nil, time.Hour); err == nil {
		t.Error("a source that does not exist")
	}
}
