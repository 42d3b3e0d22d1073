package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	relations "github.com/hwangso/hwangso/store/graph"
)

// mqttVersions are the versions on the wire, by name.
var mqttVersions = []struct {
	name    string
	version byte
}{{"3.1", 3}, {"3.1.1", 4}, {"5", 5}}

// room makes a room without a record, owned by the first of these.
func (s *stage) room(name string, members ...string) store.LogInfo {
	s.t.Helper()
	c := store.Creation{By: s.ids[members[0]].Account}
	for i, m := range members {
		role := store.RoleMember
		if i == 0 {
			role = store.RoleOwner
		}
		c.Members = append(c.Members, store.Member{Account: s.ids[m].Account, Role: role})
	}
	info, _, err := s.store.Open(s.t.Context(), store.RoomKey(name), c)
	if err != nil {
		s.t.Fatal(err)
	}
	return info
}

// stand sets the state of an account without ending its connections.
func (s *stage) stand(user string, state store.AccountState) {
	s.t.Helper()
	a, err := s.store.Account(s.ids[user].Account)
	if err == nil {
		a.State = state
		err = s.store.SetAccount(s.t.Context(), a)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// request asks over the connection and returns the answer. It needs a filter for reply/+.
func (a *actor) request(op, body string) map[string]any {
	a.s.t.Helper()
	rid := fmt.Sprintf("rid-%d", a.packet)
	a.publish("api/"+op+"/"+rid, body)
	f := a.await(func(f []byte) bool { return f[0]>>4 == 3 && bytes.Contains(f, []byte("reply/"+rid)) })
	return answerOf(a.s.t, f[bytes.IndexByte(f, '{'):])
}

func answerOf(t testing.TB, raw []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return v
}

// TestInvitationsOverEveryTransport: each outcome of inviting, as its words, asked over every version of MQTT and HTTP.
func TestInvitationsOverEveryTransport(t *testing.T) {
	users := []string{"a", "member", "plain", "stranger", "blocked", "blocker", "anyone", "friend", "shy", "nobody1"}
	type asks func(op, body string) map[string]any
	play := func(t *testing.T, transport func(s *stage) asks) {
		s := newStage(t, users...)
		for _, u := range users[1:] {
			if u != "stranger" {
				s.friends([2]string{"a", u})
			}
		}
		s.room("r", "a", "member")
		s.does("a", "block.set", `{"user":"blocked"}`)
		s.does("blocker", "block.set", `{"user":"a"}`)
		s.does("shy", "block.set", `{"user":"member"}`)
		for user, mode := range map[string]string{"anyone": "anyone", "friend": "friends", "shy": "anyone", "nobody1": "nobody"} {
			s.does(user, "settings.set", fmt.Sprintf(`{"invitations":%q}`, mode))
		}
		ask := transport(s)
		invite := func(user string) string {
			t.Helper()
			v := ask("room.invite", fmt.Sprintf(`{"room":"r","users":[%q]}`, user))
			if v["code"] != 200.0 {
				return fmt.Sprint(v["code"], " ", v["error"])
			}
			for _, key := range []string{"joined", "pending", "already"} {
				if fmt.Sprint(v[key]) == "["+user+"]" {
					return key
				}
			}
			return fmt.Sprint(v)
		}
		for _, c := range []struct{ user, want, sees string }{
			{"anyone", "joined", ""},              // JOIN
			{"friend", "joined", ""},              // JOIN
			{"plain", "pending", "r"},             // PENDING
			{"shy", "pending", "r"},               // PENDING
			{"blocker", "pending", ""},            // PENDING_SHADOW
			{"nobody1", "pending", ""},            // PENDING_SHADOW
			{"member", "already", ""},             // NOOP
			{"blocked", "403 you_blocked", ""},    // DENY:you_blocked
			{"stranger", "403 not_friend", ""},    // DENY:not_friend
			{"missing", "403 not_friend", "none"}, // the same for nobody
		} {
			if got := invite(c.user); got != c.want {
				t.Errorf("%s: %s, want %s", c.user, got, c.want)
			}
			if c.sees == "none" {
				continue
			}
			sees := ""
			for _, i := range s.does(c.user, "room.invitations", `{}`)["invitations"].([]any) {
				sees = i.(map[string]any)["room"].(string)
			}
			if sees != c.sees {
				t.Errorf("%s sees an invitation into %q, want %q", c.user, sees, c.sees)
			}
		}
		if err := s.broker.Access().Relations().SetRoom(t.Context(), s.find("r").ID, func(r *relations.Room) error { r.Capacity = 4; return nil }); err != nil {
			t.Fatal(err)
		}
		s.stand("a", store.AccountOK)
		if got := invite("plain"); got != "507 full" {
			t.Errorf("DENY:full: %s", got)
		}
		s.stand("a", store.AccountLimited)
		if got := invite("plain"); got != "429 invite_limit" {
			t.Errorf("DENY:invite_limit: %s", got)
		}
		s.stand("a", store.AccountSuspended)
		if got := invite("plain"); got != "403 suspended" {
			t.Errorf("DENY:suspended: %s", got)
		}
	}
	for _, v := range mqttVersions {
		t.Run("MQTT "+v.name, func(t *testing.T) {
			play(t, func(s *stage) asks {
				a := s.device("a", "phone", v.version)
				a.connect(true)
				a.subscribe("reply/+")
				return a.request
			})
		})
	}
	t.Run("HTTP", func(t *testing.T) {
		play(t, func(s *stage) asks {
			h := httptest.NewServer(s.api.Public())
			t.Cleanup(h.Close)
			return func(op, body string) map[string]any {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/v1/"+op, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.SetBasicAuth("a", "pw")
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				raw, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return answerOf(t, raw)
			}
		})
	})
}

func (s *stage) find(room string) store.LogInfo {
	s.t.Helper()
	info, err := s.store.Find(store.RoomKey(room))
	if err != nil {
		s.t.Fatal(err)
	}
	return info
}

// got is everything that a device has received.
func (a *actor) got() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(bytes.Join(a.frames, []byte("\n")))
}

// envelope is the one with this text, as the device received it.
func (a *actor) envelope(text string) map[string]any {
	a.s.t.Helper()
	f := a.await(func(f []byte) bool { return f[0]>>4 == 3 && bytes.Contains(f, []byte(`"b":"`+text+`"`)) })
	return answerOf(a.s.t, f[bytes.IndexByte(f, '{'):])
}

// TestHiddenMembersOverTheWire: SKIP, NONE and DELIVER on the devices of a member: live, in a batch, after an absence, in
// what is sent again, and after the block has ended; the same numbers for everybody.
func TestHiddenMembersOverTheWire(t *testing.T) {
	for _, v := range mqttVersions {
		t.Run(v.name, func(t *testing.T) {
			s := newStage(t, "m", "bad", "good", "out")
			s.room("r", "good", "m", "bad")
			send := func(user, text string) {
				t.Helper()
				s.pass(time.Second)
				s.does(user, "message.send", fmt.Sprintf(`{"room":"r","text":%q}`, text))
			}
			live, batch, away, held := s.device("m", "live", v.version), s.device("m", "batch", v.version), s.device("m", "away", v.version), s.device("m", "held", v.version)
			other, out := s.device("good", "phone", v.version), s.device("out", "phone", v.version)
			held.holds = true
			live.holds = true // or the server forgets, a moment after all is acknowledged, what it sent, and finds out by the rules of then
			for _, d := range []*actor{live, batch, away, held, other, out} {
				d.connect(false)
				if d == batch {
					d.subscribe("room/+/batch", "user/+/json")
				} else {
					d.subscribe("room/+/json", "user/+/json")
				}
			}
			send("good", "one") // 1
			away.await(func(f []byte) bool { return bytes.Contains(f, []byte("one")) })
			away.disconnect()
			s.does("m", "block.set", `{"user":"bad"}`)
			send("bad", "seen") // 2: blocked, not hidden yet
			held.await(func(f []byte) bool { return bytes.Contains(f, []byte("seen")) })
			held.disconnect() // without having acknowledged it
			held.frames = nil
			s.does("m", "settings.set", `{"hide_blocked":"on"}`)
			live.await(func(f []byte) bool { return bytes.Contains(f, []byte("seen")) })
			send("bad", "spam") // 3
			seq := 3
			s.does("good", "message.react", fmt.Sprintf(`{"room":"r","seq":%d,"emoji":"👍"}`, seq)) // 4: on what m does not see
			s.does("bad", "message.edit", `{"room":"r","seq":3,"text":"spam again"}`)              // 5
			send("good", "two")                                                                    // 6
			want := live.envelope("two")
			if fmt.Sprint(want["s"], want["g"]) != "6 [3 5]" {
				t.Errorf("live: %v", want)
			}
			if theirs := other.envelope("two"); fmt.Sprint(theirs["s"], theirs["u"]) != fmt.Sprint(want["s"], want["u"]) || theirs["g"] != nil {
				t.Errorf("m got %v, good got %v", want, theirs)
			}
			away.frames = nil
			away.connect(false)
			if e := away.envelope("two"); fmt.Sprint(e["g"]) != "[2 5]" {
				t.Errorf("after an absence: %v", e)
			}
			held.connect(false)
			held.envelope("two")
			batch.await(func(f []byte) bool { return bytes.Contains(f, []byte("two")) })

			s.pass(time.Second)
			s.does("m", "block.set", `{"user":"bad","on":false}`)
			send("bad", "back") // 7
			for _, d := range []*actor{live, away, held, other} {
				d.envelope("back")
			}
			second := s.device("m", "second", v.version)
			second.connect(true)
			second.subscribe("room/+/json", "user/+/json")
			send("good", "three")
			s.settle(live, batch, away, held, second, other, out)
			for _, d := range []*actor{live, batch, away, held, second} {
				if got := d.got(); strings.Contains(got, "spam") || strings.Count(got, "three") == 0 {
					t.Errorf("%s: %q", d.id, got)
				}
			}
			for _, d := range []*actor{away, held} {
				if strings.Contains(d.got(), "seen") {
					t.Errorf("%s got again what is hidden now", d.id)
				}
			}
			if !strings.Contains(other.got(), "spam again") {
				t.Error("others do not get what m hides")
			}
			if got := out.got(); strings.Contains(got, "room/r") {
				t.Errorf("NONE: %q", got)
			}
			for _, d := range []*actor{live, batch, away, held, second, other, out} {
				d.disconnect()
			}
		})
	}
}

// refused publishes what must be refused and returns how the device is told: the reason code of MQTT 5 and what stands
// with it, or before it the answer on reply/.
func (a *actor) refused(topic, payload string) string {
	a.s.t.Helper()
	cid := fmt.Sprintf("cid-%d", a.packet)
	ack := a.publish(topic+"/"+cid, payload)
	if a.version == 5 {
		if len(ack) < 5 || ack[4] < 0x80 {
			return fmt.Sprintf("taken: %q", ack)
		}
		return fmt.Sprintf("%#x %q", ack[4], ack[5:])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.frames {
		if bytes.Contains(f, []byte("reply/"+cid)) {
			return string(f[bytes.IndexByte(f, '{'):])
		}
	}
	return "taken"
}

// aliased publishes with a topic alias: with the topic, or with "" what the alias stands for.
func (a *actor) aliased(topic, payload string) byte {
	a.s.t.Helper()
	a.packet++
	id := a.packet
	body := append(binary.BigEndian.AppendUint16(mqttString(nil, topic), id), 3, 0x23, 0, 1)
	a.write(mqttFrame(0x32, append(body, payload...)))
	ack := a.await(func(f []byte) bool { return f[0] == 0x40 && binary.BigEndian.Uint16(f[2:]) == id })
	if len(ack) > 4 {
		return ack[4]
	}
	return 0
}

// TestRevokedOnTheNextPacket: a removal, a mute and a role taken away count for the next packet, with publishes in flight,
// topic aliases and sessions that outlive their connection.
func TestRevokedOnTheNextPacket(t *testing.T) {
	for _, v := range mqttVersions[1:] {
		t.Run(v.name, func(t *testing.T) {
			s := newStage(t, "o", "x")
			info := s.room("r", "o", "x")
			x, away := s.device("x", "phone", v.version), s.device("x", "away", v.version)
			for _, d := range []*actor{x, away} {
				d.connect(false)
				d.subscribe("room/+/json", "user/+/json", "reply/+")
			}
			x.publish("room/r/text", "hello")
			away.await(func(f []byte) bool { return bytes.Contains(f, []byte("hello")) })
			away.disconnect()
			away.frames = nil

			// Muted.
			s.does("o", "room.mute", `{"room":"r","user":"x","seconds":60}`)
			if got := x.refused("room/r/text", "muted?"); !strings.Contains(got, "muted") || !strings.Contains(got, "retry_ms") {
				t.Errorf("muted: %s", got)
			}
			s.pass(time.Minute)
			if got := x.publish("room/r/text", "not any more"); v.version == 5 && len(got) > 4 && got[4] >= 0x80 {
				t.Errorf("after the mute: %q", got)
			}

			// A role taken away.
			s.does("o", "room.role", `{"room":"r","user":"x","role":"moderator"}`)
			x.publish("room/r/edit", "pin 1")
			s.does("o", "room.role", `{"room":"r","user":"x","role":"member"}`)
			if got := x.refused("room/r/edit", "unpin 1"); !strings.Contains(got, "role") && !strings.Contains(got, "moderators") {
				t.Errorf("without the role: %s", got)
			}

			// Removed, with publishes in flight.
			if v.version == 5 && x.aliased("room/r/text", "by alias") != 0 {
				t.Error("a topic alias is refused")
			}
			s.does("o", "message.send", `{"room":"r","text":"while away"}`)
			const flight = 200
			written := make(chan struct{})
			first := x.packet + 1
			x.packet += flight
			go func() {
				defer close(written)
				for i := range uint16(flight) {
					body := binary.BigEndian.AppendUint16(mqttString(nil, "room/r/text"), first+i)
					if v.version == 5 {
						body = append(body, 0)
					}
					if _, err := x.conn.Write(mqttFrame(0x32, fmt.Appendf(body, "in flight %d", i))); err != nil {
						return
					}
				}
			}()
			x.await(func(f []byte) bool { return bytes.Contains(f, []byte("in flight 5")) })
			s.does("o", "room.remove", `{"room":"r","users":["x"]}`)
			s.does("o", "message.send", `{"room":"r","text":"among us"}`)
			<-written
			last := first + flight - 1
			x.await(func(f []byte) bool { return f[0] == 0x40 && binary.BigEndian.Uint16(f[2:]) == last })
			if got := x.refused("room/r/text", "am I in?"); !strings.Contains(got, "not_member") && !strings.Contains(got, "not a member") {
				t.Errorf("removed: %s", got)
			}
			if v.version == 5 {
				if code := x.aliased("", "by alias"); code != 0x87 {
					t.Errorf("by alias after the removal: %#x", code)
				}
			}
			away.connect(false)
			s.settle(x, away)
			if got := x.got(); strings.Contains(got, "among us") || !strings.Contains(got, `"op":"removed"`) {
				t.Error("the removed device got what was written after the removal, or was not told of it")
			}
			if got := away.got(); strings.Contains(got, "while away") || strings.Contains(got, "among us") || !strings.Contains(got, `"op":"removed"`) {
				t.Errorf("the device that was away: %q", got)
			}

			// A kick and a message have one order: nothing of x comes after.
			removed, after := false, store.Seq(0)
			for {
				p, err := s.store.Read(store.Query{Log: info.ID, After: after})
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range p.Records {
					removed = removed || r.Change.Kind == store.ChangeRemove
					if removed && r.Sender == s.ids["x"].Account {
						t.Fatalf("#%d of x after its removal", r.Seq)
					}
				}
				if after = p.Next; after == p.Head {
					break
				}
			}
			x.disconnect()
			away.disconnect()
		})
	}
}
