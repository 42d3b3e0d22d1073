package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// newClockedWorld is a world in which the API lives by the store's clock.
func newClockedWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), tokens: make(map[string]string)}
	w.clock = w.now
	w.start(append(change, func(c *Config) { c.Now = w.now })...)
	t.Cleanup(w.stop)
	return w
}

// later moves the clock.
func (w *world) later(d time.Duration) { w.ticks.Add(d.Milliseconds()) }

// block blocks or unblocks a user.
func (w *world) block(who, whom string, level graph.Block) {
	w.t.Helper()
	if _, err := w.api.graph.SetBlock(w.t.Context(), w.account(who).ID, w.account(whom).ID, level, false, 0); err != nil {
		w.t.Fatal(err)
	}
}

// invite invites one user and returns the list in which the user is told, or the word of the refusal.
func (w *world) invite(by, room, user string) string {
	w.t.Helper()
	r := do(w.t, w.public.URL, "room.invite", "Bearer "+w.tokens[by], obj{"room": room, "users": []string{user}})
	if r.status != 200 {
		return fmt.Sprint(r.body["error"])
	}
	for _, key := range []string{"joined", "pending", "already"} {
		if fmt.Sprint(r.body[key]) == "["+user+"]" {
			return key
		}
	}
	return string(r.raw)
}

// invitations are those that a user can accept.
func (w *world) invitations(user string) string {
	w.t.Helper()
	var out []string
	for _, i := range w.as(user, 200, "room.invitations", nil)["invitations"].([]any) {
		out = append(out, fmt.Sprint(i.(obj)["room"], " by ", i.(obj)["by"]))
	}
	return strings.Join(out, ", ")
}

// TestInvitationOutcomes has a case for each distinct outcome of inviting, and each reason for it.
func TestInvitationOutcomes(t *testing.T) {
	w := newClockedWorld(t)
	names := []string{"owner", "member", "plain", "stranger", "blocked", "blocker", "refuser", "left", "nobody1", "anyone", "friendly", "cold",
		"shy", "suspended", "limited"}
	w.users(names...)
	for _, n := range names[1:] {
		if n != "stranger" {
			w.friends("owner", n)
		}
	}
	set := func(user, mode string) { w.as(user, 200, "settings.set", obj{"invitations": mode}) }
	w.op(200, "room.create", obj{"room": "r", "owner": "owner", "members": []string{"member", "suspended", "limited"}})
	w.block("owner", "blocked", graph.BlockMessages)
	w.block("blocker", "owner", graph.BlockMessages)
	set("nobody1", "nobody")
	set("anyone", "anyone")
	set("friendly", "friends")
	set("cold", "friends")
	w.as("cold", 200, "contact.remove", obj{"user": "owner"})
	set("shy", "anyone")
	w.block("shy", "member", graph.BlockMessages)
	want(t, "first", w.invite("owner", "r", "refuser"), "pending")
	w.as("refuser", 200, "room.refuse", obj{"room": "r"})
	w.op(200, "room.add", obj{"room": "r", "users": []string{"left"}})
	w.as("left", 200, "room.leave", obj{"room": "r"})

	for _, c := range []struct{ user, want, sees string }{
		{"plain", "pending", "r by owner"},
		{"plain", "pending", "r by owner"}, // again: nothing new
		{"member", "already", ""},
		{"stranger", "not_friend", ""},
		{"missing", "not_friend", ""},
		{"blocked", "you_blocked", ""},
		{"blocker", "pending", ""},
		{"refuser", "pending", ""},
		{"left", "pending", ""},
		{"nobody1", "pending", ""},
		{"anyone", "joined", ""},
		{"friendly", "joined", ""},
		{"cold", "pending", "r by owner"},
		{"shy", "pending", "r by owner"},
	} {
		if got := w.invite("owner", "r", c.user); got != c.want {
			t.Errorf("%s: %s, want %s", c.user, got, c.want)
		}
		if c.user == "missing" {
			continue
		}
		if got := w.invitations(c.user); got != c.sees {
			t.Errorf("%s sees %q, want %q", c.user, got, c.sees)
		}
	}
	want(t, "told once", w.visibleNotices("plain"), "[invited owner r]")
	want(t, "not told", w.visibleNotices("blocker"), "[]")

	// Who moderates, and who has invited, see the same of all of them.
	invited := func(user string) (out []string) {
		for _, i := range w.as(user, 200, "room.invited", obj{"room": "r"})["invited"].([]any) {
			out = append(out, i.(obj)["user"].(string))
		}
		return out
	}
	want(t, "invited", invited("owner"), "[plain blocker refuser left nobody1 cold shy]")
	want(t, "invited by a member", invited("member"), "[]")

	// A closed door is told before anything about the user is looked at.
	w.as("owner", 200, "room.set", obj{"room": "r", "invites": "moderators"})
	want(t, "by a member", w.invite("member", "r", "plain"), "role")
	w.as("owner", 200, "room.set", obj{"room": "r", "invites": "members"})
	w.op(200, "account.set", obj{"account": "limited", "state": "limited"})
	want(t, "under reports", w.invite("limited", "r", "plain"), "invite_limit")
	w.op(200, "room.close", obj{"room": "r", "reason": "spam"})
	want(t, "closed", w.invite("owner", "r", "plain"), "locked")
	w.as("plain", 423, "room.accept", obj{"room": "r"})
	want(t, "a closed room is not offered", w.invitations("plain"), "")
	w.op(200, "room.close", obj{"room": "r", "on": false})
	w.as("plain", 200, "room.accept", obj{"room": "r"})
}

// visibleNotices are what a user's devices get.
func (w *world) visibleNotices(user string) string {
	w.t.Helper()
	me := w.account(user).ID
	info, err := w.store.Find(store.NoticeKey(me))
	if store.CodeOf(err) == store.CodeNotFound {
		return "[]"
	}
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := w.store.Read(store.Query{Log: info.ID, Viewer: me, Max: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, r := range p.Records {
		var e struct {
			X struct{ Op, Who, Room, Device string }
		}
		unmarshal(w.t, w.api.envelope(me, 0, r, store.Marks{}, noBase), &e)
		out = append(out, strings.Join(strings.Fields(e.X.Op+" "+e.X.Who+" "+e.X.Room+" "+e.X.Device), " "))
	}
	return fmt.Sprint(out)
}

// TestInvitationBudget: an attempt costs whatever its outcome, the same user and room only once a day.
func TestInvitationBudget(t *testing.T) {
	w := newClockedWorld(t, func(c *Config) { c.Limits.Invites = 3 })
	w.users("a", "b", "c")
	w.friends("a", "b")
	w.friends("a", "c")
	w.as("a", 200, "room.create", obj{"room": "r"})
	want(t, "1", w.invite("a", "r", "b"), "pending")
	want(t, "again", w.invite("a", "r", "b"), "pending")
	want(t, "2", w.invite("a", "r", "nobody"), "not_friend")
	want(t, "3", w.invite("a", "r", "c"), "pending")
	want(t, "over", w.invite("a", "r", "else"), "invite_limit")
	want(t, "counted", w.invite("a", "r", "b"), "pending")
	r := do(t, w.public.URL, "room.invite", "Bearer "+w.tokens["a"], obj{"room": "r", "users": []string{"x"}})
	if ms, _ := r.body["retry_ms"].(float64); r.status != 429 || ms <= 0 || ms > 24*3600*1000 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	w.later(24 * time.Hour)
	want(t, "the next day", w.invite("a", "r", "x"), "not_friend")
}

// TestInvitationAnswers: what can become of an invitation between its making and its answer.
func TestInvitationAnswers(t *testing.T) {
	w := newClockedWorld(t, func(c *Config) { c.Limits.Group = 4 })
	w.users("owner", "m", "x", "y", "z")
	for _, n := range []string{"m", "x", "y", "z"} {
		w.friends("owner", n)
	}
	w.friends("m", "x")
	w.op(200, "room.create", obj{"room": "r", "owner": "owner", "members": []string{"m"}})
	gone := func(what string) {
		t.Helper()
		want(t, what+": list", w.invitations("x"), "")
		w.as("x", 404, "room.accept", obj{"room": "r"})
		w.as("x", 404, "room.refuse", obj{"room": "r"})
	}
	absent := do(t, w.public.URL, "room.accept", "Bearer "+w.tokens["x"], obj{"room": "absent"})
	there := do(t, w.public.URL, "room.accept", "Bearer "+w.tokens["x"], obj{"room": "r"})
	want(t, "a room that is there", string(there.raw), string(absent.raw))

	w.invite("m", "r", "x")
	w.later(graph.InvitationLives)
	gone("expired")

	w.invite("m", "r", "x")
	w.as("m", 404, "room.withdraw", obj{"room": "r", "users": []string{"y"}})
	w.as("m", 200, "room.withdraw", obj{"room": "r", "users": []string{"x"}})
	gone("taken back")

	w.invite("m", "r", "x")
	w.as("owner", 200, "room.withdraw", obj{"room": "r", "users": []string{"x"}})
	gone("taken back by the owner")

	w.invite("m", "r", "x")
	w.as("owner", 200, "room.set", obj{"room": "r", "invites": "moderators"})
	want(t, "who invited may not any more", w.invitations("x"), "")
	w.as("x", 404, "room.accept", obj{"room": "r"})
	w.as("owner", 200, "room.set", obj{"room": "r", "invites": "members"})
	want(t, "and may again", w.invitations("x"), "r by m")
	w.as("owner", 200, "room.remove", obj{"room": "r", "users": []string{"m"}})
	want(t, "who invited was removed", w.invitations("x"), "")
	w.as("x", 404, "room.accept", obj{"room": "r"})

	w.invite("owner", "r", "x")
	if err := w.api.graph.SetRoomMember(t.Context(), w.find("r").ID, w.account("x").ID, func(m *graph.RoomMember) error { m.Banned = 1; return nil }); err != nil {
		t.Fatal(err)
	}
	want(t, "banned", w.invitations("x"), "")
	w.as("x", 404, "room.accept", obj{"room": "r"})
	if err := w.api.graph.SetRoomMember(t.Context(), w.find("r").ID, w.account("x").ID, func(m *graph.RoomMember) error { *m = graph.RoomMember{}; return nil }); err != nil {
		t.Fatal(err)
	}

	w.op(200, "room.add", obj{"room": "r", "users": []string{"m", "y", "z"}})
	want(t, "full", w.as("x", 507, "room.accept", obj{"room": "r"})["error"], "group")
	want(t, "full for the inviter", w.invite("owner", "r", "x"), "full")
	w.as("z", 200, "room.leave", obj{"room": "r"})
	w.as("x", 200, "room.accept", obj{"room": "r"})
	w.as("x", 200, "room.accept", obj{"room": "r"}) // again: is in
	want(t, "answered", w.as("owner", 200, "room.invited", obj{"room": "r"})["invited"], "[]")
	if got := w.visibleNotices("x"); !strings.HasSuffix(got, " answered r]") {
		t.Errorf("the other devices: %s", got)
	}
	if got := w.visibleNotices("x"); strings.Count(got, "withdrawn r") != 2 {
		t.Errorf("taken back: %s", got)
	}
}

func (w *world) find(room string) store.LogInfo {
	w.t.Helper()
	info, err := w.store.Find(store.RoomKey(room))
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

// TestShadowInvitation: two worlds that differ only in whether the invited user has blocked the inviter. Everything that
// the inviter and the room can ask is the same, and so is how much was written.
func TestShadowInvitation(t *testing.T) {
	run := func(blocks bool) (seen []string, written store.Position) {
		w := newClockedWorld(t)
		w.users("a", "i", "mod")
		w.friends("a", "i")
		w.op(200, "room.create", obj{"room": "r", "owner": "mod", "members": []string{"a"}})
		if blocks {
			w.block("i", "a", graph.BlockProfile)
		}
		const tick = 1_000_000
		ask := func(user, op string, body obj) {
			w.ticks.Store(tick + 1000*int64(len(seen)+1))
			r := do(t, w.public.URL, op, "Bearer "+w.tokens[user], body)
			if op != "sync" { // a token hides what it says, and nothing else of it may differ
				seen = append(seen, fmt.Sprintf("%s %s %d %s", user, op, r.status, r.raw))
				return
			}
			delete(r.body, "token")
			for _, d := range []string{"profile", "devices"} { // of the asking user itself
				delete(r.body, d)
			}
			seen = append(seen, fmt.Sprint(user, op, r.status, r.body))
		}
		_, before := w.store.Bounds()
		look := func() {
			for _, user := range []string{"a", "mod"} {
				for _, op := range []string{"room.invited", "room.members", "room.get", "room.history", "room.list", "sync"} {
					ask(user, op, obj{"room": "r"})
				}
			}
		}
		ask("a", "room.invite", obj{"room": "r", "users": []string{"i"}})
		look()
		ask("a", "room.invite", obj{"room": "r", "users": []string{"i"}})
		ask("a", "room.invite", obj{"room": "r", "users": []string{"i", "nobody"}})
		look()
		ask("a", "room.withdraw", obj{"room": "r", "users": []string{"i"}})
		look()
		ask("a", "room.withdraw", obj{"room": "r", "users": []string{"i"}})
		ask("a", "room.invite", obj{"room": "r", "users": []string{"i"}})
		ask("mod", "room.withdraw", obj{"room": "r", "users": []string{"i"}})
		ask("a", "room.invite", obj{"room": "r", "users": []string{"i"}})
		seen = append(seen, "notices "+w.visibleNotices("a")+w.visibleNotices("mod"))
		if got := w.invitations("i"); (got == "") != blocks {
			t.Errorf("blocks %v: the invited user sees %q", blocks, got)
		}
		// Another one's invitation is shown all the same.
		w.friends("mod", "i")
		want(t, "by somebody else", w.invite("mod", "r", "i"), "pending")
		if got := w.invitations("i"); got == "" {
			t.Error("an invitation that nobody sees hides another one")
		}
		_, after := w.store.Bounds()
		return seen, after - before
	}
	plain, n := run(false)
	blocked, m := run(true)
	if len(plain) != len(blocked) {
		t.Fatalf("%d answers, and %d", len(plain), len(blocked))
	}
	for i := range plain {
		if plain[i] != blocked[i] {
			t.Errorf("without the block: %s\nwith it: %s", plain[i], blocked[i])
		}
	}
	if n != m {
		t.Errorf("%d bytes of the journal without the block, %d with it", n, m)
	}
}
