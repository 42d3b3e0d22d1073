package bridge

import (
	"context"
	"sync"

	"github.com/hwangso/hwangso/store"
)

const (
	crowded    = 64   // members of a room beyond which its receivers are not looked at by the reader itself
	crowdWalks = 2    // goroutines that do it
	crowdLogs  = 1024 // rooms that may wait for it; the reader waits beyond
)

// crowd goes through the members of large rooms, beside the reader, so that a room of thousands holds up nobody else. What
// is written in a room while it waits for its turn is told in one walk, so a busy room costs no more of them than there
// is time for.
type crowd struct {
	b *Bridge

	mu      sync.Mutex
	waiting map[store.LogID]*party
	order   []*party
	busy    map[store.LogID]bool // being walked: its next walk waits, so that its messages stay in order
	changed chan struct{}        // closed when order or busy moves
}

// party is the next walk through one room.
type party struct {
	walk
	seg *segment // held: that of its first entry
}

func newCrowd(b *Bridge) *crowd {
	return &crowd{b: b, waiting: make(map[store.LogID]*party), busy: make(map[store.LogID]bool), changed: make(chan struct{})}
}

// signal wakes who waits. The caller holds mu.
func (c *crowd) signal() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// add has the members of a room looked at. It waits while too many rooms do. false: ctx has ended.
func (c *crowd) add(ctx context.Context, w walk, seg *segment) bool {
	for {
		c.mu.Lock()
		if p := c.waiting[w.log]; p != nil {
			p.join(&w)
			c.mu.Unlock()
			return true
		}
		if len(c.order) < crowdLogs {
			seg.hold()
			p := &party{walk: w, seg: seg}
			c.waiting[w.log] = p
			c.order = append(c.order, p)
			c.signal()
			c.mu.Unlock()
			return true
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// join adds a later entry of the same room.
func (p *party) join(w *walk) {
	if w.first != 0 {
		if p.first == 0 {
			p.first, p.time, p.sender, p.mixed = w.first, w.time, w.sender, w.mixed
		}
		p.last = w.last
		p.mixed = p.mixed || p.sender != w.sender
	}
	if w.recalled != 0 && (p.recalled == 0 || w.recalled < p.recalled) {
		p.recalled = w.recalled
	}
	p.members = w.members
}

// run walks until ctx ends.
func (c *crowd) run(ctx context.Context) {
	for {
		p, changed := c.take()
		if p == nil {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			continue
		}
		if !c.b.walk(ctx, &p.walk, p.seg) {
			return // it stays held, and is read again by the next bridge
		}
		p.seg.release()
		c.b.stir()
		c.mu.Lock()
		delete(c.busy, p.log)
		c.signal()
		c.mu.Unlock()
	}
}

// take returns the first walk whose room is not being walked, or what is closed when there may be one.
func (c *crowd) take() (*party, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.order {
		if c.busy[p.log] {
			continue
		}
		c.order = append(c.order[:i], c.order[i+1:]...)
		delete(c.waiting, p.log)
		c.busy[p.log] = true
		if len(c.order) == crowdLogs-1 {
			c.signal()
		}
		return p, nil
	}
	return nil, c.changed
}

// queue has the accounts with something for a worker. Each is in it once at most, so it is bounded by the table.
type queue struct {
	mu     sync.Mutex
	ready  sync.Cond
	list   []*account
	head   int
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.ready.L = &q.mu
	return q
}

func (q *queue) push(a *account) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, a)
	q.ready.Signal()
}

// pop waits for the next one; nil: the queue is closed and empty.
func (q *queue) pop() *account {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.list) {
		if q.closed {
			return nil
		}
		q.ready.Wait()
	}
	a := q.list[q.head]
	q.list[q.head] = nil
	if q.head++; q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
		if cap(q.list) > 4096 {
			q.list = nil // after a rush
		}
	} else if q.head > 4096 && q.head > len(q.list)/2 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	return a
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list) - q.head
}
