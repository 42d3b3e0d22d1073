package fcm

import (
	"context"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// clock is one that a test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.at.Load()) }
func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }

// expect sends and compares.
func expect(t *testing.T, p *Provider, what string, want push.Outcome, reason string) {
	t.Helper()
	if a := p.Send(t.Context(), ring()); a.Outcome != want || a.Reason != reason {
		t.Errorf("%s: %+v, want %v %q", what, a, want, reason)
	}
}

func (s *server) granted(t *testing.T, what string, want int) {
	t.Helper()
	if _, grants, _ := s.counts(); grants != want {
		t.Errorf("%s: %d tokens asked for, want %d", what, grants, want)
	}
}

// TestExpired: a token that is refused is replaced once after Refresh, however many were refused with it; one that is
// refused right away says that it is not the token.
func TestExpired(t *testing.T) {
	s := newServer(t)
	p := s.provider(nil)
	expect(t, p, "at first", push.Delivered, "")
	p.Refresh()
	expect(t, p, "a young token stays", push.Delivered, "")
	s.granted(t, "a young token stays", 1)

	s.set(func() { clear(s.valid) })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			expect(t, p, "revoked", push.Expired, "UNAUTHENTICATED")
		})
	}
	wg.Wait()
	s.granted(t, "before Refresh", 1)
	for range 20 {
		wg.Go(func() {
			p.Refresh()
			expect(t, p, "after Refresh", push.Delivered, "")
		})
	}
	wg.Wait()
	s.granted(t, "after Refresh", 2)

	// It was accepted, so its end is an end again.
	s.set(func() { clear(s.valid) })
	expect(t, p, "revoked again", push.Expired, "UNAUTHENTICATED")
	p.Refresh()
	// Now whatever is granted is refused.
	s.set(func() {
		s.send = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fail(w, 401, nil, `{"error":{"status":"UNAUTHENTICATED"}}`)
		})
	})
	expect(t, p, "a new one is refused", push.Denied, "UNAUTHENTICATED")
	s.granted(t, "a new one is refused", 3)
	expect(t, p, "a probe asks with another one", push.Denied, "UNAUTHENTICATED")
	s.granted(t, "a probe asks with another one", 4)
	s.set(func() { s.send = nil })
	expect(t, p, "mended", push.Delivered, "")
	s.granted(t, "mended", 5)
}

// TestRenewed: a token is replaced before its end, without a push that waits for more than its own; while that fails the
// old one goes on.
func TestRenewed(t *testing.T) {
	s, c := newServer(t), newClock()
	p := s.provider(func(cfg *Config) { cfg.Now = c.now })
	expect(t, p, "at first", push.Delivered, "")
	c.pass(time.Hour - early - time.Second)
	expect(t, p, "before the time", push.Delivered, "")
	s.granted(t, "before the time", 1)

	c.pass(time.Second)
	s.set(func() {
		s.grant = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fail(w, 503, nil, "<html>") })
	})
	expect(t, p, "renewal fails", push.Delivered, "")
	expect(t, p, "not tried at once", push.Delivered, "")
	s.granted(t, "not tried at once", 2)
	c.pass(again)

	// One fetches, which hangs; the others go on with the old one.
	arrived, release := make(chan struct{}), make(chan struct{})
	s.set(func() {
		s.grant = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-release
			s.set(func() { s.valid["new"] = true })
			fail(w, 200, nil, `{"access_token":"new","expires_in":3600}`)
		})
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		expect(t, p, "who renews", push.Delivered, "")
	}()
	<-arrived
	expect(t, p, "during the renewal", push.Delivered, "")
	close(release)
	<-done
	s.set(func() { s.valid = map[string]bool{"new": true}; s.grant = nil })
	expect(t, p, "renewed", push.Delivered, "")
	s.granted(t, "renewed", 3)

	// Past its end it is not used.
	c.pass(time.Hour)
	expect(t, p, "after a pause", push.Delivered, "")
	s.granted(t, "after a pause", 4)
}

// TestGrants is the table of what a token request is answered: no push is asked for without a token.
func TestGrants(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   push.Outcome
		reason string
		after  time.Duration
	}{
		{"revoked key", 400, nil, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`, push.Denied, "token_invalid_grant", 0},
		{"unknown account", 401, nil, `{"error":"invalid_client"}`, push.Denied, "token_invalid_client", 0},
		{"an error with words", 400, nil, `{"error":"secret token here"}`, push.Denied, "token", 0},
		{"no JSON", 403, nil, "<html>", push.Denied, "token", 0},
		{"too many", 429, http.Header{"Retry-After": {"9"}}, "", push.Busy, "token", 9 * time.Second},
		{"unavailable", 503, http.Header{"Retry-After": {"8"}}, "<html>", push.Unavailable, "token", 8 * time.Second},
		{"redirect", 308, http.Header{"Location": {"https://example.invalid/"}}, "", push.Denied, "token", 0},
		{"200 of something else", 200, nil, "<html>", push.Unavailable, "token", 0},
		{"no token", 200, nil, "{}", push.Unavailable, "token", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			s.grant = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fail(w, c.status, c.header, c.body) })
			a := s.provider(nil).Send(t.Context(), ring())
			if a.Outcome != c.want || a.Reason != c.reason || a.RetryAfter != c.after {
				t.Errorf("%+v, want %v %q after %v", a, c.want, c.reason, c.after)
			}
			if posts, grants, _ := s.counts(); posts != 0 || grants != 1 {
				t.Errorf("%d POSTs, %d token requests", posts, grants)
			}
		})
	}
}

// TestGrantsTogether: many who need a token make one request; if it fails they all hear that, and if it is called off
// another one makes it.
func TestGrantsTogether(t *testing.T) {
	s := newServer(t)
	p := s.provider(nil)
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	s.grant = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
			fail(w, 503, nil, "")
		case <-r.Context().Done():
		}
	})
	tokens := p.accounts.Get().tokens
	ctx, cancel := context.WithCancel(t.Context())
	lead := make(chan push.Outcome, 1)
	go func() {
		_, bad := tokens.get(ctx)
		lead <- bad.Outcome
	}()
	<-arrived
	var wg sync.WaitGroup
	var outcomes sync.Map
	for i := range 20 {
		wg.Go(func() {
			_, bad := tokens.get(t.Context())
			outcomes.Store(i, bad.Outcome)
		})
	}
	cancel()
	if got := <-lead; got != push.Unavailable {
		t.Errorf("called off: %v", got)
	}
	<-arrived // one of the others
	close(release)
	wg.Wait()
	outcomes.Range(func(_, v any) bool {
		if v != push.Unavailable {
			t.Errorf("%v", v)
		}
		return true
	})
	// Who came after the failure asked once more; nobody asked twice.
	if _, grants, _ := s.counts(); grants > 21 {
		t.Errorf("%d token requests", grants)
	}
}

// TestRotated replaces the credentials while the provider runs.
func TestRotated(t *testing.T) {
	s, c := newServer(t), newClock()
	path := s.file(nil)
	p := s.provider(func(cfg *Config) { cfg.Credentials, cfg.Now = path, c.now })
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c.pass(time.Second)
	}
	expect(t, p, "at first", push.Delivered, "")
	put([]byte(`{"type":"service_account"`))
	expect(t, p, "a broken file", push.Delivered, "")
	s.granted(t, "a broken file", 1)
	put(s.credentials(map[string]string{"project_id": "other-project"}))
	expect(t, p, "another project", push.Denied, "") // the double knows one project only: its 404 is that of an unknown address
	s.granted(t, "another project", 2)
	put(s.credentials(nil))
	expect(t, p, "back", push.Delivered, "")
	s.granted(t, "back", 3)
}
