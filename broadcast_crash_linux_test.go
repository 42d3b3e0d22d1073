package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// TestBroadcastCrash kills a server with SIGKILL while it sends broadcasts: when one was asked for, when it begins, when
// the first follower has it, at a random moment, and while the time of another one passes. Each becomes one record and ends
// as done; who is connected, who comes later and the phones of who is away get it once, but for what a crash repeats under
// the same number. What was paused stays so, and what was canceled.
func TestBroadcastCrash(t *testing.T) {
	t.Parallel()
	const phones, away, live = 3, 3, 6
	const owner, stranger = phones + away + live, phones + away + live + 1
	r := newRung(t, stranger+1, phones, 0, "-push-per-minute", "10000")
	brand := fmt.Sprint("u", owner)
	hwangso(t, "channel", "create", "cafe", "-owner", brand, "-title", "The café", "-data", r.dir)
	r.start()
	var followers, absent []*subscriber
	for i := range owner {
		user := fmt.Sprint("u", i)
		r.must(user, "channel.follow", object{"channel": "cafe", "ads": true}, nil)
		if i < phones {
			r.must(user, "channel.push", object{"channel": "cafe", "push": "ring"}, nil)
			continue
		}
		l := r.listen(user)
		if followers = append(followers, l); i < phones+away {
			l.leave(t)
			absent = append(absent, l)
		}
	}
	nobody, desk, last := r.listen(fmt.Sprint("u", stranger)), r.listen(brand), followers[len(followers)-1]

	c := &casts{r: r, brand: brand, asked: make(map[string]object)}
	had, inside := 0, 0
	for round, moment := range []func(at time.Time){
		func(time.Time) {}, // as soon as one is answered
		func(time.Time) { desk.await(t, func() bool { return strings.Contains(desk.state, "running") }) },
		func(time.Time) { last.await(t, func() bool { return len(last.got) > had }) },
		func(at time.Time) { time.Sleep(time.Until(at) + rand.N(15*time.Millisecond)) }, // the moment is the test's input
	} {
		desk.change(func() { desk.state = "" })
		last.change(func() { had = len(last.got) })
		// Several at one moment, so that some of them are under way. One of them is advertising, of which a follower gets
		// three a day.
		const together = 5
		at := time.Now().Add(200 * time.Millisecond)
		answered := make(chan error, together)
		for i := range together {
			in := object{"ad": i == 1 && round < 3}
			if round > 0 {
				in["at"] = at
			}
			go func() { answered <- c.create(fmt.Sprintf("r%d-%d", round, i), in) }()
		}
		for i := range together {
			if i == 1 && round == 0 {
				r.p.kill()
				r.start()
			}
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
		}
		moment(at)
		r.p.kill()
		inside += c.begun()
		r.start()
	}

	// One that is held as it runs, and three whose time passes while there is no server. Each is held before the next one is
	// asked for, and not seconds later, when it may be done.
	soon := time.Now().Add(time.Second)
	for _, b := range []struct {
		key  string
		in   object
		step string
	}{{"half", object{}, "pause"}, {"late", object{"at": soon}, ""}, {"held", object{"at": soon}, "pause"}, {"never", object{"at": soon}, "cancel"}} {
		if err := c.create(b.key, b.in); err != nil {
			t.Fatal(err)
		}
		if b.step != "" {
			r.must(brand, "broadcast."+b.step, object{"channel": "cafe", "key": b.key}, nil)
		}
	}
	intime := time.Now().Before(soon) // else this machine is so slow that they have gone out already
	r.p.kill()
	time.Sleep(time.Until(soon.Add(50 * time.Millisecond)))
	r.start()
	expected := map[string]string{"half": "paused", "held": "paused", "never": "canceled", "late": "done"}
	for key := range c.asked {
		if expected[key] == "" {
			expected[key] = "done"
		}
	}
	if b := c.list()["half"]; b.State != "paused" {
		t.Errorf("after the crash it is %+v", b)
	}
	r.must(brand, "broadcast.resume", object{"channel": "cafe", "key": "half"}, nil)
	expected["half"] = "done"
	c.reach(expected)

	// The same key is the same broadcast, and with another content it is none.
	before := c.list()
	for key, in := range c.asked {
		var again struct {
			Broadcast cast
			New       bool
		}
		if r.must(brand, "broadcast.create", in, &again); again.New || again.Broadcast != before[key] {
			t.Errorf("%s again (new: %v) is %+v, and was %+v", key, again.New, again.Broadcast, before[key])
		}
	}
	if after := c.list(); !maps.Equal(after, before) || len(after) != len(c.asked) {
		t.Errorf("%d were asked for: %v, then %v", len(c.asked), before, after)
	}
	if status, text, err := r.ask(t.Context(), brand, "broadcast.create", object{"channel": "cafe", "key": "late", "post": object{"text": "another"}}); status != http.StatusConflict {
		t.Errorf("another one with the same key: %d %s %v", status, text, err)
	}

	// Who was away comes, and everybody has what was posted before the last post.
	r.must(brand, "channel.post", object{"channel": "cafe", "post": object{"text": "the end"}}, nil)
	for _, l := range absent {
		l.come(t)
	}
	places := make(map[string]place)
	repeats := 0
	for _, l := range followers {
		l.await(t, func() bool {
			for key, state := range expected {
				if state == "done" && len(l.got[key]) == 0 {
					return false
				}
			}
			return len(l.got["end"]) > 0
		})
		l.mu.Lock()
		if l.fresh > 1 {
			t.Errorf("%s's session was lost %d times", l.user, l.fresh-1)
		}
		if !slices.Contains(absent, l) && l.ups < 3 { // who is slow may miss a short life of the server
			t.Errorf("%s was connected %d times: nothing was tested", l.user, l.ups)
		}
		for key, at := range l.got {
			if expected[key] != "done" && key != "end" && intime {
				t.Errorf("%s got %s, which is %s", l.user, key, expected[key])
			}
			repeats += len(at) - 1
			for _, p := range at {
				if first, known := places[key]; known && p != first {
					t.Errorf("%s got %s as %+v, and it is %+v", l.user, key, p, first)
				}
				places[key] = p
			}
			if slices.Contains(absent, l) && len(at) != 1 {
				t.Errorf("%s, who was away, got %s %d times", l.user, key, len(at))
			}
		}
		l.mu.Unlock()
	}
	nobody.mu.Lock()
	if len(nobody.got) > 0 {
		t.Errorf("who does not follow got %v", slices.Collect(maps.Keys(nobody.got)))
	}
	nobody.mu.Unlock()
	for _, p := range r.phones {
		if late := r.rings(p, len(places)); late != 0 && late != places["half"].seq {
			t.Errorf("%s's phone at %s was told of post %d after the one behind it", p.user, p.provider, late)
		}
	}
	r.once()
	r.end()
	c.recorded(places, expected)
	t.Logf("%d broadcasts, %d of them killed as their post was appended, %d requests in vain, %d repeats to %d followers", len(c.asked), inside, c.cut,
		repeats, len(followers))
}

// rings waits until a phone was told of so many posts. It has to have rung for each of them once, but for one that came when
// an app with data messages showed a newer one already: that is late, 0 if there was none.
func (r *rung) rings(p rungPhone, posts int) (late uint64) {
	t := r.t
	t.Helper()
	type told struct {
		thread string
		seq    uint64
	}
	known, newest := make(map[told]bool), make(map[string]uint64)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	_, err := r.sim.Wait(ctx, func(a pushsim.Attempt) bool {
		if a.Token != p.token || a.Effect == pushsim.NotReached {
			return false
		}
		this := told{a.Thread, a.Seq}
		fresh, behind := !known[this], p.provider != pushsim.APNs && a.Seq < newest[a.Thread]
		if a.Rang != (fresh && !behind) {
			t.Errorf("%s's phone at %s (known: %v, newer ones are shown: %v): %+v", p.user, p.provider, !fresh, behind, a)
		}
		if fresh && behind {
			late = a.Seq
		}
		known[this], newest[a.Thread] = true, max(newest[a.Thread], a.Seq)
		return len(known) == posts
	})
	if err != nil {
		t.Fatalf("%s's phone at %s was told of %d of %d posts: %v\n%s", p.user, p.provider, len(known), posts, err, r.p.out)
	}
	return late
}

// casts are the broadcasts of a channel that were asked for.
type casts struct {
	r     *rung
	brand string

	mu    sync.Mutex
	asked map[string]object // guarded by mu
	cut   int               // guarded by mu: requests without an answer
}

// create asks for a broadcast until it is answered.
func (c *casts) create(key string, in object) error {
	in["channel"], in["key"], in["post"] = "cafe", key, object{"text": "a post: " + key}
	c.mu.Lock()
	c.asked[key] = in
	c.mu.Unlock()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // there is no server now
		status, answer, err := c.r.ask(c.r.t.Context(), c.brand, "broadcast.create", in)
		switch {
		case err == nil && status == http.StatusOK:
			return nil
		case err == nil && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests, time.Now().After(end):
			return fmt.Errorf("broadcast %s: %d %s %w", key, status, answer, err)
		}
		c.mu.Lock()
		c.cut++
		c.mu.Unlock()
	}
}

// cast is a broadcast as its publishers see it.
type cast struct {
	Key, State, Created, At, Began, Ended string
	Seq                                   uint64
}

func (c *casts) list() map[string]cast {
	c.r.t.Helper()
	var out struct{ Broadcasts []cast }
	c.r.must(c.brand, "broadcast.list", object{"channel": "cafe"}, &out)
	list := make(map[string]cast)
	for _, b := range out.Broadcasts {
		list[b.Key] = b
	}
	return list
}

// reach waits until every broadcast is in its state.
func (c *casts) reach(states map[string]string) {
	c.r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		wrong := ""
		list := c.list()
		for key, want := range states {
			if got := list[key].State; got != want {
				wrong += fmt.Sprintf("%s is %q, not %s; ", key, got, want)
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			c.r.t.Fatalf("%s\n%s", wrong, c.r.p.out)
		}
	}
}

// recorded looks on the disk of a server that was stopped: a broadcast that went out is one record, which stands where
// followers were told.
func (c *casts) recorded(places map[string]place, states map[string]string) {
	t := c.r.t
	t.Helper()
	found := make(map[string][]place)
	c.r.inStore(func(s *bolt.Store, _ *graph.Graph) {
		for ads, key := range map[bool]store.Key{false: store.ChannelKey("cafe"), true: store.AdsKey("cafe")} {
			info, err := s.Find(key)
			if err != nil {
				t.Fatal(err)
			}
			page, err := s.Read(store.Query{Log: info.ID, Max: 1000})
			if err != nil || page.Next != page.Head {
				t.Fatalf("%d of %d read: %v", page.Next, page.Head, err)
			}
			for _, r := range page.Records {
				for key := range states {
					if r.CID == graph.PostCID(key) {
						found[key] = append(found[key], place{ads, uint64(r.Seq)})
					}
				}
			}
		}
	})
	for key, state := range states {
		switch at := found[key]; {
		case state == "done" && (len(at) != 1 || at[0] != places[key]):
			t.Errorf("%s is recorded at %+v, and was delivered as %+v", key, at, places[key])
		case len(at) > 1, state == "canceled" && len(at) > 0 && places[key] == place{}:
			t.Errorf("%s, which is %s, is recorded at %+v", key, state, at)
		}
	}
}

// begun is of how many broadcasts a server that was killed had begun to send the post, and not noted where it is.
func (c *casts) begun() (n int) {
	t := c.r.t
	t.Helper()
	c.r.inStore(func(s *bolt.Store, _ *graph.Graph) {
		info, err := s.Find(store.ChannelKey("cafe"))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := s.Rows("channel.broadcast", store.OwnerOfLog(info.ID), "", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			var b struct {
				State string
				Seq   uint64
			}
			if err := json.Unmarshal(row.Value, &b); err != nil {
				t.Fatal(err)
			}
			if b.State == "running" && b.Seq == 0 {
				n++
			}
		}
	})
	return n
}

// place is where a post stands: advertising has sequences of its own.
type place struct {
	ads bool
	seq uint64
}

// subscriber is a device on MQTT 5 that comes back to its session by itself, and keeps what is posted.
type subscriber struct {
	r    *rung
	user string
	conn *autopaho.ConnectionManager

	mu    sync.Mutex
	got   map[string][]place // by the last word of the post
	state string             // of the channel's progress, what came
	ups   int                // connections
	fresh int                // of them, those that found no session
	grown chan struct{}      // closed and replaced when something came
}

// listen connects a device of a user that subscribes once, when it has no session yet.
func (r *rung) listen(user string) *subscriber {
	r.t.Helper()
	l := &subscriber{r: r, user: user, got: make(map[string][]place), grown: make(chan struct{})}
	l.come(r.t)
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	filters := []paho.SubscribeOptions{{Topic: "channel/+/json", QoS: 1}, {Topic: "channel/+/progress", QoS: 1}}
	if ack, err := l.conn.Subscribe(ctx, &paho.Subscribe{Subscriptions: filters}); err != nil || ack.Reasons[0] != 1 {
		r.t.Fatalf("%s: %+v, %v", user, ack, err)
	}
	return l
}

// come connects.
func (l *subscriber) come(t *testing.T) {
	t.Helper()
	server := &url.URL{Scheme: "mqtt", Host: l.r.mqtt}
	conn, err := autopaho.NewConnection(context.Background(), autopaho.ClientConfig{
		ServerUrls: []*url.URL{server}, KeepAlive: 30, SessionExpiryInterval: 3600,
		ReconnectBackoff: func(int) time.Duration { return 20 * time.Millisecond },
		ConnectUsername:  l.user, ConnectPassword: []byte("pw"),
		OnConnectionUp: func(_ *autopaho.ConnectionManager, ack *paho.Connack) {
			l.change(func() {
				l.ups++
				if !ack.SessionPresent {
					l.fresh++
				}
			})
		},
		ClientConfig: paho.ClientConfig{ClientID: "phone", OnPublishReceived: []func(paho.PublishReceived) (bool, error){l.received}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.conn = conn
	t.Cleanup(func() { // again, where it has left
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Disconnect(ctx)
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := conn.AwaitConnection(ctx); err != nil {
		t.Fatalf("%s: %v\n%s", l.user, err, l.r.p.out)
	}
}

// leave disconnects; the session stays.
func (l *subscriber) leave(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.conn.Disconnect(ctx); err != nil {
		t.Fatal(err)
	}
}

func (l *subscriber) received(p paho.PublishReceived) (bool, error) {
	if p.Packet.Topic == "channel/cafe/progress" {
		l.change(func() { l.state += string(p.Packet.Payload) })
		return true, nil
	}
	var e struct {
		Seq  uint64 `json:"s"`
		Body string `json:"b"`
		Ads  bool   `json:"d"`
	}
	if p.Packet.Topic != "channel/cafe/json" || json.Unmarshal(p.Packet.Payload, &e) != nil {
		return true, errors.New("an unexpected delivery on " + p.Packet.Topic)
	}
	if words := strings.Fields(e.Body); len(words) > 0 { // else something has happened to the channel
		key := words[len(words)-1]
		l.change(func() { l.got[key] = append(l.got[key], place{e.Ads, e.Seq}) })
	}
	return true, nil
}

func (l *subscriber) change(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	close(l.grown)
	l.grown = make(chan struct{})
}

// await waits until something holds of what came. fits is called with the lock.
func (l *subscriber) await(t *testing.T, fits func() bool) {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		ok, grown := fits(), l.grown
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-grown:
		case <-late:
			l.mu.Lock()
			defer l.mu.Unlock()
			t.Fatalf("%s does not get what it has to, but %v, %s\n%s", l.user, l.got, l.state, l.r.p.out)
		}
	}
}
