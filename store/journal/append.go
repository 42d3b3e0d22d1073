package journal

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// write is Append after its checks. The writer's lock is held.
func (j *Journal) write(dst []Position, records [][]byte) ([]Position, error) {
	size := int64(0)
	for _, r := range records {
		size += frameHead + int64(len(r))
	}
	end := j.End()
	if j.lost || !j.fits(end, size) {
		if err := j.begin(end); err != nil {
			return dst, fmt.Errorf("begin a segment: %w", err)
		}
	}

	n := len(dst)
	buf := slices.Grow(j.buf[:0], int(size))
	for i, r := range records {
		pos := end + Position(len(buf))
		var marks uint32
		if i == 0 {
			marks |= wordFirst
		}
		if i == len(records)-1 {
			marks |= wordLast
		}
		dst = append(dst, pos)
		buf = appendFrame(buf, pos, r, marks)
	}
	if cap(buf) <= keepBuffer {
		j.buf = buf
	}

	off := headerSize + int64(end-j.active.base)
	if _, err := j.out.WriteAt(buf, off); err != nil {
		return dst[:n], j.refuse(off, buf, ioError("write", j.active.path, err))
	}
	if err := j.out.Datasync(); err != nil {
		return dst[:n], j.refuse(off, buf, ioError("sync", j.active.path, err))
	}
	j.active.modified.Store(time.Now().UnixNano())
	j.end.Store(uint64(end) + uint64(len(buf)))
	if off+int64(len(buf)) > j.cfg.SegmentBytes/2 {
		j.keeper.want()
	}
	return dst, nil
}

// fits says whether size bytes go into the active segment. An empty one takes any Append.
func (j *Journal) fits(end Position, size int64) bool {
	return end == j.active.base || headerSize+int64(end-j.active.base)+size <= j.cfg.SegmentBytes
}

// refuse makes sure that the bytes of a failed Append, which may be on the disk wholly, partly or not
// at all, do not count. They lie after the confirmed end of the active segment, so a new segment that
// begins at that end cuts them off for good: whatever the disk did with them, no reader and no
// recovery looks there. Cutting or zeroing them comes first because it may work when beginning a
// segment does not, and either suffices. The active segment is not written again: what the failed
// sync left in the page cache, and what on the disk, is not known.
func (j *Journal) refuse(off int64, refused []byte, cause error) error {
	erased := j.erase(off, refused)
	if err := j.begin(j.End()); err != nil {
		if erased != nil {
			return fmt.Errorf("%w (refused bytes not erased: %w; no new segment: %w)", cause, erased, err)
		}
		return fmt.Errorf("%w (no new segment: %w)", cause, err)
	}
	return cause
}

func (j *Journal) erase(off int64, refused []byte) error {
	cut := j.out.Truncate(off)
	if cut == nil {
		cut = j.out.Datasync()
	}
	if cut == nil {
		return nil
	}
	clear(refused)
	if _, err := j.out.WriteAt(refused, off); err != nil {
		return ioError("zero", j.active.path, err)
	}
	return ioError("sync zeros", j.active.path, j.out.Datasync())
}

// begin makes a new segment at base, the confirmed end, the active one. Its header and its name are
// durable before it returns nil. On error the journal stays lost until it has worked: the
// new name may be in the directory already, which would cut off whatever is added to the old segment.
func (j *Journal) begin(base Position) error {
	j.lost = true
	now := time.Now()
	f, temp, err := j.blank()
	if err != nil {
		return err
	}
	s := &segment{base: base, path: j.path(base), f: f, refs: 1}
	s.modified.Store(now.UnixNano())

	err = func() error {
		if _, err := f.WriteAt(encodeHeader(base, now), 0); err != nil {
			return ioError("write header", temp, err)
		}
		if err := f.Datasync(); err != nil {
			return ioError("sync header", temp, err)
		}
		// An active segment without a record has the same base: it is replaced.
		if err := j.fs.Rename(temp, s.path); err != nil {
			return ioError("rename", temp, err)
		}
		return ioError("sync directory", j.cfg.Dir, j.fs.SyncDir(j.cfg.Dir))
	}()
	if err != nil {
		_ = f.Close()         // without a record, and recovery removes what is left of it
		_ = j.fs.Remove(temp) // gone already if it was renamed
		return err
	}

	j.opened()
	old := j.active
	j.replaceList(func(segs []*segment) []*segment {
		keep := len(segs)
		if keep > 0 && segs[keep-1].base == base {
			keep--
		}
		return append(slices.Clone(segs[:keep]), s)
	})
	j.active, j.out, j.lost = s, f, false
	if old == nil {
		return nil
	}
	if old.base == base {
		_ = j.retire(old, ErrTrimmed) // it never held a record
	} else {
		old.oversize.Store(true)
		j.keeper.nudge()
	}
	_ = j.release(old) // its records are synced
	return nil
}

// blank returns a file for a new segment: the one that the keeper has prepared, or one made now.
func (j *Journal) blank() (File, string, error) {
	if f, temp, ok := j.keeper.take(); ok {
		return f, temp, nil
	}
	j.temps++
	temp := filepath.Join(j.cfg.Dir, fmt.Sprintf("begin-%d%s", j.temps, tempExt))
	f, err := j.allocate(temp)
	return f, temp, err
}

// allocate makes a file of a segment's size. It leaves nothing behind if it fails.
func (j *Journal) allocate(temp string) (File, error) {
	f, err := j.fs.Create(temp)
	if err != nil {
		return nil, ioError("create", temp, err)
	}
	if err := f.Allocate(j.cfg.SegmentBytes); err != nil {
		_ = f.Close()
		_ = j.fs.Remove(temp)
		return nil, ioError("allocate", temp, err)
	}
	return f, nil
}
