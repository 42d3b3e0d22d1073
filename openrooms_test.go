package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listener is a client of any version of MQTT that keeps every byte it receives.
type listener struct {
	t      testing.TB
	nc     net.Conn
	v5     bool
	id     uint16
	heard  bytes.Buffer // bodies of all packets
	topics map[string]int
}

func listen(t testing.TB, p *process, version byte, user, token, client string) *listener {
	t.Helper()
	nc, err := net.Dial("tcp", p.addrs["mqtt"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	l := &listener{t: t, nc: nc, v5: version == 5, topics: make(map[string]int)}
	protocol, props := "MQTT", []byte(nil)
	if version == 3 {
		protocol = "MQIsdp"
	}
	if l.v5 {
		props = []byte{0}
	}
	send(t, nc, 0x10, str(protocol), []byte{version, 0xc2, 0, 0}, props, str(client), str(user), str(token))
	if first, body := receive(t, nc); first != 0x20 || body[1] != 0 {
		t.Fatalf("CONNACK % x % x", first, body)
	}
	return l
}

func (l *listener) props() []byte {
	if l.v5 {
		return []byte{0}
	}
	return nil
}

func (l *listener) subscribe(filters ...string) {
	l.t.Helper()
	l.id++
	body := append(binary.BigEndian.AppendUint16(nil, l.id), l.props()...)
	for _, f := range filters {
		body = append(append(body, str(f)...), 0)
	}
	send(l.t, l.nc, 0x82, body)
	l.until(func(first byte, body []byte) bool { return first == 0x90 })
}

// until reads until a packet is the one.
func (l *listener) until(is func(first byte, body []byte) bool) (body []byte) {
	l.t.Helper()
	for {
		first, body := receive(l.t, l.nc)
		l.heard.Write(body)
		l.heard.WriteByte('\n')
		if first&0xf0 == 0x30 {
			l.topics[string(body[2:2+binary.BigEndian.Uint16(body)])]++
		}
		if is(first, body) {
			return body
		}
	}
}

func (l *listener) said(text string) func(byte, []byte) bool {
	return func(_ byte, body []byte) bool { return bytes.Contains(body, []byte(text)) }
}

// publish sends at QoS 1 and returns the word of the refusal, "" for none, with when to try again.
func (l *listener) publish(topic, payload string) (word string, body []byte) {
	l.t.Helper()
	l.id++
	id := l.id
	send(l.t, l.nc, 0x32, str(topic), binary.BigEndian.AppendUint16(nil, id), l.props(), []byte(payload))
	var told []byte
	body = l.until(func(first byte, body []byte) bool {
		if first&0xf0 == 0x30 && bytes.Contains(body, fmt.Appendf(nil, "reply/-%d{", id)) {
			told = body
		}
		return first == 0x40 && binary.BigEndian.Uint16(body) == id
	})
	if told != nil {
		body = told
	}
	for _, w := range []string{"not_member", "muted", "slow", "locked", "suspended"} {
		if bytes.Contains(body, []byte(w)) {
			return w, body
		}
	}
	if len(body) > 2 && body[2] >= 0x80 {
		l.t.Fatalf("refused with % x %q", body, body)
	}
	return "", body
}

// ask calls an operation over MQTT.
func (l *listener) ask(op string, in any) map[string]any {
	l.t.Helper()
	l.id++
	rid := fmt.Sprint("r", l.id)
	payload, err := json.Marshal(in)
	if err != nil {
		l.t.Fatal(err)
	}
	send(l.t, l.nc, 0x30, str("api/"+op+"/"+rid), l.props(), payload)
	body := l.until(func(first byte, body []byte) bool {
		return first&0xf0 == 0x30 && bytes.HasPrefix(body[2:], []byte("reply/"+rid))
	})
	var out map[string]any
	if err := json.Unmarshal(body[bytes.IndexByte(body, '{'):], &out); err != nil {
		l.t.Fatalf("%s: %v in %q", op, err, body)
	}
	return out
}

// request calls an operation over HTTP.
func request(t testing.TB, p *process, token, op string, in any) map[string]any {
	t.Helper()
	payload, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.addrs["http"]+"/v1/"+op, bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	var out map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		t.Fatalf("%s: %v %s", op, err, raw)
	}
	return out
}

type fields = map[string]any

// Every distinct outcome of table T6 over every version of MQTT, and every byte that another member receives meanwhile in
// every view: none of them tells whose account it is.
func TestOpenRooms(t *testing.T) {
	dir := dataDir(t)
	tokens := map[string]string{"alice": addUser(t, dir, "alice"), "bob": addUser(t, dir, "bob")}
	for _, v := range []byte{3, 4, 5} {
		tokens[fmt.Sprint("zz-victim-", v)] = addUser(t, dir, fmt.Sprint("zz-victim-", v))
	}
	p := startServer(t, dir, "-limits", "off")
	for _, version := range []byte{3, 4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			user := fmt.Sprint("zz-victim-", version)
			alice := func(op string, in fields) fields {
				t.Helper()
				out := request(t, p, tokens["alice"], op, in)
				if out["code"] != 200.0 {
					t.Fatalf("%s %v: %v", op, in, out)
				}
				return out
			}
			room := func(kind string) string { return fmt.Sprint(kind, version) }
			for _, kind := range []string{"public", "code", "approve"} {
				in := fields{"room": room(kind), "title": "바다 " + kind, "nickname": "Captain", "join": kind}
				if kind == "code" {
					in["code"] = "sesame"
				}
				alice("open.create", in)
			}
			request(t, p, tokens[user], "profile.set", fields{"display": "Realname Victim", "status": "Realstatus"})
			sea := room("public")
			if out := request(t, p, tokens["bob"], "open.join", fields{"room": sea, "nickname": "Otter"}); out["joined"] != true {
				t.Fatal(out)
			}
			views := []string{"text", "line", "json", "cbor", "batch"}
			var watchers []*listener
			for _, view := range views {
				w := listen(t, p, version, "bob", tokens["bob"], "bob-"+view)
				w.subscribe("room/+/"+view, "room/+/typing/+", "room/+/read", "room/+/edit", "presence/+", "notice/json", "user/+/"+view)
				watchers = append(watchers, w)
			}

			me := listen(t, p, version, user, tokens[user], "phone")
			join := func(room string, want string, more fields) fields {
				t.Helper()
				in := fields{"room": room, "nickname": "Whale"}
				for k, v := range more {
					in[k] = v
				}
				out := me.ask("open.join", in)
				got := fmt.Sprint(out["error"])
				switch {
				case out["joined"] == true:
					got = "JOIN"
				case out["pending"] == true:
					got = "PENDING"
				}
				if got != want {
					t.Errorf("join %s: %v, want %s", room, out, want)
				}
				return out
			}
			writes := func(want string) {
				t.Helper()
				got, body := me.publish("room/"+sea+"/text", "hello")
				if got != want {
					t.Errorf("write: %q %q, want %q", got, body, want)
				}
				if want == "slow" || want == "muted" {
					if bytes.Contains(body, []byte(`"retry_ms":0`)) || !bytes.Contains(body, []byte("retry_ms")) {
						t.Errorf("%s without retry_ms: %q", want, body)
					}
				}
			}
			writes("not_member")
			join("nothere", "unreachable", nil)
			join(sea, "nick", fields{"nickname": "0tter"})
			alice("open.lock", fields{"room": sea})
			join(sea, "locked", nil)
			alice("open.lock", fields{"room": sea, "on": false})
			alice("open.set", fields{"room": sea, "capacity": 2})
			join(sea, "full", nil)
			alice("open.set", fields{"room": sea, "capacity": 0})
			join(room("code"), "code", fields{"code": "wrong"})
			join(room("code"), "JOIN", fields{"code": "sesame"})
			join(room("approve"), "PENDING", nil)
			id := join(sea, "JOIN", nil)["me"].(fields)["id"].(string)
			join(sea, "JOIN", nil) // NOOP: it is one already
			writes("")
			me.publish("room/"+sea+"/typing", "")
			me.publish("room/"+sea+"/read", "3")
			me.publish("room/"+sea+"/json", `{"b":"mention","m":["`+id+`"]}`)
			alice("open.mute", fields{"room": sea, "user": id, "seconds": 100})
			writes("muted")
			alice("open.mute", fields{"room": sea, "user": id, "on": false})
			alice("open.lock", fields{"room": sea})
			writes("locked")
			alice("open.lock", fields{"room": sea, "on": false})
			alice("open.slow", fields{"room": sea, "seconds": 100})
			writes("")
			writes("slow")
			alice("open.slow", fields{"room": sea, "seconds": 0})
			writes("")
			if out := me.ask("open.nick", fields{"room": sea, "nickname": "Orca"}); out["id"] != id {
				t.Errorf("%v", out)
			}
			writes("")
			alice("open.ban", fields{"room": sea, "user": id})
			writes("not_member")
			missing := join("nothere", "unreachable", nil)
			if banned := join(sea, "unreachable", nil); fmt.Sprint(banned) != fmt.Sprint(missing) {
				t.Errorf("a ban is told apart: %v, %v", banned, missing)
			}
			hwangso(t, "user", "suspend", user, "-reason", "spam", "-data", dir)
			if out := request(t, p, tokens[user], "open.join", fields{"room": sea, "nickname": "Whale"}); out["code"] == 200.0 {
				t.Errorf("suspended: %v", out)
			}

			alice("message.send", fields{"room": sea, "text": "that is all"})
			for i, w := range watchers {
				w.until(w.said("that is all"))
				if typed := w.topics["room/"+sea+"/typing/"+id]; typed == 0 {
					t.Errorf("%s: no typing under the member's id: %v", views[i], w.topics)
				}
				for _, secret := range []string{user, "victim", "Realname", "Realstatus"} {
					if bytes.Contains(w.heard.Bytes(), []byte(secret)) {
						t.Errorf("%s: %q in %q", views[i], secret, w.heard.String())
					}
				}
				told := map[string]string{"line": "Whale: hello", "json": `"f":"` + id + `"`, "cbor": id, "batch": id, "text": "Whale"}[views[i]]
				if !strings.Contains(w.heard.String(), told) {
					t.Errorf("%s: no %q in %q", views[i], told, w.heard.String())
				}
			}
		})
	}
}
