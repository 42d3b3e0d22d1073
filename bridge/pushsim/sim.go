package pushsim

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Keys of log attributes.
const (
	keyErr      = "err"
	keyProvider = "provider"
)

// ErrClosed is what those get who wait while the simulator is closed.
var ErrClosed = errors.New("pushsim: closed")

// Config is what a simulator is made of.
type Config struct {
	Dir string // as Init has made it

	// Where it listens, host:port; "" is a free port at 127.0.0.1.
	APNs, APNsSandbox string
	// Control is where the control port listens: a loopback address alone.
	Control string

	Seed uint64 // of everything random in faults
	Keep int    // attempts in the log; 0: 100,000

	Logger *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now
}

const defaultKeep = 100_000

// Sim is a running simulator. It may be used from any goroutine.
type Sim struct {
	cfg   Config
	files *files
	log   *slog.Logger
	now   func() time.Time

	journal journal
	faults  faults
	phones  phones

	fronts  map[string]*front // fixed
	control *control          // fixed
	conns   atomic.Uint64     // how many there were

	ctx    context.Context // the simulator's lifetime
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Names of the fronts.
const (
	frontAPNs    = "apns"
	frontSandbox = "apns-sandbox"
)

// Start opens the listeners. Nobody is a device yet, and there are no faults.
func Start(cfg Config) (*Sim, error) {
	if cfg.Keep < 0 {
		return nil, errors.New("pushsim: keep is negative")
	}
	if cfg.Keep == 0 {
		cfg.Keep = defaultKeep
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f, err := readFiles(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("pushsim: %w", err)
	}
	s := &Sim{cfg: cfg, files: f, log: cfg.Logger, now: cfg.Now, fronts: make(map[string]*front)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.journal.keep = cfg.Keep
	s.faults.seed = cfg.Seed
	s.phones.all, s.phones.counts = make(map[deviceKey]*phone), make(map[countKey]*counted)
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("pushsim: %w", err), s.Close())
	}
	return s, nil
}

// open starts every front and the control port.
func (s *Sim) open() error {
	apple := newApple(s.files, s.now)
	for _, f := range []*front{
		{name: frontAPNs, provider: APNs, addr: s.cfg.APNs, service: apple},
		{name: frontSandbox, provider: APNs, sandbox: true, addr: s.cfg.APNsSandbox, service: apple},
	} {
		if err := s.openFront(f); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return s.openControl()
}

// Close ends every connection and waits for everything that runs. It may be called twice.
func (s *Sim) Close() error {
	s.cancel()
	var errs []error
	for _, f := range s.fronts {
		if err := f.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
		f.closeAll()
	}
	if s.control != nil {
		if err := s.control.close(); err != nil {
			errs = append(errs, err)
		}
	}
	s.wg.Wait()
	return errors.Join(errs...)
}

// APNsURL is the address of APNs' production environment.
func (s *Sim) APNsURL() string { return s.url(frontAPNs) }

// SandboxURL is the address of APNs' development environment.
func (s *Sim) SandboxURL() string { return s.url(frontSandbox) }

// CA are the certificates that a client has to trust.
func (s *Sim) CA() *x509.CertPool { return s.files.ca }

func (s *Sim) url(name string) string { return "https://" + s.fronts[name].listener.Addr().String() }
