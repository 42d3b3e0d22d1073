package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// dump is everything in a file.
func dump(t testing.TB, db *bbolt.DB) (out []byte) {
	t.Helper()
	if err := db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			out = fmt.Appendf(out, "%s %d\n", name, b.Sequence())
			return b.ForEach(func(k, v []byte) error {
				out = fmt.Appendf(out, "%x %x\n", k, v)
				return nil
			})
		})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func dumpFile(t testing.TB, path string) []byte {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // only read
	return dump(t, db)
}

// A copy made while the file changes is one of the states the file went through: the one at the last commit before
// the end of the copy. Each change writes the same number to two buckets, so that a torn copy shows.
func TestCopyWhileChanging(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	names := [][]byte{[]byte("a"), []byte("z")}
	f, err := openBoltFile(filepath.Join(dir, "file"), "test", names...)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // closed below
	number := uint64(0)
	write := func(rnd *rand.Rand) error {
		return f.update(context.Background(), func(w *writeTx) error {
			number++
			value := append(key64(number), make([]byte, 100)...)
			at, remove := key64(rnd.Uint64N(20_000)), rnd.IntN(3) == 0
			for _, n := range names {
				b := w.bucket(n)
				if err := b.put(key64(1<<63), key64(number)); err != nil { // the newest
					return err
				}
				if remove {
					if err := b.delete(at); err != nil {
						return err
					}
					continue
				}
				if err := b.put(at, value); err != nil {
					return err
				}
			}
			return w.bucket(names[0]).SetSequence(number)
		}, nil)
	}
	if err := f.update(t.Context(), func(w *writeTx) error {
		for i := range uint64(20_000) {
			for _, n := range names {
				if err := w.bucket(n).put(key64(i), make([]byte, 100)); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, i))
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := write(rnd); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	slices := 0
	path := filepath.Join(dir, "copy")
	err = copyBolt(t.Context(), f, path, func(context.Context, int) error { slices++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	close(stop)
	wg.Wait()
	c, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // only read
	var a, z []byte
	if err := c.View(func(tx *bbolt.Tx) error {
		return errors.Join(
			tx.Bucket(names[0]).ForEach(func(k, v []byte) error { a = fmt.Appendf(a, "%x%x\n", k, v); return nil }),
			tx.Bucket(names[1]).ForEach(func(k, v []byte) error { z = fmt.Appendf(z, "%x%x\n", k, v); return nil }),
		)
	}); err != nil {
		t.Fatal(err)
	}
	if len(a) == 0 || !bytes.Equal(a, z) {
		t.Fatal("the buckets of the copy are of different moments")
	}
	t.Logf("%d slices, %d changes", slices, number)
	if f.touched != nil {
		t.Fatal("changes are still noted")
	}
}

func TestCopyOfBothFiles(t *testing.T) {
	dir := t.TempDir()
	d := testDirectory(t, dir, directoryOptions{})
	s := testSessions(t, dir, sessionsOptions{})
	for i := range 50 {
		a, err := d.CreateAccount(t.Context(), store.Account{Name: fmt.Sprintf("u%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SaveSession(t.Context(), benchSession(int(a.ID))); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []*boltFile{d.file, s.file} {
		path := filepath.Join(dir, "copy of "+f.what)
		if err := copyBolt(t.Context(), f, path, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(dump(t, f.db), dumpFile(t, path)) {
			t.Fatalf("%s: the copy differs", f.what)
		}
		if err := copyBolt(t.Context(), f, path, nil); err == nil {
			t.Fatal("a file was overwritten")
		}
	}
}

func TestCopyGivenUp(t *testing.T) {
	dir := t.TempDir()
	d := testDirectory(t, dir, directoryOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	path := filepath.Join(dir, "copy")
	err := copyBolt(ctx, d.file, path, func(context.Context, int) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("something is left: %v", err)
	}
	if err := copyBolt(t.Context(), d.file, path, nil); err != nil { // another try works
		t.Fatal(err)
	}
}
