package pushsim

import (
	"cmp"
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

	// Where it listens, host:port on loopback; "" is where the directory's settings say. With port 0 it is a free port. The
	// addresses are written into the directory's files, for servers that are configured by them and for the next start.
	APNs, APNsSandbox, FCM, WebPush string
	// Control is where the control port listens.
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
	browser *browser          // fixed
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
	frontFCM     = "fcm"
	frontWebPush = "webpush"
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
	at := Addresses{APNs: s.cfg.APNs, APNsSandbox: s.cfg.APNsSandbox, FCM: s.cfg.FCM, WebPush: s.cfg.WebPush, Control: s.cfg.Control}
	for i, a := range at.all() {
		*a = cmp.Or(*a, *s.files.Listen.all()[i])
		if err := onLoopback(*a); err != nil {
			return err
		}
	}
	apns := &front{name: frontAPNs, provider: APNs}
	sandbox := &front{name: frontSandbox, provider: APNs, sandbox: true}
	fcm := &front{name: frontFCM, provider: FCM, plain: true}
	webPush := &front{name: frontWebPush, provider: WebPush, plain: true}
	for f, addr := range map[*front]*string{apns: &at.APNs, sandbox: &at.APNsSandbox, fcm: &at.FCM, webPush: &at.WebPush} {
		if err := s.openFront(f, *addr); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		*addr = f.listener.Addr().String()
	}
	control, err := net.Listen("tcp", at.Control)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	at.Control = control.Addr().String()
	if err := s.files.listens(at); err != nil {
		return errors.Join(err, control.Close())
	}
	// The services know where they are, and so do the files; now somebody may come.
	apple := newApple(s.files, s.now)
	s.browser = newBrowser(s.files, s.now)
	apns.service, sandbox.service, fcm.service, webPush.service = apple, apple, newGoogle(s.files, s.now), s.browser
	for _, f := range s.fronts {
		s.wg.Go(func() { s.accept(f) })
	}
	s.openControl(control)
	return nil
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

// FCMURL is the address of FCM, and of Google's token endpoint.
func (s *Sim) FCMURL() string { return s.url(frontFCM) }

// WebPushURL is the address of the browsers' push service; every endpoint is below it.
func (s *Sim) WebPushURL() string { return s.url(frontWebPush) }

// Files is the simulator's directory.
func (s *Sim) Files() (Files, error) { return s.files.settings.files(s.cfg.Dir) }

// CA are the certificates that a client has to trust.
func (s *Sim) CA() *x509.CertPool { return s.files.ca }

func (s *Sim) url(name string) string { return "https://" + s.fronts[name].listener.Addr().String() }
