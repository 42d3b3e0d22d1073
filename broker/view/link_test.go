package view

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

func game(t testing.TB) *store.Record {
	t.Helper()
	l := &Link{App: "chess", Name: "Chess", LinkActions: LinkActions{
		Targets: []LinkTarget{
			{OS: "android", Class: "phone", Execute: "chess://phone", Install: "https://play.example/phone"},
			{OS: "android", Class: "tablet", Execute: "chess://tablet", Install: "https://play.example/tablet"},
			{OS: "ios", Execute: "chess-ios://go", Install: "https://apps.example/ios"},
			{OS: "blackberry", Execute: "chess-bb://go"},
		},
		Web: "https://chess.example/web",
	}, Buttons: []LinkButton{
		{Text: "Play"},
		{Text: "Only iOS", LinkActions: LinkActions{Targets: []LinkTarget{{OS: "ios", Execute: "chess-ios://button"}}}},
	}}
	c, err := LinkContent("your move", "", l)
	if err != nil {
		t.Fatal(err)
	}
	return &store.Record{Seq: 3, Sender: 1, Kind: c.Kind, Text: c.Text, Extra: c.Extra}
}

// TestLinkPerSystem sees what each system gets of a link, in every view, and that it gets nothing of another one.
func TestLinkPerSystem(t *testing.T) {
	r := game(t)
	for _, c := range []struct {
		os, class   string
		json, line  string
		never, want []string
	}{
		{"android", "phone", `"l":{"app":"chess","name":"Chess","buttons":[{"text":"Play","execute":"chess://phone","install":"https://play.example/phone"}],"execute":"chess://phone","install":"https://play.example/phone"}`,
			"Chess: your move https://play.example/phone", []string{"tablet", "ios", "-bb", "web"}, nil},
		{"android", "", "", "Chess: your move https://play.example/phone", []string{"tablet", "ios", "-bb", "web"}, []string{"chess://phone"}},
		{"android", "tablet", "", "Chess: your move https://play.example/tablet", []string{"phone", "ios", "-bb", "web"}, []string{"chess://tablet"}},
		{"ios", "tablet", "", "Chess: your move https://apps.example/ios", []string{"phone", "tablet", "-bb", "web"}, []string{"chess-ios://go", "chess-ios://button", "Only iOS"}},
		{"blackberry", "", "", "Chess: your move https://chess.example/web", []string{"phone", "tablet", "ios"}, []string{"chess-bb://go"}},
		{"windows", "", "", "Chess: your move https://chess.example/web", []string{"chess://", "play.", "apps.", "-bb", "ios"}, []string{"https://chess.example/web"}},
		{"", "", `"l":{"app":"chess","name":"Chess","web":"https://chess.example/web","buttons":[{"web":"https://chess.example/web","text":"Play"}]}`,
			"Chess: your move https://chess.example/web", []string{"chess://", "play.", "apps.", "-bb", "ios"}, nil},
		{"toaster", "phone", "", "Chess: your move https://chess.example/web", []string{"chess://", "play.", "apps.", "-bb", "ios"}, nil},
	} {
		s := SystemOf(c.os, c.class)
		j, b := JSON(r, Env{System: s}).Append(nil, Own{}), CBOR(r, Env{System: s}).Append(nil, Own{})
		text := TextOn(nil, r, English, nil, s)
		line := Line(nil, r, English, nil, Own{System: s})
		if string(text) != c.line {
			t.Errorf("%s %s: text %q, want %q", c.os, c.class, text, c.line)
		}
		if !strings.HasSuffix(string(line), ": "+c.line) {
			t.Errorf("%s %s: line %q", c.os, c.class, line)
		}
		if c.json != "" {
			for _, part := range strings.Split(strings.Trim(c.json, "{}"), ",") {
				if !strings.Contains(string(j), strings.Trim(part, "{}[]")) {
					t.Errorf("%s %s: %s lacks %s", c.os, c.class, j, part)
				}
			}
		}
		for _, out := range [][]byte{j, b, Batch(nil, []Item{{Shared: CBOR(r, Env{System: s})}}), text, line} {
			for _, n := range c.never {
				if bytes.Contains(bytes.ToLower(out), []byte(n)) {
					t.Errorf("%s %s: %q in %q", c.os, c.class, n, out)
				}
			}
		}
		for _, w := range c.want {
			if !bytes.Contains(j, []byte(w)) || !bytes.Contains(b, []byte(w)) {
				t.Errorf("%s %s: %s lacks %q", c.os, c.class, j, w)
			}
		}
	}
}

// TestLinkWithoutActions sees that an app that is not to be opened any more leaves its name and words, and no address.
func TestLinkWithoutActions(t *testing.T) {
	r := game(t)
	j := string(JSON(r, Env{System: NoActions}).Append(nil, Own{}))
	if strings.Contains(j, "://") || !strings.Contains(j, `"off":true`) || !strings.Contains(j, "your move") {
		t.Error(j)
	}
	if got := string(TextOn(nil, r, English, nil, NoActions)); got != "Chess: your move" {
		t.Error(got)
	}
	if got := KindWord(English, r); got != "[link] Chess: your move" {
		t.Error(got)
	}
	if got := string(LinkLine(r)); got != "Chess: your move" {
		t.Error(got)
	}
	r.Recalled = true
	for _, s := range []System{0, NoActions, SystemOf("ios", "")} {
		if j := string(JSON(r, Env{System: s}).Append(nil, Own{})); strings.Contains(j, "hess") {
			t.Errorf("a link that was taken back: %s", j)
		}
	}
	if got := KindWord(English, r); strings.Contains(got, "hess") {
		t.Error(got)
	}
}

// TestSystems sees that every system and class has a place of its own, below NoActions.
func TestSystems(t *testing.T) {
	seen := map[System]string{0: "web"}
	for _, os := range LinkSystems() {
		for _, class := range append(LinkClasses(), "") {
			s := SystemOf(os, class)
			if was, ok := seen[s]; ok || s >= NoActions {
				t.Errorf("%s %s: %d is %s", os, class, s, was)
			}
			seen[s] = os + class
			if o, c := s.words(); o != os || c != class {
				t.Errorf("%s %s: %s %s", os, class, o, c)
			}
		}
	}
	if SystemOf("web", "phone") != 0 || SystemOf("", "") != 0 || int(NoActions) != Systems-1 {
		t.Error("a browser has no class")
	}
}

// FuzzLink sees that whatever stands in a record's Extra, what comes out is a whole envelope without another system's
// addresses.
func FuzzLink(f *testing.F) {
	f.Add(game(f).Extra)
	f.Add([]byte{majorMap + 1, keyLink, majorMap})
	f.Add([]byte{majorMap + 1, keyLink, majorText | 3, 'a', 'b', 'c'})
	f.Fuzz(func(t *testing.T, extra []byte) {
		r := &store.Record{Seq: 1, Kind: store.KindLink, Text: []byte("hi"), Extra: extra}
		for s := range System(Systems) {
			if j := JSON(r, Env{System: s}).Append(nil, Own{}); !bytes.HasSuffix(j, []byte("}")) {
				t.Fatalf("%q", j)
			}
			CBOR(r, Env{System: s}).Append(nil, Own{})
			if line := TextOn(nil, r, English, nil, s); bytes.ContainsAny(line, "\n\x1b") {
				t.Fatalf("%q", line)
			}
		}
		if l, ok := LinkOf(r); ok && l.App == "" {
			t.Fatal("a link of no app")
		}
	})
}
