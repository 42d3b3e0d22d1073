//go:build unix

package journal

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A child process has every file of ours from its fork until it runs its own program. A journal that is closed meanwhile
// is not in use.
func TestLockInherited(t *testing.T) {
	path := filepath.Join(t.TempDir(), lockName)
	l, err := OS.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.Dup(int(l.(lockedFile).f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if _, err := OS.Lock(path); !errors.Is(err, ErrLocked) {
		t.Fatal("locked twice: ", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OS.Lock(path)
	if err != nil {
		t.Fatal("after the end: ", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
