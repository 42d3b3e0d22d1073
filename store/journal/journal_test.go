package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hwangso/hwangso/store/journal"
	"github.com/hwangso/hwangso/store/journal/faultfs"
)

// open opens a journal for a test and closes it at the end.
func open(t testing.TB, cfg journal.Config) *journal.Journal {
	t.Helper()
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func mustAppend(t testing.TB, j *journal.Journal, records ...[]byte) []journal.Position {
	t.Helper()
	p, err := j.Append(records)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustClose(t testing.TB, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// all reads everything from First on.
func all(t testing.TB, j *journal.Journal) (positions []journal.Position, records [][]byte) {
	t.Helper()
	want := j.First()
	err := j.Scan(want, func(pos, next journal.Position, record []byte) error {
		if pos != want {
			t.Fatalf("Scan tells position %d after a next of %d", pos, want)
		}
		want = next
		positions = append(positions, pos)
		records = append(records, bytes.Clone(record))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return positions, records
}

func TestAppendReadReopen(t *testing.T) {
	cfg := journal.Config{Dir: filepath.Join(t.TempDir(), "j"), SegmentBytes: journal.MinSegmentBytes}
	j := open(t, cfg)
	var want [][]byte
	var at []journal.Position
	for i := range 400 {
		group := [][]byte{}
		for k := range i%3 + 1 {
			group = append(group, bytes.Repeat([]byte{byte(i), byte(k), 0}, i%90+1))
		}
		want = append(want, group...)
		at = append(at, mustAppend(t, j, group...)...)
	}
	check := func() {
		t.Helper()
		var buf []byte
		for i, pos := range at {
			got, err := j.Read(pos, buf)
			if err != nil || !bytes.Equal(got, want[i]) {
				t.Fatalf("Read(%d) = %q, %v; want %q", pos, got, err, want[i])
			}
			buf = got
		}
		p, r := all(t, j)
		if fmt.Sprint(p) != fmt.Sprint(at) || len(r) != len(want) {
			t.Fatalf("Scan told positions %v, want %v", p, at)
		}
		for i := range r {
			if !bytes.Equal(r[i], want[i]) {
				t.Fatalf("Scan at %d: %q, want %q", p[i], r[i], want[i])
			}
		}
		if _, err := j.Read(j.End(), nil); !errors.Is(err, journal.ErrEnd) {
			t.Fatalf("Read(End) = %v", err)
		}
	}
	check()
	end := j.End()
	mustClose(t, j)
	if _, err := j.Read(0, nil); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("Read after Close: %v", err)
	}
	if _, err := j.Append([][]byte{{1}}); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("Append after Close: %v", err)
	}
	j = open(t, cfg)
	if j.End() != end {
		t.Fatalf("End after reopening is %d, was %d", j.End(), end)
	}
	check()
	if n := len(j.Segments()); n < 5 {
		t.Fatalf("%d segments, the test means to have many", n)
	}
	for _, s := range j.Segments() {
		info, err := os.Stat(filepath.Join(cfg.Dir, journal.SegmentName(s.Base)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Fatalf("%s has mode %v", info.Name(), info.Mode())
		}
	}
}

func TestRefusedBeforeWriting(t *testing.T) {
	fs := faultfs.New(journal.OS)
	j := open(t, journal.Config{Dir: t.TempDir(), MaxRecord: 100, FS: fs})
	mustAppend(t, j, []byte("a"))
	end, writes := j.End(), fs.Count(faultfs.Write)
	if _, err := j.Append([][]byte{{1}, make([]byte, 101)}); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("101 bytes of 100: %v", err)
	}
	if _, err := j.Append([][]byte{{1}, {}}); !errors.Is(err, journal.ErrEmpty) {
		t.Errorf("an empty record: %v", err)
	}
	if p, err := j.Append(nil); err != nil || len(p) != 0 {
		t.Errorf("no records: %v, %v", p, err)
	}
	if j.End() != end || fs.Count(faultfs.Write) != writes {
		t.Errorf("something was written")
	}
	mustAppend(t, j, make([]byte, 100))
	if got, err := j.Read(end, nil); err != nil || len(got) != 100 {
		t.Errorf("the longest record: %d bytes, %v", len(got), err)
	}
}

// Records around the sizes where Read's first guess and Scan's buffer end.
func TestRecordSizes(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir()})
	var want [][]byte
	for _, n := range []int{1, 503, 504, 505, 4095, 4096, 256<<10 - 9, 256<<10 - 8, 256<<10 - 7, 256 << 10, 1<<20 - 1, 1 << 20} {
		want = append(want, bytes.Repeat([]byte{0xa5, 0, 0xff}, n/3+1)[:n])
	}
	at := mustAppend(t, j, want...)
	_, got := all(t, j)
	for i, pos := range at {
		one, err := j.Read(pos, nil)
		if err != nil || !bytes.Equal(one, want[i]) {
			t.Errorf("Read of %d bytes: got %d, %v", len(want[i]), len(one), err)
		}
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("Scan of %d bytes: got %d", len(want[i]), len(got[i]))
		}
	}
}

// An Append larger than a segment gets one of its own.
func TestAppendLargerThanSegment(t *testing.T) {
	cfg := journal.Config{Dir: t.TempDir(), SegmentBytes: journal.MinSegmentBytes}
	j := open(t, cfg)
	want := [][]byte{[]byte("small"), bytes.Repeat([]byte("x"), 20_000), bytes.Repeat([]byte("y"), 20_000), []byte("after")}
	mustAppend(t, j, want[0])
	mustAppend(t, j, want[1], want[2])
	mustAppend(t, j, want[3])
	mustClose(t, j)
	j = open(t, cfg)
	if _, got := all(t, j); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d records came back", len(got))
	}
	if n := len(j.Segments()); n != 3 {
		t.Errorf("%d segments, want 3", n)
	}
}

func TestPositionsOutside(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir()})
	none := func(pos, next journal.Position, record []byte) error {
		t.Errorf("a record at %d", pos)
		return nil
	}
	if err := j.Scan(0, none); err != nil {
		t.Errorf("Scan of an empty journal: %v", err)
	}
	at := mustAppend(t, j, []byte("one"), []byte("two"))
	if err := j.Scan(j.End(), none); err != nil {
		t.Errorf("Scan from End: %v", err)
	}
	if err := j.Scan(j.End()+1, none); !errors.Is(err, journal.ErrEnd) {
		t.Errorf("Scan from beyond End: %v", err)
	}
	var bad *journal.CorruptError
	if _, err := j.Read(at[1]+1, nil); !errors.As(err, &bad) || bad.Pos != at[1]+1 || !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("Read inside a record: %v", err)
	}
	stop := errors.New("stop")
	if err := j.Scan(0, func(_, _ journal.Position, _ []byte) error { return stop }); err != stop {
		t.Errorf("Scan whose fn fails: %v", err)
	}
}

func TestOneWriteOneSync(t *testing.T) {
	fs := faultfs.New(journal.OS)
	j := open(t, journal.Config{Dir: t.TempDir(), FS: fs})
	writes, syncs := fs.Count(faultfs.Write), fs.Count(faultfs.Datasync)
	mustAppend(t, j, slices.Repeat([][]byte{[]byte("record")}, 500)...)
	if w, s := fs.Count(faultfs.Write)-writes, fs.Count(faultfs.Datasync)-syncs; w != 1 || s != 1 {
		t.Errorf("500 records took %d writes and %d syncs", w, s)
	}
	reads := fs.Count(faultfs.Read)
	if _, err := j.Read(0, nil); err != nil {
		t.Error(err)
	}
	if r := fs.Count(faultfs.Read) - reads; r != 1 {
		t.Errorf("a Read took %d reads", r)
	}
}

func TestNoGarbage(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir()})
	records := [][]byte{make([]byte, 300), make([]byte, 200)}
	dst := mustAppend(t, j, records...)
	buf := make([]byte, 512)
	allocs := testing.AllocsPerRun(100, func() {
		var err error
		if dst, err = j.AppendTo(dst[:0], records); err != nil {
			t.Fatal(err)
		}
		if buf, err = j.Read(dst[1], buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for AppendTo and Read", allocs)
	}
}

func TestOnlyOneProcess(t *testing.T) {
	cfg := journal.Config{Dir: t.TempDir()}
	j := open(t, cfg)
	if _, err := journal.Open(cfg); !errors.Is(err, journal.ErrLocked) {
		t.Fatalf("second Open: %v", err)
	}
	mustClose(t, j)
	mustClose(t, j) // twice is fine
	open(t, cfg)
}

func TestValidate(t *testing.T) {
	for _, c := range []journal.Config{
		{},
		{Dir: "x", SegmentBytes: 100},
		{Dir: "x", SegmentBytes: -1},
		{Dir: "x", MaxRecord: -1},
		{Dir: "x", MaxRecord: 16 << 20},
		{Dir: "x", CopyRate: -1},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
		if _, err := journal.Open(c); err == nil {
			t.Errorf("%+v opens", c)
		}
	}
	if err := (journal.Config{Dir: "x"}).Validate(); err != nil {
		t.Error(err)
	}
}

// Descriptors of old segments do not pile up.
func TestManySegments(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir(), SegmentBytes: journal.MinSegmentBytes})
	var at []journal.Position
	for range journal.MaxOpenFiles + 100 {
		at = append(at, mustAppend(t, j, make([]byte, 3000))...)
		mustAppend(t, j, make([]byte, 1000))
	}
	for range 2 {
		for _, pos := range at {
			if _, err := j.Read(pos, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := j.OpenFiles(); n > journal.MaxOpenFiles {
		t.Errorf("%d descriptors open, at most %d wanted", n, journal.MaxOpenFiles)
	}
}
