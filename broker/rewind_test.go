package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// pair opens the conversation of alice and bob with these members.
func (w *world) pair(members ...string) store.LogID {
	w.Helper()
	var ms []store.Member
	for _, m := range members {
		ms = append(ms, store.Member{Account: w.users[m].ID, Role: store.RoleMember})
	}
	info, _, err := w.st.Open(w.Context(), store.PairKey(w.users["alice"].ID, w.users["bob"].ID), store.Creation{Members: ms})
	if err != nil {
		w.Fatal(err)
	}
	return info.ID
}

func (w *world) say(log store.LogID, by, text string, audience store.Audience) {
	w.Helper()
	if _, err := w.st.Append(store.Draft{Log: log, Sender: w.users[by].ID, Text: []byte(text), Audience: audience}).Result(); err != nil {
		w.Fatal(err)
	}
}

func (w *world) accept(log store.LogID, by string) {
	w.Helper()
	w.change(log, by, store.Change{Kind: store.ChangeAccept, Account: w.users[by].ID})
}

// numbers are the sequences of n deliveries in their order, with the range that is told as withheld.
func (c *client) numbers(n int) string {
	c.w.Helper()
	out := ""
	for _, p := range c.deliveries(n) {
		var seq int
		if _, err := fmt.Sscanf(p[strings.Index(p, `"s":`):], `"s":%d`, &seq); err != nil {
			c.w.Fatal(p, err)
		}
		out += fmt.Sprint(seq)
		if i := strings.Index(p, `"g":`); i >= 0 {
			g := p[i+4:]
			out += g[:strings.IndexByte(g, ']')+1]
		}
		out += " "
	}
	return out
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// One who was no member gets what it accepts, connected or not.
func TestAcceptAsStranger(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	log := w.pair("alice")
	here, away := w.connect("bob", "here"), w.connect("bob", "away")
	here.subscribe("user/+/json")
	away.subscribe("user/+/json")
	away.leave()
	w.say(log, "alice", "one", store.AudienceRequest)
	w.say(log, "alice", "shadow", store.AudienceSender)
	w.say(log, "alice", "three", store.AudienceRequest)
	w.accept(log, "bob")
	w.say(log, "alice", "four", store.AudienceBoth)
	want(t, here.numbers(3), "1 3[2,2] 4 ")
	away = w.connect("bob", "away")
	want(t, away.numbers(3), "1 3[2,2] 4 ")
	here.leave()
	here = w.connect("bob", "here")
	w.say(log, "alice", "five", store.AudienceBoth)
	want(t, here.numbers(1), "5 ")
	want(t, away.numbers(4), "1 3[2,2] 4 5 ")
}

// One who had been in the conversation gets the accepted messages, late and once, and nothing twice.
func TestAcceptInOldConversation(t *testing.T) {
	for _, view := range []string{"json", "qos0"} {
		t.Run(view, func(t *testing.T) {
			w := newWorld(t, "alice", "bob")
			log := w.pair("alice", "bob")
			here, away := w.connect("bob", "here"), w.connect("bob", "away")
			for _, c := range []*client{here, away} {
				if view == "qos0" {
					if _, err := c.s.Subscribe(t.Context(), []SubRequest{{Filter: "user/+/json"}}); err != nil {
						t.Fatal(err)
					}
				} else {
					c.subscribe("user/+/json")
				}
			}
			w.say(log, "alice", "one", store.AudienceBoth)
			w.say(log, "alice", "two", store.AudienceRequest)
			w.say(log, "alice", "three", store.AudienceSender)
			w.say(log, "alice", "four", store.AudienceRequest)
			w.say(log, "bob", "five", store.AudienceBoth)
			want(t, here.numbers(2), "1 5[2,4] ")
			want(t, away.numbers(2), "1 5[2,4] ")
			away.leave()
			w.accept(log, "bob")
			want(t, here.numbers(4), "1 5[2,4] 2 4 ")
			w.say(log, "alice", "six", store.AudienceBoth)
			want(t, here.numbers(5), "1 5[2,4] 2 4 6 ")
			away = w.connect("bob", "away")
			want(t, away.numbers(3), "2 4 6 ")
			here.leave()
			away.leave()
			w.say(log, "alice", "seven", store.AudienceBoth)
			for _, id := range []string{"here", "away"} {
				want(t, w.connect("bob", id).numbers(1), "7 ")
			}
		})
	}
}

// What was in flight when its user accepted is acknowledged as ever, and a device that leaves in the midst gets the rest.
func TestAcceptWithFullHands(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	log := w.pair("alice", "bob")
	bob := w.connect("bob", "b", withoutAcks)
	bob.subscribe("user/+/json")
	w.say(log, "alice", "one", store.AudienceBoth)
	w.say(log, "alice", "two", store.AudienceRequest)
	w.say(log, "alice", "three", store.AudienceBoth)
	w.say(log, "alice", "four", store.AudienceBoth)
	first := bob.wait(3, delivery)
	bob.s.Acked(first[0].PacketID)
	bob.s.Acked(first[1].PacketID)
	w.accept(log, "bob")
	want(t, bob.numbers(4), "1 3[2,2] 4 2 ")
	bob.leave()
	bob = w.connect("bob", "b")
	want(t, bob.numbers(2), "2 4 ")
	w.say(log, "alice", "five", store.AudienceBoth)
	want(t, bob.numbers(3), "2 4 5 ")
	bob.leave()
	w.say(log, "alice", "six", store.AudienceBoth)
	bob = w.connect("bob", "b")
	want(t, bob.numbers(1), "6 ")
}

// What was accepted and is not acknowledged when the connection ends is sent on the next one, once.
func TestAcceptedInFlight(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	log := w.pair("alice", "bob")
	bob := w.connect("bob", "b", withoutAcks)
	bob.subscribe("user/+/json")
	w.say(log, "alice", "one", store.AudienceBoth)
	w.say(log, "alice", "two", store.AudienceRequest)
	w.say(log, "alice", "three", store.AudienceBoth)
	for _, it := range bob.wait(2, delivery) {
		bob.s.Acked(it.PacketID)
	}
	w.accept(log, "bob")
	want(t, bob.numbers(3), "1 3[2,2] 2 ")
	w.say(log, "alice", "four", store.AudienceBoth)
	want(t, bob.numbers(4), "1 3[2,2] 2 4 ")
	bob.vanish()
	bob = w.connect("bob", "b")
	want(t, bob.numbers(2), "2 4 ")
	w.say(log, "alice", "five", store.AudienceBoth)
	want(t, bob.numbers(3), "2 4 5 ")
	bob.leave()
	bob = w.connect("bob", "b")
	w.say(log, "alice", "six", store.AudienceBoth)
	want(t, bob.numbers(1), "6 ")
}

// A device whose row is replaced by a SUBSCRIBE, or by a connection, just when its user accepts has the accepted messages due
// until it confirms them.
func TestAcceptWhileARowIsReplaced(t *testing.T) {
	for _, what := range []string{"subscribe", "connect"} {
		t.Run(what, func(t *testing.T) {
			m := &meddling{}
			w := newWorldStore(t, Events{}, func(st store.Store) store.Store { m.Store = st; return m }, "alice", "bob")
			log := w.pair("alice", "bob")
			bob := w.connect("bob", "b", withoutAcks)
			bob.subscribe("user/+/json")
			w.say(log, "alice", "one", store.AudienceBoth)
			w.say(log, "alice", "two", store.AudienceRequest)
			w.say(log, "alice", "three", store.AudienceBoth)
			for _, it := range bob.wait(2, delivery) {
				bob.s.Acked(it.PacketID)
			}
			bob.s.saveCursors()
			meanwhile := func() {
				w.accept(log, "bob")
				for end := time.Now().Add(200 * time.Millisecond); w.b.rewinds.count() == 0 && time.Now().Before(end); {
					time.Sleep(time.Millisecond) // it may well wait for the row
				}
			}
			switch what {
			case "subscribe":
				m.meanwhile = meanwhile
				bob.subscribe("room/+/json")
				want(t, bob.numbers(3), "1 3[2,2] 2 ")
			case "connect":
				bob.leave()
				m.meanwhile = meanwhile
				bob = w.connect("bob", "b", withoutAcks, func(c *Connect, _ *client) { c.Expiry = 60 })
				want(t, bob.numbers(1), "2 ")
			}
			w.await("it is served", func() bool { return w.b.rewinds.count() == 1 })
			bob.vanish()
			bob = w.connect("bob", "b", func(c *Connect, _ *client) { c.Expiry = 60 })
			w.say(log, "alice", "four", store.AudienceBoth)
			want(t, bob.numbers(2), "2 4 ")
		})
	}
}

// Devices come and go while their user accepts one request after the other: each gets everything, and what it
// acknowledged once.
func TestAcceptWhileConnecting(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	log := w.pair("alice", "bob")
	bob := w.connect("bob", "b")
	bob.subscribe("user/+/json")
	stop := make(chan struct{})
	got := make(chan []string)
	go func() {
		var all []string
		collect := func() {
			bob.mu.Lock()
			defer bob.mu.Unlock()
			for _, it := range bob.got {
				if delivery(it) {
					all = append(all, string(it.Payload))
				}
			}
		}
		for {
			select {
			case <-stop:
				bob.leave()
				collect()
				got <- all
				return
			default:
			}
			bob.leave()
			collect()
			bob = w.connect("bob", "b")
		}
	}()
	const rounds = 40
	for i := range rounds {
		w.say(log, "alice", fmt.Sprintf("request %d.", i), store.AudienceRequest)
		w.say(log, "bob", fmt.Sprintf("between %d.", i), store.AudienceBoth)
		w.accept(log, "bob")
	}
	close(stop)
	all := <-got
	bob = w.connect("bob", "b")
	w.say(log, "alice", "end", store.AudienceRequest) // acceptances are served in their order
	w.accept(log, "bob")
	for n, ended := 1, false; !ended; n++ {
		p := bob.deliveries(n)[n-1]
		all, ended = append(all, p), strings.Contains(p, `"end"`)
	}
	for i := range rounds {
		for _, text := range []string{"request", "between"} {
			if !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, fmt.Sprintf(`"%s %d."`, text, i)) }) {
				t.Errorf("%s %d was never delivered", text, i)
			}
		}
	}
}
