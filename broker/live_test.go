package broker

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

func (c *client) who() (store.AccountID, store.DeviceID) { return c.s.id.Account, c.s.id.Device }

// linked is what Link tells, in letters: c connected, o overdue, b in the background.
func (w *world) linked(a store.AccountID, d store.DeviceID) (out string) {
	connected, overdue, background := w.b.Link(a, d)
	if connected {
		out += "c"
	}
	if overdue {
		out += "o"
	}
	if background {
		out += "b"
	}
	return out
}

func (w *world) confirmed(c *client, log store.LogID, seq store.Seq) bool {
	w.Helper()
	a, d := c.who()
	cur, err := w.b.Acked(a, d, log)
	if err != nil {
		w.Fatal(err)
	}
	return cur.Confirmed(seq)
}

// await waits until cond holds, which something that was begun brings about.
func (w *world) await(what string, cond func() bool) {
	w.Helper()
	for began := time.Now(); !cond(); time.Sleep(time.Millisecond) {
		if time.Since(began) > longest {
			w.Fatalf("%s: not within %v", what, longest)
		}
	}
}

func TestLink(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	bob := w.connect("bob", "b")
	a, d := bob.who()
	steps := []struct {
		what string
		do   func()
		want string
	}{
		{"connected", func() {}, "c"},
		{"silent for too long", func() { bob.overdue.Store(true) }, "co"},
		{"heard again", func() { bob.overdue.Store(false) }, "c"},
		{"in the background", func() { w.b.SetBackground(a, d, true) }, "cb"},
		{"in front", func() { w.b.SetBackground(a, d, false) }, "c"},
		{"in the background again", func() { w.b.SetBackground(a, d, true) }, "cb"},
		{"gone", func() { bob.leave() }, ""},
		{"back: in front", func() { bob = w.connect("bob", "b") }, "c"},
		{"broken", func() { bob.vanish() }, ""},
	}
	for _, s := range steps {
		if s.do(); w.linked(a, d) != s.want {
			t.Errorf("%s: %q, want %q", s.what, w.linked(a, d), s.want)
		}
	}
	if w.b.SetBackground(a, d, true) {
		t.Error("a device without a connection is in the background")
	}
	if got := w.linked(a, d+1); got != "" {
		t.Errorf("no device: %q", got)
	}
	if len(w.b.registry.slots) != 0 {
		t.Errorf("%d slots are left", len(w.b.registry.slots))
	}
}

// When Detached is called the device has gone, with all that it confirmed; but one that is being replaced has not.
func TestDetachedIsConsistent(t *testing.T) {
	type seen struct {
		linked string
		acked  bool
		active time.Time
	}
	var w *world
	var log store.LogID
	told := make(chan seen, 1)
	events := Events{Detached: func(id hooks.Identity, _ bool) {
		if id.ClientID != "b" {
			return
		}
		cur, err := w.b.Acked(id.Account, id.Device, log)
		if err != nil {
			t.Error(err)
		}
		told <- seen{w.linked(id.Account, id.Device), cur.Confirmed(1), w.b.Active(id.Account, 0)}
	}}
	w = newWorldEvents(t, bolt.Config{}, events, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b", withoutAcks)
	bob.subscribe("user/+/json")
	log = alice.must("user/bob/text", "1").Log
	alice.must("user/bob/text", "2")
	bob.s.Acked(bob.wait(2, delivery)[0].PacketID)
	bob.s.Publish(Publication{Topic: "user/alice/text", Payload: []byte("here")}, Ack{PacketID: 1, QoS: 1})
	bob.wait(1, outcome)
	go bob.vanish()
	if got := <-told; got != (seen{"", true, time.Time{}}) {
		t.Errorf("at the end: %+v", got)
	}

	w.connect("bob", "b", withoutAcks)
	next := w.connect("bob", "b", withoutAcks)
	if got := <-told; got.linked != "c" {
		t.Errorf("at a takeover: %+v", got)
	}
	a, d := next.who()
	if err := w.b.Disconnect(t.Context(), a, d, ErrRemoved); err != nil {
		t.Fatal(err)
	}
	if got := <-told; got.linked != "" {
		t.Errorf("removed: %+v", got)
	}
}

// A connection that replaces another one and fails leaves the device away.
func TestLinkOfAFailedTakeover(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	first := w.connect("bob", "b")
	a, d := first.who()
	id := w.identity("bob", "b", false)
	id.Token = [32]byte{1} // has ended
	if _, _, err := w.b.Attach(t.Context(), Connect{Identity: id, Expiry: 60}, &client{w: w, news: make(chan struct{}, 1)}); !errors.Is(err, ErrRemoved) {
		t.Fatal(err)
	}
	if got := w.linked(a, d); got != "" {
		t.Errorf("%q", got)
	}
}

// Whose connection the server ends because it goes down does not count as away.
func TestLinkWhileClosing(t *testing.T) {
	w := newWorld(t, "bob")
	bob := w.connect("bob", "b")
	a, d := bob.who()
	w.b.Drain()
	bob.vanish()
	if got := w.linked(a, d); got != "c" {
		t.Errorf("drained: %q", got)
	}
	w.close()
	if got := w.linked(a, d); got != "c" {
		t.Errorf("%q", got)
	}
	w.open()
	if got := w.linked(a, d); got != "" {
		t.Errorf("after the restart: %q", got)
	}
}

// What a device has confirmed is known at once: before it is saved, after, while a session loads, and when it is gone.
func TestAcked(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b", withoutAcks)
	bob.subscribe("user/+/json")
	log := alice.must("user/bob/text", "1").Log
	alice.must("user/bob/text", "2")
	alice.must("user/bob/text", "3")
	sent := bob.wait(3, delivery)
	check := func(when string, want ...bool) {
		t.Helper()
		for i, yes := range want {
			if w.confirmed(bob, log, store.Seq(i+1)) != yes {
				t.Errorf("%s: confirmed(%d) is %v", when, i+1, !yes)
			}
		}
	}
	check("delivered", false, false, false)
	bob.s.Acked(sent[1].PacketID)
	check("out of order", false, false, false)
	bob.s.Acked(sent[0].PacketID)
	check("in order", true, true, false)
	bob.s.saveCursors()
	check("saved", true, true, false)
	bob.s.Acked(sent[2].PacketID)
	bob.s.saveCursors()
	w.await("the feed is forgotten", func() bool {
		bob.s.saveCursors()
		bob.s.mu.Lock()
		defer bob.s.mu.Unlock()
		return bob.s.feeds == nil
	})
	check("saved and forgotten", true, true, true, false)
	bob.leave()
	check("away", true, true, true, false)
	alice.must("user/bob/text", "4")
	check("away for another one", true, true, true, false)

	// A session that has not looked yet adds nothing to its row.
	c := Connect{Identity: w.identity("bob", "b", false), Expiry: 3600}
	bob = &client{w: w, news: make(chan struct{}, 1)}
	s, _, err := w.b.Attach(t.Context(), c, bob)
	if err != nil {
		t.Fatal(err)
	}
	bob.s = s
	check("loading", true, true, true, false)
	s.Start()
	s.Acked(bob.wait(1, delivery)[0].PacketID)
	check("loaded", true, true, true, true)
	if cur, err := w.b.Acked(w.account("bob"), store.DeviceOf(1, "nobody"), log); err != nil || cur != (store.Cursor{}) {
		t.Errorf("no device: %+v, %v", cur, err)
	}
}

// A log that no filter selects is confirmed by nothing, however long the device is connected.
func TestAckedWithoutAFilter(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("room/+/json")
	log := alice.must("user/bob/text", "1").Log
	if w.confirmed(bob, log, 1) {
		t.Error("confirmed")
	}
	bob.subscribe("user/+/json") // from here on, and nothing before
	alice.must("user/bob/text", "2")
	bob.deliveries(1)
	bob.acking.Wait()
	if w.confirmed(bob, log, 1) || !w.confirmed(bob, log, 2) {
		t.Errorf("1: %v, 2: %v", w.confirmed(bob, log, 1), w.confirmed(bob, log, 2))
	}
}

// After a clean start what was not fetched is not confirmed, while connected too.
func TestAckedAfterACleanStart(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/json")
	log := alice.must("user/bob/text", "1").Log
	bob.deliveries(1)
	bob.leave()
	alice.must("user/bob/text", "2")
	bob = w.connect("bob", "b", func(c *Connect, _ *client) { c.Clean = true })
	if w.confirmed(bob, log, 2) {
		t.Error("a clean start confirms")
	}
	bob.subscribe("user/+/json")
	if !w.confirmed(bob, log, 1) || w.confirmed(bob, log, 2) {
		t.Error("a SUBSCRIBE confirms")
	}
	alice.must("user/bob/text", "3")
	bob.deliveries(1)
	bob.acking.Wait()
	if !w.confirmed(bob, log, 1) || w.confirmed(bob, log, 2) || !w.confirmed(bob, log, 3) {
		t.Errorf("1: %v, 2: %v, 3: %v", w.confirmed(bob, log, 1), w.confirmed(bob, log, 2), w.confirmed(bob, log, 3))
	}
}

// A write with QoS 0 confirms nothing until something arrives after it.
func TestAckedQoS0(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	if _, err := bob.s.Subscribe(t.Context(), []SubRequest{{Filter: "user/+/text", QoS: 0}}); err != nil {
		t.Fatal(err)
	}
	log := alice.must("user/bob/text", "heard").Log
	bob.deliveries(1)
	w.await("the write has returned", bob.s.hasQoS0.Load)
	if w.confirmed(bob, log, 1) {
		t.Error("a write confirms")
	}
	bob.s.Heard()
	if !w.confirmed(bob, log, 1) {
		t.Error("a sign of life confirms nothing")
	}
	alice.must("user/bob/text", "lost")
	bob.deliveries(2)
	bob.vanish()
	if w.confirmed(bob, log, 2) {
		t.Error("a write into a dead link confirms")
	}
}

// Whoever accepts a conversation has looked at what waited in it: taking the cursor back makes nothing unconfirmed.
func TestAckedRewound(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/json")
	log := alice.must("user/bob/text", "1").Log
	alice.must("user/bob/text", "2")
	bob.deliveries(2)
	bob.acking.Wait()
	a, _ := bob.who()
	if err := w.b.rewindFor(t.Context(), accepted{account: a, log: log, from: 1, to: 2}); err != nil {
		t.Fatal(err)
	}
	if !w.confirmed(bob, log, 1) || !w.confirmed(bob, log, 2) {
		t.Error("not confirmed any more")
	}
}

// The user is active where it sends or reads, over whatever transport; not where it only receives, and not in the
// background.
func TestActive(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	w.close()
	begun, later := time.Now(), atomic.Int64{}
	w.now = func() time.Time { return begun.Add(time.Duration(later.Load())) }
	w.open()
	pass := func(d time.Duration) { later.Add(int64(d)) }
	alice, phone, laptop := w.connect("alice", "a"), w.connect("bob", "phone"), w.connect("bob", "laptop")
	guest := w.connect("bob", "guest", withClean)
	a, of := phone.who()
	_, other := laptop.who()
	check := func(what string, but store.DeviceID, ago time.Duration) {
		t.Helper()
		got := w.b.Active(a, but)
		if ago < 0 && !got.IsZero() || ago >= 0 && !got.Equal(w.now().Add(-ago)) {
			t.Errorf("%s: %v, %v ago", what, got, w.now().Sub(got))
		}
	}
	laptop.subscribe("user/+/json")
	alice.must("user/bob/text", "hi")
	laptop.deliveries(1)
	check("nobody sent", of, -1)
	pass(10 * time.Second)
	if it := laptop.publish("room/none/text", "hi"); it.Err == nil {
		t.Error("to no room")
	}
	check("refused", of, -1)
	laptop.must("user/alice/read", "1")
	check("read", of, 0)
	check("itself", other, -1)
	pass(30 * time.Second)
	check("later", of, 30*time.Second)
	guest.must("user/alice/typing", "")
	check("a guest", of, 0)
	check("a guest", other, 0)
	pass(7 * time.Second)
	topic, err := hooks.ParsePublish("user/alice/text")
	if err != nil {
		t.Fatal(err)
	}
	id := laptop.s.Identity()
	if _, err := w.b.Send(t.Context(), id, topic, Publication{Payload: []byte("over HTTP")}); err != nil {
		t.Fatal(err)
	}
	check("over HTTP", of, 0)
	w.b.SetBackground(a, other, true)
	check("in the background", of, 7*time.Second)
	guest.leave()
	check("gone", of, -1)
	w.b.SetBackground(a, other, false)
	check("in front again", of, 0)
	laptop.leave()
	check("nobody", of, -1)
}
