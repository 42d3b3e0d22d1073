package lane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// TestRows is what is done about every outcome, row by row: first the answer, then what the lane says and does.
func TestRows(t *testing.T) {
	const sec, min = time.Second, time.Minute
	before, after := registered.Add(-time.Hour), registered.Add(time.Hour)
	tests := []struct {
		name    string
		answer  push.Answer
		tries   int
		bare    bool
		reached int // devices that were reached before

		action Action
		in     time.Duration // Again: at least, and at most half as long and two seconds more
		tried  bool
		state  State
	}{
		{"delivered", push.Answer{Outcome: push.Delivered, Status: 200}, 0, false, 0, Sent, 0, true, Open},

		{"gone, no time", push.Answer{Outcome: push.Gone, Status: 404}, 0, false, 0, TokenGone, 0, false, Open},
		{"gone after registration", push.Answer{Outcome: push.Gone, Status: 410, Since: after}, 0, false, 0, TokenGone, 0, false, Open},
		{"gone before registration", push.Answer{Outcome: push.Gone, Status: 410, Since: before}, 0, false, 0, Again, sec, false, Open},
		{"gone at registration", push.Answer{Outcome: push.Gone, Status: 410, Since: registered}, 2, false, 0, Again, 16 * sec, false, Open},
		{"gone before registration, for long", push.Answer{Outcome: push.Gone, Status: 410, Since: before}, 5, false, 0, Dropped, 0, false, Open},

		{"suspect beside successes", push.Answer{Outcome: push.Suspect, Status: 400}, 0, false, 10, TokenGone, 0, false, Open},
		{"suspect beside few", push.Answer{Outcome: push.Suspect, Status: 400}, 0, false, 9, Again, min, false, Open},
		{"suspect alone", push.Answer{Outcome: push.Suspect, Status: 400}, 0, false, 0, Again, min, false, Open},
		{"suspect alone, again and again", push.Answer{Outcome: push.Suspect, Status: 400}, 3, false, 0, Dropped, 0, false, Open},

		{"too large", push.Answer{Outcome: push.TooLarge, Status: 413}, 0, false, 0, Bare, 0, false, Open},
		{"too large without content", push.Answer{Outcome: push.TooLarge, Status: 413}, 1, true, 0, Dropped, 0, false, Open},

		{"rejected", push.Answer{Outcome: push.Rejected, Status: 400}, 0, false, 0, Dropped, 0, false, Open},

		{"device busy", push.Answer{Outcome: push.DeviceBusy, Status: 429}, 0, false, 0, Again, min, false, Open},
		{"device busy, with a time", push.Answer{Outcome: push.DeviceBusy, Status: 429, RetryAfter: 7 * sec}, 0, false, 0, Again, 7 * sec, false, Open},
		{"device busy for a year", push.Answer{Outcome: push.DeviceBusy, Status: 429, RetryAfter: 9000 * time.Hour}, 0, false, 0, Again, time.Hour, false, Open},

		{"busy", push.Answer{Outcome: push.Busy, Status: 429}, 0, false, 0, Again, min, false, Busy},
		{"busy, with a time", push.Answer{Outcome: push.Busy, Status: 429, RetryAfter: 7 * sec}, 0, false, 0, Again, 7 * sec, false, Busy},
		{"busy for a year", push.Answer{Outcome: push.Busy, Status: 429, RetryAfter: 9000 * time.Hour}, 0, false, 0, Again, time.Hour, false, Busy},

		{"unavailable, first", push.Answer{Outcome: push.Unavailable, Status: 503}, 0, false, 0, Again, sec, true, Open},
		{"unavailable, second", push.Answer{Outcome: push.Unavailable, Status: 503}, 1, false, 0, Again, 4 * sec, true, Open},
		{"unavailable, third", push.Answer{Outcome: push.Unavailable, Status: 503}, 2, false, 0, Again, 16 * sec, true, Open},
		{"unavailable, fourth", push.Answer{Outcome: push.Unavailable, Status: 503}, 3, false, 0, Again, min, true, Open},
		{"unavailable, fifth", push.Answer{Outcome: push.Unavailable, Status: 503}, 4, false, 0, Again, 4 * min, true, Open},
		{"unavailable, hundredth", push.Answer{Outcome: push.Unavailable, Status: 503}, 99, false, 0, Again, 4 * min, true, Open},
		{"unavailable, with a time", push.Answer{Outcome: push.Unavailable, Status: 503, RetryAfter: 30 * sec}, 0, false, 0, Again, 30 * sec, true, Open},
		{"unknown", push.Answer{Err: errors.New("EOF")}, 0, false, 0, Again, sec, true, Open},
		{"an outcome of tomorrow", push.Answer{Outcome: 200}, 0, false, 0, Again, sec, true, Open},

		{"expired", push.Answer{Outcome: push.Expired, Status: 403}, 0, false, 0, Again, 0, false, Open},
		{"denied", push.Answer{Outcome: push.Denied, Status: 403}, 0, false, 0, Again, min, false, Denied},
		{"blocked", push.Answer{Outcome: push.Blocked}, 0, false, 0, Dropped, 0, false, Open},
	}
	shown := make(map[push.Outcome]bool)
	for _, tt := range tests {
		shown[tt.answer.Outcome] = true
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &phones{answer: func(context.Context, *push.Push) push.Answer { return tt.answer }}
				l := newLane(t, p, nil)
				warm(t, l, p, tt.reached)
				j := &job{to: to(graph.APNs, 1), tries: tt.tries, bare: tt.bare}
				l.Submit(j)
				synctest.Wait()
				r := j.result
				if j.did.Load() != 1 || r.Action != tt.action || r.Tried != tt.tried || r.Push == nil || r.Answer.Status != tt.answer.Status {
					t.Fatalf("%+v", r)
				}
				if r.Action == Again && !near(r.At, tt.in) || r.Action != Again && !r.At.IsZero() {
					t.Fatalf("again in %v, want %v", time.Until(r.At), tt.in)
				}
				wantState(t, l, tt.state)
				if n, _ := p.attempts(); n != 1 {
					t.Fatalf("%d attempts", n)
				}
			})
		})
	}
	for _, o := range push.Outcomes() {
		if !shown[o] || rows[o].act == nil {
			t.Errorf("%s has no row", o)
		}
	}
}

func TestDeviceBusyHoldsThisDeviceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: func(_ context.Context, m *push.Push) push.Answer {
			if m.To.Device == 1 {
				return push.Answer{Outcome: push.DeviceBusy, Status: 429, RetryAfter: 20 * time.Second}
			}
			return push.Answer{Outcome: push.Delivered}
		}}
		l := newLane(t, p, nil)
		first := chat(t, l, 1)
		synctest.Wait()
		at, ok := l.Submit(&job{to: to(graph.APNs, 1)})
		if ok || !at.Equal(first.result.At) {
			t.Fatalf("the device is asked again: %v, %v", at, ok)
		}
		if j := chat(t, l, 2); true {
			synctest.Wait()
			if j.result.Action != Sent {
				t.Fatalf("another device: %+v", j.result)
			}
		}
		time.Sleep(time.Until(at))
		chat(t, l, 1)
	})
}

// Many busy devices cost bounded memory, and what has passed makes room.
func TestBusyDevicesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: always(push.DeviceBusy)}
		l := newLane(t, p, nil)
		for i := range maxDevices + 100 {
			chat(t, l, i)
			synctest.Wait()
		}
		if len(l.devices) != maxDevices {
			t.Fatalf("%d are remembered", len(l.devices))
		}
		time.Sleep(2 * time.Minute)
		chat(t, l, 1)
		synctest.Wait()
		if len(l.devices) != 1 {
			t.Fatalf("%d are remembered", len(l.devices))
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		p := &phones{}
		p.answer = func(context.Context, *push.Push) push.Answer {
			time.Sleep(10 * time.Millisecond)
			if busy.Load() {
				return push.Answer{Outcome: push.Busy, Status: 429, RetryAfter: 30 * time.Second}
			}
			return push.Answer{Outcome: push.Delivered}
		}
		l := newLane(t, p, func(c *Config) { c.InFlight = 100; c.Queue = 2000 })
		// Bulk goes at 100 a second.
		bulk := func(d time.Duration) (sent int) {
			p.attempts()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				l.Submit(&job{class: push.Bulk, to: to(graph.APNs, 1)})
			}
			sent, _ = p.attempts()
			return sent
		}
		if n := bulk(10 * time.Second); n < 900 {
			t.Fatalf("%d in 10 s", n)
		}
		time.Sleep(20 * time.Millisecond) // until nothing is under way
		busy.Store(true)
		var jobs []*job
		for i := range 50 {
			jobs = append(jobs, chat(t, l, i))
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		busy.Store(false)
		wantState(t, l, Busy)
		for _, j := range jobs {
			if j.result.Action != Again || !near(j.result.At, 29*time.Second) {
				t.Fatalf("%+v in %v", j.result, time.Until(j.result.At))
			}
		}
		if at, ok := l.Submit(&job{to: to(graph.APNs, 1)}); ok || !near(at, 29*time.Second) {
			t.Fatalf("taken while the provider asks for a pause: %v", time.Until(at))
		}
		if rate := l.Status().Quota.BulkNow; rate < 45 || rate > 55 {
			t.Fatalf("bulk has %v a second, want half of 100", rate)
		}
		time.Sleep(45 * time.Second)
		chat(t, l, 1)
		time.Sleep(20 * time.Millisecond)
		wantState(t, l, Recovering)
		if n := bulk(10 * time.Second); n < 400 || n > 800 {
			t.Fatalf("%d bulk pushes in 10 s, want somewhat more than half of 1,000", n)
		}
		// Meanwhile chat is not slowed.
		for i := range 50 {
			chat(t, l, 100+i)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if n := l.Status().Queued["chat"]; n != 0 {
			t.Fatalf("%d of chat wait", n)
		}
		// The rate grows by a tenth every ten seconds until nothing limits it.
		was := l.Status().Quota.BulkNow
		time.Sleep(70 * time.Second)
		if now := l.Status().Quota.BulkNow; now < 1.8*was || now > 2.4*was {
			t.Fatalf("bulk has %v a second, 70 s after %v", now, was)
		}
		time.Sleep(5 * time.Minute)
		if now := l.Status().Quota.BulkNow; now != 0 {
			t.Fatalf("bulk is still slowed to %v", now)
		}
	})
}

func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var valid atomic.Int64 // which credentials are
		p := &phones{}
		p.answer = func(context.Context, *push.Push) push.Answer {
			p.mu.Lock()
			have := p.renewals
			p.mu.Unlock()
			time.Sleep(50 * time.Millisecond)
			if int64(have) < valid.Load() {
				return push.Answer{Outcome: push.Expired, Status: 403, Reason: "ExpiredProviderToken"}
			}
			return push.Answer{Outcome: push.Delivered}
		}
		p.onRefresh = func() { time.Sleep(time.Second) } // an OAuth server is asked
		l := newLane(t, p, nil)
		for i := range 11 {
			chat(t, l, i)
		}
		time.Sleep(time.Second)

		// All of 100 under way say the same: new ones are made once, and nothing is sent meanwhile.
		valid.Store(1)
		var jobs []*job
		for i := range 100 {
			jobs = append(jobs, chat(t, l, i))
		}
		time.Sleep(60 * time.Millisecond)
		synctest.Wait()
		p.attempts()
		chat(t, l, 200)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if n, _ := p.attempts(); n != 0 {
			t.Fatalf("%d attempts with credentials that have expired", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if p.renewals != 1 {
			t.Fatalf("refreshed %d times", p.renewals)
		}
		for _, j := range jobs {
			if j.result.Action != Again || j.result.At.After(time.Now()) || j.result.Tried {
				t.Fatalf("%+v", j.result)
			}
		}
		wantState(t, l, Open)

		// An hour later once more.
		time.Sleep(time.Hour)
		valid.Store(2)
		chat(t, l, 1)
		time.Sleep(2 * time.Second)
		if j := chat(t, l, 1); true {
			time.Sleep(time.Second)
			synctest.Wait()
			if j.result.Action != Sent || p.renewals != 2 {
				t.Fatalf("%+v, refreshed %d times", j.result, p.renewals)
			}
		}

		// New ones that have expired as well are no good at all.
		valid.Store(10)
		chat(t, l, 1)
		time.Sleep(2 * time.Second)
		wantState(t, l, Open)
		j := chat(t, l, 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantState(t, l, Denied)
		if j.result.Action != Again || time.Until(j.result.At) < 50*time.Second {
			t.Fatalf("%+v", j.result)
		}

		// Every probe tries new ones, so that it ends when there are good ones.
		for i := 0; l.Status().State != Open && l.Status().State != Recovering; i++ {
			if i > 20 {
				t.Fatalf("still %+v, refreshed %d times", l.Status(), p.renewals)
			}
			time.Sleep(80 * time.Second)
			chat(t, l, 1)
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		if p.renewals != 10 {
			t.Fatalf("refreshed %d times", p.renewals)
		}
	})
}

func TestDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := &phones{answer: slowly(10*time.Millisecond, push.Denied)}
		l := newLane(t, p, func(c *Config) { c.InFlight = 4; c.Queue = 1000; c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		warm(t, l, p, 1)
		var jobs []*job
		for i := range 500 {
			jobs = append(jobs, chat(t, l, i))
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		// What is queued goes back, so that its owner may forget it.
		if n, _ := p.attempts(); n > 4 {
			t.Fatalf("%d attempts although the first was denied", n)
		}
		for _, j := range jobs {
			if j.result.Action != Again || !near(j.result.At, 59*time.Second) {
				t.Fatalf("%+v in %v", j.result, time.Until(j.result.At))
			}
		}
		wantState(t, l, Denied)
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Fatalf("%d errors in the log:\n%s", n, &log)
		}

		// One probe a minute, however many come.
		p.attempts()
		for range 10 * 60 {
			time.Sleep(time.Second)
			for i := range 5 {
				l.Submit(&job{to: to(graph.APNs, i)})
			}
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if n, most := p.attempts(); n < 7 || n > 10 || most > 1 {
			t.Fatalf("%d probes in 10 minutes, %d at once", n, most)
		}

		// An operator has mended it, and says so.
		p.set(always(push.Delivered))
		if !l.Resume() {
			t.Fatal("nothing to resume")
		}
		j := chat(t, l, 1)
		synctest.Wait()
		if j.result.Action != Sent {
			t.Fatalf("%+v", j.result)
		}
		wantState(t, l, Recovering)
		if l.Resume() {
			t.Fatal("resumed what goes")
		}
	})
}

func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: always(push.Blocked)}
		l := newLane(t, p, func(c *Config) { c.Name = graph.WebPush })
		try := func() Action {
			j := chat(t, l, 1)
			synctest.Wait()
			return j.result.Action
		}
		for range 10 {
			if a := try(); a != Dropped {
				t.Fatalf("an address that is blocked for a moment: %s", a)
			}
			time.Sleep(time.Hour)
		}
		// A success in between begins it anew.
		p.set(always(push.Delivered))
		try()
		p.set(always(push.Blocked))
		try()
		time.Sleep(23 * time.Hour)
		if a := try(); a != Dropped {
			t.Fatal(a)
		}
		time.Sleep(2 * time.Hour)
		if a := try(); a != TokenGone {
			t.Fatalf("after a day: %s", a)
		}
		if len(l.blocked) != 0 {
			t.Fatal("it is still remembered")
		}
		wantState(t, l, Open)
		for i := range 2 * maxDevices {
			chat(t, l, i)
			if i%64 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if len(l.blocked) > maxDevices {
			t.Fatalf("%d are remembered", len(l.blocked))
		}
	})
}

// Operators see no token, wherever a provider's error comes from, and a provider's words do not fill the metrics.
func TestWhatOperatorsSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		var n atomic.Int32
		p := &phones{answer: func(_ context.Context, m *push.Push) push.Answer {
			switch i := n.Add(1); {
			case i <= 100:
				return push.Answer{Outcome: push.Rejected, Status: 400, Reason: fmt.Sprintf("word %d of %s", i, m.To.Token), Err: fmt.Errorf("post %s: no", m.To.Token)}
			case i == 101:
				return push.Answer{Outcome: push.Rejected, Status: 400, Reason: "BadTopic"}
			case i == 102:
				return push.Answer{Outcome: push.Unavailable, Status: 503}
			case i == 103:
				return push.Answer{Err: fmt.Errorf("post %s: EOF", m.To.Token)}
			default:
				return push.Answer{Outcome: push.Delivered}
			}
		}}
		l := newLane(t, p, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)); c.Registerer = reg })
		for i := range 110 {
			chat(t, l, i)
			synctest.Wait()
			if s := fmt.Sprintf("%+v", l.Status()); strings.Contains(s, "token-") {
				t.Fatal(s)
			}
		}
		if s := l.Status(); !strings.Contains(s.LastError, "connection") || s.LastErrorAt.IsZero() {
			t.Fatalf("%q", s.LastError)
		}
		if strings.Contains(log.String(), "token-") || strings.Count(log.String(), "will not take") != 2 {
			t.Fatalf("log:\n%s", &log)
		}
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		refusals := make(map[string]float64)
		for _, f := range all {
			text += f.String() + "\n"
			if f.GetName() == "hwangso_push_refusals_total" {
				for _, m := range f.GetMetric() {
					key := ""
					for _, label := range m.GetLabel() {
						key += label.GetValue() + " "
					}
					refusals[key] = m.GetCounter().GetValue()
				}
			}
		}
		if want := map[string]float64{"rejected apns BadTopic ": 1, "rejected apns other ": 100, "unavailable apns http_503 ": 1,
			"unknown apns connection ": 1}; !maps.Equal(refusals, want) {
			t.Errorf("%v, want %v", refusals, want)
		}
		for _, want := range []string{"push_jobs_total", "push_attempts_total", "push_attempt_seconds", "push_queue_seconds", "push_in_flight",
			"push_queue_oldest_seconds", "push_queued", "push_state", "push_guard_trips_total", "push_tokens_removed_total", "push_bulk_rate"} {
			if !strings.Contains(text, "hwangso_"+want) {
				t.Errorf("no metric %s", want)
			}
		}
		if strings.Contains(text, "token-") {
			t.Error("a token in the metrics")
		}
		// Another provider's lane has the same names, the same provider's has not.
		if other, err := New(Config{Name: graph.FCM, Provider: p, Registerer: reg}); err != nil {
			t.Error(err)
		} else {
			other.Close()
		}
		if _, err := New(Config{Name: graph.FCM, Provider: p, Registerer: reg}); err == nil {
			t.Error("two lanes of one provider")
		}
	})
}
