package link

import (
	"net/url"
	"strings"
	"testing"
)

// TestClassic is what the parameters of 2011 mean.
func TestClassic(t *testing.T) {
	a := &App{ID: "chess"}
	a.AppTerms = chessTerms()
	meta := `[{"os":"android","devicetype":"phone","installurl":"market://details?id=com.example.game","executeurl":"mygame://7"},{"os":"iPhone","installurl":"","executeurl":"mygame-ios://7"},{"os":"ios","devicetype":"pad","executeurl":"mygame-ios://pad"}]`
	q := "msg=%EC%95%88%EB%85%95&url=https%3A%2F%2Fgame.example.com%2F7&appid=chess%3Akey&appver=1.0&type=app&appname=Any&metainfo=" + url.QueryEscape(meta) + "&ticket=tick&unknown=1"
	for _, in := range []string{q, "kakaolink://sendurl?" + q, "x-scheme://a?" + strings.Replace(q, url.QueryEscape(meta), url.QueryEscape(`{"metainfo":`+meta+`}`), 1)} {
		c, key, ticket, err := ParseQuery(in)
		if err != nil || key != "" || ticket != "tick" || c.AppID != "chess:key" || len(c.MetaInfo) != 3 {
			t.Fatalf("%+v %q %q %v", c, key, ticket, err)
		}
		m, err := c.Message()
		if err != nil {
			t.Fatal(err)
		}
		if m.Text != "안녕" || m.Web != "https://game.example.com/7" || m.Targets[1] != (Target{OS: "ios", Class: "phone", Execute: "mygame-ios://7"}) || m.Targets[2].Class != "tablet" || m.Targets[0].Install == "" {
			t.Errorf("%+v", m)
		}
		if _, err := build(a, &m); err != nil {
			t.Error(err)
		}
	}
	c := Classic{Msg: "hi", URL: "https://game.example.com/", Type: "link"}
	if m, err := c.Message(); err != nil || m.Web == "" || len(m.Targets) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	for want, c := range map[string]Classic{
		"msg is missing": {URL: "x", Type: "link"}, "url is missing": {Msg: "x"}, "metainfo is missing": {Msg: "x", Type: "app"}, "type must be": {Msg: "x", Type: "Link"},
		"metainfo goes with": {Msg: "x", URL: "y", Type: "link", MetaInfo: []MetaInfo{{}}}, "devicetype must": {Msg: "x", Type: "app", MetaInfo: []MetaInfo{{DeviceType: "watch"}}},
		"appver may have": {Msg: "x", AppVer: strings.Repeat("1", 65)}, "appname must be": {Msg: "x", AppName: "a\nb"}, "metainfo has too many": {Msg: "x", Type: "app", MetaInfo: make([]MetaInfo, 17)},
	} {
		if _, err := c.Message(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, q := range []string{"", "x=1", "msg=a&msg=b", "msg=%ff", "msg=%zz", "\xff", "msg=a;b", "metainfo=%7B&msg=x", "metainfo=[]x&msg=x", "metainfo=3&msg=x", strings.Repeat("a=b&", 100), "msg=" + strings.Repeat("x", maxQuery)} {
		if c, _, _, err := ParseQuery(q); err == nil {
			t.Errorf("%.40q: %+v", q, c)
		}
	}
}

// FuzzQuery sees that no parameters of 2011 break anything, and that what they mean passes the same checks.
func FuzzQuery(f *testing.F) {
	f.Add(`msg=hi&url=https%3A%2F%2Fgame.example.com&type=link&key=chess:x`)
	f.Add(`kakaolink://sendurl?msg=hi&type=app&metainfo={"metainfo":[{"os":"android","executeurl":"mygame://x"}]}`)
	f.Add(`msg=&metainfo=[[]]`)
	f.Add(`a?b?msg=x#y`)
	a := &App{ID: "chess"}
	a.AppTerms = chessTerms()
	f.Fuzz(func(t *testing.T, q string) {
		c, _, _, err := ParseQuery(q)
		if err != nil {
			return
		}
		m, err := c.Message()
		if err != nil {
			return
		}
		if got, err := build(a, &m); err == nil && len(got.Extra) > maxLink {
			t.Fatal("too large")
		}
	})
}
