package bridge

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Keys of log attributes, the same everywhere.
const (
	keyErr      = "err"
	keyUser     = "user"
	keyDevice   = "device"
	keyLog      = "log"
	keySeq      = "seq"
	keyProvider = "provider"
)

// Bridge decides who is woken. It may be used from any goroutine.
type Bridge struct {
	// Fixed.
	cfg     Config
	store   store.Store
	access  *hooks.Access
	graph   *graph.Graph
	live    Live
	log     *slog.Logger
	now     func() time.Time
	judge   judge
	lanes   map[graph.PushProvider]carrier
	limits  limits
	apart   int64 // how long a mark of news lasts, milliseconds
	metrics *metrics

	// Each guards itself.
	table   *table
	ledger  *ledger
	soon    soon
	hints   *hints
	caps    *caps
	audit   audit
	unreads badges
	queue   *queue
	crowd   *crowd
	bulk    *bulk.Bulk
	told    audit // of posts, apart so that a broadcast leaves what was decided about chat

	read    atomic.Uint64 // the position up to which entries were read
	rowsDue atomic.Int64
	filling atomic.Bool
	stirred chan struct{} // something may be due
	ready   chan struct{} // closed when the rows were read for the first time

	placed store.Position // owned by watch: the position that was given to the store
	filled bool           // owned by fill

	life    context.Context // of decisions and rows; it ends when Close has waited for them
	end     context.CancelFunc
	stop    context.CancelFunc // ends reading and looking at what is due
	closing atomic.Bool
	closed  sync.Once
	readers sync.WaitGroup // who reads, walks and looks at what is due
	workers sync.WaitGroup
	err     error // of Close
}

// limits bound what is in memory.
type limits struct {
	rings int // with more of them the reader waits
	hints int // rows of which it is known when they are due; the others are found by reading the rows
}

var defaultLimits = limits{rings: 1 << 18, hints: 100_000}

// New makes a bridge with a lane for each provider and starts it. On a store that had no bridge before it begins at the
// journal's end. Close it before the store, after the connections have ended. The providers are not closed.
func New(cfg Config) (*Bridge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	lanes := make(map[graph.PushProvider]carrier, len(cfg.Providers))
	b, err := (*Bridge)(nil), error(nil)
	for name, p := range cfg.Providers {
		c := cfg.Lanes[name]
		c.Name, c.Provider, c.Logger, c.Registerer, c.Now = name, p, cfg.Logger, cfg.Registerer, cfg.Now
		var l *lane.Lane
		if l, err = lane.New(c); err != nil {
			break
		}
		lanes[name] = l
	}
	if err == nil {
		b, err = start(cfg, func(b *Bridge) judge { return b }, lanes, defaultLimits)
	}
	if err != nil {
		for _, l := range lanes {
			_ = l.Close() // it has taken nothing
		}
		return nil, err
	}
	return b, nil
}

// Lane is a provider's lane, for who has other pushes for it and for who looks how it is; nil: the provider is not set up.
// Close the bridge after or together with whoever submits to it: closed, it takes nothing.
func (b *Bridge) Lane(p graph.PushProvider) *lane.Lane {
	l, _ := b.lanes[p].(*lane.Lane)
	return l
}

// start makes a bridge out of its parts and starts it.
func start(cfg Config, of func(*Bridge) judge, lanes map[graph.PushProvider]carrier, l limits) (*Bridge, error) {
	b := &Bridge{
		cfg: cfg, store: cfg.Store, access: cfg.Access, graph: cfg.Access.Relations(), live: cfg.Live, log: cfg.Logger, now: cfg.Now,
		lanes: lanes, limits: l, apart: max(1, cfg.Grace.Milliseconds()/4),
		table: newTable(), hints: newHints(l.hints), caps: newCaps(cfg.PerMin), audit: audit{max: auditSize}, told: audit{max: auditPosts}, queue: newQueue(),
		stirred: make(chan struct{}, 1), ready: make(chan struct{}),
	}
	b.crowd = newCrowd(b)
	b.judge = of(b)
	b.life, b.end = context.WithCancel(context.Background())
	at, err := b.begin(b.life)
	if err != nil {
		return nil, err
	}
	b.ledger, b.placed = newLedger(at), at
	b.read.Store(uint64(at))
	if b.metrics, err = newMetrics(b); err != nil {
		return nil, err
	}
	if b.bulk, err = b.newBulk(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	for range workers {
		b.workers.Go(b.work)
	}
	for range crowdWalks {
		b.readers.Go(func() { b.crowd.run(ctx) })
	}
	b.readers.Go(func() { b.watch(ctx) })
	b.readers.Go(func() {
		select { // what waits is known before what is new
		case <-b.ready:
			b.follow(ctx, at)
		case <-ctx.Done():
		}
	})
	return b, nil
}

// newBulk starts what sends to many over the lanes.
func (b *Bridge) newBulk() (*bulk.Bulk, error) {
	lanes := make(map[graph.PushProvider]bulk.Lane, len(b.lanes))
	for name, l := range b.lanes {
		lanes[name] = l
	}
	sources := map[string]bulk.Source{SourceAnnouncements: NewAnnouncements(b.store, b.graph, b.now)}
	if b.cfg.Followers != nil {
		sources[SourcePosts] = &posts{b, b.cfg.Followers}
	}
	return bulk.New(bulk.Config{Store: b.store, Graph: b.graph, Lanes: lanes, Sources: sources, Logger: b.log, Now: b.now})
}

// Close stops reading, waits for the pushes in flight and makes durable what became of them. What is in memory alone is
// read from the journal again by the next bridge. It is safe twice, and reports the first error of a lane.
func (b *Bridge) Close() error {
	b.closed.Do(func() {
		b.closing.Store(true)
		b.stop()
		b.readers.Wait()
		ended := make(chan error, len(b.lanes)+1)
		go func() { ended <- b.bulk.Close() }()
		for _, l := range b.lanes { // together: several providers that do not answer take no longer than one
			go func() { ended <- l.Close() }()
		}
		for range len(b.lanes) + 1 {
			if err := <-ended; err != nil && b.err == nil {
				b.err = err
			}
		}
		b.queue.close()
		b.workers.Wait()
		b.place()
		b.end()
	})
	return b.err
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.Grace, DefaultGrace}, {&c.Overdue, DefaultOverdue}, {&c.Hold, DefaultHold}, {&c.Active, DefaultActive},
		{&c.Run, DefaultRun}, {&c.TTL, DefaultTTL}, {&c.Stale, DefaultStale},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if c.PerMin == 0 {
		c.PerMin = DefaultPerMin
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}
