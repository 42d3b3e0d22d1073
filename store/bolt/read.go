package bolt

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

const (
	readRecords  = 64        // Query.Max of 0
	readMost     = 1024      // records considered in one page at most
	readBytes    = 256 << 10 // Query.Bytes of 0
	denseRecords = 8         // neighbours that are worth one scan instead of a read each
	denseGap     = 1024      // bytes from one to the next at most, on average
	denseSpan    = 192 << 10 // bytes of one scan
)

// Read implements store.Log.
func (l *logs) Read(q store.Query) (store.Page, error) {
	if q.Max <= 0 {
		q.Max = readRecords
	}
	if q.Bytes <= 0 {
		q.Bytes = readBytes
	}
	st, err := l.states.pin(q.Log)
	if err != nil {
		return store.Page{}, err
	}
	defer st.unpin()
	p := page{l: l, st: st, q: q, want: min(q.Max, readMost)}
	p.start()
	if p.after+1 < p.first {
		return store.Page{Head: p.head, Next: q.After}, &store.Error{Code: store.CodeTrimmed, Text: store.ErrTrimmed.Text, First: p.first}
	}
	for considered := 0; p.after < p.upto && considered < readMost && len(p.out) < p.want && !p.full; {
		n, err := p.step()
		if isTrimmed(err) { // retention was faster than we
			first := st.snapshot().First
			return store.Page{Head: p.head, Next: q.After}, &store.Error{Code: store.CodeTrimmed, Text: store.ErrTrimmed.Text, First: first, Err: err}
		}
		if err != nil {
			return store.Page{}, err
		}
		considered += n
	}
	return store.Page{Records: p.out, Next: p.after, Head: p.head}, nil
}

// page is one Read under way.
type page struct {
	l    *logs
	st   *logState
	q    store.Query
	want int

	head, first, upto, opsMax store.Seq
	members                   *store.Membership
	me                        *store.Member // nil: the server, or a stranger

	after store.Seq // considered up to here
	out   []*store.Record
	bytes int
	full  bool // bytes are used up

	seqs   []store.Seq
	recs   []*store.Record // of seqs; nil: read it
	places []journal.Position
	ops    map[store.Seq][]logOp
}

func (p *page) start() {
	info := p.st.snapshot()
	p.head, p.first, p.members = info.Head, info.First, info.Members
	p.upto = p.head
	if p.q.Upto != 0 {
		p.upto = min(p.upto, p.q.Upto)
	}
	p.after = p.q.After
	if p.q.Viewer != 0 {
		p.me = p.members.Find(p.q.Viewer)
	}
}

// step considers the next run of sequences and returns how many it looked at.
func (p *page) step() (int, error) {
	p.seqs = p.seqs[:0]
	next := p.after
	for len(p.seqs) < p.want-len(p.out) && next < p.upto {
		next++
		if p.q.Viewer != 0 {
			if next = p.me.Next(next); next == 0 || next > p.upto {
				next = p.upto
				break
			}
		}
		p.seqs = append(p.seqs, next)
	}
	if len(p.seqs) == 0 {
		p.after = p.upto
		return 0, nil
	}
	if err := p.locate(); err != nil {
		return 0, err
	}
	if err := p.fetch(); err != nil {
		return 0, err
	}
	for i, r := range p.recs {
		if r == nil { // fetch stopped at the limit of bytes
			p.full = true
			return i, nil
		}
		if err := p.show(r); err != nil {
			return 0, err
		}
		if p.full {
			return i, nil
		}
		p.after = r.Seq
	}
	p.after = next
	return len(p.seqs), nil
}

// show adds a record to the page if the viewer may see it.
func (p *page) show(r *store.Record) (err error) {
	if p.q.Viewer != 0 && !p.members.Visible(p.q.Viewer, r) {
		return nil
	}
	if p.q.Withhold != nil {
		if r.Edited != 0 || r.Recalled { // in memory it is as everybody else sees it
			if r, err = p.l.readRecord(journal.Position(r.Position)); err != nil {
				return err
			}
		}
		if withheld, err := p.q.Withhold(r); err != nil || withheld {
			return err
		}
	}
	if r.Seq <= p.opsMax || r.Op.Kind == store.OpEdit {
		eyes := eyes{p.q.Viewer, p.me, p.q.Withhold}
		if r, err = p.l.operateWith(p.st, r, eyes, p.ops[r.Seq]); err != nil {
			return err
		}
	}
	n := len(r.Text) + len(r.Extra)
	if p.bytes+n > p.q.Bytes && len(p.out) > 0 {
		p.full = true
		return nil
	}
	p.bytes += n
	p.out = append(p.out, r)
	return nil
}

// locate finds the run's cached records, the positions of the others, and operations. Memory is looked at first, and
// the index after it: a checkpoint moves things from the first to the second.
func (p *page) locate() error {
	n := len(p.seqs)
	p.recs, p.places = make([]*store.Record, n), make([]journal.Position, n)
	st, last := p.st, p.seqs[n-1]
	cold := 0 // seqs[:cold] have their positions in the index
	st.mu.Lock()
	p.opsMax = st.opsMax
	hits := 0
	for i, seq := range p.seqs {
		if seq > st.cachedAfter && len(st.cached) > 0 {
			p.recs[i] = st.cached[seq-st.cachedAfter-1]
			hits++
		} else if seq > st.tailAfter {
			p.places[i] = st.tail[seq-st.tailAfter-1]
		} else {
			cold = i + 1
		}
		if ops := st.ops[seq]; ops != nil {
			if p.ops == nil {
				p.ops = make(map[store.Seq][]logOp)
			}
			p.ops[seq] = ops
		}
	}
	st.mu.Unlock()
	p.l.met.cacheHits.Add(float64(hits))
	p.l.met.cacheMisses.Add(float64(n - hits))
	if p.seqs[0] <= p.opsMax {
		if p.ops == nil {
			p.ops = make(map[store.Seq][]logOp)
		}
		if err := p.l.ix.ops(st.id, p.seqs[0]-1, last, p.ops); err != nil {
			return err
		}
	}
	for i := 0; i < cold; {
		j := i + 1
		for j < cold && p.seqs[j] == p.seqs[j-1]+1 {
			j++
		}
		places, err := p.l.ix.positions(st.id, p.seqs[i]-1, p.seqs[j-1])
		if err != nil {
			return err
		}
		copy(p.places[i:], places)
		i = j
	}
	return nil
}

// fetch reads what is not in memory, neighbours together, until the limit of bytes is passed.
func (p *page) fetch() error {
	bytes := p.bytes
	for i := 0; i < len(p.recs) && bytes <= p.q.Bytes; {
		if p.recs[i] != nil {
			bytes += len(p.recs[i].Text) + len(p.recs[i].Extra)
			i++
			continue
		}
		j := i + 1
		for j < len(p.recs) && p.recs[j] == nil && p.places[j]-p.places[i] < denseSpan {
			j++
		}
		n := j - i
		if n < denseRecords || int(p.places[j-1]-p.places[i]) > (n-1)*denseGap {
			r, err := p.l.readRecord(p.places[i])
			if err == nil {
				err = p.check(r, i)
			}
			if err != nil {
				return err
			}
			p.recs[i] = r
			bytes += len(r.Text) + len(r.Extra)
			i++
			continue
		}
		err := p.l.journal.Scan(p.places[i], func(pos, _ journal.Position, data []byte) error {
			if pos != p.places[i] {
				return nil
			}
			r, err := p.l.decode(pos, data)
			if err == nil {
				err = p.check(r, i)
			}
			if err != nil {
				return err
			}
			p.recs[i] = r
			bytes += len(r.Text) + len(r.Extra)
			if i++; i == j || bytes > p.q.Bytes {
				return errEnough
			}
			return nil
		})
		if err == nil {
			err = errMissing
		}
		if !errors.Is(err, errEnough) {
			return p.l.readError(err)
		}
	}
	return nil
}

var errMissing = errors.New("a record is not where the index says")

// check sees that the index led to the right record.
func (p *page) check(r *store.Record, i int) error {
	if r.Log != p.st.id || r.Seq != p.seqs[i] {
		return p.l.readError(errMissing)
	}
	return nil
}

var readBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// readRecord reads one message from the journal.
func (l *logs) readRecord(pos journal.Position) (*store.Record, error) {
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	data, err := l.journal.Read(pos, *buf)
	if err != nil {
		return nil, l.readError(err)
	}
	if cap(data) <= 64<<10 {
		*buf = data[:0]
	}
	return l.decode(pos, data)
}

func (l *logs) decode(pos journal.Position, data []byte) (*store.Record, error) {
	r, err := decodeRecord(data)
	if err != nil {
		return nil, l.readError(err)
	}
	return l.unseal(&r, pos)
}

// unseal makes a store.Record of a journal record. One whose sender's key is gone reads as recalled.
func (l *logs) unseal(r *record, pos journal.Position) (*store.Record, error) {
	out := &store.Record{
		Log: r.log, Seq: r.seq, Time: r.time, Sender: r.sender, Device: r.device, CID: string(r.cid), Kind: r.kind,
		Audience: r.audience, Warn: r.warn, Expiry: r.expiry, Op: r.op, Position: store.Position(pos),
	}
	if r.change.kind != store.ChangeNone {
		out.Change = r.change.store()
	}
	var err error
	out.Text, out.Extra, err = l.seal.open(r.sender, r.log, r.body)
	if errors.Is(err, errKeyGone) {
		out.Recalled, err = true, nil
	}
	if err != nil {
		return nil, l.readError(fmt.Errorf("record at %d: %w", pos, err))
	}
	return out, nil
}

// eyes are whose eyes a record is seen with.
type eyes struct {
	viewer   store.AccountID
	me       *store.Member                     // the viewer's membership; nil: the server, or a stranger
	withhold func(*store.Record) (bool, error) // nil: nothing; see store.Query
}

// operate applies edits and recalls to a record as the server sees them.
func (l *logs) operate(st *logState, r *store.Record) (*store.Record, error) {
	ops, err := l.opsOf(st, r.Seq)
	if err != nil {
		return nil, err
	}
	return l.operateWith(st, r, eyes{}, ops)
}

func (l *logs) opsOf(st *logState, seq store.Seq) ([]logOp, error) {
	st.mu.Lock()
	fresh := st.ops[seq]
	st.mu.Unlock()
	m := map[store.Seq][]logOp{seq: fresh}
	err := l.ix.ops(st.id, seq-1, seq, m)
	return m[seq], err
}

func (l *logs) operateWith(st *logState, r *store.Record, by eyes, ops []logOp) (*store.Record, error) {
	if r.Op.Kind == store.OpEdit {
		gone, err := l.targetGone(st, r, by)
		if err != nil {
			return nil, err
		}
		if gone {
			r = recalled(r)
		}
	}
	o, err := l.newest(ops, r, by)
	switch {
	case err != nil:
		return nil, err
	case o.kind == store.OpNone || r.Recalled || r.Edited == o.seq:
		return r, nil
	case o.kind == store.OpRecall:
		return recalled(r), nil
	}
	op, err := l.readRecord(o.pos)
	if err != nil {
		return nil, err
	}
	if op.Recalled { // the key is gone: what it said before is gone too
		return recalled(r), nil
	}
	return operated(r, op), nil
}

// targetGone reports whether an edit's target was recalled or removed by retention: the edit's text goes with it. With
// the target its recall may have been removed too, so nobody could tell any more.
func (l *logs) targetGone(st *logState, edit *store.Record, by eyes) (bool, error) {
	on, err := l.opsOf(st, edit.Op.Target)
	if err != nil {
		return false, err
	}
	o, err := l.newest(on, edit, by)
	return edit.Op.Target < st.snapshot().First || o.kind == store.OpRecall, err
}

// newest picks the operation that the viewer sees on a record: a recall if there is one, else the newest edit. The
// server (0) sees what the sender of a record that only the sender may see did to it.
func (l *logs) newest(ops []logOp, r *store.Record, by eyes) (found logOp, err error) {
	if by.viewer == 0 && r.Audience != store.AudienceBoth {
		by.viewer = r.Sender
	}
	for _, o := range ops {
		if o.only != 0 && o.only != by.viewer && !(o.ask && by.me.Accepts(o.seq)) {
			continue
		}
		if o.kind == store.OpRecall {
			return o, nil
		}
		if by.withhold != nil {
			if o, err = l.shownEdit(r, by, o); err != nil {
				return found, err
			}
		}
		if o.seq > found.seq {
			found = o
		}
	}
	return found, nil
}

// editsBack is how many records before a withheld edit are looked at for one that is not.
const editsBack = 256

// shownEdit is an edit, or if the reader withholds it the newest one before it that it does not, among the nearest
// records; the zero logOp if there is none.
func (l *logs) shownEdit(r *store.Record, by eyes, o logOp) (logOp, error) {
	op, err := l.readRecord(o.pos)
	if err != nil {
		return logOp{}, err
	}
	withheld, err := by.withhold(op)
	if err != nil || !withheld {
		return o, err
	}
	after := r.Seq
	if o.seq > after+editsBack {
		after = o.seq - editsBack - 1
	}
	before, err := l.Read(store.Query{Log: r.Log, Viewer: by.viewer, After: after, Upto: o.seq - 1, Max: editsBack})
	if err != nil {
		return logOp{}, err
	}
	for _, e := range slices.Backward(before.Records) {
		if e.Op.Kind != store.OpEdit || e.Op.Target != r.Seq {
			continue
		}
		if withheld, err := by.withhold(e); err != nil {
			return logOp{}, err
		} else if !withheld {
			return logOp{kind: store.OpEdit, seq: e.Seq, pos: journal.Position(e.Position)}, nil
		}
	}
	return logOp{}, nil
}

func isTrimmed(err error) bool {
	return errors.Is(err, journal.ErrTrimmed)
}

// readError is the error for a record that could not be read.
func (l *logs) readError(err error) error {
	if _, ok := errors.AsType[*store.Error](err); ok || isTrimmed(err) {
		return err
	}
	if errors.Is(err, journal.ErrClosed) {
		return store.ErrClosed
	}
	l.met.readErrors.Inc()
	err = fmt.Errorf("bolt: read: %w", err)
	if errors.Is(err, journal.ErrCorrupt) || errors.Is(err, errRecord) || errors.Is(err, errSealed) || errors.Is(err, errMissing) {
		return &store.Error{Code: store.CodeInternal, Text: "stored data is damaged", Err: err}
	}
	return &store.Error{Code: store.CodeUnavailable, Text: store.ErrUnavailable.Text, Err: err}
}
