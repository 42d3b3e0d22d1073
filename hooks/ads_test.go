package hooks

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// TestCap: whatever is posted, no 24 hours see more than the cap, and who is sent much gets advertising every day.
func TestCap(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	start := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC).UnixMilli()
	for try := range 60 {
		limit := 1 + r.IntN(4)
		every := time.Duration(1+r.IntN(20)) * time.Hour
		var posts []adPost
		at := start
		for n := range 300 {
			at += r.Int64N(2 * every.Milliseconds())
			posts = append(posts, adPost{log: store.LogID(1 + r.IntN(3)), seq: store.Seq(n), time: at})
		}
		slices.SortFunc(posts, adPost.compare)
		var got []int64
		for i, p := range posts {
			before := i
			for before > 0 && p.time-posts[before-1].time < 9*adDay {
				before--
			}
			if !capped(posts[before:i], p, limit) {
				got = append(got, p.time)
			}
			if n := len(got); n > limit && got[n-1]-got[n-1-limit] < adDay {
				t.Fatalf("seed %d, try %d: %d posts within 24 hours of %v", seed, try, limit+1, time.UnixMilli(p.time).UTC())
			}
		}
		// A week brings the cap's number each day, but for a day at the count's begin and what does not divide.
		if weeks := float64(at-start) / float64(adWeek); every < 4*time.Hour && float64(len(got)) < weeks*5*float64(limit) {
			t.Fatalf("seed %d, try %d: %d posts in %.1f weeks at most %d a day", seed, try, len(got), weeks, limit)
		}
	}
}

func TestCapCases(t *testing.T) {
	wednesday := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC).UnixMilli()
	week, from := adsFrom(wednesday)
	if got := time.UnixMilli(week).UTC(); got.Weekday() != time.Monday || got.Hour() != 0 || wednesday-week != 2*adDay+adDay/2 || from != week-adDay {
		t.Fatalf("the count begins on %v", got)
	}
	hour := adDay / 24
	for _, c := range []struct {
		name   string
		before []int64 // hours before the post
		want   bool
	}{
		{"nothing", nil, false},
		{"two", []int64{2, 1}, false},
		{"three", []int64{3, 2, 1}, true},
		{"three at once", []int64{0, 0, 0}, true},
		{"one is a day old", []int64{24, 2, 1}, false},
		{"one was capped itself", []int64{26, 25, 24, 23, 1}, false},
		{"those after a capped one count", []int64{26, 25, 23, 22, 2, 1}, true},
		{"the week before is over", []int64{100, 99, 98}, false},
	} {
		var before []adPost
		for i, h := range c.before {
			before = append(before, adPost{seq: store.Seq(i + 1), time: wednesday - h*hour})
		}
		if got := capped(before, adPost{seq: 99, time: wednesday}, 3); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestCapOfFollower: what counts is the advertising of all channels that is for this follower, and every server that
// reads the logs says the same.
func TestCapOfFollower(t *testing.T) {
	p := newPeople(t, AccessConfig{AdCap: 2}, "alice", "bob", "carol")
	cafe, bakery, noise := p.brand("cafe"), p.brand("bakery"), p.brand("noise")
	for _, b := range []*brand{cafe, bakery} {
		b.follow("alice", consents)
		b.follow("bob", consents)
	}
	noise.follow("alice", nil) // without consent
	noise.follow("bob", func(f *graph.Follow) { f.Ads, f.Blocked = 1, 1 })
	never := &graph.Segment{MinWeeks: 9}
	type ad struct {
		b *brand
		r *store.Record
	}
	var ads []ad
	post := func(b *brand, about *graph.Post) {
		p.pass(time.Hour)
		ads = append(ads, ad{b, b.post(b.news, fmt.Sprint("ad", len(ads)), about, store.Draft{})})
	}
	outcomes := func(a *Access, who string) (s string) {
		t.Helper()
		for _, x := range ads {
			f, err := a.Follower(p.named(who), x.b.news)
			p.must(err)
			o, _, err := f.Outcome(x.r)
			p.must(err)
			s += map[policy.Outcome]string{policy.DeliverNoPush: "x", policy.None: "."}[o]
		}
		return s
	}
	check := func(who, want string) {
		t.Helper()
		if got := outcomes(p.Access, who); got != want {
			t.Errorf("%s got %s, want %s", who, got, want)
		}
		if got := outcomes(NewAccess(p.st.Store, AccessConfig{AdCap: 2, Now: p.now}), who); got != want {
			t.Errorf("another server says %s got %s, want %s", who, got, want)
		}
	}
	for range 5 {
		post(noise, nil)
	}
	post(cafe, &graph.Post{Segment: never})
	post(cafe, nil)
	check("alice", "......x")
	post(bakery, nil)
	post(cafe, nil)
	check("alice", "......xx.")
	check("bob", "......xx.")
	p.pass(22 * time.Hour) // the first one is 25 hours old at the next
	post(bakery, nil)
	post(bakery, nil)
	post(cafe, nil)
	check("alice", "......xx.xx.")
	bakery.follow("carol", func(f *graph.Follow) { f.Ads, f.FromAds = 1, 2 })
	check("carol", "..........x.")
	p.must(p.Relations().SetFollow(t.Context(), p.named("alice"), bakery.notices.ID, func(f *graph.Follow) error { f.Ads = 0; return nil }))
	check("alice", "......x.x..x") // what it does not get any more does not count
	if uncapped := outcomes(NewAccess(p.st.Store, AccessConfig{AdCap: -1, Now: p.now}), "bob"); uncapped != "......xxxxxx" {
		t.Errorf("without a cap: %s", uncapped)
	}
}

// TestAdBook: the book holds what the log holds, however it is asked and whatever was posted since.
func TestAdBook(t *testing.T) {
	p := newPeople(t, AccessConfig{}, "alice")
	cafe := p.brand("cafe", "alice")
	var all []adPost
	post := func(n int) {
		for range n {
			p.pass(time.Minute)
			id := fmt.Sprint("ad", len(all))
			pending := p.st.Append(store.Draft{Log: cafe.news.ID, CID: graph.PostCID(id), Text: []byte(id)})
			r, err := pending.Result()
			p.must(err)
			all = append(all, adPost{cafe.news.ID, r.Seq, r.Time, graph.PostCID(id)})
			if len(all)%7 == 0 { // what is no post lies between
				_, err := p.st.Append(store.Draft{Log: cafe.news.ID, Op: store.Op{Kind: store.OpRecall, Target: r.Seq}}).Result()
				p.must(err)
			}
		}
	}
	var book adBook
	check := func(first int) {
		t.Helper()
		from := p.now().UnixMilli() + 1
		if first < len(all) {
			from = all[first].time
		}
		got, err := book.since(p.st, cafe.news.ID, from)
		p.must(err)
		want := all[min(first, len(all)):]
		if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) || len(got) > 0 && !slices.Equal(got, all[len(all)-len(got):]) {
			t.Fatalf("from %d of %d: %d posts", first, len(all), len(got))
		}
	}
	check(0)
	post(3)
	check(0)
	post(200)
	book = adBook{}
	check(202)
	check(150)
	post(5)
	check(200)
	check(0)
	check(0)
	// One who looked at the log before the newest post, and reads further back after another has read that.
	early, err := p.st.Info(cafe.news.ID)
	p.must(err)
	post(1)
	book = adBook{}
	check(len(all) - 1)
	_, err = book.since(asBefore{p.st, early}, cafe.news.ID, all[0].time)
	p.must(err)
	check(0)
	if _, err := book.since(p.st, 999, 0); err != nil {
		t.Errorf("a log that is not there: %v", err)
	}
}

// asBefore is a store whose logs are as they were.
type asBefore struct {
	Graph
	info store.LogInfo
}

func (e asBefore) Info(store.LogID) (store.LogInfo, error) { return e.info, nil }

// TestAdBookBounded: the book forgets whole logs rather than growing.
func TestAdBookBounded(t *testing.T) {
	var b adBook
	for id := store.LogID(1); id < 100; id++ {
		l := b.log(id)
		l.posts = make([]adPost, maxAds/50)
		b.count(id, len(l.posts))
		if b.logs[id] == nil {
			t.Fatal("the log that was just read is gone")
		}
	}
	held := 0
	for _, l := range b.logs {
		held += 1 + len(l.posts)
	}
	if held != b.posts || held > maxAds || held < maxAds/2 {
		t.Fatalf("%d posts held, %d counted", held, b.posts)
	}
}
