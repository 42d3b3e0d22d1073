package apns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/credential"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// attempt is how long a Send takes at most, whatever its context says.
const attempt = 15 * time.Second

// Client sends to Apple. It may be used from any goroutine.
type Client struct {
	cfg     Config
	topics  []string // the default one first
	keys    []*credential.File[*signer]
	hosts   [2]*host // production, sandbox
	timeout time.Duration
}

var _ push.Provider = (*Client)(nil)

// New returns a client. It connects with the first Send. Close it.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	c := &Client{cfg: cfg, timeout: attempt}
	var err error
	if c.topics, err = topics(cfg.Topic); err != nil {
		return nil, err
	}
	production, err := openKey(cfg.KeyFile, cfg.KeyID, cfg.TeamID, cfg.Logger, cfg.Now)
	if err != nil {
		return nil, err
	}
	sandbox := production
	c.keys = append(c.keys, production)
	if cfg.SandboxKeyFile != "" {
		if sandbox, err = openKey(cfg.SandboxKeyFile, cfg.SandboxKeyID, cfg.TeamID, cfg.Logger, cfg.Now); err != nil {
			return nil, err
		}
		c.keys = append(c.keys, sandbox)
	}
	if c.hosts[0], err = newHost(strings.TrimRight(cfg.URL, "/"), production, &cfg); err != nil {
		return nil, err
	}
	if c.hosts[1], err = newHost(strings.TrimRight(cfg.SandboxURL, "/"), sandbox, &cfg); err != nil {
		return nil, err
	}
	return c, nil
}

// CheckApp tells whether pushes go to an app, "" being the default one; nil: they do.
func (c *Client) CheckApp(app string) error {
	if app == "" || slices.Contains(c.topics, app) {
		return nil
	}
	if checkTopic(app) != nil {
		return errors.New("apns: the app is no bundle identifier such as com.example.app")
	}
	return fmt.Errorf("apns: pushes do not go to the app %s, only to %s", app, strings.Join(c.topics, ", "))
}

// Check tells what is wrong with a registration, nil if pushes can go there. The error does not have the token in it.
func (c *Client) Check(r *graph.Registration) error {
	if err := CheckToken(r.Token); err != nil {
		return err
	}
	return c.CheckApp(r.App)
}

// Send makes one attempt: see push.Provider. What cannot be sent at all, because of the token, the app or the size, is
// answered without one.
func (c *Client) Send(ctx context.Context, p *push.Push) push.Answer {
	if err := CheckToken(p.To.Token); err != nil {
		return push.Answer{Outcome: push.Gone, Err: err}
	}
	if err := c.CheckApp(p.To.App); err != nil {
		return push.Answer{Outcome: push.Rejected, Err: err}
	}
	topic := p.To.App
	if topic == "" {
		topic = c.topics[0]
	}
	n, err := c.notification(p, topic)
	if errors.Is(err, push.ErrTooLarge) {
		return push.Answer{Outcome: push.TooLarge, Err: err}
	} else if err != nil {
		return push.Answer{Outcome: push.Rejected, Err: fmt.Errorf("apns: payload: %w", err)}
	}

	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	h := c.hosts[0]
	if p.To.Sandbox {
		h = c.hosts[1]
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return push.Answer{Outcome: push.Unavailable, Err: fmt.Errorf("apns: waiting for %d others: %w", cap(h.slots), ctx.Err())}
	}
	l := h.enter()
	defer h.leave(l)
	bearer, minted, err := l.signer.token(c.cfg.Now())
	if err != nil {
		return push.Answer{Outcome: push.Denied, Err: err}
	}
	ex := &exchange{auth: "bearer " + bearer, expiration: expiration(p.Expires)}
	_, err = l.client.PushWithContext(context.WithValue(ctx, exchangeKey{}, ex), n)
	a := answer(ex, err, c.cfg.Now())
	if age := c.cfg.Now().Sub(minted); a.Outcome == push.Expired && age < renewEvery {
		a.Err = fmt.Errorf("apns: the provider token is %s old by our clock, and has expired by Apple's: is ours right?", age.Round(time.Second))
	}
	return a
}

// expiration is the header apns-expiration: seconds since 1970, or 0 for now or never.
func expiration(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(max(t.Unix(), 0), 10)
}

// answer is what an exchange came to. err counts only if nothing was answered: apns2 has errors of its own about a body
// that it cannot read.
func answer(ex *exchange, err error, now time.Time) push.Answer {
	if ex.status != 0 {
		a := push.Answer{Status: ex.status}
		if ex.status != http.StatusOK {
			a.Reason, a.Since = reasonIn(ex.body)
			a.RetryAfter = retryAfter(ex.header, now)
		}
		if a.Outcome = outcomeOf(a.Status, a.Reason); a.Outcome != push.Gone {
			a.Since = time.Time{}
		}
		return a
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address, which has the device token in it
	}
	a := push.Answer{Outcome: push.Unknown, Reason: lastWord(err), Err: fmt.Errorf("apns: %w", err)}
	if !ex.sent.Load() || unprocessed(err) {
		a.Outcome = push.Unavailable
	}
	return a
}

// Refresh lets the next Send make a new provider token, unless the one there is is younger than 20 minutes: Apple does not
// take them more often.
func (c *Client) Refresh() {
	for _, k := range c.keys {
		k.Get().refresh(c.cfg.Now())
	}
}

// Close ends the connections. No Send may be under way or follow.
func (c *Client) Close() error {
	for _, h := range c.hosts {
		h.close()
	}
	return nil
}
