package faultfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hwangso/hwangso/store/journal"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fs *FS, path string) journal.File {
	t.Helper()
	f, err := fs.Create(path)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

func write(t *testing.T, f journal.File, s string, off int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(s), off)
	must(t, err)
}

// Over many power cuts: what was synced is there, what was not is sometimes there and sometimes not.
func TestCrash(t *testing.T) {
	var dataKept, dataLost, nameKept, nameLost, removedBack int
	for seed := range uint64(60) {
		dir := t.TempDir()
		path := func(name string) string { return filepath.Join(dir, name) }
		fs := New(journal.OS)
		f := create(t, fs, path("synced"))
		write(t, f, "old", 0)
		must(t, f.Datasync())
		r := create(t, fs, path("removed"))
		write(t, r, "content", 0)
		must(t, r.Datasync())
		must(t, fs.SyncDir(dir))
		write(t, f, "new", 0)
		write(t, f, "more", 600)
		must(t, fs.Remove(path("removed")))
		create(t, fs, path("temp"))
		must(t, fs.Rename(path("temp"), path("named")))
		must(t, fs.Crash(rand.New(rand.NewPCG(seed, 0))))

		got, err := os.ReadFile(path("synced"))
		must(t, err)
		switch string(got[:3]) {
		case "new":
			dataKept++
		case "old":
			dataLost++
		default:
			t.Fatalf("read %q", got)
		}
		if _, err := os.Stat(path("named")); err == nil {
			nameKept++
		} else {
			nameLost++
		}
		if got, err := os.ReadFile(path("removed")); err == nil {
			removedBack++
			if string(got) != "content" {
				t.Fatalf("removed file came back as %q", got)
			}
		}
		if _, err := fs.Create(path("x")); !errors.Is(err, ErrCrashed) {
			t.Fatalf("after the crash: %v", err)
		}
		files, err := journal.OS.List(dir)
		must(t, err)
		for _, i := range files {
			if i.Name != "synced" && i.Name != "removed" && i.Name != "named" && i.Name != "temp" {
				t.Fatalf("left behind: %s", i.Name)
			}
		}
	}
	if dataKept == 0 || dataLost == 0 || nameKept == 0 || nameLost == 0 || removedBack == 0 {
		t.Errorf("data kept %d lost %d, name kept %d lost %d, removed file back %d", dataKept, dataLost, nameKept, nameLost, removedBack)
	}
}

// After a failed sync that kept the data readable, a later good sync does not write it.
func TestFailedSyncLeavesDoubt(t *testing.T) {
	lost := 0
	for seed := range uint64(20) {
		path := filepath.Join(t.TempDir(), "f")
		fs := New(journal.OS)
		f := create(t, fs, path)
		write(t, f, "a", 0)
		must(t, f.Datasync())
		must(t, fs.SyncDir(filepath.Dir(path)))
		write(t, f, "b", 0)
		fs.Inject(Fault{Op: Datasync})
		if err := f.Datasync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("the sync returned %v", err)
		}
		must(t, f.Datasync())
		buf := make([]byte, 1)
		if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "b" {
			t.Fatalf("read %q, %v", buf, err)
		}
		must(t, fs.Crash(rand.New(rand.NewPCG(seed, 0))))
		got, err := os.ReadFile(path)
		must(t, err)
		if got[0] == 'a' {
			lost++
		}
	}
	if lost == 0 || lost == 20 {
		t.Errorf("lost %d of 20 times", lost)
	}
}

func TestFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.seg")
	fs := New(journal.OS)
	f := create(t, fs, path)
	content := func() string {
		t.Helper()
		b, err := os.ReadFile(path)
		must(t, err)
		return string(bytes.TrimRight(b, "\x00"))
	}
	fs.Inject(Fault{Op: Write, After: 1, Torn: 2, Path: Segments})
	write(t, f, "one", 0)
	if n, err := f.WriteAt([]byte("two"), 3); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("torn write: %d, %v", n, err)
	}
	if got := content(); got != "onetw" {
		t.Fatalf("content %q", got)
	}
	must(t, f.Datasync())
	write(t, f, "TWO", 3)
	fs.Inject(Fault{Op: Datasync, Drop: true})
	if err := f.Datasync(); err == nil {
		t.Fatal("the sync works")
	}
	if got := content(); got != "onetw" {
		t.Fatalf("content after a sync that lost it: %q", got)
	}
	fs.Inject(Fault{Op: Truncate, Path: func(string) bool { return false }})
	must(t, f.Truncate(3))

	fs.SetFree(2)
	if n, err := f.WriteAt([]byte("four"), 3); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write to a full disk: %d, %v", n, err)
	}
	if err := f.Allocate(100); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("allocate on a full disk: %v", err)
	}
	must(t, f.Truncate(0)) // gives 5 bytes back
	write(t, f, "12345", 0)
	fs.Heal()
	write(t, f, "123456", 0)
	if n := fs.Count(Datasync); n != 2 {
		t.Fatalf("counted %d syncs", n)
	}
}

func TestFreeze(t *testing.T) {
	fs := New(journal.OS)
	f := create(t, fs, filepath.Join(t.TempDir(), "f"))
	write(t, f, "x", 0)
	blocked := fs.Freeze(Datasync)
	write(t, f, "y", 1) // only syncs are frozen
	done := make(chan error)
	go func() { done <- f.Datasync() }()
	<-blocked
	fs.Thaw()
	must(t, <-done)
}
