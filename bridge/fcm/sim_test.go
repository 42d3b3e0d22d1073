package fcm

import (
	"context"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store"
)

// expiring is a context whose deadline is when a test says so.
type expiring struct {
	context.Context
	at chan struct{}
}

func (c expiring) Done() <-chan struct{} { return c.at }

func (c expiring) Err() error {
	select {
	case <-c.at:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// TestSimulator speaks to the simulator, which was written without looking at this package: keys, tokens, form and answers
// are what both have read in Google's pages.
func TestSimulator(t *testing.T) {
	dir := t.TempDir()
	files, err := pushsim.Init(dir, pushsim.InitOptions{Listen: pushsim.FreePorts()})
	if err != nil {
		t.Fatal(err)
	}
	sim, err := pushsim.Start(pushsim.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	p, err := New(Config{Credentials: files.FCMCredentials, URL: sim.FCMURL(), CA: sim.CA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })

	device := func(s pushsim.State) {
		t.Helper()
		if err := sim.SetDevice(pushsim.Device{Provider: pushsim.FCM, Token: ring().To.Token, State: s}); err != nil {
			t.Fatal(err)
		}
	}
	seq := store.Seq(100)
	send := func(hangs bool) (push.Answer, pushsim.Attempt) {
		t.Helper()
		m := ring()
		seq++
		m.Note.Seq = seq
		after := sim.Last()
		ctx := t.Context()
		if hangs { // until it has arrived
			c := expiring{ctx, make(chan struct{})}
			go func() {
				defer close(c.at)
				if _, err := sim.WaitAfter(t.Context(), after, func(e pushsim.Attempt) bool { return e.PushType != "oauth" }); err != nil {
					t.Error(err)
				}
			}()
			ctx = c
		}
		a := p.Send(ctx, m)
		list, err := sim.After(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		var last pushsim.Attempt
		n := 0
		for _, e := range list {
			if e.PushType != "oauth" {
				last = e
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d requests of one Send", n)
		}
		return a, last
	}

	device(pushsim.Online)
	a, at := send(false)
	if a.Outcome != push.Delivered || at.Status != 200 || at.Token != ring().To.Token || at.Collapse != "" || at.Priority != 10 || !at.Rang || at.Effect != pushsim.Shown {
		t.Errorf("%+v, %+v", a, at)
	}
	phone, ok := sim.Phone(ring().To.Token)
	if !ok || phone.Badge != 9 || len(phone.Notifications) != 1 {
		t.Errorf("%+v", phone)
	}

	for state, want := range map[pushsim.State]push.Outcome{
		pushsim.Offline: push.Delivered, pushsim.Unregistered: push.Gone, pushsim.Bad: push.Suspect, pushsim.WrongSender: push.Suspect, pushsim.Busy: push.DeviceBusy,
	} {
		device(state)
		if a, at := send(false); a.Outcome != want || at.Status != a.Status {
			t.Errorf("%s: %+v, %+v", state, a, at)
		}
	}
	device(pushsim.Online)

	for _, c := range []struct {
		name   string
		do     pushsim.Do
		want   push.Outcome
		reason string
		after  time.Duration
	}{
		{"quota", pushsim.Do{Reason: "QUOTA_EXCEEDED", RetryAfter: 17 * time.Second}, push.Busy, "QUOTA_EXCEEDED", 17 * time.Second},
		{"argument", pushsim.Do{Reason: "INVALID_ARGUMENT"}, push.Rejected, "INVALID_ARGUMENT", 0},
		{"sender", pushsim.Do{Reason: "SENDER_ID_MISMATCH"}, push.Suspect, "SENDER_ID_MISMATCH", 0},
		{"internal", pushsim.Do{Reason: "INTERNAL"}, push.Unavailable, "INTERNAL", 0},
		{"third party", pushsim.Do{Reason: "THIRD_PARTY_AUTH_ERROR"}, push.Denied, "THIRD_PARTY_AUTH_ERROR", 0},
		{"permission", pushsim.Do{Reason: "PERMISSION_DENIED"}, push.Denied, "PERMISSION_DENIED", 0},
		{"503 in HTML", pushsim.Do{Status: 503, Body: "<html>Error 503</html>", RetryAfter: 3 * time.Second}, push.Unavailable, "", 3 * time.Second},
		{"503, and delivered", pushsim.Do{Status: 503, Deliver: true}, push.Unavailable, "", 0},
		{"hang", pushsim.Do{Hang: true}, push.Unknown, "timeout", 0},
		{"hang, and delivered", pushsim.Do{Hang: true, Deliver: true}, push.Unknown, "timeout", 0},
		{"reset", pushsim.Do{Reset: "INTERNAL_ERROR"}, push.Unknown, "connection", 0},
		{"close", pushsim.Do{Close: true}, push.Unknown, "connection", 0},
		{"expired", pushsim.Do{ExpireTokens: true}, push.Expired, "UNAUTHENTICATED", 0},
	} {
		id, err := sim.Add(pushsim.Fault{Provider: pushsim.FCM, Name: c.name, Times: 1, Do: c.do})
		if err != nil {
			t.Fatal(err)
		}
		a, _ := send(c.do.Hang)
		if a.Outcome != c.want || c.reason != "" && a.Reason != c.reason || a.RetryAfter != c.after {
			t.Errorf("%s: %+v, want %v %q after %v", c.name, a, c.want, c.reason, c.after)
		}
		if a.Outcome == push.Expired {
			p.Refresh()
		}
		if a, _ := send(false); a.Outcome != push.Delivered {
			t.Errorf("after %s: %+v", c.name, a)
		}
		sim.Clear(id)
	}

	// What the server refuses to process is replayed by the connection, on this one or another; it is one push.
	for name, do := range map[string]pushsim.Do{"refused": {Reset: "REFUSED_STREAM"}, "going away": {GoAway: pushsim.GoAwayBelow}} {
		id, err := sim.Add(pushsim.Fault{Provider: pushsim.FCM, Name: name, Nth: 1, Do: do})
		if err != nil {
			t.Fatal(err)
		}
		if a := p.Send(t.Context(), ring()); a.Outcome != push.Delivered {
			t.Errorf("%s: %+v", name, a)
		}
		sim.Clear(id)
	}

	id, err := sim.Add(pushsim.Fault{Provider: pushsim.FCM, PushType: "oauth", Do: pushsim.Do{Status: 400, Reason: "invalid_grant"}})
	if err != nil {
		t.Fatal(err)
	}
	p.accounts.Get().tokens.current = nil
	if a := p.Send(t.Context(), ring()); a.Outcome != push.Denied || a.Reason != "token_invalid_grant" {
		t.Errorf("no grant: %+v", a)
	}
	sim.Clear(id)
	if a := p.Send(t.Context(), ring()); a.Outcome != push.Delivered {
		t.Errorf("granted: %+v", a)
	}
}
