//go:build unix

package wire

import (
	"io"
	"net"
	"syscall"
)

// overTCPConn is a connection that a listener has put around a TCP connection, of which it changes no byte.
type overTCPConn interface{ TCP() *net.TCPConn }

// plain makes the connection read its TCP socket directly.
func (c *conn) plain(nc net.Conn) {
	tcp, _ := nc.(*net.TCPConn)
	if over, ok := nc.(overTCPConn); ok {
		tcp = over.TCP()
	}
	if tcp == nil {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	c.raw, c.attempt = raw, c.try
}

// fillRaw waits for bytes on the TCP socket without holding a buffer meanwhile.
func (c *conn) fillRaw() error {
	for {
		err := c.raw.Read(c.attempt)
		if err != nil {
			if isTimeout(err) && c.extend() {
				continue
			}
			return err
		}
		err, c.tried = c.tried, nil
		return err
	}
}

// try reads once; false asks to be called again when there is something to read.
func (c *conn) try(fd uintptr) bool {
	if c.fresh && c.in.buf == nil && c.in.part == nil { // look with little stack: see quietAfter
		var few [32]byte
		n, err := syscall.Read(int(fd), few[:])
		if err == syscall.EAGAIN {
			return false
		}
		if n > 0 {
			c.in.filled(copy(c.in.space(), few[:n]))
			return true
		}
	}
	for {
		n, err := syscall.Read(int(fd), c.in.space())
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			c.in.park()
			return false
		case err != nil:
			c.tried = err
		case n == 0:
			c.tried = io.EOF
		default:
			c.in.filled(n)
		}
		return true
	}
}
