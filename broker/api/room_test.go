package api

import (
	"fmt"
	"testing"

	"github.com/hwangso/hwangso/store"
)

func TestRoomLife(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol", "dave")
	w.friends("alice", "bob")
	w.friends("bob", "carol")

	got := w.as("alice", 200, "room.create", obj{"room": "Lobby", "title": "  The lobby "})
	want(t, "room", got["room"], "lobby")
	want(t, "title", got["title"], "The lobby")
	want(t, "created", got["created"], true)
	want(t, "again", w.as("alice", 200, "room.create", obj{"room": "lobby"})["created"], false)
	w.as("bob", 409, "room.create", obj{"room": "lobby"})
	if r := w.as("bob", 200, "room.create", nil)["room"].(string); len(r) != 20 {
		t.Fatalf("a random identifier: %q", r)
	}

	want(t, "invite", w.as("alice", 200, "room.invite", obj{"room": "lobby", "users": []string{"BOB"}})["pending"], []string{"bob"})
	w.as("bob", 404, "room.members", obj{"room": "lobby"}) // asked, not in
	want(t, "accept", w.as("bob", 200, "room.accept", obj{"room": "Lobby"})["title"], "The lobby")
	want(t, "invite again", w.as("alice", 200, "room.invite", obj{"room": "lobby", "users": []string{"bob"}})["already"], []string{"bob"})
	w.as("bob", 200, "room.invite", obj{"room": "lobby", "users": []string{"carol"}}) // any member invites
	w.as("carol", 200, "room.accept", obj{"room": "lobby"})
	w.as("alice", 403, "room.invite", obj{"room": "lobby", "users": []string{"dave"}})
	many := w.as("alice", 200, "room.invite", obj{"room": "lobby", "users": []string{"dave", "nobody", "carol"}})
	want(t, "refused", many["refused"], "[map[code:403 error:not_friend user:dave] map[code:403 error:not_friend user:nobody]]")

	w.as("bob", 403, "room.set", obj{"room": "lobby", "title": "x"})
	w.as("bob", 403, "room.remove", obj{"room": "lobby", "users": []string{"carol"}})
	w.as("bob", 403, "room.role", obj{"room": "lobby", "user": "bob", "role": "owner"})
	w.as("alice", 200, "room.role", obj{"room": "lobby", "user": "bob", "role": "moderator"})
	w.as("bob", 200, "room.set", obj{"room": "lobby", "title": "Hall"})
	w.as("bob", 403, "room.remove", obj{"room": "lobby", "users": []string{"alice"}})
	w.as("bob", 200, "room.remove", obj{"room": "lobby", "users": []string{"carol"}})
	w.as("bob", 404, "room.remove", obj{"room": "lobby", "users": []string{"carol"}})

	list := w.as("bob", 200, "room.members", obj{"room": "lobby"})
	want(t, "members", list["members"], "[map[display:alice name:alice role:owner] map[display:bob name:bob role:moderator]]")

	w.as("alice", 200, "room.leave", obj{"room": "lobby"}) // the moderator takes over
	list = w.as("bob", 200, "room.members", obj{"room": "lobby"})
	want(t, "members", list["members"], "[map[display:bob name:bob role:owner]]")

	var events []string
	for _, r := range w.records(store.RoomKey("lobby")) {
		if r.Kind != store.KindSystem {
			t.Errorf("record %d has kind %v", r.Seq, r.Kind)
		}
		events = append(events, fmt.Sprintf("%s:%d:%s", w.broker.Name(r.Sender), r.Change.Kind, w.broker.Name(r.Change.Account)))
	}
	want(t, "events", events, []string{
		"bob:1:bob", "carol:1:carol", "alice:4:bob", "bob:5:", "bob:3:carol", "alice:4:bob", "alice:2:alice"})

	// Who has left reads nothing any more, and knows that it has left.
	w.as("bob", 200, "message.send", obj{"room": "lobby", "text": "alone"})
	items := w.as("alice", 200, "room.history", obj{"room": "lobby"})["items"].([]any)
	if last := items[len(items)-1].(obj); last["x"].(obj)["op"] != "left" {
		t.Fatalf("the last that alice reads after leaving is %v", last)
	}
}

// TestHandOver: a room has one owner after a hand-over, also after one that was cut in two.
func TestHandOver(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.op(200, "room.create", obj{"room": "r", "owner": "alice", "members": []string{"bob", "carol"}})
	roles := func() string {
		return fmt.Sprint(w.op(200, "room.members", obj{"room": "r"})["members"])
	}
	w.as("alice", 400, "room.role", obj{"room": "r", "user": "alice", "role": "member"})
	w.as("alice", 404, "room.role", obj{"room": "r", "user": "nobody", "role": "member"})
	w.as("alice", 200, "room.role", obj{"room": "r", "user": "bob", "role": "owner"})
	after := "[map[display:alice name:alice role:moderator] map[display:bob name:bob role:owner] map[display:carol name:carol role:member]]"
	want(t, "roles", roles(), after)
	w.as("alice", 403, "room.role", obj{"room": "r", "user": "alice", "role": "owner"})

	info, err := w.store.Find(store.RoomKey("r"))
	if err != nil {
		t.Fatal(err)
	}
	half := store.Change{Kind: store.ChangeRole, Account: w.account("alice").ID, Role: store.RoleOwner}
	if _, err := w.store.Append(store.Draft{Log: info.ID, Kind: store.KindSystem, Change: half}).Result(); err != nil {
		t.Fatal(err)
	}
	w.as("alice", 200, "room.role", obj{"room": "r", "user": "bob", "role": "owner"})
	want(t, "roles", roles(), after)
}

// TestOwnerLeaves: the longest-standing moderator takes over, else the longest-standing member, else nobody.
func TestOwnerLeaves(t *testing.T) {
	m := func(a store.AccountID, r store.Role, since int64) store.Member {
		return store.Member{Account: a, Role: r, Since: since}
	}
	for _, c := range []struct {
		name    string
		members []store.Member
		want    store.AccountID
	}{
		{"alone", []store.Member{m(1, store.RoleOwner, 1)}, 0},
		{"members", []store.Member{m(1, store.RoleOwner, 1), m(2, store.RoleMember, 5), m(3, store.RoleMember, 4)}, 3},
		{"moderators first", []store.Member{m(1, store.RoleOwner, 1), m(2, store.RoleMember, 2), m(3, store.RoleModerator, 9), m(4, store.RoleModerator, 8)}, 4},
		{"those who left do not count", []store.Member{m(1, store.RoleOwner, 1), m(2, store.RoleNone, 2), m(3, store.RoleMember, 3)}, 3},
		{"another owner", []store.Member{m(1, store.RoleOwner, 1), m(2, store.RoleOwner, 2), m(3, store.RoleMember, 3)}, 0},
		{"no owner leaves", []store.Member{m(1, store.RoleModerator, 1), m(2, store.RoleMember, 2)}, 0},
	} {
		if got := successor(&store.Membership{Members: c.members}, 1); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestForeignRooms: a room that does not exist and one of others give the same bytes.
func TestForeignRooms(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	w.as("alice", 200, "room.create", obj{"room": "secret"})
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "hi"})
	for op, extra := range map[string]obj{
		"room.invite": {"users": []string{"bob"}}, "room.get": {}, "room.accept": {}, "room.refuse": {}, "room.invited": {}, "room.take": {},
		"room.withdraw": {"users": []string{"bob"}}, "room.offer": {"user": "alice"}, "room.mute": {"user": "alice"}, "room.leave": {}, "room.remove": {"users": []string{"alice"}}, "room.role": {"user": "alice", "role": "member"},
		"room.set": {"title": "x"}, "room.members": {}, "room.history": {}, "room.hide": {}, "message.delete": {"from": 1},
		"read.list": {}, "read.set": {"seq": 1}, "message.send": {"text": "x"}, "message.recall": {"seq": 1},
	} {
		ask := func(room string) string {
			body := obj{"room": room}
			for k, v := range extra {
				body[k] = v
			}
			r := do(t, w.public.URL, op, "Bearer "+w.tokens["carol"], body)
			if r.status != 404 && r.status != 403 {
				t.Errorf("%s: %d %s", op, r.status, r.raw)
			}
			return string(r.raw)
		}
		if there, absent := ask("secret"), ask("absent"); there != absent {
			t.Errorf("%s: %s for a foreign room, %s for none", op, there, absent)
		}
	}
	for op, extra := range map[string]obj{"room.history": {}, "room.hide": {}, "message.delete": {"from": 1}, "read.list": {}} {
		ask := func(user string) string {
			body := obj{"user": user}
			for k, v := range extra {
				body[k] = v
			}
			return string(do(t, w.public.URL, op, "Bearer "+w.tokens["carol"], body).raw)
		}
		if there, absent := ask("bob"), ask("absent"); there != absent {
			t.Errorf("%s: %s for a user, %s for none", op, there, absent)
		}
	}
}

// TestGroupLimitHoldsConcurrently: of many invitations at once as many succeed as there is room.
func TestGroupLimitHoldsConcurrently(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Group = 4 })
	w.users("alice")
	w.as("alice", 200, "room.create", obj{"room": "small"})
	const guests = 8
	for i := range guests {
		n := fmt.Sprintf("g%d", i)
		w.users(n)
		w.friends("alice", n)
		w.as("alice", 200, "room.invite", obj{"room": "small", "users": []string{n}})
	}
	status := make(chan int, guests)
	for i := range guests {
		go func() {
			r := do(t, w.public.URL, "room.accept", "Bearer "+w.tokens[fmt.Sprintf("g%d", i)], obj{"room": "small"})
			status <- r.status
		}()
	}
	count := map[int]int{}
	for range guests {
		count[<-status]++
	}
	want(t, "outcomes", count, map[int]int{200: 3, 507: 5})
	info, err := w.store.Find(store.RoomKey("small"))
	if err != nil || info.Members.Active != 4 {
		t.Fatalf("members: %d %v", info.Members.Active, err)
	}
}

func TestRoomList(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	w.friends("alice", "carol")
	w.as("alice", 200, "room.create", obj{"room": "lobby", "title": "Lobby"})
	w.op(200, "room.add", obj{"room": "lobby", "users": []string{"bob"}})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "one"})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "two"})
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "three"})
	w.as("carol", 200, "message.send", obj{"user": "alice", "text": "psst"})

	rooms := w.as("alice", 200, "room.list", nil)["rooms"].([]any)
	var order []string
	for _, r := range rooms {
		e := r.(obj)
		order = append(order, fmt.Sprint(e["user"], e["room"], " ", e["unread"]))
	}
	want(t, "list", order, []string{"carol<nil> 1", "bob<nil> 2", "<nil>lobby 0"})
	want(t, "last", rooms[1].(obj)["last"].(obj)["b"], "three")

	w.as("alice", 200, "read.set", obj{"user": "bob", "seq": 1})
	bob := func() obj {
		for _, r := range w.as("alice", 200, "room.list", nil)["rooms"].([]any) {
			if r.(obj)["user"] == "bob" {
				return r.(obj)
			}
		}
		return nil
	}
	want(t, "unread", bob()["unread"], 1)
	want(t, "read", bob()["read"], 1)

	w.as("alice", 200, "room.hide", obj{"user": "bob"})
	if bob() != nil {
		t.Fatal("hidden, and listed")
	}
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "four"})
	if bob() == nil {
		t.Fatal("not listed after the next message")
	}

	// Pages give everything once.
	seen := map[string]bool{}
	for after := ""; ; {
		p := w.as("alice", 200, "room.list", obj{"limit": 1, "after": after})
		for _, r := range p["rooms"].([]any) {
			key := fmt.Sprint(r.(obj)["user"], r.(obj)["room"])
			if seen[key] {
				t.Fatalf("%s twice", key)
			}
			seen[key] = true
		}
		if p["next"] == nil {
			break
		}
		after = p["next"].(string)
	}
	want(t, "pages", len(seen), 3)
	w.as("alice", 400, "room.list", obj{"after": "nonsense"})
	w.as("alice", 400, "room.list", obj{"limit": 201})
}

// TestBlockedSenderIsNotSeen: what a blocked sender writes moves nothing of what the receiver can ask.
func TestBlockedSenderIsNotSeen(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "before"})
	w.as("alice", 200, "block.set", obj{"user": "bob"})
	snapshot := func() string {
		out := ""
		for _, q := range []struct {
			op   string
			body obj
		}{{"room.list", nil}, {"room.history", obj{"user": "bob"}}, {"room.history", obj{"user": "bob", "after": 1}}, {"read.list", obj{"user": "bob"}}} {
			out += string(do(t, w.public.URL, q.op, "Bearer "+w.tokens["alice"], q.body).raw)
		}
		return out
	}
	before := snapshot()
	token := w.as("alice", 200, "sync", nil)["token"]
	for i := range 40 {
		w.as("bob", 200, "message.send", obj{"user": "alice", "text": fmt.Sprint("spam ", i)})
	}
	if after := snapshot(); after != before {
		t.Fatalf("before %s\nafter %s", before, after)
	}
	want(t, "sync", len(w.as("alice", 200, "sync", obj{"token": token})["rooms"].([]any)), 0)
	want(t, "bob sees his own", len(w.as("bob", 200, "room.history", obj{"user": "alice"})["items"].([]any)), 41)

	// A conversation that began after the block does not exist for the one who blocked.
	w.friends("alice", "carol")
	w.as("alice", 200, "block.set", obj{"user": "carol"})
	w.as("carol", 200, "message.send", obj{"user": "alice", "text": "hello?"})
	w.as("alice", 404, "room.history", obj{"user": "carol"})
	want(t, "list", len(w.as("alice", 200, "room.list", nil)["rooms"].([]any)), 1)
}
