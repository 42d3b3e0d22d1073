package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

// BenchmarkBlockLatency measures whether the time to the acknowledgement tells of a block: alice writes in turn to bob, who
// blocks her, and to carol and dave, who do not. It reports medians and the distance between the distributions (Kolmogorov
// and Smirnov's D, the largest difference of the two empirical distribution functions): that of carol and dave is what chance
// makes of two equal ones, that of bob and the others is to be like it. With devices that are connected, a delivery competes
// with the acknowledgement for the processor, and a message to somebody who blocks has none, like one to somebody who is
// away.
//
//	go test -run '^$' -bench BlockLatency -benchtime 10000x .
func BenchmarkBlockLatency(b *testing.B) {
	b.Run("away", func(b *testing.B) { blockLatency(b, false) })
	b.Run("connected", func(b *testing.B) { blockLatency(b, true) })
}

func blockLatency(b *testing.B, connected bool) {
	peers := []string{"bob", "carol", "dave"}
	s := newStage(b, append([]string{"alice"}, peers...)...)
	for _, p := range peers {
		s.friends([2]string{"alice", p})
		d := s.device(p, "phone", 4)
		d.connect(false)
		d.subscribe("user/+/json")
		if !connected {
			d.disconnect()
		}
	}
	alice := s.device("alice", "phone", 4)
	alice.connect(false)
	for _, p := range peers { // the conversations exist
		alice.publish("user/"+p+"/text", "hello")
	}
	s.does("bob", "block.set", `{"user":"alice"}`)
	took := make(map[string][]float64)
	b.ResetTimer()
	for i := range b.N {
		for at := range peers {
			p := peers[(i+at)%len(peers)] // each comes first, second and third equally often
			alice.mu.Lock()
			alice.frames = alice.frames[:0]
			alice.mu.Unlock()
			began := time.Now()
			alice.publish("user/"+p+"/text", "how are you?")
			took[p] = append(took[p], float64(time.Since(began).Nanoseconds())/1e3)
		}
	}
	b.StopTimer()
	for _, v := range took {
		slices.Sort(v)
	}
	for _, p := range peers {
		b.ReportMetric(took[p][len(took[p])/2], p+"-p50-µs")
		b.ReportMetric(took[p][len(took[p])*99/100], p+"-p99-µs")
	}
	b.ReportMetric(distance(took["carol"], took["dave"]), "D-open-open")
	b.ReportMetric(distance(took["bob"], took["carol"]), "D-block-open")
	b.ReportMetric(distance(took["bob"], took["dave"]), "D-block-open2")
}

// distance is Kolmogorov and Smirnov's D of two sorted samples.
func distance(a, b []float64) float64 {
	d, i, j := 0.0, 0, 0
	for i < len(a) && j < len(b) {
		if a[i] <= b[j] {
			i++
		} else {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}
