package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// many makes so many users with ten registered APNs devices each, who are members of a room of alice. It returns the
// tokens.
func (r *ringing) many(room string, users int) []string {
	t := r.t
	t.Helper()
	members := make([]store.Member, users)
	tokens := make([]string, 10*users)
	var failed sync.Map
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				failed.Store(i, func() error {
					a, err := r.store.CreateAccount(t.Context(), store.Account{Name: fmt.Sprint(room, i), Created: r.now().AddDate(-1, 0, 0).UnixMilli()})
					if err != nil {
						return err
					}
					members[i] = store.Member{Account: a.ID}
					for d := range 10 {
						sum := sha256.Sum256(fmt.Append(nil, room, i, d))
						token := hex.EncodeToString(sum[:])
						tokens[10*i+d] = token
						if _, err := r.broker.Access().Relations().Register(t.Context(), a.ID, graph.Registration{
							Device: store.DeviceOf(a.ID, fmt.Sprint("phone", d)), Provider: graph.APNs, Token: token}); err != nil {
							return err
						}
					}
					return nil
				}())
			}
		})
	}
	for i := range users {
		next <- i
	}
	close(next)
	wg.Wait()
	failed.Range(func(_, err any) bool {
		if err, _ := err.(error); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if _, _, err := r.store.Open(t.Context(), store.RoomKey(room), store.Creation{By: r.account("alice"),
		Members: append(members, store.Member{Account: r.account("alice"), Role: store.RoleOwner})}); err != nil {
		t.Fatal(err)
	}
	return tokens
}

// TestWrongEnvironment: every one of 10,000 tokens looks invalid, because the environment is the wrong one. From the start
// no token goes; in the midst of it, when others have been reached, hardly one. Once it is mended the phones show what
// waited.
func TestWrongEnvironment(t *testing.T) {
	const users, inFlight = 1000, 50
	r := newRinging(t, func(cfg *bridge.Config) {
		cfg.Lanes = map[graph.PushProvider]lane.Config{graph.APNs: {InFlight: inFlight}}
	}, "alice")
	tokens := r.many("big", users)
	wrong := func(is bool) {
		r.sim.Clear(0)
		if !is {
			return
		}
		if _, err := r.sim.AddPreset("wrong-environment", pushsim.Choice{Provider: pushsim.APNs}); err != nil {
			t.Fatal(err)
		}
	}
	tripped := func(times uint64) func() bool {
		return func() bool { s := r.laneOf(graph.APNs); return s.Guard.Trips == times && s.InFlight == 0 }
	}
	shows := func() (n int) {
		for _, p := range r.sim.Phones() {
			n += len(p.Notifications)
		}
		return n
	}
	wrong(true)
	r.says("alice", "room/big", "hello")
	r.until("guarded", time.Second, tripped(1))
	tried := r.sim.Last()
	if s := r.laneOf(graph.APNs); s.State != lane.Guarded || s.Guard.Removed != 0 || tried > uint64(len(tokens)/100) {
		t.Errorf("after %d attempts the lane is %s, the guard %+v", tried, s.State, s.Guard)
	}
	wrong(false)
	r.until("phones show it", 5*time.Second, func() bool { return shows() > 300 })
	wrong(true)
	r.until("guarded again", 5*time.Second, tripped(2))
	s := r.laneOf(graph.APNs)
	if most := 1 + s.Guard.Reached/100; int(s.Guard.Removed) > most || most > len(tokens)/100 {
		t.Errorf("the guard is %+v", s.Guard)
	}
	r.until("no more tokens are gone than it says", time.Millisecond, func() bool {
		return r.left(tokens, "big", users) == len(tokens)-int(s.Guard.Removed)
	})
	wrong(false)
	before := shows()
	r.until("more phones show it", 5*time.Second, func() bool { return shows() > before+100 })
	for _, c := range r.sim.Counts() {
		if c.Shown != 1 || c.Rang != 1 {
			t.Fatalf("%+v", c)
		}
	}
	t.Logf("%d devices: %d attempts before the guard trips; %d tokens removed when it trips after %d were reached", len(tokens), tried, s.Guard.Removed, s.Guard.Reached)
}

// left is how many of the devices that many has made are still registered.
func (r *ringing) left(tokens []string, room string, users int) (n int) {
	r.t.Helper()
	for i := range users {
		a, err := r.store.AccountByName(fmt.Sprint(room, i))
		if err != nil {
			r.t.Fatal(err)
		}
		list, err := r.broker.Access().Relations().Registrations(a.ID)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, reg := range list {
			if slices.Contains(tokens[10*i:10*i+10], reg.Token) {
				n++
			}
		}
	}
	return n
}

// TestProvidersApart: what one provider does not answer, or answers with errors, moves nothing of another's figures.
func TestProvidersApart(t *testing.T) {
	for _, c := range []struct{ down, well graph.PushProvider }{{graph.APNs, graph.FCM}, {graph.FCM, graph.APNs}} {
		t.Run(string(c.down)+" is down", func(t *testing.T) {
			t.Parallel()
			const each = 20
			rounds := []string{"", "hang", "outage", "down"}
			users := []string{"alice"}
			for i := range each * len(rounds) {
				users = append(users, fmt.Sprint("u", i))
			}
			r := newRinging(t, func(cfg *bridge.Config) { // one that is soon full
				cfg.Lanes = map[graph.PushProvider]lane.Config{c.down: {InFlight: 4, Queue: 4, Timeout: 2 * time.Second}}
			}, users...)
			var first []string
			for n, preset := range rounds {
				if preset != "" {
					if _, err := r.sim.AddPreset(preset, pushsim.Choice{Provider: pushsim.Provider(c.down)}); err != nil {
						t.Fatal(err)
					}
				}
				before, at := r.sim.Last(), r.now()
				var well []string
				for i := range each {
					u := users[1+n*each+i]
					r.friends([2]string{"alice", u})
					r.phone(u, "phone-down", c.down)
					well = append(well, r.phone(u, "phone-well", c.well))
					r.says("alice", "user/"+u, "hello")
				}
				// The clock stands still: what needs a second attempt, or has to wait, does not come.
				var got []string
				for _, token := range well {
					p := r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) > 0 })
					r.logged(before, token)
					got = append(got, fmt.Sprint(p.Received, p.Rang, p.Notifications[0].Time.Sub(at)))
					for _, a := range r.triedAt(before, token) {
						got = append(got, fmt.Sprint(a.Status, a.Time.Sub(at)))
					}
				}
				if first == nil {
					first = got
				} else if !slices.Equal(first, got) {
					t.Errorf("%s: not %v as without, but %v", preset, first, got)
				}
				if s := r.laneOf(c.well); s.State != lane.Open && s.State != lane.Recovering || s.LastError != "" {
					t.Errorf("%s: the other lane is %+v", preset, s)
				}
				r.sim.Clear(0)
			}
			// Those that could not be told are, afterwards.
			for _, u := range users[1:] {
				sum := sha256.Sum256([]byte(u + " phone-down"))
				r.comes(hex.EncodeToString(sum[:]), func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
			}
			for _, n := range r.sim.Counts() {
				if n.Shown != 1 || n.Rang != 1 {
					t.Errorf("%+v", n)
				}
			}
		})
	}
}

// logged waits until an attempt after one is in the simulator's log, which is a moment after the phone shows it.
func (r *ringing) logged(after uint64, token string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if _, err := r.sim.WaitAfter(ctx, after, func(a pushsim.Attempt) bool { return a.Token == token }); err != nil {
		r.t.Fatal(err)
	}
}

// TestOutage: for two hours nobody is woken. That costs a row for each conversation and device, and a probe now and then;
// afterwards the provider is not run down, what is old is told in one summary, and nothing is shown twice.
func TestOutage(t *testing.T) {
	t.Parallel()
	receivers := []string{"bob", "carol", "dave"}
	users := slices.Clone(receivers)
	const senders, late = 9, 3 // of whom so many write at the end
	for i := range senders {
		users = append(users, fmt.Sprint("s", i))
	}
	held := lane.Config{Timeout: 3 * time.Second}
	r := newRinging(t, func(cfg *bridge.Config) {
		cfg.Lanes = map[graph.PushProvider]lane.Config{graph.APNs: held, graph.WebPush: held}
	}, users...)
	providers := []graph.PushProvider{graph.APNs, graph.WebPush}
	var tokens []string
	for _, u := range receivers {
		for _, p := range providers {
			tokens = append(tokens, r.phone(u, "phone-"+string(p), p))
		}
		for i := range senders {
			r.friends([2]string{u, fmt.Sprint("s", i)})
		}
	}
	for _, p := range providers {
		if _, err := r.sim.AddPreset("outage", pushsim.Choice{Provider: pushsim.Provider(p)}); err != nil {
			t.Fatal(err)
		}
	}
	write := func(from, to int) {
		for i := from; i < to; i++ {
			for _, u := range receivers {
				for range 10 {
					r.says(fmt.Sprint("s", i), "user/"+u, "hello")
				}
			}
		}
	}
	rows := func() (n int) {
		for _, u := range receivers {
			list, err := r.store.Rows("user.ring", store.OwnerOf(r.account(u)), "", "", 0)
			if err != nil {
				t.Fatal(err)
			}
			n += len(list)
		}
		return n
	}
	most := 0
	begin := r.now()
	lasts := func(upto time.Duration) {
		r.until("the outage lasts", 5*time.Minute, func() bool {
			most = max(most, rows())
			return r.now().Sub(begin) >= upto
		})
	}
	write(0, senders-late)
	lasts(55 * time.Minute)
	write(0, senders-late)
	lasts(115 * time.Minute)
	write(senders-late, senders)
	lasts(120 * time.Minute)
	if limit := len(tokens) * (senders + 1); most > limit {
		t.Errorf("%d rows of %d devices and %d conversations each", most, len(tokens), senders)
	}
	tried := r.sim.Last()
	if limit := uint64(len(providers) * (8 + 3*24)); tried > limit {
		t.Errorf("%d attempts in two hours", tried)
	}

	// The first attempt afterwards goes alone, whatever waits.
	r.sim.Clear(0)
	if _, err := r.sim.Add(pushsim.Fault{Name: "probe", Times: 1, Provider: pushsim.APNs, Do: pushsim.Do{Hang: true}}); err != nil {
		t.Fatal(err)
	}
	probes := func() (n int) {
		for _, a := range r.sim.Attempts() {
			if a.N > tried && a.Provider == pushsim.APNs {
				n++
			}
		}
		return n
	}
	r.until("a probe", 5*time.Second, func() bool { return probes() > 0 })
	for range 5 {
		r.pass(2 * time.Second)
		time.Sleep(100 * time.Millisecond) // the bridge looks at what is due ten times a second
	}
	if n := probes(); n != 1 {
		t.Errorf("%d pushes while the first is not answered", n)
	}

	told := func(p pushsim.Phone) map[string]int {
		kinds := map[string]int{}
		for _, n := range p.Notifications {
			kinds[n.Kind]++
		}
		return kinds
	}
	want := map[string]int{string(push.KindSummary): 1, string(push.KindMessages): late}
	for _, token := range tokens {
		var p pushsim.Phone
		r.until("told", 15*time.Second, func() bool { p, _ = r.sim.Phone(token); return maps.Equal(told(p), want) })
		for _, n := range p.Notifications {
			if n.Kind == string(push.KindMessages) && n.Count != 10 {
				t.Errorf("%+v", n)
			}
		}
	}
	r.until("nothing waits", 30*time.Second, func() bool { return r.bridge.Status().Rows == 0 })
	for _, token := range tokens {
		if p, _ := r.sim.Phone(token); !maps.Equal(told(p), want) || p.Received != 1+late || p.Repeated+p.Replaced+p.Dropped != 0 {
			t.Errorf("in the end a phone shows %+v", p)
		}
	}
	for _, c := range r.sim.Counts() {
		if c.Duplicate() {
			t.Errorf("%+v", c)
		}
	}
	t.Logf("%d messages, %d rows at most, %d attempts in two hours", 10*len(receivers)*(2*(senders-late)+late), most, tried)
}

// TestBlackHoles takes 10 s: connections to all three that swallow everything are found by their pings and replaced, and
// what was on them is shown once.
func TestBlackHoles(t *testing.T) {
	t.Parallel()
	slow := lane.Config{Timeout: 5 * time.Minute} // so that it is not this which ends an attempt
	r := newRinging(t, func(cfg *bridge.Config) {
		cfg.Lanes = map[graph.PushProvider]lane.Config{graph.APNs: slow, graph.FCM: slow, graph.WebPush: slow}
	}, "alice", "bob", "carol")
	r.friends([2]string{"alice", "bob"}, [2]string{"alice", "carol"})
	tokens := map[graph.PushProvider]string{}
	for _, p := range graph.PushProviders() {
		r.phone("bob", "phone-"+string(p), p)
		tokens[p] = r.phone("carol", "phone-"+string(p), p)
	}
	bob := r.says("alice", "user/bob", "hello")
	for _, p := range graph.PushProviders() {
		r.decided("bob", "phone-"+string(p), r.pair("alice", "bob"), bob, func(d bridge.Decision) bool { return d.Answer != nil })
		if _, err := r.sim.Add(pushsim.Fault{Provider: pushsim.Provider(p), Times: 1, Do: pushsim.Do{BlackHole: true, Deliver: true}}); err != nil {
			t.Fatal(err)
		}
	}
	before, began := r.sim.Last(), time.Now()
	seq := r.says("alice", "user/carol", "hello")
	for _, p := range graph.PushProviders() {
		d := r.decided("carol", "phone-"+string(p), r.pair("alice", "carol"), seq, func(d bridge.Decision) bool { return d.Answer != nil })
		if d.Answer.Outcome != push.Unknown || d.Reason != bridge.ReasonRetry {
			t.Errorf("%s: %+v", p, d)
		}
		t.Logf("%s: found after %v", p, time.Since(began).Round(100*time.Millisecond))
	}
	for p, token := range tokens {
		r.until("a second attempt", 2*time.Second, func() bool { return len(r.triedAt(before, token)) == 2 })
		got := r.triedAt(before, token)
		if got[0].Conn == got[1].Conn || got[0].Status != 0 || got[1].Status/100 != 2 {
			t.Errorf("%s: %+v", p, got)
		}
		if shows := r.comes(token, func(p pushsim.Phone) bool { return len(p.Notifications) > 0 }); len(shows.Notifications) != 1 || shows.Rang != 1 {
			t.Errorf("%s: the phone shows %+v", p, shows)
		}
	}
}

// TestHungProvider: pushes that are delivered and never answered are given up at the deadline, the lane asks no more after
// the second, and the next attempt changes nothing of what is shown.
func TestHungProvider(t *testing.T) {
	t.Parallel()
	const deadline = 3 * time.Second
	r := newRinging(t, func(cfg *bridge.Config) {
		cfg.Lanes = map[graph.PushProvider]lane.Config{graph.APNs: {Timeout: deadline}}
	}, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	token := r.phone("bob", "phone", graph.APNs)
	if _, err := r.sim.Add(pushsim.Fault{Do: pushsim.Do{Hang: true, Deliver: true}}); err != nil {
		t.Fatal(err)
	}
	seq := r.says("alice", "user/bob", "hello")
	for i := range 2 {
		r.until("an attempt", time.Second, func() bool { return len(r.triedAt(0, token)) == i+1 })
		if s := r.laneOf(graph.APNs); s.State == lane.Down && s.InFlight > 0 {
			t.Errorf("before attempt %d is given up: %+v", i+1, s)
		}
		r.pass(deadline) // the lane counts by this clock, and gives up by another
		r.until("given up", time.Millisecond, func() bool { return r.laneOf(graph.APNs).InFlight == 0 })
	}
	if s := r.laneOf(graph.APNs); s.State != lane.Down {
		t.Errorf("%+v", s)
	}
	d := r.decided("bob", "phone", r.pair("alice", "bob"), seq, func(d bridge.Decision) bool { return d.Answer != nil })
	if d.Answer.Outcome != push.Unknown || d.Reason != bridge.ReasonRetry {
		t.Errorf("%+v", d)
	}
	r.sim.Clear(0)
	r.until("taken", 2*time.Second, func() bool {
		tried := r.triedAt(0, token)
		return tried[len(tried)-1].Status == 200
	})
	if tried := r.triedAt(0, token); len(tried) != 3 || tried[0].ID != tried[2].ID {
		t.Errorf("%+v", tried)
	}
	if p, _ := r.sim.Phone(token); p.Rang != 1 || len(p.Notifications) != 1 {
		t.Errorf("the phone shows %+v", p)
	}
}

// TestStreamLimit: a connection that allows one stream, and then a thousand, carries whatever there is without one refused.
func TestStreamLimit(t *testing.T) {
	t.Parallel()
	r := newRinging(t, nil, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	r.phone("bob", "phone", graph.APNs)
	tokens := map[string][]string{"one": r.many("one", 10), "thousand": r.many("thousand", 20)}
	for _, c := range []struct {
		room  string
		limit uint32
	}{{"one", 1}, {"thousand", 1000}} {
		if _, err := r.sim.Add(pushsim.Fault{Times: 1, Do: pushsim.Do{MaxStreams: c.limit}}); err != nil {
			t.Fatal(err)
		}
		before := r.sim.Last()
		r.says("alice", "room/"+c.room, "hello")
		for _, token := range tokens[c.room] {
			r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
			r.logged(before, token)
		}
		conns := map[uint64]bool{}
		for _, a := range r.sim.Attempts() {
			if conns[a.Conn] = true; a.N > before && a.Status != 200 {
				t.Errorf("limit %d: attempt %+v", c.limit, a)
			}
		}
		if n := r.sim.Last() - before; n != uint64(len(tokens[c.room])) || len(conns) != 1 {
			t.Errorf("limit %d: %d attempts over %d connections", c.limit, n, len(conns))
		}
	}
}

// TestKeysReplaced: a key that is not the provider's pauses the lane and loses nothing; the right one in its file goes on
// without a restart.
func TestKeysReplaced(t *testing.T) {
	t.Parallel()
	r := newRinging(t, nil, "alice", "bob", "carol")
	r.friends([2]string{"alice", "bob"}, [2]string{"alice", "carol"})
	f, err := r.sim.Files()
	if err != nil {
		t.Fatal(err)
	}
	other, err := pushsim.Init(t.TempDir(), pushsim.InitOptions{Listen: pushsim.FreePorts()})
	if err != nil {
		t.Fatal(err)
	}
	read := func(file string) []byte {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var account, another map[string]any // the same account with another key
	if err := errors.Join(json.Unmarshal(read(f.FCMCredentials), &account), json.Unmarshal(read(other.FCMCredentials), &another)); err != nil {
		t.Fatal(err)
	}
	account["private_key"] = another["private_key"]
	revoked, err := json.Marshal(account)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    graph.PushProvider
		file string
		key  []byte
	}{{graph.APNs, f.APNsKey, read(other.APNsKey)}, {graph.FCM, f.FCMCredentials, revoked}} {
		put := func(b []byte) {
			if err := errors.Join(os.WriteFile(c.file+".new", b, 0o600), os.Rename(c.file+".new", c.file)); err != nil {
				t.Fatal(err)
			}
			r.pass(2 * time.Second) // it is looked at once a second
		}
		right := read(c.file)
		client := "phone-" + string(c.p)
		bob, carol := r.phone("bob", client, c.p), r.phone("carol", client, c.p)
		r.says("alice", "user/bob", "hello")
		r.waits(bob, func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
		put(c.key)
		seq := r.says("alice", "user/carol", "hello")
		d := r.decided("carol", client, r.pair("alice", "carol"), seq, func(d bridge.Decision) bool { return d.Answer != nil })
		if d.Answer.Outcome != push.Denied || d.Reason != bridge.ReasonRetry || r.laneOf(c.p).State != lane.Denied {
			t.Errorf("%s: %+v, and the lane is %s", c.p, d, r.laneOf(c.p).State)
		}
		put([]byte("nothing that is a key")) // the one before it goes on
		put(right)
		r.pass(time.Minute) // the lane's pause
		if r.registered("carol", client) == nil {
			t.Errorf("%s: the token is gone", c.p)
		}
		if got := r.comes(carol, func(p pushsim.Phone) bool { return len(p.Notifications) > 0 }); got.Rang != 1 || got.Notifications[0].Seq != uint64(seq) {
			t.Errorf("%s: the phone shows %+v", c.p, got)
		}
	}
}
