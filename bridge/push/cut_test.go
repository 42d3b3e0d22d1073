package push

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

const (
	family   = "👨‍👩‍👧‍👦"            // four people and three joiners, 25 bytes
	korea    = "🇰🇷"                 // two regional indicators, 8 bytes
	jamo     = "\u1112\u1161\u11ab" // one syllable of 9 bytes
	composed = "한"
	wave     = "👋🏽" // with a skin tone
)

func TestCut(t *testing.T) {
	for _, c := range []struct {
		name, in string
		bytes    int
		want     string
	}{
		{"empty", "", 10, ""},
		{"fits", "hello", 5, "hello"},
		{"a byte too long", "hello!", 5, "he…"},
		{"no space before the ellipsis", "you and me and them", 7, "you…"},
		{"composed Hangul fits", "한글", 6, "한글"},
		{"composed Hangul", "한글날", 8, "한…"},
		{"composed Hangul, to the byte", "한글날이", 9, "한글…"},
		{"jamo: the whole syllable or none of it", jamo + jamo, 14, jamo + "…"},
		{"jamo do not fit", jamo + jamo, 11, "…"},
		{"a family is one", "a" + family + "b", 27, "a" + family + "b"},
		{"a family or none of it", "a" + family + "bc", 27, "a…"},
		{"a family and an ellipsis", "a" + family + strings.Repeat("b", 5), 29, "a" + family + "…"},
		{"flags are two letters", korea + korea + korea, 20, korea + korea + "…"},
		{"half a flag is none", korea + korea + korea, 18, korea + "…"},
		{"a skin tone stays", wave + wave + wave, 21, wave + wave + "…"},
		{"combining marks", "é́" + "xyzw", 6, "…"},
		{"one endless character", "a" + strings.Repeat("\u0301", 1000), 40, "…"},
		{"no room for an ellipsis", "hello", 2, ""},
		{"nothing", "hello", 0, ""},
		{"less than nothing", "hello", -5, ""},
		{"not UTF-8", "a\xffb", 10, "a\ufffdb"},
		{"much that is not UTF-8", strings.Repeat("\xff", 60) + family, 58, strings.Repeat("\ufffd", 18) + "…"},
		{"a surrogate", "\xed\xa0\x80", 20, "\ufffd\ufffd\ufffd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Cut(c.in, c.bytes); got != c.want {
				t.Errorf("Cut(%q, %d) = %q, want %q", c.in, c.bytes, got, c.want)
			}
		})
	}
}

func seeds(f *testing.F, add func(s string, n int)) {
	f.Helper()
	for _, s := range []string{"", "plain words and more of them", strings.Repeat(composed, 50), strings.Repeat(jamo, 50), strings.Repeat(family, 9),
		strings.Repeat(korea, 30), strings.Repeat(wave, 20), "\xff\xfe\xf0\x9f\x91", strings.Repeat("\xff", 90) + family, "a\u0301\u0301", "\u0600\u0600 x",
		"\r\n\r\n", "\u1112" + jamo, strings.Repeat("\u200d", 40), "क्षि" + strings.Repeat("น้ำ", 30)} {
		for _, n := range []int{0, 3, 17, 64} {
			add(s, n)
		}
	}
}

// FuzzCut: what is left is valid, fits, is the text itself or a beginning of it that ends where a character does.
func FuzzCut(f *testing.F) {
	seeds(f, func(s string, n int) { f.Add(s, n) })
	f.Fuzz(func(t *testing.T, s string, n int) {
		n %= 4096
		got := Cut(s, n)
		if !utf8.ValidString(got) || len(got) > max(n, 0) {
			t.Fatalf("Cut(%q, %d) = %q: %d bytes", s, n, got, len(got))
		}
		clean := string([]rune(s))
		if len(clean) <= n {
			if got != clean {
				t.Fatalf("Cut(%q, %d) = %q: it would have fitted", s, n, got)
			}
			return
		}
		if got == "" {
			if n >= len(ellipsis) {
				t.Fatalf("Cut(%q, %d) is empty", s, n)
			}
			return
		}
		begin, cut := strings.CutSuffix(got, ellipsis)
		if !cut || !strings.HasPrefix(clean, begin) {
			t.Fatalf("Cut(%q, %d) = %q: no beginning", s, n, got)
		}
		at := 0
		for g := uniseg.NewGraphemes(clean); at < len(begin) && g.Next(); {
			_, at = g.Positions()
		}
		if at != len(begin) {
			t.Fatalf("Cut(%q, %d) = %q: in the middle of a character", s, n, got)
		}
	})
}

// payload is an encoding as a provider's is: everything, and texts at a different price than their bytes.
func payload(n *Note) ([]byte, error) { return json.Marshal(n) }

// FuzzFit: it fits or cannot, it is whole where that fits, and texts are never cut within a character.
func FuzzFit(f *testing.F) {
	seeds(f, func(s string, n int) { f.Add(s, "Lobby", n*40) })
	f.Add(strings.Repeat(family, 1000), strings.Repeat(jamo, 1000), 4096)
	f.Fuzz(func(t *testing.T, text, name string, most int) {
		most %= 8192
		p := &Push{Note: Note{Kind: KindMessage, Thread: "t", Room: "room/lobby", Seq: 7, Epoch: 1, Count: 3, Badge: 4, Key: KeyText,
			Args: []string{name, text}, Title: name, Body: text, Plain: "새 메시지"}}
		out, err := Fit(p, most, payload)
		bare := p.Note.Bare()
		least, _ := payload(&bare)
		if err != nil {
			if !errors.Is(err, ErrTooLarge) || len(least) <= most {
				t.Fatalf("%v, although %d bytes without content fit into %d", err, len(least), most)
			}
			return
		}
		if len(out) > most || !utf8.Valid(out) {
			t.Fatalf("%d bytes for %d", len(out), most)
		}
		whole, _ := payload(&p.Note)
		if len(whole) <= most && string(whole) != string(out) {
			t.Fatal("it was cut although it fitted")
		}
		var got Note
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if got.Kind != p.Note.Kind || got.Thread != "t" || got.Seq != 7 || got.Count != 3 || got.Badge != 4 || got.Epoch != 1 {
			t.Fatalf("not the same push: %+v", got)
		}
		if got.Key == KeyNew && (got.Room != "" || got.Title != "" || got.Args != nil || got.Body != "새 메시지") {
			t.Fatalf("content in a push without any: %+v", got)
		}
	})
}

func TestFit(t *testing.T) {
	long := strings.Repeat("가나다라 "+family, 400)
	p := &Push{Note: Note{Kind: KindMessage, Thread: "t", Seq: 7, Key: KeyText, Args: []string{"alice", long}, Title: "alice", Body: long, Plain: "새 메시지"}}

	t.Run("the text is cut, the name is not", func(t *testing.T) {
		out, err := Fit(p, 4096, payload)
		var got Note
		if err != nil || json.Unmarshal(out, &got) != nil {
			t.Fatal(err)
		}
		if got.Title != "alice" || got.Args[0] != "alice" || !strings.HasSuffix(got.Body, "…") || got.Body != got.Args[1] {
			t.Errorf("got %+v", got)
		}
		// A longer text would not have fitted, but for the rest of a character.
		if len(out) > 4096 || len(out) < 4096-2*(len(family)+len(ellipsis)) {
			t.Errorf("%d bytes of 4,096", len(out))
		}
	})
	t.Run("no content where there is no room for some", func(t *testing.T) {
		out, err := Fit(p, 200, payload)
		var got Note
		if err != nil || json.Unmarshal(out, &got) != nil {
			t.Fatal(err)
		}
		if got.Key != KeyNew || got.Body != "새 메시지" || len(got.Args) != 0 || got.Thread != "t" || got.Seq != 7 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("too large", func(t *testing.T) {
		if out, err := Fit(p, 20, payload); !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %q, %v", out, err)
		}
	})
	t.Run("a clear has nothing to lose", func(t *testing.T) {
		n := Note{Kind: KindClear, Thread: "t", Badge: 2}
		if bare := n.Bare(); bare.Key != "" || bare.Body != "" || bare.Badge != 2 {
			t.Errorf("got %+v", bare)
		}
	})
	t.Run("an encoder's error is told", func(t *testing.T) {
		broken := errors.New("broken")
		if _, err := Fit(p, 4096, func(*Note) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the push stays as it is", func(t *testing.T) {
		if p.Note.Body != long || p.Note.Args[1] != long {
			t.Error("it was cut in place")
		}
	})
}

func BenchmarkFit(b *testing.B) {
	for _, c := range []struct{ name, text string }{{"short", "안녕하세요"}, {"long", strings.Repeat("가나다라 "+family, 400)}} {
		b.Run(c.name, func(b *testing.B) {
			p := &Push{Note: Note{Kind: KindMessage, Args: []string{"alice", c.text}, Title: "alice", Body: c.text}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Fit(p, 4096, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
