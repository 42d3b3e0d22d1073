package cmd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hwangso/hwangso/bridge/pushsim"
)

// lines is an output that a test reads while it is written.
type lines struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

// await waits until something was written.
func (l *lines) await(t *testing.T, want string) string {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		l.mu.Lock()
		text, changed := l.text.String(), l.changed
		l.mu.Unlock()
		if strings.Contains(text, want) {
			return text
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("no %q in:\n%s", want, text)
		}
	}
}

// simCommand runs `hwangso pushsim …` and returns what it printed.
func simCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, bad bytes.Buffer
	err := Run(t.Context(), append([]string{"pushsim"}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &bad})
	return out.String() + bad.String(), err
}

// startPushsim runs `hwangso pushsim run` in a directory of its own until the test ends.
func startPushsim(t *testing.T) (dir string, out *lines) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "sim")
	text, err := simCommand(t, "init", "-dir", dir, "-free-ports")
	if err != nil || !strings.Contains(text, "serve -config "+filepath.Join(dir, "hwangso.conf")) {
		t.Fatalf("%v\n%s", err, text)
	}
	out = newLines()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, []string{"pushsim", "run", "-dir", dir}, Streams{In: strings.NewReader(""), Out: out, Err: out})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	out.await(t, readyLine+"\n")
	return dir, out
}

// fcmSender has an access token of the simulator's.
func fcmSender(t *testing.T, dir string) func(message string) int {
	t.Helper()
	files, err := pushsim.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var account struct{ Private_Key, Client_Email, Token_URI, Project_ID string }
	b, err := os.ReadFile(files.FCMCredentials)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &account); err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(account.Private_Key))
	if err != nil {
		t.Fatal(err)
	}
	assertion, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": account.Client_Email, "aud": account.Token_URI, "scope": "https://www.googleapis.com/auth/firebase.messaging",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	client := &http.Client{Transport: tr, Timeout: time.Minute}
	res, err := client.PostForm(account.Token_URI, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}})
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		Value string `json:"access_token"`
	}
	if err := errors.Join(json.NewDecoder(res.Body).Decode(&token), res.Body.Close()); err != nil || token.Value == "" {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	return func(message string) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, "https://"+files.Listen.FCM+"/v1/projects/"+account.Project_ID+"/messages:send", strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token.Value)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
}

// TestPushsim: what an operator sees of a push, while it comes and afterwards.
func TestPushsim(t *testing.T) {
	dir, out := startPushsim(t)
	must := func(want string, args ...string) string {
		t.Helper()
		text, err := simCommand(t, append(args, "-dir", dir)...)
		if err != nil || !strings.Contains(text, want) {
			t.Fatalf("%v: %v, no %q in:\n%s", args, err, want, text)
		}
		return text
	}
	must("No phone", "phones")
	must("No request has come", "attempts")
	must("bob's phone is online.", "device", "bob", "online", "-provider", "fcm", "-name", "bob's phone")
	send := fcmSender(t, dir)
	out.await(t, "🔑 fcm gave an access token")
	message := func(seq int, more string) string {
		return fmt.Sprintf(`{"message":{"token":"bob","data":{"kind":"message","thread":"t","seq":"%d","epoch":"1","count":"%d","args":"[\"alice\",\"hi\\u001b[2J\"]"%s}}}`, seq, seq, more)
	}
	if status := send(message(1, "")); status != 200 {
		t.Fatal(status)
	}
	text := out.await(t, "📱 bob's phone … rings: alice: hi\\x1b[2J (1 unread)\n")
	if strings.ContainsRune(text, 0x1b) {
		t.Error("a user's text steers the terminal")
	}
	send(message(2, `,"silent":"true"`))
	out.await(t, "📱 bob's phone … changes, without a sound: alice: hi\\x1b[2J (2 unread)\n")
	send(message(2, ""))
	out.await(t, "bob's phone has shown this already")
	must("📱 bob's phone: 1 notification, rang 1 times", "phones")
	must("token bob", "phones", "bob")
	must("bob's phone … rings", "attempts")
	must("", "attempts", "-last", "1")
	if text := must(`"token":"bob"`, "attempts", "-json", "-effect", "shown"); strings.Count(text, "\n") != 1 {
		t.Errorf("one was shown:\n%s", text)
	}
	must("bob's phone", "counts")
	must("Nobody was told anything twice.", "counts", "-duplicates")

	// What is known of a device stays when its state changes.
	must("bob's phone is offline.", "device", "bob", "offline")
	send(message(3, ""))
	out.await(t, "💤 bob's phone is off, fcm keeps it")
	must("1 push kept by fcm", "phones")
	must("bob's phone is unregistered.", "device", "bob", "unregistered")
	if status := send(message(4, "")); status != 404 {
		t.Error(status)
	}
	out.await(t, "✗ bob's phone gets nothing: 404 UNREGISTERED")
	must("bob's phone is online.", "device", "bob", "online")

	must("Fault 1 is set", "fault", "add", "-provider", "fcm", "-times", "1", "-reason", "UNAVAILABLE", "-deliver", "-name", "late news")
	if status := send(message(5, "")); status != 503 {
		t.Error(status)
	}
	out.await(t, ", and the sender hears: 503 UNAVAILABLE [late news]\n")
	if text := must("late news", "fault", "list"); !strings.Contains(text, "reason UNAVAILABLE") || !strings.Contains(text, "over") {
		t.Error(text)
	}
	must("1 fault ended", "fault", "clear", "1")
	must("Nothing goes wrong.", "fault", "list")
	must("flaky", "preset")
	must("outage: 1 fault, for 1m0s.", "preset", "outage", "-provider", "fcm", "-for", "1m")
	if status := send(message(6, "")); status != 503 {
		t.Error(status)
	}
	out.await(t, "✗ bob's phone gets nothing: 503 UNAVAILABLE [outage]")
	must("1 fault ended", "fault", "clear")
	must(`"p256dh"`, "subscribe", "laptop")
	must("The log is empty.", "attempts", "-forget")
	must("No request has come", "attempts")

	// -follow tells what comes, until it is interrupted.
	ctx, cancel := context.WithCancel(t.Context())
	follow := newLines()
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, []string{"pushsim", "attempts", "-follow", "-last", "0", "-dir", dir}, Streams{In: strings.NewReader(""), Out: follow, Err: follow})
	}()
	for seq := 100; ; seq++ { // it may begin after the first ones
		if seq == 100_000 {
			t.Fatal("-follow tells nothing")
		}
		send(message(seq, ""))
		follow.mu.Lock()
		text := follow.text.String()
		follow.mu.Unlock()
		if strings.Contains(text, "bob's phone … rings") {
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestPushsimRefuses: what cannot be done is said, with the way out.
func TestPushsimRefuses(t *testing.T) {
	dir, _ := startPushsim(t)
	empty := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"init", "-dir", dir}, "-force"},
		{[]string{"init", "-dir", empty, "-topic", "a b"}, "letters, digits"},
		{[]string{"run", "-dir", empty}, "pushsim init"},
		{[]string{"phones", "-dir", empty}, "pushsim init"},
		{[]string{"phones", "-control", "http://127.0.0.1:1"}, "hwangso pushsim run"},
		{[]string{"phones", "nobody", "-dir", dir}, "nobody has heard"},
		{[]string{"device", "nobody", "offline", "-dir", dir}, "-provider"},
		{[]string{"device", "nobody", "asleep", "-provider", "fcm", "-dir", dir}, "asleep"},
		{[]string{"fault", "add", "-dir", dir}, "-status"},
		{[]string{"fault", "add", "-dir", dir, "-goaway", "sideways"}, "sideways"},
		{[]string{"fault", "clear", "x", "-dir", dir}, "fault list"},
		{[]string{"fault", "clear", "9", "-dir", dir}, "no such fault"},
		{[]string{"preset", "a/b", "-dir", dir}, "a/b"},
		{[]string{"attempts", "-status", "many", "-dir", dir}, "status"},
		{[]string{"subscribe", strings.Repeat("x", 600), "-dir", dir}, "512"},
	} {
		text, err := simCommand(t, c.args...)
		if err == nil || !strings.Contains(text+err.Error(), c.want) {
			t.Errorf("%v: %v, want …%s…\n%s", c.args, err, c.want, text)
		}
	}
	for _, args := range [][]string{{"device", "x"}, {"fault"}, {"fault", "mend"}, {"dance"}, {}, {"subscribe"}, {"phones", "a", "b"}} {
		if _, err := simCommand(t, args...); !errors.Is(err, ErrUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestFaultFlags: every field of a fault can be said on the command line.
func TestFaultFlags(t *testing.T) {
	f := flag.NewFlagSet("add", flag.ContinueOnError)
	var fault pushsim.Fault
	faultFlags(f, &fault)
	err := f.Parse(strings.Fields("-name n -provider apns -sandbox=false -token t -topic o -push-type alert -priority 10 -every 2 -times 3 -from 1s -for 2s " +
		"-status 503 -reason r -body b -content-type c -retry-after 3s -retry-date -since 4s -latency 5s -jitter 6s -deliver -hang -goaway below " +
		"-reset CANCEL -close -black-hole -max-streams 1 -expire-tokens -refuse -nth 1 -probability 0.5"))
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	for _, v := range []reflect.Value{reflect.ValueOf(fault), reflect.ValueOf(fault.Do)} {
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "ID" || name == "Do" { // given, and what has its own fields
				continue
			}
			if fields++; v.Field(i).IsZero() {
				t.Errorf("%s cannot be said", name)
			}
		}
	}
	n := 0
	f.VisitAll(func(*flag.Flag) { n++ })
	if n != fields {
		t.Errorf("%d flags for %d fields", n, fields)
	}
}
