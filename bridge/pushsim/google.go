package pushsim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// google is FCM's HTTP v1 API, and the token endpoint of Google's OAuth beside it.
type google struct {
	oauth   *oauthServer
	project string
	now     func() time.Time
	names   atomic.Uint64 // messages that were named so far
}

var _ service = (*google)(nil)

// oauthPush is the push type of a request for an access token.
const oauthPush = "oauth"

func newGoogle(f *files, now func() time.Time) *google {
	return &google{
		oauth:   newOAuthServer(f.FCM.Email, f.fcmKey, f.Listen.tokenURI(), f.fcm, now),
		project: f.FCM.Project, now: now,
	}
}

func (g *google) read(r *request) (*Attempt, *response) {
	path, _, _ := strings.Cut(r.path, "?")
	if path == "/token" {
		return g.readToken(r)
	}
	project, ok := strings.CutSuffix(strings.TrimPrefix(path, "/v1/projects/"), "/messages:send")
	if !ok || !strings.HasPrefix(path, "/v1/projects/") || strings.Contains(project, "/") {
		return nil, googleAnswer(&notFound)
	}
	if r.method != http.MethodPost {
		return nil, googleAnswer(&notFound) // Google says so, too: there is no such method
	}
	return g.readSend(r, project), nil
}

// readToken is a request for an access token.
func (g *google) readToken(r *request) (*Attempt, *response) {
	if r.method != http.MethodPost {
		e := plainError(http.StatusMethodNotAllowed)
		return nil, googleAnswer(&e)
	}
	a := &Attempt{Provider: FCM, PushType: oauthPush, Status: http.StatusOK}
	answer, e := g.grant(r)
	if e != nil {
		a.Status, a.Reason, answer = e.code, e.Name, e.body()
	}
	a.answer = answer
	return a, nil
}

func (g *google) grant(r *request) ([]byte, *oauthError) {
	kind, _ := r.get("content-type")
	if m, _, err := mime.ParseMediaType(kind); err != nil || m != "application/x-www-form-urlencoded" {
		return nil, &oauthError{http.StatusBadRequest, "invalid_request", "The content type must be application/x-www-form-urlencoded."}
	}
	if r.cut {
		return nil, &oauthError{http.StatusRequestEntityTooLarge, "invalid_request", "The request is too long."}
	}
	form, err := url.ParseQuery(string(r.body))
	if err != nil {
		return nil, &oauthError{http.StatusBadRequest, "invalid_request", "The form is malformed."}
	}
	return g.oauth.grant(form.Get("grant_type"), form.Get("assertion"))
}

// readSend is a request to send a message.
func (g *google) readSend(r *request, project string) *Attempt {
	a := &Attempt{Provider: FCM}
	refuse := func(e *googleError) *Attempt {
		a.Status, a.Reason, a.answer = e.code, e.fcm, e.body()
		if a.Reason == "" {
			a.Reason = e.status
		}
		return a
	}
	auth, repeated := r.get("authorization")
	c, e := g.oauth.check(auth)
	r.credential = c
	m, bad := parseFCM(r.body)
	if m != nil {
		g.describe(a, m)
	}
	switch {
	case e != nil:
		return refuse(e)
	case repeated:
		return refuse(&badBearer)
	case project != g.project:
		return refuse(&wrongProject)
	case r.cut:
		return refuse(&tooLong)
	case bad != nil:
		return refuse(bad)
	}
	if r.peer != nil {
		r.peer.authenticated = true
	}
	a.dry = m.ValidateOnly
	if a.ID = "projects/" + project + "/messages/fake_message_id"; !a.dry {
		a.ID = "projects/" + project + "/messages/" + g.name()
	}
	if m.Token == "" { // to a topic, which nobody here has subscribed to
		a.Status = http.StatusOK
	}
	return a
}

// describe writes into an attempt what a message says.
func (g *google) describe(a *Attempt, m *fcmMessage) {
	a.Token, a.Topic, a.Collapse = m.Token, m.Topic, m.CollapseKey
	a.PushType, a.Priority = "data", 5
	if m.High {
		a.Priority = 10
	}
	if m.TTLSet {
		a.Expires = expiry(g.now(), m.TTL)
	}
	a.Payload = make(map[string]any, len(m.Data)+3)
	for k, v := range m.Data {
		a.Payload[k] = v
	}
	if m.Notification { // the system shows it, as a message of no kind of ours
		a.PushType = "notification"
		if a.Collapse == "" {
			a.Collapse = "notification" // Google takes the package's name
		}
		for k, v := range map[string]string{"kind": "notification", "title": m.Title, "body": m.Body} {
			if _, ok := m.Data[k]; !ok {
				a.Payload[k] = v
			}
		}
	}
}

// expiry is when a provider gives up, the Unix epoch if it is to deliver now or never.
func expiry(now time.Time, ttl time.Duration) time.Time {
	if ttl == 0 {
		return time.Unix(0, 0)
	}
	return now.Add(ttl)
}

// name makes a message's identifier look as FCM's: time, a percent sign, and a number that is not guessed.
func (g *google) name() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], g.names.Add(1))
	sum := sha256.Sum256(b[:])
	return "0:" + strconv.FormatInt(g.now().UnixMicro(), 10) + "%" + hex.EncodeToString(sum[:8])
}

func (g *google) judge(a *Attempt, v verdict, _ time.Time) {
	a.Reason = ""
	switch v {
	case taken:
		a.Status = http.StatusOK
		return
	case unregistered:
		a.Reason = "UNREGISTERED"
	case unknownToken:
		a.Reason = reasonToken
	case wrongTopic, wrongEnvironment:
		a.Reason = "SENDER_ID_MISMATCH"
	case tooMany:
		a.Reason = reasonDevice
	default:
		a.Reason = "UNAVAILABLE"
	}
	a.Status = g.status(a.Reason)
}

func (g *google) status(reason string) int {
	switch reason {
	case "invalid_grant", "invalid_request", "invalid_scope", "unsupported_grant_type", "unauthorized_client":
		return http.StatusBadRequest // RFC 6749, 5.2
	case "invalid_client":
		return http.StatusUnauthorized
	}
	return fcmErrors[reason].code
}

func (g *google) render(a *Attempt) response {
	res := response{status: a.Status, header: []hpack.HeaderField{{Name: "content-type", Value: "application/json; charset=UTF-8"}}}
	switch {
	case a.answer != nil:
		res.body = a.answer
	case a.PushType == oauthPush:
		e := oauthError{a.Status, a.Reason, "The simulator was told to answer so."}
		res.body = e.body()
	case a.Status/100 == 2:
		res.body = fmt.Appendf(nil, "{\n  \"name\": %q\n}\n", a.ID)
	default:
		e, ok := fcmErrors[a.Reason]
		if !ok {
			if e = plainError(a.Status); a.Reason != "" {
				e.fcm = a.Reason
			}
		}
		e.code = a.Status
		res.body = e.body()
	}
	return res
}

func googleAnswer(e *googleError) *response {
	return &response{e.code, []hpack.HeaderField{{Name: "content-type", Value: "application/json; charset=UTF-8"}}, e.body()}
}
