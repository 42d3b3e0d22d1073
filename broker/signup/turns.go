package signup

import (
	"context"
	"encoding/binary"

	"github.com/hwangso/hwangso/store"
)

// turns makes changes of one thing go one after the other. Things share 64 turns; waiting for a stranger's costs a few
// commits. Turns of different kinds are taken in the order of Service's fields, so that nobody waits in a circle.
type turns [64]chan struct{} // each holds a token when it is nobody's turn

func (t *turns) init() {
	for i := range t {
		t[i] = make(chan struct{}, 1)
		t[i] <- struct{}{}
	}
}

// take waits for the turn. done must be called.
func (t *turns) take(ctx context.Context, id uint64) (done func(), err error) {
	slot := t[id%uint64(len(t))]
	select {
	case <-slot:
		return func() { slot <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, busy(ctx)
	}
}

func (t *turns) takeHash(ctx context.Context, h [32]byte) (done func(), err error) {
	return t.take(ctx, binary.BigEndian.Uint64(h[:]))
}

// enter waits for one of a bounded number of places.
func enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, busy(ctx)
	}
}

func busy(ctx context.Context) error {
	return &store.Error{Code: store.CodeUnavailable, Text: "too much at once", Retry: store.ErrUnavailable.Retry, Err: ctx.Err()}
}
