package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/egress"
	"github.com/hwangso/hwangso/store"
)

// Headers of a request; the first three are those of the webhook for one-time codes.
const (
	HeaderTimestamp = "X-Hwangso-Timestamp" // Unix seconds when the request was made
	HeaderSignature = "X-Hwangso-Signature" // see Signature; while a secret is replaced two of them, with a comma between
	HeaderID        = "Idempotency-Key"     // the event's identifier: one that was taken is not to be taken again
	HeaderEvent     = "X-Hwangso-Event"     // the kind of the event
)

// Signature is what proves who made a request: "v1=" and the hexadecimal HMAC-SHA-256 (RFC 2104) of timestamp, ".", body.
func Signature(secret []byte, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(timestamp)) // never fails, as the following
	m.Write([]byte{'.'})
	m.Write(body)
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}

// document is what is posted.
type document struct {
	ID      string `json:"id"`
	Event   string `json:"event"`
	Time    string `json:"time"` // when it happened: RFC 3339, UTC, milliseconds
	Channel string `json:"channel,omitempty"`
	App     string `json:"app,omitempty"`
	Data    any    `json:"data"`
}

// message is the data of ThreadMessage: what the publishers' own devices get, and nothing else of who wrote it.
type message struct {
	Thread   string    `json:"thread"` // the follower's pseudonym
	Seq      store.Seq `json:"seq"`
	Kind     string    `json:"kind,omitempty"`
	Text     string    `json:"text"`
	Op       string    `json:"op,omitempty"` // edit or recall
	Target   store.Seq `json:"target,omitempty"`
	Recalled bool      `json:"recalled,omitempty"` // there is no text any more
}

// body is what is posted for an event, nil if there is nothing to tell any more.
func (s *Service) body(e *endpoint, v *event) ([]byte, error) {
	d := document{ID: v.ID, Event: v.Type, Time: time.UnixMilli(v.At).UTC().Format("2006-01-02T15:04:05.000Z07:00"), Channel: e.owner.Channel, App: e.owner.App, Data: v.Data}
	if v.Log != 0 {
		m, err := s.message(v)
		if m == nil || err != nil {
			return nil, err
		}
		d.Data = m
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("webhook: body: %w", err)
	}
	return b, nil
}

// message reads what a follower has written, as it is now; nil: retention was faster.
func (s *Service) message(v *event) (*message, error) {
	page, err := s.store.Read(store.Query{Log: v.Log, After: v.Seq - 1, Upto: v.Seq, Max: 1})
	if c := store.CodeOf(err); c == store.CodeTrimmed || c == store.CodeNotFound || err == nil && len(page.Records) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("webhook: message: %w", err)
	}
	r := page.Records[0]
	m := &message{Thread: v.Subject, Seq: r.Seq, Recalled: r.Recalled}
	if r.Op.Kind != store.OpNone {
		m.Op, m.Target = r.Op.Kind.String(), r.Op.Target
	} else {
		m.Kind = r.Kind.String()
	}
	if !r.Recalled {
		m.Text = strings.ToValidUTF8(string(r.Text), "\uFFFD")
	}
	return m, nil
}

// post makes one request, by the transport itself: no redirects and no cookies.
func (s *Service) post(ctx context.Context, to *row, v *event, body []byte) result {
	u, err := s.guard.Parse(to.URL)
	if err != nil {
		return result{outcome: outBlocked} // the settings have changed since it was registered
	}
	leave, ok := s.hosts.Take(ctx, strings.ToLower(u.Host))
	if !ok {
		return result{outcome: outBusy}
	}
	defer leave()
	within, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(within, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return result{outcome: outBlocked}
	}
	now := s.now()
	at := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "hwangso")
	req.Header.Set(HeaderID, v.ID)
	req.Header.Set(HeaderEvent, v.Type)
	req.Header.Set(HeaderTimestamp, at)
	req.Header.Set(HeaderSignature, signatures(to.secrets(now), at, body))
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return result{outcome: outCanceled}
		}
		return result{outcome: reason(err)}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // what was answered counts, also if the rest is broken
	_ = resp.Body.Close()
	r := result{code: resp.StatusCode}
	switch c := resp.StatusCode; {
	case c >= 200 && c < 300:
		r.outcome = outOK
	case c >= 300 && c < 400:
		r.outcome = outRedirect
	case c == http.StatusGone:
		r.outcome = outGone
	case c >= 400 && c < 500:
		r.outcome = outRefused
	default:
		r.outcome = outServer
	}
	if r.outcome != outOK {
		r.after = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	return r
}

// retryAfter reads RFC 9110, 10.2.3: seconds or a date. 0: it says nothing, or that the time has come.
func retryAfter(h string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(h, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(h); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// reason is the class of why there was no answer.
func reason(err error) string {
	var (
		dns     *net.DNSError
		record  tls.RecordHeaderError
		cert    *tls.CertificateVerificationError
		alert   tls.AlertError
		host    x509.HostnameError
		timeout net.Error
	)
	switch {
	case errors.Is(err, egress.ErrBlocked):
		return outBlocked
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return outTimeout
	case errors.As(err, &dns):
		return outName
	case errors.As(err, &record), errors.As(err, &cert), errors.As(err, &alert), errors.As(err, &host):
		return outTLS
	}
	return outNetwork
}
