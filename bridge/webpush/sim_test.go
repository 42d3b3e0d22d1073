package webpush

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store/graph"
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

// TestSimulator speaks to the simulator, whose browsers decrypt and whose push service checks signatures by code that was
// written without looking at this package.
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
	p, err := New(Config{Key: files.WebPushKey, Contact: "mailto:operator@example.com", CA: sim.CA(), Allow: loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	sub, err := sim.Subscribe("bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(sub.Endpoint, sub.P256dh, sub.Auth); err != nil {
		t.Fatal(err)
	}
	seq := 0
	ring := func() *push.Push {
		seq++
		m := &push.Push{To: graph.Registration{Token: sub.Endpoint, Key: sub.P256dh, Secret: sub.Auth}, Class: push.Chat, Collapse: "m1", Expires: time.Now().Add(time.Hour), Note: note()}
		m.Note.Silent = false
		m.Note.Badge = seq
		return m
	}
	device := func(s pushsim.State) {
		t.Helper()
		if err := sim.SetDevice(pushsim.Device{Provider: pushsim.WebPush, Token: "bob", State: s}); err != nil {
			t.Fatal(err)
		}
	}
	send := func(p *Provider, hangs bool) push.Answer {
		t.Helper()
		after := sim.Last()
		ctx := t.Context()
		if hangs { // until it has arrived
			c := expiring{ctx, make(chan struct{})}
			go func() {
				defer close(c.at)
				if _, err := sim.After(t.Context(), after); err != nil {
					t.Error(err)
				}
			}()
			ctx = c
		}
		a := p.Send(ctx, ring())
		if list, err := sim.After(t.Context(), after); err != nil || len(list) != 1 {
			t.Errorf("%d requests of one Send, %v", len(list), err)
		}
		return a
	}

	device(pushsim.Online)
	if a := send(p, false); a.Outcome != push.Delivered || a.Status != 201 {
		t.Fatalf("%+v", a)
	}
	list := sim.Attempts()
	at := list[len(list)-1]
	if at.Effect != pushsim.Shown || !at.Rang || at.Payload["title"] != "Alice <&>" || at.Payload["body"] != "좋은 아침" || at.Priority != 10 || len(at.Collapse) != 32 {
		t.Errorf("%+v", at)
	}
	m := ring()
	m.Note.Body = strings.Repeat("안녕하세요 👨‍👩‍👧‍👦 ", 400)
	if a := p.Send(t.Context(), m); a.Outcome != push.Delivered {
		t.Errorf("a long one: %+v", a)
	}
	for state, want := range map[pushsim.State]push.Outcome{
		pushsim.Offline: push.Delivered, pushsim.Unregistered: push.Gone, pushsim.Bad: push.Gone, pushsim.Busy: push.DeviceBusy,
	} {
		device(state)
		if a := send(p, false); a.Outcome != want {
			t.Errorf("%s: %+v", state, a)
		}
	}
	device(pushsim.Online)
	for _, c := range []struct {
		name string
		do   pushsim.Do
		want push.Outcome
	}{
		{"401", pushsim.Do{Status: 401}, push.Suspect},
		{"403", pushsim.Do{Status: 403}, push.Suspect},
		{"413", pushsim.Do{Status: 413}, push.TooLarge},
		{"429", pushsim.Do{Status: 429, RetryAfter: 9 * time.Second, RetryDate: true}, push.DeviceBusy},
		{"307", pushsim.Do{Status: 307}, push.Blocked},
		{"503 in HTML", pushsim.Do{Status: 503, Body: "<html>"}, push.Unavailable},
		{"hang", pushsim.Do{Hang: true}, push.Unknown},
		{"reset", pushsim.Do{Reset: "INTERNAL_ERROR"}, push.Unknown},
		{"close", pushsim.Do{Close: true}, push.Unknown},
	} {
		id, err := sim.Add(pushsim.Fault{Provider: pushsim.WebPush, Name: c.name, Times: 1, Do: c.do})
		if err != nil {
			t.Fatal(err)
		}
		a := send(p, c.do.Hang)
		if a.Outcome != c.want || (c.do.RetryAfter != 0) != (a.RetryAfter > 0) || a.RetryAfter > c.do.RetryAfter {
			t.Errorf("%s: %+v, want %v", c.name, a, c.want)
		}
		if a := send(p, false); a.Outcome != push.Delivered {
			t.Errorf("after %s: %+v", c.name, a)
		}
		sim.Clear(id)
	}

	// With another key, which a subscription is not made for.
	other, err := New(Config{Key: newKeyFile(t), CA: sim.CA(), Allow: loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	if a := send(other, false); a.Outcome != push.Suspect || a.Status != 403 {
		t.Errorf("another key: %+v", a)
	}
	// The file is the simulator's as it is: nothing of it is replaced.
	before, err := os.ReadFile(files.WebPushKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := NewKey(files.WebPushKey); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(files.WebPushKey); err != nil || string(after) != string(before) {
		t.Errorf("the key was replaced, %v", err)
	}
}
