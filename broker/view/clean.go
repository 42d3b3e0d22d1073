package view

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// lineBreak is how a line break is shown in a single line.
const lineBreak = "⏎ "

// appendClean appends s as part of a single line that is safe to write to a terminal: without control characters,
// escape sequences, and characters that reorder or annotate text; with U+FFFD for what is not UTF-8, a space for a
// tab and lineBreak for a line break. Line breaks at the end are dropped.
func appendClean(dst, s []byte) []byte {
	s = bytes.TrimRight(s, "\r\n")
	endless := false // no control string ends after here: looking for its end again would be quadratic
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f {
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		i += size
		switch {
		case r == '\r' && i < len(s) && s[i] == '\n': // the line feed will tell
		case r == '\n', r == '\r', r == '\v', r == '\f', r == 0x85, r == 0x2028, r == 0x2029:
			dst = append(dst, lineBreak...)
		case r == '\t':
			dst = append(dst, ' ')
		case r == 0x1b:
			i = afterEscape(s, i, &endless)
		case r == 0x9b:
			i = afterCSI(s, i)
		case r == 0x90, r == 0x98, r >= 0x9d && r <= 0x9f:
			i = afterString(s, i, &endless)
		case unicode.Is(unicode.Cc, r) || reorders(r):
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// reorders reports whether a character directs how others are ordered (bidirectional controls) or read (annotations,
// byte order mark), and shows nothing itself.
func reorders(r rune) bool {
	switch {
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x206f,
		r >= 0xfff9 && r <= 0xfffb, r == 0xfeff:
		return true
	}
	return false
}

// afterEscape is where the escape sequence ends whose ESC stands before i (ECMA-48, sections 5.3 to 5.6).
func afterEscape(s []byte, i int, endless *bool) int {
	if i == len(s) {
		return i
	}
	switch c := s[i]; {
	case c == '[':
		return afterCSI(s, i+1)
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
		return afterString(s, i+1, endless)
	}
	for i < len(s) && s[i] >= 0x20 && s[i] <= 0x2f {
		i++
	}
	if i < len(s) && s[i] >= 0x30 && s[i] <= 0x7e {
		i++
	}
	return i
}

// afterCSI is where the control sequence ends whose parameters begin at i.
func afterCSI(s []byte, i int) int {
	for i < len(s) && s[i] >= 0x20 && s[i] <= 0x3f {
		i++
	}
	if i < len(s) && s[i] >= 0x40 && s[i] <= 0x7e {
		i++
	}
	return i
}

// afterString is where the control string ends that begins at i, by BEL or ST; i itself if it does not end.
func afterString(s []byte, i int, endless *bool) int {
	if *endless {
		return i
	}
	for k := i; k < len(s); k++ {
		switch {
		case s[k] == 0x07:
			return k + 1
		case s[k] == 0x1b && k+1 < len(s) && s[k+1] == '\\', s[k] == 0xc2 && k+1 < len(s) && s[k+1] == 0x9c:
			return k + 2
		}
	}
	*endless = true
	return i
}
