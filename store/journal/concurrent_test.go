package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hwangso/hwangso/store/journal"
	"github.com/hwangso/hwangso/store/journal/faultfs"
)

// at makes a record that says where it lies; checkAt finds a record that lies elsewhere.
func at(pos journal.Position, size int) []byte {
	r := bytes.Repeat([]byte{byte(pos)}, 8+size)
	binary.LittleEndian.PutUint64(r, uint64(pos))
	return r
}

func checkAt(t *testing.T, pos journal.Position, r []byte) {
	t.Helper()
	if want := at(pos, len(r)-8); !bytes.Equal(r, want) {
		t.Errorf("at %d lies the record of %d", pos, binary.LittleEndian.Uint64(r))
	}
}

// appendAt appends n groups of three such records.
func appendAt(t *testing.T, j *journal.Journal, n int) {
	t.Helper()
	var dst []journal.Position
	for i := range n {
		var group [][]byte
		pos := j.End()
		for k := range 3 {
			r := at(pos, (i*7+k*31)%400)
			group = append(group, r)
			pos += journal.Position(journal.FrameHead + len(r))
		}
		var err error
		if dst, err = j.AppendTo(dst[:0], group); err != nil {
			t.Error(err)
			return
		}
	}
}

// Readers, a scanner and retention beside an appender. Whoever is overtaken by retention is told so;
// nobody ever sees a record that is not the one at the position.
func TestReadersBesideDropBefore(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir(), SegmentBytes: 16 << 10})
	appendAt(t, j, 10)
	var done atomic.Bool
	var read, trimmed atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { // follows by Read
			var buf []byte
			for pos := j.First(); ; {
				got, err := j.Read(pos, buf)
				switch {
				case err == nil:
					checkAt(t, pos, got)
					pos += journal.Position(journal.FrameHead + len(got))
					buf = got
					read.Add(1)
				case errors.Is(err, journal.ErrTrimmed):
					trimmed.Add(1)
					pos = j.First()
				case errors.Is(err, journal.ErrEnd):
					if done.Load() {
						return
					}
					pos = j.First()
				default:
					t.Errorf("Read(%d): %v", pos, err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for !done.Load() {
			err := j.Scan(j.First(), func(pos, _ journal.Position, r []byte) error {
				checkAt(t, pos, r)
				read.Add(1)
				return nil
			})
			if errors.Is(err, journal.ErrTrimmed) {
				trimmed.Add(1)
			} else if err != nil {
				t.Errorf("Scan: %v", err)
				return
			}
		}
	})
	wg.Go(func() {
		for !done.Load() {
			segs := j.Segments()
			for i := range segs[1:] {
				if segs[i].End != segs[i+1].Base || !segs[i].Sealed {
					t.Errorf("segments %+v", segs)
				}
			}
			if len(segs) > 4 {
				if n, err := j.DropBefore(segs[2].Base); err != nil || n == 0 {
					t.Errorf("dropped %d, %v", n, err)
				}
			}
		}
	})
	appendAt(t, j, 1500)
	for range 300 { // on one processor, or a very quick disk, nobody may have been overtaken yet
		if read.Load() > 0 && trimmed.Load() > 0 {
			break
		}
		appendAt(t, j, 50)
	}
	done.Store(true)
	wg.Wait()
	if read.Load() == 0 || trimmed.Load() == 0 {
		t.Errorf("%d records read, %d readers overtaken: the test has not tested", read.Load(), trimmed.Load())
	}
}

// A reader that holds a segment while it is dropped finishes what it reads.
func TestDropBeforeDuringScan(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir(), SegmentBytes: 8 << 10})
	appendAt(t, j, 100)
	first := j.Segments()[0]
	last := journal.Position(0)
	err := j.Scan(0, func(pos, next journal.Position, r []byte) error {
		if pos == 0 {
			if _, err := j.DropBefore(j.End()); err != nil {
				t.Fatal(err)
			}
		}
		checkAt(t, pos, r)
		last = next
		return nil
	})
	if !errors.Is(err, journal.ErrTrimmed) || last != first.End {
		t.Errorf("Scan came to %d of %d, %v", last, first.End, err)
	}
	if _, err := j.Read(0, nil); !errors.Is(err, journal.ErrTrimmed) {
		t.Errorf("Read: %v", err)
	}
	if segs := j.Segments(); len(segs) != 1 || j.First() != segs[0].Base {
		t.Errorf("left are %+v, First is %d", segs, j.First())
	}
}

func TestDropBeforeKeepsWhatIsAfter(t *testing.T) {
	dir := t.TempDir()
	j := open(t, journal.Config{Dir: dir, SegmentBytes: 8 << 10})
	appendAt(t, j, 50)
	segs := j.Segments()
	for _, c := range []struct {
		pos  journal.Position
		want int
	}{{0, 0}, {segs[0].End - 1, 0}, {segs[0].End, 1}, {segs[2].End + 1, 2}} {
		if n, err := j.DropBefore(c.pos); n != c.want || err != nil {
			t.Errorf("DropBefore(%d) = %d, %v; want %d", c.pos, n, err, c.want)
		}
	}
	if j.First() != segs[3].Base {
		t.Errorf("First is %d, want %d", j.First(), segs[3].Base)
	}
	for i, s := range segs {
		_, err := os.Stat(filepath.Join(dir, journal.SegmentName(s.Base)))
		if gone := errors.Is(err, os.ErrNotExist); gone != (i < 3) {
			t.Errorf("segment %d: %v", i, err)
		}
	}
}

// Snapshots taken while records are appended, segments begin and retention runs hold exactly what the
// journal held, by links or by copies.
func TestSnapshotUnderLoad(t *testing.T) {
	for _, copies := range []bool{false, true} {
		fs := faultfs.New(journal.OS)
		if copies {
			fs.Inject(faultfs.Fault{Op: faultfs.Link, Times: -1})
		}
		j := open(t, journal.Config{Dir: t.TempDir(), SegmentBytes: 16 << 10, CopyRate: 1 << 40, FS: fs})
		appendAt(t, j, 100)
		var done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for !done.Load() {
				appendAt(t, j, 10)
			}
		})
		wg.Go(func() {
			for !done.Load() {
				if segs := j.Segments(); len(segs) > 8 {
					if _, err := j.DropBefore(segs[len(segs)-6].Base); err != nil {
						t.Error(err)
					}
				}
			}
		})
		for range 10 {
			dir := filepath.Join(t.TempDir(), "snapshot")
			earliest := j.End()
			end, err := j.Snapshot(dir)
			if errors.Is(err, journal.ErrTrimmed) {
				continue // retention overtook even the newest segment of its time
			}
			if err != nil {
				t.Fatal(err)
			}
			if end < earliest || end > j.End() {
				t.Errorf("snapshot ends at %d, not between %d and %d", end, earliest, j.End())
			}
			report, err := journal.Verify(dir, nil)
			if err != nil || report.Damaged != 0 || report.Torn != 0 || report.End != end {
				t.Errorf("Verify: %+v, %v", report, err)
			}
			c := open(t, journal.Config{Dir: dir})
			if c.End() != end {
				t.Errorf("the snapshot opens with End %d, want %d", c.End(), end)
			}
			if err := c.Scan(c.First(), func(pos, _ journal.Position, r []byte) error { checkAt(t, pos, r); return nil }); err != nil {
				t.Error(err)
			}
			// A restored journal lives on and leaves the other alone.
			appendAt(t, c, 3)
			mustClose(t, c)
			if _, err := j.Snapshot(dir); err == nil {
				t.Error("a snapshot into a directory that holds one")
			}
		}
		done.Store(true)
		wg.Wait()
		if err := j.Scan(j.First(), func(pos, _ journal.Position, r []byte) error { checkAt(t, pos, r); return nil }); err != nil {
			t.Error(err)
		}
	}
}

// Sealed segments cost a snapshot no copy.
func TestSnapshotLinksSealedSegments(t *testing.T) {
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "s")
	j := open(t, journal.Config{Dir: src, SegmentBytes: 8 << 10})
	appendAt(t, j, 50)
	if _, err := j.Snapshot(dst); err != nil {
		t.Fatal(err)
	}
	segs := j.Segments()
	for i, s := range segs {
		a, err := os.Stat(filepath.Join(src, journal.SegmentName(s.Base)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.Stat(filepath.Join(dst, journal.SegmentName(s.Base)))
		if err != nil {
			t.Fatal(err)
		}
		if same := os.SameFile(a, b); same != (i < len(segs)-1) {
			t.Errorf("segment %d of %d: the same file is %v", i, len(segs), same)
		}
		if b.Mode().Perm() != 0o600 {
			t.Errorf("segment %d has mode %v", i, b.Mode())
		}
	}
}

// Close ends a snapshot that is being copied; the directory is the caller's to remove.
func TestCloseDuringSnapshot(t *testing.T) {
	fs := faultfs.New(journal.OS)
	j := open(t, journal.Config{Dir: t.TempDir(), CopyRate: 1, FS: fs}) // a byte a second: it would take hours
	appendAt(t, j, 10)
	blocked := fs.Freeze(faultfs.Create)
	done := make(chan error)
	go func() {
		_, err := j.Snapshot(filepath.Join(t.TempDir(), "s"))
		done <- err
	}()
	select {
	case <-blocked:
	case err := <-done:
		t.Fatalf("Snapshot ended without a copy: %v", err)
	}
	fs.Thaw()
	mustClose(t, j)
	if err := <-done; !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Snapshot: %v", err)
	}
}

func TestCloseDuringReads(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir(), SegmentBytes: 16 << 10})
	appendAt(t, j, 200)
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			started <- struct{}{}
			for {
				err := j.Scan(0, func(pos, _ journal.Position, r []byte) error { checkAt(t, pos, r); return nil })
				if errors.Is(err, journal.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	mustClose(t, j)
	wg.Wait()
	if n := j.OpenFiles(); n != 0 {
		t.Errorf("%d descriptors are still open", n)
	}
}

// Sealed files end where their records end, so preallocation costs nothing for ever.
func TestSealedFilesAreCut(t *testing.T) {
	dir := t.TempDir()
	j := open(t, journal.Config{Dir: dir, SegmentBytes: 64 << 10})
	mustAppend(t, j, make([]byte, 10_000))
	mustAppend(t, j, make([]byte, 60_000))
	mustClose(t, j)
	s := j.Segments()[0]
	info, err := os.Stat(filepath.Join(dir, journal.SegmentName(s.Base)))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != s.Bytes {
		t.Errorf("the file has %d bytes, its records %d", info.Size(), s.Bytes)
	}
}
