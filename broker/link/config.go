package link

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const keyErr = "err" // of log attributes

// Sender sends for a user by the same rules as for what the user writes itself. *broker.Broker is one.
type Sender interface {
	SendContent(ctx context.Context, id hooks.Identity, t hooks.Topic, c view.Content) (store.Receipt, error)
}

// Files holds the icons of apps and says who may attach what. *files.Files is one.
type Files interface {
	// Keep holds a picture of the owner's for something other than a message.
	Keep(ctx context.Context, owner store.AccountID, file, what string) error
	// LetGo undoes Keep.
	LetGo(ctx context.Context, file, what string) error
	// May returns nil if the user may attach these files.
	May(user store.AccountID, files []string) error
}

// Limits bound what apps and users may have. A zero field means its default.
type Limits struct {
	Apps    int // of an account; 10
	Keys    int // of an app that have not ended; 5
	Domains int // of an app; 20
	Tickets int // of a user that wait; 20
}

// Config is what a Service is made of.
type Config struct {
	Store  store.Store  // required
	Graph  *graph.Graph // required
	Sender Sender       // required
	Files  Files        // nil: this server keeps no files, so apps have no icons and links no pictures
	Limits Limits

	// Open lets apps send without an operator's approval.
	Open bool
	// Round makes a count out of a total (0: there is none) one that an app may see, nil where
	// it may see none. nil: apps see no numbers.
	Round func(n, total int) *int

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("link: no store")
	case c.Graph == nil:
		return errors.New("link: no graph")
	case c.Sender == nil:
		return errors.New("link: no sender")
	case c.Limits.Apps < 0 || c.Limits.Keys < 0 || c.Limits.Domains < 0 || c.Limits.Tickets < 0:
		return errors.New("link: a limit is negative")
	}
	return nil
}

// Service registers apps and sends their links. Its methods may be called from any goroutine.
type Service struct {
	cfg     Config
	store   store.Store
	graph   *graph.Graph
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	registering chan struct{} // one registration or ticket at a time looks how many there are

	counts counts
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// New returns a Service. Close ends what it starts.
func New(c Config) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		v *int
		d int
	}{{&c.Limits.Apps, 10}, {&c.Limits.Keys, 5}, {&c.Limits.Domains, 20}, {&c.Limits.Tickets, 20}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Round == nil {
		c.Round = func(int, int) *int { return nil }
	}
	s := &Service{cfg: c, store: c.Store, graph: c.Graph, log: c.Logger, now: c.Now, registering: make(chan struct{}, 1)}
	var err error
	if s.metrics, err = newMetrics(c.Registerer); err != nil {
		return nil, err
	}
	s.counts.init()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wg.Go(func() { s.keepCounts(ctx) })
	return s, nil
}

// Close writes what was counted and ends the service. Call it before the store is closed. Safe twice.
func (s *Service) Close() error {
	s.stop()
	s.wg.Wait()
	return s.Flush(context.Background())
}

// turn waits until no other registration or ticket is under way.
func (s *Service) turn(ctx context.Context) (end func(), err error) {
	select {
	case s.registering <- struct{}{}:
		return func() { <-s.registering }, nil
	case <-ctx.Done():
		return nil, &store.Error{Code: store.CodeUnavailable, Text: "too much at once", Retry: time.Second, Err: ctx.Err()}
	}
}
