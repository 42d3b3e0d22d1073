//go:build unix

package bolt

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A child process has every file of ours from its fork until it runs its own program. A store that is closed meanwhile
// is not in use.
func TestLockInherited(t *testing.T) {
	dir := t.TempDir()
	l, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.Dup(int(l.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if _, err := lockDir(dir); err == nil {
		t.Fatal("locked twice")
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockDir(dir)
	if err != nil {
		t.Fatal("after the end: ", err)
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
}
