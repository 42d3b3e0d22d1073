package coupon

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// world is a Service over a real store.
type world struct {
	*Service
	t        testing.TB
	dir      string
	db       *bolt.Store
	clock    atomic.Int64 // Unix milliseconds
	accounts map[string]store.AccountID
	channels map[string]store.LogID

	audience store.Audience // of the messages that are sent
	sendErr  error          // instead of sending
	afterErr error          // after having sent
	sends    atomic.Int64
}

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), accounts: make(map[string]store.AccountID), channels: make(map[string]store.LogID)}
	w.clock.Store(begin.UnixMilli())
	w.start()
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) now() time.Time { return time.UnixMilli(w.clock.Load()) }

func (w *world) wait(d time.Duration) { w.clock.Add(d.Milliseconds()) }

func testSecret(purpose, text string) (out [32]byte) {
	m := hmac.New(sha256.New, []byte("the key of a test"))
	fmt.Fprintf(m, "%s\x00%s", purpose, text)
	m.Sum(out[:0])
	return out
}

// roundOf is a rounding as the numbers of a brand with so many followers have it.
func roundOf(total int) func(store.LogID, int) (*int, error) {
	return func(_ store.LogID, n int) (*int, error) {
		if n < 20 || n > total-20 {
			return nil, nil
		}
		n -= n % 10
		return &n, nil
	}
}

func (w *world) start() {
	w.t.Helper()
	var err error
	if w.db, err = bolt.Open(bolt.Config{Dir: w.dir, MinFree: -1, SegmentBytes: 1 << 20, Now: w.now}); err != nil {
		w.t.Fatal(err)
	}
	limits, err := limit.New(limit.Config{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.Service, err = New(Config{Store: w.db, Secret: testSecret, Send: w.send, MaySee: w.maySeePost, Round: roundOf(1000), Limits: limits,
		Registerer: prometheus.NewRegistry(), Now: w.now}); err != nil {
		w.t.Fatal(err)
	}
}

// restart is a crash between two requests: what is durable is what is there.
func (w *world) restart() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// send is a broker that lets every message through to the audience.
func (w *world) send(ctx context.Context, id hooks.Identity, t hooks.Topic, c view.Content) (store.Receipt, error) {
	w.sends.Add(1)
	if w.sendErr != nil {
		return store.Receipt{}, w.sendErr
	}
	peer, err := w.db.AccountByName(t.Name)
	if err != nil {
		return store.Receipt{}, err
	}
	info, _, err := w.db.Open(ctx, store.PairKey(id.Account, peer.ID), store.Creation{Members: []store.Member{
		{Account: id.Account, Role: store.RoleMember}, {Account: peer.ID, Role: store.RoleMember}}})
	if err != nil {
		return store.Receipt{}, err
	}
	r, err := w.db.Append(store.Draft{Log: info.ID, Sender: id.Account, Device: id.Device, CID: t.CID, Kind: c.Kind, Audience: w.audience, Text: c.Text, Extra: c.Extra}).Result()
	if err == nil && w.afterErr != nil {
		return store.Receipt{}, w.afterErr
	}
	return r, err
}

// maySeePost lets accounts with even numbers see posts.
func (w *world) maySeePost(me store.AccountID, _ store.LogInfo, _ *store.Record) (bool, error) {
	return me%2 == 0, nil
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) user(name string) hooks.Identity {
	w.t.Helper()
	if w.accounts[name] == 0 {
		a, err := w.db.CreateAccount(w.t.Context(), store.Account{Name: name})
		w.must(err)
		w.accounts[name] = a.ID
	}
	return hooks.Identity{Account: w.accounts[name], Name: name}
}

// channel makes a channel with an owner "<name>-owner", an editor "<name>-editor" and a publisher "<name>-clerk".
func (w *world) brand(name string) store.LogID {
	w.t.Helper()
	members := []store.Member{
		{Account: w.user(name + "-owner").Account, Role: store.RoleOwner}, {Account: w.user(name + "-editor").Account, Role: store.RoleModerator},
		{Account: w.user(name + "-clerk").Account, Role: store.RoleMember},
	}
	info, _, err := w.db.Open(w.t.Context(), store.ChannelKey(name), store.Creation{Members: members})
	w.must(err)
	ads, _, err := w.db.Open(w.t.Context(), store.AdsKey(name), store.Creation{Members: members})
	w.must(err)
	w.must(w.graph.SetChannel(w.t.Context(), info.ID, func(c *graph.Channel) error {
		c.Title, c.Created, c.Approved, c.Ads = name, w.now().UnixMilli(), w.now().UnixMilli(), ads.ID
		return nil
	}))
	w.channels[name] = info.ID
	return info.ID
}

func (w *world) follow(channel string, users ...string) {
	w.t.Helper()
	for _, u := range users {
		w.must(w.graph.SetFollow(w.t.Context(), w.user(u).Account, w.channels[channel], func(f *graph.Follow) error {
			f.Since = w.now().UnixMilli()
			return nil
		}))
	}
}

// campaign makes a campaign of the channel that lasts ten days, unless change says otherwise.
func (w *world) make(channel, id string, change ...func(*Campaign)) *Campaign {
	w.t.Helper()
	c := Campaign{ID: id, Title: "free coffee", Note: "one cup", Until: w.now().Add(10 * day).UnixMilli()}
	for _, f := range change {
		f(&c)
	}
	out, err := w.Create(w.t.Context(), w.user(channel+"-editor").Account, channel, c)
	w.must(err)
	return out
}

func (w *world) show(user, channel, campaign string) Mine {
	w.t.Helper()
	m, err := w.Show(w.user(user).Account, channel, campaign, PostRef{})
	w.must(err)
	return m
}

// code is what a user shows, which must be there.
func (w *world) code(user, channel, campaign string) string {
	w.t.Helper()
	m := w.show(user, channel, campaign)
	if m.Status != Ready || len(m.Code) != codeLen {
		w.t.Fatalf("%s has %+v", user, m)
	}
	return m.Code
}

func (w *world) redeem(channel, code, rid string) Answer {
	w.t.Helper()
	r, err := w.Redeem(w.t.Context(), w.till(channel, 1), Presented{Channel: channel, Code: code, Request: rid})
	w.must(err)
	if (r.Campaign == nil) != (r.Answer == Unknown) {
		w.t.Fatalf("%s with the campaign %v", r.Answer, r.Campaign)
	}
	return r.Answer
}

// till is a shop's key that the clerk has made.
func (w *world) till(channel string, n byte) hooks.Identity {
	id := w.user(channel + "-clerk")
	id.Token, id.Scopes = [32]byte{n}, []string{hooks.KeyScope(hooks.ScopeRedeem, channel)}
	return id
}

// rows are how many rows the coupons have, without campaigns.
func (w *world) rows() (n int) {
	w.t.Helper()
	for _, table := range []store.Table{tableCoupon, tableCount, tableSent, tableGift} {
		rows, err := w.db.AllRows(table, "", "", 0)
		w.must(err)
		n += len(rows)
	}
	return n
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantCode(t testing.TB, what string, err error, code store.Code) {
	t.Helper()
	if store.CodeOf(err) != code {
		t.Errorf("%s: %v, want code %d", what, err, code)
	}
}

// holds reports whether any of the rows' bytes hold a text.
func (w *world) holds(text string) bool {
	w.t.Helper()
	for _, table := range []store.Table{tableCampaign, tableCoupon, tableCount, tableSent, tableGift} {
		rows, err := w.db.AllRows(table, "", "", 0)
		w.must(err)
		for _, r := range rows {
			if bytes.Contains(r.Value, []byte(text)) || bytes.Contains([]byte(r.Key), []byte(text)) {
				return true
			}
		}
	}
	return false
}

func suspend(on bool) func(*graph.Channel) error {
	return func(c *graph.Channel) error {
		c.Suspended = 0
		if on {
			c.Suspended = 1
		}
		return nil
	}
}
