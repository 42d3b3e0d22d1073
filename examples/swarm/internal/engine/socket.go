//go:build linux

package engine

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// RaiseFiles raises the process's limit of open files to its hard limit and
// answers it.
func RaiseFiles() (uint64, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("engine: limit of open files: %w", err)
	}
	if r.Cur == r.Max {
		return r.Cur, nil
	}
	r.Cur = r.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("engine: raising the limit of open files to %d: %w", r.Max, err)
	}
	return r.Cur, nil
}

// connect starts a non-blocking connection. from, if valid, is the address it
// comes from: one address has some 28,000 ports towards one server. rcvbuf, if
// not 0, is the receive buffer's size in bytes.
func connect(to netip.AddrPort, from netip.Addr, rcvbuf int) (fd int, err error) {
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, fmt.Errorf("no delay: %w", err)
	}
	if rcvbuf > 0 {
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, rcvbuf); err != nil {
			return -1, fmt.Errorf("receive buffer: %w", err)
		}
	}
	if from.IsValid() {
		// The port is chosen at connect, so the same one serves several
		// destinations.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			return -1, fmt.Errorf("from %s: %w", from, err)
		}
	}
	err = unix.Connect(fd, sockaddr(to))
	if err != nil && err != unix.EINPROGRESS {
		return -1, err
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
}
