package api

import (
	"fmt"
	"sort"
	"testing"
)

func TestSync(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	w.as("alice", 200, "room.create", obj{"room": "lobby"})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "hi"})
	first := w.as("alice", 200, "sync", nil)
	if first["full"] != true || first["profile"] == nil || first["devices"] == nil || first["friends"] == nil || first["blocks"] == nil {
		t.Fatalf("first sync %v", first)
	}
	want(t, "rooms", rooms(first), "[bob lobby]")
	token := first["token"]
	next := func() obj {
		t.Helper()
		s := w.as("alice", 200, "sync", obj{"token": token})
		if s["full"] != nil || s["more"] != nil {
			t.Fatalf("sync %v", s)
		}
		token = s["token"]
		return s
	}
	changed := func(s obj) (out []string) {
		for _, k := range []string{"profile", "devices", "friends", "blocks"} {
			if s[k] != nil {
				out = append(out, k)
			}
		}
		return append(out, rooms(s)...)
	}
	want(t, "nothing", changed(next()), "[]")
	for _, step := range []struct {
		op   string
		user string
		body obj
		want string
	}{
		{"message.send", "bob", obj{"user": "alice", "text": "again"}, "[bob]"},
		{"read.set", "alice", obj{"user": "bob", "seq": 2}, "[bob]"},
		{"room.hide", "alice", obj{"user": "bob"}, "[bob]"},
		{"message.delete", "alice", obj{"user": "bob", "from": 1}, "[bob]"},
		{"room.invite", "alice", obj{"room": "lobby", "users": []string{"bob"}}, "[]"}, // who is asked is not in
		{"room.accept", "bob", obj{"room": "lobby"}, "[lobby]"},
		{"room.set", "alice", obj{"room": "lobby", "title": "T"}, "[lobby]"},
		{"room.set", "alice", obj{"room": "lobby", "picture": "p"}, "[lobby]"},
		{"room.create", "alice", obj{"room": "other"}, "[other]"},
		{"profile.set", "alice", obj{"status": "s"}, "[profile]"},
		{"contact.add", "alice", obj{"user": "carol"}, "[friends]"},
		{"block.set", "alice", obj{"user": "carol"}, "[blocks]"},
		{"token.create", "alice", obj{"client_id": "x"}, "[devices]"},
		{"profile.set", "bob", obj{"display": "Bob"}, "[friends]"},
		{"room.leave", "alice", obj{"room": "lobby"}, "[lobby]"},
	} {
		w.as(step.user, 200, step.op, step.body)
		want(t, step.op, changed(next()), step.want)
		want(t, "after "+step.op, changed(next()), "[]")
	}
	// Who begins anew hears nothing of the room that was left.
	fresh := w.as("alice", 200, "sync", nil)
	want(t, "fresh", rooms(fresh), "[bob other]")
	token = fresh["token"]
	want(t, "after fresh", changed(next()), "[]")
	// A token that is not ours is as good as none.
	want(t, "full", w.as("alice", 200, "sync", obj{"token": "nonsense"})["full"], true)
}

func TestSyncPages(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	for i := range 7 {
		w.as("alice", 200, "room.create", obj{"room": fmt.Sprint("r", i)})
	}
	var got []string
	token, pages := any(""), 0
	for {
		s := w.as("alice", 200, "sync", obj{"token": token, "limit": 3})
		got = append(got, rooms(s)...)
		token = s["token"]
		pages++
		if s["more"] == nil {
			break
		}
	}
	sort.Strings(got)
	want(t, "pages", pages, 3)
	want(t, "rooms", got, "[r0 r1 r2 r3 r4 r5 r6]")
}

func rooms(s obj) []string {
	out := []string{}
	for _, r := range s["rooms"].([]any) {
		e := r.(obj)
		if n, ok := e["room"].(string); ok {
			out = append(out, n)
		} else {
			out = append(out, e["user"].(string))
		}
	}
	sort.Strings(out)
	return out
}
