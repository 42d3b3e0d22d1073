package webhook

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// attemptOf is how one ping is answered.
func (w *world) attemptOf(id string) Answer {
	w.t.Helper()
	h, err := w.s.Get(news, id)
	w.ok(err)
	before := len(h.Last)
	_, err = w.s.Test(w.t.Context(), news, id)
	w.ok(err)
	return w.await(id, func(h Hook) bool { return len(h.Last) > before }).Last[0]
}

// TestRebinding: a name that was fine when it was registered, and means this machine when the connection is made.
func TestRebinding(t *testing.T) {
	w := newWorld(t)
	w.s.guard.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} // so that the name localhost is taken, and 127.0.0.1 not
	h, _, err := w.s.Set(t.Context(), news, "", strings.Replace(w.to.URL, "127.0.0.1", "localhost", 1), nil)
	w.ok(err)
	w.s.Start()
	if a := w.attemptOf(h.ID); a.Outcome != outBlocked || a.Code != 0 {
		t.Errorf("%+v", a)
	}
	w.to.none()
}

// TestNoLongerAllowed: an address that was allowed when it was registered is asked no more when it is not.
func TestNoLongerAllowed(t *testing.T) {
	w := newWorld(t)
	h, _ := w.set()
	w.s.guard.Allow = nil
	w.s.Start()
	if a := w.attemptOf(h.ID); a.Outcome != outBlocked {
		t.Errorf("%+v", a)
	}
	w.to.none()
}

// TestAnswers: redirects are not followed, the environment's proxy is not asked, and a body is not read to its end.
func TestAnswers(t *testing.T) {
	var astray atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { astray.Add(1) }))
	defer other.Close()
	t.Setenv("HTTPS_PROXY", other.URL)
	t.Setenv("HTTP_PROXY", other.URL)
	w := newWorld(t)
	h, _ := w.set()
	w.s.Start()
	for _, c := range []struct {
		code int
		want string
	}{{301, outRedirect}, {307, outRedirect}, {400, outRefused}, {404, outRefused}, {500, outServer}, {599, outServer}, {202, outOK}} {
		w.to.answers(func(rw http.ResponseWriter, _ *http.Request, _ *delivery) {
			rw.Header().Set("Location", other.URL)
			rw.WriteHeader(c.code)
			for range 64 { // 4 MiB, of which nobody takes more than a part
				if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
		if len(w.s.List(news)[0].Last) == 0 {
			_, err := w.s.Test(t.Context(), news, h.ID)
			w.ok(err)
		} else {
			w.forward(time.Hour)
		}
		got := w.await(h.ID, func(h Hook) bool { return len(h.Last) > 0 && h.Last[0].Code == c.code }).Last[0]
		if got.Outcome != c.want || got.Time != w.clock.now().UnixMilli() {
			t.Errorf("%d: %+v", c.code, got)
		}
	}
	if n := astray.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// TestUnbelieved: a certificate of somebody else, a name without an address, nobody there.
func TestUnbelieved(t *testing.T) {
	w := newWorld(t)
	w.s.Start()
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ErrorLog = nil
	other.StartTLS()
	h, _, err := w.s.Set(t.Context(), news, "", other.URL, nil)
	w.ok(err)
	w.s.transport.TLSClientConfig.RootCAs = nil
	if a := w.attemptOf(h.ID); a.Outcome != outTLS {
		t.Errorf("%+v", a)
	}
	other.Close()
	w.forward(time.Hour)
	if h := w.await(h.ID, func(h Hook) bool { return len(h.Last) > 1 }); h.Last[0].Outcome != outNetwork {
		t.Errorf("%+v", h.Last)
	}
}

// TestShares: an endpoint that does not answer has its share of requests, and another one its own; the others are not
// delayed; Close ends what is under way, and what was not answered comes again.
func TestShares(t *testing.T) {
	w := newWorld(t)
	gate := make(chan struct{})
	var here atomic.Int32
	w.to.answers(func(_ http.ResponseWriter, r *http.Request, _ *delivery) {
		here.Add(1)
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	})
	h, _ := w.set()
	quick := newReceiver(t)
	w.s.transport.TLSClientConfig.RootCAs.AddCert(quick.Certificate())
	w.s.timeout, w.s.transport.ResponseHeaderTimeout = time.Hour, 0 // however slow the machine, Close ends them and nothing else
	_, _, err := w.st.Open(t.Context(), store.ChannelKey("other"), store.Creation{})
	w.ok(err)
	_, _, err = w.s.Set(t.Context(), Owner{Channel: "other"}, "", quick.URL, nil)
	w.ok(err)
	w.s.Start()
	for i := range 3 * perEndpoint {
		w.ok(w.s.Emit(t.Context(), news, BroadcastFinished, fmt.Sprint("broadcast:", i), "x", w.clock.now(), struct{}{}))
	}
	for i := range 20 {
		w.ok(w.s.Emit(t.Context(), Owner{Channel: "other"}, BroadcastFinished, "broadcast:1", fmt.Sprint(i), w.clock.now().Add(time.Duration(i)*time.Millisecond), map[string]int{"n": i}))
	}
	for range 20 {
		quick.next()
	}
	for here.Load() < perEndpoint {
		time.Sleep(time.Millisecond)
	}
	w.s.mu.Lock()
	flying := w.s.byID[h.ID].flying
	w.s.mu.Unlock()
	if here.Load() != perEndpoint || flying != perEndpoint {
		t.Errorf("%d requests, %d under way to one that does not answer", here.Load(), flying)
	}
	w.s.patience = 0
	w.ok(w.s.Close())
	for len(w.to.got) < perEndpoint {
		time.Sleep(time.Millisecond)
	}
	first := map[string]bool{}
	for range perEndpoint {
		first[w.to.next().doc.ID] = true
	}
	close(gate)
	w.open()
	w.s.Start()
	again := 0
	for range 3 * perEndpoint {
		if first[w.to.next().doc.ID] {
			again++
		}
	}
	if again != perEndpoint {
		t.Errorf("%d of %d came again", again, perEndpoint)
	}
	if h := w.await(h.ID, func(h Hook) bool { return h.Waiting == 0 }); h.State != "ok" || h.Dropped != 0 {
		t.Errorf("%+v", h)
	}
}

// TestTogether: everything at once, for the race detector; what was emitted to an endpoint that stays arrives.
func TestTogether(t *testing.T) {
	w := newWorld(t)
	h, _ := w.set()
	w.s.Start()
	done := make(chan error, 4)
	const n = 50
	go func() {
		for i := range n {
			if err := w.s.Emit(t.Context(), news, BroadcastFinished, fmt.Sprint("broadcast:", i%7), fmt.Sprint(i), w.clock.now().Add(time.Duration(i)*time.Millisecond), map[string]int{"n": i}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	go func() {
		for i := range n / 5 {
			x, _, err := w.s.Set(t.Context(), news, "", fmt.Sprint(w.to.URL, "/other", i), nil)
			if err == nil {
				_, err = w.s.Test(t.Context(), news, x.ID)
			}
			if err == nil {
				err = w.s.Remove(t.Context(), news, x.ID)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	go func() {
		for range n / 5 {
			if _, _, err := w.s.Rotate(t.Context(), news, h.ID); err != nil {
				done <- err
				return
			}
			w.s.List(news)
			w.s.Look()
		}
		done <- nil
	}()
	go func() {
		a, thread := w.follower(1)
		for i := range n / 5 {
			w.say(store.Draft{Log: thread.ID, Sender: a, Text: fmt.Append(nil, i)})
		}
		done <- nil
	}()
	for range 4 {
		w.ok(<-done)
	}
	w.await(h.ID, func(h Hook) bool { return h.Waiting == 0 })
	seen := make(map[string]bool)
	for len(seen) < n+n/5 {
		if d := w.to.next(); d.doc.Event != Ping {
			seen[d.doc.ID] = true
		}
	}
}

// TestSignature is what openssl dgst -sha256 -hmac says of the same bytes.
func TestSignature(t *testing.T) {
	const want = "v1=51b68af7c5aba663f495e0b77ed6ed53dc386f3d832a75fa53b1610a46f7dd8e"
	if got := Signature([]byte("whs_test"), "1795330801", []byte(`{"id":"x"}`)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
