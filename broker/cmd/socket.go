package cmd

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// socketName is the operators' socket within the data directory. Whoever may open it is an operator.
const socketName = "admin.sock"

// maxSocketPath is what every system allows in sockaddr_un.
const maxSocketPath = 103

// listenSocket opens the operators' socket with mode 0600. One that a killed server left behind is replaced: the lock of
// the data directory says that nobody uses it.
func listenSocket(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("admin socket: %s is longer than the %d bytes that a socket's path may have: choose a shorter -data", path, maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	// Until then the directory, which only its owner can enter, keeps others out.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), ln.Close())
	}
	return ln, nil
}
