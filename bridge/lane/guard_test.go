package lane

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// A wrong environment: every one of 10,000 tokens looks invalid, from the first push on or after a day on which all were
// reached. No more than a hundredth of them may go, the lane tells it, and everything arrives once it is mended.
func TestWrongEnvironment(t *testing.T) {
	for _, before := range []int{0, 50, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			const devices = 10_000
			var log bytes.Buffer
			var wrong atomic.Bool
			p := &phones{answer: func(context.Context, *push.Push) push.Answer {
				time.Sleep(20 * time.Millisecond)
				if wrong.Load() {
					return push.Answer{Outcome: push.Suspect, Status: 400, Reason: "BadDeviceToken"}
				}
				return push.Answer{Outcome: push.Delivered, Status: 200}
			}}
			l := newLane(t, p, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			o := newOwner(l, before)
			o.run(time.Hour)
			if o.counts[Sent] != before {
				t.Fatalf("%v", o.counts)
			}
			p.attempts()

			wrong.Store(true)
			o = newOwner(l, devices)
			o.run(10 * time.Minute)
			wantState(t, l, Guarded)
			n, _ := p.attempts()
			gone, dropped := o.counts[TokenGone], o.counts[Dropped]
			if gone > 1 || dropped > devices/100 || n > 500+100 {
				t.Fatalf("%d reached before: %d tokens went, %d pushes were dropped, %d attempts in 10 minutes", before, gone, dropped, n)
			}
			s := l.Status()
			if s.Guard.Trips != 1 || s.Guard.Tripped.IsZero() || s.Why != "BadDeviceToken" || s.Guard.Removed != uint64(gone) {
				t.Fatalf("%+v", s.Guard)
			}
			if c := strings.Count(log.String(), "every push token looks invalid"); c != 1 {
				t.Fatalf("%d lines about it:\n%s", c, &log)
			}
			t.Logf("%d reached before: %d tokens went, %d pushes dropped, %d attempts in 10 minutes", before, gone, dropped, n)

			wrong.Store(false)
			o.run(time.Hour)
			if o.pending != 0 || o.counts[Sent] != devices-gone-dropped {
				t.Fatalf("%d left, %v", o.pending, o.counts)
			}
			wantState(t, l, Open)
			if s := l.Status().Guard; s.Suspects != 0 {
				t.Fatalf("%+v", s)
			}
		})
	}
}

// Half of all tokens are of the wrong environment, and the others are reached all the time: successes stand beside every
// one, and still no more than a hundredth goes.
func TestWrongEnvironmentAmongGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 2000
		p := &phones{answer: func(_ context.Context, m *push.Push) push.Answer {
			if m.To.Device%2 == 1 {
				return push.Answer{Outcome: push.Suspect, Status: 400}
			}
			return push.Answer{Outcome: push.Delivered}
		}}
		l := newLane(t, p, nil)
		o := newOwner(l, devices)
		o.run(24 * time.Hour)
		if gone := o.counts[TokenGone]; gone == 0 || gone > devices/100 || o.counts[Sent] != devices/2 {
			t.Fatalf("%v, %+v", o.counts, l.Status())
		}
		t.Logf("%v", o.counts)
	})
}

// The same as a trickle: one bad one an hour beside those of a hundred good ones, for weeks.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: func(_ context.Context, m *push.Push) push.Answer {
			if m.To.Device >= 1000 {
				return push.Answer{Outcome: push.Suspect, Status: 400}
			}
			return push.Answer{Outcome: push.Delivered}
		}}
		l := newLane(t, p, nil)
		gone, days := 0, 20
		for hour := range 24 * days {
			for i := range 100 / 4 {
				chat(t, l, i+hour%4*25)
			}
			synctest.Wait()
			j := chat(t, l, 1000+hour)
			synctest.Wait()
			if j.result.Action == TokenGone {
				gone++
			}
			time.Sleep(time.Hour)
		}
		// One and one for a hundred devices, in a window of half a day or a day.
		if gone < days || gone > 4*days {
			t.Fatalf("%d tokens of %d went in %d days", gone, 24*days, days)
		}
	})
}

// An installation of three: one token that is bad for good trips nothing and stops nobody.
func TestOneBadTokenOfThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: func(_ context.Context, m *push.Push) push.Answer {
			if m.To.Device == 1 {
				return push.Answer{Outcome: push.Suspect, Status: 400}
			}
			return push.Answer{Outcome: push.Delivered}
		}}
		l := newLane(t, p, nil)
		for range 50 {
			bad := chat(t, l, 1)
			synctest.Wait()
			good := chat(t, l, 2)
			synctest.Wait()
			if bad.result.Action != Again || good.result.Action != Sent {
				t.Fatalf("%+v %+v", bad.result, good.result)
			}
			time.Sleep(time.Minute)
		}
		for range 50 { // and if nobody else is pushed to
			chat(t, l, 1)
			synctest.Wait()
		}
		wantState(t, l, Open)
	})
}

// Many bad tokens in a row, by chance: the probe is another device, and the lane goes on after a minute.
func TestBadTokensInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: func(_ context.Context, m *push.Push) push.Answer {
			if m.To.Device < 30 {
				return push.Answer{Outcome: push.Suspect, Status: 400}
			}
			return push.Answer{Outcome: push.Delivered}
		}}
		l := newLane(t, p, nil)
		warm(t, l, p, 100)
		for i := range 30 {
			l.Submit(&job{to: to(graph.APNs, i)})
			synctest.Wait()
		}
		wantState(t, l, Guarded)
		time.Sleep(76 * time.Second)
		for i := range 3 { // those that failed want to be first, and may not for a moment
			l.routes[""].until = time.Now()
			if _, ok := l.Submit(&job{to: to(graph.APNs, i)}); ok {
				t.Fatal("the probe is a token that looked invalid already")
			}
		}
		j := chat(t, l, 500)
		synctest.Wait()
		if j.result.Action != Sent {
			t.Fatalf("%+v", j.result)
		}
		wantState(t, l, Recovering)
	})
}

// Whatever comes in whatever order: what a guard takes away stands beside successes, and is little.
func TestGuardAgainstAModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		g := guard{bits: 1 << 13}
		now := time.Unix(1e9, 0)
		type event struct {
			at     time.Time
			device uint64
			good   bool
		}
		var events []event
		var removals []time.Time
		bad := rnd.Float64()
		fleet := 1 + rnd.IntN(3000)
		for range 2000 {
			now = now.Add(time.Duration(rnd.ExpFloat64() * float64(2*time.Minute)))
			e := event{now, rnd.Uint64N(uint64(fleet)) * 0x9e3779b97f4a7c15, rnd.Float64() >= bad}
			if rnd.IntN(400) == 0 {
				bad = rnd.Float64()
			}
			if e.good {
				g.delivered(e.device, now)
			} else if was := len(events); g.suspect(e.device, now) == remove {
				if was == 0 || !events[was-1].good {
					t.Fatal("a token went that no success stands beside")
				}
				removals = append(removals, now)
				// In the time that two windows cover at most: devices reached, and tokens that went.
				reached := make(map[uint64]bool)
				for _, o := range events {
					if o.good && now.Sub(o.at) < 2*guardWindow {
						reached[o.device] = true
					}
				}
				if len(reached) < guardLeast {
					t.Fatalf("a token went with %d devices reached", len(reached))
				}
				gone := 0
				for _, at := range removals {
					if now.Sub(at) < guardWindow { // what is surely in the windows
						gone++
					}
				}
				if gone > 1+len(reached)/guardPercent {
					t.Fatalf("%d tokens went with %d devices reached", gone, len(reached))
				}
			}
			events = append(events, e)
		}
	}
}
