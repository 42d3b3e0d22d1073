package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"github.com/hwangso/hwangso/bridge/push"
)

const (
	early     = 5 * time.Minute  // before its end a token is replaced, while the old one still goes on
	again     = 10 * time.Second // after a replacement that failed, while the old one still goes on
	young     = time.Minute      // a token that is not replaced unless it was refused
	unlimited = time.Hour        // how long a token lasts that does not say so: Google's do
)

// token is one access token.
type token struct {
	access   string
	made     time.Time
	ends     time.Time
	second   bool        // made because the one before it was refused
	accepted atomic.Bool // something other than a refusal was answered to it
}

// tokens keeps the access token of one account. One caller at a time fetches a new one; while there is none that is valid
// the others wait for that, each as long as its own context, and take its failure for theirs.
type tokens struct {
	conf *jwt.Config
	p    *Provider
	log  *slog.Logger
	now  func() time.Time

	mu      sync.Mutex
	current *token
	refused *token
	second  bool // the next one is made because one was refused
	under   *fetch
	notTill time.Time // no replacement of a valid token is tried before
}

// fetch is one request for a token; the fields are written before done is closed.
type fetch struct {
	done chan struct{}
	tok  *token
	bad  *push.Answer // nil: tok is there
	gone bool         // who fetched was called off: that says nothing to the others
}

func newTokens(p *Provider, c *jwt.Config) *tokens {
	return &tokens{conf: c, p: p, log: p.cfg.Logger, now: p.cfg.Now}
}

// get returns a token, or why there is none.
func (t *tokens) get(ctx context.Context) (*token, *push.Answer) {
	for {
		t.mu.Lock()
		now, tok := t.now(), t.current
		valid := tok != nil && now.Before(tok.ends)
		if valid && (now.Before(tok.ends.Add(-early)) || t.under != nil || now.Before(t.notTill)) {
			t.mu.Unlock()
			return tok, nil
		}
		f := t.under
		lead := f == nil
		if lead {
			f = &fetch{done: make(chan struct{})}
			t.under = f
		}
		second := t.second
		t.mu.Unlock()

		if lead {
			t.fetch(ctx, f, second)
			if f.bad != nil && valid {
				t.log.Warn("access token not renewed, the old one goes on", "provider", "fcm", "reason", f.bad.Reason, "err", f.bad.Err)
				return tok, nil
			}
			return f.tok, f.bad
		}
		select {
		case <-f.done:
			if !f.gone {
				return f.tok, f.bad
			}
		case <-ctx.Done():
			bad := unsent("token", ctx.Err())
			return nil, &bad
		}
	}
}

// fetch asks for a token and tells who waits.
func (t *tokens) fetch(ctx context.Context, f *fetch, second bool) {
	made := t.now()
	got, err := t.ask(ctx)
	if err != nil {
		bad := refusal(err, made)
		f.bad, f.gone = &bad, ctx.Err() != nil
	} else {
		f.tok = &token{access: got.AccessToken, made: made, ends: made.Add(unlimited), second: second}
		if got.ExpiresIn > 0 {
			f.tok.ends = made.Add(time.Duration(got.ExpiresIn) * time.Second)
		}
	}
	t.mu.Lock()
	t.under = nil
	if f.tok != nil {
		t.current, t.second = f.tok, false
	} else {
		t.notTill = made.Add(again)
	}
	t.mu.Unlock()
	close(f.done)
}

// ask makes the one request: RFC 7523, 2.1.
func (t *tokens) ask(ctx context.Context) (*oauth2.Token, error) {
	c := t.p.direct(within{ctx, t.p.transport})
	got, err := t.conf.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, c)).Token()
	if err == nil && got.AccessToken == "" {
		err = errors.New("no access_token in the answer")
	}
	if err == nil {
		// The library reads expires_in of the answer into Expiry by a clock of its own.
		if n, ok := got.Extra("expires_in").(float64); ok && n > 0 && n < 1e6 {
			got.ExpiresIn = int64(n)
		}
	}
	return got, err
}

// within makes requests of a library that knows no context end with one.
type within struct {
	ctx  context.Context
	base http.RoundTripper
}

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.base.RoundTrip(r.WithContext(w.ctx))
}

// word is what an error code of OAuth looks like; anything else is not repeated in a log.
var word = regexp.MustCompile(`^[A-Za-z_]{1,40}$`)

// refusal says what it means that there is no token. Nothing was sent to any phone. RFC 6749, 5.2.
func refusal(err error, now time.Time) push.Answer {
	r, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return unsent("token", err)
	}
	a := push.Answer{Status: r.Response.StatusCode, RetryAfter: push.RetryAfter(r.Response.Header, now), Reason: "token"}
	var says struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(r.Body, &says) == nil && word.MatchString(says.Error) {
		a.Reason = "token_" + says.Error
	}
	switch {
	case a.Status == http.StatusTooManyRequests:
		a.Outcome = push.Busy
	case a.Status == http.StatusRequestTimeout, a.Status >= 500:
		a.Outcome = push.Unavailable
	default:
		a.Outcome = push.Denied // invalid_grant: the key was revoked, or our clock is wrong
	}
	return a
}

// refuse says what a 401 to a token means: Expired, or Denied if it was made because the one before it was refused too
// and nothing else was ever answered to it. In both cases the next one is a new one after Refresh, in the second in any
// case, so that a probe after a pause does not ask with what was refused.
func (t *tokens) refuse(tok *token) push.Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == tok {
		t.refused = tok
	}
	if !tok.second || tok.accepted.Load() {
		return push.Expired
	}
	t.drop(tok)
	return push.Denied
}

// forget drops the current token, but not one that is young and was not refused.
func (t *tokens) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.current; c != nil && (c == t.refused || t.now().Sub(c.made) >= young) {
		t.drop(c)
	}
}

func (t *tokens) drop(tok *token) {
	if t.current == tok {
		t.second = t.refused == tok
		t.current, t.refused = nil, nil
	}
}
