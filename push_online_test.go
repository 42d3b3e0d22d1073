package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// kindsOfMQTT are the versions, each with both qualities of service.
func (r *ringing) kindsOfMQTT(t *testing.T, fn func(t *testing.T, name string, version byte, zero bool)) {
	for _, v := range []struct {
		name    string
		version byte
	}{{"31", 3}, {"311", 4}, {"5", 5}} {
		for _, zero := range []bool{false, true} {
			name := v.name + "q1"
			if zero {
				name = v.name + "q0"
			}
			r.sub(t, name, func(t *testing.T) { fn(t, "bob"+name, v.version, zero) })
		}
	}
}

var bobs = []string{"alice", "bob31q1", "bob31q0", "bob311q1", "bob311q0", "bob5q1", "bob5q0"}

// sub runs a part of a test, which is the one that fails.
func (r *ringing) sub(t *testing.T, name string, fn func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		whole := r.t
		r.t = t
		defer func() { r.t = whole }()
		fn(t)
	})
}

func newBobs(t *testing.T) *ringing {
	r := newRinging(t, nil, bobs...)
	for _, b := range bobs[1:] {
		r.friends([2]string{"alice", b})
	}
	return r
}

// Who is connected and acknowledges is not rung; a message with QoS 0 is acknowledged by whatever comes after it.
func TestOnlineAndAcknowledgedIsNotRung(t *testing.T) {
	r := newBobs(t)
	r.kindsOfMQTT(t, func(t *testing.T, bob string, version byte, zero bool) {
		token := r.phone(bob, "phone", graph.APNs)
		phone := r.gadget(bob, "phone", version)
		phone.zero = zero
		phone.connect(false)
		defer phone.disconnect()
		phone.subscribe("user/+/json")
		seq := r.says("alice", "user/"+bob, "are you there?")
		phone.await(func(f []byte) bool { return bytes.Contains(f, []byte("are you there?")) })
		r.pingsAcross(phone, r.pair("alice", bob), seq)
		r.decided(bob, "phone", r.pair("alice", bob), seq, because(bridge.ReasonGrace))
		r.pass(8 * time.Second)
		r.never(token, 0)
		r.decided(bob, "phone", r.pair("alice", bob), seq, because(bridge.ReasonAcked))
	})
}

// pingsAcross has a device ping until the server knows that it has a message. With QoS 0 one may not do: a packet that
// overtakes the server's own note that it has written the message confirms nothing.
func (r *ringing) pingsAcross(a *actor, log store.LogID, seq store.Seq) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		a.ping()
		c, err := r.broker.Acked(r.account(a.user), r.deviceID(a.user, a.id), log)
		if err != nil || time.Now().After(end) {
			r.t.Fatalf("message %d is not confirmed: %+v, %v", seq, c, err)
		}
		if c.Confirmed(seq) {
			return
		}
	}
}

// A connection over which nothing comes back is no delivery, whether the client is silent, or the line is dead and nobody has
// noticed: the phone rings once, after 8 seconds and not before.
func TestConnectedButSilentIsRung(t *testing.T) {
	r := newBobs(t)
	r.kindsOfMQTT(t, func(t *testing.T, bob string, version byte, zero bool) {
		for _, how := range []string{"silent", "half open"} {
			r.sub(t, how, func(t *testing.T) {
				token := r.phone(bob, how, graph.APNs)
				phone := r.gadget(bob, how, version)
				phone.zero = zero
				phone.holds = how == "silent"
				line := newRelay(t, r.addr)
				phone.via = line.addr()
				phone.connect(false)
				defer func() { _ = phone.conn.Close() }()
				phone.subscribe("user/+/json")
				if !phone.holds {
					line.die()
				}
				seq := r.says("alice", "user/"+bob, "are you there?")
				log := r.pair("alice", bob)
				d := r.decided(bob, how, log, seq, because(bridge.ReasonGrace))
				if got := d.Until.Sub(r.now()); got != 8*time.Second {
					t.Errorf("it waits for %v", got)
				}
				r.pass(8*time.Second - time.Millisecond)
				r.decided(bob, how, log, seq, because(bridge.ReasonGrace))
				if n := len(r.attempts(token)); n != 0 {
					t.Errorf("%d pushes before its time", n)
				}
				r.pass(time.Millisecond)
				if got := r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) > 0 }); got.Rang != 1 {
					t.Errorf("it shows %+v", got)
				}
				r.decided(bob, how, log, seq, because(bridge.ReasonSilence))
				if !r.broker.Online(r.account(bob), r.deviceID(bob, how)) {
					t.Error("it is not connected any more")
				}
				r.never(token, 1)
				r.does(bob, "read.set", fmt.Sprintf(`{"user":"alice","seq":%d}`, seq))
				r.calm()
				r.does(bob, "device.push", fmt.Sprintf(`{"device":%q,"remove":true}`, r.deviceID(bob, how)))
			})
		}
	})
}

// Who was not heard of for longer than its keepalive promised has three seconds. Sockets have the machine's clock, so a
// connection that the server ends before the test comes to look is made again, with a longer keepalive.
func TestOverdueKeepAliveIsRungSooner(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	for keep := byte(1); ; keep *= 2 {
		if keep > 32 {
			t.Fatal("no connection was ever overdue")
		}
		client := fmt.Sprintf("phone%d", keep)
		token := r.phone("bob", client, graph.APNs)
		phone := r.gadget("bob", client, 4)
		phone.keepAlive, phone.holds = keep, true
		phone.connect(false)
		phone.subscribe("user/+/json")
		is := func() (connected, overdue bool) {
			connected, overdue, _ = r.broker.Link(r.account("bob"), r.deviceID("bob", client))
			return
		}
		connected, overdue := is()
		for connected && !overdue {
			time.Sleep(10 * time.Millisecond)
			connected, overdue = is()
		}
		seq := r.says("alice", "user/bob", "are you there?")
		log := r.pair("alice", "bob")
		d := r.decided("bob", client, log, seq, func(bridge.Decision) bool { return true })
		r.pass(3 * time.Second)
		r.waits(token, func(p pushsim.Phone) bool { return p.Rang == 1 })
		if d.Reason != bridge.ReasonGrace { // it was gone already
			r.does("bob", "device.push", fmt.Sprintf(`{"device":%q,"remove":true}`, r.deviceID("bob", client)))
			continue
		}
		if got := d.Until.Sub(d.Time); got != 3*time.Second {
			t.Errorf("it waits for %v", got)
		}
		r.decided("bob", client, log, seq, func(d bridge.Decision) bool {
			return d.Reason == bridge.ReasonSilence || d.Reason == bridge.ReasonAway
		})
		r.never(token, 1)
		return
	}
}

// A clean start leaves a hole that is not confirmed, whatever is confirmed after it: what waits to ring goes on waiting.
func TestCleanStartLeavesRings(t *testing.T) {
	for _, version := range []byte{3, 4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			r := newRinging(t, nil, "alice", "bob")
			r.friends([2]string{"alice", "bob"})
			token := r.phone("bob", "phone", graph.APNs)
			phone := r.gadget("bob", "phone", version)
			phone.connect(false)
			phone.subscribe("user/+/json")
			phone.disconnect()
			if _, err := r.sim.Add(pushsim.Fault{Times: 1, Do: pushsim.Do{Status: 503}}); err != nil {
				t.Fatal(err)
			}
			seq := r.says("alice", "user/bob", "first")
			log := r.pair("alice", "bob")
			r.decided("bob", "phone", log, seq, because(bridge.ReasonRetry))
			phone.connect(true)
			defer phone.disconnect()
			phone.subscribe("user/+/json")
			second := r.says("alice", "user/bob", "second")
			phone.await(func(f []byte) bool { return bytes.Contains(f, []byte("second")) })
			phone.ping()
			r.pass(time.Minute)
			got := r.waits(token, func(p pushsim.Phone) bool { return p.Rang == 1 })
			if n := got.Notifications[0]; n.Seq != uint64(seq) && n.Seq != uint64(second) {
				t.Errorf("it shows %+v", n)
			}
			r.decided("bob", "phone", log, seq, because(bridge.ReasonSilence))
			r.never(token, 2)
		})
	}
}

// While the user is at another device the phone is given 15 seconds, and none once that device is left.
func TestActiveElsewhere(t *testing.T) {
	r := newRinging(t, nil, "alice", "stays", "uses", "reads", "leaves", "dies", "idle")
	begin := func(t *testing.T, bob string) (token string, desk *actor, seq store.Seq, log store.LogID) {
		r.friends([2]string{"alice", bob})
		token = r.phone(bob, "phone", graph.APNs)
		desk = r.gadget(bob, "desk", 4)
		desk.connect(false)
		desk.subscribe("user/+/json")
		desk.publish("user/"+bob+"/text/note", "a note")
		if bob == "idle" {
			r.pass(31 * time.Second)
		}
		seq = r.says("alice", "user/"+bob, "hello")
		log = r.pair("alice", bob)
		if bob != "idle" {
			if d := r.decided(bob, "phone", log, seq, because(bridge.ReasonActive)); d.Until.Sub(r.now()) != 15*time.Second {
				t.Errorf("it waits until %v, now is %v", d.Until, r.now())
			}
		}
		return token, desk, seq, log
	}
	rings := func(token string) {
		t.Helper()
		if got := r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) > 0 }); got.Rang != 1 {
			t.Errorf("it shows %+v", got)
		}
		r.never(token, 1)
	}
	r.sub(t, "stays", func(t *testing.T) {
		token, desk, seq, log := begin(t, "stays")
		defer desk.disconnect()
		r.pass(15*time.Second - time.Millisecond)
		r.decided("stays", "phone", log, seq, because(bridge.ReasonActive))
		if n := len(r.attempts(token)); n != 0 {
			t.Errorf("%d pushes before its time", n)
		}
		r.pass(time.Millisecond)
		rings(token)
		r.decided("stays", "phone", log, seq, because(bridge.ReasonAway))
	})
	r.sub(t, "uses", func(t *testing.T) {
		token, desk, seq, log := begin(t, "uses")
		defer desk.disconnect()
		r.pass(10 * time.Second)
		desk.publish("user/uses/text/more", "another note")
		at := r.now().Add(5 * time.Second)
		r.pass(5 * time.Second)
		r.decided("uses", "phone", log, seq, func(d bridge.Decision) bool {
			return d.Reason == bridge.ReasonActive && d.Until.Equal(at.Add(15*time.Second))
		})
		r.pass(31 * time.Second)
		rings(token)
	})
	r.sub(t, "reads", func(t *testing.T) {
		token, desk, seq, log := begin(t, "reads")
		defer desk.disconnect()
		desk.publish("user/alice/read", fmt.Sprint(seq))
		r.decided("reads", "phone", log, seq, because(bridge.ReasonRead))
		r.never(token, 0)
	})
	r.sub(t, "leaves", func(t *testing.T) {
		token, desk, seq, log := begin(t, "leaves")
		desk.disconnect()
		rings(token)
		r.decided("leaves", "phone", log, seq, because(bridge.ReasonAway))
	})
	r.sub(t, "dies", func(t *testing.T) {
		token, desk, _, _ := begin(t, "dies")
		if err := desk.conn.Close(); err != nil {
			t.Fatal(err)
		}
		rings(token)
	})
	r.sub(t, "idle", func(t *testing.T) {
		token, desk, seq, log := begin(t, "idle")
		defer desk.disconnect()
		rings(token)
		r.decided("idle", "phone", log, seq, because(bridge.ReasonAway))
	})
}
