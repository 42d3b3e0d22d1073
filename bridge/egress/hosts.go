package egress

import (
	"context"
	"sync"
	"time"
)

// patience is how long a request waits for another one to the same host to end.
const patience = 2 * time.Second

// Hosts bounds what is under way to each host. Make one with NewHosts; it may be used from any goroutine.
type Hosts struct {
	most int

	mu   sync.Mutex
	open map[string]*host // those with a request under way or waiting
}

// NewHosts bounds requests to each host to most at once.
func NewHosts(most int) *Hosts { return &Hosts{most: most, open: make(map[string]*host)} }

type host struct {
	slots chan struct{}
	users int // guarded by Hosts.mu; with none it is forgotten
}

// Take waits up to two seconds for a slot of a host; false: there was none in time. After true, leave must be called.
func (h *Hosts) Take(ctx context.Context, name string) (leave func(), ok bool) {
	h.mu.Lock()
	e := h.open[name]
	if e == nil {
		e = &host{slots: make(chan struct{}, h.most)}
		h.open[name] = e
	}
	e.users++
	h.mu.Unlock()
	forget := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if e.users--; e.users == 0 {
			delete(h.open, name)
		}
	}
	leave = func() {
		<-e.slots
		forget()
	}
	select {
	case e.slots <- struct{}{}:
		return leave, true
	default:
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case e.slots <- struct{}{}:
		return leave, true
	case <-t.C:
	case <-ctx.Done():
	}
	forget()
	return nil, false
}

// Len is how many hosts have a request under way or waiting.
func (h *Hosts) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}
