// Package check decides what happened to a numbered stream of messages: which
// were lost, doubled or out of order. It judges any input exactly, also one
// that skips to the largest number, runs backwards or repeats for ever; memory
// grows only with the number of separate gaps.
package check

import (
	"iter"
	"slices"
)

// Ranges is a set of message numbers held as sorted, disjoint, half-open
// ranges. The zero value is the empty set.
type Ranges struct {
	r []span
}

type span struct{ lo, hi uint64 } // lo <= n < hi

// Add puts n into the set.
func (s *Ranges) Add(n uint64) { s.AddRange(n, n+1) }

// AddRange puts lo to hi-1 into the set; nothing if hi <= lo.
func (s *Ranges) AddRange(lo, hi uint64) {
	if hi <= lo {
		return
	}
	if k := len(s.r); k == 0 || s.r[k-1].hi < lo { // the common case: at the end
		s.r = append(s.r, span{lo, hi})
		return
	}
	from, _ := slices.BinarySearchFunc(s.r, lo, func(e span, n uint64) int {
		if e.hi < n {
			return -1
		}
		return 1
	})
	to := from
	for to < len(s.r) && s.r[to].lo <= hi {
		lo, hi = min(lo, s.r[to].lo), max(hi, s.r[to].hi)
		to++
	}
	s.r = slices.Replace(s.r, from, to, span{lo, hi})
}

// Remove takes n out of the set and reports whether it was in it.
func (s *Ranges) Remove(n uint64) bool {
	i, ok := s.find(n)
	if !ok {
		return false
	}
	switch e := s.r[i]; {
	case e.lo == n && e.hi == n+1:
		s.r = slices.Delete(s.r, i, i+1)
	case e.lo == n:
		s.r[i].lo++
	case e.hi == n+1:
		s.r[i].hi--
	default:
		s.r[i].hi = n
		s.r = slices.Insert(s.r, i+1, span{n + 1, e.hi})
	}
	return true
}

// Has reports whether n is in the set.
func (s *Ranges) Has(n uint64) bool {
	_, ok := s.find(n)
	return ok
}

// Count is how many numbers the set holds.
func (s *Ranges) Count() uint64 {
	var n uint64
	for _, e := range s.r {
		n += e.hi - e.lo
	}
	return n
}

// Spans is how many separate ranges the set holds.
func (s *Ranges) Spans() int { return len(s.r) }

// Common is how many numbers are in both sets.
func (s *Ranges) Common(o *Ranges) uint64 {
	var n uint64
	for i, j := 0, 0; i < len(s.r) && j < len(o.r); {
		a, b := s.r[i], o.r[j]
		if lo, hi := max(a.lo, b.lo), min(a.hi, b.hi); lo < hi {
			n += hi - lo
		}
		if a.hi < b.hi {
			i++
		} else {
			j++
		}
	}
	return n
}

// All yields the ranges in order, as the first and the last number of each.
func (s *Ranges) All() iter.Seq2[uint64, uint64] {
	return func(yield func(first, last uint64) bool) {
		for _, e := range s.r {
			if !yield(e.lo, e.hi-1) {
				return
			}
		}
	}
}

// Clone is a copy that shares nothing with s.
func (s *Ranges) Clone() Ranges { return Ranges{slices.Clone(s.r)} }

// find answers the index of the range that holds n.
func (s *Ranges) find(n uint64) (int, bool) {
	return slices.BinarySearchFunc(s.r, n, func(e span, n uint64) int {
		switch {
		case e.hi <= n:
			return -1
		case e.lo > n:
			return 1
		}
		return 0
	})
}
