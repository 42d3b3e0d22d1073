package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

const (
	compactRate   = 32 << 20 // bytes per second that a compaction of the directory and of the state writes, about
	compactSuffix = ".compact"
)

// errCopying says that two copies of one file would be made at a time.
var errCopying = &store.Error{Code: store.CodeConflict, Text: "a backup or a compaction is under way", Retry: time.Minute}

// Compact implements store.Store. Each file is copied as for a backup, row by row; the rows that changed last are added
// between two commits, and there the copy takes the place of the file. A crash leaves the one or the other.
func (s *Store) Compact(ctx context.Context) error {
	began := time.Now()
	pace := newPacer(compactRate)
	for _, f := range []struct {
		file *boltFile
		name string
	}{{s.directory.file, fileDirectory}, {s.sessions.file, fileState}} {
		if err := f.file.compact(ctx, filepath.Join(s.cfg.Dir, f.name), pace.wait); err != nil {
			return err
		}
	}
	if err := s.logs.compact(ctx); err != nil {
		return err
	}
	if err := removeCopies(s.cfg.Dir); err != nil {
		return fmt.Errorf("bolt: compact: %w", err)
	}
	s.cfg.Logger.Info("files compacted", keyTook, time.Since(began))
	return nil
}

// removeCopies removes what was copied before an upgrade: it holds what was erased since.
func removeCopies(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), backupPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// removeUnfinished removes copies that a crash cut short.
func removeUnfinished(dir string) error {
	for _, name := range []string{fileDirectory, fileState, fileIndex} {
		if err := os.Remove(filepath.Join(dir, name+compactSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("bolt: %w", err)
		}
	}
	return nil
}

// compact puts a copy without free pages in the place of the file.
func (f *boltFile) compact(ctx context.Context, path string, pace func(context.Context, int) error) error {
	c, err := newFileCopy(f, path+compactSuffix, pace)
	if err != nil {
		return err
	}
	if err := c.copy(ctx); err != nil {
		return c.abandon(err)
	}
	if err := c.dst.Sync(); err != nil { // so that the last one, which holds up commits, has little to do
		return c.abandon(err)
	}
	swapped := false
	if berr := f.between(ctx, func() { swapped, err = c.takeOver(path) }); berr != nil {
		err = berr
	}
	f.untouch()
	if !swapped {
		return c.drop(err)
	}
	return err
}

// takeOver makes the copy the file. It runs between two commits.
func (c *fileCopy) takeOver(path string) (swapped bool, err error) {
	f := c.src
	if err := c.last(f.takeTouched(0)); err != nil {
		return false, err
	}
	if err := c.dst.Sync(); err != nil {
		return false, err
	}
	if err := os.Rename(c.path, path); err != nil {
		return false, err
	}
	c.dst.NoSync = false
	f.swap.Lock() // waits for the readers of the old file, which are short
	old := f.db
	f.db = c.dst
	f.swap.Unlock()
	return true, errors.Join(syncDir(filepath.Dir(path)), old.Close())
}

// last copies rows and the buckets' sequences in one transaction of the file and one of the copy. Nobody writes.
func (c *fileCopy) last(keys []touchedKey) error {
	return c.src.db.View(func(tx *bbolt.Tx) error {
		rows := currentRows(tx, keys)
		return c.dst.Update(func(to *bbolt.Tx) error {
			if _, err := putRows(to, rows); err != nil {
				return err
			}
			return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
				return to.Bucket(name).SetSequence(b.Sequence())
			})
		})
	})
}

// compact does the same for the index. It has one writer, who waits meanwhile: checkpoints come later.
func (l *logs) compact(ctx context.Context) error {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	path := filepath.Join(l.cfg.Dir, fileIndex)
	tmp := path + compactSuffix
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bolt: compact index: %w", err)
	}
	dst, err := bbolt.Open(tmp, 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return fmt.Errorf("bolt: compact index: %w", err)
	}
	if err = l.ix.copyTo(ctx, dst); err == nil {
		err = dst.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("bolt: compact index: %w", err), dst.Close(), os.Remove(tmp))
	}
	dst.NoSync = false
	l.ix.swap.Lock()
	old := l.ix.db
	l.ix.db = dst
	l.ix.swap.Unlock()
	return errors.Join(syncDir(l.cfg.Dir), old.Close())
}

// copyTo copies every row in short transactions, while nobody writes.
func (ix *index) copyTo(ctx context.Context, dst *bbolt.DB) error {
	if err := createBuckets(dst, indexBuckets); err != nil {
		return err
	}
	for _, name := range indexBuckets {
		for next := []byte{}; next != nil; {
			if err := ctx.Err(); err != nil {
				return err
			}
			var rows []copiedRow
			if err := ix.view(func(tx *bbolt.Tx) error {
				cur := tx.Bucket(name).Cursor()
				k, v := cur.Seek(next)
				next = nil
				for size := 0; k != nil; k, v = cur.Next() {
					if len(rows) == copyRows || size > copyBytes {
						next = bytes.Clone(k)
						return nil
					}
					rows = append(rows, copyRow(name, k, v))
					size += len(k) + len(v)
				}
				return nil
			}); err != nil {
				return err
			}
			if err := dst.Update(func(tx *bbolt.Tx) error {
				_, err := putRows(tx, rows)
				return err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}
