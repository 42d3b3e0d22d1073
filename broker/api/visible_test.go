package api

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// watcher is a connection that keeps what it is told.
type watcher struct {
	wired
	mu  sync.Mutex
	got []string // topic and payload
	new chan struct{}
}

func (l *watcher) Overdue() bool { return false }

func (l *watcher) Write(items []broker.Item) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range items {
		if it.Kind == broker.ItemDelivery {
			l.got = append(l.got, it.Topic+" "+string(it.Payload))
		}
	}
	select {
	case l.new <- struct{}{}:
	default:
	}
	return nil
}

// until waits for a delivery that contains the text and returns everything before it.
func (l *watcher) until(t testing.TB, text string) []string {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		l.mu.Lock()
		for i, s := range l.got {
			if strings.Contains(s, text) {
				out := append([]string(nil), l.got[:i]...)
				l.mu.Unlock()
				return out
			}
		}
		l.mu.Unlock()
		select {
		case <-l.new:
		case <-timeout:
			t.Fatalf("%q never came: %q", text, l.got)
		}
	}
}

// watch attaches a guest of the user with filters.
func (w *world) watch(u store.Account, filters ...string) *watcher {
	w.t.Helper()
	l := &watcher{new: make(chan struct{}, 1)}
	l.closed = make(chan struct{})
	s, _, err := w.broker.Attach(w.t.Context(), broker.Connect{Identity: hooks.Identity{Account: u.ID, Name: u.Name, ClientID: "w",
		Device: store.DeviceOf(u.ID, "w"), Guest: true}}, l)
	if err != nil {
		w.t.Fatal(err)
	}
	l.session = s
	s.Start()
	var reqs []broker.SubRequest
	for _, f := range filters {
		reqs = append(reqs, broker.SubRequest{Filter: f})
	}
	if _, err := s.Subscribe(w.t.Context(), reqs); err != nil {
		w.t.Fatal(err)
	}
	return l
}

// TestVisible holds what a user gets of another one, end to end, against truth table T4: the profile, presence, receipts and
// typing for every combination of the facts.
func TestVisible(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Contacts.LookupsMin, c.Contacts.LookupsDay = 1<<20, 1<<20 })
	g := w.api.graph
	seen := make(map[string]int)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	flip := func(bits, i int) bool { return bits>>i&1 == 1 }
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 0; n < 3*256; n += step {
		bits, block := n%256, graph.Block(n/256)
		f := policy.VisibleFacts{BExists: true, BHasA: flip(bits, 0), AHasB: flip(bits, 1), SharedRoom: flip(bits, 2), Answered: flip(bits, 3),
			Findable: flip(bits, 4), BBlocksA: policy.Block(block), ABlocksB: flip(bits, 5), BShares: flip(bits, 6), AShares: flip(bits, 7)}
		user := func(name string) store.Account {
			u, err := w.store.CreateAccount(ctx, store.Account{Name: fmt.Sprint(name, n), Display: strings.ToUpper(name), Status: "busy"})
			must(err)
			return u
		}
		a, b := user("a"), user("b")
		// The conversation: a writes, and b where it is to have answered.
		log, _, err := w.store.Open(ctx, store.PairKey(a.ID, b.ID), store.Creation{Members: []store.Member{
			{Account: a.ID, Role: store.RoleMember}, {Account: b.ID, Role: store.RoleMember}}})
		must(err)
		write := func(from store.Account, text string) {
			_, err := w.store.Append(store.Draft{Log: log.ID, Sender: from.ID, Text: []byte(text)}).Result()
			must(err)
		}
		write(a, "hi")
		if f.Answered {
			write(b, "hello")
		}
		if f.SharedRoom {
			_, _, err := w.store.Open(ctx, store.RoomKey(fmt.Sprint("r", n)), store.Creation{Members: []store.Member{
				{Account: a.ID, Role: store.RoleMember}, {Account: b.ID, Role: store.RoleMember}}})
			must(err)
		}
		for _, s := range []struct {
			u      store.Account
			shares bool
		}{{a, f.AShares}, {b, f.BShares}} {
			must(g.SetSettings(ctx, s.u.ID, func(set *graph.Settings) error {
				set.Presence, set.Unfindable = s.shares, !f.Findable
				return nil
			}))
		}
		friend := func(of, to store.Account, on bool) {
			if on {
				_, err := g.SetFriend(ctx, of.ID, to.ID, true, 0)
				must(err)
			}
		}
		friend(b, a, f.BHasA)
		friend(a, b, f.AHasB)
		if f.BBlocksA != policy.BlockNone {
			_, err := g.SetBlock(ctx, b.ID, a.ID, block, false, 0)
			must(err)
		}
		if f.ABlocksB {
			_, err := g.SetBlock(ctx, a.ID, b.ID, graph.BlockMessages, false, 0)
			must(err)
		}

		bob := w.watch(b)
		alice := w.watch(a, "presence/+", "user/+/typing/+", "user/+/read", "user/"+a.Name+"/json")
		bob.session.Publish(broker.Publication{Topic: "user/" + a.Name + "/typing"}, broker.Ack{})
		bob.session.Publish(broker.Publication{Topic: "user/" + a.Name + "/read", Payload: []byte("1")}, broker.Ack{PacketID: 1, QoS: 1})
		alice.session.Publish(broker.Publication{Topic: "user/" + a.Name + "/text", Payload: []byte("the end")}, broker.Ack{PacketID: 1, QoS: 1})
		told := alice.until(t, "the end") // after all that, in the order of the journal

		got := policy.Visibility{Profile: policy.ProfileUnknown}
		for _, s := range told {
			topic, payload, _ := strings.Cut(s, " ")
			switch {
			case topic == "presence/"+b.Name && payload == `{"state":"online"}`:
				got.Presence = true
			case topic == "user/"+b.Name+"/typing/"+b.Name:
				got.Typing = true
			case topic == "user/"+b.Name+"/read":
				got.Receipts = got.Receipts || strings.Contains(payload, "[1,1]")
			}
		}
		out, err := w.api.profileGet(ctx, &caller{account: a}, &profileGetIn{User: b.Name})
		switch {
		case store.CodeOf(err) == store.CodeNotFound:
		case err != nil:
			t.Fatal(err)
		case out.Status != "":
			got.Profile = policy.ProfileFull
		case f.BHasA || f.Answered || f.SharedRoom:
			got.Profile = policy.ProfileDefault
		default:
			got.Profile = policy.ProfileName
		}
		if out != nil && (out.Display != "B" || out.Name != b.Name) {
			t.Errorf("%+v", out)
		}
		if want := policy.Visible(f); got != want {
			t.Errorf("%+v:\n got %s\nwant %s\n %q", f, got, want, told)
		}
		seen[got.String()]++
		for _, l := range []*watcher{alice, bob} {
			l.session.Detach(true)
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d distinct outcomes of 6: %v", len(seen), seen)
	}
	// Who does not exist is answered as who does not want to be found.
	w.users("carol")
	w.as("carol", 200, "settings.set", obj{"findable": "off"})
	w.users("dora")
	missing := do(t, w.public.URL, "profile.get", "Bearer "+w.tokens["dora"], obj{"user": "nobody"})
	hidden := do(t, w.public.URL, "profile.get", "Bearer "+w.tokens["dora"], obj{"user": "carol"})
	want(t, "hidden", string(hidden.raw), string(missing.raw))
}

func TestProfiles(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	w.as("bob", 200, "profile.set", obj{"display": "Bob", "status": "busy", "birthday": "02-29"})
	full := obj{"code": 200, "name": "bob", "display": "Bob", "status": "busy", "birthday": "02-29"}
	want(t, "of a friend", w.as("alice", 200, "profile.get", obj{"user": "bob"}), full)
	want(t, "over MQTT", w.mqtt("alice", "phone", "profile.get", "1", `{"user":"Bob"}`), full)
	w.as("bob", 200, "block.set", obj{"user": "alice"})
	w.as("bob", 200, "contact.remove", obj{"user": "alice"}) // frozen
	want(t, "blocked", w.as("alice", 200, "profile.get", obj{"user": "bob"}), full)
	w.as("bob", 200, "block.set", obj{"user": "alice", "level": "profile"})
	want(t, "blocked with the profile", w.as("alice", 200, "profile.get", obj{"user": "bob"}), obj{"code": 200, "name": "bob", "display": "Bob"})
	w.as("bob", 200, "block.set", obj{"user": "alice", "on": false})
	want(t, "a stranger's", w.as("alice", 200, "profile.get", obj{"user": "bob"}), obj{"code": 200, "name": "bob", "display": "Bob"})
	for _, bad := range []string{"2-29", "02-30", "29 Feb", "2000-02-29"} {
		want(t, bad, w.as("bob", 400, "profile.set", obj{"birthday": bad})["text"], "birthday must be a month and a day such as 02-29")
	}
	want(t, "taken back", w.as("bob", 200, "profile.set", obj{"birthday": "", "status": ""}), obj{"code": 200, "name": "bob", "display": "Bob"})
	w.as("bob", 200, "profile.set", obj{"status": ""})
	want(t, "notices", strings.Join(w.notices("bob"), " "), "profile blocked friends alice blocked blocked profile")
}
