package apns

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store"
)

// simulated starts Apple on loopback, and a client that is set up with the files that the simulator makes.
func simulated(t *testing.T) (*pushsim.Sim, *Client) {
	t.Helper()
	dir := t.TempDir()
	files, err := pushsim.Init(dir, pushsim.InitOptions{Listen: pushsim.FreePorts()})
	if err != nil {
		t.Fatal(err)
	}
	sim, err := pushsim.Start(pushsim.Config{Dir: dir, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim, open(t, Config{
		KeyFile: files.APNsKey, KeyID: files.KeyID, TeamID: files.Team, Topic: files.Topic,
		URL: sim.APNsURL(), SandboxURL: sim.SandboxURL(), CA: sim.CA(),
	})
}

// TestSimulated carries a conversation to a phone: a message, its replacement, a summary and a clear.
func TestSimulated(t *testing.T) {
	sim, c := simulated(t)
	send := func(change func(*push.Push)) {
		t.Helper()
		p := testPush()
		change(p)
		p.ID = push.NewID(7, 8, p.Note.Seq, p.Note.Kind)
		if a := c.Send(testContext(t), p); a.Outcome != push.Delivered {
			t.Fatalf("%+v", a)
		}
	}
	phone := func(what string, f func(pushsim.Phone) bool) {
		t.Helper()
		if p, ok := sim.Phone(testToken); !ok || !f(p) {
			t.Errorf("%s: %+v", what, p)
		}
	}
	send(func(*push.Push) {})
	phone("a message", func(p pushsim.Phone) bool {
		n := p.Notifications
		return p.Rang == 1 && p.Badge == 4 && len(n) == 1 && n[0].Key == "push_text" && n[0].Args[1] == "hello" && n[0].Seq == 9 && n[0].Room == "room/lobby"
	})
	send(func(p *push.Push) {
		p.Note.Seq, p.Note.Count, p.Note.Silent, p.Note.Kind = 12, 4, true, push.KindMessages
	})
	phone("its replacement", func(p pushsim.Phone) bool {
		return p.Rang == 1 && p.Replaced == 1 && len(p.Notifications) == 1 && p.Notifications[0].Count == 4
	})
	send(func(p *push.Push) {
		p.Class, p.Collapse, p.Note = push.Clear, "", push.Note{Kind: push.KindClear, Thread: "feed", Seq: 12, Badge: 0}
	})
	phone("a clear", func(p pushsim.Phone) bool {
		return p.Rang == 1 && p.Cleared == 1 && len(p.Notifications) == 0 && p.Badge == 0
	})
	send(func(p *push.Push) {
		p.Note.Args[1] = strings.Repeat("가나다라 👨‍👩‍👧‍👦 ", 400)
		p.Note.Seq = 13
	})
	phone("4 KB of Hangul", func(p pushsim.Phone) bool {
		return len(p.Notifications) == 1 && strings.HasSuffix(p.Notifications[0].Args[1], "…")
	})
	for _, a := range sim.Attempts() {
		if a.Size > 4096 || a.Credential != 1 || a.Conn != sim.Attempts()[0].Conn {
			t.Errorf("attempt %d: %d bytes, provider token %d, connection %d", a.N, a.Size, a.Credential, a.Conn)
		}
	}
}

// TestSimulatedFaults is every row of the table of answers, over the wire: each push is tried once, and delivered after
// what HTTP/2 says was not processed.
func TestSimulatedFaults(t *testing.T) {
	do := func(d pushsim.Do) func(*pushsim.Sim) error {
		return func(s *pushsim.Sim) error {
			_, err := s.Add(pushsim.Fault{Times: 1, Do: d})
			return err
		}
	}
	device := func(d pushsim.Device) func(*pushsim.Sim) error {
		return func(s *pushsim.Sim) error {
			d.Provider, d.Token = pushsim.APNs, testToken
			return s.SetDevice(d)
		}
	}
	since := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for _, row := range []struct {
		name     string
		set      func(*pushsim.Sim) error
		want     push.Outcome
		reason   string
		attempts int
	}{
		{"gone", device(pushsim.Device{State: "unregistered", Since: since}), push.Gone, "Unregistered", 1},
		{"another environment", device(pushsim.Device{State: "online", Sandbox: true}), push.Suspect, "BadDeviceToken", 1},
		{"another app", device(pushsim.Device{State: "online", Topic: "com.example.another"}), push.Suspect, "DeviceTokenNotForTopic", 1},
		{"429 with seconds", do(pushsim.Do{Reason: "TooManyRequests", RetryAfter: 30 * time.Second}), push.DeviceBusy, "TooManyRequests", 1},
		{"503 with a date", do(pushsim.Do{Reason: "ServiceUnavailable", RetryAfter: 30 * time.Second, RetryDate: true}), push.Unavailable, "ServiceUnavailable", 1},
		{"503 with HTML", do(pushsim.Do{Status: 503, Body: "<html>busy</html>", RetryAfter: 30 * time.Second}), push.Unavailable, "", 1},
		{"503, but delivered", do(pushsim.Do{Reason: "ServiceUnavailable", RetryAfter: 30 * time.Second, Deliver: true}), push.Unavailable, "ServiceUnavailable", 1},
		{"updates", do(pushsim.Do{Reason: "TooManyProviderTokenUpdates"}), push.Busy, "TooManyProviderTokenUpdates", 1},
		{"revoked", do(pushsim.Do{Reason: "InvalidProviderToken"}), push.Denied, "InvalidProviderToken", 1},
		{"expired", do(pushsim.Do{ExpireTokens: true}), push.Expired, "ExpiredProviderToken", 1},
		{"GOAWAY below", do(pushsim.Do{GoAway: pushsim.GoAwayBelow}), push.Delivered, "", 2},
		{"GOAWAY covering", do(pushsim.Do{GoAway: pushsim.GoAwayCovering, Deliver: true}), push.Unknown, "*", 1},
		{"refused", do(pushsim.Do{Reset: "REFUSED_STREAM"}), push.Delivered, "", 2},
		{"reset", do(pushsim.Do{Reset: "INTERNAL_ERROR"}), push.Unknown, "", 1},
		{"closed", do(pushsim.Do{Close: true, Deliver: true}), push.Unknown, "", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			sim, c := simulated(t)
			other := testPush()
			other.To.Token = strings.Repeat("ab", 32)
			if a := c.Send(testContext(t), other); a.Outcome != push.Delivered {
				t.Fatalf("before: %+v", a)
			}
			if err := row.set(sim); err != nil {
				t.Fatal(err)
			}
			a := c.Send(testContext(t), testPush())
			if a.Outcome != row.want || row.reason != "*" && a.Reason != row.reason {
				t.Errorf("%+v, want %v %q", a, row.want, row.reason)
			}
			if row.want == push.Gone && !a.Since.Equal(since) {
				t.Errorf("since %v, want %v", a.Since, since)
			}
			if wait := a.RetryAfter; strings.Contains(row.name, "503") || strings.Contains(row.name, "429") {
				if wait < 29*time.Second || wait > 31*time.Second {
					t.Errorf("Retry-After %v", wait)
				}
			} else if wait != 0 {
				t.Errorf("Retry-After %v", wait)
			}
			n := 0
			for _, at := range sim.Attempts() {
				if at.Token == testToken {
					n++
				}
			}
			if n != row.attempts {
				t.Errorf("%d attempts, want %d", n, row.attempts)
			}
		})
	}
}

// TestSimulatedRepeat: what may have arrived is sent again with the same identifiers, and the phone shows it once.
func TestSimulatedRepeat(t *testing.T) {
	sim, c := simulated(t)
	if _, err := sim.Add(pushsim.Fault{Nth: 1, Do: pushsim.Do{Close: true, Deliver: true}}); err != nil {
		t.Fatal(err)
	}
	if a := c.Send(testContext(t), testPush()); a.Outcome != push.Unknown {
		t.Fatalf("%+v", a)
	}
	if a := c.Send(testContext(t), testPush()); a.Outcome != push.Delivered {
		t.Fatalf("%+v", a)
	}
	p, _ := sim.Phone(testToken)
	if p.Received != 2 || p.Rang != 1 || len(p.Notifications) != 1 {
		t.Errorf("%+v", p)
	}
	for _, n := range sim.Counts() {
		if n.Duplicate() {
			t.Errorf("%+v", n)
		}
	}
}

// TestSimulatedHosts: a development registration goes to the other environment.
func TestSimulatedHosts(t *testing.T) {
	sim, c := simulated(t)
	if err := sim.SetDevice(pushsim.Device{Provider: pushsim.APNs, Token: testToken, State: "online", Sandbox: true}); err != nil {
		t.Fatal(err)
	}
	p := testPush()
	if a := c.Send(testContext(t), p); a.Outcome != push.Suspect || a.Reason != "BadDeviceToken" {
		t.Errorf("%+v", a)
	}
	p.To.Sandbox = true
	if a := c.Send(testContext(t), p); a.Outcome != push.Delivered {
		t.Errorf("%+v", a)
	}
}

// TestSimulatedBurst: 1,000 pushes at once to a server that allows one stream before the first, as Apple does.
func TestSimulatedBurst(t *testing.T) {
	sim, c := simulated(t)
	c.timeout = 2 * time.Minute
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			p := testPush()
			p.To.Token = push.NewID(store.DeviceID(i), 1, 1, "").String()
			p.To.Token = strings.ReplaceAll(p.To.Token+p.To.Token, "-", "")
			if a := c.Send(ctx, p); a.Outcome != push.Delivered {
				t.Errorf("push %d: %+v", i, a)
			}
		})
	}
	wg.Wait()
	attempts := sim.Attempts() // a copy each time
	if n := len(attempts); n != 1000 || len(sim.Phones()) != 1000 {
		t.Fatalf("%d attempts, %d phones", n, len(sim.Phones()))
	}
	for _, a := range attempts {
		if a.Conn != attempts[0].Conn {
			t.Fatalf("attempt %d on connection %d", a.N, a.Conn)
		}
	}
}

// TestSimulatedBlackHole takes 10 s: a connection that says nothing any more is replaced, on real sockets too.
func TestSimulatedBlackHole(t *testing.T) {
	if testing.Short() {
		t.Skip("10 s")
	}
	sim, c := simulated(t)
	if a := c.Send(testContext(t), testPush()); a.Outcome != push.Delivered {
		t.Fatalf("%+v", a)
	}
	if _, err := sim.Add(pushsim.Fault{Nth: 1, Do: pushsim.Do{BlackHole: true}}); err != nil {
		t.Fatal(err)
	}
	c.timeout = 2 * time.Minute // so that it is not this which ends it
	began := time.Now()
	a := c.Send(testContext(t), testPush())
	if a.Outcome != push.Unknown || errors.Is(a.Err, context.DeadlineExceeded) {
		t.Errorf("%+v", a)
	}
	t.Logf("found after %v", time.Since(began))
	if a := c.Send(testContext(t), testPush()); a.Outcome != push.Delivered {
		t.Errorf("after it: %+v", a)
	}
}
