//go:build linux

package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
)

// streams are idle connections over TLS or WebSocket. They cost the client a
// goroutine and the libraries' buffers each, which does not matter where only
// the server's memory is measured.
//
// Goroutines: one reader a connection, ended by closing it; the pinger, ended
// by the run's context; at most ConnectParallel dialers while connecting. All
// are waited for by idleStreams.
type streams struct {
	opt    *Options
	scheme *scheme
	dialer *net.Dialer
	tls    *tls.Config // nil without TLS

	ended atomic.Uint64 // connections that ended by themselves

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

func idleStreams(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	f, err := newFleet(o, log) // for its measurements; it opens no connection
	if err != nil {
		return nil, err
	}
	defer f.close()
	s := &streams{opt: o, scheme: f.scheme, dialer: &net.Dialer{Timeout: 30 * time.Second}}
	if s.tls, err = o.tlsConfig(); err != nil {
		return nil, err
	}
	r := f.report(idleSettings(o))
	r.Connections = o.N
	start := f.sample()
	if f.failed != nil {
		return nil, f.failed
	}
	var readers sync.WaitGroup
	defer readers.Wait()
	defer s.close()
	if err := s.open(ctx, &readers); err != nil {
		return nil, f.explain(err)
	}
	ready := f.sample()
	r.ConnectSecs = ready.at.Sub(start.at).Seconds()
	fmt.Fprintf(f.log, "swarm: %d connections established in %v, idle for %v\n", o.N, ready.at.Sub(start.at).Round(time.Millisecond), o.Time)

	hold, cancel := context.WithTimeout(ctx, o.Time)
	defer cancel()
	s.keepAlive(hold)
	end := f.sample()
	r.Interrupted = ctx.Err() != nil
	r.phase("connect", "connections", uint64(o.N), start, ready)
	r.phase("idle", "connections", uint64(o.N)-s.ended.Load(), ready, end)
	r.memory(f, start, ready, end)
	r.ClosedByPeer = s.ended.Load()
	return r, nil
}

// open connects all, and returns the first failure.
func (s *streams) open(ctx context.Context, readers *sync.WaitGroup) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var dialers sync.WaitGroup
	gate := make(chan struct{}, s.opt.ConnectParallel)
	begin := time.Now()
	for i := range s.opt.N {
		if s.opt.ConnectRate > 0 {
			sleep(ctx, time.Until(begin.Add(time.Duration(float64(i)/s.opt.ConnectRate*float64(time.Second)))))
		}
		select {
		case gate <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		dialers.Go(func() {
			defer func() { <-gate }()
			c, err := s.dial(ctx, i)
			if err != nil {
				cancel(err)
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			readers.Go(func() { s.read(c) })
		})
	}
	dialers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// dial opens connection i up to its SUBACK.
func (s *streams) dial(ctx context.Context, i int) (net.Conn, error) {
	cfg := s.scheme.login("i", i, i)
	d := *s.dialer
	if cfg.From.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: cfg.From.AsSlice()}
	}
	c, err := s.transport(ctx, &d)
	if err != nil {
		return nil, err
	}
	if err := s.login(c, &cfg, i); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (s *streams) transport(ctx context.Context, d *net.Dialer) (net.Conn, error) {
	to := s.scheme.to.String()
	if !s.opt.WS {
		return (&tls.Dialer{NetDialer: d, Config: s.tls}).DialContext(ctx, "tcp", to)
	}
	url := "ws://" + to + s.opt.WSPath
	if s.tls != nil {
		url = "wss://" + to + s.opt.WSPath
	}
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		Subprotocols: []string{"mqtt"},
		HTTPClient: &http.Client{Transport: &http.Transport{
			DialContext: d.DialContext, TLSClientConfig: s.tls, DisableKeepAlives: true,
		}},
	})
	if err != nil {
		return nil, err
	}
	return websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary), nil
}

func (s *streams) login(c net.Conn, cfg *engine.Config, i int) error {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(packet.AppendConnect(nil, &cfg.Connect)); err != nil {
		return err
	}
	body, err := readPacket(c, packet.CONNACK)
	if err != nil {
		return err
	}
	a, err := packet.ReadConnack(body, cfg.Version)
	if err != nil {
		return err
	}
	if a.Reason != 0 {
		return fmt.Errorf("%w: CONNACK 0x%02X", engine.ErrRefused, a.Reason)
	}
	if s.opt.Subscribe {
		b := packet.AppendSubscribe(nil, cfg.Version, 1, byte(s.opt.QoS), s.scheme.userFilter(i))
		if _, err := c.Write(b); err != nil {
			return err
		}
		if body, err = readPacket(c, packet.SUBACK); err != nil {
			return err
		}
		_, codes, err := packet.ReadSuback(body, cfg.Version)
		if err != nil {
			return err
		}
		if codes[0] >= 0x80 {
			return fmt.Errorf("%w: %s", engine.ErrFilter, engine.ReasonName(codes[0]))
		}
	}
	return c.SetDeadline(time.Time{})
}

// read takes in what the server sends until the connection ends. An idle
// connection's server has nothing to say but PINGRESP.
func (s *streams) read(c net.Conn) {
	_, _ = io.Copy(io.Discard, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.ended.Add(1)
	}
}

// keepAlive pings every connection three times in four keep-alive intervals,
// spread over the interval, until ctx ends.
func (s *streams) keepAlive(ctx context.Context) {
	if s.opt.KeepAlive == 0 {
		<-ctx.Done()
		return
	}
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	each := s.opt.KeepAlive * 3 / 4 / time.Duration(len(conns))
	ping := packet.AppendPing(nil)
	next := time.Now()
	for i := 0; ; i = (i + 1) % len(conns) {
		next = next.Add(each)
		if until := time.Until(next); until > 0 {
			sleep(ctx, until)
		}
		if ctx.Err() != nil {
			return
		}
		c := conns[i]
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Write(ping) // a dead one is counted by its reader
	}
}

func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.mu.Unlock()
	for _, c := range conns {
		_, _ = c.Write(packet.AppendDisconnect(nil)) // politeness, best effort
		_ = c.Close()
	}
}

// readPacket reads one packet of the wanted type.
func readPacket(r io.Reader, want byte) ([]byte, error) {
	var b []byte
	one := make([]byte, 1)
	for {
		if _, err := io.ReadFull(r, one); err != nil {
			return nil, err
		}
		b = append(b, one[0])
		first, body, size, err := packet.Next(b, 64<<10)
		if err != nil {
			return nil, err
		}
		if size > 0 {
			if first&0xF0 != want {
				return nil, fmt.Errorf("%w: packet type %d instead of %d", engine.ErrProtocol, first>>4, want>>4)
			}
			return body, nil
		}
	}
}

func (o *Options) tlsConfig() (*tls.Config, error) {
	if !o.TLS {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{ServerName: host, InsecureSkipVerify: o.Insecure}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("-ca: no certificate in " + o.CA)
		}
	}
	return c, nil
}
