package coupon

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

func TestShow(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	w.make("cafe", "coffee")
	bob := w.user("bob").Account
	_, err := w.Show(bob, "cafe", "coffee", PostRef{})
	wantCode(t, "without following", err, store.CodeForbidden)
	w.follow("cafe", "bob")
	_, err = w.Show(bob, "cafe", "tea", PostRef{})
	wantCode(t, "no such coupon", err, store.CodeNotFound)
	_, err = w.Show(bob, "nowhere", "coffee", PostRef{})
	wantCode(t, "no such channel", err, store.CodeNotFound)
	code := w.code("bob", "CAFE", "Coffee")
	w.must(w.graph.SetFollow(t.Context(), bob, w.channels["cafe"], func(f *graph.Follow) error { f.Blocked = 1; return nil }))
	_, err = w.Show(bob, "cafe", "coffee", PostRef{})
	wantCode(t, "blocking the channel", err, store.CodeForbidden)
	w.must(w.graph.SetFollow(t.Context(), bob, w.channels["cafe"], func(f *graph.Follow) error { *f = graph.Follow{Left: 1}; return nil }))
	_, err = w.Show(bob, "cafe", "coffee", PostRef{})
	wantCode(t, "after leaving", err, store.CodeForbidden)
	want(t, "what was shown before", w.redeem("cafe", code, ""), Valid)
}

// TestPostAudience: a coupon of a post is for those alone who may see the post.
func TestPostAudience(t *testing.T) {
	w := newWorld(t)
	ch := w.brand("cafe")
	w.make("cafe", "vip", func(c *Campaign) { c.Audience = OfPost })
	w.make("cafe", "coffee")
	var users []string
	for i := range 4 {
		u := fmt.Sprint("u", i)
		w.follow("cafe", u)
		users = append(users, u)
	}
	post := func(key store.Key, id, campaign string) store.Seq {
		t.Helper()
		w.must(w.graph.SetPost(t.Context(), ch, id, func(p *graph.Post) error { p.Campaign = campaign; return nil }))
		info, err := w.db.Find(key)
		w.must(err)
		r, err := w.db.Append(store.Draft{Log: info.ID, CID: graph.PostCID(id), Kind: store.KindCoupon, Text: []byte("for you")}).Result()
		w.must(err)
		return r.Seq
	}
	seq := post(store.ChannelKey("cafe"), "p1", "vip")
	other := post(store.ChannelKey("cafe"), "p2", "coffee")
	ads := post(store.AdsKey("cafe"), "p3", "VIP")
	for _, u := range users {
		me := w.user(u).Account
		code := store.CodeNotFound
		if me%2 == 0 {
			code = 0
		}
		_, err := w.Show(me, "cafe", "vip", PostRef{Seq: seq})
		wantCode(t, u, err, code)
		_, err = w.Show(me, "cafe", "vip", PostRef{Ads: true, Seq: ads})
		wantCode(t, u+" by the advertising", err, code)
		for what, ref := range map[string]PostRef{"no post": {}, "another post": {Seq: other}, "a post to come": {Seq: 99}, "in the other log": {Ads: true, Seq: other}} {
			_, err = w.Show(me, "cafe", "vip", ref)
			wantCode(t, u+" by "+what, err, store.CodeNotFound)
		}
		list, _, err := w.List(me, "", 10)
		w.must(err)
		if len(list) != 1 || list[0].Campaign.ID != "coffee" {
			t.Errorf("%s is listed %+v", u, list)
		}
	}
	even := users[slices.IndexFunc(users, func(u string) bool { return w.accounts[u]%2 == 0 })]
	me := w.user(even).Account
	w.must(w.graph.SetFollow(t.Context(), me, ch, func(f *graph.Follow) error { f.Since = 0; return nil }))
	_, err := w.Show(me, "cafe", "vip", PostRef{Seq: seq})
	wantCode(t, "not following", err, store.CodeNotFound)
}

// TestList: what can be shown now, of the channels that are followed, in pages of whatever size.
func TestList(t *testing.T) {
	w := newWorld(t)
	var all []string
	for i := range 5 {
		name := fmt.Sprint("brand", i)
		w.brand(name)
		if i != 1 {
			w.follow(name, "bob")
		}
		for j := range i {
			w.make(name, fmt.Sprint("c", j))
			if i != 1 {
				all = append(all, fmt.Sprint(name, "/c", j))
			}
		}
	}
	w.make("brand2", "later", func(c *Campaign) { c.From = w.now().Add(day).UnixMilli() })
	w.make("brand2", "over")
	_, err := w.Close(t.Context(), w.user("brand2-owner").Account, "brand2", "over")
	w.must(err)
	w.make("brand2", "used")
	want(t, "redeemed", w.redeem("brand2", w.code("bob", "brand2", "used"), ""), Valid)
	bob := w.user("bob").Account
	for _, size := range []int{1, 2, 3, 100} {
		var got []string
		after := ""
		for range 50 {
			page, next, err := w.List(bob, after, size)
			w.must(err)
			if len(page) > size {
				t.Errorf("a page of %d has %d", size, len(page))
			}
			for _, m := range page {
				got = append(got, m.Channel+"/"+m.Campaign.ID)
				want(t, "the code", m.Code, w.code("bob", m.Channel, m.Campaign.ID))
			}
			if after = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v, want %v", size, got, all)
		}
	}
	for _, bad := range []string{"x", ".", "0.", "1.a/b", "zzzzzzzzzzzzzzzzzzzz."} {
		_, _, err := w.List(bob, bad, 10)
		wantCode(t, bad, err, store.CodeBad)
	}
}

// TestReport: whoever asks before and after one redemption sees the same, all day long; small numbers are never told.
func TestReport(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	w.make("cafe", "coffee")
	w.make("cafe", "tea", func(c *Campaign) { c.Most = 500 })
	clerk := w.user("cafe-clerk").Account
	ask := func() string {
		t.Helper()
		out := ""
		for _, c := range []string{"coffee", "tea"} {
			r, err := w.Report(clerk, "cafe", c)
			w.must(err)
			out += r.Upto + " " + number2(r.Redeemed)
			for _, d := range r.Days {
				out += " " + d.Day + ":" + number2(d.Redeemed)
			}
			out += "\n"
		}
		return out
	}
	n := 0
	redeemOne := func() {
		t.Helper()
		n++
		u := fmt.Sprint("u", n)
		w.follow("cafe", u)
		for _, c := range []string{"coffee", "tea"} {
			want(t, "redeemed", w.redeem("cafe", w.code(u, "cafe", c), ""), Valid)
		}
	}
	const first = "2026-02-28 null\n2026-02-28 null\n"
	for range 33 {
		want(t, "before", ask(), first)
		redeemOne()
		want(t, "after", ask(), first)
	}
	w.clock.Store(begin.Add(12*hour + UndoTime - 1).UnixMilli()) // what was redeemed at midnight can still be undone
	want(t, "just after midnight", ask(), first)
	w.wait(time.Millisecond)
	const second = "2026-03-01 30 2026-03-01:30\n2026-03-01 30 2026-03-01:30\n"
	want(t, "the next day", ask(), second)
	for range 8 {
		redeemOne()
		want(t, "all day", ask(), second)
	}
	w.wait(day)
	want(t, "the day after", ask(), "2026-03-02 40 2026-03-01:30 2026-03-02:null\n2026-03-02 40 2026-03-01:30 2026-03-02:null\n")
	w.cfg.Round = roundOf(55)
	want(t, "nearly everybody", ask(), "2026-03-02 null 2026-03-01:30 2026-03-02:null\n2026-03-02 null 2026-03-01:30 2026-03-02:null\n")
	_, err := w.Report(w.user("u1").Account, "cafe", "coffee")
	wantCode(t, "asked by a follower", err, store.CodeForbidden)
	_, err = w.Report(clerk, "cafe", "nothing")
	wantCode(t, "of nothing", err, store.CodeNotFound)
}

const hour = day / 24

func number2(n *int) string {
	if n == nil {
		return "null"
	}
	return fmt.Sprint(*n)
}
