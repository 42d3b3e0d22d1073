package view

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

var update = flag.Bool("update", false, "write testdata anew")

type names map[store.AccountID]string

func (n names) Name(a store.AccountID) string { return n[a] }

var people = names{1: "alice", 2: "bob"}

const aTime = 1790000000000

// scene is a record with the name it has in testdata.
type scene struct {
	name string
	r    *store.Record
}

// scenes has one of everything that a device may be sent.
func scenes() []scene {
	rec := func(r *store.Record) *store.Record {
		r.Log, r.Time = 7, aTime
		if r.Seq == 0 {
			r.Seq = 12
		}
		return r
	}
	text := func(s string) []byte { return []byte(s) }
	extra := func(json string) []byte {
		c, err := ParseJSON([]byte(json))
		if err != nil {
			panic(err)
		}
		return c.Extra
	}
	op := func(k store.OpKind, s string) *store.Record {
		return rec(&store.Record{Seq: 15, Sender: 1, Op: store.Op{Kind: k, Target: 12}, Text: text(s)})
	}
	change := func(sender store.AccountID, c store.Change) *store.Record {
		return rec(&store.Record{Sender: sender, Kind: store.KindSystem, Change: c})
	}
	notice := func(n Notice) *store.Record { return rec(&store.Record{Kind: store.KindNotice, Extra: n.Extra()}) }
	return []scene{
		{"text", rec(&store.Record{Sender: 1, Text: text("안녕 \"bob\"\n둘째 줄\t끝")})},
		{"text with cid", rec(&store.Record{Sender: 1, CID: "c-1", Text: text("hi")})},
		{"text with correlation data", rec(&store.Record{Sender: 1, CID: "\x00\xff?", Text: text("hi")})},
		{"text to be deleted", rec(&store.Record{Sender: 1, Text: text("hi"), Expiry: aTime + 60000})},
		{"answer with mentions", rec(&store.Record{Sender: 1, Text: text("@bob see"), Extra: extra(`{"b":"-","r":9,"m":["bob","@all"]}`)})},
		{"image", rec(&store.Record{Sender: 1, Kind: store.KindImage, Extra: extra(`{"k":"image","a":[{"url":"https://f.example/1","w":640,"ratio":0.75,"tags":["a",null,true,-3]}]}`)})},
		{"file with caption", rec(&store.Record{Sender: 1, Kind: store.KindFile, Text: text("the\r\nreport"), Extra: extra(`{"k":"file","b":"-","a":[{"name":"r.pdf"}]}`)})},
		{"video", rec(&store.Record{Sender: 1, Kind: store.KindVideo})},
		{"audio", rec(&store.Record{Sender: 1, Kind: store.KindAudio})},
		{"poll", rec(&store.Record{Sender: 1, Kind: store.KindPoll, Text: text("lunch?")})},
		{"location", rec(&store.Record{Sender: 1, Kind: store.KindLocation})},
		{"link", rec(&store.Record{Sender: 1, Kind: store.KindLink, Text: text("a game")})},
		{"coupon", rec(&store.Record{Sender: 1, Kind: store.KindCoupon})},
		{"gift", rec(&store.Record{Sender: 1, Kind: store.KindGift})},
		{"stranger", rec(&store.Record{Sender: 1, Text: text("hello"), Warn: true})},
		{"sender gone", rec(&store.Record{Sender: 9, Text: text("still here")})},
		{"recalled", rec(&store.Record{Sender: 1, Kind: store.KindImage, CID: "c-2", Text: text("never shown"), Extra: extra(`{"b":"-","r":9,"m":["bob"]}`), Recalled: true})},
		{"edited", rec(&store.Record{Sender: 1, Text: text("new text"), Edited: 15})},
		{"like the server", rec(&store.Record{Sender: 1, Text: text("· bob left")})},
		{"escapes", rec(&store.Record{Sender: 1, Text: text("a\x1b[31mred\x1b[0m\x1b]0;title\x07\u202eevil\u0085x\x7f")})},
		{"edit", op(store.OpEdit, "new text")},
		{"recall", op(store.OpRecall, "")},
		{"react", op(store.OpReact, "👍")},
		{"unreact", op(store.OpUnreact, "👍")},
		{"pin", op(store.OpPin, "")},
		{"unpin", op(store.OpUnpin, "")},
		{"edit taken back", func() *store.Record { r := op(store.OpEdit, "never shown"); r.Recalled = true; return r }()},
		{"joined", change(2, store.Change{Kind: store.ChangeJoin, Account: 2, Role: store.RoleMember})},
		{"invited", change(1, store.Change{Kind: store.ChangeJoin, Account: 2, Role: store.RoleModerator})},
		{"left", change(2, store.Change{Kind: store.ChangeLeave, Account: 2})},
		{"removed", change(0, store.Change{Kind: store.ChangeRemove, Account: 2})},
		{"removed by", change(1, store.Change{Kind: store.ChangeRemove, Account: 2})},
		{"member", change(1, store.Change{Kind: store.ChangeRole, Account: 2, Role: store.RoleMember})},
		{"moderator", change(1, store.Change{Kind: store.ChangeRole, Account: 2, Role: store.RoleModerator})},
		{"owner", change(1, store.Change{Kind: store.ChangeRole, Account: 2, Role: store.RoleOwner})},
		{"titled", change(0, store.Change{Kind: store.ChangeTitle, Title: "Lunch"})},
		{"titled by", change(1, store.Change{Kind: store.ChangeTitle, Title: "Lunch {who}\n· x"})},
		{"untitled", change(0, store.Change{Kind: store.ChangeTitle})},
		{"untitled by", change(1, store.Change{Kind: store.ChangeTitle})},
		{"system text", rec(&store.Record{Kind: store.KindSystem, Text: text("maintenance at noon")})},
		{"notice invited", notice(Notice{What: NoticeInvited, Who: 1, Room: "lobby"})},
		{"notice contact", notice(Notice{What: NoticeContact, Who: 1})},
		{"notice blocked", notice(Notice{What: NoticeBlocked})},
		{"notice device", notice(Notice{What: NoticeDevice, Device: "phone"})},
		{"notice device removed", notice(Notice{What: NoticeRemoved, Device: "phone\n· x"})},
		{"notice moved", notice(Notice{What: NoticeMoved})},
		{"notice settings", notice(Notice{What: NoticeSettings})},
		{"notice profile", notice(Notice{What: NoticeProfile})},
		{"notice friends", notice(Notice{What: NoticeFriends, Who: 1})},
		{"notice mute room", notice(Notice{What: NoticeMute, Room: "lobby"})},
		{"notice mute user", notice(Notice{What: NoticeMute, Who: 1})},
		{"notice quiet", notice(Notice{What: NoticeQuiet})},
		{"notice sign in", notice(Notice{What: NoticeSignIn, Device: "alice-phone"})},
		{"notice locked", notice(Notice{What: NoticeLocked})},
		{"notice erase", notice(Notice{What: NoticeErase})},
		{"notice kept", notice(Notice{What: NoticeKept})},
		{"notice limited", rec(&store.Record{Kind: store.KindNotice, Extra: Notice{What: NoticeLimited}.Extra(), Text: text("reports · → 2026-11-23 10:00 UTC")})},
		{"notice suspended", rec(&store.Record{Kind: store.KindNotice, Extra: Notice{What: NoticeSuspended}.Extra(), Text: text("spam")})},
		{"notice restored", notice(Notice{What: NoticeRestored})},
		{"notice report closed", notice(Notice{What: NoticeReport})},
	}
}

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s:%d: got %q, the file says otherwise", file, i+1, g[i])
		}
	}
	t.Fatalf("%s has more lines than were got", file)
}

// What people read, in every language.
func TestLinesGolden(t *testing.T) {
	for l := range langs {
		t.Run(l.String(), func(t *testing.T) {
			var b bytes.Buffer
			for _, s := range scenes() {
				fmt.Fprintf(&b, "# %s\nline %s\n", s.name, Line(nil, s.r, l, people, Own{Viewer: 2}))
				if text := Text(nil, s.r, l, people); s.r.Kind == store.KindText && s.r.Op.Kind == store.OpNone && !s.r.Recalled {
					if !bytes.Equal(text, s.r.Text) {
						t.Errorf("%s: the text view changed the text to %q", s.name, text)
					}
				} else {
					fmt.Fprintf(&b, "text %s\n", text)
				}
			}
			fmt.Fprintf(&b, "# own, edited, unread\nline %s\n", Line(nil, &store.Record{Sender: 2, Warn: true, Edited: 3, Text: []byte("hi")}, l, people, Own{Viewer: 2, Unread: 2}))
			for _, w := range []string{store.ReasonNotFriend, store.ReasonRate, "bad_request"} {
				fmt.Fprintf(&b, "# outcome %s\n%s\n", w, AppendOutcome(nil, Failure(&store.Error{Code: store.CodeForbidden, Reason: w, Text: "in English"}, "", l)))
			}
			golden(t, "lines/"+l.String()+".txt", b.Bytes())
		})
	}
}

// What programs read.
func TestEnvelopesGolden(t *testing.T) {
	var b bytes.Buffer
	for _, s := range scenes() {
		own := Own{Viewer: 2}
		env := Env{Epoch: 1, Names: people}
		if s.name == "text to be deleted" || s.name == "stranger" {
			env.Epoch, own.Unread, own.Withheld = 3, 2, store.Span{From: 9, To: 11}
		}
		fmt.Fprintf(&b, "# %s\n%s\n%x\n", s.name, JSON(s.r, env).Append(nil, own), CBOR(s.r, env).Append(nil, own))
	}
	golden(t, "envelopes.txt", b.Bytes())
}

func TestEveryLanguageIsComplete(t *testing.T) {
	places := func(s string) string {
		var out []string
		for _, p := range []string{"{by}", "{text}", "{who}"} {
			for range strings.Count(s, p) {
				out = append(out, p)
			}
		}
		if n := strings.Count(s, "{") + strings.Count(s, "}"); n != 2*len(out) {
			return "unknown placeholder in " + s
		}
		return strings.Join(out, " ")
	}
	check := func(l Lang, key any, s, english string) {
		if s == "" || strings.TrimSpace(s) != s {
			t.Errorf("%s, key %v: %q", l, key, s)
		}
		if got, want := places(s), places(english); got != want {
			t.Errorf("%s, key %v: %q has %q, English has %q", l, key, s, got, want)
		}
		if clean := appendClean(nil, []byte(s)); string(clean) != s {
			t.Errorf("%s, key %v: %q is not clean", l, key, s)
		}
		if l != English && s == english && len(s) > len("Video") {
			t.Errorf("%s, key %v: %q is English", l, key, s)
		}
	}
	for l := range langs {
		for k := textNone + 1; k < textKeys; k++ {
			check(l, k, texts[l][k], texts[English][k])
		}
		for what, said := range notices {
			check(l, what, said[l], said[English])
		}
	}
	for word, key := range errorTexts {
		if ErrorText(English, word) != texts[English][key] || ErrorText(Lang(200), word) != texts[English][key] {
			t.Errorf("no sentence for %s", word)
		}
	}
	for word, sentence := range refusals {
		if errorTexts[word] != textNone {
			t.Errorf("two sentences for %s", word)
		}
		for l := range langs {
			text := sentence[l]
			if text == "" || ErrorText(l, word) != text || string(appendClean(nil, []byte(text))) != text || l != English && text == sentence[English] {
				t.Errorf("%s, %s: %q", l, word, text)
			}
		}
		if ErrorText(Lang(200), word) != sentence[English] {
			t.Errorf("%s: no English stands in", word)
		}
	}
	if ErrorText(Korean, "bad_request") != "" {
		t.Error("a sentence for a word that has none")
	}
}

func TestParseLang(t *testing.T) {
	for tag, want := range map[string]string{
		"": "en", "en": "en", "en-GB": "en", "xx": "en", "ko": "ko", "ko-KR": "ko", "KO_kr": "ko", "ja-JP": "ja",
		"es-419": "es", "zh": "zh-Hans", "zh-CN": "zh-Hans", "zh-SG": "zh-Hans", "zh-TW": "zh-Hant", "zh-HK": "zh-Hant",
		"zh_MO": "zh-Hant", "zh-Hant": "zh-Hant", "zh-Hans": "zh-Hans", "zh-Hant-CN": "zh-Hant", "zh-Hans-TW": "zh-Hans",
		"cmn-Hant": "zh-Hant", "yue": "zh-Hant", "th-TH-u-nu-thai": "th", "tr": "tr", "de-AT": "de", "fr-CA": "fr",
		"pt-BR": "pt", "pt-PT": "pt", "it": "it", "kok": "en", "zh-u-tw": "zh-Hans", "-ko": "en",
		strings.Repeat("z", 1<<16): "en",
	} {
		if got := ParseLang(tag).String(); got != want {
			t.Errorf("ParseLang(%.40q) = %s, want %s", tag, got, want)
		}
	}
	for l := range langs {
		if ParseLang(l.String()) != l {
			t.Errorf("%s is not its own language", l)
		}
	}
}
