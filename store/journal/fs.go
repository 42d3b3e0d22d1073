package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// FS is what the journal needs of a file system; tests wrap it to inject faults (package faultfs).
// Paths are those of the operating system. All methods may be called at once.
type FS interface {
	// MkdirAll makes dir and its parents with mode 0700, durably; an existing one is no error.
	MkdirAll(dir string) error
	// List returns the regular files of dir, in any order.
	List(dir string) ([]FileInfo, error)
	// Create makes a file with mode 0600 for reading and writing; one that exists is emptied.
	Create(path string) (File, error)
	// Open opens an existing file, for writing too if write is set.
	Open(path string, write bool) (File, error)
	// Rename moves a file within a directory and replaces newPath atomically.
	Rename(oldPath, newPath string) error
	Remove(path string) error
	// Link makes newPath a second name of the file oldPath.
	Link(oldPath, newPath string) error
	// SyncDir makes names created, renamed or removed in dir durable.
	SyncDir(dir string) error
	// Lock takes an exclusive lock of the process on path, which it creates, without waiting. The
	// lock ends with Close or with the process. ErrLocked if another holds it.
	Lock(path string) (io.Closer, error)
}

// File is one open file. ReadAt may run beside every other method.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Datasync makes written bytes, and the size, durable.
	Datasync() error
	// Truncate sets the size in bytes.
	Truncate(size int64) error
	// Allocate reserves size bytes from the beginning of the file; what was not written reads as
	// zero. Where the file system cannot, it does nothing and returns nil.
	Allocate(size int64) error
	// Size is the size in bytes.
	Size() (int64, error)
}

// FileInfo is one file in a listing.
type FileInfo struct {
	Name     string // without the directory
	Size     int64  // bytes
	Modified time.Time
}

// OS is the file system of the operating system, the default of Config.FS.
var OS FS = osFS{}

type osFS struct{}

func (osFS) MkdirAll(dir string) error {
	var made []string // directories whose names have to be synced in their parents
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, os.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range made {
		if err := syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

func (osFS) List(dir string) ([]FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make([]FileInfo, 0, len(entries))
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue // removed since the directory was read
		}
		if err != nil {
			return nil, err
		}
		files = append(files, FileInfo{Name: e.Name(), Size: info.Size(), Modified: info.ModTime()})
	}
	return files, nil
}

func (osFS) Create(path string) (File, error) {
	return openOS(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) Open(path string, write bool) (File, error) {
	if write {
		return openOS(path, os.O_RDWR)
	}
	return openOS(path, os.O_RDONLY)
}

func openOS(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(oldPath, newPath string) error { return os.Rename(oldPath, newPath) }
func (osFS) Remove(path string) error             { return os.Remove(path) }
func (osFS) Link(oldPath, newPath string) error   { return os.Link(oldPath, newPath) }
func (osFS) SyncDir(dir string) error             { return syncDir(filepath.Clean(dir)) }

func (osFS) Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close() // nothing was written; the lock's error is the one to tell
		return nil, err
	}
	return lockedFile{f}, nil
}

// lockedFile gives the lock back before the file: a child process that another goroutine has just forked has the file,
// too, until it runs its own program.
type lockedFile struct{ f *os.File }

func (l lockedFile) Close() error { return errors.Join(unlockFile(l.f), l.f.Close()) }

type osFile struct{ *os.File }

func (f osFile) Datasync() error           { return datasync(f.File) }
func (f osFile) Allocate(size int64) error { return allocate(f.File, size) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
