package bridge

import (
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// arrived notes messages for a device. One that is connected and in use has some seconds to acknowledge them before
// anything else is looked at: that is what happens to nearly every message, so it costs an entry in memory and one
// look after those seconds. For any other the rules are asked at once, unless a row waits already that tells of them too.
func (b *Bridge) arrived(k key, p graph.PushProvider, w *walk, seg *segment) error {
	now := b.now().UnixMilli()
	connected, overdue, background := b.live.Link(k.account, k.device)
	sh := b.table.shard(k.account)
	if connected && !background {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		r := b.table.make(sh, k)
		r.provider = p
		fresh := r.idle()
		r.news.add(w.first, w.last, w.time, now, seg, b.apart)
		if fresh {
			grace := b.cfg.Grace
			if overdue {
				grace = b.cfg.Overdue
			}
			b.await(r, now+grace.Milliseconds(), w.time)
		}
		return nil
	}
	return b.within(k, func(r *bell, st *state, make func() *bell) {
		if r == nil && st != nil && (w.last <= st.Done || st.waiting() && st.Reason != ReasonQuiet) {
			return
		}
		r = make()
		r.provider = p
		r.news.add(w.first, w.last, w.time, now, seg, b.apart)
		if r.due == 0 && r.fly == nil {
			b.enqueue(r)
		}
	})
}

// within calls fn under the shard's lock with the ring (nil: there is none in memory), with what its row says (nil: no
// row), and with what brings it into memory.
func (b *Bridge) within(k key, fn func(r *bell, st *state, make func() *bell)) error {
	sh := b.table.shard(k.account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var st *state
	r := sh.find(k)
	for r == nil || !r.loaded {
		age := sh.rows
		sh.mu.Unlock()
		var err error
		st, err = b.load(k)
		sh.mu.Lock()
		if err != nil {
			return err
		}
		if r = sh.find(k); sh.rows == age {
			break
		}
	}
	if r != nil && r.loaded {
		st = r.st
	}
	fn(r, st, func() *bell {
		if r == nil {
			r = b.table.make(sh, k)
			r.loaded, r.st = true, st
		}
		return r
	})
	return nil
}

// await lets a ring in memory wait. The caller holds the shard's mu.
func (b *Bridge) await(r *bell, at, age int64) {
	r.due = max(1, at)
	b.soon.add(r, r.due, age)
	b.stir()
}

// enqueue has a worker look at a ring. The caller holds the shard's mu.
func (b *Bridge) enqueue(r *bell) {
	r.todo = true
	a := r.a
	if a.queued || a.working {
		return
	}
	a.queued = true
	b.queue.push(a)
}

// touch is enqueue because of an entry of the journal that has to be seen to, after a crash too. What a push tells that is
// under way was decided before that: the ring is looked at once more after it.
func (b *Bridge) touch(r *bell, seg *segment) {
	r.touched = r.touched || r.fly != nil
	if seg != nil && r.kick == nil {
		seg.hold()
		r.kick = seg
	}
	b.enqueue(r)
}

// devices calls fn for each device of a user that a provider is set up for, with the key of its summary.
func (b *Bridge) devices(a store.AccountID, fn func(k key) error) error {
	list, err := b.graph.Registrations(a)
	if err != nil {
		return err
	}
	for i := range list {
		if _, ours := b.lanes[list[i].Provider]; ours {
			if err := fn(key{account: a, device: list[i].Device}); err != nil {
				return err
			}
		}
	}
	return nil
}

// changed looks again at what a user's devices are to be told, or show, of a log. Messages up to read need no look: they
// are settled.
func (b *Bridge) changed(a store.AccountID, log store.LogID, read store.Seq, seg *segment) error {
	return b.devices(a, func(k key) error {
		for _, l := range [...]store.LogID{log, 0} {
			k.log = l
			err := b.within(k, func(r *bell, st *state, make func() *bell) {
				shows := st != nil && (st.Shown != 0 || st.First != 0)
				switch {
				case r != nil && !shows && !r.loaded && !r.todo && !r.a.working && l != 0 && read >= r.news.last:
					b.metrics.decided(r.provider, ReasonRead) // it is connected, and was not looked at yet
					r.news.drop()
					r.due = 0
					b.table.sweep(b.table.shard(a), r.a)
				case r != nil, shows:
					b.touch(make(), seg)
				}
			})
			if err != nil {
				return err
			}
			if log == 0 {
				return nil
			}
		}
		return nil
	})
}

// shown looks again at what a device shows of a log in which a message was taken back.
func (b *Bridge) shown(k key, recalled store.Seq, seg *segment) error {
	return b.within(k, func(r *bell, st *state, make func() *bell) {
		if st != nil && st.Shown >= recalled || r != nil && r.fly != nil {
			b.touch(make(), seg)
		}
	})
}

// Detached tells that a connection of a device has ended: what waits for its acknowledgement, and what waits because the
// user was there, is looked at at once. It returns at once.
func (b *Bridge) Detached(a store.AccountID, d store.DeviceID) {
	sh := b.table.shard(a)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.accounts[a]
	if u == nil {
		return
	}
	for _, r := range u.rings {
		if r.due != 0 && (r.device == d || r.why == ReasonActive) || u.looksAt(r) {
			b.enqueue(r)
		}
	}
}

// looksAt reports whether a worker may be deciding about a ring at this moment, from what was so before.
func (a *account) looksAt(r *bell) bool { return a.working && r.due == 0 && r.fly == nil }

// Changed tells that something else about a user and a conversation has changed than what the journal tells (a block, a
// mute, who is a favourite), so that a message that a device shows may have to go. log 0: of all its conversations. What a
// crash cuts short is not repeated.
func (b *Bridge) Changed(a store.AccountID, log store.LogID) error {
	b.unreads.forget(a) // the journal tells the counter too, but perhaps only after a worker has asked it
	if log != 0 {
		return b.changed(a, log, 0, nil)
	}
	for after := ""; ; {
		rows, err := b.store.Rows(tableRing, store.OwnerOf(a), "", after, 1000)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.Key
			k, ok := keyOfRow(row)
			if !ok {
				continue
			}
			err := b.within(k, func(r *bell, st *state, make func() *bell) {
				if r != nil || st != nil {
					b.touch(make(), nil)
				}
			})
			if err != nil {
				return err
			}
		}
		if len(rows) < 1000 {
			break
		}
	}
	sh := b.table.shard(a)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.accounts[a]; u != nil {
		for _, r := range u.rings {
			if r.due != 0 || u.looksAt(r) {
				b.enqueue(r)
			}
		}
	}
	return nil
}
