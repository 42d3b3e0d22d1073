package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/journal"
)

// longest is what a test waits at most for something that comes: on a slow machine with much else to do what takes seconds
// here takes minutes.
const longest = 4 * time.Minute

// world is a broker over a real store with a few users who are all friends.
type world struct {
	*testing.T
	cfg    bolt.Config
	st     *bolt.Store
	b      *Broker
	users  map[string]store.Account
	events Events
	now    func() time.Time              // nil: time.Now
	wrap   func(store.Store) store.Store // what the broker gets for the store; nil: itself
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	return newWorldConfig(t, bolt.Config{}, names...)
}

func newWorldOn(t *testing.T, fs journal.FS, names ...string) *world {
	t.Helper()
	return newWorldConfig(t, bolt.Config{FS: fs}, names...)
}

func newWorldConfig(t *testing.T, cfg bolt.Config, names ...string) *world {
	t.Helper()
	return newWorldEvents(t, cfg, Events{}, names...)
}

func newWorldEvents(t *testing.T, cfg bolt.Config, events Events, names ...string) *world {
	t.Helper()
	return (&world{T: t, cfg: cfg, events: events}).begin(names)
}

func newWorldStore(t *testing.T, events Events, wrap func(store.Store) store.Store, names ...string) *world {
	t.Helper()
	return (&world{T: t, events: events, wrap: wrap}).begin(names)
}

func (w *world) begin(names []string) *world {
	t := w.T
	t.Helper()
	w.cfg.Dir, w.cfg.MinFree, w.users = t.TempDir(), -1, make(map[string]store.Account)
	w.open()
	ctx := t.Context()
	for _, n := range names {
		a, err := w.st.CreateAccount(ctx, store.Account{Name: n})
		if err != nil {
			t.Fatal(err)
		}
		w.users[n] = a
	}
	for _, a := range w.users {
		for _, o := range w.users {
			if a.ID != o.ID {
				if _, err := w.st.SetEdge(ctx, store.EdgeFriend, a.ID, o.ID, true, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.Helper()
	st, err := bolt.Open(w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	var is store.Store = st
	if w.wrap != nil {
		is = w.wrap(st)
	}
	b, err := New(Config{Store: is, Events: w.events, Now: w.now})
	if err != nil {
		w.Fatal(err)
	}
	w.st, w.b = st, b
}

func (w *world) close() {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	if err := w.b.Close(ctx); err != nil {
		w.Error(err)
	}
	if err := w.st.Close(); err != nil {
		w.Error(err)
	}
}

func (w *world) block(of, to string, level graph.Block) {
	w.Helper()
	if _, err := w.b.Access().Relations().SetBlock(w.Context(), w.account(of), w.account(to), level, false, 0); err != nil {
		w.Fatal(err)
	}
}

func (w *world) strangers(of string, mode graph.Strangers) {
	w.Helper()
	if err := w.b.Access().Relations().SetSettings(w.Context(), w.account(of), func(s *graph.Settings) error { s.Strangers = mode; return nil }); err != nil {
		w.Fatal(err)
	}
}

func (w *world) account(name string) store.AccountID {
	w.Helper()
	a, err := w.st.AccountByName(name)
	if err != nil {
		w.Fatal(err)
	}
	return a.ID
}

func (w *world) room(name string, members ...string) store.LogInfo {
	w.Helper()
	var ms []store.Member
	for i, m := range members {
		role := store.RoleMember
		if i == 0 {
			role = store.RoleOwner
		}
		ms = append(ms, store.Member{Account: w.users[m].ID, Role: role})
	}
	info, _, err := w.st.Open(w.Context(), store.RoomKey(name), store.Creation{By: ms[0].Account, Members: ms})
	if err != nil {
		w.Fatal(err)
	}
	return info
}

func (w *world) change(log store.LogID, by string, c store.Change) store.Receipt {
	w.Helper()
	r, err := w.st.Append(store.Draft{Log: log, Sender: w.users[by].ID, Kind: store.KindSystem, Change: c}).Result()
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) identity(user, client string, guest bool) hooks.Identity {
	a, ok := w.users[user]
	if !ok {
		w.Fatalf("no user %s", user)
	}
	return hooks.Identity{Account: a.ID, Name: a.Name, ClientID: client, Device: store.DeviceOf(a.ID, client), Guest: guest}
}

// client is a link that a test reads from. acks tells whether it acknowledges by itself.
type client struct {
	w       *world
	s       *Session
	present bool
	acks    bool

	mu      sync.Mutex
	got     []Item
	news    chan struct{}
	closed  error
	block   chan struct{} // Write waits for it
	onWrite func([]Item)

	overdue atomic.Bool
	acking  sync.WaitGroup
}

type option func(*Connect, *client)

func withClean(c *Connect, _ *client)    { c.Clean, c.Expiry = true, 0 }
func withoutAcks(_ *Connect, cl *client) { cl.acks = false }

func (w *world) connect(user, id string, opts ...option) *client {
	w.Helper()
	cl := &client{w: w, acks: true, news: make(chan struct{}, 1)}
	c := Connect{Expiry: 3600}
	for _, o := range opts {
		o(&c, cl)
	}
	scopes := c.Identity.Scopes
	c.Identity = w.identity(user, id, c.Expiry == 0)
	c.Identity.Scopes = scopes
	s, present, err := w.b.Attach(w.Context(), c, cl)
	if err != nil {
		w.Fatal(err)
	}
	cl.s, cl.present = s, present
	s.Start()
	return cl
}

func (c *client) Write(items []Item) error {
	if c.block != nil {
		<-c.block
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return c.closed
	}
	if c.onWrite != nil {
		c.onWrite(items)
	}
	for _, it := range items {
		it.Payload = append([]byte(nil), it.Payload...)
		c.got = append(c.got, it)
	}
	select {
	case c.news <- struct{}{}:
	default:
	}
	if c.acks {
		for _, it := range items {
			if it.Kind == ItemDelivery && it.QoS == 1 {
				id := it.PacketID
				c.acking.Go(func() { c.s.Acked(id) })
			}
		}
	}
	return nil
}

func (c *client) Close(why error) {
	c.mu.Lock()
	first := c.closed == nil
	if first {
		c.closed = why
	}
	c.mu.Unlock()
	if first {
		go c.s.Detach(false)
	}
}

func (c *client) Overdue() bool { return c.overdue.Load() }

// leave disconnects, acknowledging first what it got, and waits until the session is saved.
func (c *client) leave() {
	c.w.Helper()
	c.end(true)
}

// vanish is a connection that breaks.
func (c *client) vanish() {
	c.w.Helper()
	c.end(false)
}

func (c *client) end(orderly bool) {
	c.mu.Lock()
	c.closed = store.ErrClosed
	c.mu.Unlock()
	c.acking.Wait()
	c.s.Detach(orderly)
}

func (c *client) subscribe(filters ...string) {
	c.w.Helper()
	var reqs []SubRequest
	for _, f := range filters {
		reqs = append(reqs, SubRequest{Filter: f, QoS: 1})
	}
	res, err := c.s.Subscribe(c.w.Context(), reqs)
	if err != nil {
		c.w.Fatal(err)
	}
	for i, r := range res {
		if r.Err != nil {
			c.w.Fatalf("%s: %v", filters[i], r.Err)
		}
	}
}

// wait returns the first n items that pass, waiting for them.
func (c *client) wait(n int, pass func(Item) bool) []Item {
	c.w.Helper()
	timeout := time.After(longest)
	var out []Item
	seen := 0
	for {
		c.mu.Lock()
		for ; seen < len(c.got); seen++ {
			if pass(c.got[seen]) {
				out = append(out, c.got[seen])
			}
		}
		c.mu.Unlock()
		if len(out) >= n {
			return out
		}
		select {
		case <-c.news:
		case <-timeout:
			c.w.Fatalf("%s: %d items of %d after %v: %.2000s", c.s.id.Name, len(out), n, longest, c.dump())
		}
	}
}

func (c *client) dump() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ""
	for _, it := range c.got {
		s += fmt.Sprintf("\n  %d %s %q id %d dup %v err %v", it.Kind, it.Topic, it.Payload, it.PacketID, it.Dup, it.Err)
	}
	return s
}

func delivery(it Item) bool { return it.Kind == ItemDelivery }
func outcome(it Item) bool  { return it.Kind == ItemOutcome }

// deliveries waits for n deliveries and returns their payloads.
func (c *client) deliveries(n int) []string {
	c.w.Helper()
	var out []string
	for _, it := range c.wait(n, delivery) {
		out = append(out, string(it.Payload))
	}
	return out
}

// publish publishes with QoS 1 and returns the outcome.
func (c *client) publish(topic, payload string) Item {
	c.w.Helper()
	n := len(c.outcomes())
	c.s.Publish(Publication{Topic: topic, Payload: []byte(payload)}, Ack{PacketID: uint16(n + 1), QoS: 1})
	return c.wait(n+1, outcome)[n]
}

func (c *client) outcomes() []Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Item
	for _, it := range c.got {
		if outcome(it) {
			out = append(out, it)
		}
	}
	return out
}

func (c *client) must(topic, payload string) store.Receipt {
	c.w.Helper()
	it := c.publish(topic, payload)
	if it.Err != nil {
		c.w.Fatalf("publish %s: %v", topic, it.Err)
	}
	return it.Receipt
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}
