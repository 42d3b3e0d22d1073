package bolt

import (
	"bytes"
	"context"
	"encoding/binary"

	bbolt "go.etcd.io/bbolt"
)

// ExpireSessions ends sessions whose time is over.
func (s *sessions) ExpireSessions(ctx context.Context, now int64, max int) (int, error) {
	if max <= 0 {
		max = expireRows
	}
	for done := 0; done < max; {
		n := 0
		if err := s.file.update(ctx, func(w *writeTx) (err error) {
			n, err = s.adopt(w, min(expireRows, max-done))
			return err
		}, nil); err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	ended := 0
	for ended < max {
		n, seen := 0, 0
		if err := s.file.update(ctx, func(w *writeTx) (err error) {
			n, seen, err = s.expire(w, now, min(expireRows, max-ended))
			return err
		}, nil); err != nil {
			return ended, err
		}
		ended += n
		if seen < expireRows || n == 0 {
			break
		}
	}
	return ended, nil
}

// adopt gives sessions that were connected when an earlier run died a deadline counted from the start of this run.
func (s *sessions) adopt(w *writeTx, max int) (n int, err error) {
	for _, entry := range listed(w.bucket(stateConnected).Bucket, s.boot, max) {
		n++
		key, err := decodeSessionKey(entry[8:])
		if err != nil {
			return n, err
		}
		row, err := getSession(w.tx, key)
		if err == nil && row != nil && row.boot == binary.BigEndian.Uint64(entry) {
			row.boot, row.deadline = 0, s.started+int64(row.expiry)*1000
			err = writeSession(w, key, appendSession(nil, row)) // the old index row goes with it
			if err != nil {
				return n, err
			}
			continue
		}
		if err != nil {
			s.opt.Log.Error("damaged session", "err", err)
		}
		if err := w.bucket(stateConnected).delete(entry); err != nil {
			return n, err
		}
	}
	return n, nil
}

// expire ends the sessions with a deadline up to now. Devices for which something waits are left for the next time.
func (s *sessions) expire(w *writeTx, now int64, max int) (ended, seen int, err error) {
	if now < 0 {
		return 0, 0, nil
	}
	for _, entry := range listed(w.bucket(stateDeadlines).Bucket, uint64(now)+1, max) {
		seen++
		key, err := decodeSessionKey(entry[8:])
		if err != nil {
			return ended, seen, err
		}
		if s.waits(key) {
			continue
		}
		row, err := getSession(w.tx, key)
		if err == nil && row != nil && row.deadline == int64(binary.BigEndian.Uint64(entry)) {
			row.present, row.filters, row.inflight = false, nil, nil
			s.place(row)
			if err := writeSession(w, key, appendSession(nil, row)); err != nil {
				return ended, seen, err
			}
			ended++
			continue
		}
		if err != nil {
			s.opt.Log.Error("damaged session", "err", err)
		}
		if err := w.bucket(stateDeadlines).delete(entry); err != nil {
			return ended, seen, err
		}
	}
	return ended, seen, nil
}

func (s *sessions) waits(key sessionKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending[key] != nil
}

// listed returns at most max keys of an index bucket whose leading number is less than before.
func listed(b *bbolt.Bucket, before uint64, max int) (out [][]byte) {
	c := b.Cursor()
	for k, _ := c.First(); k != nil && len(out) < max && len(k) == 24; k, _ = c.Next() {
		if binary.BigEndian.Uint64(k) >= before {
			break
		}
		out = append(out, bytes.Clone(k))
	}
	return out
}
