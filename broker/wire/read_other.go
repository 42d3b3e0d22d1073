//go:build !unix

package wire

import "net"

// plain leaves the connection to read through the small first array.
func (c *conn) plain(net.Conn) {}

func (c *conn) fillRaw() error { panic("wire: no raw reading on this system") }
