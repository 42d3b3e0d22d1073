package broker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// presenceWorld is a world in which a user counts as online for a grace after its last connection.
func presenceWorld(t *testing.T, grace time.Duration, names ...string) *world {
	t.Helper()
	w := newWorldConfig(t, bolt.Config{}, names...)
	if err := w.b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := New(Config{Store: w.st, Grace: grace})
	if err != nil {
		t.Fatal(err)
	}
	w.b = b
	return w
}

func (w *world) share(user string, on bool) {
	w.Helper()
	id := w.users[user].ID
	if err := w.b.access.Relations().SetSettings(w.Context(), id, func(s *graph.Settings) error { s.Presence = on; return nil }); err != nil {
		w.Fatal(err)
	}
	w.b.SharePresence(id, on)
}

// relate changes what two users have decided about each other, as the control API does.
func (w *world) relate(x, y string, change func(g *graph.Graph, x, y store.AccountID) error) {
	w.Helper()
	watch, err := w.b.Watch(w.users[x].ID, w.users[y].ID)
	if err == nil {
		err = change(w.b.access.Relations(), w.users[x].ID, w.users[y].ID)
	}
	if err == nil {
		err = w.b.Changed(watch)
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) blockLevel(x, y string, level graph.Block) {
	w.Helper()
	w.relate(x, y, func(g *graph.Graph, x, y store.AccountID) error {
		_, err := g.SetBlock(w.Context(), x, y, level, false, 0)
		return err
	})
}

func (w *world) friend(x, y string, on bool) {
	w.Helper()
	w.relate(x, y, func(g *graph.Graph, x, y store.AccountID) error {
		_, err := g.SetFriend(w.Context(), x, y, on, 0)
		return err
	})
}

func isSight(it Item) bool {
	return it.Kind == ItemDelivery && strings.HasPrefix(it.Topic, "presence/")
}

// sights waits for n deliveries of presence and returns them all, the time of an absence left out if it is one of the last
// ten minutes.
func (c *client) sights(n int) (out []string) {
	c.w.Helper()
	c.wait(n, isSight)
	c.mu.Lock()
	defer c.mu.Unlock()
	minute := time.Now().UnixMilli() / 60_000 * 60_000
	for _, it := range c.got {
		if isSight(it) {
			p := string(it.Payload)
			for ago := range int64(10) {
				p = strings.ReplaceAll(p, fmt.Sprintf(`,"since":%d`, minute-ago*60_000), "")
			}
			out = append(out, strings.TrimPrefix(it.Topic, "presence/")+" "+p)
		}
	}
	return out
}

// settled is after everything that was told to the client before: it publishes to itself and waits for the message.
func (c *client) settled() {
	c.w.Helper()
	c.w.b.presence.drained(c.w)
	isSettled := func(it Item) bool { return strings.Contains(string(it.Payload), "settled") }
	c.mu.Lock()
	n := 0
	for _, it := range c.got {
		if isSettled(it) {
			n++
		}
	}
	c.mu.Unlock()
	c.must("user/"+c.s.id.Name+"/text", "settled")
	c.wait(n+1, isSettled)
}

// away waits until a user who has left counts as away.
func (p *presence) away(w *world, user string) {
	w.Helper()
	id := w.account(user)
	for deadline := time.Now().Add(longest); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		_, lingers := p.gone[id]
		p.mu.Unlock()
		if !lingers {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("%s is not away after %v", user, longest)
		}
	}
}

// drained waits until nobody's presence waits to be told.
func (p *presence) drained(w *world) {
	w.Helper()
	for deadline := time.Now().Add(longest); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		idle := len(p.due) == 0 && !p.busy
		p.mu.Unlock()
		if idle {
			return
		}
		if time.Now().After(deadline) {
			w.Fatal("presence is never told")
		}
	}
}

const online, away, off = `{"state":"online"}`, `{"state":"away"}`, `{"state":"off"}`

func TestPresence(t *testing.T) {
	w := presenceWorld(t, time.Millisecond, "alice", "bob", "carol")
	alice := w.connect("alice", "a")
	alice.subscribe("presence/+", "user/+/json")
	bob := w.connect("bob", "b")
	bob.subscribe("presence/+", "user/+/json")
	w.share("bob", true) // one side alone is not enough
	alice.settled()
	equal(t, alice.sights(0))

	w.share("alice", true)
	equal(t, alice.sights(1), "bob "+online)
	equal(t, bob.sights(1), "alice "+online)
	bob.leave()
	equal(t, alice.sights(2), "bob "+online, "bob "+away)
	bob = w.connect("bob", "b") // the filters are those of the session
	equal(t, alice.sights(3), "bob "+online, "bob "+away, "bob "+online)
	equal(t, bob.sights(1), "alice "+online)

	// A second device changes nothing.
	tablet := w.connect("bob", "tablet")
	tablet.leave()
	alice.settled()
	equal(t, alice.sights(3), "bob "+online, "bob "+away, "bob "+online)

	w.share("bob", false)
	equal(t, alice.sights(4)[3:], "bob "+off)
	equal(t, bob.sights(2)[1:], "alice "+off)
	bob.leave()
	alice.settled()
	equal(t, alice.sights(4)[3:], "bob "+off)

	// What was missed is told on connect: carol is away since before.
	w.share("bob", true)
	w.share("carol", true)
	carol := w.connect("carol", "c")
	carol.leave()
	w.b.presence.away(w, "carol")
	alice.settled()
	again := w.connect("alice", "later")
	again.subscribe("presence/carol")
	equal(t, again.sights(1), "carol "+away)
	again.subscribe("presence/#")
	equal(t, again.sights(3)[1:], "bob "+away, "carol "+away)
}

// Whoever is back within the grace has not been away.
func TestPresenceDoesNotFlicker(t *testing.T) {
	w := presenceWorld(t, time.Hour, "alice", "bob")
	w.share("alice", true)
	w.share("bob", true)
	w.b.presence.drained(w) // that they share is told before anybody looks
	alice := w.connect("alice", "a")
	alice.subscribe("presence/+", "user/+/json")
	equal(t, alice.sights(1)[:1], "bob "+away)
	for range 20 {
		bob := w.connect("bob", "b")
		alice.settled()
		bob.vanish()
		alice.settled()
	}
	equal(t, alice.sights(2), "bob "+away, "bob "+online)
	// For whoever comes now, it is online still.
	later := w.connect("alice", "later")
	later.subscribe("presence/+")
	equal(t, later.sights(1), "bob "+online)
}

// A friend who blocks goes away, as everybody does some time, and comes back with the end of the block.
func TestPresenceUnderABlock(t *testing.T) {
	w := presenceWorld(t, time.Millisecond, "alice", "bob")
	w.share("alice", true)
	w.share("bob", true)
	alice := w.connect("alice", "a")
	w.b.presence.drained(w) // that they share is told before anybody looks, and that she has come before bob does
	alice.subscribe("presence/+", "user/+/json")
	equal(t, alice.sights(1), "bob "+away)
	bob := w.connect("bob", "b")
	bob.subscribe("presence/+", "user/+/json")
	equal(t, alice.sights(2)[1:], "bob "+online)
	equal(t, bob.sights(1), "alice "+online)

	w.blockLevel("bob", "alice", graph.BlockMessages)
	equal(t, alice.sights(3)[2:], "bob "+away)
	equal(t, bob.sights(2)[1:], "alice "+off) // its own doing
	bob.leave()
	w.connect("bob", "b")
	w.friend("bob", "alice", false) // the edges are frozen
	alice.settled()
	equal(t, alice.sights(3)[2:], "bob "+away)
	later := w.connect("alice", "later")
	later.subscribe("presence/+")
	equal(t, later.sights(1), "bob "+away)

	w.friend("bob", "alice", true)
	w.blockLevel("bob", "alice", graph.BlockNone)
	equal(t, alice.sights(4)[3:], "bob "+online)
	w.friend("bob", "alice", false)
	equal(t, alice.sights(5)[4:], "bob "+off)
	w.friend("bob", "alice", true)
	equal(t, alice.sights(6)[5:], "bob "+online)
}

// Three hundred friends who come at once are told once each, however often they come and go while the client does not read.
func TestPresenceOfMany(t *testing.T) {
	names := []string{"alice"}
	w := presenceWorld(t, time.Hour, names...)
	w.share("alice", true)
	alice := w.connect("alice", "a")
	alice.subscribe("presence/+", "user/+/json")
	const many = 300
	for i := range many {
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: fmt.Sprintf("u%03d", i)})
		if err != nil {
			t.Fatal(err)
		}
		w.users[a.Name] = a
		me := w.users["alice"].ID
		for _, e := range [][2]store.AccountID{{me, a.ID}, {a.ID, me}} {
			if _, err := w.st.SetEdge(t.Context(), store.EdgeFriend, e[0], e[1], true, 0); err != nil {
				t.Fatal(err)
			}
		}
		w.share(a.Name, true)
	}
	for i := range many {
		for range 2 {
			w.connect(fmt.Sprintf("u%03d", i), "x").leave()
		}
	}
	alice.settled()
	newest := make(map[string]string)
	n := 0
	for _, s := range alice.sights(many) {
		name, state, _ := strings.Cut(s, " ")
		newest[name] = state
		n++
	}
	if len(newest) != many {
		t.Errorf("%d of %d friends were told", len(newest), many)
	}
	for name, state := range newest {
		if state != online {
			t.Errorf("%s is %s", name, state)
		}
	}
	if n > 3*many {
		t.Errorf("%d deliveries", n)
	}
}

// heldRow is a store whose next answer about a row of one owner waits.
type heldRow struct {
	store.Store
	owner  store.Owner
	next   atomic.Bool
	asked  chan struct{}
	answer chan struct{}
}

func (h *heldRow) Row(t store.Table, o store.Owner, key string) (store.Row, error) {
	r, err := h.Store.Row(t, o, key)
	if o == h.owner && h.next.CompareAndSwap(true, false) {
		close(h.asked)
		<-h.answer
	}
	return r, err
}

// Who begins to share while its device asks for its friends, and has read that it does not share, is told of them all the
// same.
func TestPresenceSharedWhileLooking(t *testing.T) {
	slow := &heldRow{asked: make(chan struct{}), answer: make(chan struct{})}
	w := newWorldStore(t, Events{}, func(st store.Store) store.Store { slow.Store = st; return slow }, "alice", "bob")
	w.share("bob", true)
	w.connect("bob", "b")
	alice := w.connect("alice", "a")
	w.b.presence.drained(w)
	slow.owner = store.OwnerOf(w.users["alice"].ID)
	slow.next.Store(true)
	alice.subscribe("presence/+")
	<-slow.asked
	w.share("alice", true)
	close(slow.answer)
	equal(t, alice.sights(1), "bob "+online)
}

// Whoever looks while a friend reconnects, at whatever moment, sees it online.
func TestPresenceThroughAReconnect(t *testing.T) {
	w := presenceWorld(t, time.Hour, "bob")
	w.share("bob", true)
	bob := w.connect("bob", "b")
	w.b.presence.drained(w)
	id := w.account("bob")
	stop := make(chan struct{})
	var looks sync.WaitGroup
	for range 2 {
		looks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if online, _, err := w.b.online(id); err != nil || !online {
					t.Errorf("online: %v, %v", online, err)
					return
				}
			}
		})
	}
	for range 300 {
		bob.leave()
		bob = w.connect("bob", "b")
	}
	close(stop)
	looks.Wait()
}

// A grace that ends while the friend comes back, or before anybody was told that it came: what was told last is how it is.
func TestPresenceAsItIsInTheEnd(t *testing.T) {
	w := presenceWorld(t, 50*time.Microsecond, "alice", "bob")
	w.share("alice", true)
	w.share("bob", true)
	alice := w.connect("alice", "a")
	alice.subscribe("presence/+", "user/+/json")
	alice.settled()
	for round := range 300 {
		bob := w.connect("bob", "b")
		for range rand.N(5) {
			bob.leave()
			time.Sleep(rand.N(100 * time.Microsecond))
			bob = w.connect("bob", "b")
		}
		want := "bob " + online
		if round%2 == 1 {
			bob.leave()
			w.b.presence.away(w, "bob")
			want = "bob " + away
		}
		alice.settled()
		if got := alice.sights(0); got[len(got)-1] != want {
			t.Fatalf("round %d: %s, want %s", round, got[len(got)-1], want)
		}
	}
}
