package bridge

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// doubleProvider answers what it is told to.
type doubleProvider struct {
	mu     sync.Mutex
	answer push.Answer
	got    []*push.Push
}

func (p *doubleProvider) Send(_ context.Context, n *push.Push) push.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, n)
	return p.answer
}

func (p *doubleProvider) Refresh()     {}
func (p *doubleProvider) Close() error { return nil }

func (p *doubleProvider) says(o push.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = push.Answer{Outcome: o}
}

func (p *doubleProvider) taken() []*push.Push {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

// whole starts a bridge with its real rules and lanes.
func (w *world) whole(reg prometheus.Registerer) *doubleProvider {
	w.t.Helper()
	p := &doubleProvider{answer: push.Answer{Outcome: push.Delivered, Status: 200}}
	var err error
	w.b, err = New(Config{Store: w.store, Access: hooks.NewAccess(w.store, hooks.AccessConfig{}), Live: w.live, Registerer: reg,
		Providers: map[graph.PushProvider]push.Provider{graph.APNs: p}})
	w.ok(err)
	return p
}

// TestWhole: a message rings, more are told in one push after it, and reading clears the phone.
func TestWhole(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		reg := prometheus.NewRegistry()
		p := w.whole(reg)
		if w.b.Lane(graph.APNs) == nil || w.b.Lane(graph.FCM) != nil {
			t.Fatal("the lanes are not those of the providers")
		}
		alice, bob, log := two(w)
		w.say(log, alice)
		got := p.taken()
		if len(got) != 1 || got[0].Note.Kind != push.KindMessage || got[0].Note.Seq != 1 || got[0].Note.Badge != 1 || got[0].Note.Silent {
			t.Fatalf("pushes: %+v", got)
		}
		for range 20 {
			w.say(log, alice)
		}
		time.Sleep(4 * time.Second)
		got = p.taken()
		if len(got) != 1 || got[0].Note.Kind != push.KindMessages || got[0].Note.Count != 21 || !got[0].Note.Silent {
			t.Fatalf("pushes: %+v", got)
		}
		w.read(log, bob, 21)
		got = p.taken()
		if len(got) != 1 || got[0].Note.Kind != push.KindClear || got[0].Note.Badge != 0 {
			t.Fatalf("pushes: %+v", got)
		}
		w.nothingWaits()
		why, err := w.b.Why(t.Context(), bob, log, 5)
		if err != nil || len(why) != 2 || why[0].Reason != ReasonWindow || why[0].Until.IsZero() ||
			why[1].Reason != ReasonUpdate || why[1].Answer == nil || why[1].Push == (push.ID{}) {
			t.Errorf("why: %+v, %v", why, err)
		}
		families, err := reg.Gather()
		w.ok(err)
		for _, want := range []string{"hwangso_push_decisions_total", "hwangso_push_results_total", "hwangso_push_queue_age_seconds",
			"hwangso_push_delay_seconds", "hwangso_push_rings", "hwangso_push_rows_due", "hwangso_push_reader_lag_bytes",
			"hwangso_push_reader_unsettled_entries", "hwangso_push_reader_entries_total"} {
			found := false
			for _, f := range families {
				found = found || f.GetName() == want && len(f.Metric) > 0
			}
			if !found {
				t.Errorf("there is no metric %s", want)
			}
		}
	})
}

// TestThousand: a thousand messages of a minute are told with five pushes at most, of which the last has all of them.
func TestThousand(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := w.whole(nil)
		alice, _, log := two(w)
		for range 1000 {
			w.say(log, alice)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		got := p.taken()
		if n := len(got); n < 2 || n > 5 || got[n-1].Note.Count != 1000 || got[n-1].Note.Seq != 1000 {
			for _, p := range got {
				t.Logf("%s %d×%d", p.Note.Kind, p.Note.Seq, p.Note.Count)
			}
			t.Errorf("%d pushes", n)
		}
		w.nothingWaits()
	})
}

// TestOutage: while the provider is down there is one row for each conversation and device; what is fresh enough afterwards
// is told by itself, the rest in one summary for each device.
func TestOutage(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		p := w.whole(nil)
		p.says(push.Unavailable)
		bob := w.account("bob")
		w.register(bob, 7)
		w.register(bob, 8)
		var logs []store.LogID
		for i := range 12 {
			a := w.account("u" + string(rune('a'+i)))
			logs = append(logs, w.pair(a, bob))
			if i == 9 {
				time.Sleep(100 * time.Minute) // nine conversations are too old afterwards
			}
			for range 50 {
				w.say(logs[i], a)
			}
		}
		w.nothingWaits()
		rows, err := w.store.Rows(tableRing, store.OwnerOf(bob), "", "", 0)
		w.ok(err)
		if len(rows) > 2*(12+1) {
			t.Errorf("%d rows", len(rows))
		}
		p.taken()
		p.says(push.Delivered)
		time.Sleep(10 * time.Minute)
		kinds := map[push.Kind]int{}
		for _, n := range p.taken() {
			kinds[n.Note.Kind]++
		}
		if kinds[push.KindSummary] != 2 || kinds[push.KindMessages] != 6 || kinds[push.KindMessage] != 0 {
			t.Errorf("pushes after the outage: %v", kinds)
		}
		w.nothingWaits()
		if n := w.b.rowsDue.Load(); n != 0 {
			t.Errorf("%d rows are due", n)
		}
	})
}
