package bolt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	backupRate   = 32 << 20 // bytes per second that a backup reads or writes, about
	backupChunk  = 256 << 10
	fileManifest = "MANIFEST" // written last: a directory without it is no backup
)

// ErrBackup says that a directory is not a complete backup.
var ErrBackup = errors.New("bolt: not a complete backup")

// Backup writes a copy of the store to dir, which must be empty or missing, while the store goes on serving. The copy
// holds everything acknowledged before Backup was called. It contains no key: keep the key file elsewhere.
//
// The cursors are copied first, so that none is ahead of its log; then the journal; the accounts last, so that every
// sender and member in the journal has its account and salt. Each bolt file is copied exactly as it was at one moment,
// but never in one long transaction. The index is left out: a restore makes it anew. Sealed segments are hard links
// where the file system allows.
//
// On an error the directory is not a backup and Restore refuses it; remove it.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if err := emptyDir(dir); err != nil {
		return err
	}
	pace := newPacer(backupRate)
	if err := copyBolt(ctx, s.sessions.file, filepath.Join(dir, fileState), pace.wait); err != nil {
		return err
	}
	if _, err := s.journal.Snapshot(filepath.Join(dir, dirJournal)); err != nil {
		return fmt.Errorf("bolt: backup: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := copyBolt(ctx, s.directory.file, filepath.Join(dir, fileDirectory), pace.wait); err != nil {
		return err
	}
	f, err := readFormat(s.cfg.Dir)
	if err != nil {
		return err
	}
	if err := writeFormat(dir, f); err != nil {
		return err
	}
	m, err := makeManifest(ctx, dir, pace)
	if err != nil {
		return fmt.Errorf("bolt: backup: %w", err)
	}
	return writeFileDurably(filepath.Join(dir, fileManifest), m.encode())
}

// Restore makes dataDir, which must be empty or missing, the data directory that backupDir holds a copy of. Every file
// is held against the manifest. The epoch is raised, because clients may have seen sequences that the backup does not
// hold and that will be given again; cursors of the old epoch are capped to the heads when they are loaded. keyFile
// must hold the key that the backup was sealed with; it is read, not copied.
func Restore(ctx context.Context, backupDir, dataDir, keyFile string) error {
	b, err := os.ReadFile(filepath.Join(backupDir, fileManifest))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	m, err := parseManifest(b)
	if err != nil {
		return err
	}
	f, err := readFormat(backupDir)
	if err != nil {
		return err
	}
	_, fingerprint, err := loadKey(keyFile, false)
	if err != nil {
		return err
	}
	if f.key != fingerprint {
		return fmt.Errorf("%w: it was sealed with the key %s, %s holds %s", ErrFormat, f.key, keyFile, fingerprint)
	}
	if err := emptyDir(dataDir, filepath.Base(filepath.Dir(keyFile))); err != nil {
		return err
	}
	if err := makeDir(filepath.Join(dataDir, dirJournal)); err != nil {
		return err
	}
	for _, e := range m {
		if e.path == fileFormat {
			continue
		}
		if err := restoreFile(ctx, backupDir, dataDir, e); err != nil {
			return err
		}
	}
	for _, dir := range []string{filepath.Join(dataDir, dirJournal), dataDir} {
		if err := syncDir(dir); err != nil {
			return fmt.Errorf("bolt: restore: %w", err)
		}
	}
	f.epoch++
	return writeFormat(dataDir, f) // last: without it the directory does not open
}

// emptyDir makes a directory, or sees that there is nothing in it but what may be.
func emptyDir(dir string, may ...string) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	for _, e := range entries {
		if !slices.Contains(may, e.Name()) {
			return fmt.Errorf("bolt: %s is not empty: %w", dir, fs.ErrExist)
		}
	}
	return nil
}

// manifest lists a backup's files with size and SHA-256, in the order of their paths.
type manifest []manifestEntry

type manifestEntry struct {
	path string // slash separated, relative
	size int64
	sum  string
}

func (m manifest) encode() []byte {
	b := []byte("hwangso-backup 1\n")
	for _, e := range m {
		b = fmt.Appendf(b, "%s %d %s\n", e.sum, e.size, e.path)
	}
	return fmt.Appendf(b, "end %d\n", len(m))
}

func parseManifest(b []byte) (manifest, error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	if !bytes.HasSuffix(b, []byte("\n")) || !lines.Scan() || lines.Text() != "hwangso-backup 1" {
		return nil, fmt.Errorf("%w: unknown manifest", ErrBackup)
	}
	var m manifest
	for lines.Scan() {
		f := strings.SplitN(lines.Text(), " ", 3)
		if len(f) == 2 && f[0] == "end" && f[1] == strconv.Itoa(len(m)) && !lines.Scan() {
			return m, nil
		}
		if len(f) != 3 || len(f[0]) != 2*sha256.Size || !filepath.IsLocal(filepath.FromSlash(f[2])) {
			break
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			break
		}
		m = append(m, manifestEntry{f[2], size, f[0]})
	}
	return nil, fmt.Errorf("%w: manifest is damaged", ErrBackup)
}

func makeManifest(ctx context.Context, dir string, pace *pacer) (m manifest, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read
		e := manifestEntry{path: filepath.ToSlash(rel)}
		e.size, e.sum, err = copyPaced(ctx, io.Discard, f, pace)
		m = append(m, e)
		return err
	})
	return m, err
}

// restoreFile copies one file durably and holds it against the manifest.
func restoreFile(ctx context.Context, from, to string, e manifestEntry) (err error) {
	rel := filepath.FromSlash(e.path)
	src, err := os.Open(filepath.Join(from, rel))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	defer src.Close() //nolint:errcheck // only read
	dst, err := os.OpenFile(filepath.Join(to, rel), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("bolt: restore: %w", err)
	}
	size, sum, err := copyPaced(ctx, dst, src, nil)
	if err == nil {
		err = dst.Sync()
	}
	if err = joinClose(err, dst); err != nil {
		return fmt.Errorf("bolt: restore %s: %w", e.path, err)
	}
	if size != e.size || sum != e.sum {
		return fmt.Errorf("%w: %s is not what the manifest says", ErrBackup, e.path)
	}
	return nil
}

// copyPaced copies and returns size and SHA-256 of what it copied.
func copyPaced(ctx context.Context, dst io.Writer, src io.Reader, pace *pacer) (size int64, sum string, err error) {
	h := sha256.New()
	buf := make([]byte, backupChunk)
	for {
		n, err := src.Read(buf)
		h.Write(buf[:n])
		size += int64(n)
		if _, werr := dst.Write(buf[:n]); werr != nil {
			return size, "", werr
		}
		if errors.Is(err, io.EOF) {
			return size, hex.EncodeToString(h.Sum(nil)), nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && pace != nil {
			err = pace.wait(ctx, n)
		}
		if err != nil {
			return size, "", err
		}
	}
}

// pacer keeps reading and writing at a rate, so that commits find the disk free.
type pacer struct {
	rate float64 // bytes per second
	next time.Time
}

func newPacer(rate float64) *pacer { return &pacer{rate: rate, next: time.Now()} }

// wait returns when the bytes that were moved before these are due.
func (p *pacer) wait(ctx context.Context, bytes int) error {
	if now := time.Now(); p.next.Before(now) {
		p.next = now // what was not used is not saved up
	}
	due := time.Until(p.next)
	p.next = p.next.Add(time.Duration(float64(bytes) / p.rate * float64(time.Second)))
	if due <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(due)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
