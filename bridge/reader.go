package bridge

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

// readerName names the durable position in the journal.
const readerName = "bridge"

// tableBegun has one row, of nobody: where the first bridge of this store began to read. The position itself is written
// lazily, so a crash within the first seconds would leave none, and what was committed in them would never ring.
const tableBegun store.Table = "service.pushbegun"

// begin is where to read from: the position; on a store that had no bridge before its end, because nobody is to be woken
// for what was written when there was none.
func (b *Bridge) begin(ctx context.Context) (store.Position, error) {
	at, err := b.store.ReaderPosition(readerName)
	if err != nil {
		return 0, fmt.Errorf("bridge: position: %w", err)
	}
	row, err := b.store.Row(tableBegun, "", "")
	if err != nil {
		return 0, fmt.Errorf("bridge: %s: %w", tableBegun, err)
	}
	first, end := b.store.Bounds()
	switch {
	case len(row.Value) == 8:
		at = max(at, store.Position(binary.BigEndian.Uint64(row.Value)))
	case at == 0:
		at = end
		put := store.RowPut{Table: tableBegun, Value: binary.BigEndian.AppendUint64(nil, uint64(at))}
		if err := b.store.Update(ctx, store.Update{Rows: []store.RowPut{put}}); err != nil {
			return 0, fmt.Errorf("bridge: %s: %w", tableBegun, err)
		}
	}
	if at < first || at > end {
		b.log.Warn("the journal does not have the position of the push bridge any more", "position", at, "first", first, "end", end)
		at = min(max(at, first), end)
	}
	return at, nil
}

// follow reads the journal until ctx ends.
func (b *Bridge) follow(ctx context.Context, at store.Position) {
	for ctx.Err() == nil {
		batch, err := b.store.Follow(ctx, at)
		if store.CodeOf(err) == store.CodeTrimmed {
			first, _ := b.store.Bounds()
			b.log.Warn("retention has removed what the push bridge has not read", "position", at, "first", first)
			at = first
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			b.log.Error("journal not read", keyErr, err)
			pause(ctx, time.Second)
			continue
		}
		for len(batch.Entries) > 0 {
			n, next := min(len(batch.Entries), segmentEntries), batch.Next
			if n < len(batch.Entries) {
				next = batch.Entries[n].Position
			}
			if !b.readSegment(ctx, at, next, batch.Entries[:n]) {
				return
			}
			batch.Entries, at = batch.Entries[n:], next
		}
		at = batch.Next
		b.read.Store(uint64(at))
		b.stir()
	}
}

// readSegment looks at a run of entries; false: ctx has ended.
func (b *Bridge) readSegment(ctx context.Context, from, next store.Position, entries []store.Entry) bool {
	seg := b.ledger.begin(from, next, len(entries))
	for i := range entries {
		if !b.room(ctx) {
			return false // the segment stays held: it is read again by the next bridge
		}
		b.judge.noted(&entries[i])
		if !b.entry(ctx, &entries[i], seg) {
			return false
		}
	}
	b.metrics.entries.Add(float64(len(entries)))
	seg.release()
	return true
}

// room waits until there are fewer rings in memory than there may be: the journal is the queue.
func (b *Bridge) room(ctx context.Context) bool {
	for b.table.len() >= b.limits.rings {
		t := time.NewTimer(100 * time.Millisecond) // two may wait, and one is told
		select {
		case <-ctx.Done():
		case <-b.table.shrunk:
		case <-t.C:
		}
		t.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
	return ctx.Err() == nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// entry looks at one entry. false: ctx has ended before it was looked at.
func (b *Bridge) entry(ctx context.Context, e *store.Entry, seg *segment) bool {
	if m := e.Mark; m != nil {
		return b.insist(ctx, m.Account, func() error { return b.changed(m.Account, m.Log, m.Seq, seg) })
	}
	r := e.Record
	if r == nil {
		return true
	}
	switch r.Change.Kind {
	case store.ChangeNone:
	case store.ChangeLeave, store.ChangeRemove, store.ChangeDelete, store.ChangeAccept, store.ChangeDecline:
		a := r.Change.Account
		return b.insist(ctx, a, func() error { return b.changed(a, r.Log, 0, seg) })
	default:
		return true
	}
	if e.Key.Posts() {
		return b.post(ctx, e)
	}
	w := walk{log: r.Log, key: e.Key, members: e.Members}
	switch {
	case r.Seq == 0, r.Audience == store.AudienceSender, r.Kind == store.KindSystem:
		return true
	case r.Op.Kind == store.OpRecall:
		w.recalled = r.Op.Target
	case r.Op.Kind != store.OpNone, r.Recalled:
		return true
	default:
		w.first, w.last, w.time, w.sender = r.Seq, r.Seq, r.Time, r.Sender
	}
	if e.Key.Kind == store.LogRoom && e.Members != nil && len(e.Members.Members) > crowded {
		return b.crowd.add(ctx, w, seg)
	}
	return b.walk(ctx, &w, seg)
}

// walk is a message, or several of one log, or a recall, on its way to those whom it concerns.
type walk struct {
	log     store.LogID
	key     store.Key
	members *store.Membership

	first, last store.Seq // messages; 0: none
	time        int64     // of the first one
	sender      store.AccountID
	mixed       bool      // of several senders
	recalled    store.Seq // the oldest message that was taken back, 0: none
}

// walk goes through the receivers. false: ctx has ended before each was looked at.
func (b *Bridge) walk(ctx context.Context, w *walk, seg *segment) bool {
	switch w.key.Kind {
	case store.LogPair:
		if !b.reach(ctx, w, w.key.A, seg) {
			return false
		}
		return w.key.A == w.key.B || b.reach(ctx, w, w.key.B, seg)
	case store.LogNotice:
		return b.reach(ctx, w, w.key.A, seg)
	case store.LogRoom, store.LogThread:
		if w.members == nil {
			return true
		}
		for i := range w.members.Members {
			m := &w.members.Members[i]
			if m.Role == store.RoleNone {
				continue
			}
			if i%64 == 63 && !b.room(ctx) || !b.reach(ctx, w, m.Account, seg) {
				return false
			}
		}
	}
	return true
}

// reach looks at one receiver, until the store answers. One that has nothing registered costs the look at that. false: ctx
// has ended.
func (b *Bridge) reach(ctx context.Context, w *walk, a store.AccountID, seg *segment) bool {
	own := a == w.sender && !w.mixed
	if own && w.recalled == 0 {
		return true
	}
	err := b.tryReach(w, a, own, seg)
	if err == nil {
		return true
	}
	return b.insist(ctx, a, func() error { return b.tryReach(w, a, own, seg) })
}

func (b *Bridge) tryReach(w *walk, a store.AccountID, own bool, seg *segment) error {
	list, err := b.graph.Registrations(a)
	if err != nil {
		return err
	}
	for i := range list {
		p := list[i].Provider
		if _, ours := b.lanes[p]; !ours {
			continue
		}
		k := key{a, list[i].Device, w.log}
		if w.first != 0 && !own {
			if err := b.arrived(k, p, w, seg); err != nil {
				return err
			}
		}
		if w.recalled != 0 {
			if err := b.shown(k, w.recalled, seg); err != nil {
				return err
			}
		}
	}
	return nil
}

// damaged reports whether a row says nothing that could be understood, which another try does not change. One user's row
// must not keep everybody else from being woken.
func damaged(err error) bool {
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return true
	}
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}

// insist does something that can be done twice until the store lets it: the reader may not pass over what it could not
// look at. false: ctx has ended before.
func (b *Bridge) insist(ctx context.Context, a store.AccountID, do func() error) bool {
	for {
		err := do()
		if err == nil {
			return true
		}
		b.metrics.failures.Inc()
		if damaged(err) {
			b.log.Error("what a receiver registered cannot be read, nothing rings there", keyUser, a, keyErr, err)
			return true
		}
		b.log.Error("a receiver is not known", keyUser, a, keyErr, err)
		if pause(ctx, time.Second); ctx.Err() != nil {
			return false
		}
	}
}
