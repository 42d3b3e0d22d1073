package pushsim

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// echo is a service that takes everything.
type echo struct{}

func (echo) read(r *request) (*Attempt, *response) {
	if r.path == "/plain" {
		kind, _ := r.get("content-type")
		return nil, &response{status: 201, header: []hpack.HeaderField{{Name: "x-kind", Value: kind}}, body: r.body}
	}
	a := &Attempt{Provider: FCM, Token: strings.TrimPrefix(r.path, "/"), Payload: map[string]any{"kind": "message"}}
	if r.cut {
		a.Status, a.Reason = 413, "TOO_LARGE"
	}
	return a, nil
}

func (echo) judge(a *Attempt, v verdict, _ time.Time) { a.Status = 200 }
func (echo) status(string) int                        { return 0 }
func (echo) render(a *Attempt) response {
	return response{status: a.Status, body: []byte(a.Reason)}
}

// TestHTTP1 is for a service that speaks both versions: the same request over either, and what faults do over the older.
func TestHTTP1(t *testing.T) {
	s := startSim(t, Config{})
	f := &front{name: "echo", provider: FCM, service: echo{}, plain: true}
	if err := s.openFront(f, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.wg.Go(func() { s.accept(f) })
	url := s.url("echo")
	for version, h2 := range map[int]bool{1: false, 2: true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA()}, ForceAttemptHTTP2: h2}
		c := &http.Client{Transport: tr}
		post := func(path, body string) (*http.Response, error) {
			req, err := http.NewRequestWithContext(context30(t), http.MethodPost, url+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "text/x")
			return c.Do(req)
		}
		for range 3 {
			res, err := post("/plain", "body")
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.ProtoMajor != version || res.StatusCode != 201 || string(b) != "body" || res.Header.Get("X-Kind") != "text/x" {
				t.Fatalf("HTTP/%d: %d %q %v", res.ProtoMajor, res.StatusCode, b, res.Header)
			}
		}
		res, err := post("/long", strings.Repeat("x", maxBody+1))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 413 {
			t.Errorf("HTTP/%d: a long body: %d", version, res.StatusCode)
		}
		for _, do := range []Do{{Close: true}, {Reset: "INTERNAL_ERROR"}} {
			if _, err := s.Add(Fault{Provider: FCM, Times: 1, Token: "struck", Do: do}); err != nil {
				t.Fatal(err)
			}
			if res, err := post("/struck", "x"); err == nil {
				t.Errorf("HTTP/%d: %+v: answered with %d", version, do, res.StatusCode)
			}
		}
		s.Add(Fault{Provider: FCM, Times: 1, Do: Do{Status: 503, Reason: "X", RetryAfter: 1500 * time.Millisecond, Latency: time.Millisecond}})
		if res, err = post("/late", "x"); err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") != "2" {
			t.Errorf("HTTP/%d: %v, %v", version, res, err)
		} else {
			res.Body.Close()
		}
		tr.CloseIdleConnections()
	}
}
