package bolt

import (
	"slices"
	"sync"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

const (
	ringBatches = 64   // batches kept for live followers at most
	ringEntries = 8192 // and their entries, but for the newest batch
)

// ring keeps the newest batches for followers that are up to date. One that falls behind reads the journal; nobody
// ever waits for a follower.
type ring struct {
	mu      sync.Mutex
	batches []ringBatch // in order, without a gap, up to next
	entries int
	next    journal.Position // after the newest durable record
	wake    chan struct{}    // closed when next moves; nil while nobody waits
	closed  bool

	seal *sealer // fixed; knows whose texts are gone
}

type ringBatch struct {
	from, next journal.Position
	entries    []store.Entry
}

func (r *ring) end() journal.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// add publishes a batch that ends at next. The entries belong to the ring and its readers from now on.
func (r *ring) add(entries []store.Entry, next journal.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seal.any.Load() { // erased since it was committed: see logs.erase
		for i := range entries {
			if rec := entries[i].Record; rec != nil && r.seal.gone(rec.Sender) {
				entries[i].Record = withoutText(rec)
			}
		}
	}
	r.batches = append(r.batches, ringBatch{r.next, next, entries})
	r.entries += len(entries)
	r.next = next
	for len(r.batches) > ringBatches || r.entries > ringEntries && len(r.batches) > 1 {
		r.entries -= len(r.batches[0].entries)
		r.batches = slices.Delete(r.batches, 0, 1)
	}
	r.signal()
}

func (r *ring) signal() {
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.signal()
}

// get returns what lies at from: a batch, or a channel to wait on, or behind if the ring begins later.
func (r *ring) get(from journal.Position) (b store.Batch, wait <-chan struct{}, behind, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from >= r.next {
		if r.closed {
			return b, nil, false, true
		}
		if r.wake == nil {
			r.wake = make(chan struct{})
		}
		return b, r.wake, false, false
	}
	if len(r.batches) == 0 || from < r.batches[0].from {
		return b, nil, true, false
	}
	for i := len(r.batches) - 1; ; i-- {
		rb := &r.batches[i]
		if from < rb.from {
			continue
		}
		entries := rb.entries
		if from > rb.from {
			at, _ := slices.BinarySearchFunc(entries, store.Position(from), func(e store.Entry, p store.Position) int {
				if e.Position < p {
					return -1
				}
				return 1
			})
			entries = entries[at:]
		}
		return store.Batch{Entries: slices.Clip(entries), Next: store.Position(rb.next)}, nil, false, false
	}
}

// operate replaces what an edit or recall changes in the batches kept, so that a follower that is a little behind is
// not given a text that was taken back. Batches are copied: followers may hold them.
func (r *ring) operate(op *store.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seal.gone(op.Sender) { // erased since it was committed: see logs.erase
		op = withoutText(op)
	}
	for i := range r.batches {
		rb := &r.batches[i]
		copied := false
		for j := range rb.entries {
			rec := rb.entries[j].Record
			if rec == nil || rec.Log != op.Log {
				continue
			}
			var now *store.Record
			switch {
			case rec.Seq == op.Op.Target:
				now = operated(rec, op)
			case op.Op.Kind == store.OpRecall && rec.Op.Kind == store.OpEdit && rec.Op.Target == op.Op.Target:
				now = recalled(rec)
			default:
				continue
			}
			if !copied {
				rb.entries, copied = slices.Clone(rb.entries), true
			}
			rb.entries[j].Record = now
		}
	}
}

// start sets the position where the first batch will begin.
func (r *ring) start(at journal.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = at
}
