//lint:file-ignore SA1019 frames are written by hand here

package apns

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/hwangso/hwangso/bridge/push"
)

// TestConnection ends connections and streams in every way in which Apple's do, while a push is on its way, and sees what
// it comes to, how often it arrived whole, and that the next one goes through.
func TestConnection(t *testing.T) {
	for _, row := range []struct {
		name   string
		fault  func(*peer, *request)
		want   push.Outcome
		reason string
		times  int // it arrived so often
	}{
		{"GOAWAY below the stream", func(p *peer, r *request) {
			p.goAway(r.stream-2, http2.ErrCodeNo, "")
		}, push.Delivered, "", 2},
		{"GOAWAY above it, and no answer", func(p *peer, r *request) {
			p.goAway(r.stream, http2.ErrCodeNo, `{"reason":"Shutdown"}`)
			p.nc.Close()
		}, push.Unknown, "Shutdown", 1},
		{"GOAWAY above it, and an answer", func(p *peer, r *request) {
			p.goAway(r.stream, http2.ErrCodeNo, `{"reason":"Shutdown"}`)
			ok(p, r)
		}, push.Delivered, "", 1},
		{"GOAWAY of the highest stream there is, and an answer", func(p *peer, r *request) {
			p.goAway(1<<31-1, http2.ErrCodeNo, "")
			ok(p, r)
		}, push.Delivered, "", 1},
		{"REFUSED_STREAM", func(p *peer, r *request) { p.reset(r, http2.ErrCodeRefusedStream) }, push.Delivered, "", 2},
		{"RST_STREAM", func(p *peer, r *request) { p.reset(r, http2.ErrCodeInternal) }, push.Unknown, "", 1},
		{"CANCEL", func(p *peer, r *request) { p.reset(r, http2.ErrCodeCancel) }, push.Unknown, "", 1},
		{"TCP close", func(p *peer, _ *request) { p.nc.Close() }, push.Unknown, "", 1},
		{"TCP reset", func(p *peer, _ *request) {
			_ = p.nc.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			p.nc.(*tls.Conn).NetConn().Close()
		}, push.Unknown, "", 1},
		{"nonsense", func(p *peer, _ *request) {
			p.write(func() error { _, err := p.nc.Write(make([]byte, 64)); return err })
		}, push.Unknown, "", 1},
		{"a status and no end", func(p *peer, r *request) {
			p.headers(r, 503, false, "retry-after", "9")
			p.reset(r, http2.ErrCodeInternal)
		}, push.Unavailable, "", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got requestLog
			var broken atomic.Bool
			s := &server{handle: func(p *peer, r *request) {
				if n := got.add(r); n == 1 || broken.Load() { // one before, to prove the connection
					ok(p, r)
					return
				}
				broken.Store(true)
				row.fault(p, r)
			}}
			c := open(t, testConfig(t, listen(t, s)))
			if a := c.Send(testContext(t), testPush()); a.Outcome != push.Delivered {
				t.Fatalf("before: %+v", a)
			}
			a := c.Send(testContext(t), testPush())
			if a.Outcome != row.want || a.Reason != row.reason {
				t.Errorf("%+v, want %v %q", a, row.want, row.reason)
			}
			if n := len(got.all()) - 1; n != row.times {
				t.Errorf("it arrived %d times, want %d", n, row.times)
			}
			for _, r := range got.all() {
				if r.headers["apns-id"] != testPush().ID.String() {
					t.Errorf("apns-id %s", r.headers["apns-id"])
				}
			}
			if a.Err != nil && strings.Contains(a.Err.Error(), testToken) {
				t.Errorf("the token is in the error: %v", a.Err)
			}
			if a := c.Send(testContext(t), testPush()); a.Outcome != push.Delivered {
				t.Errorf("after: %+v", a)
			}
		})
	}
}

// TestNoConnection: what never reached anybody is not Unknown.
func TestNoConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "https://" + l.Addr().String()
	l.Close()
	plain, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: serverTLS(t).Certificates, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() { // ends with the listener
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	s := &server{handle: ok}
	stranger := testConfig(t, listen(t, s))
	stranger.CA = nil
	for name, cfg := range map[string]Config{
		"refused": testConfig(t, refused), "another protocol": testConfig(t, "https://"+plain.Addr().String()), "another certificate": stranger,
	} {
		a := open(t, cfg).Send(testContext(t), testPush())
		if a.Outcome != push.Unavailable || !errors.Is(a.Err, errDial) || strings.Contains(a.Err.Error(), testToken) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if len(s.connections()) != 0 {
		t.Error("a connection without trust")
	}
}

// TestHung: no answer within the time of an attempt, or of who asked. Both may have arrived.
func TestHung(t *testing.T) {
	got := make(chan *request, 2)
	s := &server{handle: func(p *peer, r *request) {
		if r.nth == 1 {
			ok(p, r)
			return
		}
		got <- r
	}}
	c := open(t, testConfig(t, listen(t, s)))
	if a := c.Send(testContext(t), testPush()); a.Outcome != push.Delivered { // the connection is not part of the second
		t.Fatalf("before: %+v", a)
	}
	c.timeout = time.Second
	a := c.Send(testContext(t), testPush())
	if a.Outcome != push.Unknown || !errors.Is(a.Err, context.DeadlineExceeded) {
		t.Errorf("%+v", a)
	}
	c.timeout = attempt
	ctx, cancel := context.WithCancel(testContext(t))
	go func() { // ends with Send
		<-got
		<-got
		cancel()
	}()
	if a := c.Send(ctx, testPush()); a.Outcome != push.Unknown || !errors.Is(a.Err, context.Canceled) {
		t.Errorf("%+v", a)
	}
	if a := c.Send(ctx, testPush()); a.Outcome != push.Unavailable || !errors.Is(a.Err, context.Canceled) {
		t.Errorf("with no time at all: %+v", a)
	}
}

// TestBurst sends 1,000 pushes at once to a server that allows one stream until it has seen a push, and then 1,000: all of
// them go over one connection, and none is refused. Without the wait for the first answer 99 would be.
func TestBurst(t *testing.T) {
	s := &server{limit: 1, late: true}
	s.handle = func(p *peer, r *request) {
		if r.nth > 1 {
			ok(p, r)
			return
		}
		s.wg.Go(func() {
			time.Sleep(50 * time.Millisecond) // the way to Apple and back: nothing else may come meanwhile
			p.allow(1000)
			ok(p, r)
		})
	}
	c := open(t, testConfig(t, listen(t, s)))
	burst(t, c, 1000)
	list := s.connections()
	if len(list) != 1 || list[0].over != 0 || list[0].most > DefaultInFlight {
		t.Errorf("%d connections, %d refused, %d at once", len(list), list[0].over, list[0].most)
	}
}

// TestStreamLimit: a server that never allows more than a few streams, or raises it later than it answers, refuses none
// and stalls none.
func TestStreamLimit(t *testing.T) {
	for name, later := range map[string]bool{"few": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			s := &server{limit: 1}
			s.handle = func(p *peer, r *request) {
				ok(p, r)
				if later && r.nth == 20 {
					p.allow(100)
				}
			}
			c := open(t, testConfig(t, listen(t, s)))
			burst(t, c, 200)
			if list := s.connections(); len(list) != 1 || list[0].over != 0 {
				t.Errorf("%d connections, %d refused", len(list), list[0].over)
			}
		})
	}
}

// TestBurstGoAway goes away in the middle of a burst, with every request above the stream to be sent again.
func TestBurstGoAway(t *testing.T) {
	var mu sync.Mutex
	answered := make(map[string]int)
	s := &server{limit: 1000}
	s.handle = func(p *peer, r *request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case p.nth == 1 && r.nth == 50:
			p.goAway(r.stream-2, http2.ErrCodeNo, `{"reason":"Shutdown"}`)
		case p.nth == 1 && r.nth > 50: // it said that it does not look at these
		default:
			answered[r.headers["apns-collapse-id"]]++
			ok(p, r)
		}
	}
	c := open(t, testConfig(t, listen(t, s)))
	burst(t, c, 400)
	if len(s.connections()) != 2 {
		t.Errorf("%d connections", len(s.connections()))
	}
	for id, n := range answered {
		if n != 1 {
			t.Errorf("push %s was processed %d times", id, n)
		}
	}
	if len(answered) != 400 {
		t.Errorf("%d pushes were processed", len(answered))
	}
}

// burst sends so many at once and wants all delivered.
func burst(t *testing.T, c *Client, n int) {
	t.Helper()
	ctx := testContext(t)
	c.timeout = 2 * time.Minute
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			p := testPush()
			p.Collapse = "m" + string(rune('a'+i%26)) + time.Duration(i).String()
			if a := c.Send(ctx, p); a.Outcome != push.Delivered {
				t.Errorf("push %d: %+v", i, a)
			}
		})
	}
	wg.Wait()
}

// TestBlackHole lets a connection stop to say anything, in a bubble of its own time: what is on it is Unknown after 10 s,
// and the next push goes over another connection.
func TestBlackHole(t *testing.T) {
	certificates(t)
	cfg := testConfig(t, "https://localhost:1")
	conf := serverTLS(t)
	synctest.Test(t, func(t *testing.T) {
		var n int
		s := &server{handle: func(p *peer, r *request) {
			if n++; n == 2 {
				p.blackHole()
				return
			}
			ok(p, r)
		}}
		c := open(t, cfg)
		var serving sync.WaitGroup
		defer serving.Wait()
		c.hosts[0].dial = func(ctx context.Context) (net.Conn, error) {
			near, far := pipe()
			serving.Go(func() { s.serve(tls.Server(far, conf)) })
			nc := tls.Client(near, &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: []string{"h2"}})
			return nc, nc.HandshakeContext(ctx)
		}
		send := func() (push.Answer, time.Duration) {
			began := time.Now()
			a := c.Send(context.Background(), testPush())
			return a, time.Since(began)
		}
		if a, _ := send(); a.Outcome != push.Delivered {
			t.Fatalf("%+v", a)
		}
		time.Sleep(time.Hour) // an idle connection is kept, with a sign of life every 5 s
		if len(s.connections()) != 1 {
			t.Fatalf("%d connections", len(s.connections()))
		}
		a, took := send()
		if a.Outcome != push.Unknown || took > 12*time.Second {
			t.Errorf("in the black hole: %+v after %v", a, took)
		}
		if a, took := send(); a.Outcome != push.Delivered || took > time.Second || len(s.connections()) != 2 {
			t.Errorf("after it: %+v after %v, %d connections", a, took, len(s.connections()))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// pipe is a pair of connections in memory whose writes do not wait for the reader, as those of a socket do not.
func pipe() (net.Conn, net.Conn) {
	a, b := newHalf(), newHalf()
	return &end{a, b}, &end{b, a}
}

type half struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    []byte
	closed bool
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

type end struct{ in, out *half }

func (e *end) Read(b []byte) (int, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	for len(e.in.buf) == 0 && !e.in.closed {
		e.in.cond.Wait()
	}
	if len(e.in.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(b, e.in.buf)
	e.in.buf = e.in.buf[n:]
	return n, nil
}

func (e *end) Write(b []byte) (int, error) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	if e.out.closed {
		return 0, io.ErrClosedPipe
	}
	e.out.buf = append(e.out.buf, b...)
	e.out.cond.Broadcast()
	return len(b), nil
}

func (e *end) Close() error {
	for _, h := range []*half{e.in, e.out} {
		h.mu.Lock()
		h.closed = true
		h.cond.Broadcast()
		h.mu.Unlock()
	}
	return nil
}

func (*end) LocalAddr() net.Addr              { return &net.IPAddr{} }
func (*end) RemoteAddr() net.Addr             { return &net.IPAddr{} }
func (*end) SetDeadline(time.Time) error      { return nil }
func (*end) SetReadDeadline(time.Time) error  { return nil }
func (*end) SetWriteDeadline(time.Time) error { return nil }
