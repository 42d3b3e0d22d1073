package hist

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestQuantilesAgainstSortedValues holds the promised 0.4 % on distributions
// that are flat, long-tailed, and two peaks far apart.
func TestQuantilesAgainstSortedValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() int64{
		"flat":      func() int64 { return rng.Int64N(50_000_000) },
		"tail":      func() int64 { return int64(math.Exp(rng.NormFloat64()*3 + 12)) },
		"two peaks": func() int64 { return []int64{80_000, 9_000_000_000}[rng.IntN(2)] + rng.Int64N(1000) },
		"small":     func() int64 { return rng.Int64N(300) },
		"constant":  func() int64 { return 12_345_678 },
	} {
		var h Hist
		var all []int64
		for range 20_000 {
			v := draw()
			all = append(all, v)
			h.Record(v)
		}
		slices.Sort(all)
		for _, q := range []float64{0, .001, .25, .5, .9, .99, .999, .9999, 1} {
			rank := max(int(math.Ceil(q*float64(len(all)))), 1)
			want, got := float64(all[rank-1]), float64(h.Quantile(q))
			if math.Abs(got-want) > want*.004+.5 {
				t.Errorf("%s: quantile %v is %v, want %v", name, q, got, want)
			}
		}
		if h.Count() != 20_000 || int64(h.Max()) != all[len(all)-1] {
			t.Errorf("%s: count %d, max %v", name, h.Count(), h.Max())
		}
		sum := 0.
		for _, v := range all {
			sum += float64(v)
		}
		if mean := sum / 20_000; math.Abs(float64(h.Mean())-mean) > 1 {
			t.Errorf("%s: mean %v, want %v", name, h.Mean(), mean)
		}
	}
}

func TestMergeIsLikeRecordingTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var a, b, all Hist
	for range 5000 {
		v := rng.Int64N(1 << 33)
		all.Record(v)
		if v%3 == 0 {
			a.Record(v)
		} else {
			b.Record(v)
		}
	}
	var m Hist
	m.Merge(&a)
	m.Merge(&Hist{})
	m.Merge(&b)
	for _, q := range []float64{0, .1, .5, .99, 1} {
		if m.Quantile(q) != all.Quantile(q) {
			t.Errorf("quantile %v: %v, want %v", q, m.Quantile(q), all.Quantile(q))
		}
	}
	if m.Count() != all.Count() || m.Max() != all.Max() || m.min != all.min {
		t.Errorf("merged %d %v %d", m.Count(), m.Max(), m.min)
	}
}

func TestEdges(t *testing.T) {
	var h Hist
	if h.Quantile(.5) != 0 || h.Max() != 0 || h.Mean() != 0 {
		t.Error("an empty one answers 0")
	}
	h.Record(-5)
	h.Record(math.MaxInt64)
	if h.Quantile(0) != 0 || h.Quantile(1) != time.Duration(math.MaxInt64) || h.Count() != 2 {
		t.Errorf("%v %v", h.Quantile(0), h.Quantile(1))
	}
	// Bucket borders: each value lies in a bucket whose middle is near it,
	// and buckets never decrease.
	last := -1
	for _, v := range []int64{0, 1, 127, 128, 255, 256, 257, 258, 511, 512, 1<<20 - 1, 1 << 20, 1<<42 - 1, 1 << 42} {
		i := bucket(v)
		if i < last || math.Abs(float64(middle(i)-v)) > float64(v)/256+.5 {
			t.Errorf("%d: bucket %d with middle %d", v, i, middle(i))
		}
		last = i
	}
}

func BenchmarkRecord(b *testing.B) {
	var h Hist
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.Record(int64(i) * 977 % 50_000_000)
	}
}
