package bolt

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

var _ store.Log = (*logs)(nil)

// logs is the store's store.Log: the journal, the committer that writes it, and what is derived from it. How a record
// travels: append.go → commit.go → log_state.go (apply) → tail.go and ring.go → read.go and follow.go.
type logs struct {
	// fixed
	cfg     Config
	log     *slog.Logger
	id      [16]byte
	epoch   store.Epoch
	journal *journal.Journal
	ix      *index
	states  *logStates
	devices *deviceStates
	seal    *sealer
	met     *metrics

	queue commitQueue
	ring  ring
	dirty dirtyList
	refs  freshRefs
	disk  diskState
	held  func() (bool, error) // whether a hold forbids retention

	// maintain is the baton of who writes the index: checkpoints, retention. No append and no read ever takes it.
	maintain sync.Mutex

	nextLog  atomic.Uint64
	creating creations

	// owned by the committer
	c committer

	committing sync.WaitGroup // the committer
	keeping    sync.WaitGroup // the keeper
	stop       chan struct{}  // closed to end the keeper
	closing    sync.Once
	closeErr   error
}

// creations makes concurrent Opens of one key share one creation.
type creations struct {
	mu sync.Mutex
	by map[store.Key]*store.Pending
}

// Open implements store.Log.
func (l *logs) Open(ctx context.Context, key store.Key, c store.Creation) (store.LogInfo, bool, error) {
	if err := validKey(key); err != nil {
		return store.LogInfo{}, false, err
	}
	for {
		info, err := l.Find(key)
		if store.CodeOf(err) != store.CodeNotFound {
			return info, false, err
		}
		p, mine, err := l.create(key, c)
		if err != nil {
			return store.LogInfo{}, false, err
		}
		select {
		case <-p.Done():
		case <-ctx.Done():
			return store.LogInfo{}, false, &store.Error{Code: store.CodeUnknown, Text: "gave up waiting for the disk", Err: ctx.Err()}
		}
		r, err := p.Result()
		if mine || err != nil {
			if err != nil {
				return store.LogInfo{}, false, err
			}
			info, err := l.Info(r.Log)
			return info, true, err
		}
	}
}

func validKey(k store.Key) error {
	ok := false
	switch k.Kind {
	case store.LogPair:
		ok = k.A != 0 && k.A <= k.B && k.Name == ""
	case store.LogRoom:
		ok = k.A == 0 && k.B == 0 && k.Name != "" && len(k.Name) <= maxName
	case store.LogNotice:
		ok = k.A != 0 && k.B == 0 && k.Name == ""
	case store.LogChannel, store.LogAds:
		ok = k.A == 0 && k.B == 0 && k.Name != "" && len(k.Name) <= maxName
	case store.LogThread:
		ok = k.A != 0 && k.B == 0 && k.Name != "" && len(k.Name) <= maxName
	}
	if !ok {
		return store.Bad("not the key of a log")
	}
	return nil
}

// create joins the creation of a log that Find did not find, or one that is under way. A Pending that is not mine and
// has no error says: look again.
func (l *logs) create(key store.Key, c store.Creation) (p *store.Pending, mine bool, err error) {
	if len(c.Title) > maxTitle {
		return nil, false, &store.Error{Code: store.CodeTooLarge, Text: "the title is too long"}
	}
	if err := l.refusal(); err != nil {
		return nil, false, err
	}
	now := l.now().UnixMilli()
	full := &fullState{key: key, by: c.By, created: now, title: c.Title, headTime: now, sided: true}
	if full.members, err = firstMembers(c.Members, now); err != nil {
		return nil, false, err
	}
	it := newItem()
	p = it.pending
	if first := l.creating.begin(key, p); first != p {
		it.recycle()
		return first, false, nil
	}
	if _, err := l.states.lookup(key); store.CodeOf(err) != store.CodeNotFound {
		l.creating.end(key) // created since Find
		p.Resolve(store.Receipt{}, err)
		it.recycle()
		return p, false, nil
	}
	id := store.LogID(l.nextLog.Add(1) - 1)
	it.typ, it.full = typeCreate, full
	it.st = &logState{id: id, first: 1, members: &store.Membership{}}
	it.st.pins.Add(1)
	it.buf = appendFullState(appendHead(it.buf, typeCreate, &store.Draft{Log: id, Sender: c.By}), full)
	err = l.fits(it.buf)
	if err == nil {
		err = l.join(it)
	}
	if err != nil {
		return nil, false, l.abandon(it, err)
	}
	return p, true, nil
}

// begin notes a creation and returns the one that is under way for this key: p, if there was none.
func (c *creations) begin(key store.Key, p *store.Pending) *store.Pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.by[key]; first != nil {
		return first
	}
	if c.by == nil {
		c.by = make(map[store.Key]*store.Pending)
	}
	c.by[key] = p
	return p
}

// end ends a creation, whatever became of it. The log is found already if it succeeded.
func (c *creations) end(key store.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.by, key)
}

func firstMembers(members []store.Member, now int64) (*store.Membership, error) {
	ms := &store.Membership{Version: 1, Members: make([]store.Member, 0, len(members)), Active: len(members)}
	for _, m := range members {
		if m.Account == 0 {
			return nil, store.Bad("account 0 cannot be a member")
		}
		ms.Members = append(ms.Members, store.Member{Account: m.Account, Role: max(m.Role, store.RoleMember), Since: now,
			Spans: []store.Span{{From: 1}}})
	}
	slices.SortFunc(ms.Members, func(a, b store.Member) int {
		if a.Account < b.Account {
			return -1
		}
		return 1
	})
	for i := 1; i < len(ms.Members); i++ {
		if ms.Members[i].Account == ms.Members[i-1].Account {
			return nil, store.Bad("a first member is named twice")
		}
	}
	return ms, nil
}

// Find implements store.Log.
func (l *logs) Find(key store.Key) (store.LogInfo, error) {
	id, err := l.states.lookup(key)
	if err != nil {
		return store.LogInfo{}, err
	}
	return l.Info(id)
}

// Info implements store.Log.
func (l *logs) Info(id store.LogID) (store.LogInfo, error) {
	st, err := l.states.pin(id)
	if err != nil {
		return store.LogInfo{}, err
	}
	defer st.unpin()
	return st.snapshot(), nil
}

// Standing implements store.Log.
func (l *logs) Standing(id store.LogID) (store.Marks, error) {
	st, err := l.states.pin(id)
	if err != nil {
		return store.Marks{}, err
	}
	defer st.unpin()
	st.mu.Lock()
	key, head, members, marks := st.key, st.head, st.members, slices.Clone(st.marks)
	st.mu.Unlock()
	return store.NewMarks(key, head, members, func(a store.AccountID) store.Seq {
		for i := range marks { // NewMarks asks in the order of accounts
			if marks[i].account >= a {
				seq := store.Seq(0)
				if marks[i].account == a {
					seq = marks[i].seq
				}
				marks = marks[i:]
				return seq
			}
		}
		return 0
	}), nil
}

// MarkOf implements store.Log.
func (l *logs) MarkOf(id store.LogID, a store.AccountID) (store.Seq, error) {
	st, err := l.states.pin(id)
	if err != nil {
		return 0, err
	}
	defer st.unpin()
	st.mu.Lock()
	defer st.mu.Unlock()
	if k := st.key; k.Kind == store.LogPair && k.A != k.B {
		if a != k.A && a != k.B {
			return 0, nil
		}
	} else if st.members.Role(a) == store.RoleNone {
		return 0, nil
	}
	if i, ok := st.findMark(a); ok {
		return st.marks[i].seq, nil
	}
	return 0, nil
}

const (
	refsDefault = 1000
	refsStep    = 200 // logs read in one transaction
)

// LogsOf implements store.Log.
func (l *logs) LogsOf(a store.AccountID, after store.LogID, limit int) (out []store.LogRef, err error) {
	err = l.eachRef(a, after, limit, func(info store.LogInfo) bool {
		m := info.Members.Find(a)
		if m != nil {
			out = append(out, store.LogRef{LogInfo: info, Me: *m})
		}
		return m != nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RequestsTo implements store.Log.
func (l *logs) RequestsTo(a store.AccountID, after store.LogID, limit int) (out []store.LogInfo, err error) {
	err = l.eachRef(a, after, limit, func(info store.LogInfo) bool {
		waits := info.Key.Kind == store.LogPair && info.Side(info.Key.Peer(a)).Requests > 0
		if waits {
			out = append(out, info)
		}
		return waits
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// eachRef visits the logs of an account after one, until visit has taken as many as the limit (0: the default).
func (l *logs) eachRef(a store.AccountID, after store.LogID, limit int, visit func(store.LogInfo) (taken bool)) error {
	if limit <= 0 {
		limit = refsDefault
	}
	for taken := 0; taken < limit; {
		step := min(refsStep, limit-taken)
		fresh := l.refs.after(a, after, step) // before the index: a checkpoint moves them there
		ids, err := l.ix.refs(a, after, step)
		if err != nil {
			return err
		}
		ids = append(ids, fresh...)
		slices.Sort(ids)
		ids = slices.Compact(ids)
		ids = ids[:min(step, len(ids))]
		for _, id := range ids {
			info, err := l.states.glance(id)
			if err != nil {
				return err
			}
			if visit(info) {
				taken++
			}
			after = id
		}
		if len(ids) < step {
			break
		}
	}
	return nil
}

// glance is a snapshot that leaves the log where it is: lists must not push what is in use out of memory.
func (s *logStates) glance(id store.LogID) (store.LogInfo, error) {
	st := s.peek(id)
	if st != nil {
		defer st.unpin()
		return st.snapshot(), nil
	}
	st, err := s.ix.loadLog(id)
	if store.CodeOf(err) == store.CodeNotFound {
		st, err = s.pin(id) // loaded, changed and not yet written between the two looks
		if err == nil {
			defer st.unpin()
		}
	}
	if err != nil {
		return store.LogInfo{}, err
	}
	return st.snapshot(), nil
}

// freshRefs are the references from accounts to logs that are not in the index yet.
type freshRefs struct {
	mu sync.Mutex
	by map[store.AccountID][]store.LogID // ascending
}

func (f *freshRefs) add(a store.AccountID, id store.LogID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = make(map[store.AccountID][]store.LogID)
	}
	ids := f.by[a]
	if i, found := slices.BinarySearch(ids, id); !found {
		f.by[a] = slices.Insert(ids, i, id)
	}
}

func (f *freshRefs) remove(a store.AccountID, id store.LogID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := f.by[a]
	i, found := slices.BinarySearch(ids, id)
	switch {
	case !found:
	case len(ids) == 1:
		delete(f.by, a)
	default:
		f.by[a] = slices.Delete(ids, i, i+1)
	}
}

func (f *freshRefs) after(a store.AccountID, after store.LogID, max int) []store.LogID {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := f.by[a]
	i, _ := slices.BinarySearch(ids, after+1)
	return slices.Clone(ids[i:min(len(ids), i+max)])
}

// Bounds implements store.Log.
func (l *logs) Bounds() (first, end store.Position) {
	return store.Position(l.journal.First()), store.Position(l.ring.end())
}

// Epoch implements store.Log.
func (l *logs) Epoch() store.Epoch { return l.epoch }

// close commits what waits, ends the goroutines and writes a last checkpoint.
func (l *logs) close() error {
	l.closing.Do(func() {
		l.queue.close()
		l.committing.Wait()
		close(l.stop)
		l.keeping.Wait()
		l.ring.close()
		l.maintain.Lock() // and keep it: who compacts would give the index another file
		defer l.maintain.Unlock()
		err := l.checkpointNow()
		l.closeErr = firstError(err, l.ix.close(), l.journal.Close())
	})
	return l.closeErr
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// now is the time for records; the committer keeps it from going back.
func (l *logs) now() time.Time { return l.cfg.Now() }
