package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store/journal"
)

// recordBytes is the length of a typical record: a chat message with its head.
const recordBytes = 300

func randomRecords(n, size int) [][]byte {
	rng := rand.NewChaCha8([32]byte{1})
	records := make([][]byte, n)
	for i := range records {
		records[i] = make([]byte, size)
		rng.Read(records[i])
	}
	return records
}

// BenchmarkAppend is what a commit costs; also its median, 99th percentile and maximum, with the
// beginnings of segments among them.
func BenchmarkAppend(b *testing.B) {
	for _, group := range []int{1, 100, 500} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			j := open(b, journal.Config{Dir: b.TempDir()})
			records := randomRecords(group, recordBytes)
			var dst []journal.Position
			var took []time.Duration
			b.SetBytes(int64(group * recordBytes))
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				var err error
				if dst, err = j.AppendTo(dst[:0], records); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
			b.ReportMetric(float64(len(j.Segments())-1), "rolls")
		})
	}
}

// filled makes a journal with n records and returns their positions.
func filled(b *testing.B, dir string, n int) (*journal.Journal, []journal.Position) {
	j, err := journal.Open(journal.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	const group = 10_000
	records := randomRecords(group, recordBytes)
	positions := make([]journal.Position, 0, n)
	for len(positions) < n {
		if positions, err = j.AppendTo(positions, records); err != nil {
			b.Fatal(err)
		}
	}
	return j, positions
}

// BenchmarkRead reads single records at random, from the page cache.
func BenchmarkRead(b *testing.B) {
	j, positions := filled(b, b.TempDir(), 200_000)
	defer mustClose(b, j)
	rng := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		var err error
		if buf, err = j.Read(positions[rng.IntN(len(positions))], buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads records in order; an operation is one record.
func BenchmarkScan(b *testing.B) {
	j, _ := filled(b, b.TempDir(), 200_000)
	defer mustClose(b, j)
	b.SetBytes(recordBytes)
	b.ResetTimer()
	for n := 0; n < b.N; {
		err := j.Scan(j.First(), func(_, _ journal.Position, _ []byte) error { n++; return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a journal of 1.2 million records, as a killed process leaves it.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	j, _ := filled(b, dir, 1_200_000)
	mustClose(b, j)
	for b.Loop() {
		j, err := journal.Open(journal.Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		mustClose(b, j)
	}
}

// noLinks is a file system on which Snapshot has to copy.
type noLinks struct{ journal.FS }

func (noLinks) Link(string, string) error { return errors.New("no links here") }

// BenchmarkAppendBesideSnapshot appends single records at 2,000 a second, alone and while snapshots of
// a million records are taken one after the other.
func BenchmarkAppendBesideSnapshot(b *testing.B) {
	for _, mode := range []string{"none", "links", "copies"} {
		b.Run(mode, func(b *testing.B) {
			dir := b.TempDir()
			j, _ := filled(b, filepath.Join(dir, "j"), 1_000_000)
			mustClose(b, j)
			cfg := journal.Config{Dir: filepath.Join(dir, "j")}
			if mode == "copies" {
				cfg.FS = noLinks{journal.OS}
			}
			j, err := journal.Open(cfg)
			if err != nil {
				b.Fatal(err)
			}
			var wg sync.WaitGroup
			if mode != "none" {
				wg.Go(func() {
					for i := 0; ; i++ {
						to := filepath.Join(dir, fmt.Sprint("snapshot", i))
						if _, err := j.Snapshot(to); err != nil {
							if !errors.Is(err, journal.ErrClosed) {
								b.Error(err)
							}
							return
						}
						if err := os.RemoveAll(to); err != nil {
							b.Error(err)
						}
					}
				})
			}
			records := randomRecords(1, recordBytes)
			var dst []journal.Position
			var took []time.Duration
			next := time.Now()
			b.ResetTimer()
			for range b.N {
				next = next.Add(time.Second / 2000)
				time.Sleep(time.Until(next))
				began := time.Now()
				if dst, err = j.AppendTo(dst[:0], records); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			b.StopTimer()
			mustClose(b, j)
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
