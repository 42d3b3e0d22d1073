package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// TestOperatorsTable: nothing of the operators' table runs on the public handler or over MQTT, whoever asks; the admin
// handler wants the scope; the socket wants nothing.
func TestOperatorsTable(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	token := func(scopes ...string) string {
		return "Bearer " + w.op(200, "operator.token.create", obj{"scopes": scopes})["secret"].(string)
	}
	all := token("*")
	by := map[string]string{ScopeAccounts: token(ScopeAccounts), ScopeRooms: token(ScopeRooms), ScopeOperators: token(ScopeOperators), ScopeStatus: token(ScopeStatus),
		ScopeReports: token(ScopeReports), ScopeLimits: token(ScopeLimits), ScopeHolds: token(ScopeHolds), ScopeAudit: token(ScopeAudit), ScopePush: token(ScopePush)}
	users := byName(userOperations())
	for _, o := range operatorOperations() {
		if o.scope == "" {
			t.Errorf("%s asks for no scope", o.name)
		}
		want(t, o.name+" in public, operator", do(t, w.public.URL, o.name, all, nil).status, 401)
		if users[o.name] == nil {
			want(t, o.name+" in public, user", do(t, w.public.URL, o.name, "Bearer "+w.tokens["alice"], nil).status, 404)
			want(t, o.name+" over MQTT", w.mqtt("alice", "phone", o.name, "x", "{}")["code"], 404)
		}
		want(t, o.name+" as a user", do(t, w.admin.URL, o.name, "Bearer "+w.tokens["alice"], nil).status, 403)
		want(t, o.name+" without a token", do(t, w.admin.URL, o.name, "", nil).status, 401)
		for scope, auth := range by {
			r := do(t, w.admin.URL, o.name, auth, "[]") // refused by the operation itself, which does nothing
			wantStatus := 403
			if scope == o.scope {
				wantStatus = 400
			}
			want(t, o.name+" with "+scope, r.status, wantStatus)
		}
		want(t, o.name+" with all", do(t, w.admin.URL, o.name, all, "[]").status, 400)
		want(t, o.name+" at the socket", do(t, w.socket.URL, o.name, "", "[]").status, 400)
	}
	for _, o := range userOperations() {
		if o.scope != "" {
			t.Errorf("%s asks a user for a scope", o.name)
		}
		if w.api.operators[o.name] == nil {
			want(t, o.name+" on admin", do(t, w.admin.URL, o.name, all, nil).status, 404)
		}
	}
	// An operator's identity does not get into the users' table by any way.
	if _, err := w.api.serve(t.Context(), w.api.users, &caller{id: hooks.Identity{Operator: true, Scopes: []string{"*"}}}, "account.me", nil); store.CodeOf(err) != store.CodeForbidden {
		t.Errorf("operator as user: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	r := w.op(200, "account.create", obj{"name": "Alice", "display": "A", "language": "ko", "label": "first", "expires_in": 3600}, "Idempotency-Key", "k")
	a := r["account"].(obj)
	want(t, "account", say(a["name"], a["display"], a["language"], a["state"]), "alice A ko ok")
	if !strings.HasPrefix(r["secret"].(string), "hwt_") || r["token"].(obj)["expires"] == nil {
		t.Fatalf("answer %v", r)
	}
	w.tokens["alice"] = r["secret"].(string)
	again := w.op(200, "account.create", obj{"name": "Alice", "display": "A", "language": "ko", "label": "first", "expires_in": 3600}, "Idempotency-Key", "k")
	want(t, "repeat", say(again["secret"], again["repeated"], again["account"].(obj)["name"]), "<nil> true alice")
	w.op(409, "account.create", obj{"name": "alice"})
	w.op(400, "account.create", obj{"name": "a b"})
	w.op(400, "account.create", obj{"name": "x", "expires_in": -5})
	if n := w.op(200, "account.create", nil)["account"].(obj)["name"].(string); len(n) < 20 {
		t.Fatalf("a random name: %q", n)
	}
	second := w.op(200, "account.token", obj{"account": "alice"})["secret"].(string)
	want(t, "second token", do(t, w.public.URL, "account.me", "Bearer "+second, nil).status, 200)
	w.op(404, "account.token", obj{"account": "nobody"})

	l := w.connect("alice", "phone")
	want(t, "suspended", w.op(200, "account.set", obj{"account": "alice", "state": "suspended"})["account"].(obj)["state"], "suspended")
	<-l.closed
	if !errors.Is(l.why, hooks.ErrSuspended) {
		t.Fatalf("the connection ended with %v", l.why)
	}
	w.as("alice", 403, "account.me", nil)
	want(t, "over MQTT", w.mqtt("alice", "phone", "account.me", "1", "")["error"], "suspended")
	w.op(200, "account.set", obj{"account": "alice", "state": "ok", "display": "B"})
	want(t, "restored", w.as("alice", 200, "account.me", nil)["display"], "B")
	w.op(400, "account.set", obj{"account": "alice", "state": "dead"})
	want(t, "get", w.op(200, "account.get", obj{"account": "alice"})["account"].(obj)["display"], "B")

	for i := range 5 {
		w.op(200, "account.create", obj{"name": fmt.Sprint("u", i)})
	}
	n := 0
	for after := ""; ; {
		p := w.op(200, "account.list", obj{"limit": 2, "after": after})
		n += len(p["accounts"].([]any))
		if p["next"] == nil {
			break
		}
		after = p["next"].(string)
	}
	want(t, "accounts", n, 7)
}

func TestOperatorsDevices(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	r := w.op(200, "device.create", obj{"account": "alice", "client_id": "phone", "label": "P"})
	want(t, "token", do(t, w.public.URL, "account.me", "Bearer "+r["secret"].(string), nil).body["device"], r["token"].(obj)["device"])
	d := w.op(200, "device.list", obj{"account": "alice"})["devices"].([]any)
	want(t, "label", d[0].(obj)["label"], "P")
	want(t, "tokens", len(w.op(200, "token.list", obj{"account": "alice"})["tokens"].([]any)), 2)
	w.op(200, "token.remove", obj{"account": "alice", "token": r["token"].(obj)["id"]})
	want(t, "removed", do(t, w.public.URL, "account.me", "Bearer "+r["secret"].(string), nil).status, 401)
	w.op(200, "device.remove", obj{"account": "alice", "device": d[0].(obj)["id"]})
	w.op(404, "device.remove", obj{"account": "alice", "device": d[0].(obj)["id"]})
	w.op(404, "device.list", obj{"account": "nobody"})
}

func TestOperatorsRooms(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.op(200, "room.create", obj{"room": "lobby", "owner": "alice", "members": []string{"bob", "bob", "alice"}, "title": "L"})
	w.op(200, "room.add", obj{"room": "lobby", "users": []string{"carol"}, "role": "moderator"})
	w.op(404, "room.add", obj{"room": "lobby", "users": []string{"nobody"}})
	w.op(404, "room.add", obj{"room": "nowhere", "users": []string{"carol"}})
	w.op(400, "room.add", obj{"room": "lobby", "users": []string{"carol"}, "role": "none"})
	w.op(404, "room.create", obj{"room": "x", "owner": "nobody"})
	w.op(409, "room.create", obj{"room": "lobby", "owner": "bob"})
	w.op(200, "room.set", obj{"room": "lobby", "title": "Hall"})
	w.op(200, "room.remove", obj{"room": "lobby", "users": []string{"alice"}}) // hands over first
	m := w.op(200, "room.members", obj{"room": "lobby"})
	want(t, "members", m["members"], "[map[display:bob name:bob role:member] map[display:carol name:carol role:owner]]")
	w.op(200, "room.role", obj{"room": "lobby", "user": "bob", "role": "owner"})
	m = w.op(200, "room.members", obj{"room": "lobby"})
	want(t, "members", m["members"], "[map[display:bob name:bob role:owner] map[display:carol name:carol role:moderator]]")
	for _, r := range w.records(store.RoomKey("lobby")) {
		if r.Sender != 0 {
			t.Errorf("record %d names a sender", r.Seq)
		}
	}
	w.op(400, "friend.set", obj{"users": []string{"alice"}})
	w.op(400, "friend.set", obj{"users": []string{"alice", "alice"}})
	w.op(404, "friend.set", obj{"users": []string{"alice", "nobody"}})
	want(t, "friends", w.op(200, "friend.set", obj{"users": []string{"alice", "bob"}})["changed"], true)
	want(t, "again", w.op(200, "friend.set", obj{"users": []string{"bob", "alice"}})["changed"], false)
	want(t, "ended", w.op(200, "friend.set", obj{"users": []string{"bob", "alice"}, "on": false})["changed"], true)
}

func TestOperatorTokens(t *testing.T) {
	w := newWorld(t)
	w.op(400, "operator.token.create", obj{"scopes": []string{"kings"}})
	w.op(400, "operator.token.create", obj{})
	r := w.op(200, "operator.token.create", obj{"scopes": []string{"operators", "status", "status"}, "label": "CI"})
	want(t, "scopes", r["token"].(obj)["scopes"], "[operators status]")
	auth := "Bearer " + r["secret"].(string)
	// Nobody gives more than it has.
	want(t, "more", do(t, w.admin.URL, "operator.token.create", auth, obj{"scopes": []string{"accounts"}}).status, 403)
	want(t, "all", do(t, w.admin.URL, "operator.token.create", auth, obj{"scopes": []string{"*"}}).status, 403)
	want(t, "as much", do(t, w.admin.URL, "operator.token.create", auth, obj{"scopes": []string{"status"}}).status, 200)
	s := do(t, w.admin.URL, "server.status", auth, nil)
	want(t, "status", say(s.body["version"], s.body["storage"], s.body["ready"], s.body["epoch"]), "v0.0.0-test ok true 1")
	list := do(t, w.admin.URL, "operator.token.list", auth, nil).body["tokens"].([]any)
	want(t, "tokens", len(list), 2)
	want(t, "removed", do(t, w.admin.URL, "operator.token.remove", auth, obj{"token": r["token"].(obj)["id"]}).status, 200)
	gone := do(t, w.admin.URL, "server.status", auth, nil)
	want(t, "afterwards", gone.status, http.StatusUnauthorized)
}
