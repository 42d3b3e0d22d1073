package fcm

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
)

// limit is how much of an answer is read: an error of FCM has some hundred bytes.
const limit = 64 << 10

// attempt is what one Send does and what the server answered to it. It travels in the request's context, since the
// library under Send keeps neither headers nor, of what is not JSON, the body.
type attempt struct {
	bearer string

	sent   bool // the library asked for it: there is no second time
	wrote  bool // something of the request went out, so that it may have arrived
	status int
	header http.Header
	body   []byte
	err    error // why there is no answer, or not all of it
}

type attemptKey struct{}

// once makes the one request of an attempt. The library would repeat a request that fails or is answered 503, four times
// and with pauses, inside the one Send; so it is never told of either: it hears 200, or 400 without a word, neither of
// which it repeats or follows, and the attempt keeps the truth.
type once struct {
	base http.RoundTripper
}

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	a := r.Context().Value(attemptKey{}).(*attempt)
	if a.sent {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errors.New("fcm: a second request of one attempt")
	}
	a.sent = true
	a.do(o.base, r)

	told := &http.Response{StatusCode: http.StatusBadRequest, Proto: "HTTP/2.0", ProtoMajor: 2, Header: http.Header{}, Body: http.NoBody, Request: r}
	if a.status == http.StatusOK && a.err == nil {
		told.StatusCode, told.Body = http.StatusOK, io.NopCloser(strings.NewReader("{}"))
	}
	return told, nil
}

func (a *attempt) do(base http.RoundTripper, r *http.Request) {
	// The trace's functions are called by the connection's goroutines, in part after RoundTrip has returned with an error
	// of the context: so the flag has a chan of its own.
	wrote := make(chan struct{}, 1)
	trace := &httptrace.ClientTrace{WroteHeaders: func() {
		select {
		case wrote <- struct{}{}:
		default:
		}
	}}
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	out.Header = r.Header.Clone()
	out.Header.Set("Authorization", "Bearer "+a.bearer)
	resp, err := base.RoundTrip(out)
	if err != nil {
		select {
		case <-wrote:
			a.wrote = true
		default:
		}
		a.err = err
		return
	}
	defer resp.Body.Close()
	a.wrote, a.status, a.header = true, resp.StatusCode, resp.Header
	a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, limit))
}

// why names what kept an answer from coming, in a word.
func why(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "connection"
}
