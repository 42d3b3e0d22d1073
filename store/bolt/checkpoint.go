package bolt

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// sliceRows is how many rows one transaction of a checkpoint writes, about: a log's or device's rows stay together,
// because its head row says how far all of them are.
const sliceRows = 2000

// dirtyList collects what differs from the index, for the next checkpoint.
type dirtyList struct {
	mu      sync.Mutex
	logs    []*logState
	devices []*deviceState
	records int           // since the last checkpoint
	limit   int           // that many ask for the next one
	due     chan struct{} // one place: the limit is reached
}

// addLog notes a log whose mu is held.
func (d *dirtyList) addLog(st *logState) {
	if st.queued {
		return
	}
	st.queued = true
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logs = append(d.logs, st)
}

// addDevice notes a device whose mu is held.
func (d *dirtyList) addDevice(ds *deviceState) {
	if ds.queued {
		return
	}
	ds.queued = true
	d.mu.Lock()
	defer d.mu.Unlock()
	d.devices = append(d.devices, ds)
}

// count notes committed records.
func (d *dirtyList) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.records += n; d.records >= d.limit {
		select {
		case d.due <- struct{}{}:
		default:
		}
	}
}

func (d *dirtyList) take() ([]*logState, []*deviceState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	logs, devices := d.logs, d.devices
	d.logs, d.devices, d.records = nil, nil, 0
	return logs, devices
}

// giveBack returns what could not be written to the list.
func (d *dirtyList) giveBack(logs []*logState, devices []*deviceState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logs = append(d.logs, logs...)
	d.devices = append(d.devices, devices...)
}

// writeCheckpoint writes everything dirty to the index and then the position up to which the index is complete.
func (l *logs) writeCheckpoint() error {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	return l.checkpointNow()
}

// checkpointNow is writeCheckpoint for who holds maintain. The position is taken first: what is committed meanwhile may
// or may not be included, and is replayed again after a crash; each row's own position makes that harmless.
func (l *logs) checkpointNow() error {
	began := time.Now()
	mark := checkpoint{store: l.id, epoch: l.epoch, position: l.ring.end()}
	logs, devices := l.dirty.take()
	if len(logs)+len(devices) == 0 {
		return nil
	}
	slices.SortFunc(logs, func(a, b *logState) int { return compare(a.id, b.id) })
	slices.SortFunc(devices, func(a, b *deviceState) int {
		if a.key.account != b.key.account {
			return compare(a.key.account, b.key.account)
		}
		return compare(a.key.device, b.key.device)
	})
	for len(logs) > 0 {
		n, err := l.writeLogs(logs)
		if err != nil {
			l.dirty.giveBack(logs, devices)
			return fmt.Errorf("bolt: checkpoint: %w", err)
		}
		logs = logs[n:]
	}
	now := l.now().UnixMilli()
	for len(devices) > 0 {
		n, err := l.writeDevices(devices, now)
		if err != nil {
			l.dirty.giveBack(nil, devices)
			return fmt.Errorf("bolt: checkpoint: %w", err)
		}
		devices = devices[n:]
	}
	mark.nextLog = store.LogID(l.nextLog.Load())
	if err := l.ix.db.Update(func(tx *bbolt.Tx) error { return putCheckpoint(tx, mark) }); err != nil {
		return fmt.Errorf("bolt: checkpoint: %w", err)
	}
	l.met.checkpoint.Observe(time.Since(began).Seconds())
	return nil
}

func compare[N ~uint64](a, b N) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// writtenLog is what a slice wrote of a log, to be settled after its commit.
type writtenLog struct {
	st      *logState
	applied journal.Position
	head    store.Seq
	changed changedRows
	ops     map[store.Seq][]logOp
}

// writeLogs writes the first logs of the list in one transaction and returns how many.
func (l *logs) writeLogs(logs []*logState) (n int, err error) {
	var done []writtenLog
	err = l.ix.db.Update(func(tx *bbolt.Tx) error {
		for rows := 0; n < len(logs) && rows < sliceRows; n++ {
			w, k, err := putLog(tx, logs[n])
			if err != nil {
				return err
			}
			done = append(done, w)
			rows += k
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range done {
		l.settleLog(&done[i])
	}
	return n, nil
}

// putLog writes a log's rows as they are now.
func putLog(tx *bbolt.Tx, st *logState) (w writtenLog, rows int, err error) {
	st.mu.Lock()
	w = writtenLog{st: st, applied: st.applied, head: st.head, changed: st.fresh, ops: st.ops}
	head := st.appendHead(nil)
	members, marks, key := st.members, slices.Clone(st.marks), st.key
	after := st.tailAfter
	tail := slices.Clone(st.tail)
	ops := make([]opRow, 0, len(st.ops))
	for target, list := range st.ops {
		ops = append(ops, opRow{target, list})
	}
	w.ops = nil
	st.mu.Unlock()

	id := uint64(st.id)
	k := key1(id)
	put := func(bucket, key, value []byte) {
		if err == nil {
			err = tx.Bucket(bucket).Put(key, value)
			rows++
		}
	}
	for ; len(tail) >= blockSize; tail, after = tail[blockSize:], after+blockSize {
		put(bucketBlocks, key2(id, blockOf(after+1)), appendPositions(nil, tail[:blockSize]))
	}
	slices.SortFunc(ops, func(a, b opRow) int { return compare(a.target, b.target) })
	old := map[store.Seq][]logOp{}
	for _, o := range ops {
		rk := key2(id, uint64(o.target))
		list := o.ops
		if row := tx.Bucket(bucketOps).Get(rk); row != nil {
			before, ok := decodeOps(row)
			if !ok {
				return w, rows, corrupt("index", fmt.Errorf("operation row of %s", st.id))
			}
			for _, op := range list {
				before = mergeOp(before, op)
			}
			list = before
		}
		old[o.target] = o.ops
		put(bucketOps, rk, appendOps(nil, list))
	}
	w.ops = old
	if w.changed.members {
		put(bucketMembers, k, appendMembers([]byte{rowFormat}, members))
	}
	if w.changed.marks {
		put(bucketMarks, k, appendMarks([]byte{rowFormat}, marks))
	}
	if w.changed.created && key.Kind != 0 {
		put(bucketKeys, appendKey(nil, key), binary.BigEndian.AppendUint64(nil, id))
	}
	for _, a := range w.changed.refs {
		put(bucketRefs, key2(uint64(a), id), nil)
	}
	put(bucketHeads, k, head)
	return w, rows, err
}

type opRow struct {
	target store.Seq
	ops    []logOp
}

// settleLog forgets what is in the index now. What came since the rows were made stays.
func (l *logs) settleLog(w *writtenLog) {
	st := w.st
	st.mu.Lock()
	st.saved = w.applied
	if whole := w.head - w.head%blockSize; whole > st.tailAfter {
		st.tail = slices.Clone(st.tail[whole-st.tailAfter:])
		st.tailAfter = whole
	}
	for target, list := range w.ops {
		if len(st.ops[target]) == len(list) && (len(list) == 0 || &st.ops[target][0] == &list[0]) {
			delete(st.ops, target)
		}
	}
	if len(st.ops) == 0 {
		st.ops = nil
	}
	st.fresh.refs = st.fresh.refs[len(w.changed.refs):]
	if len(st.fresh.refs) == 0 {
		st.fresh.refs = nil
	}
	clean := st.applied == st.saved
	if clean {
		st.fresh = changedRows{}
	}
	st.queued = false
	if !clean {
		l.dirty.addLog(st)
	}
	st.mu.Unlock()
	for _, a := range w.changed.refs {
		l.refs.remove(a, st.id)
	}
}

// writeDevices writes the first devices of the list in one transaction and returns how many.
func (l *logs) writeDevices(devices []*deviceState, now int64) (n int, err error) {
	var done []deviceRows
	err = l.ix.db.Update(func(tx *bbolt.Tx) error {
		for rows := 0; n < len(devices) && rows < sliceRows; n++ {
			ds := devices[n]
			ds.mu.Lock()
			r := ds.rows(now)
			ds.mu.Unlock()
			k, err := r.put(tx)
			if err != nil {
				return err
			}
			done = append(done, r)
			rows += k
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range done {
		ds := devices[i]
		ds.mu.Lock()
		ds.saved = done[i].applied
		ds.written = done[i].count - done[i].count%sendsBlock
		ds.queued = false
		if ds.applied != ds.saved {
			l.dirty.addDevice(ds)
		}
		ds.mu.Unlock()
	}
	return n, nil
}
