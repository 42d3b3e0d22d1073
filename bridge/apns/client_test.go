package apns

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// TestSend sees every header and the payload as they arrive.
func TestSend(t *testing.T) {
	began := time.Now()
	var got requestLog
	s := &server{handle: func(p *peer, r *request) { got.add(r); ok(p, r) }}
	cfg := testConfig(t, listen(t, s))
	key := writeKey(t, cfg.KeyFile)
	cfg.Topic += ", com.example.other"
	c := open(t, cfg)
	chat := testPush()
	now := testPush()
	now.Expires, now.Class, now.To.App = time.Time{}, push.Bulk, "com.example.other"
	clears := testPush()
	clears.Class, clears.Note, clears.Collapse = push.Clear, push.Note{Kind: push.KindClear, Thread: "feed", Seq: 9, Badge: 0}, ""
	for i, p := range []*push.Push{chat, now, clears} {
		if a := c.Send(testContext(t), p); a.Outcome != push.Delivered || a.Status != 200 || a.Err != nil {
			t.Fatalf("push %d: %+v", i, a)
		}
	}
	want := []map[string]string{
		{"apns-topic": testApp, "apns-push-type": "alert", "apns-priority": "10", "apns-expiration": "1800000000", "apns-collapse-id": "m0123"},
		{"apns-topic": "com.example.other", "apns-push-type": "alert", "apns-priority": "5", "apns-expiration": "0", "apns-collapse-id": "m0123"},
		{"apns-topic": testApp, "apns-push-type": "background", "apns-priority": "5", "apns-expiration": "1800000000", "apns-collapse-id": ""},
	}
	bodies := []string{
		`{"aps":{"alert":{"loc-args":["Alice","hello"],"loc-key":"push_text"},"badge":4,"mutable-content":1,"relevance-score":1,"sound":"default","thread-id":"feed"},"count":3,"epoch":2,"kind":"message","room":"room/lobby","seq":9,"thread":"feed"}`,
		`{"aps":{"alert":{"loc-args":["Alice","hello"],"loc-key":"push_text"},"badge":4,"mutable-content":1,"sound":"default","thread-id":"feed"},"count":3,"epoch":2,"kind":"message","room":"room/lobby","seq":9,"thread":"feed"}`,
		`{"aps":{"badge":0,"content-available":1},"badge":0,"kind":"clear","seq":9,"thread":"feed"}`,
	}
	if n := len(got.all()); n != 3 {
		t.Fatalf("%d requests for 3 pushes", n)
	}
	for i, r := range got.all() {
		if r.method != "POST" || r.path != "/3/device/"+testToken || r.headers["apns-id"] != chat.ID.String() {
			t.Errorf("request %d: %s %s, %s", i, r.method, r.path, r.headers["apns-id"])
		}
		for h, v := range want[i] {
			if r.headers[h] != v {
				t.Errorf("request %d: %s is %q, want %q", i, h, r.headers[h], v)
			}
		}
		if string(r.body) != bodies[i] {
			t.Errorf("request %d:\n%s\nwant\n%s", i, r.body, bodies[i])
		}
		bearer, found := strings.CutPrefix(r.headers["authorization"], "bearer ")
		tok, err := jwt.Parse(bearer, func(*jwt.Token) (any, error) { return key.Public(), nil }, jwt.WithValidMethods([]string{"ES256"}))
		if !found || err != nil {
			t.Fatalf("request %d: provider token: %v", i, err)
		}
		if iss, err := tok.Claims.GetIssuer(); iss != testTeam || err != nil || tok.Header["kid"] != testID {
			t.Errorf("request %d: of %s, key %v, %v", i, iss, tok.Header["kid"], err)
		}
		if iat, err := tok.Claims.GetIssuedAt(); err != nil || began.Sub(iat.Time) > renewAfter || iat.After(time.Now()) {
			t.Errorf("request %d: issued at %v, %v", i, iat, err)
		}
	}
	if n := len(s.connections()); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestReasons answers with every reason, and sees what it comes to.
func TestReasons(t *testing.T) {
	rows := []struct {
		status int
		reason string
		want   push.Outcome
	}{
		// "Handling notification responses from APNs", table "Response error strings", in its order.
		{400, "BadCollapseId", push.Rejected},
		{400, "BadDeviceToken", push.Suspect},
		{400, "BadExpirationDate", push.Rejected},
		{400, "BadMessageId", push.Rejected},
		{400, "BadPriority", push.Rejected},
		{400, "BadTopic", push.Rejected},
		{400, "DeviceTokenNotForTopic", push.Suspect},
		{400, "DuplicateHeaders", push.Rejected},
		{400, "IdleTimeout", push.Unavailable},
		{400, "InvalidPushType", push.Rejected},
		{400, "MissingDeviceToken", push.Rejected},
		{400, "MissingTopic", push.Rejected},
		{400, "PayloadEmpty", push.Rejected},
		{400, "TopicDisallowed", push.Rejected},
		{403, "BadCertificate", push.Denied},
		{403, "BadCertificateEnvironment", push.Denied},
		{403, "ExpiredProviderToken", push.Expired},
		{403, "Forbidden", push.Denied},
		{403, "InvalidProviderToken", push.Denied},
		{403, "MissingProviderToken", push.Denied},
		{403, "UnrelatedKeyIdInToken", push.Denied},
		{403, "BadEnvironmentKeyIdInToken", push.Denied},
		{403, "BadEnvironmentKeyInToken", push.Denied},
		{404, "BadPath", push.Rejected},
		{405, "MethodNotAllowed", push.Rejected},
		{410, "ExpiredToken", push.Gone},
		{410, "Unregistered", push.Gone},
		{413, "PayloadTooLarge", push.TooLarge},
		{429, "TooManyProviderTokenUpdates", push.Busy},
		{429, "TooManyRequests", push.DeviceBusy},
		{500, "InternalServerError", push.Unavailable},
		{503, "ServiceUnavailable", push.Unavailable},
		{503, "Shutdown", push.Unavailable},

		// What the table does not have.
		{400, "SomethingNew", push.Rejected}, {401, "SomethingNew", push.Denied}, {403, "SomethingNew", push.Denied},
		{404, "SomethingNew", push.Rejected}, {407, "", push.Denied}, {408, "", push.Unavailable}, {410, "SomethingNew", push.Gone},
		{413, "", push.TooLarge}, {418, "", push.Rejected}, {421, "", push.Unavailable}, {425, "", push.Unavailable},
		{429, "SomethingNew", push.Busy}, {500, "SomethingNew", push.Unavailable}, {502, "", push.Unavailable},
		{504, "", push.Unavailable}, {599, "", push.Unavailable}, {301, "", push.Denied}, {308, "", push.Denied}, {204, "", push.Delivered},
	}
	var n int
	s := &server{handle: func(p *peer, r *request) {
		row := rows[n]
		n++
		body := ""
		if row.reason != "" {
			body = `{"reason":"` + row.reason + `"}`
		}
		p.answer(r, row.status, body, "location", "https://127.0.0.1:1/elsewhere")
	}}
	c := open(t, testConfig(t, listen(t, s)))
	known := make(map[string]bool)
	for i, row := range rows {
		a := c.Send(testContext(t), testPush())
		if a.Outcome != row.want || a.Status != row.status || a.Reason != row.reason {
			t.Errorf("%d %q: %v, %d, %q, %v; want %v", row.status, row.reason, a.Outcome, a.Status, a.Reason, a.Err, row.want)
		}
		if n != i+1 {
			t.Fatalf("%d requests for %d pushes", n, i+1)
		}
		known[row.reason] = true
	}
	for r := range outcomes {
		if !known[r] {
			t.Errorf("reason %s has no row in this test", r)
		}
	}
}

// TestAnswerIsKept loses nothing that apns2 does: Retry-After, a page of HTML, since when, a body that breaks off.
func TestAnswerIsKept(t *testing.T) {
	date := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	html := "<html><body>503 Service Temporarily Unavailable</body></html>"
	for _, row := range []struct {
		name    string
		status  int
		headers []string
		body    string
		want    push.Answer
	}{
		{"503 with HTML", 503, []string{"retry-after", "120", "content-type", "text/html"}, html,
			push.Answer{Outcome: push.Unavailable, RetryAfter: 2 * time.Minute}},
		{"a date, by our clock", 503, []string{"retry-after", date.Add(time.Minute).Format(http.TimeFormat)}, "",
			push.Answer{Outcome: push.Unavailable, RetryAfter: time.Minute}},
		{"a date, by theirs", 503, []string{"retry-after", date.Add(time.Minute).Format(http.TimeFormat), "date", date.Add(45 * time.Second).Format(http.TimeFormat)}, "",
			push.Answer{Outcome: push.Unavailable, RetryAfter: 15 * time.Second}},
		{"429", 429, []string{"retry-after", "7"}, `{"reason":"TooManyRequests"}`,
			push.Answer{Outcome: push.DeviceBusy, Reason: "TooManyRequests", RetryAfter: 7 * time.Second}},
		{"410", 410, nil, `{"reason":"Unregistered","timestamp":1700000000123}`,
			push.Answer{Outcome: push.Gone, Reason: "Unregistered", Since: time.UnixMilli(1700000000123)}},
		{"410 without a time", 410, nil, `{"reason":"ExpiredToken"}`, push.Answer{Outcome: push.Gone, Reason: "ExpiredToken"}},
		{"410 with nonsense for one", 410, nil, `{"reason":"Unregistered","timestamp":"soon"}`, push.Answer{Outcome: push.Gone, Reason: "Unregistered"}},
		{"half a body", 400, nil, `{"reason":"BadDevi`, push.Answer{Outcome: push.Rejected}},
		{"a reason that is none", 400, nil, `{"reason":"the token ` + testToken + `"}`, push.Answer{Outcome: push.Rejected}},
		{"a token for a reason", 400, nil, `{"reason":"` + testToken + `"}`, push.Answer{Outcome: push.Rejected}},
		{"a body far too long", 500, nil, strings.Repeat("x", 15<<10) + strings.Repeat("y", 2<<10), push.Answer{Outcome: push.Unavailable}},
		{"200 with a body", 200, nil, `{"reason":"BadDeviceToken"}`, push.Answer{Outcome: push.Delivered}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &server{handle: func(p *peer, r *request) {
				body := row.body
				if len(body) <= 16<<10 {
					p.answer(r, row.status, body, row.headers...)
					return
				}
				p.headers(r, row.status, false, row.headers...)
				for len(body) > 0 { // two frames: one has 16,384 bytes at most
					n := min(len(body), 10<<10)
					part := body[:n]
					body = body[n:]
					p.write(func() error { return p.fr.WriteData(r.stream, len(body) == 0, []byte(part)) })
				}
				p.end()
			}}
			cfg := testConfig(t, listen(t, s))
			cfg.Now = func() time.Time { return date }
			c := open(t, cfg)
			row.want.Status = row.status
			if a := c.Send(testContext(t), testPush()); a != row.want {
				t.Errorf("%+v\nwant %+v", a, row.want)
			}
		})
	}
}

// TestNotSent: what cannot be sent costs no request, and says why without a token.
func TestNotSent(t *testing.T) {
	s := &server{handle: func(_ *peer, r *request) { t.Errorf("a request: %s", r.path) }}
	c := open(t, testConfig(t, listen(t, s)))
	for name, row := range map[string]struct {
		change func(*push.Push)
		want   push.Outcome
	}{
		"token": {func(p *push.Push) { p.To.Token = "../" + testToken[3:] }, push.Gone},
		"app":   {func(p *push.Push) { p.To.App = "com.example.another" }, push.Rejected},
		"size":  {func(p *push.Push) { p.Note.Thread = strings.Repeat("x", 4096) }, push.TooLarge},
	} {
		p := testPush()
		row.change(p)
		a := c.Send(testContext(t), p)
		if a.Outcome != row.want || a.Err == nil || a.Status != 0 || strings.Contains(a.Err.Error(), testToken[3:]) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestHosts: development registrations go elsewhere, over a connection of their own, and each with its own key.
func TestHosts(t *testing.T) {
	var production, sandbox requestLog
	a := &server{handle: func(p *peer, r *request) { production.add(r); ok(p, r) }}
	b := &server{handle: func(p *peer, r *request) { sandbox.add(r); ok(p, r) }}
	cfg := testConfig(t, listen(t, a))
	cfg.SandboxURL = listen(t, b)
	cfg.SandboxKeyID = "SANDBOX123"
	cfg.SandboxKeyFile = cfg.KeyFile[:len(cfg.KeyFile)-len("AuthKey_ABC123DEFG.p8")] + "sandbox.pem"
	writeKey(t, cfg.SandboxKeyFile)
	c := open(t, cfg)
	for _, there := range []bool{false, true, true, false} {
		p := testPush()
		p.To.Sandbox = there
		if got := c.Send(testContext(t), p); got.Outcome != push.Delivered {
			t.Fatalf("sandbox %v: %+v", there, got)
		}
	}
	if len(production.all()) != 2 || len(sandbox.all()) != 2 || len(a.connections()) != 1 || len(b.connections()) != 1 {
		t.Errorf("%d and %d requests, %d and %d connections", len(production.all()), len(sandbox.all()), len(a.connections()), len(b.connections()))
	}
	for id, log := range map[string]*requestLog{testID: &production, "SANDBOX123": &sandbox} {
		tok, _, err := jwt.NewParser().ParseUnverified(strings.TrimPrefix(log.all()[0].headers["authorization"], "bearer "), jwt.MapClaims{})
		if err != nil || tok.Header["kid"] != id {
			t.Errorf("%v, %v; want %s", tok.Header, err, id)
		}
	}
}

// TestRefresh: an expired provider token is made anew, but not within 20 minutes, whoever asks how often.
func TestRefresh(t *testing.T) {
	var got requestLog
	s := &server{handle: func(p *peer, r *request) {
		got.add(r)
		p.answer(r, 403, `{"reason":"ExpiredProviderToken"}`)
	}}
	cfg := testConfig(t, listen(t, s))
	var mu sync.Mutex
	now := time.Unix(1_800_000_000, 0)
	cfg.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	c := open(t, cfg)
	send := func(after time.Duration) push.Answer {
		mu.Lock()
		now = now.Add(after)
		mu.Unlock()
		a := c.Send(testContext(t), testPush())
		c.Refresh()
		if a.Outcome != push.Expired || a.Reason != "ExpiredProviderToken" {
			t.Fatalf("%+v", a)
		}
		return a
	}
	if a := send(0); a.Err == nil || !strings.Contains(a.Err.Error(), "clock") {
		t.Errorf("a token that was just made has expired: %v", a.Err)
	}
	send(19 * time.Minute)
	if a := send(2 * time.Minute); a.Err != nil { // 21 minutes: Refresh takes effect with the next one
		t.Errorf("an old token has expired: %v", a.Err)
	}
	send(time.Second)
	send(time.Second)
	var distinct []string
	for _, r := range got.all() {
		if a := r.headers["authorization"]; len(distinct) == 0 || distinct[len(distinct)-1] != a {
			distinct = append(distinct, a)
		}
	}
	if len(got.all()) != 5 || len(distinct) != 2 || got.all()[2].headers["authorization"] != distinct[0] {
		t.Errorf("%d requests with %d tokens", len(got.all()), len(distinct))
	}
}

// TestConfigValidate says what is wrong in words that help.
func TestConfigValidate(t *testing.T) {
	good := testConfig(t, "https://127.0.0.1:1")
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"a key file, a team and a topic are needed": func(c *Config) { c.Topic = "" },
		"no such file":                  func(c *Config) { c.KeyFile += "x" },
		"10 capital letters and digits": func(c *Config) { c.KeyID = "abc" },
		"membership page":               func(c *Config) { c.TeamID = "TEAM" },
		"it is key " + testID:           func(c *Config) { c.KeyID = "XXXXXXXXXX" },
		"is no bundle identifier":       func(c *Config) { c.Topic = "com.example.app,,x" },
		"there twice":                   func(c *Config) { c.Topic = "com.example.app, com.example.app" },
		"phone or server":               func(c *Config) { c.Texts = "both" },
		"requests in flight":            func(c *Config) { c.InFlight = -1 },
		"it has to be https://":         func(c *Config) { c.URL = "http://api.push.apple.com" },
		"nothing behind it":             func(c *Config) { c.SandboxURL = "https://api.push.apple.com/3/device" },
		"no key file":                   func(c *Config) { c.SandboxKeyID = testID },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
		if _, err := New(c); err == nil {
			t.Errorf("%q: New takes it", want)
		}
	}
	c := good
	c.Topic = " com.example.app , com.example.Other-2"
	client := open(t, c)
	for app, fine := range map[string]bool{"": true, "com.example.app": true, "com.example.Other-2": true, "com.example": false, "a b": false} {
		if err := client.CheckApp(app); (err == nil) != fine {
			t.Errorf("app %q: %v", app, err)
		}
		if err := client.Check(&graph.Registration{Token: testToken, App: app}); (err == nil) != fine {
			t.Errorf("a registration of app %q: %v", app, err)
		}
	}
	if err := client.Check(&graph.Registration{Token: "x"}); err == nil {
		t.Error("a registration with half a token is taken")
	}
}

func TestDefaults(t *testing.T) {
	for _, row := range [][4]string{
		{"", "", "https://api.push.apple.com", "https://api.sandbox.push.apple.com"},
		{"https://sim:1", "", "https://sim:1", "https://sim:1"}, // nothing of a trial goes to Apple
		{"", "https://sim:1", "https://api.push.apple.com", "https://sim:1"},
	} {
		c := Config{URL: row[0], SandboxURL: row[1]}
		c.setDefaults()
		if c.URL != row[2] || c.SandboxURL != row[3] || c.InFlight != 500 || c.Texts != TextsPhone {
			t.Errorf("%q: %+v", row, c)
		}
	}
}

func TestCheckToken(t *testing.T) {
	for token, fine := range map[string]bool{
		testToken: true, strings.ToUpper(testToken): true, strings.Repeat("0f", 80): true, strings.Repeat("0f", 128): true,
		"": false, testToken[2:]: false, testToken + "a": false, strings.Repeat("0f", 129): false, testToken[1:] + "g": false,
		testToken[2:] + "/x": false, "<" + testToken[2:] + ">": false, testToken[:62] + "é": false,
	} {
		err := CheckToken(token)
		if (err == nil) != fine {
			t.Errorf("%q: %v", token, err)
		}
		if err != nil && len(token) > 8 && strings.Contains(err.Error(), token[2:8]) {
			t.Errorf("the token is in the error: %v", err)
		}
	}
}

func FuzzCheckToken(f *testing.F) {
	f.Add(testToken)
	f.Add("<0123 4567>")
	f.Fuzz(func(t *testing.T, token string) {
		if CheckToken(token) == nil && strings.Trim(strings.ToLower(token), "0123456789abcdef") != "" {
			t.Errorf("%q is taken", token)
		}
	})
}

func FuzzReason(f *testing.F) {
	f.Add([]byte(`{"reason":"Unregistered","timestamp":1700000000123}`))
	f.Add([]byte(`{"reason":"` + testToken + `","timestamp":-9e99}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		reason, since := reasonIn(body)
		if len(reason) > 64 || strings.ContainsAny(reason, " \n\"/") {
			t.Errorf("reason %q", reason)
		}
		if _, err := json.Marshal(since); err != nil {
			t.Errorf("time %v: %v", since, err)
		}
	})
}
