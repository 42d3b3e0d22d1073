package journal

import (
	"errors"
	"io"
	"os"
)

// Progress is how far Verify has come.
type Progress struct {
	Path        string // of the segment being read
	Done, Total int64  // bytes of all segments
}

// Report is what Verify found.
type Report struct {
	Segments   int
	Records    int64    // valid ones
	First, End Position // as a Journal opened here would report them
	// Torn is the size in bytes of an Append at the very end that was not finished: a crash leaves
	// it, opening drops it, nobody was told that it had happened. In a journal that is being written
	// it may be the Append under way.
	Torn int64
	// Damaged counts places where confirmed records cannot be read; Bad is the first, nil if none.
	Damaged int64
	Bad     *CorruptError
}

// Verify reads every frame of the journal in dir and checks it, without changing anything; the
// journal may be open meanwhile, also in another process. Damage is told in the report; the error is
// one of reading files. fn, if not nil, is called after each segment and each few megabytes of a
// sealed one.
func Verify(dir string, fn func(Progress)) (Report, error) {
	files, err := OS.List(dir)
	if err != nil {
		return Report{}, ioError("list", dir, err)
	}
	segs := segmentsOf(dir, files)
	var r Report
	var p Progress
	for _, s := range segs {
		p.Total += s.size
	}
	for i, s := range segs {
		p.Path = s.path
		before := p.Done
		done := func(n int64) {
			p.Done = before + n
			if fn != nil {
				fn(p)
			}
		}
		var next *segment
		if i+1 < len(segs) {
			next = segs[i+1]
		}
		err := r.segment(s, next, done)
		if errors.Is(err, os.ErrNotExist) && r.Segments == 0 && next != nil {
			continue // retention removed it since the directory was listed
		}
		if err != nil {
			return r, err
		}
		p.Done = before + s.size
		if fn != nil {
			fn(p)
		}
	}
	return r, nil
}

func (r *Report) segment(s, next *segment, done func(int64)) (err error) {
	f, err := OS.Open(s.path, false)
	if err != nil {
		return ioError("open", s.path, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = ioError("close", s.path, cerr)
		}
	}()
	if r.Segments++; r.Segments == 1 {
		r.First, r.End = s.base, s.base
	}
	if next == nil {
		return r.newest(f, s)
	}
	r.End = next.base

	head := make([]byte, headerUsed)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return ioError("read header", s.path, err)
	}
	if why := checkHeader(head, s.base); why != "" {
		r.damage(&CorruptError{Pos: s.base, Path: s.path, Reason: why})
	}
	fr := frames{f: f, s: s, pos: s.base, limit: next.base, buf: make([]byte, scanChunk)}
	told := s.base
	for {
		_, err := fr.next()
		var bad *CorruptError
		switch {
		case err == nil:
			r.Records++
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad):
			r.damage(bad)
			pos, ok, err := resync(f, s, fr.pos+1, next.base, next.base, 0, defaultMaxRecord)
			if err != nil {
				return err
			}
			if !ok {
				return nil
			}
			fr.pos, fr.data = pos, nil
		default:
			return err
		}
		if fr.pos-told >= 4<<20 {
			told = fr.pos
			done(headerSize + int64(fr.pos-s.base))
		}
	}
}

func (r *Report) newest(f File, s *segment) error {
	t, err := readTail(f, s, defaultMaxRecord)
	var bad *CorruptError
	if errors.As(err, &bad) {
		r.damage(bad)
		return nil
	}
	if err != nil {
		return err
	}
	r.Records += t.records
	r.End, r.Torn = t.end, t.torn
	for _, b := range t.bad {
		r.damage(b)
	}
	r.Damaged += t.damaged - int64(len(t.bad))
	return nil
}

func (r *Report) damage(c *CorruptError) {
	if r.Damaged++; r.Bad == nil {
		r.Bad = c
	}
}
