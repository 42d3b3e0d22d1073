//go:build unix

package fcm

import (
	"io"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// BenchmarkSend sends 90 at a time over one connection to a server that answers at once. cpu-µs/op is that of the whole
// process, so of both sides; allocations too.
func BenchmarkSend(b *testing.B) {
	s := newServer(b)
	s.send = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"name":"x"}`) })
	p := s.provider(nil)
	if a := p.Send(b.Context(), ring()); a.Outcome != push.Delivered {
		b.Fatalf("%+v", a)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	jobs := make(chan struct{})
	var wg sync.WaitGroup
	for range DefaultInFlight {
		wg.Go(func() {
			for range jobs {
				if a := p.Send(b.Context(), ring()); a.Outcome != push.Delivered {
					b.Errorf("%+v", a)
				}
			}
		})
	}
	for range b.N {
		jobs <- struct{}{}
	}
	close(jobs)
	wg.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkMessage makes the request of a push, without sending it.
func BenchmarkMessage(b *testing.B) {
	p := newServer(b).provider(nil)
	m := ring()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.message(m); err != nil {
			b.Fatal(err)
		}
	}
}

// cpu is what the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
