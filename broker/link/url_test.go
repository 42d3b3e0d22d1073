package link

import (
	"net/url"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store/graph"
)

var ours = []string{"game.example.com", "xn--bcher-kva.example", "example.co.kr"}

// TestWebURL is what passes for an address on the app's domains, and what only looks like one.
func TestWebURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://game.example.com":                              "https://game.example.com/",
		"HTTPS://Game.EXAMPLE.com/Path?Q=1#F":                   "https://game.example.com/Path?Q=1#F",
		"https://eu.game.example.com/":                          "https://eu.game.example.com/",
		"https://game.example.com?x=1":                          "https://game.example.com/?x=1",
		"https://bücher.example/":                               "https://xn--bcher-kva.example/",
		"https://BÜCHER.example/":                               "https://xn--bcher-kva.example/",
		"https://xn--bcher-kva.example/":                        "https://xn--bcher-kva.example/",
		"https://game.example.com/한글":                           "https://game.example.com/%ED%95%9C%EA%B8%80",
		"https://game.example.com/a%20b?u=http%3A%2F%2Fx":       "https://game.example.com/a%20b?u=http%3A%2F%2Fx",
		"https://game.example.com/@user":                        "https://game.example.com/@user",
		"https://game.example.com/a:b":                          "https://game.example.com/a:b",
		"https://ｇame.example.com/":                             "https://game.example.com/",
		"https://game。example。com/":                             "https://game.example.com/",
		"https://example.co.kr/":                                "https://example.co.kr/",
		"https://game.example.com/?next=https://evil.example/":  "https://game.example.com/?next=https://evil.example/",
		"https://game.example.com/%2e%2e/":                      "https://game.example.com/%2e%2e/",
		"https://game.example.com#@evil.example":                "https://game.example.com/#@evil.example",
		"https://game.example.com?@evil.example":                "https://game.example.com/?@evil.example",
		"https://game.example.com/" + strings.Repeat("a", 2000): "https://game.example.com/" + strings.Repeat("a", 2000),
	} {
		a := App{}
		a.Domains = ours
		got, err := a.actions("", &Actions{Web: in})
		if err != nil || got.Web != want {
			t.Errorf("%q: %q, %v", in, got.Web, err)
			continue
		}
		if u, err := url.Parse(got.Web); err != nil || !within(u.Host, ours) || u.User != nil || u.Port() != "" {
			t.Errorf("%q is read otherwise: %v, %v", got.Web, u, err)
		}
	}
	for _, in := range hostile() {
		a := App{}
		a.Domains = ours
		if got, err := a.actions("", &Actions{Web: in}); err == nil {
			t.Errorf("%q passed as %q", in, got.Web)
		}
	}
}

// hostile are addresses that no app of ours may send.
func hostile() []string {
	return []string{
		" ", "game.example.com", "//game.example.com/", "/path", "http://game.example.com/", "https:game.example.com", "https:/game.example.com/",
		"https:///game.example.com/", "https://", "https:///", "https://?", "https://#", "ftp://game.example.com/", "javascript:alert(1)", "data:text/html,x",
		"javascript://game.example.com/%0aalert(1)", "https://evil.example/", "https://evilgame.example.com/", "https://game.example.com.evil.example/",
		"https://game.example.comevil.example/", "https://game.example.co/", "https://example.com/", "https://co.kr/", "https://x.co.kr/",
		"https://game.example.com@evil.example/", "https://user@game.example.com/", "https://user:pw@game.example.com/", "https://@game.example.com/",
		"https://evil.example@game.example.com/", "https://game.example.com:443/", "https://game.example.com:/", "https://game.example.com:8443/",
		"https://evil.example:@game.example.com/", `https://evil.example\@game.example.com/`, `https://evil.example\.game.example.com/`,
		`https:\\game.example.com/`, `https://game.example.com\evil`, `https:/\evil.example/`, "https://evil.example#@game.example.com/", "https://evil.example?@game.example.com",
		"https://evil.example/game.example.com", "https://evil.example;game.example.com/", "https://evil.example,game.example.com/",
		"https://game.example.com./", "https://game.example.com../", "https://.game.example.com/", "https://eu..game.example.com/", "https://evil.example%2f.game.example.com/",
		"https://evil.example%00.game.example.com/", "https://evil.example%23.game.example.com/", "https://%65vil.game.example.com/", "https://game%2eexample.com/",
		"https://evil.example／.game.example.com/", "https://evil.example＃.game.example.com/", "https://evil.example？.game.example.com/", "https://evil.example＠game.example.com/",
		"https://evil.example⁄game.example.com/", "https://evil.example∕.game.example.com/", "https://evil.example：443.game.example.com/", "https://a℀.game.example.com/",
		"https://ѕ.example.com/", "https://gаme.example.com/" /* Cyrillic а */, "https://game\u200b.evil.example/", "https://game.example.com\u202e/",
		"https://xn--a.game.example.com/", "https://-.game.example.com/", "https://-a.game.example.com/", "https://a-.game.example.com/", "https://a_b.game.example.com/",
		"https://1.2.3.4/", "https://[::1]/", "https://[::1].game.example.com/", "https://0x7f.1/", "https://2130706433/", "https://127.1/", "https://localhost/",
		"https://game.example.com/\n", "https://game.example.com/\r\nx", "\thttps://game.example.com/", "https://game.example.com/ x", "https://ga\tme.example.com/",
		"https://ga\nme.example.com/", "https://game.example.com/\x00", "https://game.example.com/\x7f", "https://game.example.com/\u0085", "https://game.example.com/\u2028", "https://game.example.com/\xff",
		"https://game.example.com/%00", "https://game.example.com/%0d%0aX", "https://game.example.com/%7F", "https://game.example.com/%", "https://game.example.com/%4", "https://game.example.com/%zz",
		`https://game.example.com/"onload=`, "https://game.example.com/<b>", "https://game.example.com/`", "https://game.example.com/{x}", "https://game.example.com/|", "https://game.example.com/^",
		"https://game.example.com/" + strings.Repeat("a", 2048), "https://game.example.com/" + strings.Repeat("한", 500), "https://" + strings.Repeat("a", 64) + ".game.example.com/",
		"https://" + strings.Repeat("a.", 130) + "game.example.com/", "HTTPS://EVIL.EXAMPLE/", "https://game.example.com\u3002evil\u3002example/", "https://ſ.example/", "view-source:https://game.example.com/",
		"blob:https://game.example.com/x", "filesystem:https://game.example.com/x", "intent://game.example.com/#Intent;scheme=https;end", "mygame://x",
	}
}

// TestExecuteURL is what may start an app.
func TestExecuteURL(t *testing.T) {
	schemes := []string{"mygame", "com.example.game"}
	for in, want := range map[string]string{
		"mygame://play?id=1":              "mygame://play?id=1",
		"MyGame://Play":                   "mygame://Play",
		"mygame:":                         "mygame:",
		"mygame:play":                     "mygame:play",
		"com.example.game://a/b#c":        "com.example.game://a/b#c",
		"mygame://초대":                     "mygame://%EC%B4%88%EB%8C%80",
		"https://eu.game.example.com/app": "https://eu.game.example.com/app",
	} {
		if got, err := executeURL(in, ours, schemes); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "play", "other://x", "my game://x", "mygame", "mygame2://x", "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:x", "\x01mygame://x", " mygame://x",
		"mygame://user@x", "mygame://%40x/", "mygame://x\\y", "mygame://x%00", "mygame://x%0d%0a", "mygame://x y", "intent://x#Intent;scheme=mygame;end", "file:///etc/passwd", "content://x", "tel:112",
		"market://details?id=x", "http://game.example.com/", "https://evil.example/", "https://user@game.example.com/", "mygame://\u202e", "mygame://\"x", "mygame://<x>", "mygame://" + strings.Repeat("x", 2048)} {
		if got, err := executeURL(in, ours, schemes); err == nil {
			t.Errorf("%q passed as %q", in, got)
		}
	}
}

// TestInstallURL is where an app may be had.
func TestInstallURL(t *testing.T) {
	ids := []string{"com.example.game", "123456789"}
	for _, c := range []struct {
		p  graph.Platform
		in string
		ok bool
	}{
		{graph.PlatformAndroid, "https://play.google.com/store/apps/details?id=com.example.game", true},
		{graph.PlatformAndroid, "https://play.google.com/store/apps/details?hl=ko&id=com.example.game&referrer=x", true},
		{graph.PlatformAndroid, "market://details?id=com.example.game", true},
		{graph.PlatformAndroid, "market://details?id=com.evil", false},
		{graph.PlatformAndroid, "market://details?id=com.evil&id=com.example.game", false},
		{graph.PlatformAndroid, "market://details?x=1#id=com.example.game", false},
		{graph.PlatformAndroid, "https://play.google.com/store/apps/details?id=com.evil", false},
		{graph.PlatformAndroid, "https://play.google.com/", false},
		{graph.PlatformAndroid, "https://play.google.com.evil.example/?id=com.example.game", false},
		{graph.PlatformAndroid, "https://play.google.com@evil.example/?id=com.example.game", false},
		{graph.PlatformAndroid, "https://apps.apple.com/app/id123456789", false},
		{graph.PlatformAndroid, "https://apps.samsung.com/x", true},
		{graph.PlatformAndroid, "https://dl.game.example.com/game.apk", true},
		{graph.PlatformAndroid, "mygame://x", false},
		{graph.PlatformIOS, "https://apps.apple.com/kr/app/game/id123456789?mt=8", true},
		{graph.PlatformIOS, "itms-apps://itunes.apple.com/app/id123456789", true},
		{graph.PlatformIOS, "https://itunes.apple.com/app/id99", false},
		{graph.PlatformIOS, "itms-services://?action=download-manifest&url=https://evil.example/", false},
		{graph.PlatformIOS, "market://details?id=com.example.game", false},
		{graph.PlatformBlackBerry, "appworld://content/4711", true},
		{graph.PlatformBlackBerry, "https://appworld.blackberry.com/webstore/content/4711", true},
		{graph.PlatformWindows, "ms-windows-store://pdp/?ProductId=9X", true},
		{graph.PlatformLinux, "https://evil.example/", false},
		{graph.PlatformMacOS, "javascript:alert(1)", false},
	} {
		if got, err := installURL(c.p, c.in, ours, ids); (err == nil) != c.ok {
			t.Errorf("%s %q: %q, %v", c.p, c.in, got, err)
		}
	}
	if _, err := installURL(graph.PlatformAndroid, "market://details?id=com.any", ours, nil); err != nil {
		t.Errorf("an app that did not say how the store calls it: %v", err)
	}
}

// TestDomain is what an app may name as its own.
func TestDomain(t *testing.T) {
	for in, want := range map[string]string{"Game.Example.com": "game.example.com", "bücher.example": "xn--bcher-kva.example", "example.co.kr": "example.co.kr", "me.github.io": "me.github.io"} {
		if got, err := normalDomain(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "com", "co.kr", "github.io", "localhost", "1.2.3.4", "0x7f.0x1", "example.com.", ".example.com", "*.example.com", "example.com/", "https://example.com", "a b.com", "ex_ample.com",
		"example.com:443", "user@example.com", "[::1]", "exa%6dple.com", "-a.com", "a..com", strings.Repeat("a", 64) + ".com"} {
		if got, err := normalDomain(in); err == nil {
			t.Errorf("%q passed as %q", in, got)
		}
	}
	for _, s := range []string{"http", "https", "javascript", "intent", "tel", "market", "ms-settings", "x", "", "1game", "my game", "file"} {
		if ownScheme(s) {
			t.Errorf("%s is no app's own", s)
		}
	}
}

// TestTextAddresses sees that no address of somebody else's stands in what people read.
func TestTextAddresses(t *testing.T) {
	for s, ok := range map[string]bool{
		"your move": true, "see https://game.example.com/x": true, "see (https://eu.game.example.com), now": true, "www.game.example.com.": true, "awww. nice": true, "wwww.": true,
		"https://evil.example": false, "HTTPS://EVIL.example/game.example.com": false, "x www.evil.example": false, "WWW.evil.example": false, "http://game.example.com@evil.example": false,
		"other://x": false, "https://game.example.com.evil.example/": false, "a\x00": false, "a\x1b[31m": false, "\u202e": false, "two\nlines": true, "://": false, "\xff": false,
		"https://game.example.com https://evil.example": false, "(www.evil.example)": false,
	} {
		if err := checkText(s, ours); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// FuzzURL sees that what passes is read by another parser as the same host, which is the app's, and passes again as it is.
func FuzzURL(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Add("https://bücher.example/ü?ß#")
	f.Add("mygame://play")
	f.Fuzz(func(t *testing.T, s string) {
		a := App{}
		a.Domains = ours
		if got, err := a.actions("", &Actions{Web: s}); err == nil && s != "" {
			u, err := url.Parse(got.Web)
			if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || !within(u.Host, ours) || strings.ContainsAny(got.Web, "\\ \t\r\n\x00") || len(got.Web) > maxURL {
				t.Fatalf("%q passed as %q: %v", s, got.Web, err)
			}
			if again, err := a.actions("", &Actions{Web: got.Web}); err != nil || again.Web != got.Web {
				t.Fatalf("%q is %q the second time: %v", got.Web, again.Web, err)
			}
		}
		if got, err := executeURL(s, ours, []string{"mygame"}); err == nil && !strings.HasPrefix(got, "mygame:") {
			if u, err := url.Parse(got); err != nil || u.Scheme != "https" || !within(u.Host, ours) {
				t.Fatalf("%q starts %q", s, got)
			}
		}
		if got, err := installURL(graph.PlatformAndroid, s, ours, []string{"com.example.game"}); err == nil && strings.ContainsAny(got, "\\ \r\n\"<>") {
			t.Fatalf("%q installs %q", s, got)
		}
		_ = checkText(s, ours)
	})
}
