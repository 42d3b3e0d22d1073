package signup

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Headers of a webhook request.
const (
	HeaderTimestamp = "X-Hwangso-Timestamp" // Unix seconds when the request was made
	HeaderSignature = "X-Hwangso-Signature" // "v1=" and the hexadecimal HMAC-SHA-256 of timestamp, ".", body
	HeaderID        = "Idempotency-Key"     // the message's id: an id that was taken over once is not to be sent again
)

// WebhookConfig is where codes are handed to.
type WebhookConfig struct {
	URL      string        // https, or http on this machine
	Secret   []byte        // of the signature, at least 16 bytes
	Timeout  time.Duration // of one attempt; 0: 5 seconds
	Attempts int           // 0: 3
	Pause    time.Duration // before the second attempt, doubled before each further one; 0: 500 ms

	Client *http.Client     // nil: one of its own that follows no redirects
	Now    func() time.Time // nil: time.Now
}

// Webhook is a Sender that posts codes to a URL.
type Webhook struct{ cfg WebhookConfig }

// NewWebhook returns a Webhook, or what is wrong with its configuration.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("signup: the webhook needs a URL such as https://sms.example.com/send")
	case u.Scheme != "https" && (u.Scheme != "http" || !local(u.Hostname())):
		return nil, errors.New("signup: codes travel readable to a webhook beyond this machine without https")
	case len(c.Secret) < 16:
		return nil, errors.New("signup: the webhook's secret must have at least 16 bytes")
	case c.Timeout < 0 || c.Attempts < 0 || c.Pause < 0:
		return nil, errors.New("signup: a number of the webhook is negative")
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Attempts == 0 {
		c.Attempts = 3
	}
	if c.Pause == 0 {
		c.Pause = 500 * time.Millisecond
	}
	if c.Client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = sendsAtOnce
		c.Client = &http.Client{Transport: t}
	}
	client := *c.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Client = &client
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Webhook{c}, nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// webhookBody is the request's body.
type webhookBody struct {
	ID       string `json:"id"`
	Number   string `json:"number"`
	Code     string `json:"code"`
	Text     string `json:"text"`
	Language string `json:"language"`
}

// errAgain marks an attempt that another one may mend.
var errAgain = errors.New("signup: webhook")

// Send posts the message until it is taken over (2xx), refused for good (another status but 408, 425, 429 and 5xx), or
// the attempts are used up. Every attempt has the same body and Idempotency-Key, and a signature of its own time.
func (h *Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(webhookBody(m))
	if err != nil {
		return fmt.Errorf("signup: webhook: %w", err)
	}
	pause := h.cfg.Pause
	for n := 1; ; n++ {
		err := h.attempt(ctx, m.ID, body)
		if err == nil || n >= h.cfg.Attempts || !errors.Is(err, errAgain) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			pause *= 2
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func (h *Webhook) attempt(ctx context.Context, id string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("signup: webhook: the request cannot be made")
	}
	at := strconv.FormatInt(h.cfg.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "hwangso")
	r.Header.Set(HeaderID, id)
	r.Header.Set(HeaderTimestamp, at)
	r.Header.Set(HeaderSignature, Signature(h.cfg.Secret, at, body))
	resp, err := h.cfg.Client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // its own text holds the URL, which may hold a key
			err = u.Err
		}
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection can be used again
	_ = resp.Body.Close()
	switch c := resp.StatusCode; {
	case c >= 200 && c < 300:
		return nil
	case c >= 500 || c == http.StatusRequestTimeout || c == http.StatusTooEarly || c == http.StatusTooManyRequests:
		return fmt.Errorf("%w: status %d", errAgain, c)
	default:
		return fmt.Errorf("signup: webhook: status %d", c)
	}
}

// Signature is the value of HeaderSignature for a timestamp and a body.
func Signature(secret []byte, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(timestamp)) // never fails, as the following
	m.Write([]byte{'.'})
	m.Write(body)
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}
