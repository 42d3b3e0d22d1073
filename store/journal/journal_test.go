package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// open opens a journal for a test and closes it at the end.
func open(t testing.TB, cfg Config) *Journal {
	t.Helper()
	j, err := Open(cfg)
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

func mustAppend(t testing.TB, j *Journal, records ...[]byte) []Position {
	t.Helper()
	p, err := j.Append(records)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// all reads everything from First on.
func all(t testing.TB, j *Journal) (positions []Position, records [][]byte) {
	t.Helper()
	want := j.First()
	err := j.Scan(want, func(pos, next Position, record []byte) error {
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
	cfg := Config{Dir: filepath.Join(t.TempDir(), "j"), SegmentBytes: minSegmentBytes}
	j := open(t, cfg)
	var want [][]byte
	var at []Position
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
		if _, err := j.Read(j.End(), nil); !errors.Is(err, ErrEnd) {
			t.Fatalf("Read(End) = %v", err)
		}
	}
	check()
	end := j.End()
	mustClose(t, j)
	if _, err := j.Read(0, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("Read after Close: %v", err)
	}
	if _, err := j.Append([][]byte{{1}}); !errors.Is(err, ErrClosed) {
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
		info, err := os.Stat(filepath.Join(cfg.Dir, segmentName(s.Base)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Fatalf("%s has mode %v", info.Name(), info.Mode())
		}
	}
}
