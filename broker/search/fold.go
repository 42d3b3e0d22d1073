package search

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold normalises a text for searching: compatibility forms are one (full-width letters, ligatures), upper and lower
// case are one, and marks on Latin letters are dropped, so that "cafe" finds "Café".
func Fold(s string) string {
	if ascii(s) {
		return strings.ToLower(s)
	}
	s = cases.Fold().String(norm.NFKC.String(s))
	if !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.Is(unicode.Latin, r) && r >= utf8.RuneSelf || unicode.Is(unicode.Mn, r)
	}) {
		return norm.NFKC.String(s)
	}
	return norm.NFKC.String(dropLatinMarks(norm.NFD.String(s)))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// dropLatinMarks drops the combining marks after Latin letters of a decomposed text. In other scripts they tell letters
// apart: Japanese か and が, Cyrillic и and й, the vowels of Thai.
func dropLatinMarks(s string) string {
	out := make([]byte, 0, len(s))
	latin := false
	for _, r := range s {
		if unicode.Is(unicode.Mn, r) {
			if latin {
				continue
			}
		} else {
			latin = unicode.Is(unicode.Latin, r)
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// script says how the terms of a text are cut.
type script uint8

const (
	separator script = iota
	spaced           // words
	dense            // pairs of characters
)

// Letters beyond ASCII: scripts whose words are not found by their beginnings alone.
var denseScripts = []*unicode.RangeTable{unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar}

func scriptOf(r rune) script {
	switch {
	case r < utf8.RuneSelf:
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return spaced
		}
		return separator
	case r == 'ー' || unicode.In(r, denseScripts...):
		return dense
	case unicode.In(r, unicode.L, unicode.M, unicode.N):
		return spaced
	case unicode.Is(unicode.So, r): // an emoji is a word of its own kind
		return dense
	}
	return separator
}

// Limits of what is indexed.
const (
	MaxTerms = 256 // of one entry
	maxTerm  = 32  // bytes of a word; the rest is not looked at
	maxAsked = 16  // terms of a query
)

// terms calls fn with every term of a text. Of a run of dense characters these are all pairs of neighbours, and the last
// character alone: so every single character begins a term too. A query asks for the pairs alone, unless the run is one
// character.
func terms(s string, query bool, fn func(term string) bool) {
	s = Fold(s)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		kind := scriptOf(r)
		if kind == separator {
			i += size
			continue
		}
		end := i + size
		for end < len(s) {
			r, n := utf8.DecodeRuneInString(s[end:])
			if scriptOf(r) != kind {
				break
			}
			end += n
		}
		if !run(s[i:end], kind, query, fn) {
			return
		}
		i = end
	}
}

func run(s string, kind script, query bool, fn func(string) bool) bool {
	if kind == spaced {
		if len(s) > maxTerm {
			n := maxTerm
			for !utf8.RuneStart(s[n]) {
				n--
			}
			s = s[:n]
		}
		return fn(s)
	}
	single := true
	for len(s) > 0 {
		_, a := utf8.DecodeRuneInString(s)
		_, b := utf8.DecodeRuneInString(s[a:])
		if b == 0 && query && !single {
			return true
		}
		if !fn(s[:a+b]) {
			return false
		}
		s, single = s[a:], false
	}
	return true
}
