package wire

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Every outcome of "may A write to B?", over every version of the protocol, with real sockets: what the sender's
// connection receives and what the receiver's does.

// join makes a user who knows nobody.
func (w *world) join(name string, state store.AccountState) store.AccountID {
	w.Helper()
	a, err := w.st.CreateAccount(w.Context(), store.Account{Name: name, State: state, Created: 1})
	if err != nil {
		w.Fatal(err)
	}
	if err := w.st.PutToken(w.Context(), store.Token{Account: a.ID, Hash: hooks.Secret("pw-" + name).Hash()}); err != nil {
		w.Fatal(err)
	}
	w.users[name] = a
	return a.ID
}

// wired is a connection that reads packet by packet.
type wired struct {
	net.Conn
	t       testing.TB
	version byte
	user    string
}

// hello connects a user's device in a version and subscribes it to every conversation of two in the json view.
func (w *world) hello(version byte, user, device string) *wired {
	w.Helper()
	c := &wired{Conn: w.dial(overTCP), t: w.TB, version: version, user: user}
	head := map[byte]string{v31: "{MQIsdp} 03", v311: "{MQTT} 04", v5: "{MQTT} 05"}[version]
	say(w.TB, c, fmt.Sprintf(`10 [ %s c2 003c %s {%s} {%s} {pw-%s} ]`, head, c.props(), device, user, user))
	readConnack(w.TB, c)
	say(w.TB, c, fmt.Sprintf(`82 [ 7777 %s {user/+/json} 01 ]`, c.props()))
	for kind := byte(0); kind != 0x90; {
		kind, _ = c.packet()
	}
	return c
}

// props are no properties, which MQTT 5 spells.
func (c *wired) props() string {
	if c.version == v5 {
		return "[ ]"
	}
	return ""
}

// packet reads one packet; a delivery is acknowledged.
func (c *wired) packet() (kind byte, raw string) {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	var b []byte
	read := func(n int) []byte {
		at := len(b)
		b = append(b, make([]byte, n)...)
		if _, err := io.ReadFull(c.Conn, b[at:]); err != nil {
			c.t.Fatal(err)
		}
		return b[at:]
	}
	read(1)
	n := 0
	for shift := 0; ; shift += 7 {
		d := read(1)[0]
		n |= int(d&0x7f) << shift
		if d < 0x80 {
			break
		}
	}
	body := read(n)
	if kind = b[0] & 0xf0; kind == 0x30 && b[0]>>1&3 == 1 {
		topic := 2 + int(body[0])<<8 + int(body[1])
		c.Write([]byte{0x40, 2, body[topic], body[topic+1]})
	}
	return kind, string(b)
}

// until reads packets until each of the parts was in one of them, and returns them sorted: an acknowledgement and a
// delivery may change places.
func (c *wired) until(parts ...string) string {
	c.t.Helper()
	var got []string
	for len(parts) > 0 {
		_, raw := c.packet()
		got = append(got, raw)
		parts = slices.DeleteFunc(parts, func(p string) bool { return strings.Contains(raw, p) })
	}
	slices.Sort(got)
	return strings.Join(got, "|")
}

// publish sends a payload with a packet identifier of 0x42.
func (c *wired) publish(topic, payload string) {
	c.t.Helper()
	say(c.t, c, fmt.Sprintf(`32 [ {%s} 0042 %s %s ]`, topic, c.props(), quoted(payload)))
}

// acked is in every acknowledgement of a publish.
const acked = "\x00\x42"

// before is everything that was received before a note to oneself, which comes after what was written until now.
func (c *wired) before() string {
	c.t.Helper()
	c.publish("user/"+c.user+"/text", "the end")
	got := strings.Split(c.until(acked, "the end"), "|")
	return strings.Join(slices.DeleteFunc(got, func(p string) bool {
		return strings.Contains(p, "the end") || p[0] == 0x40 && strings.Contains(p, acked)
	}), "|")
}

// quoted is a payload as the scripts write it.
func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func TestOutcomesOverTheWire(t *testing.T) {
	w := newRealWorld(t)
	g := w.b.Access().Relations()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, version := range []byte{v31, v311, v5} {
		for _, c := range []struct {
			name  string
			state store.AccountState
			given func(a, b store.AccountID)
			word  string // of the refusal, "" if it is taken
			code  byte   // in MQTT 5
			seen  bool   // by the receiver
			warn  bool
			box   bool // it waits in the request box
		}{
			{name: "DELIVER", seen: true, given: func(a, b store.AccountID) { _, err := g.SetFriend(t.Context(), b, a, true, 0); must(err) }},
			{name: "DELIVER_WARN", seen: true, warn: true, given: func(a, b store.AccountID) {}},
			{name: "REQUEST", box: true, given: func(a, b store.AccountID) {
				must(g.SetSettings(t.Context(), b, func(s *graph.Settings) error { s.Strangers = graph.StrangersRequest; return nil }))
			}},
			{name: "SHADOW", given: func(a, b store.AccountID) {
				_, err := g.SetFriend(t.Context(), b, a, true, 0)
				must(err)
				_, err = g.SetBlock(t.Context(), b, a, graph.BlockMessages, false, 0)
				must(err)
			}},
			{name: "DENY:unreachable", word: store.ReasonUnreachable, code: 0x87, given: func(a, b store.AccountID) {
				must(g.SetSettings(t.Context(), b, func(s *graph.Settings) error { s.Strangers = graph.StrangersClosed; return nil }))
			}},
			{name: "DENY:you_blocked", word: store.ReasonYouBlocked, code: 0x87, given: func(a, b store.AccountID) {
				_, err := g.SetBlock(t.Context(), a, b, graph.BlockMessages, false, 0)
				must(err)
			}},
			{name: "DENY:suspended", word: store.ReasonSuspended, code: 0x87, given: func(a, b store.AccountID) {
				acct, err := w.st.Account(a)
				must(err)
				acct.State = store.AccountSuspended
				must(w.st.SetAccount(t.Context(), acct))
			}},
			{name: "DENY:stranger_limit", word: store.ReasonStrangerLimit, code: 0x97, state: store.AccountLimited, given: func(a, b store.AccountID) {}},
		} {
			t.Run(fmt.Sprintf("%d/%s", version, c.name), func(t *testing.T) {
				n++
				from, to := "a"+strconv.Itoa(n), "b"+strconv.Itoa(n)
				a, b := w.join(from, c.state), w.join(to, store.AccountOK)
				sender, receiver := w.hello(version, from, "phone"), w.hello(version, to, "phone")
				c.given(a, b)
				sender.publish("user/"+to+"/text/c1", "hello")
				parts := []string{acked}
				if c.word == "" {
					parts = append(parts, `"b":"hello"`) // the own copy
				}
				told, seen := sender.until(parts...), receiver.before()
				if c.seen != strings.Contains(seen, `"b":"hello"`) || c.warn != strings.Contains(seen, `"w":true`) || !c.seen && seen != "" {
					t.Errorf("the receiver got %q", seen)
				}
				if own := strings.Contains(told, `"b":"hello"`); own != (c.word == "") || strings.Contains(told, `"w":`) {
					t.Errorf("own copy %v: %q", own, told)
				}
				if version != v5 {
					if refused := strings.Contains(told, `"error":"`+c.word+`"`); refused != (c.word != "") || refused && !strings.Contains(told, "reply/c1") {
						t.Errorf("the sender got %q", told)
					}
				} else {
					ack := regexp.MustCompile(`(?s)\x40.\x00\x42(.)`).FindStringSubmatch(told)
					if ack == nil || ack[1] != string([]byte{c.code}) || !strings.Contains(told, c.word) || c.word == "" && !strings.Contains(told, "seq") {
						t.Errorf("the sender got %q", told)
					}
				}
				retry := strings.Contains(told, "retry_ms") && !strings.Contains(told, `"retry_ms":0`)
				if retry != (c.word == store.ReasonStrangerLimit) {
					t.Errorf("retry_ms told: %v: %q", retry, told)
				}
				box, err := w.st.RequestsTo(b, 0, 0)
				if err != nil || (len(box) == 1) != c.box {
					t.Errorf("request box: %v, %v", box, err)
				}
			})
		}
	}
}

var times = regexp.MustCompile(`"t":\d+`)

// The sender's connection receives the same bytes with and without a block, whatever it does: messages, answers to them,
// edits, reactions, typing, reads. Only the server's times differ.
func TestBlockedSenderReceivesTheSameBytes(t *testing.T) {
	w := newRealWorld(t)
	g := w.b.Access().Relations()
	for _, mode := range []graph.Strangers{"friend", graph.StrangersOpen, graph.StrangersWarn, graph.StrangersRequest} {
		for _, version := range []byte{v31, v311, v5} {
			t.Run(fmt.Sprintf("%s/%d", mode, version), func(t *testing.T) {
				trace := func(run string, blocked bool) string {
					// Names of one length, so that packets have one length.
					from, to := fmt.Sprintf("a-%.2s-%d-%s", mode, version, run), fmt.Sprintf("b-%.2s-%d-%s", mode, version, run)
					a, b := w.join(from, store.AccountOK), w.join(to, store.AccountOK)
					if mode == "friend" {
						if _, err := g.SetFriend(t.Context(), b, a, true, 0); err != nil {
							t.Fatal(err)
						}
					} else if err := g.SetSettings(t.Context(), b, func(s *graph.Settings) error { s.Strangers = mode; return nil }); err != nil {
						t.Fatal(err)
					}
					if blocked {
						if _, err := g.SetBlock(t.Context(), b, a, graph.BlockProfile, false, 0); err != nil {
							t.Fatal(err)
						}
					}
					c, tablet := w.hello(version, from, "phone"), w.hello(version, from, "tablet")
					receiver := w.hello(version, to, "phone")
					var out []string
					step := func(topic, payload, seen string) {
						c.publish("user/"+to+"/"+topic, payload)
						if seen == "" {
							out = append(out, c.until(acked))
							return
						}
						out = append(out, c.until(acked, seen), tablet.until(seen))
					}
					for i := range 5 {
						step(fmt.Sprint("json/m", i), fmt.Sprintf(`{"b":"m%d","m":["%s"]}`, i, to), fmt.Sprintf(`"b":"m%d"`, i))
					}
					step("json/q", `{"b":"quote","r":2}`, `"b":"quote"`)
					step("edit/e", `{"op":"edit","s":1,"b":"new"}`, `"op":"edit"`)
					step("edit/r", `{"op":"react","s":2,"b":"👍"}`, `"op":"react"`)
					step("edit/d", `{"op":"recall","s":3}`, `"op":"recall"`)
					step("edit/x", `{"op":"recall","s":99}`, "")
					step("read", "4", "")
					step("typing", "", "")
					if blocked {
						if seen := receiver.before(); seen != "" {
							t.Errorf("the receiver got %q", seen)
						}
						if refs, err := w.st.LogsOf(b, 0, 0); err != nil || len(refs) != 1 { // the notes
							t.Errorf("the receiver has conversations: %v, %v", refs, err)
						}
					}
					return times.ReplaceAllString(strings.NewReplacer(from, "A", to, "B").Replace(strings.Join(out, "\n")), `"t":0`)
				}
				free, blocked := trace("x", false), trace("y", true)
				x, y := strings.Split(free, "\n"), strings.Split(blocked, "\n")
				for i := range max(len(x), len(y)) {
					if i >= len(x) || i >= len(y) || x[i] != y[i] {
						t.Fatalf("step %d: without a block %q, with one %q", i, x[i:min(i+1, len(x))], y[i:min(i+1, len(y))])
					}
				}
				if !strings.Contains(free, `"b":"m4"`) || !strings.Contains(free, `"b":"quote"`) {
					t.Errorf("the trace shows nothing: %q", free)
				}
			})
		}
	}
}
