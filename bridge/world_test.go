package bridge

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// world is an engine over a real store, with rules and a lane that tests can steer. It lives in a synctest bubble, so
// that time passes when nothing else happens, and synctest.Wait says that everything was decided.
type world struct {
	t     testing.TB
	dir   string
	store *bolt.Store
	graph *graph.Graph
	b     *Bridge
	rules *doubleRules
	lane  *doubleLane
	live  *doubleLive
	conf  func(*Config)
	limit limits
}

// double runs a test in a bubble of its own.
func double(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		test(t, w)
		w.close()
	})
}

func newWorld(t testing.TB, dir string) *world {
	w := &world{t: t, dir: dir, lane: newDoubleLane(), live: &doubleLive{}, limit: defaultLimits}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.store, err = bolt.Open(bolt.Config{Dir: w.dir, MinFree: -1})
	w.ok(err)
	w.graph = graph.New(w.store, nil)
	w.live.store = w.store
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start starts the bridge.
func (w *world) start() {
	w.t.Helper()
	cfg := Config{Store: w.store, Access: hooks.NewAccess(w.store, hooks.AccessConfig{}), Live: w.live}
	if w.conf != nil {
		w.conf(&cfg)
	}
	cfg.setDefaults()
	var err error
	w.b, err = start(cfg, func(b *Bridge) judge {
		w.rules = &doubleRules{b: b}
		return w.rules
	}, map[graph.PushProvider]carrier{graph.APNs: w.lane}, w.limit)
	w.ok(err)
}

func (w *world) close() {
	if w.b != nil {
		w.ok(w.b.Close())
		w.ok(w.b.Close())
		w.b = nil
	}
	w.lane.wg.Wait()
	w.ok(w.store.Close())
}

// crash returns a world as it is found after the machine died at this moment: what is in the files now, and nothing else.
func (w *world) crash() *world {
	w.t.Helper()
	dir := filepath.Join(w.t.(*testing.T).TempDir(), "data")
	w.ok(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(w.dir, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o600)
	}))
	next := newWorld(w.t, dir)
	next.live.links = w.live.links
	return next
}

func (w *world) account(name string) store.AccountID {
	w.t.Helper()
	a, err := w.store.CreateAccount(w.t.Context(), store.Account{Name: name})
	w.ok(err)
	return a.ID
}

func (w *world) register(a store.AccountID, d store.DeviceID) {
	w.t.Helper()
	w.ok(w.store.PutDevice(w.t.Context(), store.Device{Account: a, ID: d, ClientID: fmt.Sprint(d)}, 0))
	_, err := w.graph.Register(w.t.Context(), a, graph.Registration{Device: d, Provider: graph.APNs, Token: fmt.Sprintf("%x.%x", a, d)})
	w.ok(err)
}

// pair is the conversation of two users.
func (w *world) pair(a, b store.AccountID) store.LogID {
	w.t.Helper()
	info, _, err := w.store.Open(w.t.Context(), store.PairKey(a, b), store.Creation{By: a,
		Members: []store.Member{{Account: a, Role: store.RoleMember}, {Account: b, Role: store.RoleMember}}})
	w.ok(err)
	return info.ID
}

func (w *world) room(name string, members ...store.AccountID) store.LogID {
	w.t.Helper()
	c := store.Creation{By: members[0]}
	for _, a := range members {
		c.Members = append(c.Members, store.Member{Account: a, Role: store.RoleMember})
	}
	info, _, err := w.store.Open(w.t.Context(), store.RoomKey(name), c)
	w.ok(err)
	return info.ID
}

func (w *world) say(log store.LogID, from store.AccountID) store.Seq {
	w.t.Helper()
	r, err := w.store.Append(store.Draft{Log: log, Sender: from, Text: []byte("hello")}).Result()
	w.ok(err)
	return r.Seq
}

func (w *world) read(log store.LogID, a store.AccountID, seq store.Seq) {
	w.t.Helper()
	_, err := w.store.SetMark(store.Mark{Log: log, Account: a, Seq: seq}).Result()
	w.ok(err)
}

func (w *world) recall(log store.LogID, from store.AccountID, seq store.Seq) {
	w.t.Helper()
	_, err := w.store.Append(store.Draft{Log: log, Sender: from, Op: store.Op{Kind: store.OpRecall, Target: seq}}).Result()
	w.ok(err)
}

// row is what the row of a ring says, nil if there is none.
func (w *world) row(k key) *state {
	w.t.Helper()
	st, err := w.b.load(k)
	w.ok(err)
	return st
}

// nothingWaits fails the test unless the position has passed everything and no ring is in memory.
func (w *world) nothingWaits() {
	w.t.Helper()
	synctest.Wait()
	if n := w.b.table.len(); n != 0 {
		w.t.Errorf("%d rings are left in memory", n)
	}
	_, end := w.store.Bounds()
	if at, n := w.b.ledger.passed(); at != end || n != 0 {
		w.t.Errorf("settled up to %d with %d entries beyond, the journal ends at %d", at, n, end)
	}
}

// sent fails the test unless the lane took exactly these pushes since the last time, each as "kind seq×count".
func (w *world) sent(want ...string) []*push.Push {
	w.t.Helper()
	synctest.Wait()
	l := w.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.pushes
	l.pushes = nil
	var is []string
	for _, p := range got {
		is = append(is, fmt.Sprintf("%s %d×%d", p.Note.Kind, p.Note.Seq, p.Note.Count))
	}
	if fmt.Sprint(is) != fmt.Sprint(want) {
		w.t.Fatalf("pushes: %v, want %v", is, want)
	}
	return got
}

// doubleLive is the running server, in so far as the bridge asks it.
type doubleLive struct {
	store *bolt.Store
	mu    sync.Mutex
	links map[capped]doubleLink
	asked func() // nil, or called once, when it was read what is acknowledged
}

type doubleLink struct{ overdue, background bool }

func (l *doubleLive) connect(a store.AccountID, d store.DeviceID, link doubleLink) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.links == nil {
		l.links = make(map[capped]doubleLink)
	}
	l.links[capped{a, d}] = link
}

func (l *doubleLive) disconnect(a store.AccountID, d store.DeviceID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.links, capped{a, d})
}

func (l *doubleLive) Link(a store.AccountID, d store.DeviceID) (connected, overdue, background bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	link, ok := l.links[capped{a, d}]
	return ok, link.overdue, link.background
}

func (l *doubleLive) Acked(a store.AccountID, d store.DeviceID, log store.LogID) (store.Cursor, error) {
	c, err := l.store.CursorOf(a, d, log)
	l.mu.Lock()
	asked := l.asked
	l.asked = nil
	l.mu.Unlock()
	if asked != nil {
		asked()
	}
	return c, err
}

func (l *doubleLive) Active(store.AccountID, store.DeviceID) time.Time { return time.Time{} }

// ack confirms a log for a device.
func (w *world) ack(a store.AccountID, d store.DeviceID, log store.LogID, seq store.Seq) {
	w.t.Helper()
	c := map[store.LogID]store.Cursor{log: store.Cursor{}.Ack(seq)}
	w.ok(w.store.SaveSession(w.t.Context(), &store.Session{Account: a, Device: d, Cursors: c}))
}

// doubleRules are rules that are just enough to steer the engine: what is read is not told, a connected device has some
// seconds, a conversation rings once and is then told anew after windows of 3 s.
type doubleRules struct {
	b *Bridge

	mu    sync.Mutex
	asked int
	own   func(k key, st *state, now time.Time) (verdict, error) // instead, unless its verdict says nothing at all
	notes int
}

func (r *doubleRules) answer(fn func(k key, st *state, now time.Time) (verdict, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = fn
}

func (r *doubleRules) questions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *doubleRules) noted(*store.Entry) { r.notes++ }

func (r *doubleRules) boxRang(context.Context, key, time.Time) error { return nil }

func (r *doubleRules) assess(_ context.Context, k key, st *state, now time.Time) (verdict, error) {
	r.mu.Lock()
	r.asked++
	own := r.own
	r.mu.Unlock()
	if own != nil {
		if v, err := own(k, st, now); err != nil || v.reason != "" {
			return v, err
		}
	}
	if k.log == 0 {
		switch {
		case now.UnixMilli() < st.Due:
			return verdict{action: wait, reason: ReasonSummary, until: time.UnixMilli(st.Due)}, nil
		case st.First == 0:
			return verdict{reason: ReasonDouble}, nil
		}
		return verdict{action: ring, reason: ReasonSummary, kind: push.KindSummary, begins: true, shown: st.Last}, nil
	}
	info, err := r.b.store.Info(k.log)
	if err != nil {
		return verdict{}, err
	}
	marks, err := r.b.store.Standing(k.log)
	if err != nil {
		return verdict{}, err
	}
	mark, upto := marks.Of(k.account), max(st.Last, info.Head)
	v := verdict{upto: upto}
	page, err := r.b.store.Read(store.Query{Log: k.log, Viewer: k.account, After: max(mark, st.Done), Upto: upto, Max: 10000})
	if err != nil {
		return verdict{}, err
	}
	for _, rec := range page.Records {
		if rec.Op.Kind == store.OpNone && !rec.Recalled && rec.Sender != k.account {
			v.newest = rec
		}
	}
	if st.Shown != 0 && v.newest == nil {
		page, err := r.b.store.Read(store.Query{Log: k.log, After: st.Shown - 1, Upto: st.Shown})
		if err != nil {
			return verdict{}, err
		}
		if mark >= st.Shown || page.Records[0].Recalled {
			v.action, v.reason, v.ends, v.class, v.kind = clears, ReasonClear, true, push.Clear, push.KindClear
			return v, nil
		}
	}
	if v.newest == nil {
		v.reason = ReasonRead
		return v, nil
	}
	connected, overdue, _ := r.b.live.Link(k.account, k.device)
	v.reason = ReasonAway
	if connected {
		c, err := r.b.live.Acked(k.account, k.device, k.log)
		if err != nil {
			return verdict{}, err
		}
		grace := r.b.cfg.Grace
		if overdue {
			grace = r.b.cfg.Overdue
		}
		switch until := time.UnixMilli(st.Time).Add(grace); {
		case c.Acked >= upto:
			v.reason, v.ends = ReasonAcked, true
			return v, nil
		case st.First != 0 && c.Confirmed(st.First):
			return verdict{reason: ReasonAcked, upto: c.Acked}, nil
		case now.Before(until):
			v.action, v.reason, v.until = wait, ReasonGrace, until
			return v, nil
		}
		v.reason = ReasonSilence
	}
	v.count = int(upto - max(mark, st.Done-min(st.Done, store.Seq(st.Count))))
	v.action, v.kind, v.shown, v.begins = ring, push.KindMessage, v.newest.Seq, true
	if st.Shown != 0 && mark < st.Shown {
		if until := time.UnixMilli(st.Rang).Add(3 * time.Second); now.Before(until) {
			return verdict{action: wait, reason: ReasonWindow, until: until, upto: upto}, nil
		}
		v.reason, v.kind, v.begins, v.silent = ReasonUpdate, push.KindMessages, false, true
	}
	return v, nil
}

func (r *doubleRules) compose(_ context.Context, k key, st *state, v verdict, to *graph.Registration, _ time.Time) (*push.Push, error) {
	p := &push.Push{To: *to, Class: v.class, Note: push.Note{Kind: v.kind, Count: v.count}}
	if v.newest != nil {
		p.Note.Seq = v.newest.Seq
	}
	p.ID = push.NewID(k.device, k.log, max(p.Note.Seq, st.Shown), v.kind)
	return p, nil
}

// doubleLane is a provider that takes everything at once, unless told otherwise.
type doubleLane struct {
	wg sync.WaitGroup

	mu      sync.Mutex
	pushes  []*push.Push
	answers func(p *push.Push) lane.Result // nil: it is sent
	refuse  func() (time.Time, bool)       // true: takes nothing until then
	before  chan struct{}                  // not nil: pushes wait for it before they are made
	after   chan struct{}                  // and for this after the provider has them
	offered int
}

func newDoubleLane() *doubleLane { return &doubleLane{} }

func (l *doubleLane) set(fn func(l *doubleLane)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn(l)
}

func (l *doubleLane) Submit(j lane.Job) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offered++
	if l.refuse != nil {
		if at, held := l.refuse(); held {
			return at, false
		}
	}
	before := l.before
	l.wg.Go(func() {
		if before != nil {
			<-before
		}
		p := j.Build(context.Background())
		if p == nil {
			j.Done(lane.Result{Action: lane.Unneeded})
			return
		}
		l.mu.Lock()
		l.pushes = append(l.pushes, p)
		res, after := lane.Result{Action: lane.Sent, Answer: push.Answer{Outcome: push.Delivered, Status: 200}}, l.after
		if l.answers != nil {
			res = l.answers(p)
		}
		l.mu.Unlock()
		res.Push = p
		if after != nil {
			<-after
		}
		j.Done(res)
	})
	return time.Time{}, true
}

func (l *doubleLane) Close() error {
	l.wg.Wait()
	return nil
}
