package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// found waits until the search has been loaded, and returns the rooms it finds.
func (w *world) found(user string, q obj) string {
	w.t.Helper()
	for !w.api.rooms.loaded.Load() {
		time.Sleep(time.Millisecond)
	}
	var out []string
	for _, r := range w.as(user, 200, "open.search", q)["rooms"].([]any) {
		out = append(out, r.(obj)["room"].(string))
	}
	return strings.Join(out, " ")
}

// open makes a room of alice's, and tells her id in it.
func (w *world) open(room string, more obj) string {
	w.t.Helper()
	body := obj{"room": room, "title": "고래 이야기", "tags": []string{"#바다", "whales"}, "nickname": "Captain"}
	for k, v := range more {
		body[k] = v
	}
	return w.as("alice", 200, "open.create", body)["me"].(obj)["id"].(string)
}

// join brings a user in, and tells its id.
func (w *world) join(user, room, nick string) string {
	w.t.Helper()
	out := w.as(user, 200, "open.join", obj{"room": room, "nickname": nick})
	if out["joined"] != true {
		w.t.Fatalf("%s: %v", user, out)
	}
	return out["me"].(obj)["id"].(string)
}

func TestOpenCreateAndSearch(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	id := w.open("sea", obj{"language": "ko", "country": "kr", "description": "둘째 줄\nsecond"})
	if !graph.IsPseudonym(id) || len(id) != graph.PseudonymSize {
		t.Errorf("id %q", id)
	}
	again := w.as("alice", 200, "open.create", obj{"room": "sea", "title": "x", "nickname": "Other"})
	want(t, "again", say(again["created"], again["title"], again["me"].(obj)["id"]), say(false, "고래 이야기", id))
	w.as("bob", 409, "open.create", obj{"room": "sea", "title": "x", "nickname": "Bob"})
	w.as("bob", 200, "room.create", obj{"room": "group"})
	w.as("bob", 200, "message.send", obj{"room": "group", "text": "x"})
	w.as("bob", 200, "message.send", obj{"room": "group", "text": "x"})
	w.as("bob", 409, "open.create", obj{"room": "group", "title": "x", "nickname": "Bob"}) // a group stays one
	for _, q := range []obj{{"query": "래이"}, {"query": "야기", "language": "ko", "country": "KR"}, {"tags": []string{"바다"}}, {"query": "WHA"}, {}} {
		if q["query"] == "래이" {
			want(t, fmt.Sprint(q), w.found("bob", q), "")
			continue
		}
		want(t, fmt.Sprint(q), w.found("bob", q), "sea")
	}
	want(t, "elsewhere", w.found("bob", obj{"country": "JP"}), "")
	w.as("alice", 200, "open.set", obj{"room": "sea", "title": "상어", "tags": []string{}})
	want(t, "old title", w.found("bob", obj{"query": "고래"}), "")
	want(t, "new title", w.found("bob", obj{"query": "상어"}), "sea")
	w.as("alice", 200, "open.lock", obj{"room": "sea"})
	want(t, "locked", w.found("bob", obj{"query": "상어"}), "")
	w.as("alice", 200, "open.lock", obj{"room": "sea", "on": false})
	w.stop()
	w.start()
	want(t, "after a restart", w.found("bob", obj{"query": "상어"}), "sea")
	for _, bad := range []obj{{"title": ""}, {"tags": []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"}}, {"tags": []string{"#"}}, {"capacity": 3001}, {"capacity": -1},
		{"join": "x"}, {"join": "code"}, {"join": "code", "code": "abc"}, {"country": "Korea"}, {"language": "한국"}, {"description": "a\x00"}, {"picture": "a/b"}} {
		body := obj{"title": "t", "nickname": "Nick"}
		for k, v := range bad {
			body[k] = v
		}
		r := do(t, w.public.URL, "open.create", "Bearer "+w.tokens["bob"], body)
		if r.status != 400 && r.status != 413 {
			t.Errorf("%v: %d %s", bad, r.status, r.raw)
		}
	}
	w.as("bob", 400, "open.search", obj{"after": "x"})
	w.as("bob", 413, "open.search", obj{"query": strings.Repeat("x", 401)})
	w.as("bob", 403, "open.create", obj{"title": "t", "nickname": "Admin"})
}

// Every distinct outcome of joining.
func TestOpenJoinOutcomes(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol", "dave")
	w.open("sea", nil)
	bob := w.join("bob", "sea", "Whale")
	out := w.as("bob", 200, "open.join", obj{"room": "sea", "nickname": "Other"})
	want(t, "NOOP", say(out["joined"], out["me"].(obj)["id"], out["me"].(obj)["nickname"]), say(true, bob, "Whale"))
	denied := func(user, room string, code int, word string, more ...any) obj {
		t.Helper()
		body := obj{"room": room, "nickname": "Someone"}
		for i := 0; i < len(more); i += 2 {
			body[more[i].(string)] = more[i+1]
		}
		got := w.as(user, code, "open.join", body)
		want(t, user+" "+room, got["error"].(string), word)
		return got
	}
	denied("carol", "sea", 403, "nick", "nickname", "wha1e")
	denied("carol", "sea", 403, "nick", "nickname", "Captain1")
	denied("carol", "sea", 403, "nick", "nickname", "운영자")
	denied("carol", "nothere", 403, "unreachable")
	w.as("alice", 200, "room.create", obj{"room": "group"})
	denied("carol", "group", 403, "unreachable")
	w.op(200, "account.set", obj{"account": "carol", "state": "limited"})
	denied("carol", "sea", 403, "limited")
	w.op(200, "account.set", obj{"account": "carol", "state": "suspended"})
	denied("carol", "sea", 403, "suspended")
	w.op(200, "account.set", obj{"account": "carol", "state": "ok"})
	w.as("alice", 200, "open.lock", obj{"room": "sea"})
	denied("carol", "sea", 423, "locked")
	w.as("alice", 200, "open.lock", obj{"room": "sea", "on": false})
	w.as("alice", 200, "open.set", obj{"room": "sea", "capacity": 2})
	denied("carol", "sea", 507, "full")
	w.as("alice", 200, "open.set", obj{"room": "sea", "capacity": 0})
	w.as("alice", 200, "open.ban", obj{"room": "sea", "user": bob})
	missing, banned := denied("bob", "nothere", 403, "unreachable"), denied("bob", "sea", 403, "unreachable")
	want(t, "a ban", fmt.Sprint(banned), fmt.Sprint(missing))
	want(t, "a ban", fmt.Sprint(w.as("bob", 403, "open.get", obj{"room": "sea"})), fmt.Sprint(w.as("bob", 403, "open.get", obj{"room": "nothere"})))
	want(t, "a ban in the search", w.found("bob", obj{}), "")
	want(t, "bans", fmt.Sprint(w.as("alice", 200, "open.bans", obj{"room": "sea"})["banned"].([]any)[0].(obj)["id"]), bob)
	w.as("alice", 200, "open.ban", obj{"room": "sea", "user": bob, "on": false})
	if back := w.join("bob", "sea", "Whale"); back != bob {
		t.Errorf("another id after coming back: %s, %s", back, bob)
	}

	w.open("secret", obj{"join": "code", "code": "open sesame"})
	denied("carol", "secret", 403, "code")
	for range 3 {
		denied("carol", "secret", 403, "code", "code", "wrong")
	}
	denied("carol", "nothere", 403, "unreachable", "code", "wrong") // counts too
	w.as("carol", 200, "open.join", obj{"room": "secret", "nickname": "Carol", "code": "open sesame"})
	if got := denied("carol", "secret", 429, "rate", "code", "wrong"); got["retry_ms"].(float64) < 60_000 {
		t.Errorf("%v", got)
	}

	w.open("club", obj{"join": "approve"})
	pending := w.as("dave", 200, "open.join", obj{"room": "club", "nickname": "Dolphin", "text": "let me in"})
	want(t, "PENDING", say(pending["joined"], pending["pending"]), say(false, true))
	dave := pending["me"].(obj)["id"].(string)
	denied("carol", "club", 403, "nick", "nickname", "Dolphin") // kept for who waits
	w.as("dave", 404, "room.members", obj{"room": "club"})
	list := w.as("alice", 200, "open.requests", obj{"room": "club"})["requests"].([]any)
	want(t, "requests", say(len(list), list[0].(obj)["id"], list[0].(obj)["nickname"], list[0].(obj)["text"]), say(1, dave, "Dolphin", "let me in"))
	w.as("alice", 404, "open.approve", obj{"room": "club", "user": "dave"})
	w.as("alice", 200, "open.reject", obj{"room": "club", "user": dave})
	w.as("alice", 404, "open.approve", obj{"room": "club", "user": dave})
	w.as("dave", 200, "open.join", obj{"room": "club", "nickname": "Dolphin"})
	w.as("carol", 200, "open.join", obj{"room": "club", "nickname": "Carol"})
	w.as("carol", 404, "open.requests", obj{"room": "club"})
	w.as("alice", 200, "open.approve", obj{"room": "club", "user": dave})
	want(t, "approved", say(w.as("dave", 200, "room.members", obj{"room": "club"})["count"]), "2")
	want(t, "notices", w.notices("dave"), "[rejected club approved club]")
}

// What moderators may do, and to whom.
func TestOpenModeration(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	alice := w.open("sea", nil)
	bob, carol := w.join("bob", "sea", "Whale"), w.join("carol", "sea", "Shark")
	for _, op := range []string{"open.mute", "open.ban", "open.slow", "open.lock", "open.set", "open.bans", "open.requests"} {
		want(t, op, w.as("bob", 403, op, obj{"room": "sea", "user": carol})["error"].(string), "role")
	}
	w.as("alice", 200, "room.role", obj{"room": "sea", "user": bob, "role": "moderator"})
	w.as("bob", 403, "open.mute", obj{"room": "sea", "user": alice})
	w.as("bob", 404, "open.mute", obj{"room": "sea", "user": "carol"}) // accounts are not known here
	w.as("bob", 404, "room.remove", obj{"room": "sea", "users": []string{"carol"}})
	w.as("alice", 404, "room.role", obj{"room": "sea", "user": "carol", "role": "moderator"})
	w.as("bob", 400, "room.invite", obj{"room": "sea", "users": []string{"carol"}})
	send := func(user string, code int, word string) obj {
		t.Helper()
		out := w.as(user, code, "message.send", obj{"room": "sea", "text": "hi"})
		if word != "" {
			want(t, user, out["error"].(string), word)
		}
		return out
	}
	w.as("bob", 200, "open.mute", obj{"room": "sea", "user": carol, "seconds": 60})
	if got := send("carol", 403, "muted"); got["retry_ms"].(float64) < 1000 || got["retry_ms"].(float64) > 60_000 {
		t.Errorf("%v", got)
	}
	w.as("carol", 403, "message.react", obj{"room": "sea", "seq": 1, "emoji": "👍"})
	w.as("bob", 200, "open.mute", obj{"room": "sea", "user": carol, "on": false})
	send("carol", 200, "")
	w.as("bob", 200, "open.lock", obj{"room": "sea"})
	send("carol", 423, "locked")
	send("bob", 200, "")
	w.as("carol", 200, "read.set", obj{"room": "sea", "seq": 3}) // reading goes on
	w.as("bob", 200, "open.lock", obj{"room": "sea", "on": false})
	w.as("bob", 200, "open.slow", obj{"room": "sea", "seconds": 30})
	first := w.as("carol", 200, "message.send", obj{"room": "sea", "text": "1", "cid": "c1"})
	if got := send("carol", 429, "slow"); got["retry_ms"].(float64) < 1000 || got["retry_ms"].(float64) > 30_000 {
		t.Errorf("%v", got)
	}
	again := w.as("carol", 200, "message.send", obj{"room": "sea", "text": "1", "cid": "c1"}) // a lost answer
	want(t, "the repeat", say(again["seq"]), say(first["seq"]))
	send("bob", 200, "")
	send("alice", 200, "")
	w.as("bob", 200, "open.slow", obj{"room": "sea", "seconds": 0})
	send("carol", 200, "")
	w.as("bob", 200, "open.ban", obj{"room": "sea", "user": carol})
	send("carol", 403, "not_member")
	w.as("bob", 403, "open.ban", obj{"room": "sea", "user": alice})
	var ops []string
	for _, item := range w.as("alice", 200, "room.history", obj{"room": "sea", "limit": 50})["items"].([]any) {
		if x, ok := item.(obj)["x"].(obj); ok {
			ops = append(ops, fmt.Sprint(x["op"]))
		}
	}
	want(t, "told in the room", strings.Join(ops, " "), "joined joined role muted unmuted locked unlocked slow slow removed")
	if u, err := w.api.MemberOf("sea", carol); err != nil || u != w.account("carol").ID {
		t.Errorf("%v, %v", u, err)
	}
	if u, err := w.api.MemberOf("nothere", carol); err != nil || u != 0 {
		t.Errorf("%v, %v", u, err)
	}
	m := w.op(200, "room.members", obj{"room": "sea"})["members"].([]any)[0].(obj)
	if m["account"] == nil || !graph.IsPseudonym(m["name"].(string)) {
		t.Errorf("operators: %v", m)
	}
}

func TestOpenNick(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.open("sea", nil)
	bob := w.join("bob", "sea", "Whale")
	w.join("carol", "sea", "Shark")
	w.as("bob", 403, "open.nick", obj{"room": "sea", "nickname": "shark"})
	w.as("bob", 403, "open.nick", obj{"room": "sea", "nickname": "Captaln"})
	w.as("bob", 400, "open.nick", obj{"room": "sea", "nickname": "a: b"})
	out := w.as("bob", 200, "open.nick", obj{"room": "sea", "nickname": "Orca", "picture": "p1"})
	want(t, "changed", say(out["id"], out["nickname"], out["picture"]), say(bob, "Orca", "p1"))
	w.as("carol", 403, "open.nick", obj{"room": "sea", "nickname": "Whale"}) // kept a while
	w.as("bob", 200, "open.nick", obj{"room": "sea", "nickname": "Whale"})
	w.as("bob", 200, "room.leave", obj{"room": "sea"})
	w.as("carol", 403, "open.nick", obj{"room": "sea", "nickname": "Whale"})
	w.as("bob", 404, "open.nick", obj{"room": "sea", "nickname": "Whale"})
	if w.join("bob", "sea", "Whale") != bob {
		t.Error("another id after coming back")
	}
}

// Accounts cannot have the names of members.
func TestAccountsDoNotBeginWithTilde(t *testing.T) {
	w := newWorld(t)
	w.op(400, "account.create", obj{"name": "~abcdefghijklmnop"})
	w.users("alice")
	for _, id := range []string{"~abcdefghijklmnop", "nobody"} {
		want(t, id, fmt.Sprint(w.as("alice", 404, "profile.get", obj{"user": id})), fmt.Sprint(w.as("alice", 404, "profile.get", obj{"user": "nobody2"})))
	}
}

// everything a user can ask is asked by a member of two open rooms in which somebody else is too, and whatever comes back,
// as answer or over MQTT, must not hold anything of that account.
func TestOpenRoomsHideAccounts(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.tokens["zz-victim"] = w.op(200, "account.create", obj{"name": "zz-victim", "display": "Realname Q. Victim"})["secret"].(string)
	alice := w.open("sea", obj{"join": "approve"})
	w.as("zz-victim", 200, "open.create", obj{"room": "lake", "title": "호수", "nickname": "Heron"})
	w.join("bob", "lake", "Otter")
	w.as("zz-victim", 200, "open.join", obj{"room": "sea", "nickname": "Whale", "text": "hello"})
	w.as("bob", 200, "open.join", obj{"room": "sea", "nickname": "Squid"})
	var seen []string
	for _, r := range w.as("alice", 200, "open.requests", obj{"room": "sea"})["requests"].([]any) {
		w.as("alice", 200, "open.approve", obj{"room": "sea", "user": r.(obj)["id"]})
	}
	me := func(user, room string) string {
		return w.as(user, 200, "open.get", obj{"room": room})["me"].(obj)["id"].(string)
	}
	victim, bob := me("zz-victim", "sea"), me("bob", "sea")
	if victim == me("zz-victim", "lake") {
		t.Error("one id in two rooms")
	}
	w.as("alice", 200, "room.role", obj{"room": "sea", "user": bob, "role": "moderator"})
	seq := w.as("zz-victim", 200, "message.send", obj{"room": "sea", "text": "first", "cid": "device-7-secret", "mentions": []string{bob}})["seq"]
	w.as("zz-victim", 200, "message.send", obj{"room": "lake", "text": "second", "cid": "device-7-secret"})
	w.as("zz-victim", 200, "message.edit", obj{"room": "sea", "seq": seq, "text": "edited"})
	w.as("zz-victim", 200, "message.react", obj{"room": "sea", "seq": seq, "emoji": "👍"})
	w.as("zz-victim", 200, "read.set", obj{"room": "sea", "seq": seq})
	// What comes first below may take the message back.
	seen = append(seen, string(do(t, w.public.URL, "room.history", "Bearer "+w.tokens["bob"], obj{"room": "sea"}).raw))
	for _, room := range []string{"sea", "lake"} {
		for name := range w.api.users {
			if name == "room.leave" || name == "token.remove" || name == "device.remove" {
				continue
			}
			for _, body := range []obj{{"room": room}, {"room": room, "user": victim}, {"user": victim}, {"room": room, "users": []string{victim}}, {"room": room, "seq": seq},
				{"room": room, "user": "zz-victi"}, {"room": room, "seq": 5, "mentions": []string{victim, alice}, "text": "x"}, {}} {
				if name == "room.remove" && body["users"] != nil || name == "open.ban" && body["user"] != nil {
					continue
				}
				r := do(t, w.public.URL, name, "Bearer "+w.tokens["bob"], body)
				seen = append(seen, name+fmt.Sprint(body)+": "+string(r.raw)+fmt.Sprint(r.header))
			}
		}
	}
	w.as("bob", 200, "open.ban", obj{"room": "sea", "user": victim})
	for _, op := range []string{"open.bans", "room.history", "room.members", "sync", "room.list"} {
		seen = append(seen, op+": "+string(do(t, w.public.URL, op, "Bearer "+w.tokens["bob"], obj{"room": "sea"}).raw))
	}
	acct := w.account("zz-victim")
	for _, s := range seen {
		for _, secret := range []string{"zz-victim", "Realname", "Victim", "\"" + acct.ID.String() + "\"", "device-7-secret"} {
			if strings.Contains(s, secret) {
				t.Errorf("%q is in %s", secret, s)
			}
		}
	}
	joined := strings.Join(seen, "\n")
	for _, must := range []string{victim, "Whale", "Heron", "edited"} { // it was there to be seen
		if !strings.Contains(joined, must) {
			t.Errorf("%q was never seen", must)
		}
	}
	// The sender gets its own id of the message back.
	if r := do(t, w.public.URL, "room.history", "Bearer "+w.tokens["zz-victim"], obj{"room": "lake"}); !strings.Contains(string(r.raw), "device-7-secret") {
		t.Errorf("%s", r.raw)
	}
}

// The members of a full room, who come in at once.
func BenchmarkOpenJoin(b *testing.B) {
	w := newWorld(b)
	w.users("alice")
	w.open("sea", nil)
	info, err := w.store.Find(store.RoomKey("sea"))
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		u, err := w.store.CreateAccount(b.Context(), store.Account{Name: fmt.Sprint("u", i)})
		if err != nil {
			b.Fatal(err)
		}
		c := &caller{account: u}
		c.id.Account = u.ID
		if _, err := w.api.openJoin(b.Context(), c, &openJoinIn{Room: "sea", Nickname: fmt.Sprint("고래", i, "번")}); err != nil && store.CodeOf(err) != store.CodeFull {
			b.Fatal(err)
		}
	}
	if info, err = w.store.Info(info.ID); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Members.Active), "members")
}
