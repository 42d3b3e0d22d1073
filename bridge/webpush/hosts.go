package webpush

import (
	"context"
	"sync"
	"time"
)

// patience is how long a push waits for another one to the same host to end.
const patience = 2 * time.Second

// hosts bounds what is under way to each host.
type hosts struct {
	most int

	mu   sync.Mutex
	open map[string]*host // those with a push under way or waiting
}

type host struct {
	slots chan struct{}
	users int // guarded by hosts.mu; with none it is forgotten
}

// take waits for a slot of a host; false: there was none in time. After true, leave must be called.
func (h *hosts) take(ctx context.Context, name string) (leave func(), ok bool) {
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
