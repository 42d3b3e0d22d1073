package fcm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// TestAnswers is the table of what FCM answers, over the wire. Every row is one POST: the library under Send would repeat
// the 503s four times.
func TestAnswers(t *testing.T) {
	fcmError := func(status, message, word string) string {
		return fmt.Sprintf(`{"error":{"code":1,"message":%q,"status":%q,"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":%q}]}}`, message, status, word)
	}
	plain := func(status, message string) string {
		return fmt.Sprintf(`{"error":{"code":1,"message":%q,"status":%q}}`, message, status)
	}
	later := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	quota := func(subject string) string {
		return fmt.Sprintf(`{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":%q,"description":"rate exceeded"}]},{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"QUOTA_EXCEEDED"}]}}`, subject)
	}
	const html = "<!DOCTYPE html><html><title>Error 503 (Service Unavailable)</title></html>"
	for _, c := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   push.Outcome
		reason string
		after  time.Duration
	}{
		{"taken", 200, nil, `{"name":"projects/test-project/messages/0:1"}`, push.Delivered, "", 0},
		{"200 of something else", 200, nil, "<html>log in</html>", push.Unknown, "no_name", 0},
		{"unregistered", 404, nil, fcmError("NOT_FOUND", "Requested entity was not found.", "UNREGISTERED"), push.Gone, "UNREGISTERED", 0},
		{"no such project", 404, nil, plain("NOT_FOUND", "Requested entity was not found."), push.Denied, "NOT_FOUND", 0},
		{"no such address", 404, nil, "<html>404</html>", push.Denied, "", 0},
		{"bad token, a sentence", 400, nil, fcmError("INVALID_ARGUMENT", "The registration token is not a valid FCM registration token", "INVALID_ARGUMENT"), push.Suspect, "INVALID_ARGUMENT", 0},
		{"bad token, a field", 400, nil, `{"error":{"code":400,"message":"Request contains an invalid argument.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"},{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.token","description":"Invalid registration token"}]}]}}`, push.Suspect, "INVALID_ARGUMENT", 0},
		{"bad field", 400, nil, `{"error":{"code":400,"message":"Invalid value at 'message.data[0].value'","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.data[0].value"}]}]}}`, push.Rejected, "INVALID_ARGUMENT", 0},
		{"bad argument", 400, nil, plain("INVALID_ARGUMENT", "Request contains an invalid argument."), push.Rejected, "INVALID_ARGUMENT", 0},
		{"too big", 400, nil, fcmError("INVALID_ARGUMENT", "Android message is too big", "INVALID_ARGUMENT"), push.TooLarge, "INVALID_ARGUMENT", 0},
		{"413", 413, nil, "", push.TooLarge, "", 0},
		{"other sender", 403, nil, fcmError("PERMISSION_DENIED", "SenderId mismatch", "SENDER_ID_MISMATCH"), push.Suspect, "SENDER_ID_MISMATCH", 0},
		{"not enabled", 403, nil, plain("PERMISSION_DENIED", "Firebase Cloud Messaging API has not been used"), push.Denied, "PERMISSION_DENIED", 0},
		{"quota, seconds", 429, later("17"), fcmError("RESOURCE_EXHAUSTED", "Quota exceeded", "QUOTA_EXCEEDED"), push.Busy, "QUOTA_EXCEEDED", 17 * time.Second},
		{"quota, a date", 429, later("Sun, 22 Nov 2026 04:00:30 GMT"), plain("RESOURCE_EXHAUSTED", "Quota exceeded"), push.Busy, "RESOURCE_EXHAUSTED", 30 * time.Second},
		{"quota, no word of when", 429, nil, "", push.Busy, "", 0},
		{"quota of the project", 429, later("5"), quota("project:test-project"), push.Busy, "QUOTA_EXCEEDED", 5 * time.Second},
		{"quota of the device", 429, later("5"), quota("device:secret-registration-token"), push.DeviceBusy, "QUOTA_EXCEEDED", 5 * time.Second},
		{"token expired", 401, nil, plain("UNAUTHENTICATED", "Request had invalid authentication credentials."), push.Expired, "UNAUTHENTICATED", 0},
		{"Apple's key", 401, nil, fcmError("UNAUTHENTICATED", "Auth error from APNS or Web Push Service", "THIRD_PARTY_AUTH_ERROR"), push.Denied, "THIRD_PARTY_AUTH_ERROR", 0},
		{"internal", 500, nil, fcmError("INTERNAL", "Internal error encountered.", "INTERNAL"), push.Unavailable, "INTERNAL", 0},
		{"unavailable", 503, later("120"), fcmError("UNAVAILABLE", "The service is currently unavailable.", "UNAVAILABLE"), push.Unavailable, "UNAVAILABLE", 2 * time.Minute},
		{"unavailable in HTML", 503, later("3"), html, push.Unavailable, "", 3 * time.Second},
		{"bad gateway", 502, nil, html, push.Unavailable, "", 0},
		{"an answer without end", 500, nil, "{" + strings.Repeat(" ", 2*limit), push.Unavailable, "", 0},
		{"words that are none", 418, nil, plain("secret-registration-token", "x"), push.Rejected, "", 0},
		{"redirect", 307, http.Header{"Location": {"/elsewhere"}}, "", push.Denied, "", 0},
		{"redirect for good", 301, http.Header{"Location": {"/token"}}, "", push.Denied, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			s.send = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fail(w, c.status, c.header, c.body) })
			p := s.provider(func(cfg *Config) {
				cfg.Now = func() time.Time { return time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC) }
			})
			a := p.Send(t.Context(), ring())
			if a.Outcome != c.want || a.Reason != c.reason || a.Status != c.status || a.RetryAfter != c.after || a.Err != nil {
				t.Errorf("%+v, want %v %q after %v", a, c.want, c.reason, c.after)
			}
			if posts, grants, _ := s.counts(); posts != 1 || grants != 1 {
				t.Errorf("%d POSTs and %d tokens, want one each", posts, grants)
			}
		})
	}
}

// TestMessage sees what goes over the wire.
func TestMessage(t *testing.T) {
	s := newServer(t)
	p, texts := s.provider(nil), s.provider(func(c *Config) { c.Texts = true })
	send := func(p *Provider, change func(*push.Push)) request {
		t.Helper()
		m := ring()
		change(m)
		if a := p.Send(t.Context(), m); a.Outcome != push.Delivered {
			t.Fatalf("%+v", a)
		}
		got, _ := s.got()
		return got
	}
	same := func(what string, got map[string]string, want map[string]string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n%v, want\n%v", what, got, want)
		}
	}

	got := send(p, func(*push.Push) {})
	same("chat", got.Message.Data, map[string]string{"kind": "message", "thread": "0123456789abcdef0123", "room": "room/lobby", "seq": "42",
		"epoch": "3", "count": "5", "badge": "9", "key": "push_text", "args": `["Alice","<good> morning & \"hello\""]`})
	if a := got.Message.Android; a["priority"] != "high" || got.Message.Token != "secret-registration-token" || len(a) != 2 {
		t.Errorf("android %v, token %q", a, got.Message.Token)
	}
	if ttl := got.Message.Android["ttl"]; ttl != "3599s" && ttl != "3600s" {
		t.Errorf("ttl %v", ttl)
	}
	_, h := s.got()
	if !strings.HasPrefix(h.Get("Authorization"), "Bearer token-") {
		t.Errorf("authorization %q", h.Get("Authorization"))
	}

	got = send(texts, func(*push.Push) {})
	same("texts", got.Message.Data, map[string]string{"kind": "message", "thread": "0123456789abcdef0123", "room": "room/lobby", "seq": "42",
		"epoch": "3", "count": "5", "badge": "9", "title": "Alice", "body": "good morning"})

	got = send(p, func(m *push.Push) {
		m.Class, m.Expires, m.Note = push.Clear, time.Time{}, push.Note{Kind: push.KindClear, Thread: "t", Badge: 0, Silent: true}
	})
	same("clear", got.Message.Data, map[string]string{"kind": "clear", "thread": "t", "badge": "0", "silent": "true"})
	if a := got.Message.Android; a["priority"] != "normal" || a["ttl"] != "0s" {
		t.Errorf("clear: android %v", a)
	}

	got = send(p, func(m *push.Push) {
		m.Class, m.Expires = push.Bulk, time.Now().Add(400*24*time.Hour)
		m.Note = push.Note{Kind: push.KindAnnounce, Badge: -1, Title: "News\x00", Body: "today"}
	})
	same("announcement", got.Message.Data, map[string]string{"kind": "announce", "title": "News", "body": "today"})
	if a := got.Message.Android; a["priority"] != "normal" || a["ttl"] != "2419200s" {
		t.Errorf("announcement: android %v", a)
	}

	got = send(p, func(m *push.Push) { m.Expires = time.Now().Add(-time.Hour) })
	if ttl := got.Message.Android["ttl"]; ttl != "0s" {
		t.Errorf("past its end: ttl %v", ttl)
	}
}

// TestFits cuts what is too long, and never fails for a text.
func TestFits(t *testing.T) {
	s := newServer(t)
	p := s.provider(nil)
	size := func(data map[string]string) (n int) {
		for k, v := range data {
			n += len(k) + len(v)
		}
		return n
	}
	for _, text := range []string{strings.Repeat("안녕하세요 👨‍👩‍👧‍👦 ", 200), strings.Repeat(`"\`, 4000), strings.Repeat("\n\x01", 4000), strings.Repeat("\xff", 9000)} {
		m := ring()
		m.Note.Args = []string{"Alice", text}
		if a := p.Send(t.Context(), m); a.Outcome != push.Delivered {
			t.Fatalf("%.20q: %+v", text, a)
		}
		got, _ := s.got()
		if n := size(got.Message.Data); n > maxData || n < maxData/2 {
			t.Errorf("%.20q: %d bytes of data", text, n)
		}
		if got.Message.Data["key"] != "push_text" || !strings.Contains(got.Message.Data["args"], "…") {
			t.Errorf("%.20q: %v", text, got.Message.Data)
		}
	}
	posts, _, _ := s.counts()
	m := ring()
	m.Note.Thread = strings.Repeat("x", maxData)
	if a := p.Send(t.Context(), m); a.Outcome != push.TooLarge || !errors.Is(a.Err, push.ErrTooLarge) {
		t.Errorf("%+v", a)
	}
	if after, _, _ := s.counts(); after != posts {
		t.Error("what does not fit was sent")
	}
}

// TestOneConnection sends three times what may be in flight: never more is, and over one connection.
func TestOneConnection(t *testing.T) {
	s := newServer(t)
	var now, most atomic.Int64
	full := make(chan struct{})
	var once sync.Once
	s.send = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == DefaultInFlight {
			once.Do(func() { close(full) })
		}
		<-full // until all that may are here
		now.Add(-1)
		fail(w, 200, nil, `{"name":"x"}`)
	})
	p := s.provider(nil)
	var wg sync.WaitGroup
	var bad atomic.Int64
	for range 3 * DefaultInFlight {
		wg.Go(func() {
			if a := p.Send(t.Context(), ring()); a.Outcome != push.Delivered {
				bad.Add(1)
				t.Logf("%+v", a)
			}
		})
	}
	wg.Wait()
	posts, grants, conns := s.counts()
	if bad.Load() != 0 || posts != 3*DefaultInFlight || grants != 1 || conns != 1 || most.Load() != DefaultInFlight {
		t.Errorf("%d failed; %d POSTs, %d tokens, %d connections, %d at once", bad.Load(), posts, grants, conns, most.Load())
	}
}

// TestNoAnswer: what may have arrived is Unknown, what cannot have is Unavailable. Neither is repeated.
func TestNoAnswer(t *testing.T) {
	s := newServer(t)
	p := s.provider(func(c *Config) { c.InFlight = 1 })
	if a := p.Send(t.Context(), ring()); a.Outcome != push.Delivered {
		t.Fatalf("%+v", a)
	}
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	s.set(func() {
		s.send = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-release
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan push.Answer, 1)
	go func() { done <- p.Send(ctx, ring()) }()
	<-arrived
	// The one slot is taken: another gives up without having sent anything.
	short, stop := context.WithTimeout(t.Context(), time.Millisecond)
	if a := p.Send(short, ring()); a.Outcome != push.Unavailable || a.Reason != "in_flight" || !errors.Is(a.Err, context.DeadlineExceeded) {
		t.Errorf("full: %+v", a)
	}
	stop()
	cancel()
	if a := <-done; a.Outcome != push.Unknown || a.Reason != "canceled" || a.Status != 0 {
		t.Errorf("hung: %+v", a)
	}
	close(release)

	// The server breaks the stream after it has the message.
	s.set(func() {
		s.send = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	})
	before, _, _ := s.counts()
	if a := p.Send(t.Context(), ring()); a.Outcome != push.Unknown || a.Reason != "connection" || a.Err == nil {
		t.Errorf("reset: %+v", a)
	}
	if after, _, _ := s.counts(); after != before+1 {
		t.Errorf("reset: %d POSTs", after-before)
	}

	// A body that breaks off: it was taken or not, who knows.
	s.set(func() {
		s.send = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"name":`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
	})
	if a := p.Send(t.Context(), ring()); a.Outcome != push.Unknown || a.Status != 200 || a.Err == nil {
		t.Errorf("broke off: %+v", a)
	}

	// Nobody is there.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	away := s.provider(func(c *Config) { c.URL = "https://" + l.Addr().String() })
	if a := away.Send(t.Context(), ring()); a.Outcome != push.Unavailable || a.Reason != "connection" || a.Err == nil {
		t.Errorf("nobody: %+v", a)
	}
	// Somebody else is there.
	stranger := s.provider(func(c *Config) { c.CA = nil })
	if a := stranger.Send(t.Context(), ring()); a.Outcome != push.Unavailable || a.Err == nil {
		t.Errorf("stranger: %+v", a)
	}
}

// TestNoSecrets sees that nothing that is logged or answered names a token.
func TestNoSecrets(t *testing.T) {
	s := newServer(t)
	var log bytes.Buffer
	s.send = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fail(w, 400, nil, `{"error":{"message":"secret-registration-token","status":"secret-registration-token","details":[{"errorCode":"secret-registration-token"}]}}`)
	})
	p := s.provider(func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	answers := []push.Answer{p.Send(t.Context(), ring())}
	s.CloseClientConnections()
	s.Close()
	answers = append(answers, p.Send(t.Context(), ring()))
	p.accounts.Get().tokens.current = nil
	answers = append(answers, p.Send(t.Context(), ring()))
	for _, a := range answers {
		if said := fmt.Sprintf("%+v %v", a, a.Err); strings.Contains(said, "secret") || strings.Contains(said, "token-") {
			t.Error(said)
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Error(log.String())
	}
}

func TestNew(t *testing.T) {
	s := newServer(t)
	if _, err := New(Config{}); err == nil {
		t.Error("no file was taken")
	}
	for _, u := range []string{"http://fcm.googleapis.com", "fcm.googleapis.com", "https://", "https://h/v1", "https://u:p@h", "https://h?x", ":"} {
		if _, err := New(Config{Credentials: s.file(nil), URL: u}); err == nil {
			t.Errorf("%s was taken", u)
		}
	}
	if _, err := New(Config{Credentials: s.file(nil), InFlight: -1}); err == nil {
		t.Error("a negative number was taken")
	}
	for what, change := range map[string]map[string]string{
		"type is":           {"type": "authorized_user"},
		"project_id":        {"project_id": "../x"},
		"client_email":      {"client_email": ""},
		"token_uri":         {"token_uri": "http://oauth2.googleapis.com/token"},
		"not PEM":           {"private_key": "secret"},
		"not a private key": {"private_key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"},
	} {
		_, err := New(Config{Credentials: s.file(change)})
		if err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
	path := s.file(nil)
	if err := os.WriteFile(path, []byte(`{"private_key": "secret`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Credentials: path}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("no JSON: %v", err)
	}
}

// TestSlim sees that Firestore and Cloud Storage, which the library's package of apps brings, stay out of the program.
func TestSlim(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSpace(name)
		if strings.HasPrefix(name, "cloud.google.com/go/firestore") || strings.HasPrefix(name, "cloud.google.com/go/storage") || name == "firebase.google.com/go/v4" {
			t.Errorf("%s is a dependency", name)
		}
	}
	if !strings.Contains(string(out), "firebase.google.com/go/v4/messaging\n") {
		t.Error("the list of dependencies misses what is there")
	}
}
