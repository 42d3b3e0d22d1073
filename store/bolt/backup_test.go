package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

func TestBackupRestore(t *testing.T) {
	ctx := context.Background()
	key := filepath.Join(t.TempDir(), "k", "master.key")
	cfg := Config{Dir: t.TempDir(), KeyFile: key, SegmentBytes: 64 << 10, CheckpointRecords: 300}
	s := testStore(t, cfg, 4)
	ids := fill(t, s, 4, 900)
	want := dumpLogs(t, s, ids)
	if err := s.SaveSession(ctx, &store.Session{Account: 1, Device: 4, Present: true, Epoch: s.Epoch(), Cursors: map[store.LogID]store.Cursor{
		ids[0]: {Below: 9, From: 9, Acked: 9}, ids[1]: {Below: 1 << 40, From: 1 << 40, Acked: 1 << 40}}}); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	stop := make(chan struct{})
	var load sync.WaitGroup
	live, _, err := s.Open(ctx, store.RoomKey("busy"), store.Creation{By: 1, Members: []store.Member{{Account: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	load.Go(func() { // the server goes on meanwhile
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_, err = s.Append(store.Draft{Log: live.ID, Sender: 1, Text: fmt.Append(nil, i)}).Result()
			if err == nil && i%10 == 0 {
				_, err = s.CreateAccount(ctx, store.Account{Name: fmt.Sprint("new", i)})
			}
		}
		t.Error(err)
	})
	err = s.Backup(ctx, backup)
	close(stop)
	load.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(ctx, backup); !errors.Is(err, fs.ErrExist) {
		t.Fatal("a backup is written over: ", err)
	}
	if err := filepath.WalkDir(backup, func(path string, d fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".key" {
			t.Errorf("the backup holds the key: %s", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	other := filepath.Join(t.TempDir(), "other.key")
	if err := createKey(other); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "restored")
	if err := Restore(ctx, backup, target, other); !errors.Is(err, ErrFormat) {
		t.Fatal("restored with another key: ", err)
	}
	if err := Restore(ctx, backup, cfg.Dir, key); !errors.Is(err, fs.ErrExist) {
		t.Fatal("restored over data: ", err)
	}
	if err := Restore(ctx, backup, target, key); err != nil {
		t.Fatal(err)
	}
	checkDir(t, target, false)
	r := testStore(t, Config{Dir: target, KeyFile: key}, 0)
	if r.Epoch() != s.Epoch()+1 {
		t.Fatal("the epoch is not raised")
	}
	sameLines(t, dumpLogs(t, r, ids), want)
	sess, err := r.LoadSession(1, 4)
	if err != nil {
		t.Fatal(err)
	}
	info, err := r.Info(ids[1])
	if err != nil {
		t.Fatal(err)
	}
	if c := sess.Cursors[ids[0]]; c.Acked != 9 {
		t.Fatalf("%+v", c)
	}
	if c := sess.Cursors[ids[1]]; c.Acked != info.Head {
		t.Fatalf("a cursor beyond the head: %+v, head %d", c, info.Head)
	}
	busy, err := r.Find(store.RoomKey("busy"))
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := r.Append(store.Draft{Log: busy.ID, Sender: 1, Text: []byte("x")}).Result()
	if err != nil || receipt.Seq != busy.Head+1 || receipt.Epoch != r.Epoch() {
		t.Fatal(receipt, err)
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	ctx := context.Background()
	cfg := Config{Dir: t.TempDir(), KeyFile: filepath.Join(t.TempDir(), "master.key")}
	s := testStore(t, cfg, 2)
	testPair(t, s, 1, 2)
	backup := t.TempDir()
	if err := s.Backup(ctx, backup); err != nil {
		t.Fatal(err)
	}
	restore := func() error { return Restore(ctx, backup, filepath.Join(t.TempDir(), "x"), cfg.KeyFile) }
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fileManifest, fileDirectory, fileState} {
		path := filepath.Join(backup, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{whole[:len(whole)-1], append([]byte{whole[0] ^ 1}, whole[1:]...), nil} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := restore(); !errors.Is(err, ErrBackup) {
				t.Fatalf("%s of %d bytes instead of %d: %v", name, len(b), len(whole), err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(manifest{{"a/b c", 7, fmt.Sprintf("%064d", 1)}}.encode())
	f.Add([]byte("hwangso-backup 1\nend 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		for _, e := range m {
			if !filepath.IsLocal(e.path) || e.size < 0 {
				t.Fatalf("%+v", e)
			}
		}
	})
}
