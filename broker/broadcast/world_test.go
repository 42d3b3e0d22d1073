package broadcast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// world is a channel in a real store, whose clock the test moves, with the rest of the server as the test says.
type world struct {
	t       testing.TB
	dir     string
	store   *bolt.Store
	failing *failing
	graph   *graph.Graph
	b       *Broadcasts
	channel store.LogID
	by      store.AccountID

	mu         sync.Mutex
	clock      time.Time
	told       []progress // to publishers
	changed    int        // PostChanged
	looks      int
	considered int
	all        bool
	followers  *int
	enough     bool
	reports    int
	held       map[string]bool
	refuse     error // of Post
	tells      chan progress
	news       []string // what Config.Tell was told: key, state, when it ended and whether there is a report
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), enough: true, held: map[string]bool{}}
	w.openStore()
	t.Cleanup(func() { w.must(w.store.Close()) })
	account, err := w.store.CreateAccount(t.Context(), store.Account{Name: "brand"})
	w.must(err)
	w.by = account.ID
	w.channel = makeChannel(t, w.store, w.graph, account.ID)
	w.still()
	return w
}

func makeChannel(t testing.TB, s *bolt.Store, g *graph.Graph, by store.AccountID) store.LogID {
	t.Helper()
	in := store.Creation{By: by, Members: []store.Member{{Account: by, Role: store.RoleOwner}}}
	notices, _, err := s.Open(t.Context(), store.ChannelKey("acme"), in)
	if err != nil {
		t.Fatal(err)
	}
	ads, _, err := s.Open(t.Context(), store.AdsKey("acme"), in)
	if err != nil {
		t.Fatal(err)
	}
	err = g.SetChannel(t.Context(), notices.ID, func(c *graph.Channel) error {
		*c = graph.Channel{Title: "Acme", Language: "ko", Ads: ads.ID, Created: 1, Approved: 1}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return notices.ID
}

func (w *world) openStore() {
	w.t.Helper()
	var err error
	w.store, err = bolt.Open(bolt.Config{Dir: w.dir, MinFree: -1, Now: w.now})
	w.must(err)
	w.failing = &failing{Store: w.store}
	w.graph = graph.New(w.failing, w.now)
}

func (w *world) config() Config {
	return Config{Store: w.failing, Graph: w.graph, Poster: poster{w}, Pushes: pushes{w}, Tally: tally{w}, Files: files{w}, Tell: w.tell, Now: w.now}
}

// still makes the broadcasts anew, with nothing that moves: the test calls step.
func (w *world) still() {
	w.t.Helper()
	var err error
	w.b, err = still(w.config())
	w.must(err)
}

// tell is Config.Tell. What it is told has to be in the store.
func (w *world) tell(_ context.Context, channel store.LogID, c *Broadcast) error {
	stored, _, err := w.b.read(channel, c.Key)
	if err != nil {
		return err
	}
	said, is := newsOf(c), newsOf(stored)
	if said != is {
		w.t.Errorf("told %s, and stored is %s", said, is)
	}
	w.set(func() { w.news = append(w.news, said) })
	return nil
}

func newsOf(c *Broadcast) string {
	return fmt.Sprint(c.Key, " ", c.State, " ", c.Ended, " ", c.Report != nil)
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// step looks at everything that is due, as run does when it is time to.
func (w *world) step() {
	w.later(watchEvery)
	w.b.pass(w.t.Context(), w.now(), true)
}

func (w *world) create(wish Wish) *Broadcast {
	w.t.Helper()
	c, _, err := w.b.Create(w.t.Context(), w.channel, w.by, wish)
	w.must(err)
	return c
}

func (w *world) get(key string) *Broadcast {
	w.t.Helper()
	c, err := w.b.Get(w.channel, key)
	w.must(err)
	return c
}

func (w *world) wantState(key string, s State, why string) {
	w.t.Helper()
	if c := w.get(key); c.State != s || c.Why != why {
		w.t.Errorf("%s is %s (%s), want %s (%s)", key, c.State, c.Why, s, why)
	}
}

// records are those of a log with the cid of a broadcast.
func (w *world) records(log store.LogID, key string) []*store.Record {
	w.t.Helper()
	page, err := w.store.Read(store.Query{Log: log, Max: 1000})
	w.must(err)
	return slices.DeleteFunc(page.Records, func(r *store.Record) bool { return r.CID != graph.PostCID(key) })
}

func (w *world) dues() int {
	w.t.Helper()
	rows, err := w.store.Rows(tableDue, "", "", "", 0)
	w.must(err)
	return len(rows)
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func text(s string) view.Post { return view.Post{Text: s} }

// poster appends to the store as the broker does.
type poster struct{ w *world }

func (p poster) Post(ctx context.Context, channel store.LogID, ads bool, id string, c view.Content) (store.Receipt, error) {
	p.w.mu.Lock()
	refuse := p.w.refuse
	p.w.mu.Unlock()
	if refuse != nil {
		return store.Receipt{}, refuse
	}
	if err := p.w.failing.before(); err != nil {
		return store.Receipt{}, err
	}
	brand, err := p.w.graph.Channel(channel)
	if err != nil {
		return store.Receipt{}, err
	}
	log := channel
	if ads {
		log = brand.Ads
	}
	r, err := p.w.store.Append(store.Draft{Log: log, CID: graph.PostCID(id), Kind: c.Kind, Text: c.Text, Extra: c.Extra, Expiry: c.Expiry}).Result()
	return r, errors.Join(err, p.w.failing.after())
}

func (p poster) PostChanged(store.LogID) { p.w.set(func() { p.w.changed++ }) }

func (p poster) TellPublishers(_ store.LogID, payload []byte) {
	var told progress
	if err := json.Unmarshal(payload, &told); err != nil {
		p.w.t.Error(err)
	}
	p.w.set(func() { p.w.told = append(p.w.told, told) })
	if p.w.tells != nil {
		p.w.tells <- told
	}
}

type pushes struct{ w *world }

func (p pushes) Considered(store.LogID, store.Seq) (int, bool, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.w.considered, p.w.all, nil
}

func (p pushes) Look() { p.w.set(func() { p.w.looks++ }) }

type tally struct{ w *world }

func (y tally) Followers(context.Context, store.LogID) (*int, error) {
	y.w.mu.Lock()
	defer y.w.mu.Unlock()
	return y.w.followers, nil
}

func (y tally) Segment(context.Context, store.LogID, *graph.Segment) (bool, error) {
	y.w.mu.Lock()
	defer y.w.mu.Unlock()
	return y.w.enough, nil
}

func (y tally) Report(context.Context, store.LogID, store.LogID, store.Seq, int64) (Numbers, error) {
	n := 120
	y.w.set(func() { y.w.reports++ })
	return Numbers{Reached: &n}, nil
}

type files struct{ w *world }

func (f files) May(_ store.AccountID, ids []string) error {
	if slices.Contains(ids, "foreign") {
		return store.ErrNotFound
	}
	return nil
}

func (f files) Hold(_ context.Context, _ store.AccountID, ids []string, what string) error {
	f.w.set(func() {
		for _, id := range ids {
			f.w.held[id+" "+what] = true
		}
	})
	return nil
}

func (f files) LetGo(_ context.Context, id, what string) error {
	f.w.set(func() { delete(f.w.held, id+" "+what) })
	return nil
}

// failing is a store that dies: from one change on, none is made any more, and that one itself is made or not.
type failing struct {
	*bolt.Store
	mu    sync.Mutex
	left  int  // changes until then; 0: it lives
	dead  bool // every further one fails
	dying bool // the one that is made is not answered for
	made  bool // it is made
	count int
}

var errDead = fmt.Errorf("the store is dead")

func (f *failing) die(after int, made bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.made, f.dead, f.dying, f.count = after, made, false, false, 0
}

func (f *failing) before() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.dead {
		return errDead
	}
	if f.left == 0 {
		return nil
	}
	if f.left--; f.left == 0 {
		f.dead, f.dying = true, f.made
		if !f.made {
			return errDead
		}
	}
	return nil
}

func (f *failing) after() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dying {
		f.dying = false
		return errDead
	}
	return nil
}

func (f *failing) Update(ctx context.Context, u store.Update) error {
	if err := f.before(); err != nil {
		return err
	}
	return errors.Join(f.Store.Update(ctx, u), f.after())
}
