package coupon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func newGiftWorld(t *testing.T) *world {
	w := newWorld(t)
	w.brand("cafe")
	w.make("cafe", "coffee", func(c *Campaign) { c.Until = w.now().Add(200 * day).UnixMilli() })
	w.follow("cafe", "giver")
	w.user("taker")
	return w
}

func (w *world) give(cid string) *Sent {
	w.t.Helper()
	s, err := w.Give(w.t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: cid})
	w.must(err)
	return s
}

func (w *world) gifts(user string) []*Gift {
	w.t.Helper()
	list, err := w.Gifts(w.user(user).Account)
	w.must(err)
	for _, g := range list {
		if g.Code != "" || g.Grouped != "" {
			w.t.Error("the list shows a code")
		}
	}
	return list
}

func (w *world) sentOne() *Sent {
	w.t.Helper()
	list, err := w.SentGifts(w.t.Context(), w.user("giver"))
	w.must(err)
	if len(list) != 1 {
		w.t.Fatalf("%d gifts were sent", len(list))
	}
	return list[0]
}

func TestGift(t *testing.T) {
	w := newGiftWorld(t)
	old := w.code("giver", "cafe", "coffee")
	gift := w.give("c1").Gift
	want(t, "the giver's code", w.redeem("cafe", old, ""), Used)
	want(t, "the giver sees", w.show("giver", "cafe", "coffee").Status, Given)
	want(t, "the giver sees", w.sentOne().Status, Given)
	want(t, "again", w.give("c1").Gift, gift)
	want(t, "sent", w.sends.Load(), 1)
	_, err := w.Give(t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c2"})
	wantCode(t, "given twice", err, store.CodeConflict)
	_, err = w.Give(t.Context(), w.user("giver"), Giving{To: "cafe-clerk", Channel: "cafe", Campaign: "coffee", CID: "c1"})
	wantCode(t, "another gift with the cid", err, store.CodeConflict)

	got := w.gifts("taker")
	if len(got) != 1 || got[0].ID != gift || got[0].From != "giver" || got[0].Opened || got[0].Status != Ready {
		t.Fatalf("the receiver has %+v", got)
	}
	_, err = w.Open(t.Context(), w.user("giver").Account, gift)
	wantCode(t, "opened by the giver", err, store.CodeNotFound)
	before := w.sentOne()
	g, err := w.OpenMessage(t.Context(), w.user("taker").Account, "giver", 1)
	w.must(err)
	if g.Code == "" || g.Code == old || !g.Opened {
		t.Fatalf("opened: %+v", g)
	}
	want(t, "the giver's code after the opening", w.redeem("cafe", old, ""), Used)
	again, err := w.Open(t.Context(), w.user("taker").Account, gift)
	w.must(err)
	want(t, "opened again", again.Code, g.Code)
	// It cannot be given on: the coupon that a user gives is its own.
	_, err = w.Give(t.Context(), w.user("taker"), Giving{To: "giver", Channel: "cafe", Campaign: "coffee", CID: "x"})
	wantCode(t, "given on", err, store.CodeForbidden)

	want(t, "the giver sees after the opening", *w.sentOne().untimed(), *before.untimed())
	want(t, "redeemed", w.redeem("cafe", g.Code, ""), Valid)
	want(t, "redeemed again", w.redeem("cafe", g.Code, ""), Used)
	want(t, "the giver's code", w.redeem("cafe", old, ""), Used)
	want(t, "the receiver sees", w.gifts("taker")[0].Status, Spent)
	want(t, "the giver sees after the use", *w.sentOne().untimed(), *before.untimed())
	w.wait(31 * day)
	want(t, "the giver sees at last", w.sentOne().Status, Given)
	want(t, "the giver has", w.show("giver", "cafe", "coffee").Status, Given)
}

// untimed is what can be compared.
func (s *Sent) untimed() *Sent { c := *s; c.Campaign = nil; return &c }

// TestGiftReturns: what nobody opens comes back after 30 days; a block looks the same all the time.
func TestGiftReturns(t *testing.T) {
	views := make(map[store.Audience][]string)
	for _, audience := range []store.Audience{store.AudienceBoth, store.AudienceSender, store.AudienceRequest} {
		w := newGiftWorld(t)
		w.audience = audience
		look := func() {
			t.Helper()
			s := w.sentOne()
			m := w.show("giver", "cafe", "coffee")
			views[audience] = append(views[audience], fmt.Sprintf("%s %s %d %s %s", s.Status, s.To, s.Time, m.Status, m.Code))
		}
		rows := w.rows()
		first := w.code("giver", "cafe", "coffee")
		gift := w.give("c1").Gift
		views[audience] = append(views[audience], fmt.Sprint("rows ", w.rows()-rows))
		look()
		seen := 0
		if audience == store.AudienceBoth {
			seen = 1
		}
		want(t, "the receiver's list", len(w.gifts("taker")), seen)
		if seen == 0 {
			_, err := w.Open(t.Context(), w.user("taker").Account, gift)
			wantCode(t, "opened unseen", err, store.CodeNotFound)
			_, err = w.OpenMessage(t.Context(), w.user("taker").Account, "giver", 1)
			wantCode(t, "opened unseen by message", err, store.CodeNotFound)
		}
		w.wait(Returns - time.Millisecond)
		look()
		w.wait(time.Millisecond)
		look()
		want(t, "at last", w.sentOne().Status, Back)
		second := w.code("giver", "cafe", "coffee")
		if second == first {
			t.Error("the code that is back is the old one")
		}
		want(t, "the old code", w.redeem("cafe", first, ""), Used)
		if seen == 1 {
			g, err := w.Open(t.Context(), w.user("taker").Account, gift)
			w.must(err)
			want(t, "opened too late", g.Status, Back)
			want(t, "its code", g.Code, "")
		}
		// It can be given again, and each gift keeps its own end.
		w.give("c2")
		list, err := w.SentGifts(t.Context(), w.user("giver"))
		w.must(err)
		want(t, "sent", len(list), 2)
		want(t, "the newer", list[0].Status, Given)
		want(t, "the older", list[1].Status, Back)
		want(t, "the first code", w.redeem("cafe", first, ""), Used)
		want(t, "the second code", w.redeem("cafe", second, ""), Used)
		w.wait(Returns)
		want(t, "the third code", w.redeem("cafe", w.code("giver", "cafe", "coffee"), ""), Valid)
		list, err = w.SentGifts(t.Context(), w.user("giver"))
		w.must(err)
		want(t, "a gift that came back and was used by its giver", list[0].Status, Back)
	}
	for a, v := range views {
		if fmt.Sprint(v) != fmt.Sprint(views[store.AudienceBoth]) {
			t.Errorf("audience %d shows: %v\nand otherwise: %v", a, v, views[store.AudienceBoth])
		}
	}
}

// TestGiftRefused: what the rules refuse leaves nothing behind.
func TestGiftRefused(t *testing.T) {
	w := newGiftWorld(t)
	code := w.code("giver", "cafe", "coffee")
	w.sendErr = store.Forbidden(store.ReasonNotFriend, "they are no friends")
	_, err := w.Give(t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c1"})
	wantCode(t, "refused", err, store.CodeForbidden)
	want(t, "rows", w.rows(), 0)
	want(t, "the code is good", w.redeem("cafe", code, ""), Valid)
	_, err = w.Give(t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c1"})
	wantCode(t, "a used one", err, store.CodeConflict)

	w.follow("cafe", "other")
	for what, g := range map[string]struct {
		g    Giving
		code store.Code
	}{
		"to oneself":    {Giving{To: "OTHER", Channel: "cafe", Campaign: "coffee"}, store.CodeBad},
		"to no name":    {Giving{To: "a/b", Channel: "cafe", Campaign: "coffee"}, store.CodeBad},
		"bad cid":       {Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "a b"}, store.CodeBad},
		"no campaign":   {Giving{To: "taker", Channel: "cafe", Campaign: "tea"}, store.CodeNotFound},
		"no channel":    {Giving{To: "taker", Channel: "tea", Campaign: "coffee"}, store.CodeNotFound},
		"not following": {Giving{To: "giver", Channel: "cafe", Campaign: "coffee"}, store.CodeForbidden},
	} {
		id := w.user("other")
		if what == "not following" {
			id = w.user("taker")
		}
		_, err := w.Give(t.Context(), id, g.g)
		wantCode(t, what, err, g.code)
	}
	w.make("cafe", "mine", func(c *Campaign) { c.NoGifts = true })
	w.make("cafe", "later", func(c *Campaign) { c.From = w.now().Add(hour).UnixMilli() })
	for id, code := range map[string]store.Code{"mine": store.CodeForbidden, "later": store.CodeConflict} {
		_, err = w.Give(t.Context(), w.user("other"), Giving{To: "taker", Channel: "cafe", Campaign: id, CID: "c1"})
		wantCode(t, id, err, code)
	}
}

// TestGiftCutShort: wherever a crash cuts a gift short, it is made once: by the same request, or by the giver's next look.
func TestGiftCutShort(t *testing.T) {
	lost := &store.Error{Code: store.CodeUnknown}
	for _, again := range []string{"request", "look"} {
		for _, cut := range []string{"before the message", "after the message"} {
			t.Run(cut+", "+again, func(t *testing.T) {
				w := newGiftWorld(t)
				code := w.code("giver", "cafe", "coffee")
				if cut == "before the message" {
					w.sendErr = lost
				} else {
					w.afterErr = lost
				}
				_, err := w.Give(t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c1"})
				if !errors.Is(err, lost) {
					t.Fatal(err)
				}
				w.restart()
				want(t, "the giver's code", w.redeem("cafe", code, ""), Used)
				w.sendErr, w.afterErr = nil, nil
				if again == "request" {
					w.give("c1")
				} else {
					w.wait(resumeAfter + time.Second)
				}
				want(t, "the giver sees", w.sentOne().Status, Given)
				log, err := w.db.Find(store.PairKey(w.user("giver").Account, w.user("taker").Account))
				w.must(err)
				want(t, "messages", log.Head, 1)
				list := w.gifts("taker")
				want(t, "the receiver's list", len(list), 1)
				g, err := w.Open(t.Context(), w.user("taker").Account, list[0].ID)
				w.must(err)
				want(t, "redeemed", w.redeem("cafe", g.Code, ""), Valid)
			})
		}
	}
	t.Run("the list is written after the message", func(t *testing.T) {
		w := newGiftWorld(t)
		w.afterErr = lost
		_, err := w.Give(t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c1"})
		wantCode(t, "cut short", err, store.CodeUnknown)
		want(t, "listed", len(w.gifts("taker")), 0)
		g, err := w.OpenMessage(t.Context(), w.user("taker").Account, "giver", 1)
		w.must(err)
		want(t, "status", g.Status, Ready)
		want(t, "listed now", len(w.gifts("taker")), 1)
		w.afterErr = nil
		w.wait(resumeAfter + time.Second)
		want(t, "the giver sees", w.sentOne().Status, Given)
		want(t, "redeemed", w.redeem("cafe", g.Code, ""), Valid)
	})
	t.Run("never", func(t *testing.T) {
		w := newGiftWorld(t)
		w.sendErr = lost
		_, err := w.Give(t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c1"})
		wantCode(t, "cut short", err, store.CodeUnknown)
		w.wait(Returns)
		want(t, "it comes back", w.redeem("cafe", w.code("giver", "cafe", "coffee"), ""), Valid)
	})
}

// TestGiftOrRedeem: of giving a coupon and redeeming it at the same time one happens, and a gift that is opened at the
// moment of its return is with one of the two.
func TestGiftOrRedeem(t *testing.T) {
	w := newGiftWorld(t)
	for i := range 10 {
		u := fmt.Sprint("u", i)
		w.follow("cafe", u)
		code := w.code(u, "cafe", "coffee")
		id, till := w.user(u), w.till2("cafe", 1)
		var wg sync.WaitGroup
		var given, redeemed bool
		wg.Go(func() {
			_, err := w.Give(context.Background(), id, Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c"})
			given = err == nil
		})
		wg.Go(func() {
			r, err := w.Redeem(context.Background(), till, Presented{Channel: "cafe", Code: code})
			redeemed = err == nil && r.Answer == Valid
		})
		wg.Wait()
		if given == redeemed {
			t.Errorf("given %v, redeemed %v", given, redeemed)
		}
	}
}

// TestGiftErased: the end of either side leaves the other one what it has.
func TestGiftErased(t *testing.T) {
	erase := func(w *world, user string) {
		t.Helper()
		w.must(w.db.EraseAccount(t.Context(), w.user(user).Account))
	}
	t.Run("giver, opened", func(t *testing.T) {
		w := newGiftWorld(t)
		gift := w.give("c1").Gift
		_, err := w.Open(t.Context(), w.user("taker").Account, gift)
		w.must(err)
		erase(w, "giver")
		list := w.gifts("taker")
		if len(list) != 1 || list[0].From != "" || list[0].Status != Ready {
			t.Fatalf("%+v", list)
		}
		g, err := w.Open(t.Context(), w.user("taker").Account, gift)
		w.must(err)
		want(t, "redeemed", w.redeem("cafe", g.Code, ""), Valid)
	})
	t.Run("giver, not opened", func(t *testing.T) {
		w := newGiftWorld(t)
		gift := w.give("c1").Gift
		erase(w, "giver")
		want(t, "listed", len(w.gifts("taker")), 0)
		_, err := w.Open(t.Context(), w.user("taker").Account, gift)
		wantCode(t, "opened", err, store.CodeNotFound)
	})
	t.Run("taker", func(t *testing.T) {
		w := newGiftWorld(t)
		w.give("c1")
		erase(w, "taker")
		want(t, "the giver sees", w.sentOne().Status, Given)
		w.wait(Returns)
		want(t, "the giver sees at last", w.sentOne().Status, Back)
		want(t, "it is the giver's", w.redeem("cafe", w.code("giver", "cafe", "coffee"), ""), Valid)
	})
	t.Run("taker, under way", func(t *testing.T) {
		w := newGiftWorld(t)
		w.sendErr = &store.Error{Code: store.CodeUnknown}
		_, err := w.Give(t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c1"})
		wantCode(t, "cut short", err, store.CodeUnknown)
		erase(w, "taker")
		w.sendErr = nil
		_, err = w.Give(t.Context(), w.user("giver"), Giving{To: "taker", Channel: "cafe", Campaign: "coffee", CID: "c1"})
		wantCode(t, "to nobody", err, store.CodeNotFound)
		want(t, "it is the giver's", w.show("giver", "cafe", "coffee").Status, Ready)
	})
}

// TestNothingTells: no row names a code, and none of the channel's rows whose coupon it is about.
func TestNothingTells(t *testing.T) {
	w := newGiftWorld(t)
	w.follow("cafe", "bob")
	bobs := w.code("bob", "cafe", "coffee")
	want(t, "redeemed", w.redeem("cafe", bobs, "r1"), Valid)
	gift := w.give("c1").Gift
	g, err := w.Open(t.Context(), w.user("taker").Account, gift)
	w.must(err)
	want(t, "redeemed", w.redeem("cafe", g.Code, "r2"), Valid)
	for _, code := range []string{bobs, g.Code} {
		raw, _ := parseCode(code)
		if w.holds(code) || w.holds(grouped(code)) || w.holds(string(raw[:])) {
			t.Error("a row holds a code")
		}
	}
	for _, table := range []store.Table{tableCoupon, tableCount} {
		rows, err := w.db.AllRows(table, "", "", 0)
		w.must(err)
		for _, r := range rows {
			for name, a := range w.accounts {
				if containsAny(r.Key+string(r.Value), store.KeyOf(a), fmt.Sprintf(`"%s"`, name)) {
					t.Errorf("a row of %s names %s: %q %s", table, name, r.Key, r.Value)
				}
			}
		}
	}
}

func containsAny(s string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(s, t) })
}
