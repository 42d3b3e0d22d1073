package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// migration takes a data directory that nothing has open from one format to the next. It may be cut short by a crash
// and is then run again from its beginning.
type migration func(dir string) error

// migrations lead from format 1 to dataFormat: the first one makes a directory of format 1 one of format 2.
var migrations = []migration{dropIndex}

// dropIndex leads to format 2, in which pairs have sides and users of a pair that are no members: the index is made anew
// from the journal.
func dropIndex(dir string) error {
	err := os.Remove(filepath.Join(dir, fileIndex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

const backupPrefix = "before-format-"

// backupOf is where a directory is copied to before it is migrated away from a version.
func backupOf(dir string, version int) string {
	return filepath.Join(dir, fmt.Sprintf("%s%d", backupPrefix, version+1))
}

// migrate brings a directory to the newest format step by step, each after a backup. FORMAT is written after the step,
// so a directory says what it is at every moment.
func migrate(dir string, f format, steps []migration) (format, error) {
	for f.version <= len(steps) {
		if err := backupClosed(dir, backupOf(dir, f.version)); err != nil {
			return f, fmt.Errorf("bolt: backup before migrating: %w", err)
		}
		if err := steps[f.version-1](dir); err != nil {
			return f, fmt.Errorf("bolt: migrate from format %d: %w", f.version, err)
		}
		f.version++
		if err := writeFormat(dir, f); err != nil {
			return f, err
		}
	}
	return f, nil
}

// backupClosed copies the files of a data directory that nothing has open, as Backup does one that is being served. A
// complete one from an earlier attempt is kept.
func backupClosed(dir, to string) error {
	if _, err := os.Stat(filepath.Join(to, fileManifest)); err == nil {
		return nil
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := makeDir(filepath.Join(to, dirJournal)); err != nil {
		return err
	}
	ctx := context.Background()
	for _, sub := range []string{"", dirJournal} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && belongs(filepath.Join(sub, e.Name())) {
				if err := copyClosed(ctx, dir, to, filepath.Join(sub, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	m, err := makeManifest(ctx, to, nil)
	if err != nil {
		return err
	}
	if err := writeFileDurably(filepath.Join(to, fileManifest), m.encode()); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Join(to, dirJournal)), syncDir(dir))
}

// belongs reports whether a file is part of a backup: locks are not, and the index is derived.
func belongs(path string) bool {
	return path != fileLock && path != fileIndex && (filepath.Dir(path) == "." || strings.HasSuffix(path, ".seg"))
}

func copyClosed(ctx context.Context, from, to, path string) (err error) {
	src, err := os.Open(filepath.Join(from, path))
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read
	dst, err := os.OpenFile(filepath.Join(to, path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(0o600))
	if err != nil {
		return err
	}
	if _, _, err = copyPaced(ctx, dst, src, nil); err == nil {
		err = dst.Sync()
	}
	return joinClose(err, dst)
}
