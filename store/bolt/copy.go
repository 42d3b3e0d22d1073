package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	bbolt "go.etcd.io/bbolt"
)

const (
	copyRows    = 4096     // rows read in one transaction
	copyBytes   = 2 << 20  // the same in bytes
	copyTouched = 4096     // changed rows that are copied again before the scan goes on
	copySync    = 16 << 20 // bytes after which the copy is synced, so that no large sync meets the commits
)

// copyBolt writes a copy of a file that goes on being changed. The copy is exactly the file's state at one moment near
// the end, although no read transaction covers more than a few thousand rows: rows are copied bucket by bucket, those
// changed meanwhile are noted and copied again, and the last few in one transaction between two commits.
//
// path must not exist. After each slice pace is called with its bytes, to wait as long as it likes; nil never waits.
// On an error nothing is left at path.
func copyBolt(ctx context.Context, src *boltFile, path string, pace func(ctx context.Context, bytes int) error) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bolt: copy %s: %s is in the way", src.what, path)
	}
	c, err := newFileCopy(src, path, pace)
	if err != nil {
		return err
	}
	if err = c.copy(ctx); err == nil {
		err = c.rest(ctx)
	}
	if err == nil {
		err = c.dst.Sync()
	}
	if err != nil {
		return c.abandon(err)
	}
	src.untouch()
	if err = c.dst.Close(); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("bolt: copy %s: %w", src.what, err), os.Remove(path))
	}
	return nil
}

// fileCopy is a copy under way. While it is, the file notes the rows that change.
type fileCopy struct {
	src      *boltFile
	dst      *bbolt.DB
	path     string
	pace     func(ctx context.Context, bytes int) error
	unsynced int
}

// newFileCopy begins a copy at path, in place of what a crash may have left of another one there. abandon or untouch
// ends it.
func newFileCopy(src *boltFile, path string, pace func(ctx context.Context, bytes int) error) (*fileCopy, error) {
	if pace == nil {
		pace = func(context.Context, int) error { return nil }
	}
	if !src.touch() {
		return nil, errCopying
	}
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	c := &fileCopy{src: src, path: path, pace: pace}
	if err == nil {
		c.dst, err = bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	}
	if err != nil {
		src.untouch()
		return nil, fmt.Errorf("bolt: copy %s: %w", src.what, err)
	}
	return c, nil
}

// abandon ends a copy that failed, and drop one whose rows are not noted any more: nothing is left of it.
func (c *fileCopy) abandon(err error) error {
	c.src.untouch()
	return c.drop(err)
}

func (c *fileCopy) drop(err error) error {
	return errors.Join(fmt.Errorf("bolt: copy %s: %w", c.src.what, err), c.dst.Close(), os.Remove(c.path))
}

// copiedRow is a row on its way; a nil value is a row that is gone.
type copiedRow struct {
	bucket, key, value []byte
}

// copy copies everything but what changed last.
func (c *fileCopy) copy(ctx context.Context) error {
	buckets, err := c.createBuckets()
	if err != nil {
		return err
	}
	for _, b := range buckets {
		if err := c.bucket(ctx, b); err != nil {
			return err
		}
	}
	return c.changed(ctx, 0)
}

func (c *fileCopy) createBuckets() (names [][]byte, err error) {
	if err := c.src.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
			names = append(names, bytes.Clone(name))
			return nil
		})
	}); err != nil {
		return nil, err
	}
	return names, createBuckets(c.dst, names)
}

// bucket copies the rows of one bucket.
func (c *fileCopy) bucket(ctx context.Context, name []byte) error {
	var next []byte
	for first := true; first || next != nil; first = false {
		var rows []copiedRow
		if err := c.src.db.View(func(tx *bbolt.Tx) error {
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
		if err := c.write(ctx, rows); err != nil {
			return err
		}
		if err := c.changed(ctx, copyTouched); err != nil {
			return err
		}
	}
	return nil
}

func copyRow(bucket, k, v []byte) copiedRow {
	return copiedRow{bucket, bytes.Clone(k), append(make([]byte, 0, len(v)), v...)} // a value is never nil
}

// changed copies the noted rows again while there are more than limit. New ones come while it runs; with limit 0 it
// stops when one round leaves few enough for rest.
func (c *fileCopy) changed(ctx context.Context, limit int) error {
	for {
		keys := c.src.takeTouched(limit)
		if keys == nil {
			return nil
		}
		few := len(keys) <= copyTouched
		for slice := range slices.Chunk(keys, copyRows) {
			var rows []copiedRow
			if err := c.src.db.View(func(tx *bbolt.Tx) error {
				rows = currentRows(tx, slice)
				return nil
			}); err != nil {
				return err
			}
			if err := c.write(ctx, rows); err != nil {
				return err
			}
		}
		if few {
			return nil
		}
	}
}

// rest copies what changed last, from one snapshot that is taken between two commits.
func (c *fileCopy) rest(ctx context.Context) error {
	var keys []touchedKey
	var tx *bbolt.Tx
	var err error
	if berr := c.src.between(ctx, func() {
		keys = c.src.takeTouched(0)
		tx, err = c.src.db.Begin(false)
	}); berr != nil {
		return berr
	}
	if err != nil {
		return err
	}
	rows := currentRows(tx, keys)
	sequences := map[string]uint64{}
	err = tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		sequences[string(name)] = b.Sequence()
		return nil
	})
	if err = errors.Join(err, tx.Rollback()); err != nil {
		return err
	}
	if err := c.write(ctx, rows); err != nil {
		return err
	}
	return c.dst.Update(func(tx *bbolt.Tx) error {
		for name, n := range sequences {
			if err := tx.Bucket([]byte(name)).SetSequence(n); err != nil {
				return err
			}
		}
		return nil
	})
}

func currentRows(tx *bbolt.Tx, keys []touchedKey) (rows []copiedRow) {
	for _, t := range keys {
		bucket, key := []byte(t.bucket), []byte(t.key)
		if k, v := tx.Bucket(bucket).Cursor().Seek(key); bytes.Equal(k, key) {
			rows = append(rows, copyRow(bucket, k, v))
			continue
		}
		rows = append(rows, copiedRow{bucket: bucket, key: key})
	}
	return rows
}

// write puts rows into the copy.
func (c *fileCopy) write(ctx context.Context, rows []copiedRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	size := 0
	if err := c.dst.Update(func(tx *bbolt.Tx) (err error) {
		size, err = putRows(tx, rows)
		return err
	}); err != nil {
		return err
	}
	if c.unsynced += size; c.unsynced >= copySync {
		c.unsynced = 0
		if err := c.dst.Sync(); err != nil {
			return err
		}
	}
	return c.pace(ctx, size)
}

// putRows puts rows into a copy and returns their bytes.
func putRows(tx *bbolt.Tx, rows []copiedRow) (size int, err error) {
	for _, r := range rows {
		b := tx.Bucket(r.bucket)
		b.FillPercent = 0.95 // most rows come in the order of their keys
		size += len(r.key) + len(r.value)
		if r.value == nil {
			err = b.Delete(r.key)
		} else {
			err = b.Put(r.key, r.value)
		}
		if err != nil {
			return size, err
		}
	}
	return size, nil
}

// touch begins to note changed rows; false if somebody else does.
func (f *boltFile) touch() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.touched != nil {
		return false
	}
	f.touched = map[touchedKey]struct{}{}
	return true
}

func (f *boltFile) untouch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touched = nil
}

// takeTouched returns the noted rows in order and forgets them, if there are more than limit.
func (f *boltFile) takeTouched(limit int) (keys []touchedKey) {
	f.mu.Lock()
	if len(f.touched) <= limit {
		f.mu.Unlock()
		return nil
	}
	set := f.touched
	f.touched = map[touchedKey]struct{}{}
	f.mu.Unlock()
	for k := range set {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, touchedKey.compare)
	return keys
}
