package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/apns"
	"github.com/hwangso/hwangso/bridge/fcm"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/bridge/webpush"
	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// ringing is a stage whose devices are woken, by simulated providers that are spoken to over real HTTP/2. The bridge and
// the providers go by the stage's clock, which begins today and stands still unless the test moves it. FCM's access tokens
// are asked for by a library that has a clock of its own, so a test with FCM may move it by less than an hour.
type ringing struct {
	*stage
	sim       *pushsim.Sim
	bridge    *bridge.Bridge
	providers map[graph.PushProvider]push.Provider
	lanes     map[graph.PushProvider]lane.Config

	told     atomic.Pointer[bridge.Bridge] // who hears of what the journal does not tell
	signedIn atomic.Pointer[api.API]       // who hears of new devices
}

// Detached and Changed implement bridge.Told for the API, which is there before the bridge. So do Why, Status, Resume and
// Last bridge.Asked and bridge.Operated.
func (r *ringing) Detached(a store.AccountID, d store.DeviceID) {
	if b := r.told.Load(); b != nil {
		b.Detached(a, d)
	}
}

func (r *ringing) Changed(a store.AccountID, log store.LogID) error {
	if b := r.told.Load(); b != nil {
		return b.Changed(a, log)
	}
	return nil
}

func (r *ringing) Why(ctx context.Context, a store.AccountID, log store.LogID, seq store.Seq) ([]bridge.Decision, error) {
	return r.told.Load().Why(ctx, a, log, seq)
}

func (r *ringing) Status() bridge.Status { return r.told.Load().Status() }

func (r *ringing) Resume(p graph.PushProvider) (paused, known bool) { return r.told.Load().Resume(p) }

// Considered and Look implement broadcast.Pushes for broadcasts, which are there before the bridge and after it; so does Pushed
// for their reports.
func (r *ringing) Considered(log store.LogID, seq store.Seq) (int, bool, error) {
	if b := r.told.Load(); b != nil {
		return b.Considered(log, seq)
	}
	return 0, false, nil
}

func (r *ringing) Look() {
	if b := r.told.Load(); b != nil {
		b.Look()
	}
}

func (r *ringing) Pushed(ctx context.Context, log store.LogID, seq store.Seq) (int, error) {
	if b := r.told.Load(); b != nil {
		return b.Pushed(ctx, log, seq)
	}
	return 0, nil
}

func (r *ringing) Last(a store.AccountID) []bridge.Decision { return r.told.Load().Last(a) }

// newRinging makes a server with these users. change may set what the bridge is made of.
func newRinging(t testing.TB, change func(*bridge.Config), users ...string) *ringing {
	t.Helper()
	return newRingingOf(t, stageParts{}, change, users...)
}

// newRingingOf is newRinging with parts of its own, of which it sets events, pushes, and whom broadcasts ask how far they are.
func newRingingOf(t testing.TB, parts stageParts, change func(*bridge.Config), users ...string) *ringing {
	t.Helper()
	r := &ringing{providers: make(map[graph.PushProvider]push.Provider)}
	parts.Events = broker.Events{
		Attached: func(id hooks.Identity, _ bool) {
			if a := r.signedIn.Load(); a != nil && id.New {
				a.DeviceSignedIn(id)
			}
		},
		Detached: func(id hooks.Identity, _ bool) {
			if !id.Guest {
				r.Detached(id.Account, id.Device)
			}
		},
	}
	parts.Pushes = &api.Pushes{Providers: graph.PushProviders(), Bridge: r}
	if own := parts.Posts; own != nil {
		parts.Posts = func(s *stage, c *broadcast.Config) {
			c.Pushes = r
			own(s, c)
		}
	}
	r.stage = newStageOf(t, parts, users...)
	r.signedIn.Store(r.api)
	r.pass(time.Now().Truncate(time.Second).Sub(r.now()))
	r.open(change)
	return r
}

// open starts the simulator, the providers and the bridge.
func (r *ringing) open(change func(*bridge.Config)) {
	t := r.t
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	f, err := pushsim.Init(dir, pushsim.InitOptions{Listen: pushsim.FreePorts()})
	ok(err)
	r.sim, err = pushsim.Start(pushsim.Config{Dir: dir, Seed: 1, Now: r.now})
	ok(err)
	apple, err := apns.New(apns.Config{KeyFile: f.APNsKey, KeyID: f.KeyID, TeamID: f.Team, Topic: f.Topic, URL: r.sim.APNsURL(),
		SandboxURL: r.sim.SandboxURL(), CA: r.sim.CA(), Now: r.now})
	ok(err)
	google, err := fcm.New(fcm.Config{Credentials: f.FCMCredentials, URL: r.sim.FCMURL(), CA: r.sim.CA(), Now: r.now})
	ok(err)
	web, err := webpush.New(webpush.Config{Key: f.WebPushKey, Contact: "mailto:push@example.com", CA: r.sim.CA(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: r.now})
	ok(err)
	r.providers[graph.APNs], r.providers[graph.FCM], r.providers[graph.WebPush] = apple, google, web
	cfg := bridge.Config{Store: r.store, Access: r.broker.Access(), Live: r.broker, Providers: r.providers, Lanes: r.lanes,
		Followers: r.store, Now: r.now}
	if change != nil {
		change(&cfg)
	}
	r.bridge, err = bridge.New(cfg)
	ok(err)
	r.told.Store(r.bridge)
	t.Cleanup(func() {
		r.told.Store(nil)
		ok(r.bridge.Close())
		for _, p := range r.providers {
			ok(p.Close())
		}
		ok(r.sim.Close())
	})
}

// account is a user's number.
func (r *ringing) account(user string) store.AccountID { return r.ids[user].Account }

// device is the number of a user's device with this client identifier.
func (r *ringing) deviceID(user, client string) store.DeviceID {
	return store.DeviceOf(r.account(user), client)
}

// phone registers a device of a user at a provider, under a token of its own, which it returns.
func (r *ringing) phone(user, client string, p graph.PushProvider) (token string) {
	r.t.Helper()
	ctx := r.t.Context()
	if err := r.store.PutDevice(ctx, store.Device{Account: r.account(user), ID: r.deviceID(user, client), ClientID: client}, 0); err != nil {
		r.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(user + " " + client))
	reg := graph.Registration{Device: r.deviceID(user, client), Provider: p, Token: hex.EncodeToString(sum[:])}
	token = reg.Token
	if p == graph.WebPush {
		sub, err := r.sim.Subscribe(token)
		if err != nil {
			r.t.Fatal(err)
		}
		reg.Token, reg.Key, reg.Secret = sub.Endpoint, sub.P256dh, sub.Auth
	}
	if _, err := r.broker.Access().Relations().Register(ctx, r.account(user), reg); err != nil {
		r.t.Fatal(err)
	}
	return token
}

// says sends a message as a user over the control API and returns its sequence. to is a topic without the view.
func (r *ringing) says(user, to, text string) store.Seq {
	r.t.Helper()
	place, name := "room", to[len("room/"):]
	if to[:5] == "user/" {
		place, name = "user", to[len("user/"):]
	}
	answer := r.does(user, "message.send", fmt.Sprintf(`{%q:%q,"text":%q}`, place, name, text))
	return store.Seq(answer["seq"].(float64))
}

// waits returns what a phone shows as soon as it fits, however long the machine takes.
func (r *ringing) waits(token string, fits func(pushsim.Phone) bool) pushsim.Phone {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	p, err := r.sim.WaitPhone(ctx, token, fits)
	if err != nil {
		r.t.Fatalf("the phone does not come to show it: %v\n%+v", err, p)
	}
	return p
}

// decided waits until the bridge has decided something that fits about a message for a device, and returns it.
func (r *ringing) decided(user, client string, log store.LogID, seq store.Seq, fits func(bridge.Decision) bool) bridge.Decision {
	r.t.Helper()
	var last []bridge.Decision
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		list, err := r.bridge.Why(r.t.Context(), r.account(user), log, seq)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, d := range list {
			if d.Device == r.deviceID(user, client) && fits(d) {
				return d
			}
		}
		last = list
	}
	r.t.Fatalf("%s/%s, message %d: what was awaited is not decided, but %+v", user, client, seq, last)
	return bridge.Decision{}
}

// pair is the number of the conversation of two users.
func (r *ringing) pair(a, b string) store.LogID {
	r.t.Helper()
	info, err := r.store.Find(store.PairKey(r.account(a), r.account(b)))
	if err != nil {
		r.t.Fatal(err)
	}
	return info.ID
}

// because is a decision for a reason.
func because(why bridge.Reason) func(bridge.Decision) bool {
	return func(d bridge.Decision) bool { return d.Reason == why }
}

func itoa(s store.Seq) string { return fmt.Sprint(uint64(s)) }
