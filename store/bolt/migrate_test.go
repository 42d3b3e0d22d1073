package bolt

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// Data directories of every format that was ever released, with what must be read from them. To write the one of the
// format of today: HWANGSO_TEST_FIXTURE=write go test -run TestFixtures ./store/bolt
func TestFixtures(t *testing.T) {
	if os.Getenv("HWANGSO_TEST_FIXTURE") == "write" {
		writeFixture(t)
	}
	for v := 1; v <= dataFormat; v++ {
		t.Run(fmt.Sprint("format ", v), func(t *testing.T) {
			dir := t.TempDir()
			untar(t, fmt.Sprintf("testdata/format%d.tar.gz", v), dir)
			want, err := os.ReadFile(fmt.Sprintf("testdata/format%d.txt", v))
			if err != nil {
				t.Fatal(err)
			}
			s := testStore(t, Config{Dir: dir}, 0)
			refs, err := s.LogsOf(1, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			var ids []store.LogID
			for _, r := range refs {
				ids = append(ids, r.ID)
			}
			sameLines(t, dumpLogs(t, s, ids), strings.Split(strings.TrimSuffix(string(want), "\n"), "\n"))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			checkDir(t, dir, false)
			checkDir(t, dir, true)
		})
	}
}

func writeFixture(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir, SegmentBytes: 16 << 10}, 4)
	ids := append(fill(t, s, 3, 200), fillPair(t, s))
	want := dumpLogs(t, s, ids)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, fileIndex)); err != nil { // derived, and by far the largest
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("testdata/format%d", dataFormat)
	if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(name+".tar.gz", b.Bytes(), 0o644),
		os.WriteFile(name+".txt", []byte(strings.Join(want, "\n")+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func untar(t *testing.T, path, dir string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, h.Name)
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(to, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(to), 0o700); err == nil {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(to, b, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestMigrate(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir}, 3)
	info := testPair(t, s, 1, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := readFormat(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.version = 1
	if err := writeFormat(dir, f); err != nil {
		t.Fatal(err)
	}
	ran := ""
	broken := errors.New("cut short")
	steps := []migration{
		func(string) error { ran += "1"; return nil },
		func(string) error { ran += "2"; return broken },
	}
	if f, err = migrate(dir, f, steps); !errors.Is(err, broken) || f.version != 2 {
		t.Fatal(f, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, fileFormat))
	if err != nil || !strings.Contains(string(b), "hwangso-data 2\n") {
		t.Fatal(string(b), err)
	}
	steps[1] = func(string) error { ran += "3"; return nil }
	if f, err = migrate(dir, f, steps); err != nil || f.version != 3 || ran != "123" {
		t.Fatal(f, err, ran)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrFormat) {
		t.Fatal("data of a newer format is opened: ", err)
	}
	// What was there before can be restored.
	target := filepath.Join(t.TempDir(), "x")
	if err := Restore(t.Context(), backupOf(dir, 1), target, filepath.Join(dir, "keys", "master.key")); err != nil {
		t.Fatal(err)
	}
	r := testStore(t, Config{Dir: target, KeyFile: filepath.Join(dir, "keys", "master.key")}, 0)
	if got, err := r.Find(store.PairKey(1, 2)); err != nil || got.ID != info.ID {
		t.Fatal(got, err)
	}
	if _, err := os.Stat(filepath.Join(backupOf(dir, 2), fileManifest)); errors.Is(err, fs.ErrNotExist) {
		t.Fatal("no backup before the second step")
	}
}
