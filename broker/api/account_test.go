package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

func TestProfile(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.as("alice", 200, "profile.set", obj{"display": " Alice 🐂 ", "status": "here"})
	w.as("alice", 200, "profile.set", obj{"language": "ko"})
	want(t, "own", w.as("alice", 200, "profile.get", nil), "map[code:200 display:Alice 🐂 language:ko name:alice status:here]")
	want(t, "of a stranger", w.as("bob", 200, "profile.get", obj{"user": "alice"}), "map[code:200 display:Alice 🐂 name:alice]")
	w.as("alice", 200, "contact.add", obj{"user": "bob"})
	want(t, "of a friend", w.as("bob", 200, "profile.get", obj{"user": "alice"})["status"], "here")
	w.as("alice", 200, "block.set", obj{"user": "bob"})
	want(t, "a block does not show", w.as("bob", 200, "profile.get", obj{"user": "alice"})["status"], "here")
	w.as("alice", 413, "profile.set", obj{"display": strings.Repeat("가", 65)})
	w.as("alice", 200, "profile.set", obj{"display": strings.Repeat("가", 64)})
	w.as("alice", 413, "profile.set", obj{"status": strings.Repeat("x", 201)})
	w.as("alice", 200, "profile.set", obj{"display": ""})
	want(t, "me", w.as("alice", 200, "account.me", nil)["display"], "alice")
}

func TestContacts(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Friends = 3 })
	w.users("alice", "b1", "b2", "b3", "b4")
	for i := 1; i <= 3; i++ {
		want(t, "added", w.as("alice", 200, "contact.add", obj{"user": fmt.Sprint("b", i)})["changed"], true)
	}
	want(t, "again", w.as("alice", 200, "contact.add", obj{"user": "B1"})["changed"], false)
	want(t, "limit", w.as("alice", 507, "contact.add", obj{"user": "b4"})["text"], "the list of friends is full: the limit is 3")
	var names []string
	for after := ""; ; {
		p := w.as("alice", 200, "contact.list", obj{"limit": 2, "after": after})
		for _, u := range p["users"].([]any) {
			names = append(names, u.(obj)["name"].(string))
		}
		if p["next"] == nil {
			break
		}
		after = p["next"].(string)
	}
	want(t, "names", names, "[b1 b2 b3]")
	// One direction: they may write to alice, she is a stranger to them.
	for _, u := range []string{"alice", "b2", "b4"} {
		w.as(u, 200, "settings.set", obj{"strangers": "closed"})
	}
	w.as("b1", 200, "message.send", obj{"user": "alice", "text": "hi"})
	w.as("alice", 403, "message.send", obj{"user": "b2", "text": "hi"})
	want(t, "removed", w.as("alice", 200, "contact.remove", obj{"user": "b1"})["changed"], true)
	w.as("b1", 403, "message.send", obj{"user": "alice", "text": "hi"})
	w.as("alice", 400, "contact.list", obj{"after": "!"})
	want(t, "notices", w.notices("alice"), "[friends b1 friends b2 friends b3 settings friends b1]")
}

func TestBlocks(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	want(t, "blocked", w.as("alice", 200, "block.set", obj{"user": "bob"})["changed"], true)
	want(t, "again", w.as("alice", 200, "block.set", obj{"user": "bob"})["changed"], false)
	want(t, "list", w.as("alice", 200, "block.list", nil)["users"], "[map[display:bob level:messages name:bob]]")
	w.as("alice", 403, "message.send", obj{"user": "bob", "text": "hi"})
	w.as("alice", 200, "room.create", obj{"room": "r"})
	want(t, "own block", w.as("alice", 403, "room.invite", obj{"room": "r", "users": []string{"bob"}})["error"], "you_blocked")
	want(t, "unblocked", w.as("alice", 200, "block.set", obj{"user": "bob", "on": false})["changed"], true)
	want(t, "notices", w.notices("alice"), "[blocked blocked]")

	// An invitation by somebody who is blocked looks like every other one; one to a stranger like one to nobody.
	w.users("carol", "dave")
	w.friends("alice", "carol")
	w.as("bob", 200, "block.set", obj{"user": "alice"})
	invite := func(user string) string {
		r := do(t, w.public.URL, "room.invite", "Bearer "+w.tokens["alice"], obj{"room": "r", "users": []string{user}})
		return strings.ReplaceAll(string(r.raw), user, "them")
	}
	want(t, "blocked", invite("bob"), invite("carol"))
	want(t, "absent", invite("nobody"), invite("dave"))
}

// notices are what a user's devices were told.
func (w *world) notices(user string) (out []string) {
	w.t.Helper()
	for _, r := range w.records(store.NoticeKey(w.account(user).ID)) {
		env := w.api.envelope(w.account(user).ID, 0, r, store.Marks{}, noBase)
		var e struct {
			X struct{ Op, Who, Room, Device string }
		}
		unmarshal(w.t, env, &e)
		out = append(out, strings.Join(strings.Fields(e.X.Op+" "+e.X.Who+" "+e.X.Room+" "+e.X.Device), " "))
	}
	return out
}

func TestNotices(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	w.as("alice", 200, "room.create", obj{"room": "lobby"})
	w.as("alice", 200, "room.invite", obj{"room": "lobby", "users": []string{"bob"}})
	w.op(200, "room.create", obj{"room": "news", "owner": "alice"})
	w.op(200, "room.add", obj{"room": "news", "users": []string{"bob"}})
	u := w.account("bob")
	w.api.DeviceSignedIn(hooks.Identity{Account: u.ID, ClientID: "tablet", New: true})
	if err := w.api.Close(); err != nil { // what waits is written first
		t.Fatal(err)
	}
	want(t, "notices", fmt.Sprintf("%q", w.notices("bob")), `["invited alice lobby" "added news" "device tablet"]`)
}

func TestDevices(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	l := w.connect("alice", "phone")
	made := w.as("alice", 200, "token.create", obj{"client_id": "tablet", "label": "My tablet"})
	secret := made["secret"].(string)
	list := w.as("alice", 200, "device.list", nil)["devices"].([]any)
	byClient := map[string]obj{}
	for _, d := range list {
		byClient[d.(obj)["client_id"].(string)] = d.(obj)
	}
	want(t, "phone", byClient["phone"]["online"], true)
	want(t, "tablet", say(byClient["tablet"]["online"], byClient["tablet"]["label"], byClient["tablet"]["echo"]), "false My tablet true")

	// A device token speaks for its device.
	me := do(t, w.public.URL, "account.me", "Bearer "+secret, nil)
	want(t, "device", me.body["device"], byClient["tablet"]["id"])
	got := do(t, w.public.URL, "device.set", "Bearer "+secret, obj{"echo": false, "label": "T"}).body["device"].(obj)
	want(t, "device", say(got["client_id"], got["label"], got["echo"], got["this"]), "tablet T false true")
	w.as("alice", 400, "device.set", obj{"label": "x"}) // an account token comes from no device
	w.as("alice", 200, "device.set", obj{"device": byClient["phone"]["id"], "label": "Phone"})
	w.as("alice", 404, "device.set", obj{"device": "1", "label": "x"})
	w.as("alice", 413, "device.set", obj{"device": byClient["phone"]["id"], "label": strings.Repeat("x", 65)})

	w.as("alice", 200, "device.remove", obj{"device": byClient["phone"]["id"]})
	<-l.closed
	if !errors.Is(l.why, broker.ErrRemoved) {
		t.Fatalf("the connection ended with %v", l.why)
	}
	u := w.account("alice").ID
	if _, err := w.store.LoadSession(u, store.DeviceOf(u, "phone")); store.CodeOf(err) != store.CodeNotFound {
		t.Fatalf("the session is still there: %v", err)
	}
	w.as("alice", 404, "device.remove", obj{"device": byClient["phone"]["id"]})
	w.as("alice", 200, "device.remove", obj{"device": byClient["tablet"]["id"]})
	want(t, "its token", do(t, w.public.URL, "account.me", "Bearer "+secret, nil).status, 401)
	want(t, "devices", len(w.as("alice", 200, "device.list", nil)["devices"].([]any)), 0)
	want(t, "notices", fmt.Sprintf("%q", w.notices("alice")), `["device_removed Phone" "device_removed T"]`)
}

// TestDeviceRemovesItself: its connection ends; nothing waits for anything.
func TestDeviceRemovesItself(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	l := w.connect("alice", "phone")
	id := store.DeviceOf(w.account("alice").ID, "phone")
	l.session.Publish(broker.Publication{Topic: "api/device.remove/1", Payload: []byte(`{"device":"` + id.String() + `"}`)}, broker.Ack{PacketID: 1, QoS: 1})
	<-l.closed
	if !errors.Is(l.why, broker.ErrRemoved) {
		t.Fatalf("the connection ended with %v", l.why)
	}
	w.stop() // waits for the request
	w.start()
	want(t, "devices", len(w.as("alice", 200, "device.list", nil)["devices"].([]any)), 0)
}

func TestDeviceLimit(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Devices, c.Limits.Tokens = 2, 4 })
	w.users("alice")
	w.as("alice", 200, "token.create", obj{"client_id": "a"})
	w.as("alice", 200, "token.create", obj{"client_id": "b"})
	r := w.as("alice", 507, "token.create", obj{"client_id": "c"})
	want(t, "refusal", say(r["error"], r["text"]), "devices the account has all the devices it may have: the limit is 2")
	w.as("alice", 200, "token.create", obj{"client_id": "a"}) // a further token of a device
	want(t, "tokens", w.as("alice", 507, "token.create", obj{"client_id": "a"})["error"], "tokens")
	for _, bad := range []obj{{}, {"client_id": "a\nb"}, {"client_id": "a", "expires_in": -1}, {"client_id": "a", "expires_in": 1 << 40}} {
		w.as("alice", 400, "token.create", bad)
	}
	w.as("alice", 413, "token.create", obj{"client_id": strings.Repeat("x", 129)})
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	old := w.tokens["alice"]
	next := w.as("alice", 200, "token.rotate", obj{"grace": 60})
	w.tokens["alice"] = next["secret"].(string)
	want(t, "within the grace", do(t, w.public.URL, "account.me", "Bearer "+old, nil).status, 200)
	w.as("alice", 200, "account.me", nil)
	tokens := w.as("alice", 200, "token.list", nil)["tokens"].([]any)
	want(t, "tokens", len(tokens), 2)
	i := slices.IndexFunc(tokens, func(x any) bool { return x.(obj)["this"] == nil })
	ends, err := time.Parse(time.RFC3339, tokens[i].(obj)["expires"].(string))
	if err != nil || time.Until(ends) > 2*time.Minute {
		t.Fatalf("the old token ends %v %v", ends, err)
	}
	for _, bad := range []obj{{"grace": 0}, {"grace": -1}, {"grace": 1 << 40}} {
		w.as("alice", 400, "token.rotate", bad)
	}
	w.as("alice", 404, "token.rotate", obj{"token": "abc"})

	// The repeat of a rotation rotates nothing and tells no secret.
	first := w.as("alice", 200, "token.rotate", nil, "Idempotency-Key", "r")
	if first["secret"] == nil {
		t.Fatal("no secret")
	}
	again := w.as("alice", 200, "token.rotate", nil, "Idempotency-Key", "r")
	want(t, "repeat", say(again["secret"], again["repeated"]), "<nil> true")
	want(t, "tokens", len(w.as("alice", 200, "token.list", nil)["tokens"].([]any)), 3)

	// Removing a token ends what it opened.
	l := w.connect("alice", "phone")
	for _, x := range w.as("alice", 200, "token.list", nil)["tokens"].([]any) {
		if x.(obj)["this"] == true {
			w.as("alice", 200, "token.remove", obj{"token": x.(obj)["id"]})
		}
	}
	<-l.closed
	want(t, "removed", do(t, w.public.URL, "account.me", "Bearer "+w.tokens["alice"], nil).status, 401)
	w.tokens["alice"] = first["secret"].(string)
	w.as("alice", 404, "token.remove", obj{"token": "abc"})
}
