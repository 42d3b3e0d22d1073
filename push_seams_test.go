package main

import (
	"slices"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// newTold is a ringing server whose control API tells the bridge what users change, as `hwangso serve` has it.
func newTold(t *testing.T, users ...string) *ringing {
	t.Helper()
	r := newRinging(t, nil, users...)
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: r.store, Now: r.now})
	if err != nil {
		t.Fatal(err)
	}
	old := r.api
	r.api, err = api.New(api.Config{Broker: r.broker, Auth: auth, Now: r.now, Push: &api.Pushes{Providers: graph.PushProviders(), Bridge: r.bridge}})
	if err != nil {
		t.Fatal(err)
	}
	r.broker.SetRequests(r.api) // nobody is connected yet
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	return r
}

// rings are how many conversations of a user the bridge keeps a row of.
func (r *ringing) rings(user string) int {
	r.t.Helper()
	rows, err := r.store.Rows("user.ring", store.OwnerOf(r.account(user)), "", "", 100)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(rows)
}

// noRings waits until no row is left of a user.
func (r *ringing) noRings(user string) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); r.rings(user) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%d rows are left", r.rings(user))
		}
	}
}

func shows(n int) func(pushsim.Phone) bool {
	return func(p pushsim.Phone) bool { return len(p.Notifications) == n }
}

// tells is a phone that shows something about this message. On an iPhone it stands beside what rang first: what replaces
// later has a collapse identifier of the conversation.
func tells(seq store.Seq) func(pushsim.Phone) bool {
	return func(p pushsim.Phone) bool {
		return slices.ContainsFunc(p.Notifications, func(n pushsim.Notification) bool { return n.Seq == uint64(seq) })
	}
}

// What a phone shows of somebody goes away when its user blocks that one, at whatever provider, and the blocked one's next
// message does not ring.
func TestBlockClearsThePhone(t *testing.T) {
	for _, p := range graph.PushProviders() {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			r := newTold(t, "alice", "bob", "carol")
			r.friends([2]string{"alice", "bob"}, [2]string{"carol", "bob"})
			token := r.phone("bob", "phone", p)
			r.says("alice", "user/bob", "hello")
			r.says("carol", "user/bob", "hello")
			r.waits(token, shows(2))
			r.does("bob", "block.set", `{"user":"alice"}`)
			got := r.waits(token, shows(1))
			if got.Notifications[0].Room != "user/carol" || got.Rang != 2 {
				t.Errorf("it shows %+v", got)
			}
			r.says("alice", "user/bob", "hello?")
			seq := r.says("carol", "user/bob", "and?")
			r.decided("bob", "phone", r.pair("carol", "bob"), seq, because(bridge.ReasonWindow))
			r.pass(4 * time.Second) // carol's window ends; alice's message came before hers
			got = r.waits(token, tells(seq))
			for _, n := range got.Notifications {
				if n.Room != "user/carol" || got.Rang != 2 {
					t.Errorf("after the block it shows %+v", got)
				}
			}
		})
	}
}

// A mute stops what waits for the end of a window, and leaves what the phone shows.
func TestMuteStopsTheWindow(t *testing.T) {
	t.Parallel()
	r := newTold(t, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	token := r.phone("bob", "phone", graph.APNs)
	r.says("alice", "user/bob", "one")
	r.waits(token, shows(1))
	log := r.pair("alice", "bob")
	seq := r.says("alice", "user/bob", "two")
	r.decided("bob", "phone", log, seq, because(bridge.ReasonWindow))
	r.does("bob", "mute.set", `{"user":"alice"}`)
	r.decided("bob", "phone", log, seq, because(bridge.ReasonMuted))
	r.pass(time.Minute)
	r.does("bob", "mute.set", `{"user":"alice","on":false}`)
	last := r.says("alice", "user/bob", "three")
	got := r.waits(token, tells(last))
	if got.Rang != 1 {
		t.Errorf("it rang %d times", got.Rang)
	}
	for _, c := range r.sim.Counts() {
		if c.Seq == uint64(seq) {
			t.Errorf("the muted message was told: %+v", c)
		}
	}
}

// Whoever takes a phone out of an account, or its token, or is suspended, leaves nothing that waits for it.
func TestNothingWaitsForWhatIsGone(t *testing.T) {
	for name, end := range map[string]func(r *ringing){
		"device removed": func(r *ringing) {
			r.does("bob", "device.remove", `{"device":"`+r.deviceID("bob", "phone").String()+`"}`)
		},
		"token removed": func(r *ringing) {
			r.does("bob", "device.push", `{"device":"`+r.deviceID("bob", "phone").String()+`","remove":true}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTold(t, "alice", "bob")
			r.friends([2]string{"alice", "bob"})
			token := r.phone("bob", "phone", graph.FCM)
			r.says("alice", "user/bob", "one")
			r.waits(token, shows(1))
			seq := r.says("alice", "user/bob", "two")
			r.decided("bob", "phone", r.pair("alice", "bob"), seq, because(bridge.ReasonWindow))
			end(r)
			r.noRings("bob")
			r.pass(time.Minute)
			if got, _ := r.sim.Phone(token); got.Rang != 1 || got.Notifications[0].Seq != 1 {
				t.Errorf("it shows %+v", got)
			}
		})
	}
}

// One user's row that cannot be read keeps nobody else from being woken.
func TestDamagedRowStopsNobody(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob", "carol")
	r.friends([2]string{"alice", "bob"}, [2]string{"alice", "carol"})
	token := r.phone("carol", "phone", graph.APNs)
	if err := r.store.Update(t.Context(), store.Update{Owner: store.OwnerOf(r.account("bob")),
		Rows: []store.RowPut{{Table: "user.push", Value: []byte(`{"d":`)}}}); err != nil {
		t.Fatal(err)
	}
	r.says("alice", "user/bob", "hello")
	r.says("alice", "user/carol", "hello")
	r.waits(token, func(p pushsim.Phone) bool { return p.Rang == 1 })
}
