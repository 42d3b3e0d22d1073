package fcm

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// relay passes connections on to a server; those that are open when it is told to swallow pass nothing on any more, and
// stay open.
type relay struct {
	net.Listener
	to string

	mu    sync.Mutex
	holes []*atomic.Bool
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to}
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			conns.Store(a, nil)
			conns.Store(b, nil)
			hole := new(atomic.Bool)
			r.mu.Lock()
			r.holes = append(r.holes, hole)
			r.mu.Unlock()
			for _, p := range [][2]net.Conn{{a, b}, {b, a}} {
				wg.Go(func() {
					defer p[1].Close()
					b := make([]byte, 4096)
					for {
						n, err := p[0].Read(b)
						if err != nil {
							return
						}
						if !hole.Load() {
							if _, err := p[1].Write(b[:n]); err != nil {
								_, _ = io.Copy(io.Discard, p[0])
								return
							}
						}
					}
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool {
			c.(net.Conn).Close()
			return true
		})
		wg.Wait()
	})
	return r
}

func (r *relay) swallow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.holes {
		h.Store(true)
	}
}

// TestBlackHole: a connection that swallows everything is given up by its pings, before the deadline of a push, and the
// next push has another one.
func TestBlackHole(t *testing.T) {
	s := newServer(t)
	r := newRelay(t, s.Listener.Addr().String())
	p := s.provider(func(c *Config) { c.URL = "https://" + r.Addr().String() })
	h := p.transport.HTTP2
	if h.SendPingTimeout+h.PingTimeout > timeout {
		t.Errorf("a dead connection is found after %v", h.SendPingTimeout+h.PingTimeout)
	}
	h.SendPingTimeout, h.PingTimeout = time.Second, time.Second
	expect(t, p, "before", push.Delivered, "")
	r.swallow()
	expect(t, p, "swallowed", push.Unknown, "connection")
	expect(t, p, "over another connection", push.Delivered, "")
	if posts, _, _ := s.counts(); posts != 2 {
		t.Errorf("%d POSTs", posts)
	}
}
