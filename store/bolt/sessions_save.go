package bolt

import (
	"context"

	"github.com/hwangso/hwangso/store"
)

// SaveSession replaces a row.
func (s *sessions) SaveSession(ctx context.Context, sess *store.Session) error {
	row := rowOf(sess)
	if len(row.cursors) > 0 && row.cursors[0].log == 0 {
		return store.Bad("there is no log 0")
	}
	for _, f := range row.filters {
		if f.QoS > filterQoS {
			return store.Bad("no such QoS")
		}
	}
	if row.epoch == 0 {
		row.epoch = s.opt.Epoch()
	}
	s.place(&row)
	return s.replace(ctx, sessionKey{sess.Account, sess.Device}, appendSession(nil, &row))
}

// DeleteSession removes a row.
func (s *sessions) DeleteSession(ctx context.Context, a store.AccountID, d store.DeviceID) error {
	return s.replace(ctx, sessionKey{a, d}, nil)
}

// replace puts a packed row in the place of the row and of everything put before.
func (s *sessions) replace(ctx context.Context, key sessionKey, packed []byte) error {
	sv := &save{row: packed, done: make(chan struct{})}
	c := &change{
		apply:     func(w *writeTx) error { return writeSession(w, key, packed) },
		committed: func(err error) { s.saved(key, sv, err) },
		done:      make(chan struct{}),
	}
	for {
		if err := s.file.reserve(ctx); err != nil {
			return err
		}
		busy, err := s.beginSave(key, sv, c)
		if err != nil {
			return err
		}
		if busy == nil {
			return s.file.wait(ctx, c)
		}
		s.file.release()
		select { // another save of the same device; takeovers are serial, so this is rare
		case <-busy:
		case <-ctx.Done():
			return s.file.notApplied(ctx.Err())
		}
	}
}

// beginSave hands the save to the writer, unless another one of the device is under way: then it returns its end.
func (s *sessions) beginSave(key sessionKey, sv *save, c *change) (busy <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pendingOf(key)
	if p.save != nil {
		return p.save.done, nil
	}
	// The order of saves and flushes of a device in the writer's queue is their order here, hence under the mutex.
	if err := s.file.enqueue(c); err != nil {
		s.settle(key, p)
		return nil, err
	}
	p.save = sv
	return nil, nil
}

// saved ends a save: what was put before is obsolete, if it worked.
func (s *sessions) saved(key sessionKey, sv *save, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[key]
	s.weight -= p.weight()
	if err == nil {
		p.before = nil
	}
	p.before, p.after, p.save = p.before.merge(p.after), nil, nil
	p.settled++
	s.weight += p.weight()
	s.settle(key, p)
	if p.before != nil {
		signal(s.work)
	}
	close(sv.done)
}

// pendingOf returns what waits for a device. With the mutex held.
func (s *sessions) pendingOf(key sessionKey) *pending {
	p := s.pending[key]
	if p == nil {
		p = &pending{}
		s.pending[key] = p
	}
	return p
}

// settle forgets a device for which nothing waits any more. With the mutex held.
func (s *sessions) settle(key sessionKey, p *pending) {
	if p.empty() {
		delete(s.pending, key)
	}
}

// place computes where the expiry index lists a row.
func (s *sessions) place(row *sessionRow) {
	row.deadline, row.boot = 0, 0
	switch {
	case !row.present:
	case row.disconnected == 0:
		row.boot = s.boot
	default:
		row.deadline = row.disconnected + int64(row.expiry)*1000
	}
}

// writeSession puts a packed row, or removes it, and keeps the expiry index in step.
func writeSession(w *writeTx, key sessionKey, packed []byte) error {
	rows := w.bucket(stateSessions)
	k := key.bytes()
	if old := rows.Get(k); old != nil {
		r := rowReader{b: old}
		head := readSessionHead(&r) // of a damaged row nothing is left but perhaps an index row, which expiry drops
		if err := head.unlist(w, k); err != nil {
			return err
		}
	}
	if packed == nil {
		return rows.delete(k)
	}
	r := rowReader{b: packed}
	head := readSessionHead(&r)
	if head.boot != 0 {
		if err := w.bucket(stateConnected).put(append(key64(head.boot), k...), []byte{}); err != nil {
			return err
		}
	}
	if head.deadline != 0 {
		if err := w.bucket(stateDeadlines).put(append(key64(uint64(head.deadline)), k...), []byte{}); err != nil {
			return err
		}
	}
	return rows.put(k, packed)
}

// unlist removes the row from the expiry index.
func (r *sessionRow) unlist(w *writeTx, k []byte) error {
	if r.boot != 0 {
		if err := w.bucket(stateConnected).delete(append(key64(r.boot), k...)); err != nil {
			return err
		}
	}
	if r.deadline != 0 {
		return w.bucket(stateDeadlines).delete(append(key64(uint64(r.deadline)), k...))
	}
	return nil
}
