package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// call posts to an operation and returns status and answer.
func call(t *testing.T, base, op, contentType, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.Post(base+"/v1/"+op, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var v map[string]any
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, v
}

// What a link of the app opens, by system.
const (
	linkAndroid  = "chess-droid://"
	linkIOS      = "chess-apple://"
	linkBerry    = "chess-berry://"
	linkWeb      = "https://chess.example.com/web/"
	linkStore    = "market://details?id=com.example.chess"
	linkAppStore = "https://apps.apple.com/app/id4711"
)

// TestAppLinks is the road of a link: an app registers and is approved, a user's device lets it send, and every device gets the
// actions of its own system and not a byte of another's, in every view, live and after an absence.
func TestAppLinks(t *testing.T) {
	s := newStage(t, "alice", "dev", "android", "iphone", "berry", "browser", "silent")
	public, operators := httptest.NewServer(s.api.Public()), httptest.NewServer(s.api.Socket())
	defer public.Close()
	defer operators.Close()

	app := s.does("dev", "app.register", `{"app":"chess","name":"Chess","domains":["chess.example.com"],"systems":{
		"android":{"schemes":["chess-droid"],"ids":["com.example.chess"]},"ios":{"schemes":["chess-apple"],"ids":["4711"]},"blackberry":{"schemes":["chess-berry"]}}}`)["app"].(map[string]any)
	key := app["keys"].([]any)[0].(map[string]any)["key"].(string)
	if code, out := call(t, operators.URL, "app.approve", "application/json", `{"app":"chess"}`); code != 200 {
		t.Fatal(out)
	}

	if code, out := call(t, operators.URL, "room.create", "application/json", `{"room":"club","owner":"alice","members":["android","iphone","berry","browser","silent"]}`); code != 200 {
		t.Fatal(out)
	}

	kinds := []struct {
		user    string
		version byte
		set     string
		own     []string // what it may see
	}{
		{"android", 5, `"platform":"android","class":"phone"`, []string{linkAndroid, linkStore}},
		{"iphone", 4, `"platform":"ios"`, []string{linkIOS, linkAppStore}},
		{"berry", 3, `"platform":"blackberry"`, []string{linkBerry, linkWeb}}, // it has nothing to install, so the web's address stands by
		{"browser", 5, `"platform":"web"`, []string{linkWeb}},
		{"silent", 5, ``, []string{linkWeb}},
	}
	every := []string{linkAndroid, linkIOS, linkBerry, linkWeb, linkStore, linkAppStore}
	views := []string{"json", "cbor", "batch", "text", "line"}
	var actors []*actor
	for _, k := range kinds {
		for _, v := range views {
			a := s.device(k.user, k.user+"-"+v, k.version)
			a.connect(false)
			a.subscribe("room/+/" + v)
			actors = append(actors, a)
			if k.set != "" {
				s.does(k.user, "device.set", fmt.Sprintf(`{"device":%q,%s}`, store.DeviceOf(s.ids[k.user].Account, k.user+"-"+v), k.set))
			}
		}
	}

	targets := fmt.Sprintf(`"targets":[{"os":"android","execute":"%s1","install":%q},{"os":"ios","execute":"%s1","install":%q},{"os":"blackberry","execute":"%s1"}],"web":"%s1"`,
		linkAndroid, linkStore, linkIOS, linkAppStore, linkBerry, linkWeb)
	ticket := func() string {
		return s.does("alice", "link.ticket", `{"app":"chess","room":"club"}`)["ticket"].(string)
	}
	send := func(ticket, text, rest string) (int, map[string]any) {
		return call(t, public.URL, "link.send", "application/json", fmt.Sprintf(`{"key":%q,"ticket":%q,"text":%q,%s}`, key, ticket, text, rest))
	}
	first := ticket()
	if code, out := send(first, "foreign", strings.Replace(targets, linkWeb, "https://evil.example/", 1)); code != 403 || !strings.Contains(fmt.Sprint(out["text"]), "web lies on evil.example") {
		t.Errorf("a foreign domain: %d %v", code, out)
	}
	code, out := send(first, "link-live", targets+`,"buttons":[{"text":"Play"}]`)
	if code != 200 || out["seq"] != nil || out["time"] == nil {
		t.Fatalf("%d %v", code, out)
	}
	if code, again := send(first, "link-live", targets+`,"buttons":[{"text":"Play"}]`); code != 200 || again["time"] != out["time"] {
		t.Errorf("the ticket again: %d %v, the first time %v", code, again, out)
	}
	if code, out := send(first, "link-twice", targets); code != 409 {
		t.Errorf("the ticket for another message: %d %v", code, out)
	}

	check := func(word string) {
		t.Helper()
		for i, a := range actors {
			k, v := kinds[i/len(views)], views[i%len(views)]
			frame := a.await(func(f []byte) bool { return bytes.Contains(f, []byte(word)) })
			for _, url := range every {
				mine := false
				for _, own := range k.own {
					mine = mine || own == url
				}
				switch has := bytes.Contains(frame, []byte(url)); {
				case has && !mine:
					t.Errorf("%s (%s) got %s: %q", k.user, v, url, frame)
				case !has && mine && v != "text" && v != "line":
					t.Errorf("%s (%s) lacks %s: %q", k.user, v, url, frame)
				}
			}
			if v == "text" && !bytes.Contains(frame, []byte("Chess: "+word)) {
				t.Errorf("%s: %q", k.user, frame)
			}
			if bytes.Contains(frame, []byte("link-twice")) || bytes.Contains(frame, []byte("foreign")) {
				t.Errorf("%q", frame)
			}
		}
	}
	check("link-live")

	// After an absence, with the parameters of 2011 as a form.
	for _, a := range actors {
		a.disconnect()
	}
	meta := fmt.Sprintf(`[{"os":"android","devicetype":"phone","installurl":%q,"executeurl":"%s2"},{"os":"iphone","installurl":%q,"executeurl":"%s2"},{"os":"blackberry","executeurl":"%s2"}]`,
		linkStore, linkAndroid, linkAppStore, linkIOS, linkBerry)
	form := url.Values{"msg": {"link-away"}, "url": {linkWeb + "2"}, "appid": {key}, "appver": {"1.0"}, "type": {"app"}, "appname": {"x"}, "metainfo": {meta}, "ticket": {ticket()}}
	if code, out := call(t, public.URL, "link.send", "application/x-www-form-urlencoded", form.Encode()); code != 200 {
		t.Fatalf("%d %v", code, out)
	}
	for _, a := range actors {
		a.connect(false)
	}
	check("link-away")

	// Over HTTP without a device: the web.
	var history []any
	for _, item := range s.does("silent", "room.history", `{"room":"club"}`)["items"].([]any) {
		if item.(map[string]any)["k"] == "link" {
			history = append(history, item)
		}
	}
	if len(history) != 2 {
		t.Fatal(history)
	}
	said, _ := json.Marshal(history)
	for _, url := range every {
		if bytes.Contains(said, []byte(url)) != (url == linkWeb) {
			t.Errorf("history: %s in %s", url, said)
		}
	}

	// Forwarded, opened, taken back, and off.
	seq := history[0].(map[string]any)["s"]
	for i, want := range []bool{true, false} {
		if got := s.does("silent", "link.opened", fmt.Sprintf(`{"room":"club","seq":%v}`, seq))["first"]; got != want {
			t.Errorf("opened %d: %v", i, got)
		}
	}
	s.does("silent", "link.forward", fmt.Sprintf(`{"room":"club","seq":%v,"to":{"user":"silent"},"cid":"fwd"}`, seq))
	notes := fmt.Sprint(s.does("silent", "room.history", `{"user":"silent"}`)["items"])
	if !strings.Contains(notes, linkWeb+"1") || strings.Contains(notes, "alice") {
		t.Errorf("forwarded: %s", notes)
	}
	s.does("alice", "message.react", fmt.Sprintf(`{"room":"club","seq":%v,"emoji":"👍"}`, seq))
	if code, out := call(t, operators.URL, "app.suspend", "application/json", `{"app":"chess","reason":"spam"}`); code != 200 {
		t.Fatal(out)
	}
	off := fmt.Sprint(s.does("silent", "room.history", `{"room":"club"}`)["items"])
	if strings.Contains(off, "://") || !strings.Contains(off, "off:true") {
		t.Errorf("of a suspended app: %s", off)
	}
	if answer := s.ask("alice", "link.ticket", `{"app":"chess","room":"club"}`); !strings.Contains(answer, `"code":403`) {
		t.Errorf("a ticket for a suspended app: %s", answer)
	}
	if code, _ := call(t, operators.URL, "app.suspend", "application/json", `{"app":"chess","on":false}`); code != 200 {
		t.Fatal(code)
	}
	s.does("alice", "message.recall", fmt.Sprintf(`{"room":"club","seq":%v}`, seq))
	if left := fmt.Sprint(s.does("silent", "room.history", `{"room":"club"}`)["items"]); strings.Contains(left, "link-live") || !strings.Contains(left, linkWeb+"2") {
		t.Errorf("after it was taken back: %s", left)
	}
	if days := s.does("dev", "app.stats", `{"app":"chess"}`)["days"].([]any); len(days) != 7 {
		t.Errorf("%v", days)
	}
}
