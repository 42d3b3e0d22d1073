package journal

import (
	"errors"
	"os"
	"slices"
	"time"
)

// Segment describes one segment file.
type Segment struct {
	Base     Position  // position of its first record
	End      Position  // position after its last; the next segment's base
	Bytes    int64     // header and records; the newest segment's file is longer, as it is preallocated
	Modified time.Time // when its last record was written, or the file was cut or copied after that
	Sealed   bool      // nothing is added any more; the newest segment never is
}

// Segments lists the segments, oldest first. The last one is the one being written.
func (j *Journal) Segments() []Segment {
	end := j.End()
	segs := *j.list.Load()
	out := make([]Segment, 0, len(segs))
	for i, s := range segs {
		d := Segment{Base: s.base, End: max(end, s.base), Modified: time.Unix(0, s.modified.Load())}
		if i+1 < len(segs) {
			d.End, d.Sealed = segs[i+1].base, true
		}
		d.Bytes = headerSize + int64(d.End-d.Base)
		out = append(out, d)
	}
	return out
}

// DropBefore removes the sealed segments that end at or before pos, oldest first, and says how many.
// First moves on at once; a nil error means that it does not come back after a crash. A reader in such a segment finishes its read; its next one is ErrTrimmed.
// On error the segments from the one in question on are kept, and it can be called again.
func (j *Journal) DropBefore(pos Position) (removed int, err error) {
	j.dropping.Lock()
	defer j.dropping.Unlock()
	if j.closed.Load() {
		return 0, ErrClosed
	}
	segs := *j.list.Load()
	for i := 0; i+1 < len(segs) && segs[i+1].base <= pos; i++ {
		s := segs[i]
		// Out of the list first: who finds it there can still open it.
		j.replaceList(func(now []*segment) []*segment { return slices.Clone(now[1:]) })
		_ = j.retire(s, ErrTrimmed) // an error of closing what is removed means nothing
		if err := j.fs.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			back := &segment{base: s.base, path: s.path}
			back.modified.Store(s.modified.Load())
			j.replaceList(func(now []*segment) []*segment { return slices.Concat([]*segment{back}, now) })
			return removed, ioError("remove", s.path, err)
		}
		removed++
		j.unsynced = true
	}
	if j.unsynced { // also of an earlier call, whose sync failed
		if err := j.fs.SyncDir(j.cfg.Dir); err != nil {
			return removed, ioError("sync directory", j.cfg.Dir, err)
		}
		j.unsynced = false
	}
	return removed, nil
}
