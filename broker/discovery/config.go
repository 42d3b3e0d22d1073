package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// keyErr is the key of errors in log lines.
const keyErr = "err"

// Limits bound what can be asked. A zero field means its default.
type Limits struct {
	FirstDay int           // numbers an account may ask for in its first 24 hours; 1,000
	First    int           // in its first Window; 2,000
	Window   time.Duration // 10 days
	PerDay   int           // new numbers a day after that; 200
	PerMin   int           // of them in a minute; 50
	Numbers  int           // numbers in one request; 2,000
	Book     int           // numbers kept of an account; 20,000
	Keep     time.Duration // how long after its last sync an address book is kept; 180 days

	Prefix   int // numbers a network (IPv4 /24, IPv6 /48) may ask for in a day before it is slowed; 10,000
	Carrier  int // the same of a prefix that is known as a carrier's; 200,000
	SlowRate int // numbers an hour of a slowed network; 2,500
	SlowMost int // numbers of a slowed network that may wait; beyond it they are to be sent later; 100,000

	Accounts int // how many accounts the service has before hit ratios mean anything; 10,000
	Ratio    int // an account whose hit ratio is below 1/Ratio of its country's median learns nothing new; 5
	Tried    int // over this many numbers; 500

	LookupsMin int // look-ups of strangers by identifier in a minute; 30
	LookupsDay int // in a day; 200

	Waiting int // users who are told that one contact has joined; 5,000
	Friends int // friends of a user; 10,000
}

func (l *Limits) setDefaults() {
	for _, f := range l.ints() {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	if l.Window == 0 {
		l.Window = 10 * day
	}
	if l.Keep == 0 {
		l.Keep = 180 * day
	}
}

type intLimit struct {
	v *int
	d int
}

func (l *Limits) ints() []intLimit {
	return []intLimit{
		{&l.FirstDay, 1000}, {&l.First, 2000}, {&l.PerDay, 200}, {&l.PerMin, 50}, {&l.Numbers, 2000}, {&l.Book, 20_000},
		{&l.Prefix, 10_000}, {&l.Carrier, 200_000}, {&l.SlowRate, 2500}, {&l.SlowMost, 100_000}, {&l.Accounts, 10_000},
		{&l.Ratio, 5}, {&l.Tried, 500}, {&l.LookupsMin, 30}, {&l.LookupsDay, 200}, {&l.Waiting, 5000}, {&l.Friends, 10_000},
	}
}

const day = 24 * time.Hour

// maxNumbers is what fits into one row of hashes.
const maxNumbers = (store.MaxRowValue - 256) / len(phone.Hash{})

// Config is what a Discovery is made of.
type Config struct {
	Store    store.Store    // required
	Graph    *graph.Graph   // nil: over Store
	Numbers  *phone.Book    // nil: there are no phone numbers, and Sync refuses
	Limits   Limits         // see there
	Carriers []netip.Prefix // networks behind which a carrier hides many users

	// Tied reports whether two users are tied to each other, so that looking the second one up costs the first nothing:
	// as friends in whichever direction (as the first may know it), by an answer, or by a room. nil: by edges alone.
	Tied func(me, peer store.AccountID) (bool, error)

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
	Tick       <-chan time.Time      // when the worker looks by itself; nil: every 30 seconds
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	if c.Store == nil {
		return errors.New("discovery: no store")
	}
	for _, f := range c.Limits.ints() {
		if *f.v < 0 {
			return errors.New("discovery: a limit is negative")
		}
	}
	if c.Limits.Window < 0 || c.Limits.Keep < 0 {
		return errors.New("discovery: a limit is negative")
	}
	if c.Limits.Numbers > maxNumbers {
		return fmt.Errorf("discovery: %d numbers in one request do not fit into a row", c.Limits.Numbers)
	}
	return nil
}

// Discovery finds contacts. Its methods may be called from any goroutine.
type Discovery struct {
	store   store.Store
	graph   *graph.Graph
	numbers *phone.Book
	base    Limits
	set     atomic.Pointer[Limits] // base, and what SetLimits changed
	tied    func(me, peer store.AccountID) (bool, error)
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	turns    turns
	prefixes prefixes
	ratios   ratios
	lookups  lookups
	waiting  waiting // owned by the worker, but for find

	kicked chan struct{} // holds one token while there is something to do
	tick   <-chan time.Time
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// limits are those in force.
func (d *Discovery) limits() *Limits { return d.set.Load() }

// SetLimits changes the limits of asking: numbers of contacts, of networks, look-ups. change gets those of the
// configuration. They count from the next request on; the other limits stay as they were at New.
func (d *Discovery) SetLimits(change func(*Limits)) {
	l := d.base
	change(&l)
	d.set.Store(&l)
}

// New returns a Discovery. Close ends its worker.
func New(cfg Config) (*Discovery, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Limits.setDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Graph == nil {
		cfg.Graph = graph.New(cfg.Store, cfg.Now)
	}
	d := &Discovery{
		store: cfg.Store, graph: cfg.Graph, numbers: cfg.Numbers, base: cfg.Limits, tied: cfg.Tied, log: cfg.Logger, now: cfg.Now,
		kicked: make(chan struct{}, 1),
	}
	d.set.Store(&cfg.Limits)
	if d.tied == nil {
		d.tied = d.tiedByEdges
	}
	d.turns.init()
	d.waiting.init(cfg.Store, cfg.Now, cfg.Limits)
	d.prefixes.init(cfg.Store, cfg.Now, d.limits, cfg.Carriers)
	if err := d.ratios.init(cfg.Store, cfg.Limits); err != nil {
		return nil, err
	}
	var err error
	if d.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("discovery: metrics: %w", err)
	}
	end := func() {}
	if d.tick = cfg.Tick; d.tick == nil {
		t := time.NewTicker(30 * time.Second)
		d.tick, end = t.C, t.Stop
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.wg.Go(func() {
		defer end()
		d.work(ctx)
	})
	d.kick() // what an earlier run has left
	return d, nil
}

// Close ends the worker, waits for it and saves what is counted in memory. Call it before the store is closed. Safe
// twice.
func (d *Discovery) Close() error {
	d.stop()
	d.wg.Wait()
	return d.save(context.Background())
}

// save makes durable what is counted in memory. A crash forgets at most what was counted since the last tick.
func (d *Discovery) save(ctx context.Context) error {
	return errors.Join(d.prefixes.save(ctx), d.ratios.save(ctx))
}

// turns makes changes of one account's address book go one after the other. Accounts share 64 turns.
type turns struct{ slots [64]chan struct{} }

func (t *turns) init() {
	for i := range t.slots {
		t.slots[i] = make(chan struct{}, 1)
		t.slots[i] <- struct{}{}
	}
}

// take waits for the turn of an account. done must be called; turns do not nest.
func (t *turns) take(ctx context.Context, a store.AccountID) (done func(), err error) {
	slot := t.slots[uint64(a)%uint64(len(t.slots))]
	select {
	case <-slot:
		return func() { slot <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, &store.Error{Code: store.CodeUnavailable, Text: "too much is being changed at once", Retry: store.ErrUnavailable.Retry, Err: ctx.Err()}
	}
}
