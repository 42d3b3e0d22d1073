package journal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/hwangso/hwangso/store/journal"
	"github.com/hwangso/hwangso/store/journal/faultfs"
)

// written makes a journal of one segment: groups of records, each an Append, positions as told.
func written(t *testing.T, groups ...[][]byte) (file []byte, at [][]journal.Position) {
	t.Helper()
	dir := t.TempDir()
	j := open(t, journal.Config{Dir: dir, SegmentBytes: 16 << 10})
	for _, g := range groups {
		at = append(at, mustAppend(t, j, g...))
	}
	mustClose(t, j)
	file, err := os.ReadFile(filepath.Join(dir, journal.SegmentName(0)))
	if err != nil {
		t.Fatal(err)
	}
	return file, at
}

// place makes a directory with one segment file.
func place(t *testing.T, dir string, file []byte) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, journal.SegmentName(0)), file, 0o600); err != nil {
		t.Fatal(err)
	}
}

func group(records ...string) [][]byte {
	var g [][]byte
	for _, r := range records {
		g = append(g, []byte(r))
	}
	return g
}

// However much of the last Append reached the disk, it is dropped as a whole unless all of it did; and
// what lies behind the new end never comes back.
func TestTornAtEveryByte(t *testing.T) {
	last := group("four", "the fifth record", "6", "seven 7", "and the last one")
	file, at := written(t, group("one", "two"), group("three"), last)
	before := int(at[2][0]) + journal.HeaderSize
	whole := int(at[2][4]) + journal.HeaderSize + journal.FrameHead + len(last[4])
	ways := map[string]func(n int) []byte{
		"cut":          func(n int) []byte { return file[:n] },
		"preallocated": func(n int) []byte { return append(slices.Clone(file[:n]), make([]byte, len(file)-n)...) },
		// The disk wrote the end of the Append and not its beginning.
		"backwards": func(n int) []byte {
			f := slices.Clone(file)
			clear(f[before : before+(whole-n)])
			return f
		},
	}
	dir := filepath.Join(t.TempDir(), "j")
	for name, way := range ways {
		for n := before; n <= whole; n++ {
			data := way(n)
			place(t, dir, data)
			report, err := journal.Verify(dir, nil)
			if err != nil || report.Damaged != 0 {
				t.Fatalf("%s at %d: Verify: %+v, %v", name, n, report, err)
			}
			if left := len(bytes.TrimRight(data[before:], "\x00")); n < whole && report.Torn != int64(left) {
				t.Fatalf("%s at %d: Verify tells of %d torn bytes, there are %d", name, n, report.Torn, left)
			}
			cfg := journal.Config{Dir: dir, SegmentBytes: 16 << 10}
			j := open(t, cfg)
			want := []string{"one", "two", "three"}
			if n == whole {
				want = append(want, "four", "the fifth record", "6", "seven 7", "and the last one")
			}
			expect(t, j, want...)
			// The dropped frames behind this one are valid where they are, and must not count again.
			mustAppend(t, j, []byte("4444"))
			want = append(want, "4444")
			expect(t, j, want...)
			mustClose(t, j)
			j = open(t, cfg)
			expect(t, j, want...)
			mustClose(t, j)
		}
	}
}

// A flipped bit in a confirmed record is damage, told with its position, and costs that record only;
// in the last Append it cannot be told from an unfinished one. Never is a wrong record read.
func TestFlippedBitInNewestSegment(t *testing.T) {
	groups := [][][]byte{group("one", "two two"), group("three"), group("four", "five"), group("six", "seven")}
	file, at := written(t, groups...)
	end := int(at[3][1]) + journal.HeaderSize + journal.FrameHead + len("seven")
	dir := filepath.Join(t.TempDir(), "j")
	for n := journal.HeaderSize; n < end; n++ {
		data := slices.Clone(file)
		data[n] ^= 1 << (n % 8)
		place(t, dir, data)
		j := open(t, journal.Config{Dir: dir, SegmentBytes: 16 << 10})
		lost := n-journal.HeaderSize >= int(at[3][0])
		damaged := 0
		for g, records := range groups {
			for i, r := range records {
				pos := at[g][i]
				hit := n-journal.HeaderSize >= int(pos) && n-journal.HeaderSize < int(pos)+journal.FrameHead+len(r)
				got, err := j.Read(pos, nil)
				switch {
				case lost && g == 3:
					if !errors.Is(err, journal.ErrEnd) {
						t.Fatalf("byte %d: record of the last Append: %q, %v", n, got, err)
					}
				case hit:
					damaged++
					var bad *journal.CorruptError
					if !errors.As(err, &bad) || bad.Pos != pos {
						t.Fatalf("byte %d: damaged record at %d: %q, %v", n, pos, got, err)
					}
				case err != nil || !bytes.Equal(got, r):
					t.Fatalf("byte %d: record at %d: %q, %v", n, pos, got, err)
				}
			}
		}
		if !lost && damaged != 1 {
			t.Fatalf("byte %d: %d records damaged", n, damaged)
		}
		mustAppend(t, j, []byte("goes on"))
		mustClose(t, j)
		report, err := journal.Verify(dir, nil)
		if err != nil || report.Damaged != int64(damaged) || (report.Bad != nil) != (damaged == 1) {
			t.Fatalf("byte %d: Verify: %+v, %v", n, report, err)
		}
		if want := int64(8 - damaged); !lost && report.Records != want {
			t.Fatalf("byte %d: Verify found %d records, want %d", n, report.Records, want)
		}
	}
}

func TestFlippedBitInHeader(t *testing.T) {
	file, _ := written(t, group("one"))
	dir := filepath.Join(t.TempDir(), "j")
	for n := range journal.HeaderUsed {
		data := slices.Clone(file)
		data[n] ^= 1 << (n % 8)
		place(t, dir, data)
		var bad *journal.CorruptError
		if _, err := journal.Open(journal.Config{Dir: dir}); !errors.As(err, &bad) || bad.Pos != 0 {
			t.Fatalf("byte %d: Open: %v", n, err)
		}
		if report, err := journal.Verify(dir, nil); err != nil || report.Damaged != 1 {
			t.Fatalf("byte %d: Verify: %+v, %v", n, report, err)
		}
	}
	place(t, dir, nil)
	if _, err := journal.Open(journal.Config{Dir: dir}); !errors.Is(err, journal.ErrCorrupt) {
		t.Fatalf("empty file: Open: %v", err)
	}
}

// sealedJournal has several segments, and one record an Append.
func sealedJournal(t *testing.T) (cfg journal.Config, at []journal.Position, segs []journal.Segment) {
	cfg = journal.Config{Dir: t.TempDir(), SegmentBytes: journal.MinSegmentBytes}
	j := open(t, cfg)
	for i := range 30 {
		at = append(at, mustAppend(t, j, bytes.Repeat([]byte{byte(i + 1)}, 500))...)
	}
	segs = j.Segments()
	mustClose(t, j)
	return cfg, at, segs
}

func TestDamagedSealedSegment(t *testing.T) {
	damages := map[string]func(f *os.File, off int64) error{
		"flipped bit": func(f *os.File, off int64) error {
			_, err := f.WriteAt([]byte{0xff}, off+journal.FrameHead+3)
			return err
		},
		"zeros": func(f *os.File, off int64) error {
			_, err := f.WriteAt(make([]byte, 508), off)
			return err
		},
		"huge length": func(f *os.File, off int64) error {
			_, err := f.WriteAt([]byte{0xff, 0xff, 0xff}, off)
			return err
		},
		"cut": func(f *os.File, off int64) error { return f.Truncate(off + 100) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			cfg, at, segs := sealedJournal(t)
			s := segs[1]
			first, _ := slices.BinarySearch(at, s.Base)
			bad := first + 2
			f, err := os.OpenFile(filepath.Join(cfg.Dir, journal.SegmentName(s.Base)), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(damage(f, journal.HeaderSize+int64(at[bad]-s.Base)), f.Close()); err != nil {
				t.Fatal(err)
			}
			j := open(t, cfg)
			var corrupt *journal.CorruptError
			if got, err := j.Read(at[bad], nil); !errors.As(err, &corrupt) || corrupt.Pos != at[bad] {
				t.Errorf("Read: %q, %v", got, err)
			}
			n := 0
			err = j.Scan(0, func(pos, _ journal.Position, _ []byte) error { n++; return nil })
			if !errors.As(err, &corrupt) || corrupt.Pos != at[bad] || n != bad {
				t.Errorf("Scan of %d records: %v", n, err)
			}
			want := at[bad+1]
			if name == "cut" {
				want = s.End
			}
			if next, err := j.Resync(at[bad] + 1); err != nil || next != want {
				t.Errorf("Resync found %d, %v; want %d", next, err, want)
			}
			if err := j.Scan(want, func(_, _ journal.Position, _ []byte) error { return nil }); err != nil {
				t.Errorf("Scan from behind the damage: %v", err)
			}
			told := int64(0)
			report, err := journal.Verify(cfg.Dir, func(p journal.Progress) { told = p.Done })
			if err != nil || report.Damaged != 1 || report.Bad.Pos != at[bad] || report.End != j.End() || report.Segments != len(segs) {
				t.Errorf("Verify: %+v, %v", report, err)
			}
			if told == 0 {
				t.Error("Verify told no progress")
			}
		})
	}
}

// A missing segment is damage where it should begin, not a short journal.
func TestMissingSegment(t *testing.T) {
	cfg, at, segs := sealedJournal(t)
	if err := os.Remove(filepath.Join(cfg.Dir, journal.SegmentName(segs[1].Base))); err != nil {
		t.Fatal(err)
	}
	j := open(t, cfg)
	i, _ := slices.BinarySearch(at, segs[1].Base)
	var corrupt *journal.CorruptError
	if _, err := j.Read(at[i], nil); !errors.As(err, &corrupt) || corrupt.Pos != at[i] {
		t.Errorf("Read: %v", err)
	}
	if next, err := j.Resync(at[i]); err != nil || next != segs[2].Base {
		t.Errorf("Resync: %d, %v; want %d", next, err, segs[2].Base)
	}
	report, err := journal.Verify(cfg.Dir, nil)
	if err != nil || report.Damaged != 1 || report.Bad.Pos != segs[1].Base {
		t.Errorf("Verify: %+v, %v", report, err)
	}
}

func TestForeignFilesAreIgnored(t *testing.T) {
	cfg := journal.Config{Dir: t.TempDir()}
	j := open(t, cfg)
	mustAppend(t, j, []byte("one"))
	mustClose(t, j)
	for _, name := range []string{"spare-1.tmp", "x.seg", "99999999999999999999.seg", "00000000000000000009.seg.bak", "notes"} {
		if err := os.WriteFile(filepath.Join(cfg.Dir, name), []byte("?"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, open(t, cfg), "one")
	if _, err := os.Stat(filepath.Join(cfg.Dir, "spare-1.tmp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is still there: %v", err)
	}
}

// A torn tail on a full disk: what is there can be read, and Appends begin when there is space.
func TestTornTailOnFullDisk(t *testing.T) {
	file, at := written(t, group("one"), group("two"))
	dir := filepath.Join(t.TempDir(), "j")
	place(t, dir, file[:journal.HeaderSize+int(at[1][0])+5])
	fs := faultfs.New(journal.OS)
	fs.SetFree(0)
	j := open(t, journal.Config{Dir: dir, FS: fs, SegmentBytes: 16 << 10})
	expect(t, j, "one")
	if _, err := j.Append(group("refused")); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("Append: %v", err)
	}
	fs.Heal()
	mustAppend(t, j, []byte("three"))
	expect(t, j, "one", "three")
}

// What a killed process wrote without a sync becomes visible at Open, so Open syncs it.
func TestOpenSyncsWhatItFinds(t *testing.T) {
	file, _ := written(t, group("one"))
	dir := filepath.Join(t.TempDir(), "j")
	place(t, dir, file)
	fs := faultfs.New(journal.OS)
	j := open(t, journal.Config{Dir: dir, FS: fs, SegmentBytes: 16 << 10})
	if fs.Count(faultfs.Datasync) == 0 {
		t.Error("Open has not synced")
	}
	mustClose(t, j)
	fs.Inject(faultfs.Fault{Op: faultfs.Datasync})
	if _, err := journal.Open(journal.Config{Dir: dir, FS: fs}); !errors.Is(err, syscall.EIO) {
		t.Errorf("Open whose sync fails: %v", err)
	}
	expect(t, open(t, journal.Config{Dir: dir}), "one") // and the lock was given back
}

// FuzzOpen: a segment file of any content is opened or refused; what can be read has a valid frame.
func FuzzOpen(f *testing.F) {
	valid := func(groups ...[][]byte) []byte {
		dir := f.TempDir()
		j := open(f, journal.Config{Dir: dir, SegmentBytes: 16 << 10})
		for _, g := range groups {
			mustAppend(f, j, g...)
		}
		end := j.End()
		mustClose(f, j)
		b, err := os.ReadFile(filepath.Join(dir, journal.SegmentName(0)))
		if err != nil {
			f.Fatal(err)
		}
		return b[journal.HeaderSize : journal.HeaderSize+int(end)]
	}
	head, err := func() ([]byte, error) {
		dir := f.TempDir()
		mustClose(f, open(f, journal.Config{Dir: dir}))
		b, err := os.ReadFile(filepath.Join(dir, journal.SegmentName(0)))
		return b[:min(len(b), journal.HeaderSize)], err
	}()
	if err != nil {
		f.Fatal(err)
	}
	two := valid(group("one", "two"), group("three"))
	f.Add(two)
	f.Add(two[:len(two)-3])
	f.Add(append([]byte{9}, two[1:]...))
	f.Add(append(slices.Clone(two), 0, 0, 0, 1))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Add(bytes.Repeat([]byte{1, 0, 0, 0x80}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := filepath.Join(t.TempDir(), "j")
		place(t, dir, append(slices.Clone(head), data...))
		j := open(t, journal.Config{Dir: dir, SegmentBytes: 16 << 10})
		end := j.End()
		if end > journal.Position(len(data)) {
			t.Fatalf("End is %d of %d bytes", end, len(data))
		}
		n := 0
		for pos := journal.Position(0); pos < end; {
			err := j.Scan(pos, func(_, next journal.Position, r []byte) error {
				pos = next
				n += journal.FrameHead + len(r)
				return nil
			})
			if err == nil {
				break
			}
			var bad *journal.CorruptError
			if !errors.As(err, &bad) || bad.Pos != pos {
				t.Fatalf("Scan: %v", err)
			}
			if pos, err = j.Resync(pos + 1); err != nil {
				t.Fatal(err)
			}
		}
		if n > len(data) {
			t.Fatalf("%d bytes of frames in %d bytes", n, len(data))
		}
		mustAppend(t, j, []byte("goes on"))
		if got, err := j.Read(end, nil); err != nil || string(got) != "goes on" {
			t.Fatalf("Read: %q, %v", got, err)
		}
	})
}
