package bolt

import (
	"context"
	"errors"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

const (
	followEntries = 2048    // entries that a follower who is behind gets at a time
	followBytes   = 1 << 20 // and their bytes in the journal
)

var errEnough = errors.New("enough")

// Follow implements store.Log. Entries without Record and Mark are releases, which name no log, and creations, which
// do. Edits and recalls that everybody sees are applied to the records as far as they are durable when Follow returns;
// what only their sender may see is decided by Read alone.
func (l *logs) Follow(ctx context.Context, from store.Position) (store.Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return store.Batch{}, err
		}
		if journal.Position(from) < l.journal.First() {
			return store.Batch{}, &store.Error{Code: store.CodeTrimmed, Text: store.ErrTrimmed.Text}
		}
		b, wait, behind, closed := l.ring.get(journal.Position(from))
		switch {
		case closed:
			return b, store.ErrClosed
		case behind:
			if b, err := l.scan(journal.Position(from)); err != nil || len(b.Entries) > 0 {
				return b, err
			} else if b.Next > from {
				from = b.Next // nothing but states
				continue
			}
			return b, store.Bad("not a position of the journal")
		case wait == nil:
			if len(b.Entries) == 0 {
				from = b.Next
				continue
			}
			return b, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
}

// scan reads entries from the journal.
func (l *logs) scan(from journal.Position) (store.Batch, error) {
	b := store.Batch{Next: store.Position(from)}
	end := l.ring.end()
	err := l.journal.Scan(from, func(pos, next journal.Position, data []byte) error {
		if pos >= end || len(b.Entries) >= followEntries || next-from > followBytes && len(b.Entries) > 0 {
			return errEnough
		}
		e, ok, err := l.entry(pos, data)
		if err != nil {
			return err
		}
		if ok {
			b.Entries = append(b.Entries, e)
		}
		b.Next = store.Position(next)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		if isTrimmed(err) {
			return store.Batch{}, &store.Error{Code: store.CodeTrimmed, Text: store.ErrTrimmed.Text, Err: err}
		}
		return store.Batch{}, l.readError(err)
	}
	return b, nil
}

// entry makes an entry of a journal record, with key and members as they are now. ok is false for states.
func (l *logs) entry(pos journal.Position, data []byte) (e store.Entry, ok bool, err error) {
	r, err := decodeRecord(data)
	if err != nil {
		return e, false, err
	}
	e.Position = store.Position(pos)
	switch r.typ {
	case typeState:
		return e, false, nil
	case typeRelease:
		return e, true, nil
	}
	st, err := l.states.pin(r.log)
	if err != nil {
		return e, false, err
	}
	defer st.unpin()
	st.mu.Lock()
	e.Key, e.Members = st.key, st.members
	opsMax := st.opsMax
	st.mu.Unlock()
	switch r.typ {
	case typeMark:
		e.Mark = &store.Mark{Log: r.log, Account: r.sender, Seq: r.seq}
	case typePrivate, typeMessage:
		if e.Record, err = l.unseal(&r, pos); err != nil {
			return e, false, err
		}
		if r.typ == typeMessage && (r.seq <= opsMax || r.op.Kind == store.OpEdit) {
			e.Record, err = l.operate(st, e.Record)
		}
	}
	return e, true, err
}
