package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store/graph"
)

// A stranger's message is told by a fixed text, whatever the user lets pushes show of others.
func TestStrangersAreNotNamed(t *testing.T) {
	r := newRinging(t, nil, "mallory", "bob")
	r.does("bob", "settings.set", `{"preview":"full"}`)
	token := r.phone("bob", "phone", graph.APNs)
	seq := r.says("mallory", "user/bob", "buy now")
	got := r.shows(token)
	if len(got.Notifications) != 1 || got.Rang != 1 || got.Notifications[0].Key != push.KeyStranger || len(got.Notifications[0].Args) != 0 {
		t.Errorf("it shows %+v", got)
	}
	r.decided("bob", "phone", r.pair("mallory", "bob"), seq, because(bridge.ReasonAway))
	r.says(`mallory`, "user/bob", "buy more")
	r.never(token, 2)
	withoutWords(t, r.attempts(token), "mallory", "buy")
}

// withoutWords sees to it that no byte of pushes says one of these words.
func withoutWords(t *testing.T, list []pushsim.Attempt, words ...string) {
	t.Helper()
	if len(list) == 0 {
		t.Error("there are no pushes")
	}
	for _, a := range list {
		if a.Provider != pushsim.APNs {
			a.ID = "" // the service chose it
		}
		raw, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if bytes.Contains(bytes.ToLower(raw), []byte(strings.ToLower(w))) {
				t.Errorf("a push says %q: %s", w, raw)
			}
		}
	}
}

// The request box rings once a day, for all who wait in it, and without their names.
func TestRequestsRingOnceADay(t *testing.T) {
	r := newRinging(t, nil, "bob", "carol", "dave", "erin")
	r.does("bob", "settings.set", `{"strangers":"request","preview":"full"}`)
	token := r.phone("bob", "phone", graph.APNs)
	r.says("carol", "user/bob", "hello")
	if n := r.shows(token).Notifications; len(n) != 1 || n[0].Kind != string(push.KindRequests) {
		t.Errorf("it shows %+v", n)
	}
	seq := r.says("dave", "user/bob", "hello")
	r.decided("bob", "phone", r.pair("dave", "bob"), seq, because(bridge.ReasonBoxed))
	r.later(23*time.Hour + 59*time.Minute)
	if n := len(r.attempts(token)); n != 1 {
		t.Errorf("%d pushes within a day", n)
	}
	r.later(time.Minute)
	seq = r.says("erin", "user/bob", "hello")
	r.decided("bob", "phone", r.pair("erin", "bob"), seq, because(bridge.ReasonAway))
	r.never(token, 2)
	withoutWords(t, r.attempts(token), "carol", "dave", "erin", "hello")
}

// In quiet hours, which are those of the user's own clock, only favourites ring, and sign-ins; the rest is one summary.
func TestQuietHours(t *testing.T) {
	r := newRinging(t, nil, "alice", "carol", "love", "bob")
	r.friends([2]string{"alice", "bob"}, [2]string{"carol", "bob"}, [2]string{"love", "bob"})
	zone, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		t.Fatal(err)
	}
	token := r.phone("bob", "phone", graph.APNs)
	quiet := func(from, to time.Duration) {
		r.does("bob", "quiet.set", fmt.Sprintf(`{"zone":"Asia/Seoul","from":%q,"to":%q}`,
			r.now().In(zone).Add(from).Format("15:04"), r.now().In(zone).Add(to).Format("15:04")))
	}
	quiet(-time.Hour, time.Hour)
	r.does("bob", "contact.set", `{"user":"love","favourite":true}`)
	for _, peer := range []string{"alice", "carol"} {
		for range 3 {
			seq := r.says(peer, "user/bob", "are you up?")
			r.decided("bob", "phone", r.pair(peer, "bob"), seq, because(bridge.ReasonQuiet))
		}
	}
	r.calm()
	if n := len(r.attempts(token)); n != 0 {
		t.Errorf("%d pushes in the quiet", n)
	}
	seq := r.says("love", "user/bob", "good night")
	r.decided("bob", "phone", r.pair("love", "bob"), seq, because(bridge.ReasonAway))
	r.device("bob", "a new laptop", 4).connect(false)
	got := r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) > 1 })
	if n := got.Notifications[1]; got.Rang != 2 || n.Kind != string(push.KindNotice) || n.Key != push.KeyDevice {
		t.Errorf("it shows %+v", got)
	}
	r.later(time.Hour + time.Minute)
	got = r.shows(token)
	if n := got.Notifications[len(got.Notifications)-1]; got.Rang != 3 || n.Kind != string(push.KindSummary) || n.Count != 7 {
		t.Errorf("afterwards it shows %+v", got)
	}
	r.never(token, 3)
	quiet(time.Hour, 2*time.Hour) // not now
	seq = r.says("alice", "user/bob", "and now?")
	r.decided("bob", "phone", r.pair("alice", "bob"), seq, because(bridge.ReasonAway))
	r.never(token, 4)
}

// Of the server's notices only a sign-in rings.
func TestOtherNoticesNeverRing(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	token := r.phone("bob", "phone", graph.APNs)
	r.does("bob", "contact.set", `{"user":"alice","favourite":true}`)
	r.does("bob", "settings.set", `{"preview":"full"}`)
	r.does("alice", "room.create", `{"room":"lobby"}`)
	r.does("alice", "room.invite", `{"room":"lobby","users":["bob"]}`)
	r.never(token, 0)
	r.device("bob", "a new laptop", 5).connect(false)
	r.waits(token, func(p pushsim.Phone) bool { return p.Rang == 1 })
	r.never(token, 1)
}

// What a device acknowledges in the background stops a push only if it has said that it tells its user by itself.
func TestBackground(t *testing.T) {
	r := newRinging(t, nil, "alice", "mute", "tells")
	for _, bob := range []string{"mute", "tells"} {
		r.sub(t, bob, func(t *testing.T) {
			r.friends([2]string{"alice", bob})
			token := r.phone(bob, "phone", graph.APNs)
			phone := r.gadget(bob, "phone", 5)
			phone.connect(false)
			defer phone.disconnect()
			phone.subscribe("user/+/json", "reply/+")
			phone.publish("api/device.set/rid1", fmt.Sprintf(`{"background":true,"notifies":%t}`, bob == "tells"))
			phone.await(func(f []byte) bool { return bytes.Contains(f, []byte("reply/rid1")) })
			r.calm()
			// While it works that out the phone acknowledges: a background device is asked about at once.
			seq := r.says("alice", "user/"+bob, "hello")
			phone.await(func(f []byte) bool { return bytes.Contains(f, []byte("hello")) })
			log := r.pair("alice", bob)
			r.pingsAcross(phone, log, seq)
			r.caughtUp()
			r.pass(8 * time.Second)
			if bob == "tells" {
				r.decided(bob, "phone", log, seq, func(d bridge.Decision) bool {
					return d.Reason == bridge.ReasonNotifies || d.Reason == bridge.ReasonAcked
				})
				r.never(token, 0)
				return
			}
			r.decided(bob, "phone", log, seq, because(bridge.ReasonBackground))
			r.never(token, 1)
		})
	}
}

// An open room rings for mentions only, and names nobody by the account.
func TestOpenRoomRingsForMentions(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob")
	r.does("bob", "settings.set", `{"preview":"full"}`)
	r.does("alice", "open.create", `{"room":"plaza","title":"Plaza","nickname":"Falcon"}`)
	me := r.does("bob", "open.join", `{"room":"plaza","nickname":"Sparrow"}`)["me"].(map[string]any)["id"].(string)
	log := r.roomLog("plaza")
	token := r.phone("bob", "phone", graph.APNs)
	seq := r.says("alice", "room/plaza", "hello all")
	r.decided("bob", "phone", log, seq, because(bridge.ReasonMention))
	seq = r.sends("alice", fmt.Sprintf(`{"room":"plaza","text":"you there?","mentions":[%q]}`, me))
	r.decided("bob", "phone", log, seq, because(bridge.ReasonAway))
	if n := r.shows(token).Notifications; len(n) != 1 || len(n[0].Args) == 0 || n[0].Args[0] != "Falcon" || n[0].Seq != uint64(seq) {
		t.Errorf("it shows %+v", n)
	}
	r.never(token, 1)
	withoutWords(t, r.attempts(token), "alice")
}

// How much is shown is chosen for all conversations, and for single ones.
func TestPreviewPerRoom(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	token := r.phone("bob", "phone", graph.APNs)
	for _, c := range []struct{ preview, key, args string }{
		{"hidden", push.KeyNew, ""}, {"sender", push.KeyFromIn, "alice Hikers"}, {"full", push.KeyIn(push.KeyText), "alice Hikers words"},
		{"", push.KeyFromIn, "alice Hikers"},
	} {
		room := "g" + c.preview
		r.room(room, "Hikers", "alice", "bob")
		if c.preview != "" {
			r.does("bob", "preview.set", fmt.Sprintf(`{"room":%q,"preview":%q}`, room, c.preview))
		}
		r.says("alice", "room/"+room, "words")
		got := r.shows(token).Notifications
		n := got[len(got)-1]
		if n.Key != c.key || strings.Join(n.Args, " ") != c.args || (n.Room == "") != (c.preview == "hidden") {
			t.Errorf("%q: it shows %+v", c.preview, n)
		}
	}
}

// With a hidden preview no byte of any push, to whomever, says who has written, where or what.
func TestHiddenPreviewInEveryByte(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob", "carol")
	r.friends([2]string{"alice", "bob"}, [2]string{"alice", "carol"}, [2]string{"carol", "bob"})
	r.does("bob", "settings.set", `{"preview":"hidden"}`)
	r.room("conspiracy", "Topsecret", "alice", "bob", "carol")
	for _, p := range graph.PushProviders() {
		r.phone("bob", "phone-"+string(p), p)
	}
	seq := r.says("alice", "user/bob", "unspeakable")
	r.says("carol", "room/conspiracy", "unspeakable")
	r.calm()
	last := r.says("alice", "user/bob", "unspeakable too")
	in := r.sends("carol", `{"room":"conspiracy","text":"unspeakable too","mentions":["bob"]}`)
	r.later(3 * time.Second)
	r.does("alice", "message.recall", `{"user":"bob","seq":`+itoa(last)+`}`)
	r.later(time.Minute)
	r.does("alice", "message.recall", `{"user":"bob","seq":`+itoa(seq)+`}`)
	r.does("bob", "read.set", `{"room":"conspiracy","seq":`+itoa(in)+`}`)
	r.later(time.Minute)
	if n := len(r.sim.Attempts()); n < 3*5 {
		t.Errorf("there were %d attempts only", n)
	}
	var kinds []string
	for _, a := range r.sim.Attempts() {
		n, _ := a.Says()
		kinds = append(kinds, n.Kind+" "+n.Key)
	}
	for _, want := range []string{"message " + push.KeyNew, "messages " + push.KeyNews, "message " + push.KeyRecalled, "clear "} {
		if !strings.Contains(strings.Join(kinds, "\n")+"\n", want+"\n") {
			t.Errorf("nothing was said by %s: %q", want, kinds)
		}
	}
	withoutWords(t, r.sim.Attempts(), "alice", "carol", "conspiracy", "topsecret", "unspeakable", "room/", "user/")
}

// Operators tell everybody something, once, in the user's language, and without a sound where it is quiet.
func TestAnnouncements(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob")
	b := r.bridge.Bulk()
	r.does("bob", "quiet.set", `{"zone":"Asia/Seoul","from":"00:00","to":"24:00"}`)
	var tokens []string
	for _, user := range []string{"alice", "bob"} {
		for _, p := range graph.PushProviders() {
			tokens = append(tokens, r.phone(user, "phone-"+string(p), p))
		}
	}
	for _, id := range []string{"one", "one", "two"} { // the same one again is the same one
		if _, _, err := b.Create(t.Context(), bridge.SourceAnnouncements, id, bridge.Announcement{Text: map[string]string{"en": "We move house."}}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for i, token := range tokens {
		got := r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 2 })
		rang := 2
		if i >= len(graph.PushProviders()) {
			rang = 0
		}
		if n := got.Notifications[0]; got.Received != 2 || got.Rang != rang || n.Kind != string(push.KindAnnounce) || n.Body != "We move house." {
			t.Errorf("it shows %+v", got)
		}
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		list, err := b.List(bridge.SourceAnnouncements, 10)
		if err != nil || time.Now().After(end) {
			t.Fatalf("%v, %+v", err, list)
		}
		if len(list) == 2 && list[0].State == bulk.Done && list[1].State == bulk.Done {
			break
		}
	}
	if n := len(r.sim.Attempts()); n != 2*len(tokens)+1 { // and one request for an access token
		t.Errorf("%d attempts", n)
	}
}
