package openroom

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/hwangso/hwangso/broker/search"
	"github.com/hwangso/hwangso/store"
)

// Limits of a nickname.
const (
	MaxNick      = 20  // characters as people count them
	MaxNickBytes = 120 // of UTF-8
	maxMarks     = 4   // combining marks in a row
)

// CleanNick is a nickname as it is shown: normalised, with single spaces. It must have a letter, a digit or an emoji, and
// none of the signs that the server's own lines begin or end a name with. Errors are CodeBad, or CodeTooLarge.
func CleanNick(s string) (string, error) {
	if len(s) > 4*MaxNickBytes {
		return "", tooLong()
	}
	if !utf8.ValidString(s) {
		return "", store.Bad("the nickname is not valid UTF-8")
	}
	s = strings.Join(strings.Fields(normalise(s)), " ")
	if s == "" {
		return "", store.Bad("the nickname is missing")
	}
	if len(s) > MaxNickBytes || graphemes(s) > MaxNick {
		return "", tooLong()
	}
	seen, marks := false, 0
	for i, r := range s {
		switch {
		case r == zwj || r == variation:
			if i == 0 || !seen {
				return "", badNick()
			}
		case r == ' ' && i > 0:
		case unicode.In(r, unicode.L, unicode.N, unicode.So):
			if blank(r) {
				return "", badNick()
			}
			seen, marks = true, 0
		case unicode.In(r, unicode.M):
			if marks++; i == 0 || marks > maxMarks {
				return "", badNick()
			}
		case unicode.In(r, unicode.Sk) && r >= 0x1f3fb && r <= 0x1f3ff: // skin tones
		case unicode.In(r, unicode.P, unicode.S) && r != ':' && r != '\\':
			if i == 0 && (strings.ContainsRune("~@#/·", r) || unicode.In(r, unicode.Po) && r > utf8.RuneSelf) {
				return "", badNick()
			}
		default:
			return "", badNick()
		}
	}
	if !seen {
		return "", badNick()
	}
	return s, nil
}

func tooLong() error {
	return &store.Error{Code: store.CodeTooLarge, Text: "a nickname may have at most " + strconv.Itoa(MaxNick) + " characters"}
}

func badNick() error {
	return store.Bad("a nickname needs a letter, a digit or an emoji, has no control characters, colons or piled-up marks, and does not begin with ~ @ # / or a dot")
}

// normalise is NFKC but for single Korean letters, as in ㅋㅋㅋ: NFKC turns them into halves of syllables.
func normalise(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		i := strings.IndexFunc(s, jamo)
		if i < 0 {
			i = len(s)
		}
		out.WriteString(norm.NFKC.String(s[:i]))
		s = s[i:]
		if s != "" {
			_, n := utf8.DecodeRuneInString(s)
			out.WriteString(s[:n])
			s = s[n:]
		}
	}
	return out.String()
}

func jamo(r rune) bool { return r >= 0x3131 && r <= 0x318e && r != 0x3164 }

const (
	zwj       = '\u200d'
	variation = '\ufe0f'
)

// blank reports whether a letter shows nothing.
func blank(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, 0x2800, 0x17b4, 0x17b5:
		return true
	}
	return false
}

// graphemes counts the characters of a normalised text as people do: marks, joiners, skin tones and halves of Korean
// syllables belong to what is before them, two regional indicators are one flag.
func graphemes(s string) int {
	n, joined, flag := 0, false, false
	for i, r := range s {
		region := r >= 0x1f1e6 && r <= 0x1f1ff
		switch {
		case i == 0:
			n = 1
		case joined, unicode.In(r, unicode.M), r == zwj, r >= 0x1f3fb && r <= 0x1f3ff, r >= 0x1160 && r <= 0x11ff,
			r >= 0xe0020 && r <= 0xe007f, region && flag:
		default:
			n++
		}
		joined = r == zwj
		flag = region && !(flag && i > 0)
	}
	return n
}

// Skeleton is what nicknames are compared by: two that look alike have the same. It is never "".
func Skeleton(nick string) string {
	s := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(nick)))
	var out strings.Builder
	for _, r := range norm.NFD.String(s) {
		r = cherokee(r)
		switch {
		case unicode.In(r, unicode.Mn) && r < 0x370: // accents; vowels and other scripts' marks stay
		case unicode.In(r, unicode.L, unicode.N, unicode.So, unicode.M) && !blank(r) && r != variation:
			if like, ok := alike[r]; ok {
				out.WriteString(like)
			} else {
				out.WriteRune(r)
			}
		}
	}
	s = pairs.Replace(norm.NFC.String(out.String()))
	if s == "" {
		s = strings.TrimSpace(nick)
	}
	return s
}

// cherokee is the capital of a Cherokee letter, any other rune as it is. Cherokee folds to capitals (Unicode, CaseFolding.txt),
// and package cases folds small letters so and capitals the other way.
func cherokee(r rune) rune {
	switch {
	case r >= 0xab70 && r <= 0xabbf:
		return r - 0xab70 + 0x13a0
	case r >= 0x13f8 && r <= 0x13fd:
		return r - 8
	}
	return r
}

// Resembles reports whether a nickname would pass for another one, as those of who runs a room may not: the same
// skeleton, or in longer ones a letter more, less or other, or digits and nothing else added.
func Resembles(nick, other string) bool {
	a, b := Skeleton(nick), Skeleton(other)
	if a == b {
		return true
	}
	isDigit := func(r rune) bool { return unicode.In(r, unicode.Nd) || r == 'o' || r == 'l' }
	if strings.TrimFunc(nakedOf(nick), unicode.IsDigit) == nakedOf(other) && utf8.RuneCountInString(b) > 1 {
		return true
	}
	if rest, ok := strings.CutPrefix(a, b); ok && utf8.RuneCountInString(b) >= 3 && strings.TrimFunc(rest, isDigit) == "" {
		return true
	}
	return utf8.RuneCountInString(b) >= 5 && near([]rune(a), []rune(b))
}

// nakedOf is a nickname, folded, without anything but letters and digits.
func nakedOf(nick string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.L, unicode.N, unicode.M) {
			return r
		}
		return -1
	}, search.Fold(nick))
}

// near reports whether one insertion, deletion, replacement or swap of neighbours makes b of a.
func near(a, b []rune) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	if len(a)-len(b) > 1 {
		return false
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	x, y := a[i:], b[i:]
	switch {
	case len(x) == 0:
		return true
	case len(x) > len(y):
		return slices.Equal(x[1:], y)
	case slices.Equal(x[1:], y[1:]):
		return true
	}
	return len(x) > 1 && x[0] == y[1] && x[1] == y[0] && slices.Equal(x[2:], y[2:])
}
