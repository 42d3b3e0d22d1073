package pushsim

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pusher is a sender of web push messages.
type pusher struct {
	t    testing.TB
	s    *Sim
	http *http.Client
	key  *ecdsa.PrivateKey
}

func newPusher(t testing.TB, s *Sim) *pusher {
	t.Helper()
	key, err := readP256(filepath.Join(s.cfg.Dir, FileWebPush))
	if err != nil {
		t.Fatal(err)
	}
	return &pusher{t: t, s: s, http: newClient(t, s).http, key: key}
}

// seal encrypts a message for a subscription.
func (p *pusher) seal(sub Subscription, text string) []byte {
	p.t.Helper()
	to, err := ecdh.P256().NewPublicKey(sub.P256dh)
	if err != nil {
		p.t.Fatal(err)
	}
	return encryptECE(p.t, []byte(text+"\x02"), 4096, to, sub.Auth)
}

// post sends a body. Headers come in pairs and replace; an empty value removes.
func (p *pusher) post(url string, body []byte, headers ...string) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(context30(p.t), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", vapidHeader(p.t, p.key, map[string]any{"aud": p.s.WebPushURL(), "exp": p.s.now().Add(time.Hour).Unix()}))
	r.Header.Set("Content-Encoding", "aes128gcm")
	r.Header.Set("TTL", "60")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Del(headers[i])
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res, string(b)
}

func subscribe(t testing.TB, s *Sim, token string) Subscription {
	t.Helper()
	sub, err := s.Subscribe(token)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// webMessage is the plaintext of a chat message.
func webMessage(thread string, seq int) string {
	return fmt.Sprintf(`{"kind":"message","thread":%q,"seq":%d,"epoch":1,"count":1,"title":"Alice","body":"안녕 %d"}`, thread, seq, seq)
}

func TestWebPush(t *testing.T) {
	s := startSim(t, Config{})
	p := newPusher(t, s)
	sub := subscribe(t, s, "bob's laptop/1")
	res, body := p.post(sub.Endpoint, p.seal(sub, webMessage("t1", 3)), "Urgency", "high", "Topic", "abc_-9")
	if res.StatusCode != 201 || body != "" || !strings.HasPrefix(res.Header.Get("Location"), "/message/") || res.Header.Get("TTL") != "60" {
		t.Fatalf("%d %v %s", res.StatusCode, res.Header, body)
	}
	ph, ok := s.Phone("bob's laptop/1")
	if !ok || ph.Provider != WebPush || ph.Rang != 1 || len(ph.Notifications) != 1 || ph.Notifications[0].Title != "Alice" || ph.Notifications[0].Body != "안녕 3" {
		t.Fatalf("phone: %+v", ph)
	}
	list := s.Attempts()
	a := list[len(list)-1]
	if a.ID != res.Header.Get("Location") || a.Priority != 10 || a.Collapse != "abc_-9" || a.Seq != 3 || a.Effect != Shown || a.Expires.Sub(a.Time).Round(time.Second) != time.Minute {
		t.Errorf("attempt: %+v", a)
	}
	// The same token subscribes to the same, and another one to another.
	if again := subscribe(t, s, "bob's laptop/1"); again.Endpoint != sub.Endpoint || !bytes.Equal(again.P256dh, sub.P256dh) || !bytes.Equal(again.Auth, sub.Auth) {
		t.Error("the same token has two subscriptions")
	}
	if other := subscribe(t, s, "bob"); other.Endpoint == sub.Endpoint || bytes.Equal(other.P256dh, sub.P256dh) || bytes.Equal(other.Auth, sub.Auth) {
		t.Error("two tokens share something")
	}
	b, err := json.Marshal(sub)
	if err != nil || !bytes.Contains(b, []byte(`"p256dh":"`)) || !bytes.Contains(b, []byte(`"auth":"`)) {
		t.Errorf("%s %v", b, err)
	}
	// The control port says the same.
	res, err = http.Post(s.ControlURL()+"/v1/subscriptions", "application/json", strings.NewReader(`{"token":"bob's laptop/1"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 201 || strings.TrimSpace(string(got)) != string(b) {
		t.Errorf("%d %s, want %s; %v", res.StatusCode, got, b, err)
	}
	// A message without a payload is one.
	if res, _ = p.post(sub.Endpoint, nil, "Content-Encoding", ""); res.StatusCode != 201 {
		t.Error(res.StatusCode)
	}
	if _, err := s.Subscribe(""); err == nil {
		t.Error("subscribed as nobody")
	}
}

func TestWebPushRefuses(t *testing.T) {
	s := startSim(t, Config{})
	p := newPusher(t, s)
	sub := subscribe(t, s, "bob")
	good := p.seal(sub, webMessage("t1", 1))
	other := vapidHeader(t, ecKey(t), map[string]any{"aud": s.WebPushURL()})
	for _, c := range []struct {
		name    string
		url     string
		body    []byte
		headers []string
		want    int
	}{
		{"nobody", sub.Endpoint, good, []string{"Authorization", ""}, 401},
		{"another key", sub.Endpoint, good, []string{"Authorization", other}, 403},
		{"another origin", sub.Endpoint, good, []string{"Authorization", vapidHeader(t, p.key, nil)}, 403},
		{"no TTL", sub.Endpoint, good, []string{"TTL", ""}, 400},
		{"TTL", sub.Endpoint, good, []string{"TTL", "-1"}, 400},
		{"TTL beyond", sub.Endpoint, good, []string{"TTL", "99999999999"}, 400},
		{"urgency", sub.Endpoint, good, []string{"Urgency", "urgent"}, 400},
		{"topic", sub.Endpoint, good, []string{"Topic", "a b"}, 400},
		{"long topic", sub.Endpoint, good, []string{"Topic", strings.Repeat("a", 33)}, 400},
		{"coding", sub.Endpoint, good, []string{"Content-Encoding", "aesgcm"}, 415},
		{"too large", sub.Endpoint, make([]byte, 4097), nil, 413},
		{"far too large", sub.Endpoint, make([]byte, 200_000), nil, 413},
		{"elsewhere", s.WebPushURL() + "/other/bob", good, nil, 404},
		{"no name", s.WebPushURL() + "/push/", good, nil, 404},
		{"deeper", sub.Endpoint + "/x", good, nil, 404},
		{"query", sub.Endpoint + "?x", good, nil, 404},
	} {
		res, body := p.post(c.url, c.body, c.headers...)
		if res.StatusCode != c.want || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s, want %d", c.name, res.StatusCode, body, c.want)
		}
	}
	if res, err := p.http.Get(sub.Endpoint); err != nil || res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %v %v", res, err)
	} else {
		res.Body.Close()
	}
	if ph, ok := s.Phone("bob"); ok {
		t.Errorf("something refused arrived: %+v", ph)
	}
	// What a browser cannot read it throws away, and the sender hears 201: only the log tells.
	for _, body := range [][]byte{bytes.Repeat([]byte{1}, 200), p.seal(subscribe(t, s, "carol"), webMessage("t1", 1)), p.seal(sub, "no JSON"), p.seal(sub, "[1]")} {
		if res, _ := p.post(sub.Endpoint, body); res.StatusCode != 201 {
			t.Errorf("unreadable: %d", res.StatusCode)
		}
		list := s.Attempts()
		if a := list[len(list)-1]; a.Reason == "" || a.Effect != NotReached || a.Payload != nil {
			t.Errorf("attempt: %+v", a)
		}
	}
	if ph, ok := s.Phone("bob"); ok {
		t.Errorf("something unreadable arrived: %+v", ph)
	}
}

func TestWebPushStates(t *testing.T) {
	s := startSim(t, Config{})
	p := newPusher(t, s)
	for state, want := range map[State]int{Unregistered: 410, Bad: 404, WrongSender: 403, Busy: 429, Online: 201} {
		token := "web-" + string(state)
		if err := s.SetDevice(Device{Provider: WebPush, Token: token, State: state}); err != nil {
			t.Fatal(err)
		}
		sub := subscribe(t, s, token)
		if res, _ := p.post(sub.Endpoint, p.seal(sub, webMessage("t", 1))); res.StatusCode != want {
			t.Errorf("%s: %d", state, res.StatusCode)
		}
	}
	// While a browser is closed the newest of a topic is kept, and what is for now or never is not.
	if err := s.SetDevice(Device{Provider: WebPush, Token: "bob", State: Offline}); err != nil {
		t.Fatal(err)
	}
	sub := subscribe(t, s, "bob")
	for i, headers := range [][]string{{"Topic", "a"}, {"Topic", "b"}, {"Topic", "a"}, {"TTL", "0"}} {
		if res, _ := p.post(sub.Endpoint, p.seal(sub, webMessage("t"+headers[1], i+1)), headers...); res.StatusCode != 201 {
			t.Error(res.StatusCode)
		}
	}
	if err := s.SetDevice(Device{Provider: WebPush, Token: "bob", State: Online}); err != nil {
		t.Fatal(err)
	}
	ph, _ := s.Phone("bob")
	if ph.Received != 2 || ph.Lost != 1 || len(ph.Notifications) != 2 || ph.Notifications[1].Seq != 3 {
		t.Errorf("phone: %+v", ph)
	}
}

func TestWebPushFaults(t *testing.T) {
	s := startSim(t, Config{})
	p := newPusher(t, s)
	sub := subscribe(t, s, "bob")
	for _, c := range []struct {
		do    Do
		want  int
		after string
	}{
		{Do{Status: 429, RetryAfter: 90 * time.Second}, 429, "90"}, {Do{Reason: "TooManyRequests"}, 429, ""}, {Do{Reason: "Gone"}, 410, ""},
		{Do{Status: 500}, 500, ""}, {Do{Status: 502, Body: "<html>"}, 502, ""}, {Do{Reason: "ServiceUnavailable"}, 503, ""}, {Do{Reason: "NotFound"}, 404, ""},
		{Do{Reason: "Request Entity Too Large", Status: 413}, 413, ""},
	} {
		if _, err := s.Add(Fault{Provider: WebPush, Times: 1, Do: c.do}); err != nil {
			t.Fatal(err)
		}
		res, body := p.post(sub.Endpoint, p.seal(sub, webMessage("t", 1)))
		if res.StatusCode != c.want || res.Header.Get("Retry-After") != c.after || c.do.Body != "" && body != c.do.Body {
			t.Errorf("%+v: %d %q %s", c.do, res.StatusCode, res.Header.Get("Retry-After"), body)
		}
	}
}
