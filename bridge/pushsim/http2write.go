package pushsim

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// errUnread: a client that does not read what it asks for.
var errUnread = errors.New("the client does not read")

// put adds a frame to what is to be written.
func (c *conn) put(frame func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.mute {
		return nil
	}
	if c.out.Len() > outMax {
		return errUnread
	}
	frame()
	return nil
}

// reset ends a stream with an error.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(id)
	if !c.closing && !c.mute && c.out.Len() <= outMax {
		c.fr.WriteRSTStream(id, code)
	}
}

// drop forgets a stream. The caller holds mu.
func (c *conn) drop(id uint32) {
	st := c.streams[id]
	if st == nil {
		return
	}
	delete(c.streams, id)
	if len(st.body) > 0 {
		c.blocked = slices.DeleteFunc(c.blocked, func(o *stream) bool { return o == st })
	}
	if st.gone != nil {
		close(st.gone)
	}
}

// respond answers a stream, if it is still there.
func (c *conn) respond(st *stream, r response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[st.id] != st || c.closing || c.mute {
		return
	}
	c.block.Reset()
	c.enc.WriteField(hpack.HeaderField{Name: ":status", Value: statusText(r.status)})
	for _, h := range r.header {
		c.enc.WriteField(h)
	}
	c.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: st.id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: len(r.body) == 0,
	})
	if len(r.body) == 0 {
		c.finish(st)
		return
	}
	st.body = r.body
	c.blocked = append(c.blocked, st)
	c.pump()
}

// finish is a stream whose answer is complete. The caller holds mu.
func (c *conn) finish(st *stream) {
	if !st.ended {
		// The rest of the request is not wanted (RFC 9113, 8.1).
		c.fr.WriteRSTStream(st.id, http2.ErrCodeNo)
	}
	c.drop(st.id)
}

// pump moves bodies into out as far as the windows and the writer allow. The caller holds mu.
func (c *conn) pump() {
	if c.closing || c.mute {
		return
	}
	rest := c.blocked[:0]
	for _, st := range c.blocked {
		for len(st.body) > 0 && c.window > 0 && st.window > 0 && c.out.Len() < outFull {
			n := min(len(st.body), c.maxFrame, int(min(c.window, st.window)))
			c.fr.WriteData(st.id, n == len(st.body), st.body[:n])
			st.body = st.body[n:]
			c.window -= int64(n)
			st.window -= int64(n)
		}
		if len(st.body) > 0 {
			rest = append(rest, st)
			continue
		}
		c.finish(st)
	}
	clear(c.blocked[len(rest):])
	c.blocked = rest
}

// depart sends GOAWAY on behalf of a stream, which is not answered, and ends the connection after the streams that it
// covers.
func (c *conn) depart(st *stream, last uint32, reason string) error {
	debug := ""
	if reason != "" {
		debug = string(jsonOf(map[string]string{"reason": reason}))
	}
	c.goAway(last, http2.ErrCodeNo, debug)
	c.mu.Lock()
	c.drop(st.id)
	for id := range c.streams {
		if id > last {
			c.drop(id)
		}
	}
	c.mu.Unlock()
	return c.maybeEnd()
}

func (c *conn) goAway(last uint32, code http2.ErrCode, debug string) {
	c.mu.Lock()
	if !c.closing && !c.mute {
		c.fr.WriteGoAway(last, code, []byte(debug))
	}
	c.ends, c.accepts = true, last
	c.mu.Unlock()
}

// maybeEnd ends a connection that has said GOAWAY and has nothing left to answer.
func (c *conn) maybeEnd() error {
	c.mu.Lock()
	over := c.ends && len(c.streams) == 0
	c.mu.Unlock()
	if over {
		c.end()
		return errDrain
	}
	return nil
}

// end closes the connection once everything is written.
func (c *conn) end() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.flush()
}

// silence makes the connection a black hole.
func (c *conn) silence() {
	c.hole = true
	c.mu.Lock()
	c.mute = true
	c.out.Reset()
	c.mu.Unlock()
}

// flush wakes the writer.
func (c *conn) flush() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// write is the goroutine that writes what is in out.
func (c *conn) write() {
	var spare bytes.Buffer
	for {
		select {
		case <-c.kick:
		case <-c.done:
			return
		}
		for {
			c.mu.Lock()
			c.pump()
			// The framer writes into &c.out: what it holds is exchanged, not the buffer.
			spare.Reset()
			c.out, spare = spare, c.out
			last := c.closing
			mute := c.mute
			c.mu.Unlock()
			if spare.Len() > 0 && !mute {
				c.c.SetWriteDeadline(time.Now().Add(writeTime))
				if _, err := c.c.Write(spare.Bytes()); err != nil {
					c.c.NetConn().Close()
					return
				}
				if spare.Cap() > outFull {
					spare = bytes.Buffer{}
				}
				continue
			}
			if last {
				c.c.CloseWrite()
				c.c.SetReadDeadline(time.Now().Add(drainTime))
				return
			}
			break
		}
		c.maybeEnd()
	}
}

func statusText(n int) string {
	if n == 200 {
		return "200"
	}
	return strconv.Itoa(n)
}
