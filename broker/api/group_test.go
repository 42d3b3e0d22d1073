package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// reads is what a user finds in a room's history: texts, and operations by name.
func (w *world) reads(user, room string) string {
	w.t.Helper()
	var out []string
	for _, it := range w.as(user, 200, "room.history", obj{"room": room, "after": 0, "limit": 200})["items"].([]any) {
		e := it.(obj)
		line := fmt.Sprint(e["b"])
		if x, ok := e["x"].(obj); ok {
			if line = fmt.Sprint(x["op"]); e["b"] != nil {
				line = fmt.Sprint(e["b"], "*")
			}
		}
		if g, ok := e["g"].([]any); ok {
			line += fmt.Sprint("(", g[0], "-", g[1], ")")
		}
		out = append(out, line)
	}
	return strings.Join(out, " ")
}

func (w *world) says(user, room, text string) store.Seq {
	w.t.Helper()
	return store.Seq(w.as(user, 200, "message.send", obj{"room": room, "text": text})["seq"].(float64))
}

// TestHiddenMembers: what blocked members write is withheld from who hides them, at the time it was written, whatever way
// it is read; others see everything.
func TestHiddenMembers(t *testing.T) {
	w := newClockedWorld(t)
	w.users("m", "bad", "good")
	w.op(200, "room.create", obj{"room": "r", "owner": "good", "members": []string{"m", "bad"}})
	before := w.says("bad", "r", "before") // 1
	w.block("m", "bad", graph.BlockMessages)
	w.as("bad", 200, "message.edit", obj{"room": "r", "seq": before, "text": "edited"}) // 2
	during := w.says("bad", "r", "during")                                              // 3
	w.as("good", 200, "message.react", obj{"room": "r", "seq": during, "emoji": "👍"})   // 4: on what m does not see
	w.as("good", 200, "message.pin", obj{"room": "r", "seq": during})                   // 5
	w.says("good", "r", "hello")                                                        // 6
	w.block("m", "bad", graph.BlockNone)
	w.says("bad", "r", "after")                                                            // 7
	w.as("bad", 200, "message.edit", obj{"room": "r", "seq": during, "text": "late"})      // 8: of what m never saw
	w.as("bad", 200, "message.edit", obj{"room": "r", "seq": before, "text": "unblocked"}) // 9

	all := "unblocked* edited* late* react* pin hello after late* unblocked*"
	all = strings.Replace(all, "react*", "👍*", 1)
	want(t, "without the setting", w.reads("m", "r"), all)
	w.as("m", 200, "settings.set", obj{"hide_blocked": "on"})
	want(t, "with it", w.reads("m", "r"), "unblocked* hello(2-5) after unblocked*(8-8)")
	want(t, "others", w.reads("good", "r"), all)
	w.as("m", 404, "message.react", obj{"room": "r", "seq": during, "emoji": "👍"})

	// While the block lasts the old text stays, and what is hidden at the end is not there: no unread, no head.
	w.block("m", "bad", graph.BlockMessages)
	w.as("bad", 200, "message.edit", obj{"room": "r", "seq": before, "text": "harmless"})
	for i := range 3 {
		w.says("bad", "r", fmt.Sprint("spam ", i))
	}
	want(t, "evidence", strings.Fields(w.reads("m", "r"))[0], "unblocked*")
	want(t, "edited for others", strings.Fields(w.reads("good", "r"))[0], "harmless*")
	for _, e := range w.as("m", 200, "room.list", nil)["rooms"].([]any) {
		want(t, "list", say(e.(obj)["head"], e.(obj)["unread"]), "9 3")
	}
	// What was taken back is shown to nobody.
	w.as("bad", 200, "message.recall", obj{"room": "r", "seq": before})
	want(t, "recalled", strings.Fields(w.reads("m", "r"))[0], "recall")

	// In an open room accounts say nothing.
	w.as("good", 200, "open.create", obj{"room": "open", "title": "Open", "nickname": "Captain"})
	for _, u := range []string{"m", "bad"} {
		w.as(u, 200, "open.join", obj{"room": "open", "nickname": "nick" + u})
	}
	w.says("bad", "open", "hi")
	if got := w.reads("m", "open"); !strings.HasSuffix(got, " hi") {
		t.Errorf("in an open room: %s", got)
	}
}

// TestSyncHidesWhatIsHidden: a sync of who hides a member changes nothing when that member writes.
func TestSyncHidesWhatIsHidden(t *testing.T) {
	w := newClockedWorld(t)
	w.users("m", "bad")
	w.op(200, "room.create", obj{"room": "r", "owner": "m", "members": []string{"bad"}})
	w.says("m", "r", "mine")
	w.as("m", 200, "settings.set", obj{"hide_blocked": "on"})
	w.block("m", "bad", graph.BlockMessages)
	token := w.as("m", 200, "sync", nil)["token"]
	w.says("bad", "r", "spam")
	want(t, "sync", w.as("m", 200, "sync", obj{"token": token})["rooms"], "[]")
}

// TestHistoryOfNewMembers: who comes in sees from there on, or everything where the history is open; who has left, nothing.
func TestHistoryOfNewMembers(t *testing.T) {
	w := newClockedWorld(t)
	w.users("o", "x", "y")
	w.op(200, "room.create", obj{"room": "r", "owner": "o"})
	w.says("o", "r", "one")
	w.op(200, "room.add", obj{"room": "r", "users": []string{"x"}})
	want(t, "joined", w.reads("x", "r"), "joined")
	w.as("x", 403, "room.set", obj{"room": "r", "history": "open"})
	w.as("o", 400, "room.set", obj{"room": "r", "history": "closed"})
	w.as("o", 200, "room.set", obj{"room": "r", "history": "open"})
	want(t, "those who are in", w.reads("x", "r"), "joined room_settings")
	w.op(200, "room.add", obj{"room": "r", "users": []string{"y"}})
	want(t, "open", w.reads("y", "r"), "one joined room_settings joined")
	w.as("x", 200, "room.leave", obj{"room": "r"})
	w.says("o", "r", "two")
	want(t, "left", w.reads("x", "r"), "joined room_settings joined left")
	w.op(200, "room.add", obj{"room": "r", "users": []string{"x"}})
	want(t, "back", w.reads("x", "r"), "one joined room_settings joined left two joined")
	w.as("o", 200, "room.set", obj{"room": "r", "history": "joined"})
	w.as("y", 200, "room.leave", obj{"room": "r"})
	w.says("o", "r", "three")
	w.op(200, "room.add", obj{"room": "r", "users": []string{"y"}})
	if got := w.reads("y", "r"); strings.Contains(got, "three") || !strings.HasPrefix(got, "one ") {
		t.Errorf("y came back: %s", got)
	}
}

// TestGroupViewOutcomes: the one place decides what table T3 says, for readers that ask record by record.
func TestGroupViewOutcomes(t *testing.T) {
	w := newClockedWorld(t)
	w.users("o", "m", "bad", "gone")
	w.op(200, "room.create", obj{"room": "r", "owner": "o", "members": []string{"m", "bad", "gone"}})
	info := w.find("r")
	early := w.says("bad", "r", "early")
	w.block("m", "bad", graph.BlockMessages)
	bad, good := w.says("bad", "r", "bad"), w.says("o", "r", "good")
	w.as("gone", 200, "room.leave", obj{"room": "r"})
	outcome := func(user string, seq store.Seq, mentioned bool) policy.Outcome {
		t.Helper()
		info, err := w.store.Info(info.ID)
		if err != nil {
			t.Fatal(err)
		}
		p, err := w.store.Read(store.Query{Log: info.ID, After: seq - 1, Upto: seq})
		if err != nil {
			t.Fatal(err)
		}
		out, err := w.broker.Access().GroupView(w.account(user).ID, info, p.Records[0], mentioned)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want(t, "good", outcome("m", good, false), policy.Deliver)
	want(t, "blocked", outcome("m", bad, true), policy.DeliverNoPush)
	want(t, "before the block", outcome("m", early, false), policy.Deliver)
	want(t, "left", outcome("gone", good, false), policy.None)
	w.as("m", 200, "settings.set", obj{"hide_blocked": "on"})
	want(t, "hidden", outcome("m", bad, true), policy.Skip)
	w.as("m", 200, "mute.set", obj{"room": "r", "mentions": true})
	want(t, "muted", outcome("m", good, false), policy.DeliverNoPush)
	want(t, "mentioned", outcome("m", good, true), policy.Deliver)
}

func TestRoomMute(t *testing.T) {
	w := newClockedWorld(t)
	w.users("o", "mod", "x", "y")
	w.op(200, "room.create", obj{"room": "r", "owner": "o", "members": []string{"mod", "x", "y"}})
	w.as("o", 200, "room.role", obj{"room": "r", "user": "mod", "role": "moderator"})
	w.as("x", 403, "room.mute", obj{"room": "r", "user": "y"})
	w.as("mod", 403, "room.mute", obj{"room": "r", "user": "o"})
	w.as("mod", 404, "room.mute", obj{"room": "r", "user": "nobody"})
	w.as("mod", 400, "room.mute", obj{"room": "r", "user": "x", "seconds": -1})
	seq := w.says("x", "r", "fine")
	w.as("mod", 200, "room.mute", obj{"room": "r", "user": "x", "seconds": 60})
	for op, body := range map[string]obj{"message.send": {"text": "no"}, "message.edit": {"seq": seq, "text": "no"}, "message.react": {"seq": seq, "emoji": "👍"}} {
		body["room"] = "r"
		r := do(t, w.public.URL, op, "Bearer "+w.tokens["x"], body)
		ms, _ := r.body["retry_ms"].(float64)
		if r.status != 403 || r.body["error"] != "muted" || ms <= 0 || ms > 60_000 {
			t.Errorf("%s: %d %s", op, r.status, r.raw)
		}
	}
	w.as("x", 200, "read.set", obj{"room": "r", "seq": seq}) // reading is not writing
	muted := func(asks, of string) bool {
		for _, m := range w.as(asks, 200, "room.members", obj{"room": "r"})["members"].([]any) {
			if m.(obj)["name"] == of {
				return m.(obj)["muted_until"] != nil
			}
		}
		return false
	}
	want(t, "who is told", say(muted("mod", "x"), muted("x", "x"), muted("y", "x")), "true true false")
	if w.as("x", 200, "room.get", obj{"room": "r"})["muted_until"] == nil {
		t.Error("the muted one is not told")
	}
	w.later(time.Minute)
	w.says("x", "r", "again")
	w.as("mod", 200, "room.mute", obj{"room": "r", "user": "x"})
	r := do(t, w.public.URL, "message.send", "Bearer "+w.tokens["x"], obj{"room": "r", "text": "no"})
	want(t, "for ever", say(r.status, r.body["retry_ms"]), "403 0")
	w.as("x", 200, "room.leave", obj{"room": "r"})
	w.op(200, "room.add", obj{"room": "r", "users": []string{"x"}})
	w.as("x", 403, "message.send", obj{"room": "r", "text": "leaving ends no mute"})
	w.as("o", 200, "room.role", obj{"room": "r", "user": "x", "role": "moderator"})
	w.says("x", "r", "moderators write")
	w.as("o", 200, "room.role", obj{"room": "r", "user": "x", "role": "member"})
	w.as("mod", 200, "room.mute", obj{"room": "r", "user": "x", "seconds": 0})
	w.says("x", "r", "back")
	if got := w.reads("o", "r"); strings.Count(got, " muted") != 2 || strings.Count(got, "unmuted") != 1 {
		t.Errorf("told in the room: %s", got)
	}
}

func TestRoomOffer(t *testing.T) {
	w := newClockedWorld(t)
	w.users("o", "x", "y")
	w.op(200, "room.create", obj{"room": "r", "owner": "o", "members": []string{"x", "y"}})
	owner := func() string {
		var out []string
		for _, m := range w.op(200, "room.members", obj{"room": "r"})["members"].([]any) {
			out = append(out, m.(obj)["role"].(string)[:1])
		}
		return strings.Join(out, "")
	}
	w.as("x", 403, "room.offer", obj{"room": "r", "user": "y"})
	w.as("o", 404, "room.offer", obj{"room": "r", "user": "nobody"})
	w.as("o", 400, "room.offer", obj{"room": "r", "user": "o"})
	w.as("x", 404, "room.take", obj{"room": "r"})
	w.as("o", 200, "room.offer", obj{"room": "r", "user": "x"})
	want(t, "told", w.visibleNotices("x"), "[offered o r]")
	want(t, "offered", w.as("x", 200, "room.get", obj{"room": "r"})["offered"], true)
	w.as("y", 404, "room.take", obj{"room": "r"})
	w.as("o", 200, "room.offer", obj{"room": "r"})
	w.as("x", 404, "room.take", obj{"room": "r"}) // taken back
	w.as("o", 200, "room.offer", obj{"room": "r", "user": "x"})
	w.later(offerLives)
	w.as("x", 404, "room.take", obj{"room": "r"})
	w.as("o", 200, "room.offer", obj{"room": "r", "user": "x"})
	w.as("o", 200, "room.role", obj{"room": "r", "user": "y", "role": "owner"})
	w.as("x", 404, "room.take", obj{"room": "r"}) // it was somebody else's to offer
	want(t, "given at once", owner(), "mmo")
	w.as("y", 200, "room.offer", obj{"room": "r", "user": "x"})
	w.as("x", 200, "room.take", obj{"room": "r"})
	want(t, "taken", owner(), "mom")
	w.as("x", 404, "room.take", obj{"room": "r"})
}

func TestClosedRoom(t *testing.T) {
	w := newClockedWorld(t)
	w.users("o", "x")
	w.op(200, "room.create", obj{"room": "r", "owner": "o", "members": []string{"x"}})
	seq := w.says("x", "r", "hi")
	w.op(404, "room.close", obj{"room": "absent"})
	want(t, "closed", w.op(200, "room.close", obj{"room": "r", "reason": "spam"})["changed"], true)
	want(t, "again", w.op(200, "room.close", obj{"room": "r", "reason": "fraud"})["changed"], false)
	for op, body := range map[string]obj{"message.send": {"text": "no"}, "message.edit": {"seq": seq, "text": "no"}, "room.set": {"title": "no"}, "room.invite": {"users": []string{"x"}}} {
		body["room"] = "r"
		w.as("o", 423, op, body)
	}
	w.op(423, "room.add", obj{"room": "r", "users": []string{"x"}})
	want(t, "read", w.reads("x", "r"), "hi spam*")
	w.as("x", 200, "read.set", obj{"room": "r", "seq": seq})
	got := w.as("x", 200, "room.get", obj{"room": "r"})
	if got["reason"] != "fraud" || got["closed"] == nil {
		t.Errorf("%v", got)
	}
	want(t, "list", w.as("x", 200, "room.list", nil)["rooms"].([]any)[0].(obj)["closed"], true)
	w.as("x", 200, "room.leave", obj{"room": "r"})
	want(t, "opened", w.op(200, "room.close", obj{"room": "r", "on": false})["changed"], true)
	w.says("o", "r", "again")

	// Operators see every room.
	w.op(200, "room.create", obj{"room": "s", "owner": "o"})
	w.op(200, "room.close", obj{"room": "s"})
	seen, after := "", ""
	for {
		p := w.op(200, "room.list", obj{"limit": 1, "after": after})
		for _, r := range p["rooms"].([]any) {
			seen += fmt.Sprint(r.(obj)["room"], " ", r.(obj)["closed"] != nil, ", ")
		}
		if p["next"] == nil {
			break
		}
		after = p["next"].(string)
	}
	want(t, "all rooms", seen, "r false, s true, ")
}

func TestRoomSettings(t *testing.T) {
	w := newClockedWorld(t)
	w.users("o", "x")
	w.op(200, "room.create", obj{"room": "r", "owner": "o", "members": []string{"x"}})
	for _, bad := range []obj{{"description": strings.Repeat("x", 1001)}, {"description": "a\u0007"}, {"picture": "no spaces"}, {"history": "all"}, {"invites": "nobody"}, {"title": "a\nb"}} {
		bad["room"] = "r"
		r := do(t, w.public.URL, "room.set", "Bearer "+w.tokens["o"], bad)
		if r.status != 400 && r.status != 413 {
			t.Errorf("%v: %d %s", bad, r.status, r.raw)
		}
	}
	w.as("o", 200, "room.set", obj{"room": "r", "title": "T", "description": "two\r\nlines ", "picture": "P1", "invites": "moderators"})
	w.as("o", 200, "room.set", obj{"room": "r", "picture": "p1"}) // nothing new
	g := w.as("x", 200, "room.get", obj{"room": "r"})
	want(t, "room", say(g["title"], g["description"], g["picture"], g["invites"], g["history"], g["role"], g["members"], g["capacity"]), "T two\nlines p1 moderators joined member 2 500")
	want(t, "told", w.reads("x", "r"), "room_settings title")
	w.as("o", 200, "room.set", obj{"room": "r", "description": "", "picture": "", "invites": "members"})
	g = w.as("x", 200, "room.get", obj{"room": "r"})
	want(t, "room", say(g["title"], g["description"], g["picture"], g["invites"]), "T <nil> <nil> members")
}
