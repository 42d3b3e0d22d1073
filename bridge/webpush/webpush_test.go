package webpush

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/hwangso/hwangso/bridge/push"
)

// TestMessage sees what a push service sees, and what the browser behind it.
func TestMessage(t *testing.T) {
	s := newService(t, true)
	now := time.Now()
	p := s.provider(func(c *Config) { c.Now = func() time.Time { return now } })
	send := func(change func(*push.Push)) (http.Header, string) {
		t.Helper()
		m := s.ring()
		m.Expires = now.Add(time.Hour)
		change(m)
		if a := p.Send(t.Context(), m); a.Outcome != push.Delivered || a.Status != 201 {
			t.Fatalf("%+v", a)
		}
		h, m2 := s.got()
		return h, fmt.Sprint(m2)
	}
	h, got := send(func(*push.Push) {})
	if want := "map[badge:0 body:좋은 아침 count:5 epoch:3 kind:message room:room/lobby seq:42 silent:true thread:0123456789abcdef0123 title:Alice <&>]"; got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	for k, want := range map[string]string{"Content-Encoding": "aes128gcm", "Content-Type": "application/octet-stream", "Urgency": "high"} {
		if h.Get(k) != want {
			t.Errorf("%s: %q, want %q", k, h.Get(k), want)
		}
	}
	if ttl := h.Get("TTL"); ttl != "3600" {
		t.Errorf("TTL %q", ttl)
	}
	name := h.Get("Topic")
	if len(name) != 32 || strings.ContainsAny(name, "+/=") {
		t.Errorf("topic %q", name)
	}
	c := claims(t, h, p.PublicKey())
	exp, err := c.GetExpirationTime()
	if err != nil || time.Until(exp.Time) > 24*time.Hour || time.Until(exp.Time) < time.Hour || c["aud"] != s.URL || c["sub"] != "mailto:operator@example.com" {
		t.Errorf("claims %v", c)
	}

	h2, got := send(func(m *push.Push) {
		m.Class, m.Expires, m.Collapse = push.Clear, time.Time{}, "other"
		m.Note = push.Note{Kind: push.KindClear, Thread: "t", Badge: -1}
	})
	if got != "map[kind:clear thread:t]" || h2.Get("Urgency") != "low" || h2.Get("TTL") != "0" || h2.Get("Topic") == name {
		t.Errorf("%s, %v", got, h2)
	}
	if h2.Get("Authorization") != h.Get("Authorization") {
		t.Error("every push is signed anew")
	}
	h, _ = send(func(m *push.Push) { m.Collapse, m.Expires = "", now.Add(-time.Minute) })
	if _, ok := h["Topic"]; ok || h.Get("TTL") != "0" {
		t.Errorf("without collapse, past its end: %v", h)
	}
	h, _ = send(func(m *push.Push) { m.Expires = now.Add(1000 * time.Hour) })
	if h.Get("TTL") != "2419200" {
		t.Errorf("TTL %s", h.Get("TTL"))
	}
	if posts, conns := s.count(); posts != 4 || conns != 1 {
		t.Errorf("%d POSTs over %d connections", posts, conns)
	}
}

// TestAnswers is the table of what push services answer. Each is one POST.
func TestAnswers(t *testing.T) {
	now := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		header http.Header
		want   push.Outcome
		after  time.Duration
	}{
		{200, nil, push.Delivered, 0},
		{201, http.Header{"Retry-After": {"5"}}, push.Delivered, 0},
		{202, nil, push.Delivered, 0},
		{204, nil, push.Delivered, 0},
		{301, http.Header{"Location": {"/again"}}, push.Blocked, 0},
		{302, http.Header{"Location": {"http://169.254.169.254/"}}, push.Blocked, 0},
		{307, http.Header{"Location": {"/again"}}, push.Blocked, 0},
		{308, http.Header{"Location": {"/again"}}, push.Blocked, 0},
		{400, nil, push.Rejected, 0},
		{401, nil, push.Suspect, 0},
		{403, nil, push.Suspect, 0},
		{404, nil, push.Gone, 0},
		{410, nil, push.Gone, 0},
		{413, nil, push.TooLarge, 0},
		{415, nil, push.Rejected, 0},
		{429, http.Header{"Retry-After": {"17"}}, push.DeviceBusy, 17 * time.Second},
		{429, http.Header{"Retry-After": {"Sun, 22 Nov 2026 04:00:30 GMT"}}, push.DeviceBusy, 30 * time.Second},
		{429, nil, push.DeviceBusy, 0},
		{500, nil, push.Unavailable, 0},
		{502, nil, push.Unavailable, 0},
		{503, http.Header{"Retry-After": {"3"}}, push.Unavailable, 3 * time.Second},
	} {
		t.Run(fmt.Sprint(c.status, c.header.Get("Retry-After")), func(t *testing.T) {
			s := newService(t, true)
			s.answer(c.status, c.header)
			p := s.provider(func(cfg *Config) { cfg.Now = func() time.Time { return now } })
			a := p.Send(t.Context(), s.ring())
			if a.Outcome != c.want || a.Status != c.status || a.RetryAfter != c.after || a.Err != nil {
				t.Errorf("%+v, want %v after %v", a, c.want, c.after)
			}
			if posts, _ := s.count(); posts != 1 {
				t.Errorf("%d POSTs", posts)
			}
		})
	}
}

// TestBlocked: nothing of this machine is connected to unless it is allowed, whatever its name and however it is written.
func TestBlocked(t *testing.T) {
	s := newService(t, true)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// A proxy of the environment would be asked for what the guard refuses.
	t.Setenv("HTTPS_PROXY", s.URL)
	t.Setenv("HTTP_PROXY", s.URL)
	p := s.provider(func(c *Config) { c.Allow = nil })
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "127.1", "2130706433"} {
		m := s.ring()
		m.To.Token = "https://" + host + ":" + port + "/secret"
		if a := p.Send(t.Context(), m); a.Outcome != push.Blocked || a.Status != 0 || a.Err == nil || strings.Contains(a.Err.Error(), "secret") {
			t.Errorf("%s: %+v", host, a)
		}
	}
	m := s.ring()
	m.To.Token = strings.Replace(s.URL, "https:", "http:", 1)
	if a := s.provider(nil).Send(t.Context(), m); a.Outcome != push.Blocked {
		t.Errorf("plain HTTP: %+v", a)
	}
	if posts, conns := s.count(); posts != 0 || conns != 0 {
		t.Errorf("%d POSTs over %d connections", posts, conns)
	}
}

// TestRebinding: a name is judged by the address that is connected to, not by one that it had before.
func TestRebinding(t *testing.T) {
	s := newService(t, true)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var answers atomic.Value // []string, the last label of what is asked for chooses nothing: all names have these
	addr := nameServer(t, func() []string { return answers.Load().([]string) })
	p := s.provider(func(c *Config) { c.Allow = nil })
	p.dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", addr)
	}}
	m := s.ring()
	m.To.Token = "https://example.com:" + port + "/x"
	if err := p.Check(m.To.Token, m.To.Key, m.To.Secret); err != nil {
		t.Fatalf("the name itself: %v", err)
	}
	for _, list := range [][]string{{"127.0.0.1"}, {"10.0.0.1", "127.0.0.1"}, {"169.254.169.254"}, {"::1"}, {"64:ff9b::7f00:1"}, {"::ffff:127.0.0.1"}} {
		answers.Store(list)
		if a := p.Send(t.Context(), m); a.Outcome != push.Blocked || a.Reason != "address" {
			t.Errorf("%v: %+v", list, a)
		}
	}
	if _, conns := s.count(); conns != 0 {
		t.Errorf("%d connections", conns)
	}
	answers.Store([]string{})
	if a := p.Send(t.Context(), m); a.Outcome != push.Unavailable || a.Reason != "dns" || strings.Contains(a.Err.Error(), "example") {
		t.Errorf("no address: %+v", a)
	}
	// The same name with the address allowed.
	p.guard.Allow = loopback
	answers.Store([]string{"127.0.0.1"})
	if a := p.Send(t.Context(), m); a.Outcome != push.Delivered {
		t.Errorf("allowed: %+v", a)
	}
}

// nameServer answers every question with these addresses.
func nameServer(t *testing.T, addresses func() []string) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(b[:n]) != nil || len(q.Questions) != 1 {
				continue
			}
			ask := q.Questions[0]
			a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true}, Questions: q.Questions}
			for _, s := range addresses() {
				ip, four := net.ParseIP(s), !strings.Contains(s, ":")
				h := dnsmessage.ResourceHeader{Name: ask.Name, Class: dnsmessage.ClassINET}
				switch {
				case four && ask.Type == dnsmessage.TypeA:
					h.Type = dnsmessage.TypeA
					a.Answers = append(a.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte(ip.To4())}})
				case !four && ask.Type == dnsmessage.TypeAAAA:
					h.Type = dnsmessage.TypeAAAA
					a.Answers = append(a.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(ip.To16())}})
				}
			}
			if out, err := a.Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c.LocalAddr().String()
}

// TestHungHost: a push server that never answers has its share of the slots, and another one is served meanwhile.
func TestHungHost(t *testing.T) {
	slow, well := newService(t, true), newService(t, true)
	var here atomic.Int64
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	slow.serve = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		here.Add(1)
		arrived <- struct{}{}
		<-release
	})
	defer close(release)
	p := slow.provider(func(c *Config) {
		c.InFlight, c.PerHost = 8, 4
		c.CA.AddCert(well.Certificate())
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	outcomes := make(chan push.Answer, 12)
	for range 12 {
		wg.Go(func() { outcomes <- p.Send(ctx, slow.ring()) })
	}
	for range 4 {
		<-arrived
	}
	for range 20 {
		if a := p.Send(t.Context(), well.ring()); a.Outcome != push.Delivered {
			t.Fatalf("%+v", a)
		}
	}
	for range 8 { // those without a slot give up by themselves
		if a := <-outcomes; a.Outcome != push.Unavailable || a.Reason != "host_in_flight" {
			t.Errorf("%+v", a)
		}
	}
	cancel()
	wg.Wait()
	for range 4 {
		if a := <-outcomes; a.Outcome != push.Unknown || a.Reason != "canceled" {
			t.Errorf("%+v", a)
		}
	}
	if here.Load() != 4 {
		t.Errorf("%d requests at once at the slow one", here.Load())
	}
	if n := p.hosts.Len(); n != 0 {
		t.Errorf("%d hosts are remembered", n)
	}
}

// TestConnections: a burst to one host goes over few connections, with HTTP/2 and without. Without, a connection has one
// request at a time, so what is counted is how many are there at once: one that was slow to be written takes its
// connection with it, and another one is made in its place.
func TestConnections(t *testing.T) {
	const senders, each = 4 * connsPerHost, 4
	for _, two := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2=%v", two), func(t *testing.T) {
			s := newService(t, two)
			here, most, full, once := 0, 0, make(chan struct{}), sync.Once{}
			s.serve = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				s.set(func() {
					here++
					if most = max(most, here); here == connsPerHost {
						once.Do(func() { time.AfterFunc(200*time.Millisecond, func() { close(full) }) }) // in which one too many would come
					}
				})
				if !two {
					<-full
				}
				s.set(func() { here-- })
				w.WriteHeader(http.StatusCreated)
			})
			p := s.provider(nil)
			var wg sync.WaitGroup
			for range senders {
				wg.Go(func() {
					for range each {
						if a := p.Send(t.Context(), s.ring()); a.Outcome != push.Delivered {
							t.Errorf("%+v", a)
						}
					}
				})
			}
			wg.Wait()
			switch posts, conns := s.count(); {
			case posts != senders*each || conns >= posts:
				t.Errorf("%d POSTs over %d connections", posts, conns)
			case two && conns > connsPerHost, !two && most > connsPerHost:
				t.Errorf("%d connections, %d requests at once", conns, most)
			}
		})
	}
}

// TestNoAnswer: what may have arrived is Unknown, what cannot have is Unavailable; no error names the endpoint.
func TestNoAnswer(t *testing.T) {
	for _, two := range []bool{true, false} {
		s := newService(t, two)
		p := s.provider(func(c *Config) { c.InFlight = 1 })
		check := func(what string, a push.Answer, o push.Outcome, reason string) {
			t.Helper()
			if a.Outcome != o || a.Reason != reason || a.Status != 0 || a.Err == nil {
				t.Errorf("http2=%v, %s: %+v, want %v %s", two, what, a, o, reason)
			}
			if a.Err != nil && (strings.Contains(a.Err.Error(), "secret") || strings.Contains(a.Err.Error(), "127.0.0.1")) {
				t.Errorf("%s: %v", what, a.Err)
			}
		}
		s.set(func() {
			s.serve = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		})
		check("reset", p.Send(t.Context(), s.ring()), push.Unknown, "connection")
		// A connection that was used before: the standard library may repeat requests on such a one, but not a POST.
		s.set(func() { s.serve = nil })
		if a := p.Send(t.Context(), s.ring()); a.Outcome != push.Delivered {
			t.Errorf("%+v", a)
		}
		s.set(func() {
			s.serve = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		})
		check("reset of an old connection", p.Send(t.Context(), s.ring()), push.Unknown, "connection")
		if posts, _ := s.count(); posts != 3 {
			t.Errorf("%d POSTs", posts)
		}

		arrived, release := make(chan struct{}, 1), make(chan struct{})
		s.set(func() {
			s.serve = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				arrived <- struct{}{}
				<-release
			})
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan push.Answer, 1)
		go func() { done <- p.Send(ctx, s.ring()) }()
		<-arrived
		cancel()
		check("hung", <-done, push.Unknown, "canceled")
		close(release)

		bare := s.provider(func(c *Config) { c.CA = nil })
		check("a stranger's certificate", bare.Send(t.Context(), s.ring()), push.Unavailable, "certificate")
		m, fresh := s.ring(), s.provider(nil) // no connection is left that could be used again
		s.Close()
		check("nobody", fresh.Send(t.Context(), m), push.Unavailable, "connection")
	}
}

// TestEndless: an answer that does not end costs neither memory nor the push.
func TestEndless(t *testing.T) {
	s := newService(t, true)
	s.serve = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	if a := s.provider(nil).Send(t.Context(), s.ring()); a.Outcome != push.Delivered {
		t.Errorf("%+v", a)
	}
	s.set(func() {
		s.serve = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			w.WriteHeader(http.StatusCreated)
		})
	})
	if a := s.provider(nil).Send(t.Context(), s.ring()); a.Outcome != push.Unknown {
		t.Errorf("headers without end: %+v", a)
	}
}

// TestFits cuts what is too long, and never fails for a text.
func TestFits(t *testing.T) {
	s := newService(t, true)
	p := s.provider(nil)
	for _, text := range []string{strings.Repeat("안녕하세요 👨‍👩‍👧‍👦 ", 200), strings.Repeat(`"\`, 4000), strings.Repeat("\x01", 9000), strings.Repeat("\xff", 9000)} {
		m := s.ring()
		m.Note.Body = text
		if a := p.Send(t.Context(), m); a.Outcome != push.Delivered {
			t.Fatalf("%.20q: %+v", text, a)
		}
		_, got := s.got()
		if body, _ := got["body"].(string); !strings.HasSuffix(body, "…") || len(body) < 500 {
			t.Errorf("%.20q: %d bytes of text", text, len(body))
		}
		if s.size > maxBody {
			t.Errorf("%.20q: a body of %d bytes", text, s.size)
		}
	}
	m := s.ring()
	m.Note.Thread = strings.Repeat("x", maxBody)
	if a := p.Send(t.Context(), m); a.Outcome != push.TooLarge || !errors.Is(a.Err, push.ErrTooLarge) {
		t.Errorf("%+v", a)
	}
	m = s.ring()
	m.To.Key = m.To.Key[1:]
	if a := p.Send(t.Context(), m); a.Outcome != push.Rejected || a.Err == nil {
		t.Errorf("a key that is none: %+v", a)
	}
}
