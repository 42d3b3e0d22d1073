package lane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// phones is a provider: answer says what each attempt comes to. It counts what is under way.
type phones struct {
	answer    func(ctx context.Context, p *push.Push) push.Answer
	onRefresh func()

	mu             sync.Mutex
	now, most      int
	sent, renewals int
	order          []push.Class
}

func (p *phones) Send(ctx context.Context, m *push.Push) push.Answer {
	p.mu.Lock()
	p.now++
	p.sent++
	p.most = max(p.most, p.now)
	p.order = append(p.order, m.Class)
	answer := p.answer
	p.mu.Unlock()
	a := answer(ctx, m)
	p.mu.Lock()
	p.now--
	p.mu.Unlock()
	return a
}

func (p *phones) Refresh() {
	p.mu.Lock()
	p.renewals++
	p.mu.Unlock()
	if p.onRefresh != nil {
		p.onRefresh()
	}
}

// set changes what attempts come to from now on.
func (p *phones) set(answer func(ctx context.Context, m *push.Push) push.Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *phones) Close() error { return nil }

// attempts is how many there were since it was asked last, and how many at once.
func (p *phones) attempts() (sent, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent, most = p.sent, p.most
	p.sent, p.most = 0, p.now
	return sent, most
}

func always(o push.Outcome) func(context.Context, *push.Push) push.Answer {
	return func(context.Context, *push.Push) push.Answer { return push.Answer{Outcome: o} }
}

// slowly answers after a while.
func slowly(d time.Duration, o push.Outcome) func(context.Context, *push.Push) push.Answer {
	return func(ctx context.Context, _ *push.Push) push.Answer {
		select {
		case <-time.After(d):
			return push.Answer{Outcome: o, Status: 200}
		case <-ctx.Done():
			return push.Answer{Err: ctx.Err()}
		}
	}
}

// job is one push of a test. What became of it is in result, and then it calls done.
type job struct {
	class  push.Class
	to     graph.Registration
	tries  int
	bare   bool
	none   bool // Build returns nil
	did    atomic.Int32
	result Result
	done   func(*job)
}

func (j *job) Class() push.Class       { return j.class }
func (j *job) To() *graph.Registration { return &j.to }
func (j *job) Tries() int              { return j.tries }
func (j *job) Bare() bool              { return j.bare }

func (j *job) Build(context.Context) *push.Push {
	if j.none {
		return nil
	}
	return &push.Push{To: j.to, Class: j.class}
}

func (j *job) Done(r Result) {
	if j.did.Add(1) != 1 {
		panic("lane: Done is called twice")
	}
	j.result = r
	if j.done != nil {
		j.done(j)
	}
}

// registered is when the devices of tests registered.
var registered = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Hour)

func to(p graph.PushProvider, n int) graph.Registration {
	r := graph.Registration{Device: store.DeviceID(n), Provider: p, Token: fmt.Sprintf("token-%d", n), Time: registered.UnixMilli()}
	if p == graph.WebPush {
		r.Token = fmt.Sprintf("https://push.example/%d", n)
	}
	return r
}

func newLane(t testing.TB, p push.Provider, change func(*Config)) *Lane {
	t.Helper()
	cfg := Config{Name: graph.APNs, Provider: p}
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// chat submits a push to a device, and fails the test if it is refused.
func chat(t testing.TB, l *Lane, n int) *job {
	t.Helper()
	j := &job{to: to(l.cfg.Name, n)}
	if at, ok := l.Submit(j); !ok {
		t.Fatalf("refused until %v; %+v", at, l.Status())
	}
	return j
}

// warm sends pushes to as many devices, one after the other.
func warm(t testing.TB, l *Lane, p *phones, n int) {
	t.Helper()
	was := p.answer
	p.set(always(push.Delivered))
	for i := range n {
		j := chat(t, l, 1_000_000+i)
		synctest.Wait()
		if j.result.Action != Sent {
			t.Fatalf("warming up: %+v", j.result)
		}
	}
	p.set(was)
	p.attempts()
}

func wantState(t testing.TB, l *Lane, want State) {
	t.Helper()
	if s := l.Status(); s.State != want {
		t.Fatalf("state %s (%s), want %s", s.State, s.Why, want)
	}
}

// near reports whether a time is d from now, or up to half as long and two seconds more.
func near(at time.Time, d time.Duration) bool {
	got := time.Until(at)
	return got >= d && got <= d+d/2+2*time.Second
}

func TestOrderAndShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(time.Second, push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.InFlight = 8; c.Queue = 100 })
		warm(t, l, p, 1)
		p.order = nil
		n := 0
		submit := func(c push.Class, count int) {
			for range count {
				n++
				if _, ok := l.Submit(&job{class: c, to: to(graph.APNs, n)}); !ok {
					t.Fatal("refused")
				}
			}
		}
		submit(push.Bulk, 20)
		synctest.Wait()
		if s := l.Status(); s.InFlight != 2 || s.Queued["bulk"] != 18 {
			t.Fatalf("bulk may have a quarter of 8 slots: %+v", s)
		}
		submit(push.Clear, 20)
		synctest.Wait()
		if s := l.Status(); s.InFlight != 6 || s.Queued["clear"] != 16 {
			t.Fatalf("clear may have half of 8 slots: %+v", s)
		}
		submit(push.Chat, 20)
		synctest.Wait()
		if s := l.Status(); s.InFlight != 8 || s.Queued["chat"] != 18 {
			t.Fatalf("the last quarter is chat's: %+v", s)
		}
		// Whatever becomes free now is chat's, until it has nothing more.
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if s := l.Status(); s.InFlight != 8 || s.Queued["chat"] != 10 || s.Queued["clear"] != 16 || s.Queued["bulk"] != 18 {
			t.Fatalf("chat goes first: %+v", s)
		}
		time.Sleep(10*time.Second + 700*time.Millisecond)
		synctest.Wait()
		if s := l.Status(); s.InFlight != 0 || s.Queued["clear"]+s.Queued["bulk"] != 0 {
			// Chat has all slots until the third second; then 18 of bulk, two at a time: 9 seconds.
			t.Fatalf("clear kept bulk out: %+v", s)
		}
	})
}

func TestOneSlotIsSharedByTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(time.Millisecond, push.Delivered)}
		// The quota is the bottleneck: ten a second, of which the half that is not chat's comes at the same rate.
		l := newLane(t, p, func(c *Config) { c.InFlight = 4; c.Queue = 1000; c.Rate = 10; c.BulkRate = 10 })
		for i := range 400 {
			if _, ok := l.Submit(&job{class: push.Clear, to: to(graph.APNs, i)}); !ok {
				t.Fatal("refused")
			}
			if _, ok := l.Submit(&job{class: push.Bulk, to: to(graph.APNs, 1000+i)}); !ok {
				t.Fatal("refused")
			}
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		var sent [3]int
		p.mu.Lock()
		for _, c := range p.order {
			sent[c]++
		}
		p.mu.Unlock()
		if all := sent[push.Clear] + sent[push.Bulk]; all < 200 || all > 210 {
			t.Fatalf("%d pushes in 20 s at 10 a second", all)
		}
		if ratio := float64(sent[push.Clear]) / float64(sent[push.Bulk]); ratio < 2.5 || ratio > 3.5 {
			t.Fatalf("%d clear, %d bulk: want three to one", sent[push.Clear], sent[push.Bulk])
		}
		// The reserve is there for chat: five at once.
		var got atomic.Int32
		for i := range 5 {
			l.Submit(&job{to: to(graph.APNs, 5000+i), done: func(*job) { got.Add(1) }})
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if got.Load() < 4 {
			t.Fatalf("chat got %d of its reserve of 5", got.Load())
		}
	})
}

func TestBulkHasARateOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: always(push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.Queue = 1000; c.Rate = 100; c.BulkRate = 20 })
		warm(t, l, p, 1)
		for i := range 1000 {
			l.Submit(&job{class: push.Bulk, to: to(graph.APNs, i)})
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n, _ := p.attempts(); n < 200 || n > 225 {
			t.Fatalf("%d bulk pushes in 10 s, want 20 a second", n)
		}
		// A burst of chat goes beside it at once.
		for i := range 40 {
			chat(t, l, 2000+i)
		}
		synctest.Wait()
		if s := l.Status(); s.Queued["chat"] != 0 {
			t.Fatalf("chat waits: %+v", s)
		}
	})
}

func TestWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(100*time.Millisecond, push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.InFlight = 900; c.Queue = 900 })
		burst := func(why string) {
			t.Helper()
			for i := range 900 {
				chat(t, l, i)
			}
			synctest.Wait()
			if n, _ := p.attempts(); n != 1 {
				t.Fatalf("%s: %d pushes began at once", why, n)
			}
			time.Sleep(150 * time.Millisecond)
			synctest.Wait()
			if n, most := p.attempts(); n != 899 || most != 899 {
				t.Fatalf("%s: after the first was answered %d went, %d at once", why, n, most)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		burst("at the start")
		time.Sleep(2 * time.Minute)
		burst("after a long silence")

		// A broken connection: all of 100 come back without an answer, and the next one goes alone.
		p.set(func(context.Context, *push.Push) push.Answer {
			time.Sleep(10 * time.Millisecond)
			return push.Answer{Err: errors.New("EOF")}
		})
		for i := range 100 {
			chat(t, l, i)
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		wantState(t, l, Open)
		p.set(slowly(100*time.Millisecond, push.Delivered))
		p.attempts()
		burst("after the connection broke")
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(time.Second, push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.InFlight = 4; c.Queue = 10 })
		for i := range 11 { // the first one goes
			chat(t, l, i)
		}
		at, ok := l.Submit(&job{to: to(graph.APNs, 100)})
		if ok || !at.After(time.Now()) || time.Until(at) > 2*time.Second {
			t.Fatalf("the queue is full: %v %v", time.Until(at), ok)
		}
		// That of another class is not.
		if _, ok := l.Submit(&job{class: push.Bulk, to: to(graph.APNs, 100)}); !ok {
			t.Fatal("bulk is refused because chat is full")
		}
		time.Sleep(time.Until(at) + 3*time.Second)
		if _, ok := l.Submit(&job{to: to(graph.APNs, 100)}); !ok {
			t.Fatal("refused although some have gone")
		}
	})
}

func TestUnneeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: always(push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.InFlight = 4 })
		for i := range 20 {
			j := &job{none: true, to: to(graph.APNs, i)}
			l.Submit(j)
			synctest.Wait()
			if j.result.Action != Unneeded || j.result.Tried || j.result.Push != nil {
				t.Fatalf("%+v", j.result)
			}
		}
		if n, _ := p.attempts(); n != 0 {
			t.Fatalf("%d attempts", n)
		}
		if j := chat(t, l, 1); true {
			synctest.Wait()
			if j.result.Action != Sent {
				t.Fatalf("%+v; %+v", j.result, l.Status())
			}
		}
	})
}

// A device that registered elsewhere while its push waited is not pushed to by this provider: the token of another one
// looks invalid here.
func TestAnotherProvidersToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: always(push.Suspect)}
		l := newLane(t, p, nil)
		j := &moved{job: job{to: to(graph.APNs, 1)}, now: to(graph.FCM, 1)}
		l.Submit(j)
		synctest.Wait()
		if n, _ := p.attempts(); n != 0 || j.result.Action != Again || j.result.Tried {
			t.Fatalf("%d attempts, %+v", n, j.result)
		}
	})
}

type moved struct {
	job
	now graph.Registration
}

func (m *moved) Build(context.Context) *push.Push { return &push.Push{To: m.now} }

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phones{answer: slowly(3*time.Second, push.Delivered)}
		l := newLane(t, p, func(c *Config) { c.InFlight = 4 })
		warm(t, l, p, 1)
		var jobs []*job
		for i := range 16 {
			jobs = append(jobs, chat(t, l, i))
		}
		synctest.Wait()
		began := time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { l.Close() })
		}
		wg.Wait()
		if took := time.Since(began); took != 3*time.Second {
			t.Fatalf("waited %v for what was in flight", took)
		}
		count := map[Action]int{}
		for _, j := range jobs {
			if j.did.Load() != 1 {
				t.Fatal("a job was told nothing")
			}
			count[j.result.Action]++
			if j.result.Action == Again && j.result.At.After(began) {
				t.Fatalf("come back at %v", j.result.At)
			}
		}
		if count[Sent] != 4 || count[Again] != 12 {
			t.Fatalf("%v", count)
		}
		if _, ok := l.Submit(&job{}); ok {
			t.Fatal("took a job after Close")
		}
		wantState(t, l, Closed)
	})
}

func TestValidate(t *testing.T) {
	good := Config{Name: graph.FCM, Provider: &phones{}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no name":               func(c *Config) { c.Name = "" },
		"no provider":           func(c *Config) { c.Provider = nil },
		"nothing to set aside":  func(c *Config) { c.InFlight = 3 },
		"negative in flight":    func(c *Config) { c.InFlight = -1 },
		"negative queue":        func(c *Config) { c.Queue = -1 },
		"negative time":         func(c *Config) { c.Timeout = -1 },
		"negative rate":         func(c *Config) { c.Rate = -1 },
		"no number":             func(c *Config) { c.Rate = math.NaN() },
		"more bulk than is":     func(c *Config) { c.Rate = 10; c.BulkRate = 11 },
		"negative rate of bulk": func(c *Config) { c.BulkRate = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Every job that was taken is told of once, whatever the provider answers, how many submit and when the lane is closed;
// nothing but the queue waits.
func TestEveryJobIsToldOnce(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := &phones{answer: func(ctx context.Context, m *push.Push) push.Answer {
		switch n := rand.IntN(100); {
		case n < 80:
			return push.Answer{Outcome: push.Delivered, Status: 200}
		case n < 90:
			return push.Answer{Outcome: push.Unknown, Err: errors.New("EOF")}
		default:
			return push.Answer{Outcome: push.Outcome(rand.IntN(14)), Reason: "x", RetryAfter: time.Duration(rand.IntN(3)) * time.Millisecond}
		}
	}}
	for _, name := range graph.PushProviders() {
		l := newLane(t, p, func(c *Config) { c.Name = name; c.InFlight = 8; c.Logger = slog.New(slog.DiscardHandler) })
		var taken, told atomic.Int64
		var wg sync.WaitGroup
		for g := range 8 {
			rnd := rand.New(rand.NewPCG(seed, uint64(g)))
			wg.Go(func() {
				for range 1000 {
					j := &job{class: push.Class(rnd.IntN(3)), to: to(name, rnd.IntN(500)), tries: rnd.IntN(8), none: rnd.IntN(20) == 0,
						done: func(*job) { told.Add(1) }}
					if name == graph.WebPush {
						j.to.Token = fmt.Sprintf("https://host-%d.example/%d", rnd.IntN(1500), rnd.IntN(10))
					}
					if at, ok := l.Submit(j); ok {
						taken.Add(1)
					} else if at.Before(time.Now().Add(-10 * time.Second)) {
						panic("come back before now")
					}
					switch rnd.IntN(200) {
					case 0:
						l.Status()
					case 1:
						l.Resume()
					}
				}
			})
		}
		wg.Wait()
		l.Close()
		if taken.Load() != told.Load() || taken.Load() == 0 {
			t.Fatalf("%s: %d taken, %d told", name, taken.Load(), told.Load())
		}
		s := l.Status()
		if s.InFlight != 0 || s.Queued["chat"]+s.Queued["clear"]+s.Queued["bulk"] != 0 || l.smalls != 0 || l.waiting[0].small+l.waiting[1].small+l.waiting[2].small != 0 {
			t.Fatalf("%s: something is left: %+v", name, s)
		}
		for _, r := range l.routes {
			if r.jobs != 0 || r.inFlight() != 0 || r.warming || r.probe {
				t.Fatalf("%s: something is left of a route: %+v", name, r)
			}
		}
		if len(l.routes) > maxRoutes {
			t.Fatalf("%d routes", len(l.routes))
		}
	}
}

func TestRouteNames(t *testing.T) {
	for token, want := range map[string]string{
		"https://Fcm.GoogleApis.com/wp/abc":   "fcm.googleapis.com",
		"https://updates.push.example:444/x/": "updates.push.example:444",
		"https://host":                        "host",
		"nonsense":                            "",
		"":                                    "",
	} {
		if got := routeName(graph.WebPush, &graph.Registration{Token: token}); got != want {
			t.Errorf("%q: %q, want %q", token, got, want)
		}
	}
	a, b := graph.Registration{App: "org.x", Token: "1"}, graph.Registration{App: "org.x", Token: "2", Sandbox: true}
	if routeName(graph.APNs, &a) == routeName(graph.APNs, &b) {
		t.Error("the sandbox is an environment of its own")
	}
	if strings.Contains(routeName(graph.FCM, &graph.Registration{Token: "secret"}), "secret") {
		t.Error("a token is no route")
	}
}
