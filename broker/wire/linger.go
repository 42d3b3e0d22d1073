package wire

import (
	"io"
	"time"
)

const (
	maxLinger  = 10 * lastWord         // for all of it, however slowly the client reads
	fastLinger = 1 << 20               // bytes thrown away as fast as they come; beyond, a buffer at a time
	slowLinger = 20 * time.Millisecond // between two of those
)

// linger half-closes and waits until the client has closed too: closing with unread input would reset the connection, and
// the client would lose what it has not read, the packet that says why among it. A client that gives no sign of life for
// lastWord is not waited for, nor is any for longer while the server stops. What it still sends is thrown away, at a pace
// that lets it be stopped by its own full send buffer instead of by a reset.
func (c *conn) linger() {
	type halfCloser interface{ CloseWrite() error }
	h, ok := c.stream.(halfCloser)
	if c.stream == io.ReadWriteCloser(&c.sock) {
		h, ok = c.sock.Conn.(halfCloser)
	}
	if !ok {
		return
	}
	c.sock.Conn.SetReadDeadline(time.Now().Add(lastWord))
	if h.CloseWrite() != nil {
		return
	}
	buf := readBuffers.Get().(*[readSize]byte)
	defer readBuffers.Put(buf)
	began, left := time.Now(), unread(c.sock.Conn)
	for total := 0; ; {
		now := time.Now()
		if took := now.Sub(began); took >= maxLinger || took >= lastWord && c.srv.stopped.Load() {
			return
		}
		c.sock.Conn.SetReadDeadline(now.Add(lastWord))
		n, err := c.sock.Conn.Read(buf[:])
		if err != nil {
			was := left
			if left = unread(c.sock.Conn); !isTimeout(err) || left >= was {
				return
			}
		}
		if total += n; total > fastLinger {
			time.Sleep(slowLinger)
		}
	}
}
