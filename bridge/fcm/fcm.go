package fcm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/credential"
	"github.com/hwangso/hwangso/bridge/push"
)

const (
	// DefaultURL is Google's.
	DefaultURL = "https://fcm.googleapis.com"
	// DefaultInFlight stays below the 100 streams that a server allows on a connection, so that there is one.
	DefaultInFlight = 90
	// timeout is how long a Send takes at most, a new access token included.
	timeout = 10 * time.Second
	// lifeless is how long nothing may come from the server while it is asked, and then how long a ping may take: a
	// connection into a black hole is given up after both.
	lifeless = 5 * time.Second
)

// Config is what a Provider is made of.
type Config struct {
	// Credentials is the file of a service account, JSON as the Firebase console gives it. It is read again when it
	// changes; while a new one is broken the old one goes on.
	Credentials string
	URL         string         // scheme and host in place of DefaultURL, for a simulator; "": DefaultURL
	CA          *x509.CertPool // whose certificates are believed; nil: the system's
	InFlight    int            // requests under way at once; 0: DefaultInFlight
	// Texts sends a note's text in the user's language in place of its key and arguments, for apps that have no texts of
	// their own. A note without a key goes as text in any case.
	Texts bool

	Logger *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing. It does not look at the file.
func (c *Config) Validate() error {
	if c.Credentials == "" {
		return errors.New("fcm: no credentials file")
	}
	if c.URL != "" {
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("fcm: %q is not https:// and a host", c.URL)
		}
	}
	if c.InFlight < 0 {
		return errors.New("fcm: fewer than no requests in flight")
	}
	return nil
}

// Provider sends through FCM. Make one with New.
type Provider struct {
	cfg       Config
	endpoint  string
	transport *http.Transport
	accounts  *credential.File[*account]
	slots     chan struct{}
	now       func() time.Time
}

var _ push.Provider = (*Provider)(nil)

// New reads the credentials; nothing is asked of the network. An error says what is wrong with the settings or the file.
func New(cfg Config) (*Provider, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	if cfg.InFlight == 0 {
		cfg.InFlight = DefaultInFlight
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Provider{
		cfg:       cfg,
		endpoint:  strings.TrimRight(cfg.URL, "/") + "/v1",
		transport: newTransport(cfg.CA),
		slots:     make(chan struct{}, cfg.InFlight),
		now:       cfg.Now,
	}
	var err error
	if p.accounts, err = credential.Open(cfg.Credentials, p.account, cfg.Logger, cfg.Now); err != nil {
		return nil, fmt.Errorf("fcm: credentials: %w", err)
	}
	return p, nil
}

// newTransport makes one that speaks HTTP/2 alone, over one connection to each host; a second one only while the first
// takes no more requests.
func newTransport(ca *x509.CertPool) *http.Transport {
	only := new(http.Protocols)
	only.SetHTTP2(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: lifeless, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    lifeless,
		Protocols:              only,
		MaxConnsPerHost:        1,
		IdleConnTimeout:        10 * time.Minute,
		DisableCompression:     true, // an answer has a hundred bytes
		MaxResponseHeaderBytes: 64 << 10,
		// Not StrictMaxConcurrentRequests: requests over the server's limit would wait in the connection, and a burst of
		// them stall.
		HTTP2: &http.HTTP2Config{SendPingTimeout: lifeless, PingTimeout: lifeless, WriteByteTimeout: timeout},
	}
}

// Send implements push.Provider. To.Token is the registration token.
func (p *Provider) Send(ctx context.Context, m *push.Push) push.Answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return unsent("in_flight", ctx.Err())
	}
	msg, err := p.message(m)
	switch {
	case errors.Is(err, push.ErrTooLarge):
		return push.Answer{Outcome: push.TooLarge, Reason: "payload", Err: err}
	case err != nil:
		return push.Answer{Outcome: push.Rejected, Reason: "payload", Err: err}
	}
	a := p.accounts.Get()
	tok, failed := a.tokens.get(ctx)
	if failed != nil {
		return *failed
	}
	try := &attempt{bearer: tok.access}
	_, err = a.client.Send(context.WithValue(ctx, attemptKey{}, try), msg)
	if !try.sent {
		// The library refuses the message before it asks anybody.
		return push.Answer{Outcome: push.Rejected, Reason: "message", Err: err}
	}
	ans := try.answer(p.now())
	if ans.Status != 0 && ans.Outcome != push.Expired {
		tok.accepted.Store(true)
	}
	if ans.Outcome == push.Expired {
		ans.Outcome = a.tokens.refuse(tok)
	}
	return ans
}

// Refresh implements push.Provider: the next Send asks for a new access token. A token younger than a minute stays unless
// it was refused, so that many who were refused with the same one lead to one new token.
func (p *Provider) Refresh() { p.accounts.Get().tokens.forget() }

// Close implements push.Provider.
func (p *Provider) Close() error {
	p.transport.CloseIdleConnections()
	return nil
}

// unsent is the answer where nothing can have arrived, because it was not sent.
func unsent(reason string, err error) push.Answer {
	return push.Answer{Outcome: push.Unavailable, Reason: reason, Err: err}
}

// direct is an HTTP client over the provider's connections that follows no redirect.
func (p *Provider) direct(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
