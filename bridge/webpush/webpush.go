package webpush

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/credential"
	"github.com/hwangso/hwangso/bridge/egress"
	"github.com/hwangso/hwangso/bridge/push"
)

const (
	// DefaultInFlight is how many requests are under way at once, to whatever hosts.
	DefaultInFlight = 128
	// DefaultPerHost is how many of them to one host.
	DefaultPerHost = 64
	// connsPerHost is over how many connections they go where a host speaks HTTP/1.1 only.
	connsPerHost = 8

	timeout   = 10 * time.Second
	connect   = 5 * time.Second // for the TCP connection, and as long for TLS
	lifeless  = 5 * time.Second // without a byte from the server, and then for a ping
	maxTTL    = 28 * 24 * time.Hour
	maxAnswer = 4 << 10 // of a body, which is read only so that the connection can be used again
)

// Config is what a Provider is made of.
type Config struct {
	// Key is the file with the installation's private key (VAPID): P-256 in PEM, see NewKey. It is read again when it
	// changes; while a new one is broken the old one goes on.
	Key string
	// Contact is where an operator of a push service reaches that of this installation: mailto: or https:. "": none is
	// told, which some push services refuse.
	Contact  string
	CA       *x509.CertPool // whose certificates are believed; nil: the system's
	Allow    []netip.Prefix // addresses that may be spoken to although they are not public, on every port
	InFlight int            // requests under way at once; 0: DefaultInFlight
	PerHost  int            // of them to one host; 0: DefaultPerHost, or half of InFlight if that is less

	Logger *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing. It does not look at the file.
func (c *Config) Validate() error {
	if c.Key == "" {
		return errors.New("webpush: no key file")
	}
	if c.Contact != "" {
		u, err := url.Parse(c.Contact)
		if err != nil || !(u.Scheme == "mailto" && strings.Contains(u.Opaque, "@") || u.Scheme == "https" && u.Host != "") {
			return fmt.Errorf("webpush: contact %q is neither mailto:somebody@example.com nor https://example.com", c.Contact)
		}
	}
	for _, p := range c.Allow {
		if !p.IsValid() {
			return errors.New("webpush: an allowed prefix is none")
		}
	}
	if c.InFlight < 0 || c.PerHost < 0 {
		return errors.New("webpush: fewer than no requests in flight")
	}
	return nil
}

// Provider sends web push. Make one with New.
type Provider struct {
	guard     *egress.Guard
	keys      *credential.File[*vapidKey]
	signer    *signer
	dialer    *net.Dialer
	transport *http.Transport
	slots     chan struct{}
	hosts     *egress.Hosts
	now       func() time.Time
}

var _ push.Provider = (*Provider)(nil)

// New reads the key; nothing is asked of the network. An error says what is wrong with the settings or the file.
func New(cfg Config) (*Provider, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.InFlight == 0 {
		cfg.InFlight = DefaultInFlight
	}
	if cfg.PerHost == 0 {
		cfg.PerHost = max(min(DefaultPerHost, cfg.InFlight/2), 1)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := newGuard(cfg.Allow)
	p := &Provider{
		guard:  g,
		signer: &signer{contact: cfg.Contact, now: cfg.Now, kept: make(map[string]signed)},
		dialer: &net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second, Control: g.Control},
		slots:  make(chan struct{}, cfg.InFlight),
		hosts:  egress.NewHosts(cfg.PerHost),
		now:    cfg.Now,
	}
	p.transport = &http.Transport{
		Proxy:                  nil, // a proxy would make the connection, and the guard see only the proxy
		DialContext:            p.dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.CA, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connect,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: lifeless, PingTimeout: lifeless, WriteByteTimeout: timeout},
		DisableCompression:     true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    connsPerHost,
		MaxConnsPerHost:        connsPerHost,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 16 << 10,
	}
	var err error
	if p.keys, err = credential.Open(cfg.Key, parseKey, cfg.Logger, cfg.Now); err != nil {
		return nil, fmt.Errorf("webpush: key: %w", err)
	}
	return p, nil
}

// PublicKey is what a browser subscribes with, its applicationServerKey: an uncompressed point of P-256 in base64url
// without padding. Subscriptions that were made with another one are refused by their push services.
func (p *Provider) PublicKey() string { return p.keys.Get().public }

// Send implements push.Provider. To.Token is the endpoint, To.Key p256dh and To.Secret auth.
func (p *Provider) Send(ctx context.Context, m *push.Push) push.Answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	to, err := p.guard.Parse(m.To.Token)
	if err != nil {
		return push.Answer{Outcome: push.Blocked, Reason: "endpoint", Err: fmt.Errorf("webpush: %w", err)}
	}
	plain, err := push.Fit(m, maxPlain, encode)
	if errors.Is(err, push.ErrTooLarge) {
		return push.Answer{Outcome: push.TooLarge, Reason: "payload", Err: err}
	}
	var body []byte
	if err == nil {
		body, err = encrypt(plain, m.To.Key, m.To.Secret)
	}
	if err != nil {
		return push.Answer{Outcome: push.Rejected, Reason: "payload", Err: err}
	}
	// The host's share first: who waits for that holds nothing that others wait for.
	leave, ok := p.hosts.Take(ctx, strings.ToLower(to.Host))
	if !ok {
		return push.Answer{Outcome: push.Unavailable, Reason: "host_in_flight"}
	}
	defer leave()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return push.Answer{Outcome: push.Unavailable, Reason: "in_flight", Err: ctx.Err()}
	}
	sign, err := p.signer.header(p.keys.Get(), origin(to))
	if err != nil {
		return push.Answer{Outcome: push.Denied, Reason: "vapid", Err: err}
	}
	return p.post(ctx, to, body, http.Header{
		"Authorization":    {sign},
		"Content-Encoding": {"aes128gcm"},
		"Content-Type":     {"application/octet-stream"},
		"Ttl":              {strconv.Itoa(p.ttl(m.Expires))},
		"Urgency":          {urgency(m.Class)},
		"Topic":            topic(m.Collapse),
		"User-Agent":       {"hwangso"},
	})
}

// post makes the one request, by the transport itself: no redirects, no cookies, no second try of a POST that went out.
func (p *Provider) post(ctx context.Context, to *url.URL, body []byte, h http.Header) push.Answer {
	wrote := make(chan struct{}, 1) // the trace is called by another goroutine
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() {
		select {
		case wrote <- struct{}{}:
		default:
		}
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "", bytes.NewReader(body))
	if err != nil {
		return push.Answer{Outcome: push.Rejected, Reason: "request", Err: err}
	}
	req.URL, req.Host, req.Header = to, to.Host, h
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		select {
		case <-wrote:
			return failed(err, push.Unknown)
		default:
			return failed(err, push.Unavailable)
		}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return answer(resp.StatusCode, resp.Header, p.now())
}

// Refresh implements push.Provider: signatures older than a minute are made anew.
func (p *Provider) Refresh() { p.signer.forget() }

// Close implements push.Provider.
func (p *Provider) Close() error {
	p.transport.CloseIdleConnections()
	return nil
}

// origin is a push service's (RFC 6454), which a signature is for.
func origin(u *url.URL) string {
	return "https://" + strings.TrimSuffix(strings.ToLower(u.Host), ":443")
}

// ttl is how many seconds a push service keeps a message: RFC 8030, 5.2.
func (p *Provider) ttl(expires time.Time) int {
	if expires.IsZero() {
		return 0
	}
	return int(min(max(expires.Sub(p.now()), 0), maxTTL) / time.Second)
}

// urgency: RFC 8030, 5.3. A phone on battery takes low when it is charged or in use.
func urgency(c push.Class) string {
	if c == push.Chat {
		return "high"
	}
	return "low"
}

// topic replaces a message that waits: at most 32 characters of base64url (RFC 8030, 5.4). A push service learns nothing
// from it but that two are the same.
func topic(collapse string) []string {
	if collapse == "" {
		return nil
	}
	sum := sha256.Sum256([]byte("topic\x00" + collapse))
	return []string{base64.RawURLEncoding.EncodeToString(sum[:24])}
}
