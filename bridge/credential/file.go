// Package credential reads a provider's keys from a file, and again when the file changes, so that keys are replaced
// without a restart.
//
// It starts no goroutine: who asks for the value looks at the file, at most once a second.
package credential

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// every is how often the file is looked at.
	every = time.Second
	// most is more than any key file has; what is larger is something else.
	most = 1 << 20
)

// File is a value that is made of a file's bytes. It may be used from any goroutine.
type File[T any] struct {
	path  string
	parse func([]byte) (T, error)
	log   *slog.Logger
	now   func() time.Time

	value atomic.Pointer[T]
	next  atomic.Int64 // when to look again, Unix nanoseconds

	mu   sync.Mutex // held while the file is looked at; who does not get it goes on with the value there is
	seen os.FileInfo
}

// Open reads the file for the first time; an error says what is wrong with it. parse must not keep the bytes, and its
// errors must not hold what is secret in them: they are logged. log nil: nothing is; now nil: time.Now.
func Open[T any](path string, parse func([]byte) (T, error), log *slog.Logger, now func() time.Time) (*File[T], error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	f := &File[T]{path: path, parse: parse, log: log, now: now}
	f.next.Store(now().Add(every).UnixNano())
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Get returns the value, after a look at the file if the last one is a second old. A file that is gone, cannot be read or
// does not parse is logged once per change, and the value before it goes on. Cheap, and it never waits for another's look.
func (f *File[T]) Get() T {
	if now := f.now(); now.UnixNano() >= f.next.Load() && f.mu.TryLock() {
		f.next.Store(now.Add(every).UnixNano())
		f.look()
		f.mu.Unlock()
	}
	return *f.value.Load()
}

// look reads the file if it is not the one that was seen last. A file that could not be read counts as seen too, or the
// log would say so every second.
func (f *File[T]) look() {
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		if f.seen != nil {
			f.log.Warn("credential file cannot be read, the old ones go on", "file", f.path, "err", err)
		}
		f.seen = nil
	case f.seen != nil && os.SameFile(info, f.seen) && info.Size() == f.seen.Size() && info.ModTime().Equal(f.seen.ModTime()):
	default:
		f.seen = info // also if it cannot be opened
		if err := f.read(); err != nil {
			f.log.Warn("credential file not taken, the old ones go on", "file", f.path, "err", err)
			return
		}
		f.log.Info("credential file read again", "file", f.path)
	}
}

// read takes the file's bytes, and what os.Stat says of them before: what is written later looks different.
func (f *File[T]) read() error {
	h, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer h.Close()
	if f.seen, err = h.Stat(); err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(h, most+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s: larger than %d bytes", f.path, most)
	}
	if err != nil {
		return err
	}
	v, err := f.parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.value.Store(&v)
	return nil
}
