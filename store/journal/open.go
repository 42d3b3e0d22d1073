package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Open opens the journal in cfg.Dir, or begins one. It lists the directory and reads the newest
// segment, to find the end; the others are not looked at, so a damaged frame in one of them is told
// by Read, Scan and Verify. What is left of an Append that a crash cut short is dropped and its bytes
// are logged. ErrLocked if another process has the journal open, ErrCorrupt if the newest segment's
// header is not readable. The caller must Close it.
func Open(cfg Config) (*Journal, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return nil, ioError("make directory", cfg.Dir, err)
	}
	lock, err := cfg.FS.Lock(filepath.Join(cfg.Dir, lockName))
	if err != nil {
		return nil, ioError("lock", cfg.Dir, err)
	}
	j := &Journal{cfg: cfg, fs: cfg.FS, log: cfg.Logger, lock: lock}
	j.list.Store(&[]*segment{})
	j.keeper.start(j)
	if err := j.recover(); err != nil {
		j.keeper.stop()
		if j.active != nil {
			_ = j.release(j.active)
		}
		for _, s := range *j.list.Load() {
			_ = j.retire(s, ErrClosed)
		}
		_ = lock.Close()
		return nil, err
	}
	return j, nil
}

// recover reads the directory and makes the newest segment the active one.
func (j *Journal) recover() error {
	files, err := j.fs.List(j.cfg.Dir)
	if err != nil {
		return ioError("list", j.cfg.Dir, err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name, tempExt) {
			path := filepath.Join(j.cfg.Dir, f.Name)
			if err := j.fs.Remove(path); err != nil {
				return ioError("remove", path, err)
			}
		}
	}
	segs := segmentsOf(j.cfg.Dir, files)
	if len(segs) == 0 {
		return j.begin(0)
	}
	j.list.Store(&segs)
	for i, s := range segs[:len(segs)-1] {
		want := headerSize + int64(segs[i+1].base-s.base)
		if s.size < want {
			j.log.Error("segment is shorter than its records", keyPath, s.path, keyBytes, want-s.size)
		}
		if s.size > want {
			s.oversize.Store(true)
			j.keeper.nudge()
		}
	}
	return j.recoverTail(segs[len(segs)-1])
}

// segmentsOf makes segments of the files named as such, ascending by base.
func segmentsOf(dir string, files []FileInfo) []*segment {
	var segs []*segment
	for _, f := range files {
		base, ok := parseSegmentName(f.Name)
		if !ok {
			continue
		}
		s := &segment{base: base, path: filepath.Join(dir, f.Name), size: f.Size}
		s.modified.Store(f.Modified.UnixNano())
		segs = append(segs, s)
	}
	slices.SortFunc(segs, func(a, b *segment) int {
		if a.base < b.base {
			return -1
		}
		return 1
	})
	return segs
}

func (j *Journal) recoverTail(s *segment) error {
	f, err := j.fs.Open(s.path, true)
	if err != nil {
		return ioError("open", s.path, err)
	}
	s.f, s.refs = f, 1
	j.opens.Add(1)
	j.active, j.out = s, f

	t, err := readTail(f, s, j.cfg.MaxRecord)
	if err != nil {
		return err
	}
	for _, bad := range t.bad {
		j.log.Error("damaged record", keyPath, s.path, keyPos, bad.Pos, keyErr, bad)
	}
	// What was written but not synced when the process died is visible from now on, so it has to be
	// durable first.
	if err := f.Datasync(); err != nil {
		return ioError("sync", s.path, err)
	}
	j.end.Store(uint64(t.end))
	if t.torn > 0 {
		// Frames of the cut Append may lie behind the end and would count again after a new one of
		// the right length: never write here again.
		j.log.Warn("dropped an unfinished append", keyPath, s.path, keyPos, t.end, keyBytes, t.torn)
		if err := j.begin(t.end); err != nil {
			j.log.Error("no new segment, will try again", keyPath, j.cfg.Dir, keyErr, err)
		}
		return nil
	}
	if s.size < j.cfg.SegmentBytes {
		// Without its reservation the segment only grows more slowly.
		if err := f.Allocate(j.cfg.SegmentBytes); err != nil {
			j.log.Warn("newest segment not preallocated", keyPath, s.path, keyErr, err)
		}
	}
	return nil
}

// tail is what the newest segment holds.
type tail struct {
	end     Position        // after the last whole Append
	records int64           // valid ones
	torn    int64           // bytes after end up to the last that is not zero: an unfinished Append
	bad     []*CorruptError // damaged frames that later Appends follow; at most maxBad
	damaged int64           // how many they are
}

const maxBad = 16

// readTail reads a newest segment from its header to its end.
//
// Appends are one after the other, each synced before the next is written. So if a frame is not
// valid and an Append begins somewhere after it, the frame's own Append was confirmed: the frame is
// damaged, and stays as damage. If none does, the frame belongs to the last Append, which nobody was
// told of: it did not happen, all of it.
func readTail(f File, s *segment, maxRecord int) (tail, error) {
	var t tail
	size, err := f.Size()
	if err != nil {
		return t, ioError("size of", s.path, err)
	}
	head := make([]byte, min(headerUsed, size))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return t, ioError("read header", s.path, err)
	}
	if why := checkHeader(head, s.base); why != "" {
		return t, &CorruptError{Pos: s.base, Path: s.path, Reason: why}
	}

	limit := s.base + Position(max(size-headerSize, 0))
	r := frames{f: f, s: s, pos: s.base, limit: limit, buf: make([]byte, scanChunk)}
	t.end = s.base
	open := int64(0) // records of an Append whose last frame has not come yet
	written := Position(0)
	for {
		_, err := r.next()
		var bad *CorruptError
		switch {
		case err == nil:
			if r.word&wordFirst != 0 {
				t.records, open = t.records+open, 0 // an earlier one, whose last frame is damaged
			}
			open++
			if r.word&wordLast != 0 {
				t.end, t.records, open = r.pos, t.records+open, 0
			}
			continue
		case errors.Is(err, io.EOF):
			written = max(written, limit)
		case errors.As(err, &bad):
			if written == 0 {
				if written, err = lastWritten(f, s, r.pos, limit); err != nil {
					return t, err
				}
			}
			later, ok, err := resync(f, s, r.pos+1, written, limit, wordFirst, maxRecord)
			if err != nil {
				return t, err
			}
			if ok {
				next, _, err := resync(f, s, r.pos+1, later+1, limit, 0, maxRecord)
				if err != nil {
					return t, err
				}
				if t.damaged++; len(t.bad) < maxBad {
					t.bad = append(t.bad, bad)
				}
				t.records, open = t.records+open, 0
				r.pos, r.data = next, nil
				continue
			}
		default:
			return t, err
		}
		if written > t.end {
			t.torn = int64(written - t.end)
		}
		return t, nil
	}
}

// lastWritten is the position after the last byte that is not zero, pos if all are from there on.
func lastWritten(f File, s *segment, pos, limit Position) (Position, error) {
	last := pos
	buf, zeros := make([]byte, scanChunk), make([]byte, scanChunk)
	for at := pos; at < limit; {
		data := buf[:min(Position(len(buf)), limit-at)]
		if _, err := readAtLeast(f, s, at, data, len(data), headerSize+int64(at-s.base)); err != nil {
			return 0, fmt.Errorf("look behind the end: %w", err)
		}
		if !bytes.Equal(data, zeros[:len(data)]) {
			last = at + Position(len(bytes.TrimRight(data, "\x00")))
		}
		at += Position(len(data))
	}
	return last, nil
}
