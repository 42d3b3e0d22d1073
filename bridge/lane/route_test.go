package lane

import (
	"container/heap"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// owner is what the bridge does with what it wants to send: it submits, and again when it is told to.
type owner struct {
	l       *Lane
	pending int
	counts  map[Action]int
	tries   int // submissions, refused ones included
	next    due
	told    chan *job
}

type dueJob struct {
	at time.Time
	j  *job
}

type due []dueJob

func (d due) Len() int           { return len(d) }
func (d due) Less(i, k int) bool { return d[i].at.Before(d[k].at) }
func (d due) Swap(i, k int)      { d[i], d[k] = d[k], d[i] }
func (d *due) Push(x any)        { *d = append(*d, x.(dueJob)) }
func (d *due) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

func newOwner(l *Lane, jobs int) *owner {
	o := &owner{l: l, counts: make(map[Action]int), told: make(chan *job, jobs), pending: jobs}
	for i := range jobs {
		o.next = append(o.next, dueJob{time.Now(), &job{to: to(l.cfg.Name, i), done: func(j *job) { o.told <- j }}})
	}
	return o
}

// run submits what is due for a while, or until nothing is left. It looks ten times a second while the lane has something.
func (o *owner) run(d time.Duration) {
	for end := time.Now().Add(d); o.pending > 0 && time.Now().Before(end); time.Sleep(o.rest(end)) {
		for more := true; more; {
			select {
			case j := <-o.told:
				j.did.Store(0)
				o.counts[j.result.Action]++
				if j.result.Action != Again {
					o.pending--
					continue
				}
				j.tries++
				heap.Push(&o.next, dueJob{j.result.At, j})
			default:
				more = false
			}
		}
		for len(o.next) > 0 && !o.next[0].at.After(time.Now()) {
			j := o.next[0].j
			o.tries++
			if again, ok := o.l.Submit(j); ok {
				heap.Pop(&o.next)
			} else {
				o.next[0].at = again
				heap.Fix(&o.next, 0)
			}
		}
		synctest.Wait()
	}
}

func (o *owner) rest(end time.Time) time.Duration {
	d := 100 * time.Millisecond
	if o.pending > 0 && len(o.next) == o.pending {
		d = max(d, min(time.Until(o.next[0].at), time.Until(end)))
	}
	return d
}

// Two hours of outage: few attempts, none beside the probe, and afterwards everything goes out, in a ramp.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(50*time.Millisecond, push.Delivered)}
		l := newLane(t, p, nil)
		warm(t, l, p, 1)
		p.set(slowly(50*time.Millisecond, push.Unavailable))
		o := newOwner(l, 2000)
		o.run(2 * time.Minute)
		wantState(t, l, Down)
		if s := l.Status(); s.Queued["chat"] != 0 || s.InFlight != 0 {
			t.Fatalf("jobs are kept during an outage: %+v", s)
		}
		p.attempts()
		o.run(2 * time.Hour)
		wantState(t, l, Down)
		n, most := p.attempts()
		if n < 60 || n > 130 || most > 1 {
			t.Fatalf("%d attempts in two hours, %d at once: want a probe a minute", n, most)
		}
		if per := float64(o.tries) / 2000; per > 250 {
			t.Fatalf("each job was submitted %v times", per)
		}

		p.set(slowly(50*time.Millisecond, push.Delivered))
		began := time.Now()
		o.run(10 * time.Minute)
		if o.pending != 0 || o.counts[Sent] != 2000 {
			t.Fatalf("%d left, %v", o.pending, o.counts)
		}
		if took := time.Since(began); took > 4*time.Minute {
			t.Fatalf("recovered after %v", took)
		}
		t.Logf("2000 jobs over 2 h: %d probes, %d submissions, recovered in %v", n, o.tries, time.Since(began))
	})
}

// Once the probe is answered what is in flight doubles with every round.
func TestRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(50*time.Millisecond, push.Unavailable)}
		l := newLane(t, p, func(c *Config) { c.InFlight = 64; c.Queue = 10_000 })
		for i := range breakAfter {
			chat(t, l, i)
		}
		time.Sleep(breakAfter * 60 * time.Millisecond)
		wantState(t, l, Down)
		p.set(slowly(50*time.Millisecond, push.Delivered))
		time.Sleep(2 * time.Second)
		chat(t, l, 1)
		if _, ok := l.Submit(&job{to: to(graph.APNs, 2)}); ok {
			t.Fatal("two probes")
		}
		time.Sleep(51 * time.Millisecond)
		wantState(t, l, Recovering)
		for i := range 1000 {
			chat(t, l, i)
		}
		var most []int
		time.Sleep(25 * time.Millisecond) // look in the middle of each round
		p.attempts()
		for range 7 {
			time.Sleep(50 * time.Millisecond)
			_, m := p.attempts()
			most = append(most, m)
		}
		if want := []int{4, 8, 16, 32, 64, 64, 64}; fmt.Sprint(most) != fmt.Sprint(want) {
			t.Fatalf("in flight by round: %v, want %v", most, want)
		}
		wantState(t, l, Open)
	})
}

// Nothing is answered: attempts end at the deadline, the next one goes alone, and after the second the lane is held.
func TestBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(time.Hour, push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.Queue = 2000 })
		warm(t, l, p, 1)
		var jobs []*job
		for i := range 600 {
			jobs = append(jobs, chat(t, l, i))
		}
		time.Sleep(9 * time.Second)
		if n, _ := p.attempts(); n != 500 {
			t.Fatalf("%d in flight", n)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		for _, j := range jobs[:500] {
			if r := j.result; r.Action != Again || !r.Tried || r.Answer.Outcome != push.Unknown || !near(r.At, 0) {
				t.Fatalf("%+v in %v", r, time.Until(r.At))
			}
		}
		if n, most := p.attempts(); n != 1 || most > 501 {
			t.Fatalf("%d more are sent into the black hole", n)
		}
		if s := l.Status(); s.InFlight != 1 || s.Queued["chat"] != 99 {
			t.Fatalf("%+v", s)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantState(t, l, Down)
		if s := l.Status(); s.Why != "timeout" || s.InFlight != 0 || s.Queued["chat"] != 0 {
			t.Fatalf("%+v", s)
		}
	})

	// The connection was the hole, and the provider is there over another one: everything goes on within 12 seconds.
	synctest.Test(t, func(t *testing.T) {
		var hole atomic.Bool
		hole.Store(true)
		p := &phones{answer: func(ctx context.Context, _ *push.Push) push.Answer {
			if hole.Load() {
				<-ctx.Done()
				return push.Answer{Err: ctx.Err()}
			}
			time.Sleep(50 * time.Millisecond)
			return push.Answer{Outcome: push.Delivered}
		}}
		l := newLane(t, p, nil)
		warm(t, l, p, 1)
		o := newOwner(l, 600)
		time.AfterFunc(time.Second, func() { hole.Store(false) })
		began := time.Now()
		o.run(time.Minute)
		if took := time.Since(began); o.counts[Sent] != 600 || took > 12500*time.Millisecond {
			t.Fatalf("%v after %v", o.counts, took)
		}
	})
}

// A provider that notices by itself that nobody is there is held as soon, whatever it calls it.
func TestBlackHoleThatTheProviderNotices(t *testing.T) {
	for _, o := range []push.Outcome{push.Unknown, push.Unavailable} {
		synctest.Test(t, func(t *testing.T) {
			p := &phones{answer: func(context.Context, *push.Push) push.Answer {
				time.Sleep(6 * time.Second)
				return push.Answer{Outcome: o, Reason: "connection"}
			}}
			l := newLane(t, p, nil)
			for i := range 10 {
				chat(t, l, i)
			}
			time.Sleep(12100 * time.Millisecond)
			synctest.Wait()
			wantState(t, l, Down)
			if n, most := p.attempts(); n != 2 || most != 1 {
				t.Fatalf("%s: %d attempts, %d at once", o, n, most)
			}
		})
	}
}

// Some pushes fail and others do not: the lane goes on.
func TestFewFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		p := &phones{answer: func(context.Context, *push.Push) push.Answer {
			time.Sleep(20 * time.Millisecond)
			switch n.Add(1) % 10 {
			case 3:
				return push.Answer{Outcome: push.Unavailable, Status: 503}
			case 7:
				return push.Answer{Err: context.Canceled}
			}
			return push.Answer{Outcome: push.Delivered}
		}}
		l := newLane(t, p, nil)
		o := newOwner(l, 2000)
		o.run(time.Hour)
		if o.counts[Sent] != 2000 {
			t.Fatalf("%v, %+v", o.counts, l.Status())
		}
		for _, r := range l.routes {
			if r.falls != 0 {
				t.Fatalf("it went down %d times", r.falls)
			}
		}
	})
}

// A probe that is not needed any more, or whose device the lane may not push to, is none: the next one is.
func TestProbeThatNeverWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: always(push.Denied)}
		l := newLane(t, p, nil)
		chat(t, l, 1)
		synctest.Wait()
		wantState(t, l, Denied)
		time.Sleep(80 * time.Second)
		p.set(always(push.Delivered))
		if _, ok := l.Submit(&job{none: true, to: to(graph.APNs, 1)}); !ok {
			t.Fatal("refused")
		}
		synctest.Wait()
		wantState(t, l, Denied)
		j := chat(t, l, 2)
		synctest.Wait()
		if j.result.Action != Sent {
			t.Fatalf("%+v", j.result)
		}
		wantState(t, l, Recovering)
	})
}

// One provider that hangs does not touch another one's lane.
func TestLanesShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &phones{answer: slowly(time.Hour, push.Delivered)}
		good := &phones{answer: slowly(20*time.Millisecond, push.Delivered)}
		a := newLane(t, hung, nil)
		b := newLane(t, good, func(c *Config) { c.Name = graph.FCM; c.InFlight = 90 })
		warm(t, a, hung, 1)
		warm(t, b, good, 1)
		for i := range 1000 {
			chat(t, a, i)
		}
		began := time.Now()
		var took atomic.Int64
		var sent atomic.Int32
		for i := range 360 {
			b.Submit(&job{to: to(graph.FCM, i), done: func(*job) { sent.Add(1); took.Store(int64(time.Since(began))) }})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if took := time.Duration(took.Load()); sent.Load() != 360 || took != 80*time.Millisecond {
			t.Fatalf("%d in %v, want 360 in four rounds of 20 ms", sent.Load(), took)
		}
	})
}

// The development environment of APNs fails by itself.
func TestSandboxIsARouteOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: func(_ context.Context, m *push.Push) push.Answer {
			if m.To.Sandbox {
				return push.Answer{Outcome: push.Denied, Status: 403, Reason: "BadEnvironmentKeyInToken"}
			}
			return push.Answer{Outcome: push.Delivered}
		}}
		l := newLane(t, p, nil)
		dev := to(graph.APNs, 1)
		dev.Sandbox = true
		chat(t, l, 2)
		l.Submit(&job{to: dev})
		synctest.Wait()
		if _, ok := l.Submit(&job{to: dev}); ok {
			t.Fatal("the sandbox refuses us, and is asked")
		}
		j := chat(t, l, 2)
		synctest.Wait()
		if j.result.Action != Sent {
			t.Fatalf("%+v", j.result)
		}
		s := l.Status()
		if s.State != Partly || s.Why != "1 of 2 routes" || s.Routes[0].Name != "/sandbox" || s.Routes[0].State != Denied ||
			s.Routes[0].Why != "BadEnvironmentKeyInToken" {
			t.Fatalf("%+v", s)
		}
	})
}

func webpush(host string, n int) graph.Registration {
	r := to(graph.WebPush, n)
	r.Token = fmt.Sprintf("https://%s/%d", host, n)
	return r
}

// Hosts of users that hang, fail or refuse: the one that everybody uses does not notice.
func TestHostileHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: func(ctx context.Context, m *push.Push) push.Answer {
			switch m.To.App {
			case "hangs":
				<-ctx.Done()
				return push.Answer{Err: ctx.Err()}
			case "fails":
				return push.Answer{Outcome: push.Unavailable, Status: 503}
			case "busy":
				return push.Answer{Outcome: push.Busy, Status: 429, RetryAfter: time.Hour}
			case "denies":
				return push.Answer{Outcome: push.Denied, Status: 401}
			case "suspects":
				return push.Answer{Outcome: push.Suspect, Status: 403}
			}
			time.Sleep(50 * time.Millisecond)
			return push.Answer{Outcome: push.Delivered, Status: 201}
		}}
		l := newLane(t, p, func(c *Config) { c.Name = graph.WebPush; c.InFlight = 100; c.Queue = 400 })
		n := 0
		submit := func(host, kind string, done func(*job)) bool {
			n++
			r := webpush(host, n)
			r.App = kind
			_, ok := l.Submit(&job{to: r, done: done})
			return ok
		}
		for range guardLeast {
			submit("good.example", "", nil)
		}
		time.Sleep(time.Second)

		for second := range 60 {
			for i := range 300 {
				submit(fmt.Sprintf("hole-%d.example", i), "hangs", nil)
			}
			for _, kind := range []string{"hangs", "fails", "busy", "denies", "suspects"} {
				for range 100 {
					submit(kind+".example", kind, nil)
				}
			}
			// 20 pushes over the good host in each second.
			began := time.Now()
			var sent, late atomic.Int32
			for i := range 20 {
				if !submit("good.example", "", func(j *job) {
					if j.result.Action == Sent {
						sent.Add(1)
						if time.Since(began) > 300*time.Millisecond {
							late.Add(1)
						}
					}
				}) {
					t.Fatalf("second %d: push %d over the good host is refused: %+v", second, i, l.Status())
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if sent.Load() != 20 || late.Load() != 0 {
				t.Fatalf("second %d: %d of 20 went, %d late: %+v", second, sent.Load(), late.Load(), l.Status())
			}
		}
		s := l.Status()
		if s.State != Partly || len(s.Routes) != maxRouteStatus {
			t.Fatalf("%+v", s)
		}
		for _, r := range s.Routes {
			if r.Name != "" && r.Name != "good.example" {
				t.Fatalf("a host of one's own is named: %+v", r)
			}
		}
	})
}

// A host that hangs after it was well has three quarters of the slots at most.
func TestAHostThatTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turned atomic.Bool
		p := &phones{answer: func(ctx context.Context, m *push.Push) push.Answer {
			if turned.Load() && m.To.App == "evil" {
				<-ctx.Done()
				return push.Answer{Err: ctx.Err()}
			}
			return push.Answer{Outcome: push.Delivered, Status: 201}
		}}
		l := newLane(t, p, func(c *Config) { c.Name = graph.WebPush })
		submit := func(host, kind string, n int) *job {
			r := webpush(host, n)
			r.App = kind
			j := &job{to: r}
			l.Submit(j)
			return j
		}
		for i := range guardLeast {
			submit("evil.example", "evil", i)
			submit("good.example", "", i)
			synctest.Wait()
		}
		turned.Store(true)
		for i := range 1000 {
			submit("evil.example", "evil", i)
		}
		synctest.Wait()
		if s := l.Status(); s.InFlight != 75 || s.Queued["chat"] > 200 {
			t.Fatalf("%+v", s)
		}
		for i := range 25 {
			j := submit("good.example", "", i)
			synctest.Wait()
			if j.result.Action != Sent {
				t.Fatalf("%+v", j.result)
			}
		}
	})
}

// Hosts come and go, and are forgotten; those that have something to do are not.
func TestHostsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: always(push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.Name = graph.WebPush })
		for i := range maxRoutes + 500 {
			l.Submit(&job{to: webpush(fmt.Sprintf("host-%d.example", i), i)})
			time.Sleep(time.Millisecond)
		}
		if len(l.routes) != maxRoutes || l.routes["host-0.example"] != nil {
			t.Fatalf("%d routes", len(l.routes))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(time.Hour, push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.Name = graph.WebPush; c.Queue = 4 * maxRoutes })
		for i := range maxRoutes {
			if _, ok := l.Submit(&job{class: push.Class(i % 3), to: webpush(fmt.Sprintf("host-%d.example", i), i)}); !ok {
				t.Fatal("refused")
			}
		}
		if at, ok := l.Submit(&job{to: webpush("one-more.example", 1)}); ok || time.Until(at) < time.Minute {
			t.Fatalf("one host too many: %v %v", at, ok)
		}
	})
}
