package api

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// withPhones gives an API phone numbers.
func withPhones(c *Config) {
	c.Phones = phone.NewBook(c.Broker.Store(), phone.NewKey([32]byte{1}))
}

// phone gives a user a number and says so, as signing up does.
func (w *world) phone(user string, i int) {
	w.t.Helper()
	n, err := phone.Parse(mobile(i), "KR")
	if err == nil {
		err = w.api.cfg.Phones.Move(w.t.Context(), n, 0, w.account(user).ID, 1)
	}
	if err == nil {
		err = w.api.finder.Joined(w.t.Context(), w.account(user).ID, w.api.cfg.Phones.Key().Hash(n))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func mobile(i int) string { return fmt.Sprintf("010-%04d-%04d", 2000+i/10_000, i%10_000) }

func TestContactSync(t *testing.T) {
	w := newWorld(t, withPhones)
	w.users("alice", "bob", "carol")
	w.phone("alice", 1)
	w.phone("bob", 2)
	first := w.as("alice", 200, "contact.sync", obj{"numbers": []string{mobile(2), "what", "+82 10 2000 0003"}})
	want(t, "nobody", say(first["users"], first["bad"]), "[] [1]")
	w.as("carol", 200, "profile.set", obj{"display": "Carol 🐈"})
	w.as("carol", 200, "settings.set", obj{"discovery": "anyone"})
	w.phone("carol", 3)
	found := w.as("bob", 200, "contact.sync", obj{"numbers": []string{mobile(3), mobile(1)}})
	want(t, "found", found["users"], "[map[display:Carol 🐈 friend:true n:0 name:carol] map[display:alice friend:true n:1 name:alice]]")
	again := w.mqtt("bob", "phone", "contact.sync", "r", fmt.Sprintf(`{"token":%q,"numbers":[%q],"add":false}`, found["token"], mobile(3)))
	want(t, "over MQTT", again["users"], "[map[display:Carol 🐈 friend:true n:0 name:carol]]")
	w.as("bob", 409, "contact.sync", obj{"token": "old"})
	want(t, "reason", do(t, w.public.URL, "contact.sync", "Bearer "+w.tokens["bob"], obj{"token": "old"}).body["error"], "resync")
	w.as("bob", 400, "contact.sync", obj{"region": "Korea"})
	w.as("bob", 413, "contact.sync", obj{"numbers": make([]string, 2001)})

	if err := w.api.Close(); err != nil { // the worker has ended
		t.Fatal(err)
	}
	w.stop()
	w.start(withPhones) // and goes on
	at, _ := w.store.Bounds()
	for !slices.Contains(w.notices("alice"), "contact bob") || !slices.Contains(w.notices("alice"), "contact carol") {
		b, err := w.store.Follow(t.Context(), at) // waits for the next one
		if err != nil {
			t.Fatal(err)
		}
		at = b.Next
	}
}

func TestContactSyncWithoutPhones(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	w.as("alice", 404, "contact.sync", obj{"numbers": []string{mobile(1)}})
}

// ahead is a clock that a test moves, and nothing else: look-ups are counted by the minute.
type ahead struct{ by atomic.Int64 }

func (a *ahead) now() time.Time        { return epoch.Add(time.Duration(a.by.Load())) }
func (a *ahead) later(d time.Duration) { a.by.Add(int64(d)) }
func (a *ahead) use(c *Config)         { c.Now = a.now }

// What a network has asked for beyond its day waits: 202 over both transports.
func TestContactSync202(t *testing.T) {
	w := newWorld(t, withPhones, func(c *Config) { c.Contacts.Prefix = 2 })
	w.users("alice")
	out := w.as("alice", 202, "contact.sync", obj{"region": "KR", "numbers": []string{mobile(1), mobile(2), mobile(3)}})
	want(t, "waiting", out["waiting"], 1)
	u := w.account("alice")
	id := hooks.Identity{Account: u.ID, Name: u.Name, Address: netip.MustParseAddr("192.0.2.1")}
	var reply obj
	unmarshal(t, w.api.Request(t.Context(), id, "contact.sync", "r", []byte(`{"region":"KR","numbers":["010-2000-0004","010-2000-0005","010-2000-0006"]}`)), &reply)
	want(t, "over MQTT", say(reply["code"], reply["waiting"]), "202 1")
}

func TestFavouritesAndChanges(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol", "dave")
	w.as("alice", 403, "contact.set", obj{"user": "bob", "favourite": true})
	for _, u := range []string{"bob", "carol"} {
		w.as("alice", 200, "contact.add", obj{"user": u})
	}
	begin := w.as("alice", 200, "contact.list", obj{"since": "0"})
	want(t, "all", say(begin["full"], begin["users"]), "true [map[display:bob name:bob] map[display:carol name:carol]]")
	same := w.as("alice", 200, "contact.list", obj{"since": begin["token"]})
	want(t, "nothing", say(same["users"], same["removed"], same["full"], same["token"] == begin["token"]), "[] <nil> <nil> true")
	before := w.as("alice", 200, "sync", nil)
	want(t, "marked", w.as("alice", 200, "contact.set", obj{"user": "bob", "favourite": true})["changed"], true)
	want(t, "again", w.as("alice", 200, "contact.set", obj{"user": "bob", "favourite": true})["changed"], false)
	want(t, "in sync", w.as("alice", 200, "sync", obj{"token": before["token"]})["friends"], "map[count:2 users:[map[display:bob favourite:true name:bob] map[display:carol name:carol]]]")
	w.as("alice", 200, "contact.remove", obj{"user": "carol"})
	w.as("alice", 200, "contact.add", obj{"user": "dave"})
	next := w.as("alice", 200, "contact.list", obj{"since": begin["token"]})
	want(t, "changes", say(next["users"], next["removed"], next["full"]), "[map[display:bob favourite:true name:bob] map[display:dave name:dave]] [carol] <nil>")
	want(t, "in pages too", w.as("alice", 200, "contact.list", nil)["users"], "[map[display:bob favourite:true name:bob] map[display:dave name:dave]]")
	w.as("alice", 400, "contact.list", obj{"since": "0", "after": "1"})
	w.as("alice", 200, "contact.remove", obj{"user": "bob"})
	w.as("alice", 200, "contact.add", obj{"user": "bob"})
	want(t, "the mark went with the friend", w.as("alice", 200, "contact.list", obj{"since": next["token"]})["users"], "[map[display:bob name:bob]]")
	want(t, "notices", w.notices("alice"), "[friends bob friends carol friends bob friends carol friends dave friends bob friends bob]")
}

// Look-ups of strangers cost, whoever is named and whichever operation names it; ties cost nothing.
func TestLookups(t *testing.T) {
	clock := new(ahead)
	w := newWorld(t, clock.use, func(c *Config) { c.Contacts.LookupsMin = 8 })
	w.users("alice", "bob", "carol", "dave", "erin", "mate", "hidden")
	w.as("hidden", 200, "settings.set", obj{"findable": "off"})
	w.friends("alice", "bob")
	w.as("carol", 200, "contact.add", obj{"user": "alice"})
	w.op(200, "room.create", obj{"room": "r", "owner": "alice", "members": []string{"mate"}})
	w.op(200, "friend.set", obj{"users": []string{"alice", "dave"}})
	w.as("dave", 200, "message.send", obj{"user": "alice", "text": "hi"})
	w.op(200, "friend.set", obj{"users": []string{"alice", "dave"}, "on": false})
	for range 10 {
		for _, u := range []string{"alice", "bob", "carol", "dave", "mate"} {
			w.as("alice", 200, "user.find", obj{"user": u})
		}
	}
	want(t, "found", w.as("alice", 200, "user.find", obj{"user": "ERIN"})["name"], "erin")
	ask := func(op, user string) string {
		return string(do(t, w.public.URL, op, "Bearer "+w.tokens["alice"], obj{"user": user}).raw)
	}
	for _, op := range []string{"user.find", "profile.get", "contact.add", "block.set"} {
		hidden, missing := ask(op, "hidden"), ask(op, "missing")
		want(t, op, hidden, missing)
		if !strings.Contains(missing, "not_found") {
			t.Fatal(op, missing)
		}
		clock.later(time.Minute)
	}
	clock.later(time.Minute)
	for i := range 8 {
		w.as("alice", 404, []string{"user.find", "profile.get", "contact.add", "block.set"}[i%4], obj{"user": fmt.Sprint("nobody", i)})
	}
	refused := do(t, w.public.URL, "block.set", "Bearer "+w.tokens["alice"], obj{"user": "erin"})
	want(t, "refused", say(refused.status, refused.body["error"]), "429 rate")
	if ms := refused.body["retry_ms"].(float64); ms <= 0 || ms > 60_000 {
		t.Fatal("retry", ms)
	}
	w.as("alice", 200, "profile.get", obj{"user": "bob"})
	rows, err := w.store.Rows("user.budget", store.OwnerOf(w.account("alice").ID), "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		for _, n := range []string{"erin", "hidden", "missing", "nobody"} {
			if strings.Contains(string(r.Value), n) {
				t.Fatalf("the budget names %s", n)
			}
		}
	}
}

// 100,000 identifiers tried through every operation that takes one tell of no more users than the budget.
func TestUserEnumeration(t *testing.T) {
	tries := 100_000
	if raceEnabled {
		tries = 5_000
	}
	clock := new(ahead)
	w := newWorld(t, clock.use)
	const users = 1000
	for i := range users {
		if _, err := w.store.CreateAccount(context.Background(), store.Account{Name: fmt.Sprintf("user%d", i*100)}); err != nil {
			t.Fatal(err)
		}
	}
	w.users("mallory")
	u := w.account("mallory")
	id := hooks.Identity{Account: u.ID, Name: u.Name, Device: 1, ClientID: "x"}
	ops := []string{"profile.get", "contact.add", "block.set", "user.find"}
	told, limited := 0, 0
	start := clock.now()
	for i := range tries {
		var out struct{ Code int }
		unmarshal(t, w.api.Request(t.Context(), id, ops[i%len(ops)], fmt.Sprint("r", i), fmt.Appendf(nil, `{"user":"user%d"}`, i)), &out)
		switch out.Code {
		case 200, 404:
			told++
		case 429:
			limited++
		default:
			t.Fatalf("user%d: %d", i, out.Code)
		}
		if i%100 == 0 {
			clock.later(10 * time.Second) // 100,000 tries take 2.8 hours, on one day or two
		}
	}
	days := 1 + int(clock.now().Unix()/86400-start.Unix()/86400)
	t.Logf("%d tries in %v: %d answered, %d refused", tries, clock.now().Sub(start).Round(time.Minute), told, limited)
	if told > 200*days || told < 200 {
		t.Fatalf("%d tries: told about %d identifiers in %d days, %d refused", tries, told, days, limited)
	}
	want(t, "all", told+limited, tries)
}
