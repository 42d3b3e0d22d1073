// Package faultfs is a journal.FS whose disk breaks on request: full, failing or torn writes, failing
// syncs, hanging, a power cut. It is for tests. It works on the real files of another FS, so what it
// leaves behind can be opened without it.
//
// It promises that a fault hits the operation asked for and no other, and that Crash leaves a state
// that a disk could be in: of what was not synced any part, by sectors of 512 bytes; of names not
// synced those up to any point. It is slow: one lock is held during each operation, and the old
// content of every unsynced sector is kept in memory.
//
// It has no goroutines.
package faultfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/hwangso/hwangso/store/journal"
)

// Op is a kind of operation that a Fault hits.
type Op int

// The operations, as the methods of journal.FS and journal.File.
const (
	Write Op = iota
	Datasync
	Truncate
	Allocate
	Read
	Create
	Open
	Rename
	Remove
	Link
	SyncDir
	ops
)

// ErrCrashed is what every operation returns after Crash.
var ErrCrashed = errors.New("faultfs: the machine has lost power")

// Fault is one thing that goes wrong.
type Fault struct {
	Op    Op
	After int                    // so many matching operations succeed before
	Times int                    // so many fail; 0 means 1, negative all
	Err   error                  // nil means EIO
	Torn  int                    // of a Write: so many bytes are written all the same
	Drop  bool                   // of a Datasync: what was not synced is lost at once; else it stays readable, and a crash may lose it even after a later sync
	Path  func(path string) bool // which files (or directories); nil means all
}

// Segments is a Fault.Path: the segment files of a journal, not those that are being prepared.
func Segments(path string) bool { return strings.HasSuffix(path, ".seg") }

// FS is a journal.FS with faults. All methods may be called at any time.
type FS struct {
	inner journal.FS

	mu      sync.Mutex
	free    int64 // bytes; negative is without limit
	faults  []*Fault
	counts  [ops]int
	inodes  map[string]*inode
	dirs    map[string][]undo // names made or removed since the last SyncDir, by directory
	backups int
	frozen  chan struct{} // closed by Thaw; nil when not frozen
	blocked chan struct{} // closed by the first that waits
	freezes [ops]bool
	crashed bool
}

var _ journal.FS = (*FS)(nil)

// New wraps inner, which may be journal.OS. Nothing is broken yet.
func New(inner journal.FS) *FS {
	return &FS{inner: inner, free: -1, inodes: map[string]*inode{}, dirs: map[string][]undo{}}
}

// Inject adds a fault.
func (f *FS) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault.Times == 0 {
		fault.Times = 1
	}
	if fault.Err == nil {
		fault.Err = syscall.EIO
	}
	f.faults = append(f.faults, &fault)
}

// Heal removes all faults, ends the limit of space and thaws.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
	f.free = -1
	f.thaw()
}

// SetFree says how many bytes are free from now on; negative is without limit. What files grow by
// when they are written or allocated is taken from it, what is cut or removed comes back. A write
// that does not fit writes what does and returns ENOSPC.
func (f *FS) SetFree(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = n
}

// Freeze lets operations of the given kinds wait until Thaw, Heal or Crash, as on a disk that does not
// answer; without kinds all that change or sync something, so that reads go on. The returned channel
// is closed when the first one waits.
func (f *FS) Freeze(kinds ...Op) (blocked <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.freezes = [ops]bool{}
	for op := range ops {
		f.freezes[op] = slices.Contains(kinds, op) || len(kinds) == 0 && op != Read && op != Open
	}
	if f.frozen == nil {
		f.frozen, f.blocked = make(chan struct{}), make(chan struct{})
	}
	return f.blocked
}

// Thaw ends Freeze.
func (f *FS) Thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.thaw()
}

func (f *FS) thaw() {
	if f.frozen != nil {
		close(f.frozen)
		f.frozen, f.blocked = nil, nil
	}
}

// Count is how many operations of a kind were begun, those that failed too.
func (f *FS) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[op]
}

// enter begins an operation: it waits while the disk is frozen and takes the lock, which the caller
// gives back with f.mu.Unlock. The fault, if there is one, is the caller's to carry out.
func (f *FS) enter(op Op, path string) (*Fault, error) {
	f.mu.Lock()
	for f.frozen != nil && f.freezes[op] {
		thawed := f.frozen
		select {
		case <-f.blocked:
		default:
			close(f.blocked)
		}
		f.mu.Unlock()
		<-thawed
		f.mu.Lock()
	}
	f.counts[op]++
	if f.crashed {
		return nil, ErrCrashed
	}
	for i, fault := range f.faults {
		if fault.Op != op || fault.Path != nil && !fault.Path(path) {
			continue
		}
		if fault.After > 0 {
			fault.After--
			continue
		}
		hit := *fault
		if fault.Times > 0 {
			if fault.Times--; fault.Times == 0 {
				f.faults = slices.Delete(f.faults, i, i+1)
			}
		}
		return &hit, hit.Err
	}
	return nil, nil
}

// MkdirAll is the inner one's, and durable at once.
func (f *FS) MkdirAll(dir string) error { return f.inner.MkdirAll(dir) }

// Lock is the inner one's.
func (f *FS) Lock(path string) (io.Closer, error) { return f.inner.Lock(path) }

// List is the inner one's without the files that only this package knows.
func (f *FS) List(dir string) ([]journal.FileInfo, error) {
	files, err := f.inner.List(dir)
	return slices.DeleteFunc(files, func(i journal.FileInfo) bool { return strings.Contains(i.Name, backupExt) }), err
}

// Create makes or empties a file.
func (f *FS) Create(path string) (journal.File, error) {
	defer f.mu.Unlock()
	if _, err := f.enter(Create, path); err != nil {
		return nil, err
	}
	if _, err := f.setAside(path); err != nil {
		return nil, err
	}
	file, err := f.inner.Create(path)
	if err != nil {
		return nil, err
	}
	n := &inode{path: path, old: map[int64]*sector{}}
	f.inodes[path] = n
	f.pend(undo{made: path})
	return &openFile{fs: f, inode: n, inner: file}, nil
}

// Open opens a file.
func (f *FS) Open(path string, write bool) (journal.File, error) {
	defer f.mu.Unlock()
	if _, err := f.enter(Open, path); err != nil {
		return nil, err
	}
	file, err := f.inner.Open(path, write)
	if err != nil {
		return nil, err
	}
	n := f.inodes[path]
	if n == nil {
		size, err := file.Size()
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		n = &inode{path: path, size: size, old: map[int64]*sector{}}
		f.inodes[path] = n
	}
	return &openFile{fs: f, inode: n, inner: file}, nil
}

// Rename moves a file.
func (f *FS) Rename(oldPath, newPath string) error {
	defer f.mu.Unlock()
	if _, err := f.enter(Rename, newPath); err != nil {
		return err
	}
	if _, err := f.setAside(newPath); err != nil {
		return err
	}
	if err := f.inner.Rename(oldPath, newPath); err != nil {
		return err
	}
	if n := f.inodes[oldPath]; n != nil {
		n.path = newPath
		f.inodes[newPath] = n
		delete(f.inodes, oldPath)
	}
	f.pend(undo{made: newPath, movedFrom: oldPath})
	return nil
}

// Remove removes a file.
func (f *FS) Remove(path string) error {
	defer f.mu.Unlock()
	if _, err := f.enter(Remove, path); err != nil {
		return err
	}
	there, err := f.setAside(path)
	if err == nil && !there {
		err = os.ErrNotExist
	}
	return err
}

// Link makes a second name.
func (f *FS) Link(oldPath, newPath string) error {
	defer f.mu.Unlock()
	if _, err := f.enter(Link, newPath); err != nil {
		return err
	}
	if err := f.inner.Link(oldPath, newPath); err != nil {
		return err
	}
	if n := f.inodes[oldPath]; n != nil {
		f.inodes[newPath] = n
	}
	f.pend(undo{made: newPath})
	return nil
}

// SyncDir makes the names of dir durable.
func (f *FS) SyncDir(dir string) error {
	defer f.mu.Unlock()
	if _, err := f.enter(SyncDir, dir); err != nil {
		return err
	}
	if err := f.inner.SyncDir(dir); err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	for _, u := range f.dirs[dir] {
		if u.backup == "" {
			continue
		}
		if err := f.inner.Remove(u.backup); err != nil {
			return err
		}
		delete(f.inodes, u.backup)
	}
	delete(f.dirs, dir)
	return nil
}
