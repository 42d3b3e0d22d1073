package check

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestStreamVerdicts(t *testing.T) {
	const big = 1<<32 - 1
	for _, c := range []struct {
		name                              string
		seen                              []uint64
		sent                              uint64
		lost, doubled, outOfOrder, unsent uint64
	}{
		{"nothing sent", nil, 0, 0, 0, 0, 0},
		{"nothing arrived", nil, 3, 3, 0, 0, 0},
		{"all", []uint64{0, 1, 2}, 3, 0, 0, 0, 0},
		{"first lost", []uint64{1, 2}, 3, 1, 0, 0, 0},
		{"last lost", []uint64{0, 1}, 3, 1, 0, 0, 0},
		{"middle lost", []uint64{0, 2}, 3, 1, 0, 0, 0},
		{"two swapped", []uint64{1, 0, 2}, 3, 0, 0, 1, 0},
		{"backwards", []uint64{3, 2, 1, 0}, 4, 0, 0, 3, 0},
		{"doubled at once", []uint64{0, 0, 1}, 2, 0, 1, 0, 0},
		{"doubled later", []uint64{0, 1, 2, 0, 1, 2}, 3, 0, 3, 0, 0},
		{"filled gap doubled", []uint64{0, 2, 1, 1}, 3, 0, 1, 1, 0},
		{"for ever the same", []uint64{5, 5, 5, 5}, 6, 5, 3, 0, 0},
		{"never sent", []uint64{0, 1, 7}, 2, 0, 0, 0, 1},
		{"the largest first", []uint64{big, 0}, 2, 1, 0, 1, 1},
		{"every other, then the rest", []uint64{0, 2, 4, 1, 3}, 5, 0, 0, 2, 0},
		{"a whole block late", []uint64{3, 4, 5, 0, 1, 2}, 6, 0, 0, 3, 0},
		{"replay from the start", []uint64{0, 1, 2, 3, 1, 2, 3, 4}, 5, 0, 3, 0, 0},
	} {
		var s Stream
		for _, n := range c.seen {
			s.Seen(n)
		}
		m := s.Missing(c.sent)
		if m.Count() != c.lost || s.Doubled() != c.doubled || s.OutOfOrder() != c.outOfOrder || s.Unsent(c.sent) != c.unsent {
			t.Errorf("%s: lost %d, doubled %d, out of order %d, unsent %d; want %d %d %d %d", c.name,
				m.Count(), s.Doubled(), s.OutOfOrder(), s.Unsent(c.sent), c.lost, c.doubled, c.outOfOrder, c.unsent)
		}
		if s.Received()+s.Doubled() != uint64(len(c.seen)) {
			t.Errorf("%s: received %d + doubled %d of %d arrivals", c.name, s.Received(), s.Doubled(), len(c.seen))
		}
	}
}

// TestStreamAgainstModel plays shuffled, cut and repeated sequences against a
// map of what was seen.
func TestStreamAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		sent := rng.Uint64N(200)
		var arrivals []uint64
		for n := range sent {
			for range []int{1, 1, 1, 1, 0, 2, 3}[rng.IntN(7)] {
				arrivals = append(arrivals, n)
			}
		}
		if rng.IntN(4) == 0 {
			rng.Shuffle(len(arrivals), func(i, j int) { arrivals[i], arrivals[j] = arrivals[j], arrivals[i] })
		}
		for range rng.IntN(5) { // local swaps
			if len(arrivals) > 1 {
				i := rng.IntN(len(arrivals) - 1)
				arrivals[i], arrivals[i+1] = arrivals[i+1], arrivals[i]
			}
		}
		if rng.IntN(3) == 0 {
			arrivals = append(arrivals, sent+rng.Uint64N(10))
		}
		var s Stream
		seen := map[uint64]bool{}
		var high, doubled, late, unsent uint64
		for _, n := range arrivals {
			want := InOrder
			switch {
			case seen[n]:
				doubled++
				want = Doubled
			case len(seen) > 0 && n < high:
				late++
				want = OutOfOrder
			}
			if !seen[n] && n >= sent {
				unsent++
			}
			seen[n] = true
			high = max(high, n)
			if got := s.Seen(n); got != want {
				t.Fatalf("%v: %d is %v, want %v", arrivals, n, got, want)
			}
		}
		missing := s.Missing(sent)
		for n := range sent {
			if missing.Has(n) == seen[n] {
				t.Fatalf("%v: missing has %d: %v", arrivals, n, missing.Has(n))
			}
		}
		if s.Doubled() != doubled || s.OutOfOrder() != late || s.Unsent(sent) != unsent {
			t.Fatalf("%v: %d %d %d, want %d %d %d", arrivals, s.Doubled(), s.OutOfOrder(), s.Unsent(sent), doubled, late, unsent)
		}
	}
}

func TestRangesAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		var a, b Ranges
		ma, mb := map[uint64]bool{}, map[uint64]bool{}
		for range 60 {
			s, m := &a, ma
			if rng.IntN(2) == 0 {
				s, m = &b, mb
			}
			lo := rng.Uint64N(80)
			hi := lo + rng.Uint64N(12)
			if rng.IntN(3) == 0 {
				if s.Remove(lo) != m[lo] {
					t.Fatalf("Remove(%d) is not %v", lo, m[lo])
				}
				delete(m, lo)
				continue
			}
			s.AddRange(lo, hi)
			for n := lo; n < hi; n++ {
				m[n] = true
			}
		}
		common := uint64(0)
		for n := range uint64(100) {
			if a.Has(n) != ma[n] {
				t.Fatalf("Has(%d) is not %v", n, ma[n])
			}
			if ma[n] && mb[n] {
				common++
			}
		}
		if a.Count() != uint64(len(ma)) || a.Common(&b) != common || b.Common(&a) != common {
			t.Fatalf("count %d of %d, common %d of %d", a.Count(), len(ma), a.Common(&b), common)
		}
		if !slices.IsSortedFunc(a.r, func(x, y span) int { return int(x.hi) - int(y.lo) + 1 }) {
			t.Fatalf("not sorted and apart: %v", a.r)
		}
		var sum uint64
		for first, last := range a.All() {
			for n := first; n <= last; n++ {
				if !ma[n] {
					t.Fatalf("All yields %d", n)
				}
				sum++
			}
		}
		if sum != a.Count() {
			t.Fatalf("All yields %d of %d", sum, a.Count())
		}
		c := a.Clone()
		c.Add(1000)
		if a.Has(1000) {
			t.Fatal("a clone shares")
		}
	}
}
