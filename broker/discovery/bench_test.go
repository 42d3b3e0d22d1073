package discovery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// TestSyncFigures measures what address books cost: HWANGSO_TEST_CONTACTS says how many users sync 500 contacts each, of
// which a third are users.
func TestSyncFigures(t *testing.T) {
	users, err := strconv.Atoi(os.Getenv("HWANGSO_TEST_CONTACTS"))
	if err != nil || users < 100 {
		t.Skip("HWANGSO_TEST_CONTACTS is not set")
	}
	const contacts = 500
	w := newWorld(t, func(c *Config) { c.Limits.Prefix = 1 << 30; c.Limits.Accounts = 1 << 30 })
	people := w.users(users)
	for _, p := range people {
		w.discovery(p, graph.DiscoveryMutual)
	}
	r := rand.New(rand.NewPCG(1, 2))
	books := make([][]string, users)
	for i := range books {
		for k := range contacts {
			n := r.IntN(users)
			if k%3 != 0 {
				n = users + r.IntN(80_000_000-users)
			}
			books[i] = append(books[i], num(n))
		}
	}
	size := func() (n int64) {
		files, err := filepath.Glob(filepath.Join(w.dir, "*"))
		w.must(err)
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
				n += info.Size()
			}
		}
		return n
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	files, memory := size(), heap()

	began := time.Now()
	const alone = 50
	for i := range alone {
		w.sync(Request{Account: people[i], Address: network(i), Region: "KR", Numbers: books[i]})
	}
	one := time.Since(began)
	began = time.Now()
	var next atomic.Int64
	next.Store(alone)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < users; i = int(next.Add(1)) - 1 {
				if _, err := w.d.Sync(context.Background(), Request{Account: people[i], Address: network(i), Region: "KR", Numbers: books[i]}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	many := time.Since(began)
	w.settle()
	settled := time.Since(began)
	t.Logf("full sync of %d contacts: alone %v each, %.0f numbers/s; 64 at once %.0f numbers/s; with the index and notices %.0f numbers/s", contacts,
		(one / alone).Round(time.Microsecond), alone*contacts/one.Seconds(), float64(contacts*(users-alone))/many.Seconds(), float64(contacts*(users-alone))/settled.Seconds())

	perUser := func(table store.Table) float64 {
		var n int
		var owner store.Owner
		for key := ""; ; {
			rows, err := w.store.AllRows(table, owner, key, 1000)
			w.must(err)
			for _, r := range rows {
				n += len(table) + len(r.Owner) + len(r.Key) + len(r.Value)
				owner, key = r.Owner, r.Key
			}
			if len(rows) == 0 {
				return float64(n) / float64(users)
			}
		}
	}
	t.Logf("bytes per user: book %.0f, account %.0f, waiting %.0f; files grew by %.0f", perUser(tableBook), perUser(tableAccount), perUser(tableWaiting),
		float64(size()-files)/float64(users))
	t.Logf("heap per user: %.0f bytes, the store's caches included", float64(int64(heap())-int64(memory))/float64(users))

	began = time.Now()
	again := min(users, 500)
	for i := range again {
		w.sync(Request{Account: people[i], Address: network(i), Region: "KR", Numbers: books[i]})
	}
	t.Logf("the same again: %v each", (time.Since(began) / time.Duration(again)).Round(time.Microsecond))

	began = time.Now()
	const joins = 500
	var found int
	for i := range joins {
		list, err := w.d.waiting.find(shortOf(w.hash(users + i)))
		w.must(err)
		found += len(list)
	}
	t.Logf("who waits for a number: %v, of %d records", (time.Since(began) / joins).Round(time.Microsecond), int(perUser(tableWaiting))*users/waitRecord)
	_ = found
}

// BenchmarkSync is a full sync of 500 contacts, a third of which are users.
func BenchmarkSync(b *testing.B) {
	w := newWorld(b, func(c *Config) { c.Limits.Prefix = 1 << 30; c.Limits.First = 1 << 30; c.Limits.FirstDay = 1 << 30 })
	w.users(1000)
	var numbers []string
	for k := range 500 {
		n := k * 2
		if k%3 != 0 {
			n += 10_000
		}
		numbers = append(numbers, num(n))
	}
	n := 0
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		u := w.user(fmt.Sprint("b", n), 50_000+n)
		n++
		b.StartTimer()
		w.sync(Request{Account: u, Region: "KR", Numbers: numbers})
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "numbers/s")
}

// BenchmarkLookup is a look-up of somebody tied, which is what most are.
func BenchmarkLookup(b *testing.B) {
	w := newWorld(b)
	alice, bob := w.user("alice", 1), w.user("bob", 2)
	_, err := w.store.SetEdge(context.Background(), store.EdgeFriend, alice, bob, true, 0)
	w.must(err)
	for b.Loop() {
		if _, err := w.d.Lookup(context.Background(), alice, "bob"); err != nil {
			b.Fatal(err)
		}
	}
}
