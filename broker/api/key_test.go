package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// key makes a key of a user.
func (w *world) key(user, name string, scopes ...string) store.Token {
	w.t.Helper()
	u := w.account(user).ID
	secret := hooks.NewToken(u)
	k := store.Token{Account: u, Hash: secret.Hash(), Label: name, Scopes: scopes}
	if err := w.store.PutToken(w.t.Context(), k); err != nil {
		w.t.Fatal(err)
	}
	w.tokens[name] = string(secret)
	return k
}

// A key opens no operation but those that name its scope, and these only for what the scope names: over HTTP and MQTT,
// and of every operation there is.
func TestKeysOpenNothingElse(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	w.key("alice", "key", "channel:acme", "redeem:acme", "app:acme")
	w.key("alice", "other", "channel:other", "redeem:other", "app:other")
	mqtt := func(o *operation, body string) obj {
		u := w.account("alice")
		id := hooks.Identity{Account: u.ID, Name: u.Name, Device: 7, ClientID: "key", Scopes: []string{"channel:acme", "redeem:acme", "app:acme"}}
		var out obj
		if err := json.Unmarshal(w.api.Request(t.Context(), id, o.name, "", []byte(body)), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	refused := func(name, user, body string) {
		t.Helper()
		r := do(t, w.public.URL, name, "Bearer "+w.tokens[user], body)
		if r.status != 403 || r.body["error"] != "scope" {
			t.Errorf("%s %s with the key %s: %d %s", name, body, user, r.status, r.raw)
		}
	}
	table := userOperations()
	for i := range table {
		o := &table[i]
		if o.open { // asks for nobody's credentials
			continue
		}
		if len(o.keys) == 0 {
			body := `{"channel":"acme","app":"acme","campaign":"acme","room":"x","user":"alice"}`
			refused(o.name, "key", body)
			if out := mqtt(o, body); out["error"] != "scope" {
				t.Errorf("%s over MQTT: %v", o.name, out)
			}
			continue
		}
		for _, k := range o.keys {
			named := func(v string) string { return `{"` + k.field + `":` + v + `}` }
			for _, body := range []string{``, `{}`, `[]`, `x`, named(`"other"`), named(`7`), named(`null`), named(`""`), named(`"acme "`), named(`["acme"]`),
				`{"` + k.field + `":"acme","` + strings.ToUpper(k.field) + `":"other"}`} {
				refused(o.name, "key", body)
				if out := mqtt(o, body); out["error"] != "scope" {
					t.Errorf("%s %s over MQTT: %v", o.name, body, out)
				}
			}
			refused(o.name, "other", named(`"acme"`))
			c := &caller{id: hooks.Identity{Account: w.account("alice").ID, Scopes: []string{hooks.KeyScope(k.kind, "acme")}}}
			if err := w.api.admit(o, c, []byte(named(`"ACME"`))); err != nil {
				t.Errorf("%s is not opened by its own key: %v", o.name, err)
			}
		}
	}
	// Nor what is for operators.
	ops := operatorOperations()
	for i := range ops {
		if r := do(t, w.admin.URL, ops[i].name, "Bearer "+w.tokens["key"], `{}`); r.status < 400 {
			t.Errorf("%s: %d", ops[i].name, r.status)
		}
	}
}

// A key is listed as one, stays one when it is replaced, and its connections end with it, others of the account do not.
func TestKeyEnds(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	k := w.key("alice", "bot", "channel:acme")
	id := tokenID(k.Hash)
	list := w.as("alice", 200, "token.list", nil)["tokens"].([]any)
	found := false
	for _, l := range list {
		if l := l.(obj); l["id"] == id {
			found = true
			want(t, "scopes", l["scopes"], "[channel:acme]")
		}
	}
	if !found {
		t.Fatalf("the key is not listed: %v", list)
	}
	phone := w.connect("alice", "phone")
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: w.store})
	if err != nil {
		t.Fatal(err)
	}
	who, err := auth.Connect(t.Context(), hooks.Credentials{User: "alice", Secret: hooks.Secret(w.tokens["bot"]), ClientID: "phone"})
	if err != nil {
		t.Fatal(err)
	}
	bot := w.attach(who)
	next := w.as("alice", 200, "token.rotate", obj{"token": id})["token"].(obj)
	want(t, "scopes of the new one", next["scopes"], "[channel:acme]")
	w.as("alice", 200, "token.remove", obj{"token": id})
	<-bot.closed
	select {
	case <-phone.closed:
		t.Fatal("the phone's connection ended")
	default:
	}
	if _, err := w.store.Device(who.Account, who.Device); err != nil {
		t.Fatalf("the device of the new key is gone: %v", err)
	}
	w.as("alice", 200, "token.remove", obj{"token": next["id"]})
	if _, err := w.store.Device(who.Account, who.Device); store.CodeOf(err) != store.CodeNotFound {
		t.Fatalf("the device stays without a key: %v", err)
	}
	if len(w.broker.Attached(who.Account)) != 1 {
		t.Fatal("the phone is gone")
	}
}
