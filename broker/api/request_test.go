package api

import (
	"fmt"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// boxed is what a request box shows: "user:text,text user:text".
func boxed(list obj) (out []string) {
	for _, r := range list["requests"].([]any) {
		s := r.(obj)["user"].(string) + ":"
		for i, it := range r.(obj)["items"].([]any) {
			if i > 0 {
				s += ","
			}
			s += it.(obj)["b"].(string)
		}
		out = append(out, s)
	}
	return out
}

func TestRequests(t *testing.T) {
	w := newWorld(t)
	w.users("bob", "ann", "cat", "dan", "eve")
	w.as("bob", 200, "settings.set", obj{"strangers": "request"})
	token := w.as("bob", 200, "sync", nil)["token"]
	say := func(from, to, text string) {
		t.Helper()
		w.as(from, 200, "message.send", obj{"user": to, "text": text})
	}
	box := func() string { t.Helper(); return fmt.Sprint(boxed(w.as("bob", 200, "request.list", nil))) }
	heard := func(from string) string {
		t.Helper()
		return fmt.Sprint(texts(w.as("bob", 200, "room.history", obj{"user": from})))
	}
	want(t, "empty", box(), "[]")
	for i := range 4 { // the fourth goes nowhere, and looks the same
		say("ann", "bob", fmt.Sprint("a", i))
	}
	say("cat", "bob", "c0")
	say("dan", "bob", "d0")
	say("eve", "bob", "e0")
	w.as("ann", 200, "message.edit", obj{"user": "bob", "seq": 2, "text": "edited"})
	w.as("cat", 200, "message.recall", obj{"user": "bob", "seq": 1})
	want(t, "box", box(), "[ann:a0,edited,a2 dan:d0 eve:e0]")
	page := w.as("bob", 200, "request.list", obj{"limit": 1})
	want(t, "page", fmt.Sprint(boxed(page)), "[ann:a0,edited,a2]")
	want(t, "next page", fmt.Sprint(boxed(w.as("bob", 200, "request.list", obj{"after": page["next"]}))), "[dan:d0 eve:e0]")

	// For bob nothing of it exists elsewhere, and for the senders everything does.
	for _, from := range []string{"ann", "cat", "nobody"} {
		w.as("bob", 404, "room.history", obj{"user": from})
	}
	want(t, "list", len(w.as("bob", 200, "room.list", nil)["rooms"].([]any)), 0)
	next := w.as("bob", 200, "sync", obj{"token": token})
	want(t, "sync", fmt.Sprint(len(next["rooms"].([]any)), next["requests"]), "0 4")
	want(t, "own list", w.as("ann", 200, "room.list", nil)["rooms"].([]any)[0].(obj)["members"], 2)
	want(t, "own history", len(texts(w.as("ann", 200, "room.history", obj{"user": "bob"}))), 5)

	// Nobody else's request, a missing one, and one answered already are one answer.
	for _, u := range []string{"nobody", "bob"} {
		want(t, u, w.as("bob", 404, "request.accept", obj{"user": u})["text"], w.as("bob", 404, "request.decline", obj{"user": "ghost"})["text"])
	}

	// Accepting starts at the first, and what follows arrives.
	w.as("bob", 200, "request.accept", obj{"user": "ann"})
	w.as("bob", 404, "request.accept", obj{"user": "ann"})
	say("ann", "bob", "after")
	want(t, "accepted", heard("ann"), "[a0 edited a2 edited after]")
	want(t, "unread", w.as("bob", 200, "room.list", nil)["rooms"].([]any)[0].(obj)["unread"], 4)

	// Declining is a quiet block.
	w.as("bob", 200, "request.decline", obj{"user": "dan"})
	say("dan", "bob", "d1")
	w.as("dan", 200, "message.edit", obj{"user": "bob", "seq": 1, "text": "let me in"})
	want(t, "box", box(), "[eve:e0]")
	w.as("bob", 404, "room.history", obj{"user": "dan"})
	want(t, "block list", fmt.Sprint(w.as("bob", 200, "block.list", nil)["users"]), "[]")

	// Writing to somebody who was declined takes it back: what was declined stays unseen, what comes is seen.
	say("bob", "dan", "sorry")
	say("dan", "bob", "d2")
	w.as("dan", 200, "message.edit", obj{"user": "bob", "seq": 1, "text": "peep"})
	want(t, "taken back", heard("dan"), "[sorry d2]")

	// Writing to somebody whose request waits accepts it; so does adding a friend.
	say("bob", "eve", "yes?")
	want(t, "accepted by writing", heard("eve"), "[e0 yes?]")
	w.as("bob", 200, "contact.add", obj{"user": "cat"})
	say("cat", "bob", "c1")
	want(t, "accepted by adding", w.as("bob", 200, "room.history", obj{"user": "cat"})["head"], 3)
	want(t, "box", box(), "[]")
	want(t, "notices", fmt.Sprint(w.notices("bob")), "[settings requests requests friends cat requests]")
}

func TestBlockLevels(t *testing.T) {
	w := newWorld(t)
	w.users("bob", "ann", "cat")
	w.as("bob", 200, "settings.set", obj{"strangers": "request"})
	w.as("ann", 200, "message.send", obj{"user": "bob", "text": "waits"})
	for _, c := range []struct {
		in      obj
		changed bool
		list    string
	}{
		{obj{"user": "ann"}, true, "[map[display:ann level:messages name:ann]]"},
		{obj{"user": "ann", "level": "messages"}, false, "[map[display:ann level:messages name:ann]]"},
		{obj{"user": "ann", "level": "profile"}, true, "[map[display:ann level:profile name:ann]]"},
		{obj{"user": "ann", "level": "none"}, true, "[]"},
		{obj{"user": "ann", "level": "profile", "on": true}, true, "[map[display:ann level:profile name:ann]]"},
		{obj{"user": "ann", "on": false}, true, "[]"},
		{obj{"user": "ann", "on": false}, false, "[]"},
	} {
		want(t, fmt.Sprint(c.in), w.as("bob", 200, "block.set", c.in)["changed"], c.changed)
		want(t, fmt.Sprint(c.in), fmt.Sprint(w.as("bob", 200, "block.list", nil)["users"]), c.list)
	}
	for _, in := range []obj{{"user": "ann", "level": "all"}, {"user": "ann", "level": "none", "on": true}, {"user": "ann", "level": "profile", "on": false}, {"user": "bob"}} {
		w.as("bob", 400, "block.set", in)
	}
	want(t, "a blocked user's request is gone", fmt.Sprint(boxed(w.as("bob", 200, "request.list", nil))), "[]")

	// What was written during a block stays unseen, also to operations after it.
	w.as("bob", 200, "contact.add", obj{"user": "ann"})
	w.as("ann", 200, "message.send", obj{"user": "bob", "text": "seen"})
	w.as("bob", 200, "block.set", obj{"user": "ann"})
	w.as("ann", 200, "message.send", obj{"user": "bob", "text": "unseen"})
	w.as("ann", 200, "message.recall", obj{"user": "bob", "seq": 2})
	w.as("bob", 200, "block.set", obj{"user": "ann", "level": "none"})
	w.as("ann", 200, "message.edit", obj{"user": "bob", "seq": 3, "text": "still unseen"})
	w.as("ann", 200, "message.send", obj{"user": "bob", "text": "quote", "reply_to": 3})
	w.as("ann", 200, "message.send", obj{"user": "bob", "text": "seen again"})
	want(t, "bob's", fmt.Sprint(texts(w.as("bob", 200, "room.history", obj{"user": "ann"}))), "[seen seen again]")
	if n := len(w.records(store.PairKey(w.account("bob").ID, w.account("ann").ID))); n != 7 {
		t.Errorf("%d records", n)
	}
}
