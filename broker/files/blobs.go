package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Blobs is where the bytes of files lie. Names are made by this package: lower-case letters, digits, dots.
type Blobs interface {
	// Put stores the size bytes of r under a name, durably at return, replacing what was there.
	Put(ctx context.Context, name string, r io.Reader, size int64, contentType string) error
	// Serve answers a request for a blob whose headers have been set, or sends the client to where it lies. A blob that
	// does not exist is fs.ErrNotExist, and nothing has been written.
	Serve(w http.ResponseWriter, r *http.Request, name string, life time.Duration) error
	// Delete removes a blob. One that does not exist is no error.
	Delete(ctx context.Context, name string) error
}

// Disk keeps blobs as files of one directory, spread over 1,024 subdirectories.
type Disk struct{ dir string }

var _ Blobs = (*Disk)(nil)

// NewDisk returns a Disk in a directory, which is made (0700) if it does not exist.
func NewDisk(dir string) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	return &Disk{dir}, nil
}

func (d *Disk) path(name string) string { return filepath.Join(d.dir, name[:2], name) }

// Put implements Blobs: a temporary file, synced and renamed.
func (d *Disk) Put(_ context.Context, name string, r io.Reader, size int64, _ string) (err error) {
	path := d.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	n, err := io.Copy(f, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("files: store: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	return nil
}

// Serve implements Blobs, with ranges and conditions (RFC 9110, sections 13 and 14).
func (d *Disk) Serve(w http.ResponseWriter, r *http.Request, name string, _ time.Duration) error {
	f, err := os.Open(d.path(name))
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	defer f.Close()
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// Delete implements Blobs.
func (d *Disk) Delete(_ context.Context, name string) error {
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("files: %w", err)
	}
	return nil
}
