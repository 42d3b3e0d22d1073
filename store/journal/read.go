package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

const (
	readAhead = 512       // Read's first guess of a frame's length, bytes
	scanChunk = 256 << 10 // Scan's reads, bytes
)

// Read returns the record at pos, which Append or Scan has told, in buf's memory if it is large
// enough. It reads from the disk and checks the CRC; it may run beside Append and every other method.
// ErrEnd at or beyond End, ErrTrimmed before First, ErrCorrupt if no valid frame is there (a position
// that is not a frame's is told like damage), ErrClosed.
//
// A record that fits into 504 bytes takes one read of the disk, a longer one two.
func (j *Journal) Read(pos Position, buf []byte) ([]byte, error) {
	if j.closed.Load() {
		return nil, ErrClosed
	}
	end := j.End()
	if pos >= end {
		return nil, ErrEnd
	}
	s, limit, err := j.find(pos, end)
	if err != nil {
		return nil, err
	}
	f, err := j.acquire(s)
	if err != nil {
		return nil, err
	}
	record, err := readFrame(f, s, pos, limit, buf)
	if cerr := j.release(s); err == nil {
		err = cerr
	}
	return record, err
}

func readFrame(f File, s *segment, pos, limit Position, buf []byte) ([]byte, error) {
	off := headerSize + int64(pos-s.base)
	n := int(min(readAhead, limit-pos))
	buf = slices.Grow(buf[:0], n)[:n]
	n, err := readAtLeast(f, s, pos, buf, frameHead, off)
	if err != nil {
		return nil, err
	}
	buf = buf[:n]
	record, _, need, status := decodeFrame(buf, pos)
	if status == frameShort && Position(need) <= limit-pos {
		buf = slices.Grow(buf, need-n)[:need]
		if _, err := readAtLeast(f, s, pos, buf[n:], need-n, off+int64(n)); err != nil {
			return nil, err
		}
		record, _, _, status = decodeFrame(buf, pos)
	}
	if status != frameOK {
		return nil, s.corrupt(pos, status)
	}
	// Moved to the front so that buf keeps its capacity when it is passed in again.
	return buf[:copy(buf, record)], nil
}

// readAtLeast fills p, or at least its first need bytes, and says how much. What it reads for is
// confirmed, so a file that ends before is damaged.
func readAtLeast(f File, s *segment, pos Position, p []byte, need int, off int64) (int, error) {
	n, err := f.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case errors.Is(err, io.EOF) && n >= need:
		return n, nil
	case errors.Is(err, io.EOF):
		return n, &CorruptError{Pos: pos, Path: s.path, Reason: "the file ends before its records do"}
	}
	return n, ioError("read", s.path, err)
}

func (s *segment) corrupt(pos Position, status frameStatus) error {
	reason := "frame checksum does not match"
	switch status {
	case frameEnd:
		reason = "zeros where a frame should be"
	case frameShort:
		reason = "frame is longer than its segment"
	}
	return &CorruptError{Pos: pos, Path: s.path, Reason: reason}
}

var scanBuffers = sync.Pool{New: func() any { b := make([]byte, scanChunk); return &b }}

// Scan calls fn with every record from the position from up to where End is when Scan is called, in
// order. next is the position to go on from after this record; record is fn's only until it returns.
// from must be a frame's position, First or End. An error of fn ends the scan and is returned as it
// is. ErrTrimmed, also in the midst of it if retention overtakes, ErrEnd if from lies beyond End,
// ErrCorrupt at the first frame that is not valid (Resync finds where to go on), ErrClosed.
//
// fn may take its time and may call the journal: no lock is held, only the segment's file kept open.
func (j *Journal) Scan(from Position, fn func(pos, next Position, record []byte) error) error {
	if j.closed.Load() {
		return ErrClosed
	}
	end := j.End()
	if from > end {
		return ErrEnd
	}
	buf := scanBuffers.Get().(*[]byte)
	defer scanBuffers.Put(buf)
	for pos := from; pos < end; {
		s, limit, err := j.find(pos, end)
		if err != nil {
			return err
		}
		f, err := j.acquire(s)
		if err != nil {
			return err
		}
		limit = min(limit, end)
		fr := frames{f: f, s: s, pos: pos, limit: limit, buf: *buf}
		err = fr.each(fn)
		*buf = fr.buf
		if cerr := j.release(s); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		pos = limit
	}
	return nil
}

// frames reads the frames of one segment from pos to limit.
type frames struct {
	f          File
	s          *segment
	pos, limit Position
	buf        []byte // for reading; grows for a longer frame
	data       []byte // what of buf is not yet decoded; it begins at pos
	word       uint32 // of the last frame
}

// next returns the frame at pos and moves on; io.EOF at the limit.
func (r *frames) next() ([]byte, error) {
	if r.pos >= r.limit {
		return nil, io.EOF
	}
	record, word, need, status := decodeFrame(r.data, r.pos)
	if status == frameShort && Position(need) <= r.limit-r.pos {
		if err := r.fill(need); err != nil {
			return nil, err
		}
		record, word, need, status = decodeFrame(r.data, r.pos)
		if status == frameShort && Position(need) <= r.limit-r.pos { // the head was short, now the body is
			if err := r.fill(need); err != nil {
				return nil, err
			}
			record, word, need, status = decodeFrame(r.data, r.pos)
		}
	}
	if status != frameOK {
		return nil, r.s.corrupt(r.pos, status)
	}
	r.word = word
	r.data = r.data[need:]
	r.pos += Position(need)
	return record, nil
}

// fill reads from pos as much as the buffer holds, need at least.
func (r *frames) fill(need int) error {
	r.buf = slices.Grow(r.buf[:0], need)
	n := min(cap(r.buf), int(min(Position(cap(r.buf)), r.limit-r.pos)))
	r.buf = r.buf[:cap(r.buf)]
	n, err := readAtLeast(r.f, r.s, r.pos, r.buf[:n], need, headerSize+int64(r.pos-r.s.base))
	r.data = r.buf[:n]
	return err
}

func (r *frames) each(fn func(pos, next Position, record []byte) error) error {
	for {
		pos := r.pos
		record, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(pos, r.pos, record); err != nil {
			return err
		}
	}
}

// Resync returns the position of the first valid frame at or after pos, or End if there is none: where a reader may go on after ErrCorrupt, with the loss of what lies between.
// It tries every byte and may take seconds; ErrTrimmed, ErrClosed and I/O errors as Scan.
func (j *Journal) Resync(pos Position) (Position, error) {
	if j.closed.Load() {
		return 0, ErrClosed
	}
	end := j.End()
	for pos < end {
		s, limit, err := j.find(pos, end)
		if err != nil {
			return 0, err
		}
		f, err := j.acquire(s)
		if err != nil {
			return 0, err
		}
		limit = min(limit, end)
		found, ok, err := resync(f, s, pos, limit, limit, 0, j.cfg.MaxRecord)
		if cerr := j.release(s); err == nil {
			err = cerr
		}
		if err != nil {
			return 0, fmt.Errorf("resync from %d: %w", pos, err)
		}
		if ok {
			return found, nil
		}
		pos = limit
	}
	return end, nil
}

// resync looks for a valid frame that carries marks, lies at pos or after it and before stop, and ends
// at limit or before, in one segment. maxRecord bounds the lengths it believes, and with them the
// work.
func resync(f File, s *segment, pos, stop, limit Position, marks uint32, maxRecord int) (Position, bool, error) {
	size, err := f.Size()
	if err != nil {
		return 0, false, ioError("size of", s.path, err)
	}
	limit = min(limit, s.base+Position(max(size-headerSize, 0))) // the file may be cut short
	longest := Position(frameHead + maxRecord)
	var buf []byte
	for pos < min(stop, limit) {
		n := min(longest+scanChunk, limit-pos)
		buf = slices.Grow(buf[:0], int(n))[:n]
		if _, err := readAtLeast(f, s, pos, buf, len(buf), headerSize+int64(pos-s.base)); err != nil {
			return 0, false, err
		}
		// Tried are offsets whose longest frame would lie in buf; all of them at the limit.
		tries := n
		if pos+n < limit {
			tries = scanChunk
		}
		for i := Position(0); i < tries && pos+i < stop && i+frameHead <= n; i++ {
			word, length, ok := frameWord(buf[i:])
			if !ok || word&marks != marks || length > maxRecord {
				continue
			}
			if _, _, _, status := decodeFrame(buf[i:], pos+i); status == frameOK {
				return pos + i, true, nil
			}
		}
		pos += tries
	}
	return 0, false, nil
}
