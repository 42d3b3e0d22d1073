package pushsim

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	pushPath    = "/push/"
	messagePath = "/message/"

	webPushMax    = 4096 // bytes of a body; RFC 8030, 7.2: a push service takes that many
	webPushMaxTTL = 28 * 24 * time.Hour
)

// browser is a push service of browsers (RFC 8030), and every browser that has subscribed at it.
type browser struct {
	seed  []byte // subscriptions are made of it
	vapid []byte // the key to which they are restricted
	now   func() time.Time
	names atomic.Uint64

	mu    sync.Mutex
	known map[string]time.Time    // guarded by mu: Authorization headers that were checked, and until when they are good
	keys  map[string]*browserKeys // guarded by mu: by token
}

var _ service = (*browser)(nil)

// What is remembered at most; when it is reached, all of it is forgotten, and made again.
const (
	maxKnown = 1_000
	maxKeys  = 100_000
)

func newBrowser(f *files, now func() time.Time) *browser {
	return &browser{seed: f.seed, vapid: f.vapid, now: now, known: make(map[string]time.Time), keys: make(map[string]*browserKeys)}
}

// Subscription is what a browser gives its page (the Push API's PushSubscription), for the page to give to the server.
type Subscription struct {
	Endpoint string `json:"endpoint"`
	P256dh   []byte `json:"-"` // the browser's public key, an uncompressed point of P-256
	Auth     []byte `json:"-"` // 16 bytes
}

// MarshalJSON implements json.Marshaler: the form of PushSubscription.toJSON().
func (s Subscription) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"endpoint": s.Endpoint, "expirationTime": nil,
		"keys": map[string]string{"p256dh": base64.RawURLEncoding.EncodeToString(s.P256dh), "auth": base64.RawURLEncoding.EncodeToString(s.Auth)},
	})
}

// browserKeys are a subscription's.
type browserKeys struct {
	private *ecdh.PrivateKey
	auth    []byte
}

// subscription makes the keys of a token, always the same of the same directory, so that a server's registrations
// outlive the simulator.
func (b *browser) subscription(token string) (*browserKeys, error) {
	b.mu.Lock()
	k := b.keys[token]
	b.mu.Unlock()
	if k != nil {
		return k, nil
	}
	auth, err := hkdf.Key(sha256.New, b.seed, nil, "auth\x00"+token, 16)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ { // a number above the curve's order is no key: one in 2^32
		secret, err := hkdf.Key(sha256.New, b.seed, nil, "p256dh\x00"+strconv.Itoa(n)+"\x00"+token, 32)
		if err != nil {
			return nil, err
		}
		private, err := ecdh.P256().NewPrivateKey(secret)
		if err != nil {
			continue
		}
		k = &browserKeys{private, auth}
		break
	}
	b.mu.Lock()
	if len(b.keys) >= maxKeys {
		clear(b.keys)
	}
	b.keys[token] = k
	b.mu.Unlock()
	return k, nil
}

// Subscribe is a browser that subscribes: from then on what is sent to the endpoint is shown by the phone with the token.
// The same token has the same subscription, after a restart too. It is restricted to the directory's VAPID key (RFC 8292,
// section 4).
func (s *Sim) Subscribe(token string) (Subscription, error) {
	if token == "" || len(token) > 512 {
		return Subscription{}, errors.New("pushsim: a subscription's token has 1 to 512 bytes")
	}
	k, err := s.browser.subscription(token)
	if err != nil {
		return Subscription{}, fmt.Errorf("pushsim: %w", err)
	}
	return Subscription{
		Endpoint: s.url(frontWebPush) + pushPath + url.PathEscape(token), P256dh: k.private.PublicKey().Bytes(), Auth: k.auth,
	}, nil
}

func (b *browser) read(r *request) (*Attempt, *response) {
	path, query, _ := strings.Cut(r.path, "?")
	name, ok := strings.CutPrefix(path, pushPath)
	token, err := url.PathUnescape(name)
	if !ok || query != "" || err != nil || token == "" || len(token) > 512 || strings.Contains(name, "/") {
		return nil, b.refusal(http.StatusNotFound, "there is no such resource")
	}
	if r.method != http.MethodPost {
		res := b.refusal(http.StatusMethodNotAllowed, "a push message is sent with POST")
		res.set("allow", http.MethodPost)
		return nil, res
	}
	a := &Attempt{Provider: WebPush, Token: token}
	if status, err := b.readMessage(r, a); err != nil {
		a.Status, a.Reason = status, reasonOf(err)
	}
	return a, nil
}

// readMessage holds a request against RFC 8030, 8291 and 8292 and writes what it says into the attempt. The status is
// that of its error.
func (b *browser) readMessage(r *request, a *Attempt) (int, error) {
	if status, err := b.readHeaders(r, a); err != nil {
		return status, err
	}
	if status, err := b.authorize(r); err != nil {
		return status, err
	}
	if r.cut || len(r.body) > webPushMax {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than %d bytes", webPushMax)
	}
	a.ID = messagePath + b.name()
	if len(r.body) == 0 {
		return 0, nil // a message without a payload wakes the page
	}
	if c, _ := r.get("content-encoding"); c != "aes128gcm" {
		return http.StatusUnsupportedMediaType, errors.New("the content coding must be aes128gcm")
	}
	// What follows no push service sees: the browser does it, and throws away what it cannot read. The sender is not told.
	k, err := b.subscription(a.Token)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	plain, err := decryptECE(r.body, k.private, k.auth)
	if err == nil {
		if a.Payload, err = decodeObject(plain); err != nil {
			err = errors.New("the decrypted payload is no JSON object")
		}
	}
	if err != nil {
		a.dry, a.Reason = true, reasonOf(err)
	}
	return 0, nil
}

func (b *browser) readHeaders(r *request, a *Attempt) (int, error) {
	ttl, repeated := r.get("ttl")
	seconds, err := strconv.ParseUint(ttl, 10, 31)
	switch {
	case ttl == "":
		return http.StatusBadRequest, errors.New("the header TTL is missing") // RFC 8030, 5.2
	case err != nil || repeated:
		return http.StatusBadRequest, errors.New("TTL must be a number of seconds below 2^31")
	}
	a.Expires = expiry(b.now(), min(time.Duration(seconds)*time.Second, webPushMaxTTL))
	urgency, repeated := r.get("urgency")
	switch urgency { // 5.3
	case "high":
		a.Priority = 10
	case "", "normal":
		a.Priority = 5
	case "low", "very-low":
		a.Priority = 1
	default:
		return http.StatusBadRequest, errors.New("header Urgency is none of very-low, low, normal, high")
	}
	topic, again := r.get("topic")
	if len(topic) > 32 || strings.ContainsFunc(topic, func(c rune) bool { return !isBase64URL(c) }) { // 5.4
		return http.StatusBadRequest, errors.New("header Topic must have at most 32 characters of base64url")
	}
	if repeated || again {
		return http.StatusBadRequest, errors.New("header Urgency or Topic stands twice")
	}
	a.Collapse = topic
	return 0, nil
}

func isBase64URL(c rune) bool {
	return c == '-' || c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// authorize checks the Authorization header. One that was found good is remembered: senders use the same for hours.
func (b *browser) authorize(r *request) (int, error) {
	header, repeated := r.get("authorization")
	if repeated {
		return http.StatusUnauthorized, errVAPIDNone
	}
	now, origin := b.now(), "https://"+r.host
	key := origin + " " + header
	b.mu.Lock()
	until, ok := b.known[key]
	b.mu.Unlock()
	if ok && now.Before(until) {
		return 0, nil
	}
	err := checkVAPID(header, origin, b.vapid, now)
	switch {
	case errors.Is(err, errVAPIDNone):
		return http.StatusUnauthorized, err
	case err != nil:
		return http.StatusForbidden, err // RFC 8292, 4.2
	}
	b.mu.Lock()
	if len(b.known) >= maxKnown {
		clear(b.known)
	}
	b.known[key] = now.Add(time.Minute)
	b.mu.Unlock()
	return 0, nil
}

func (b *browser) name() string {
	var sum [32]byte = sha256.Sum256([]byte(string(b.seed) + strconv.FormatUint(b.names.Add(1), 10)))
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// reasonOf is an error as an attempt has it.
func reasonOf(err error) string { return strings.TrimPrefix(err.Error(), "pushsim: ") }

func (b *browser) judge(a *Attempt, v verdict, _ time.Time) {
	switch v {
	case taken:
		a.Status = http.StatusCreated
		return
	case unregistered:
		a.Status, a.Reason = http.StatusGone, "Gone"
	case unknownToken:
		a.Status, a.Reason = http.StatusNotFound, "NotFound"
	case wrongTopic, wrongEnvironment:
		a.Status, a.Reason = http.StatusForbidden, "Forbidden"
	case tooMany:
		a.Status, a.Reason = http.StatusTooManyRequests, "TooManyRequests"
	default:
		a.Status, a.Reason = http.StatusServiceUnavailable, "ServiceUnavailable"
	}
}

// status knows the words of HTTP without their spaces: Gone, NotFound, TooManyRequests.
func (b *browser) status(reason string) int {
	for code := 400; code < 600; code++ {
		if t := http.StatusText(code); t != "" && strings.ReplaceAll(t, " ", "") == reason {
			return code
		}
	}
	return 0
}

func (b *browser) render(a *Attempt) response {
	if a.Status/100 != 2 {
		return *b.refusal(a.Status, a.Reason)
	}
	ttl := int64(0)
	if left := a.Expires.Sub(a.Time); left > 0 {
		ttl = int64((left + time.Second/2) / time.Second)
	}
	return response{status: a.Status, header: []hpack.HeaderField{
		{Name: "location", Value: a.ID}, {Name: "ttl", Value: strconv.FormatInt(ttl, 10)},
	}}
}

// refusal is an error in the form of the push service of Firefox; others send a line of text, and no sender reads either.
func (b *browser) refusal(status int, why string) *response {
	return &response{status, []hpack.HeaderField{{Name: "content-type", Value: "application/json"}}, jsonOf(map[string]any{
		"code": status, "error": http.StatusText(status), "message": why,
	})}
}
