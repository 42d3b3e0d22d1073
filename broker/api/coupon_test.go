package api

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// brand makes a channel that the user owns.
func (w *world) brand(name, owner string) store.LogID {
	w.t.Helper()
	members := store.Creation{Members: []store.Member{{Account: w.account(owner).ID, Role: store.RoleOwner}}}
	info, _, err := w.store.Open(w.t.Context(), store.ChannelKey(name), members)
	if err != nil {
		w.t.Fatal(err)
	}
	ads, _, err := w.store.Open(w.t.Context(), store.AdsKey(name), members)
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.api.graph.SetChannel(w.t.Context(), info.ID, func(c *graph.Channel) error {
		c.Title, c.Created, c.Approved, c.Ads = name, 1, 1, ads.ID
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return info.ID
}

func (w *world) followed(channel store.LogID, ads bool, users ...string) {
	w.t.Helper()
	for _, u := range users {
		err := w.api.graph.SetFollow(w.t.Context(), w.account(u).ID, channel, func(f *graph.Follow) error {
			f.Since = 1
			if ads {
				f.Ads = 1
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestCoupons: a campaign from its making to its report, over HTTP, with a shop's key; and its codes are nowhere but in
// the answers to their holders.
func TestCoupons(t *testing.T) {
	var log bytes.Buffer
	limits, err := limit.New(limit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOf(t, limits, func(c *Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	w.users("brand", "alice", "bob")
	cafe := w.brand("cafe", "brand")
	w.key("brand", "till", "redeem:cafe")
	w.key("brand", "elsewhere", "redeem:shop")
	w.key("brand", "program", "channel:cafe")
	until := time.Now().Add(10 * day)
	coffee := obj{"channel": "cafe", "campaign": "coffee"}
	create := obj{"channel": "cafe", "campaign": "coffee", "title": "free coffee", "note": "one cup", "until": until}
	want(t, "made", w.as("program", 200, "coupon.create", create)["title"], "free coffee")
	want(t, "made again", w.as("brand", 200, "coupon.create", create)["campaign"], "coffee")
	want(t, "by a shop's key", w.as("till", 403, "coupon.create", create)["error"], "scope")
	want(t, "campaigns", len(w.as("program", 200, "coupon.campaigns", obj{"channel": "cafe"})["campaigns"].([]any)), 1)

	want(t, "not a follower", w.as("alice", 403, "coupon.show", coffee)["error"], "not_following")
	w.followed(cafe, false, "alice", "bob")
	shown := w.as("alice", 200, "coupon.show", coffee)
	code := shown["coupon"].(string)
	listed := w.as("alice", 200, "coupon.list", nil)["coupons"].([]any)
	want(t, "listed", listed[0].(obj)["coupon"], code)

	redeem := func(as string, status int, code any, rid string) obj {
		t.Helper()
		return w.as(as, status, "coupon.redeem", obj{"channel": "cafe", "coupon": code}, "Idempotency-Key", rid)
	}
	want(t, "by its holder", redeem("alice", 403, code, "r1")["error"], "not_publisher")
	want(t, "by another shop's key", redeem("elsewhere", 403, code, "r1")["error"], "scope")
	first := redeem("till", 200, shown["grouped"], "r1")
	want(t, "redeemed", first["answer"], "valid")
	want(t, "for the shop", first["note"], "one cup")
	want(t, "the same request", redeem("till", 200, shown["grouped"], "r1")["answer"], "valid")
	want(t, "another", redeem("till", 200, code, "r2")["answer"], "used")
	want(t, "at another till", redeem("brand", 200, code, "r1")["answer"], "used")
	if s := fmt.Sprint(first); strings.Contains(s, "alice") {
		t.Errorf("the shop learns %s", s)
	}
	want(t, "undone", w.as("till", 200, "coupon.unredeem", obj{"channel": "cafe", "coupon": code})["campaign"], "coffee")
	want(t, "good again", redeem("till", 200, code, "r3")["answer"], "valid")
	want(t, "its holder sees", w.as("alice", 200, "coupon.show", coffee)["status"], "used")

	report := w.as("program", 200, "coupon.report", coffee)
	want(t, "reported", report["redeemed"], nil)
	want(t, "days", len(report["days"].([]any)), 0)
	want(t, "by a follower", w.as("alice", 403, "coupon.report", coffee)["error"], "not_publisher")

	bobs := w.as("bob", 200, "coupon.show", coffee)["coupon"].(string)
	for i := range 30 {
		want(t, "wrong", redeem("till", 200, fmt.Sprintf("%026d", i), fmt.Sprint("w", i))["answer"], "unknown")
	}
	stopped := redeem("till", 429, bobs, "late")
	if ms, _ := stopped["retry_ms"].(float64); stopped["error"] != "rate" || ms < 1 || ms > 10_000 {
		t.Errorf("after too many wrong codes: %v", stopped)
	}
	want(t, "another key", redeem("program", 200, bobs, "late")["answer"], "valid")
	want(t, "closed", w.as("brand", 200, "coupon.close", coffee)["campaign"], "coffee")

	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.admin.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics := roundTrip(t, ask)
	if !bytes.Contains(metrics.raw, []byte(`hwangso_coupons_redeemed_total{answer="valid"}`)) {
		t.Errorf("the metrics: %s", metrics.raw)
	}
	for _, c := range []string{code, bobs, shown["grouped"].(string)} {
		if strings.Contains(log.String(), c) || bytes.Contains(metrics.raw, []byte(c)) {
			t.Error("a code is in the log or the metrics")
		}
	}
}

// TestCouponOnce: a hundred requests at once, over HTTP, by tills with keys of their own.
func TestCouponOnce(t *testing.T) {
	w := newWorld(t)
	w.users("brand", "alice")
	cafe := w.brand("cafe", "brand")
	w.followed(cafe, false, "alice")
	for i := range 10 {
		w.key("brand", fmt.Sprint("till", i), "redeem:cafe")
	}
	w.as("brand", 200, "coupon.create", obj{"channel": "cafe", "campaign": "coffee", "title": "free coffee", "most": 1, "until": time.Now().Add(day)})
	code := w.as("alice", 200, "coupon.show", obj{"channel": "cafe", "campaign": "coffee"})["coupon"]
	var mu sync.Mutex
	var wg sync.WaitGroup
	got, start := make(map[string]int), make(chan struct{})
	for i := range 100 {
		wg.Go(func() {
			<-start
			for {
				r := do(t, w.public.URL, "coupon.redeem", "Bearer "+w.tokens[fmt.Sprint("till", i%10)], obj{"channel": "cafe", "coupon": code},
					"Idempotency-Key", fmt.Sprint("r", i))
				if r.status == 429 { // too many requests of one account at once
					continue
				}
				mu.Lock()
				got[fmt.Sprint(r.status, " ", r.body["answer"])]++
				mu.Unlock()
				return
			}
		})
	}
	close(start)
	wg.Wait()
	if len(got) != 2 || got["200 valid"] != 1 || got["200 used"] != 99 {
		t.Errorf("%v", got)
	}
}

// TestCouponOfPost: a coupon of advertising is for those who consent to it.
func TestCouponOfPost(t *testing.T) {
	w := newWorld(t)
	w.users("brand", "alice", "bob")
	cafe := w.brand("cafe", "brand")
	w.followed(cafe, true, "alice")
	w.followed(cafe, false, "bob")
	w.as("brand", 200, "coupon.create", obj{"channel": "cafe", "campaign": "vip", "title": "free coffee", "for": "post", "until": time.Now().Add(day)})
	if err := w.api.graph.SetPost(t.Context(), cafe, "p1", func(p *graph.Post) error { p.Campaign = "vip"; return nil }); err != nil {
		t.Fatal(err)
	}
	ads, err := w.store.Find(store.AdsKey("cafe"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.store.Append(store.Draft{Log: ads.ID, CID: graph.PostCID("p1"), Kind: store.KindCoupon, Text: []byte("for you")}).Result()
	if err != nil {
		t.Fatal(err)
	}
	ask := obj{"channel": "cafe", "campaign": "vip", "ads": true, "seq": r.Seq}
	want(t, "with consent", w.as("alice", 200, "coupon.show", ask)["status"], "ready")
	w.as("bob", 404, "coupon.show", ask)
	w.as("alice", 404, "coupon.show", obj{"channel": "cafe", "campaign": "vip"})
}

// TestGifts: a gift from user to user under the rules for messages. Whether the receiver has blocked the giver, or
// somebody has opened or used it, the giver sees the same.
func TestGifts(t *testing.T) {
	w := newWorld(t)
	w.users("brand", "alice", "bob", "carol", "dave")
	cafe := w.brand("cafe", "brand")
	w.followed(cafe, false, "alice", "bob", "dave")
	coffee := obj{"channel": "cafe", "campaign": "coffee"}
	w.as("brand", 200, "coupon.create", obj{"channel": "cafe", "campaign": "coffee", "title": "free coffee", "until": time.Now().Add(day)})
	for _, giver := range []string{"alice", "dave"} {
		w.friends(giver, "carol")
		w.friends("carol", giver)
	}
	w.as("carol", 200, "block.set", obj{"user": "dave"})
	give := obj{"channel": "cafe", "campaign": "coffee", "user": "carol"}
	var seen []obj
	for _, giver := range []string{"alice", "dave"} {
		old := w.as(giver, 200, "coupon.show", coffee)["coupon"]
		sent := w.as(giver, 200, "gift.send", give, "Idempotency-Key", "g1")
		want(t, giver+" again", w.as(giver, 200, "gift.send", give, "Idempotency-Key", "g1")["gift"], sent["gift"])
		want(t, giver+"'s code", w.as("brand", 200, "coupon.redeem", obj{"channel": "cafe", "coupon": old})["answer"], "used")
		history := w.as(giver, 200, "room.history", obj{"user": "carol"})["items"].([]any)
		want(t, giver+"'s conversation", len(history), 1)
		want(t, "the message", history[0].(obj)["k"], "gift")
		if s := fmt.Sprint(history); strings.Contains(s, old.(string)) {
			t.Error("the message holds a code")
		}
	}
	look := func() {
		t.Helper()
		for _, giver := range []string{"alice", "dave"} {
			one := w.as(giver, 200, "gift.sent", nil)["gifts"].([]any)[0].(obj)
			delete(one, "gift")
			delete(one, "time")
			seen = append(seen, one, w.as(giver, 200, "coupon.show", coffee))
		}
	}
	look()
	gifts := w.as("carol", 200, "gift.list", nil)["gifts"].([]any)
	want(t, "carol's gifts", len(gifts), 1)
	gift := gifts[0].(obj)
	want(t, "from", gift["user"], "alice")
	want(t, "with a code", gift["coupon"], nil)
	opened := w.as("carol", 200, "gift.show", obj{"user": "alice", "seq": 1})
	want(t, "the same gift", w.as("carol", 200, "gift.show", obj{"gift": gift["gift"]})["coupon"], opened["coupon"])
	look()
	want(t, "redeemed", w.as("brand", 200, "coupon.redeem", obj{"channel": "cafe", "coupon": opened["coupon"]})["answer"], "valid")
	look()
	for i := range seen {
		if fmt.Sprint(seen[i]) != fmt.Sprint(seen[i%2]) {
			t.Errorf("the %dth look shows %v and not %v", i+1, seen[i], seen[i%2])
		}
	}
	want(t, "to somebody who is not there", w.as("bob", 403, "gift.send", obj{"channel": "cafe", "campaign": "coffee", "user": "nobody"})["error"], "unreachable")
	want(t, "bob keeps it", w.as("bob", 200, "coupon.show", coffee)["status"], "ready")
	w.as("carol", 400, "gift.show", obj{"gift": "x", "seq": 1})
	w.as("dave", 404, "gift.show", obj{"gift": gift["gift"]})
}
