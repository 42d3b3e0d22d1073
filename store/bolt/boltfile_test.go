package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

var testBucket = []byte("rows")

func testFile(t testing.TB, path string) *boltFile {
	t.Helper()
	f, err := openBoltFile(path, "test", testBucket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func putRow(f *boltFile, key, value string) error {
	return f.update(context.Background(), func(w *writeTx) error { return w.bucket(testBucket).put([]byte(key), []byte(value)) }, nil)
}

func getRow(t testing.TB, f *boltFile, key string) (value string) {
	t.Helper()
	if err := f.view(func(tx *bbolt.Tx) error { value = string(tx.Bucket(testBucket).Get([]byte(key))); return nil }); err != nil {
		t.Fatal(err)
	}
	return value
}

// hold keeps the file's writer busy until the returned function is called, so that what comes shares one commit.
func hold(t testing.TB, f *boltFile) (release func()) {
	t.Helper()
	free, held := make(chan struct{}), make(chan struct{})
	c := &change{done: make(chan struct{}), committed: func(error) { close(held); <-free }}
	if err := f.submit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	<-held
	return func() { close(free); <-c.done }
}

// queued waits until n changes wait.
func queued(f *boltFile, n int) {
	for {
		f.mu.Lock()
		have := len(f.queue)
		f.mu.Unlock()
		if have == n {
			return
		}
	}
}

func TestChangesShareACommit(t *testing.T) {
	f := testFile(t, filepath.Join(t.TempDir(), "f"))
	release := hold(t, f)
	before := f.db.Stats().TxStats
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := putRow(f, fmt.Sprint(i), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	queued(f, 50)
	release()
	wg.Wait()
	after := f.db.Stats().TxStats
	if n := after.GetWrite() - before.GetWrite(); n > 4 { // a handful of pages, written once
		t.Fatalf("%d writes for 50 changes that came together", n)
	}
}

// A change that breaks in the middle of its writes leaves no trace, and the ones that share its commit are stored.
func TestBrokenChange(t *testing.T) {
	f := testFile(t, filepath.Join(t.TempDir(), "f"))
	release := hold(t, f)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := f.update(context.Background(), func(w *writeTx) error {
				b := w.bucket(testBucket)
				if err := b.put([]byte(fmt.Sprint(i)), []byte("x")); err != nil {
					return err
				}
				if i%5 == 0 {
					return b.put(nil, nil)
				}
				return nil
			}, nil)
			want := store.Code(0)
			if i%5 == 0 {
				want = store.CodeInternal
			}
			if store.CodeOf(err) != want {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	queued(f, 20)
	release()
	wg.Wait()
	for i := range 20 {
		if stored := getRow(t, f, fmt.Sprint(i)) != ""; stored != (i%5 != 0) {
			t.Errorf("row %d stored: %v", i, stored)
		}
	}
}

// When a commit fails, everybody in it is told, nothing of it is seen, and the file works again when the cause is gone.
func TestCommitFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f := testFile(t, path)
	if err := putRow(f, "kept", "x"); err != nil {
		t.Fatal(err)
	}
	release := hold(t, f)
	f.db.MaxSize = 1 // no growth
	large := strings.Repeat("x", 1<<20)
	told := false
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			if err := putRow(f, fmt.Sprint(i), large); store.CodeOf(err) != store.CodeUnavailable {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Go(func() {
		err := f.update(context.Background(), func(w *writeTx) error { return store.ErrConflict }, func(err error) { told = true })
		if !errors.Is(err, store.ErrConflict) { // the refusal stays what it was
			t.Errorf("got %v", err)
		}
	})
	queued(f, 4)
	release()
	wg.Wait()
	if !told || getRow(t, f, "0") != "" || getRow(t, f, "kept") != "x" {
		t.Fatal("a failed commit left a trace")
	}
	hold(t, f)()
	f.db.MaxSize = 0
	if err := putRow(f, "0", large); err != nil {
		t.Fatal(err)
	}
}

func TestContextEndsWhileWaiting(t *testing.T) {
	f := testFile(t, filepath.Join(t.TempDir(), "f"))
	release := hold(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		result <- f.update(ctx, func(w *writeTx) error { return w.bucket(testBucket).put([]byte("k"), []byte("v")) }, nil)
	}()
	queued(f, 1)
	cancel()
	if err := <-result; store.CodeOf(err) != store.CodeUnknown || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	release()
	if err := f.between(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	if getRow(t, f, "k") != "v" {
		t.Fatal("a change that was under way is lost")
	}
}

// Beyond the queue's size callers wait for a place, and give up with nothing applied.
func TestQueueFull(t *testing.T) {
	f := testFile(t, filepath.Join(t.TempDir(), "f"))
	release := hold(t, f)
	for range fileWaiting - 1 {
		if err := f.submit(t.Context(), &change{done: make(chan struct{}), apply: func(w *writeTx) error { return nil }}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- f.update(ctx, func(w *writeTx) error { return nil }, nil) }()
	cancel()
	if err := <-result; store.CodeOf(err) != store.CodeUnavailable {
		t.Fatalf("got %v", err)
	}
	release()
	if err := putRow(f, "k", "v"); err != nil {
		t.Fatal(err)
	}
}

func TestCloseCommitsWhatWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := openBoltFile(path, "test", testBucket)
	if err != nil {
		t.Fatal(err)
	}
	release := hold(t, f)
	result := make(chan error)
	go func() { result <- putRow(f, "k", "v") }()
	queued(f, 1)
	closed := make(chan error)
	go func() { closed <- f.Close() }()
	release()
	if err := errors.Join(<-result, <-closed, f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := putRow(f, "k", "w"); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if v := getRow(t, testFile(t, path), "k"); v != "v" {
		t.Fatalf("got %q", v)
	}
}

func TestOpenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	testFile(t, path)
	if _, err := openBoltFile(path, "test", testBucket); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("got %v", err)
	}
}
