package journal

import (
	"fmt"
	"path/filepath"
	"time"
)

const (
	copyChunk = 256 << 10
	copySync  = 1 << 20 // copied bytes between syncs, so that none of them is a long one
)

// Snapshot makes dir (0700; it may exist but must hold no segment) a journal that ends at end and
// holds what this one holds up to there. Sealed segments are hard links, or copies where linking
// fails; the newest one is always a copy. Copies are made at Config.CopyRate in small synced pieces,
// and no lock is held, so Appends go on beside it. If retention removes segments meanwhile, the
// snapshot begins after them. When it returns nil the snapshot is durable; on error the caller removes
// dir. ErrClosed if the journal is closed before it is done.
func (j *Journal) Snapshot(dir string) (end Position, err error) {
	if j.closed.Load() {
		return 0, ErrClosed
	}
	if err := j.fs.MkdirAll(dir); err != nil {
		return 0, ioError("make directory", dir, err)
	}
	files, err := j.fs.List(dir)
	if err != nil {
		return 0, ioError("list", dir, err)
	}
	if len(segmentsOf(dir, files)) > 0 {
		return 0, fmt.Errorf("journal: snapshot into %s: it holds a journal already", dir)
	}

	end = j.End()
	segs := *j.list.Load()
	newest := len(segs) - 1
	for newest > 0 && segs[newest].base > end {
		newest-- // began after end was read
	}
	pace := pacer{rate: j.cfg.CopyRate, quit: j.keeper.quit, began: time.Now()}
	// Newest first: when retention removes one, those before it are gone as well, and what has been
	// taken is whole.
	for i := newest; i >= 0; i-- {
		s, limit := segs[i], end
		if i < newest {
			limit = segs[i+1].base
		}
		to := filepath.Join(dir, segmentName(s.base))
		if i < newest && j.fs.Link(s.path, to) == nil {
			continue
		}
		err := j.copySegment(s, to, headerSize+int64(limit-s.base), &pace)
		if err != nil && i < newest && s.base < j.First() {
			if err := j.removeIfThere(to, dir); err != nil {
				return 0, err
			}
			break
		}
		if err != nil {
			return 0, fmt.Errorf("snapshot: %w", err)
		}
	}
	return end, ioError("sync directory", dir, j.fs.SyncDir(dir))
}

// removeIfThere takes a half-made copy away again.
func (j *Journal) removeIfThere(path, dir string) error {
	files, err := j.fs.List(dir)
	if err != nil {
		return ioError("list", dir, err)
	}
	for _, f := range files {
		if f.Name == filepath.Base(path) {
			return ioError("remove", path, j.fs.Remove(path))
		}
	}
	return nil
}

// copySegment copies the first size bytes of s, durably.
func (j *Journal) copySegment(s *segment, to string, size int64, pace *pacer) (err error) {
	from, err := j.acquire(s)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := j.release(s); err == nil {
			err = cerr
		}
	}()
	out, err := j.fs.Create(to)
	if err != nil {
		return ioError("create", to, err)
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = ioError("close", to, cerr)
		}
	}()
	buf := make([]byte, copyChunk)
	for off := int64(0); off < size; {
		p := buf[:min(int64(len(buf)), size-off)]
		if n, err := from.ReadAt(p, off); n < len(p) {
			return ioError("read", s.path, err)
		}
		if _, err := out.WriteAt(p, off); err != nil {
			return ioError("write", to, err)
		}
		off += int64(len(p))
		if off%copySync == 0 || off == size {
			if err := out.Datasync(); err != nil {
				return ioError("sync", to, err)
			}
		}
		if err := pace.took(int64(len(p))); err != nil {
			return err
		}
	}
	return nil
}

// pacer keeps copying at a rate.
type pacer struct {
	rate  int64 // bytes per second
	quit  <-chan struct{}
	began time.Time
	bytes int64
}

// took waits until n more bytes are due.
func (p *pacer) took(n int64) error {
	p.bytes += n
	due := time.Duration(float64(p.bytes) / float64(p.rate) * float64(time.Second))
	timer := time.NewTimer(due - time.Since(p.began))
	defer timer.Stop()
	select {
	case <-p.quit:
		return ErrClosed
	case <-timer.C:
		return nil
	}
}
