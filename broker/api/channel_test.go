package api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// notices are what a user was told, in order.
func (w *world) toldTo(user string) string {
	w.t.Helper()
	var out []string
	for _, r := range w.records(store.NoticeKey(w.account(user).ID)) {
		if r.Audience == store.AudienceBoth {
			out = append(out, string(view.Text(nil, r, view.English, w.broker.NamesOf(r.Log, 0))))
		}
	}
	return strings.Join(out, "; ")
}

func (w *world) opened(name string) (notices, ads store.LogID) {
	w.t.Helper()
	w.as("brand", 200, "channel.create", obj{"channel": name, "title": "Acme " + name, "category": "food", "language": "ko", "country": "kr"})
	w.op(200, "channel.approve", obj{"channel": name})
	for _, k := range []store.Key{store.ChannelKey(name), store.AdsKey(name)} {
		info, err := w.store.Find(k)
		if err != nil {
			w.t.Fatal(err)
		}
		notices, ads = ads, info.ID
	}
	return notices, ads
}

func (w *world) post(log store.LogID, text string) {
	w.t.Helper()
	u := w.account("brand").ID
	if _, err := w.store.Append(store.Draft{Log: log, Sender: u, Device: 7, CID: "secret-" + text, Text: []byte(text), Need: store.RoleMember}).Result(); err != nil {
		w.t.Fatal(err)
	}
}

// TestChannelsThatLookAlike: a brand is refused what operators may let pass, and they are told before they approve it.
func TestChannelsThatLookAlike(t *testing.T) {
	w := newWorld(t)
	w.users("brand", "alice")
	w.as("alice", 200, "channel.create", obj{"channel": "acme2", "title": "Acme Shop"})
	w.opened("shop") // Acme shop
	want(t, "refused", w.as("alice", 409, "channel.create", obj{"channel": "sh0p", "title": "x"})["text"],
		"this looks like the channel shop of somebody else: choose another title or identifier, or ask who runs the server")
	want(t, "told", w.op(409, "channel.approve", obj{"channel": "acme2"})["text"],
		"it looks like the channel shop (Acme shop) of somebody else, and is approved only if you say that you have seen it (alike)")
	want(t, "waits", w.as("alice", 200, "channel.get", obj{"channel": "acme2"})["state"], "waiting")
	w.op(200, "channel.approve", obj{"channel": "acme2", "alike": true})
	w.op(200, "channel.approve", obj{"channel": "acme2"}) // again is nothing new
	w.as("alice", 200, "channel.set", obj{"channel": "acme2", "title": "Another"})
	w.as("alice", 409, "channel.set", obj{"channel": "acme2", "title": "ACME SH0P"})
	w.op(200, "channel.set", obj{"channel": "acme2", "title": "Acme Shop"})
	w.op(200, "channel.create", obj{"channel": "sh0p", "title": "Acme", "owner": "alice"})
}

func TestChannelLife(t *testing.T) {
	w := newWorld(t)
	w.users("brand", "alice")
	w.as("brand", 400, "channel.create", obj{"channel": "acme"})
	w.as("brand", 400, "channel.create", obj{"channel": "acme", "title": "x", "category": "nothing"})
	out := w.as("brand", 200, "channel.create", obj{"channel": "Acme", "title": "Acme"})
	want(t, "created", say(out["channel"], out["new"], out["role"], out["state"]), "acme true owner waiting")
	want(t, "again", w.as("brand", 200, "channel.create", obj{"channel": "acme", "title": "Acme"})["new"], false)
	w.as("alice", 409, "channel.create", obj{"channel": "acme", "title": "Acme"})
	for op, in := range map[string]obj{"channel.get": {}, "channel.follow": {}, "channel.unfollow": {}, "channel.history": {}, "channel.numbers": {}, "channel.set": {"title": "x"},
		"channel.opened": {"seq": 1}, "channel.publisher.accept": {}, "channel.key.list": {}, "channel.block": {}} {
		in["channel"] = "acme"
		missing := do(t, w.public.URL, op, "Bearer "+w.tokens["alice"], in)
		in["channel"] = "nothere"
		absent := do(t, w.public.URL, op, "Bearer "+w.tokens["alice"], in)
		if missing.status != 404 || string(missing.raw) != string(absent.raw) {
			t.Errorf("%s tells a waiting channel from none: %d %s, %s", op, missing.status, missing.raw, absent.raw)
		}
	}
	w.op(404, "channel.approve", obj{"channel": "acme", "plan": "gold"})
	want(t, "plan", w.op(200, "channel.plan.set", obj{"plan": "gold", "posts": 7})["posts"], 7)
	want(t, "approved", w.op(200, "channel.approve", obj{"channel": "acme", "plan": "gold"})["changed"], true)
	want(t, "brand is told", w.toldTo("brand"), "The channel acme was approved")
	page := w.as("alice", 200, "channel.get", obj{"channel": "acme"})
	if page["state"] != nil || page["plan"] != nil || page["role"] != nil {
		t.Errorf("a stranger sees %v", page)
	}
	w.as("alice", 403, "channel.set", obj{"channel": "acme", "title": "Mine"})
	w.as("alice", 403, "channel.numbers", obj{"channel": "acme"})
	want(t, "title", w.as("brand", 200, "channel.set", obj{"channel": "acme", "title": "강남 커피"})["title"], "강남 커피")
	found := w.as("alice", 200, "channel.search", obj{"query": "강남"})["channels"].([]any)
	want(t, "found", len(found), 1)
	want(t, "by identifier", len(w.as("alice", 200, "channel.search", obj{"query": "@ACME"})["channels"].([]any)), 1)
	w.as("alice", 400, "channel.search", obj{"category": "nothing"})
	want(t, "numbers", w.as("brand", 200, "channel.numbers", obj{"channel": "acme"})["plan"].(obj)["posts"], 7)
	w.op(400, "channel.suspend", obj{"channel": "acme"})
	w.op(200, "channel.suspend", obj{"channel": "acme", "reason": "spam"})
	w.as("alice", 404, "channel.get", obj{"channel": "acme"})
	got := w.as("brand", 200, "channel.get", obj{"channel": "acme"})
	want(t, "suspended", say(got["state"], got["reason"]), "suspended spam")
	w.op(200, "channel.suspend", obj{"channel": "acme", "on": false})
	want(t, "paused", w.as("brand", 200, "channel.pause", obj{"channel": "acme"})["changed"], true)
	list := w.op(200, "channel.list", nil)["channels"].([]any)
	want(t, "listed", say(len(list), list[0].(obj)["state"]), "1 paused")
	want(t, "plans", len(w.op(200, "channel.plan.list", nil)["plans"].([]any)), 2)
	w.op(200, "channel.plan.remove", obj{"plan": "gold"})
	want(t, "the default", w.as("brand", 200, "channel.get", obj{"channel": "acme"})["plan"], "default")
	out = w.op(200, "channel.create", obj{"channel": "theirs", "owner": "alice", "title": "Theirs"})
	want(t, "an operator's", say(out["state"], w.as("alice", 200, "channel.mine", nil)["channels"].([]any)[0].(obj)["role"]), "ok owner")
}

func TestFollow(t *testing.T) {
	w := newWorld(t)
	w.users("brand", "alice")
	notices, ads := w.opened("acme")
	w.post(notices, "old")
	w.post(ads, "old ad")
	var told []string
	w.api.cfg.Followed = func(a store.AccountID, c store.LogID) { told = append(told, fmt.Sprint(a, c)) }
	follow := func() *graph.Follow {
		t.Helper()
		f, err := w.api.graph.Follow(w.account("alice").ID, notices)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	w.as("alice", 409, "channel.consent", obj{"channel": "acme"})
	want(t, "followed", w.as("alice", 200, "channel.follow", obj{"channel": "acme"})["changed"], true)
	want(t, "again", w.as("alice", 200, "channel.follow", obj{"channel": "acme"})["changed"], false)
	if f := follow(); !f.Follows() || f.From == 0 || f.FromAds == 0 || f.Ads != 0 {
		t.Errorf("consent comes by itself, or the past: %+v", f)
	}
	w.post(ads, "between")
	w.as("alice", 200, "channel.consent", obj{"channel": "acme"})
	if f := follow(); f.Ads == 0 || f.FromAds < 2 {
		t.Errorf("%+v", f)
	}
	w.as("alice", 400, "channel.push", obj{"channel": "acme", "push": "loud"})
	w.as("alice", 200, "channel.push", obj{"channel": "acme", "push": "ring"})
	page := w.as("alice", 200, "channel.get", obj{"channel": "acme"})
	want(t, "how", say(page["following"], page["ads"], page["push"], page["followers"]), "true true ring <nil>")
	w.post(notices, "new")
	list := w.as("alice", 200, "channel.list", nil)["channels"].([]any)
	l := list[0].(obj)
	want(t, "listed", say(len(list), l["channel"], l["head"], l["last"].(obj)["b"]), "1 acme 2 new")
	for _, who := range []string{"f", "i"} {
		if l["last"].(obj)[who] != nil {
			t.Errorf("the post tells %s: %v", who, l["last"])
		}
	}
	want(t, "history", texts(w.as("alice", 200, "channel.history", obj{"channel": "acme"})), "[old new]")
	want(t, "after", texts(w.as("alice", 200, "channel.history", obj{"channel": "acme", "after": 1})), "[new]")
	for _, it := range w.as("alice", 200, "channel.history", obj{"channel": "acme", "after": 0, "limit": 1})["items"].([]any) {
		if it := it.(obj); it["f"] != nil || it["i"] != nil || it["b"] != "old" {
			t.Errorf("a follower reads %v", it)
		}
	}
	seen := w.as("brand", 200, "channel.history", obj{"channel": "acme", "ads": true})["items"].([]any)
	want(t, "the brand reads", say(len(seen), seen[0].(obj)["f"]), "2 brand")
	w.as("alice", 200, "channel.opened", obj{"channel": "acme", "seq": 2})
	w.as("alice", 404, "channel.opened", obj{"channel": "acme", "seq": 3})

	w.as("alice", 200, "channel.block", obj{"channel": "acme"})
	if f := follow(); f.Follows() || f.Blocked == 0 || f.Ads != 0 || f.Left == 0 {
		t.Errorf("%+v", f)
	}
	want(t, "after a block", texts(w.as("alice", 200, "channel.history", obj{"channel": "acme"})), "[]")
	w.as("alice", 403, "channel.follow", obj{"channel": "acme"})
	w.as("alice", 200, "channel.block", obj{"channel": "acme", "on": false})
	w.as("alice", 200, "channel.follow", obj{"channel": "acme", "ads": true})
	w.op(200, "channel.suspend", obj{"channel": "acme", "reason": "x"})
	w.as("alice", 200, "channel.unfollow", obj{"channel": "acme"}) // one can leave what is not there any more
	want(t, "left", len(w.as("alice", 200, "channel.list", nil)["channels"].([]any)), 0)
	want(t, "deliveries look", len(told), 7)
	want(t, "her devices hear", strings.Count(w.toldTo("alice"), "The channels you follow have changed"), 7)
	if strings.Contains(w.toldTo("brand"), "alice") {
		t.Error("the brand is told who follows")
	}
}

func TestPublishers(t *testing.T) {
	w := newWorld(t)
	w.users("brand", "ed", "stranger")
	w.friends("brand", "ed")
	w.opened("acme")
	same := func(user string) {
		t.Helper()
		r := do(t, w.public.URL, "channel.publisher.set", "Bearer "+w.tokens["brand"], obj{"channel": "acme", "user": user, "role": "editor"})
		want(t, user, say(r.status, string(r.raw)), `202 {"code":202,"pending":true}`)
	}
	for _, u := range []string{"ed", "stranger", "nobody"} {
		same(u)
	}
	want(t, "a friend hears", w.toldTo("ed"), "brand asks you to publish in the channel acme")
	want(t, "a stranger does not", w.toldTo("stranger"), "")
	want(t, "waiting", len(w.as("brand", 200, "channel.publisher.list", obj{"channel": "acme"})["publishers"].([]any)), 4)
	w.as("ed", 403, "channel.publisher.list", obj{"channel": "acme"})
	want(t, "accepted", w.as("ed", 200, "channel.publisher.accept", obj{"channel": "acme"})["role"], "editor")
	w.as("ed", 200, "channel.set", obj{"channel": "acme", "title": "Ed's"})
	w.as("ed", 403, "channel.publisher.set", obj{"channel": "acme", "user": "ed", "role": "owner"})
	w.as("brand", 409, "channel.publisher.remove", obj{"channel": "acme", "user": "brand"})
	w.as("brand", 200, "channel.publisher.remove", obj{"channel": "acme", "user": "nobody"})

	key := w.as("ed", 200, "channel.key.create", obj{"channel": "acme", "label": "bot"})
	w.tokens["bot"] = key["secret"].(string)
	keys := w.as("brand", 200, "channel.key.list", obj{"channel": "acme"})["keys"].([]any)
	want(t, "keys", say(len(keys), keys[0].(obj)["user"], keys[0].(obj)["label"], keys[0].(obj)["secret"]), "1 ed bot <nil>")
	want(t, "by key", w.as("bot", 200, "channel.get", obj{"channel": "acme"})["role"], "editor")
	w.as("bot", 403, "channel.set", obj{"channel": "acme", "title": "x"})
	w.as("bot", 403, "token.create", obj{"client_id": "x"})
	w.as("bot", 200, "channel.numbers", obj{"channel": "acme"})
	w.as("ed", 404, "channel.key.remove", obj{"channel": "acme", "key": "x"})
	w.as("ed", 400, "channel.key.create", obj{"channel": "acme", "for": "everything"})
	till := w.as("ed", 200, "channel.key.create", obj{"channel": "acme", "label": "till", "for": "redeem"})
	w.tokens["till"] = till["secret"].(string)
	want(t, "the till's", till["token"].(obj)["scopes"].([]any)[0], "redeem:acme")
	want(t, "at the till", w.as("till", 200, "coupon.redeem", obj{"channel": "acme", "coupon": "0123456789"})["answer"], "unknown")
	w.as("till", 403, "channel.numbers", obj{"channel": "acme"})
	want(t, "keys", len(w.as("brand", 200, "channel.key.list", obj{"channel": "acme"})["keys"].([]any)), 2)
	w.as("brand", 200, "channel.publisher.remove", obj{"channel": "acme", "user": "ed"})
	w.as("bot", 401, "channel.get", obj{"channel": "acme"})
	w.as("till", 401, "coupon.redeem", obj{"channel": "acme", "coupon": "0123456789"})
	if got := w.toldTo("ed"); !strings.HasSuffix(got, "You are no longer a publisher of the channel acme") {
		t.Error(got)
	}
	w.op(200, "channel.publisher.set", obj{"channel": "acme", "user": "stranger", "role": "owner"})
	want(t, "operators make publishers", w.as("stranger", 200, "channel.mine", nil)["channels"].([]any)[0].(obj)["role"], "owner")
}

// counted tells what a test says.
type counted struct {
	n      tally.Numbers
	opened []string
}

func (c *counted) Numbers(store.LogID) (tally.Numbers, error) { return c.n, nil }
func (c *counted) Of(_ store.LogID, n int) (*int, error)      { return tally.Round(n, 45), nil }
func (c *counted) Opened(_ context.Context, a store.AccountID, log store.LogID, seq store.Seq) error {
	c.opened = append(c.opened, fmt.Sprint(a, log, seq))
	return nil
}

func TestChannelNumbers(t *testing.T) {
	n := &counted{n: tally.Numbers{Day: "2026-11-22", Followers: tally.Round(1234, 0)}}
	w := newWorld(t, func(c *Config) { c.Numbers = n })
	w.users("brand", "alice")
	notices, _ := w.opened("acme")
	got := w.as("brand", 200, "channel.numbers", obj{"channel": "acme"})
	want(t, "numbers", say(got["day"], got["followers"], got["consenting"]), "2026-11-22 1200 <nil>")
	want(t, "page", w.as("alice", 200, "channel.get", obj{"channel": "acme"})["followers"], 1200)
	w.as("alice", 200, "channel.follow", obj{"channel": "acme"})
	w.post(notices, "x")
	w.as("alice", 200, "channel.opened", obj{"channel": "acme", "seq": 1})
	want(t, "opened", len(n.opened), 1)
	for n, told := range map[int]bool{19: false, 25: true, 26: false} { // of 45
		if got, err := w.api.roundOf(1, n); err != nil || (got != nil) != told {
			t.Errorf("a coupon redeemed by %d: %v, %v", n, got, err)
		}
	}
}

// Pages forward and backward together are everything, whatever is held back in between.
func TestChannelHistoryPages(t *testing.T) {
	w := newWorld(t)
	w.users("brand", "alice")
	notices, _ := w.opened("acme")
	for i := range 75 {
		w.post(notices, fmt.Sprint("p", i))
	}
	w.as("alice", 200, "channel.follow", obj{"channel": "acme"})
	for i := range 3 { // publishers who come are nobody's post
		w.users(fmt.Sprint("x", i))
		w.op(200, "channel.publisher.set", obj{"channel": "acme", "user": fmt.Sprint("x", i)})
		w.post(notices, fmt.Sprint("q", i))
	}
	all := fmt.Sprint(texts(w.as("alice", 200, "channel.history", obj{"channel": "acme", "limit": 200})))
	want(t, "all", len(strings.Fields(all)), 78)
	var forward, backward []string
	for after := any(0); ; {
		page := w.as("alice", 200, "channel.history", obj{"channel": "acme", "after": after, "limit": 7})
		forward = append(forward, texts(page)...)
		if after = page["after"]; page["more"] == nil {
			break
		}
	}
	want(t, "forward", forward, all)
	for in := (obj{"channel": "acme", "limit": 7}); ; {
		page := w.as("alice", 200, "channel.history", in)
		backward = append(texts(page), backward...)
		if page["before"] == nil {
			break
		}
		in["before"] = page["before"]
	}
	want(t, "backward", backward, all)
}

// No operation on channels, broadcasts or coupons has a field in its answer that could name a follower: the people in
// their answers are publishers, and the asking user itself.
func TestAnswersNameNoFollower(t *testing.T) {
	publishers := map[string]bool{"channel.publisher.list publishers.user": true, "channel.publisher.list publishers.display": true, "channel.key.list keys.user": true,
		"channel.key.list keys.device": true, "channel.key.create token.device": true}
	for _, table := range [][]operation{userOperations(), operatorOperations()} {
		for _, o := range table {
			kind, _, _ := strings.Cut(o.name, ".")
			if kind != "channel" && kind != "broadcast" && kind != "coupon" {
				continue
			}
			for _, row := range fieldRows("", o.out) {
				path := strings.Split(row, "`")[1]
				last := path[strings.LastIndexByte(path, '.')+1:]
				if kind == "broadcast" && strings.HasSuffix(path, ".events.by") || strings.HasSuffix(path, "broadcasts.events.by") {
					continue // the publisher who did it
				}
				switch last {
				case "user", "users", "account", "accounts", "follower", "member", "members", "name", "display", "device", "devices", "who", "by", "owner":
					if !publishers[o.name+" "+path] && !strings.HasPrefix(path, "plan.") && !strings.HasPrefix(path, "plans.") && !strings.HasPrefix(o.name, "channel.plan.") {
						t.Errorf("%s: does %s name a follower?", o.name, path)
					}
				}
			}
		}
	}
}
