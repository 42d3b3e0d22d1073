package store

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestErrorWords(t *testing.T) {
	words := map[Code]string{
		CodeBad: "bad_request", CodeAuth: "unauthorized", CodeForbidden: "forbidden", CodeNotFound: "not_found",
		CodeConflict: "conflict", CodeTrimmed: "trimmed", CodeTooLarge: "too_large", CodeLocked: "locked", CodeTooMany: "rate",
		CodeLegal: "legal", CodeInternal: "internal", CodeUnavailable: "unavailable", CodeUnknown: "unknown", CodeFull: "full",
	}
	seen := map[string]Code{}
	for code, want := range words {
		got := (&Error{Code: code}).Word()
		if got != want {
			t.Errorf("code %d is %q, want %q", code, got, want)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("codes %d and %d share the word %q", code, other, got)
		}
		seen[got] = code
	}
	if got := (&Error{Code: CodeForbidden, Reason: ReasonMuted}).Word(); got != "muted" {
		t.Errorf("got %q", got)
	}
}

func TestErrorIs(t *testing.T) {
	rich := fmt.Errorf("bolt: append: %w", &Error{Code: CodeForbidden, Reason: ReasonNotMember, Err: io.ErrUnexpectedEOF})
	cases := []struct {
		err, target error
		want        bool
	}{
		{rich, ErrNotMember, true},
		{rich, ErrRole, false},
		{rich, &Error{Code: CodeForbidden}, true},
		{rich, &Error{Code: CodeBad}, false},
		{rich, io.ErrUnexpectedEOF, true},
		{rich, io.EOF, false},
		{&Error{Code: CodeForbidden}, ErrNotMember, false},
		{ErrNotFound, ErrNotFound, true},
		{&Error{Code: CodeTrimmed, First: 9}, ErrTrimmed, true},
		{io.EOF, ErrNotFound, false},
	}
	for i, c := range cases {
		if got := errors.Is(c.err, c.target); got != c.want {
			t.Errorf("case %d: %v", i, got)
		}
	}
}

func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, 0},
		{io.EOF, CodeInternal},
		{ErrFull, CodeFull},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", ErrTrimmed)), CodeTrimmed},
		{errors.Join(io.EOF, ErrClosed), CodeUnavailable},
		{Bad("x"), CodeBad},
		{Forbidden(ReasonRole, "x"), CodeForbidden},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&Error{Code: CodeConflict}, "conflict"},
		{&Error{Code: CodeConflict, Text: "the name is taken"}, "the name is taken"},
		{&Error{Code: CodeInternal, Err: io.EOF}, "internal: EOF"},
		{&Error{Code: CodeUnavailable, Text: "no disk", Err: io.EOF}, "no disk: EOF"},
		{Forbidden(ReasonMuted, ""), "muted"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
