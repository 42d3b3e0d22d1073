package bolt

import (
	"errors"
	"fmt"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

const (
	retainEvery = time.Hour           // how often segments that are old enough are looked for
	packetAge   = 31 * 24 * time.Hour // unreleased QoS 2 identifiers outlive the longest session
	stateWait   = 1024                // state records that wait for their commit at a time
)

// retain removes the segments whose newest record is older than Config.Retention, oldest first, and sweeps what
// de-duplication does not need any more. While there is any hold no segment goes.
func (l *logs) retain() error {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	held, err := l.held()
	if err != nil {
		return fmt.Errorf("bolt: retention: %w", err)
	}
	if l.cfg.Retention > 0 && !held {
		before := l.now().Add(-l.cfg.Retention)
		for _, seg := range l.journal.Segments() {
			if !seg.Sealed || seg.Modified.After(before) {
				break
			}
			if err := l.removeSegment(seg); err != nil {
				return fmt.Errorf("bolt: retention: %w", err)
			}
		}
	}
	if err := l.sweepDevices(); err != nil {
		return fmt.Errorf("bolt: retention: %w", err)
	}
	return nil
}

// doomedLog is what a segment that goes holds of one log.
type doomedLog struct {
	newest store.Seq // of its messages, 0 without any
	full   bool      // it holds a creation or a state record
}

// removeSegment removes the oldest segment. Before it goes, every log whose newest creation or state record lies in it
// gets a new state record, and the index says where the logs begin now: so at every moment the index can be made anew
// from the journal alone, and no read meets a hole.
func (l *logs) removeSegment(seg journal.Segment) error {
	doomed, err := l.survey(seg)
	if err != nil {
		return err
	}
	ids := make([]store.LogID, 0, len(doomed))
	for id := range doomed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if err := l.restate(ids, doomed, seg.End); err != nil {
		return err
	}
	for _, id := range ids {
		if newest := doomed[id].newest; newest > 0 {
			if err := l.beginAt(id, newest+1); err != nil {
				return err
			}
		}
	}
	if err := l.checkpointNow(); err != nil {
		return err
	}
	if _, err := l.journal.DropBefore(seg.End); err != nil {
		return err
	}
	l.log.Info("segment removed", "end", seg.End, "logs", len(ids))
	return l.trimRows(ids)
}

func (l *logs) survey(seg journal.Segment) (map[store.LogID]doomedLog, error) {
	doomed := make(map[store.LogID]doomedLog)
	err := l.journal.Scan(seg.Base, func(pos, _ journal.Position, data []byte) error {
		if pos >= seg.End {
			return errEnough
		}
		r, err := decodeRecord(data)
		if err != nil {
			return fmt.Errorf("record at %d: %w", pos, err)
		}
		d := doomed[r.log]
		switch r.typ {
		case typeMessage:
			d.newest = r.seq
		case typeCreate, typeState:
			d.full = true
		default:
			return nil
		}
		doomed[r.log] = d
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return doomed, nil
}

// restate appends a state record for each log whose newest one lies before end.
func (l *logs) restate(ids []store.LogID, doomed map[store.LogID]doomedLog, end journal.Position) error {
	var waiting []*store.Pending
	wait := func() error {
		for _, p := range waiting {
			if _, err := p.Result(); err != nil {
				return err
			}
		}
		waiting = waiting[:0]
		return nil
	}
	for _, id := range ids {
		if !doomed[id].full {
			continue
		}
		st, err := l.states.pin(id)
		if err != nil {
			return err
		}
		st.mu.Lock()
		full := st.full
		st.mu.Unlock()
		if full >= end {
			st.unpin()
			continue
		}
		it := newItem()
		it.st, it.typ = st, typeState
		p := it.pending
		if err := l.join(it); err != nil {
			it.recycle()
			return errors.Join(err, wait())
		}
		if waiting = append(waiting, p); len(waiting) == stateWait {
			if err := wait(); err != nil {
				return err
			}
		}
	}
	return wait()
}

// beginAt moves a log's first sequence forward. From then on older ones read as trimmed.
func (l *logs) beginAt(id store.LogID, first store.Seq) error {
	st, err := l.states.pin(id)
	if err != nil {
		return err
	}
	defer st.unpin()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.first < first {
		st.first = first
		st.saved = 0 // its row is to be written
		l.dirty.addLog(st)
	}
	return nil
}

// trimRows removes the index rows of sequences that are gone, in slices.
func (l *logs) trimRows(ids []store.LogID) error {
	for len(ids) > 0 {
		n := 0
		err := l.ix.db.Update(func(tx *bbolt.Tx) error {
			blocks, ops := tx.Bucket(bucketBlocks), tx.Bucket(bucketOps)
			for rows := 0; n < len(ids) && rows < sliceRows; n++ {
				st, err := l.states.glance(ids[n])
				if err != nil {
					return err
				}
				id := uint64(ids[n])
				a, err := deleteRange(blocks, key2(id, 0), key2(id, blockOf(st.First)))
				if err != nil {
					return err
				}
				b, err := deleteRange(ops, key2(id, 0), key2(id, uint64(st.First)))
				if err != nil {
					return err
				}
				rows += a + b + 1
			}
			return nil
		})
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// deleteRange deletes the rows from a key up to and without another one.
func deleteRange(b *bbolt.Bucket, from, to []byte) (n int, err error) {
	c := b.Cursor()
	for k, _ := c.Seek(from); k != nil && string(k) < string(to); k, _ = c.Seek(from) {
		if err := c.Delete(); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// positionBefore is a position that lies before everything newer than a time: the end of the newest segment that is
// older as a whole.
func (l *logs) positionBefore(t time.Time) (pos journal.Position) {
	for _, seg := range l.journal.Segments() {
		if seg.Sealed && seg.Modified.Before(t) {
			pos = seg.End
		}
	}
	return pos
}

// sweepDevices removes the rows of devices that sent nothing within the look-back of de-duplication: guests come with
// ever new names.
func (l *logs) sweepDevices() error {
	sends, packets := l.positionBefore(l.now().Add(-sendsAge)), l.positionBefore(l.now().Add(-packetAge))
	if sends == 0 {
		return nil
	}
	if err := l.sweepBucket(bucketSends, func(v []byte) bool {
		d := decoder{b: v}
		d.u8()
		d.u64()
		block := d.sends(nil)
		return d.done() && len(block) > 0 && block[len(block)-1].pos < sends
	}); err != nil {
		return err
	}
	return l.sweepBucket(bucketDevices, func(v []byte) bool {
		var ds deviceState
		return ds.decode(v) && (ds.applied < packets || ds.applied < sends && len(ds.packets) == 0)
	})
}

// sweepBucket deletes the rows that old accepts: they are collected in short read transactions and deleted in slices.
func (l *logs) sweepBucket(bucket []byte, old func(v []byte) bool) error {
	for next := []byte{}; next != nil; {
		var keys [][]byte
		if err := l.ix.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucket).Cursor()
			k, v := c.Seek(next)
			next = nil
			for n := 0; k != nil; k, v = c.Next() {
				if n++; n > sliceRows {
					next = append([]byte{}, k...)
					break
				}
				if old(v) {
					keys = append(keys, append([]byte{}, k...))
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if len(keys) == 0 {
			continue
		}
		if err := l.ix.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			for _, k := range keys { // nobody else writes: checkpoints wait for maintain
				if err := b.Delete(k); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
