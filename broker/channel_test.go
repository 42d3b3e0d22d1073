package broker

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// A thread reaches its follower and the publishers, each on a topic of its own; who publishes no more gets nothing, also
// of what was written before.
func TestThreads(t *testing.T) {
	w := newWorld(t, "brand", "temp", "bob", "carol")
	cafe := w.brand("cafe", "brand", "temp")
	log, _, err := w.st.Open(t.Context(), store.ThreadKey(w.account("bob"), "cafe"), store.Creation{Members: []store.Member{
		{Account: w.account("bob"), Role: store.RoleMember}, {Account: w.account("brand"), Role: store.RoleMember}, {Account: w.account("temp"), Role: store.RoleMember}}})
	if err != nil {
		t.Fatal(err)
	}
	pseudonym := w.b.Access().Pseudonym(cafe, w.account("bob"))
	brand, temp, bob, carol := w.connect("brand", "p"), w.connect("temp", "p"), w.connect("bob", "p"), w.connect("carol", "p")
	for _, c := range []*client{brand, temp, bob, carol} {
		c.subscribe("channel/+/ask/json", "thread/+/+/json")
	}
	say := func(by, text string) {
		t.Helper()
		if _, err := w.st.Append(store.Draft{Log: log.ID, Sender: w.account(by), Text: []byte(text)}).Result(); err != nil {
			t.Fatal(err)
		}
	}
	on := func(c *client, n int) string {
		t.Helper()
		it := c.wait(n, delivery)[n-1]
		return it.Topic
	}
	say("bob", "open on sundays?")
	for _, c := range []*client{brand, temp} {
		if got := on(c, 1); got != "thread/cafe/"+pseudonym+"/json" {
			t.Errorf("%s gets it on %s", c.s.id.Name, got)
		}
	}
	if got := on(bob, 1); got != "channel/cafe/ask/json" {
		t.Errorf("bob gets his own on %s", got)
	}
	temp.leave()
	say("brand", "yes")
	w.change(cafe, "brand", store.Change{Kind: store.ChangeRemove, Account: w.account("temp")})
	temp = w.connect("temp", "p")
	say("bob", "thanks")
	brand.wait(3, delivery)
	bob.wait(3, delivery)
	temp.atMost(0, "one who published there once")
	carol.atMost(0, "somebody else")
}

// The newest state of broadcasts goes to a channel's publishers: those who are connected, and those who come later.
func TestTellPublishers(t *testing.T) {
	w := newWorld(t, "brand", "bob")
	cafe := w.brand("cafe", "brand")
	w.follow("bob", cafe, true, false)
	early, bob := w.connect("brand", "a"), w.connect("bob", "p")
	early.subscribe("channel/+/progress")
	bob.subscribe("channel/#")
	late := w.connect("brand", "b")
	for i := range 3 {
		w.b.TellPublishers(cafe, fmt.Appendf(nil, `{"n":%d}`, i))
	}
	last := func(c *client) Item {
		return c.wait(1, func(it Item) bool { return string(it.Payload) == `{"n":2}` })[0]
	}
	if it := last(early); it.Topic != "channel/cafe/progress" || it.QoS != 0 {
		t.Errorf("told on %s with QoS %d", it.Topic, it.QoS)
	}
	late.subscribe("channel/cafe/progress")
	last(late)
	late.leave()
	late = w.connect("brand", "b")
	last(late)
	late.leave()
	w.b.TellPublishers(cafe, nil)
	late = w.connect("brand", "b")
	late.atMost(0, "after it was forgotten")
	bob.atMost(0, "a follower")
	for i := range maxProgress + 10 {
		w.b.progresses.set(store.LogID(1000+i), []byte("x"))
	}
	if n := len(w.b.progresses.of); n != maxProgress || len(w.b.progresses.order) != n {
		t.Errorf("%d states are kept in an order of %d, want %d", n, len(w.b.progresses.order), maxProgress)
	}
}

// A filter for one channel is answered with what it selects today, the same for a channel that does not exist.
func TestChannelHints(t *testing.T) {
	w := newWorld(t, "brand", "bob")
	cafe := w.brand("cafe", "brand")
	w.brand("shop", "brand")
	w.follow("bob", cafe, true, false)
	hint := func(c *client, filter string) string {
		t.Helper()
		res, err := c.s.Subscribe(t.Context(), []SubRequest{{Filter: filter}})
		if err != nil || res[0].Err != nil {
			t.Fatal(err, res[0].Err)
		}
		return res[0].Hint
	}
	bob, brand := w.connect("bob", "p"), w.connect("brand", "p")
	for _, c := range []struct {
		who    *client
		filter string
		want   string
	}{
		{bob, "channel/cafe/json", ""}, {bob, "channel/cafe/#", ""}, {brand, "channel/shop/json", ""}, {brand, "channel/shop/progress", ""},
		{bob, "channel/shop/json", "you do not follow the channel shop"}, {bob, "channel/none/json", "you do not follow the channel none"},
		{bob, "channel/cafe/progress", "you do not publish"}, {bob, "channel/none/progress", "you do not publish"},
		{bob, "channel/cafe/ask/json", "you have asked nothing"}, {bob, "channel/none/ask/json", "you have asked nothing"},
	} {
		if got := hint(c.who, c.filter); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", c.filter, got, c.want)
		}
	}
}

// A connected phone that follows nothing costs nothing for channels, and one that follows twenty less than 100 bytes for
// each.
func TestFollowingCostsLittle(t *testing.T) {
	const sessions, channels = 300, 20
	w := newWorldConfig(t, bolt.Config{CacheBytes: 1 << 20}, "brand")
	var ids []store.LogID
	for i := range channels {
		ids = append(ids, w.brand(fmt.Sprint("c", i), "brand"))
	}
	var all []*Session
	for i := range sessions {
		n := fmt.Sprint("u", i)
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: n})
		if err != nil {
			t.Fatal(err)
		}
		w.users[n] = a
		c := w.connect(n, "p", withClean)
		c.subscribe("#")
		all = append(all, c.s)
		c.s.quiesce()
		if c.s.follows != nil {
			t.Fatal("one who follows nothing is listed")
		}
	}
	used := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := used()
	for _, s := range all {
		s.mu.Lock()
		for _, c := range ids {
			s.enlist(c)
		}
		s.mu.Unlock()
	}
	per := float64(used()-before) / sessions / channels
	t.Logf("%.0f bytes for each channel that a connected device follows", per)
	if per > 100 {
		t.Errorf("%.0f bytes for each channel, want less than 100", per)
	}
	for _, s := range all {
		s.delistAll()
	}
	if n := len(w.b.audiences.of); n != 0 {
		t.Errorf("%d channels list somebody", n)
	}
}

// The pace falls when chat is late, to its floor and no lower, grows while it is not, and is none without chat.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		run := func(d time.Duration, late time.Duration) (rate float64) {
			n, began := 0, time.Now()
			for time.Since(began) < d {
				if late > 0 {
					p.wrote(late)
				}
				at := time.Now()
				k := p.slice(at)
				n += k
				if pause := p.pause(k, k, at, time.Now()); pause > 0 {
					time.Sleep(pause)
				} else {
					time.Sleep(100 * time.Microsecond) // that the slice took to write
				}
			}
			return float64(n) / time.Since(began).Seconds()
		}
		if rate := run(time.Second, 0); rate < 100_000 {
			t.Errorf("%.0f a second without chat", rate)
		}
		high := run(5*time.Second, 100*time.Microsecond)
		if want := paceCore * float64(runtime.GOMAXPROCS(0)); high < want/2 || high > 1.1*max(want, paceLow) {
			t.Errorf("%.0f a second beside chat that is in time, want at most %.0f", high, want)
		}
		run(time.Second, 50*time.Millisecond)
		if low := run(5*time.Second, 50*time.Millisecond); low < 0.9*paceLow || low > 1.1*paceLow {
			t.Errorf("%.0f a second beside chat that is late, want %.0f", low, paceLow)
		}
		time.Sleep(2 * paceChat)
		if run(time.Second, 0) < 100_000 {
			t.Error("still paced when chat has ended")
		}
	})
}

// Parked times are one entry per channel and time, in order.
func TestParks(t *testing.T) {
	var p parks
	for range 3 {
		p.add("b", 200)
		p.add("a", 100)
		p.add("a", 150)
	}
	if len(p.heap) != 3 {
		t.Fatalf("%d entries", len(p.heap))
	}
	if got := p.due(time.UnixMilli(99)); got != nil {
		t.Errorf("%v is due before its time", got)
	}
	equal(t, p.due(time.UnixMilli(160)), "a")
	equal(t, p.due(time.UnixMilli(1000)), "b")
	if len(p.in) != 0 {
		t.Error("something is left")
	}
}

// A post whose language variants differ is encoded once for each, whoever gets it.
func TestVariantsAreEncodedOnce(t *testing.T) {
	w := newWorld(t, "brand")
	cafe := w.brand("cafe", "brand")
	var clients []*client
	for i, lang := range []string{"ko", "ko", "en", "fr"} {
		n := fmt.Sprint("u", i)
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: n, Language: lang})
		if err != nil {
			t.Fatal(err)
		}
		w.users[n] = a
		c := w.connect(n, "p")
		c.subscribe("channel/+/json")
		w.follow(n, cafe, true, false)
		clients = append(clients, c)
	}
	w.post(cafe, false, "hello", graph.Post{Variants: map[string]graph.Variant{"ko": {Text: "안녕"}, "fr": {Text: "salut"}}})
	for i, want := range []string{"1:안녕", "1:안녕", "1:hello", "1:salut"} {
		equal(t, clients[i].posted(1), want)
	}
	page, err := w.st.Read(store.Query{Log: cafe})
	if err != nil {
		t.Fatal(err)
	}
	if as := memo[encodings](page.Records[0]).posts.Load(); as == nil || len(*as) != 3 {
		t.Errorf("kept as %v", as)
	}
}
