package bulk

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// sieve makes a town a Sifter whose answers a test chooses.
type sieve struct {
	*town
	mu    sync.Mutex
	sifts int
	hold  bool
	over  bool
	until func(a store.AccountID) time.Time // when it may be told; nil: now
	told  map[store.AccountID]int
}

func (s *sieve) Page(context.Context, *Job, store.AccountID, int) ([]store.AccountID, error) {
	panic("a Sifter is not paged")
}

func (s *sieve) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *sieve) wait(j *Job, a store.AccountID) (until time.Time, mine bool) {
	if s.until == nil {
		return time.Time{}, true
	}
	until = s.until(a)
	if j.Begins != 0 {
		return until, until.UnixMilli() == j.Begins
	}
	return until, true
}

func (s *sieve) Sift(_ context.Context, j *Job, after, upto store.AccountID, most int) (out Sifted, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sifts++
	switch {
	case s.over:
		return out, ErrOver
	case s.hold:
		return out, ErrHold
	}
	out.After, out.End = after, true
	for _, a := range s.users {
		switch {
		case a <= after || upto != 0 && a > upto:
			continue
		case len(out.Found) == most || out.Users == 10:
			out.End = false
			return out, nil
		}
		out.After, out.Users = a, out.Users+1
		list, err := s.graph.Registrations(a)
		if err != nil || len(list) == 0 {
			return out, err
		}
		until, mine := s.wait(j, a)
		switch found := (Found{a, &list[0]}); {
		case !mine:
		case until.After(s.now()):
			out.Later = append(out.Later, Later{found, until})
		default:
			out.Found = append(out.Found, found)
		}
	}
	return out, nil
}

func (s *sieve) Push(ctx context.Context, j *Job, a store.AccountID, r *graph.Registration) (*push.Push, error) {
	s.mu.Lock()
	over, hold := s.over, s.hold
	until, _ := s.wait(j, a)
	s.mu.Unlock()
	switch {
	case over:
		return nil, ErrOver
	case hold:
		return nil, ErrHold
	case until.After(s.now()):
		return nil, &Deferred{until}
	}
	return s.town.Push(ctx, j, a, r)
}

func (s *sieve) Told(_ *Job, a store.AccountID, _ *graph.Registration, p *push.Push, _ lane.Result) {
	s.change(func() {
		if p != nil {
			s.told[a]++
		}
	})
}

func newSieve(t *testing.T, users int) *sieve {
	return &sieve{town: newTown(t, users), told: map[store.AccountID]int{}}
}

func (s *sieve) start(lanes map[graph.PushProvider]Lane) *Bulk {
	s.t.Helper()
	b, err := New(Config{Store: s.store, Graph: s.graph, Lanes: lanes, Sources: map[string]Source{"town": s}, Page: 7, Now: s.now})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = b.Close() })
	return b
}

func (s *sieve) two() map[graph.PushProvider]Lane {
	return map[graph.PushProvider]Lane{graph.APNs: &line{w: s.town}, graph.FCM: &line{w: s.town}}
}

// Providers that are abreast share what was found, and everybody is told once.
func TestSiftOnceForAll(t *testing.T) {
	s := newSieve(t, 60)
	b := s.start(s.two())
	s.create(b, "one")
	if sum := s.await(b, "one", Done).Sum(); sum.Users != 60 || sum.Sent != 60 {
		t.Errorf("%+v", sum)
	}
	for _, a := range s.users {
		if len(s.shown[a]) != 1 || s.told[a] != 1 {
			t.Errorf("%v was told %v, the source %d times", a, s.shown[a], s.told[a])
		}
	}
	if s.sifts > 18 { // 9 pages of seven; one that falls behind sifts for itself
		t.Errorf("sifted %d times", s.sifts)
	}
}

// Who waits for a time is told then, by a job of the rest, whatever else happened to the first one: once, and nobody who
// was told before. A restart in between changes nothing.
func TestLaterIsToldOnce(t *testing.T) {
	s := newSieve(t, 60)
	noon := s.now()
	morning, evening := noon.Add(30*time.Minute), noon.Add(45*time.Minute)
	begins := false // for all of them, in the middle of a page
	s.until = func(a store.AccountID) time.Time {
		switch i := slices.Index(s.users, a); {
		case i%10 == 3:
			return morning
		case i%10 == 4:
			return evening
		case begins && i >= 20 && i%10 == 6:
			return morning
		}
		return time.Time{}
	}
	lanes := s.two()
	apple := lanes[graph.APNs].(*line)
	apple.answer = func(n int, _ lane.Job) lane.Result {
		if n == 8 {
			s.change(func() { begins = true })
		}
		return lane.Result{Action: lane.Sent}
	}
	b := s.start(lanes)
	s.create(b, "one")
	sum := s.await(b, "one", Done).Sum()
	if sum.Users != 60 || sum.Later < 12 || sum.Later > 16 || sum.Sent+sum.Later != 60 || sum.Late != 0 {
		t.Errorf("%+v", sum)
	}
	family, err := b.Family("one")
	if err != nil || len(family) != 3 {
		t.Fatalf("%d jobs, %v", len(family), err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = s.start(s.two())
	s.pass(31 * time.Minute)
	b.Look()
	s.await(b, family[1].ID, Done)
	if p, err := b.Find(family[2].ID); err != nil || p.State != Running || p.Sum().Sent != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	s.pass(15 * time.Minute)
	b.Look()
	s.await(b, family[2].ID, Done)
	for _, a := range s.users {
		if n := len(s.shown[a]); n != 1 || s.told[a] != 1 {
			t.Errorf("%v was told by %d pushes, %d times", a, n, s.told[a])
		}
	}
}

// What a source holds waits, and goes on where it was; what is over is over. A page that was under way is not sent anew.
func TestHoldAndOver(t *testing.T) {
	s := newSieve(t, 60)
	lanes := s.two()
	reached := make(chan struct{})
	lanes[graph.APNs].(*line).answer = func(n int, _ lane.Job) lane.Result {
		if n == 10 {
			s.change(func() { s.hold = true })
			close(reached)
		}
		return lane.Result{Action: lane.Sent}
	}
	b := s.start(lanes)
	s.create(b, "one")
	<-reached
	for {
		p, err := b.Find("one")
		if err != nil || p.State != Running {
			t.Fatalf("%+v, %v", p, err)
		}
		s.town.mu.Lock()
		posts := s.posts
		s.town.mu.Unlock()
		if p.Sum().Sent == posts && posts >= 10 { // what went out is noted
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.change(func() { s.hold = false })
	b.Look()
	if sum := s.await(b, "one", Done).Sum(); sum.Sent != 60 || s.posts != 60 {
		t.Errorf("%+v, %d pushes", sum, s.posts)
	}
	s.create(b, "two")
	s.await(b, "two", Done)
	s.change(func() { s.over = true })
	s.create(b, "three")
	if sum := s.await(b, "three", Canceled).Sum(); sum.Sent != 0 {
		t.Errorf("%+v", sum)
	}
	// One that goes after another reaches whom that one has reached.
	s.change(func() { s.over = false })
	if _, _, err := b.Begin(t.Context(), Order{Source: "town", ID: "untwo", Of: "two", Lives: time.Hour, Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Begin(t.Context(), Order{Source: "town", ID: "unthree", Of: "three", Lives: time.Hour, Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if sum := s.await(b, "untwo", Done).Sum(); sum.Sent != 60 {
		t.Errorf("%+v", sum)
	}
	if sum := s.await(b, "unthree", Done).Sum(); sum.Sent != 0 || sum.Users != 0 {
		t.Errorf("%+v", sum)
	}
	s.pass(3 * time.Hour)
	if _, err := b.Find("untwo"); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("its rows are still there: %v", err)
	}
	if list, err := b.List("town", 10); err != nil || len(list) != 3 {
		t.Errorf("%d jobs, %v", len(list), err)
	}
}

// A job with few does not wait for the end of one with many, nor for a device that takes nothing.
func TestJobsTakeTurns(t *testing.T) {
	bubble(t, 60, func(t *testing.T, w *town) {
		stuck := w.users[0]
		blocked := &line{w: w, answer: func(_ int, j lane.Job) lane.Result {
			if j.(*item).account == stuck && j.(*item).page.job.ID == "first" {
				return lane.Result{Action: lane.Again, At: w.now().Add(30 * time.Minute)}
			}
			return lane.Result{Action: lane.Sent}
		}}
		b := w.start(map[graph.PushProvider]Lane{graph.APNs: blocked})
		w.create(b, "first")
		w.create(b, "second")
		began := w.now()
		for _, c := range []struct {
			id   string
			sent int
		}{{"second", 30}, {"first", 29}} {
			for sent := 0; sent < c.sent; time.Sleep(time.Second) {
				if w.now().Sub(began) > 20*time.Minute {
					t.Fatalf("%s: after minutes %d were told", c.id, sent)
				}
				p, err := b.Find(c.id)
				if err != nil {
					t.Fatal(err)
				}
				sent = p.Sum().Sent
			}
		}
	})
}

func FuzzLates(f *testing.F) {
	good, err := json.Marshal(lates{{1, 2, 3, 4, 5, true}, {1 << 40, 1<<64 - 1, 1 << 41, 1, 0, false}})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(good), `""`, `null`, `[]`, `"AA"`, `"!"`, `"gICAgICAgICAgIA"`, `{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var l, again lates
		if json.Unmarshal(text, &l) != nil {
			return
		}
		out, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &again); err != nil || len(again) != len(l) {
			t.Fatalf("%q: %v, %v", text, err, again)
		}
	})
}

// As many as a page may leave behind fit into a row.
func TestLatesFit(t *testing.T) {
	many := make(lates, mostLeft+DefaultPage)
	for i := range many {
		many[i] = late{store.AccountID(1<<30 + i), store.DeviceID(1<<63) + store.DeviceID(i), 1 << 41, 1<<41 + 86400000, 9, true}
	}
	out, err := json.Marshal(Part{Provider: graph.APNs, Left: many, After: 1 << 40})
	if err != nil || len(out) > store.MaxRowValue {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	var back Part
	if err := json.Unmarshal(out, &back); err != nil || !slices.Equal(back.Left, many) {
		t.Errorf("%v", err)
	}
}
