package view

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
)

// TestPushTexts: every text is there in every language, has a place for each of its arguments, and no other place.
func TestPushTexts(t *testing.T) {
	keys := PushKeys()
	if !slices.Equal(slices.Compact(slices.Sorted(slices.Values(keys))), slices.Sorted(slices.Values(keys))) {
		t.Error("a key is there twice")
	}
	for _, key := range keys {
		names := PushArgs(key)
		args := make([]string, len(names))
		for i := range args {
			args[i] = "<" + names[i] + ">"
		}
		for l := range langs {
			title, body := PushText(l, key, args)
			if body == "" || strings.ContainsAny(title+body, "{}") {
				t.Errorf("%s in %s: %q %q", key, l, title, body)
			}
			for _, a := range args {
				if !strings.Contains(title+body, a) {
					t.Errorf("%s in %s has no place for %s: %q %q", key, l, a, title, body)
				}
			}
			if strings.Count(title+body, "<") != len(args) {
				t.Errorf("%s in %s says something twice: %q %q", key, l, title, body)
			}
			line := PushLine(l, key)
			for i := range names {
				if !strings.Contains(line, "{"+string(rune('1'+i))+"}") {
					t.Errorf("%s in %s as a line: %q", key, l, line)
				}
			}
		}
		if len(names) == 0 && strings.Contains(PushLine(English, key), "{") {
			t.Errorf("%s: a place for nothing", key)
		}
	}
	for _, c := range []struct {
		l                Lang
		key, title, body string
		args             []string
	}{
		{English, "push_news", "", "5 new messages", []string{"5"}},
		{Korean, "push_from_in", "로비", "Alice님이 메시지를 보냈습니다", []string{"Alice", "로비"}},
		{Japanese, "push_image", "Alice", "[画像] 海", []string{"Alice", "海"}},
		{German, "push_location_in", "Plaza", "Alice: [Standort]", []string{"Alice", "Plaza", ""}},
		{French, "push_text", "Alice", "bad", []string{"Al\x1b[31mice\u202e", "b\u2066ad"}},
		{English, "push_text", "Alice", "{who}", []string{"Alice", "{who}"}}, // no place within what somebody wrote
		{English, "push_text", "Alice", "", []string{"Alice"}},
		{langs + 3, "push_new", "", "New message", nil},
		{English, "push_nothing", "", "", nil},
		{English, "", "", "", nil},
	} {
		if title, body := PushText(c.l, c.key, c.args); title != c.title || body != c.body {
			t.Errorf("%s in %s: %q %q", c.key, c.l, title, body)
		}
	}
	if line := PushLine(English, "push_latest_in"); line != "{3} ({1}): {2}: {4}" {
		t.Errorf("got %q", line)
	}
	if PushLine(English, "push_nothing") != "" || Nobody(English) != "(deleted user)" {
		t.Error("a text of nothing")
	}
}

func TestMentions(t *testing.T) {
	extra := func(body string) []byte {
		c, err := ParseJSON([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return c.Extra
	}
	for _, c := range []struct {
		extra      []byte
		name       string
		named, all bool
	}{
		{nil, "bob", false, false},
		{extra(`{"b":"x","m":["bob"]}`), "bob", true, false},
		{extra(`{"b":"x","m":["Bob","alice"],"r":3,"a":[{"x":1}]}`), "alice", true, false},
		{extra(`{"b":"x","m":["bobby"]}`), "bob", false, false},
		{extra(`{"b":"x","m":["@all","bob"]}`), "carol", false, true},
		{extra(`{"b":"x","m":["@all"]}`), "@all", false, true},
		{extra(`{"b":"x","r":3}`), "bob", false, false},
		{extra(`{"b":"x","m":["bob"]}`), "", false, false},
		{[]byte{0xff, 0x00}, "bob", false, false},
		{[]byte{0xa1, 0x07, 0x81, 0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "bob", false, false},
	} {
		if named, all := Mentions(c.extra, c.name); named != c.named || all != c.all {
			t.Errorf("%x of %s: %t %t", c.extra, c.name, named, all)
		}
	}
	if n := NoticeOf(&store.Record{Kind: store.KindText, Extra: Notice{What: NoticeDevice}.Extra()}); n.What != "" {
		t.Error("a message is a notice")
	}
	if n := NoticeOf(&store.Record{Kind: store.KindNotice, Extra: Notice{What: NoticeDevice}.Extra()}); n.What != NoticeDevice {
		t.Error("a notice is none")
	}
}

func FuzzMentions(f *testing.F) {
	f.Add([]byte{0xa1, 0x07, 0x81, 0x63, 'b', 'o', 'b'}, "bob")
	f.Add([]byte{0xa1, 0x07, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x60}, "")
	f.Add([]byte{0xa2, 0x07, 0x80, 0x07, 0x81, 0x64, '@', 'a', 'l', 'l'}, "x")
	f.Fuzz(func(t *testing.T, extra []byte, name string) {
		named, all := Mentions(extra, name)
		if named && !strings.Contains(string(extra), name) || all && !strings.Contains(string(extra), MentionAll) {
			t.Fatalf("%x does not mention %q", extra, name)
		}
	})
}

// FuzzPushText: whatever users write, a text is one line without anything that moves other text.
func FuzzPushText(f *testing.F) {
	f.Add("alice", "hi\x1b]0;x\x07", uint8(1))
	f.Add("{text}", "{who}{n}", uint8(5))
	f.Add("\u202e\u2066", "\xff\xfe\r\n", uint8(11))
	f.Fuzz(func(t *testing.T, who, text string, l uint8) {
		for _, key := range []string{"push_text", "push_image_in", "push_latest", "push_count"} {
			args := []string{who, text, who, text}[:len(PushArgs(key))]
			title, body := PushText(Lang(l), key, args)
			for _, s := range []string{title, body} {
				if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || reorders(r) }) {
					t.Fatalf("%s: %q", key, s)
				}
			}
		}
	})
}
