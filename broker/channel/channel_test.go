package channel

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/policy"
)

type world struct {
	t     testing.TB
	st    *bolt.Store
	s     *Service
	users map[string]store.Account

	mu    sync.Mutex // guards clock: the store asks it at any time
	clock time.Time
}

func newWorld(t testing.TB, names ...string) *world {
	t.Helper()
	w := &world{t: t, clock: time.Date(2026, 11, 22, 23, 58, 0, 0, time.UTC), users: make(map[string]store.Account)}
	var err error
	if w.st, err = bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.st.Close(); err != nil {
			t.Error(err)
		}
	})
	w.open(Config{})
	for _, n := range names {
		if w.users[n], err = w.st.CreateAccount(t.Context(), store.Account{Name: n}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) open(c Config) {
	w.t.Helper()
	if c.Now = w.now; c.Store == nil {
		c.Store = w.st
	}
	var err error
	if w.s, err = New(c); err != nil {
		w.t.Fatal(err)
	}
	if err := w.s.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(owner, name, title string) *Channel {
	w.t.Helper()
	c, _, err := w.s.Create(w.t.Context(), w.users[owner].ID, name, Fields{Title: &title})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func code(t testing.TB, what string, err error, want store.Code) {
	t.Helper()
	if store.CodeOf(err) != want {
		t.Errorf("%s: %v, want %d", what, err, want)
	}
}

func TestCreate(t *testing.T) {
	w := newWorld(t, "brand", "other")
	c := w.create("brand", "acme", "Acme")
	if c.State() != policy.ChannelPaused || c.Public() || c.Role(w.users["brand"].ID) != store.RoleOwner || c.Ads == 0 || c.Log.Title != "Acme" {
		t.Errorf("%+v", c)
	}
	again, created, err := w.s.Create(t.Context(), w.users["brand"].ID, "acme", Fields{Title: &c.Title})
	if err != nil || created || again.ID != c.ID {
		t.Errorf("%v, %v", created, err)
	}
	title, none, bad := "x", "", "no such"
	_, _, err = w.s.Create(t.Context(), w.users["other"].ID, "acme", Fields{Title: &title})
	code(t, "taken", err, store.CodeConflict)
	_, _, err = w.s.Create(t.Context(), w.users["other"].ID, "x", Fields{Title: &none})
	code(t, "no title", err, store.CodeBad)
	_, _, err = w.s.Create(t.Context(), w.users["other"].ID, "x", Fields{Title: &title, Category: &bad})
	code(t, "category", err, store.CodeBad)
	if _, err := w.s.Find("x"); !errors.Is(err, ErrNone) {
		t.Errorf("a refused channel is there: %v", err)
	}
	for i := range DefaultOwned - 1 {
		w.create("brand", fmt.Sprint("c", i), "x")
	}
	_, _, err = w.s.Create(t.Context(), w.users["brand"].ID, "more", Fields{Title: &title})
	code(t, "too many", err, store.CodeFull)

	// A crash between the logs and the settings: nobody else gets the name, and its owner finishes it.
	for _, k := range []store.Key{store.ChannelKey("half"), store.AdsKey("half")} {
		me := w.users["other"].ID
		if _, _, err := w.st.Open(t.Context(), k, store.Creation{By: me, Members: []store.Member{{Account: me, Role: store.RoleOwner}}}); err != nil {
			t.Fatal(err)
		}
	}
	w.open(Config{Unapproved: true, Owned: 9})
	if _, err := w.s.Find("half"); !errors.Is(err, ErrNone) {
		t.Errorf("half a channel is there: %v", err)
	}
	_, _, err = w.s.Create(t.Context(), w.users["brand"].ID, "half", Fields{Title: &title})
	code(t, "somebody's half", err, store.CodeConflict)
	if c := w.create("other", "half", "x"); c.State() != policy.ChannelOK || !c.Public() {
		t.Errorf("%+v", c)
	}
}

func TestStates(t *testing.T) {
	w := newWorld(t, "brand")
	changed := 0
	w.open(Config{Changed: func(store.LogID) { changed++ }})
	id := w.create("brand", "acme", "Acme").ID
	state := func(want policy.ChannelState, moved bool, c *Channel, did bool, err error) {
		t.Helper()
		if err != nil || c.State() != want || did != moved {
			t.Fatalf("%v, moved %v, %v", c, did, err)
		}
	}
	ctx := t.Context()
	c, did, err := w.s.Pause(ctx, id, true)
	state(policy.ChannelPaused, true, c, did, err)
	c, did, err = w.s.Approve(ctx, id, "")
	state(policy.ChannelPaused, true, c, did, err)
	c, did, err = w.s.Pause(ctx, id, false)
	state(policy.ChannelOK, true, c, did, err)
	c, did, err = w.s.Approve(ctx, id, "")
	state(policy.ChannelOK, false, c, did, err)
	c, did, err = w.s.Suspend(ctx, id, true, "spam")
	state(policy.ChannelSuspended, true, c, did, err)
	if c.SuspendedReason != "spam" || c.Public() {
		t.Errorf("%+v", c)
	}
	c, did, err = w.s.Suspend(ctx, id, false, "")
	state(policy.ChannelOK, true, c, did, err)
	if changed != 5 {
		t.Errorf("deliveries look again %d times", changed)
	}
	_, _, err = w.s.Approve(ctx, id, "gold")
	code(t, "no such plan", err, store.CodeNotFound)
	_, _, err = w.s.Pause(ctx, 999, true)
	if store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("no such channel: %v", err)
	}
}

// What a plan allows is counted durably and once for each identifier, also by many at once.
func TestSpend(t *testing.T) {
	w := newWorld(t, "brand")
	ctx := t.Context()
	id := w.create("brand", "acme", "Acme").ID
	if err := w.s.SetPlan(ctx, Plan{Name: "small", Posts: 12, Ads: 2, PerMinute: 8, Publishers: 3}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.s.Approve(ctx, id, "small"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { errs[i] = w.s.Spend(ctx, id, false, fmt.Sprint("p", i/2)) }) // each twice
	}
	wg.Wait()
	taken := map[int]bool{}
	for i, err := range errs {
		if err == nil {
			taken[i/2] = true
		} else if e, ok := errors.AsType[*store.Error](err); !ok || e.Reason != store.ReasonRate || e.Retry <= 0 || e.Retry > time.Minute {
			t.Errorf("%v", err)
		}
	}
	if len(taken) != 8 {
		t.Errorf("%d posts of 8 a minute", len(taken))
	}
	for i := range 10 {
		if err := w.s.Spend(ctx, id, false, fmt.Sprint("p", i)); (err == nil) != taken[i] {
			t.Errorf("a repeat of %d: %v", i, err)
		}
	}
	w.later(time.Minute)
	w.open(Config{})
	for i, want := range []store.Code{0, 0, store.CodeTooMany} {
		code(t, "advertising", w.s.Spend(ctx, id, true, fmt.Sprint("ad", i)), want)
	}
	for i, want := range []store.Code{0, 0, store.CodeTooMany} {
		code(t, "posts", w.s.Spend(ctx, id, false, fmt.Sprint("q", i)), want)
	}
	if posts, ads, err := w.s.Used(id); err != nil || posts != 12 || ads != 2 {
		t.Errorf("%d, %d, %v", posts, ads, err)
	}
	e, ok := errors.AsType[*store.Error](w.s.Spend(ctx, id, false, "r"))
	if !ok || e.Reason != "quota" || e.Retry != time.Minute {
		t.Errorf("%+v", e)
	}
	// A broadcast counts on the day for which it is meant.
	tomorrow := w.now().Add(12 * time.Hour)
	for i := range 13 {
		want := store.Code(0)
		if i == 12 {
			want = store.CodeTooMany
		}
		code(t, "broadcast", w.s.Broadcast(ctx, id, fmt.Sprint("b", i), false, tomorrow), want)
	}
	code(t, "the same broadcast", w.s.Broadcast(ctx, id, "b3", false, tomorrow), 0)
	code(t, "a broadcast of yesterday is one of now", w.s.Broadcast(ctx, id, "late", false, w.now().Add(-48*time.Hour)), store.CodeTooMany)
	w.later(time.Minute) // midnight
	code(t, "the next day is full", w.s.Spend(ctx, id, false, "s"), store.CodeTooMany)
	if err := w.s.RemovePlan(ctx, "small"); err != nil {
		t.Fatal(err)
	}
	code(t, "with the default plan", w.s.Spend(ctx, id, false, "s"), 0)
}

func TestPlans(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for _, p := range []Plan{{Name: "a", Publishers: 0}, {Name: "a", Publishers: 21}, {Name: "a", Publishers: 1, Posts: -1}, {Name: "a", Publishers: 1, Ads: 1 << 40}} {
		code(t, fmt.Sprint(p), w.s.SetPlan(ctx, p), store.CodeBad)
	}
	if err := w.s.SetPlan(ctx, Plan{Name: DefaultPlan, Posts: 1, Publishers: 1}); err != nil {
		t.Fatal(err)
	}
	if p, err := w.s.Plan(""); err != nil || p.Posts != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if list, err := w.s.Plans(); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := w.s.RemovePlan(ctx, DefaultPlan); err != nil {
		t.Fatal(err)
	}
	if p, err := w.s.Plan(DefaultPlan); err != nil || p != builtIn {
		t.Errorf("%+v, %v", p, err)
	}
	code(t, "twice", w.s.RemovePlan(ctx, DefaultPlan), store.CodeNotFound)
}

// Publishers are the members of both logs, and one of them owns the channel.
func TestPublishers(t *testing.T) {
	w := newWorld(t, "brand", "ed", "pub", "x")
	ctx := t.Context()
	c := w.create("brand", "acme", "Acme")
	me := w.users["brand"].ID
	roles := func(want string) {
		t.Helper()
		for _, log := range []store.LogID{c.ID, c.Ads} {
			info, err := w.st.Info(log)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range info.Members.Members {
				if m.Role != store.RoleNone {
					got = append(got, RoleWord(m.Role))
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%v: %v, want %s", info.Key.Kind, got, want)
			}
		}
	}
	roles("owner")
	if _, err := w.s.Ask(ctx, c.ID, "ed", store.RoleModerator, me); err != nil {
		t.Fatal(err)
	}
	if _, err := w.s.Ask(ctx, c.ID, "nobody", store.RoleMember, me); err != nil {
		t.Fatal(err)
	}
	_, err := w.s.Accept(ctx, c.ID, w.users["x"])
	code(t, "who was not asked", err, store.CodeNotFound)
	if role, err := w.s.Accept(ctx, c.ID, w.users["ed"]); err != nil || role != store.RoleModerator {
		t.Fatal(role, err)
	}
	_, err = w.s.Accept(ctx, c.ID, w.users["ed"])
	code(t, "twice", err, store.CodeNotFound)
	roles("owner editor")
	if offers, err := w.s.Offers(c.ID); err != nil || len(offers) != 1 || offers[0].Name != "nobody" {
		t.Errorf("%+v, %v", offers, err)
	}
	for range 2 {
		if err := w.s.SetPublisher(ctx, c.ID, w.users["pub"].ID, store.RoleMember, 0); err != nil {
			t.Fatal(err)
		}
	}
	roles("owner editor publisher")
	info, err := w.st.Info(c.ID)
	if err != nil || info.Head != 2 {
		t.Errorf("%d records of two who came, %v", info.Head, err)
	}
	if got := info.Members.Find(w.users["pub"].ID); !got.Sees(1) {
		t.Error("a new publisher does not see what was posted before")
	}
	code(t, "the only owner", w.s.RemovePublisher(ctx, c.ID, me, me), store.CodeConflict)
	code(t, "the only owner's role", w.s.SetPublisher(ctx, c.ID, me, store.RoleMember, me), store.CodeConflict)
	// An offer of somebody who owns it no more is nobody's.
	if _, err := w.s.Ask(ctx, c.ID, "x", store.RoleOwner, me); err != nil {
		t.Fatal(err)
	}
	if err := w.s.SetPublisher(ctx, c.ID, w.users["ed"].ID, store.RoleOwner, me); err != nil {
		t.Fatal(err)
	}
	if err := w.s.RemovePublisher(ctx, c.ID, me, me); err != nil {
		t.Fatal(err)
	}
	_, err = w.s.Accept(ctx, c.ID, w.users["x"])
	code(t, "of one who is gone", err, store.CodeNotFound)
	roles("owner publisher")
	if err := w.s.Leave(ctx, w.users["ed"].ID); err != nil {
		t.Fatal(err)
	}
	roles("owner")
	if err := w.s.Leave(ctx, w.users["pub"].ID); err != nil {
		t.Fatal(err)
	}
	roles("")
	if c, err := w.s.Find("acme"); err != nil || c.Paused == 0 {
		t.Errorf("nobody is left: %+v, %v", c, err)
	}
	w.later(OfferLife)
	if offers, err := w.s.Offers(c.ID); err != nil || len(offers) != 0 {
		t.Errorf("%+v, %v", offers, err)
	}
}

// A crash between the two logs is mended by asking again.
func TestHalfAPublisher(t *testing.T) {
	w := newWorld(t, "brand", "pub")
	c := w.create("brand", "acme", "Acme")
	info, err := w.st.Info(c.Ads)
	if err != nil {
		t.Fatal(err)
	}
	pub := w.users["pub"].ID
	if _, err := w.st.Append(store.Draft{Log: c.Ads, Kind: store.KindSystem, Version: info.Members.Version,
		Change: store.Change{Kind: store.ChangeJoin, Account: pub, Role: store.RoleMember}}).Result(); err != nil {
		t.Fatal(err)
	}
	if err := w.s.SetPublisher(t.Context(), c.ID, pub, store.RoleMember, 0); err != nil {
		t.Fatal(err)
	}
	if c, err := w.s.Find("acme"); err != nil || c.Role(pub) != store.RoleMember {
		t.Errorf("%v, %v", c, err)
	}
}

func TestMostPublishers(t *testing.T) {
	w := newWorld(t, "brand")
	c := w.create("brand", "acme", "Acme")
	for i := range MostPublishers - 1 {
		if _, err := w.s.Ask(t.Context(), c.ID, fmt.Sprint("u", i), store.RoleMember, w.users["brand"].ID); err != nil {
			t.Fatal(i, err)
		}
	}
	_, err := w.s.Ask(t.Context(), c.ID, "more", store.RoleMember, w.users["brand"].ID)
	code(t, "one more", err, store.CodeFull)
	if _, err := w.s.Ask(t.Context(), c.ID, "u3", store.RoleModerator, w.users["brand"].ID); err != nil {
		t.Errorf("another role for one who was asked: %v", err)
	}
	if did, err := w.s.Withdraw(t.Context(), c.ID, "u3"); err != nil || !did {
		t.Error(did, err)
	}
	if _, err := w.s.Ask(t.Context(), c.ID, "more", store.RoleMember, w.users["brand"].ID); err != nil {
		t.Error(err)
	}
}

func TestSearch(t *testing.T) {
	w := newWorld(t, "brand")
	sizes := map[string]int{"big": 100_000, "small": 10}
	names := map[store.LogID]string{}
	w.open(Config{Owned: 20, Weigh: func(id store.LogID) (int, float64, int64, error) { return sizes[names[id]], 0, 0, nil }})
	for _, c := range []struct{ name, title, about, category, lang, country string }{
		{"small", "커피 한 잔", "서울 강남의 커피", "food", "ko", "KR"}, {"big", "커피 천국", "", "food", "ko-KR", "KR"},
		{"sushi", "東京の寿司", "", "food", "ja", "JP"}, {"coffee", "Beans", "", "shopping", "en", "US"}, {"beans", "Coffee house", "coffee", "food", "en", "US"},
		{"hidden", "커피 비밀", "", "food", "ko", "KR"},
	} {
		got, _, err := w.s.Create(t.Context(), w.users["brand"].ID, c.name, Fields{Title: &c.title, Description: &c.about, Category: &c.category, Language: &c.lang, Country: &c.country})
		if err == nil && c.name != "hidden" {
			_, _, err = w.s.Approve(t.Context(), got.ID, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		names[got.ID] = c.name
		if err := w.s.Weighed(got.ID); err != nil {
			t.Fatal(err)
		}
	}
	search := func(q Query) string {
		t.Helper()
		if q.Max == 0 {
			q.Max = 10
		}
		var out []string
		for {
			list, next, err := w.s.Search(q)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				out = append(out, c.Name)
			}
			if q.After = next; next == "" {
				return strings.Join(out, " ")
			}
		}
	}
	for range 2 {
		for _, c := range []struct {
			q    Query
			want string
		}{
			{Query{Text: "커피"}, "big small"}, {Query{Text: "커피", Max: 1}, "big small"}, {Query{Text: "강남"}, "small"}, {Query{Text: "寿司"}, "sushi"},
			{Query{Text: "coffee"}, "coffee beans"}, {Query{Text: "@Coffee "}, "coffee beans"}, {Query{Text: "coffee", Category: "food"}, "beans"},
			{Query{Text: "coffee", Country: "jp"}, ""}, {Query{Text: "big", Language: "ko"}, "big"}, {Query{Text: "big", Language: "k"}, ""},
			{Query{Category: "food", Country: "KR"}, "big small"}, {Query{Text: "hidden"}, ""}, {Query{Text: "food", Language: "ja"}, "sushi"},
		} {
			if got := search(c.q); got != c.want {
				t.Errorf("%+v: %s, want %s", c.q, got, c.want)
			}
		}
		w.open(Config{Weigh: w.s.cfg.Weigh}) // the same after a restart
	}
	c, err := w.s.Find("big")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.s.Suspend(t.Context(), c.ID, true, "x"); err != nil {
		t.Fatal(err)
	}
	if got := search(Query{Text: "커피"}); got != "small" {
		t.Errorf("a suspended channel is found: %s", got)
	}
}

// holding is a store in which one row, once it is asked for that, is read and under way to who reads it until it is let go.
type holding struct {
	*bolt.Store
	hold        atomic.Bool
	held, letGo chan struct{}
}

func (h *holding) Row(t store.Table, o store.Owner, key string) (store.Row, error) {
	r, err := h.Store.Row(t, o, key)
	if h.hold.CompareAndSwap(true, false) {
		close(h.held)
		<-h.letGo
	}
	return r, err
}

// In whatever order changes at the same time come to the directory, it knows the newest in the end.
func TestDirectoryKeepsUp(t *testing.T) {
	w := newWorld(t, "brand")
	h := &holding{Store: w.st, held: make(chan struct{}), letGo: make(chan struct{})}
	first := true
	w.open(Config{Store: h, Unapproved: true, Changed: func(store.LogID) {
		h.hold.Store(first) // the change is stored, and is read now
		first = false
	}})
	c := w.create("brand", "acme", "old")
	set := func(title string) error {
		_, _, err := w.s.Set(t.Context(), c.ID, Fields{Title: &title, Alike: true})
		return err
	}
	early := make(chan error, 1)
	go func() { early <- set("early") }()
	<-h.held
	late := set("late")
	close(h.letGo)
	if err := errors.Join(late, <-early); err != nil {
		t.Fatal(err)
	}
	for title, want := range map[string]int{"late": 1, "early": 0} {
		if list, _, err := w.s.Search(Query{Text: title, Max: 10}); err != nil || len(list) != want {
			t.Errorf("%s: %d channels, %v", title, len(list), err)
		}
	}
}

// An offer is taken back or accepted: nobody publishes of whom it was told that the offer is gone.
func TestWithdrawOrAccept(t *testing.T) {
	w := newWorld(t, "brand", "ed")
	c, me, ed := w.create("brand", "acme", "Acme"), w.users["brand"].ID, w.users["ed"]
	for round := range 40 {
		if _, err := w.s.Ask(t.Context(), c.ID, "ed", store.RoleModerator, me); err != nil {
			t.Fatal(err)
		}
		var withdrawn bool
		var failed, refused error
		var wg sync.WaitGroup
		wg.Go(func() { withdrawn, failed = w.s.Withdraw(t.Context(), c.ID, "ed") })
		wg.Go(func() { _, refused = w.s.Accept(t.Context(), c.ID, ed) })
		wg.Wait()
		if failed != nil || refused != nil && store.CodeOf(refused) != store.CodeNotFound {
			t.Fatal(failed, refused)
		}
		if accepted := refused == nil; accepted == withdrawn {
			t.Fatalf("round %d: withdrawn %v, accepted %v", round, withdrawn, accepted)
		}
		if err := w.s.RemovePublisher(t.Context(), c.ID, ed.ID, me); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzSearch(f *testing.F) {
	for _, s := range []string{"", "@", "커피", "a b", "../", "\xff", "@@x", strings.Repeat("가", 300)} {
		f.Add(s, s, s)
	}
	w := newWorld(f, "brand")
	title := "커피"
	if _, _, err := w.s.Create(f.Context(), w.users["brand"].ID, "acme", Fields{Title: &title}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, lang, after string) {
		if _, _, err := w.s.Search(Query{Text: text, Language: lang, Category: lang, After: after, Max: 5}); err != nil && store.CodeOf(err) != store.CodeBad {
			t.Error(err)
		}
	})
}
