package bridge

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// due is something to look at from a moment on. Of two that are due together the one with the older message goes first.
type due[T any] struct {
	at, age int64 // Unix milliseconds
	what    T
}

func (d *due[T]) before(o *due[T]) bool { return d.at < o.at || d.at == o.at && d.age < o.age }

// heap is a binary heap of dues, the earliest at its root.
type heap[T any] []due[T]

func (h *heap[T]) push(d due[T]) {
	s := append(*h, d)
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !s[i].before(&s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
	*h = s
}

func (h *heap[T]) pop() due[T] {
	s := *h
	first := s[0]
	n := len(s) - 1
	s[0] = s[n]
	s[n] = due[T]{}
	s = s[:n]
	for i := 0; ; {
		down := 2*i + 1
		if down >= n {
			break
		}
		if down+1 < n && s[down+1].before(&s[down]) {
			down++
		}
		if !s[down].before(&s[i]) {
			break
		}
		s[i], s[down] = s[down], s[i]
		i = down
	}
	if *h = s; n == 0 && cap(s) > 4096 {
		*h = nil // after a rush
	}
	return first
}

// soon are the rings in memory that wait for a moment. An entry that its ring does not name any more is passed over by
// who takes it.
type soon struct {
	mu   sync.Mutex
	heap heap[*bell]
}

func (s *soon) add(r *bell, at, age int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heap.push(due[*bell]{at, age, r})
}

// take moves what is due to out, at most cap(out) of it.
func (s *soon) take(now int64, out []due[*bell]) []due[*bell] {
	s.mu.Lock()
	defer s.mu.Unlock()
	out = out[:0]
	for len(s.heap) > 0 && s.heap[0].at <= now && len(out) < cap(out) {
		out = append(out, s.heap.pop())
	}
	return out
}

func (s *soon) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.heap)
}

// hints say which rows are due when. At most max are in memory, the earliest ones: every row that is due before horizon is
// among them, and none that is due after it: those are found by reading the rows again. A hint may be wrong, and costs a
// look then; a row that has none before horizon would be forgotten until a restart, so who writes a row adds its hint
// afterwards.
type hints struct {
	mu      sync.Mutex
	max     int
	heap    heap[key]
	at      map[key]int64 // what each key's valid entry says
	horizon int64
	lost    int64 // while the rows are read: the earliest hint that found no room meanwhile
	filling bool
}

func newHints(max int) *hints {
	return &hints{max: max, at: make(map[key]int64), horizon: math.MinInt64}
}

// add puts a hint in place of an earlier one for the same row.
func (h *hints) add(k key, at, age int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.put(k, at, age)
}

func (h *hints) put(k key, at, age int64) {
	old, has := h.at[k]
	if has && old == at {
		return
	}
	if !has && len(h.at) >= h.max && at < h.horizon {
		h.halve() // what is due in the morning does not keep out what is due in seconds
	}
	if at > h.horizon || !has && len(h.at) >= h.max {
		delete(h.at, k)
		h.forgo(at)
		return
	}
	if len(h.heap) >= 2*h.max {
		h.compact()
	}
	h.at[k] = at
	h.heap.push(due[key]{at, age, k})
}

// forgo notes that a row that is due then has no hint.
func (h *hints) forgo(at int64) { h.horizon, h.lost = min(h.horizon, at), min(h.lost, at) }

// halve makes room: the later half goes, and is found by reading the rows. It sorts all of them, so it happens at most
// once for each half that was added.
func (h *hints) halve() {
	h.compact()
	slices.SortFunc(h.heap, func(a, b due[key]) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.age, b.age)) })
	keep := len(h.heap) / 2 // what is sorted is a heap
	for _, d := range h.heap[keep:] {
		delete(h.at, d.what)
	}
	h.forgo(h.heap[keep].at)
	clear(h.heap[keep:])
	h.heap = h.heap[:keep]
}

// compact leaves out the entries that are not valid any more.
func (h *hints) compact() {
	old := h.heap
	h.heap = make(heap[key], 0, len(h.at)+1)
	for _, d := range old {
		if at, ok := h.at[d.what]; ok && at == d.at {
			h.heap.push(d)
		}
	}
}

// drop forgets the hint of a row that is not due any more.
func (h *hints) drop(k key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.at, k)
}

// take moves what is due to out, at most cap(out) of it.
func (h *hints) take(now int64, out []due[key]) []due[key] {
	h.mu.Lock()
	defer h.mu.Unlock()
	out = out[:0]
	for len(h.heap) > 0 && h.heap[0].at <= now && len(out) < cap(out) {
		d := h.heap.pop()
		if at, ok := h.at[d.what]; ok && at == d.at {
			delete(h.at, d.what)
			out = append(out, d)
		}
	}
	return out
}

// empties reports whether rows have to be read: one that is due may be missing here, and there is room for it.
func (h *hints) empties(now int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.filling && h.horizon <= now && (len(h.at) <= h.max/2 || h.horizon == math.MinInt64)
}

// fill begins reading the rows. What is added until filled ends it is kept as far as there is room.
func (h *hints) fill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.filling, h.lost = true, math.MaxInt64
	h.horizon = math.MaxInt64
}

// filled ends reading: found are the earliest rows in whatever order, rest is when the earliest one beyond them is due,
// math.MaxInt64 if there is none.
func (h *hints) filled(found []due[key], rest int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.filling = false
	h.horizon = min(rest, h.lost)
	for _, d := range found {
		if _, has := h.at[d.what]; !has { // what was written meanwhile is newer
			h.put(d.what, d.at, d.age)
		}
	}
}

// failed ends reading without a result.
func (h *hints) failed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.filling, h.horizon = false, math.MinInt64
}

// waits reports whether there is anything to look at later: a hint, or rows beyond them.
func (h *hints) waits() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.at) > 0 || h.horizon != math.MaxInt64
}

func (h *hints) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.at)
}

// earliest keeps the earliest of many dues in room for max, with a heap whose root is the latest one.
type earliest struct {
	max  int
	heap heap[key] // of negated times
	rest int64     // the earliest that found no room
}

func (e *earliest) add(k key, at, age int64) {
	if len(e.heap) < e.max {
		e.heap.push(due[key]{-at, -age, k})
		return
	}
	d := due[key]{-at, -age, k}
	if e.heap[0].before(&d) { // the latest one goes
		e.rest = min(e.rest, -e.heap[0].at)
		e.heap.pop()
		e.heap.push(d)
		return
	}
	e.rest = min(e.rest, at)
}

// list empties it.
func (e *earliest) list() (found []due[key], rest int64) {
	found = make([]due[key], 0, len(e.heap))
	for _, d := range e.heap {
		found = append(found, due[key]{-d.at, -d.age, d.what})
	}
	e.heap = nil
	return found, e.rest
}
