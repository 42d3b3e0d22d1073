package api

import (
	"net/netip"
	"testing"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/store"
)

// withWebhooks gives a world webhooks that deliver nothing yet.
func (w *world) withWebhooks() {
	w.t.Helper()
	hooks, err := webhook.New(w.t.Context(), webhook.Config{Store: w.store, Now: w.now, Pseudonym: w.broker.Access().Pseudonym, Opened: w.api.OpenedByDay, Tell: w.api.TellWebhook,
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.api.cfg.Webhooks = hooks
	w.t.Cleanup(func() {
		if err := hooks.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

// TestWebhooks: owners and editors, and keys of the channel or app, and nobody else.
func TestWebhooks(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "editor", "publisher", "carol")
	const url = "https://127.0.0.1:8443/hook"
	w.as("alice", 404, "webhook.set", obj{"channel": "acme", "url": url}) // this server has none
	w.withWebhooks()
	id := w.brand("acme", "alice")
	w.brand("other", "carol")
	for name, role := range map[string]store.Role{"editor": store.RoleModerator, "publisher": store.RoleMember} {
		p := w.store.Append(store.Draft{Log: id, Kind: store.KindSystem, Change: store.Change{Kind: store.ChangeJoin, Account: w.account(name).ID, Role: role, From: 1}})
		<-p.Done()
		if _, err := p.Result(); err != nil {
			t.Fatal(err)
		}
	}
	set := w.as("alice", 200, "webhook.set", obj{"channel": "ACME", "url": url, "events": []string{"thread.message"}}, "X-Request-Id", "set1")
	hook := set["webhook"].(obj)
	name := hook["webhook"].(string)
	if len(set["secret"].(string)) < 32 || hook["state"] != "ok" || hook["url"] != url || hook["waiting"] != 0.0 {
		t.Errorf("got %v", set)
	}
	one := obj{"channel": "acme", "webhook": name}
	if got := w.as("editor", 200, "webhook.get", one); got["secret"] != nil || got["webhook"].(obj)["webhook"] != name {
		t.Errorf("got %v", got)
	}
	for _, op := range []string{"webhook.get", "webhook.list", "webhook.set", "webhook.rotate", "webhook.test", "webhook.remove"} {
		w.as("publisher", 403, op, one)
		w.as("carol", 404, op, one)
		w.as("carol", 404, op, obj{"channel": "nosuch", "webhook": name})
		w.as("carol", 404, op, obj{"app": "nosuch", "webhook": name})
		w.as("alice", 400, op, obj{"webhook": name})
		w.as("alice", 400, op, obj{"channel": "acme", "app": "game", "webhook": name})
		if op != "webhook.list" {
			w.as("carol", 404, op, obj{"channel": "other", "webhook": name}) // another channel's, of one's own
		}
	}
	for _, bad := range []obj{{"channel": "acme"}, {"channel": "acme", "url": "http://example.com/"}, {"channel": "acme", "url": "https://10.0.0.1/"}, {"channel": "acme", "url": url, "events": []string{"channel.follow"}}} {
		w.as("alice", 400, "webhook.set", bad)
	}

	w.key("alice", "key", "channel:acme")
	w.key("alice", "foreign", "channel:other", "app:acme")
	if got := w.as("key", 200, "webhook.list", obj{"channel": "acme"}); len(got["webhooks"].([]any)) != 1 {
		t.Errorf("got %v", got)
	}
	w.as("foreign", 403, "webhook.list", obj{"channel": "acme"})
	w.as("key", 403, "webhook.list", obj{"channel": "other"})
	w.as("key", 400, "webhook.list", obj{"channel": "acme", "app": "game"})

	if got := w.as("editor", 200, "webhook.rotate", one); got["secret"] == set["secret"] || got["webhook"].(obj)["old_secret_until"] == nil {
		t.Errorf("got %v", got)
	}
	if got := w.as("alice", 200, "webhook.test", one); got["event"] != w.as("alice", 200, "webhook.test", one)["event"] {
		t.Error("two pings wait")
	}
	if got := w.as("alice", 200, "webhook.get", one)["webhook"].(obj); got["waiting"] != 1.0 || got["oldest"] == nil {
		t.Errorf("got %v", got)
	}
	w.as("alice", 200, "webhook.set", obj{"channel": "acme", "url": url + "2"})
	w.as("alice", 200, "webhook.set", obj{"channel": "acme", "url": url + "3"})
	w.as("alice", 507, "webhook.set", obj{"channel": "acme", "url": url + "4"})
	w.as("alice", 200, "webhook.remove", one)
	w.as("alice", 404, "webhook.get", one)

	w.as("carol", 200, "app.register", obj{"app": "game", "name": "Game", "domains": []string{"example.com"}})
	w.as("carol", 200, "webhook.set", obj{"app": "game", "url": url})
	w.as("carol", 400, "webhook.set", obj{"app": "game", "url": url, "events": []string{"thread.message"}})
	w.as("alice", 404, "webhook.list", obj{"app": "game"})
}

// TestTellWebhook: who is told that a webhook was disabled.
func TestTellWebhook(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "carol")
	w.brand("acme", "alice")
	w.as("carol", 200, "app.register", obj{"app": "game", "name": "Game", "domains": []string{"example.com"}})
	for o, user := range map[webhook.Owner]string{{Channel: "acme"}: "alice", {App: "game"}: "carol"} {
		if err := w.api.TellWebhook(t.Context(), o, webhook.Hook{}); err != nil {
			t.Fatal(err)
		}
		if got := w.records(store.NoticeKey(w.account(user).ID)); len(got) != 1 {
			t.Errorf("%s got %d notices", user, len(got))
		}
	}
	if err := w.api.TellWebhook(t.Context(), webhook.Owner{App: "nosuch"}, webhook.Hook{}); err != nil {
		t.Error(err)
	}
}
