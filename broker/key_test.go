package broker

import (
	"strings"
	"testing"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

func withKey(scopes ...string) option {
	return func(c *Connect, _ *client) { c.Identity.Scopes = scopes }
}

// A key publishes and receives on its channel alone, whatever its account may and whatever its filters say.
func TestKeySession(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	w.room("lobby", "alice", "bob")
	w.room("acme", "alice", "bob")
	bob, phone := w.connect("bob", "b"), w.connect("alice", "phone")
	key := w.connect("alice", "key/channel:acme/bot", withKey("channel:acme"))
	filters := []string{"#", "room/+/text", "room/acme/#", "room/+/typing/+", "user/+/json", "user/+/read", "notice/json", "presence/+"}
	phone.subscribe(filters...)
	results, err := key.s.Subscribe(t.Context(), []SubRequest{{Filter: "room/nothere/json"}, {Filter: "room/lobby/json"}, {Filter: "user/nobody/json"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil || r.Hint != "" {
			t.Errorf("a filter tells a key of the account: %+v", r)
		}
	}
	key.subscribe(filters...)
	for _, topic := range []string{"room/lobby/text", "room/acme/text", "user/alice/text", "room/lobby/typing"} {
		bob.must(topic, "x")
	}
	bob.must("room/lobby/read", "1")
	phone.wait(5, delivery)
	for range 2 {
		key.s.Reply("reply/x", []byte("{}"), nil)
	}
	for _, it := range key.wait(2, delivery) {
		if !strings.HasPrefix(it.Topic, "reply/") {
			t.Errorf("the key gets %s", it.Topic)
		}
	}
	for _, topic := range []string{"room/lobby/text", "room/lobby/typing", "room/lobby/read", "room/lobby/edit", "user/bob/text", "user/alice/text", "channel/other/text",
		"channel/other/ask/text", "thread/other/abcdefghijklmnop/text"} {
		it := key.publish(topic, "1")
		if store.CodeOf(it.Err) != store.CodeForbidden || it.Err.(*store.Error).Reason != "scope" {
			t.Errorf("%s: %v", topic, it.Err)
		}
	}
	if it := key.publish("channel/acme/text", "x"); it.Err != nil && it.Err.Error() == hooks.ErrKey().Error() {
		t.Errorf("its own channel: %v", it.Err)
	}
	if got := key.s.Identity().Scopes; len(got) != 1 || got[0] != "channel:acme" {
		t.Errorf("the session forgets its scopes: %v", got)
	}
	key.leave()
	key = w.connect("alice", "key/channel:acme/bot", withKey("channel:acme")) // what was kept of it is no way around
	bob.must("room/acme/text", "y")
	key.s.Reply("reply/x", []byte("{}"), nil)
	if it := key.wait(1, delivery)[0]; it.Topic != "reply/x" {
		t.Errorf("after it came back, it gets %s", it.Topic)
	}
}

// A program is nobody's presence.
func TestKeyIsNotPresent(t *testing.T) {
	w := newWorld(t, "alice")
	key := w.connect("alice", "key/app:x/bot", withKey("app:x"))
	if online, _, err := w.b.online(w.account("alice")); err != nil || online {
		t.Errorf("alice is online by her key: %v", err)
	}
	key.publish("channel/x/text", "y")
	if at := w.b.Active(w.account("alice"), 0); !at.IsZero() {
		t.Errorf("alice is active by her key: %v", at)
	}
}
