package engine

import "container/heap"

// Timer calls a function on its loop. It is set and stopped on that loop only,
// and setting it again moves it; it costs no allocation after the first time.
type Timer struct {
	// Fire is called with the loop's time when the timer is due.
	Fire func(now int64)

	at    int64
	index int // in the heap plus one; 0 when not set
}

// timers is a heap of the timers that are set, the earliest first.
type timers []*Timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *timers) Push(x any) {
	t := x.(*Timer)
	*h = append(*h, t)
	t.index = len(*h)
}

func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = 0
	return t
}

// set arms t for the time at (as Now tells it).
func (h *timers) set(t *Timer, at int64) {
	t.at = at
	if t.index > 0 {
		heap.Fix(h, t.index-1)
		return
	}
	heap.Push(h, t)
}

// stop disarms t; nothing if it is not set.
func (h *timers) stop(t *Timer) {
	if t.index > 0 {
		heap.Remove(h, t.index-1)
	}
}

// next is the earliest timer that is due at now, taken out, or nil.
func (h *timers) due(now int64) *Timer {
	if len(*h) == 0 || (*h)[0].at > now {
		return nil
	}
	return heap.Pop(h).(*Timer)
}
