package bridge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// TestQuietMeanwhile: what comes to a connected device while it is decided that what came before waits for the end of quiet
// hours is looked at: it may be of somebody who rings in them.
func TestQuietMeanwhile(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.live.connect(bob, 7, doubleLink{})
		asked := 0
		w.rules.answer(func(_ key, _ *state, now time.Time) (verdict, error) {
			if asked++; asked > 1 {
				return verdict{}, nil
			}
			w.say(log, alice)
			time.Sleep(time.Millisecond) // until the reader is past it
			return verdict{action: wait, reason: ReasonQuiet, until: now.Add(8 * time.Hour), upto: 1}, nil
		})
		w.say(log, alice)
		time.Sleep(time.Minute)
		if n := len(w.lane.taken()); n != 1 {
			t.Errorf("%d pushes of what came meanwhile", n)
		}
		w.nothingWaits()
	})
}

// TestLateMeanwhile: of two walks of a room that has shrunk the earlier one may come last; a message that comes late while
// it is found that the device has acknowledged the later one is looked at, because the device may have skipped it.
func TestLateMeanwhile(t *testing.T) {
	for name, worker := range map[string]bool{"in memory": false, "by a worker": true} {
		t.Run(name, func(t *testing.T) {
			double(t, func(t *testing.T, w *world) {
				alice, bob, log := two(w)
				w.say(log, alice) // before there is a bridge: the test tells of it
				w.start()
				k := key{bob, 7, log}
				late := func() {
					sh := w.b.table.shard(bob)
					sh.mu.Lock()
					seg := sh.find(k).news.first.seg
					sh.mu.Unlock()
					w.ok(w.b.arrived(k, graph.APNs, &walk{log: log, first: 1, last: 1, time: time.Now().UnixMilli()}, seg))
				}
				w.live.connect(bob, 7, doubleLink{})
				var first []store.Seq
				w.rules.answer(func(_ key, st *state, _ time.Time) (verdict, error) {
					if first = append(first, st.First); worker && len(first) == 1 {
						late()
					}
					return verdict{reason: ReasonAcked, upto: 2}, nil
				})
				if w.say(log, alice); worker {
					synctest.Wait()
					w.b.Detached(bob, 7)
				} else {
					w.live.asked = late
					c := store.Cursor{}.Skip(1).Ack(2)
					w.ok(w.store.SaveSession(t.Context(), &store.Session{Account: bob, Device: 7, Cursors: map[store.LogID]store.Cursor{log: c}}))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := len(first); n == 0 || first[n-1] != 1 {
					t.Errorf("the rules were asked about what begins with %d, not with 1 at last", first)
				}
				w.nothingWaits()
			})
		})
	}
}
