package apns

import (
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hwangso/hwangso/bridge/push"
)

// BenchmarkSend sends over one connection to a server in the same process, 500 in flight: what it costs here is less than
// the figure, since the server's half is in it.
func BenchmarkSend(b *testing.B) {
	for _, flying := range []int{1, 500} {
		b.Run(map[int]string{1: "one", 500: "500"}[flying], func(b *testing.B) {
			s := &server{limit: 1000, handle: ok}
			c := open(b, testConfig(b, listen(b, s)))
			ctx := testContext(b)
			if a := c.Send(ctx, testPush()); a.Outcome != push.Delivered {
				b.Fatalf("%+v", a)
			}
			b.ReportAllocs()
			began := cpu(b)
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range flying {
				wg.Go(func() {
					p := testPush()
					for next.Add(1) <= int64(b.N) {
						if a := c.Send(ctx, p); a.Outcome != push.Delivered {
							b.Errorf("%+v", a)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(cpu(b)-began)/float64(b.N)/1000, "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
			if n := len(s.connections()); n != 1 {
				b.Errorf("%d connections", n)
			}
		})
	}
}

// cpu is what the process has used, in nanoseconds.
func cpu(b *testing.B) int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

// BenchmarkPayload makes the body of a push whose text is too long.
func BenchmarkPayload(b *testing.B) {
	c := &Client{cfg: Config{Texts: TextsPhone}}
	short, long := testPush(), testPush()
	long.Note.Args[1] = strings.Repeat("hello", 1024)
	for name, p := range map[string]*push.Push{"short": short, "cut": long} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.notification(p, testApp); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
