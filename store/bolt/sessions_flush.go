package bolt

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/hwangso/hwangso/store"
)

// PutCursors notes cursors.
func (s *sessions) PutCursors(a store.AccountID, d store.DeviceID, cursors map[store.LogID]store.Cursor) {
	if len(cursors) > 0 {
		s.put(sessionKey{a, d}, &put{cursors: sortCursors(cursors)})
	}
}

// PutDisconnect notes cursors and the end of a connection.
func (s *sessions) PutDisconnect(a store.AccountID, d store.DeviceID, cursors map[store.LogID]store.Cursor, at int64, inflight []store.Inflight) {
	s.put(sessionKey{a, d}, &put{
		cursors:      sortCursors(cursors),
		disconnected: true,
		at:           at,
		inflight:     slices.Clone(inflight),
	})
}

// put notes what a connection reported. When so much waits that the disk must be failing or far behind, it is
// dropped: the row then keeps an older cursor, and the device gets some messages again.
func (s *sessions) put(key sessionKey, p *put) {
	for len(p.cursors) > 0 && p.cursors[0].log == 0 {
		p.cursors = p.cursors[1:] // there is no log 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.weight >= flushDrop {
		s.dropped++
		return
	}
	all := s.pendingOf(key)
	s.weight -= all.weight()
	all.add(p)
	s.weight += all.weight()
	signal(s.work)
	if s.weight >= flushFull {
		signal(s.full)
	}
}

// flusher writes what waits, a little later so that it collects, until Close. What could not be written waits again,
// and for the whole time: much that waits must not make it spin on a broken disk.
func (s *sessions) flusher() {
	failed := false
	for {
		select {
		case <-s.work:
		case <-s.quit:
			return
		}
		full := s.full
		if failed {
			full = nil
		}
		later := time.NewTimer(s.opt.Every)
		select {
		case <-later.C:
		case <-full:
		case <-s.quit:
			later.Stop()
			return
		}
		later.Stop()
		if failed = s.flush(context.Background()) != nil; failed {
			signal(s.work)
		}
	}
}

// flush writes what waits now, in slices, in the order of the rows.
func (s *sessions) flush(ctx context.Context) error {
	err := s.flushReaders(ctx)
	for keys := s.waiting(); len(keys) > 0 && err == nil; {
		n := min(len(keys), flushRows)
		err = s.flushSlice(ctx, keys[:n])
		keys = keys[n:]
	}
	s.mu.Lock()
	before, dropped := s.failing, s.dropped
	s.failing = err
	if err == nil {
		s.dropped = 0
	}
	s.mu.Unlock()
	switch {
	case err != nil && before == nil:
		s.opt.Log.Error("sessions cannot be written", "err", err)
	case err == nil && before != nil:
		s.opt.Log.Info("sessions are written again", "dropped", dropped)
	}
	return err
}

// waiting lists the devices with something to flush, ordered. Those with a save under way come later.
func (s *sessions) waiting() []sessionKey {
	s.mu.Lock()
	keys := make([]sessionKey, 0, len(s.pending))
	for key, p := range s.pending {
		if p.flushable() {
			keys = append(keys, key)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(keys, sessionKey.compare)
	return keys
}

// flushable: a put from before a save must not be written after it, so it waits until the save has an outcome.
func (p *pending) flushable() bool { return p.before != nil && p.save == nil && p.flushing == nil }

// flushSlice writes the rows of some devices in one transaction.
func (s *sessions) flushSlice(ctx context.Context, keys []sessionKey) error {
	if err := s.file.reserve(ctx); err != nil {
		return err
	}
	type item struct {
		key sessionKey
		put *put
	}
	var items []item
	c := &change{
		apply: func(w *writeTx) error {
			for _, it := range items {
				if err := s.writePut(w, it.key, it.put); err != nil {
					return err
				}
			}
			return nil
		},
		committed: func(err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, it := range items {
				s.flushed(it.key, err)
			}
		},
		done: make(chan struct{}),
	}
	s.mu.Lock()
	for _, key := range keys {
		if p := s.pending[key]; p != nil && p.flushable() {
			p.flushing, p.before = p.before, nil
			items = append(items, item{key, p.flushing})
		}
	}
	err := s.file.enqueue(c) // under the mutex: see beginSave
	if err != nil {
		for _, it := range items {
			s.flushed(it.key, err)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	<-c.done
	if s.opt.Flushed != nil {
		s.opt.Flushed(len(items), c.err)
	}
	return c.err
}

// writePut merges a put into its row. A device without a row is a guest: nothing is kept. A damaged row is left as it
// is, for whoever looks after it.
func (s *sessions) writePut(w *writeTx, key sessionKey, p *put) error {
	row, err := getSession(w.tx, key)
	if err != nil {
		s.opt.Log.Error("damaged session", "err", err)
		return nil
	}
	if row == nil {
		return nil
	}
	if err := s.capRow(row); err != nil {
		return err
	}
	p.applyTo(row)
	s.place(row)
	return writeSession(w, key, appendSession(nil, row))
}

// flushed ends the flush of one device. With the mutex held.
func (s *sessions) flushed(key sessionKey, err error) {
	p := s.pending[key]
	s.weight -= p.weight()
	if err != nil {
		p.before = p.flushing.clone().merge(p.before)
	}
	p.flushing = nil
	p.settled++
	s.weight += p.weight()
	s.settle(key, p)
}

// flushReaders writes the positions of the followers that moved.
func (s *sessions) flushReaders(ctx context.Context) error {
	moved := map[string]store.Position{}
	s.mu.Lock()
	for name, r := range s.readers {
		if r.dirty {
			moved[name] = r.position
		}
	}
	s.mu.Unlock()
	if len(moved) == 0 {
		return nil
	}
	err := s.file.update(ctx, func(w *writeTx) error {
		for name, p := range moved {
			if err := w.bucket(stateReaders).put([]byte(name), key64(uint64(p))); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range moved {
		if r := s.readers[name]; r.position == p {
			s.readers[name] = reader{position: p}
		}
	}
	return nil
}

// joinClose closes after a failure or a success and keeps both errors.
func joinClose(err error, c io.Closer) error { return errors.Join(err, c.Close()) }
