//go:build unix

package pushsim

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// BenchmarkAPNs is pushes from a real client, TLS and all, of which 500 are under way on one connection. cpu-µs/push is
// the processor time of client and simulator together, which does not depend on what else the machine does.
func BenchmarkAPNs(b *testing.B) {
	s := startSim(b, Config{})
	c := newClient(b, s)
	c.push(device(0), `{"aps":{}}`) // opens up the connection
	payload := message("0123456789abcdef0123", 7)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	began := processor(b)
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				a, err := c.do(c.request(context.Background(), s.APNsURL(), device(int(n%1000)), payload, "apns-collapse-id", "thread"))
				if err != nil || a.status != 200 {
					b.Errorf("%+v, %v", a, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
	b.ReportMetric(float64((processor(b)-began).Microseconds())/float64(b.N), "cpu-µs/push")
}

// processor is the time that the process has used of all processors.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkExchange is the simulator's own part of a push: rules, phone, log.
func BenchmarkExchange(b *testing.B) {
	s := startSim(b, Config{})
	c := newClient(b, s)
	c.push(device(0), `{"aps":{}}`)
	body := []byte(message("0123456789abcdef0123", 7))
	r := &request{peer: &peer{number: 1}, method: "POST", body: body}
	for name, v := range c.request(context.Background(), "", "", "").Header {
		r.header = append(r.header, field(name, v[0]))
	}
	b.ReportAllocs()
	b.ResetTimer()
	began := processor(b)
	for i := range b.N {
		r.path = "/3/device/" + device(i%1000)
		if d := s.exchange(s.fronts[frontAPNs].service, r); d.status != 200 {
			b.Fatalf("%d %s", d.status, d.body)
		}
	}
	b.ReportMetric(float64((processor(b)-began).Microseconds())/float64(b.N), "cpu-µs/push")
}

func field(name, value string) hpack.HeaderField {
	return hpack.HeaderField{Name: strings.ToLower(name), Value: value}
}
