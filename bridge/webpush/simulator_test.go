package webpush_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/bridge/webpush"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// startSimulator starts one, with keys of its own and on free ports.
func startSimulator(t *testing.T) (*pushsim.Sim, pushsim.Files) {
	t.Helper()
	dir := t.TempDir()
	if _, err := pushsim.Init(dir, pushsim.InitOptions{Listen: pushsim.FreePorts()}); err != nil {
		t.Fatal(err)
	}
	sim, err := pushsim.Start(pushsim.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	files, err := sim.Files()
	if err != nil {
		t.Fatal(err)
	}
	return sim, files
}

// TestSimulator sends to the simulator, which decrypts and judges by the RFCs for itself: what the provider says of each
// answer is what the service meant.
func TestSimulator(t *testing.T) {
	sim, files := startSimulator(t)
	p, err := webpush.New(webpush.Config{
		Key: files.WebPushKey, Contact: "mailto:operator@example.com", CA: sim.CA(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send := func(token string, seq store.Seq) push.Answer {
		t.Helper()
		sub, err := sim.Subscribe(token)
		if err != nil {
			t.Fatal(err)
		}
		return p.Send(ctx, &push.Push{
			ID: push.NewID(1, 2, seq, push.KindMessage), Expires: time.Now().Add(time.Hour), Collapse: "m12",
			To: graph.Registration{Provider: graph.WebPush, Token: sub.Endpoint, Key: sub.P256dh, Secret: sub.Auth},
			Note: push.Note{
				Kind: push.KindMessage, Thread: "t1", Room: "user/alice", Seq: seq, Epoch: 1, Count: 1, Badge: 4, Key: "message", Args: []string{"Alice", "안녕"},
				Title: "Alice", Body: "안녕",
			},
		})
	}
	if a := send("bob", 7); a.Outcome != push.Delivered {
		t.Fatalf("%+v, %+v", a, sim.Attempts())
	}
	ph, _ := sim.Phone("bob")
	if ph.Rang != 1 || ph.Badge != 4 || len(ph.Notifications) != 1 || ph.Notifications[0].Title != "Alice" || ph.Notifications[0].Body != "안녕" {
		t.Errorf("the phone: %+v", ph)
	}
	for state, want := range map[pushsim.State]push.Outcome{
		pushsim.Unregistered: push.Gone, pushsim.Bad: push.Gone, pushsim.Busy: push.DeviceBusy, pushsim.Offline: push.Delivered,
	} {
		token := "browser-" + string(state)
		if err := sim.SetDevice(pushsim.Device{Provider: pushsim.WebPush, Token: token, State: state}); err != nil {
			t.Fatal(err)
		}
		if a := send(token, 1); a.Outcome != want {
			t.Errorf("%s: %+v, want %s", state, a, want)
		}
	}
	for _, c := range []struct {
		do    pushsim.Do
		want  push.Outcome
		after time.Duration
	}{
		{pushsim.Do{Status: 429, RetryAfter: 90 * time.Second}, push.DeviceBusy, 90 * time.Second},
		{pushsim.Do{Status: 503, Body: "<html>"}, push.Unavailable, 0},
		{pushsim.Do{Status: 413}, push.TooLarge, 0},
		{pushsim.Do{Status: 400}, push.Rejected, 0},
		{pushsim.Do{Status: 307}, push.Blocked, 0},
		{pushsim.Do{Reset: "INTERNAL_ERROR"}, push.Unknown, 0},
	} {
		if _, err := sim.Add(pushsim.Fault{Provider: pushsim.WebPush, Times: 1, Do: c.do}); err != nil {
			t.Fatal(err)
		}
		if a := send("carol", 1); a.Outcome != c.want || c.after != 0 && (a.RetryAfter < c.after-time.Second || a.RetryAfter > c.after) {
			t.Errorf("%+v: %+v, want %s", c.do, a, c.want)
		}
	}
}
