package bridge

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// town is a real store with people in it, and the rules over it, without the engine: a test says what a ring's state is.
type town struct {
	*Bridge
	t    testing.TB
	s    *counting
	live *townLive
	mu   sync.Mutex // guards the writing of at: the store asks it at any time
	at   time.Time
}

// pass moves the clock.
func (w *town) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// counting counts what is read of the log.
type counting struct {
	*bolt.Store
	reads int
}

func (c *counting) Read(q store.Query) (store.Page, error) {
	c.reads++
	return c.Store.Read(q)
}

// townLive is a Live that a test sets, the same for every device but for what it has acknowledged.
type townLive struct {
	connected, overdue, background bool
	acked                          map[key]store.Cursor
	active                         time.Time
}

func (l *townLive) Link(store.AccountID, store.DeviceID) (connected, overdue, background bool) {
	return l.connected, l.overdue, l.background
}

func (l *townLive) Acked(a store.AccountID, d store.DeviceID, log store.LogID) (store.Cursor, error) {
	return l.acked[key{a, d, log}], nil
}

func (l *townLive) Active(store.AccountID, store.DeviceID) time.Time { return l.active }

// nobody carries nothing.
type nobody struct{}

func (nobody) Send(context.Context, *push.Push) push.Answer { return push.Answer{} }
func (nobody) Refresh()                                     {}
func (nobody) Close() error                                 { return nil }

const phone1 store.DeviceID = 11

func newTown(t testing.TB) *town {
	t.Helper()
	w := &town{t: t, at: noon, live: &townLive{acked: map[key]store.Cursor{}}}
	now := func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.at
	}
	s, err := bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1, Now: now})
	w.ok(err)
	t.Cleanup(func() { w.ok(s.Close()) })
	w.s = &counting{Store: s}
	access := hooks.NewAccess(w.s, hooks.AccessConfig{Now: now})
	cfg := Config{Store: w.s, Access: access, Live: w.live, Providers: map[graph.PushProvider]push.Provider{graph.APNs: nobody{}}, Now: now}
	cfg.setDefaults()
	w.Bridge = &Bridge{cfg: cfg, store: w.s, access: access, graph: graph.New(w.s, now), live: w.live, log: slog.New(slog.DiscardHandler), now: now}
	return w
}

func (w *town) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// person makes an account with a phone.
func (w *town) person(name, shown, language string) store.AccountID {
	w.t.Helper()
	a, err := w.s.CreateAccount(w.t.Context(), store.Account{Name: name, Display: shown, Language: language})
	w.ok(err)
	w.ok(w.s.PutDevice(w.t.Context(), store.Device{Account: a.ID, ID: phone1, ClientID: "phone"}, 0))
	_, err = w.graph.Register(w.t.Context(), a.ID, graph.Registration{Device: phone1, Provider: graph.APNs, Token: "token of " + name})
	w.ok(err)
	return a.ID
}

func (w *town) open(k store.Key, title string, who ...store.AccountID) store.LogID {
	w.t.Helper()
	c := store.Creation{By: who[0], Title: title}
	for _, a := range who {
		c.Members = append(c.Members, store.Member{Account: a, Role: store.RoleMember})
	}
	info, _, err := w.s.Open(w.t.Context(), k, c)
	w.ok(err)
	return info.ID
}

func (w *town) say(log store.LogID, who store.AccountID, text string, change ...func(*store.Draft)) store.Seq {
	w.t.Helper()
	d := store.Draft{Log: log, Sender: who, Text: []byte(text)}
	for _, c := range change {
		c(&d)
	}
	r, err := w.s.Append(d).Result()
	w.ok(err)
	return r.Seq
}

func (w *town) read(log store.LogID, who store.AccountID, seq store.Seq) {
	w.t.Helper()
	_, err := w.s.SetMark(store.Mark{Log: log, Account: who, Seq: seq}).Result()
	w.ok(err)
}

func (w *town) recall(log store.LogID, who store.AccountID, seq store.Seq) store.Seq {
	w.t.Helper()
	return w.say(log, who, "", func(d *store.Draft) { d.Op = store.Op{Kind: store.OpRecall, Target: seq} })
}

// follow gives noted everything of the journal from a position on.
func (w *town) follow(from store.Position) store.Position {
	w.t.Helper()
	for _, end := w.s.Bounds(); from < end; {
		batch, err := w.s.Follow(w.t.Context(), from)
		w.ok(err)
		for i := range batch.Entries {
			w.noted(&batch.Entries[i])
		}
		from = batch.Next
	}
	return from
}

// waiting is the state of a ring for which a message came a second ago.
func (w *town) waiting(seq store.Seq) *state {
	return &state{First: seq, Last: seq, Done: seq - 1, Time: w.at.Add(-time.Second).UnixMilli()}
}

func (w *town) ask(a store.AccountID, log store.LogID, st *state) verdict {
	w.t.Helper()
	v, err := w.assess(w.t.Context(), key{a, phone1, log}, st, w.at)
	w.ok(err)
	return v
}

// shown is a state after the phone took a push.
func (w *town) took(st *state, v verdict) *state {
	out := &state{Done: v.upto, Shown: v.shown, Count: v.count, Rang: w.at.UnixMilli(), Began: st.Began, Window: st.Window + 1}
	if v.begins {
		out.Began, out.Window = w.at.UnixMilli(), 1
	}
	return out
}

// pushed is what the phone is sent.
func (w *town) pushed(a store.AccountID, log store.LogID, st *state, v verdict) *push.Push {
	w.t.Helper()
	r, err := w.graph.Registration(a, phone1)
	w.ok(err)
	p, err := w.compose(w.t.Context(), key{a, phone1, log}, st, v, r, w.at)
	w.ok(err)
	return p
}
