package cmd

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// answering serves the admin socket of a data directory with what a test says, and returns the requests it got. Instead of
// the answer "abort" the connection ends.
func answering(t *testing.T, answers map[string]string) (dir string, asked func() []string) {
	t.Helper()
	dir = t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 16)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		op := strings.TrimPrefix(r.URL.Path, "/v1/")
		got <- op + " " + string(body)
		answer := answers[op]
		if answer == "abort" {
			panic(http.ErrAbortHandler)
		}
		if answer == "" {
			w.WriteHeader(http.StatusForbidden)
			answer = `{"code":403,"error":"no_pushes","text":"this server sends no pushes"}`
		}
		io.WriteString(w, answer)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return dir, func() (out []string) {
		for {
			select {
			case s := <-got:
				out = append(out, s)
			default:
				return out
			}
		}
	}
}

func runPush(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	err := Run(t.Context(), append([]string{"push"}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return out.String() + errs.String(), err
}

func TestPushWhyCommand(t *testing.T) {
	dir, asked := answering(t, map[string]string{"push.why": `{"code":200,"decisions":[
		{"device":"00000000000000ab","label":"phone","time":"2026-11-22T10:00:00Z","from":7,"upto":9,"reason":"connected","text":"The device is connected.","until":"2026-11-22T10:00:08Z"},
		{"device":"00000000000000ab","label":"bad\u001b[2J","time":"2026-11-22T10:00:08Z","from":7,"upto":7,"reason":"unanswered","text":"It did not acknowledge.","push":"6a1d","answer":{"outcome":"gone","status":410,"reason":"Unregistered"}}]}`})
	for _, c := range []struct{ conversation, body string }{
		{"lobby", `{"account":"bob","room":"lobby","seq":7}`},
		{"room/user", `{"account":"bob","room":"user","seq":7}`},
		{"user/alice", `{"account":"bob","seq":7,"user":"alice"}`},
		{"notice", `{"account":"bob","notices":true,"seq":7}`},
		{"room/notice", `{"account":"bob","room":"notice","seq":7}`},
	} {
		out, err := runPush(t, "why", "bob", c.conversation, "7", "-data", dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := asked(); len(got) != 1 || got[0] != "push.why "+c.body {
			t.Errorf("%s: asked %q", c.conversation, got)
		}
		for _, part := range []string{"phone (00000000000000ab)  #7 to #9  connected\n    The device is connected.\n    looked at again at ", "#7  unanswered\n",
			"the provider: gone, status 410, Unregistered\n    push 6a1d\n"} {
			if !strings.Contains(out, part) {
				t.Errorf("%q is not in\n%s", part, out)
			}
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("a label steers the terminal: %q", out)
		}
	}
	for _, seq := range []string{"0", "-1", "x", "99999999999999999999"} {
		if out, err := runPush(t, "why", "bob", "lobby", seq, "-data", dir); err == nil {
			t.Errorf("sequence %s: %s", seq, out)
		}
	}
	if out, err := runPush(t, "why", "bob", "lobby", "-data", dir); err == nil || !strings.Contains(out, "an argument is missing") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPushWhyCommandKnowsNothing(t *testing.T) {
	dir, _ := answering(t, map[string]string{"push.why": `{"code":200,"decisions":[]}`})
	out, err := runPush(t, "why", "bob", "lobby", "7", "-data", dir)
	if err != nil || !strings.HasPrefix(out, "Nothing is known about it") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPushStatusCommand(t *testing.T) {
	dir, _ := answering(t, map[string]string{
		"push.status": `{"code":200,"behind":0,"unsettled":2,"rings":3,"rows":4,"providers":[
			{"provider":"apns","state":"open","since":"2026-11-22T10:00:00Z","in_flight":1,"limit":500,"queued":{"chat":0,"clear":0,"bulk":0},"oldest_ms":0,"guard":{},"routes":[]},
			{"provider":"webpush","state":"partly","since":"2026-11-22T10:00:00Z","why":"1 of 2 routes","probe":"2026-11-22T10:01:00Z","in_flight":0,"limit":100,"queued":{"chat":5,"clear":1,"bulk":9},
			 "oldest_ms":61000,"last_error":"unavailable","last_error_at":"2026-11-22T10:00:00Z","guard":{"removed":1,"kept":2,"trips":3},"routes":[{"name":"push.example","state":"down","why":"503"},{"state":"open"}]}]}`,
		"push.resume": `{"code":200,"paused":true}`,
	})
	out, err := runPush(t, "status", "-data", dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"apns", "1 of 500", "partly, tried at ", "1 of 2 routes", "1m1s", "webpush push.example: down 503\n",
		"webpush: 1 invalid tokens removed, 2 left alone by the guard, which has paused 3 times\n",
		"0 bytes of the journal to read, 2 entries unsettled; under way: 3 in memory, 4 waiting on disk\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in\n%s", part, out)
		}
	}
	if out, err := runPush(t, "resume", "apns", "-data", dir); err != nil || out != "apns: the next push finds out whether it works again\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPushCommandsWithoutPushes(t *testing.T) {
	dir, _ := answering(t, nil)
	for _, args := range [][]string{{"why", "bob", "lobby", "1"}, {"status"}, {"resume", "fcm"}} {
		if _, err := runPush(t, append(args, "-data", dir)...); err == nil || err.Error() != "this server sends no pushes" {
			t.Errorf("%v: %v", args, err)
		}
		if _, err := runPush(t, append(args, "-data", filepath.Join(t.TempDir(), "data"))...); err == nil || !strings.Contains(err.Error(), "no server is running") {
			t.Errorf("%v without a server: %v", args, err)
		}
	}
	for _, args := range [][]string{{"--help"}, {"why", "--help"}, {"status", "--help"}, {"resume", "--help"}} {
		if out, err := runPush(t, args...); err != nil || !strings.Contains(out, "Usage:") {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
}
