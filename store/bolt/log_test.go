package bolt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
	"github.com/hwangso/hwangso/store/journal/faultfs"
	"github.com/hwangso/hwangso/store/storetest"
)

// opener opens stores for a suite with a configuration whose Dir it fills in.
func opener(cfg Config) storetest.OpenStore {
	return func(t testing.TB, dir string) store.Store {
		t.Helper()
		cfg := cfg
		cfg.Dir, cfg.MinFree = dir, -1
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestLog(t *testing.T) { storetest.Log(t, opener(Config{})) }

// With no tail in memory, a checkpoint after every few records and small segments every other way is taken.
func TestLogCold(t *testing.T) {
	storetest.Log(t, opener(Config{CacheBytes: -1, CheckpointRecords: 30, SegmentBytes: 32 << 10}))
}

func TestFollowers(t *testing.T) {
	storetest.Followers(t, func(t testing.TB, dir string) storetest.FollowersStore {
		return testStore(t, Config{Dir: dir}, 0)
	})
}

// A check of the files finds nothing in a thread whose members came and went.
func TestCheckThread(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir}, 3)
	info, _, err := s.Open(t.Context(), store.ThreadKey(1, "cafe"), store.Creation{Members: []store.Member{
		{Account: 1, Role: store.RoleMember}, {Account: 2, Role: store.RoleMember}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []store.Draft{
		{Sender: 1, Text: []byte("one")}, {Change: store.Change{Kind: store.ChangeClose, Account: 1}}, {Sender: 2, Text: []byte("two")},
		{Change: store.Change{Kind: store.ChangeOpen, Account: 3}}, {Sender: 3, Text: []byte("three")},
	} {
		d.Log = info.ID
		if _, err := s.Append(d).Result(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, rebuild := range []bool{false, true, false} {
		if _, err := Check(t.Context(), dir, CheckOptions{Rebuild: rebuild, Finding: func(line string) { t.Error(line) }}); err != nil {
			t.Fatal(err)
		}
	}
}

// With next to no log kept in memory every use loads it from the index.
func TestLogEvicted(t *testing.T) {
	open := opener(Config{CacheBytes: -1, CheckpointRecords: 100, SegmentBytes: 32 << 10})
	storetest.Log(t, func(t testing.TB, dir string) store.Store {
		s := open(t, dir).(*Store)
		s.states.limit = 0
		return s
	})
}

// Devices that idle are dropped from memory and known again from the index.
func TestIdleDevices(t *testing.T) {
	s := testStore(t, Config{Dir: t.TempDir()}, 3)
	info := testPair(t, s, 1, 2)
	say := func(cid string) store.Receipt {
		t.Helper()
		r, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Device: 7, CID: cid, PacketID: 3, Text: []byte("x")}).Result()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	say("a")
	later := s.logs.now().Add(deviceIdle + time.Second)
	if left := s.devices.sweep(later); left != 1 {
		t.Fatal("a device that is not in the index is dropped")
	}
	if err := s.writeCheckpoint(); err != nil {
		t.Fatal(err)
	}
	if left := s.devices.sweep(s.logs.now().Add(-deviceIdle)); left != 1 {
		t.Fatal("a device in use is dropped")
	}
	if left := s.devices.sweep(later); left != 0 {
		t.Fatal("an idle device stays")
	}
	if r := say("b"); !r.Repeated || r.Seq != 1 { // its packet identifier
		t.Fatalf("%+v", r)
	}
}

// A power cut loses what was not synced and nothing else.
func TestPowerCut(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 5 {
		dir := t.TempDir()
		disk := faultfs.New(journal.OS)
		s, err := Open(Config{Dir: dir, MinFree: -1, FS: disk, SegmentBytes: 32 << 10, CheckpointRecords: 50})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateAccount(context.Background(), store.Account{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		info, _, err := s.Open(context.Background(), store.PairKey(1, 1), store.Creation{By: 1, Members: []store.Member{{Account: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		acked := rng.IntN(300)
		for i := range acked {
			if _, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Text: fmt.Append(nil, i)}).Result(); err != nil {
				t.Fatal(err)
			}
		}
		blocked := disk.Freeze(faultfs.Datasync)
		var open []*store.Pending
		for i := range rng.IntN(20) + 1 {
			open = append(open, s.Append(store.Draft{Log: info.ID, Sender: 1, Text: fmt.Append(nil, acked+i)}))
		}
		<-blocked
		if err := disk.Crash(rng); err != nil {
			t.Fatal(err)
		}
		for _, p := range open {
			if _, err := p.Result(); err == nil {
				t.Fatal("acknowledged without power")
			}
		}
		_ = s.Close() // may fail or not: there is no power
		r := testStore(t, Config{Dir: dir}, 0)
		p, err := r.Read(store.Query{Log: info.ID, Viewer: 1, Max: 1000})
		if err != nil || len(p.Records) < acked || len(p.Records) > acked+len(open) {
			t.Fatalf("%d of %d to %d: %v", len(p.Records), acked, acked+len(open), err)
		}
		for i, rec := range p.Records {
			if rec.Seq != store.Seq(i+1) || string(rec.Text) != fmt.Sprint(i) {
				t.Fatalf("%+v", rec)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		checkDir(t, dir, false)
	}
}

// Who asks for a number just before it is given to a new log must not put what the index says in the log's place.
func TestPinBesideCreation(t *testing.T) {
	s := testStore(t, Config{Dir: t.TempDir()}, 1)
	key := store.RoomKey("r")
	if _, err := s.Find(key); store.CodeOf(err) != store.CodeNotFound { // from now on it is known that there is none
		t.Fatal(err)
	}
	id := store.LogID(s.nextLog.Load())
	s.ix.swap.Lock() // holds up who reads the index, but not who writes it
	asked := make(chan error)
	go func() {
		_, err := s.Info(id)
		asked <- err
	}()
	for sh := s.states.shard(id); sh.load.TryLock(); { // until it reads
		sh.load.Unlock()
		runtime.Gosched()
	}
	time.Sleep(10 * time.Millisecond) // and has looked into memory
	info, made, err := s.Open(t.Context(), key, store.Creation{By: 1, Members: []store.Member{{Account: 1}}})
	if err != nil || !made || info.ID != id {
		t.Fatal(info, made, err)
	}
	if err := s.writeCheckpoint(); err != nil {
		t.Fatal(err)
	}
	say := func() store.Seq {
		r, err := s.Append(store.Draft{Log: id, Sender: 1}).Result()
		if err != nil {
			t.Fatal(err)
		}
		return r.Seq
	}
	first := say()
	s.ix.swap.Unlock()
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	if second := say(); first != 1 || second != 2 {
		t.Fatalf("two messages have the numbers %d and %d", first, second)
	}
}
