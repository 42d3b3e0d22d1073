package bridge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
)

// phone is what a device shows: pushes by identifier, so that a repeat of one is no second notification.
type phone map[push.ID]int

func (p phone) got(pushes []*push.Push) {
	for _, n := range pushes {
		p[n.ID]++
	}
}

// end lets a world go whose files were copied.
func (w *world) end() {
	w.lane.set(func(l *doubleLane) { l.before, l.after = nil, nil })
	w.close()
}

// TestCrashBeforePost: a crash while a push waits for its turn loses nothing.
func TestCrashBeforePost(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, _, log := two(w)
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.before = gate })
		w.say(log, alice)
		synctest.Wait()
		time.Sleep(time.Minute) // what is lazily written is written
		next := w.crash()
		close(gate)
		next.start()
		next.sent("message 1×1")
		next.nothingWaits()
		next.end()
	})
}

// TestCrashAfterPost: a crash between the provider's taking a push and the row sends the same one again, which the phone
// knows by its identifier.
func TestCrashAfterPost(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, _, log := two(w)
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.after = gate })
		w.say(log, alice)
		shows := phone{}
		shows.got(w.sent("message 1×1"))
		time.Sleep(time.Minute)
		next := w.crash()
		close(gate)
		next.start()
		shows.got(next.sent("message 1×1"))
		if len(shows) != 1 {
			t.Errorf("the phone shows %d notifications", len(shows))
		}
		next.nothingWaits()
		next.end()
	})
}

// TestCrashAfterRow: a crash after the row and before the position sends nothing again; nor does what was in a row only
// get lost.
func TestCrashAfterRow(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		time.Sleep(time.Minute)
		before, err := w.store.ReaderPosition(readerName)
		w.ok(err)
		w.say(log, alice)
		w.sent("message 1×1")
		w.say(log, alice) // waits for the window, as a row
		w.nothingWaits()
		next := w.crash() // at once: the position is written within seconds
		if at, err := next.store.ReaderPosition(readerName); err != nil || at != before {
			t.Fatalf("the position is %d, %v; the test needs %d", at, err, before)
		}
		next.start()
		next.sent()
		next.nothingWaits()
		time.Sleep(3500 * time.Millisecond)
		next.sent("messages 2×2")
		if st := next.row(key{bob, 7, log}); st == nil || st.Window != 2 {
			t.Errorf("the row is %+v", st)
		}
		next.end()
	})
}

// TestCrashWhileWaiting: a message that a connected device had not acknowledged is looked at again.
func TestCrashWhileWaiting(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.live.connect(bob, 7, doubleLink{})
		w.say(log, alice)
		time.Sleep(7 * time.Second)
		next := w.crash()
		next.live.disconnect(bob, 7)
		next.start()
		next.sent("message 1×1")
		next.nothingWaits()
		next.end()
	})
}

// TestCrashBeforeClear: what was read before a crash goes from the phone after it.
func TestCrashBeforeClear(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.say(log, alice)
		w.sent("message 1×1")
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.before = gate })
		w.read(log, bob, 1)
		synctest.Wait()
		time.Sleep(time.Minute)
		next := w.crash()
		close(gate)
		next.start()
		next.sent("clear 0×0")
		next.nothingWaits()
		if st := next.row(key{bob, 7, log}); st != nil {
			t.Errorf("a row is left: %+v", st)
		}
		next.end()
	})
}

// TestClosedInBetween: what is committed while no bridge runs is told by the next one; what was committed before there was
// a first one is not.
func TestClosedInBetween(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		alice, bob, log := two(w)
		w.say(log, alice)
		w.start()
		w.sent()
		w.ok(w.b.Close())
		w.say(log, alice)
		w.start()
		w.sent("message 2×2")
		w.nothingWaits()
		w.ok(w.b.Close())
		w.read(log, bob, 2)
		w.start()
		w.sent("clear 0×0")
	})
}

// TestFirstSeconds: a crash within the first seconds of the first bridge, before any position was written, forgets nothing.
func TestFirstSeconds(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		alice, _, log := two(w)
		w.say(log, alice)
		w.start()
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.before = gate })
		w.say(log, alice)
		synctest.Wait()
		next := w.crash()
		close(gate)
		if at, err := next.store.ReaderPosition(readerName); err != nil || at != 0 {
			t.Fatalf("the position is %d, %v; the test needs none", at, err)
		}
		next.start()
		next.sent("message 2×2")
		next.end()
	})
}

// TestDecidedOnceMore: entries that are read again settle nothing twice.
func TestDecidedOnceMore(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		from, _ := w.store.Bounds()
		w.say(log, alice)
		w.sent("message 1×1")
		for range 299 {
			w.say(log, alice)
		}
		time.Sleep(4 * time.Second)
		w.sent("messages 300×300")
		w.ok(w.b.Close())
		w.store.PutReaderPosition(readerName, from)
		w.ok(w.store.Update(context.Background(), store.Update{Rows: []store.RowPut{{Table: tableBegun, Value: make([]byte, 8)}}}))
		w.start()
		w.sent()
		w.nothingWaits()
		if st := w.row(key{bob, 7, log}); st == nil || st.Done != 300 {
			t.Errorf("the row is %+v", st)
		}
	})
}
