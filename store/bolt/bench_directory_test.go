package bolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// perSecond spreads b.N calls over some callers and reports how many were done in a second.
func perSecond(b *testing.B, callers int, fn func(i int) error) {
	b.Helper()
	b.ResetTimer()
	perSecondN(b, b.N, callers, fn)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
}

func perSecondN(b *testing.B, n, callers int, fn func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkSetEdge is a durable change, alone and with a hundred callers.
func BenchmarkSetEdge(b *testing.B) {
	for _, callers := range []int{1, 100} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := testDirectory(b, b.TempDir(), directoryOptions{})
			const n = 1000
			fillAccounts(b, d, n)
			perSecond(b, callers, func(i int) error {
				from := store.AccountID(i%n + 1)
				to := from%n + 1
				_, err := d.SetEdge(context.Background(), store.EdgeBlock, from, to, i/n%2 == 0, 0)
				return err
			})
		})
	}
}

func BenchmarkCreateAccount(b *testing.B) {
	for _, callers := range []int{1, 100} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := testDirectory(b, b.TempDir(), directoryOptions{})
			perSecond(b, callers, func(i int) error {
				_, err := d.CreateAccount(context.Background(), store.Account{Name: fmt.Sprintf("u%d", i)})
				return err
			})
		})
	}
}

func fillAccounts(b *testing.B, d *directory, n int) {
	b.Helper()
	perSecondN(b, n, 500, func(i int) error {
		_, err := d.CreateAccount(context.Background(), store.Account{Name: fmt.Sprintf("u%d", i)})
		return err
	})
}

// BenchmarkDirectoryReads is what is asked per message, among 200,000 users with 65 friends each (or as many as
// HWANGSO_BENCH_USERS says): from the caches, and with caches far too small.
func BenchmarkDirectoryReads(b *testing.B) {
	users := 200_000
	if n, err := strconv.Atoi(os.Getenv("HWANGSO_BENCH_USERS")); err == nil {
		users = n
	}
	dir := b.TempDir()
	if err := Load(context.Background(), Config{Dir: dir, MinFree: -1}, Seed{Users: users, Friends: 65, Password: "p"}, nil); err != nil {
		b.Fatal(err)
	}
	d := testDirectoryFile(b, filepath.Join(dir, fileDirectory), directoryOptions{})
	tiny := directoryOptions{CacheBytes: 1}
	names := make([]string, users)
	for i := range names {
		names[i] = seedUser(i)
	}
	run := func(name string, among int, d *directory) {
		b.Run(name+"/AccountByName", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := d.AccountByName(names[i*7919%among]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/HasEdge", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				u := i * 7919 % among
				has, err := d.HasEdge(store.EdgeFriend, store.AccountID(u+1), store.AccountID((u+20)%users+1))
				if err != nil || !has {
					b.Fatal(has, err)
				}
			}
		})
	}
	run("cached", 10_000, d)
	run("working set of all", users, d)
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	run("uncached", users, testDirectoryFile(b, filepath.Join(dir, fileDirectory), tiny))
}
