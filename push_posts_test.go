package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// gazette is a channel of a user's: its notices and its advertising.
type gazette struct {
	*ringing
	notices, ads store.LogID
}

func (r *ringing) gazette(publisher string) *gazette {
	r.t.Helper()
	g := &gazette{ringing: r}
	first := store.Creation{By: r.account(publisher), Members: []store.Member{{Account: r.account(publisher), Role: store.RoleOwner}}}
	for key, log := range map[store.Key]*store.LogID{store.ChannelKey("gazette"): &g.notices, store.AdsKey("gazette"): &g.ads} {
		info, _, err := r.store.Open(r.t.Context(), key, first)
		g.ok(err)
		*log = info.ID
	}
	g.ok(r.graph().SetChannel(r.t.Context(), g.notices, func(c *graph.Channel) error {
		*c = graph.Channel{Title: "The Gazette", Ads: g.ads, Created: 1, Approved: 1}
		return nil
	}))
	return g
}

func (g *gazette) ok(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (r *ringing) graph() *graph.Graph { return r.broker.Access().Relations() }

// follow changes how a user stands to the channel.
func (g *gazette) follow(user string, fn func(*graph.Follow)) {
	g.t.Helper()
	g.ok(g.graph().SetFollow(g.t.Context(), g.account(user), g.notices, func(f *graph.Follow) error { fn(f); return nil }))
	g.broker.FollowChanged(g.account(user), g.notices)
}

// rings is a follower for whom posts ring, and who consents to advertising.
func rings(f *graph.Follow) { *f = graph.Follow{Since: 1, Ads: 1, Push: graph.PostPushRing} }

func (g *gazette) post(log store.LogID, publisher, text string) store.Seq {
	g.t.Helper()
	r, err := g.store.Append(store.Draft{Log: log, Sender: g.account(publisher), Text: []byte(text)}).Result()
	g.ok(err)
	return r.Seq
}

// told waits until the followers were considered for a post.
func (g *gazette) told(log store.LogID, seq store.Seq) bridge.PostPushes {
	g.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		p, err := g.bridge.PostPushes(log, seq)
		g.ok(err)
		if p.Done {
			return p
		}
		if time.Now().After(end) {
			g.t.Fatalf("%+v", p)
		}
	}
}

// A post rings on every phone that is away, once, and is taken away again; a device that is connected gets it live and no
// push, and so does not ring when it goes.
func TestPostRings(t *testing.T) {
	t.Parallel()
	r := newRinging(t, nil, "brand", "bob", "carol")
	g := r.gazette("brand")
	g.follow("bob", rings)
	g.follow("carol", func(f *graph.Follow) { f.Since = 1 }) // posts are silent unless asked for
	silent := r.phone("carol", "phone", graph.APNs)
	tokens := map[string]string{}
	for _, p := range graph.PushProviders() {
		tokens["phone-"+string(p)] = r.phone("bob", "phone-"+string(p), p)
	}
	tablet := r.phone("bob", "tablet", graph.APNs)
	d := r.gadget("bob", "tablet", 5)
	d.connect(false)
	d.subscribe("channel/+/json")
	seq := g.post(g.notices, "brand", "fresh news")
	for client, token := range tokens {
		got := r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
		n := got.Notifications[0]
		if got.Rang != 1 || n.Kind != string(push.KindPost) || n.Seq != uint64(seq) || n.Room != "channel/gazette" {
			t.Errorf("%s shows %+v", client, n)
		}
		r.decided("bob", client, g.notices, seq, because(bridge.ReasonAway))
	}
	d.await(func(f []byte) bool { return bytes.Contains(f, []byte("fresh news")) })
	if p := g.told(g.notices, seq); p.Considered != 2 || p.Sent != 3 {
		t.Errorf("%+v", p)
	}
	r.decided("bob", "tablet", g.notices, seq, because(bridge.ReasonLive))
	r.decided("carol", "phone", g.notices, seq, because(bridge.ReasonSilent))
	d.disconnect()
	for _, token := range []string{tablet, silent} {
		r.never(token, 0)
	}
	withoutWords(t, r.sim.Attempts(), "fresh", "brand")

	_, err := r.store.Append(store.Draft{Log: g.notices, Sender: r.account("brand"), Op: store.Op{Kind: store.OpRecall, Target: seq}}).Result()
	g.ok(err)
	for _, token := range tokens {
		r.comes(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 0 })
	}
	r.never(tablet, 0)
}

// The night begins, somebody leaves and somebody withdraws the consent while advertising goes out one by one: what was not
// told by then is not told, and those who slept are in the morning, once.
func TestNightBeginsInsideAPost(t *testing.T) {
	t.Parallel()
	const people = 12
	users := []string{"brand"}
	for i := range people {
		users = append(users, fmt.Sprint("f", i))
	}
	r := newSlowRinging(t, users...)
	g := r.gazette("brand")
	var tokens []string
	for _, u := range users[1:] {
		g.follow(u, rings)
		g.ok(r.graph().SetSettings(t.Context(), r.account(u), func(s *graph.Settings) error { s.Country = "KR"; return nil }))
		tokens = append(tokens, r.phone(u, "phone", graph.APNs))
	}
	seoul, err := time.LoadLocation("Asia/Seoul")
	g.ok(err)
	y, m, day := r.now().In(seoul).Date()
	r.pass(time.Date(y, m, day+1, 20, 59, 0, 0, seoul).Sub(r.now()))
	fault, err := r.sim.Add(pushsim.Fault{Do: pushsim.Do{Latency: 3 * time.Second}})
	g.ok(err)
	seq := g.post(g.ads, "brand", "(Ad) buy")
	r.waits(tokens[0], func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
	r.pass(2 * time.Minute)
	g.follow(users[people], func(f *graph.Follow) { f.Since = 0 })
	g.follow(users[people-1], func(f *graph.Follow) { f.Ads = 0 })
	r.sim.Clear(fault)
	p := g.told(g.ads, seq)
	if p.Considered != people || p.Sent == 0 || p.Sent > people-2 || p.Later == 0 || p.Sent+p.Later > people {
		t.Errorf("in the evening: %+v", p)
	}
	was := len(r.sim.Attempts())
	r.later(9 * time.Hour) // six in the morning
	if n := len(r.sim.Attempts()); n != was {
		t.Errorf("%d pushes at night", n-was)
	}
	r.decided(users[people-2], "phone", g.ads, seq, because(bridge.ReasonNight))
	r.pass(2*time.Hour + time.Minute)
	for i, token := range tokens {
		if i < people-2 {
			r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 1 && p.Rang == 1 })
		}
	}
	r.later(time.Hour)
	for i, token := range tokens {
		want := 1
		if i >= people-2 {
			want = 0
		}
		if got := r.attempts(token); len(got) != want {
			t.Errorf("%s: %d pushes, want %d", users[i+1], len(got), want)
		}
	}
}

// newSlowRinging is a ringing whose lane for Apple sends posts one by one.
func newSlowRinging(t *testing.T, users ...string) *ringing {
	return newRinging(t, func(c *bridge.Config) {
		c.Lanes = map[graph.PushProvider]lane.Config{graph.APNs: {InFlight: 4}}
	}, users...)
}
