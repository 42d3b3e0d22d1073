package pushsim

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// maxConns is how many connections a listener has at a time. Another one is closed at once.
const maxConns = 1000

// handshakeTime is how long a connection has for TLS and the first bytes of HTTP/2.
const handshakeTime = 10 * time.Second

// front is a listener of a provider.
type front struct {
	name     string
	provider Provider
	sandbox  bool
	service  service
	plain    bool // HTTP/1.1 is spoken too, with those who do not offer HTTP/2

	listener net.Listener
	tls      *tls.Config

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil once it is closed
}

// openFront listens; nothing is accepted yet.
func (s *Sim) openFront(f *front, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	f.listener, f.conns = l, make(map[net.Conn]struct{})
	f.tls = &tls.Config{Certificates: []tls.Certificate{s.files.cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if f.plain {
		f.tls.NextProtos = append(f.tls.NextProtos, "http/1.1")
	}
	s.fronts[f.name] = f
	return nil
}

// accept is the goroutine of a listener.
func (s *Sim) accept(f *front) {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.log.Warn("no connection accepted", keyProvider, f.name, keyErr, err)
			select { // too many open files, most likely
			case <-time.After(100 * time.Millisecond):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		if s.faults.refuses(f.provider, f.sandbox, s.now()) || !f.enter(c) {
			abort(c)
			continue
		}
		s.wg.Go(func() {
			defer f.leave(c)
			s.serve(f, c)
		})
	}
}

func (f *front) enter(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil || len(f.conns) >= maxConns {
		return false
	}
	f.conns[c] = struct{}{}
	return true
}

func (f *front) leave(c net.Conn) {
	c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// closeAll closes every connection, and lets no other in.
func (f *front) closeAll() {
	f.mu.Lock()
	conns := f.conns
	f.conns = nil
	f.mu.Unlock()
	for c := range conns {
		c.Close()
	}
}

// serve is the goroutine of a connection.
func (s *Sim) serve(f *front, raw net.Conn) {
	raw.SetDeadline(time.Now().Add(handshakeTime))
	c := tls.Server(raw, f.tls)
	ctx, cancel := context.WithTimeout(s.ctx, handshakeTime)
	err := c.HandshakeContext(ctx)
	cancel()
	if err != nil {
		s.log.Debug("no handshake", keyProvider, f.name, keyErr, err)
		return
	}
	switch {
	case c.ConnectionState().NegotiatedProtocol == "h2":
		s.serveHTTP2(f, c)
	case f.plain:
		s.serveHTTP1(f, c)
	default:
		s.log.Debug("no HTTP/2 by ALPN", keyProvider, f.name)
	}
}

// abort closes a connection so that the peer sees a reset, and not an end.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}
