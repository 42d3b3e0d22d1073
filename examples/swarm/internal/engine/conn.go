//go:build linux

package engine

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
	"golang.org/x/sys/unix"
)

// Config is who connects to where. It is read at Dial and may change between.
type Config struct {
	To        netip.AddrPort
	From      netip.Addr    // source address; invalid means the system's choice
	RcvBuf    int           // receive buffer in bytes; 0 means the system's choice
	Deadline  time.Duration // from Dial to Ready; 0 means 30 s
	Filters   []string      // subscribed before Ready; none means no SUBSCRIBE
	FilterQoS byte

	packet.Connect
}

// Handler hears what happens to one connection. All calls come from the loop.
type Handler interface {
	// Ready: connected, and subscribed unless the server kept the session.
	Ready(c *Conn, sessionPresent bool)
	// Publish: a message arrived; its slices are valid during the call. The
	// engine acknowledges it. It may come before Ready.
	Publish(c *Conn, p *packet.Publish)
	// Acked: a PUBACK, or a PUBREC or PUBCOMP as kind tells, with the reason
	// code (0 before 5.0). The engine answers PUBREC with PUBREL.
	Acked(c *Conn, kind byte, id uint16, reason byte)
	// Closed: the connection ended or could not be made; err says why and is
	// nil after Disconnect.
	Closed(c *Conn, err error)
}

// Errors that Closed gives, wrapped with details.
var (
	ErrRefused  = errors.New("server refused the connection")
	ErrFilter   = errors.New("server refused the subscription")
	ErrSilent   = errors.New("server does not answer")
	ErrProtocol = errors.New("server broke the protocol")
	ErrServer   = errors.New("server disconnected")
)

type state uint8

const (
	closed state = iota
	dialing
	connecting // CONNECT is sent
	subscribing
	open
)

// Conn is one client connection. Its methods are for its loop only.
type Conn struct {
	Config
	loop    *Loop
	handler Handler

	fd       int
	gen      int32
	state    state
	present  bool
	dirty    bool
	deaf     bool // StopReading
	blocked  bool // waits for room in the send buffer
	pinged   bool // a PINGREQ is not answered yet
	window   uint16
	keep     int64 // ns between PINGREQs, 0 for none
	lastSent int64
	in       []byte // the beginning of a packet
	out      []byte
	timer    Timer
}

// NewConn makes a connection that Dial opens.
func (l *Loop) NewConn(cfg Config, h Handler) *Conn {
	c := &Conn{Config: cfg, loop: l, handler: h, fd: -1}
	c.timer.Fire = c.tick
	return c
}

// Loop is the loop that runs c.
func (c *Conn) Loop() *Loop { return c.loop }

// Open reports whether c is ready to send.
func (c *Conn) Open() bool { return c.state == open }

// Window is the server's Receive Maximum, 65,535 if it named none.
func (c *Conn) Window() uint16 { return c.window }

// Pending is how many bytes wait for room in the send buffer.
func (c *Conn) Pending() int { return len(c.out) }

// Dial opens the connection. Failures come to Closed, never from inside Dial.
func (c *Conn) Dial() {
	if c.state != closed {
		return
	}
	l := c.loop
	c.pinged, c.blocked, c.deaf, c.present = false, false, false, false
	c.state = dialing
	fd, err := connect(c.To, c.From, c.RcvBuf)
	if err == nil {
		l.gen++
		c.fd, c.gen = fd, l.gen
		for len(l.conns) <= fd {
			l.conns = append(l.conns, make([]*Conn, 1+len(l.conns))...)
		}
		l.conns[fd] = c
		err = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: int32(fd), Pad: c.gen})
	}
	if err != nil {
		l.Do(func() { c.fail(fmt.Errorf("connect: %w", err)) })
		return
	}
	deadline := c.Deadline
	if deadline == 0 {
		deadline = 30 * time.Second
	}
	l.Set(&c.timer, Now()+int64(deadline))
}

// Publish queues a PUBLISH on the topic prefix+suffix; it leaves in this round.
func (c *Conn) Publish(qos byte, dup bool, id uint16, prefix, suffix, payload []byte) {
	c.out = packet.AppendPublish(c.out, c.Version, qos, dup, id, prefix, suffix, payload)
	c.mark()
}

// Release queues a PUBREL, for a message whose PUBREC came on an earlier
// connection.
func (c *Conn) Release(id uint16) {
	c.out = packet.AppendAck(c.out, packet.PUBREL, id)
	c.mark()
}

// StopReading leaves everything the server sends from now on in the socket.
func (c *Conn) StopReading() {
	c.deaf = true
	c.watch()
}

// Disconnect sends DISCONNECT and closes; Closed is called with nil.
func (c *Conn) Disconnect() {
	if c.state == closed {
		return
	}
	if c.state != dialing {
		c.out = packet.AppendDisconnect(c.out)
		c.write()
	}
	c.fail(nil)
}

// Drop closes without a DISCONNECT, as a lost network does; Closed is called
// with nil.
func (c *Conn) Drop() { c.fail(nil) }

// ready serves one epoll event.
func (c *Conn) ready(events uint32) {
	if c.state == dialing {
		code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err != nil {
			c.fail(fmt.Errorf("connect: %w", err))
			return
		}
		if events&unix.EPOLLOUT == 0 {
			return
		}
		c.state = connecting
		c.out = packet.AppendConnect(c.out, &c.Connect)
		c.flush()
		if c.state != closed && !c.blocked {
			c.watch() // no longer for writing
		}
		return
	}
	if events&unix.EPOLLOUT != 0 && c.blocked {
		c.flush()
	}
	if c.state != closed && events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.read()
		if c.state != closed && len(c.out) > 0 {
			c.flush()
		}
	}
}

// read takes what the socket holds, up to readChunk, and hands over every
// whole packet. The beginning of the next one is kept until more arrives.
func (c *Conn) read() {
	buf := c.loop.buf
	have := copy(buf, c.in)
	n, err := unix.Read(c.fd, buf[have:min(have+readChunk, len(buf))])
	c.loop.now = Now()
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		c.fail(err)
		return
	case n == 0:
		c.fail(fmt.Errorf("%w: %w", ErrServer, io.EOF))
		return
	}
	b := buf[:have+n]
	gen := c.gen
	for len(b) > 0 {
		first, body, size, err := packet.Next(b, maxPacket)
		if err == nil && size > 0 {
			err = c.packet(first, body)
		}
		if c.gen != gen || c.state == closed {
			return // a handler closed it
		}
		if err != nil {
			c.fail(err)
			return
		}
		if size == 0 {
			break
		}
		b = b[size:]
	}
	c.in = append(c.in[:0], b...)
	if len(b) == 0 && cap(c.in) > 4096 {
		c.in = nil
	}
}

func (c *Conn) packet(first byte, body []byte) error {
	kind := first & 0xF0
	if c.state == connecting && kind != packet.CONNACK {
		return fmt.Errorf("%w: packet type %d before CONNACK", ErrProtocol, first>>4)
	}
	switch kind {
	case packet.PUBLISH:
		p := &c.loop.message
		if err := packet.ReadPublish(first, body, c.Version, p); err != nil {
			return fmt.Errorf("%w: PUBLISH: %w", ErrProtocol, err)
		}
		gen := c.gen
		c.handler.Publish(c, p)
		if p.QoS == 0 || c.state == closed || c.gen != gen {
			return nil
		}
		ack := byte(packet.PUBACK)
		if p.QoS == 2 {
			ack = packet.PUBREC
		}
		c.out = packet.AppendAck(c.out, ack, p.ID)
		c.mark()
		return nil
	case packet.PUBACK, packet.PUBREC, packet.PUBCOMP:
		id, reason, err := packet.ReadAck(body, c.Version)
		if err != nil {
			return fmt.Errorf("%w: acknowledgement: %w", ErrProtocol, err)
		}
		if kind == packet.PUBREC && reason < 0x80 {
			c.Release(id)
		}
		c.handler.Acked(c, kind, id, reason)
		return nil
	case packet.PUBREL:
		id, _, err := packet.ReadAck(body, c.Version)
		if err != nil {
			return fmt.Errorf("%w: PUBREL: %w", ErrProtocol, err)
		}
		c.out = packet.AppendAck(c.out, packet.PUBCOMP, id)
		c.mark()
		return nil
	case packet.PINGRESP:
		c.pinged = false
		return nil
	case packet.CONNACK:
		return c.connack(body)
	case packet.SUBACK:
		return c.suback(body)
	case packet.DISCONNECT:
		reason, text, err := packet.ReadDisconnect(body)
		if err != nil {
			return fmt.Errorf("%w: DISCONNECT: %w", ErrProtocol, err)
		}
		return fmt.Errorf("%w: %s %s", ErrServer, ReasonName(reason), text)
	}
	return fmt.Errorf("%w: unexpected packet type %d", ErrProtocol, first>>4)
}

func (c *Conn) connack(body []byte) error {
	a, err := packet.ReadConnack(body, c.Version)
	if err != nil || c.state != connecting {
		return fmt.Errorf("%w: CONNACK", ErrProtocol)
	}
	if a.Reason != 0 {
		if c.Version == packet.V5 {
			return fmt.Errorf("%w: %s %s", ErrRefused, ReasonName(a.Reason), a.ReasonString)
		}
		return fmt.Errorf("%w: %s", ErrRefused, returnCode(a.Reason))
	}
	c.window, c.present = a.ReceiveMax, a.SessionPresent
	c.keep = int64(c.KeepAlive) * int64(time.Second) * 3 / 4
	if a.KeepAlive > 0 {
		c.keep = int64(a.KeepAlive) * int64(time.Second) * 3 / 4
	}
	if len(c.Filters) > 0 && !c.present {
		c.state = subscribing
		c.out = packet.AppendSubscribe(c.out, c.Version, 1, c.FilterQoS, c.Filters...)
		c.mark()
		return nil
	}
	c.opened()
	return nil
}

func (c *Conn) suback(body []byte) error {
	_, codes, err := packet.ReadSuback(body, c.Version)
	if err != nil || c.state != subscribing || len(codes) != len(c.Filters) {
		return fmt.Errorf("%w: SUBACK", ErrProtocol)
	}
	for i, code := range codes {
		if code >= 0x80 {
			return fmt.Errorf("%w: %s: %s", ErrFilter, c.Filters[i], ReasonName(code))
		}
	}
	c.opened()
	return nil
}

func (c *Conn) opened() {
	c.state = open
	c.loop.Stop(&c.timer)
	if c.keep > 0 {
		c.loop.Set(&c.timer, c.loop.now+c.keep)
	}
	c.handler.Ready(c, c.present)
}

// tick is the deadline of opening, and from then on the keep-alive.
func (c *Conn) tick(now int64) {
	switch {
	case c.state == closed:
	case c.state != open:
		c.fail(fmt.Errorf("%w: not ready within %v", ErrSilent, c.Deadline))
	case c.pinged && !c.deaf:
		c.fail(fmt.Errorf("%w: no PINGRESP", ErrSilent))
	case now-c.lastSent < c.keep:
		c.loop.Set(&c.timer, c.lastSent+c.keep)
	default:
		c.pinged = true
		c.out = packet.AppendPing(c.out)
		c.mark()
		c.loop.Set(&c.timer, now+c.keep)
	}
}

// mark has c flushed in this round.
func (c *Conn) mark() {
	if !c.dirty && !c.blocked {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// flush writes what is queued, in one write if the socket takes it.
func (c *Conn) flush() {
	c.dirty = false
	if c.state == closed || len(c.out) == 0 {
		return
	}
	if err := c.write(); err != nil {
		c.fail(err)
		return
	}
	if blocked := len(c.out) > 0; blocked != c.blocked {
		c.blocked = blocked
		c.watch()
	}
}

func (c *Conn) write() error {
	n, err := unix.Write(c.fd, c.out)
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	c.lastSent = c.loop.now
	rest := copy(c.out, c.out[n:])
	c.out = c.out[:rest]
	if rest == 0 && cap(c.out) > 4096 {
		c.out = nil
	}
	return nil
}

// watch tells epoll what c waits for.
func (c *Conn) watch() {
	if c.fd < 0 {
		return
	}
	var e uint32
	if !c.deaf {
		e |= unix.EPOLLIN
	}
	if c.blocked || c.state == dialing {
		e |= unix.EPOLLOUT
	}
	err := unix.EpollCtl(c.loop.epfd, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: e, Fd: int32(c.fd), Pad: c.gen})
	if err != nil {
		c.fail(fmt.Errorf("epoll: %w", err))
	}
}

// fail closes c and tells the handler.
func (c *Conn) fail(err error) {
	if c.state == closed {
		return
	}
	c.release()
	c.handler.Closed(c, err)
}

func (c *Conn) release() {
	c.state = closed
	c.loop.Stop(&c.timer)
	if c.fd >= 0 {
		c.loop.conns[c.fd] = nil
		unix.Close(c.fd)
		c.fd = -1
	}
	c.in, c.out = nil, nil
}
