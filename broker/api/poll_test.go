package api

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestPolls(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol", "dave")
	w.friends("alice", "bob")
	w.op(200, "room.create", obj{"room": "lunch", "owner": "alice", "members": []string{"bob", "carol"}})
	one := obj{"room": "lunch", "question": "Where?", "options": []string{"Seoul", "Busan", "Jeju"}}
	want(t, "seq", w.as("alice", 200, "poll.create", one)["seq"], 1)
	many := obj{"room": "lunch", "question": "When?", "options": []string{"a", "b"}, "multiple": true}
	w.as("bob", 200, "poll.create", many)
	shown := func(user string, seq int, wanted string) {
		t.Helper()
		p := w.as(user, 200, "poll.get", obj{"room": "lunch", "seq": seq})
		want(t, "poll", fmt.Sprint(p["counts"], p["voters"], p["mine"], p["closed"]), wanted)
	}
	vote := func(user string, status, seq int, options ...int) {
		t.Helper()
		if options == nil {
			options = []int{}
		}
		w.as(user, status, "poll.vote", obj{"room": "lunch", "seq": seq, "options": options})
	}
	shown("carol", 1, "[0 0 0] 0 <nil> <nil>")
	vote("alice", 200, 1, 0)
	vote("bob", 200, 1, 1)
	vote("bob", 200, 1, 0)
	vote("carol", 200, 1, 2)
	shown("carol", 1, "[2 0 1] 3 [2] <nil>")
	vote("carol", 200, 1)
	shown("carol", 1, "[2 0 0] 2 <nil> <nil>")
	vote("carol", 400, 1, 0, 1)
	vote("carol", 400, 1, 3)
	vote("carol", 400, 1, -1)
	vote("carol", 200, 2, 1, 0, 1)
	shown("carol", 2, "[1 1] 1 [0 1] <nil>")
	vote("carol", 404, 9, 0)
	vote("dave", 403, 1, 0)
	w.as("dave", 404, "poll.get", obj{"room": "lunch", "seq": 1})
	w.as("bob", 403, "poll.close", obj{"room": "lunch", "seq": 1})
	w.as("alice", 200, "poll.close", obj{"room": "lunch", "seq": 2}) // the owner moderates
	w.as("alice", 200, "poll.close", obj{"room": "lunch", "seq": 1})
	vote("bob", 423, 1, 1)
	shown("bob", 1, "[2 0 0] 2 [0] true")
	soon := obj{"room": "lunch", "question": "Now?", "options": []string{"y", "n"}, "ends": epoch.Add(-time.Hour)}
	w.as("alice", 400, "poll.create", soon)
	for _, bad := range []obj{{"question": "", "options": []string{"a", "b"}}, {"question": "q", "options": []string{"a"}},
		{"question": "q", "options": []string{"a", "a"}}, {"question": "q", "options": []string{"a", ""}}} {
		bad["room"] = "lunch"
		w.as("alice", 400, "poll.create", bad)
	}
	w.as("alice", 200, "message.recall", obj{"room": "lunch", "seq": 1})
	w.as("bob", 404, "poll.get", obj{"room": "lunch", "seq": 1})
}

// Votes of many at once are all counted.
func TestPollUnderConcurrency(t *testing.T) {
	w := newWorld(t)
	names := []string{"alice"}
	for i := range 12 {
		names = append(names, fmt.Sprint("u", i))
	}
	w.users(names...)
	w.op(200, "room.create", obj{"room": "r", "owner": "alice", "members": names[1:]})
	w.as("alice", 200, "poll.create", obj{"room": "r", "question": "q", "options": []string{"a", "b"}})
	var wg sync.WaitGroup
	for _, n := range names {
		wg.Go(func() {
			for i := range 4 {
				for do(t, w.public.URL, "poll.vote", "Bearer "+w.tokens[n], obj{"room": "r", "seq": 1, "options": []int{i % 2}}).status != 200 {
				}
			}
		})
	}
	wg.Wait()
	p := w.as("alice", 200, "poll.get", obj{"room": "r", "seq": 1})
	want(t, "poll", fmt.Sprint(p["counts"], p["voters"]), fmt.Sprint("[0 ", len(names), "] ", len(names)))
}

// What a blocked user votes is counted for that user alone.
func TestPollUnderABlock(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	w.as("bob", 200, "poll.create", obj{"user": "alice", "question": "q", "options": []string{"a", "b"}})
	w.as("bob", 200, "block.set", obj{"user": "alice"})
	p := w.as("alice", 200, "poll.vote", obj{"user": "bob", "seq": 1, "options": []int{1}})
	want(t, "what alice sees", fmt.Sprint(p["counts"], p["voters"], p["mine"]), "[0 1] 1 [1]")
	p = w.as("bob", 200, "poll.get", obj{"user": "alice", "seq": 1})
	want(t, "what bob sees", fmt.Sprint(p["counts"], p["voters"]), "[0 0] 0")
}
