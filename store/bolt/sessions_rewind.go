package bolt

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/hwangso/hwangso/store"
)

// rewind is a cursor that goes back: what was acknowledged before is put into it first.
type rewind struct {
	log   store.LogID
	upto  store.Seq // acknowledged before, 0: nothing new
	after store.Seq
}

// applyTo changes a list of cursors. A log without a cursor has nothing to take back.
func (w rewind) applyTo(list []logCursor) []logCursor {
	if w.upto > 0 {
		list = mergeCursors(list, []logCursor{{w.log, store.Cursor{Acked: w.upto}}})
	}
	if i, found := findCursor(list, w.log); found {
		list[i].Cursor = list[i].Rewind(w.after)
	}
	return list
}

// dropInflight leaves out what was in flight of a log beyond a sequence. It changes no list in place.
func dropInflight(list []store.Inflight, log store.LogID, after store.Seq) []store.Inflight {
	gone := func(f store.Inflight) bool { return f.Log == log && f.Seq > after }
	if !slices.ContainsFunc(list, gone) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), gone)
}

func findCursor(list []logCursor, log store.LogID) (int, bool) {
	return slices.BinarySearchFunc(list, log, func(have logCursor, log store.LogID) int { return cmp.Compare(have.log, log) })
}

// addRewind notes that a cursor goes back after all that the put says so far.
func (p *put) addRewind(w rewind) {
	p.inflight = dropInflight(p.inflight, w.log, w.after)
	if i, found := findCursor(p.cursors, w.log); found {
		w.upto = max(w.upto, p.cursors[i].Acked)
		p.cursors = slices.Delete(p.cursors, i, i+1)
	}
	for i, old := range p.rewinds {
		if old.log != w.log {
			continue
		}
		if w.upto <= w.after { // what was read since does not reach there: only the older one takes back
			p.rewinds[i].after = min(old.after, w.after)
			if w.upto > 0 {
				p.cursors = mergeCursors(p.cursors, []logCursor{{w.log, store.Cursor{Acked: w.upto}}})
			}
		} else {
			p.rewinds[i] = rewind{w.log, max(old.upto, w.upto), w.after}
		}
		return
	}
	p.rewinds = append(p.rewinds, w)
}

// Rewind takes cursors back. The rows change durably; what waits for being written is amended in memory, in the order in
// which it was put.
func (s *sessions) Rewind(ctx context.Context, a store.AccountID, log store.LogID, after store.Seq) error {
	if err := s.file.reserve(ctx); err != nil {
		return err
	}
	c := &change{
		apply: func(w *writeTx) error { return s.rewindRows(w, a, log, after) },
		done:  make(chan struct{}),
	}
	s.mu.Lock()
	err := s.file.enqueue(c) // under the mutex: see beginSave
	if err == nil {
		for key, p := range s.pending {
			if key.account == a {
				s.weight -= p.weight()
				p.add(&put{rewinds: []rewind{{log: log, after: after}}})
				s.weight += p.weight()
				signal(s.work)
			}
		}
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.file.wait(ctx, c)
}

func (s *sessions) rewindRows(w *writeTx, a store.AccountID, log store.LogID, after store.Seq) error {
	type packed struct {
		key sessionKey
		row []byte
	}
	var changed []packed
	prefix := key64(uint64(a))
	cur := w.bucket(stateSessions).Cursor()
	for k, v := cur.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		key, err := decodeSessionKey(k)
		if err != nil {
			return err
		}
		row, err := decodeSession(v)
		if err != nil {
			s.opt.Log.Error("damaged session", "err", corrupt(key.String(), err))
			continue
		}
		if err := s.capRow(&row); err != nil {
			return err
		}
		inflight := dropInflight(row.inflight, log, after)
		i, found := findCursor(row.cursors, log)
		if found = found && row.cursors[i].Acked > after; found {
			row.cursors[i].Cursor = row.cursors[i].Rewind(after)
		}
		if !found && len(inflight) == len(row.inflight) {
			continue
		}
		row.inflight = inflight
		changed = append(changed, packed{key, appendSession(nil, &row)})
	}
	for _, p := range changed {
		if err := writeSession(w, p.key, p.row); err != nil {
			return err
		}
	}
	return nil
}
