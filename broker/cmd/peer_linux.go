package cmd

import (
	"context"
	"net"

	"golang.org/x/sys/unix"

	"github.com/hwangso/hwangso/broker/api"
)

// withPeer says in a request's context who is at the other end of the admin socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return api.WithPeer(ctx, int(cred.Uid))
}
