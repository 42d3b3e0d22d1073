package api

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// passes moves the clock and does what is due then.
func (w *world) passes(d time.Duration) {
	w.t.Helper()
	w.ticks.Add(d.Milliseconds())
	w.api.endStandings(w.t.Context())
}

// told is what a user's devices were told, as texts of the records.
func (w *world) told(user string) (out []string) {
	w.t.Helper()
	for _, r := range w.records(store.NoticeKey(w.account(user).ID)) {
		out = append(out, string(r.Text))
	}
	return out
}

// A suspension ends sessions at once, says why, lets nothing through but the question and one appeal, and ends in time.
func TestSuspend(t *testing.T) {
	w := newClockedWorld(t)
	w.users("alice", "bob")
	w.op(400, "account.suspend", obj{"account": "alice"}) // why?
	w.op(400, "account.suspend", obj{"account": "alice", "reason": "spam", "until": "tomorrow"})
	w.op(400, "account.suspend", obj{"account": "alice", "reason": "spam", "until": "2001-01-01T00:00:00Z"})
	w.op(400, "account.suspend", obj{"account": "alice", "reason": "spam", "for": -1})
	w.op(400, "account.suspend", obj{"account": "alice", "reason": "spam", "for": 60, "until": "2099-01-01T00:00:00Z"})
	w.op(400, "account.suspend", obj{"account": "alice", "reason": "call 010-1234-5678"})
	w.op(400, "account.suspend", obj{"account": "alice", "reason": "Alice sends spam"})
	w.op(404, "account.suspend", obj{"account": "nobody", "reason": "spam"})
	w.as("alice", 409, "account.appeal", obj{"text": "against nothing"})

	l := w.connect("alice", "phone")
	r := w.op(200, "account.suspend", obj{"account": "alice", "reason": "spam to strangers", "for": 3600})
	want(t, "state", r["state"], "suspended")
	<-l.closed
	if !errors.Is(l.why, hooks.ErrSuspended) {
		t.Fatalf("the connection ended with %v", l.why)
	}
	w.as("alice", 403, "account.me", nil)
	want(t, "over MQTT", w.mqtt("alice", "phone", "account.me", "1", "")["error"], "suspended")
	s := w.as("alice", 200, "account.standing", nil)
	want(t, "standing", say(s["state"], s["reason"], s["until"] != nil, s["appealed"]), "suspended spam to strangers true <nil>")
	w.as("alice", 400, "account.appeal", obj{"text": " "})
	w.as("alice", 413, "account.appeal", obj{"text": strings.Repeat("x", 501)})
	w.as("alice", 200, "account.appeal", obj{"text": "it was my cat"})
	w.as("alice", 409, "account.appeal", obj{"text": "again"})
	want(t, "appealed", w.as("alice", 200, "account.standing", nil)["appealed"], true)
	q := w.op(200, "report.list", nil)["reports"].([]any)
	want(t, "queue", say(len(q), q[0].(obj)["kind"], q[0].(obj)["account"], q[0].(obj)["standing"]), "1 appeal alice suspended")
	want(t, "appeal", w.op(200, "report.get", obj{"report": q[0].(obj)["id"]})["text"], "it was my cat")

	w.passes(time.Hour - time.Minute)
	w.as("alice", 403, "account.me", nil)
	w.passes(time.Minute)
	w.as("alice", 200, "account.me", nil)
	want(t, "standing", w.as("alice", 200, "account.standing", nil)["state"], "ok")
	n := w.told("alice")
	if len(n) != 2 || !strings.HasPrefix(n[0], "spam to strangers · → 20") || n[1] != "" {
		t.Errorf("notices %q", n)
	}
	// A later decision takes the place of an earlier one, whose end does not come any more.
	w.op(200, "account.limit", obj{"account": "alice", "reason": "spam", "for": 60})
	w.op(200, "account.suspend", obj{"account": "alice", "reason": "fraud"})
	w.passes(time.Hour)
	w.as("alice", 403, "account.me", nil)
	w.op(200, "account.restore", obj{"account": "alice", "reason": "a mistake"})
	w.as("alice", 200, "account.me", nil)
	w.as("bob", 200, "account.me", nil)

	// What was decided holds after a restart, and ends then.
	w.op(200, "account.suspend", obj{"account": "bob", "reason": "spam", "for": 7200})
	w.stop()
	w.start(func(c *Config) { c.Now = w.now })
	w.as("bob", 403, "account.me", nil)
	w.passes(2 * time.Hour)
	w.as("bob", 200, "account.me", nil)
	// A server that died after the standing was written: the next one finishes it.
	w.op(200, "account.suspend", obj{"account": "bob", "reason": "spam", "for": 7200})
	u := w.account("bob")
	u.State = store.AccountOK
	if err := w.store.SetAccount(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if err := w.api.settleStanding(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	w.as("bob", 403, "account.me", nil)
}
