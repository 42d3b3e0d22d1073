package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store/graph"
)

// answering is one thing that a provider answers to a push, and what has to become of token, push and lane.
type answering struct {
	name  string
	do    pushsim.Do
	times int           // how often it does so, 0: once
	state pushsim.State // the device's, until the push has been looked at; beside do
	early time.Duration // how long before the push the device was registered
	token string        // in place of a token of its own

	outcome push.Outcome // of the first answer that is told of
	status  int
	reason  string

	gone  bool          // the token ends
	lost  bool          // the push does; the token stays
	wait  time.Duration // it is tried again, no sooner than after so long; 0: at once, or not
	lane  lane.State    // right after it. "": it goes on, and somebody else's push is taken before the clock moves
	tries int           // attempts in all, 0: 1 of what is gone or lost, else 2
	other bool          // the second attempt has other credentials
}

// page503 is what a proxy in front of a provider says.
const page503 = "<html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx</body></html>"

// TestAPNsAnswers: the table of answers in docs/push.md, from the message to the phone and back.
func TestAPNsAnswers(t *testing.T) {
	answers(t, graph.APNs, []answering{
		{name: "410, and the registration is older", do: pushsim.Do{Status: 410, Reason: "Unregistered", Since: time.Minute}, early: 2 * time.Minute,
			outcome: push.Gone, status: 410, reason: "Unregistered", gone: true},
		{name: "410, and the registration is newer", do: pushsim.Do{Status: 410, Reason: "Unregistered", Since: 5 * time.Minute}, early: 2 * time.Minute,
			outcome: push.Gone, status: 410, reason: "Unregistered", wait: time.Second},
		{name: "410 ExpiredToken", do: pushsim.Do{Status: 410, Reason: "ExpiredToken", Since: time.Minute}, early: 2 * time.Minute,
			outcome: push.Gone, status: 410, reason: "ExpiredToken", gone: true},
		{name: "a token that nobody knows, among others", state: pushsim.Bad, outcome: push.Suspect, status: 400, reason: "BadDeviceToken", gone: true},
		{name: "a token of another app, among others", state: pushsim.WrongSender, outcome: push.Suspect, status: 400, reason: "DeviceTokenNotForTopic", gone: true},
		{name: "a third one: the guard lets no more go", state: pushsim.Bad, outcome: push.Suspect, status: 400, reason: "BadDeviceToken", lost: true},
		{name: "the provider token has expired", do: pushsim.Do{ExpireTokens: true}, early: 21 * time.Minute,
			outcome: push.Expired, status: 403, reason: "ExpiredProviderToken", other: true},
		{name: "the key was revoked", do: pushsim.Do{Reason: "InvalidProviderToken"},
			outcome: push.Denied, status: 403, reason: "InvalidProviderToken", wait: time.Minute, lane: lane.Denied},
		{name: "another 403", do: pushsim.Do{Status: 403, Reason: "Forbidden"},
			outcome: push.Denied, status: 403, reason: "Forbidden", wait: time.Minute, lane: lane.Denied},
		{name: "too many provider tokens", do: pushsim.Do{Reason: "TooManyProviderTokenUpdates"},
			outcome: push.Busy, status: 429, reason: "TooManyProviderTokenUpdates", wait: time.Minute, lane: lane.Busy},
		{name: "too many for the device", do: pushsim.Do{Reason: "TooManyRequests"},
			outcome: push.DeviceBusy, status: 429, reason: "TooManyRequests", wait: time.Minute},
		{name: "too many for the device, Retry-After in seconds", do: pushsim.Do{Reason: "TooManyRequests", RetryAfter: 150 * time.Second},
			outcome: push.DeviceBusy, status: 429, reason: "TooManyRequests", wait: 150 * time.Second},
		{name: "503, Retry-After as a date", do: pushsim.Do{Reason: "ServiceUnavailable", RetryAfter: 90 * time.Second, RetryDate: true},
			outcome: push.Unavailable, status: 503, reason: "ServiceUnavailable", wait: 89 * time.Second},
		{name: "too large once", do: pushsim.Do{Reason: "PayloadTooLarge"}, outcome: push.Delivered, status: 200},
		{name: "too large without content, too", do: pushsim.Do{Reason: "PayloadTooLarge"}, times: 2,
			outcome: push.TooLarge, status: 413, reason: "PayloadTooLarge", lost: true, tries: 2},
		{name: "500", do: pushsim.Do{Reason: "InternalServerError"}, outcome: push.Unavailable, status: 500, reason: "InternalServerError", wait: time.Second},
		{name: "503 three times", do: pushsim.Do{Reason: "ServiceUnavailable"}, times: 2, tries: 3,
			outcome: push.Unavailable, status: 503, reason: "ServiceUnavailable", wait: time.Second},
		{name: "503 with a page of HTML", do: pushsim.Do{Status: 503, Body: page503}, outcome: push.Unavailable, status: 503, wait: time.Second},
		{name: "503, but it was delivered", do: pushsim.Do{Reason: "ServiceUnavailable", Deliver: true},
			outcome: push.Unavailable, status: 503, reason: "ServiceUnavailable", wait: time.Second},
		{name: "400", do: pushsim.Do{Reason: "BadTopic"}, outcome: push.Rejected, status: 400, reason: "BadTopic", lost: true},
		{name: "404", do: pushsim.Do{Reason: "BadPath"}, outcome: push.Rejected, status: 404, reason: "BadPath", lost: true},
		{name: "405", do: pushsim.Do{Reason: "MethodNotAllowed"}, outcome: push.Rejected, status: 405, reason: "MethodNotAllowed", lost: true},
		{name: "GOAWAY below the stream", do: pushsim.Do{GoAway: pushsim.GoAwayBelow}, outcome: push.Delivered, status: 200},
		{name: "GOAWAY that covers it", do: pushsim.Do{GoAway: pushsim.GoAwayCovering}, outcome: push.Unknown, wait: time.Second},
		{name: "GOAWAY that covers it, but it was delivered", do: pushsim.Do{GoAway: pushsim.GoAwayCovering, Deliver: true}, outcome: push.Unknown, wait: time.Second},
		{name: "the stream is refused", do: pushsim.Do{Reset: "REFUSED_STREAM"}, outcome: push.Delivered, status: 200},
		{name: "the stream is reset", do: pushsim.Do{Reset: "INTERNAL_ERROR"}, outcome: push.Unknown, wait: time.Second},
		{name: "the connection is closed", do: pushsim.Do{Close: true}, outcome: push.Unknown, wait: time.Second},
	})
}

// TestFCMAnswers: the same for FCM. Its rows together must not take an hour of the clock.
func TestFCMAnswers(t *testing.T) {
	answers(t, graph.FCM, []answering{
		{name: "the app was removed", state: pushsim.Unregistered, outcome: push.Gone, status: 404, reason: "UNREGISTERED", gone: true},
		{name: "a token that is none, among others", state: pushsim.Bad, outcome: push.Suspect, status: 400, reason: "INVALID_ARGUMENT", gone: true},
		{name: "a token of another project, among others", state: pushsim.WrongSender, outcome: push.Suspect, status: 403, reason: "SENDER_ID_MISMATCH", gone: true},
		{name: "a third one: the guard lets no more go", state: pushsim.WrongSender, outcome: push.Suspect, status: 403, reason: "SENDER_ID_MISMATCH", lost: true},
		{name: "an argument elsewhere", do: pushsim.Do{Reason: "INVALID_ARGUMENT"}, outcome: push.Rejected, status: 400, reason: "INVALID_ARGUMENT", lost: true},
		{name: "the project's quota", do: pushsim.Do{Reason: "QUOTA_EXCEEDED"},
			outcome: push.Busy, status: 429, reason: "QUOTA_EXCEEDED", wait: time.Minute, lane: lane.Busy},
		{name: "the project's quota, Retry-After in seconds", do: pushsim.Do{Reason: "QUOTA_EXCEEDED", RetryAfter: 20 * time.Second},
			outcome: push.Busy, status: 429, reason: "QUOTA_EXCEEDED", wait: 20 * time.Second, lane: lane.Busy},
		{name: "the project's quota, Retry-After as a date", do: pushsim.Do{Reason: "QUOTA_EXCEEDED", RetryAfter: 20 * time.Second, RetryDate: true},
			outcome: push.Busy, status: 429, reason: "QUOTA_EXCEEDED", wait: 19 * time.Second, lane: lane.Busy},
		{name: "the device's quota", state: pushsim.Busy, outcome: push.DeviceBusy, status: 429, reason: "QUOTA_EXCEEDED", wait: time.Minute},
		{name: "the access token is refused", do: pushsim.Do{ExpireTokens: true}, early: 2 * time.Minute,
			outcome: push.Expired, status: 401, reason: "UNAUTHENTICATED", other: true},
		{name: "403", do: pushsim.Do{Reason: "PERMISSION_DENIED"},
			outcome: push.Denied, status: 403, reason: "PERMISSION_DENIED", wait: time.Minute, lane: lane.Denied},
		{name: "500", do: pushsim.Do{Reason: "INTERNAL"}, outcome: push.Unavailable, status: 500, reason: "INTERNAL", wait: time.Second},
		{name: "503 with Retry-After", do: pushsim.Do{Reason: "UNAVAILABLE", RetryAfter: 20 * time.Second},
			outcome: push.Unavailable, status: 503, reason: "UNAVAILABLE", wait: 20 * time.Second},
		{name: "503 with a page of HTML", do: pushsim.Do{Status: 503, Body: page503}, outcome: push.Unavailable, status: 503, wait: time.Second},
		{name: "503, but it was delivered", do: pushsim.Do{Reason: "UNAVAILABLE", Deliver: true},
			outcome: push.Unavailable, status: 503, reason: "UNAVAILABLE", wait: time.Second},
		{name: "GOAWAY that covers the stream", do: pushsim.Do{GoAway: pushsim.GoAwayCovering, Deliver: true}, outcome: push.Unknown, reason: "connection", wait: time.Second},
		{name: "the connection is closed", do: pushsim.Do{Close: true}, outcome: push.Unknown, reason: "connection", wait: time.Second},
	})
}

// TestWebPushAnswers: the same for web push. An address that must not be spoken to is never spoken to.
func TestWebPushAnswers(t *testing.T) {
	answers(t, graph.WebPush, []answering{
		{name: "404", state: pushsim.Bad, outcome: push.Gone, status: 404, reason: "gone", gone: true},
		{name: "410", state: pushsim.Unregistered, outcome: push.Gone, status: 410, reason: "gone", gone: true},
		{name: "403, among others", state: pushsim.WrongSender, outcome: push.Suspect, status: 403, reason: "vapid", gone: true},
		{name: "413 once", do: pushsim.Do{Status: 413}, outcome: push.Delivered, status: 201},
		{name: "413 without content, too", do: pushsim.Do{Status: 413}, times: 2, outcome: push.TooLarge, status: 413, reason: "too_large", lost: true, tries: 2},
		{name: "429", do: pushsim.Do{Status: 429}, outcome: push.DeviceBusy, status: 429, reason: "rate", wait: time.Minute},
		{name: "429, Retry-After in seconds", do: pushsim.Do{Status: 429, RetryAfter: 90 * time.Second},
			outcome: push.DeviceBusy, status: 429, reason: "rate", wait: 90 * time.Second},
		{name: "429, Retry-After as a date", do: pushsim.Do{Status: 429, RetryAfter: 90 * time.Second, RetryDate: true},
			outcome: push.DeviceBusy, status: 429, reason: "rate", wait: 89 * time.Second},
		{name: "500", do: pushsim.Do{Status: 500}, outcome: push.Unavailable, status: 500, reason: "server", wait: time.Second},
		{name: "503 with a page of HTML", do: pushsim.Do{Status: 503, Body: page503}, outcome: push.Unavailable, status: 503, reason: "server", wait: time.Second},
		{name: "503, but it was delivered", do: pushsim.Do{Status: 503, Deliver: true}, outcome: push.Unavailable, status: 503, reason: "server", wait: time.Second},
		{name: "a redirect", do: pushsim.Do{Status: 307}, outcome: push.Blocked, status: 307, reason: "redirect", lost: true},
		{name: "400", do: pushsim.Do{Status: 400}, outcome: push.Rejected, status: 400, reason: "request", lost: true},
		{name: "the connection is closed", do: pushsim.Do{Close: true}, outcome: push.Unknown, reason: "connection", wait: time.Second},
		{name: "a private address", token: "https://10.1.2.3/push/x", outcome: push.Blocked, reason: "endpoint", lost: true, tries: -1},
		{name: "an address within this machine", token: "https://[::1]/push/x", outcome: push.Blocked, reason: "endpoint", lost: true, tries: -1},
	})
}

// reached is how many devices were before, so that the guard lets two tokens go.
const reached = 100

// answers plays all rows on one server, each with a phone of its own.
func answers(t *testing.T, p graph.PushProvider, rows []answering) {
	t.Parallel() // what takes time is waiting
	users := []string{"alice", "x"}
	for i := range rows {
		users = append(users, fmt.Sprintf("u%d", i), fmt.Sprintf("v%d", i))
	}
	for i := range reached / 10 {
		users = append(users, fmt.Sprintf("w%d", i))
	}
	r := newRinging(t, nil, users...)
	for _, u := range users[1:] {
		r.friends([2]string{"alice", u})
	}
	var phones []string // a hundred
	for _, u := range users[2+2*len(rows):] {
		for i := range 10 {
			phones = append(phones, r.phone(u, fmt.Sprint("phone", i), p))
		}
		r.says("alice", "user/"+u, "hello")
	}
	for _, token := range phones {
		r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.play(t, r, p, fmt.Sprint("u", i), fmt.Sprint("v", i)) })
	}
	for _, c := range r.sim.Counts() {
		if c.Duplicate() {
			t.Errorf("shown %d times, rang %d times: %+v", c.Shown, c.Rang, c)
		}
	}
}

// play has a message for user come to its answer, and one for other right after it.
func (row *answering) play(t *testing.T, r *ringing, p graph.PushProvider, user, other string) {
	r.t = t
	token, another := r.phone(user, "phone", p), r.phone(other, "phone", p)
	if row.token != "" {
		token = row.token
		reg := *r.registered(user, "phone")
		reg.Token = token
		if _, err := r.broker.Access().Relations().Register(t.Context(), r.account(user), reg); err != nil {
			t.Fatal(err)
		}
	}
	if row.other && p == graph.APNs {
		// A provider token is replaced once it says that it is half an hour old, if it was made 20 minutes ago; and it says
		// the half hour before it was made. At the half hour after the next one there is a new one, whatever the time is now.
		r.pass(r.now().Truncate(30 * time.Minute).Add(time.Hour + time.Second).Sub(r.now()))
		used := r.phone("x", "phone", p)
		r.says("alice", "user/x", "hello")
		r.waits(used, func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
	}
	r.pass(row.early)
	if row.state != "" {
		if err := r.sim.SetDevice(pushsim.Device{Provider: pushsim.Provider(p), Token: token, State: row.state}); err != nil {
			t.Fatal(err)
		}
	} else if row.token == "" {
		if _, err := r.sim.Add(pushsim.Fault{Name: row.name, Provider: pushsim.Provider(p), Token: token, Times: max(row.times, 1), Do: row.do}); err != nil {
			t.Fatal(err)
		}
	}
	before := r.sim.Last()
	seq := r.says("alice", "user/"+user, "hello")
	d := r.decided(user, "phone", r.pair("alice", user), seq, func(d bridge.Decision) bool { return d.Answer != nil })
	if a := d.Answer; a.Outcome != row.outcome || a.Status != row.status || row.reason != "" && a.Reason != row.reason {
		t.Errorf("the answer is %s, %d %q", a.Outcome, a.Status, a.Reason)
	}
	want := bridge.ReasonAway
	again := !row.gone && !row.lost && row.outcome != push.Delivered
	switch {
	case row.gone:
		want = bridge.ReasonNoToken
	case row.lost:
		want = bridge.ReasonRefused
	case again:
		want = bridge.ReasonRetry
	}
	if d.Reason != want {
		t.Errorf("decided %q, not %q: %+v", d.Reason, want, d)
	}
	if wait := d.Until.Sub(r.now()); again && wait < row.wait {
		t.Errorf("tried again after %v", wait)
	}

	// The lane, and what it does for others.
	state := r.laneOf(p).State
	seqOther := r.says("alice", "user/"+other, "hello")
	first := r.decided(other, "phone", r.pair("alice", other), seqOther, func(d bridge.Decision) bool {
		return d.Answer != nil || d.Reason == bridge.ReasonHeld
	})
	if row.lane != "" {
		if state != row.lane || first.Reason != bridge.ReasonHeld {
			t.Errorf("the lane is %s, and another's push %s", state, first.Reason)
		}
	} else if (state != lane.Open && state != lane.Recovering) || first.Reason != bridge.ReasonAway {
		t.Errorf("the lane is %s, and another's push %s", state, first.Reason)
	}

	// The token, and the push.
	if gone := r.registered(user, "phone") == nil; gone != row.gone {
		t.Errorf("the token went: %v", gone)
	}
	if again {
		r.pass(max(0, d.Until.Sub(r.now())))
	}
	if row.state != "" && again {
		if err := r.sim.SetDevice(pushsim.Device{Provider: pushsim.Provider(p), Token: token}); err != nil {
			t.Fatal(err)
		}
	}
	r.comes(another, func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
	if !row.gone && !row.lost {
		got := r.comes(token, func(p pushsim.Phone) bool {
			return len(p.Notifications) == 1 && len(r.triedAt(before, token)) >= row.attempts()
		})
		if n := got.Notifications[0]; got.Rang != 1 || n.Seq != uint64(seq) {
			t.Errorf("the phone shows %+v", got)
		}
	} else if shows, _ := r.sim.Phone(token); len(shows.Notifications) != 0 {
		t.Errorf("the phone shows %+v", shows)
	}
	tried := r.triedAt(before, token)
	if len(tried) != row.attempts() {
		t.Fatalf("%d attempts: %+v", len(tried), tried)
	}
	if last := len(tried) - 1; last > 0 {
		a, b := tried[0], tried[last]
		if p == graph.APNs && a.ID != b.ID || a.Collapse != b.Collapse {
			t.Errorf("an attempt goes as %s %s, then as %s %s", a.ID, a.Collapse, b.ID, b.Collapse)
		}
		if other := a.Credential != b.Credential; p != graph.WebPush && other != row.other {
			t.Errorf("credential %d, then %d", a.Credential, b.Credential)
		}
		if row.do.Reason == "PayloadTooLarge" || row.do.Status == 413 {
			if _, bare := b.Says(); !bare || strings.Contains(fmt.Sprint(b.Payload), "alice") || !strings.Contains(fmt.Sprint(a.Payload), "alice") {
				t.Errorf("at first %v, then %v", a.Payload, b.Payload)
			}
		}
	}
	r.sim.Clear(0)
}

// attempts is how many there have to be.
func (row *answering) attempts() int {
	switch {
	case row.tries < 0:
		return 0
	case row.tries > 0:
		return row.tries
	case row.gone || row.lost:
		return 1
	}
	return 2
}

// registered is what a device has registered, nil if nothing.
func (r *ringing) registered(user, client string) *graph.Registration {
	r.t.Helper()
	reg, err := r.broker.Access().Relations().Registration(r.account(user), r.deviceID(user, client))
	if err != nil {
		r.t.Fatal(err)
	}
	return reg
}

// laneOf is how a provider's lane is.
func (r *ringing) laneOf(p graph.PushProvider) lane.Status {
	r.t.Helper()
	lanes := r.bridge.Status().Lanes
	i := slices.IndexFunc(lanes, func(s lane.Status) bool { return s.Provider == p })
	if i < 0 {
		r.t.Fatalf("there is no lane of %s", p)
	}
	return lanes[i]
}

// triedAt are the attempts for a phone after one.
func (r *ringing) triedAt(after uint64, token string) (got []pushsim.Attempt) {
	for _, a := range r.sim.Attempts() {
		if a.N > after && a.Token == token {
			got = append(got, a)
		}
	}
	return got
}

// comes is waits, while the clock is moved as soon as nothing is under way.
func (r *ringing) comes(token string, fits func(pushsim.Phone) bool) (p pushsim.Phone) {
	r.t.Helper()
	r.until("what a phone is to show", 2*time.Second, func() bool {
		p, _ = r.sim.Phone(token)
		return fits(p)
	})
	return p
}

// until waits until something is so. Whenever nothing is under way for two ticks of the bridge, the clock moves by a step.
func (r *ringing) until(what string, step time.Duration, is func() bool) {
	r.t.Helper()
	const look = 5 * time.Millisecond
	quiet := 0
	for end := time.Now().Add(3 * time.Minute); !is(); time.Sleep(look) {
		if time.Now().After(end) {
			r.t.Fatalf("%s is not so; the bridge is %+v", what, r.bridge.Status())
		}
		s := r.bridge.Status()
		quiet++
		for _, l := range s.Lanes {
			if l.InFlight > 0 {
				quiet = 0
			}
			for _, n := range l.Queued {
				if n > 0 {
					quiet = 0
				}
			}
		}
		if s.Behind > 0 {
			quiet = 0
		}
		if quiet > int(220*time.Millisecond/look) {
			r.pass(step)
			quiet = 0
		}
	}
}
