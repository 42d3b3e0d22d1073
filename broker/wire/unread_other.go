//go:build !linux

package wire

import "net"

// unread is not known on this system.
func unread(net.Conn) (bytes int) { return 0 }
