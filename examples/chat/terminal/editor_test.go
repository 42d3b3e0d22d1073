package terminal

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestEditor(t *testing.T) {
	for in, want := range map[string]string{
		"hello\r":                         "hello",
		"hellp\x7fo\n":                    "hello",
		"안녕\x7f\x7f\x7fhi\r":              "hi",
		"old\x15new\r":                    "new",
		"one two\x17three\r":              "one three",
		"a\x1b[A\x1b[1;5Cb\r":             "ab", // arrows
		"a\x1bOPb\r":                      "ab", // F1
		"a\x01\x02b\r":                    "ab",
		"\r":                              "",
		strings.Repeat("x", 20000) + "\r": strings.Repeat("x", 16<<10),
	} {
		typed := 0
		e := &editor{in: bufio.NewReader(strings.NewReader(in)), out: io.Discard, keys: true, typing: func() { typed++ }}
		got, err := e.line()
		if err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
		if want != "" && typed == 0 {
			t.Errorf("%q: nobody was told that something is typed", in)
		}
	}
	for _, in := range []string{"", "\x04", "half", "\x1b[", "\x1b[1;"} {
		e := &editor{in: bufio.NewReader(strings.NewReader(in)), out: io.Discard, keys: true}
		if got, err := e.line(); !errors.Is(err, io.EOF) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// TestPrintAboveTheLine: what is being typed stays below what arrives.
func TestPrintAboveTheLine(t *testing.T) {
	var out strings.Builder
	e := &editor{out: &out, keys: true, prompt: "bob> ", buf: []rune("half a li")}
	e.print("alice: hi")
	if got := out.String(); got != "\r\x1b[Kalice: hi\nbob> half a li" {
		t.Errorf("%q", got)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{"bob": "user/bob", "Bob": "user/bob", "#lobby": "room/lobby", "room/x": "room/x", "user/y": "user/y"} {
		if got := long(in); got != want {
			t.Errorf("%s is %s", in, got)
		}
	}
	if short("room/lobby") != "#lobby" || short("user/bob") != "bob" {
		t.Error("short")
	}
}
