package apns

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/sideshow/apns2"

	"github.com/hwangso/hwangso/bridge/credential"
)

// host is one of Apple's two, and the way there.
type host struct {
	url   string
	key   *credential.File[*signer]
	dial  func(context.Context) (net.Conn, error)
	slots chan struct{} // one for each request that is unanswered
	wg    sync.WaitGroup

	mu   sync.Mutex
	link *link
}

func newHost(url string, key *credential.File[*signer], cfg *Config) (*host, error) {
	addr, err := hostOf(url)
	if err != nil {
		return nil, err
	}
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("apns: url: %w", err)
	}
	return &host{url: url, key: key, dial: dialer(addr, name, cfg.CA), slots: make(chan struct{}, cfg.InFlight)}, nil
}

// dialer makes connections with TLS 1.2 or later that speak HTTP/2.
func dialer(addr, name string, ca *x509.CertPool) func(context.Context) (net.Conn, error) {
	d := &tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: ca, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		if p := c.(*tls.Conn).ConnectionState().NegotiatedProtocol; p != "h2" {
			return nil, errors.Join(errors.New("it does not speak HTTP/2"), c.Close())
		}
		return c, nil
	}
}

// enter is the link to use now. A key that has changed gets a new one: Apple takes one key per connection
// (UnrelatedKeyIdInToken). Call leave once for each.
func (h *host) enter() *link {
	s := h.key.Get()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.link == nil || h.link.signer != s {
		if old := h.link; old != nil {
			old.retired = true
			if old.users == 0 {
				h.wg.Go(old.pool.close)
			}
		}
		h.link = newLink(h.url, s, h.dial)
	}
	h.link.users++
	return h.link
}

func (h *host) leave(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.users--; l.users == 0 && l.retired {
		h.wg.Go(l.pool.close)
	}
}

func (h *host) close() {
	h.mu.Lock()
	l := h.link
	h.link = nil
	h.mu.Unlock()
	if l != nil {
		l.pool.close()
	}
	h.wg.Wait()
}

// link is what sends with one key.
type link struct {
	signer *signer
	pool   *conns
	client *apns2.Client

	users   int // guarded by host.mu, as the next
	retired bool
}

func newLink(url string, s *signer, dial func(context.Context) (net.Conn, error)) *link {
	l := &link{signer: s, pool: newConns(dial)}
	l.client = &apns2.Client{Host: url, HTTPClient: &http.Client{
		Transport: l,
		// Anything but an answer would be sent elsewhere, the device token with it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return l
}

// exchange is one request and all of its answer. It goes through apns2 in the request's context: apns2 makes the request,
// and what it cannot send or does not read is added and kept in RoundTrip.
type exchange struct {
	auth       string // the header authorization
	expiration string // the header apns-expiration

	conn *conn       // the place it has: see conns
	sent atomic.Bool // the payload was taken to be sent: it may have arrived

	status int // 0: none came
	header http.Header
	body   []byte
}

type exchangeKey struct{}

func exchangeOf(req *http.Request) *exchange { return req.Context().Value(exchangeKey{}).(*exchange) }

// maxAnswer is how much of a body is read. Apple's have some 60 bytes.
const maxAnswer = 16 << 10

// RoundTrip sends a request of apns2 and hands it the answer, read to its end.
func (l *link) RoundTrip(req *http.Request) (*http.Response, error) {
	ex := exchangeOf(req)
	req.Header.Set("Authorization", ex.auth) // the request is ours: nobody else has seen it
	req.Header.Set("Apns-Expiration", ex.expiration)
	get := req.GetBody
	req.Body = &payloadReader{req.Body, ex}
	req.GetBody = func() (io.ReadCloser, error) {
		b, err := get()
		if err != nil {
			return nil, err
		}
		return &payloadReader{b, ex}, nil
	}
	res, err := l.pool.roundTrip(req)
	if err != nil {
		l.pool.release(ex, false)
		return nil, err
	}
	ex.status, ex.header = res.StatusCode, res.Header
	// What breaks off here does not change what the status says.
	ex.body, _ = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(ex.body))
	l.pool.release(ex, ex.status != http.StatusForbidden)
	return res, nil
}

// CloseIdleConnections is what apns2.Client.CloseIdleConnections and http.Client's ask for.
func (l *link) CloseIdleConnections() { l.pool.closeIdle() }

// payloadReader notes that a payload is on its way. x/net reads it after it has written the headers.
type payloadReader struct {
	io.ReadCloser
	ex *exchange
}

func (r *payloadReader) Read(b []byte) (int, error) {
	r.ex.sent.Store(true)
	return r.ReadCloser.Read(b)
}
