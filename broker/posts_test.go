package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// brand opens a channel and returns its number.
func (w *world) brand(name string, publishers ...string) store.LogID {
	w.Helper()
	return w.channel(name, publishers...).ID
}

func (w *world) set(channel store.LogID, fn func(*graph.Channel)) {
	w.Helper()
	if err := w.b.Access().Relations().SetChannel(w.Context(), channel, func(c *graph.Channel) error { fn(c); return nil }); err != nil {
		w.Fatal(err)
	}
	w.b.PostChanged(channel)
}

// follow changes how a user stands to a channel as the API does.
func (w *world) follow(user string, channel store.LogID, on, consent bool) {
	w.Helper()
	relations := w.b.Access().Relations()
	settings, err := relations.Channel(channel)
	if err != nil {
		w.Fatal(err)
	}
	head := func(log store.LogID) store.Seq {
		info, err := w.st.Info(log)
		if err != nil {
			w.Fatal(err)
		}
		return info.Head
	}
	err = relations.SetFollow(context.Background(), w.account(user), channel, func(f *graph.Follow) error {
		if on && f.Since == 0 {
			f.Since, f.From = 1, head(channel)
		}
		if !on {
			f.Since, f.Ads = 0, 0
		}
		if consent && f.Ads == 0 {
			f.Ads, f.FromAds = 1, head(settings.Ads)
		}
		if !consent {
			f.Ads = 0
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	w.b.FollowChanged(w.account(user), channel)
}

// post appends a broadcast's post.
func (w *world) post(channel store.LogID, isAd bool, id string, p graph.Post) store.Seq {
	w.Helper()
	if err := w.b.Access().Relations().SetPost(context.Background(), channel, id, func(o *graph.Post) error { *o = p; return nil }); err != nil {
		w.Fatal(err)
	}
	r, err := w.b.Post(context.Background(), channel, isAd, id, view.Content{Text: []byte(id)})
	if err != nil {
		w.Fatal(err)
	}
	return r.Seq
}

func (w *world) state(channel store.LogID, id string, state graph.PostState) {
	w.Helper()
	if err := w.b.Access().Relations().SetPost(w.Context(), channel, id, func(p *graph.Post) error { p.State = state; return nil }); err != nil {
		w.Fatal(err)
	}
	w.b.PostChanged(channel)
}

// posted are the posts that a client got, in short: seq:text, with the withheld range where there is one.
func (c *client) posted(n int) []string {
	c.w.Helper()
	var out []string
	for _, it := range c.wait(n, delivery) {
		out = append(out, short(c.w.T, it))
	}
	return out
}

func short(t *testing.T, it Item) string {
	t.Helper()
	var e struct {
		S store.Seq
		B string
		G []store.Seq
		F *string
		I *string
	}
	if err := json.Unmarshal(it.Payload, &e); err != nil {
		t.Fatalf("%q: %v", it.Payload, err)
	}
	s := fmt.Sprint(e.S, ":", e.B)
	if e.G != nil {
		s += fmt.Sprint(" g", e.G)
	}
	if e.F != nil {
		s += " from " + *e.F
	}
	if e.I != nil {
		s += " id " + *e.I
	}
	return s
}

// atMost lets everything that the herald has to tell be told and delivered, and sees that no more than n deliveries came.
func (c *client) atMost(n int, by string) {
	c.w.Helper()
	c.w.settle()
	c.w.b.registry.of(c.s.id.Account)[0].quiesce()
	got := 0
	c.mu.Lock()
	for _, it := range c.got {
		if delivery(it) {
			got++
		}
	}
	c.mu.Unlock()
	if got > n {
		c.w.Errorf("%s: %d deliveries, want %d: %s", by, got, n, c.dump())
	}
}

// settle waits until the follower and the herald have nothing to tell.
func (w *world) settle() {
	w.Helper()
	_, end := w.st.Bounds()
	until(w.T, "the follower", func() bool { return w.b.followed.Load() >= uint64(end) })
	until(w.T, "the herald", func() bool {
		w.b.herald.mu.Lock()
		defer w.b.herald.mu.Unlock()
		return len(w.b.herald.rounds) == 0
	})
}

// quiesce waits until the session has nothing to write.
func (s *Session) quiesce() {
	for {
		s.mu.Lock()
		idle := !s.running || s.ended
		s.mu.Unlock()
		if idle {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(longest); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, longest)
		}
	}
}

// Followers get each post once, in order, without whose it is and by what id; publishers see both; others nothing.
func TestPostsReachFollowers(t *testing.T) {
	w := newWorld(t, "brand", "bob", "carol", "dave")
	cafe := w.brand("cafe", "brand")
	brand, bob, carol, dave := w.connect("brand", "p"), w.connect("bob", "p"), w.connect("carol", "p"), w.connect("dave", "p")
	for _, c := range []*client{brand, bob, dave} {
		c.subscribe("channel/+/json")
	}
	carol.subscribe("channel/cafe/line")
	w.follow("bob", cafe, true, false)
	w.follow("carol", cafe, true, false)
	for i := range 3 {
		w.post(cafe, false, fmt.Sprint("p", i), graph.Post{Variants: map[string]graph.Variant{}})
	}
	equal(t, bob.posted(3), "1:p0", "2:p1", "3:p2")
	equal(t, brand.posted(3), "1:p0 id p0", "2:p1 id p1", "3:p2 id p2")
	equal(t, carol.deliveries(3), "cafe: p0", "cafe: p1", "cafe: p2")
	if it := bob.wait(1, delivery)[0]; it.Topic != "channel/cafe/json" || it.QoS != 1 {
		t.Errorf("delivered on %s with QoS %d", it.Topic, it.QoS)
	}
	if _, err := w.st.Append(store.Draft{Log: cafe, Sender: w.account("brand"), CID: "mine", Text: []byte("by hand")}).Result(); err != nil {
		t.Fatal(err)
	}
	equal(t, bob.posted(4)[3:], "4:by hand")
	equal(t, brand.posted(4)[3:], "4:by hand from brand id mine")
	w.change(cafe, "brand", store.Change{Kind: store.ChangeJoin, Account: w.account("dave"), Role: store.RoleMember})
	w.post(cafe, false, "after", graph.Post{})
	equal(t, bob.posted(5)[4:], "6:after g[5 5]") // who publishes is nothing to followers
	for c, n := range map[*client]int{bob: 5, carol: 5, dave: 2, brand: 6} {
		c.atMost(n, c.s.id.Name)
	}
}

// What was posted before following is never delivered; what comes after is, to devices that were away too, and to each
// once whatever becomes of its connection.
func TestPostsBeginWithFollowing(t *testing.T) {
	w := newWorld(t, "brand", "bob")
	cafe := w.brand("cafe", "brand")
	away := w.connect("bob", "tablet")
	away.subscribe("#")
	away.leave()
	w.post(cafe, false, "old", graph.Post{})
	bob := w.connect("bob", "phone")
	bob.subscribe("channel/#")
	w.follow("bob", cafe, true, false)
	w.post(cafe, false, "new", graph.Post{})
	equal(t, bob.posted(1), "2:new")
	away = w.connect("bob", "tablet")
	equal(t, away.posted(1), "2:new")
	bob.leave()
	w.post(cafe, false, "missed", graph.Post{})
	bob = w.connect("bob", "phone")
	equal(t, bob.posted(1), "3:missed")
	equal(t, away.posted(2)[1:], "3:missed")
	bob.leave()
	away.leave()
	w.close()
	w.open()
	bob, away = w.connect("bob", "phone"), w.connect("bob", "tablet")
	w.post(cafe, false, "restarted", graph.Post{})
	equal(t, bob.posted(1), "4:restarted")
	equal(t, away.posted(1), "4:restarted")

	late := w.connect("bob", "watch") // a filter that first selects a log begins at its head
	late.subscribe("channel/cafe/json")
	w.post(cafe, false, "fifth", graph.Post{})
	equal(t, late.posted(1), "5:fifth")
	bob.atMost(2, "phone")
	away.atMost(2, "tablet")
	late.atMost(1, "watch")
}

// Leaving and consent act on the next delivery, in the middle of what was posted already: a device that takes one message at
// a time gets nothing after it.
func TestUnfollowInsideABroadcast(t *testing.T) {
	w := newWorld(t, "brand", "bob", "carol")
	cafe := w.brand("cafe", "brand")
	slow := func(c *Connect, cl *client) { c.Window, cl.acks = 1, false }
	bob, carol := w.connect("bob", "p", slow), w.connect("carol", "p", slow)
	bob.subscribe("channel/+/json")
	carol.subscribe("channel/+/json")
	w.follow("bob", cafe, true, false)
	w.follow("carol", cafe, true, true)
	for i := range 4 {
		w.post(cafe, false, fmt.Sprint("n", i), graph.Post{})
	}
	equal(t, bob.posted(1), "1:n0")
	w.follow("bob", cafe, false, false)
	bob.s.Acked(bob.wait(1, delivery)[0].PacketID)
	bob.atMost(1, "after unfollowing")
	w.follow("bob", cafe, true, false) // what was posted meanwhile stays undelivered
	w.post(cafe, false, "n4", graph.Post{})
	equal(t, bob.posted(2)[1:], "5:n4")

	for i := range 4 {
		carol.s.Acked(carol.wait(i+1, delivery)[i].PacketID)
	}
	carol.s.Acked(carol.wait(5, delivery)[4].PacketID)
	for i := range 3 {
		w.post(cafe, true, fmt.Sprint("a", i), graph.Post{})
	}
	equal(t, carol.posted(6)[5:], "1:a0")
	w.follow("carol", cafe, true, false)
	carol.s.Acked(carol.wait(6, delivery)[5].PacketID)
	carol.atMost(6, "after the consent was withdrawn")
	w.post(cafe, true, "a3", graph.Post{})
	w.follow("carol", cafe, true, true)
	w.post(cafe, true, "a4", graph.Post{})
	equal(t, carol.posted(7)[6:], "5:a4")
	if w.b.audiences.of[cafe] == nil {
		t.Error("nobody is listed")
	}
	bob.leave()
	carol.leave()
	if n := len(w.b.audiences.of); n != 0 {
		t.Errorf("%d channels list somebody who is gone", n)
	}
}

// A post that is paused waits with all behind it and goes out when it is resumed; a canceled one is passed over, and the
// gap is told. What a suspended channel has posted waits, too.
func TestPausedPosts(t *testing.T) {
	w := newWorld(t, "brand", "bob")
	cafe := w.brand("cafe", "brand")
	bob := w.connect("bob", "p")
	bob.subscribe("channel/+/json")
	w.follow("bob", cafe, true, false)
	w.post(cafe, false, "one", graph.Post{})
	w.post(cafe, false, "two", graph.Post{State: graph.PostPaused})
	w.post(cafe, false, "three", graph.Post{})
	equal(t, bob.posted(1), "1:one")
	bob.atMost(1, "while the second is paused")
	w.state(cafe, "two", graph.PostOut)
	equal(t, bob.posted(3)[1:], "2:two", "3:three")

	w.post(cafe, false, "four", graph.Post{State: graph.PostPaused})
	w.post(cafe, false, "five", graph.Post{})
	bob.atMost(3, "while the fourth is paused")
	bob.leave() // it waits at the next connection too
	bob = w.connect("bob", "p")
	bob.atMost(0, "while the fourth is still paused")
	w.state(cafe, "four", graph.PostCanceled)
	equal(t, bob.posted(1), "5:five g[4 4]")

	w.post(cafe, false, "six", graph.Post{State: graph.PostCanceled})
	bob.leave()
	bob = w.connect("bob", "p")
	w.post(cafe, false, "seven", graph.Post{})
	equal(t, bob.posted(1), "7:seven g[6 6]")

	w.set(cafe, func(c *graph.Channel) { c.Suspended = 1 })
	w.post(cafe, false, "eight", graph.Post{})
	bob.atMost(1, "while the channel is suspended")
	w.set(cafe, func(c *graph.Channel) { c.Suspended = 0 })
	equal(t, bob.posted(2)[1:], "8:eight")
}

// nights decides like hooks.Follower, but that advertising waits for a time.
type nights struct {
	follower
	world *world
	until *atomic.Int64
	asked *atomic.Int64
}

func (n nights) Outcome(r *store.Record) (policy.Outcome, time.Time, error) {
	n.asked.Add(1)
	o, u, err := n.follower.Outcome(r)
	if until := time.UnixMilli(n.until.Load()); err == nil && strings.HasPrefix(string(r.Text), "ad") && (o == policy.Deliver || o == policy.DeliverNoPush) && n.world.now().Before(until) {
		return policy.Defer, until, nil
	}
	return o, u, err
}

// Advertising that waits for the morning is delivered when it comes, once, with what is behind it; nobody has to
// reconnect. Notices do not wait for it. Who leaves in the night gets nothing in the morning.
func TestAdvertisingWaitsForTheMorning(t *testing.T) {
	w := newWorld(t)
	w.close()
	var clock, night, asked atomic.Int64
	start := time.Now()
	w.now = func() time.Time { return start.Add(time.Duration(clock.Load())) }
	w.open()
	for _, n := range []string{"brand", "bob", "carol"} {
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: n})
		if err != nil {
			t.Fatal(err)
		}
		w.users[n] = a
	}
	decide := w.b.follower
	w.b.follower = func(me store.AccountID, log store.LogInfo) (follower, error) {
		f, err := decide(me, log)
		return nights{f, w, &night, &asked}, err
	}
	night.Store(start.Add(time.Hour).UnixMilli())
	cafe := w.brand("cafe", "brand")
	bob, carol := w.connect("bob", "p"), w.connect("carol", "p")
	for _, c := range []*client{bob, carol} {
		c.subscribe("channel/+/json")
		w.follow(c.s.id.Name, cafe, true, true)
	}
	w.post(cafe, true, "ad one", graph.Post{})
	w.post(cafe, true, "late", graph.Post{})
	w.post(cafe, false, "notice", graph.Post{})
	equal(t, bob.posted(1), "1:notice")
	equal(t, carol.posted(1), "1:notice")
	bob.atMost(1, "at night")
	before := asked.Load()
	w.b.wakeParked(w.now())
	w.settle()
	if asked.Load() != before {
		t.Error("who waits for a time is asked before it has come")
	}
	bob.leave()
	bob = w.connect("bob", "p")
	bob.atMost(0, "at night, connected again")
	w.follow("carol", cafe, false, false)
	clock.Store(int64(61 * time.Minute))
	equal(t, bob.posted(2), "1:ad one", "2:late")
	w.settle()
	carol.atMost(1, "carol has left")
	until(t, "nothing parked", func() bool {
		w.b.parks.mu.Lock()
		defer w.b.parks.mu.Unlock()
		return len(w.b.parks.heap) == 0 && len(w.b.parks.in) == 0
	})
}

// Connections that break and are taken over in the middle of many posts lose none and get none again but with DUP.
func TestPostsAcrossConnections(t *testing.T) {
	w := newWorld(t, "brand", "bob")
	cafe := w.brand("cafe", "brand")
	bob := w.connect("bob", "p")
	bob.subscribe("channel/+/json")
	w.follow("bob", cafe, true, false)
	const n = 300
	posting := make(chan struct{})
	go func() {
		defer close(posting)
		for i := range n {
			w.post(cafe, false, fmt.Sprint("p", i), graph.Post{})
		}
	}()
	seen := map[string]bool{}
	last := 0
	for round := 0; last < n; round++ {
		bob.wait(1, delivery)
		old := bob
		switch round % 3 {
		case 0:
			bob.leave()
			bob = w.connect("bob", "p")
		case 1:
			bob = w.connect("bob", "p") // takes over
		case 2:
			bob.vanish()
			bob = w.connect("bob", "p")
		}
		old.mu.Lock()
		for _, it := range old.got {
			if !delivery(it) {
				continue
			}
			var seq int
			fmt.Sscanf(string(it.Payload), `{"s":%d,`, &seq)
			switch p := string(it.Payload); {
			case seen[p] && !it.Dup && seq != last:
				t.Errorf("again, and not as such: %s", p)
			case seen[p]:
			case seq != last+1:
				t.Fatalf("%s after %d", p, last)
			default:
				seen[p], last = true, seq
			}
		}
		old.mu.Unlock()
		if last == n {
			break
		}
		if round > 10*n {
			t.Fatalf("%d posts after %d connections", last, round)
		}
	}
	<-posting
}

// A follower whose device does not read holds up nobody behind it.
func TestStuckFollower(t *testing.T) {
	names := []string{"brand"}
	for i := range 40 {
		names = append(names, fmt.Sprint("u", i))
	}
	w := newWorld(t, names[:1]...)
	for _, n := range names[1:] {
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: n})
		if err != nil {
			t.Fatal(err)
		}
		w.users[n] = a
	}
	cafe := w.brand("cafe", "brand")
	blocked := make(chan struct{})
	var clients []*client
	for i, n := range names[1:] {
		c := w.connect(n, "p", func(_ *Connect, cl *client) {
			if i%4 == 0 {
				cl.block = blocked
			}
		})
		c.subscribe("channel/+/json")
		w.follow(n, cafe, true, false)
		clients = append(clients, c)
	}
	for i := range 5 {
		w.post(cafe, false, fmt.Sprint("p", i), graph.Post{})
		for j, c := range clients {
			if j%4 != 0 {
				c.posted(i + 1)
			}
		}
	}
	close(blocked)
	for _, c := range clients {
		equal(t, c.posted(5), "1:p0", "2:p1", "3:p2", "4:p3", "5:p4")
		c.atMost(5, "once")
	}
}

// Of posts that come while a follower is not told yet it gets all in one write.
func TestPostsGoOutTogether(t *testing.T) {
	w := newWorld(t, "brand", "bob")
	cafe := w.brand("cafe", "brand")
	bob := w.connect("bob", "p")
	bob.subscribe("channel/+/json")
	w.follow("bob", cafe, true, false)
	w.settle()
	bob.s.quiesce()
	bob.s.mu.Lock() // the herald waits for the session's lock
	for i := range 10 {
		w.post(cafe, false, fmt.Sprint("p", i), graph.Post{})
	}
	_, end := w.st.Bounds()
	until(t, "the follower", func() bool { return w.b.followed.Load() >= uint64(end) })
	var writes atomic.Int64
	bob.onWrite = func([]Item) { writes.Add(1) }
	bob.s.mu.Unlock()
	bob.posted(10)
	if n := writes.Load(); n > 2 { // the herald had begun with the first
		t.Errorf("ten posts in %d writes", n)
	}
}
