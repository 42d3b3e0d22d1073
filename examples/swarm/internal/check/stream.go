package check

// Stream follows the numbers one receiver gets from one sender, who counts
// 0, 1, 2, … The zero value has seen nothing.
//
// A number above the next expected one opens a gap; it is not out of order,
// because what it skipped may be lost. A number that fills a gap is out of
// order: it came after a later one. A number seen before is doubled.
type Stream struct {
	next       uint64 // highest number seen + 1
	missing    Ranges // below next and not seen
	received   uint64
	doubled    uint64
	outOfOrder uint64
}

// Verdict is what Seen says of one number.
type Verdict int

// The verdicts; each number gets exactly one.
const (
	InOrder Verdict = iota
	Doubled
	OutOfOrder
)

// Seen takes the number of a message that arrived.
func (s *Stream) Seen(n uint64) Verdict {
	if n == s.next {
		s.next++
		s.received++
		return InOrder
	}
	if n > s.next {
		s.missing.AddRange(s.next, n)
		s.next = n + 1
		s.received++
		return InOrder
	}
	if s.missing.Remove(n) {
		s.outOfOrder++
		s.received++
		return OutOfOrder
	}
	s.doubled++
	return Doubled
}

// Received is how many different numbers arrived.
func (s *Stream) Received() uint64 { return s.received }

// Doubled is how many arrivals repeated an earlier number.
func (s *Stream) Doubled() uint64 { return s.doubled }

// OutOfOrder is how many numbers first arrived after a higher one.
func (s *Stream) OutOfOrder() uint64 { return s.outOfOrder }

// Unsent is how many different numbers arrived that the sender, who sent 0 to
// sent-1, never used.
func (s *Stream) Unsent(sent uint64) uint64 {
	if s.next <= sent {
		return 0
	}
	var all Ranges
	all.AddRange(sent, s.next)
	return all.Count() - all.Common(&s.missing)
}

// Missing is the set of numbers in 0 to sent-1 that did not arrive.
func (s *Stream) Missing(sent uint64) Ranges {
	if s.next <= sent {
		m := s.missing.Clone()
		m.AddRange(s.next, sent)
		return m
	}
	var m Ranges
	for _, e := range s.missing.r {
		m.AddRange(min(e.lo, sent), min(e.hi, sent))
	}
	return m
}
