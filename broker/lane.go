package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// bulkLane paces what nobody waits for to the second: catching up after a long absence. While there is chat, all
// sessions together get bulkRate records a second and chat the rest of the machine; while there is none, bulk is not
// paced.
type bulkLane struct {
	chat atomic.Int64 // messages let in, ever

	mu    sync.Mutex
	seen  int64     // chat at the begin of the present span
	since time.Time // of the present span
	busy  bool      // there was chat in the span before
	free  time.Time // when what was taken so far is paid for
}

const (
	bulkRate = 20_000                 // records a second beside chat
	bulkSpan = 100 * time.Millisecond // over which chat is counted
	bulkChat = 10                     // messages in a span that count as chat
)

// take notes that n bulk records were sent, and returns how long their session is to wait before the next ones.
func (l *bulkLane) take(n int, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	chat := l.chat.Load()
	if span := now.Sub(l.since); span >= bulkSpan {
		l.busy = chat-l.seen >= bulkChat && span < 10*bulkSpan
		l.seen, l.since = chat, now
	} else if chat-l.seen >= bulkChat {
		l.busy = true
	}
	if !l.busy {
		l.free = now
		return 0
	}
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(n) * time.Second / bulkRate)
	return l.free.Sub(now)
}

// Bulk waits until n records may be read for something that nobody waits for to the second, such as an archive: it
// shares the budget of devices that catch up, beside chat. The error is ctx's.
func (b *Broker) Bulk(ctx context.Context, n int) error {
	d := b.bulk.take(n, time.Now())
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
