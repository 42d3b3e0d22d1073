//go:build unix

package bolt

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// TestBeside tells how long commits take at 2,000 messages/s alone, beside a backup, and beside a reader that goes
// through a log from its beginning, in turns, over the store that TestStart left in HWANGSO_TEST_DIR. It is skipped
// without that.
func TestBeside(t *testing.T) {
	dir := os.Getenv("HWANGSO_TEST_DIR")
	if dir == "" {
		t.Skip("HWANGSO_TEST_DIR is not set")
	}
	s := testStore(t, Config{Dir: dir, CacheBytes: 1 << 20}, 0)
	t.Log(commitTimes(t, s, "alone"))
	for round := range 2 {
		target := filepath.Join(filepath.Dir(dir), fmt.Sprint("backup", os.Getpid(), round))
		began := time.Now()
		line := beside(t, s, "backup", func(<-chan struct{}) error { return s.Backup(t.Context(), target) })
		t.Log(line, " backup took at most ", time.Since(began).Round(time.Millisecond))
		if err := os.RemoveAll(target); err != nil {
			t.Fatal(err)
		}
		t.Log(commitTimes(t, s, "alone"))
		records := 0
		line = beside(t, s, "reader", func(stop <-chan struct{}) error {
			for id := store.LogID(1); ; id++ {
				for after := store.Seq(0); ; {
					select {
					case <-stop:
						return nil
					default:
					}
					p, err := s.Read(store.Query{Log: id, After: after, Max: 256})
					if err != nil {
						return err
					}
					records += len(p.Records)
					if after = p.Next; after >= p.Head {
						break
					}
				}
			}
		})
		t.Log(line, " it read ", records)
		t.Log(commitTimes(t, s, "alone"))
	}
}

// beside runs something while commits are timed.
func beside(t *testing.T, s *Store, name string, run func(stop <-chan struct{}) error) string {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		if err := run(stop); err != nil {
			t.Error(err)
		}
	})
	line := commitTimes(t, s, name)
	close(stop)
	wg.Wait()
	return line
}

// commitTimes appends 2,000 messages/s for five seconds, on time whatever the answers take.
func commitTimes(t *testing.T, s *Store, name string) string {
	const rate, seconds = 2000, 5
	took := make([]time.Duration, rate*seconds)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range took {
		due := began.Add(time.Duration(i) * time.Second / rate)
		time.Sleep(time.Until(due))
		id := store.LogID(i%1000 + 1)
		p := s.Append(store.Draft{Log: id, Sender: store.AccountID(i%1000%50 + 1), Text: make([]byte, 100)})
		wg.Go(func() {
			if _, err := p.Result(); err != nil {
				t.Error(err)
			}
			took[i] = time.Since(due)
		})
	}
	wg.Wait()
	slices.Sort(took)
	at := func(q int) time.Duration { return took[len(took)*q/1000].Round(time.Microsecond) }
	return fmt.Sprintf("%-8s p50 %v p90 %v p99 %v p99.9 %v", name, at(500), at(900), at(990), at(999))
}
