package pushsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// service is one provider's rules. Its methods are called by the goroutines of many connections.
type service interface {
	// read tells what a request is about. An attempt whose Status is set already is refused by the provider's rules,
	// whatever the device. No attempt: the response is the answer, and nothing is logged.
	read(r *request) (*Attempt, *response)

	// judge sets Status and Reason of an attempt by what the state of its device says, since when for a device that is
	// not there any more.
	judge(a *Attempt, v verdict, since time.Time)

	// status is what the provider answers with a reason, 0 if it does not know it.
	status(reason string) int

	// render is the answer to an attempt, in the provider's form.
	render(a *Attempt) response
}

// request is one HTTP request, body and all.
type request struct {
	peer    *peer
	sandbox bool   // of the listener
	stream  uint32 // of HTTP/2
	method  string
	path    string // with the query
	host    string
	header  []hpack.HeaderField // without pseudo-headers; names in lower case
	body    []byte
	cut     bool // the body is longer than maxBody, and cut there

	credential *credential // set by the service if it was valid
}

// credential is a provider token or access token that was found valid.
type credential struct {
	number uint64      // from 1, in the order in which they came
	made   time.Time   // as it says
	since  time.Time   // when it was first used
	void   atomic.Bool // a fault has made it expire
}

// maxBody is how much of a body is read. Every provider refuses less.
const maxBody = 64 << 10

// peer is what a service keeps of a connection.
type peer struct {
	number uint64

	// Of the service, which is called by the connection's reader alone.
	authenticated bool        // a request had valid credentials
	credential    *credential // the last one
	renewed       time.Time   // when it took the place of another, or came first
}

// get returns a header's value, "" if there is none; repeated tells that there are several.
func (r *request) get(name string) (value string, repeated bool) {
	found := false
	for _, f := range r.header {
		if f.Name == name {
			if found {
				return value, true
			}
			value, found = f.Value, true
		}
	}
	return value, false
}

// response is one answer.
type response struct {
	status int
	header []hpack.HeaderField // names in lower case
	body   []byte
}

// deed is how a request is answered: a response, or what a fault does in its place.
type deed struct {
	response
	late       time.Duration // the response comes so much later
	hang       bool
	goAway     GoAway
	debug      string // the reason in a GOAWAY
	reset      string
	close      bool
	blackHole  bool
	maxStreams uint32 // 0: as ever
}

// exchange decides one request: what the phone gets, what is logged, and how it is answered. The log has it when
// exchange returns.
func (s *Sim) exchange(sv service, r *request) deed {
	now := s.now()
	a, answer := sv.read(r)
	if a == nil {
		return deed{response: *answer}
	}
	a.Time, a.Sandbox, a.Stream, a.Size = now, r.sandbox, r.stream, len(r.body)
	if r.peer != nil {
		a.Conn = r.peer.number
	}
	if r.credential != nil {
		a.Credential = r.credential.number
	}
	b := s.faults.strike(a, r.credential, now)
	if b == nil {
		s.reach(sv, a, now)
		s.journal.append(a)
		return deed{response: sv.render(a)}
	}
	if b.ExpireTokens && r.credential != nil {
		r.credential.void.Store(true)
	}
	return s.suffer(sv, a, b, now)
}

// reach takes an attempt to its phone, unless the provider's rules refuse it.
func (s *Sim) reach(sv service, a *Attempt, now time.Time) {
	if a.Status != 0 {
		return
	}
	deliver := s.phones.deliver
	if a.dry {
		deliver = s.phones.consult
	}
	v, since := deliver(a, now)
	sv.judge(a, v, since)
}

// suffer is an attempt that a fault strikes.
func (s *Sim) suffer(sv service, a *Attempt, b *blow, now time.Time) deed {
	a.Fault = b.name
	d := deed{late: b.late, hang: b.Hang, goAway: b.GoAway, reset: b.Reset, close: b.Close, blackHole: b.BlackHole, maxStreams: b.MaxStreams}
	silent := d.hang || d.goAway != "" || d.reset != "" || d.close || d.blackHole
	reason := b.Reason
	if b.ExpireTokens && reason == "" {
		reason = "ExpiredProviderToken"
	}
	status := b.Status
	if status == 0 && reason != "" {
		if status = sv.status(reason); status == 0 {
			status = http.StatusBadRequest
		}
	}
	if status == 0 && b.Body != "" {
		status = http.StatusInternalServerError
	}
	refused := silent || status != 0 && status/100 != 2
	if !refused || b.Deliver {
		s.reach(sv, a, now)
	} else {
		n := noteOf(a)
		a.Thread, a.Seq = n.thread, n.seq
	}
	switch {
	case silent:
		a.Status, a.Reason = 0, reason
	case status != 0:
		a.Status, a.Reason, a.Since, a.answer = status, reason, time.Time{}, nil
		if status == http.StatusGone {
			a.Since = now.Add(-b.Since)
		}
	}
	s.journal.append(a)
	d.debug = reason
	if silent {
		return d
	}
	d.response = sv.render(a)
	if b.Body != "" {
		kind := b.ContentType
		if kind == "" {
			kind = "text/html"
		}
		d.body = []byte(b.Body)
		d.set("content-type", kind)
	} else if status != 0 && reason == "" && status/100 != 2 {
		d.body = nil
	}
	if b.RetryAfter > 0 {
		v := strconv.FormatInt(int64((b.RetryAfter+time.Second-1)/time.Second), 10)
		if b.RetryDate {
			v = now.Add(b.RetryAfter).UTC().Format(http.TimeFormat)
		}
		d.set("retry-after", v)
	}
	return d
}

// set sets a header in place of what it was.
func (r *response) set(name, value string) {
	for i := range r.header {
		if r.header[i].Name == name {
			r.header[i].Value = value
			return
		}
	}
	r.header = append(r.header, hpack.HeaderField{Name: name, Value: value})
}

// resetCodes are the error codes of HTTP/2 by name (RFC 9113, 7).
var resetCodes = func() map[string]http2.ErrCode {
	m := make(map[string]http2.ErrCode)
	for c := http2.ErrCodeNo; c <= http2.ErrCodeHTTP11Required; c++ {
		m[c.String()] = c
	}
	return m
}()

// strictJSON decodes one JSON value; unknown fields and anything after it are errors.
func strictJSON(b []byte, v any) error {
	return decodeJSON(b, v, true)
}

// decodeObject decodes a JSON object with its numbers as they are written.
func decodeObject(b []byte) (map[string]any, error) {
	var m map[string]any
	if err := decodeJSON(b, &m, false); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, errors.New("JSON, but no object")
	}
	return m, nil
}

// decodeJSON decodes one value and nothing else.
func decodeJSON(b []byte, v any, strict bool) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own types, which have nothing that cannot be written
	}
	return b
}
