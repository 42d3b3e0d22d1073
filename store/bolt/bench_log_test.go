//go:build unix

package bolt

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// BenchmarkAppend is the time per durable message of callers that wait for each of their messages; also CPU time of
// the whole process per message, which includes the callers.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 100, 500} {
		for _, cid := range []bool{false, true} {
			b.Run(fmt.Sprintf("callers=%d/cid=%v", callers, cid), func(b *testing.B) { benchmarkAppend(b, callers, cid) })
		}
	}
}

func benchmarkAppend(b *testing.B, callers int, cid bool) {
	s := testStore(b, Config{Dir: b.TempDir()}, callers+1)
	logs := make([]store.LogInfo, callers)
	for i := range logs {
		logs[i] = testPair(b, s, store.AccountID(i+1), store.AccountID(i+2))
	}
	text := make([]byte, 100)
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := c; i < b.N; i += callers {
				d := store.Draft{Log: logs[c].ID, Sender: store.AccountID(c + 1), Device: 9, Text: text, Need: store.RoleMember, Version: 1}
				if cid {
					d.CID = strconv.Itoa(i)
				}
				if _, err := s.Append(d).Result(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// cpuTime is user and system time of the process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// history fills logs round robin with messages of 100 bytes.
func history(b testing.TB, s *Store, logs, messages int) (ids []store.LogID) {
	b.Helper()
	for i := range logs {
		ids = append(ids, testPair(b, s, store.AccountID(i%50+1), store.AccountID(i%50+2+i/50)).ID)
	}
	text := make([]byte, 100)
	pending := make([]*store.Pending, 0, 4096)
	wait := func() {
		for _, p := range pending {
			if _, err := p.Result(); err != nil {
				b.Fatal(err)
			}
		}
		pending = pending[:0]
	}
	for i := range messages {
		pending = append(pending, s.Append(store.Draft{Log: ids[i%logs], Sender: store.AccountID(i%logs%50 + 1), Device: 1, Text: text}))
		if len(pending) == cap(pending) {
			wait()
		}
	}
	wait()
	return ids
}

// BenchmarkCatchUp is one reader of one log per record: from the tail in memory; from the page cache with the log's
// records side by side; from the page cache with those of a hundred logs between them.
func BenchmarkCatchUp(b *testing.B) {
	for _, c := range []struct {
		name  string
		logs  int
		cache int
	}{{"memory", 1, 256 << 20}, {"alone", 1, -1}, {"among100", 100, -1}} {
		b.Run(c.name, func(b *testing.B) {
			s := testStore(b, Config{Dir: b.TempDir(), CacheBytes: c.cache}, 60)
			const each = 5000
			ids := history(b, s, c.logs, each*c.logs)
			if err := s.writeCheckpoint(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				p, err := s.Read(store.Query{Log: ids[0], Viewer: 1, After: store.Seq(n % each)})
				if err != nil {
					b.Fatal(err)
				}
				n += len(p.Records)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkFollow is one follower per entry, from the journal and beside appenders.
func BenchmarkFollow(b *testing.B) {
	b.Run("journal", func(b *testing.B) {
		s := testStore(b, Config{Dir: b.TempDir(), CacheBytes: -1}, 60)
		history(b, s, 100, 200_000)
		b.ResetTimer()
		for n := 0; n < b.N; {
			for from := store.Position(0); n < b.N; {
				batch, err := s.Follow(context.Background(), from)
				if err != nil {
					b.Fatal(err)
				}
				n += len(batch.Entries)
				from = batch.Next
				if _, end := s.Bounds(); from == end {
					break
				}
			}
		}
	})
	b.Run("live", func(b *testing.B) {
		s := testStore(b, Config{Dir: b.TempDir()}, 60)
		_, from := s.Bounds()
		done := make(chan struct{})
		go func() {
			defer close(done)
			history(b, s, 100, b.N)
		}()
		for n := 0; n < b.N; {
			batch, err := s.Follow(context.Background(), from)
			if err != nil {
				b.Fatal(err)
			}
			for i := range batch.Entries {
				if r := batch.Entries[i].Record; r != nil {
					n++
				}
			}
			from = batch.Next
		}
		<-done
	})
}

// TestStart opens a store of HWANGSO_TEST_MESSAGES messages in HWANGSO_TEST_LOGS logs after a kill -9 with a cold page
// cache, and tells how long that took. It is skipped without HWANGSO_TEST_MESSAGES; HWANGSO_TEST_DIR keeps the store
// for another run.
func TestStart(t *testing.T) {
	messages, err := strconv.Atoi(os.Getenv("HWANGSO_TEST_MESSAGES"))
	if err != nil {
		t.Skip("HWANGSO_TEST_MESSAGES is not set")
	}
	logs, err := strconv.Atoi(os.Getenv("HWANGSO_TEST_LOGS"))
	if err != nil {
		logs = 10_000
	}
	dir := os.Getenv("HWANGSO_TEST_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	if _, err := os.Stat(dir + "/" + fileFormat); err != nil {
		s, err := Open(Config{Dir: dir, MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 + 2 + logs/50 {
			if _, err := s.CreateAccount(context.Background(), store.Account{Name: fmt.Sprintf("u%d", i)}); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		history(t, s, logs, messages)
		t.Logf("%d messages in %d logs written in %v", messages, logs, time.Since(began).Round(time.Millisecond))
		if os.Getenv("HWANGSO_TEST_DIR") != "" {
			t.Log("killing this process; run again to measure")
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Logf("the page cache is warm: %v", err)
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, cpu := time.Now(), cpuTime()
	s, err := Open(Config{Dir: dir, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	cpu = cpuTime() - cpu
	runtime.GC()
	runtime.ReadMemStats(&after)
	_, end := s.Bounds()
	t.Logf("opened in %v, %v CPU; journal %d MiB, heap grew by %d MiB", took.Round(time.Millisecond), cpu.Round(time.Millisecond), end>>20, (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>20)
	began = time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed in %v", time.Since(began).Round(time.Millisecond))
}
