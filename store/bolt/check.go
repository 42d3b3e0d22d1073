package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// CheckOptions say what Check does besides looking.
type CheckOptions struct {
	// Rebuild makes the index anew from the journal, and then checks it.
	Rebuild bool
	// Progress is called now and then with what is being done; total is 0 where it is not known. nil is never.
	Progress func(stage string, done, total int64)
	// Finding is called with a line for each thing that is wrong. nil is never.
	Finding func(line string)
}

// CheckReport is what Check saw.
type CheckReport struct {
	Segments int
	Records  int64 // in the journal
	Messages int64 // those with a sequence
	Logs     int
	Torn     int64 // bytes of an append that a crash cut short: nobody was told that it had happened
	Findings int   // things that are wrong
}

// Check verifies the data directory of a server that is not running: every frame of the journal, that each log's
// sequences follow each other, that operations, marks and members fit, the structure and rows of the bolt files, and
// that the index says what the journal says. Like a start of the server it drops an append that a crash cut short and
// brings the index up to date; it needs no key. What is wrong goes to opt.Finding and is counted; the error is one of
// checking.
func Check(ctx context.Context, dir string, opt CheckOptions) (CheckReport, error) {
	c := &checker{ctx: ctx, dir: dir, opt: opt, logs: make(map[store.LogID]*checkedLog)}
	lock, err := lockDir(dir)
	if err != nil {
		return c.report, err
	}
	return c.report, joinClose(c.run(), closerFunc(lock.close))
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

// checker is a Check under way.
type checker struct {
	ctx    context.Context
	dir    string
	opt    CheckOptions
	report CheckReport
	logs   map[store.LogID]*checkedLog
}

// checkedLog is what the journal says about one log.
type checkedLog struct {
	first, head store.Seq // of the messages found
	places      uint64    // a hash over the positions of first to head
	stated      bool      // a creation or a state record was found
	key         store.Key
	members     *store.Membership
	sides       sides
}

func (c *checker) found(format string, args ...any) {
	c.report.Findings++
	if c.opt.Finding != nil {
		c.opt.Finding(fmt.Sprintf(format, args...))
	}
}

func (c *checker) progress(stage string, done, total int64) {
	if c.opt.Progress != nil {
		c.opt.Progress(stage, done, total)
	}
}

func (c *checker) run() error {
	f, err := readFormat(c.dir)
	if err != nil {
		return err
	}
	frames, err := journal.Verify(filepath.Join(c.dir, dirJournal), func(p journal.Progress) { c.progress("frames", p.Done, p.Total) })
	if err != nil {
		return fmt.Errorf("bolt: check: %w", err)
	}
	c.report.Segments, c.report.Torn = frames.Segments, frames.Torn
	if frames.Damaged > 0 {
		c.found("journal: %d places are damaged, the first: %v", frames.Damaged, frames.Bad)
		return nil // what lies behind a damaged frame cannot be judged
	}
	if err := c.boltFiles(); err != nil {
		return err
	}
	if c.opt.Rebuild {
		if err := os.Remove(filepath.Join(c.dir, fileIndex)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("bolt: rebuild: %w", err)
		}
	}
	cfg := Config{Dir: c.dir, Retention: -1, MinFree: -1}.withDefaults()
	cfg.MaxMessage = largestMaxMessage // whatever was allowed when it was written
	if err := c.journal(cfg); err != nil || c.report.Findings > 0 {
		return err
	}
	c.progress("index", 0, int64(len(c.logs)))
	l, err := openLogs(cfg, f, noKeys{}, func() (bool, error) { return true, nil })
	if err != nil {
		return err
	}
	return joinClose(c.index(l), closerFunc(l.close))
}

// noKeys opens nothing: Check does not look into bodies.
type noKeys struct{}

func (noKeys) dataKey(store.AccountID) ([32]byte, error) { return [32]byte{}, errKeyGone }

// boltFiles checks the structure of the files that are there.
func (c *checker) boltFiles() error {
	for i, name := range []string{fileDirectory, fileState, fileIndex} {
		c.progress("bolt files", int64(i), 3)
		path := filepath.Join(c.dir, name)
		if _, err := os.Stat(path); err != nil {
			if name != fileIndex { // which is derived
				c.found("%s: %v", name, err)
			}
			continue
		}
		if name == fileIndex && c.opt.Rebuild {
			continue
		}
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
		if err != nil {
			c.found("%s: %v", name, err)
			continue
		}
		err = db.View(func(tx *bbolt.Tx) error {
			whole := true
			for err := range tx.Check() {
				whole = false
				c.found("%s: %v", name, err)
			}
			if !whole {
				return nil // rows of a broken tree cannot be walked safely
			}
			rows := rowCheck{tx, func(format string, args ...any) { c.found(name+": "+format, args...) }}
			switch name {
			case fileDirectory:
				rows.directory()
			case fileState:
				rows.state()
			}
			return nil
		})
		if err = joinClose(err, db); err != nil {
			return fmt.Errorf("bolt: check %s: %w", name, err)
		}
	}
	return nil
}

// journal goes through all records in order.
func (c *checker) journal(cfg Config) error {
	j, err := openJournal(cfg)
	if err != nil {
		return err
	}
	first, end := j.First(), j.End()
	err = j.Scan(first, func(pos, _ journal.Position, data []byte) error {
		if c.report.Records++; c.report.Records%100_000 == 0 {
			c.progress("records", int64(pos-first), int64(end-first))
			if err := c.ctx.Err(); err != nil {
				return err
			}
		}
		r, err := decodeRecord(data)
		if err != nil {
			c.found("position %d: %v", pos, err)
			return nil
		}
		if r.typ != typeRelease {
			c.record(&r, pos)
		}
		return nil
	})
	if err = joinClose(err, j); err != nil {
		return fmt.Errorf("bolt: check: %w", err)
	}
	c.report.Logs = len(c.logs)
	for id, log := range c.logs {
		if !log.stated {
			c.found("log %d: no record says what it is", id)
		}
	}
	return nil
}

func (c *checker) record(r *record, pos journal.Position) {
	log := c.logs[r.log]
	if log == nil {
		log = &checkedLog{}
		c.logs[r.log] = log
	}
	switch r.typ {
	case typeMessage:
		c.report.Messages++
		if log.head != 0 && r.seq != log.head+1 {
			c.found("log %d: sequence %d follows %d at position %d", r.log, r.seq, log.head, pos)
		}
		if r.op.Kind != store.OpNone && r.op.Target >= r.seq {
			c.found("log %d: sequence %d operates on %d", r.log, r.seq, r.op.Target)
		}
		if log.first == 0 {
			log.first = r.seq
		}
		log.head = r.seq
		log.places = placeHash(log.places, pos)
	case typeCreate, typeState:
		full, ok := decodeFullState(r.body)
		if !ok {
			c.found("log %d: state at position %d cannot be read", r.log, pos)
			return
		}
		if log.head != 0 && full.head != log.head {
			c.found("log %d: state at position %d says head %d, it is %d", r.log, pos, full.head, log.head)
		}
		log.sides.applyFull(log.stated, &full)
		log.head, log.stated, log.key, log.members = full.head, true, full.key, full.members
	case typeMark:
		if log.head != 0 && r.seq > log.head {
			c.found("log %d: mark at %d, head at %d", r.log, r.seq, log.head)
		}
	}
	if log.stated && r.change.kind != store.ChangeNone && r.change.kind != store.ChangeTitle {
		log.members = log.members.Apply(r.change.store(), log.head, r.time)
	}
	if log.key.Sided() {
		log.sides.apply(log.key, r.placed(), log.members)
	}
}

func placeHash(h uint64, pos journal.Position) uint64 { return (h ^ uint64(pos)) * 0x9e3779b97f4a7c15 }

// index compares what the journal says with what the index says.
func (c *checker) index(l *logs) error {
	done := int64(0)
	for id, log := range c.logs {
		if done++; done%10_000 == 0 {
			c.progress("index", done, int64(len(c.logs)))
			if err := c.ctx.Err(); err != nil {
				return err
			}
		}
		if err := c.indexLog(l, id, log); err != nil {
			return err
		}
	}
	if n, err := l.ix.count(bucketHeads); err != nil || n > len(c.logs) {
		c.found("index: %d logs, the journal has %d (%v)", n, len(c.logs), err)
	}
	return nil
}

func (c *checker) indexLog(l *logs, id store.LogID, log *checkedLog) error {
	st, err := l.states.pin(id)
	if err != nil {
		c.found("log %d: not in the index: %v", id, err)
		return nil
	}
	defer st.unpin()
	info := st.snapshot()
	first := log.first
	if first == 0 {
		first = log.head + 1
	}
	if info.Head != log.head || info.First < first {
		c.found("log %d: the index says %d to %d, the journal %d to %d", id, info.First, info.Head, first, log.head)
		return nil
	}
	if got, err := l.states.lookup(info.Key); err != nil || got != id {
		c.found("log %d: its key leads to %d (%v)", id, got, err)
	}
	if string(appendMembers(nil, info.Members)) != string(appendMembers(nil, log.members)) {
		c.found("log %d: members are not those of the journal", id)
	}
	if info.Sides != log.sides.public() {
		c.found("log %d: what its two users know and wrote is not what the journal says", id)
	}
	for i := range info.Members.Members {
		a := info.Members.Members[i].Account
		if !l.refs.has(a, id) && !l.ix.hasRef(a, id) {
			c.found("log %d: account %d does not lead to it", id, a)
		}
	}
	if info.First > first { // the segment was about to be removed
		return nil
	}
	var places uint64
	for after := first - 1; after < info.Head; {
		upto := min(info.Head, after+4*blockSize)
		ps, err := l.placesOf(st, after, upto)
		if err != nil {
			c.found("log %d: %v", id, err)
			return nil
		}
		for _, p := range ps {
			places = placeHash(places, p)
		}
		after = upto
	}
	if places != log.places {
		c.found("log %d: the index leads to other positions than the journal's", id)
	}
	return nil
}

// placesOf returns the positions of after+1 to upto.
func (l *logs) placesOf(st *logState, after, upto store.Seq) (ps []journal.Position, err error) {
	st.mu.Lock()
	tailAfter, tail := st.tailAfter, append([]journal.Position(nil), st.tail...)
	st.mu.Unlock()
	if after < tailAfter {
		if ps, err = l.ix.positions(st.id, after, min(upto, tailAfter)); err != nil {
			return nil, err
		}
	}
	if upto > tailAfter {
		ps = append(ps, tail[max(after, tailAfter)-tailAfter:upto-tailAfter]...)
	}
	return ps, nil
}

func (f *freshRefs) has(a store.AccountID, id store.LogID) bool {
	ids := f.after(a, id-1, 1)
	return len(ids) == 1 && ids[0] == id
}

func (ix *index) hasRef(a store.AccountID, id store.LogID) bool {
	ids, err := ix.refs(a, id-1, 1)
	return err == nil && len(ids) == 1 && ids[0] == id
}

// count counts the rows of a bucket, in short transactions.
func (ix *index) count(bucket []byte) (n int, err error) {
	for next := []byte{}; next != nil; {
		err = ix.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucket).Cursor()
			k, _ := c.Seek(next)
			next = nil
			for rows := 0; k != nil; k, _ = c.Next() {
				if rows++; rows > sliceRows {
					next = bytes.Clone(k)
					break
				}
				n++
			}
			return nil
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
