package hooks

import (
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

func TestKeyAdmits(t *testing.T) {
	user := Identity{Account: 1}
	key := Identity{Account: 1, Scopes: []string{"channel:acme", "redeem:acme", "app:x"}}
	operator := Identity{Operator: true, Scopes: []string{"channel:acme"}}
	for topic, want := range map[string]bool{
		"channel/acme/text": true, "channel/ACME/json": true, "channel/acme/ask/text": true, "thread/acme/abcdefghijklmnop/text": true,
		"channel/acme2/text": false, "channel/x/text": false, "thread/x/abcdefghijklmnop/text": false, "room/acme/text": false,
		"user/acme/text": false, "room/acme/typing": false, "user/bob/read": false, "user/bob/edit": false, "api/account.me/1": true,
	} {
		p, err := ParsePublish(topic)
		if err != nil {
			t.Fatal(topic, err)
		}
		if got := key.Admits(p); got != want {
			t.Errorf("%s: %v", topic, got)
		}
		if !user.Admits(p) || !operator.Admits(p) {
			t.Errorf("%s is refused to who is no key", topic)
		}
	}
	for topic, want := range map[string]bool{
		"reply/1": true, "channel/acme/json": true, "channel/acme/progress": true, "thread/acme/abcdefghijklmnop/json": true, "channel/acm/json": false,
		"notice/json": false, "presence/bob": false, "room/acme/typing/bob": false, "user/bob/read": false, "": false, "channel": false, "$SYS/x": false,
	} {
		if got := key.AdmitsTopic(topic); got != want {
			t.Errorf("%s: %v", topic, got)
		}
		if !user.AdmitsTopic(topic) {
			t.Errorf("%s is refused to who is no key", topic)
		}
	}
	if user.Key() || operator.Key() || !key.Key() || user.Opens(ScopeChannel, "acme") || operator.Opens(ScopeChannel, "acme") || !key.Opens(ScopeApp, "x") ||
		key.Opens(ScopeApp, "acme") || key.Allows("channel:acme") {
		t.Error("who is a key, and what it opens")
	}
}

// A key opens devices of its own: it takes no session of the account over, whatever client identifier it sends.
func TestKeyConnects(t *testing.T) {
	d := newDirectory("alice")
	auth := newAuth(t, d)
	full, scoped := NewToken(d.id("alice")), NewToken(d.id("alice"))
	d.put(store.Token{Account: d.id("alice"), Hash: full.Hash()})
	d.put(store.Token{Account: d.id("alice"), Hash: scoped.Hash(), Scopes: []string{"channel:acme"}})
	connect := func(s Secret, client string) Identity {
		t.Helper()
		id, err := auth.Connect(t.Context(), Credentials{User: "alice", Secret: s, ClientID: client})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	phone := connect(full, "phone")
	bot := connect(scoped, "phone")
	if bot.Device == phone.Device || bot.ClientID != "key/channel:acme/phone" || !bot.Key() || bot.Assigned || phone.Key() {
		t.Errorf("%+v", bot)
	}
	if again := connect(scoped, bot.ClientID); again.Device != bot.Device {
		t.Errorf("its own client identifier is another device: %+v", again)
	}
	if id := connect(scoped, ""); !id.Assigned || !strings.HasPrefix(id.ClientID, "key/channel:acme/auto-") {
		t.Errorf("%+v", id)
	}
	if _, err := auth.Connect(t.Context(), Credentials{Secret: scoped, ClientID: strings.Repeat("x", MaxClientID)}); store.CodeOf(err) != store.CodeBad {
		t.Errorf("a client identifier that is too long with the key's: %v", err)
	}
	if id, err := auth.Bearer(scoped); err != nil || !id.Opens(ScopeChannel, "acme") {
		t.Errorf("over HTTP: %+v, %v", id, err)
	}
}
