package bridge

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/store"
)

// TestHints: rows are looked at in order of their time and age, each when it is due, however few of them fit into memory.
func TestHints(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, room := range []int{10, 1000} {
		h := newHints(room)
		rows := map[key]due[key]{}
		for i := range 500 {
			k := key{store.AccountID(i), 1, 1}
			rows[k] = due[key]{int64(rnd.IntN(1000)), int64(rnd.IntN(3)), k}
		}
		var got []due[key]
		fills := 0
		out := make([]due[key], 0, 7)
		for now := int64(0); now <= 1000; {
			if h.empties(now) {
				fills++
				h.fill()
				e := earliest{max: room, rest: math.MaxInt64}
				for k, d := range rows {
					e.add(k, d.at, d.age)
				}
				if rnd.IntN(2) == 0 { // somebody writes a row meanwhile
					k := key{store.AccountID(10000 + len(rows) + fills), 1, 1}
					d := due[key]{now + int64(rnd.IntN(50)), 0, k}
					rows[k] = d
					h.add(k, d.at, d.age)
				}
				h.filled(e.list())
			}
			out = h.take(now, out)
			for _, d := range out {
				if rows[d.what].at != d.at {
					t.Fatalf("%+v was due, and the row says %+v", d, rows[d.what])
				}
				delete(rows, d.what)
				got = append(got, d)
			}
			if h.len() > room {
				t.Fatalf("%d hints, with room for %d", h.len(), room)
			}
			if len(out) == 0 && !h.empties(now) {
				now++
			}
		}
		for k, d := range rows {
			if d.at <= 1000 {
				t.Fatalf("%v was due at %d and was never looked at", k, d.at)
			}
		}
		if room > 500 && !slices.IsSortedFunc(got, func(a, b due[key]) int {
			if a.before(&b) {
				return -1
			}
			return 0
		}) {
			t.Error("the order is not that of time and age")
		}
		if room < 500 && fills < 3 {
			t.Errorf("%d readings of 500 rows with room for %d", fills, room)
		}
	}
}

// TestHintsMoved: a hint is replaced by a newer one and ends with the row.
func TestHintsMoved(t *testing.T) {
	h := newHints(10)
	h.fill()
	h.filled(nil, math.MaxInt64)
	a, b := key{1, 1, 1}, key{2, 1, 1}
	for i := range int64(1000) { // more than fits if the old ones stayed
		h.add(a, 100+i, 0)
	}
	h.add(b, 5, 0)
	h.drop(b)
	if got := h.take(1098, make([]due[key], 0, 9)); len(got) != 0 {
		t.Errorf("due too early: %v", got)
	}
	if got := h.take(1099, make([]due[key], 0, 9)); len(got) != 1 || got[0].what != a {
		t.Errorf("due: %v", got)
	}
	if h.len() != 0 || len(h.heap) != 0 {
		t.Errorf("%d hints are left, %d in the heap", h.len(), len(h.heap))
	}
}

// TestHintsCrowded: what is due soon is found while the hints are full of what is due much later, as in a night of quiet
// hours, without reading all rows for each.
func TestHintsCrowded(t *testing.T) {
	const room, morning = 100, 1 << 40
	h := newHints(room)
	rows := map[key]int64{}
	fills := 0
	fill := func() {
		fills++
		h.fill()
		e := earliest{max: room, rest: math.MaxInt64}
		for k, at := range rows {
			e.add(k, at, 0)
		}
		h.filled(e.list())
	}
	for i := range 5 * room {
		rows[key{store.AccountID(i + 1), 1, 0}] = morning + int64(i%7)
	}
	fill()
	out := make([]due[key], 0, 10)
	for now := int64(0); now < 1000; now++ {
		k := key{store.AccountID(now%300 + 1), 1, 1}
		rows[k] = now + 3
		h.add(k, now+3, 0)
		if h.empties(now) {
			fill()
		}
		for _, d := range h.take(now, out) {
			if rows[d.what] > now {
				t.Fatalf("%v is due at %d, and was found at %d", d.what, rows[d.what], now)
			}
			delete(rows, d.what)
		}
		for k, at := range rows {
			if at < now {
				t.Fatalf("%v was due at %d and is not found at %d", k, at, now)
			}
		}
		if h.len() > room {
			t.Fatalf("%d hints, with room for %d", h.len(), room)
		}
	}
	if fills > 1 {
		t.Errorf("the rows were read %d times", fills)
	}
	for now := int64(morning); now < morning+10; {
		if h.empties(now) {
			fill()
		}
		found := h.take(now, out)
		for _, d := range found {
			delete(rows, d.what)
		}
		if len(found) == 0 && !h.empties(now) {
			now++
		}
	}
	if len(rows) != 0 {
		t.Errorf("%d rows were never looked at", len(rows))
	}
}

// TestFewHintsIdle: rows of which nothing is known in memory are found when they are due, though nothing else happens.
func TestFewHintsIdle(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.limit.hints = 10
		w.start()
		began := time.Now()
		w.lane.set(func(l *doubleLane) {
			n := 0
			l.refuse = func() (time.Time, bool) { // a few soon, the others later
				if n++; n <= 5 {
					return began.Add(time.Minute), time.Since(began) < time.Minute
				}
				return began.Add(5 * time.Minute), time.Since(began) < 5*time.Minute
			}
		})
		alice := w.account("alice")
		for i := range 40 {
			a := w.account("u" + string(rune('a'+i/26)) + string(rune('a'+i%26)))
			w.register(a, 7)
			w.say(w.pair(alice, a), alice)
			synctest.Wait()
		}
		next := w.crash()
		next.limit.hints = 10
		next.start()
		time.Sleep(10 * time.Minute)
		if n := len(next.lane.taken()); n != 40 {
			t.Errorf("%d pushes", n)
		}
		next.nothingWaits()
		next.end()
	})
}

// TestFewHints: rows that wait are found however few of them are known at a time, after a restart too.
func TestFewHints(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.limit.hints = 10
		w.start()
		up := time.Now().Add(90 * time.Second)
		hold := func(l *doubleLane) {
			l.refuse = func() (time.Time, bool) {
				return time.Now().Add(time.Second + rand.N(20*time.Second)), time.Now().Before(up)
			}
		}
		w.lane.set(hold)
		alice := w.account("alice")
		for i := range 100 {
			a := w.account("u" + string(rune('a'+i/26)) + string(rune('a'+i%26)))
			w.register(a, 7)
			w.say(w.pair(alice, a), alice)
		}
		w.nothingWaits()
		time.Sleep(30 * time.Second)
		if n, m := w.b.hints.len(), w.b.rowsDue.Load(); n > 10 || m != 100 {
			t.Errorf("%d hints in memory, of %d rows", n, m)
		}
		next := w.crash()
		next.limit.hints = 10
		next.lane.set(hold)
		next.start()
		synctest.Wait()
		if m := next.b.rowsDue.Load(); m != 100 {
			t.Errorf("%d rows after a restart", m)
		}
		time.Sleep(5 * time.Minute)
		for _, w := range []*world{w, next} {
			if n := len(w.lane.taken()); n != 100 {
				t.Errorf("%d pushes", n)
			}
			w.nothingWaits()
			if n := w.b.rowsDue.Load(); n != 0 {
				t.Errorf("%d rows are due", n)
			}
		}
		next.end()
	})
}
