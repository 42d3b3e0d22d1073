package bridge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// paper is a world with one channel, whose followers have phones. It begins at nine in the morning in Seoul.
type paper struct {
	*world
	publisher    store.AccountID
	notices, ads store.LogID
}

const paperPhone store.DeviceID = 7

func newPaper(t *testing.T, w *world) *paper {
	w.conf = func(c *Config) { c.Followers = w.store }
	p := &paper{world: w, publisher: w.account("brand")}
	w.ok(w.store.PutDevice(t.Context(), store.Device{Account: p.publisher, ID: paperPhone, ClientID: "phone"}, 0))
	for key, log := range map[store.Key]*store.LogID{store.ChannelKey("daily"): &p.notices, store.AdsKey("daily"): &p.ads} {
		info, _, err := w.store.Open(t.Context(), key, store.Creation{By: p.publisher, Members: []store.Member{{Account: p.publisher, Role: store.RoleOwner}}})
		w.ok(err)
		*log = info.ID
	}
	w.ok(w.graph.SetChannel(t.Context(), p.notices, func(c *graph.Channel) error {
		*c = graph.Channel{Title: "The Daily", Language: "en", Ads: p.ads, Created: 1, Approved: 1}
		return nil
	}))
	return p
}

// follower is a user with a phone for whom posts ring, and who consents to advertising.
func (p *paper) follower(name string, change ...func(*graph.Follow)) store.AccountID {
	p.t.Helper()
	a := p.account(name)
	p.register(a, paperPhone)
	p.follow(a, append([]func(*graph.Follow){func(f *graph.Follow) { *f = graph.Follow{Since: 1, Ads: 1, Push: graph.PostPushRing} }}, change...)...)
	return a
}

func (p *paper) follow(a store.AccountID, change ...func(*graph.Follow)) {
	p.t.Helper()
	p.ok(p.graph.SetFollow(p.t.Context(), a, p.notices, func(f *graph.Follow) error {
		for _, c := range change {
			c(f)
		}
		return nil
	}))
}

func (p *paper) lives(a store.AccountID, country string) {
	p.t.Helper()
	p.ok(p.graph.SetSettings(p.t.Context(), a, func(s *graph.Settings) error { s.Country = country; return nil }))
}

// post posts something, as a broadcast does if there is anything about it.
func (p *paper) post(log store.LogID, text string, about ...graph.Post) store.Seq {
	p.t.Helper()
	d := store.Draft{Log: log, Sender: p.publisher, Text: []byte(text)}
	for i := range about {
		id := fmt.Sprintf("b%.10s", text)
		p.ok(p.graph.SetPost(p.t.Context(), p.notices, id, func(post *graph.Post) error { *post = about[i]; return nil }))
		d.Sender, d.CID = 0, graph.PostCID(id)
	}
	r, err := p.store.Append(d).Result()
	p.ok(err)
	return r.Seq
}

// rang returns who was told since the last time, by the phones' accounts, and the pushes.
func (p *paper) rang() (who []store.AccountID, pushes []*push.Push) {
	p.t.Helper()
	p.settle()
	l := p.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	pushes, l.pushes = l.pushes, nil
	for _, q := range pushes {
		var name string // an account's as text, in hex: see register
		if _, err := fmt.Sscanf(q.To.Token, "%x", &name); err != nil {
			p.t.Fatal(err)
		}
		var a uint64
		if _, err := fmt.Sscanf(name, "a%d", &a); err != nil {
			p.t.Fatal(err)
		}
		who = append(who, store.AccountID(a))
	}
	slices.Sort(who)
	return who, pushes
}

// settle waits until nothing happens any more but by the passing of time, and lets what waits for seconds happen.
func (p *paper) settle() {
	synctest.Wait()
	time.Sleep(6 * time.Second)
	synctest.Wait()
}

func (p *paper) told(what string, want ...store.AccountID) []*push.Push {
	p.t.Helper()
	who, pushes := p.rang()
	slices.Sort(want)
	if !slices.Equal(who, want) {
		p.t.Fatalf("%s: %v were told, want %v", what, who, want)
	}
	return pushes
}

// why is the last reason that is told of a post.
func (p *paper) why(a store.AccountID, log store.LogID, seq store.Seq) Reason {
	p.t.Helper()
	list, err := p.b.Why(p.t.Context(), a, log, seq)
	p.ok(err)
	if len(list) == 0 {
		return "nothing"
	}
	return list[len(list)-1].Reason
}

func TestPostRingsForWhoWantsIt(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := newPaper(t, w)
		rings := p.follower("rings")
		silent := p.follower("silent", func(f *graph.Follow) { f.Push = "" })
		all := p.follower("all", func(f *graph.Follow) { f.Push = "" })
		w.ok(w.graph.SetSettings(t.Context(), all, func(s *graph.Settings) error { s.ChannelPushes = true; return nil }))
		muted, quiet, online, has, gone, out := p.follower("muted"), p.follower("quiet"), p.follower("online"), p.follower("has"), p.follower("gone"), p.follower("out")
		left := p.follower("left", func(f *graph.Follow) { f.Since = 0 })
		behind, looks := p.follower("behind"), p.follower("looks")
		_, err := w.graph.SetMute(t.Context(), muted, p.notices, &graph.Mute{})
		w.ok(err)
		_, err = w.graph.SetQuiet(t.Context(), quiet, graph.Quiet{Zone: "UTC", From: 0, To: 24 * 60})
		w.ok(err)
		w.live.connect(online, paperPhone, doubleLink{})
		w.live.connect(behind, paperPhone, doubleLink{overdue: true})
		w.live.connect(looks, paperPhone, doubleLink{background: true})
		w.ack(has, paperPhone, p.notices, 100)
		w.ack(looks, paperPhone, p.notices, 100) // in the background, and it does not tell its user
		_, err = w.graph.Unregister(t.Context(), gone, paperPhone, nil)
		w.ok(err)
		account, err := w.store.Account(out)
		w.ok(err)
		account.State = store.AccountSuspended
		w.ok(w.store.SetAccount(t.Context(), account))
		p.follow(p.publisher, func(f *graph.Follow) { *f = graph.Follow{Since: 1, Push: graph.PostPushRing} })
		w.register(p.publisher, paperPhone)
		w.start()
		seq := p.post(p.notices, "hello")
		p.told("a post", rings, all, behind, looks)
		for a, want := range map[store.AccountID]Reason{rings: ReasonAway, all: ReasonAway, behind: ReasonAway, silent: ReasonSilent, muted: ReasonMuted, quiet: ReasonHush,
			online: ReasonLive, has: ReasonAcked, gone: ReasonNoToken, out: ReasonSuspended, left: ReasonLeft, p.publisher: ReasonOwn} {
			if got := p.why(a, p.notices, seq); got != want {
				t.Errorf("%v: %s, want %s", a, got, want)
			}
		}
		if got, err := w.b.PostPushes(p.notices, seq); err != nil || got != (PostPushes{Considered: 12, Sent: 4, Done: true}) {
			t.Errorf("%+v, %v", got, err)
		}
		// What nobody is told of, and what is no post, begins nothing.
		p.post(p.notices, "silent", graph.Post{Silent: true})
		_, err = w.store.Append(store.Draft{Log: p.notices, Sender: p.publisher, Op: store.Op{Kind: store.OpEdit, Target: seq}, Text: []byte("hullo")}).Result()
		w.ok(err)
		_, err = w.store.Append(store.Draft{Log: p.notices, Sender: p.publisher, Text: []byte("over"), Expiry: time.Now().UnixMilli() - 1}).Result()
		w.ok(err)
		p.told("no post")
		if list, err := w.b.Bulk().List(SourcePosts, 10); err != nil || len(list) != 1 {
			t.Errorf("%d jobs, %v", len(list), err)
		}
		for s := seq; s <= seq+4; s++ { // the last one does not exist
			if _, done, err := w.b.Considered(p.notices, s); !done || err != nil {
				t.Errorf("%d: not done, %v", s, err)
			}
		}
		w.nothingWaits()
	})
}

func TestPostTexts(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := newPaper(t, w)
		who := map[graph.Preview]store.AccountID{}
		for _, preview := range []graph.Preview{graph.PreviewFull, graph.PreviewSender, graph.PreviewHidden} {
			a := p.follower("f" + string(preview))
			who[preview] = a
			_, err := w.graph.SetRoomPreview(t.Context(), a, p.notices, preview)
			w.ok(err)
			account, err := w.store.Account(a)
			w.ok(err)
			account.Language = "ko"
			w.ok(w.store.SetAccount(t.Context(), account))
		}
		w.start()
		long := strings.Repeat("가", 2000)
		for _, c := range []struct {
			log                store.LogID
			text               string
			about              graph.Post
			full, sender, hide string
		}{
			{p.notices, "fresh", graph.Post{Variants: map[string]graph.Variant{"ko": {Text: "신선"}}}, "The Daily|신선", "The Daily|새 소식", "|새 소식"},
			{p.notices, "plain", graph.Post{}, "The Daily|plain", "The Daily|새 소식", "|새 소식"},
			{p.ads, "(광고) " + long, graph.Post{}, "The Daily|(광고) 가", "The Daily|(광고) 새 소식", "|새 소식"},
		} {
			p.post(c.log, c.text, c.about)
			for _, q := range p.told(c.text[:5], who[graph.PreviewFull], who[graph.PreviewSender], who[graph.PreviewHidden]) {
				got := q.Note.Title + "|" + q.Note.Body
				switch q.To.Token {
				case fmt.Sprintf("%x.%x", who[graph.PreviewFull], paperPhone):
					if !strings.HasPrefix(got, c.full) || len(got) > 2100 {
						t.Errorf("full: %q", got)
					}
				case fmt.Sprintf("%x.%x", who[graph.PreviewSender], paperPhone):
					if got != c.sender {
						t.Errorf("sender: %q", got)
					}
				default:
					if got != c.hide || strings.Contains(fmt.Sprintf("%+v", q.Note), "aily") {
						t.Errorf("hidden: %+v", q.Note)
					}
				}
				if q.Class != push.Bulk || q.Note.Kind != push.KindPost || q.Note.Badge >= 0 || q.Note.Silent {
					t.Errorf("%+v", q)
				}
			}
		}
	})
}

// Advertising waits for the end of the night of each follower, and is told then: once, and only to those who slept.
func TestAdvertisingWaitsForTheMorning(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := newPaper(t, w)
		korean, german, indian := p.follower("korean"), p.follower("german"), p.follower("indian")
		p.lives(korean, "KR")
		p.lives(german, "DE")
		p.lives(indian, "IN")
		late := p.follower("late")
		p.lives(late, "KR")
		w.start()
		time.Sleep(13 * time.Hour) // 22:00 in Seoul, 18:30 in India
		seq := p.post(p.ads, "(Ad) buy")
		p.told("at night", german, indian)
		if got := p.why(korean, p.ads, seq); got != ReasonNight {
			t.Errorf("why: %s", got)
		}
		if got, err := w.b.PostPushes(p.ads, seq); err != nil || !got.Done || got.Later != 2 || got.Sent != 2 || got.Considered != 4 {
			t.Errorf("%+v, %v", got, err)
		}
		p.post(p.notices, "no ad")
		p.told("a notice at night", korean, german, indian, late)
		p.follow(late, func(f *graph.Follow) { f.Ads = 0 }) // withdraws its consent
		w.ok(w.b.Close())
		w.start() // another one goes on
		time.Sleep(10 * time.Hour)
		pushes := p.told("in the morning", korean)
		if len(pushes) == 1 && !pushes[0].Expires.After(time.Now().Add(12*time.Hour)) {
			t.Errorf("it expires at %v", pushes[0].Expires)
		}
		time.Sleep(48 * time.Hour)
		p.told("later")
		if got, err := w.b.PostPushes(p.ads, seq); err != nil || got.Sent != 3 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// The night may begin, and people may leave, while a job waits for its provider.
func TestWhatChangesInsideAPost(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := newPaper(t, w)
		var korea []store.AccountID
		for i := range 6 {
			a := p.follower(fmt.Sprint("f", i))
			p.lives(a, "KR")
			korea = append(korea, a)
		}
		w.start()
		time.Sleep(12*time.Hour - time.Minute) // a minute before nine in the evening
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.before = gate })
		p.post(p.ads, "(Ad) sale")
		notice := p.post(p.notices, "news")
		synctest.Wait()
		p.follow(korea[0], func(f *graph.Follow) { f.Since = 0 })
		p.follow(korea[1], func(f *graph.Follow) { f.Ads = 0 })
		_, err := w.graph.SetMute(t.Context(), korea[2], p.notices, &graph.Mute{})
		w.ok(err)
		time.Sleep(2 * time.Minute)
		w.lane.set(func(l *doubleLane) { l.before = nil })
		close(gate)
		p.told("the notice, and no advertising", korea[1], korea[3], korea[4], korea[5])
		if got := p.why(korea[0], p.notices, notice); got != ReasonLeft {
			t.Errorf("why: %s", got)
		}
		time.Sleep(12 * time.Hour)
		p.told("in the morning", korea[3], korea[4], korea[5])
		w.nothingWaits()
	})
}

// A post that is paused waits, one that is canceled or taken back is over, at once; and what was shown goes.
func TestPostStops(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := newPaper(t, w)
		a, b := p.follower("a"), p.follower("b")
		w.start()
		state := func(id string, to graph.PostState) {
			t.Helper()
			w.ok(w.graph.SetPost(t.Context(), p.notices, id, func(post *graph.Post) error { post.State = to; return nil }))
			w.b.Look()
		}
		seq := p.post(p.notices, "paused", graph.Post{State: graph.PostPaused})
		p.told("paused")
		if got := p.why(a, p.notices, seq); got != ReasonTurn {
			t.Errorf("why: %s", got)
		}
		if _, done, err := w.b.Considered(p.notices, seq); done || err != nil {
			t.Errorf("a paused one is done: %v", err)
		}
		state("bpaused", graph.PostOut)
		p.told("goes on", a, b)

		// Paused while the provider has one of them.
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.before = gate })
		p.post(p.notices, "half", graph.Post{})
		synctest.Wait()
		state("bhalf", graph.PostPaused)
		close(gate)
		w.lane.set(func(l *doubleLane) { l.before = nil })
		p.told("paused under way")
		state("bhalf", graph.PostOut)
		p.told("goes on", a, b)

		w.ok(w.graph.SetChannel(t.Context(), p.notices, func(c *graph.Channel) error { c.Suspended = 1; return nil }))
		p.post(p.notices, "suspended", graph.Post{})
		p.told("the channel is suspended")
		state("bsuspended", graph.PostCanceled)
		w.ok(w.graph.SetChannel(t.Context(), p.notices, func(c *graph.Channel) error { c.Suspended = 0; return nil }))
		p.told("canceled")

		w.lane.set(func(l *doubleLane) {
			l.answers = func(q *push.Push) lane.Result {
				if strings.HasPrefix(q.To.Token, fmt.Sprintf("%x.", b)) && q.Note.Kind == push.KindPost {
					return lane.Result{Action: lane.Again, At: time.Now().Add(time.Minute)}
				}
				return lane.Result{Action: lane.Sent, Answer: push.Answer{Outcome: push.Delivered}}
			}
		})
		seq = p.post(p.notices, "wrong")
		p.told("one has it, the other one is tried again", a, b)
		w.recall(p.notices, p.publisher, seq)
		for _, q := range p.told("taken back", a, b) { // that b's attempt came to nothing is not known
			if q.Note.Kind != push.KindClear || q.Note.Seq != seq || q.Note.Thread == "" || !q.Note.Silent || q.Note.Body != "" {
				t.Errorf("%+v", q.Note)
			}
		}
		time.Sleep(time.Hour)
		p.told("not any more")
		if got := p.why(a, p.notices, seq); got != ReasonClear {
			t.Errorf("why: %s", got)
		}
		w.nothingWaits()
	})
}

// between is a store that does something once, after it was asked for a row of a table.
type between struct {
	store.Store
	table store.Table
	do    func()
}

func (s *between) Row(t store.Table, o store.Owner, key string) (store.Row, error) {
	r, err := s.Store.Row(t, o, key)
	if do := s.do; do != nil && t == s.table {
		s.do = nil
		do()
	}
	return r, err
}

// A post whose pushes begin just when somebody asks how far they are is not taken for one without any.
func TestPostPushesAsTheyBegin(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := newPaper(t, w)
		a := p.follower("a")
		s := &between{Store: w.store, table: "service.bulkname"}
		conf := w.conf
		w.conf = func(c *Config) {
			conf(c)
			c.Store = s
		}
		w.start()
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.before = gate })
		first := p.post(p.notices, "silent", graph.Post{Silent: true})
		synctest.Wait()
		s.do = func() {
			p.post(p.notices, "hello")
			synctest.Wait() // until the reader is past it
		}
		if got, err := w.b.PostPushes(p.notices, first+1); err != nil || got.Done {
			t.Errorf("%+v, %v", got, err)
		}
		w.lane.set(func(l *doubleLane) { l.before = nil })
		close(gate)
		p.told("then", a)
		if got, err := w.b.PostPushes(p.notices, first+1); err != nil || !got.Done || got.Sent != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A crash at whatever moment has nobody told twice, but for the pushes of one page, which are the same ones again.
func TestPostCrash(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := newPaper(t, w)
		var all []store.AccountID
		for i := range 12 {
			all = append(all, p.follower(fmt.Sprint("f", i)))
		}
		w.start()
		n := 0
		w.lane.set(func(l *doubleLane) {
			l.refuse = func() (time.Time, bool) {
				n++
				return time.Now().Add(time.Hour), n > 5
			}
		})
		seq := p.post(p.notices, "hello")
		first, pushes := p.rang()
		if len(first) != 5 {
			t.Fatalf("%d were told before the crash", len(first))
		}
		ids := map[string]push.ID{}
		for _, q := range pushes {
			ids[q.Collapse] = q.ID
		}
		next := w.crash()
		q := &paper{world: next, publisher: p.publisher, notices: p.notices, ads: p.ads}
		next.conf = func(c *Config) { c.Followers = next.store }
		next.start()
		time.Sleep(2 * time.Hour)
		second, pushes := q.rang()
		for _, again := range pushes {
			if id, known := ids[again.Collapse]; known && id != again.ID {
				t.Error("what is sent again stands for something else")
			}
		}
		both := append(first, second...)
		slices.Sort(both)
		if got := slices.Compact(both); !slices.Equal(got, all) {
			t.Errorf("%v were told, want %v", got, all)
		}
		if got, err := next.b.PostPushes(p.notices, seq); err != nil || !got.Done || got.Considered != 12 {
			t.Errorf("%+v, %v", got, err)
		}
		next.close()
	})
}
