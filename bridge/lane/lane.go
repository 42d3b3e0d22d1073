package lane

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// Lane takes pushes to one provider. It may be used from any goroutine.
type Lane struct {
	// Fixed.
	cfg       Config
	metrics   *metrics
	seed      maphash.Seed
	shared    bool // its routes are chosen by users
	most      int  // attempts of one route under way at once
	guardBits int
	ctx       context.Context // of Build and Send; it ends when Close has waited
	cancel    context.CancelFunc
	done      chan struct{}
	alarms    chan struct{}
	wg        sync.WaitGroup

	mu      sync.Mutex // guards what follows, and the routes
	closed  bool
	since   time.Time
	routes  map[string]*route
	waiting [3]waiting
	busy    [3]int // slots in use, by class: of attempts, and until Done has returned
	clears  int    // in a row, while bulk waited
	smalls  int    // attempts under way over small routes
	quota   bucket
	bulk    bucket
	back    []item // to be given back
	givers  int
	alarm   time.Time
	devices map[uint64]time.Time // those that are left alone until then
	blocked map[uint64]strike
	swept   time.Time
	last    failure
	notes   []note // to be logged when mu is not held
	told    map[noteKey]telling
}

// New makes a lane that takes jobs at once. Close it.
func New(cfg Config) (*Lane, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	now := cfg.Now()
	l := &Lane{
		cfg:       cfg,
		seed:      maphash.MakeSeed(),
		shared:    cfg.Name == graph.WebPush,
		most:      cfg.InFlight,
		guardBits: 1 << 17,
		done:      make(chan struct{}),
		alarms:    make(chan struct{}, 1),
		since:     now,
		routes:    make(map[string]*route),
		quota:     newBucket(cfg.Rate, now),
		bulk:      newBucket(cfg.BulkRate, now),
		devices:   make(map[uint64]time.Time),
		blocked:   make(map[uint64]strike),
		told:      make(map[noteKey]telling),
	}
	if l.shared {
		l.most = cfg.InFlight * 3 / 4
		l.guardBits = 1 << 13 // there may be a thousand routes
	}
	var err error
	if l.metrics, err = newMetrics(cfg.Registerer, l); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.wg.Go(l.watch)
	return l, nil
}

// Submit queues a job and returns at once. If it is not ok, nothing more becomes of the job, and it is to be submitted
// again at that time: the provider, the route or the device is left alone for now, or the queue is full. Done may be
// called before Submit returns.
func (l *Lane) Submit(j Job) (at time.Time, ok bool) {
	it := item{job: j, class: min(j.Class(), push.Bulk), since: l.cfg.Now()}
	to := j.To()
	if to == nil {
		to = &graph.Registration{}
	}
	it.device = l.device(to)
	name := routeName(l.cfg.Name, to)

	l.mu.Lock()
	at, why := l.accept(&it, name)
	if why == "" {
		l.dispatch(it.since)
	}
	l.unlock()
	if why != "" {
		l.metrics.refused(why)
	}
	return at, why == ""
}

// accept queues an item, or tells why not.
func (l *Lane) accept(it *item, name string) (at time.Time, why string) {
	now := it.since
	if l.closed {
		return now.Add(time.Second), whyClosed
	}
	if until := l.devices[it.device]; until.After(now) {
		return until, whyDevice
	}
	r := l.route(name, now)
	if r == nil {
		return now.Add(jitter(pause)), whyRoutes
	}
	if r.state != Open {
		switch {
		case now.Before(r.until), r.probe:
			return r.comeBack(now), string(r.state)
		case r.state == Guarded && r.guard.suspected(it.device) && now.Before(r.until.Add(suspectsLast)):
			// Another one is better able to show that not all are invalid.
			return latest(r.until.Add(suspectsLast), r.comeBack(now)), string(r.state)
		}
		it.probe = true
	}
	if !l.room(r, it.class) {
		return now.Add(l.full(it.class)), whyFull
	}
	r.probe = it.probe
	it.route = r
	l.enqueue(*it)
	return now, ""
}

// full is how long a job waits that finds its queue full: until about half of it has gone.
func (l *Lane) full(c push.Class) time.Duration {
	d := [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second}[c]
	rate := l.cfg.Rate
	if c == push.Bulk {
		rate = l.cfg.BulkRate
	}
	if rate > 0 {
		d = max(d, time.Duration(min(float64(l.cfg.Queue)/2/rate, 300)*float64(time.Second)))
	}
	return d/2 + rand.N(d)
}

// Resume ends a pause: the next push that is submitted finds out whether the provider works again. It reports whether
// there was one.
func (l *Lane) Resume() bool {
	l.mu.Lock()
	defer l.unlock()
	now, any := l.cfg.Now(), false
	for _, r := range l.routes {
		if r.state != Open {
			any = true
			r.until = now
			clear(r.guard.run) // any device may find out
		}
	}
	return any
}

// Close refuses further jobs, gives back what is queued (Again, now), and waits for what is in flight: at most for the
// deadline of an attempt beside what Build and Done take. It is safe twice. The provider is not closed.
func (l *Lane) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		l.since = l.cfg.Now()
		for _, r := range l.routes {
			l.drain(r)
		}
		close(l.done)
	}
	l.unlock()
	l.wg.Wait()
	l.cancel()
	return nil
}

// dispatch starts whatever may be sent now.
func (l *Lane) dispatch(now time.Time) {
	for {
		it, ok := l.pick(now)
		if !ok {
			return
		}
		l.wg.Go(func() { l.work(it) })
	}
}

// work sends one item after the other, as long as there are some that may be sent.
func (l *Lane) work(it item) {
	for ok := true; ok; {
		res := l.attempt(&it)
		it.job.Done(res)
		l.metrics.did(it.class, res.Action)

		l.mu.Lock()
		l.busy[it.class]--
		l.leave(&it)
		now := l.cfg.Now()
		if it, ok = l.pick(now); ok {
			l.dispatch(now)
		}
		l.unlock()
	}
}

// attempt is one push, and what came of it.
type attempt struct {
	*item
	push   *push.Push
	answer push.Answer
	word   string // of the answer
	late   bool   // nobody answered, and that took long

	refresh bool // Provider.Refresh is to be called

	// As they were when it began.
	epoch     uint32
	refreshes uint32
}

func (l *Lane) attempt(it *item) Result {
	a := attempt{item: it, push: it.job.Build(l.ctx)}
	if at, ok := l.begin(&a); !ok {
		res := Result{Action: Again, At: at}
		if a.push == nil {
			res = Result{Action: Unneeded}
		}
		return res
	}
	began := l.cfg.Now()
	l.metrics.waited(it.class, began.Sub(it.since))
	ctx, cancel := context.WithTimeout(l.ctx, l.cfg.Timeout)
	a.answer = l.cfg.Provider.Send(ctx, a.push)
	cancel()
	now := l.cfg.Now()
	if int(a.answer.Outcome) >= len(rows) {
		a.answer.Outcome = push.Unknown
	}
	// The provider may have a deadline of its own, or have noticed first that nobody is there.
	a.late = !a.answered() && now.Sub(began) >= l.cfg.Timeout/2
	a.word = word(&a.answer, a.late)
	l.metrics.answered(it.class, &a, now.Sub(began))

	l.mu.Lock()
	l.land(it)
	res, refresh := l.settle(&a, now)
	if !refresh {
		l.dispatch(now)
	}
	l.unlock()
	if refresh {
		l.cfg.Provider.Refresh()
		l.mu.Lock()
		l.refreshed(it.route)
		l.unlock()
	}
	return res
}

// begin looks once more whether a push may go: while it was built, or by another registration of the device, that may
// have changed.
func (l *Lane) begin(a *attempt) (at time.Time, ok bool) {
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.unlock()
	r := a.route
	a.epoch, a.refreshes = r.epoch, r.refreshes
	if a.push != nil {
		to := &a.push.To
		a.device = l.device(to)
		switch until := l.devices[a.device]; {
		case to.Provider != l.cfg.Name || routeName(l.cfg.Name, to) != r.name:
			at = now.Add(jitter(time.Second))
		case until.After(now):
			at = until
		case r.state != Open && !a.probe:
			at = r.comeBack(now)
		default:
			return now, true
		}
	}
	l.land(a.item)
	l.dispatch(now)
	return at, false
}

// land frees what an attempt has of its route.
func (l *Lane) land(it *item) {
	r := it.route
	r.flying[it.class]--
	if it.warmup {
		r.warming = false
	}
	if it.small {
		l.smalls--
	}
	if it.probe {
		it.probe, r.probe = false, false
	}
}

func (l *Lane) refreshed(r *route) {
	r.refreshing, r.unproven = false, true
	r.refreshes++
	l.dispatch(l.cfg.Now())
}

// device is how a lane remembers where a push went.
func (l *Lane) device(to *graph.Registration) uint64 { return maphash.String(l.seed, to.Token) }

// unlock gives up the mutex and logs what was noted under it.
func (l *Lane) unlock() {
	notes := l.notes
	l.notes = nil
	l.mu.Unlock()
	for _, n := range notes {
		l.cfg.Logger.LogAttrs(context.Background(), n.kind.level(), n.kind.text(), n.attrs...)
	}
}
