package fcm

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/hwangso/hwangso/bridge/push"
)

const (
	// maxData is what FCM takes of keys and values together.
	// https://firebase.google.com/docs/cloud-messaging/customize-messages/set-message-type
	maxData = 4096
	// maxTTL is four weeks, the most that FCM keeps a message.
	maxTTL = 28 * 24 * time.Hour
)

// message makes the request of a push; push.ErrTooLarge if it cannot be made to fit.
func (p *Provider) message(m *push.Push) (*messaging.Message, error) {
	flat, err := push.Fit(m, maxData, p.flat)
	if err != nil {
		return nil, err
	}
	ttl := time.Duration(0)
	if !m.Expires.IsZero() {
		ttl = min(max(m.Expires.Sub(p.now()), 0), maxTTL).Truncate(time.Second)
	}
	priority := "normal"
	if m.Class == push.Chat {
		priority = "high"
	}
	return &messaging.Message{
		Token:   m.To.Token,
		Data:    data(flat),
		Android: &messaging.AndroidConfig{Priority: priority, TTL: &ttl},
	}, nil
}

// flat is a note's data as keys and values with a zero byte after each: what FCM counts, and those bytes more.
func (p *Provider) flat(n *push.Note) ([]byte, error) {
	b := make([]byte, 0, 256)
	put := func(key, value string) {
		b = append(append(b, key...), 0)
		b = append(append(b, strings.ReplaceAll(value, "\x00", "")...), 0)
	}
	text := func(key, value string) {
		if value != "" {
			put(key, value)
		}
	}
	number := func(key string, value uint64) {
		if value != 0 {
			put(key, strconv.FormatUint(value, 10))
		}
	}
	put("kind", string(n.Kind))
	text("thread", n.Thread)
	text("room", n.Room)
	number("seq", uint64(n.Seq))
	number("epoch", uint64(n.Epoch))
	number("count", uint64(max(n.Count, 0)))
	if n.Badge >= 0 {
		put("badge", strconv.Itoa(n.Badge))
	}
	if n.Silent {
		put("silent", "true")
	}
	if n.Key != "" && !p.cfg.Texts {
		put("key", string(n.Key))
		if len(n.Args) > 0 {
			args, err := array(n.Args)
			if err != nil {
				return nil, err
			}
			put("args", args)
		}
		return b, nil
	}
	text("title", n.Title)
	text("body", n.Body)
	return b, nil
}

// array is a JSON array of texts, without the escapes that only HTML needs.
func array(list []string) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(list); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// data takes flat's bytes apart.
func data(flat []byte) map[string]string {
	parts := strings.Split(string(flat), "\x00")
	out := make(map[string]string, len(parts)/2)
	for i := 0; i+1 < len(parts); i += 2 {
		out[parts[i]] = parts[i+1]
	}
	return out
}
