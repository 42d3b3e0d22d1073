package broker

import (
	"container/heap"
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
)

// parks are the times at which posts that wait come due: advertising at the end of a night. There is one entry per
// channel and time, however many followers wait; the herald finds them. Nights end at a handful of times, so it is small.
type parks struct {
	mu   sync.Mutex
	heap parkHeap
	in   map[park]struct{}
}

// park is a time at which followers of a channel look again.
type park struct {
	until   int64  // Unix milliseconds
	channel string // its name
}

func (p *parks) add(channel string, until int64) {
	k := park{until, channel}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, in := p.in[k]; in {
		return
	}
	if p.in == nil {
		p.in = make(map[park]struct{})
	}
	p.in[k] = struct{}{}
	heap.Push(&p.heap, k)
}

// due takes out the channels whose time has come, each once.
func (p *parks) due(now time.Time) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	seen := map[string]bool{}
	for len(p.heap) > 0 && p.heap[0].until <= now.UnixMilli() {
		k := heap.Pop(&p.heap).(park)
		delete(p.in, k)
		if !seen[k.channel] {
			seen[k.channel] = true
			out = append(out, k.channel)
		}
	}
	return out
}

// wakeParked has those look again whose time has come.
func (b *Broker) wakeParked(now time.Time) {
	for _, name := range b.parks.due(now) {
		info, err := b.store.Find(store.ChannelKey(name))
		if err != nil {
			b.log.Warn("posts that were due wait for the next connection", keyErr, err)
			continue
		}
		b.PostChanged(info.ID)
	}
}

type parkHeap []park

func (h parkHeap) Len() int           { return len(h) }
func (h parkHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h parkHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *parkHeap) Push(x any)        { *h = append(*h, x.(park)) }
func (h *parkHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
