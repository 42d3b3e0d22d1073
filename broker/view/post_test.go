package view

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

func TestParsePost(t *testing.T) {
	long := strings.Repeat("가", MaxButtonLabel)
	six := strings.TrimSuffix(strings.Repeat(`{"text":"a","url":"https://example.com"},`, 6), ",")
	for _, c := range []struct {
		name, json string
		how        PostHow
		code       store.Code // 0: it is accepted
	}{
		{"text", `{"text":"hello"}`, PostHow{}, 0},
		{"empty", `{}`, PostHow{}, store.CodeBad},
		{"nothing to see", `{"text":" \u200b\n\u2800"}`, PostHow{}, 0}, // U+2800 is a symbol
		{"nothing to see at all", `{"text":" \u200b\n\u3164"}`, PostHow{}, store.CodeBad},
		{"no object", `["hello"]`, PostHow{}, store.CodeBad},
		{"a key twice", `{"text":"a","text":"b"}`, PostHow{}, store.CodeBad},
		{"an unknown key", `{"text":"a","image_url":"https://x.example/y.png"}`, PostHow{}, store.CodeBad},
		{"something behind", `{"text":"a"} {}`, PostHow{}, store.CodeBad},
		{"nul", `{"text":"a\u0000"}`, PostHow{}, store.CodeBad},
		{"picture", `{"kind":"image","files":[{"file":"abc","name":"spring.jpg","alt":"cherry trees"}]}`, PostHow{}, 0},
		{"picture without a file", `{"kind":"image","text":"look"}`, PostHow{}, store.CodeBad},
		{"file in a text", `{"text":"look","files":[{"file":"abc"}]}`, PostHow{}, store.CodeBad},
		{"a foreign picture", `{"kind":"image","files":[{"file":"https://x.example/y.png"}]}`, PostHow{}, store.CodeBad},
		{"a foreign picture as a name", `{"kind":"image","files":[{"file":"abc","name":"https://x.example/y.png"}]}`, PostHow{}, store.CodeBad},
		{"poll", `{"kind":"poll","text":"?"}`, PostHow{}, store.CodeBad},
		{"system", `{"kind":"system","text":"?"}`, PostHow{}, store.CodeBad},
		{"place", `{"location":{"lat":37.5,"lon":127,"name":"Seoul"}}`, PostHow{}, 0},
		{"place nowhere", `{"location":{"lat":91,"lon":127}}`, PostHow{}, store.CodeBad},
		{"place in a text", `{"kind":"text","text":"a","location":{"lat":1,"lon":1}}`, PostHow{}, store.CodeBad},
		{"button", `{"text":"a","buttons":[{"text":"` + long + `","url":"https://example.com/?a=1"}]}`, PostHow{}, 0},
		{"long button", `{"text":"a","buttons":[{"text":"` + long + `x","url":"https://example.com/?a=1"}]}`, PostHow{}, store.CodeBad},
		{"reordered button", `{"text":"a","buttons":[{"text":"a\u202eb","url":"https://example.com/"}]}`, PostHow{}, store.CodeBad},
		{"two-line button", `{"text":"a","buttons":[{"text":"a\nb","url":"https://example.com/"}]}`, PostHow{}, store.CodeBad},
		{"blank button", `{"text":"a","buttons":[{"text":" ","url":"https://example.com/"}]}`, PostHow{}, store.CodeBad},
		{"six buttons", `{"text":"a","buttons":[` + six + `]}`, PostHow{}, store.CodeBad},
		{"coupon by kind", `{"kind":"coupon","text":"a"}`, PostHow{}, store.CodeBad},
		{"coupon", `{"text":"a"}`, PostHow{Campaign: "spring"}, 0},
		{"coupon with a picture", `{"files":[{"file":"abc"}]}`, PostHow{Campaign: "spring"}, 0},
		{"coupon of another kind", `{"kind":"image","files":[{"file":"abc"}]}`, PostHow{Campaign: "spring"}, store.CodeBad},
		{"variants", `{"text":"a","variants":{"ko":{"text":"가"},"pt-BR":{"text":"b"},"zh-TW":{"text":"c"}}}`, PostHow{}, 0},
		{"the same language twice", `{"text":"a","variants":{"pt":{"text":"가"},"pt-BR":{"text":"b"}}}`, PostHow{}, store.CodeBad},
		{"the post's language twice", `{"text":"a","variants":{"en-GB":{"text":"가"}}}`, PostHow{}, store.CodeBad},
		{"its own language twice", `{"language":"ko","text":"a","variants":{"ko":{"text":"가"}}}`, PostHow{}, store.CodeBad},
		{"English beside Korean", `{"text":"a","variants":{"en":{"text":"b"}}}`, PostHow{Language: Korean}, 0},
		{"a language that is not spoken", `{"text":"a","variants":{"nl":{"text":"b"}}}`, PostHow{}, store.CodeBad},
		{"an empty variant", `{"text":"a","variants":{"ko":{}}}`, PostHow{}, store.CodeBad},
		{"too much", `{"text":"` + strings.Repeat("x", MaxPost) + `"}`, PostHow{}, store.CodeTooLarge},
		{"too much together", `{"text":"` + strings.Repeat("x", MaxPost/2) + `","variants":{"ko":{"text":"` + strings.Repeat("x", MaxPost/2) + `"}}}`, PostHow{}, store.CodeTooLarge},
	} {
		p, err := ParsePost([]byte(c.json), c.how)
		if store.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want code %d", c.name, err, c.code)
		}
		if err == nil {
			soundPost(t, p, c.how)
		}
	}
}

// All twelve languages fit into one post, and what a variant does not say is as in the post.
func TestPostVariants(t *testing.T) {
	p := Post{Kind: "image", Text: "default", Files: []PostFile{{File: "ABC"}}, Buttons: []Button{{"Go", "https://example.com/"}}, Variants: map[string]PostText{}}
	for l := Korean; l < langs; l++ {
		p.Variants[l.String()] = PostText{Text: l.String()}
	}
	p.Variants["de"] = PostText{Text: "de", Buttons: []Button{}}
	p.Variants["fr"] = PostText{Text: "fr", Files: []PostFile{{File: "other"}}}
	got, err := p.Parse(PostHow{Ad: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Variants) != int(langs)-1 || string(got.Content.Text) != "(Ad) default" || got.Variants["ko"].Text != "(광고) ko" {
		t.Errorf("got %d variants, %q and %q", len(got.Variants), got.Content.Text, got.Variants["ko"].Text)
	}
	if !slices.Equal(got.Files, []string{"abc", "other"}) {
		t.Errorf("files %q", got.Files)
	}
	if v := got.Variants["ko"]; v.Extra != nil {
		t.Errorf("a variant that says only its text has an extra: %x", v.Extra)
	}
	shown := func(lang string) *store.Record {
		v := got.Variants[lang]
		return InVariant(&store.Record{Kind: got.Content.Kind, Text: got.Content.Text, Extra: got.Content.Extra}, &v)
	}
	for _, c := range []struct {
		lang    string
		buttons int
		file    string
	}{{"ko", 1, "abc"}, {"de", 0, "abc"}, {"fr", 1, "other"}} {
		r := shown(c.lang)
		files, err := Files(r.Extra)
		if err != nil || len(Buttons(r.Extra)) != c.buttons || !slices.Equal(files, []string{c.file}) {
			t.Errorf("%s: %d buttons, files %q, %v", c.lang, len(Buttons(r.Extra)), files, err)
		}
	}
	p = Post{Text: "default", Buttons: []Button{{"Go", "https://example.com/"}}, Variants: map[string]PostText{"ko": {Text: "가", Buttons: []Button{}}}}
	if got, err = p.Parse(PostHow{}); err != nil {
		t.Fatal(err)
	}
	if r := shown("ko"); len(Buttons(r.Extra)) != 0 {
		t.Error("a variant without buttons has those of the post")
	}
}

func TestLabeled(t *testing.T) {
	for _, c := range []struct {
		lang     Lang
		in, want string
	}{
		{Korean, "봄 세일", "(광고) 봄 세일"},
		{Korean, "(광고)봄 세일", "(광고)봄 세일"},
		{Korean, " \n(광고) 봄 세일", "(광고) 봄 세일"},
		{Korean, "(광 고) 봄 세일", "(광고) (광 고) 봄 세일"},
		{Korean, "[광고] 봄 세일", "(광고) [광고] 봄 세일"},
		{Korean, "\u200b(광고) 봄 세일", "(광고) \u200b(광고) 봄 세일"},
		{Korean, "", "(광고)"},
		{English, "(AD) sale", "(AD) sale"},
		{English, "(Advice) sale", "(Ad) (Advice) sale"},
		{langs, "sale", "(Ad) sale"},
	} {
		if got := string(Labeled([]byte(c.in), c.lang)); got != c.want {
			t.Errorf("%v: %q became %q, want %q", c.lang, c.in, got, c.want)
		}
	}
	for l := English; l < langs; l++ {
		if AdLabel(l) == "" {
			t.Errorf("%v has no label", l)
		}
	}
}

func TestCheckPost(t *testing.T) {
	for _, c := range []struct {
		json string
		code store.Code
	}{
		{`{"b":"hello"}`, 0},
		{`{"b":"hello","r":3}`, 0},
		{`{"b":"hello","m":["bob"]}`, store.CodeBad},
		{`{"b":"hello","m":["@all"]}`, store.CodeBad},
		{`{"k":"poll","b":"?","a":[{"option":"a"}]}`, store.CodeForbidden},
		{`{"k":"image","a":[{"file":"abc","width":640,"height":480,"mime":"image/jpeg","blurhash":"LEHV6nWB2y"}]}`, 0},
		{`{"k":"image","a":[{"file":"abc","width":"640"}]}`, store.CodeBad},
		{`{"k":"image","a":[{"file":"abc","width":-1}]}`, store.CodeBad},
		{`{"k":"image","a":[{"file":"abc","thumb":"https://x.example/y"}]}`, store.CodeBad},
		{`{"k":"image","a":[{"file":"abc","more":{"url":"https://x.example/y"}}]}`, store.CodeBad},
		{`{"k":"image","a":[{"file":"abc","name":"//x.example/y"}]}`, store.CodeBad},
		{`{"k":"image","a":[{"file":"abc","alt":"data:image/png;base64,AA"}]}`, store.CodeBad},
		{`{"k":"image","a":[{"url":"https://x.example/y.png"}]}`, store.CodeBad},
		{`{"k":"image","b":"look"}`, store.CodeBad},
		{`{"k":"location","a":[{"lat":37.5665,"lon":-126.978}]}`, 0},
		{`{"k":"location","b":"here"}`, store.CodeBad},
		{`{"k":"location","a":[{"lat":37.5665,"lon":-126.978},{"lat":1,"lon":2}]}`, store.CodeBad},
		{`{"k":"location","a":[{"lat":37.5665,"lon":-126.978,"map":"https://x.example"}]}`, store.CodeBad},
		{`{"b":"a","a":[{"type":"button","text":"Go","url":"shop://item/3"}]}`, 0},
		{`{"b":"a","a":[{"type":"button","text":"Go","url":"javascript:alert(1)"}]}`, store.CodeBad},
		{`{"b":"a","a":[{"type":"button","text":"Go","url":"https://example.com","icon":"https://x.example"}]}`, store.CodeBad},
		{`{"b":"a","a":[{"type":"coupon","campaign":"spring"}]}`, store.CodeBad},
		{`{"b":"a","a":[{"type":"other"}]}`, store.CodeBad},
	} {
		in, err := ParseJSON([]byte(c.json))
		if err != nil {
			t.Fatalf("%s: %v", c.json, err)
		}
		if err := CheckPost(in); store.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want code %d", c.json, err, c.code)
		}
		fromCBOR, err := ParseCBOR(toCBOR(t, c.json))
		if err != nil {
			t.Fatalf("%s: %v", c.json, err)
		}
		if err := CheckPost(fromCBOR); store.CodeOf(err) != c.code {
			t.Errorf("%s as CBOR: %v, want code %d", c.json, err, c.code)
		}
	}
	if err := CheckPost(Content{Kind: store.KindCoupon, Text: []byte("a")}); store.CodeOf(err) != store.CodeForbidden {
		t.Errorf("a coupon over MQTT: %v", err)
	}
	if err := CheckPost(Content{Text: []byte("a"), Extra: []byte{0xff}}); store.CodeOf(err) != store.CodeBad {
		t.Errorf("broken attachments: %v", err)
	}
}

func TestCheckURL(t *testing.T) {
	for _, s := range []string{
		"https://example.com", "https://www.example.co.kr:8443/a/b?c=d&e=%ED%95%9C#f", "https://xn--3e0b707e.example.kr/", // 한국
		"https://xn--mnchen-3ya.de/", "https://xn--wgv71a119e.jp/", "shop://item/3?x=1", "kakao-app1://x", "HTTPS://EXAMPLE.COM/",
	} {
		if err := CheckURL(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "example.com", "//example.com", "http://example.com/", "https://", "https:///x", "https:example.com", "https://localhost/",
		"https://127.0.0.1/", "https://[::1]/", "https://2130706433/", "https://0x7f.1/", "https://a.0x7f000001/", "https://user@example.com/",
		"https://user:pw@example.com/", "https://example.com@evil.example/", "shop://user@item", "https://example.com/{user}", "https://example.com/%7Buser%7D",
		"https://example.com/%name%", "https://example.com/[name]", "https://example.com/*|name|*", "https://example.com/<name>",
		"https://example.com/ x", "https://example.com/\x00", "https://example.com/\u202e", "https://example.com/%0d%0aX:1", "https://한국.kr/",
		"https://xn--80ak6aa92e.com/",  // аррӏе in Cyrillic
		"https://xn--pypal-4ve.com/",   // pаypal with one Cyrillic letter
		"https://xn--googl-fsa.c_m.-/", // not a host
		"https://xn--.com/", "https://xn--a.com/", "https://xn--a-.com/", "https://xn--99999999.com/",
		"javascript://example.com/%0aalert(1)", "javascript:alert(1)", "data:text/html,x", "intent://x#Intent;end", "file:///etc/passwd", "c://x", "1a://x",
		"https://example.com:0/", "https://example.com:99999/", "https://exa_mple..com/", "https://-a.com/", "https://example.com\\@evil.example/",
		"https://example.com/" + strings.Repeat("a", MaxURL),
	} {
		if CheckURL(s) == nil {
			t.Errorf("%q is allowed", s)
		}
	}
}

func TestButtonsAsText(t *testing.T) {
	p, err := ParsePost([]byte(`{"text":"Sale\nnow","buttons":[{"text":"Shop","url":"https://example.com/s"},{"text":"App","url":"shop://x"}]}`), PostHow{})
	if err != nil {
		t.Fatal(err)
	}
	r := &store.Record{Sender: 1, Kind: p.Content.Kind, Text: p.Content.Text, Extra: p.Content.Extra}
	if got, want := string(Text(nil, r, English, people)), "Sale\nnow\n· Shop: https://example.com/s\n· App: shop://x"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got, want := string(Line(nil, r, English, people, Own{})), "alice: Sale⏎ now ⏎ · Shop: https://example.com/s ⏎ · App: shop://x"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	r.Recalled, r.Text = true, nil
	if got := string(Line(nil, r, English, people, Own{})); strings.Contains(got, "Shop") {
		t.Errorf("a recalled post shows its buttons: %q", got)
	}
}

// soundPost checks what holds for every post that is accepted.
func soundPost(t *testing.T, p Posting, how PostHow) {
	t.Helper()
	if _, twice := p.Variants[p.Language.String()]; twice {
		t.Fatalf("two texts in %v", p.Language)
	}
	check := func(l Lang, text, extra []byte) {
		t.Helper()
		if !utf8.Valid(text) || how.Ad && !strings.EqualFold(string(text[:min(len(text), len(AdLabel(l)))]), AdLabel(l)) {
			t.Fatalf("%v: text %q", l, text)
		}
		if err := canonical(extra); err != nil {
			t.Fatalf("extra %x: %v", extra, err)
		}
		if p.Content.Kind != store.KindCoupon {
			if err := CheckPost(Content{Kind: p.Content.Kind, Text: text, Extra: extra}); err != nil {
				t.Fatalf("what is accepted of the API is refused over MQTT: %v", err)
			}
		}
		files, err := Files(extra)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !slices.Contains(p.Files, f) {
				t.Fatalf("file %s is not listed", f)
			}
		}
	}
	check(p.Language, p.Content.Text, p.Content.Extra)
	for tag, v := range p.Variants {
		l := ParseLang(tag)
		if l.String() != tag {
			t.Fatalf("a variant for %q", tag)
		}
		r := InVariant(&store.Record{Kind: p.Content.Kind, Text: p.Content.Text, Extra: p.Content.Extra}, &v)
		check(l, r.Text, r.Extra)
	}
	b, err := json.Marshal(graph.Post{Variants: p.Variants, Segment: &graph.Segment{}})
	if err != nil || len(b) > store.MaxRowValue {
		t.Fatalf("a row of %d bytes, %v", len(b), err)
	}
}

func FuzzParsePost(f *testing.F) {
	for _, s := range []string{
		`{"text":"hello","variants":{"ko":{"text":"안녕","buttons":[]},"zh-Hant":{"text":"x","files":[]}}}`,
		`{"kind":"image","files":[{"file":"abc","name":"n","alt":"a"}],"buttons":[{"text":"Go","url":"https://example.com/"}]}`,
		`{"location":{"lat":37.5,"lon":127,"name":"Seoul"},"language":"ko"}`,
		`{"text":"a","text":"b"}`, `{"text":null}`, `{"Text":"a"}`, `{"text":"\ud800"}`, `{"variants":{"ko":null}}`, `{"location":{"lat":1e400}}`,
	} {
		f.Add([]byte(s), false, "")
		f.Add([]byte(s), true, "spring")
	}
	f.Fuzz(func(t *testing.T, payload []byte, ad bool, campaign string) {
		how := PostHow{Language: Korean, Ad: ad}
		if len(campaign) > 0 && len(campaign) < 64 && utf8.ValidString(campaign) {
			how.Campaign = "c"
		}
		if p, err := ParsePost(payload, how); err == nil {
			soundPost(t, p, how)
		}
	})
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://example.com/a?b#c", "shop://x", "https://xn--80ak6aa92e.com/", "https://xn--3e0b707e.kr/", "https://a@b.c/", "https://%61.b/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckURL(s) != nil {
			return
		}
		if len(s) > MaxURL || strings.ContainsAny(s, "{}<> \n\x00") || Clean([]byte(s)) != s || !strings.Contains(s, "://") {
			t.Fatalf("%q is allowed", s)
		}
		if low := strings.ToLower(s); strings.HasPrefix(low, "http:") || strings.HasPrefix(low, "javascript:") {
			t.Fatalf("%q is allowed", s)
		}
	})
}
