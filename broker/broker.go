package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
)

// Keys of log attributes, the same everywhere.
const (
	keyErr    = "err"
	keyUser   = "user"
	keyClient = "client"
	keyLog    = "log"
	keySeq    = "seq"
)

// Requests serves control requests that arrive as publishes. Package api implements it.
type Requests interface {
	// Request runs one operation and returns the payload of the answer. rid identifies a repeated request.
	Request(ctx context.Context, id hooks.Identity, op, rid string, body []byte) []byte
}

// Attachable decides which files a user may attach. Package files implements it.
type Attachable interface {
	// May returns nil if the user may attach all of these files, or the refusal.
	May(user store.AccountID, files []string) error
}

// Events are told what happens, for a demonstration or a test that waits for it. They are called from the broker's
// goroutines and must return at once. A nil field is not called.
type Events struct {
	Committed func(*store.Entry)                          // durable, before any session is woken
	Refused   func(user string, t hooks.Topic, err error) // a publish
	Attached  func(id hooks.Identity, present bool)       // a session began or goes on
	// Detached: its connection ended. What it confirmed is saved and Link knows that it is gone, or comes back.
	Detached func(id hooks.Identity, orderly bool)
	Removed  func(id hooks.Identity, reason error) // the server ended it
}

// Config is what a Broker is made of. The zero value of a limit means its default.
type Config struct {
	Store  store.Store
	Access *hooks.Access // nil: hooks.NewAccess over Store with Rules
	// Rules are of the Access that is made. What it leaves out of Now and Strangers is the Now and the Limits here.
	Rules    hooks.AccessConfig
	Requests Requests // nil: no control requests over MQTT; may be set before Start by SetRequests
	Events   Events
	Plans    Plans          // nil: channels post as much as they like; may be set before Start by SetPlans
	Files    Attachable     // nil: messages cannot name files
	Limits   *limit.Limiter // nil: nobody is limited

	MaxMessage int           // bytes of a payload; 64 KiB
	MaxFilters int           // filters of a device; 50
	MaxGuests  int           // connections of a user that are no device; 20
	MaxExpiry  time.Duration // of a session after its connection; 30 days
	Unpaced    bool          // a post wakes all connected followers of its channel at once, for measurements beside the bulk lane
	Grace      time.Duration // a user counts as online so long after its last connection; 10 s

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

func (c Config) maxExpiry() uint32 { return uint32(c.MaxExpiry / time.Second) }

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("broker: no store")
	case c.MaxMessage < 0 || c.MaxFilters < 0 || c.MaxGuests < 0 || c.MaxExpiry < 0 || c.Grace < 0:
		return errors.New("broker: a limit is negative")
	case c.MaxExpiry >= 1<<32*time.Second:
		return fmt.Errorf("broker: session expiry %v is longer than MQTT can say", c.MaxExpiry)
	}
	return nil
}

// Broker is the running server behind the connections: it lets messages in, and serves sessions from the logs.
type Broker struct {
	cfg        Config
	store      store.Store
	access     *hooks.Access
	log        *slog.Logger
	metrics    *metrics
	limits     *limit.Limiter
	now        func() time.Time
	begun      time.Time // by now
	registry   *registry
	followed   atomic.Uint64 // the journal position up to which sessions have been told
	rewinds    rewinds
	typists    typists
	presence   *presence
	bulk       bulkLane
	pace       pace
	herald     herald
	audiences  audiences
	parks      parks
	progresses progresses
	follower   func(me store.AccountID, log store.LogInfo) (follower, error) // access.Follower, but for tests
	dirty      dirtyList
	workers    workers

	life     context.Context // ends with Close
	end      context.CancelFunc
	closing  atomic.Bool
	draining atomic.Bool    // see Drain
	wg       sync.WaitGroup // pumps, requests, follower, housekeeper, rewinder
	closed   sync.Once
}

// New starts a broker over a store, which stays the caller's to close, after Close.
func New(cfg Config) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	setDefault(&cfg.MaxMessage, 64<<10)
	setDefault(&cfg.MaxFilters, 50)
	setDefault(&cfg.MaxGuests, hooks.DefaultGuests)
	setDefault(&cfg.MaxExpiry, 30*24*time.Hour)
	setDefault(&cfg.Grace, DefaultGrace)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Access == nil {
		if cfg.Rules.Now == nil {
			cfg.Rules.Now = cfg.Now
		}
		if limits := cfg.Limits; cfg.Rules.Strangers == nil { // of a nil Limiter, the defaults
			cfg.Rules.Strangers = func(young bool) int {
				if young {
					return limits.Number(limit.StrangersYoung)
				}
				return limits.Number(limit.Strangers)
			}
		}
		cfg.Access = hooks.NewAccess(cfg.Store, cfg.Rules)
	}
	b := &Broker{cfg: cfg, store: cfg.Store, access: cfg.Access, log: cfg.Logger, now: cfg.Now, limits: cfg.Limits, registry: newRegistry()}
	b.presence = newPresence(cfg.Grace, b.registry.of)
	b.begun = b.now()
	b.rewinds.kick = make(chan struct{}, 1)
	b.herald.kick = make(chan struct{}, 1)
	b.follower = func(me store.AccountID, log store.LogInfo) (follower, error) { return b.access.Follower(me, log) }
	b.metrics = newMetrics(cfg.Registerer, b)
	b.life, b.end = context.WithCancel(context.Background())
	_, end := b.store.Bounds() // before the first session: what comes later is told
	b.followed.Store(uint64(end))
	b.wg.Go(func() { b.follow(b.life, end) })
	b.wg.Go(func() { b.housekeep(b.life) })
	b.wg.Go(func() { b.tellPresence(b.life) })
	b.wg.Go(func() { b.rewind(b.life) })
	b.wg.Go(func() { b.proclaim(b.life) })
	return b, nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// SetRequests gives the broker its control API, which needs the broker itself. Call it before the first Attach.
func (b *Broker) SetRequests(r Requests) { b.cfg.Requests = r }

// Store is the storage engine under the broker.
func (b *Broker) Store() store.Store { return b.store }

// Limits is who may do how much; nil if nobody is limited.
func (b *Broker) Limits() *limit.Limiter { return b.limits }

// Access is the rules in force.
func (b *Broker) Access() *hooks.Access { return b.access }

// housekeep saves cursors and wakes what was parked every second; every minute it ends expired sessions, removes expired rows and forgets idle
// limits.
func (b *Broker) housekeep(ctx context.Context) {
	save := time.NewTicker(time.Second)
	expire := time.NewTicker(time.Minute)
	defer save.Stop()
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-save.C:
			for _, s := range b.dirty.take() {
				s.saveCursors()
			}
			b.workers.sweep(time.Now())
			b.wakeParked(b.now())
		case <-expire.C:
			b.limits.Sweep()
			for {
				n, err := b.store.ExpireSessions(ctx, b.now().UnixMilli(), 1000)
				if err != nil && ctx.Err() == nil {
					b.log.Warn("sessions not expired", keyErr, err)
				}
				if err != nil || n < 1000 {
					break
				}
			}
			for {
				n, err := b.store.SweepRows(ctx, b.now().UnixMilli(), 1000)
				if err != nil && ctx.Err() == nil {
					b.log.Warn("expired rows not removed", keyErr, err)
				}
				if err != nil || n < 1000 {
					break
				}
			}
		}
	}
}

// Online reports whether a device is connected.
func (b *Broker) Online(a store.AccountID, d store.DeviceID) bool {
	return b.registry.device(deviceKey{a, d}) != nil
}

// Attached are the connections of a user, guests included.
func (b *Broker) Attached(a store.AccountID) []hooks.Identity {
	var out []hooks.Identity
	for _, s := range b.registry.of(a) {
		out = append(out, s.Identity())
	}
	return out
}

// Sessions is the number of connected devices.
func (b *Broker) Sessions() int { return b.registry.len() }

// Disconnect ends the connection of a device, or with device 0 of every device of the user, and waits until what they
// were sent has stopped, or ctx ends. why is told to the client where it can be. What the client has sent before it
// hears of that is dropped from the next packet on.
func (b *Broker) Disconnect(ctx context.Context, a store.AccountID, d store.DeviceID, why error) error {
	var sessions []*Session
	if d == 0 {
		sessions = b.registry.of(a)
	} else if s := b.registry.device(deviceKey{a, d}); s != nil {
		sessions = []*Session{s}
	}
	for _, s := range sessions {
		if e := b.cfg.Events.Removed; e != nil {
			e(s.Identity(), why)
		}
		s.evicted.Store(true)
		s.stop()
		s.link.Close(why)
	}
	for _, s := range sessions {
		select {
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends every session, telling the clients that the server goes down, waits for them and for everything else of
// the broker, and leaves the store open. Safe twice. When ctx ends first it returns its error and goes on closing.
func (b *Broker) Close(ctx context.Context) error {
	b.closing.Store(true)
	b.Drain()
	for sessions := b.registry.all(); len(sessions) > 0; sessions = b.registry.all() { // one may just be attaching
		for _, s := range sessions {
			s.link.Close(ErrShutdown)
		}
		for _, s := range sessions {
			select {
			case <-s.done:
			case <-ctx.Done():
				return fmt.Errorf("broker: close: %w", ctx.Err())
			}
		}
	}
	b.closed.Do(b.end)
	b.workers.close()
	b.wg.Wait()
	return nil
}

// dirtyList holds the sessions whose cursors are to be saved.
type dirtyList struct {
	mu   sync.Mutex
	list []*Session
}

func (d *dirtyList) add(s *Session) {
	d.mu.Lock()
	d.list = append(d.list, s)
	d.mu.Unlock()
}

func (d *dirtyList) take() []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.list
	d.list = nil
	return l
}
