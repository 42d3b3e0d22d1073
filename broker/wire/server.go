package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
)

// Authenticator says who a client is. Errors have a code of package store, which decides the reason code of the
// CONNACK. *hooks.Authenticator is one.
type Authenticator interface {
	Connect(ctx context.Context, c hooks.Credentials) (hooks.Identity, error)
}

var _ Authenticator = (*hooks.Authenticator)(nil)

// session is what a connection asks of its *broker.Session.
type session interface {
	Start()
	Expiry() uint32
	ClientID() string
	Publish(p broker.Publication, a broker.Ack)
	Release(packetID uint16)
	Acked(packetID uint16)
	Subscribe(ctx context.Context, reqs []broker.SubRequest) ([]broker.SubResult, error)
	Unsubscribe(ctx context.Context, filters []string) ([]bool, error)
	Heard()
	Send(frame []byte)
	SetExpiry(seconds uint32)
	Detach(orderly bool)
}

var _ session = (*broker.Session)(nil)

// attacher gives an authenticated client its session.
type attacher func(ctx context.Context, c broker.Connect, l broker.Link) (session, bool, error)

// Server receives MQTT clients on any number of listeners.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	auth    Authenticator
	attach  attacher
	start   time.Time
	most    int // connections, over all listeners
	rate    limiter
	spare   spare

	quietAfter time.Duration
	renewed    atomic.Int64 // goroutines that were replaced by fresh ones

	oversize sync.Once
	zeros    []byte // see tooLarge

	wg      sync.WaitGroup // connections
	stopped atomic.Bool
	stop    chan struct{} // closed by Shutdown

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	first     *conn // all connections, linked
	count     int
	addresses map[netip.Prefix]int
}

// New returns a server for the broker's clients, or what Validate says.
func New(cfg Config, b *broker.Broker, auth Authenticator) (*Server, error) {
	return newServer(cfg, auth, func(ctx context.Context, c broker.Connect, l broker.Link) (session, bool, error) {
		s, present, err := b.Attach(ctx, c, l)
		if err != nil {
			return nil, false, err
		}
		return s, present, nil
	})
}

func newServer(cfg Config, auth Authenticator, attach attacher) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.logger(), metrics: m, auth: auth, attach: attach, start: time.Now(), quietAfter: quietAfter,
		rate: limiter{rate: cfg.AcceptRate}, stop: make(chan struct{}),
		listeners: make(map[net.Listener]struct{}), addresses: make(map[netip.Prefix]int),
	}
	s.most = connectionLimit(cfg.MaxConnections)
	if cfg.MaxConnections > s.most {
		s.log.Warn("fewer connections than configured: the descriptor limit is too low", keyCount, s.most)
	}
	return s, nil
}

// now is the time since the server's start in nanoseconds, from the monotonic clock; never 0.
func (s *Server) now() int64 { return int64(time.Since(s.start)) + 1 }

// Serve receives plain MQTT connections from the listener, or TLS ones from a listener of crypto/tls (ServeTLS serves
// those better), until ctx ends or Shutdown is called, and returns nil then. It closes the listener. It returns an
// error only if the listener is broken for good.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serveListener(ctx, l, nil)
}

// ServeTLS is Serve for MQTT over TLS. The handshake runs in the connection's own goroutine, within ConnectTimeout.
func (s *Server) ServeTLS(ctx context.Context, l net.Listener, cfg *tls.Config) error {
	if cfg == nil {
		return errors.New("wire: ServeTLS without a configuration")
	}
	return s.serveListener(ctx, l, cfg)
}

// Shutdown stops accepting, tells MQTT 5 clients why (0x8B, or 0x9C with the Server Reference), and waits until every
// connection has ended, or ctx has; then it cuts off those that are left and returns ctx's error. It may be called
// more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	began := time.Now()
	if s.stopped.CompareAndSwap(false, true) {
		close(s.stop)
	}
	s.mu.Lock()
	listeners := make([]net.Listener, 0, len(s.listeners))
	for l := range s.listeners {
		listeners = append(listeners, l)
	}
	s.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	conns := s.all()
	for _, c := range conns {
		c.Close(broker.ErrShutdown)
	}
	done := make(chan struct{})
	go func() { // ends when the connections have
		s.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("wire: shutdown: %w", ctx.Err())
		for _, c := range s.all() {
			c.sock.Conn.Close()
		}
		<-done
	}
	s.spare.drop()
	s.log.Info("connections closed", keyCount, len(conns), keyTook, time.Since(began))
	return err
}

func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, s.count)
	for c := s.first; c != nil; c = c.next {
		conns = append(conns, c)
	}
	return conns
}

// add takes a connection in, or says which limit it is over. serve must follow: add counts it in wg.
func (s *Server) add(nc net.Conn, t transport) (c *conn, refused string) {
	return s.addFrom(nc, t, remoteOf(nc), hostOf(nc.RemoteAddr()))
}

// addFrom is add for a client that is somewhere else than the connection's other end.
func (s *Server) addFrom(nc net.Conn, t transport, remote string, from netip.Addr) (c *conn, refused string) {
	c = &conn{srv: s, transport: t, remote: remote, address: from}
	c.heard.Store(s.now())
	c.sock = socket{Conn: nc, c: c}
	prefix := networkOf(from)
	flood := s.cfg.Limits.Flooding(c.address)

	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped.Load():
		return nil, "shutdown"
	case flood:
		return nil, "flood"
	case s.count >= s.most:
		return nil, "connections"
	case s.cfg.MaxConnectionsPerAddress > 0 && s.addresses[prefix] >= s.cfg.MaxConnectionsPerAddress:
		return nil, "address"
	}
	if c.next = s.first; c.next != nil {
		c.next.prev = c
	}
	s.first = c
	s.count++
	s.addresses[prefix]++
	s.wg.Add(1)
	s.metrics.openBy[t].Inc()
	return c, ""
}

func (s *Server) remove(c *conn) {
	prefix := networkOf(c.address)
	s.mu.Lock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	s.count--
	if s.addresses[prefix]--; s.addresses[prefix] == 0 {
		delete(s.addresses, prefix)
	}
	s.mu.Unlock()
	s.metrics.openBy[c.transport].Dec()
	s.wg.Done()
}

// remoteOf is the client's address for the log.
func remoteOf(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return "unknown"
}

// networkOf is what the limit per address counts by. Whoever has an IPv6 network has 2^64 addresses.
func networkOf(ip netip.Addr) netip.Prefix {
	if !ip.IsValid() {
		return netip.Prefix{}
	}
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

// hostOf is the IP address of a TCP connection's other end, IPv4 as such and without a zone; else the zero Addr.
func hostOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return t.AddrPort().Addr().Unmap().WithZone("")
}

// run serves a connection that add took in, in the calling goroutine. A nil stream means the socket itself.
func (c *conn) run(stream io.ReadWriteCloser) {
	c.stream = stream
	if stream == nil {
		c.stream = &c.sock
		c.plain(c.sock.Conn)
	}
	if c.raw == nil {
		c.first = new([firstSize]byte)
	}
	c.serve()
}
