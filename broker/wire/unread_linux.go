package wire

import (
	"net"

	"golang.org/x/sys/unix"
)

// unread is how much of what was written the client's system has not taken yet (tcp(7), SIOCOUTQ), 0 if it is not known.
func unread(nc net.Conn) (bytes int) {
	tcp := tcpOf(nc)
	if tcp == nil {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // an error leaves 0
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			bytes = n
		}
	})
	return bytes
}
