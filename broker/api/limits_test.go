package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks/limit"
)

// limited makes a world in which these rates count, with a clock that stands still.
func limited(t *testing.T, rates map[limit.Rule]limit.Rate) (*world, *limit.Limiter) {
	t.Helper()
	l, err := limit.New(limit.Config{Rates: rates, Now: func() time.Time { return epoch }})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOf(t, l)
	w.users("alice", "bob")
	return w, l
}

// Requests count by user over both transports, by address, and by what they ask; a refusal says when to come back.
func TestRequestRates(t *testing.T) {
	hour := func(burst int) limit.Rate { return limit.Rate{Count: 1, Per: time.Hour, Burst: burst} }
	w, l := limited(t, map[limit.Rule]limit.Rate{limit.APIRead: hour(3), limit.APICreate: hour(1)})
	for range 3 {
		w.as("alice", 200, "account.me", nil)
	}
	r := do(t, w.public.URL, "account.me", "Bearer "+w.tokens["alice"], nil)
	want(t, "over", say(r.status, r.body["error"], r.header.Get("Retry-After")), "429 rate 3600")
	want(t, "over MQTT", w.mqtt("alice", "phone", "account.me", "x", "")["error"], "rate")
	w.as("bob", 200, "account.me", nil)
	w.as("alice", 200, "room.create", obj{"room": "one"})
	w.as("alice", 429, "room.create", obj{"room": "two"})
	w.as("alice", 200, "profile.set", obj{"status": "still here"})

	set := func(rates map[limit.Rule]limit.Rate) {
		t.Helper()
		if err := l.Set(limit.Settings{Rates: rates}); err != nil {
			t.Fatal(err)
		}
	}
	set(map[limit.Rule]limit.Rate{limit.APIRead: {}, limit.Requests: hour(2)})
	w.as("alice", 200, "account.me", nil)
	w.as("alice", 200, "account.me", nil)
	w.as("alice", 429, "account.me", nil)
	set(map[limit.Rule]limit.Rate{limit.APIRead: {}, limit.Requests: {}, limit.RequestsAddress: hour(1)})
	w.as("alice", 200, "account.me", nil)
	w.as("bob", 429, "account.me", nil)
	want(t, "without credentials", do(t, w.public.URL, "account.me", "", nil).status, 429)
	w.op(429, "account.list", nil) // the test's socket is one of TCP; a real one has no address
	set(nil)
}

// Wrong credentials pause a login before they are looked at; a token alone counts by address only.
func TestLoginRates(t *testing.T) {
	w, _ := limited(t, map[limit.Rule]limit.Rate{limit.LoginAccount: {Count: 1, Per: time.Hour, Burst: 2}, limit.Login: {Count: 1, Per: time.Hour, Burst: 6}})
	basic := func(user, secret string) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, w.public.URL+"/v1/account.me", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(user, secret)
		return roundTrip(t, r).status
	}
	for range 3 {
		want(t, "wrong", basic("alice", "wrong"), 401)
	}
	want(t, "right, in the pause", basic("alice", w.tokens["alice"]), 429)
	want(t, "somebody else", basic("bob", w.tokens["bob"]), 200)
	want(t, "the token alone", do(t, w.public.URL, "account.me", "Bearer "+w.tokens["alice"], nil).status, 200)
	for range 3 {
		want(t, "wrong token", do(t, w.public.URL, "account.me", "Bearer nonsense", nil).status, 401)
	}
	want(t, "the address", do(t, w.public.URL, "account.me", "Bearer "+w.tokens["alice"], nil).status, 429)
}

// Sending over HTTP and operations on messages have the rates of publishing.
func TestSendRates(t *testing.T) {
	hour := func(burst int) limit.Rate { return limit.Rate{Count: 1, Per: time.Hour, Burst: burst} }
	w, _ := limited(t, map[limit.Rule]limit.Rate{limit.Publish: hour(5), limit.Reactions: hour(2), limit.Reads: hour(1)})
	w.friends("alice", "bob")
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "one"})
	w.as("alice", 200, "message.react", obj{"user": "bob", "seq": 1, "emoji": "👍"})
	w.as("alice", 200, "message.react", obj{"user": "bob", "seq": 1, "emoji": "🎉"})
	w.as("alice", 429, "message.react", obj{"user": "bob", "seq": 1, "emoji": "🌱"})
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "two"})
	w.as("alice", 429, "message.send", obj{"user": "bob", "text": "three"})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "back"})
	w.as("bob", 200, "read.set", obj{"user": "alice", "seq": 1})
	w.as("bob", 429, "read.set", obj{"user": "alice", "seq": 2})
}

// Limits that operators set count at once, all of a change or nothing, and after a restart.
func TestSetLimits(t *testing.T) {
	w, _ := limited(t, nil)
	line := func(name string) obj {
		t.Helper()
		for _, l := range w.op(200, "limits.get", nil)["limits"].([]any) {
			if l.(obj)["name"] == name {
				if l.(obj)["text"] == "" {
					t.Errorf("%s is not explained", name)
				}
				return l.(obj)
			}
		}
		t.Fatalf("limits.get does not tell %s", name)
		return nil
	}
	for _, l := range w.op(200, "limits.get", nil)["limits"].([]any) {
		line(l.(obj)["name"].(string))
	}
	want(t, "default", say(line("publish")["value"], line("publish")["set"], line("strangers")["value"], line("group")["value"]), "100/s:5000 <nil> 50 500")
	w.op(200, "limits.set", obj{"set": obj{"publish": "1/h:1", "strangers": "7", "batch": "2", "devices": "1"}, "reason": "an attack"})
	check := func() {
		t.Helper()
		want(t, "set", say(line("publish")["value"], line("publish")["set"], line("publish")["default"], line("strangers")["value"], line("batch")["value"]), "1/h:1 true 100/s:5000 7 2")
		want(t, "batch", w.as("alice", 200, "account.me", nil)["limits"].(obj)["batch"], 2)
		want(t, "number", w.broker.Limits().Number(limit.Strangers), 7)
	}
	check()
	w.friends("alice", "bob")
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "one"})
	w.as("alice", 429, "message.send", obj{"user": "bob", "text": "two"})
	w.op(200, "device.create", obj{"account": "alice", "client_id": "one"})
	w.op(507, "device.create", obj{"account": "alice", "client_id": "two"})
	for _, bad := range []obj{
		nil, {"set": obj{"publish": "fast"}}, {"set": obj{"publish": "1/h:0"}}, {"set": obj{"batch": "0"}}, {"set": obj{"batch": "9999999"}},
		{"set": obj{"nonsense": "1"}}, {"set": obj{"strangers": "-1"}}, {"set": obj{"strangers": "1.5"}}, {"set": obj{"reports_to_limit": "0"}},
		{"reset": []string{"rooms"}}, {"set": obj{"friends": "5", "publish": "x"}}, {"set": obj{"": "1"}}, {"set": []int{1}},
	} {
		w.op(400, "limits.set", bad)
	}
	want(t, "a half change", line("friends")["set"], nil)
	check()
	w.stop()
	if err := w.limits.Set(limit.Settings{}); err != nil { // as in a new process
		t.Fatal(err)
	}
	w.start()
	check()
	w.op(200, "limits.set", obj{"reset": []string{"publish", "batch", "strangers"}})
	want(t, "reset", say(line("publish")["value"], line("batch")["value"], line("strangers")["value"], line("devices")["value"]), "100/s:5000 32 50 1")
}
