package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/broker"
)

func TestAcceptRate(t *testing.T) {
	l := limiter{rate: 10}
	now := time.Unix(1000, 0)
	for i := range 10 { // a second's worth at once
		if d := l.wait(now); d > 0 {
			t.Errorf("accept %d waits %v", i, d)
		}
	}
	for i := 1; i <= 3; i++ {
		if d := l.wait(now); d != time.Duration(i)*100*time.Millisecond {
			t.Errorf("accept %d over the rate waits %v", i, d)
		}
	}
	if d := l.wait(now.Add(10 * time.Second)); d > 0 {
		t.Errorf("after a pause: %v", d)
	}
	if d := (&limiter{}).wait(now); d != 0 {
		t.Errorf("no rate: %v", d)
	}
}

func TestAddressOf(t *testing.T) {
	for ip, want := range map[string]string{"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8::1:2:3:4": "2001:db8::/64", "fe80::1%lo": "fe80::/64"} {
		a := netip.MustParseAddr(ip)
		if got := networkOf(hostOf(net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 5)))); got.String() != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	if p := networkOf(hostOf(&net.UnixAddr{})); p.IsValid() {
		t.Errorf("unix: %s", p)
	}
}

// brokenListener fails a number of times, then blocks until it is closed.
type brokenListener struct {
	net.Listener
	fails  int
	failed chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, errors.New("accept: transient")
	}
	close(l.failed)
	<-l.closed
	return nil, net.ErrClosed
}

func (l *brokenListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *brokenListener) Addr() net.Addr { return &net.TCPAddr{} }

// Errors of single accepts end nothing; the end of the context, Shutdown and a closed listener do.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newServer(Default(), keeper{}, newDouble().Attach)
		if err != nil {
			t.Fatal(err)
		}
		for _, end := range []string{"context", "close", "shutdown"} {
			l := &brokenListener{fails: 20, failed: make(chan struct{}), closed: make(chan struct{})}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- s.Serve(ctx, l) }()
			<-l.failed
			switch end {
			case "context":
				cancel()
			case "close":
				l.Close()
			case "shutdown":
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if err := <-served; (err != nil) != (end == "close") {
				t.Errorf("%s: %v", end, err)
			}
			cancel()
		}
		if n := count(s.metrics.acceptErrors); n != 60 {
			t.Errorf("%d errors counted", n)
		}
		l := &brokenListener{closed: make(chan struct{}), failed: make(chan struct{})}
		if err := s.Serve(t.Context(), l); err != nil {
			t.Errorf("after Shutdown: %v", err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("a second time: %v", err)
		}
	})
}

// Shutdown cuts off whoever does not go.
func TestShutdownDeadline(t *testing.T) {
	s, err := newServer(Default(), keeper{}, newDouble().Attach)
	if err != nil {
		t.Fatal(err)
	}
	block := make(chan struct{})
	s.attach = func(context.Context, broker.Connect, broker.Link) (session, bool, error) {
		<-block
		return nil, false, errors.New("too late")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context(), l)
	nc := dial(t, l.Addr().String())
	say(t, nc, connectV311+connectV311)
	for s.connections() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	close(block)
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := s.connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
