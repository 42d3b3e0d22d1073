package webhook

import (
	"container/list"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/bridge/egress"
	"github.com/hwangso/hwangso/store"
)

const keyErr = "err" // of log attributes

// Service keeps endpoints and delivers their events. It may be used from any goroutine.
type Service struct {
	cfg       Config
	store     Store
	log       *slog.Logger
	now       func() time.Time
	metrics   *metrics
	guard     *egress.Guard
	hosts     *egress.Hosts
	transport *http.Transport
	timeout   time.Duration // of an attempt
	patience  time.Duration // of Close

	setting chan struct{} // with room for one: who adds an endpoint looks how many there are
	kicked  chan struct{} // with room for one: dispatch is to look again
	tidied  chan struct{} // the same for keep
	looked  atomic.Bool   // keep is to look for the day's numbers

	mu     sync.Mutex
	hooks  map[Owner][]*endpoint
	byID   map[string]*endpoint
	due    dues
	flying int

	loops, cut func() // end the loops; and what is under way
	wg         sync.WaitGroup
	attempts   sync.WaitGroup
}

// endpoint is one address of an owner. All but the first three fields is guarded by Service.mu.
type endpoint struct {
	id    string
	owner Owner
	turn  chan struct{} // of who writes the row

	row    row
	gone   bool // removed
	dirty  bool // the row in memory says more than the stored one
	purge  bool // what waited when it was disabled is still stored
	queues map[string]*queue
	order  *list.List        // of *event, the oldest first
	ids    map[string]*event // of those in order

	flying int
	fails  int       // in a row
	rest   time.Time // until then its server wants no request
	parked []*queue  // that are due and wait for a request of another subject to end

	loaded []*event // by load
	ranks  map[string]int64
}

func newEndpoint(o Owner, id string) *endpoint {
	return &endpoint{id: id, owner: o, turn: make(chan struct{}, 1), queues: make(map[string]*queue), order: list.New(), ids: make(map[string]*event),
		ranks: make(map[string]int64)}
}

func (e *endpoint) key() string { return e.owner.String() + "/" + e.id }

func (e *endpoint) events() store.Owner { return store.Owner(e.id) }

// share is how many requests may be under way to it.
func (e *endpoint) share() int {
	if e.fails >= failing {
		return 1
	}
	return perEndpoint
}

// New reads what there is. Start begins to deliver; Close ends it.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.InFlight == 0 {
		cfg.InFlight = DefaultInFlight
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("webhook: metrics: %w", err)
	}
	s := &Service{cfg: cfg, store: cfg.Store, log: cfg.Logger, now: cfg.Now, metrics: m, timeout: timeout, patience: patience,
		guard:   &egress.Guard{Noun: "url", Max: MaxURL, Allow: cfg.Allow, Plain: true},
		hosts:   egress.NewHosts(perHost),
		setting: make(chan struct{}, 1), kicked: make(chan struct{}, 1), tidied: make(chan struct{}, 1),
		hooks: make(map[Owner][]*endpoint), byID: make(map[string]*endpoint), loops: func() {}, cut: func() {},
	}
	dialer := &net.Dialer{Timeout: timeout / 2, KeepAlive: 30 * time.Second, Control: s.guard.Control}
	s.transport = &http.Transport{
		Proxy:                  nil, // a proxy would make the connection, and the guard see only the proxy
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.CA, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    timeout / 2,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    perEndpoint,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 16 << 10,
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Start begins to read and to deliver, until Close. Call it once.
func (s *Service) Start() {
	loops, end := context.WithCancel(context.Background())
	life, cut := context.WithCancel(context.Background())
	s.loops, s.cut = end, cut
	s.looked.Store(true)
	s.wg.Go(func() { s.read(loops) })
	s.wg.Go(func() { s.dispatch(loops, life) })
	s.wg.Go(func() { s.keep(loops) })
}

// Close begins nothing any more and gives what is under way five seconds. What was not answered by then is repeated by the
// next Start. Call it before the store is closed. Safe twice.
func (s *Service) Close() error {
	s.loops()
	s.wg.Wait()
	ended := make(chan struct{})
	go func() { // ends with the attempts, for which Close waits
		s.attempts.Wait()
		close(ended)
	}()
	t := time.NewTimer(s.patience)
	select {
	case <-ended:
	case <-t.C:
		s.cut()
		<-ended
	}
	t.Stop()
	s.cut()
	s.transport.CloseIdleConnections()
	return s.save(context.Background())
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one that waits sees what this one is for, too
	}
}

// Look has the day's numbers looked at soon. Call it when there are new ones; it is looked by itself every ten minutes.
func (s *Service) Look() {
	s.looked.Store(true)
	kick(s.tidied)
}
