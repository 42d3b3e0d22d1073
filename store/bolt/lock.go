package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ErrLocked says that another process has the data directory open; the error names its process number.
var ErrLocked = errors.New("bolt: data directory is in use")

// lockFile keeps other processes out of a data directory. The lock ends with the process, however it ends; the file
// stays and holds the number of the process that had it last.
type lockFile struct{ f *os.File }

func lockDir(dir string) (*lockFile, error) {
	path := filepath.Join(dir, fileLock)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("bolt: %w", err)
	}
	if err := flock(f); err != nil {
		pid, rerr := io.ReadAll(io.LimitReader(f, 32))
		err = errors.Join(err, rerr, f.Close())
		return nil, fmt.Errorf("%w: %s is open in process %s: %w", ErrLocked, dir, strings.TrimSpace(string(pid)), err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bolt: lock %s: %w", path, err), f.Close())
	}
	return &lockFile{f}, nil
}

// close gives the lock back before the file: a child process that another goroutine has just forked has the file, too,
// until it runs its own program.
func (l *lockFile) close() error { return errors.Join(funlock(l.f), l.f.Close()) }
