package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// operator calls an operation as an operator on the server's own socket.
func (s *stage) operator(op, body string) {
	s.t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v1/"+op, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	s.api.Socket().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s", op, body, w.Code, w.Body)
	}
}

// gets waits for a delivery on a topic whose payload holds a text, and returns it.
func (a *actor) gets(topic, text string) []byte {
	a.s.t.Helper()
	return a.await(func(f []byte) bool { return delivers(f, topic, text) })
}

// delivers reports whether a frame is a delivery on a topic, with this in its payload.
func delivers(f []byte, topic, text string) bool {
	if f[0]>>4 != 3 {
		return false
	}
	at := 1
	for f[at] >= 0x80 {
		at++
	}
	head := mqttString(nil, topic)
	rest, ok := bytes.CutPrefix(f[at+1:], head)
	return ok && bytes.Contains(rest, []byte(text))
}

// deliveries is how many deliveries hold a text.
func (a *actor) deliveries(text string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.frames {
		if f[0]>>4 == 3 && bytes.Contains(f, []byte(text)) {
			n++
		}
	}
	return n
}

var threadTopic = regexp.MustCompile(`thread/cafe/([a-z2-7]{16})/json`)

// TestBrand is a channel's life from both sides, in every version of MQTT: opened, approved, followed, posted to, asked and
// answered under a pseudonym, left; and a coupon, shown and redeemed.
func TestBrand(t *testing.T) {
	s := newStage(t, "brand", "staff", "alice", "bob")
	s.does("brand", "channel.create", `{"channel":"cafe","title":"The café","language":"en"}`)
	follow := `{"channel":"cafe"}`
	if got := s.ask("alice", "channel.follow", follow); !strings.Contains(got, `"code":404`) {
		t.Errorf("a channel that waits for approval: %s", got)
	}
	s.operator("channel.approve", follow)
	s.operator("channel.publisher.set", `{"channel":"cafe","user":"staff"}`)

	devices := func(user string) (list []*actor) {
		for version, view := range map[byte]string{3: "text", 4: "json", 5: "cbor"} {
			d := s.device(user, user+"-"+view, version)
			d.connect(false)
			d.subscribe("channel/+/"+view, "channel/+/ask/"+view, "user/+/json")
			list = append(list, d)
		}
		return list
	}
	alice, bob := devices("alice"), devices("bob")
	view := func(d *actor) string { return d.id[strings.IndexByte(d.id, '-')+1:] }
	s.does("alice", "channel.follow", follow)
	s.does("bob", "channel.follow", follow)
	desks := make(map[byte]*actor)
	for _, version := range []byte{3, 4, 5} {
		d := s.device("brand", "desk"+string('0'+version), version)
		d.connect(false)
		d.subscribe("thread/+/+/json", "user/+/json")
		desks[version] = d
	}
	counter := s.device("staff", "counter", 5)
	counter.connect(false)
	counter.subscribe("thread/+/+/json", "user/+/json")

	posts := map[byte]string{3: "open from eight", 4: "cake is out", 5: "the terrace is open"}
	for _, version := range []byte{3, 4, 5} {
		text := posts[version]
		desks[version].publish("channel/cafe/text", text)
	}
	s.does("brand", "channel.post", `{"channel":"cafe","post":{"text":"by HTTP"}}`)
	posts[0] = "by HTTP"
	for _, d := range append(alice, bob...) {
		for _, text := range posts {
			f := d.gets("channel/cafe/"+view(d), text)
			if bytes.Contains(f, []byte("brand")) {
				t.Errorf("%s is told who posted: %q", d.id, f)
			}
		}
	}
	if f := counter.publish("channel/cafe/text/one", "by staff"); len(f) > 4 && f[4] != 0 {
		t.Errorf("a publisher's post: %x", f)
	}
	if f := alice[0].publish("channel/cafe/text", "by a follower"); f == nil {
		t.Error("no answer")
	}

	// Ask, and answer.
	phone := s.device("alice", "phone", 5)
	phone.connect(false)
	phone.subscribe("channel/+/json", "channel/+/ask/json", "user/+/json")
	phone.publish("channel/cafe/ask/text", "do you have oat milk?")
	topic := threadTopic.FindSubmatch(counter.await(func(f []byte) bool { return bytes.Contains(f, []byte("oat milk")) }))
	if topic == nil {
		t.Fatal("the question comes without a pseudonym")
	}
	thread := "thread/cafe/" + string(topic[1])
	desks[4].gets(thread+"/json", `"f":"`+string(topic[1])+`"`)
	desks[3].publish(thread+"/text", "yes, we do")
	phone.gets("channel/cafe/ask/json", `"f":"cafe"`)
	for _, d := range alice {
		d.gets("channel/cafe/ask/"+view(d), "yes, we do")
	}
	counter.gets(thread+"/json", "yes, we do")

	// A coupon.
	until := s.now().Add(7 * 24 * time.Hour).Format(time.RFC3339)
	s.does("brand", "coupon.create", `{"channel":"cafe","campaign":"cake","title":"a piece of cake","until":"`+until+`"}`)
	offer := `{"channel":"cafe","key":"cake","coupon":"cake","post":{"text":"cake for everybody","variants":{"ko":{"text":"모두에게 케이크"}}}}`
	s.does("brand", "broadcast.create", offer)
	if b := s.does("brand", "broadcast.create", offer); b["new"] != nil {
		t.Errorf("the same broadcast again: %v", b)
	}
	if f := phone.gets("channel/cafe/json", "cake for everybody"); !bytes.Contains(f, []byte(`"k":"coupon"`)) || !bytes.Contains(f, []byte(`"campaign":"cake"`)) {
		t.Errorf("the coupon's post: %q", f)
	}
	for _, d := range alice { // before she leaves
		d.gets("channel/cafe/"+view(d), "cake for everybody")
	}
	if got := s.ask("brand", "broadcast.create", `{"channel":"cafe","key":"none","coupon":"none","post":{"text":"x"}}`); !strings.Contains(got, `"code":404`) {
		t.Errorf("a coupon of no campaign: %s", got)
	}
	code := s.does("alice", "coupon.show", `{"channel":"cafe","campaign":"cake"}`)["coupon"].(string)
	redeem := func() any {
		return s.does("staff", "coupon.redeem", `{"channel":"cafe","coupon":"`+code+`"}`)["answer"]
	}
	if first, second := redeem(), redeem(); first != "valid" || second != "used" {
		t.Errorf("redeemed: %v, then %v", first, second)
	}

	// She leaves: nothing more, and nobody is told.
	s.does("alice", "channel.unfollow", follow)
	desks[5].publish("channel/cafe/text", "for those who stayed")
	desks[4].publish(thread+"/text", "are you still there?")
	for _, d := range bob {
		d.gets("channel/cafe/"+view(d), "for those who stayed")
	}
	counter.gets(thread+"/json", "are you still there?")
	all := append(append([]*actor{phone}, alice...), bob...)
	s.settle(all...)
	for _, d := range append(alice, phone) {
		if d.deliveries("for those who stayed") != 0 || d.deliveries("still there") != 0 {
			t.Errorf("%s gets what was written after leaving", d.id)
		}
	}
	for _, d := range append(alice, bob...) {
		for _, text := range posts {
			if n := d.deliveries(text); n != 1 {
				t.Errorf("%s got %q %d times", d.id, text, n)
			}
		}
		if d.deliveries("cake for everybody") != 1 {
			t.Errorf("%s got the coupon's post %d times", d.id, d.deliveries("cake for everybody"))
		}
		if d.deliveries("by a follower") != 0 || d.deliveries("by staff") != 1 {
			t.Errorf("%s got what a follower posted, or not what staff did", d.id)
		}
	}
	if got := s.ask("alice", "coupon.show", `{"channel":"cafe","campaign":"cake"}`); !strings.Contains(got, "not_following") {
		t.Errorf("a coupon after leaving: %s", got)
	}
	s.settle(desks[3], desks[4], desks[5], counter)
	for _, d := range []*actor{desks[3], desks[4], desks[5], counter} {
		d.mu.Lock()
		for _, f := range d.frames {
			if f[0]>>4 == 3 && (bytes.Contains(f, []byte("alice")) || bytes.Contains(f, []byte("bob"))) {
				t.Errorf("the brand gets a follower's name: %q", f)
			}
		}
		d.mu.Unlock()
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(s.ask("brand", "channel.numbers", follow)), &v); err != nil || v["followers"] != nil {
		t.Errorf("numbers of two followers: %v, %v", v, err)
	}
}
