//go:build linux

package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
)

// recorder is a handler that tells a test what it hears.
type recorder struct {
	ready     chan bool
	closed    chan error
	published chan string
	acked     chan string
	onPublish func(*Conn)
}

func newRecorder() *recorder {
	return &recorder{ready: make(chan bool, 10), closed: make(chan error, 10), published: make(chan string, 10_000), acked: make(chan string, 100)}
}

func (r *recorder) Ready(_ *Conn, present bool) { r.ready <- present }
func (r *recorder) Closed(_ *Conn, err error)   { r.closed <- err }
func (r *recorder) Publish(c *Conn, p *packet.Publish) {
	r.published <- fmt.Sprintf("%s %d %v %s", p.Topic, p.QoS, p.Dup, p.Payload)
	if r.onPublish != nil {
		r.onPublish(c)
	}
}
func (r *recorder) Acked(_ *Conn, kind byte, id uint16, reason byte) {
	r.acked <- fmt.Sprintf("%d %d %d", kind>>4, id, reason)
}

func start(t *testing.T) *Loop {
	t.Helper()
	l, err := Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// server accepts connections and gives each to serve.
func server(t *testing.T, serve func(net.Conn)) Config {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	cfg := Config{To: ln.Addr().(*net.TCPAddr).AddrPort()}
	cfg.Version, cfg.ClientID, cfg.Clean = packet.V5, "x", true
	return cfg
}

func dial(l *Loop, cfg Config, h Handler) *Conn {
	c := l.NewConn(cfg, h)
	l.Do(c.Dial)
	return c
}

// take reads one packet of the client.
func take(c net.Conn) (first byte, body []byte) {
	var b []byte
	one := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, one); err != nil {
			return 0, nil
		}
		b = append(b, one[0])
		if first, body, size, _ := packet.Next(b, 1<<24); size > 0 {
			return first, body
		}
	}
}

const (
	connack = "\x20\x03\x00\x00\x00"
	suback  = "\x90\x04\x00\x01\x00\x01"
)

// TestBytesInDrips: packets that come one byte at a time, and many at once,
// are the same packets, and each is acknowledged in order.
func TestBytesInDrips(t *testing.T) {
	for _, chunk := range []int{1, 7, 100_000} {
		const n = 120
		acks := make(chan string, n)
		cfg := server(t, func(c net.Conn) {
			take(c)
			_, _ = io.WriteString(c, connack)
			b := []byte(suback)
			for i := range n {
				b = packet.AppendPublish(b, packet.V5, byte(i%3), i%2 == 1, uint16(i+1), []byte("a/b"), nil, fmt.Appendf(nil, "message %d", i))
			}
			take(c)
			for len(b) > 0 {
				k := min(chunk, len(b))
				if _, err := c.Write(b[:k]); err != nil {
					return
				}
				b = b[k:]
			}
			for i := range n {
				if i%3 > 0 {
					first, body := take(c)
					acks <- fmt.Sprintf("%d %d", first>>4, int(body[0])<<8|int(body[1]))
				}
			}
		})
		cfg.Filters = []string{"a/#"}
		h := newRecorder()
		dial(start(t), cfg, h)
		if <-h.ready {
			t.Error("a session is present")
		}
		for i := range n {
			want := fmt.Sprintf("a/b %d %v message %d", i%3, i%2 == 1, i)
			if got := <-h.published; got != want {
				t.Fatalf("chunks of %d: %q, want %q", chunk, got, want)
			}
		}
		for i := range n {
			if i%3 > 0 {
				if got, want := <-acks, fmt.Sprintf("%d %d", 3+i%3, i+1); got != want {
					t.Fatalf("chunks of %d: acknowledgement %q, want %q", chunk, got, want)
				}
			}
		}
		if err := <-h.closed; !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("closed with %v", err)
		}
	}
}

// TestHostileServers: whatever a server says, its connection ends with an
// error that says why, and the loop goes on.
func TestHostileServers(t *testing.T) {
	l := start(t)
	for _, c := range []struct {
		name, says string
		want       error
	}{
		{"nothing", "", io.EOF},
		{"a web server", "HTTP/1.1 400 Bad Request\r\n\r\n", io.EOF}, // the start of a long PUBACK
		{"a TLS server", "\x15\x03\x01\x00\x02\x02\x28", ErrProtocol},
		{"PUBLISH before CONNACK", "\x30\x04\x00\x01a\x00", ErrProtocol},
		{"endless length", "\x30\xff\xff\xff\xff\xff\xff", packet.ErrMalformed},
		{"too large", "\x30\xff\xff\xff\x7f", packet.ErrTooLarge},
		{"refused", "\x20\x03\x00\x87\x00", ErrRefused},
		{"cut CONNACK", "\x20\x01\x00", ErrProtocol},
		{"two CONNACKs", connack + connack, ErrProtocol},
		{"early SUBACK", suback, ErrProtocol},
		{"filter refused", connack + "\x90\x04\x00\x01\x00\x87", ErrFilter},
		{"too many codes", connack + "\x90\x05\x00\x01\x00\x01\x01", ErrProtocol},
		{"QoS 3", connack + "\x36\x06\x00\x01a\x00\x01\x00", packet.ErrMalformed},
		{"cut PUBLISH", connack + "\x30\x02\x00\x09", packet.ErrMalformed},
		{"PUBACK of 0", connack + "\x40\x02\x00\x00", packet.ErrMalformed},
		{"client's packet", connack + "\x82\x03\x00\x01\x00", ErrProtocol},
		{"packet type 0", connack + "\x00\x00", ErrProtocol},
		{"DISCONNECT", connack + "\xe0\x02\x8b\x00", ErrServer},
		{"broken DISCONNECT", connack + "\xe0\x03\x8b\x07\x1f", packet.ErrMalformed},
	} {
		cfg := server(t, func(conn net.Conn) {
			take(conn)
			_, _ = io.WriteString(conn, c.says)
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn) // so that no reset overtakes it
		})
		cfg.Filters = []string{"a"}
		h := newRecorder()
		dial(l, cfg, h)
		if err := <-h.closed; !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if len(h.closed) != 0 {
			t.Errorf("%s: closed twice", c.name)
		}
	}
}

// TestRandomServers feeds random bytes after a good start.
func TestRandomServers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	l := start(t)
	for range 60 {
		junk := []byte(connack + suback)
		for range rng.IntN(400) {
			junk = append(junk, byte(rng.Uint32()))
		}
		cfg := server(t, func(c net.Conn) {
			take(c)
			_, _ = c.Write(junk)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		})
		h := newRecorder()
		dial(l, cfg, h)
		if err := <-h.closed; err == nil {
			t.Errorf("% x: no error", junk)
		}
	}
}

// TestFullSendBuffer: what a server does not read waits, in order, and leaves
// when it reads.
func TestFullSendBuffer(t *testing.T) {
	const n, size = 300, 60_000
	full := make(chan struct{})
	got := make(chan error, 1)
	cfg := server(t, func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, connack)
		<-full
		for i := range n {
			want := packet.AppendPublish(nil, packet.V5, 0, false, 0, []byte("t"), nil, bytes.Repeat([]byte{byte(i)}, size))
			b := make([]byte, len(want))
			if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, want) {
				got <- fmt.Errorf("message %d is another: %v", i, err)
				return
			}
		}
		got <- nil
	})
	cfg.RcvBuf = 4096
	h := newRecorder()
	l := start(t)
	c := dial(l, cfg, h)
	<-h.ready
	l.Do(func() {
		for i := range n {
			c.Publish(0, false, 0, []byte("t"), nil, bytes.Repeat([]byte{byte(i)}, size))
		}
	})
	pending := make(chan int)
	l.Do(func() { pending <- c.Pending() }) // a round later: the first write is done
	if p := <-pending; p == 0 {
		t.Error("18 MB fit into the socket: nothing is tested")
	}
	close(full)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// TestKeepAlive: time passes by hand, so that an answer may take as long as it
// likes.
func TestKeepAlive(t *testing.T) {
	pings := make(chan byte, 3)
	cfg := server(t, func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, connack)
		first, _ := take(c)
		pings <- first
		_, _ = io.WriteString(c, "\xd0\x00") // the first is answered
		_, _ = c.Write(packet.AppendPublish(nil, packet.V5, 0, false, 0, []byte("answered"), nil, nil))
		first, _ = take(c)
		pings <- first
		_, _ = io.Copy(io.Discard, c)
	})
	cfg.KeepAlive = 600
	h := newRecorder()
	l := start(t)
	c := dial(l, cfg, h)
	<-h.ready
	quiet := func() { // what is due after it, is due now
		l.Do(func() {
			if left := c.timer.at - c.lastSent; c.timer.index == 0 || left > 600*int64(time.Second) {
				t.Errorf("the next ping is due after %v", time.Duration(left))
			}
			c.lastSent -= c.keep
			l.Set(&c.timer, c.timer.at-c.keep)
		})
	}
	quiet()
	if p := <-pings; p != packet.PINGREQ {
		t.Errorf("%#x instead of PINGREQ", p)
	}
	<-h.published
	quiet()
	if p := <-pings; p != packet.PINGREQ {
		t.Errorf("%#x instead of PINGREQ", p)
	}
	quiet()
	if err := <-h.closed; !errors.Is(err, ErrSilent) {
		t.Errorf("%v", err)
	}
}

func TestSilentServer(t *testing.T) {
	cfg := server(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	cfg.Deadline = 30 * time.Millisecond
	h := newRecorder()
	dial(start(t), cfg, h)
	if err := <-h.closed; !errors.Is(err, ErrSilent) {
		t.Errorf("%v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	deaf, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(deaf)
	if err := syscall.Bind(deaf, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil { // so that nobody else is given the port
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(deaf)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(at.(*syscall.SockaddrInet4).Port))
	h := newRecorder()
	dial(start(t), Config{To: to}, h)
	if err := <-h.closed; !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
	h = newRecorder()
	dial(start(t), Config{To: to, From: netip.MustParseAddr("192.0.2.1")}, h)
	if err := <-h.closed; !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("a foreign source address: %v", err)
	}
}

// TestComeBack dials the same Conn again and again, over descriptors that are
// used again, from several source addresses.
func TestComeBack(t *testing.T) {
	from := make(chan string, 1)
	cfg := server(t, func(c net.Conn) {
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		from <- host
		take(c)
		_, _ = io.WriteString(c, "\x20\x03\x01\x00\x00")
		_, _ = io.Copy(io.Discard, c)
	})
	h := newRecorder()
	l := start(t)
	c := l.NewConn(cfg, h)
	for i := range 20 {
		l.Do(func() {
			c.From = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i%3)})
			c.Dial()
		})
		if !<-h.ready {
			t.Error("the session is not present")
		}
		if got, want := <-from, fmt.Sprintf("127.0.0.%d", 1+i%3); got != want {
			t.Errorf("came from %s, want %s", got, want)
		}
		if i%2 == 0 {
			l.Do(c.Drop)
		} else {
			l.Do(c.Disconnect)
		}
		if err := <-h.closed; err != nil {
			t.Errorf("%v", err)
		}
	}
}

// TestStopReading leaves what comes in the socket; closing still works.
func TestStopReading(t *testing.T) {
	told, sent := make(chan struct{}), make(chan struct{})
	cfg := server(t, func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, connack)
		<-told
		_, _ = c.Write(packet.AppendPublish(nil, packet.V5, 0, false, 0, []byte("t"), nil, nil))
		close(sent)
		_, _ = io.Copy(io.Discard, c)
	})
	h := newRecorder()
	l := start(t)
	c := dial(l, cfg, h)
	<-h.ready
	round := make(chan struct{})
	l.Do(func() {
		c.StopReading()
		round <- struct{}{}
	})
	<-round
	close(told)
	<-sent
	for range 2 { // rounds in which it would read
		l.Do(func() { round <- struct{}{} })
		<-round
	}
	l.Do(c.Disconnect)
	<-h.closed
	if len(h.published) > 0 {
		t.Error("it read on")
	}
}

// TestQoS2 walks through PUBREC, PUBREL and PUBCOMP.
func TestQoS2(t *testing.T) {
	released := make(chan []byte, 1)
	cfg := server(t, func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, connack)
		take(c)
		_, _ = io.WriteString(c, "\x50\x02\x00\x09")
		first, body := take(c)
		released <- append([]byte{first}, body...)
		_, _ = io.WriteString(c, "\x70\x02\x00\x09\x50\x03\x00\x0a\x97")
		_, _ = io.Copy(io.Discard, c)
	})
	h := newRecorder()
	l := start(t)
	c := dial(l, cfg, h)
	<-h.ready
	l.Do(func() { c.Publish(2, false, 9, []byte("t"), nil, nil) })
	if got := <-released; !bytes.Equal(got, []byte{0x62, 0, 9}) {
		t.Errorf("% x instead of PUBREL", got)
	}
	for _, want := range []string{"5 9 0", "7 9 0", "5 10 151"} {
		if got := <-h.acked; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCloseEndsEverything(t *testing.T) {
	gone := make(chan struct{})
	cfg := server(t, func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, connack)
		_, _ = io.Copy(io.Discard, c)
		close(gone)
	})
	h := newRecorder()
	l := start(t)
	dial(l, cfg, h)
	<-h.ready
	l.Close()
	<-gone
	l.Close()
	l.Do(func() { t.Error("runs after Close") })
	if len(h.closed) > 0 {
		t.Error("a closed loop tells handlers")
	}
}

func TestTimersFireInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var h timers
	all := make([]*Timer, 200)
	var fired []int64
	for i := range all {
		all[i] = &Timer{}
	}
	for range 2000 {
		tm := all[rng.IntN(len(all))]
		if rng.IntN(4) == 0 {
			h.stop(tm)
		} else {
			h.set(tm, rng.Int64N(1000))
		}
	}
	want := len(h)
	for tm := h.due(500); tm != nil; tm = h.due(500) {
		fired = append(fired, tm.at)
	}
	for tm := h.due(2000); tm != nil; tm = h.due(2000) {
		if tm.at <= 500 {
			t.Errorf("%d was late", tm.at)
		}
		fired = append(fired, tm.at)
	}
	if len(fired) != want {
		t.Errorf("%d fired, %d were set", len(fired), want)
	}
	for i := 1; i < len(fired); i++ {
		if fired[i] < fired[i-1] {
			t.Fatalf("%d after %d", fired[i], fired[i-1])
		}
	}
	for _, tm := range all {
		if tm.index != 0 {
			t.Error("a fired timer thinks it is set")
		}
	}
}
