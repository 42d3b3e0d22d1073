package broadcast

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

func TestLife(t *testing.T) {
	w := newWorld(t)
	many := 2000
	w.followers = &many
	at := w.now().Add(time.Hour)
	post := view.Post{Kind: "image", Text: "봄", Files: []view.PostFile{{File: "f1"}}, Variants: map[string]view.PostText{"en": {Text: "spring"}}}
	wish := Wish{Key: "Spring", Post: post, At: at, Ad: true, Silent: true, Segment: &graph.Segment{Countries: []string{"kr", "JP", "KR"}}}
	c := w.create(wish)
	if c.Key != "spring" || c.State != Scheduled || c.Opening != "(광고) 봄" || !reflect.DeepEqual(c.Segment.Countries, []string{"JP", "KR"}) {
		t.Errorf("created %+v", c)
	}
	if len(w.held) != 1 {
		t.Errorf("the files held are %v", w.held)
	}
	w.step()
	w.wantState("spring", Scheduled, "")
	w.later(time.Hour)
	w.step()
	c = w.get("spring")
	brand, err := w.graph.Channel(w.channel)
	w.must(err)
	if r := w.records(brand.Ads, "spring"); len(r) != 1 || string(r[0].Text) != "(광고) 봄" || r[0].Kind != store.KindImage || r[0].Seq != c.Seq {
		t.Fatalf("records %v", r)
	}
	if r := w.records(w.channel, "spring"); len(r) != 0 {
		t.Errorf("advertising among the notices: %v", r)
	}
	p, err := w.graph.Post(w.channel, "spring")
	w.must(err)
	if p.State != graph.PostOut || !p.Silent || p.Segment == nil || p.Variants["en"].Text != "(Ad) spring" {
		t.Errorf("the post says %+v", p)
	}
	if c.Post != nil || len(w.held) != 0 {
		t.Errorf("after the record is there the row keeps %+v, and the files %v", c.Post, w.held)
	}
	w.wantState("spring", Running, "")
	for _, n := range []int{10, 199, 200, 210, 600, 5000} {
		w.set(func() { w.considered = n })
		w.step()
	}
	w.set(func() { w.all = true })
	w.step()
	w.wantState("spring", Done, "")
	want := []progress{{"spring", Scheduled, 0, ""}, {"spring", Running, 0, ""}, {"spring", Running, 10, ""}, {"spring", Running, 30, ""}, {"spring", Running, 90, ""}, {"spring", Done, 0, ""}}
	if !reflect.DeepEqual(w.told, want) {
		t.Errorf("publishers were told %+v, want %+v", w.told, want)
	}
	w.later(ReportAfter - 2*watchEvery)
	w.step()
	if w.reports != 0 {
		t.Error("counted before its time")
	}
	w.later(time.Second)
	w.step()
	w.step()
	if c = w.get("spring"); w.reports != 1 || c.Report == nil || c.Report.Reached == nil || *c.Report.Reached != 120 || c.Report.Opened != nil {
		t.Errorf("%d reports, %+v", w.reports, c.Report)
	}
	if n := w.dues(); n != 0 {
		t.Errorf("%d rows of what is due are left", n)
	}
	var states []State
	for _, e := range c.Events {
		states = append(states, e.State)
	}
	if !reflect.DeepEqual(states, []State{Scheduled, Running, Done}) || c.Events[0].By != w.by || c.Events[1].By != 0 {
		t.Errorf("events %+v", c.Events)
	}
	// Asking again is the same broadcast, also long after.
	again, created, err := w.b.Create(t.Context(), w.channel, w.by, wish)
	if err != nil || created || again.State != Done {
		t.Errorf("asked again: %+v, %v, %v", again, created, err)
	}
	if len(w.records(brand.Ads, "spring")) != 1 {
		t.Error("it went out twice")
	}
}

// A brand with few followers learns states only, however far it has come.
func TestFewFollowers(t *testing.T) {
	for _, followers := range []*int{nil, new(int), ptr(1000)} {
		w := newWorld(t)
		w.followers = followers
		w.create(Wish{Key: "a", Post: text("hello")})
		for n := range 20 {
			w.set(func() { w.considered = n * 50 })
			w.step()
		}
		w.set(func() { w.all = true })
		w.step()
		want := []progress{{"a", Scheduled, 0, ""}, {"a", Running, 0, ""}, {"a", Done, 0, ""}}
		if !reflect.DeepEqual(w.told, want) {
			t.Errorf("publishers were told %+v", w.told)
		}
	}
}

// Whoever chooses when a broadcast begins, or goes on, chooses how much later it is looked how far it is. What it took is not
// seen all the same: one that has nobody to wait for and one that has are done at the same time, however little is left.
func TestEndTellsNoTime(t *testing.T) {
	for _, left := range []time.Duration{time.Millisecond, time.Second, watchEvery - time.Millisecond} {
		for _, paused := range []bool{false, true} {
			w := newWorld(t)
			ended := func(key string, all bool) time.Duration {
				t.Helper()
				look := func(watch bool) { w.b.pass(t.Context(), w.now(), watch) }
				w.set(func() { w.all = false })
				w.later(w.now().Truncate(watchEvery).Add(2*watchEvery - left).Sub(w.now()))
				w.create(Wish{Key: key, Post: text("hello")})
				look(false)
				if paused {
					_, err := w.b.Pause(t.Context(), w.channel, key, w.by)
					w.must(err)
					w.later(time.Hour)
					_, err = w.b.Resume(t.Context(), w.channel, key, w.by)
					w.must(err)
					look(false)
				}
				began := w.now()
				w.set(func() { w.all = all })
				for w.later(left); !w.get(key).Over(); w.later(watchEvery) {
					look(true)
					w.set(func() { w.all = true }) // the one that was waited for took longer than was left
				}
				return time.UnixMilli(w.get(key).Ended).Sub(began)
			}
			if alone, waited := ended("a", true), ended("b", false); alone != waited {
				t.Errorf("%v before it is looked, paused %v: ended after %v with nobody to wait for, after %v with somebody", left, paused, alone, waited)
			}
		}
	}
}

func ptr(n int) *int { return &n }

func TestWishes(t *testing.T) {
	w := newWorld(t)
	now := w.now()
	ok := func(change func(*Wish)) Wish {
		x := Wish{Key: "k", Post: text("hello")}
		change(&x)
		return x
	}
	for _, c := range []struct {
		name string
		wish Wish
		code store.Code
	}{
		{"no key", ok(func(x *Wish) { x.Key = "" }), store.CodeBad},
		{"a key that is none", ok(func(x *Wish) { x.Key = "a b" }), store.CodeBad},
		{"nothing to say", ok(func(x *Wish) { x.Post.Text = "" }), store.CodeBad},
		{"long ago", ok(func(x *Wish) { x.At = now.Add(-2 * time.Minute) }), store.CodeBad},
		{"far ahead", ok(func(x *Wish) { x.At = now.Add(MaxAhead + time.Second) }), store.CodeBad},
		{"over before it begins", ok(func(x *Wish) { x.At, x.Expiry = now.Add(time.Hour), now.Add(time.Minute) }), store.CodeBad},
		{"without end", ok(func(x *Wish) { x.Expiry = now.Add(MaxLife + time.Hour) }), store.CodeBad},
		{"three attributes", ok(func(x *Wish) {
			x.Segment = &graph.Segment{Countries: []string{"KR"}, Languages: []string{"ko"}, Sample: 10}
		}), store.CodeBad},
		{"no country", ok(func(x *Wish) { x.Segment = &graph.Segment{Countries: []string{"Korea"}} }), store.CodeBad},
		{"no language", ok(func(x *Wish) { x.Segment = &graph.Segment{Languages: []string{"ko-KR"}} }), store.CodeBad},
		{"no platform", ok(func(x *Wish) { x.Segment = &graph.Segment{Platforms: []graph.Platform{"symbian"}} }), store.CodeBad},
		{"no weeks", ok(func(x *Wish) { x.Segment = &graph.Segment{MinWeeks: 4, MaxWeeks: 4} }), store.CodeBad},
		{"no sample", ok(func(x *Wish) { x.Segment = &graph.Segment{Sample: 1001} }), store.CodeBad},
		{"fewer than none", ok(func(x *Wish) { x.Segment = &graph.Segment{Sample: -5} }), store.CodeBad},
		{"weeks before following", ok(func(x *Wish) { x.Segment = &graph.Segment{MaxWeeks: -1} }), store.CodeBad},
		{"a list left empty", ok(func(x *Wish) { x.Segment = &graph.Segment{Countries: []string{}} }), store.CodeBad},
		{"foreign file", ok(func(x *Wish) { x.Post = view.Post{Kind: "image", Files: []view.PostFile{{File: "foreign"}}} }), store.CodeNotFound},
		{"no campaigns", ok(func(x *Wish) { x.Campaign = "spring" }), store.CodeNotFound},
		{"too long", ok(func(x *Wish) { x.Post.Text = strings.Repeat("x", view.MaxPost) }), store.CodeTooLarge},
	} {
		if _, _, err := w.b.Create(t.Context(), w.channel, w.by, c.wish); store.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want code %d", c.name, err, c.code)
		}
	}
	if _, _, err := w.b.Create(t.Context(), 99999, w.by, ok(func(*Wish) {})); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("no channel: %v", err)
	}
	w.enough = false
	_, _, err := w.b.Create(t.Context(), w.channel, w.by, ok(func(x *Wish) { x.Segment = &graph.Segment{Countries: []string{"KR"}} }))
	if store.CodeOf(err) != store.CodeUnprocessable {
		t.Errorf("too few followers: %v", err)
	}
	if n := w.dues(); n != 0 {
		t.Errorf("what was refused left %d rows", n)
	}
	w.create(ok(func(x *Wish) { x.At = now.Add(time.Hour) }))
	for name, other := range map[string]Wish{
		"text":   ok(func(x *Wish) { x.At, x.Post.Text = now.Add(time.Hour), "bye" }),
		"time":   ok(func(x *Wish) { x.At = now.Add(2 * time.Hour) }),
		"silent": ok(func(x *Wish) { x.At, x.Silent = now.Add(time.Hour), true }),
		"ad":     ok(func(x *Wish) { x.At, x.Ad = now.Add(time.Hour), true }),
	} {
		if _, _, err := w.b.Create(t.Context(), w.channel, w.by, other); store.CodeOf(err) != store.CodeConflict {
			t.Errorf("the same key with another %s: %v", name, err)
		}
	}
	w.b.cfg.Open = 1
	if _, _, err := w.b.Create(t.Context(), w.channel, w.by, ok(func(x *Wish) { x.Key = "k2" })); store.CodeOf(err) != store.CodeFull {
		t.Errorf("one too many: %v", err)
	}
	for _, set := range []func(*graph.Channel){func(c *graph.Channel) { c.Approved = 0 }, func(c *graph.Channel) { c.Suspended = 1 }} {
		w.must(w.graph.SetChannel(t.Context(), w.channel, func(c *graph.Channel) error { set(c); return nil }))
		if _, _, err := w.b.Create(t.Context(), w.channel, w.by, ok(func(x *Wish) { x.Key = "k3" })); store.CodeOf(err) != store.CodeForbidden {
			t.Errorf("a channel that may not post: %v", err)
		}
	}
}

func TestPauseResumeCancel(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	state := func() graph.PostState {
		p, err := w.graph.Post(w.channel, "a")
		w.must(err)
		return p.State
	}
	w.create(Wish{Key: "a", Post: text("hello"), At: w.now().Add(time.Hour)})
	_, err := w.b.Pause(ctx, w.channel, "a", w.by)
	w.must(err)
	w.later(2 * time.Hour)
	w.step()
	w.wantState("a", Paused, "")
	if len(w.records(w.channel, "a")) != 0 {
		t.Fatal("it went out although it was paused")
	}
	_, err = w.b.Resume(ctx, w.channel, "a", w.by)
	w.must(err)
	w.step()
	w.wantState("a", Running, "")
	if len(w.records(w.channel, "a")) != 1 {
		t.Fatal("it did not go out when it was resumed")
	}
	changed, looks := w.changed, w.looks
	_, err = w.b.Pause(ctx, w.channel, "a", w.by)
	w.must(err)
	if state() != graph.PostPaused || w.changed != changed+1 || w.looks != looks+1 {
		t.Errorf("the post is %q, deliveries were told %d times, pushes %d", state(), w.changed-changed, w.looks-looks)
	}
	w.set(func() { w.all = true })
	w.step()
	w.wantState("a", Paused, "")
	_, err = w.b.Resume(ctx, w.channel, "a", w.by)
	w.must(err)
	if state() != graph.PostOut {
		t.Errorf("the post is %q", state())
	}
	for range 2 { // again is the same
		_, err = w.b.Cancel(ctx, w.channel, "a", w.by)
		w.must(err)
	}
	if state() != graph.PostCanceled {
		t.Errorf("the post is %q", state())
	}
	w.step()
	w.wantState("a", Canceled, "")
	for name, f := range map[string]func() (*Broadcast, error){
		"pause":  func() (*Broadcast, error) { return w.b.Pause(ctx, w.channel, "a", w.by) },
		"resume": func() (*Broadcast, error) { return w.b.Resume(ctx, w.channel, "a", w.by) },
		"absent": func() (*Broadcast, error) { return w.b.Cancel(ctx, w.channel, "b", w.by) },
	} {
		if _, err := f(); store.CodeOf(err) != store.CodeConflict && store.CodeOf(err) != store.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that was canceled before its time has no record, no post and nothing that is held.
	w.create(Wish{Key: "c", Post: view.Post{Kind: "file", Files: []view.PostFile{{File: "f1"}}}, At: w.now().Add(time.Hour)})
	_, err = w.b.Cancel(ctx, w.channel, "c", w.by)
	w.must(err)
	w.later(2 * time.Hour)
	w.step()
	if len(w.records(w.channel, "c")) != 0 || len(w.held) != 0 {
		t.Errorf("canceled: records %v, files %v", w.records(w.channel, "c"), w.held)
	}
}

func TestChannelMayNotPostAtItsTime(t *testing.T) {
	w := newWorld(t)
	w.create(Wish{Key: "a", Post: text("hello"), At: w.now().Add(time.Hour)})
	w.must(w.graph.SetChannel(t.Context(), w.channel, func(c *graph.Channel) error { c.Suspended = 1; return nil }))
	w.later(time.Hour)
	w.step()
	w.wantState("a", Paused, WhySuspended)
	w.must(w.graph.SetChannel(t.Context(), w.channel, func(c *graph.Channel) error { c.Suspended = 0; return nil }))
	w.step()
	w.wantState("a", Paused, WhySuspended)
	_, err := w.b.Resume(t.Context(), w.channel, "a", w.by)
	w.must(err)
	w.step()
	w.wantState("a", Running, "")
}

func TestExpiry(t *testing.T) {
	w := newWorld(t)
	in := func(d time.Duration) time.Time { return w.now().Add(d) }
	w.create(Wish{Key: "missed", Post: text("a"), At: in(time.Hour), Expiry: in(2 * time.Hour)})
	w.create(Wish{Key: "paused", Post: text("a"), At: in(time.Hour), Expiry: in(2 * time.Hour)})
	_, err := w.b.Pause(t.Context(), w.channel, "paused", w.by)
	w.must(err)
	w.create(Wish{Key: "slow", Post: text("a"), Expiry: in(2 * time.Hour)})
	w.step()
	w.later(2 * time.Hour)
	w.step()
	w.wantState("missed", Canceled, WhyExpired)
	w.wantState("paused", Canceled, WhyExpired)
	w.wantState("slow", Done, WhyExpired)
	if r := w.records(w.channel, "missed"); len(r) != 0 {
		t.Errorf("it went out after its end: %v", r)
	}
}

// What the store refuses for good ends a broadcast; it is not tried for ever.
func TestRefusedRecord(t *testing.T) {
	w := newWorld(t)
	w.create(Wish{Key: "a", Post: text("a")})
	w.refuse = store.ErrTooLarge
	w.step()
	w.wantState("a", Canceled, WhyRefused)
	w.create(Wish{Key: "b", Post: text("a")})
	w.refuse = store.ErrUnavailable
	w.step()
	w.wantState("b", Running, "")
	w.refuse = nil
	w.step()
	if len(w.records(w.channel, "b")) != 1 || w.get("b").Seq == 0 {
		t.Error("it was not tried again")
	}
}

// A record that was appended so long ago that its cid may be forgotten is found.
func TestFoundAfterLong(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		_, err := w.store.Append(store.Draft{Log: w.channel, Text: []byte("other")}).Result()
		w.must(err)
	}
	w.create(Wish{Key: "a", Post: text("hello")})
	w.failing.die(3, true) // row; post; record
	w.b.pass(t.Context(), w.now(), true)
	if len(w.records(w.channel, "a")) != 1 || w.get("a").Seq != 0 {
		t.Fatalf("the store did not die between the record and the row: %+v", w.get("a"))
	}
	w.failing.die(0, false)
	w.later(8 * 24 * time.Hour)
	w.refuse = store.ErrUnavailable // it is not even tried
	w.still()
	w.step()
	if r := w.records(w.channel, "a"); len(r) != 1 || w.get("a").Seq != r[0].Seq {
		t.Errorf("records %v, the row says %d", r, w.get("a").Seq)
	}
}

func TestList(t *testing.T) {
	w := newWorld(t)
	for _, k := range []string{"b", "a", "c"} {
		w.create(Wish{Key: k, Post: text(k)})
		w.later(time.Second)
	}
	got := ""
	for from := ""; ; {
		list, next, err := w.b.List(w.channel, from, 2)
		w.must(err)
		for _, c := range list {
			got += c.Key
		}
		if from = next; from == "" {
			break
		}
	}
	if got != "cab" {
		t.Errorf("listed %s, want the newest first", got)
	}
	if _, _, err := w.b.List(w.channel, "?", 2); store.CodeOf(err) != store.CodeBad {
		t.Errorf("%v", err)
	}
	if _, err := w.b.Get(w.channel, "none"); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("%v", err)
	}
}

// The run of its own: what is created goes out without anybody asking, and what is scheduled when its time comes.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.tells = make(chan progress, 100)
	cfg := w.config()
	cfg.Pushes = nil
	b, err := New(cfg)
	w.must(err)
	defer func() { w.must(b.Close()) }()
	w.b = b
	await := func(key string, s State) {
		t.Helper()
		for p := range w.tells {
			if p.Broadcast == key && p.State == s {
				return
			}
		}
	}
	w.create(Wish{Key: "now", Post: text("a")})
	await("now", Running)
	w.later(watchEvery)
	b.Look()
	await("now", Done)
	w.create(Wish{Key: "later", Post: text("a"), At: w.now().Add(time.Hour)})
	w.later(time.Hour)
	b.Look()
	await("later", Running)
	if len(w.records(w.channel, "now")) != 1 {
		t.Error("it did not go out once")
	}
}
