package pushsim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// call asks the control port, and wants a status.
func call(t testing.TB, s *Sim, method, path, body string, status int, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(context30(t), method, s.ControlURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Fatalf("%s %s %.200s: %d %s, want %d", method, path, body, res.StatusCode, b, status)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, b)
	}
}

func TestControl(t *testing.T) {
	s := startSim(t, Config{Seed: 5})
	c := newClient(t, s)

	var help struct{ Operations []operation }
	call(t, s, "GET", "/", "", 200, &help)
	if len(help.Operations) < 15 {
		t.Errorf("%d operations", len(help.Operations))
	}

	call(t, s, "PUT", "/v1/devices", fmt.Sprintf(`[{"provider":"apns","token":%q,"state":"offline"},{"provider":"apns","token":%q,`+
		`"state":"unregistered","since":"2026-01-02T03:04:05Z"}]`, device(1), device(2)), 200, nil)
	if a := c.push(device(2), message("t", 1)); a.status != 410 || a.reason != "Unregistered" ||
		a.timestamp != time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli() {
		t.Errorf("unregistered: %+v", a)
	}
	if a := c.push(device(1), message("t", 1)); a.status != 200 {
		t.Errorf("offline: %+v", a)
	}
	var p Phone
	call(t, s, "GET", "/v1/phones/"+device(1), "", 200, &p)
	if p.Held != 1 || p.Rang != 0 || p.State != Offline {
		t.Errorf("held: %+v", p)
	}

	// Who waits for the next change sees what was held arrive.
	seen := make(chan Phone, 1)
	go func() {
		var next Phone
		call(t, s, "GET", fmt.Sprintf("/v1/phones/%s?version=%d&timeout=20s", device(1), p.Version), "", 200, &next)
		seen <- next
	}()
	call(t, s, "PUT", "/v1/devices", fmt.Sprintf(`{"provider":"apns","token":%q,"state":"online"}`, device(1)), 200, nil)
	if p := <-seen; p.Rang != 1 || p.Held != 0 || len(p.Notifications) != 1 {
		t.Errorf("back: %+v", p)
	}

	var id struct{ ID uint64 }
	call(t, s, "POST", "/v1/faults", `{"name":"odd","provider":"apns","every":2,"times":1,"for":"1m","do":{"reason":"InternalServerError","retry_after":"90s","since":"1h"}}`, 201, &id)
	var set []struct {
		ID     uint64
		Name   string
		For    string
		Struck int
		Active bool
		Do     struct {
			RetryAfter string `json:"retry_after"`
		}
	}
	if a := c.push(device(3), message("t", 1)); a.status != 200 {
		t.Errorf("first: %+v", a)
	}
	if a := c.push(device(3), message("t", 2)); a.status != 500 || a.header.Get("retry-after") != "90" {
		t.Errorf("second: %+v", a)
	}
	call(t, s, "GET", "/v1/faults", "", 200, &set)
	if len(set) != 1 || set[0].Name != "odd" || set[0].For != "1m0s" || set[0].Struck != 1 || set[0].Active || set[0].Do.RetryAfter != "1m30s" {
		t.Errorf("faults: %+v", set)
	}
	call(t, s, "DELETE", fmt.Sprintf("/v1/faults/%d", id.ID), "", 200, nil)
	call(t, s, "DELETE", fmt.Sprintf("/v1/faults/%d", id.ID), "", 404, nil)

	var list []Attempt
	call(t, s, "GET", "/v1/attempts?token="+device(3)+"&status=500", "", 200, &list)
	if len(list) != 1 || list[0].Fault != "odd" || list[0].Seq != 2 {
		t.Errorf("attempts: %+v", list)
	}
	var one Attempt
	call(t, s, "GET", "/v1/wait?fault=odd", "", 200, &one)
	if one.N != list[0].N {
		t.Errorf("wait: %+v", one)
	}
	call(t, s, "GET", "/v1/wait?fault=none&timeout=1ms", "", 408, nil)

	var presets []struct{ Name, Text string }
	call(t, s, "GET", "/v1/presets", "", 200, &presets)
	if len(presets) < 15 || presets[0].Text == "" {
		t.Errorf("presets: %+v", presets)
	}
	call(t, s, "POST", "/v1/presets/outage", `{"provider":"apns","for":"10m"}`, 201, nil)
	if a := c.push(device(3), message("t", 3)); a.status != 503 || a.reason != "ServiceUnavailable" {
		t.Errorf("outage: %+v", a)
	}
	call(t, s, "DELETE", "/v1/faults", "", 200, nil)
	c.push(device(3), message("t", 3), "apns-collapse-id", "other")
	c.push(device(3), message("t", 3))
	var counts []Count
	call(t, s, "GET", "/v1/counts?duplicates=true", "", 200, &counts)
	if len(counts) != 1 || counts[0].Seq != 3 || counts[0].Shown != 2 || counts[0].Rang != 2 {
		t.Errorf("counts: %+v", counts)
	}
	call(t, s, "DELETE", "/v1/attempts", "", 200, nil)
	call(t, s, "GET", "/v1/attempts", "", 200, &list)
	if len(list) != 0 {
		t.Errorf("%d attempts after they were forgotten", len(list))
	}
	var st struct {
		URLs    map[string]string
		Seed    uint64
		Devices int
	}
	call(t, s, "GET", "/v1/status", "", 200, &st)
	if st.URLs["apns"] != s.APNsURL() || st.Seed != 5 || st.Devices != 3 {
		t.Errorf("status: %+v", st)
	}
}

// TestControlEvents follows the stream of attempts, which ends with the simulator.
func TestControlEvents(t *testing.T) {
	s := startSim(t, Config{})
	c := newClient(t, s)
	c.push(device(1), message("t", 1))
	res, err := http.Get(s.ControlURL() + "/v1/events?after=0&token=" + device(1))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	c.push(device(2), message("t", 2))
	c.push(device(1), message("t", 3))
	for _, seq := range []uint64{1, 3} {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		var a Attempt
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil || a.Seq != seq {
			t.Fatalf("%v: %s, want seq %d", err, lines.Bytes(), seq)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if lines.Scan() {
		t.Errorf("after the end: %s", lines.Bytes())
	}
}

// TestControlRefuses is hostile and mistaken input.
func TestControlRefuses(t *testing.T) {
	s := startSim(t, Config{})
	long := `{"provider":"apns","token":"` + strings.Repeat("a", maxControlBody) + `"}`
	for _, e := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/nothing", "", 404},
		{"PATCH", "/v1/devices", "{}", 405},
		{"PUT", "/v1/devices", `{`, 400},
		{"PUT", "/v1/devices", `{} {}`, 400},
		{"PUT", "/v1/devices", `[1]`, 400},
		{"PUT", "/v1/devices", `{"provider":"apns","token":"x","colour":1}`, 400},
		{"PUT", "/v1/devices", `{"provider":"bird","token":"x"}`, 400},
		{"PUT", "/v1/devices", `{"provider":"apns"}`, 400},
		{"PUT", "/v1/devices", `{"provider":"apns","token":"x","state":"asleep"}`, 400},
		{"PUT", "/v1/devices", `{"provider":"apns","token":"x","since":"soon"}`, 400},
		{"PUT", "/v1/devices", long, 413},
		{"POST", "/v1/faults", `{"do":{"reset":"NO_SUCH_CODE"}}`, 400},
		{"POST", "/v1/faults", `{"do":{"goaway":"sideways"}}`, 400},
		{"POST", "/v1/faults", `{"do":{"hang":true,"close":true}}`, 400},
		{"POST", "/v1/faults", `{"do":{"status":99}}`, 400},
		{"POST", "/v1/faults", `{"do":{"latency":"2h"}}`, 400},
		{"POST", "/v1/faults", `{"do":{"latency":5}}`, 400},
		{"POST", "/v1/faults", `{"do":{"typo":1}}`, 400},
		{"POST", "/v1/faults", `{"do":{"content_type":"a\r\nb: c","body":"x"}}`, 400},
		{"POST", "/v1/faults", `{"for":"-1s"}`, 400},
		{"POST", "/v1/faults", `{"nth":1,"every":2}`, 400},
		{"POST", "/v1/faults", `{"probability":1.5}`, 400},
		{"POST", "/v1/faults", `{"id":7}`, 400},
		{"POST", "/v1/faults", `{"do":{"refuse":true,"close":true}}`, 400},
		{"DELETE", "/v1/faults/0", "", 404},
		{"DELETE", "/v1/faults/x", "", 404},
		{"POST", "/v1/presets/none", "{}", 400},
		{"POST", "/v1/presets/outage", `{"provider":"bird"}`, 400},
		{"GET", "/v1/phones/unheard", "", 404},
		{"GET", "/v1/phones/x?version=y", "", 400},
		{"GET", "/v1/phones/x?version=1&timeout=1h", "", 400},
		{"GET", "/v1/attempts?tokn=x", "", 400},
		{"GET", "/v1/attempts?status=x", "", 400},
		{"GET", "/v1/attempts?after=-1", "", 400},
		{"GET", "/v1/attempts?token=a&token=b", "", 400},
		{"GET", "/v1/wait?timeout=forever", "", 400},
		{"GET", "/v1/counts?duplicates=maybe", "", 400},
	} {
		var said struct{ Error string }
		into := any(&said)
		if e.status == 404 && e.path == "/nothing" || e.status == 405 {
			into = nil
		}
		call(t, s, e.method, e.path, e.body, e.status, into)
		if into != nil && said.Error == "" {
			t.Errorf("%s %s %.100s: no text", e.method, e.path, e.body)
		}
	}
	if len(s.Faults()) != 0 || len(s.Phones()) != 0 {
		t.Error("something was set all the same")
	}

	for name, change := range map[string]func(*http.Request){
		"a web page":          func(r *http.Request) { r.Header.Set("Origin", "https://example.com") },
		"a rebound name":      func(r *http.Request) { r.Host = "example.com" },
		"no name":             func(r *http.Request) { r.Host = "127.0.0.1.example.com:80" },
		"a form of a browser": func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
	} {
		req, err := http.NewRequestWithContext(context30(t), "POST", s.ControlURL()+"/v1/presets/outage", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		change(req)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 403 && res.StatusCode != 415 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}

	raw, err := net.Dial("tcp", strings.TrimPrefix(s.ControlURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(raw, "\x00\xff\x16\x03\x01 nonsense\r\n\r\n")
	if b, err := io.ReadAll(raw); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400") {
		t.Errorf("nonsense: %q, %v", b, err)
	}
}

func TestControlIsLoopback(t *testing.T) {
	dir, err := testDir()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Start(Config{Dir: dir, Control: "0.0.0.0:0"}); err == nil {
		t.Error("listens on every address", s.Close())
	}
	for host, want := range map[string]bool{
		"127.0.0.1:80": true, "127.9.9.9": true, "[::1]:80": true, "::1": true, "localhost": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		"": false, "0.0.0.0:1": false, "10.0.0.1:1": false, "example.com": false, "localhost.example.com": false, "[::]:1": false, "127.0.0.1.nip.io": false,
	} {
		if loopback(host) != want {
			t.Errorf("loopback(%q) is %t", host, !want)
		}
	}
}
