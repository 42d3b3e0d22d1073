package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of what webhooks are believed.
const (
	maxEvent = 1 << 20         // bytes of a body
	maxAge   = 5 * time.Minute // between the signature's time and ours: an old request may have been overheard
	maxTaken = 10_000          // events that are remembered as taken
)

// Event is what a webhook tells.
type Event struct {
	ID      string          `json:"id"`
	Event   string          `json:"event"` // thread.message, broadcast.finished …
	Time    time.Time       `json:"time"`
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

// Receiver is the HTTP handler that takes webhooks. Each event is handed over once: the server repeats what it got no
// answer to, under the same identifier.
type Receiver struct {
	Secret string
	Took   func(Event)      // must not wait long: the server waits ten seconds for the answer
	Now    func() time.Time // nil: time.Now

	mu    sync.Mutex
	taken map[string]bool
	order []string // of taken, the oldest first
}

func (v *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	now := time.Now()
	if v.Now != nil {
		now = v.Now()
	}
	if err := verify(v.Secret, r.Header.Get("X-Hwangso-Timestamp"), r.Header.Values("X-Hwangso-Signature"), body, now); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var e Event
	if json.Unmarshal(body, &e) != nil || e.ID == "" {
		http.Error(w, "not an event", http.StatusBadRequest)
		return
	}
	if v.first(e.ID) {
		v.Took(e)
	}
	w.WriteHeader(http.StatusNoContent)
}

// register has the events of a channel posted to a URL, and returns the secret under which they are signed. The server tells
// it once, for a new webhook. Of one that is there already it is the secret that is kept, or if none is, another one: for a
// day requests are signed under both, so that nothing is lost with the one before.
func register(ctx context.Context, api *API, channel, url, kept string) (secret string, err error) {
	var out struct {
		Secret  string `json:"secret"`
		Webhook struct {
			Webhook string `json:"webhook"` // its identifier
		} `json:"webhook"`
	}
	if err := api.Call(ctx, "webhook.set", newID(), object{"channel": channel, "url": url}, &out); err != nil {
		return "", err
	}
	if out.Secret == "" && kept == "" {
		if err := api.Call(ctx, "webhook.rotate", newID(), object{"channel": channel, "webhook": out.Webhook.Webhook}, &out); err != nil {
			return "", err
		}
	}
	if out.Secret == "" {
		out.Secret = kept
	}
	if out.Secret == "" { // the answer was lost on the way, and is told once
		return "", errors.New("webhook: the server tells no secret: try again")
	}
	return out.Secret, nil
}

// first reports whether an event was not taken before.
func (v *Receiver) first(id string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.taken[id] {
		return false
	}
	if v.taken == nil {
		v.taken = make(map[string]bool)
	}
	if len(v.order) == maxTaken {
		delete(v.taken, v.order[0])
		v.order = v.order[1:]
	}
	v.taken[id] = true
	v.order = append(v.order, id)
	return true
}

var (
	errUnsigned = errors.New("the signature does not fit")
	errOld      = errors.New("the signature is not of now")
)

// verify checks a request: one of its signatures must be "v1=" and the hexadecimal HMAC-SHA-256 of timestamp, ".", body under
// the secret, and the timestamp (Unix seconds) within maxAge. There are two signatures while the secret is replaced.
func verify(secret, timestamp string, signatures []string, body []byte, now time.Time) error {
	m := hmac.New(sha256.New, []byte(secret))
	io.WriteString(m, timestamp) // a hash never fails
	io.WriteString(m, ".")
	m.Write(body)
	want := []byte("v1=" + hex.EncodeToString(m.Sum(nil)))
	fits := false
	for _, h := range signatures {
		for s := range strings.SplitSeq(h, ",") {
			fits = hmac.Equal([]byte(strings.TrimSpace(s)), want) || fits
		}
	}
	if secret == "" || !fits {
		return errUnsigned
	}
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > maxAge {
		return errOld
	}
	return nil
}
