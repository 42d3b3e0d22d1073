package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// Keys of log lines.
const (
	keyErr     = "err"
	keyRecords = "records"
	keyTook    = "took"
	keyPath    = "path"
)

// openLogs opens the journal and the index under cfg.Dir and replays what the index lacks.
func openLogs(cfg Config, f format, keys keySource, held func() (bool, error)) (_ *logs, err error) {
	l := &logs{cfg: cfg, log: cfg.Logger, id: f.store, epoch: f.epoch, seal: newSealer(keys), held: held, stop: make(chan struct{})}
	l.queue.ready.L = &l.queue.mu
	l.ring.seal = l.seal
	l.c.tail.max = cfg.CacheBytes
	l.dirty.limit, l.dirty.due = cfg.CheckpointRecords, make(chan struct{}, 1)
	l.nextLog.Store(1)
	l.met = newMetrics(l)
	began := time.Now()
	if l.journal, err = openJournal(cfg); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.journal.Close())
		}
	}()
	from, err := l.openIndex()
	if err != nil {
		return nil, err
	}
	if err := warm(filepath.Join(cfg.Dir, fileIndex), l.journal.End()-from); err != nil {
		l.log.Warn("index could not be read ahead", keyErr, err)
	}
	l.states, l.devices = newLogStates(l.ix), newDeviceStates(l.ix)
	records, err := l.replay(from)
	if err != nil {
		return nil, errors.Join(err, l.ix.close())
	}
	l.look()
	if err := l.met.register(cfg.Registerer); err != nil {
		return nil, errors.Join(fmt.Errorf("bolt: metrics: %w", err), l.ix.close())
	}
	l.log.Info("journal open", keyRecords, records, keyTook, time.Since(began))
	l.committing.Go(l.commitLoop)
	l.keeping.Go(l.keepLoop)
	return l, nil
}

// openIndex opens the index, or begins a new one if there is none that belongs to this journal. It returns the
// position from which to replay.
func (l *logs) openIndex() (from journal.Position, err error) {
	path := filepath.Join(l.cfg.Dir, fileIndex)
	first, end := l.journal.First(), l.journal.End()
	why := "index is damaged"
	if l.ix, err = openIndex(path); err == nil {
		c, ok, cerr := l.ix.loadCheckpoint()
		switch {
		case cerr != nil:
			err = cerr
		case !ok && l.ix.empty():
			return first, nil
		case ok && c.store == l.id && c.epoch == l.epoch && c.position >= first && c.position <= end:
			l.nextLog.Store(max(1, uint64(c.nextLog)))
			return c.position, nil
		default:
			why = "index does not belong to the journal"
		}
		if cerr := l.ix.close(); cerr != nil {
			return 0, cerr
		}
	}
	l.log.Warn("index is made anew from the journal", "why", why, keyPath, path, keyErr, err)
	if err := os.Remove(path); err != nil {
		return 0, fmt.Errorf("bolt: rebuild: %w", err)
	}
	if l.ix, err = openIndex(path); err != nil {
		return 0, err
	}
	return first, nil
}

// replay brings memory from the index's position to the journal's end. Rows that are further than that, from a
// checkpoint that a crash cut short, say so themselves, and what they know already is passed over.
func (l *logs) replay(from journal.Position) (records int, err error) {
	end := from
	if !l.ix.empty() {
		pinned, err := l.preload(from)
		defer func() {
			for _, st := range pinned {
				st.unpin()
			}
		}()
		if err != nil {
			return 0, fmt.Errorf("bolt: replay: %w", err)
		}
	}
	err = l.journal.Scan(from, func(pos, next journal.Position, data []byte) error {
		r, err := decodeRecord(data)
		if err != nil {
			return fmt.Errorf("record at %d: %w", pos, err)
		}
		if err := l.replayRecord(&r, pos); err != nil {
			return fmt.Errorf("record at %d: %w", pos, err)
		}
		end = next
		if records++; records%l.cfg.CheckpointRecords == 0 { // a rebuild: memory stays bounded
			l.ring.start(end)
			return l.writeCheckpoint()
		}
		return nil
	})
	l.ring.start(end)
	if err != nil {
		return records, fmt.Errorf("bolt: replay: %w", err)
	}
	return records, nil
}

// placed is what the projections need of a record.
func (r *record) placed() *placed {
	p := &placed{typ: r.typ, seq: r.seq, time: r.time, sender: r.sender, audience: r.audience, kind: r.kind, op: r.op}
	if r.change.kind != store.ChangeNone {
		p.change = r.change.store()
	}
	return p
}

func (l *logs) replayRecord(r *record, pos journal.Position) error {
	l.c.time = max(l.c.time, r.time)
	if r.typ != typeRelease {
		if err := l.replayLog(r, pos); err != nil {
			return err
		}
	}
	if r.typ != typeRelease && (r.typ != typeMessage || len(r.cid) == 0 && r.packet == 0) {
		return nil
	}
	ds, err := l.devices.pin(deviceKey{r.sender, r.device})
	if err != nil {
		return err
	}
	defer ds.unpin()
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if pos < ds.applied {
		return nil
	}
	if r.typ == typeRelease {
		ds.applyRelease(r.packet, pos)
	} else {
		hash := uint64(0)
		if len(r.cid) > 0 {
			hash = hashCID(r.log, r.cid)
		}
		ds.applyMessage(hash, r.packet, packetRow{r.log, r.seq, r.time}, pos)
	}
	l.dirty.addDevice(ds)
	return nil
}

func (l *logs) replayLog(r *record, pos journal.Position) error {
	if next := uint64(r.log) + 1; next > l.nextLog.Load() {
		l.nextLog.Store(next)
	}
	st, err := l.states.pin(r.log)
	if errors.Is(err, store.ErrNotFound) {
		// A creation; or a rebuild, where what was said before a state record was removed with its segment.
		st, err = &logState{id: r.log, first: 1, members: &store.Membership{}}, nil
		l.states.insert(st)
	}
	if err != nil {
		return err
	}
	defer st.unpin()
	p := *r.placed()
	if r.typ == typeCreate || r.typ == typeState {
		full, ok := decodeFullState(r.body)
		if !ok {
			return fmt.Errorf("%w: state of %s", errRecord, r.log)
		}
		p.full = &full
	}
	st.mu.Lock()
	if pos < st.applied {
		st.mu.Unlock()
		return nil
	}
	if p.typ == typeMessage && p.seq != st.head+1 && (st.head != 0 || st.key.Kind != 0) {
		head := st.head
		st.mu.Unlock()
		return fmt.Errorf("sequence %d of %s follows %d", p.seq, r.log, head)
	}
	st.apply(&p, pos)
	refs := st.fresh.refs
	l.dirty.addLog(st)
	st.mu.Unlock()
	if p.full != nil {
		l.states.rememberKey(st)
	}
	if p.full != nil || p.joins() {
		for _, a := range refs {
			l.refs.add(a, st.id)
		}
	}
	return nil
}
