package coupon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

func TestCampaigns(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	owner, editor, clerk := w.user("cafe-owner").Account, w.user("cafe-editor").Account, w.user("cafe-clerk").Account
	until := w.now().Add(day).UnixMilli()
	good := Campaign{ID: "Coffee", Title: "free coffee", Until: until, Most: 5}
	first, err := w.Create(t.Context(), editor, "Cafe", good)
	w.must(err)
	want(t, "identifier", first.ID, "coffee")
	want(t, "begins", first.From, begin.UnixMilli())
	w.wait(time.Hour)
	again, err := w.Create(t.Context(), owner, "cafe", good)
	w.must(err)
	want(t, "again", *again, *first)
	other := good
	other.Title = "free tea"
	_, err = w.Create(t.Context(), owner, "cafe", other)
	wantCode(t, "another one with the identifier", err, store.CodeConflict)
	_, err = w.Create(t.Context(), clerk, "cafe", good)
	wantCode(t, "by a publisher", err, store.CodeForbidden)
	_, err = w.Create(t.Context(), w.user("bob").Account, "cafe", good)
	wantCode(t, "by a stranger", err, store.CodeForbidden)
	_, err = w.Create(t.Context(), owner, "nowhere", good)
	wantCode(t, "nowhere", err, store.CodeNotFound)

	for what, f := range map[string]func(*Campaign){
		"no identifier":   func(c *Campaign) { c.ID = "" },
		"slash":           func(c *Campaign) { c.ID = "a/b" },
		"nul":             func(c *Campaign) { c.ID = "a\x00d" },
		"no title":        func(c *Campaign) { c.Title = "" },
		"two lines":       func(c *Campaign) { c.Title = "a\nb" },
		"long title":      func(c *Campaign) { c.Title = strings.Repeat("x", MaxTitle+1) },
		"long note":       func(c *Campaign) { c.Note = strings.Repeat("x", MaxNote+1) },
		"no end":          func(c *Campaign) { c.Until = 0 },
		"ended":           func(c *Campaign) { c.From, c.Until = 1, 2 },
		"ends at once":    func(c *Campaign) { c.From = c.Until },
		"too long":        func(c *Campaign) { c.Until += 2 * longest.Milliseconds() },
		"negative":        func(c *Campaign) { c.Most = -1 },
		"unheard of":      func(c *Campaign) { c.Audience = "everybody" },
		"begins too late": func(c *Campaign) { c.From = until + 2*longest.Milliseconds(); c.Until = c.From + 1 },
	} {
		c := Campaign{ID: "x", Title: "x", Until: until}
		f(&c)
		_, err := w.Create(t.Context(), owner, "cafe", c)
		wantCode(t, what, err, store.CodeBad)
	}

	closed, err := w.Close(t.Context(), editor, "cafe", "coffee")
	w.must(err)
	w.wait(time.Hour)
	again, err = w.Close(t.Context(), editor, "cafe", "COFFEE")
	w.must(err)
	want(t, "closed again", again.Closed, closed.Closed)
	_, err = w.Close(t.Context(), clerk, "cafe", "coffee")
	wantCode(t, "closed by a publisher", err, store.CodeForbidden)
	_, err = w.Close(t.Context(), editor, "cafe", "tea")
	wantCode(t, "closed what is not there", err, store.CodeNotFound)
	list, err := w.Campaigns(clerk, "cafe", "", 10)
	w.must(err)
	want(t, "listed", len(list), 1)
	_, err = w.Campaigns(w.user("bob").Account, "cafe", "", 10)
	wantCode(t, "listed by a stranger", err, store.CodeForbidden)

	// An identifier whose campaign is forgotten begins anew: the old codes mean nothing.
	w.follow("cafe", "bob")
	w.make("cafe", "again")
	old := w.code("bob", "cafe", "again")
	w.wait(10*day + Kept + time.Hour)
	w.make("cafe", "again")
	want(t, "a code of the forgotten campaign", w.redeem("cafe", old, ""), Unknown)
	want(t, "a code of the new one", w.redeem("cafe", w.code("bob", "cafe", "again"), ""), Valid)
}

func TestRedeem(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	w.brand("shop")
	w.follow("cafe", "bob", "carol", "dave")
	w.follow("shop", "bob")
	w.make("cafe", "coffee")
	w.make("cafe", "tea", func(c *Campaign) { c.From = w.now().Add(time.Hour).UnixMilli() })
	w.make("shop", "coffee")
	code := w.code("bob", "cafe", "coffee")
	want(t, "shown again", w.code("bob", "cafe", "coffee"), code)
	want(t, "rows before the first redemption", w.rows(), 0)

	want(t, "the other channel's", w.redeem("shop", code, ""), Unknown)
	want(t, "valid", w.redeem("cafe", strings.ToLower(grouped(code)), "r1"), Valid)
	want(t, "the same request", w.redeem("cafe", code, "r1"), Valid)
	want(t, "another request", w.redeem("cafe", code, "r2"), Used)
	want(t, "without an identifier", w.redeem("cafe", code, ""), Used)
	r, err := w.Redeem(t.Context(), w.till("cafe", 2), Presented{Channel: "cafe", Code: code, Request: "r1"})
	w.must(err)
	want(t, "the same identifier at another till", r.Answer, Used)
	want(t, "its holder sees", w.show("bob", "cafe", "coffee").Status, Spent)
	want(t, "rows", w.rows(), 2)
	w.restart()
	want(t, "after a restart", w.redeem("cafe", code, "r2"), Used)
	want(t, "the same request after a restart", w.redeem("cafe", code, "r1"), Valid)

	carols := w.code("carol", "cafe", "coffee")
	for _, bad := range []string{"x", code[:25], carols[:10] + string(carols[11]) + string(carols[10]) + carols[12:], strings.Repeat("0", 26)} {
		if bad != carols {
			want(t, "wrong", w.redeem("cafe", bad, ""), Unknown)
		}
	}
	_, err = w.Redeem(t.Context(), w.till("cafe", 1), Presented{Channel: "cafe"})
	wantCode(t, "no code", err, store.CodeBad)
	_, err = w.Redeem(t.Context(), w.till("cafe", 1), Presented{Channel: "cafe", Campaign: "nothing", Code: carols})
	wantCode(t, "no campaign", err, store.CodeNotFound)
	r, err = w.Redeem(t.Context(), w.till("cafe", 1), Presented{Channel: "cafe", Campaign: "tea", Code: carols})
	w.must(err)
	want(t, "for another campaign", r.Answer, Unknown)

	want(t, "before its time", w.show("bob", "cafe", "tea").Status, Waiting)
	w.must(w.graph.SetChannel(t.Context(), w.channels["cafe"], suspend(true)))
	_, err = w.Redeem(t.Context(), w.till("cafe", 1), Presented{Channel: "cafe", Code: carols})
	wantCode(t, "suspended", err, store.CodeForbidden)
	_, err = w.Show(w.user("carol").Account, "cafe", "coffee", PostRef{})
	wantCode(t, "shown by a suspended channel", err, store.CodeForbidden)
	w.must(w.graph.SetChannel(t.Context(), w.channels["cafe"], suspend(false)))

	daves := w.code("dave", "cafe", "coffee")
	_, err = w.Close(t.Context(), w.user("cafe-owner").Account, "cafe", "coffee")
	w.must(err)
	want(t, "closed", w.redeem("cafe", carols, ""), Expired)
	want(t, "closed, as its holder sees it", w.show("carol", "cafe", "coffee").Status, Over)
	want(t, "used, and closed", w.redeem("cafe", code, "r2"), Used)
	want(t, "valid, and closed", w.redeem("cafe", code, "r1"), Valid)
	w.wait(11 * day)
	want(t, "over", w.redeem("cafe", daves, ""), Expired)
	w.wait(Kept)
	want(t, "forgotten", w.redeem("cafe", daves, ""), Unknown)
	if _, err := w.db.SweepRows(t.Context(), w.now().UnixMilli(), 0); err != nil {
		t.Error(err)
	}
	want(t, "rows at last", w.rows(), 0)
}

// Who redeems must be a publisher, or a key of one for this channel.
func TestWhoRedeems(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	w.brand("shop")
	w.follow("cafe", "bob", "cafe-clerk")
	w.make("cafe", "coffee")
	code := w.code("bob", "cafe", "coffee")
	foreign := w.till("cafe", 1)
	foreign.Scopes = []string{hooks.KeyScope(hooks.ScopeRedeem, "shop"), "channel:shop", "app:cafe"}
	for what, id := range map[string]struct {
		id   string
		code store.Code
	}{"its holder": {"bob", store.CodeForbidden}, "another brand": {"shop-owner", store.CodeForbidden}} {
		_, err := w.Redeem(t.Context(), w.user(id.id), Presented{Channel: "cafe", Code: code})
		wantCode(t, what, err, id.code)
	}
	_, err := w.Redeem(t.Context(), foreign, Presented{Channel: "cafe", Code: code})
	wantCode(t, "another channel's key", err, store.CodeForbidden)
	r, err := w.Redeem(t.Context(), w.user("cafe-clerk"), Presented{Channel: "cafe", Code: code})
	w.must(err)
	want(t, "a publisher without a key", r.Answer, Valid)
}

// TestOnce: of a hundred tills at once one hears valid, and one redemption is counted.
func TestOnce(t *testing.T) {
	for _, most := range []int{0, 1000} {
		w := newWorld(t)
		w.brand("cafe")
		w.follow("cafe", "bob")
		w.make("cafe", "coffee", func(c *Campaign) { c.Most = most })
		code := w.code("bob", "cafe", "coffee")
		got := together(100, func(i int) Answer {
			r, err := w.Redeem(context.Background(), w.till2("cafe", byte(i)), Presented{Channel: "cafe", Code: code, Request: fmt.Sprint("r", i%7)})
			if err != nil {
				t.Error(err)
			}
			return r.Answer
		})
		want(t, "valid", got[Valid], 1)
		want(t, "used", got[Used], 99)
		n, _, err := w.days(w.channels["cafe"], "coffee", 1<<40)
		w.must(err)
		want(t, "counted", n, 1)
	}
}

// TestRepeatedAtOnce: a request that is repeated before it was answered is one request.
func TestRepeatedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	w.follow("cafe", "bob")
	w.make("cafe", "coffee")
	code := w.code("bob", "cafe", "coffee")
	till := w.till("cafe", 1)
	got := together(50, func(int) Answer {
		r, err := w.Redeem(context.Background(), till, Presented{Channel: "cafe", Code: code, Request: "one"})
		if err != nil {
			t.Error(err)
		}
		return r.Answer
	})
	want(t, "valid", got[Valid], 50)
	n, _, err := w.days(w.channels["cafe"], "coffee", 1<<40)
	w.must(err)
	want(t, "counted", n, 1)
}

// TestMost: of more followers than coupons exactly as many as there are coupons get one.
func TestMost(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	const followers, most = 60, 25
	codes := make([]string, followers)
	w.make("cafe", "coffee", func(c *Campaign) { c.Most = most })
	for i := range codes {
		u := fmt.Sprint("u", i)
		w.follow("cafe", u)
		codes[i] = w.code(u, "cafe", "coffee")
	}
	got := together(followers, func(i int) Answer {
		r, err := w.Redeem(context.Background(), w.till2("cafe", byte(i)), Presented{Channel: "cafe", Code: codes[i]})
		if err != nil {
			t.Error(err)
		}
		return r.Answer
	})
	want(t, "valid", got[Valid], most)
	want(t, "too late", got[Expired], followers-most)
	over := 0
	for i := range codes {
		if w.show(fmt.Sprint("u", i), "cafe", "coffee").Status == Over {
			over++
		}
	}
	want(t, "followers who see that it is over", over, followers-most)
}

// till2 is till for goroutines that are not the test's.
func (w *world) till2(channel string, n byte) hooks.Identity {
	return hooks.Identity{Account: w.accounts[channel+"-clerk"], Name: channel + "-clerk", Token: [32]byte{n, 1}, Scopes: []string{hooks.KeyScope(hooks.ScopeRedeem, channel)}}
}

// together calls f for 0 to n-1 at once and counts the answers.
func together(n int, f func(int) Answer) map[Answer]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	got, start := make(map[Answer]int), make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			a := f(i)
			mu.Lock()
			defer mu.Unlock()
			got[a]++
		})
	}
	close(start)
	wg.Wait()
	return got
}

func TestUndo(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	w.follow("cafe", "bob")
	w.make("cafe", "coffee", func(c *Campaign) { c.Most = 1 })
	code := w.code("bob", "cafe", "coffee")
	p := Presented{Channel: "cafe", Code: code}
	_, err := w.Undo(t.Context(), w.till("cafe", 1), p)
	wantCode(t, "nothing to undo", err, store.CodeConflict)
	want(t, "valid", w.redeem("cafe", code, "r1"), Valid)
	_, err = w.Undo(t.Context(), w.till("cafe", 2), p)
	wantCode(t, "by another till", err, store.CodeConflict)
	_, err = w.Undo(t.Context(), w.till("cafe", 1), Presented{Channel: "cafe", Code: strings.Repeat("0", 26)})
	wantCode(t, "an unknown code", err, store.CodeConflict)
	c, err := w.Undo(t.Context(), w.till("cafe", 1), p)
	w.must(err)
	want(t, "undone", c.ID, "coffee")
	want(t, "again", w.redeem("cafe", code, "r2"), Valid)
	want(t, "once more", w.redeem("cafe", code, "r3"), Used)
	w.wait(UndoTime + time.Second)
	_, err = w.Undo(t.Context(), w.till("cafe", 1), p)
	wantCode(t, "too late", err, store.CodeConflict)
	n, _, err := w.days(w.channels["cafe"], "coffee", 1<<40)
	w.must(err)
	want(t, "counted", n, 1)
}

// TestWrongCodes: wrong codes stop a key, whatever it sends then, and nobody else's.
func TestWrongCodes(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	w.follow("cafe", "bob")
	w.make("cafe", "coffee")
	code := w.code("bob", "cafe", "coffee")
	try := func(n byte, code string) (Answer, error) {
		r, err := w.Redeem(t.Context(), w.till("cafe", n), Presented{Channel: "cafe", Code: code})
		return r.Answer, err
	}
	for i := range 30 {
		if a, err := try(1, fmt.Sprintf("%026d", i)); a != Unknown || err != nil {
			t.Fatalf("the %dth wrong one: %v, %v", i+1, a, err)
		}
	}
	_, err := try(1, code)
	e, ok := err.(*store.Error)
	if !ok || e.Code != store.CodeTooMany || e.Retry <= 0 || e.Retry > 10*time.Second {
		t.Fatalf("after too many: %#v", err)
	}
	_, err = w.Undo(t.Context(), w.till("cafe", 1), Presented{Channel: "cafe", Code: code})
	wantCode(t, "undoing", err, store.CodeTooMany)
	w.wait(e.Retry + time.Second)
	if a, err := try(1, code); a != Valid || err != nil {
		t.Errorf("after the wait: %v, %v", a, err)
	}
	if a, err := try(2, code); a != Used || err != nil {
		t.Errorf("another till: %v, %v", a, err)
	}
}

// TestRandomCodes: no code of a campaign is another's, and none is guessed.
func TestRandomCodes(t *testing.T) {
	w := newWorld(t)
	w.brand("cafe")
	a, b := w.make("cafe", "coffee"), w.make("cafe", "tea")
	ka, err := w.sealer(w.channels["cafe"], a)
	w.must(err)
	kb, err := w.sealer(w.channels["cafe"], b)
	w.must(err)
	seen := make(map[code]bool)
	for n := range 5000 {
		for _, k := range []sealer{ka, kb} {
			c := k.seal(number(n + 1))
			if seen[c] {
				t.Fatal("two coupons have one code")
			}
			seen[c] = true
		}
		if _, ok := kb.open(ka.seal(number(n + 1))); ok {
			t.Fatal("one campaign reads another's code")
		}
		if ka.row(store.AccountID(n+1)) == kb.row(store.AccountID(n+1)) {
			t.Fatal("rows of two campaigns can be linked")
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		var c code
		for i := range c {
			c[i] = byte(rng.Uint32())
		}
		if _, ok := ka.open(c); ok {
			t.Fatal("guessed")
		}
	}
}
