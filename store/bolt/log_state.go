package bolt

import (
	"errors"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// blockSize is how many positions lie in one row of the index. A block b holds those of the sequences b*64+1 to
// b*64+64.
const blockSize = 64

func blockOf(seq store.Seq) uint64 { return uint64(seq-1) / blockSize }

// blockStart is the sequence before the first one of a block.
func blockStart(block uint64) store.Seq { return store.Seq(block * blockSize) }

// logState is a log in memory: what its index rows say and what came since. One that equals its rows, is not pinned
// and has nothing in the tail cache may be dropped at any time.
type logState struct {
	id   store.LogID  // fixed
	pins atomic.Int32 // drafts on their way, reads, the checkpoint
	used atomic.Bool  // since eviction last looked

	mu       sync.Mutex
	key      store.Key // fixed once known; a rebuild may meet messages first
	by       store.AccountID
	created  int64
	title    string
	head     store.Seq
	first    store.Seq
	headTime int64
	members  *store.Membership
	marks    []mark // ascending by account
	sides    sides  // of a pair or thread

	// tail holds the positions of tailAfter+1 to head: what is not in a complete block of the index yet.
	tailAfter store.Seq
	tail      []journal.Position

	opsMax      store.Seq             // the highest target of any edit or recall; nothing to look up beyond it
	ops         map[store.Seq][]logOp // since the last checkpoint
	cached      []*store.Record       // the newest records: cachedAfter+1 to head, when not empty
	cachedAfter store.Seq

	applied journal.Position // everything before is applied
	saved   journal.Position // and this much is in the index
	full    journal.Position // of the newest creation or state record
	queued  bool             // in the list of the next checkpoint
	fresh   changedRows      // what the next checkpoint writes besides the head row

	prov provisional // the committer's alone
}

// changedRows says which rows differ from the index.
type changedRows struct {
	created bool // key row
	members bool
	marks   bool
	refs    []store.AccountID // accounts that became members
}

// logOp is an edit or recall of one target. Several can stand for one target: the newest that everybody sees, and
// for each sender of operations that only it may see, that one's newest.
type logOp struct {
	kind store.OpKind
	seq  store.Seq        // of the operation
	pos  journal.Position // of its record, which holds the new text
	only store.AccountID  // 0: everybody sees it, else this account alone
	ask  bool             // it was done to a request: who has accepted it sees it too
}

// provisional is what a log will be if the batch under way becomes durable. batch tells whether it is of this batch.
type provisional struct {
	batch   uint64
	head    store.Seq
	title   string
	members *store.Membership
	sides   sides
	marks   map[store.AccountID]*item // the newest mark of the batch per account
}

// info is a snapshot; mu is held.
func (st *logState) info() store.LogInfo {
	return store.LogInfo{ID: st.id, Key: st.key, Title: st.title, Head: st.head, First: st.first, HeadTime: st.headTime,
		Members: st.members, Sides: st.sides.public()}
}

func (st *logState) snapshot() store.LogInfo {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.info()
}

func (st *logState) markOf(a store.AccountID) store.Seq {
	if i, ok := st.findMark(a); ok {
		return st.marks[i].seq
	}
	return 0
}

func (st *logState) findMark(a store.AccountID) (int, bool) {
	return sort.Find(len(st.marks), func(i int) int {
		switch m := st.marks[i].account; {
		case a < m:
			return -1
		case a > m:
			return 1
		}
		return 0
	})
}

// apply moves the state past the durable record at pos; mu is held. This is the projection: the committer and recovery
// both go through it.
func (st *logState) apply(p *placed, pos journal.Position) {
	switch p.typ {
	case typeMessage:
		st.applySequenced(p.seq, p.time, pos)
		switch {
		case p.change.Kind == store.ChangeTitle:
			st.title = p.change.Title
		case p.change.Kind != store.ChangeNone:
			st.applyMembers(p)
		}
		if p.op.Kind == store.OpEdit || p.op.Kind == store.OpRecall {
			o := logOp{kind: p.op.Kind, seq: p.seq, pos: pos}
			if p.audience != store.AudienceBoth {
				o.only, o.ask = p.sender, p.audience == store.AudienceRequest
			}
			st.applyOp(p.op.Target, o)
		}
	case typePrivate:
		st.applyMembers(p)
	case typeCreate, typeState:
		st.applyFull(p.full, pos)
	case typeMark:
		st.applyMark(p.sender, p.seq)
	}
	if st.key.Sided() {
		st.sides.apply(st.key, p, st.members)
	}
	st.applied = pos + 1
}

// applyFull takes over what a creation or state record says. It is complete: whatever was known is replaced, but for
// a head and positions that are further, as a rebuild meets them.
func (st *logState) applyFull(f *fullState, pos journal.Position) {
	st.sides.applyFull(st.key.Kind != 0, f)
	st.key, st.by, st.created, st.title = f.key, f.by, f.created, f.title
	if f.head > st.head {
		st.head = f.head
		st.skipTo(f.head)
	}
	st.headTime = max(st.headTime, f.headTime)
	st.fresh.created, st.fresh.members, st.fresh.marks = true, true, true
	st.fresh.refs = append(st.fresh.refs, f.refs()...)
	st.members = f.members
	st.marks = slices.Clone(f.marks)
	st.full = pos
}

// refs are the accounts under which the log is found: its members, and both users of a pair, since requests may wait for
// one who is no member yet.
func (f *fullState) refs() []store.AccountID {
	if f.key.Kind == store.LogPair {
		if f.key.A == f.key.B {
			return []store.AccountID{f.key.A}
		}
		return []store.AccountID{f.key.A, f.key.B}
	}
	out := make([]store.AccountID, len(f.members.Members))
	for i := range out {
		out[i] = f.members.Members[i].Account
	}
	return out
}

// skipTo forgets positions so that the tail continues after head, all before being removed by retention.
func (st *logState) skipTo(head store.Seq) {
	st.first = head + 1
	st.tailAfter = blockStart(uint64(head) / blockSize)
	st.tail = make([]journal.Position, head-st.tailAfter)
}

// applySequenced appends a record with the next sequence.
func (st *logState) applySequenced(seq store.Seq, time int64, pos journal.Position) {
	if st.head == 0 && seq > 1 { // a rebuild after retention
		st.skipTo(seq - 1)
	}
	st.head, st.headTime = seq, time
	st.tail = append(st.tail, pos)
}

func (st *logState) applyMembers(p *placed) {
	if p.members == nil { // recovery
		p.members = st.members.Apply(p.change, st.head, p.time)
	}
	st.members = p.members
	st.fresh.members = true
	if p.joins() {
		st.fresh.refs = append(st.fresh.refs, p.change.Account)
	}
}

// applyOp notes an edit or recall. A recall is final for those who see it.
func (st *logState) applyOp(target store.Seq, o logOp) {
	if st.ops == nil {
		st.ops = make(map[store.Seq][]logOp)
	}
	st.ops[target] = mergeOp(st.ops[target], o)
	st.opsMax = max(st.opsMax, target)
}

// mergeOp adds an operation to those of its target without changing the list, which readers may hold.
func mergeOp(ops []logOp, o logOp) []logOp {
	for i, old := range ops {
		if old.only != o.only || old.ask != o.ask {
			continue
		}
		if old.kind == store.OpRecall || old.seq >= o.seq {
			return ops
		}
		ops = slices.Clone(ops)
		ops[i] = o
		return ops
	}
	return append(slices.Clip(ops), o)
}

func (st *logState) applyMark(a store.AccountID, seq store.Seq) {
	i, ok := st.findMark(a)
	switch {
	case !ok:
		st.marks = slices.Insert(st.marks, i, mark{a, seq})
	case st.marks[i].seq >= seq:
		return
	default:
		st.marks[i].seq = seq
	}
	st.fresh.marks = true
}

// cleanLimit bounds the states kept although they equal their rows; about 1 KiB each.
const (
	stateShards = 64
	cleanLimit  = 32768 / stateShards
	maxAbsent   = 16384 / stateShards // keys of about 100 bytes
)

// logStates finds logs by number and by key. Loading one reads the index, so the committer never loads.
type logStates struct {
	ix     *index
	limit  int // clean logs per shard
	shards [stateShards]stateShard
	keys   [stateShards]keyShard
}

type stateShard struct {
	load sync.Mutex // one load at a time, so that no load overtakes an eviction
	mu   sync.Mutex
	byID map[store.LogID]*logState
}

// keyShard maps keys to logs, those in memory at least.
type keyShard struct {
	mu      sync.RWMutex
	id      map[store.Key]store.LogID
	absent  map[store.Key]struct{} // asked for, and there was none; at most maxAbsent
	changes uint64                 // counts what was remembered and forgotten
}

func newLogStates(ix *index) *logStates {
	s := &logStates{ix: ix, limit: cleanLimit}
	for i := range s.shards {
		s.shards[i].byID = make(map[store.LogID]*logState)
		s.keys[i].id = make(map[store.Key]store.LogID)
	}
	return s
}

func (s *logStates) shard(id store.LogID) *stateShard { return &s.shards[id%stateShards] }

func (s *logStates) keyShard(k store.Key) *keyShard {
	h := uint64(k.Kind) + uint64(k.A)*31 + uint64(k.B)
	for i := 0; i < len(k.Name); i++ {
		h = h*31 + uint64(k.Name[i])
	}
	return &s.keys[h%stateShards]
}

// peek returns the log if it is in memory, pinned.
func (s *logStates) peek(id store.LogID) *logState {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	st := sh.byID[id]
	if st != nil {
		st.pins.Add(1)
		st.used.Store(true)
	}
	return st
}

// pin returns the log, loading it if need be, and keeps it in memory until unpin. ErrNotFound if there is none.
func (s *logStates) pin(id store.LogID) (*logState, error) {
	if st := s.peek(id); st != nil {
		return st, nil
	}
	sh := s.shard(id)
	sh.load.Lock()
	defer sh.load.Unlock()
	if st := s.peek(id); st != nil {
		return st, nil
	}
	st, err := s.ix.loadLog(id)
	if err != nil {
		return nil, err
	}
	if made := s.peek(id); made != nil { // it was created, and written to the index, since memory was looked at
		return made, nil
	}
	s.insert(st)
	return st, nil
}

func (st *logState) unpin() { st.pins.Add(-1) }

// insert adds a state and pins it. A shard that has too many drops some that may go.
func (s *logStates) insert(st *logState) {
	s.add(st)
	sh := s.shard(st.id)
	var gone []store.Key
	sh.mu.Lock()
	if len(sh.byID) > s.limit {
		gone = sh.evict()
	}
	sh.mu.Unlock()
	for _, k := range gone {
		s.forgetKey(k)
	}
}

func (s *logStates) add(st *logState) {
	st.pins.Add(1)
	st.used.Store(true)
	sh := s.shard(st.id)
	sh.mu.Lock()
	sh.byID[st.id] = st
	sh.mu.Unlock()
	s.rememberKey(st)
}

// evict looks at a few states in the map's random order and drops those that may go and were not used lately.
func (sh *stateShard) evict() []store.Key {
	var gone []store.Key
	looked := 0
	for id, st := range sh.byID {
		if looked++; looked > 16 || len(gone) >= 2 {
			break
		}
		if st.pins.Load() != 0 || st.used.Swap(false) {
			continue
		}
		st.mu.Lock()
		if st.applied == st.saved && len(st.cached) == 0 && !st.queued {
			delete(sh.byID, id)
			gone = append(gone, st.key)
		}
		st.mu.Unlock()
	}
	return gone
}

func (s *logStates) rememberKey(st *logState) {
	st.mu.Lock()
	key := st.key
	st.mu.Unlock()
	if key.Kind == 0 {
		return
	}
	ks := s.keyShard(key)
	ks.mu.Lock()
	defer ks.mu.Unlock()
	ks.id[key] = st.id
	delete(ks.absent, key)
	ks.changes++
}

func (s *logStates) forgetKey(k store.Key) {
	ks := s.keyShard(k)
	ks.mu.Lock()
	defer ks.mu.Unlock()
	delete(ks.id, k)
	ks.changes++
}

// lookup returns the number of the log with this key, ErrNotFound if there is none. Who writes to many for the first time
// asks for many that do not exist, so those are remembered, too.
func (s *logStates) lookup(k store.Key) (store.LogID, error) {
	ks := s.keyShard(k)
	ks.mu.RLock()
	id, ok := ks.id[k]
	_, absent := ks.absent[k]
	before := ks.changes
	ks.mu.RUnlock()
	switch {
	case ok:
		return id, nil
	case absent:
		return 0, store.ErrNotFound
	}
	id, err := s.ix.logByKey(k)
	if !errors.Is(err, store.ErrNotFound) {
		return id, err
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.changes != before { // perhaps it was made while the index was read
		return id, err
	}
	if len(ks.absent) >= maxAbsent {
		clear(ks.absent)
	}
	if ks.absent == nil {
		ks.absent = make(map[store.Key]struct{})
	}
	ks.absent[k] = struct{}{}
	return id, err
}
