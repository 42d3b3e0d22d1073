package pushsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestRules is what APNs refuses, in Apple's words.
func TestRules(t *testing.T) {
	s := startSim(t, Config{})
	c := newClient(t, s)
	pad := func(n int) string { // a payload of n bytes
		return `{"aps":{"alert":"` + strings.Repeat("x", n-len(`{"aps":{"alert":""}}`)) + `"}}`
	}
	for _, e := range []struct {
		name    string
		device  string
		payload string
		headers []string
		status  int
		reason  string
	}{
		{"plain", device(1), `{"aps":{}}`, nil, 200, ""},
		{"token in upper case", strings.ToUpper(device(0xabc)), `{"aps":{}}`, nil, 200, ""},
		{"longer token", device(1) + device(2), `{"aps":{}}`, nil, 200, ""},
		{"short token", "abcd", `{"aps":{}}`, nil, 400, "BadDeviceToken"},
		{"no hexadecimal", strings.Repeat("zz", 32), `{"aps":{}}`, nil, 400, "BadDeviceToken"},
		{"no token", "", `{"aps":{}}`, nil, 400, "MissingDeviceToken"},
		{"path below the token", device(1) + "/x", `{"aps":{}}`, nil, 404, "BadPath"},
		{"query", device(1) + "?x", `{"aps":{}}`, nil, 404, "BadPath"},

		{"no topic", device(1), `{"aps":{}}`, []string{"apns-topic", ""}, 400, "MissingTopic"},
		{"somebody else's topic", device(1), `{"aps":{}}`, []string{"apns-topic", "com.example.other"}, 400, "TopicDisallowed"},
		{"prefix of the topic", device(1), `{"aps":{}}`, []string{"apns-topic", DefaultTopic + "x"}, 400, "TopicDisallowed"},
		{"long topic", device(1), `{"aps":{}}`, []string{"apns-topic", strings.Repeat("x", 256)}, 400, "BadTopic"},
		{"calls' topic", device(10), `{"aps":{}}`, []string{"apns-topic", DefaultTopic + ".voip", "apns-push-type", "voip"}, 200, ""},

		{"no type", device(1), `{"aps":{}}`, []string{"apns-push-type", ""}, 200, ""},
		{"odd type", device(1), `{"aps":{}}`, []string{"apns-push-type", "Alert"}, 400, "InvalidPushType"},
		{"priority 5", device(1), `{"aps":{}}`, []string{"apns-priority", "5"}, 200, ""},
		{"priority 1", device(1), `{"aps":{}}`, []string{"apns-priority", "1"}, 200, ""},
		{"priority 7", device(1), `{"aps":{}}`, []string{"apns-priority", "7"}, 400, "BadPriority"},
		{"background at once", device(1), `{"aps":{}}`, []string{"apns-push-type", "background", "apns-priority", "10"}, 400, "BadPriority"},
		{"background without a priority", device(1), `{"aps":{}}`, []string{"apns-push-type", "background"}, 400, "BadPriority"},
		{"background", device(1), `{"aps":{"content-available":1}}`, []string{"apns-push-type", "background", "apns-priority", "5"}, 200, ""},

		{"now or never", device(1), `{"aps":{}}`, []string{"apns-expiration", "0"}, 200, ""},
		{"expires before 1970", device(1), `{"aps":{}}`, []string{"apns-expiration", "-1"}, 400, "BadExpirationDate"},
		{"expires soon", device(1), `{"aps":{}}`, []string{"apns-expiration", "soon"}, 400, "BadExpirationDate"},
		{"expires in the year 10000", device(1), `{"aps":{}}`, []string{"apns-expiration", "253402300800"}, 400, "BadExpirationDate"},
		{"collapse ID of 64 bytes", device(1), `{"aps":{}}`, []string{"apns-collapse-id", strings.Repeat("x", 64)}, 200, ""},
		{"collapse ID of 65 bytes", device(1), `{"aps":{}}`, []string{"apns-collapse-id", strings.Repeat("x", 65)}, 400, "BadCollapseId"},
		{"odd ID", device(1), `{"aps":{}}`, []string{"apns-id", "123"}, 400, "BadMessageId"},
		{"ID with a letter too far", device(1), `{"aps":{}}`, []string{"apns-id", "123e4567-e89b-12d3-a456-42665544000g"}, 400, "BadMessageId"},

		{"no payload", device(1), ``, nil, 400, "PayloadEmpty"},
		{"no JSON", device(1), `{"aps":`, nil, 400, "PayloadEmpty"},
		{"no object", device(1), `[1]`, nil, 400, "PayloadEmpty"},
		{"null", device(1), `null`, nil, 400, "PayloadEmpty"},
		{"two objects", device(1), `{}{}`, nil, 400, "PayloadEmpty"},
		{"4096 bytes", device(1), pad(4096), nil, 200, ""},
		{"4097 bytes", device(1), pad(4097), nil, 413, "PayloadTooLarge"},
		{"a call of 5120 bytes", device(10), pad(5120), []string{"apns-topic", DefaultTopic + ".voip", "apns-push-type", "voip"}, 200, ""},
		{"a call of 5121 bytes", device(10), pad(5121), []string{"apns-topic", DefaultTopic + ".voip", "apns-push-type", "voip"}, 413, "PayloadTooLarge"},
		{"200,000 bytes", device(1), pad(200_000), nil, 413, "PayloadTooLarge"},

		{"no provider token", device(1), `{"aps":{}}`, []string{"authorization", ""}, 403, "MissingProviderToken"},
		{"odd provider token", device(1), `{"aps":{}}`, []string{"authorization", "bearer x.y.z"}, 403, "InvalidProviderToken"},
		{"another scheme", device(1), `{"aps":{}}`, []string{"authorization", "basic " + c.token}, 403, "InvalidProviderToken"},
	} {
		t.Run(e.name, func(t *testing.T) {
			last := s.Last()
			a := c.push(e.device, e.payload, e.headers...)
			if a.status != e.status || a.reason != e.reason {
				t.Errorf("%d %q, want %d %q", a.status, a.reason, e.status, e.reason)
			}
			if !isUUID(a.header.Get("apns-id")) {
				t.Errorf("apns-id %q", a.header.Get("apns-id"))
			}
			got, err := s.WaitAfter(context30(t), last, func(Attempt) bool { return true })
			if err != nil || got.Status != e.status || got.Reason != e.reason {
				t.Errorf("logged: %d %q, %v", got.Status, got.Reason, err)
			}
		})
	}

	for _, method := range []string{http.MethodGet, http.MethodPut} {
		r := c.request(context30(t), s.APNsURL(), device(1), `{"aps":{}}`)
		r.Method = method
		if a, err := c.do(r); err != nil || a.status != 405 || a.reason != "MethodNotAllowed" {
			t.Errorf("%s: %+v, %v", method, a, err)
		}
	}
	r := c.request(context30(t), s.APNsURL(), device(1), `{"aps":{}}`)
	r.URL.Path = "/2/device/" + device(1)
	if a, err := c.do(r); err != nil || a.reason != "BadPath" {
		t.Errorf("path: %+v, %v", a, err)
	}
	r = c.request(context30(t), s.APNsURL(), device(1), `{"aps":{}}`)
	r.Header.Add("apns-priority", "5")
	r.Header.Add("apns-priority", "10")
	if a, err := c.do(r); err != nil || a.reason != "DuplicateHeaders" {
		t.Errorf("two priorities: %+v, %v", a, err)
	}
}

// TestProviderTokens is what APNs says about tokens, and when.
func TestProviderTokens(t *testing.T) {
	now := newClock()
	s := startSim(t, Config{Now: now.Now})
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": s.files.APNs.Team, "iat": now.Now().Unix()})
	forged.Header["kid"] = s.files.APNs.KeyID
	stranger, err := forged.SignedString(other)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"iss": s.files.APNs.Team, "iat": now.Now().Unix()})
	unsigned.Header["kid"] = s.files.APNs.KeyID
	none, err := unsigned.SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]struct{ token, reason string }{
		"another key's":       {stranger, "InvalidProviderToken"},
		"unsigned":            {none, "InvalidProviderToken"},
		"another kid":         {mint(t, s, func(j *jwt.Token, _ jwt.MapClaims) { j.Header["kid"] = "ABCDEFGHIJ" }), "InvalidProviderToken"},
		"no kid":              {mint(t, s, func(j *jwt.Token, _ jwt.MapClaims) { delete(j.Header, "kid") }), "InvalidProviderToken"},
		"another team":        {mint(t, s, func(_ *jwt.Token, c jwt.MapClaims) { c["iss"] = "ABCDEFGHIJ" }), "InvalidProviderToken"},
		"no iat":              {mint(t, s, func(_ *jwt.Token, c jwt.MapClaims) { delete(c, "iat") }), "InvalidProviderToken"},
		"an iat in an hour":   {mint(t, s, func(_ *jwt.Token, c jwt.MapClaims) { c["iat"] = now.Now().Add(time.Hour).Unix() }), "InvalidProviderToken"},
		"an iat that is text": {mint(t, s, func(_ *jwt.Token, c jwt.MapClaims) { c["iat"] = "today" }), "InvalidProviderToken"},
		"older than an hour":  {mint(t, s, func(_ *jwt.Token, c jwt.MapClaims) { c["iat"] = now.Now().Add(-time.Hour - time.Second).Unix() }), "ExpiredProviderToken"},
		"an hour old":         {mint(t, s, func(_ *jwt.Token, c jwt.MapClaims) { c["iat"] = now.Now().Add(-time.Hour).Unix() }), ""},
	} {
		c := newClient(t, s)
		c.token = e.token
		if a := c.push(device(1), `{"aps":{}}`); a.reason != e.reason || (a.status == 200) != (e.reason == "") {
			t.Errorf("%s: %d %q, want %q", name, a.status, a.reason, e.reason)
		}
	}

	c := newClient(t, s)
	first := c.token
	push := func(token, want, when string) {
		t.Helper()
		c.token = token
		if a := c.push(device(1), `{"aps":{}}`); a.reason != want {
			t.Errorf("%s: %q, want %q", when, a.reason, want)
		}
	}
	push(first, "", "the first")
	now.advance(19 * time.Minute)
	second := mint(t, s, nil)
	push(second, "TooManyProviderTokenUpdates", "another after 19 minutes")
	push(first, "", "the first again")
	now.advance(time.Minute)
	push(second, "", "another after 20 minutes")
	push(first, "TooManyProviderTokenUpdates", "back to the first")
	now.advance(59 * time.Minute) // the second is an hour old
	push(second, "", "at an hour")
	now.advance(time.Second)
	push(second, "ExpiredProviderToken", "after an hour")
	push(mint(t, s, nil), "", "a new one")
	now.advance(time.Minute)

	// One that a fault makes expire is replaced at once, on the same connection.
	if _, err := s.AddPreset("expired-key", Choice{Provider: APNs}); err != nil {
		t.Fatal(err)
	}
	push(c.token, "ExpiredProviderToken", "expired by a fault")
	now.advance(time.Second)
	last := s.Last()
	push(mint(t, s, func(_ *jwt.Token, c jwt.MapClaims) { c["jti"] = "1" }), "", "the one after it")
	if a, err := s.WaitAfter(context30(t), last, func(Attempt) bool { return true }); err != nil || a.Credential == 0 || a.Fault != "" {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestEnvironments: a token belongs to one environment and one topic.
func TestEnvironments(t *testing.T) {
	s := startSim(t, Config{})
	c := newClient(t, s)
	at := func(url, token string, headers ...string) answer {
		t.Helper()
		a, err := c.do(c.request(context30(t), url, token, `{"aps":{}}`, headers...))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if err := s.SetDevice(Device{Provider: APNs, Token: device(1), Sandbox: true}); err != nil {
		t.Fatal(err)
	}
	if a := at(s.APNsURL(), device(1)); a.status != 400 || a.reason != "BadDeviceToken" {
		t.Errorf("a sandbox token in production: %+v", a)
	}
	if a := at(s.SandboxURL(), device(1)); a.status != 200 || !isUUID(a.header.Get("apns-unique-id")) {
		t.Errorf("in the sandbox: %+v", a)
	}
	if a := at(s.APNsURL(), device(2)); a.status != 200 || a.header.Get("apns-unique-id") != "" {
		t.Errorf("one that nobody set: %+v", a)
	}
	if a := at(s.SandboxURL(), device(2)); a.reason != "BadDeviceToken" {
		t.Errorf("and then in the sandbox: %+v", a)
	}
	if err := s.SetDevice(Device{Provider: APNs, Token: device(3), Topic: DefaultTopic}); err != nil {
		t.Fatal(err)
	}
	if a := at(s.APNsURL(), device(3), "apns-topic", DefaultTopic+".voip"); a.reason != "DeviceTokenNotForTopic" {
		t.Errorf("another topic: %+v", a)
	}
	for state, want := range map[State]string{Bad: "BadDeviceToken", WrongSender: "DeviceTokenNotForTopic", Busy: "TooManyRequests", Online: ""} {
		if err := s.SetDevice(Device{Provider: APNs, Token: device(4), State: state}); err != nil {
			t.Fatal(err)
		}
		if a := at(s.APNsURL(), device(4)); a.reason != want || a.reason != "" && a.status != apnsReasons[want] {
			t.Errorf("%s: %+v", state, a)
		}
	}
}
