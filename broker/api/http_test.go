package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

func get(t *testing.T, url string) reply {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, r)
}

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	basic := func(user, pass string) string {
		r := httptest.NewRequest("POST", "/", nil)
		r.SetBasicAuth(user, pass)
		return r.Header.Get("Authorization")
	}
	operator := w.op(200, "operator.token.create", obj{"scopes": []string{"*"}})["secret"].(string)
	for _, c := range []struct {
		name, auth string
		want       int
	}{
		{"nothing", "", 401},
		{"bearer", "Bearer " + w.tokens["alice"], 200},
		{"lower case", "bearer " + w.tokens["alice"], 200},
		{"basic", basic("alice", w.tokens["alice"]), 200},
		{"basic, name in upper case", basic("ALICE", w.tokens["alice"]), 200},
		{"somebody else's token", basic("bob", w.tokens["alice"]), 401},
		{"token without a user", basic("", w.tokens["alice"]), 401},
		{"wrong token", "Bearer " + string(hooks.NewToken(w.account("alice").ID)), 401},
		{"nonsense", "Bearer ~", 401},
		{"other scheme", "Digest " + w.tokens["alice"], 401},
		{"an operator's token", "Bearer " + operator, 401},
	} {
		r := do(t, w.public.URL, "account.me", c.auth, nil)
		if r.status != c.want {
			t.Errorf("%s: got %d %s, want %d", c.name, r.status, r.raw, c.want)
		}
		if c.want == 401 && len(r.header.Values("WWW-Authenticate")) != 2 {
			t.Errorf("%s: WWW-Authenticate %q", c.name, r.header.Values("WWW-Authenticate"))
		}
		if strings.Contains(string(r.raw), "hwt_") {
			t.Errorf("%s: the answer holds a token: %s", c.name, r.raw)
		}
	}
}

func TestProblems(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Body = 1000 })
	w.users("alice")
	auth := "Bearer " + w.tokens["alice"]
	for _, c := range []struct {
		name, op, body string
		status         int
		word, text     string
	}{
		{"no such operation", "no.such", "{}", 404, "not_found", "there is no such operation"},
		{"a path", "room.list/x", "{}", 404, "not_found", "there is no such operation"},
		{"not JSON", "room.list", "{", 400, "bad_request", "the request is not JSON: unexpected end of JSON input at byte 1"},
		{"something behind", "room.list", "{} {}", 400, "bad_request", "the request is not JSON: invalid character '{' after top-level value at byte 4"},
		{"a list", "room.list", "[]", 400, "bad_request", `the request must be a JSON object such as {"limit":20}`},
		{"null", "room.list", "null", 400, "bad_request", `the request must be a JSON object such as {"limit":20}`},
		{"wrong type", "room.list", `{"limit":"20"}`, 400, "bad_request", "limit must be a whole number, not string"},
		{"wrong type in a list", "room.invite", `{"users":[{}]}`, 400, "bad_request", "users must be a string, not object"},
		{"negative sequence", "read.set", `{"user":"alice","seq":-1}`, 400, "bad_request", "seq must be a whole number from 0 on, not number"},
		{"not UTF-8", "room.create", "{\"title\":\"\xff\"}", 400, "bad_request", "the request is not UTF-8"},
		{"too large", "room.create", `{"title":"` + strings.Repeat("x", 1000) + `"}`, 413, "too_large", "a request may have at most 1000 bytes"},
		{"title too long", "room.create", `{"title":"` + strings.Repeat("x", 201) + `"}`, 413, "too_large", "title may have at most 200 bytes"},
		{"escape sequence", "room.create", `{"title":"\u001b[2J"}`, 400, "bad_request", "title must be one line of text without control characters"},
		{"right to left", "profile.set", `{"display":"a\u202eb"}`, 400, "bad_request", "display must be one line of text without control characters"},
		{"name", "room.create", `{"room":"a/b"}`, 400, "bad_request", "room must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -"},
		{"neither", "room.history", `{}`, 400, "bad_request", "room or user is missing"},
		{"both", "room.history", `{"room":"a","user":"b"}`, 400, "bad_request", "name a room or a user, not both"},
		{"page", "room.history", `{"room":"a","limit":201}`, 400, "bad_request", "limit must be 1 to 200"},
		{"language", "profile.set", `{"language":"ko_KR"}`, 400, "bad_request", `language must be a tag such as "ko" or "pt-BR"`},
		{"oneself", "contact.add", `{"user":"alice"}`, 400, "bad_request", "user must be somebody else"},
		{"nobody", "contact.add", `{"user":"nobody"}`, 404, "not_found", "there is no such user"},
		{"no users", "room.invite", `{"room":"a","users":[]}`, 400, "bad_request", "users is missing: name at least one"},
		{"role", "room.role", `{"room":"a","user":"b","role":"king"}`, 400, "bad_request", "role must be member, moderator or owner"},
		{"device", "device.remove", `{"device":"zz"}`, 400, "bad_request", "device must be a device's id as device.list tells it"},
		{"unknown keys are ignored", "room.list", `{"limit":1,"future":{"x":[1]}}`, 200, "", ""},
		{"no body", "room.list", "", 200, "", ""},
	} {
		r := do(t, w.public.URL, c.op, auth, c.body)
		if r.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.name, r.status, r.raw, c.status)
			continue
		}
		if c.status == 200 {
			continue
		}
		if r.body["error"] != c.word || r.body["text"] != c.text || r.body["detail"] != c.text || r.body["code"] != float64(c.status) ||
			r.body["status"] != float64(c.status) || r.body["retry_ms"] != 0.0 || r.body["title"] == "" {
			t.Errorf("%s: got %s, want %q %q", c.name, r.raw, c.word, c.text)
		}
		if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s: Content-Type %q", c.name, ct)
		}
	}
}

func TestRefusalsInTheUsersLanguage(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.as("alice", 200, "profile.set", obj{"language": "ko"})
	w.as("bob", 200, "settings.set", obj{"strangers": "closed"})
	over := w.as("alice", 403, "message.send", obj{"user": "bob", "text": "hi"})
	want(t, "word", over["error"], "unreachable")
	if text := over["text"].(string); !strings.ContainsFunc(text, func(r rune) bool { return r >= 0xac00 && r <= 0xd7a3 }) {
		t.Fatalf("text %q is not Korean", text)
	}
	want(t, "over MQTT", w.mqtt("alice", "phone", "message.send", "1", `{"user":"bob","text":"hi"}`)["text"], over["text"])
}

func TestRetryAfter(t *testing.T) {
	rec := httptest.NewRecorder()
	writeProblem(rec, 0, &store.Error{Code: store.CodeUnavailable, Text: "x", Retry: 1100e6}, store.Account{})
	want(t, "status", rec.Code, 503)
	want(t, "Retry-After", rec.Header().Get("Retry-After"), 2)
	var p problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	want(t, "retry_ms", p.Retry, 1100)
}

// TestCrossOrigin: a page of somebody else cannot use the basic credentials that a browser keeps.
func TestCrossOrigin(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	auth := "Bearer " + w.tokens["alice"]
	want(t, "foreign", do(t, w.public.URL, "account.me", auth, nil, "Sec-Fetch-Site", "cross-site").status, 403)
	want(t, "old browser", do(t, w.public.URL, "account.me", auth, nil, "Origin", "https://evil.example").status, 403)
	want(t, "own", do(t, w.public.URL, "account.me", auth, nil, "Sec-Fetch-Site", "same-origin").status, 200)
	want(t, "form", do(t, w.public.URL, "account.me", auth, nil, "Content-Type", "multipart/form-data; boundary=x").status, 400)
}

func TestMethods(t *testing.T) {
	w := newWorld(t)
	r := get(t, w.public.URL+"/v1/room.list")
	want(t, "GET", r.status, 405)
	want(t, "Allow", r.header.Get("Allow"), "POST")
	want(t, "GET nothing", get(t, w.public.URL+"/v1/nothing").status, 404)
	want(t, "elsewhere", get(t, w.public.URL+"/").status, 404)
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	for _, base := range []string{w.public.URL, w.admin.URL, w.socket.URL} {
		want(t, "healthz", get(t, base+"/healthz").status, 200)
		want(t, "readyz", get(t, base+"/readyz").status, 200)
	}
	w.users("alice")
	w.as("alice", 200, "room.list", nil)
	w.as("alice", 404, "room.history", obj{"room": "x"})
	m := string(get(t, w.admin.URL+"/metrics").raw)
	for _, line := range []string{
		`hwangso_api_requests_total{code="200",op="room.list"} 1`,
		`hwangso_api_requests_total{code="404",op="room.history"} 1`,
		`hwangso_api_request_seconds_count{op="room.list"} 1`,
	} {
		if !strings.Contains(m, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
	if strings.Contains(m, "alice") {
		t.Error("metrics name a user")
	}
	want(t, "public metrics", get(t, w.public.URL+"/metrics").status, 404)

	w.api.Drain()
	want(t, "readyz while draining", get(t, w.public.URL+"/readyz").status, 503)
	want(t, "healthz while draining", get(t, w.public.URL+"/healthz").status, 200)
	w.as("alice", 200, "room.list", nil)
}

// TestDiskFull: nobody is sent here any more, what is refused says when to try again, and reads go on.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	w.as("alice", 200, "message.send", obj{"user": "alice", "text": "note"})
	w.stop()
	w.full = true
	w.start()
	want(t, "readyz", get(t, w.public.URL+"/readyz").status, 503)
	want(t, "healthz", get(t, w.public.URL+"/healthz").status, 200)
	want(t, "history", texts(w.as("alice", 200, "room.history", obj{"user": "alice"})), "[note]")
	want(t, "status", w.op(200, "server.status", nil)["ready"], false)
	r := do(t, w.public.URL, "message.send", "Bearer "+w.tokens["alice"], obj{"user": "alice", "text": "x"})
	if r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Fatalf("got %d %v %s", r.status, r.header, r.raw)
	}
}

func TestPublicMetrics(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.PublicMetrics = true })
	want(t, "metrics", get(t, w.public.URL+"/metrics").status, 200)
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	good := w.api.cfg
	for name, change := range map[string]func(*Config){
		"no broker":      func(c *Config) { c.Broker = nil },
		"no auth":        func(c *Config) { c.Auth = nil },
		"negative limit": func(c *Config) { c.Limits.Group = -1 },
		"metrics twice":  func(*Config) {},
	} {
		c := good
		change(&c)
		if a, err := New(c); err == nil {
			a.Close()
			t.Errorf("%s: no error", name)
		}
	}
	if err := w.api.Close(); err != nil {
		t.Fatal(err)
	}
}
