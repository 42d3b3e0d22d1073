//lint:file-ignore SA1019 the client of the bridge to APNs is built on this transport

package pushsim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestFaultAnswers is what a client of the real world sees of each fault that answers.
func TestFaultAnswers(t *testing.T) {
	now := newClock()
	s := startSim(t, Config{Now: now.Now})
	c := newClient(t, s)
	for name, e := range map[string]struct {
		do      Do
		status  int
		reason  string
		body    string
		header  map[string]string
		reached bool
	}{
		"mark":       {Do{}, 200, "", "", nil, true},
		"status":     {Do{Status: 500}, 500, "", "", nil, false},
		"reason":     {Do{Reason: "ServiceUnavailable"}, 503, "ServiceUnavailable", `{"reason":"ServiceUnavailable"}`, nil, false},
		"both":       {Do{Status: 429, Reason: "TooManyRequests"}, 429, "TooManyRequests", `{"reason":"TooManyRequests"}`, nil, false},
		"new reason": {Do{Reason: "NeverHeardOf"}, 400, "NeverHeardOf", `{"reason":"NeverHeardOf"}`, nil, false},
		"html":       {Do{Status: 503, Body: sorryPage}, 503, "", sorryPage, map[string]string{"content-type": "text/html"}, false},
		"text":       {Do{Status: 502, Body: "x", ContentType: "text/plain"}, 502, "", "x", map[string]string{"content-type": "text/plain"}, false},
		"seconds":    {Do{Status: 429, RetryAfter: 1500 * time.Millisecond}, 429, "", "", map[string]string{"retry-after": "2"}, false},
		"date": {Do{Status: 503, RetryAfter: time.Minute, RetryDate: true}, 503, "", "",
			map[string]string{"retry-after": now.Now().Add(time.Minute).Format(http.TimeFormat)}, false},
		"deliver": {Do{Status: 500, Reason: "InternalServerError", Deliver: true}, 500, "InternalServerError", `{"reason":"InternalServerError"}`, nil, true},
		"gone": {Do{Status: 410, Reason: "Unregistered", Since: time.Hour}, 410, "Unregistered",
			fmt.Sprintf(`{"reason":"Unregistered","timestamp":%d}`, now.Now().Add(-time.Hour).UnixMilli()), nil, false},
		"late": {Do{Latency: time.Millisecond, Jitter: time.Millisecond}, 200, "", "", nil, true},
		"long": {Do{Status: 500, Body: strings.Repeat("0123456789abcdef", 4096)}, 500, "", strings.Repeat("0123456789abcdef", 4096), nil, false},
	} {
		id, err := s.Add(Fault{Name: name, Do: e.do})
		if err != nil {
			t.Fatal(name, err)
		}
		last := s.Last()
		a := c.push(device(1), message(name, 5))
		if a.status != e.status || a.reason != e.reason || a.body != e.body {
			t.Errorf("%s: %d %q %.100q", name, a.status, a.reason, a.body)
		}
		for k, v := range e.header {
			if a.header.Get(k) != v {
				t.Errorf("%s: %s: %q, want %q", name, k, a.header.Get(k), v)
			}
		}
		got, err := s.WaitAfter(context30(t), last, func(Attempt) bool { return true })
		if err != nil || got.Fault != name || (got.Effect == Shown) != e.reached || got.Thread != name || got.Seq != 5 || got.Status != e.status {
			t.Errorf("%s: logged %+v, %v", name, got, err)
		}
		if s.Clear(id) != 1 {
			t.Errorf("%s: was not there", name)
		}
	}
}

// TestFaultSelection is which attempts a fault strikes.
func TestFaultSelection(t *testing.T) {
	now := newClock()
	yes := true
	for name, e := range map[string]struct {
		fault Fault
		want  string // by attempt: x is struck; 12 attempts, one a second, to device 0, 1, 2, 0 …
	}{
		"all":         {Fault{}, "xxxxxxxxxxxx"},
		"token":       {Fault{Token: device(1)}, ".x..x..x..x."},
		"nth":         {Fault{Nth: 3}, "..x........."},
		"nth of one":  {Fault{Nth: 2, Token: device(2)}, ".....x......"},
		"every":       {Fault{Every: 5}, "....x....x.."},
		"times":       {Fault{Times: 2}, "xx.........."},
		"every twice": {Fault{Every: 3, Times: 2}, "..x..x......"},
		"from":        {Fault{From: 3 * time.Second}, "...xxxxxxxxx"},
		"for":         {Fault{For: 3 * time.Second}, "xxx........."},
		"from, for":   {Fault{From: 2 * time.Second, For: 4 * time.Second, Every: 2}, "...x.x......"},
		"fcm":         {Fault{Provider: FCM}, "............"},
		"sandbox":     {Fault{Sandbox: &yes}, "............"},
		"type":        {Fault{PushType: "background"}, "............"},
		"priority":    {Fault{Priority: 10, Topic: "top"}, "xxxxxxxxxxxx"},
	} {
		fs := &faults{seed: 1}
		if _, err := fs.add(e.fault, now.Now()); err != nil {
			t.Fatal(name, err)
		}
		got := ""
		for i := range 12 {
			a := &Attempt{Provider: APNs, Token: device(i % 3), PushType: "alert", Topic: "top", Priority: 10}
			if fs.strike(a, nil, now.Now().Add(time.Duration(i)*time.Second)) != nil {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != e.want {
			t.Errorf("%s: %s, want %s", name, got, e.want)
		}
	}
}

// TestFaultSeed: with the same seed the same attempts are struck, with another one others; how often is as was asked.
func TestFaultSeed(t *testing.T) {
	run := func(seed uint64, before bool) (out []time.Duration) {
		fs := &faults{seed: seed}
		if before { // a fault that selects other attempts changes nothing of this one's choice
			fs.add(Fault{Provider: FCM, Probability: 0.5}, time.Time{})
			fs.clear(0)
		}
		fs.add(Fault{Probability: 0.25, Do: Do{Latency: time.Second, Jitter: time.Second}}, time.Time{})
		for range 4000 {
			d := time.Duration(0)
			if b := fs.strike(&Attempt{Provider: APNs}, nil, time.Unix(1, 0)); b != nil {
				d = b.late
			}
			out = append(out, d)
		}
		return out
	}
	a := run(1, false)
	if !slices.Equal(a, run(1, false)) || !slices.Equal(a, run(1, true)) {
		t.Error("the same seed, and others are struck")
	}
	if slices.Equal(a, run(2, false)) {
		t.Error("another seed, and the same are struck")
	}
	n := 0
	for _, d := range a {
		if d == 0 {
			continue
		}
		if n++; d < time.Second || d >= 2*time.Second {
			t.Fatalf("late by %s", d)
		}
	}
	if n < 850 || n > 1150 {
		t.Errorf("%d of 4000 struck, want some 1000", n)
	}
}

// TestFaultsOfConnections is what x/net's client, which the bridge uses, makes of what happens to connections.
func TestFaultsOfConnections(t *testing.T) {
	s := startSim(t, Config{})

	t.Run("goaway below is replayed", func(t *testing.T) {
		c := newClient(t, s)
		last := s.Last()
		c.push(device(1), message("t", 1))
		add(t, s, Fault{Times: 1, Do: Do{GoAway: GoAwayBelow, Reason: "Shutdown"}})
		if a := c.push(device(1), message("t", 2)); a.status != 200 {
			t.Errorf("%+v", a)
		}
		list, err := s.After(context30(t), last)
		if err != nil || len(list) != 3 || list[1].Status != 0 || list[1].Effect != NotReached || list[2].Status != 200 || list[2].Conn == list[1].Conn ||
			list[1].ID == "" {
			t.Errorf("%+v, %v", list, err)
		}
	})

	t.Run("goaway that covers is an error", func(t *testing.T) {
		c := newClient(t, s)
		c.push(device(1), message("t", 3))
		add(t, s, Fault{Times: 1, Do: Do{GoAway: GoAwayCovering, Reason: "Shutdown"}})
		_, err := c.do(c.request(context30(t), s.APNsURL(), device(1), message("t", 4)))
		var gone http2.GoAwayError
		if !errors.As(err, &gone) || gone.DebugData != `{"reason":"Shutdown"}` || gone.ErrCode != http2.ErrCodeNo {
			t.Errorf("%v", err)
		}
		if a := c.push(device(1), message("t", 4)); a.status != 200 {
			t.Errorf("the next: %+v", a)
		}
	})

	t.Run("goaway lets others finish", func(t *testing.T) {
		c := newClient(t, s)
		c.push(device(1), message("t", 5))
		last := s.Last()
		add(t, s, Fault{Times: 1, Token: device(2), Do: Do{Latency: 200 * time.Millisecond}})
		var wg sync.WaitGroup
		wg.Go(func() {
			if a, err := c.do(c.request(context30(t), s.APNsURL(), device(2), message("t", 5))); err != nil || a.status != 200 {
				t.Errorf("the one that was under way: %+v, %v", a, err)
			}
		})
		if _, err := s.WaitAfter(context30(t), last, func(a Attempt) bool { return a.Token == device(2) }); err != nil {
			t.Fatal(err)
		}
		add(t, s, Fault{Times: 1, Do: Do{GoAway: GoAwayCovering}})
		if _, err := c.do(c.request(context30(t), s.APNsURL(), device(3), message("t", 6))); err == nil {
			t.Error("answered")
		}
		wg.Wait()
	})

	t.Run("reset", func(t *testing.T) {
		c := newClient(t, s)
		c.push(device(1), message("t", 7))
		add(t, s, Fault{Times: 1, Do: Do{Reset: "INTERNAL_ERROR"}})
		_, err := c.do(c.request(context30(t), s.APNsURL(), device(1), message("t", 8)))
		var reset http2.StreamError
		if !errors.As(err, &reset) || reset.Code != http2.ErrCodeInternal {
			t.Errorf("%v", err)
		}
		last := s.Last()
		add(t, s, Fault{Times: 1, Do: Do{Reset: "REFUSED_STREAM"}})
		if a := c.push(device(1), message("t", 9)); a.status != 200 { // x/net replays it
			t.Errorf("%+v", a)
		}
		if n := s.Last() - last; n != 2 {
			t.Errorf("%d attempts", n)
		}
	})

	t.Run("close", func(t *testing.T) {
		c := newClient(t, s)
		c.push(device(1), message("t", 10))
		last := s.Last()
		add(t, s, Fault{Times: 1, Do: Do{Close: true, Deliver: true}})
		if a, err := c.do(c.request(context30(t), s.APNsURL(), device(4), message("t", 11))); err == nil {
			t.Errorf("%+v", a)
		}
		if a, err := s.WaitAfter(context30(t), last, func(Attempt) bool { return true }); err != nil || a.Effect != Shown || a.Status != 0 {
			t.Errorf("%+v, %v", a, err)
		}
	})

	t.Run("hang", func(t *testing.T) {
		c := newClient(t, s)
		c.tr.ReadIdleTimeout, c.tr.PingTimeout = 20*time.Millisecond, 20*time.Second // PING is answered, or the client would end it
		c.push(device(1), message("t", 12))
		add(t, s, Fault{Times: 1, Do: Do{Hang: true}})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		last := s.Last()
		go func() { // ends with the request
			if _, err := s.WaitAfter(ctx, last, func(Attempt) bool { return true }); err == nil {
				time.AfterFunc(200*time.Millisecond, cancel) // it hangs for some PINGs
			}
		}()
		if _, err := c.do(c.request(ctx, s.APNsURL(), device(1), message("t", 13))); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		last = s.Last()
		if a := c.push(device(1), message("t", 13)); a.status != 200 {
			t.Errorf("%+v", a)
		}
		if list := s.Attempts(); list[len(list)-1].Conn != list[len(list)-2].Conn || s.Last() != last+1 {
			t.Error("the connection was replaced")
		}
	})

	t.Run("black hole", func(t *testing.T) {
		c := newClient(t, s)
		c.tr.ReadIdleTimeout, c.tr.PingTimeout = 200*time.Millisecond, 2*time.Second
		c.push(device(1), message("t", 14))
		if _, err := s.AddPreset("black-hole", Choice{Provider: APNs}); err != nil {
			t.Fatal(err)
		}
		if a, err := c.do(c.request(context30(t), s.APNsURL(), device(1), message("t", 15))); err == nil {
			t.Errorf("%+v", a)
		}
		if a := c.push(device(1), message("t", 15)); a.status != 200 {
			t.Errorf("%+v", a)
		}
		list := s.Attempts()
		if a, b := list[len(list)-2], list[len(list)-1]; a.Conn == b.Conn || a.Fault != "black-hole" {
			t.Errorf("%+v then %+v", a, b)
		}
		s.Clear(0)
	})

	t.Run("down", func(t *testing.T) {
		c := newClient(t, s)
		if _, err := s.AddPreset("down", Choice{Provider: APNs}); err != nil {
			t.Fatal(err)
		}
		if a, err := c.do(c.request(context30(t), s.APNsURL(), device(1), message("t", 16))); err == nil {
			t.Errorf("%+v", a)
		}
		s.Clear(0)
		if a := c.push(device(1), message("t", 16)); a.status != 200 {
			t.Errorf("%+v", a)
		}
	})
}

func add(t testing.TB, s *Sim, f Fault) {
	t.Helper()
	if _, err := s.Add(f); err != nil {
		t.Fatal(err)
	}
}

// TestPresets: each can be set for every provider that it is for, and for no other.
func TestPresets(t *testing.T) {
	s := startSim(t, Config{})
	for _, p := range Presets() {
		if p.Text == "" || len(p.of) == 0 {
			t.Errorf("%s: no text, or does nothing", p.Name)
		}
		for _, provider := range []Provider{APNs, FCM, WebPush} {
			ids, err := s.AddPreset(p.Name, Choice{Provider: provider, For: time.Minute})
			if (err == nil) != (len(p.of[provider]) > 0) || len(ids) != len(p.of[provider]) {
				t.Errorf("%s of %s: %v, %v", p.Name, provider, ids, err)
			}
			for _, f := range p.of[provider] {
				if provider == APNs && f.Do.Reason != "" && apnsReasons[f.Do.Reason] == 0 {
					t.Errorf("%s: Apple has no reason %s", p.Name, f.Do.Reason)
				}
			}
			if n := s.Clear(0); n != len(ids) {
				t.Errorf("%s of %s: %d cleared", p.Name, provider, n)
			}
		}
	}
	if _, err := s.AddPreset("down", Choice{Token: "x"}); err == nil || len(s.Faults()) != 0 {
		t.Errorf("half a preset: %v, %v", err, s.Faults())
	}
}
