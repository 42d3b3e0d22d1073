package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/hwangso/hwangso/broker"
)

// socket is the lowest layer of a connection: the TCP connection, or what net/http handed over for a WebSocket. It
// holds both deadlines, so that TLS and WebSocket framing above it see neither: reading waits as long as the client
// may be silent, and a write fails when it has made no progress for about WriteStall, however long it takes altogether (a
// total deadline kills slow phones).
type socket struct {
	net.Conn
	c *conn
}

// Read waits until the client's time is over.
func (s *socket) Read(p []byte) (int, error) {
	for {
		n, err := s.Conn.Read(p)
		if n == 0 && err != nil && isTimeout(err) && s.c.extend() {
			continue
		}
		return n, err
	}
}

// Write returns when the kernel has taken all of p, or after no byte of it moved for WriteStall.
func (s *socket) Write(p []byte) (int, error) {
	done := 0
	for {
		s.c.armWrite()
		n, err := s.Conn.Write(p[done:])
		done += n
		if err == nil || !isTimeout(err) || s.c.closing() {
			return done, err
		}
		if n == 0 {
			s.c.srv.metrics.stalls.Inc()
			return done, fmt.Errorf("%w: %w", broker.ErrStuck, err)
		}
		s.c.armed = 0 // it moved: the client is slow, not gone
	}
}

// Deadlines are this type's own; those that crypto/tls sets on closing would undo them.
func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// extend is asked when the read deadline has passed. The deadline is not moved with every packet but only here, to
// where the last packet puts it; false means that the time is over.
func (c *conn) extend() bool {
	if c.closing() {
		return false
	}
	until := c.silentUntil()
	now := c.srv.now()
	if until != 0 && until <= now {
		return false
	}
	if c.quiet(now) {
		c.renew = true
		return false
	}
	c.setReadDeadline(c.readUntil())
	return true
}

// quietAfter is how long a connection is silent before its goroutine is replaced by a fresh one. Handling packets grows
// a goroutine's stack to 8 KiB and more, and the runtime gives back no more than half of what it keeps: 4 KiB for a
// goroutine that needs 800 bytes to wait. A fresh one starts with 2 KiB. Busy connections are never renewed.
const quietAfter = 20 * time.Second

// quiet reports whether it is time for a fresh goroutine: packets were handled on this one, nothing has arrived for a
// while, and no packet is half there. Over a WebSocket, whose reads cannot be taken up again after a deadline, never.
func (c *conn) quiet(now int64) bool {
	return !c.fresh && c.connected && c.transport <= overTLS && c.in.buf == nil && c.in.part == nil && now-c.heard.Load() >= int64(c.srv.quietAfter)
}

// readUntil is when the read has to be interrupted: when the client has been silent for too long, or quiet for a while.
func (c *conn) readUntil() int64 {
	until := c.silentUntil()
	if c.fresh || !c.connected || c.transport > overTLS {
		return until
	}
	if quiet := max(c.heard.Load(), c.srv.now()-int64(c.srv.quietAfter)/2) + int64(c.srv.quietAfter); until == 0 || quiet < until {
		return quiet
	}
	return until
}

// silentUntil is when the client's silence becomes too long, 0 if never.
func (c *conn) silentUntil() int64 {
	if !c.connected {
		return c.heard.Load() + int64(c.srv.cfg.ConnectTimeout) // heard is the accept until then
	}
	if c.keepAlive == 0 {
		return 0
	}
	return c.heard.Load() + int64(c.keepAlive)*int64(time.Second)*3/2
}

// Overdue implements broker.Link. MQTT ends a connection at one and a half times the keepalive (3.1.2.10); a client that
// keeps its promise is heard within one.
func (c *conn) Overdue() bool {
	return c.keepAlive != 0 && c.srv.now()-c.heard.Load() > int64(c.keepAlive)*int64(time.Second)
}

// setReadDeadline lets the read under way, and the next, wait until a time of Server.now.
func (c *conn) setReadDeadline(until int64) {
	var t time.Time
	if until != 0 {
		t = c.srv.start.Add(time.Duration(until))
	}
	c.sock.Conn.SetReadDeadline(t)
	if c.closing() { // Close came in between: its deadline is the one that counts
		c.sock.Conn.SetReadDeadline(past)
	}
}

var past = time.Unix(1, 0)

// armWrite sets the write deadline, unless it was set a moment ago: moving it costs as much as a small write.
func (c *conn) armWrite() {
	now := c.srv.now()
	stall := int64(c.srv.cfg.WriteStall)
	if c.armed != 0 && now-c.armed < stall/8 {
		return
	}
	c.armed = now
	c.sock.Conn.SetWriteDeadline(c.srv.start.Add(time.Duration(now + stall)))
	if c.closing() {
		c.sock.Conn.SetWriteDeadline(c.srv.start.Add(time.Duration(now) + lastWord))
	}
}
