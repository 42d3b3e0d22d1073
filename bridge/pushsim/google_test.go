package pushsim

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/net/http2/hpack"
)

// fcmClient is a sender: it gets its access token as Google's libraries do.
type fcmClient struct {
	t      testing.TB
	s      *Sim
	http   *http.Client
	bearer string
}

func newFCMClient(t testing.TB, s *Sim) *fcmClient {
	t.Helper()
	c := &fcmClient{t: t, s: s, http: newClient(t, s).http}
	c.bearer = c.token(nil)
	return c
}

// assertion is signed with the service account's key; change may spoil it.
func (c *fcmClient) assertion(change func(claims map[string]any)) string {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.s.cfg.Dir, FileFCM))
	if err != nil {
		c.t.Fatal(err)
	}
	var a account
	if err := json.Unmarshal(b, &a); err != nil {
		c.t.Fatal(err)
	}
	key, err := parseKey[*rsa.PrivateKey]([]byte(a.Key))
	if err != nil {
		c.t.Fatal(err)
	}
	now := c.s.now()
	claims := map[string]any{"iss": a.Email, "aud": c.s.FCMURL() + "/token", "scope": oauthScope, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if change != nil {
		change(claims)
	}
	return sign(c.t, jwt.SigningMethodRS256, key, a.KeyID, claims)
}

// grant asks for an access token.
func (c *fcmClient) grant(assertion string) (status int, body map[string]any) {
	c.t.Helper()
	form := url.Values{"grant_type": {oauthGrant}, "assertion": {assertion}}
	return c.post("/token", "application/x-www-form-urlencoded", "", form.Encode())
}

func (c *fcmClient) token(change func(map[string]any)) string {
	c.t.Helper()
	status, body := c.grant(c.assertion(change))
	token, _ := body["access_token"].(string)
	if status != 200 || token == "" || body["token_type"] != "Bearer" || body["expires_in"] != 3600.0 {
		c.t.Fatalf("%d %v", status, body)
	}
	return token
}

func (c *fcmClient) post(path, kind, bearer, body string) (int, map[string]any) {
	c.t.Helper()
	res, b := c.raw(context30(c.t), path, kind, bearer, body)
	var out map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			c.t.Fatalf("%d %s: %v", res.StatusCode, b, err)
		}
	}
	return res.StatusCode, out
}

func (c *fcmClient) raw(ctx context.Context, path, kind, bearer, body string) (*http.Response, []byte) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.s.FCMURL()+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, b
}

// send sends a message and returns the status, the message's name, and FCM's error code.
func (c *fcmClient) send(body string) (status int, name, code string) {
	c.t.Helper()
	status, out := c.post("/v1/projects/"+DefaultProject+"/messages:send", "application/json", c.bearer, body)
	name, _ = out["name"].(string)
	if e, ok := out["error"].(map[string]any); ok {
		code, _ = e["status"].(string)
		details, _ := e["details"].([]any)
		for _, d := range details {
			if m, ok := d.(map[string]any); ok && m["errorCode"] != nil {
				code = m["errorCode"].(string)
			}
		}
	}
	return status, name, code
}

// fcmMessageTo is a chat message for a phone.
func fcmMessageTo(token string, seq int, more string) string {
	return fmt.Sprintf(`{"message":{"token":%q,"data":{"kind":"message","thread":"t1","seq":"%d","epoch":"1","count":"1","badge":"2",`+
		`"key":"message","args":"[\"Alice\",\"hi\"]"},"android":{"priority":"high"%s}}}`, token, seq, more)
}

func TestFCM(t *testing.T) {
	s := startSim(t, Config{})
	c := newFCMClient(t, s)
	status, name, _ := c.send(fcmMessageTo("bob", 7, `,"ttl":"60s"`))
	if status != 200 || !strings.HasPrefix(name, "projects/"+DefaultProject+"/messages/0:") {
		t.Fatalf("%d %q", status, name)
	}
	p, ok := s.Phone("bob")
	if !ok || p.Provider != FCM || p.Rang != 1 || p.Badge != 2 || len(p.Notifications) != 1 || p.Notifications[0].Args[1] != "hi" {
		t.Fatalf("phone: %+v", p)
	}
	list := s.Attempts()
	a := list[len(list)-1]
	if a.Provider != FCM || a.Token != "bob" || a.ID != name || a.Priority != 10 || a.Status != 200 || a.Effect != Shown || a.Seq != 7 ||
		a.Expires.Sub(a.Time).Round(time.Second) != time.Minute {
		t.Errorf("attempt: %+v", a)
	}
	if list[0].PushType != "oauth" || list[0].Status != 200 || list[0].Token != "" {
		t.Errorf("the access token: %+v", list[0])
	}
	// The same again: the app drops what it has shown.
	if status, _, _ = c.send(fcmMessageTo("bob", 7, "")); status != 200 {
		t.Error(status)
	}
	if p, _ = s.Phone("bob"); p.Rang != 1 || p.Dropped != 1 {
		t.Errorf("phone: %+v", p)
	}
	// validate_only says what would happen, and wakes nobody.
	dry := strings.Replace(fcmMessageTo("carol", 1, ""), `{"message"`, `{"validate_only":true,"message"`, 1)
	if status, name, _ = c.send(dry); status != 200 || !strings.HasSuffix(name, "fake_message_id") {
		t.Errorf("%d %q", status, name)
	}
	if _, ok := s.Phone("carol"); ok {
		t.Error("validate_only reached a phone")
	}
	if status, _, _ = c.send(`{"message":{"topic":"news","data":{"a":"b"}}}`); status != 200 {
		t.Errorf("to a topic: %d", status)
	}
}

// TestFCMStates: what the state of a device makes FCM answer.
func TestFCMStates(t *testing.T) {
	s := startSim(t, Config{})
	c := newFCMClient(t, s)
	for _, w := range []struct {
		state  State
		status int
		code   string
	}{
		{Unregistered, 404, "UNREGISTERED"}, {Bad, 400, "INVALID_ARGUMENT"}, {WrongSender, 403, "SENDER_ID_MISMATCH"}, {Busy, 429, "QUOTA_EXCEEDED"},
		{Online, 200, ""}, {Offline, 200, ""},
	} {
		token := "phone-" + string(w.state)
		if err := s.SetDevice(Device{Provider: FCM, Token: token, State: w.state}); err != nil {
			t.Fatal(err)
		}
		if status, _, code := c.send(fcmMessageTo(token, 1, "")); status != w.status || code != w.code {
			t.Errorf("%s: %d %s", w.state, status, code)
		}
		dry := strings.Replace(fcmMessageTo(token, 1, ""), `{"message"`, `{"validate_only":true,"message"`, 1)
		if status, _, code := c.send(dry); status != w.status || code != w.code {
			t.Errorf("%s, validate_only: %d %s", w.state, status, code)
		}
	}
	// INVALID_ARGUMENT about the token says so in its text, and names no field: Google's own example.
	_, out := c.post("/v1/projects/"+DefaultProject+"/messages:send", "application/json", c.bearer, fcmMessageTo("phone-bad", 1, ""))
	b, _ := json.Marshal(out)
	if !bytes.Contains(b, []byte("not a valid FCM registration token")) || bytes.Contains(b, []byte("fieldViolations")) {
		t.Errorf("%s", b)
	}
}

// TestFCMAuthority: who may not send is told so in Google's words.
func TestFCMAuthority(t *testing.T) {
	now := newClock()
	s := startSim(t, Config{Now: now.Now})
	c := newFCMClient(t, s)
	path := "/v1/projects/" + DefaultProject + "/messages:send"
	scopeless := c.token(func(m map[string]any) { m["scope"] = "https://www.googleapis.com/auth/drive" })
	for _, w := range []struct {
		name, path, bearer string
		status             int
		word               string
	}{
		{"nobody", path, "", 401, "UNAUTHENTICATED"},
		{"somebody", path, "x", 401, "UNAUTHENTICATED"},
		{"scope", path, scopeless, 403, "PERMISSION_DENIED"},
		{"project", "/v1/projects/other/messages:send", c.bearer, 403, "PERMISSION_DENIED"},
		{"path", "/v1/projects/" + DefaultProject + "/messages:sendAll", c.bearer, 404, "NOT_FOUND"},
		{"deep path", "/v1/projects/a/b/messages:send", c.bearer, 404, "NOT_FOUND"},
		{"root", "/", c.bearer, 404, "NOT_FOUND"},
	} {
		status, out := c.post(w.path, "application/json", w.bearer, fcmMessageTo("bob", 1, ""))
		e, _ := out["error"].(map[string]any)
		if status != w.status || e["status"] != w.word || e["code"] != float64(w.status) {
			t.Errorf("%s: %d %v", w.name, status, out)
		}
	}
	if status, out := c.grant(c.assertion(func(m map[string]any) { m["aud"] = "https://oauth2.googleapis.com/token" })); status != 400 || out["error"] != "invalid_grant" {
		t.Errorf("%d %v", status, out)
	}
	if status, out := c.post("/token", "application/json", "", `{}`); status != 400 || out["error"] != "invalid_request" {
		t.Errorf("%d %v", status, out)
	}
	if status, _, _ := c.send(fcmMessageTo("bob", 1, "")); status != 200 {
		t.Error(status)
	}
	now.advance(time.Hour)
	if status, _, code := c.send(fcmMessageTo("bob", 2, "")); status != 401 || code != "UNAUTHENTICATED" {
		t.Errorf("an hour later: %d %s", status, code)
	}
	if _, ok := s.Phone("bob"); !ok {
		t.Error("nothing arrived")
	}
	if p, _ := s.Phone("bob"); p.Received != 1 {
		t.Errorf("%d pushes, of which one was allowed", p.Received)
	}
}

// TestFCMFaults: every answer that Google gives can be asked for, over a real connection.
func TestFCMFaults(t *testing.T) {
	s := startSim(t, Config{})
	c := newFCMClient(t, s)
	for reason, e := range fcmErrors {
		id, err := s.Add(Fault{Provider: FCM, Do: Do{Reason: reason}})
		if err != nil {
			t.Fatal(err)
		}
		want := e.fcm
		if want == "" {
			want = e.status
		}
		if status, _, code := c.send(fcmMessageTo("bob", 1, "")); status != e.code || code != want {
			t.Errorf("%s: %d %s", reason, status, code)
		}
		s.Clear(id)
	}
	if p, ok := s.Phone("bob"); ok {
		t.Errorf("a refused message reached %+v", p)
	}
	add := func(f Fault) {
		t.Helper()
		if _, err := s.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	path := "/v1/projects/" + DefaultProject + "/messages:send"
	add(Fault{Provider: FCM, Times: 1, Do: Do{Reason: "QUOTA_EXCEEDED", RetryAfter: 7 * time.Second}})
	if res, _ := c.raw(context30(t), path, "application/json", c.bearer, fcmMessageTo("bob", 1, "")); res.StatusCode != 429 || res.Header.Get("Retry-After") != "7" {
		t.Errorf("%d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	add(Fault{Provider: FCM, Times: 1, Do: Do{Status: 503, Body: "<html>busy</html>"}})
	if res, b := c.raw(context30(t), path, "application/json", c.bearer, fcmMessageTo("bob", 1, "")); res.StatusCode != 503 || string(b) != "<html>busy</html>" {
		t.Errorf("%d %s", res.StatusCode, b)
	}
	add(Fault{Provider: FCM, Times: 1, Do: Do{Reason: "INTERNAL", Deliver: true}})
	if status, _, code := c.send(fcmMessageTo("bob", 1, "")); status != 500 || code != "INTERNAL" {
		t.Errorf("%d %s", status, code)
	}
	if p, _ := s.Phone("bob"); p.Received != 1 {
		t.Errorf("delivered, then an error: %+v", p)
	}
	// The token endpoint has faults of its own, and is not struck by those of sending.
	add(Fault{Provider: FCM, PushType: "oauth", Times: 1, Do: Do{Reason: "invalid_grant"}})
	add(Fault{Provider: FCM, Times: 1, Do: Do{ExpireTokens: true}})
	if status, out := c.grant(c.assertion(nil)); status != 400 || out["error"] != "invalid_grant" {
		t.Errorf("%d %v", status, out)
	}
	if status, _, _ := c.send(fcmMessageTo("bob", 2, "")); status != 401 {
		t.Errorf("with an expired access token: %d", status)
	}
	c.bearer = c.token(nil)
	if status, _, _ := c.send(fcmMessageTo("bob", 2, "")); status != 200 {
		t.Errorf("with a new one: %d", status)
	}
}

// TestFCMOffline: a phone that is away gets what was kept for it, and nothing at all if that was more than 100.
func TestFCMOffline(t *testing.T) {
	s := startSim(t, Config{})
	c := newFCMClient(t, s)
	state := func(token string, st State) {
		t.Helper()
		if err := s.SetDevice(Device{Provider: FCM, Token: token, State: st}); err != nil {
			t.Fatal(err)
		}
	}
	state("few", Offline)
	state("many", Offline)
	for i := range 100 {
		c.send(fcmMessageTo("few", i+1, ""))
		c.send(fcmMessageTo("many", i+1, ""))
	}
	c.send(fcmMessageTo("many", 101, ""))
	c.send(fcmMessageTo("few", 101, `,"ttl":"0s"`)) // now or never
	state("few", Online)
	state("many", Online)
	if p, _ := s.Phone("few"); p.Received != 100 || p.Lost != 1 {
		t.Errorf("few: %+v", p)
	}
	if p, _ := s.Phone("many"); p.Received != 0 || p.Lost != 101 {
		t.Errorf("many: %+v", p)
	}
}

// TestFCMCollapsible: of collapsible messages a phone gets 20 at once and one every three minutes from then on, always
// the newest, and of four keys at a time.
func TestFCMCollapsible(t *testing.T) {
	now := newClock()
	s := startSim(t, Config{Now: now.Now})
	c := newFCMClient(t, s)
	for i := range 30 {
		if status, _, _ := c.send(fcmMessageTo("bob", i+1, `,"collapse_key":"k"`)); status != 200 {
			t.Fatal(status)
		}
	}
	p, _ := s.Phone("bob")
	if p.Received != 20 || p.Held != 1 || p.Notifications[0].Seq != 20 {
		t.Fatalf("after 30: %+v", p)
	}
	if status, _, _ := c.send(strings.Replace(fcmMessageTo("bob", 31, ""), "t1", "t2", 1)); status != 200 {
		t.Fatal(status)
	}
	if p, _ = s.Phone("bob"); p.Received != 21 {
		t.Errorf("what is not collapsible is not throttled: %+v", p)
	}
	now.advance(3 * time.Minute)
	if p, _ = s.Phone("bob"); p.Received != 22 || p.Held != 0 || p.Notifications[1].Seq != 30 {
		t.Errorf("three minutes later: %+v", p)
	}
	if err := s.SetDevice(Device{Provider: FCM, Token: "carol", State: Offline}); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		c.send(fcmMessageTo("carol", i+1, fmt.Sprintf(`,"collapse_key":"k%d"`, i)))
	}
	if p, _ = s.Phone("carol"); p.Held != 4 || p.Lost != 2 {
		t.Errorf("six keys: %+v", p)
	}
}

// BenchmarkFCM is how many sends a second the simulator takes, over one connection with 90 in flight; the client's work is
// counted in.
func BenchmarkFCM(b *testing.B) {
	s := startSim(b, Config{})
	c := newFCMClient(b, s)
	body := fcmMessageTo("bob", 1, "")
	b.SetParallelism(90)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequest(http.MethodPost, s.FCMURL()+"/v1/projects/"+DefaultProject+"/messages:send", strings.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+c.bearer)
			res, err := c.http.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
				b.Error(res.StatusCode, err)
			}
			res.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
}

// BenchmarkFCMExchange is one send without a connection.
func BenchmarkFCMExchange(b *testing.B) {
	s := startSim(b, Config{})
	g := newGoogle(s.files, s.now)
	r := &request{method: http.MethodPost, path: "/v1/projects/" + DefaultProject + "/messages:send", body: []byte(fcmMessageTo("bob", 1, ""))}
	r.header = []hpack.HeaderField{{Name: "authorization", Value: "Bearer " + g.oauth.issue(true)}, {Name: "content-type", Value: "application/json"}}
	b.ReportAllocs()
	for b.Loop() {
		if d := s.exchange(g, r); d.status != 200 {
			b.Fatal(d.status)
		}
	}
}
