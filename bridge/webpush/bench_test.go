//go:build unix

package webpush

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// BenchmarkSend sends 64 at a time over HTTP/2 to a push service that decrypts each. cpu-µs/op is that of the whole
// process, so of both sides and of the browser; allocations too.
func BenchmarkSend(b *testing.B) {
	s := newService(b, true)
	p := s.provider(nil)
	if a := p.Send(b.Context(), s.ring()); a.Outcome != push.Delivered {
		b.Fatalf("%+v", a)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	jobs := make(chan struct{})
	var wg sync.WaitGroup
	for range DefaultPerHost {
		wg.Go(func() {
			for range jobs {
				if a := p.Send(b.Context(), s.ring()); a.Outcome != push.Delivered {
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

// BenchmarkEncrypt makes the body of a push, without sending it.
func BenchmarkEncrypt(b *testing.B) {
	s := newSubscriber(b)
	n := note()
	b.ReportAllocs()
	for b.Loop() {
		plain, err := encode(&n)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := encrypt(plain, s.p256dh(), s.auth); err != nil {
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
