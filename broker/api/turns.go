package api

import (
	"context"
	"sync"

	"github.com/hwangso/hwangso/store"
)

// turns makes changes of one thing go one after the other, where a limit or a hand-over is decided from what stands
// before the change. Things share 64 turns; waiting for a stranger's costs one commit.
type turns struct {
	slots [64]chan struct{} // each holds a token when it is nobody's turn
}

func (t *turns) init() {
	for i := range t.slots {
		t.slots[i] = make(chan struct{}, 1)
		t.slots[i] <- struct{}{}
	}
}

// take waits for the turn. done must be called; turns do not nest.
func (t *turns) take(ctx context.Context, id uint64) (done func(), err error) {
	slot := t.slots[id%uint64(len(t.slots))]
	select {
	case <-slot:
		return func() { slot <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, &store.Error{Code: store.CodeUnavailable, Text: "too much is being changed at once", Retry: store.ErrUnavailable.Retry, Err: ctx.Err()}
	}
}

// busy counts the requests of each user that are under way. It costs nothing for a user without one.
type busy struct {
	mu sync.Mutex
	by map[store.AccountID]int
}

func (b *busy) enter(a store.AccountID, limit int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by[a] >= limit {
		return false
	}
	b.by[a]++
	return true
}

func (b *busy) leave(a store.AccountID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by[a]--; b.by[a] == 0 {
		delete(b.by, a)
	}
}
