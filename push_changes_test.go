package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// A message that nobody is to be told of any more by the time its turn comes does not ring.
func TestWhatChangesBeforeTheRing(t *testing.T) {
	r := newRinging(t, nil, "alice", "reads", "recalled", "mutes", "blocks", "leaves", "stays")
	for _, c := range []struct {
		bob string
		do  func(seq store.Seq)
		why bridge.Reason
	}{
		{"reads", func(seq store.Seq) { r.does("reads", "read.set", `{"room":"g-reads","seq":`+itoa(seq)+`}`) }, bridge.ReasonRead},
		{"recalled", func(seq store.Seq) { r.does("alice", "message.recall", `{"room":"g-recalled","seq":`+itoa(seq)+`}`) }, bridge.ReasonRecalled},
		{"mutes", func(store.Seq) { r.does("mutes", "mute.set", `{"room":"g-mutes"}`) }, bridge.ReasonMuted},
		{"blocks", func(store.Seq) { r.does("blocks", "block.set", `{"user":"alice"}`) }, bridge.ReasonHidden},
		{"leaves", func(store.Seq) { r.does("leaves", "room.leave", `{"room":"g-leaves"}`) }, bridge.ReasonLeft},
		{"stays", func(store.Seq) {}, bridge.ReasonSilence},
	} {
		r.sub(t, c.bob, func(t *testing.T) {
			r.friends([2]string{"alice", c.bob})
			log := r.room("g-"+c.bob, "Hikers", "alice", c.bob)
			token := r.phone(c.bob, "phone", graph.APNs)
			phone := r.gadget(c.bob, "phone", 4)
			phone.holds = true
			phone.connect(false)
			defer func() { _ = phone.conn.Close() }()
			phone.subscribe("room/+/json")
			seq := r.says("alice", "room/g-"+c.bob, "hello")
			r.decided(c.bob, "phone", log, seq, because(bridge.ReasonGrace))
			c.do(seq)
			r.caughtUp() // what was done may leave a notice, which is given its time too
			r.pass(8 * time.Second)
			sent := 0
			if c.why == bridge.ReasonSilence {
				sent = 1
			}
			r.never(token, sent)
			if c.why != bridge.ReasonRead { // read before anybody looked: that is counted, and not noted
				r.decided(c.bob, "phone", log, seq, because(c.why))
			}
		})
	}
}

// What a phone shows goes away, or is replaced without a sound, when it is not so any more.
func TestWhatChangesAfterTheRing(t *testing.T) {
	r := newRinging(t, nil, "alice", "reads", "recalled", "mutes", "blocks", "leaves", "unfriends")
	for _, c := range []struct {
		bob   string
		do    func(seq store.Seq)
		left  string // the key of what is left
		badge int
	}{
		{"reads", func(seq store.Seq) { r.does("reads", "read.set", `{"room":"g-reads","seq":`+itoa(seq)+`}`) }, "", 0},
		{"recalled", func(seq store.Seq) { r.does("alice", "message.recall", `{"room":"g-recalled","seq":`+itoa(seq)+`}`) }, push.KeyRecalled, 0},
		{"mutes", func(store.Seq) { r.does("mutes", "mute.set", `{"room":"g-mutes"}`) }, push.KeyFromIn, 1}, // only what comes is muted
		{"blocks", func(store.Seq) { r.does("blocks", "block.set", `{"user":"alice"}`) }, "", 0},
		{"leaves", func(store.Seq) { r.does("leaves", "room.leave", `{"room":"g-leaves"}`) }, "", 0},
		{"unfriends", func(store.Seq) { r.does("unfriends", "contact.remove", `{"user":"alice"}`) }, push.KeyFromIn, 1}, // changes nothing in rooms
	} {
		r.sub(t, c.bob, func(t *testing.T) {
			r.friends([2]string{"alice", c.bob})
			r.room("g-"+c.bob, "Hikers", "alice", c.bob)
			token := r.phone(c.bob, "phone", graph.APNs)
			seq := r.says("alice", "room/g-"+c.bob, "hello")
			if got := r.shows(token); len(got.Notifications) != 1 || got.Rang != 1 || got.Badge != 1 || got.Notifications[0].Key != push.KeyFromIn {
				t.Fatalf("it shows %+v", got)
			}
			c.do(seq)
			r.later(0)
			got := r.shows(token)
			left := ""
			if len(got.Notifications) > 0 {
				left = got.Notifications[0].Key
			}
			if left != c.left || len(got.Notifications) > 1 || got.Rang != 1 || got.Badge != c.badge {
				t.Errorf("it shows %+v", got)
			}
			r.never(token, len(r.attempts(token)))
		})
	}
}

// Whoever is no friend any more is a stranger: the next message replaces what was told with a text without a name.
func TestUnfriendedIsAStranger(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	r.does("bob", "settings.set", `{"preview":"full"}`)
	token := r.phone("bob", "phone", graph.APNs)
	r.says("alice", "user/bob", "hello")
	if n := r.shows(token).Notifications; len(n) != 1 || n[0].Key != push.KeyText || n[0].Args[0] != "alice" {
		t.Fatalf("it shows %+v", n)
	}
	r.does("bob", "contact.remove", `{"user":"alice"}`)
	r.calm()
	r.says("alice", "user/bob", "are we not friends?")
	r.later(3 * time.Second)
	got := r.shows(token)
	n := got.Notifications[len(got.Notifications)-1]
	if n.Key != push.KeyStranger || n.Room != "" || len(n.Args) != 0 || got.Rang != 1 {
		t.Errorf("it shows %+v", got)
	}
}

// What is read anywhere goes away on every device that shows it, and the badge goes down to what is left.
func TestReadElsewhereClearsEveryPhone(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob", "carol")
	r.friends([2]string{"alice", "bob"}, [2]string{"carol", "bob"})
	tokens := make(map[graph.PushProvider]string)
	for _, p := range graph.PushProviders() {
		tokens[p] = r.phone("bob", "phone-"+string(p), p)
	}
	r.says("carol", "user/bob", "one")
	seq := r.says("alice", "user/bob", "two")
	r.calm()
	desk := r.gadget("bob", "desk", 5)
	desk.connect(false)
	defer desk.disconnect()
	for _, of := range []struct {
		peer          string
		shown, badges int
	}{{"", 2, 2}, {"alice", 1, 1}, {"carol", 0, 0}} {
		if of.peer != "" {
			desk.publish("user/"+of.peer+"/read", itoa(seq))
			r.later(0)
		}
		for p, token := range tokens {
			if got := r.shows(token); len(got.Notifications) != of.shown || got.Badge != of.badges || got.Rang != 2 {
				t.Errorf("%s, after reading %s: it shows %+v", p, of.peer, got)
			}
		}
	}
	for p, token := range tokens {
		last := r.attempts(token)
		if a := last[len(last)-1]; a.PushType == "alert" {
			t.Errorf("%s: a clear is %+v", p, a)
		}
	}
}

// A muted room rings for nothing, or for who mentions the user if that was allowed.
func TestMuted(t *testing.T) {
	r := newRinging(t, nil, "alice", "through", "all")
	for _, c := range []struct {
		bob  string
		sent int
	}{{"through", 1}, {"all", 0}} {
		r.sub(t, c.bob, func(t *testing.T) {
			r.friends([2]string{"alice", c.bob})
			room := "g-" + c.bob
			log := r.room(room, "Hikers", "alice", c.bob)
			token := r.phone(c.bob, "phone", graph.APNs)
			r.does(c.bob, "mute.set", fmt.Sprintf(`{"room":%q,"mentions":%t}`, room, c.sent == 1))
			seq := r.says("alice", "room/"+room, "hello all")
			r.decided(c.bob, "phone", log, seq, because(bridge.ReasonMuted))
			named := r.sends("alice", fmt.Sprintf(`{"room":%q,"text":"and you","mentions":[%q]}`, room, c.bob))
			why := bridge.ReasonMuted
			if c.sent == 1 {
				why = bridge.ReasonAway
			}
			r.decided(c.bob, "phone", log, named, because(why))
			r.never(token, c.sent)
			if c.sent == 1 && r.attempts(token)[0].Seq != uint64(named) {
				t.Errorf("it rang for %+v", r.attempts(token)[0])
			}
		})
	}
}

// A thousand messages in one room within a minute are five pushes at most: the first makes a sound, the last tells of all.
func TestBurst(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob", "carol")
	r.friends([2]string{"alice", "bob"}, [2]string{"alice", "carol"})
	log := r.room("lobby", "Lobby", "alice", "bob", "carol")
	token := r.phone("bob", "phone", graph.APNs)
	android := r.phone("carol", "phone", graph.FCM)
	sender := r.gadget("alice", "desk", 4)
	sender.connect(false)
	defer sender.disconnect()
	info, err := r.store.Info(log)
	if err != nil {
		t.Fatal(err)
	}
	const steps, each = 20, 50
	for range steps {
		for range each {
			sender.packet++
			body := append(mqttString(nil, "room/lobby/text"), byte(sender.packet>>8), byte(sender.packet))
			sender.write(mqttFrame(0x32, append(body, "more"...)))
		}
		last := sender.packet
		sender.await(func(f []byte) bool { return f[0] == 0x40 && f[2] == byte(last>>8) && f[3] == byte(last) })
		r.calm()
		r.later(3 * time.Second)
	}
	last := info.Head + steps*each
	for range 6 {
		r.later(10 * time.Second)
	}
	for _, token := range []string{token, android} {
		got := r.attempts(token)
		if len(got) == 0 || len(got) > 5 {
			t.Fatalf("%d pushes", len(got))
		}
		for i, a := range got {
			if n, _ := a.Says(); a.Rang != (i == 0) || i > 0 && n.Kind != string(push.KindMessages) {
				t.Errorf("push %d: %+v", i, a)
			}
		}
		a := got[len(got)-1]
		n, _ := a.Says()
		if badge, _ := a.Badge(); n.Count != steps*each || badge != steps*each || n.Seq != uint64(last) {
			t.Errorf("the last says %+v", n)
		}
	}
	r.never(token, len(r.attempts(token)))
	r.decided("bob", "phone", log, last, because(bridge.ReasonUpdate))
	if got := r.shows(android); len(got.Notifications) != 1 || got.Rang != 1 {
		t.Errorf("it shows %+v", got)
	}
	for _, c := range r.sim.Counts() {
		if c.Duplicate() {
			t.Errorf("twice: %+v", c)
		}
	}
}

// A device gets 20 pushes within a minute; what is more is told in one summary.
func TestTwentyAMinute(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	token := r.phone("bob", "phone", graph.APNs)
	const rooms = 25
	logs := make([]store.LogID, rooms)
	for i := range rooms {
		logs[i] = r.room(fmt.Sprintf("g%d", i), fmt.Sprintf("Room %d", i), "alice", "bob")
	}
	var last store.Seq
	for i := range rooms {
		last = r.says("alice", fmt.Sprintf("room/g%d", i), "hello")
		r.calm()
	}
	if n := len(r.attempts(token)); n != 20 {
		t.Errorf("%d pushes in a moment", n)
	}
	d := r.decided("bob", "phone", logs[rooms-1], last, because(bridge.ReasonCapped))
	if !d.Until.After(r.now()) {
		t.Errorf("it waits until %v", d.Until)
	}
	r.later(time.Minute)
	got := r.attempts(token)
	if len(got) != 21 {
		t.Fatalf("%d pushes after a minute", len(got))
	}
	if n, _ := got[20].Says(); n.Kind != string(push.KindSummary) || n.Count != rooms {
		t.Errorf("the summary says %+v", n)
	}
	r.never(token, 21)
	if p, _ := r.sim.Phone(token); p.Badge != rooms {
		t.Errorf("badge %d", p.Badge)
	}
}
