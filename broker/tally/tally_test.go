package tally

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// world is a tally over a real store whose clock stands still until a test moves it.
type world struct {
	t     testing.TB
	st    *bolt.Store
	g     *graph.Graph
	tally *Tally
	facts map[store.AccountID]Facts
	users []store.AccountID
	told  []store.LogID
	pace  func(n int) error

	mu    sync.Mutex // guards clock: the store and the run ask it, too
	clock time.Time
}

func newWorld(t testing.TB, users int) *world {
	t.Helper()
	w := &world{t: t, clock: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC), facts: make(map[store.AccountID]Facts)}
	var err error
	if w.st, err = bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.st.Close(); err != nil {
			t.Error(err)
		}
	})
	w.g = graph.New(w.st, w.now)
	w.open()
	for i := range users {
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: fmt.Sprint("u", i)})
		if err != nil {
			t.Fatal(err)
		}
		w.users = append(w.users, a.ID)
	}
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// set sets the clock.
func (w *world) set(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = at
}

// later moves the clock.
func (w *world) later(d time.Duration) { w.set(w.now().Add(d)) }

// open makes a new Tally, as a restart does.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.tally, err = New(Config{Store: w.st, Followers: w.st, Now: w.now, Hour: 3,
		Facts: func(a store.AccountID) (Facts, error) { return w.facts[a], nil },
		Meant: func(store.AccountID, store.LogInfo, *store.Record) (bool, error) { return true, nil },
		Pushed: func(context.Context, store.LogID, store.Seq) (int, error) {
			return 0, nil
		},
		Told: func(c store.LogID) { w.told = append(w.told, c) },
		Pace: func(ctx context.Context, n int) error {
			if w.pace != nil {
				return w.pace(n)
			}
			return ctx.Err()
		}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) channel(name string) store.LogInfo {
	w.t.Helper()
	info, _, err := w.st.Open(w.t.Context(), store.ChannelKey(name), store.Creation{})
	if err == nil {
		err = w.g.SetChannel(w.t.Context(), info.ID, func(c *graph.Channel) error { c.Created = w.now().UnixMilli() - 1; return nil })
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

func (w *world) follow(channel store.LogID, on bool, users ...store.AccountID) {
	w.t.Helper()
	for _, a := range users {
		err := w.g.SetFollow(w.t.Context(), a, channel, func(f *graph.Follow) error {
			if f.Since = 0; on {
				f.Since = w.now().UnixMilli()
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) snapshot() {
	w.t.Helper()
	if err := w.tally.Snapshot(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) numbers(channel store.LogID) string {
	w.t.Helper()
	n, err := w.tally.Numbers(channel)
	if err != nil {
		w.t.Fatal(err)
	}
	return shown(n)
}

func shown(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestRound(t *testing.T) {
	for _, c := range []struct{ n, total, want int }{
		{0, 0, -1}, {19, 0, -1}, {20, 0, 20}, {29, 0, 20}, {30, 0, 30}, {999, 0, 990}, {1000, 0, 1000}, {1099, 0, 1000}, {99_999, 0, 99_900},
		{100_000, 0, 100_000}, {100_999, 0, 100_000}, {850_123, 0, 850_000},
		{100, 100, -1}, {81, 100, -1}, {80, 100, 80}, {85, 104, -1}, {0, 100, -1}, {1_000_000, 1_000_019, -1}, {1_000_000, 1_000_020, 1_000_000},
	} {
		got := -1
		if p := Round(c.n, c.total); p != nil {
			got = *p
		}
		if got != c.want {
			t.Errorf("%d of %d: %d, want %d", c.n, c.total, got, c.want)
		}
	}
}

// poll is every number that a brand can get of a channel.
func (w *world) poll(channel store.LogInfo, posts store.Seq) string {
	w.t.Helper()
	out := w.numbers(channel.ID)
	for _, s := range []graph.Segment{
		{Countries: []string{"KR"}}, {Countries: []string{"kr", "XX"}}, {Countries: []string{"KR", "JP"}}, {Languages: []string{"ko"}},
		{Languages: []string{"ko-KR", "xx"}}, {Platforms: []graph.Platform{graph.PlatformIOS}}, {Platforms: graph.Platforms()}, {MinWeeks: 1},
		{MaxWeeks: 1}, {Countries: []string{"KR"}, Languages: []string{"ko"}}, {Countries: []string{"KR"}, MaxWeeks: 520}, {Sample: 999},
		{Countries: []string{"KR"}, Sample: 1000}, {Languages: []string{"ko"}, Platforms: []graph.Platform{graph.PlatformIOS, graph.PlatformOther}},
	} {
		ok, err := w.tally.Segment(w.t.Context(), channel.ID, &s)
		out += fmt.Sprint(" ", ok, " ", err)
	}
	for seq := store.Seq(1); seq <= posts; seq++ {
		r, err := w.tally.ReportOf(channel.ID, channel.ID, seq)
		out += fmt.Sprint(" ", shown(r), " ", err)
	}
	return out
}

// A brand that polls everything before and after one follower follows, leaves, consents or opens sees nothing move, at
// every threshold, whatever restarts in between.
func TestOneFollowerMovesNothing(t *testing.T) {
	w := newWorld(t, 102)
	thresholds := []int{0, 1, 19, 20, 29, 30, 99, 100}
	var channels []store.LogInfo
	for i, n := range thresholds {
		c := w.channel(fmt.Sprint("c", i))
		channels = append(channels, c)
		w.follow(c.ID, true, w.users[:n]...)
		if _, err := w.st.Append(store.Draft{Log: c.ID, Text: []byte("post")}).Result(); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range w.users {
		w.facts[a] = Facts{Country: "KR", Language: "ko", Platforms: []graph.Platform{graph.PlatformIOS}}
	}
	w.snapshot()
	last := w.users[len(w.users)-1]
	for i, c := range channels {
		before := w.poll(c, 1)
		same := func(what string) {
			t.Helper()
			if got := w.poll(c, 1); got != before {
				t.Errorf("%d followers, %s: it shows\n%s\n%s", thresholds[i], what, before, got)
			}
		}
		for range 3 {
			w.follow(c.ID, true, last)
			same("one more")
			w.later(time.Hour)
			w.snapshot() // not due
			same("an hour later")
			if err := w.tally.Opened(t.Context(), last, c.ID, 1); err != nil {
				t.Fatal(err)
			}
			same("opened")
			if err := w.g.SetFollow(t.Context(), last, c.ID, func(f *graph.Follow) error { f.Ads = 1; return nil }); err != nil {
				t.Fatal(err)
			}
			same("consent")
			w.open()
			w.snapshot()
			same("a restart")
			w.follow(c.ID, false, last)
			same("one less")
			if thresholds[i] > 0 {
				w.follow(c.ID, false, w.users[0])
				same("one of the others less")
				w.follow(c.ID, true, w.users[0])
			}
			w.later(-time.Hour)
		}
	}
}

// Two questions about the same followers in other words have the same answer, also when somebody came in between.
func TestSegment(t *testing.T) {
	w := newWorld(t, 220)
	c := w.channel("c").ID
	w.later(-21 * 24 * time.Hour)
	w.follow(c, true, w.users[:110]...)
	w.later(21 * 24 * time.Hour)
	w.follow(c, true, w.users[110:219]...)
	for i, a := range w.users {
		f := Facts{Country: "KR", Language: "ko", Platforms: []graph.Platform{graph.PlatformAndroid}}
		if i%2 == 1 {
			f = Facts{Country: "jp", Language: "ja-JP", Platforms: []graph.Platform{graph.PlatformIOS, graph.PlatformWeb}}
		}
		w.facts[a] = f
	}
	w.snapshot()
	for _, q := range []struct {
		s    *graph.Segment
		want bool
	}{
		{nil, true}, {&graph.Segment{}, true},
		{&graph.Segment{Countries: []string{"KR"}}, true},                                  // 110
		{&graph.Segment{Countries: []string{"JP"}}, true},                                  // 109
		{&graph.Segment{Countries: []string{"US"}}, false},                                 // 0
		{&graph.Segment{Countries: []string{"JP"}, Languages: []string{"ko"}}, false},      // 0
		{&graph.Segment{Countries: []string{"JP", "KR"}, Languages: []string{"ja"}}, true}, // 109
		{&graph.Segment{MinWeeks: 3}, true},                                                // 110
		{&graph.Segment{MinWeeks: 4}, false},                                               // 0
		{&graph.Segment{MaxWeeks: 1}, true},                                                // 109
		{&graph.Segment{MinWeeks: 1, MaxWeeks: 4, Countries: []string{"KR"}}, false},       // 55
		{&graph.Segment{Platforms: []graph.Platform{"web", "windows"}}, true},              // 109
		{&graph.Segment{Platforms: []graph.Platform{"ios"}, Countries: []string{}}, true},  // 109
		{&graph.Segment{Platforms: []graph.Platform{"linux"}}, false},                      // 0
		{&graph.Segment{Sample: 500}, true},                                                // 109
		{&graph.Segment{Sample: 400}, false},                                               // 87
		{&graph.Segment{Sample: 900, Countries: []string{"KR"}}, false},                    // 99
		{&graph.Segment{Countries: []string{"bad!", "K", "KOR", "-"}}, false},              // nobody
		{&graph.Segment{Languages: []string{"ko-Hang-KR", "ja"}, MinWeeks: 0, Sample: 1}, false},
	} {
		ok, err := w.tally.Segment(t.Context(), c, q.s)
		if err != nil || ok != q.want {
			t.Errorf("%+v: %v, %v", q.s, ok, err)
		}
	}
	for _, s := range []graph.Segment{
		{Countries: []string{"KR"}, Languages: []string{"ko"}, Sample: 1}, {Sample: 1001}, {Sample: -1, MinWeeks: 1}, {MinWeeks: -1, MaxWeeks: 2}, {MinWeeks: 5, MaxWeeks: 5},
		{MinWeeks: 521}, {MaxWeeks: 1 << 40},
	} {
		if _, err := w.tally.Segment(t.Context(), c, &s); store.CodeOf(err) != store.CodeBad {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if ok, err := w.tally.Segment(t.Context(), w.channel("new").ID, &graph.Segment{MinWeeks: 1}); ok || err != nil {
		t.Errorf("a channel without a snapshot: %v, %v", ok, err)
	}
}

// A day's numbers are those of one moment, and the next day's come at the hour; a channel of today has none until then.
func TestDays(t *testing.T) {
	w := newWorld(t, 60)
	a := w.channel("a").ID
	w.follow(a, true, w.users[:45]...)
	if got := w.numbers(a); got != shown(Numbers{}) {
		t.Errorf("before the first: %s", got)
	}
	w.snapshot()
	n, err := w.tally.Numbers(a)
	if err != nil || n.Day != "2026-11-22" || n.Followers == nil || *n.Followers != 40 || n.Ads != nil || n.Size != 10 {
		t.Errorf("%s, %v", shown(n), err)
	}
	w.later(time.Minute)
	b := w.channel("b").ID
	w.follow(b, true, w.users...)
	w.follow(a, true, w.users...)
	before := w.numbers(a) + w.numbers(b)
	for _, hours := range []int{0, 1, 10, 19} { // until 02:01 of the next day
		at := w.now()
		w.set(at.Add(time.Duration(hours) * time.Hour))
		w.open()
		w.snapshot()
		if got := w.numbers(a) + w.numbers(b); got != before {
			t.Errorf("%d hours later: %s, was %s", hours, got, before)
		}
		w.set(at)
	}
	w.later(20 * time.Hour) // 03:01
	w.snapshot()
	for _, c := range []store.LogID{a, b} {
		if n, err := w.tally.Numbers(c); err != nil || n.Day != "2026-11-23" || n.Followers == nil || *n.Followers != 60 {
			t.Errorf("%s, %v", shown(n), err)
		}
	}
}

// TestHourWhileCounting: the numbers of a day that begins while those of the one before are counted come right after them.
func TestHourWhileCounting(t *testing.T) {
	w := newWorld(t, 25)
	w.set(time.Date(2026, 11, 22, 2, 59, 0, 0, time.UTC))
	a := w.channel("a").ID
	w.follow(a, true, w.users...)
	counted := make(chan struct{}, 8)
	w.tally.cfg.Told = func(store.LogID) { counted <- struct{}{} }
	first := true
	w.pace = func(int) error {
		if first {
			w.later(2 * time.Minute) // 03:01
		}
		first = false
		return nil
	}
	w.tally.Start()
	for n := range 2 {
		select {
		case <-counted:
		case <-time.After(time.Minute):
			t.Fatalf("after the hour %d days are counted", n)
		}
	}
	if err := w.tally.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := w.tally.Numbers(a); err != nil || n.Day != "2026-11-22" {
		t.Errorf("%s, %v", shown(n), err)
	}
}

// TestOf: of a number that is nearly everybody nothing is told, though the number of all is not told either.
func TestOf(t *testing.T) {
	w := newWorld(t, 45)
	a := w.channel("a").ID
	w.follow(a, true, w.users...)
	of := func(n int) string {
		t.Helper()
		got, err := w.tally.Of(a, n)
		if err != nil {
			t.Fatal(err)
		}
		return shown(got)
	}
	if got := of(25); got != "null" {
		t.Errorf("before the first snapshot: %s", got)
	}
	w.snapshot()
	for n, want := range map[int]string{0: "null", 19: "null", 20: "20", 25: "20", 26: "null", 45: "null", 60: "null"} {
		if got := of(n); got != want {
			t.Errorf("%d of 45: %s, want %s", n, got, want)
		}
	}
}

// A run that ends in the middle goes on behind the last channel that it has finished, and counts no channel twice.
func TestRunGoesOnAfterACrash(t *testing.T) {
	w := newWorld(t, 25)
	var want []store.LogID
	for i := range 12 {
		c := w.channel(fmt.Sprint("c", i)).ID
		w.follow(c, true, w.users...)
		want = append(want, c)
	}
	cut, n := errors.New("the power went"), 0
	w.pace = func(int) error {
		if n++; n%5 == 0 {
			return cut
		}
		return nil
	}
	for crashes := 0; ; crashes++ {
		err := w.tally.Snapshot(t.Context())
		if err == nil {
			if crashes < 2 {
				t.Fatalf("%d crashes: the test cuts nothing", crashes)
			}
			break
		}
		if !errors.Is(err, cut) {
			t.Fatal(err)
		}
		w.open()
	}
	if !slices.Equal(w.told, want) {
		t.Errorf("counted %v, want %v", w.told, want)
	}
}

func TestReport(t *testing.T) {
	w := newWorld(t, 130)
	c := w.channel("c").ID
	w.follow(c, true, w.users[:120]...)
	post := func() store.Seq {
		t.Helper()
		r, err := w.st.Append(store.Draft{Log: c, Text: []byte("post")}).Result()
		if err != nil {
			t.Fatal(err)
		}
		return r.Seq
	}
	seq := post()
	confirm := func(a store.AccountID, seq store.Seq) {
		t.Helper()
		d := store.DeviceOf(a, "d")
		err := w.st.PutDevice(t.Context(), store.Device{Account: a, ID: d, ClientID: "d"}, 0)
		if err == nil {
			err = w.st.SaveSession(t.Context(), &store.Session{Account: a, Device: d, Present: true, Cursors: map[store.LogID]store.Cursor{c: store.Cursor{}.Ack(seq)}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range w.users[:77] {
		confirm(a, seq)
	}
	for _, a := range w.users[:43] {
		if err := w.tally.Opened(t.Context(), a, c, seq); err != nil {
			t.Fatal(err)
		}
	}
	ended := w.now().UnixMilli()
	for _, early := range []time.Duration{0, time.Hour, ReportAfter - time.Millisecond} {
		w.set(time.UnixMilli(ended).Add(early))
		if _, err := w.tally.Report(t.Context(), c, c, seq, ended); store.CodeOf(err) != store.CodeLocked {
			t.Errorf("%v after the end: %v", early, err)
		}
	}
	w.set(time.UnixMilli(ended).Add(ReportAfter))
	if _, err := w.tally.ReportOf(c, c, seq); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("before it was made: %v", err)
	}
	w.tally.cfg.Pushed = func(context.Context, store.LogID, store.Seq) (int, error) { return 111, nil }
	r, err := w.tally.Report(t.Context(), c, c, seq, ended)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := shown(r), fmt.Sprintf(`{"made":%d,"reached":70,"pushed":null,"opened":40}`, w.now().UnixMilli()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, a := range w.users[:120] { // what comes later is not counted any more
		confirm(a, seq)
		if err := w.tally.Opened(t.Context(), a, c, seq); err != nil {
			t.Fatal(err)
		}
	}
	w.later(time.Hour)
	again, err := w.tally.Report(t.Context(), c, c, seq, ended)
	if err != nil || shown(again) != shown(r) {
		t.Errorf("%s, %v", shown(again), err)
	}
	second := post()
	w.tally.cfg.Meant = func(a store.AccountID, _ store.LogInfo, r *store.Record) (bool, error) {
		if string(r.Text) != "post" {
			t.Errorf("asked for %q", r.Text)
		}
		return a <= w.users[29], nil
	}
	for _, a := range w.users[:25] {
		confirm(a, second)
	}
	if r, err = w.tally.Report(t.Context(), c, c, second, ended); err != nil || r.Reached != nil || r.Opened != nil || r.Pushed == nil || *r.Pushed != 110 {
		t.Errorf("nearly all of 30: %s, %v", shown(r), err)
	}
}

// TestPushedToAll: devices are no followers, but as many devices as followers, or nearly, say of nearly all that they have one.
func TestPushedToAll(t *testing.T) {
	w := newWorld(t, 40)
	c := w.channel("c").ID
	w.follow(c, true, w.users...)
	for pushed, want := range map[int]string{19: "null", 20: "20", 21: "null", 40: "null", 59: "null", 60: "60"} {
		w.tally.cfg.Pushed = func(context.Context, store.LogID, store.Seq) (int, error) { return pushed, nil }
		r, err := w.st.Append(store.Draft{Log: c, Text: []byte("post")}).Result()
		if err != nil {
			t.Fatal(err)
		}
		report, err := w.tally.Report(t.Context(), c, c, r.Seq, w.now().Add(-ReportAfter).UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(report); !strings.Contains(got, `"pushed":`+want+`,`) {
			t.Errorf("%d pushes for 40 followers: %s, want %s", pushed, got, want)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	w := newWorld(b, 2000)
	c := w.channel("c").ID
	w.follow(c, true, w.users...)
	for i := 0; b.Loop(); i++ {
		w.later(24 * time.Hour)
		w.snapshot()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/follower")
}
