package api

import (
	"strings"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

func TestRepeatedRequest(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	send := obj{"user": "bob", "text": "once"}
	first := w.as("alice", 200, "message.send", send, "Idempotency-Key", "k1")
	want(t, "repeat", w.as("alice", 200, "message.send", send, "Idempotency-Key", "k1"), first)
	pair := store.PairKey(w.account("alice").ID, w.account("bob").ID)
	want(t, "records", len(w.records(pair)), 1)

	// The same key for something else.
	r := w.as("alice", 409, "message.send", obj{"user": "bob", "text": "other"}, "Idempotency-Key", "k1")
	want(t, "word", r["error"], "request_id")
	w.as("alice", 409, "block.set", obj{"user": "bob"}, "Idempotency-Key", "k1")
	// Of another user or device it is another key.
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "hi"}, "Idempotency-Key", "k1")
	want(t, "MQTT", w.mqtt("alice", "phone", "message.send", "k1", `{"user":"bob","text":"two"}`)["seq"], 3)
	want(t, "MQTT again", w.mqtt("alice", "phone", "message.send", "k1", `{"user":"bob","text":"two"}`)["seq"], 3)
	want(t, "MQTT, another body", w.mqtt("alice", "phone", "message.send", "k1", `{"user":"bob","text":"three"}`)["code"], 409)
	want(t, "records", len(w.records(pair)), 3)

	// A refusal is not kept: when its cause is gone, the repeat succeeds.
	w.users("carol")
	w.as("carol", 200, "settings.set", obj{"strangers": "closed"})
	w.as("alice", 403, "message.send", obj{"user": "carol", "text": "hi"}, "Idempotency-Key", "k2")
	w.friends("alice", "carol")
	w.as("alice", 200, "message.send", obj{"user": "carol", "text": "hi"}, "Idempotency-Key", "k2")

	// Reads run again.
	n := len(w.as("alice", 200, "contact.list", nil, "Idempotency-Key", "k3")["users"].([]any))
	w.as("alice", 200, "contact.remove", obj{"user": "carol"})
	want(t, "friends", len(w.as("alice", 200, "contact.list", nil, "Idempotency-Key", "k3")["users"].([]any)), n-1)

	for _, bad := range []string{"a b", strings.Repeat("x", 65), "a/b"} {
		w.as("alice", 400, "contact.list", nil, "Idempotency-Key", bad)
	}
}

// TestOverMQTT: a request that a device publishes is answered on its reply topic with the bytes of HTTP.
func TestOverMQTT(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	w.as("alice", 200, "room.create", obj{"room": "lobby"})
	l := w.connect("alice", "phone")
	for _, op := range []string{"room.list", "contact.list"} {
		l.session.Publish(broker.Publication{Topic: "api/" + op + "/r1"}, broker.Ack{PacketID: 1, QoS: 1})
		it := <-l.replies
		want(t, "topic", it.Topic, "reply/r1")
		want(t, "answer", string(it.Payload), string(do(t, w.public.URL, op, "Bearer "+w.tokens["alice"], nil).raw))
	}
	l.session.Publish(broker.Publication{Topic: "api/room.history/r2", Payload: []byte(`{"room":"x"}`)}, broker.Ack{PacketID: 2, QoS: 1})
	want(t, "refusal", string((<-l.replies).Payload), `{"code":404,"error":"not_found","text":"you have no such room","retry_ms":0}`)
}

// TestRepeatAfterRestart: the answer outlives the process.
func TestRepeatAfterRestart(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	send := obj{"user": "bob", "text": "once"}
	first := w.as("alice", 200, "message.send", send, "Idempotency-Key", "k1")
	w.stop()
	w.start()
	want(t, "repeat", w.as("alice", 200, "message.send", send, "Idempotency-Key", "k1"), first)
	want(t, "records", len(w.records(store.PairKey(w.account("alice").ID, w.account("bob").ID))), 1)
}

// TestRepeatWithoutAnswer: when the server died between the work and the answer, the work is not doubled.
func TestRepeatWithoutAnswer(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	u := w.account("alice")
	again := func(op, body string) (obj, obj) {
		run := func() obj {
			// The work alone, as once does it, without keeping the answer.
			c := &caller{id: hooks.Identity{Account: u.ID, Name: u.Name}, account: u, rid: "the-request"}
			out, err := w.api.users[op].run(t.Context(), w.api, c, []byte(body))
			if err != nil {
				t.Fatalf("%s: %v", op, err)
			}
			b, err := encode(out)
			if err != nil {
				t.Fatal(err)
			}
			var o obj
			unmarshal(t, b, &o)
			return o
		}
		return run(), run()
	}
	first, second := again("message.send", `{"user":"bob","text":"hi"}`)
	want(t, "message", second, first)
	first, second = again("room.create", `{}`)
	want(t, "room", second["room"], first["room"])
	want(t, "created", say(first["created"], second["created"]), "true false")
}

// TestConcurrentRepeats: of many at once one does the work, and all get its answer.
func TestConcurrentRepeats(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	const n = 24
	answers := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := do(t, w.public.URL, "token.create", "Bearer "+w.tokens["alice"], obj{"client_id": "phone"}, "Idempotency-Key", "one")
			answers[i] = string(r.raw)
		})
	}
	wg.Wait()
	tokens := w.as("alice", 200, "token.list", nil)["tokens"].([]any)
	want(t, "tokens", len(tokens), 2)
	with := 0
	for _, a := range answers {
		if strings.Contains(a, `"secret":"hwt_`) {
			with++
		} else if !strings.Contains(a, `"repeated":true`) {
			t.Fatalf("answer %s", a)
		}
	}
	if with == 0 {
		t.Fatal("nobody got the secret")
	}
	// Nobody gets it afterwards, and it is not on the disk.
	r := w.as("alice", 200, "token.create", obj{"client_id": "phone"}, "Idempotency-Key", "one")
	want(t, "repeat", say(r["secret"], r["repeated"]), "<nil> true")
	kept, err := w.store.AnswerTo(w.account("alice").ID, 0, "one")
	if err != nil || strings.Contains(string(kept.Body), "hwt_") {
		t.Fatalf("kept %q %v", kept.Body, err)
	}
}

// TestRequestsAtOnce: one user cannot take all the server's time.
func TestRequestsAtOnce(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.AtOnce = 2 })
	w.users("alice", "bob")
	u := w.account("alice").ID
	for range 2 {
		if !w.api.busy.enter(u, 2) {
			t.Fatal("no place")
		}
	}
	r := w.as("alice", 429, "account.me", nil)
	want(t, "retry_ms", r["retry_ms"], 1000)
	w.as("bob", 200, "account.me", nil)
	w.api.busy.leave(u)
	w.as("alice", 200, "account.me", nil)
	w.as("alice", 200, "account.me", nil) // the place came back
	w.api.busy.leave(u)
	if n := len(w.api.busy.by); n != 0 {
		t.Fatalf("%d users are remembered", n)
	}
}

// TestOperatorsAnswersAreApart: two operators may use the same key.
func TestOperatorsAnswersAreApart(t *testing.T) {
	w := newWorld(t)
	token := func() string {
		return "Bearer " + w.op(200, "operator.token.create", obj{"scopes": []string{"accounts"}})["secret"].(string)
	}
	a, b := token(), token()
	r := do(t, w.admin.URL, "account.create", a, obj{"name": "x"}, "Idempotency-Key", "k")
	want(t, "first", r.status, 200)
	want(t, "again", do(t, w.admin.URL, "account.create", a, obj{"name": "x"}, "Idempotency-Key", "k").body["repeated"], true)
	want(t, "other", do(t, w.admin.URL, "account.create", b, obj{"name": "x"}, "Idempotency-Key", "k").status, 409)
	want(t, "socket", w.op(200, "account.create", obj{"name": "y"}, "Idempotency-Key", "k")["account"].(obj)["name"], "y")
}
