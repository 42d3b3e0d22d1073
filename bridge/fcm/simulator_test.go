package fcm_test

import (
	"context"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/fcm"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
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

// TestSimulator sends over HTTP/2 to the simulator, which reads Google's rules for itself: what the provider says of each
// answer is what the service meant.
func TestSimulator(t *testing.T) {
	sim, files := startSimulator(t)
	p, err := fcm.New(fcm.Config{Credentials: files.FCMCredentials, URL: sim.FCMURL(), CA: sim.CA()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send := func(token string, seq store.Seq) push.Answer {
		return p.Send(ctx, &push.Push{
			ID: push.NewID(1, 2, 3, push.KindMessage), To: graph.Registration{Provider: graph.FCM, Token: token}, Expires: time.Now().Add(time.Hour),
			Note: push.Note{
				Kind: push.KindMessage, Thread: "t1", Room: "user/alice", Seq: seq, Epoch: 1, Count: 1, Badge: 4, Key: "message", Args: []string{"Alice", "안녕"},
				Title: "Alice", Body: "안녕",
			},
		})
	}
	if a := send("bob", 7); a.Outcome != push.Delivered {
		t.Fatalf("%+v", a)
	}
	ph, _ := sim.Phone("bob")
	if ph.Rang != 1 || ph.Badge != 4 || len(ph.Notifications) != 1 || ph.Notifications[0].Thread != "t1" || ph.Notifications[0].Room != "user/alice" {
		t.Errorf("the phone: %+v", ph)
	}
	for state, want := range map[pushsim.State]push.Outcome{
		pushsim.Unregistered: push.Gone, pushsim.Bad: push.Suspect, pushsim.WrongSender: push.Suspect, pushsim.Busy: push.DeviceBusy, pushsim.Offline: push.Delivered,
	} {
		token := "phone-" + string(state)
		if err := sim.SetDevice(pushsim.Device{Provider: pushsim.FCM, Token: token, State: state}); err != nil {
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
		{pushsim.Do{Reason: "QUOTA_EXCEEDED", RetryAfter: 7 * time.Second}, push.Busy, 7 * time.Second},
		{pushsim.Do{Reason: "RESOURCE_EXHAUSTED"}, push.Busy, 0},
		{pushsim.Do{Reason: "UNAVAILABLE"}, push.Unavailable, 0},
		{pushsim.Do{Reason: "INTERNAL"}, push.Unavailable, 0},
		{pushsim.Do{Status: 503, Body: "<html>"}, push.Unavailable, 0},
		{pushsim.Do{Reason: "INVALID_ARGUMENT"}, push.Rejected, 0},
		{pushsim.Do{Reason: "INVALID_ARGUMENT/token"}, push.Suspect, 0},
		{pushsim.Do{Reason: "PERMISSION_DENIED"}, push.Denied, 0},
		{pushsim.Do{Reset: "INTERNAL_ERROR"}, push.Unknown, 0},
		{pushsim.Do{GoAway: pushsim.GoAwayCovering}, push.Unknown, 0},
	} {
		if _, err := sim.Add(pushsim.Fault{Provider: pushsim.FCM, Times: 1, Do: c.do}); err != nil {
			t.Fatal(err)
		}
		if a := send("carol", 1); a.Outcome != c.want || c.after != 0 && a.RetryAfter != c.after {
			t.Errorf("%+v: %+v, want %s", c.do, a, c.want)
		}
	}
	// An access token that has expired is replaced when the lane says so, and not sooner.
	if _, err := sim.Add(pushsim.Fault{Provider: pushsim.FCM, Do: pushsim.Do{ExpireTokens: true}}); err != nil {
		t.Fatal(err)
	}
	if a := send("bob", 8); a.Outcome != push.Expired {
		t.Errorf("%+v", a)
	}
	p.Refresh()
	if a := send("bob", 8); a.Outcome != push.Delivered {
		t.Errorf("after Refresh: %+v", a)
	}
}
