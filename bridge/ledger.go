package bridge

import (
	"sync"
	"sync/atomic"

	"github.com/hwangso/hwangso/store"
)

// segmentEntries is how many journal entries share a segment at most. A crash reads again from the beginning of the
// oldest segment in which something is not settled.
const segmentEntries = 256

// ledger knows how far the journal is settled: the reader's durable position may move over a segment once nothing holds
// it any more. Who remembers a message in memory alone holds the segment that it came in.
type ledger struct {
	mu       sync.Mutex
	segments []*segment // in the order of the journal, the first one held by somebody
	next     store.Position
}

// segment is a run of journal entries.
type segment struct {
	l       *ledger
	from    store.Position
	entries int          // guarded by ledger.mu
	holds   atomic.Int64 // 0: settled, for good
}

func newLedger(at store.Position) *ledger { return &ledger{next: at} }

// begin returns the segment of a run of entries that begins at from and ends at next, held once, for the reader itself.
func (l *ledger) begin(from, next store.Position, entries int) *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = next
	if n := len(l.segments); n > 0 {
		last := l.segments[n-1]
		if last.entries+entries <= segmentEntries && last.hold() {
			last.entries += entries
			return last
		}
	}
	s := &segment{l: l, from: from, entries: entries}
	s.holds.Store(1)
	l.segments = append(l.segments, s)
	return s
}

// hold holds the segment once more, unless it is settled already. Who holds it may always hold it again.
func (s *segment) hold() bool {
	for {
		n := s.holds.Load()
		if n == 0 {
			return false
		}
		if s.holds.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release undoes one hold.
func (s *segment) release() {
	if s.holds.Add(-1) != 0 {
		return
	}
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.segments) && l.segments[n].holds.Load() == 0 {
		n++
	}
	if n == 0 {
		return
	}
	clear(l.segments[:n])
	if l.segments = l.segments[n:]; len(l.segments) == 0 {
		l.segments = nil
	}
}

// passed is the position up to which everything is settled, and unsettled how many entries were read beyond it.
func (l *ledger) passed() (at store.Position, unsettled int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) == 0 {
		return l.next, 0
	}
	for _, s := range l.segments {
		unsettled += s.entries
	}
	return l.segments[0].from, unsettled
}
