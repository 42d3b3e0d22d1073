package bridge

import (
	"context"
	"math"
	"time"

	"github.com/hwangso/hwangso/store"
)

const (
	tick      = 100 * time.Millisecond // how often Config.Now is looked at while something waits for it
	soonBatch = 1024                   // rings in memory that are looked at in one go
	rowBatch  = 256                    // rows that are
	rowPage   = 1000
	busyQueue = 2048 // accounts that wait for a worker beyond which no rows are brought in
)

// watch looks at what is due until ctx ends, and moves the durable position.
func (b *Bridge) watch(ctx context.Context) {
	soon := make([]due[*bell], 0, soonBatch)
	rows := make([]due[key], 0, rowBatch)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := b.now().UnixMilli()
		soon = b.soon.take(now, soon)
		for _, d := range soon {
			b.fell(d)
		}
		rows = rows[:0]
		if b.queue.len() < busyQueue && b.table.len() < b.limits.rings {
			rows = b.hints.take(now, rows)
			for _, d := range rows {
				b.fellRow(d, now)
			}
		}
		if b.hints.empties(now) && b.filling.CompareAndSwap(false, true) {
			b.readers.Go(func() { b.fill(ctx) })
		}
		waits := b.place()
		if len(soon) == cap(soon) || len(rows) == cap(rows) {
			continue
		}
		clear(soon[:cap(soon)])
		if waits || b.soon.len() > 0 || b.hints.waits() || b.filling.Load() {
			timer.Reset(tick)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-b.stirred:
		}
	}
}

// stir wakes watch where it waits for nothing in particular.
func (b *Bridge) stir() {
	select {
	case b.stirred <- struct{}{}:
	default:
	}
}

// place moves the durable position to where everything is settled. It reports whether something is not.
func (b *Bridge) place() (waits bool) {
	at, unsettled := b.ledger.passed()
	if at != b.placed {
		b.placed = at
		b.store.PutReaderPosition(readerName, at)
	}
	return unsettled > 0
}

// fell looks at a ring in memory that is due. One that is connected, was not looked at yet and has no row is settled here if
// it has acknowledged; with whatever else a worker deals.
func (b *Bridge) fell(d due[*bell]) {
	r := d.what
	sh := b.table.shard(r.account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r.due != d.at || sh.find(r.key) != r {
		return
	}
	if !r.fresh() {
		b.enqueue(r)
		return
	}
	first := r.news.first.seq
	sh.mu.Unlock()
	acked := b.acked(r.key, first)
	st, err := b.load(r.key)
	sh.mu.Lock()
	if r.due != d.at || sh.find(r.key) != r {
		return
	}
	late := r.news.first.seq < first // one came meanwhile of which nobody has asked
	if !r.fresh() || late || acked < first || st != nil || err != nil {
		b.enqueue(r)
		return
	}
	b.metrics.acked[r.provider].Inc()
	r.news.settle(acked)
	if r.news.first.seq == 0 {
		r.due = 0
		b.table.sweep(sh, r.a)
		return
	}
	r.news.since = d.at
	b.await(r, max(r.news.first.time+b.cfg.Grace.Milliseconds(), d.at+1), r.news.first.time)
}

// fresh reports whether a ring has nothing but messages for a device that was connected when they came.
func (r *bell) fresh() bool {
	return !r.loaded && !r.todo && !r.a.working && r.fly == nil && r.kick == nil && r.news.first.seq != 0
}

// acked is up to where a device that is connected and in use has acknowledged what begins with a message; 0: not that one,
// or it is not.
func (b *Bridge) acked(k key, first store.Seq) store.Seq {
	connected, _, background := b.live.Link(k.account, k.device)
	if !connected || background {
		return 0
	}
	c, err := b.live.Acked(k.account, k.device, k.log)
	switch {
	case err != nil:
		return 0 // a worker tells of it
	case first <= c.Below:
		return c.Below
	case first > c.From && first <= c.Acked:
		return c.Acked
	}
	return 0
}

// fellRow has a worker look at a row that is due.
func (b *Bridge) fellRow(d due[key], now int64) {
	err := b.within(d.what, func(r *bell, st *state, make func() *bell) {
		switch {
		case r != nil || st != nil && st.Due != 0:
			b.enqueue(make())
		case st == nil: // it has expired, or its account was erased
			b.rowsDue.Add(-1)
		}
	})
	if err != nil {
		b.metrics.failures.Inc()
		b.log.Error("row not read", keyUser, d.what.account, keyErr, err)
		b.hints.add(d.what, now+again.Milliseconds(), d.age)
	}
}

// fill reads all rows for the earliest ones that are due.
func (b *Bridge) fill(ctx context.Context) {
	defer b.stir()
	defer b.filling.Store(false)
	b.hints.fill()
	e := earliest{max: b.limits.hints, rest: math.MaxInt64}
	var owner store.Owner
	after, n := "", int64(0)
	for {
		rows, err := b.store.AllRows(tableRing, owner, after, rowPage)
		if err != nil || ctx.Err() != nil {
			b.hints.failed()
			if err != nil {
				b.log.Error("rows not read", keyErr, err)
				pause(ctx, again)
			}
			return
		}
		for _, r := range rows {
			owner, after = r.Owner, r.Key
			k, ok := keyOfRow(r)
			if !ok {
				continue
			}
			s, err := decodeState(r.Value)
			if err != nil {
				b.log.Error("row not readable", keyUser, k.account, keyDevice, k.device, keyLog, k.log, keyErr, err)
				continue
			}
			if s.Due != 0 {
				n++
				e.add(k, s.Due, s.Time)
			}
		}
		if len(rows) < rowPage {
			break
		}
	}
	b.hints.filled(e.list())
	if !b.filled {
		b.filled = true
		b.rowsDue.Add(n)
		close(b.ready)
	}
}
