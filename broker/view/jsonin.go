package view

import (
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of what a body may hold, for JSON and CBOR alike, against input that is built to cost more than it weighs.
const (
	maxDepth = 6  // nested arrays and maps, the body itself included
	maxItems = 64 // of one array or map
)

// jsonReader reads JSON (RFC 8259) strictly: valid UTF-8 only, no repeated keys, no lone surrogates, limited depth and
// width. encoding/json lets the last of two equal keys win, matches keys whatever their case, and mends broken UTF-8:
// a body would then mean something else to us than to its receivers.
type jsonReader struct {
	src []byte
	pos int
	err string // what is wrong, "" so far
}

func (j *jsonReader) fail(what string) bool {
	if j.err == "" {
		j.err = what + " at byte " + strconv.Itoa(j.pos)
	}
	return false
}

func (j *jsonReader) space() {
	for j.pos < len(j.src) {
		switch j.src[j.pos] {
		case ' ', '\t', '\n', '\r':
			j.pos++
		default:
			return
		}
	}
}

// peek is the next byte that is no white space, 0 at the end.
func (j *jsonReader) peek() byte {
	j.space()
	if j.pos < len(j.src) {
		return j.src[j.pos]
	}
	return 0
}

func (j *jsonReader) expect(c byte) bool {
	if j.peek() != c {
		return j.fail("expected " + strconv.QuoteRune(rune(c)))
	}
	j.pos++
	return true
}

// object reads a map and calls f for each key, once its value is the next thing to read. f reads the value and
// reports whether that went well.
func (j *jsonReader) object(f func(key string) bool) bool {
	if !j.expect('{') {
		return false
	}
	if j.peek() == '}' {
		j.pos++
		return true
	}
	var few [8]string
	seen := few[:0]
	for {
		if j.peek() != '"' {
			return j.fail("expected a key")
		}
		key, ok := j.text()
		if !ok {
			return false
		}
		for _, s := range seen {
			if s == key {
				return j.fail("a key is repeated")
			}
		}
		if seen = append(seen, key); len(seen) > maxItems {
			return j.fail("too many keys")
		}
		if !j.expect(':') || !f(key) {
			return false
		}
		if j.peek() != ',' {
			return j.expect('}')
		}
		j.pos++
	}
}

// value reads any value: nil, bool, int64, uint64 (only what is no int64), float64, string, []any, map[string]any.
func (j *jsonReader) value(depth int) (any, bool) {
	switch c := j.peek(); {
	case c == '"':
		return j.textValue()
	case c == '-' || c >= '0' && c <= '9':
		return j.number()
	case c == 't':
		return true, j.word("true")
	case c == 'f':
		return false, j.word("false")
	case c == 'n':
		return nil, j.word("null")
	case c != '[' && c != '{':
		return nil, j.fail("expected a value")
	case depth == 0:
		return nil, j.fail("nested too deeply")
	case c == '{':
		m := map[string]any{}
		ok := j.object(func(key string) bool {
			v, ok := j.value(depth - 1)
			m[key] = v
			return ok
		})
		return m, ok
	}
	j.pos++
	list := []any{}
	if j.peek() == ']' {
		j.pos++
		return list, true
	}
	for {
		v, ok := j.value(depth - 1)
		if !ok {
			return nil, false
		}
		if list = append(list, v); len(list) > maxItems {
			return nil, j.fail("too many elements")
		}
		if j.peek() != ',' {
			return list, j.expect(']')
		}
		j.pos++
	}
}

func (j *jsonReader) word(w string) bool {
	if len(j.src)-j.pos < len(w) || string(j.src[j.pos:j.pos+len(w)]) != w {
		return j.fail("expected a value")
	}
	j.pos += len(w)
	return true
}

// number reads a number: an int64 or uint64 if it is written as an integer and fits, else a float64.
func (j *jsonReader) number() (any, bool) {
	from := j.pos
	digits := func() bool {
		n := j.pos
		for j.pos < len(j.src) && j.src[j.pos] >= '0' && j.src[j.pos] <= '9' {
			j.pos++
		}
		return j.pos > n
	}
	at := func(c byte) bool { return j.pos < len(j.src) && j.src[j.pos]|0x20 == c|0x20 && j.src[j.pos] >= '+' }
	if at('-') {
		j.pos++
	}
	zero := at('0')
	first := j.pos
	if !digits() || zero && j.pos-first > 1 {
		return nil, j.fail("expected a number")
	}
	integer := true
	if j.pos < len(j.src) && j.src[j.pos] == '.' {
		j.pos++
		if integer = false; !digits() {
			return nil, j.fail("expected a digit")
		}
	}
	if at('e') {
		j.pos++
		if j.pos < len(j.src) && (j.src[j.pos] == '+' || j.src[j.pos] == '-') {
			j.pos++
		}
		if integer = false; !digits() {
			return nil, j.fail("expected a digit")
		}
	}
	lit := string(j.src[from:j.pos])
	if integer && lit != "-0" { // which only a float64 is
		if n, err := strconv.ParseInt(lit, 10, 64); err == nil {
			return n, true
		}
		if n, err := strconv.ParseUint(lit, 10, 64); err == nil {
			return n, true
		}
	}
	f, err := strconv.ParseFloat(lit, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, j.fail("a number is out of range")
	}
	return f, true
}

func (j *jsonReader) textValue() (any, bool) {
	s, ok := j.text()
	return s, ok
}

// text reads a string.
func (j *jsonReader) text() (string, bool) {
	j.pos++ // the opening quote
	from := j.pos
	for j.pos < len(j.src) && j.src[j.pos] != '"' && j.src[j.pos] != '\\' && j.src[j.pos] >= ' ' {
		j.pos++
	}
	plain := j.src[from:j.pos]
	if !utf8.Valid(plain) {
		return "", j.fail("a text is not valid UTF-8")
	}
	if j.pos < len(j.src) && j.src[j.pos] == '"' {
		j.pos++
		return string(plain), true
	}
	out := append(make([]byte, 0, 2*len(plain)+32), plain...)
	for j.pos < len(j.src) {
		switch c := j.src[j.pos]; {
		case c == '"':
			j.pos++
			if !utf8.Valid(out) {
				return "", j.fail("a text is not valid UTF-8")
			}
			return string(out), true
		case c < ' ':
			return "", j.fail("a control character must be escaped")
		case c != '\\':
			out = append(out, c)
			j.pos++
		default:
			var ok bool
			if out, ok = j.escape(out); !ok {
				return "", false
			}
		}
	}
	return "", j.fail("a text has no end")
}

// escape reads one escape sequence, or two that are one character.
func (j *jsonReader) escape(out []byte) ([]byte, bool) {
	if len(j.src)-j.pos < 2 {
		return nil, j.fail("a text has no end")
	}
	c := j.src[j.pos+1]
	j.pos += 2
	switch c {
	case '"', '\\', '/':
		return append(out, c), true
	case 'b':
		return append(out, '\b'), true
	case 'f':
		return append(out, '\f'), true
	case 'n':
		return append(out, '\n'), true
	case 'r':
		return append(out, '\r'), true
	case 't':
		return append(out, '\t'), true
	case 'u':
		r, ok := j.hex()
		if !ok {
			return nil, false
		}
		if utf16.IsSurrogate(r) {
			if len(j.src)-j.pos < 6 || j.src[j.pos] != '\\' || j.src[j.pos+1] != 'u' {
				return nil, j.fail("half a surrogate pair")
			}
			j.pos += 2
			low, ok := j.hex()
			if !ok {
				return nil, false
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return nil, j.fail("half a surrogate pair")
			}
		}
		return utf8.AppendRune(out, r), true
	}
	return nil, j.fail("unknown escape")
}

func (j *jsonReader) hex() (rune, bool) {
	if len(j.src)-j.pos < 4 {
		return 0, j.fail("a text has no end")
	}
	var r rune
	for _, c := range j.src[j.pos : j.pos+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, j.fail("expected four hexadecimal digits")
		}
	}
	j.pos += 4
	return r, true
}
