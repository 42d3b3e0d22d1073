package bridge

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// together runs a test with the engine and the rules, over a lane that takes everything.
func together(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		defer w.close()
		cfg := Config{Store: w.store, Access: hooks.NewAccess(w.store, hooks.AccessConfig{}), Live: w.live,
			Providers: map[graph.PushProvider]push.Provider{graph.APNs: nobody{}}}
		cfg.setDefaults()
		var err error
		w.b, err = start(cfg, func(b *Bridge) judge { return b }, map[graph.PushProvider]carrier{graph.APNs: w.lane}, w.limit)
		w.ok(err)
		test(t, w)
	})
}

// taken are the pushes that the lane took since the last time.
func (w *world) taken() []*push.Push {
	synctest.Wait()
	w.lane.mu.Lock()
	defer w.lane.mu.Unlock()
	got := w.lane.pushes
	w.lane.pushes = nil
	return got
}

// TestTogetherBurst: a thousand messages in a room, at once or within a minute, are five pushes at most for each phone, of
// which the first alone makes a sound and the last has the count. What is read is taken away, and the next message sounds.
func TestTogetherBurst(t *testing.T) {
	for _, lasts := range []time.Duration{0, 20 * time.Second, time.Minute} {
		t.Run(fmt.Sprint(lasts), func(t *testing.T) {
			together(t, func(t *testing.T, w *world) {
				alice, bob := w.account("alice"), w.account("bob")
				w.register(bob, 7)
				room := w.room("lobby", alice, bob)
				for range 1000 {
					w.say(room, alice)
					time.Sleep(lasts / 1000)
				}
				time.Sleep(3 * time.Minute)
				got := w.taken()
				if n := len(got); n == 0 || n > 5 || got[n-1].Note.Count != 1000 || got[n-1].Note.Badge != 1000 {
					t.Fatalf("%d pushes", n)
				}
				for i, p := range got {
					if p.Note.Silent != (i > 0) {
						t.Errorf("push %d, silent %t", i, p.Note.Silent)
					}
				}
				w.nothingWaits()
				w.read(room, bob, 990)
				time.Sleep(time.Minute)
				if got = w.taken(); len(got) != 1 || got[0].Note.Count != 10 || !got[0].Note.Silent {
					t.Errorf("read in part: %d pushes", len(got))
				}
				w.read(room, bob, 1000)
				time.Sleep(time.Minute)
				if got = w.taken(); len(got) != 1 || got[0].Note.Kind != push.KindClear || got[0].Note.Badge != 0 {
					t.Errorf("read: %d pushes", len(got))
				}
				w.say(room, alice)
				if got = w.taken(); len(got) != 1 || got[0].Note.Silent || got[0].Note.Count != 1 || got[0].Note.Kind != push.KindMessage {
					t.Errorf("the next one: %d pushes", len(got))
				}
				time.Sleep(time.Hour)
				if got = w.taken(); len(got) != 0 {
					t.Errorf("an hour later: %d pushes", len(got))
				}
				w.nothingWaits()
			})
		})
	}
}

// TestTogether: each reason not to ring, from the journal to the lane.
func TestTogether(t *testing.T) {
	together(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		alice, bob, log := two(w)
		kinds := func(what string, want ...push.Kind) []*push.Push {
			t.Helper()
			time.Sleep(2 * time.Minute)
			got := w.taken()
			var is []push.Kind
			for _, p := range got {
				if p.To.Device == 7 {
					is = append(is, p.Note.Kind)
				}
			}
			if !slices.Equal(is, want) {
				t.Fatalf("%s: %v, want %v", what, is, want)
			}
			return got
		}
		seq := w.say(log, alice)
		kinds("away", push.KindMessage)
		w.recall(log, alice, seq)
		if got := kinds("recalled", push.KindMessage); got[0].Note.Key != push.KeyRecalled || !got[0].Note.Silent {
			t.Errorf("recalled: %+v", got[0].Note)
		}
		w.read(log, bob, seq+1)
		kinds("read", push.KindClear)
		_, err := w.graph.SetMute(ctx, bob, log, &graph.Mute{})
		w.ok(err)
		w.say(log, alice)
		kinds("muted")
		_, err = w.graph.SetMute(ctx, bob, log, nil)
		w.ok(err)
		// Quiet for the next hour: one summary afterwards.
		now := time.Now().UTC()
		from := now.Hour()*60 + now.Minute()
		_, err = w.graph.SetQuiet(ctx, bob, graph.Quiet{Zone: "UTC", From: from, To: from%1440 + 60})
		w.ok(err)
		for range 3 {
			w.say(log, alice)
		}
		kinds("quiet")
		time.Sleep(time.Hour)
		if got := kinds("afterwards", push.KindSummary); got[0].Note.Count != 4 {
			t.Errorf("%+v", got[0].Note)
		}
		info, err := w.store.Info(log)
		w.ok(err)
		w.read(log, bob, info.Head)
		if got := kinds("the summary read", push.KindClear); got[0].Note.Badge != 0 {
			t.Errorf("%+v", got[0].Note)
		}
		w.say(log, bob)
		kinds("own")

		// A request rings once a day.
		for i, want := range [][]push.Kind{{push.KindRequests}, nil} {
			eve := w.account(fmt.Sprint("eve", i))
			info, _, err := w.store.Open(ctx, store.PairKey(eve, bob), store.Creation{By: eve, Members: []store.Member{{Account: eve, Role: store.RoleMember}}})
			w.ok(err)
			_, err = w.store.Append(store.Draft{Log: info.ID, Sender: eve, Audience: store.AudienceRequest, Text: []byte("buy")}).Result()
			w.ok(err)
			kinds("a request", want...)
		}
		w.nothingWaits()
	})
}
