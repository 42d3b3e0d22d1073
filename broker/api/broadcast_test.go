package api

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// withBroadcasts lets channels post; nothing goes out by itself.
func withBroadcasts(t testing.TB) func(*Config) {
	return func(c *Config) {
		b, err := broadcast.New(broadcast.Config{Store: c.Broker.Store(), Graph: c.Broker.Access().Relations(), Poster: c.Broker, Stored: true})
		if err != nil {
			t.Fatal(err)
		}
		c.Broadcasts = b
	}
}

// posting opens a channel that may post.
func (w *world) posting(name string, publishers map[string]store.Role) store.LogID {
	w.t.Helper()
	var in store.Creation
	for user, role := range publishers {
		in.Members = append(in.Members, store.Member{Account: w.account(user).ID, Role: role})
	}
	info, _, err := w.store.Open(w.t.Context(), store.ChannelKey(name), in)
	if err != nil {
		w.t.Fatal(err)
	}
	ads, _, err := w.store.Open(w.t.Context(), store.AdsKey(name), in)
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.api.graph.SetChannel(w.t.Context(), info.ID, func(c *graph.Channel) error {
		*c = graph.Channel{Title: name, Ads: ads.ID, Created: 1, Approved: 1}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return info.ID
}

func TestBroadcasts(t *testing.T) {
	w := newWorld(t, withBroadcasts(t))
	w.users("alice", "bob", "eve")
	w.posting("cafe", map[string]store.Role{"alice": store.RoleOwner, "bob": store.RoleMember})
	w.posting("other", map[string]store.Role{"bob": store.RoleOwner})
	w.key("alice", "key", "channel:cafe")
	day := w.now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	spring := obj{"channel": "Cafe", "key": "Spring", "at": day, "ad": true, "post": obj{"text": "sale",
		"variants": obj{"ko": obj{"text": "할인"}}, "buttons": []obj{{"text": "Shop", "url": "https://example.com/"}}},
		"segment": nil}
	out := w.as("alice", 200, "broadcast.create", spring)
	b := out["broadcast"].(obj)
	want(t, "made", say(out["new"], b["channel"], b["key"], b["state"], b["ad"], b["opening"], b["at"]), say(true, "cafe", "spring", "scheduled", true, "(Ad) sale", day.Format(time.RFC3339)))
	want(t, "who", b["events"].([]any)[0].(obj)["by"], "alice")
	want(t, "again", w.as("bob", 200, "broadcast.create", spring)["new"], nil)
	w.as("alice", 409, "broadcast.create", obj{"channel": "cafe", "key": "spring", "post": obj{"text": "another"}})
	w.as("alice", 400, "broadcast.create", obj{"channel": "cafe", "key": "bad", "post": obj{"text": "x", "buttons": []obj{{"text": "Go", "url": "http://example.com"}}}})
	w.as("alice", 400, "broadcast.create", obj{"channel": "cafe", "key": "bad", "post": obj{"text": "x"}, "segment": obj{"countries": []string{"KR"}, "languages": []string{"ko"}, "sample": 3}})
	w.as("alice", 404, "broadcast.create", obj{"channel": "cafe", "key": "bad", "post": obj{"text": "x"}, "coupon": "none"})

	// Whoever is no publisher learns nothing, also not whether there is such a channel.
	for _, channel := range []string{"cafe", "nowhere"} {
		for _, o := range []string{"broadcast.create", "broadcast.get", "broadcast.list", "broadcast.pause", "broadcast.resume", "broadcast.cancel", "broadcast.report", "channel.post", "channel.recall"} {
			in := obj{"channel": channel, "key": "spring", "post": obj{"text": "x"}}
			if o == "channel.recall" {
				in = obj{"channel": channel, "broadcast": "spring"}
			}
			w.as("eve", 404, o, in)
		}
	}
	want(t, "no channel, for operators", w.op(404, "broadcast.list", obj{"channel": "nowhere"})["text"], "there is no such channel")

	// What is misspelled would go to everybody, or without its label: it is refused, by whomever it was made.
	for field, in := range map[string]obj{
		"segement": {"segement": obj{"countries": []string{"KR"}}}, "ads": {"ads": true}, "county": {"segment": obj{"county": "KR"}}, "pics": {"post": obj{"text": "x", "pics": []string{}}},
	} {
		body := obj{"channel": "cafe", "key": "typo", "post": obj{"text": "x"}}
		maps.Copy(body, in)
		text := `the request has a key that broadcast.create does not know: "` + field + `"`
		want(t, field, w.as("alice", 400, "broadcast.create", body)["text"], text)
		want(t, field, w.op(400, "broadcast.create", body)["text"], text)
	}
	w.as("alice", 400, "channel.post", obj{"channel": "cafe", "post": obj{"text": "x", "varients": obj{}}})
	w.as("alice", 404, "broadcast.get", obj{"channel": "cafe", "key": "typo"})
	want(t, "a time", w.as("alice", 400, "broadcast.create", obj{"channel": "cafe", "key": "t", "at": "tomorrow", "post": obj{"text": "x"}})["text"],
		`tomorrow is no time such as "2026-03-01T09:00:00+09:00" (RFC 3339)`)
	w.as("key", 200, "broadcast.get", obj{"channel": "cafe", "key": "spring"})
	w.as("key", 403, "broadcast.get", obj{"channel": "other", "key": "spring"})

	want(t, "paused", w.as("bob", 200, "broadcast.pause", obj{"channel": "cafe", "key": "spring"})["broadcast"].(obj)["state"], "paused")
	want(t, "resumed", w.as("bob", 200, "broadcast.resume", obj{"channel": "cafe", "key": "spring"})["broadcast"].(obj)["state"], "scheduled")
	want(t, "to operators", w.op(200, "broadcast.get", obj{"channel": "cafe", "key": "spring"})["broadcast"].(obj)["state"], "scheduled")
	want(t, "canceled", w.op(200, "broadcast.cancel", obj{"channel": "cafe", "key": "spring"})["broadcast"].(obj)["state"], "canceled")
	w.as("bob", 409, "broadcast.pause", obj{"channel": "cafe", "key": "spring"})
	w.as("bob", 409, "broadcast.resume", obj{"channel": "cafe", "key": "spring"})
	w.as("bob", 404, "broadcast.report", obj{"channel": "cafe", "key": "spring"})
	w.as("bob", 404, "broadcast.get", obj{"channel": "cafe", "key": "summer"})
	for i := range 3 { // in an order that is also that of their keys: they may be of one millisecond
		w.as("bob", 200, "broadcast.create", obj{"channel": "cafe", "key": fmt.Sprint("k", 2-i), "post": obj{"text": "x"}})
	}
	page := w.as("bob", 200, "broadcast.list", obj{"channel": "cafe", "limit": 3})
	rest := w.as("bob", 200, "broadcast.list", obj{"channel": "cafe", "limit": 3, "after": page["next"]})
	keys := ""
	for _, l := range append(page["broadcasts"].([]any), rest["broadcasts"].([]any)...) {
		keys += " " + l.(obj)["key"].(string)
	}
	want(t, "listed", say(keys, rest["next"]), say(" k0 k1 k2 spring", nil))
}

func TestChannelPost(t *testing.T) {
	w := newWorld(t, withBroadcasts(t))
	w.users("alice", "bob", "carol")
	channel := w.posting("cafe", map[string]store.Role{"alice": store.RoleOwner, "bob": store.RoleMember, "carol": store.RoleMember})
	in := obj{"channel": "cafe", "key": "k1", "post": obj{"text": "hello", "variants": obj{"ko": obj{"text": "안녕"}}}}
	first := w.as("bob", 200, "channel.post", in)
	again := w.as("bob", 200, "channel.post", in)
	want(t, "again", say(again["seq"], again["repeated"]), say(first["seq"], true))
	records := w.records(store.ChannelKey("cafe"))
	r := records[len(records)-1]
	if string(r.Text) != "hello" || r.Sender != 0 {
		t.Errorf("the record is %q of %v", r.Text, r.Sender)
	}
	p, err := w.api.graph.Post(channel, graph.PostID(r))
	if err != nil || p.Variants["ko"].Text != "안녕" {
		t.Errorf("the post says %+v, %v", p, err)
	}
	w.as("bob", 400, "channel.post", obj{"channel": "cafe", "post": obj{}})
	w.as("bob", 400, "channel.recall", obj{"channel": "cafe"})
	w.as("bob", 400, "channel.recall", obj{"channel": "cafe", "seq": 1, "broadcast": "x"})
	w.as("bob", 404, "channel.recall", obj{"channel": "cafe", "seq": 999})
	w.as("bob", 404, "channel.recall", obj{"channel": "cafe", "seq": first["seq"], "ads": true})
	taken := w.as("carol", 200, "channel.recall", obj{"channel": "cafe", "seq": first["seq"]})
	if taken["seq"] == nil || !w.records(store.ChannelKey("cafe"))[len(records)-1].Recalled {
		t.Errorf("not taken back: %v", taken)
	}
	want(t, "again", w.as("bob", 200, "channel.recall", obj{"channel": "cafe", "seq": first["seq"]})["seq"], nil)

	// What a publisher has posted over MQTT others take back only as editors.
	own, err := w.store.Append(store.Draft{Log: channel, Sender: w.account("bob").ID, Text: []byte("mine")}).Result()
	if err != nil {
		t.Fatal(err)
	}
	w.as("carol", 403, "channel.recall", obj{"channel": "cafe", "seq": own.Seq})
	w.as("alice", 200, "channel.recall", obj{"channel": "cafe", "seq": own.Seq})

	// A broadcast that did not go out is canceled.
	w.as("bob", 200, "broadcast.create", obj{"channel": "cafe", "key": "b", "post": obj{"text": "x"}})
	want(t, "nothing to take back", w.as("bob", 200, "channel.recall", obj{"channel": "cafe", "broadcast": "b"})["seq"], nil)
	want(t, "canceled", w.as("bob", 200, "broadcast.get", obj{"channel": "cafe", "key": "b"})["broadcast"].(obj)["state"], "canceled")

	if err := w.api.graph.SetChannel(t.Context(), channel, func(c *graph.Channel) error { c.Paused = 1; return nil }); err != nil {
		t.Fatal(err)
	}
	out := w.as("bob", 403, "channel.post", obj{"channel": "cafe", "post": obj{"text": "x"}})
	want(t, "paused", out["error"], "channel_paused")
}
