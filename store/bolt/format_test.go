package bolt

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/store"
)

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	testStore(t, Config{Dir: dir}, 0)
	_, err := Open(Config{Dir: dir})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Fatal(err)
	}
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	testStore(t, Config{Dir: dir}, 0)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "keys"): 0o700, filepath.Join(dir, "keys", "master.key"): 0o600,
		filepath.Join(dir, fileIndex): 0o600, filepath.Join(dir, fileFormat): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
}

func TestFormatRefused(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir}, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileFormat)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]string{
		"newer":     strings.Replace(string(good), "hwangso-data 2", "hwangso-data 3\nunknown 7", 1),
		"no store":  strings.Replace(string(good), "store ", "store 00", 1)[:20],
		"epoch 0":   strings.Replace(string(good), "epoch 1", "epoch 0", 1),
		"other key": strings.Replace(string(good), "key ", "key 0", 1),
		"empty":     "",
		"garbage":   "\x00\x01\x02",
	} {
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(Config{Dir: dir}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrFormat) {
		t.Errorf("a journal without FORMAT: %v", err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	testStore(t, Config{Dir: dir}, 0)
}

func TestConfigValidate(t *testing.T) {
	for _, c := range []Config{{}, {Dir: "x", MaxMessage: 1 << 30}, {Dir: "x", MinFree: 1}, {Dir: "x", CheckpointEvery: -1}} {
		if _, err := Open(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// Under MinFree appends are refused and reads go on; with space they go on by themselves.
func TestNearlyFull(t *testing.T) {
	var free atomic.Uint64
	free.Store(1000)
	told := make(lineSink, 10)
	s := testStore(t, Config{Dir: t.TempDir(), MinFree: 0.06, Logger: slog.New(slog.NewTextHandler(told, nil)),
		FreeSpace: func(string) (uint64, uint64, error) { return free.Load(), 1000, nil }}, 3)
	info := testPair(t, s, 1, 2)
	say := func() error {
		_, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Text: []byte("x")}).Result()
		return err
	}
	free.Store(50) // the keeper looks every second, at a moment of its own
	told.wait("disk nearly full")
	if err := say(); store.CodeOf(err) != store.CodeUnavailable || err.Error() != "disk nearly full" {
		t.Fatal(err)
	}
	if s.Healthy() == nil {
		t.Fatal("healthy")
	}
	if _, err := s.Read(store.Query{Log: info.ID, Viewer: 1}); err != nil {
		t.Fatal(err)
	}
	free.Store(60)
	told.wait("disk has space again")
	if err := say(); err != nil || s.Healthy() != nil {
		t.Fatal(err, s.Healthy())
	}
}

// lineSink is what a logger writes to, for who waits for a line.
type lineSink chan string

func (l lineSink) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func (l lineSink) wait(what string) {
	for !strings.Contains(<-l, what) {
	}
}

// A disk that works again is found out without an append.
func TestProbe(t *testing.T) {
	open := breakable(Config{})
	any, disk := open(t, t.TempDir())
	s := any.(*Store)
	defer s.Close() //nolint:errcheck // the test is over
	disk.FailSyncs()
	if _, _, err := s.Open(t.Context(), store.RoomKey("r"), store.Creation{}); err == nil {
		t.Fatal("stored")
	}
	if s.Healthy() == nil {
		t.Fatal("healthy")
	}
	_, end := s.Bounds() // before the disk is well: the keeper probes it every second, perhaps just now
	disk.Heal()
	s.probe()
	if _, err := s.Follow(t.Context(), end); err != nil || s.Healthy() != nil {
		t.Fatal(err, s.Healthy())
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	dir := t.TempDir()
	for range 2 { // a closed store leaves the registerer free
		s := testStore(t, Config{Dir: dir, Registerer: reg}, 2)
		testPair(t, s, 1, 2)
		families, err := reg.Gather()
		if err != nil || len(families) < 10 {
			t.Fatal(families, err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				if len(m.Label) != 0 {
					t.Errorf("%s has labels", f.GetName())
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
