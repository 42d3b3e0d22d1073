package bridge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
)

// two are alice, who writes, and bob, whose phone is registered, and their conversation.
func two(w *world) (alice, bob store.AccountID, log store.LogID) {
	w.t.Helper()
	alice, bob = w.account("alice"), w.account("bob")
	w.register(bob, 7)
	w.register(alice, 5)
	log = w.pair(alice, bob)
	return alice, bob, log
}

// TestAway: a device that is not connected rings once, and the next messages are told together after a window.
func TestAway(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		k := key{bob, 7, log}
		w.say(log, alice)
		w.sent("message 1×1")
		w.nothingWaits()
		for range 5 {
			w.say(log, alice)
		}
		synctest.Wait()
		asked := w.rules.questions()
		for range 100 {
			w.say(log, alice)
		}
		w.sent()
		w.nothingWaits()
		if n := w.rules.questions(); n != asked {
			t.Errorf("the rules were asked %d times about messages that a row tells of", n-asked)
		}
		if st := w.row(k); st == nil || !st.waiting() || st.First != 2 {
			t.Fatalf("the row of what waits is %+v", st)
		}
		time.Sleep(3500 * time.Millisecond)
		w.sent("messages 106×106")
		if st := w.row(k); st == nil || st.Shown != 106 || st.Done != 106 || st.waiting() || st.Window != 2 {
			t.Errorf("the row of what was told is %+v", st)
		}
		w.nothingWaits()
	})
}

// TestConnected: a device that is connected is given its seconds; what it acknowledges is never asked about.
func TestConnected(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.live.connect(bob, 7, doubleLink{})
		w.say(log, alice)
		w.say(log, alice)
		time.Sleep(5 * time.Second)
		w.sent()
		if at, n := w.b.ledger.passed(); n == 0 {
			t.Errorf("the position is at %d, past what is not settled", at)
		}
		w.ack(bob, 7, log, 2)
		time.Sleep(5 * time.Second)
		w.sent()
		w.nothingWaits()
		if n := w.rules.questions(); n != 0 {
			t.Errorf("the rules were asked %d times", n)
		}
		if st := w.row(key{bob, 7, log}); st != nil {
			t.Errorf("there is a row: %+v", st)
		}
	})
}

// TestUnanswered: what a connected device does not acknowledge rings after its seconds; what came later has its own.
func TestUnanswered(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.live.connect(bob, 7, doubleLink{})
		w.say(log, alice)
		time.Sleep(4 * time.Second)
		w.ack(bob, 7, log, 1)
		w.say(log, alice)
		began := time.Now()
		time.Sleep(4500 * time.Millisecond) // the first one's seconds are over
		w.sent()
		for len(w.lane.taken()) == 0 {
			time.Sleep(100 * time.Millisecond)
			if time.Since(began) > time.Minute {
				t.Fatal("it never rang")
			}
		}
		if d := time.Since(began); d < w.b.cfg.Grace || d > w.b.cfg.Grace+time.Second {
			t.Errorf("the second message rang after %v", d)
		}
		w.sent("message 2×2")
		w.nothingWaits()
	})
}

func (l *doubleLane) taken() []*push.Push {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pushes
}

// TestStalls: a device that acknowledged for a while and then no more is woken within its seconds and a quarter of them.
func TestStalls(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.live.connect(bob, 7, doubleLink{})
		for i := range store.Seq(20) {
			w.say(log, alice)
			if i < 10 {
				w.ack(bob, 7, log, i+1)
			}
			time.Sleep(500 * time.Millisecond)
		}
		// Message 11 was written 5 s after the first one, 5 s ago.
		time.Sleep(5500 * time.Millisecond)
		if len(w.lane.taken()) != 1 {
			t.Errorf("%d pushes 10.5 s after the first message that was not acknowledged", len(w.lane.taken()))
		}
	})
}

// TestOverdue: a connection that has missed its keepalive has less time.
func TestOverdue(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.live.connect(bob, 7, doubleLink{overdue: true})
		w.say(log, alice)
		time.Sleep(2900 * time.Millisecond)
		w.sent()
		time.Sleep(400 * time.Millisecond)
		w.sent("message 1×1")
	})
}

// TestDetached: a device that goes away with a message unacknowledged is woken at once.
func TestDetached(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.live.connect(bob, 7, doubleLink{})
		w.say(log, alice)
		time.Sleep(time.Second)
		w.sent()
		w.live.disconnect(bob, 7)
		w.b.Detached(bob, 7)
		w.sent("message 1×1")
		w.nothingWaits()
	})
}

// TestDetachedMeanwhile: a connection that ends, or a change, while the rules are being asked is not overlooked.
func TestDetachedMeanwhile(t *testing.T) {
	for name, tell := range map[string]func(w *world, a store.AccountID){
		"detached": func(w *world, a store.AccountID) { w.b.Detached(a, 8) },
		"changed":  func(w *world, a store.AccountID) { w.ok(w.b.Changed(a, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			double(t, func(t *testing.T, w *world) {
				w.start()
				alice, bob, log := two(w)
				asked := 0
				w.rules.answer(func(_ key, _ *state, now time.Time) (verdict, error) {
					if asked++; asked > 1 {
						return verdict{}, nil
					}
					tell(w, bob)
					return verdict{action: wait, reason: ReasonActive, until: now.Add(15 * time.Second)}, nil
				})
				w.say(log, alice)
				time.Sleep(time.Second)
				w.sent("message 1×1")
				w.nothingWaits()
			})
		})
	}
}

// TestRead: a message that is read does not ring, one that rang is cleared, and one that is read while its push waits for
// its turn is not sent.
func TestRead(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		k := key{bob, 7, log}
		w.live.connect(bob, 7, doubleLink{})
		w.say(log, alice)
		w.read(log, bob, 1) // on another device
		w.nothingWaits()
		time.Sleep(10 * time.Second)
		w.sent()

		w.live.disconnect(bob, 7)
		w.say(log, alice)
		w.sent("message 2×1")
		w.read(log, bob, 2)
		w.sent("clear 0×0")
		if st := w.row(k); st != nil {
			t.Errorf("a row is left: %+v", st)
		}

		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.before = gate })
		w.say(log, alice)
		synctest.Wait()
		w.read(log, bob, 3)
		synctest.Wait()
		close(gate)
		w.sent()
		w.nothingWaits()
		if st := w.row(k); st != nil {
			t.Errorf("a row is left: %+v", st)
		}
	})
}

// TestRecall: what was told and taken back is looked at again, whoever's phone shows it.
func TestRecall(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, _, log := two(w)
		w.say(log, alice)
		w.sent("message 1×1")
		w.recall(log, alice, 1)
		w.sent("clear 0×0")
		w.nothingWaits()
	})
}

// TestMoreWhileFlying: a message that comes while a push is under way is told after it.
func TestMoreWhileFlying(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.after = gate })
		w.say(log, alice)
		synctest.Wait()
		if why, err := w.b.Why(t.Context(), bob, log, 1); err != nil || len(why) != 1 || why[0].Reason != ReasonAway || !why[0].Until.IsZero() {
			t.Errorf("while the push is on its way: %+v, %v", why, err)
		}
		w.sent("message 1×1")
		w.say(log, alice)
		w.sent()
		w.lane.set(func(l *doubleLane) { l.after = nil })
		close(gate)
		w.sent()
		time.Sleep(3500 * time.Millisecond)
		w.sent("messages 2×2")
		w.nothingWaits()
	})
}

// TestReadWhileFlying: what is read while its push is under way is cleared after it.
func TestReadWhileFlying(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.after = gate })
		w.say(log, alice)
		w.sent("message 1×1")
		w.read(log, bob, 1)
		w.sent()
		w.lane.set(func(l *doubleLane) { l.after = nil })
		close(gate)
		w.sent("clear 0×0")
		w.nothingWaits()
	})
}

// TestRetry: what came to nothing is tried again at the lane's time, as a row, with what came meanwhile.
func TestRetry(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.lane.set(func(l *doubleLane) {
			l.answers = func(*push.Push) lane.Result {
				return lane.Result{Action: lane.Again, At: time.Now().Add(time.Minute), Tried: true, Answer: push.Answer{Outcome: push.Unavailable}}
			}
		})
		w.say(log, alice)
		first := w.sent("message 1×1")
		w.nothingWaits()
		if st := w.row(key{bob, 7, log}); st == nil || st.Tries != 1 || !st.waiting() || st.Reason != ReasonRetry {
			t.Fatalf("the row is %+v", st)
		}
		w.b.Changed(bob, 0)
		time.Sleep(50 * time.Second)
		w.sent() // not before its time, whatever happens
		w.lane.set(func(l *doubleLane) { l.answers = nil })
		time.Sleep(11 * time.Second)
		second := w.sent("message 1×1")
		if first[0].ID != second[0].ID {
			t.Error("the second attempt has another identifier")
		}
		w.nothingWaits()
	})
}

// TestHeld: while the lane takes nothing there are rows and nothing else.
func TestHeld(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		up := time.Now().Add(2 * time.Minute)
		w.lane.set(func(l *doubleLane) {
			l.refuse = func() (time.Time, bool) { return time.Now().Add(10 * time.Second), time.Now().Before(up) }
		})
		for range 50 {
			w.say(log, alice)
		}
		w.sent()
		w.nothingWaits()
		if st := w.row(key{bob, 7, log}); st == nil || st.Reason != ReasonHeld || !st.waiting() {
			t.Fatalf("the row is %+v", st)
		}
		time.Sleep(110 * time.Second)
		w.sent()
		if n := w.b.rowsDue.Load(); n != 1 {
			t.Errorf("%d rows are due", n)
		}
		time.Sleep(25 * time.Second)
		w.sent("message 50×50")
		if n := w.b.rowsDue.Load(); n != 0 {
			t.Errorf("%d rows are due", n)
		}
	})
}

// TestTokenGone: only the registration that the push went to is removed.
func TestTokenGone(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		gone := func(*push.Push) lane.Result {
			return lane.Result{Action: lane.TokenGone, Answer: push.Answer{Outcome: push.Gone, Status: 410}}
		}
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.answers, l.after = gone, gate })
		w.say(log, alice)
		w.sent("message 1×1")
		time.Sleep(time.Second)
		w.register(bob, 7) // again, later: the token is good
		w.lane.set(func(l *doubleLane) { l.answers, l.after = nil, nil })
		close(gate)
		w.sent("message 1×1")

		time.Sleep(time.Second)
		w.lane.set(func(l *doubleLane) { l.answers = gone })
		time.Sleep(5 * time.Second)
		w.say(log, alice)
		w.sent("messages 2×2")
		r, err := w.graph.Registration(bob, 7)
		if err != nil || r != nil {
			t.Fatalf("the registration is %v, %v", r, err)
		}
		w.nothingWaits()
		if st := w.row(key{bob, 7, log}); st != nil {
			t.Errorf("a row is left: %+v", st)
		}
		w.say(log, alice)
		w.sent()
		why, err := w.b.Why(t.Context(), bob, log, 3)
		if err != nil || len(why) != 1 || why[0].Reason != ReasonNoToken {
			t.Errorf("why: %+v, %v", why, err)
		}
	})
}

// TestBare: too large once is sent without content, twice is the end.
func TestBare(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.lane.set(func(l *doubleLane) {
			l.answers = func(*push.Push) lane.Result {
				return lane.Result{Action: lane.Bare, Answer: push.Answer{Outcome: push.TooLarge}}
			}
		})
		w.say(log, alice)
		w.sent("message 1×1", "message 1×1")
		w.nothingWaits()
		if st := w.row(key{bob, 7, log}); st == nil || st.Reason != ReasonRefused || st.Done != 1 || st.Bare {
			t.Errorf("the row is %+v", st)
		}
	})
}

// TestCap: a device has so many pushes a minute; what is beyond becomes one summary.
func TestCap(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.conf = func(c *Config) { c.PerMin = 3 }
		w.start()
		bob := w.account("bob")
		w.register(bob, 7)
		var logs []store.LogID
		for i := range 8 {
			a := w.account(string(rune('k' + i)))
			logs = append(logs, w.pair(a, bob))
			w.say(logs[i], a)
			synctest.Wait()
		}
		w.sent("message 1×1", "message 1×1", "message 1×1")
		w.nothingWaits()
		time.Sleep(59 * time.Second)
		w.sent()
		time.Sleep(2 * time.Second)
		w.sent("summary 0×0")
		w.nothingWaits()
		why, err := w.b.Why(t.Context(), bob, logs[7], 1)
		if err != nil || len(why) != 3 || why[0].Reason != ReasonCapped || why[2].Reason != ReasonSummary || why[2].Answer == nil {
			t.Errorf("why: %+v, %v", why, err)
		}
		a := w.pair(w.account("zoe"), bob)
		w.say(a, 0)
		w.sent("message 1×1")
	})
}

// TestFold: what is folded is told in one summary at its time, whatever else is folded later.
func TestFold(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		morning := time.Now().Add(20 * time.Minute)
		w.rules.answer(func(k key, st *state, now time.Time) (verdict, error) {
			if k.log != 0 && now.Before(morning) {
				return verdict{action: fold, reason: ReasonQuiet, until: morning, upto: st.Last}, nil
			}
			return verdict{}, nil
		})
		carol := w.account("carol")
		other := w.pair(carol, bob)
		for range 10 {
			w.say(log, alice)
			w.say(other, carol)
		}
		w.nothingWaits()
		if st := w.row(key{bob, 7, log}); st != nil {
			t.Errorf("a row of what is folded: %+v", st)
		}
		if st := w.row(key{bob, 7, 0}); st == nil || st.Due != morning.UnixMilli() {
			t.Fatalf("the summary's row is %+v", st)
		}
		time.Sleep(time.Until(morning) + 200*time.Millisecond)
		w.sent("summary 0×0")
		time.Sleep(10 * time.Minute)
		w.sent()
		w.nothingWaits()
	})
}

// TestStoreFails: what cannot be decided or stored is decided again, and the position waits for it.
func TestStoreFails(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, _, log := two(w)
		broken := true
		w.rules.answer(func(key, *state, time.Time) (verdict, error) {
			if broken {
				return verdict{}, store.ErrUnavailable
			}
			return verdict{}, nil
		})
		w.say(log, alice)
		time.Sleep(5 * time.Second)
		w.sent()
		if _, n := w.b.ledger.passed(); n == 0 {
			t.Error("the position has passed what was not decided")
		}
		w.rules.mu.Lock()
		broken = false
		w.rules.mu.Unlock()
		time.Sleep(1200 * time.Millisecond)
		w.sent("message 1×1")
		w.nothingWaits()
	})
}

// TestNotMade: a push that could not be made, because the store did not answer when the lane asked for it, is made later.
func TestNotMade(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		asked := 0
		w.rules.answer(func(k key, _ *state, _ time.Time) (verdict, error) {
			if asked++; asked == 2 {
				return verdict{}, store.ErrUnavailable
			}
			return verdict{}, nil
		})
		w.say(log, alice)
		w.sent()
		if _, n := w.b.ledger.passed(); n == 0 {
			t.Error("the position has passed what was not told")
		}
		time.Sleep(1200 * time.Millisecond)
		w.sent("message 1×1")
		w.nothingWaits()

		// The same where a row stands for it.
		w.read(log, bob, 1)
		time.Sleep(time.Second)
		w.sent("clear 0×0")
		up := time.Now().Add(10 * time.Second)
		w.lane.set(func(l *doubleLane) { l.refuse = func() (time.Time, bool) { return up, time.Now().Before(up) } })
		w.say(log, alice)
		synctest.Wait()
		w.rules.mu.Lock()
		asked = 0
		w.rules.mu.Unlock()
		time.Sleep(13 * time.Second)
		w.sent("message 2×1")
		w.nothingWaits()
	})
}

// TestErased: the end of an account ends what waits for it.
func TestErased(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.after = gate })
		w.say(log, alice)
		w.sent("message 1×1")
		w.ok(w.store.EraseAccount(t.Context(), bob))
		close(gate)
		w.nothingWaits()
		rows, err := w.store.Rows(tableRing, store.OwnerOf(bob), "", "", 0)
		if err != nil || len(rows) != 0 {
			t.Errorf("%d rows are left, %v", len(rows), err)
		}
	})
}

// TestErasedMeanwhile: an account ends while a worker has given one push of it to the lane and writes about another one;
// what became of that push is known before the worker looks again.
func TestErasedMeanwhile(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		carol := w.account("carol")
		other := w.pair(carol, bob)
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.before = gate })
		w.rules.answer(func(k key, st *state, now time.Time) (verdict, error) {
			if k.log != other {
				return verdict{}, nil
			}
			w.ok(w.store.EraseAccount(t.Context(), bob))
			return verdict{action: wait, reason: ReasonWindow, until: now.Add(time.Minute), upto: st.Last}, nil
		})
		// The test is the worker: no other one takes what is queued already.
		sh := w.b.table.shard(bob)
		sh.mu.Lock()
		a := w.b.table.make(sh, key{bob, 7, log}).a
		a.queued = true
		sh.mu.Unlock()
		w.say(log, alice)
		w.say(other, carol)
		synctest.Wait()
		var p pass
		sh.mu.Lock()
		a.working = true
		for _, r := range a.rings {
			r.todo = false
			p.looks = append(p.looks, &look{r: r, base: r.st, news: r.news})
		}
		sh.mu.Unlock()
		if w.b.run(sh, a, &p); len(p.looks) != 2 || w.lane.offered != 1 {
			t.Fatalf("%d rings, %d pushes", len(p.looks), w.lane.offered)
		}
		close(gate)
		synctest.Wait()
		w.b.serve(a)
		w.nothingWaits()
	})
}
