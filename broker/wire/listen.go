package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

const (
	backoffLeast = 5 * time.Millisecond
	backoffMost  = time.Second

	// reservedDescriptors are left to the store, the API and everything else that opens files.
	reservedDescriptors = 128
)

func (s *Server) serveListener(ctx context.Context, l net.Listener, cfg *tls.Config) error {
	s.mu.Lock()
	if s.stopped.Load() {
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	s.spare.take()
	cancel := context.AfterFunc(ctx, func() { l.Close() })
	defer func() {
		cancel()
		l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	s.log.Info("listening", keyAddr, l.Addr().String())
	return s.accept(ctx, l, cfg)
}

// accept takes connections until the listener is closed. No error of a single accept ends it: a listener that gives up
// when descriptors run out is a server that is gone.
func (s *Server) accept(ctx context.Context, l net.Listener, cfg *tls.Config) error {
	backoff := backoffLeast
	var told time.Time
	for {
		if !s.pause(ctx, s.rate.wait(time.Now())) {
			return nil
		}
		nc, err := l.Accept()
		switch {
		case err == nil:
			backoff = backoffLeast
			s.admit(nc, cfg)
			continue
		case ctx.Err() != nil, s.stopped.Load():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("wire: listener %s was closed: %w", l.Addr(), err)
		}
		s.metrics.acceptErrors.Inc()
		if now := time.Now(); now.Sub(told) >= backoffMost {
			told = now
			s.log.Warn("accept failed; trying again", keyAddr, l.Addr().String(), keyErr, err)
		}
		if exhausted(err) && s.spare.shed(l) {
			s.metrics.refuse("descriptors")
			backoff = backoffLeast // there may be more of them waiting
		}
		if !s.pause(ctx, backoff) {
			return nil
		}
		backoff = min(2*backoff, backoffMost)
	}
}

// pause waits; false means that the server or the listener's ctx has ended.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.stop:
	}
	return false
}

func (s *Server) admit(nc net.Conn, cfg *tls.Config) {
	_, wrapped := nc.(*tls.Conn)
	t := overTCP
	if cfg != nil || wrapped {
		t = overTLS
	}
	c, refused := s.add(nc, t)
	if c == nil {
		s.metrics.refuse(refused)
		nc.Close()
		return
	}
	c.sock.tune(s.cfg.SendBuffer)
	go func() { // counted in wg by add
		if cfg != nil {
			c.run(tls.Server(&c.sock, cfg))
			return
		}
		c.run(nil)
	}()
}

// limiter spreads accepts: a second's worth may come at once.
type limiter struct {
	rate float64
	mu   sync.Mutex
	due  time.Time
}

// wait returns how long the next one has to wait.
func (l *limiter) wait(now time.Time) time.Duration {
	if l.rate <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due.Before(now) {
		l.due = now
	}
	l.due = l.due.Add(time.Duration(float64(time.Second) / l.rate))
	return l.due.Sub(now) - time.Second
}

// spare is one descriptor held in reserve. When there are none left it is given up for a moment, to accept a connection
// and close it: its client learns at once that it is not served, instead of hanging in the backlog.
type spare struct {
	mu sync.Mutex
	f  *os.File
}

func (s *spare) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		s.f, _ = os.Open(os.DevNull)
	}
}

func (s *spare) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f != nil {
		s.f.Close()
		s.f = nil
	}
}

// shed reports whether a connection was accepted and closed.
func (s *spare) shed(l net.Listener) bool {
	s.drop()
	defer s.take()
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(time.Now().Add(backoffLeast)) // it may have gone meanwhile
		defer d.SetDeadline(time.Time{})
	}
	nc, err := l.Accept()
	if err != nil {
		return false
	}
	nc.Close()
	return true
}

// tune sets what a phone's connection needs of TCP: a small send buffer, so that what a stuck client costs is bounded
// in the kernel too, and no keep-alive probes until settle knows whether they are needed: each wakes the phone's radio,
// and MQTT has its own.
func (s *socket) tune(sendBuffer int) {
	tcp := tcpOf(s.Conn)
	if tcp == nil {
		return
	}
	if sendBuffer > 0 {
		tcp.SetWriteBuffer(sendBuffer)
	}
	tcp.SetKeepAlive(false)
}

// settle turns TCP's own keep-alive on for a client that asked for no keep alive; nothing else would ever notice that
// it has gone.
func (s *socket) settle(keepAlive uint16) {
	if tcp := tcpOf(s.Conn); tcp != nil && keepAlive == 0 {
		tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 10 * time.Minute, Interval: time.Minute, Count: 5})
	}
}

// tcpOf is the TCP connection below TLS and what a listener put around it, nil if there is none.
func tcpOf(nc net.Conn) *net.TCPConn {
	for {
		switch t := nc.(type) {
		case *net.TCPConn:
			return t
		case interface{ NetConn() net.Conn }:
			nc = t.NetConn()
		default:
			return nil
		}
	}
}
