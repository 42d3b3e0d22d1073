package api

import (
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/store/graph"
)

// shut is a lane that takes nothing: announcements stay where they are.
type shut struct{}

func (shut) Submit(lane.Job) (time.Time, bool) { return time.Now().Add(time.Hour), false }

func TestAnnouncements(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		st := c.Broker.Store()
		g := c.Broker.Access().Relations()
		b, err := bulk.New(bulk.Config{Store: st, Graph: g, Lanes: map[graph.PushProvider]bulk.Lane{graph.FCM: shut{}},
			Sources: map[string]bulk.Source{bridge.SourceAnnouncements: bridge.NewAnnouncements(st, g, nil)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		c.Push = &Pushes{Providers: graph.PushProviders(), Announce: b}
	})
	w.users("alice")
	alice, err := w.store.AccountByName("alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.broker.Access().Relations().Register(t.Context(), alice.ID, graph.Registration{Device: 1, Provider: graph.FCM, Token: "x"}); err != nil {
		t.Fatal(err)
	}
	w.as("alice", 404, "push.announce", obj{"id": "a", "text": obj{"en": "x"}}) // no operation of users
	for name, in := range map[string]obj{
		"no id":      {"text": obj{"en": "x"}},
		"bad id":     {"id": "a b", "text": obj{"en": "x"}},
		"no text":    {"id": "a"},
		"no English": {"id": "a", "text": obj{"ko": "x", "ja": "y"}},
		"too long":   {"id": "a", "text": obj{"en": "x"}, "hours": 673},
		"backwards":  {"id": "a", "text": obj{"en": "x"}, "hours": -1},
	} {
		if r := w.op(400, "push.announce", in); r["error"] == nil {
			t.Errorf("%s: %v", name, r)
		}
	}
	r := w.op(200, "push.announce", obj{"id": "a", "text": obj{"en": "x"}, "hours": 2})
	want(t, "began", say(r["new"], r["announcement"].(obj)["state"]), "true running")
	r = w.op(200, "push.announce", obj{"id": "a", "text": obj{"en": "y"}})
	want(t, "again", say(r["new"], r["announcement"].(obj)["state"]), "<nil> running")
	set := func(code int, state, expected string) {
		t.Helper()
		r := w.op(code, "push.announcement.set", obj{"id": "a", "state": state})
		if code == 200 {
			want(t, state, r["announcement"].(obj)["state"], expected)
		}
	}
	set(200, "paused", "paused")
	set(200, "running", "running")
	set(400, "done", "")
	set(200, "canceled", "canceled")
	set(409, "running", "")
	w.op(404, "push.announcement.set", obj{"id": "b", "state": "paused"})
	list := w.op(200, "push.announcements", nil)["announcements"].([]any)
	want(t, "list", len(list), 1)
	want(t, "canceled", list[0].(obj)["state"], string(bulk.Canceled))
}

func TestNoPushesNoAnnouncements(t *testing.T) {
	w := newWorld(t)
	r := w.op(403, "push.announce", obj{"id": "a", "text": obj{"en": "x"}})
	want(t, "refused", r["error"], wordNoPushes)
}
