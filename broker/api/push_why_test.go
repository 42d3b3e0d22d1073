package api

import (
	"context"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// askedBridge answers with what a test put in.
type askedBridge struct {
	asked     []store.LogID
	decisions []bridge.Decision
	last      []bridge.Decision
	status    bridge.Status
	paused    map[graph.PushProvider]bool

	mu   sync.Mutex
	told []string
}

func (b *askedBridge) Detached(a store.AccountID, d store.DeviceID) { b.note("detached", a, d) }

func (b *askedBridge) Changed(a store.AccountID, log store.LogID) error {
	b.note("changed", a, log)
	return nil
}

func (b *askedBridge) note(v ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, say(v...))
}

// news is what it was told since the last time.
func (b *askedBridge) news() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.told
	b.told = nil
	return strings.Join(told, ", ")
}

func (b *askedBridge) Why(_ context.Context, a store.AccountID, log store.LogID, seq store.Seq) (out []bridge.Decision, err error) {
	b.asked = append(b.asked, log)
	for _, d := range b.decisions {
		if d.Account == a && d.Log == log && d.From <= seq && seq <= d.Upto {
			out = append(out, d)
		}
	}
	return out, nil
}

func (b *askedBridge) Status() bridge.Status { return b.status }

func (b *askedBridge) Resume(p graph.PushProvider) (paused, known bool) {
	if paused, known = b.paused[p]; known {
		b.paused[p] = false
	}
	return paused, known
}

func (b *askedBridge) Last(a store.AccountID) (out []bridge.Decision) {
	for _, d := range b.last {
		if d.Account == a {
			out = append(out, d)
		}
	}
	return out
}

// Every reason of the bridge has a sentence, and none is of a reason that there is not.
func TestReasonsHaveSentences(t *testing.T) {
	f, err := parser.ParseFile(gotoken.NewFileSet(), "../../bridge/ring.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[bridge.Reason]bool)
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Reason") {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			s, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			found[bridge.Reason(s)] = true
		}
		return true
	})
	if len(found) < 20 {
		t.Fatalf("found %d reasons", len(found))
	}
	for r := range found {
		if s := sentences[r]; len(s) < 15 || !strings.HasSuffix(s, ".") {
			t.Errorf("reason %s: %q is no sentence", r, s)
		}
	}
	for r := range sentences {
		if !found[r] {
			t.Errorf("there is no reason %s", r)
		}
	}
}

func TestPushWhy(t *testing.T) {
	b := &askedBridge{}
	w := newWorld(t, withPushes, func(c *Config) { c.Push.Bridge = b })
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	w.as("alice", 200, "room.create", obj{"room": "lobby"})
	w.op(200, "room.add", obj{"room": "lobby", "users": []string{"bob"}})
	seq := store.Seq(w.as("alice", 200, "message.send", obj{"room": "lobby", "text": "hi"})["seq"].(float64))
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "hi"})
	w.connect("bob", "phone")
	bob := w.account("bob").ID
	info, err := w.store.Find(store.RoomKey("lobby"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	phone := store.DeviceOf(bob, "phone")
	id := push.NewID(phone, info.ID, seq, push.KindMessage)
	b.decisions = []bridge.Decision{
		{Time: now, Account: bob, Device: phone, Log: info.ID, From: seq, Upto: seq, Reason: bridge.ReasonGrace, Until: now.Add(8 * time.Second)},
		{Time: now.Add(8 * time.Second), Account: bob, Device: phone, Log: info.ID, From: seq, Upto: seq, Reason: bridge.ReasonSilence,
			Answer: &push.Answer{Outcome: push.Delivered, Status: 200}, Push: id},
		{Time: now, Account: w.account("alice").ID, Device: phone, Log: info.ID, From: 1, Upto: seq, Reason: bridge.ReasonOwn},
	}
	check := func(out obj) {
		t.Helper()
		list := out["decisions"].([]any)
		if len(list) != 2 {
			t.Fatalf("%v", out)
		}
		first, second := list[0].(obj), list[1].(obj)
		want(t, "first", say(first["device"], first["label"], first["reason"], first["until"], first["answer"], first["push"]),
			say(phone, "phone", "connected", now.Add(8*time.Second).Format(time.RFC3339Nano), nil, nil))
		want(t, "sentence", first["text"], "The device is connected and has some seconds to acknowledge it.")
		want(t, "second", say(second["reason"], second["answer"], second["push"], second["until"]), say("unanswered", obj{"outcome": "delivered", "status": 200}, id, nil))
	}
	check(w.as("bob", 200, "push.why", obj{"room": "lobby", "seq": seq}))
	check(w.op(200, "push.why", obj{"account": "bob", "room": "lobby", "seq": seq}))
	want(t, "audited", w.op(200, "audit.list", nil)["entries"].([]any)[0].(obj)["op"], "push.why")

	want(t, "1:1", w.op(200, "push.why", obj{"account": "bob", "user": "alice", "seq": 1})["decisions"], "[]")
	want(t, "1:1", w.as("bob", 200, "push.why", obj{"user": "alice", "seq": 1})["decisions"], "[]")
	w.as("bob", 200, "settings.set", obj{"preview": "full"}) // a notice
	want(t, "notices", w.as("bob", 200, "push.why", obj{"notices": true, "seq": 1})["decisions"], "[]")
	notices, err := w.store.Find(store.NoticeKey(bob))
	if err != nil || b.asked[len(b.asked)-1] != notices.ID {
		t.Errorf("asked about %v, %v", b.asked, err)
	}

	for _, c := range []struct {
		user, op string // "" is an operator
		body     obj
		code     int
		text     string
	}{
		{"bob", "push.why", obj{"room": "lobby"}, 400, "seq is missing: the message's sequence"},
		{"bob", "push.why", obj{"seq": 1}, 400, "room or user is missing"},
		{"bob", "push.why", obj{"seq": 1, "notices": true, "room": "lobby"}, 400, "notices are no conversation: leave out room and user"},
		{"bob", "push.why", obj{"room": "lobby", "seq": seq + 1}, 404, "there is no such message in this conversation"},
		{"carol", "push.why", obj{"room": "lobby", "seq": 1}, 404, "you have no such room"},
		{"carol", "push.why", obj{"user": "bob", "seq": 1}, 404, "you have no conversation with this user"},
		{"", "push.why", obj{"account": "carol", "room": "lobby", "seq": 1}, 404, "the user was never in this conversation"},
		{"", "push.why", obj{"account": "carol", "user": "bob", "seq": 1}, 404, "there is no such conversation"},
		{"", "push.why", obj{"account": "carol", "notices": true, "seq": 1}, 404, "there is no such conversation"},
		{"", "push.why", obj{"account": "nobody", "room": "lobby", "seq": 1}, 404, "there is no such user"},
		{"", "push.why", obj{"account": "bob", "room": "lobby", "seq": 99}, 404, "there is no such message in this conversation"},
	} {
		asked := len(b.asked)
		var out obj
		if c.user == "" {
			out = w.op(c.code, c.op, c.body)
		} else {
			out = w.as(c.user, c.code, c.op, c.body)
		}
		if out["text"] != c.text || len(b.asked) != asked {
			t.Errorf("%s %v: %v, want %s; asked %d times", c.user, c.body, out["text"], c.text, len(b.asked)-asked)
		}
	}
}

// A user asks about the posts of a channel, and about what it and the channel have written to each other, in which what
// only its sender sees does not exist.
func TestPushWhyOfAChannel(t *testing.T) {
	b := &askedBridge{}
	w := newWorld(t, withPushes, func(c *Config) { c.Push.Bridge = b })
	w.users("brand", "bob")
	brand, bob := w.account("brand").ID, w.account("bob").ID
	logs := map[string]store.LogID{}
	for log, key := range map[string]store.Key{"": store.ChannelKey("daily"), "ads": store.AdsKey("daily"), "thread": store.ThreadKey(bob, "daily")} {
		info, _, err := w.store.Open(t.Context(), key, store.Creation{By: brand, Members: []store.Member{{Account: brand, Role: store.RoleOwner}, {Account: bob, Role: store.RoleMember}}})
		if err != nil {
			t.Fatal(err)
		}
		logs[log] = info.ID
		for _, audience := range []store.Audience{store.AudienceBoth, store.AudienceSender} {
			if _, err := w.store.Append(store.Draft{Log: info.ID, Sender: brand, Text: []byte("x"), Audience: audience}).Result(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for log, id := range logs {
		w.as("bob", 200, "push.why", obj{"channel": "daily", "log": log, "seq": 1})
		w.op(200, "push.why", obj{"account": "bob", "channel": "daily", "log": log, "seq": 1})
		if n := len(b.asked); n < 2 || b.asked[n-1] != id || b.asked[n-2] != id {
			t.Errorf("%q: asked about %v", log, b.asked)
		}
		w.as("bob", 404, "push.why", obj{"channel": "daily", "log": log, "seq": 3})
	}
	w.as("bob", 404, "push.why", obj{"channel": "daily", "log": "thread", "seq": 2})
	w.as("brand", 404, "push.why", obj{"channel": "daily", "log": "thread", "seq": 1}) // has none of its own
	for _, c := range []obj{{"channel": "daily", "log": "x"}, {"channel": "a b"}, {"channel": "daily", "room": "r"}, {"log": "ads", "room": "r"}} {
		c["seq"] = 1
		w.as("bob", 400, "push.why", c)
	}
	w.as("bob", 404, "push.why", obj{"channel": "weekly", "seq": 1})
}

// What a blocked user wrote does not exist for the blocker, so it cannot be asked for either.
func TestPushWhyOfWhatIsWithheld(t *testing.T) {
	b := &askedBridge{}
	w := newWorld(t, withPushes, func(c *Config) { c.Push.Bridge = b })
	w.users("alice", "bob")
	w.friends("alice", "bob")
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "1"})
	w.as("bob", 200, "block.set", obj{"user": "alice"})
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "2"})
	want(t, "blocked", w.as("bob", 404, "push.why", obj{"user": "alice", "seq": 2})["text"], "there is no such message in this conversation")
	w.as("bob", 200, "push.why", obj{"user": "alice", "seq": 1})
	w.as("alice", 200, "push.why", obj{"user": "bob", "seq": 2})
}

func TestPushStatus(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	b := &askedBridge{paused: map[graph.PushProvider]bool{graph.FCM: true}, status: bridge.Status{Behind: 7, Rings: 2, Rows: 3, Lanes: []lane.Status{
		{Provider: graph.APNs, State: lane.Open, Since: now, Limit: 500, Queued: map[string]int{"chat": 0, "clear": 0, "bulk": 0}},
		{Provider: graph.FCM, State: lane.Denied, Why: "SENDER_ID_MISMATCH", Since: now, Probe: now.Add(time.Minute), Queued: map[string]int{"chat": 4}, Oldest: 1500 * time.Millisecond,
			LastError: "denied (status 403)", LastErrorAt: now, Guard: lane.GuardStatus{Kept: 9, Tripped: now}, Routes: []lane.RouteStatus{{State: lane.Denied}}},
	}}}
	w := newWorld(t, withPushes, func(c *Config) { c.Push.Bridge = b })
	out := w.op(200, "push.status", nil)
	lanes := out["providers"].([]any)
	want(t, "bridge", say(out["behind"], out["rings"], out["rows"], len(lanes)), "7 2 3 2")
	apns, fcm := lanes[0].(obj), lanes[1].(obj)
	want(t, "apns", say(apns["provider"], apns["state"], apns["why"], apns["probe"], apns["limit"], apns["routes"]), "apns open <nil> <nil> 500 []")
	want(t, "fcm", say(fcm["state"], fcm["why"], fcm["queued"].(obj)["chat"], fcm["oldest_ms"], fcm["last_error"], fcm["guard"].(obj)["kept"], len(fcm["routes"].([]any))),
		"denied SENDER_ID_MISMATCH 4 1500 denied (status 403) 9 1")
	want(t, "probe", fcm["probe"], now.Add(time.Minute).Format(time.RFC3339))

	want(t, "resumed", w.op(200, "push.resume", obj{"provider": "fcm"})["paused"], true)
	want(t, "again", w.op(200, "push.resume", obj{"provider": "fcm"})["paused"], false)
	want(t, "not set up", w.op(404, "push.resume", obj{"provider": "apns"})["text"], "no such provider is set up here: see push.status")
	want(t, "none", w.op(400, "push.resume", nil)["text"], "provider is missing: apns, fcm or webpush")
}

// A server without a bridge says so to everybody who asks.
func TestNobodyToAskAboutPushes(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "hi"})
	for op, body := range map[string]obj{"push.status": {}, "push.resume": {"provider": "fcm"}, "push.why": {"account": "bob", "user": "alice", "seq": 1}} {
		want(t, op, w.op(403, op, body)["error"], "no_pushes")
	}
	want(t, "user", w.as("bob", 403, "push.why", obj{"user": "alice", "seq": 1})["error"], "no_pushes")
}

// device.list tells what a provider said last, but not of what was registered before.
func TestLastAnswer(t *testing.T) {
	b := &askedBridge{}
	w := newWorld(t, withPushes, func(c *Config) { c.Push.Bridge = b })
	w.users("alice")
	u := w.account("alice").ID
	for _, d := range []string{"phone", "tablet", "laptop"} {
		id, _ := w.deviceOf("alice", d)
		if d != "laptop" {
			w.as("alice", 200, "device.push", obj{"device": id, "provider": "fcm", "token": d})
		}
	}
	answer := &push.Answer{Outcome: push.Suspect, Status: 400, Reason: "INVALID_ARGUMENT"}
	b.last = []bridge.Decision{
		{Time: time.Now().Add(time.Hour), Account: u, Device: store.DeviceOf(u, "phone"), Answer: answer},
		{Time: time.Now().Add(-time.Hour), Account: u, Device: store.DeviceOf(u, "tablet"), Answer: answer},
		{Time: time.Now().Add(time.Hour), Account: u, Device: store.DeviceOf(u, "laptop"), Answer: answer},
	}
	var told []string
	for _, d := range w.as("alice", 200, "device.list", nil)["devices"].([]any) {
		d := d.(obj)
		if p, ok := d["push"].(obj); ok && p["last"] != nil {
			last := p["last"].(obj)
			told = append(told, say(d["client_id"], last["outcome"], last["status"], last["reason"], last["time"] != nil))
		}
	}
	slices.Sort(told)
	want(t, "told", told, "[phone suspect 400 INVALID_ARGUMENT true]")
}

// What decides otherwise whether a device rings is told to the bridge, once it is so.
func TestBridgeIsTold(t *testing.T) {
	b := &askedBridge{}
	w := newWorld(t, withPushes, func(c *Config) { c.Push.Bridge = b })
	w.users("alice", "bob")
	w.friends("alice", "bob")
	w.as("alice", 200, "room.create", obj{"room": "lobby"})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "hi"})
	w.connect("alice", "phone")
	u := w.account("alice").ID
	of := func(key store.Key) string {
		t.Helper()
		info, err := w.store.Find(key)
		if err != nil {
			t.Fatal(err)
		}
		return say("changed", u, info.ID)
	}
	all, lobby, bob := say("changed", u, store.LogID(0)), of(store.RoomKey("lobby")), of(store.PairKey(u, w.account("bob").ID))
	b.news()
	for _, c := range []struct {
		op   string
		body obj
		want string
	}{
		{"mute.set", obj{"room": "lobby"}, lobby},
		{"mute.set", obj{"room": "lobby"}, ""},
		{"mute.set", obj{"user": "bob"}, bob},
		{"preview.set", obj{"room": "lobby", "preview": "hidden"}, lobby},
		{"preview.set", obj{"user": "bob", "preview": "hidden"}, bob},
		{"settings.set", obj{"preview": "full"}, all},
		{"quiet.set", obj{"zone": "Asia/Seoul", "from": "22:00", "to": "07:00"}, all},
		{"contact.set", obj{"user": "bob", "favourite": true}, all},
		{"block.set", obj{"user": "bob"}, all},
		{"block.set", obj{"user": "bob", "on": false}, all},
		{"profile.set", obj{"display": "Alice"}, ""},
		{"settings.get", obj{}, ""},
	} {
		w.as("alice", 200, c.op, c.body)
		want(t, say(c.op, c.body), b.news(), c.want)
	}
	w.mqtt("alice", "phone", "device.set", "", `{"background":true}`)
	want(t, "background", b.news(), say("detached", u, store.DeviceOf(u, "phone")))
	w.mqtt("alice", "phone", "device.set", "", `{"background":false}`)
	want(t, "in front", b.news(), all)
	w.mqtt("alice", "phone", "device.set", "", `{"notifies":true}`)
	want(t, "notifies", b.news(), all)
	w.mqtt("alice", "phone", "device.set", "", `{"label":"my phone"}`)
	want(t, "a label", b.news(), "")
	register := `{"provider":"fcm","token":"abc"}`
	w.mqtt("alice", "phone", "device.push", "", register)
	want(t, "registered", b.news(), all)
	w.mqtt("alice", "phone", "device.push", "", register)
	want(t, "registered again", b.news(), "")
	w.mqtt("alice", "phone", "device.push", "", `{"remove":true}`)
	want(t, "not registered any more", b.news(), all)
	for _, what := range []string{"suspend", "restore"} {
		w.op(200, "account."+what, obj{"account": "alice", "reason": "spam"})
		want(t, what, b.news(), all)
	}
	w.as("alice", 200, "device.remove", obj{"device": store.DeviceOf(u, "phone").String()})
	want(t, "device removed", b.news(), all)
}
