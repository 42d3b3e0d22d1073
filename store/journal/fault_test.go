package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hwangso/hwangso/store/journal"
	"github.com/hwangso/hwangso/store/journal/faultfs"
)

func expect(t *testing.T, j *journal.Journal, want ...string) {
	t.Helper()
	_, got := all(t, j)
	if !slices.EqualFunc(got, want, func(g []byte, w string) bool { return string(g) == w }) {
		t.Fatalf("journal holds %q, want %q", got, want)
	}
}

// What a failed Append wrote is never seen, neither in the running journal nor after a restart, nor
// when a power cut follows.
func TestRefusedIsInvisible(t *testing.T) {
	faults := map[string]faultfs.Fault{
		"write":        {Op: faultfs.Write},
		"torn write":   {Op: faultfs.Write, Torn: 30},
		"sync, kept":   {Op: faultfs.Datasync},
		"sync, lost":   {Op: faultfs.Datasync, Drop: true},
		"full":         {Op: faultfs.Write, Err: syscall.ENOSPC},
		"over quota":   {Op: faultfs.Write, Err: syscall.EDQUOT},
		"sync is full": {Op: faultfs.Datasync, Err: syscall.ENOSPC},
	}
	ends := map[string]func(t *testing.T, fs *faultfs.FS, j *journal.Journal){
		"close": func(t *testing.T, _ *faultfs.FS, j *journal.Journal) { mustClose(t, j) },
		"power cut": func(t *testing.T, fs *faultfs.FS, j *journal.Journal) {
			if err := fs.Crash(rand.New(rand.NewPCG(7, 7))); err != nil {
				t.Fatal(err)
			}
			_ = j.Close() // its file system is gone
		},
	}
	for name, fault := range faults {
		for how, end := range ends {
			t.Run(name+"/"+how, func(t *testing.T) {
				fs := faultfs.New(journal.OS)
				cfg := journal.Config{Dir: t.TempDir(), FS: fs, SegmentBytes: 64 << 10}
				j, err := journal.Open(cfg)
				if err != nil {
					t.Fatal(err)
				}
				mustAppend(t, j, []byte("one"))
				confirmed := j.End()
				fault.Path = faultfs.Segments
				fs.Inject(fault)
				_, err = j.Append([][]byte{[]byte("refused 1"), []byte("refused 2")})
				if err == nil {
					t.Fatal("no error")
				}
				if full := fault.Err != nil; full != errors.Is(err, journal.ErrFull) || full && !errors.Is(err, fault.Err) {
					t.Errorf("the error is %v", err)
				}
				if j.End() != confirmed {
					t.Errorf("End moved from %d to %d", confirmed, j.End())
				}
				expect(t, j, "one")
				// The doubtful file is left behind before Append returns.
				if segs := j.Segments(); len(segs) != 2 || segs[1].Base != confirmed {
					t.Errorf("segments after the failure: %+v", segs)
				}
				// The same length again: stale frames would fit behind it.
				if at := mustAppend(t, j, []byte("another 1")); at[0] != confirmed {
					t.Errorf("positions go on at %d, not at %d", at[0], confirmed)
				}
				expect(t, j, "one", "another 1")
				end(t, fs, j)

				cfg.FS = nil
				j = open(t, cfg)
				expect(t, j, "one", "another 1")
				report, err := journal.Verify(cfg.Dir, nil)
				if err != nil || report.Records != 2 || report.Damaged != 0 || report.Torn != 0 || report.End != j.End() {
					t.Errorf("Verify: %+v, %v", report, err)
				}
			})
		}
	}
}

// While no new segment can be begun every Append says why, and the first that can goes on by itself.
func TestFullThenSpace(t *testing.T) {
	fs := faultfs.New(journal.OS)
	cfg := journal.Config{Dir: t.TempDir(), FS: fs, SegmentBytes: journal.MinSegmentBytes}
	j := open(t, cfg)
	var want []string
	fs.SetFree(3 * journal.MinSegmentBytes)
	// A refusal may be followed by a success: when the next segment's file was just being prepared.
	for refused := 0; refused < 5; {
		record := fmt.Sprintf("%0999d", len(want))
		_, err := j.Append([][]byte{[]byte(record)})
		switch {
		case err == nil:
			want = append(want, record)
		case errors.Is(err, journal.ErrFull) && errors.Is(err, syscall.ENOSPC):
			refused++
			expect(t, j, want...)
		default:
			t.Fatal(err)
		}
		if len(want) > 100 {
			t.Fatal("the disk never gets full")
		}
	}
	fs.Heal()
	mustAppend(t, j, []byte("space again"))
	expect(t, j, append(want, "space again")...)
	mustClose(t, j)
	cfg.FS = nil
	expect(t, open(t, cfg), append(want, "space again")...)
}

// Retention gives space back, and Appends go on.
func TestFullThenDropBefore(t *testing.T) {
	fs := faultfs.New(journal.OS)
	j := open(t, journal.Config{Dir: t.TempDir(), FS: fs, SegmentBytes: journal.MinSegmentBytes})
	fs.SetFree(4 * journal.MinSegmentBytes)
	var err error
	for err == nil {
		_, err = j.Append([][]byte{make([]byte, 1000)})
	}
	if !errors.Is(err, journal.ErrFull) {
		t.Fatal(err)
	}
	if n, err := j.DropBefore(j.End()); err != nil || n == 0 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	mustAppend(t, j, []byte("goes on"))
}

// The name of the next segment may be in the directory although beginning it failed. What is then
// added to the old segment would be cut off by that name; so nothing may be, not even if it fits.
func TestBeginFailsAfterRename(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.SyncDir, faultfs.Rename, faultfs.Datasync, faultfs.Create, faultfs.Allocate} {
		fs := faultfs.New(journal.OS)
		cfg := journal.Config{Dir: t.TempDir(), FS: fs, SegmentBytes: 64 << 10} // so large that none is prepared yet
		j := open(t, cfg)
		mustAppend(t, j, []byte("first"))
		fs.Inject(faultfs.Fault{Op: op, Times: 2, Path: func(p string) bool { return op != faultfs.Datasync || strings.HasSuffix(p, ".tmp") }})
		if _, err := j.Append([][]byte{make([]byte, 64<<10)}); err == nil {
			t.Fatalf("op %d: no error", op)
		}
		if _, err := j.Append([][]byte{[]byte("fits")}); err == nil {
			t.Fatalf("op %d: no error the second time", op)
		}
		mustAppend(t, j, []byte("second"))
		expect(t, j, "first", "second")
		mustClose(t, j)
		cfg.FS = nil
		expect(t, open(t, cfg), "first", "second")
	}
}

// A disk that does not answer holds up the Append, nobody else.
func TestFrozenDisk(t *testing.T) {
	fs := faultfs.New(journal.OS)
	j := open(t, journal.Config{Dir: t.TempDir(), FS: fs})
	mustAppend(t, j, []byte("before"))
	blocked := fs.Freeze()
	done := make(chan error)
	go func() {
		_, err := j.Append([][]byte{[]byte("slow")})
		done <- err
	}()
	<-blocked
	expect(t, j, "before")
	if got, err := j.Read(0, nil); err != nil || string(got) != "before" {
		t.Errorf("Read: %q, %v", got, err)
	}
	select {
	case err := <-done:
		t.Fatalf("Append returned %v from a frozen disk", err)
	default:
	}
	fs.Thaw()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	expect(t, j, "before", "slow")
}

// model is what the journal must hold, from its First on.
type model struct {
	at      []journal.Position // of all records ever confirmed
	records [][]byte
	first   journal.Position // what DropBefore, returning nil, has made First
	// maybe are Appends that a power cut interrupted, or that failed while the disk let the journal
	// neither erase them nor begin a segment: after a restart one of them may be there, wholly.
	maybe [][][]byte
}

// TestRandomOperations runs random operations with faults and power cuts against a model.
// JOURNAL_ROUNDS=1000 runs longer, JOURNAL_SEED repeats one round.
func TestRandomOperations(t *testing.T) {
	rounds := 20
	if s := os.Getenv("JOURNAL_ROUNDS"); s != "" {
		fmt.Sscan(s, &rounds)
	}
	seed := rand.Uint64()
	if s := os.Getenv("JOURNAL_SEED"); s != "" {
		fmt.Sscan(s, &seed)
		rounds = 1
	}
	for round := range rounds {
		seed := seed + uint64(round)
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { randomOperations(t, rand.New(rand.NewPCG(seed, 1))) }) {
			t.Fatalf("again with JOURNAL_SEED=%d", seed)
		}
	}
}

func randomOperations(t *testing.T, rng *rand.Rand) {
	fs := faultfs.New(journal.OS)
	cfg := journal.Config{
		Dir:          filepath.Join(t.TempDir(), "journal"),
		SegmentBytes: journal.MinSegmentBytes + rng.Int64N(16<<10),
		MaxRecord:    4000,
		FS:           fs,
	}
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }() // checked where it is part of the test
	var m model
	for range 60 {
		op := rng.IntN(14)
		t.Log("operation", op, "first", j.First(), "end", j.End())
		switch op {
		default:
			m.append(t, j, randomBatch(rng))
		case 7, 8:
			fault := faultfs.Fault{
				Op:    []faultfs.Op{faultfs.Write, faultfs.Datasync, faultfs.Truncate, faultfs.Rename, faultfs.SyncDir, faultfs.Create, faultfs.Allocate}[rng.IntN(7)],
				After: rng.IntN(3),
				Times: 1 + rng.IntN(3),
				Torn:  rng.IntN(2000),
				Drop:  rng.IntN(2) == 0,
			}
			if rng.IntN(2) == 0 {
				fault.Path = faultfs.Segments
			}
			fs.Inject(fault)
		case 9:
			fs.Heal()
			if rng.IntN(2) == 0 {
				fs.SetFree(rng.Int64N(40 << 10))
			}
		case 10:
			pos := j.First() + journal.Position(rng.Int64N(int64(j.End()-j.First())+1))
			_, err := j.DropBefore(pos)
			if err == nil && j.First() > pos {
				t.Fatalf("DropBefore(%d) dropped up to %d", pos, j.First())
			}
			if err == nil {
				m.first = j.First()
			}
		case 11:
			dir := filepath.Join(t.TempDir(), "snapshot")
			end, err := j.Snapshot(dir)
			if err != nil {
				break // a fault hit it
			}
			if end != j.End() {
				t.Fatalf("snapshot ends at %d, the journal at %d", end, j.End())
			}
			copied := open(t, journal.Config{Dir: dir})
			m.check(t, copied)
			if copied.First() != j.First() {
				t.Fatalf("snapshot begins at %d, the journal at %d", copied.First(), j.First())
			}
			mustClose(t, copied)
		case 12:
			if err := j.Close(); err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			j, fs = m.reopen(t, cfg)
		case 13:
			if rng.IntN(2) == 0 {
				// The power goes while an Append is under way.
				fs.Heal()
				batch := randomBatch(rng)
				m.maybe = append(m.maybe, batch)
				blocked := fs.Freeze([]faultfs.Op{faultfs.Write, faultfs.Datasync}[rng.IntN(2)])
				done := make(chan bool)
				go func() {
					_, err := j.Append(batch)
					done <- err == nil
				}()
				<-blocked
				if err := fs.Crash(rng); err != nil {
					t.Fatal(err)
				}
				if <-done {
					t.Fatal("an Append that the power cut interrupted returned nil")
				}
			} else if err := fs.Crash(rng); err != nil {
				t.Fatal(err)
			}
			_ = j.Close() // its file system is gone
			j, fs = m.reopen(t, cfg)
		}
		m.check(t, j)
	}
}

func randomBatch(rng *rand.Rand) [][]byte {
	batch := make([][]byte, 1+rng.IntN(12))
	for i := range batch {
		batch[i] = make([]byte, 1+rng.IntN(700))
		if rng.IntN(30) == 0 {
			batch[i] = make([]byte, 4000)
		}
		for k := range batch[i] {
			batch[i][k] = byte(rng.Uint32() & (rng.Uint32() >> 8)) // many zeros
		}
	}
	return batch
}

func (m *model) append(t *testing.T, j *journal.Journal, batch [][]byte) {
	t.Helper()
	end := j.End()
	at, err := j.Append(batch)
	if err != nil {
		if j.End() != end {
			t.Fatalf("End moved from %d to %d with %v", end, j.End(), err)
		}
		switch {
		case strings.Contains(err.Error(), "not erased"):
			m.maybe = [][][]byte{batch}
		case strings.Contains(err.Error(), "begin a segment"): // nothing was written
		default:
			m.maybe = nil
		}
		return
	}
	if at[0] != end {
		t.Fatalf("appended at %d, End was %d", at[0], end)
	}
	m.maybe = nil
	m.at = append(m.at, at...)
	m.records = append(m.records, batch...)
}

// kept is what of the model the journal has not dropped.
func (m *model) kept(j *journal.Journal) ([]journal.Position, [][]byte) {
	n, _ := slices.BinarySearch(m.at, j.First())
	return m.at[n:], m.records[n:]
}

// reopen opens the journal on a healthy disk.
func (m *model) reopen(t *testing.T, cfg journal.Config) (*journal.Journal, *faultfs.FS) {
	t.Helper()
	fs := faultfs.New(journal.OS)
	cfg.FS = fs
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	at, records := all(t, j)
	if wantAt, _ := m.kept(j); len(at) > len(wantAt) {
		at, records = at[len(wantAt):], records[len(wantAt):]
		for _, batch := range m.maybe {
			if slices.EqualFunc(records, batch, bytes.Equal) {
				m.at, m.records = append(m.at, at...), append(m.records, records...)
				break
			}
		}
	}
	m.maybe = nil
	return j, fs
}

func (m *model) check(t *testing.T, j *journal.Journal) {
	t.Helper()
	at, records := all(t, j)
	wantAt, wantRecords := m.kept(j)
	if !slices.Equal(at, wantAt) || !slices.EqualFunc(records, wantRecords, bytes.Equal) {
		t.Fatalf("the journal has %d records, the model %d", len(records), len(wantRecords))
	}
	var buf []byte
	for i, pos := range at {
		got, err := j.Read(pos, buf)
		if err != nil || !bytes.Equal(got, records[i]) {
			t.Fatalf("Read(%d): %v", pos, err)
		}
		buf = got
	}
	if _, err := j.Read(j.End(), nil); !errors.Is(err, journal.ErrEnd) {
		t.Fatalf("Read(End): %v", err)
	}
	first := j.First()
	if first < m.first {
		t.Fatalf("First is %d, DropBefore had made it %d", first, m.first)
	}
	if first > 0 {
		if _, err := j.Read(first-1, nil); !errors.Is(err, journal.ErrTrimmed) {
			t.Fatalf("Read before First: %v", err)
		}
	}
}
