package pushsim

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

// apnsReasons are APNs' words and the status that each comes with: Apple, "Handling notification responses from APNs".
var apnsReasons = map[string]int{
	"BadCollapseId": 400, "BadDeviceToken": 400, "BadExpirationDate": 400, "BadMessageId": 400, "BadPriority": 400,
	"BadTopic": 400, "DeviceTokenNotForTopic": 400, "DuplicateHeaders": 400, "IdleTimeout": 400, "InvalidPushType": 400,
	"MissingDeviceToken": 400, "MissingTopic": 400, "PayloadEmpty": 400, "TopicDisallowed": 400,
	"BadCertificate": 403, "BadCertificateEnvironment": 403, "ExpiredProviderToken": 403, "Forbidden": 403,
	"InvalidProviderToken": 403, "MissingProviderToken": 403, "UnrelatedKeyIdInToken": 403, "BadEnvironmentKeyIdInToken": 403,
	"BadPath": 404, "MethodNotAllowed": 405, "ExpiredToken": 410, "Unregistered": 410, "PayloadTooLarge": 413,
	"TooManyProviderTokenUpdates": 429, "TooManyRequests": 429,
	"InternalServerError": 500, "ServiceUnavailable": 503, "Shutdown": 503,
}

// apnsTypes are the values of apns-push-type: Apple, "Sending notification requests to APNs".
var apnsTypes = []string{"alert", "background", "complication", "controls", "fileprovider", "liveactivity", "location", "mdm",
	"pushtotalk", "voip", "widgets"}

// Bytes of a payload at most.
const (
	apnsPayload = 4096
	voipPayload = 5120
)

// apple is APNs' rules, for both environments.
type apple struct {
	set    apnsSettings
	tokens tokens
	now    func() time.Time
}

var _ service = (*apple)(nil)

func newApple(f *files, now func() time.Time) *apple {
	return &apple{set: f.APNs, tokens: tokens{set: f.APNs, key: f.apns, valid: make(map[string]*credential)}, now: now}
}

// read implements service. Of several things that are wrong, Apple does not say which it tells: here it is the first of
// method, path, authorization, device token, headers, payload. An attempt that is refused has what was read so far.
func (p *apple) read(r *request) (*Attempt, *response) {
	a := &Attempt{Provider: APNs, ID: uuid(), Priority: 10, PushType: "alert"}
	id, twice := r.get("apns-id")
	badID := id != "" && !isUUID(id)
	if id != "" && !badID {
		a.ID = id
	}
	reason := p.request(a, r)
	switch {
	case reason != "":
	case badID:
		reason = "BadMessageId"
	case twice:
		reason = "DuplicateHeaders"
	default:
		reason = p.headers(a, r)
	}
	if reason == "" {
		reason = payload(a, r)
	}
	if reason != "" {
		a.Status, a.Reason = apnsReasons[reason], reason
	}
	return a, nil
}

// request checks what does not depend on the push.
func (p *apple) request(a *Attempt, r *request) (reason string) {
	token, ok := strings.CutPrefix(r.path, "/3/device/")
	if ok && isDeviceToken(token) {
		a.Token = strings.ToLower(token)
	}
	switch {
	case r.method != http.MethodPost:
		return "MethodNotAllowed"
	case !ok || strings.ContainsAny(token, "/?"):
		return "BadPath"
	}
	if reason := p.tokens.check(r, p.now()); reason != "" {
		return reason
	}
	switch {
	case token == "":
		return "MissingDeviceToken"
	case a.Token == "":
		return "BadDeviceToken"
	}
	return ""
}

// headers checks and notes a push's headers.
func (p *apple) headers(a *Attempt, r *request) (reason string) {
	var v [5]string
	for i, name := range []string{"apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-collapse-id"} {
		var twice bool
		if v[i], twice = r.get(name); twice {
			return "DuplicateHeaders"
		}
	}
	topic, kind, priority, expires, collapse := v[0], v[1], v[2], v[3], v[4]
	switch {
	case topic == "":
		return "MissingTopic"
	case len(topic) > 255:
		return "BadTopic"
	case !p.allowed(topic):
		return "TopicDisallowed"
	}
	a.Topic = topic
	if kind != "" {
		if !slices.Contains(apnsTypes, kind) {
			return "InvalidPushType"
		}
		a.PushType = kind
	}
	switch priority {
	case "", "10":
	case "5":
		a.Priority = 5
	case "1":
		a.Priority = 1
	default:
		return "BadPriority"
	}
	if a.PushType == "background" && a.Priority == 10 {
		return "BadPriority"
	}
	if expires != "" {
		n, err := strconv.ParseUint(expires, 10, 63)
		if err != nil || n > maxUnix {
			return "BadExpirationDate"
		}
		a.Expires = time.Unix(int64(n), 0).UTC()
	}
	if len(collapse) > 64 {
		return "BadCollapseId"
	}
	a.Collapse = collapse
	return ""
}

// maxUnix is the last second of the year 9999, the last one that JSON's times have.
const maxUnix = 253402300799

// allowed reports whether a topic is one of the team's: an app, or one of the topics that belong to it.
func (p *apple) allowed(topic string) bool {
	mine := func(app string) bool {
		rest, ok := strings.CutPrefix(topic, app)
		if !ok {
			return false
		}
		switch rest {
		case "", ".voip", ".voip-ptt", ".complication", ".location-query", ".pushkit.fileprovider", ".push-type.liveactivity",
			".push-type.widgets", ".push-type.controls":
			return true
		}
		return false
	}
	return mine(p.set.Topic) || slices.ContainsFunc(p.set.More, mine)
}

// payload checks the body. Apple has no reason for a body that is no JSON object; it counts as empty.
func payload(a *Attempt, r *request) (reason string) {
	limit := apnsPayload
	if a.PushType == "voip" {
		limit = voipPayload
	}
	if r.cut || len(r.body) > limit {
		return "PayloadTooLarge"
	}
	m, err := decodeObject(r.body)
	if err != nil {
		return "PayloadEmpty"
	}
	a.Payload, a.raw = m, r.body
	return ""
}

// judge implements service.
func (p *apple) judge(a *Attempt, v verdict, since time.Time) {
	switch v {
	case taken:
		a.Status = 200
		return
	case unregistered:
		a.Reason, a.Since = "Unregistered", since
	case unknownToken, wrongEnvironment:
		a.Reason = "BadDeviceToken"
	case wrongTopic:
		a.Reason = "DeviceTokenNotForTopic"
	case tooMany:
		a.Reason = "TooManyRequests"
	default:
		a.Reason = "ServiceUnavailable"
	}
	a.Status = apnsReasons[a.Reason]
}

// status implements service.
func (p *apple) status(reason string) int { return apnsReasons[reason] }

// render implements service.
func (p *apple) render(a *Attempt) response {
	out := response{status: a.Status, header: []hpack.HeaderField{{Name: "apns-id", Value: a.ID, Sensitive: true}}}
	if a.Sandbox && a.Status == 200 {
		out.header = append(out.header, hpack.HeaderField{Name: "apns-unique-id", Value: uuid(), Sensitive: true})
	}
	if a.Status == 200 {
		return out
	}
	out.header = append(out.header, hpack.HeaderField{Name: "content-type", Value: "application/json"})
	body := struct {
		Reason    string `json:"reason"`
		Timestamp int64  `json:"timestamp,omitempty"` // milliseconds
	}{Reason: a.Reason}
	if a.Status == http.StatusGone {
		body.Timestamp = a.Since.UnixMilli()
	}
	out.body = jsonOf(body)
	return out
}

// isDeviceToken tells whether it is hexadecimal, of 32 to 100 bytes.
func isDeviceToken(s string) bool {
	if len(s) < 64 || len(s) > 200 {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// isUUID tells whether it is one in its canonical form, of either case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
