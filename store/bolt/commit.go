package bolt

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

const (
	queueRecords = 65536    // records that wait or are being committed at most; more are refused
	queueBytes   = 64 << 20 // and their bytes
	batchRecords = 8192     // records that share a write and a sync at most
	batchBytes   = 4 << 20  // and their bytes, but for a single larger record
)

// placed is a record once the committer, or recovery, knows its place: all that the projections need.
type placed struct {
	typ      recordType
	seq      store.Seq // of a message; of a mark, how far
	time     int64
	sender   store.AccountID
	audience store.Audience
	kind     store.Kind
	op       store.Op
	change   store.Change
	members  *store.Membership // after the record, if it changes them
	full     *fullState
}

// joins reports whether the record may make its account a member.
func (p *placed) joins() bool {
	switch p.change.Kind {
	case store.ChangeJoin, store.ChangeOpen, store.ChangeAccept:
		return true
	}
	return false
}

// item is one record on its way through the committer.
type item struct {
	placed
	st      *logState    // pinned; nil for releases
	dev     *deviceState // pinned; nil where neither cid nor packet identifier is involved
	need    store.Role
	version uint64
	hash    uint64 // of the cid, 0 without one
	cid     string
	packet  uint16
	rec     *store.Record
	buf     []byte // the journal record
	pending *store.Pending

	forgot bool // a release found what it releases
	drop   bool // a newer mark of the same batch replaces it, or there is nothing to write
	err    error
	pos    journal.Position

	waiters []*store.Pending // repeats of this one; guarded by dev.mu
}

var items = sync.Pool{New: func() any { return new(item) }}

func newItem() *item {
	it := items.Get().(*item)
	it.pending = store.NewPending()
	return it
}

// recycle ends an item's life: pins go, memory is used again.
func (it *item) recycle() {
	if it.st != nil {
		it.st.unpin()
	}
	if it.dev != nil {
		it.dev.unpin()
	}
	buf := it.buf[:0]
	if cap(buf) > 16<<10 {
		buf = nil
	}
	*it = item{buf: buf}
	items.Put(it)
}

// commitQueue is what waits for the committer. When it is full, join refuses: the disk does not keep up, and every
// caller is told so rather than kept.
type commitQueue struct {
	mu     sync.Mutex
	ready  sync.Cond
	items  []*item
	bytes  int
	closed bool
}

var errQueueFull = &store.Error{Code: store.CodeUnavailable, Text: "too many messages wait for the disk", Retry: time.Second}

// join puts an item into the next batch. After it the item belongs to the committer.
func (l *logs) join(it *item) error {
	q := &l.queue
	n := len(it.buf)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return store.ErrClosed
	}
	if len(q.items) >= queueRecords || q.bytes+n > queueBytes {
		return errQueueFull
	}
	q.items = append(q.items, it)
	q.bytes += n
	if len(q.items) == 1 {
		q.ready.Signal()
	}
	return nil
}

// take waits for items and moves the next batch to batch; it returns nothing once the queue is closed and empty.
func (q *commitQueue) take(batch []*item) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.ready.Wait()
	}
	n, bytes := 0, 0
	for n < len(q.items) && n < batchRecords && (n == 0 || bytes+len(q.items[n].buf) <= batchBytes) {
		bytes += len(q.items[n].buf)
		n++
	}
	batch = append(batch[:0], q.items[:n]...)
	left := copy(q.items, q.items[n:])
	clear(q.items[left:])
	q.items = q.items[:left]
	q.bytes -= bytes
	return batch
}

func (q *commitQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

// committer is what the commit loop owns.
type committer struct {
	batch     uint64 // counts batches; provisional states carry it
	time      int64  // of the newest batch
	items     []*item
	records   [][]byte
	positions []journal.Position
	tail      tailCache
}

// commitLoop is the committer's goroutine: it ends when the queue is closed and empty.
func (l *logs) commitLoop() {
	for {
		l.c.items = l.queue.take(l.c.items)
		if len(l.c.items) == 0 {
			return
		}
		l.commit(l.c.items)
		clear(l.c.items)
	}
}

// commit makes one batch durable. It reads nothing from the disk: what it needs was loaded and pinned by those who
// joined. Until the journal's append returns nothing of the batch is visible, and when it fails nothing is kept: the
// next batch gives the same sequences again.
func (l *logs) commit(batch []*item) {
	c := &l.c
	c.batch++
	c.time = max(c.time, l.now().UnixMilli())
	c.records = c.records[:0]
	for _, it := range batch {
		it.time = c.time
		it.err = l.place(it)
	}
	for _, it := range batch {
		if it.err == nil && !it.drop {
			c.records = append(c.records, it.buf)
		}
	}
	if len(c.records) > 0 {
		began := time.Now()
		var err error
		c.positions, err = l.journal.AppendTo(c.positions[:0], c.records)
		clear(c.records)
		if err != nil {
			l.failed(batch, l.ioError(err))
			return
		}
		l.met.committed(len(c.records), time.Since(began))
		l.disk.succeeded()
	}
	l.publish(batch)
	for _, it := range batch {
		l.resolve(it)
	}
}

// failed resolves a batch that could not be written. Refusals stay what they are.
func (l *logs) failed(batch []*item, err error) {
	l.met.failed()
	l.disk.failed(err)
	for _, it := range batch {
		if it.err == nil {
			it.err = err
		}
		l.resolve(it)
	}
}

// ioError is what senders are told about an error of the journal.
func (l *logs) ioError(err error) error {
	err = fmt.Errorf("bolt: commit: %w", err)
	switch {
	case errors.Is(err, journal.ErrFull):
		// Not CodeFull: on MQTT 3.x that is a refusal, after which the client forgets the message.
		return &store.Error{Code: store.CodeUnavailable, Text: "disk full", Retry: time.Second, Err: err}
	case errors.Is(err, journal.ErrTooLarge):
		return &store.Error{Code: store.CodeTooLarge, Text: store.ErrTooLarge.Text, Err: err}
	}
	return &store.Error{Code: store.CodeUnavailable, Text: store.ErrUnavailable.Text, Retry: time.Second, Err: err}
}

// provision returns what the log will be after the items of this batch placed so far.
func (l *logs) provision(st *logState) *provisional {
	p := &st.prov
	if p.batch != l.c.batch {
		st.mu.Lock()
		*p = provisional{batch: l.c.batch, head: st.head, title: st.title, members: st.members, sides: st.sides}
		st.mu.Unlock()
	}
	return p
}

// place checks an item against the log as it will be and gives it its sequence. An error concerns this item only.
func (l *logs) place(it *item) error {
	switch it.typ {
	case typeMessage:
		return l.placeMessage(it, l.provision(it.st))
	case typePrivate:
		return placePrivate(it, l.provision(it.st))
	case typeMark:
		l.placeMark(it, l.provision(it.st))
	case typeState:
		return l.placeState(it, l.provision(it.st))
	default:
		setPlace(it.buf, 0, it.time)
	}
	return nil
}

func (l *logs) placeMessage(it *item, p *provisional) error {
	if it.need != store.RoleNone {
		if role := p.members.Role(it.sender); role < it.need {
			return roleError(role)
		}
	}
	if it.op.Kind != store.OpNone && (it.op.Target < 1 || it.op.Target > p.head) {
		return store.Bad("the operation names a message that does not exist")
	}
	if it.change.Kind != store.ChangeNone {
		if it.version != 0 && it.version != p.members.Version && idle(it.change, p.members) {
			return store.ErrConflict
		}
		if it.change.Kind == store.ChangeTitle {
			p.title = it.change.Title
		} else {
			p.members = p.members.Apply(it.change, p.head+1, it.time)
			it.members = p.members
		}
	}
	p.head++
	it.seq = p.head
	setPlace(it.buf, it.seq, it.time)
	if key := it.st.key; key.Sided() { // fixed since the log was created
		if mine, _ := p.sides.of(key, it.sender); it.audience == store.AudienceRequest && it.op.Kind == store.OpNone && mine != nil && mine.full() {
			it.audience, it.rec.Audience = store.AudienceSender, store.AudienceSender
			setAudience(it.buf, it.audience)
		}
		p.sides.apply(key, &it.placed, p.members)
	}
	return nil
}

// placePrivate applies a change without a number. One that has nothing to do is not written.
func placePrivate(it *item, p *provisional) error {
	c, key := &it.change, it.st.key
	switch c.Kind {
	case store.ChangeOpen, store.ChangeAccept, store.ChangeDecline, store.ChangeClose:
		mine, other := p.sides.of(key, c.Account)
		opens, closes := c.Kind == store.ChangeOpen, c.Kind == store.ChangeClose
		if mine == nil || closes && key.Kind != store.LogThread || !opens && !closes && key.Kind != store.LogPair {
			return store.Bad("only the two users of a conversation open, accept or decline it, and only threads are closed")
		}
		active := p.members.Role(c.Account) != store.RoleNone
		if opens || closes {
			if it.drop = active == opens; it.drop {
				return nil
			}
			break
		}
		waits := other.resolve(c, p.head)
		if it.drop = !waits && (active || c.Kind == store.ChangeDecline); it.drop {
			return nil
		}
		c.Role = store.RoleNone
		if c.Kind == store.ChangeAccept && !active {
			c.Role = store.RoleMember
		}
		it.rec.Change = *c
		it.buf = appendHead(it.buf[:0], typePrivate, &store.Draft{Log: it.st.id, Sender: it.sender, Device: it.rec.Device,
			Kind: it.rec.Kind, Change: *c})
	default:
		if p.members.Find(c.Account) == nil {
			return store.ErrNotMember
		}
	}
	p.members = p.members.Apply(*c, p.head, it.time)
	it.members = p.members
	if key.Sided() {
		p.sides.apply(key, &it.placed, p.members)
	}
	setPlace(it.buf, 0, it.time)
	return nil
}

func roleError(role store.Role) error {
	if role == store.RoleNone {
		return store.ErrNotMember
	}
	return store.ErrRole
}

// idle reports whether a change has nothing to do any more: somebody else was faster.
func idle(c store.Change, ms *store.Membership) bool {
	role := ms.Role(c.Account)
	switch c.Kind {
	case store.ChangeJoin:
		return role != store.RoleNone
	case store.ChangeLeave, store.ChangeRemove:
		return role == store.RoleNone
	case store.ChangeRole:
		return role == store.RoleNone || role == c.Role
	}
	return false
}

// placeMark caps a mark to the head. Of several marks of one account in a batch only the furthest is written.
func (l *logs) placeMark(it *item, p *provisional) {
	it.seq = min(it.seq, p.head)
	known := it.st.currentMark(it.sender)
	older := p.marks[it.sender]
	if it.seq <= known || older != nil && it.seq <= older.seq {
		it.drop = true
		return
	}
	if older != nil {
		older.drop = true
	}
	if p.marks == nil {
		p.marks = make(map[store.AccountID]*item)
	}
	p.marks[it.sender] = it
	setPlace(it.buf, it.seq, it.time)
}

func (st *logState) currentMark(a store.AccountID) store.Seq {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.markOf(a)
}

// placeState encodes the log as it will be at this place of the journal.
func (l *logs) placeState(it *item, p *provisional) error {
	st := it.st
	st.mu.Lock()
	full := &fullState{key: st.key, by: st.by, created: st.created, title: p.title, head: p.head, headTime: st.headTime,
		members: p.members, marks: append([]mark(nil), st.marks...), sides: p.sides, sided: true}
	st.mu.Unlock()
	if p.head != st.head {
		full.headTime = it.time
	}
	tmp := logState{marks: full.marks}
	for a, m := range p.marks {
		tmp.applyMark(a, m.seq)
	}
	full.marks = tmp.marks
	it.full = full
	it.buf = appendFullState(appendHead(it.buf[:0], typeState, &store.Draft{Log: st.id}), full)
	setPlace(it.buf, p.head, it.time)
	return l.fits(it.buf)
}

// fits refuses a record that is longer than the journal takes, which only a list of members can be. The journal would
// refuse the whole batch.
func (l *logs) fits(b []byte) error {
	if len(b) > l.cfg.MaxMessage+recordBeyondBodies {
		return &store.Error{Code: store.CodeTooLarge, Text: "too many members"}
	}
	return nil
}

// publish makes a durable batch visible: to Info and Read, to repeats, to followers.
func (l *logs) publish(batch []*item) {
	entries := make([]store.Entry, 0, len(l.c.positions))
	next := 0
	var end journal.Position
	for _, it := range batch {
		if it.err != nil || it.drop {
			continue
		}
		it.pos = l.c.positions[next]
		end = it.pos + journal.Position(frameOverhead+len(it.buf))
		next++
		if it.st != nil {
			entries = l.publishLog(it, entries)
		} else {
			entries = append(entries, store.Entry{Position: store.Position(it.pos)})
		}
		if it.dev != nil {
			l.land(it)
		}
	}
	l.c.tail.shrink()
	if next > 0 {
		l.dirty.count(next)
		l.ring.add(entries, end)
	}
}

// frameOverhead is what the journal adds to a record.
const frameOverhead = 8

func (l *logs) publishLog(it *item, entries []store.Entry) []store.Entry {
	st := it.st
	st.mu.Lock()
	if it.rec != nil {
		it.rec.Seq, it.rec.Time, it.rec.Position = it.seq, it.time, store.Position(it.pos)
	}
	if it.rec != nil && l.seal.gone(it.rec.Sender) {
		it.rec = withoutText(it.rec)
	}
	st.apply(&it.placed, it.pos)
	l.dirty.addLog(st)
	if it.typ == typeMessage {
		l.c.tail.add(st, it.rec)
		if it.op.Kind == store.OpEdit || it.op.Kind == store.OpRecall {
			st.operateCached(it.rec)
		}
	}
	e := store.Entry{Position: store.Position(it.pos), Record: it.rec, Key: st.key, Members: st.members}
	st.mu.Unlock()
	if it.typ == typeCreate {
		l.states.insert(st)
		st.unpin() // the item's own pin stays until it is recycled
	}
	switch it.typ {
	case typeCreate:
		for _, a := range it.full.refs() {
			l.refs.add(a, st.id)
		}
	case typeMark:
		e.Mark = &store.Mark{Log: st.id, Account: it.sender, Seq: it.seq}
	case typeState:
		return entries // nothing new: followers do not see it
	case typePrivate:
		if it.joins() {
			l.refs.add(it.change.Account, st.id)
		}
	case typeMessage:
		if it.joins() {
			l.refs.add(it.change.Account, st.id)
		}
		if it.audience == store.AudienceBoth && (it.op.Kind == store.OpEdit || it.op.Kind == store.OpRecall) {
			l.ring.operate(it.rec)
		}
	}
	return append(entries, e)
}

// resolve tells everybody who waits for the item and ends its life.
func (l *logs) resolve(it *item) {
	r := store.Receipt{Time: it.time, Epoch: l.epoch}
	if it.st != nil {
		r.Log = it.st.id
	}
	if it.typ == typeMessage || it.typ == typeMark {
		r.Seq = it.seq
	}
	if it.err != nil {
		r = store.Receipt{}
	}
	if it.dev != nil && it.err != nil {
		l.land(it)
	}
	if it.typ == typeCreate {
		l.creating.end(it.full.key)
	}
	r.Repeated = it.forgot
	it.pending.Resolve(r, it.err)
	r.Repeated = it.err == nil
	for _, w := range it.waiters {
		w.Resolve(r, it.err)
	}
	it.recycle()
}

// land takes an item from the device's flying ones and, if it is durable, to its sends. No further repeat can wait for
// it then.
func (l *logs) land(it *item) {
	ds := it.dev
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if it.typ == typeRelease {
		if it.err == nil {
			it.forgot = ds.applyRelease(it.packet, it.pos)
			l.dirty.addDevice(ds)
		}
		return
	}
	if it.hash != 0 && ds.flyingCID[it.hash] == it {
		delete(ds.flyingCID, it.hash)
	}
	if it.packet != 0 && ds.flyingPacket[it.packet] == it {
		delete(ds.flyingPacket, it.packet)
	}
	if it.err == nil {
		ds.applyMessage(it.hash, it.packet, packetRow{it.st.id, it.seq, it.time}, it.pos)
		l.dirty.addDevice(ds)
	}
}
