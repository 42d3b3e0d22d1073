package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

func TestMessages(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	sent := w.as("alice", 200, "message.send", obj{"user": "bob", "text": "helo", "cid": "c1"})
	want(t, "seq", sent["seq"], 1)
	want(t, "cid", sent["cid"], "c1")
	want(t, "same cid", w.as("alice", 200, "message.send", obj{"user": "bob", "text": "helo", "cid": "c1"})["seq"], 1)
	w.as("alice", 200, "message.edit", obj{"user": "bob", "seq": 1, "text": "hello"})
	w.as("bob", 200, "message.react", obj{"user": "alice", "seq": 1, "emoji": "👍"})
	w.as("bob", 200, "message.react", obj{"user": "alice", "seq": 1, "emoji": "👍", "on": false})
	w.as("bob", 200, "message.pin", obj{"user": "alice", "seq": 1})
	w.as("bob", 403, "message.edit", obj{"user": "alice", "seq": 1, "text": "mine"})
	w.as("bob", 403, "message.recall", obj{"user": "alice", "seq": 1})
	w.as("bob", 404, "message.react", obj{"user": "alice", "seq": 99, "emoji": "👍"})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "see", "kind": "file", "reply_to": 1,
		"attachments": []obj{{"url": "x", "size": uint64(1) << 60}}})
	want(t, "bodies", texts(w.as("bob", 200, "room.history", obj{"user": "alice"})), "[hello hello 👍 👍  see]")
	last := w.as("bob", 200, "room.history", obj{"user": "alice", "after": 5})
	if raw, _ := json.Marshal(last["items"]); !strings.Contains(string(raw), `"k":"file"`) || !strings.Contains(string(raw), `"r":1`) {
		t.Fatalf("items %s", raw)
	}
	raw := do(t, w.public.URL, "room.history", "Bearer "+w.tokens["bob"], obj{"user": "alice", "after": 5}).raw
	if !strings.Contains(string(raw), "1152921504606846976") {
		t.Fatalf("a number of an attachment lost digits: %s", raw)
	}

	w.as("alice", 200, "message.recall", obj{"user": "bob", "seq": 1})
	for _, b := range texts(w.as("bob", 200, "room.history", obj{"user": "alice"})) {
		if strings.Contains(b, "hello") && b != "hello" {
			t.Fatal(b)
		}
	}
	first := w.as("bob", 200, "room.history", obj{"user": "alice", "limit": 1, "before": 2})["items"].([]any)[0].(obj)
	want(t, "recalled", say(first["b"], first["x"].(obj)["op"]), "<nil> recall")
	w.as("alice", 409, "message.edit", obj{"user": "bob", "seq": 1, "text": "again"})

	w.as("carol", 200, "settings.set", obj{"strangers": "closed"})
	for _, c := range []struct {
		body   obj
		status int
	}{
		{obj{"user": "carol", "text": "x"}, 403},
		{obj{"user": "nobody", "text": "x"}, 403},
		{obj{"user": "bob"}, 400},
		{obj{"user": "bob", "text": "x", "kind": "coupon"}, 403},
		{obj{"user": "bob", "text": "x", "kind": "what"}, 400},
		{obj{"user": "bob", "text": "x", "cid": "a b"}, 400},
		{obj{"user": "bob", "text": "x", "mentions": []string{"carol"}}, 400},
		{obj{"user": "bob", "text": strings.Repeat("x", 70_000)}, 413},
		{obj{"user": "bob", "seq": 0}, 400},
	} {
		w.as("alice", c.status, "message.send", c.body)
	}
	w.as("alice", 400, "message.edit", obj{"user": "bob", "text": "x"})
}

func TestDeleteForMe(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Deleted = 2 })
	w.users("alice", "bob")
	w.friends("alice", "bob")
	for i := range 9 {
		w.as("alice", 200, "message.send", obj{"user": "bob", "text": fmt.Sprint(i + 1)})
	}
	w.as("bob", 200, "message.delete", obj{"user": "alice", "from": 2, "to": 3})
	w.as("bob", 200, "message.delete", obj{"user": "alice", "from": 5})
	want(t, "bob", texts(w.as("bob", 200, "room.history", obj{"user": "alice"})), "[1 4 6 7 8 9]")
	want(t, "alice", len(texts(w.as("alice", 200, "room.history", obj{"user": "bob"}))), 9)
	r := w.as("bob", 507, "message.delete", obj{"user": "alice", "from": 7})
	want(t, "text", r["text"], "too many separate ranges are deleted in this conversation: delete a larger one: the limit is 2")
	for _, bad := range []obj{{"user": "alice"}, {"user": "alice", "from": 3, "to": 2}} {
		w.as("bob", 400, "message.delete", bad)
	}
	// What comes later is not deleted beforehand.
	w.as("alice", 200, "message.delete", obj{"user": "bob", "from": 9, "to": 1_000_000})
	w.as("alice", 200, "message.delete", obj{"user": "bob", "from": 500, "to": 1_000_000})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "new"})
	want(t, "alice", texts(w.as("alice", 200, "room.history", obj{"user": "bob", "after": 8})), "[new]")
	// Held sequences are told on the next one, as in deliveries.
	item := w.as("alice", 200, "room.history", obj{"user": "bob", "after": 8})["items"].([]any)[0].(obj)
	want(t, "withheld", item["g"], "[9 9]")
}

// TestHistoryPages: in both directions pages give what may be seen once and in order, whatever is left out.
func TestHistoryPages(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	for i := range 60 {
		w.as("alice", 200, "message.send", obj{"user": "bob", "text": fmt.Sprint(i + 1)})
	}
	w.as("bob", 200, "message.delete", obj{"user": "alice", "from": 11, "to": 45})
	var all []string
	for i := 1; i <= 60; i++ {
		if i < 11 || i > 45 {
			all = append(all, fmt.Sprint(i))
		}
	}
	for _, limit := range []int{1, 3, 7, 50} {
		var got []string
		for after := any(0); ; {
			p := w.as("bob", 200, "room.history", obj{"user": "alice", "limit": limit, "after": after})
			if n := len(texts(p)); n > limit {
				t.Fatalf("%d records, limit %d", n, limit)
			}
			got = append(got, texts(p)...)
			after = p["after"]
			if p["more"] == nil {
				break
			}
		}
		want(t, fmt.Sprint("forward by ", limit), got, all)

		got = nil
		for before := any(nil); ; {
			q := obj{"user": "alice", "limit": limit}
			if before != nil {
				q["before"] = before
			}
			p := w.as("bob", 200, "room.history", q)
			got = append(texts(p), got...)
			if before = p["before"]; before == nil {
				break
			}
		}
		want(t, fmt.Sprint("backward by ", limit), got, all)
	}
}

// TestHistoryIsWhatIsDelivered: the envelopes are those of the json view.
func TestHistoryIsWhatIsDelivered(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "<b>&\u2028"})
	r := w.records(store.PairKey(w.account("alice").ID, w.account("bob").ID))[0]
	delivered := string(view.JSON(r, view.Env{Epoch: 1, Names: w.broker}).Append(nil, view.Own{Viewer: w.account("bob").ID, Unread: 1}))
	raw := string(do(t, w.public.URL, "room.history", "Bearer "+w.tokens["bob"], obj{"user": "alice"}).raw)
	// The bytes of the string may be escaped otherwise; its value is the same.
	var a, b any
	unmarshal(t, []byte(delivered), &a)
	var h struct{ Items []json.RawMessage }
	unmarshal(t, []byte(raw), &h)
	unmarshal(t, h.Items[0], &b)
	want(t, "envelope", b, a)
}

func TestHistoryOfLargeMessages(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	for i := range 8 {
		w.as("alice", 200, "message.send", obj{"user": "alice", "text": fmt.Sprint(i+1, strings.Repeat("x", 60_000))})
	}
	r := do(t, w.public.URL, "room.history", "Bearer "+w.tokens["alice"], obj{"user": "alice"})
	if len(r.raw) > 2*answerBytes {
		t.Fatalf("%d bytes", len(r.raw))
	}
	n := 0
	for before := any(nil); ; {
		q := obj{"user": "alice"}
		if before != nil {
			q["before"] = before
		}
		p := w.as("alice", 200, "room.history", q)
		n += len(texts(p))
		if before = p["before"]; before == nil {
			break
		}
	}
	want(t, "messages", n, 8)
}

func TestReadMarks(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	w.friends("alice", "carol")
	w.as("alice", 200, "room.create", obj{"room": "lobby"})
	w.op(200, "room.add", obj{"room": "lobby", "users": []string{"bob", "carol"}})
	for i := range 3 {
		w.as("alice", 200, "message.send", obj{"room": "lobby", "text": fmt.Sprint(i)})
	}
	want(t, "mark", w.as("bob", 200, "read.set", obj{"room": "lobby", "seq": 4})["read"], 4)
	want(t, "back", w.as("bob", 200, "read.set", obj{"room": "lobby", "seq": 2})["read"], 4)
	want(t, "beyond the head", w.as("carol", 200, "read.set", obj{"room": "lobby", "seq": 1 << 40})["read"], 5)
	l := w.as("alice", 200, "read.list", obj{"room": "lobby"})
	want(t, "marks", l["marks"], "[[0 1] [4 1] [5 1]]")
	want(t, "own", l["read"], 0)
	w.as("alice", 400, "read.set", obj{"room": "lobby"})
	items := w.as("alice", 200, "room.history", obj{"room": "lobby"})["items"].([]any)
	want(t, "unread of the last", items[4].(obj)["u"], 1)
}
