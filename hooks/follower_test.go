package hooks

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// brand is a channel in a test.
type brand struct {
	p             *people
	notices, news store.LogInfo // news: its advertising
}

func (p *people) brand(name string, publishers ...string) *brand {
	p.Helper()
	var ms []store.Member
	for i, who := range publishers {
		ms = append(ms, store.Member{Account: p.named(who), Role: []store.Role{store.RoleOwner, store.RoleModerator, store.RoleMember}[min(i, 2)]})
	}
	b := &brand{p: p}
	var err error
	b.notices, _, err = p.st.Open(p.Context(), store.ChannelKey(name), store.Creation{Members: ms})
	p.must(err)
	b.news, _, err = p.st.Open(p.Context(), store.AdsKey(name), store.Creation{Members: ms})
	p.must(err)
	b.set(func(c *graph.Channel) { c.Title, c.Ads, c.Created, c.Approved = name, b.news.ID, 1, 1 })
	return b
}

func (b *brand) set(fn func(*graph.Channel)) {
	b.p.Helper()
	b.p.must(b.p.Relations().SetChannel(b.p.Context(), b.notices.ID, func(c *graph.Channel) error { fn(c); return nil }))
}

func (b *brand) follow(who string, fn func(*graph.Follow)) {
	b.p.Helper()
	b.p.must(b.p.Relations().SetFollow(b.p.Context(), b.p.named(who), b.notices.ID, func(f *graph.Follow) error {
		if f.Since == 0 {
			f.Since = b.p.now().UnixMilli()
		}
		if fn != nil {
			fn(f)
		}
		return nil
	}))
}

func consents(f *graph.Follow) { f.Ads = 1 }

// post appends a post, of a broadcast if about is not nil.
func (b *brand) post(log store.LogInfo, id string, about *graph.Post, d store.Draft) *store.Record {
	b.p.Helper()
	if about != nil {
		b.p.must(b.p.Relations().SetPost(b.p.Context(), b.notices.ID, id, func(p *graph.Post) error { *p = *about; return nil }))
		d.CID = graph.PostCID(id)
	}
	d.Log = log.ID
	if d.Text == nil {
		d.Text = []byte(id)
	}
	r, err := b.p.st.Append(d).Result()
	b.p.must(err)
	page, err := b.p.st.Read(store.Query{Log: log.ID, After: r.Seq - 1})
	b.p.must(err)
	return page.Records[0]
}

func (b *brand) follower(who string, log store.LogInfo) *Follower {
	b.p.Helper()
	f, err := b.p.Follower(b.p.named(who), log)
	b.p.must(err)
	return f
}

func (b *brand) outcome(who string, log store.LogInfo, r *store.Record) (policy.Outcome, time.Time) {
	b.p.Helper()
	o, until, err := b.follower(who, log).Outcome(r)
	b.p.must(err)
	return o, until
}

func (b *brand) want(who string, log store.LogInfo, r *store.Record, want policy.Outcome) {
	b.p.Helper()
	if got, _ := b.outcome(who, log, r); got != want {
		b.p.Errorf("%s: %s of %d: %s, want %s", who, log.Key.Name, r.Seq, got, want)
	}
}

// TestChannelTable brings about every row of truth table T5 in a store, and asks about it.
func TestChannelTable(t *testing.T) {
	p := newPeople(t, AccessConfig{})
	p.clock = time.Date(2026, 3, 3, 13, 0, 0, 0, time.UTC) // a Tuesday, 22:00 in Korea
	cafe, noise := p.brand("cafe"), p.brand("noise")
	users := followersOfTable(p, cafe, noise)
	for range AdCap {
		noise.post(noise.news, "noise", nil, store.Draft{})
	}
	p.pass(time.Second)
	far := &graph.Segment{MinWeeks: 1e6}
	var posts [2][2][2]*store.Record // kind, inSegment, expired
	for kind, log := range []store.LogInfo{cafe.notices, cafe.news} {
		for in, segment := range []*graph.Segment{far, nil} {
			for gone, expiry := range []int64{p.clock.UnixMilli() + 1e6, p.clock.UnixMilli()} {
				posts[kind][in][gone] = cafe.post(log, fmt.Sprint("p", in, gone), &graph.Post{Segment: segment}, store.Draft{Expiry: expiry})
			}
		}
	}
	rows := tableT5(t)
	outcomes := make(map[string]policy.Outcome)
	for _, r := range rows {
		outcomes[strings.Join(r[1:13], " ")] = policy.Outcome(r[13])
	}
	state := ""
	for _, r := range rows {
		if r[1] != state {
			state = r[1]
			cafe.set(func(c *graph.Channel) {
				c.Paused, c.Suspended = 0, 0
				switch policy.ChannelState(state) {
				case policy.ChannelPaused:
					c.Paused = 1
				case policy.ChannelSuspended:
					c.Suspended = 1
				}
			})
		}
		is := func(column int) int { return strings.Index("01", r[column]) }
		kind := 0
		log := cafe.notices
		if r[6] == "ad" {
			kind, log = 1, cafe.news
		}
		who := strings.Join([]string{r[2], r[3], r[7], r[8], r[9], r[10], r[11], r[12]}, "")
		got, until, err := mustFollower(t, p, users[who], log).Outcome(posts[kind][is(4)][is(5)])
		if err != nil {
			t.Fatal(err)
		}
		// What a channel that may not post has posted before waits for it, if it would reach the follower.
		want := outcomes[strings.Join(r[1:13], " ")]
		night := want == policy.Defer
		if _, denied := want.Denied(); denied {
			if want = outcomes["ok "+strings.Join(r[2:13], " ")]; reaches(want) {
				want = policy.Defer
			}
		}
		if got != want {
			t.Fatalf("%v: %s, want %s", r, got, want)
		}
		if morning := time.Date(2026, 3, 3, 23, 0, 0, 0, time.UTC); night && !until.Equal(morning) || !night && !until.IsZero() {
			t.Fatalf("%v: until %v", r, until)
		}
	}
}

func mustFollower(t *testing.T, p *people, a store.AccountID, log store.LogInfo) *Follower {
	t.Helper()
	f, err := p.Follower(a, log)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// followersOfTable are users for every combination of the facts that are a follower's: following, blocked, adConsent,
// capped, night, quiet, muted, pushWanted.
func followersOfTable(p *people, cafe, noise *brand) map[string]store.AccountID {
	users := make(map[string]store.AccountID)
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan int)
	for range 32 {
		wg.Go(func() {
			for n := range next {
				facts := fmt.Sprintf("%08b", n)
				a, err := p.st.CreateAccount(p.Context(), store.Account{Name: "u" + facts, Created: 1})
				if err == nil {
					err = followerOfTable(p, a.ID, facts, cafe, noise)
				}
				if err != nil {
					p.Error(err)
				}
				mu.Lock()
				users[facts] = a.ID
				mu.Unlock()
			}
		})
	}
	for n := range 256 {
		next <- n
	}
	close(next)
	wg.Wait()
	return users
}

func followerOfTable(p *people, a store.AccountID, facts string, cafe, noise *brand) error {
	is := func(i int) bool { return facts[i] == '1' }
	ctx, g := p.Context(), p.Relations()
	err := g.SetFollow(ctx, a, cafe.notices.ID, func(f *graph.Follow) error {
		if is(0) {
			f.Since = 1
		}
		if is(1) {
			f.Blocked = 1
		}
		if is(2) {
			f.Ads = 1
		}
		if is(7) {
			f.Push = graph.PostPushRing
		}
		return nil
	})
	if err == nil && is(3) {
		err = g.SetFollow(ctx, a, noise.notices.ID, func(f *graph.Follow) error { f.Since, f.Ads = 1, 1; return nil })
	}
	if err == nil && is(4) {
		err = g.SetSettings(ctx, a, func(s *graph.Settings) error { s.Country = "KR"; return nil })
	}
	if err == nil && is(5) {
		_, err = g.SetQuiet(ctx, a, graph.Quiet{Zone: "UTC", From: 0, To: 1440})
	}
	if err == nil && is(6) {
		_, err = g.SetMute(ctx, a, cafe.notices.ID, &graph.Mute{})
	}
	return err
}

func tableT5(t *testing.T) (rows [][]string) {
	t.Helper()
	file, err := os.Open("../store/policy/testdata/policy.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if words := strings.Split(lines.Text(), "\t"); words[0] == "T5_channel" {
			rows = append(rows, words)
		}
	}
	if lines.Err() != nil || len(rows) != 6144 {
		t.Fatalf("%d rows, %v", len(rows), lines.Err())
	}
	return rows
}

func TestFollowerBefore(t *testing.T) {
	p := newPeople(t, AccessConfig{}, "alice", "owner")
	cafe := p.brand("cafe", "owner")
	old, oldAd := cafe.post(cafe.notices, "old", nil, store.Draft{}), cafe.post(cafe.news, "old", nil, store.Draft{})
	cafe.follow("alice", func(f *graph.Follow) { f.Ads, f.From, f.FromAds = 1, old.Seq, oldAd.Seq })
	cafe.want("alice", cafe.notices, old, policy.None)
	cafe.want("alice", cafe.news, oldAd, policy.None)
	cafe.want("alice", cafe.notices, cafe.post(cafe.notices, "new", nil, store.Draft{}), policy.DeliverNoPush)
	cafe.want("alice", cafe.news, cafe.post(cafe.news, "new", nil, store.Draft{}), policy.DeliverNoPush)
	cafe.want("owner", cafe.notices, old, policy.None) // a publisher is no follower
}

// TestFollowerNeverSees: who publishes is no follower's business.
func TestFollowerNeverSees(t *testing.T) {
	p := newPeople(t, AccessConfig{}, "alice", "owner", "staff")
	cafe := p.brand("cafe", "owner")
	cafe.follow("alice", nil)
	owner := p.named("owner")
	cafe.want("alice", cafe.notices, cafe.post(cafe.notices, "", nil, store.Draft{Sender: owner, Kind: store.KindSystem, Text: []byte{},
		Change: store.Change{Kind: store.ChangeJoin, Account: p.named("staff"), Role: store.RoleMember}}), policy.None)
	cafe.want("alice", cafe.notices, cafe.post(cafe.notices, "", nil, store.Draft{Sender: owner, Kind: store.KindSystem, Text: []byte{},
		Change: store.Change{Kind: store.ChangeTitle, Title: "x"}}), policy.None)
	cafe.want("alice", cafe.notices, cafe.post(cafe.notices, "mine", nil, store.Draft{Sender: owner, Audience: store.AudienceSender}), policy.None)
	post := cafe.post(cafe.notices, "post", nil, store.Draft{Sender: owner})
	cafe.want("alice", cafe.notices, cafe.post(cafe.notices, "x", nil, store.Draft{Sender: owner, Op: store.Op{Kind: store.OpReact, Target: post.Seq}}), policy.None)
	if _, err := p.Follower(p.named("alice"), store.LogInfo{ID: 1, Key: store.RoomKey("cafe")}); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("a room: %v", err)
	}
	gone := p.brand("gone")
	r := gone.post(gone.notices, "post", nil, store.Draft{})
	gone.follow("alice", nil)
	gone.set(func(c *graph.Channel) { *c = graph.Channel{} })
	gone.want("alice", gone.notices, r, policy.None)
}

func TestFollowerOperations(t *testing.T) {
	p := newPeople(t, AccessConfig{}, "alice", "owner")
	p.clock = time.Date(2026, 3, 3, 13, 0, 0, 0, time.UTC) // 22:00 in Korea
	cafe := p.brand("cafe", "owner")
	p.must(p.Relations().SetSettings(t.Context(), p.named("alice"), func(s *graph.Settings) error { s.Country, s.ChannelPushes = "KR", true; return nil }))
	before := cafe.post(cafe.notices, "before", nil, store.Draft{})
	cafe.follow("alice", func(f *graph.Follow) { f.Ads, f.From = 1, before.Seq })
	op := func(log store.LogInfo, kind store.OpKind, target *store.Record) *store.Record {
		return cafe.post(log, "op", nil, store.Draft{Sender: p.named("owner"), Op: store.Op{Kind: kind, Target: target.Seq}})
	}
	post := cafe.post(cafe.notices, "post", nil, store.Draft{})
	cafe.want("alice", cafe.notices, post, policy.Deliver)
	cafe.want("alice", cafe.notices, op(cafe.notices, store.OpEdit, post), policy.DeliverNoPush)
	cafe.want("alice", cafe.notices, op(cafe.notices, store.OpRecall, post), policy.DeliverNoPush)
	cafe.want("alice", cafe.notices, op(cafe.notices, store.OpRecall, before), policy.None)

	ad := cafe.post(cafe.news, "ad", &graph.Post{}, store.Draft{})
	recall := op(cafe.news, store.OpRecall, ad)
	cafe.want("alice", cafe.news, ad, policy.Defer)
	cafe.want("alice", cafe.news, recall, policy.DeliverNoPush) // who has it since the day hears of it at night

	for _, c := range []struct {
		state              graph.PostState
		post, edit, recall policy.Outcome
	}{
		{graph.PostOut, policy.Deliver, policy.DeliverNoPush, policy.DeliverNoPush},
		{graph.PostPaused, policy.Defer, policy.Defer, policy.Defer},
		{graph.PostCanceled, policy.None, policy.None, policy.DeliverNoPush},
	} {
		r := cafe.post(cafe.notices, "state"+string(c.state), &graph.Post{State: c.state}, store.Draft{})
		cafe.want("alice", cafe.notices, r, c.post)
		cafe.want("alice", cafe.notices, op(cafe.notices, store.OpEdit, r), c.edit)
		cafe.want("alice", cafe.notices, op(cafe.notices, store.OpRecall, r), c.recall)
	}
	silent := cafe.post(cafe.notices, "silent", &graph.Post{Silent: true}, store.Draft{})
	cafe.want("alice", cafe.notices, silent, policy.DeliverNoPush)
}

// TestFollowerChanges: what a user or a channel decides counts at the next delivery.
func TestFollowerChanges(t *testing.T) {
	p := newPeople(t, AccessConfig{}, "alice")
	cafe := p.brand("cafe")
	cafe.follow("alice", func(f *graph.Follow) { f.Ads, f.Push = 1, graph.PostPushRing })
	post, ad := cafe.post(cafe.notices, "post", nil, store.Draft{}), cafe.post(cafe.news, "ad", nil, store.Draft{})
	both := func(notice, advertising policy.Outcome) {
		t.Helper()
		cafe.want("alice", cafe.notices, post, notice)
		cafe.want("alice", cafe.news, ad, advertising)
	}
	both(policy.Deliver, policy.Deliver)
	cafe.follow("alice", func(f *graph.Follow) { f.Ads = 0 })
	both(policy.Deliver, policy.None)
	cafe.follow("alice", func(f *graph.Follow) { f.Ads, f.Push = 2, graph.PostPushSilent })
	both(policy.DeliverNoPush, policy.DeliverNoPush)
	cafe.follow("alice", func(f *graph.Follow) { f.Blocked, f.Push = 1, graph.PostPushDefault })
	both(policy.None, policy.None)
	cafe.follow("alice", func(f *graph.Follow) { f.Blocked = 0 })
	p.must(p.Relations().SetSettings(t.Context(), p.named("alice"), func(s *graph.Settings) error { s.ChannelPushes = true; return nil }))
	both(policy.Deliver, policy.Deliver)
	cafe.set(func(c *graph.Channel) { c.Paused = 1 })
	both(policy.Defer, policy.Defer)
	cafe.set(func(c *graph.Channel) { c.Paused = 0 })
	both(policy.Deliver, policy.Deliver)
	p.must(p.Relations().SetFollow(t.Context(), p.named("alice"), cafe.notices.ID, func(f *graph.Follow) error { f.Since = 0; return nil }))
	both(policy.None, policy.None)
}

func TestFollowerErrors(t *testing.T) {
	p := newPeople(t, AccessConfig{}, "alice")
	cafe := p.brand("cafe")
	cafe.follow("alice", func(f *graph.Follow) { f.Ads, f.Push = 1, graph.PostPushRing })
	ad := cafe.post(cafe.news, "ad", nil, store.Draft{})
	f := cafe.follower("alice", cafe.news)
	p.st.fail = store.ErrUnavailable
	if _, _, err := f.Outcome(ad); store.CodeOf(err) != store.CodeUnavailable {
		t.Errorf("outcome: %v", err)
	}
	if _, err := p.Follower(p.id["alice"], cafe.notices); store.CodeOf(err) != store.CodeUnavailable {
		t.Errorf("follower: %v", err)
	}
	p.st.fail = nil
}

func BenchmarkFollower(b *testing.B) {
	p := newPeople(b, AccessConfig{}, "alice")
	cafe := p.brand("cafe")
	cafe.follow("alice", func(f *graph.Follow) { f.Push, f.Ads = graph.PostPushRing, 1 })
	post := cafe.post(cafe.notices, "post", nil, store.Draft{})
	rich := cafe.post(cafe.notices, "rich", &graph.Post{Segment: &graph.Segment{MaxWeeks: 9, Sample: sampleOf}}, store.Draft{})
	ad := cafe.post(cafe.news, "ad", &graph.Post{}, store.Draft{})
	a := NewAccess(p.st.Store, AccessConfig{Now: p.now})
	for _, c := range []struct {
		name string
		log  store.LogInfo
		r    *store.Record
	}{{"notice", cafe.notices, post}, {"segment", cafe.notices, rich}, {"ad", cafe.news, ad}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := a.Follower(p.id["alice"], c.log)
				if err != nil {
					b.Fatal(err)
				}
				if o, _, err := f.Outcome(c.r); err != nil || o != policy.Deliver {
					b.Fatal(o, err)
				}
			}
		})
	}
}
