package store

import (
	"errors"
	"time"
)

// Code is the outcome of an operation as outsiders see it. Its values are those of HTTP (RFC 9110) where HTTP has one.
type Code int

// The codes, with what is known after each.
const (
	CodeBad           Code = 400 // malformed; nothing was applied, repeating is useless
	CodeAuth          Code = 401 // who are you
	CodeForbidden     Code = 403 // the rules say no; Reason says which
	CodeNotFound      Code = 404
	CodeConflict      Code = 409 // a condition did not hold; nothing was applied
	CodeTrimmed       Code = 410 // older than retention; First says where the log begins now
	CodeTooLarge      Code = 413
	CodeUnprocessable Code = 422 // well-formed, and refused for what it would do; nothing was applied
	CodeLocked        Code = 423
	CodeTooMany       Code = 429 // a limit; Retry says when to come back
	CodeLegal         Code = 451
	CodeInternal      Code = 500 // a fault of ours; the chain is for the operator
	CodeUnavailable   Code = 503 // not applied and not visible; try again after Retry
	CodeUnknown       Code = 504 // perhaps applied: repeat with the same cid or request identifier
	CodeFull          Code = 507 // a quota or the disk; nothing was applied
)

// Reasons that go with CodeForbidden and CodeTooMany. They are part of the protocol.
const (
	ReasonNotFriend        = "not_friend"
	ReasonNotMember        = "not_member"
	ReasonNotPublisher     = "not_publisher" // of the channel
	ReasonNotFollower      = "not_follower"  // of the channel
	ReasonMuted            = "muted"
	ReasonSuspended        = "suspended"
	ReasonLimited          = "limited"
	ReasonUnreachable      = "unreachable"
	ReasonYouBlocked       = "you_blocked"
	ReasonRole             = "role"
	ReasonNick             = "nick"              // the nickname is taken
	ReasonWrongCode        = "code"              // the room's code is wrong
	ReasonChannelPaused    = "channel_paused"    // by the brand or its plan
	ReasonChannelSuspended = "channel_suspended" // by the operator
	ReasonRate             = "rate"
	ReasonSlow             = "slow"
	ReasonStrangerLimit    = "stranger_limit" // no more new strangers today
	ReasonInviteLimit      = "invite_limit"   // no more invitations today
	ReasonSegment          = "segment"        // so few followers that naming them would tell who they are
)

// Error is a refusal or failure with a code. Outsiders are shown Code, Reason and Text; operators the whole chain.
type Error struct {
	Code   Code
	Reason string        // a protocol word such as "not_friend"; "" means the code's own word
	Text   string        // one sentence for a person; never holds a body, token or phone number
	Retry  time.Duration // when trying again makes sense; 0: unknown or never
	First  Seq           // with CodeTrimmed: the oldest sequence still there
	Err    error         // the cause, for operators only
}

// Error returns the text for operators, the cause included.
func (e *Error) Error() string {
	s := e.Text
	if s == "" {
		s = e.Word()
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Word is the protocol word of the error: its Reason, or the code's own.
func (e *Error) Word() string {
	if e.Reason != "" {
		return e.Reason
	}
	switch e.Code {
	case CodeBad:
		return "bad_request"
	case CodeAuth:
		return "unauthorized"
	case CodeForbidden:
		return "forbidden"
	case CodeNotFound:
		return "not_found"
	case CodeConflict:
		return "conflict"
	case CodeTrimmed:
		return "trimmed"
	case CodeTooLarge:
		return "too_large"
	case CodeUnprocessable:
		return "unprocessable"
	case CodeLocked:
		return "locked"
	case CodeTooMany:
		return ReasonRate
	case CodeLegal:
		return "legal"
	case CodeUnavailable:
		return "unavailable"
	case CodeUnknown:
		return "unknown"
	case CodeFull:
		return "full"
	}
	return "internal"
}

// Is makes errors.Is(err, &Error{Code: c}) true for every error of that code, and, with a Reason, of that reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Reason == "" || t.Reason == e.Reason)
}

// Sentinels for errors.Is. Implementations may return richer errors of the same code.
var (
	ErrNotFound    = &Error{Code: CodeNotFound, Text: "not found"}
	ErrConflict    = &Error{Code: CodeConflict, Text: "conflict"}
	ErrNotMember   = &Error{Code: CodeForbidden, Reason: ReasonNotMember, Text: "not a member"}
	ErrRole        = &Error{Code: CodeForbidden, Reason: ReasonRole, Text: "the role in this room does not allow it"}
	ErrTrimmed     = &Error{Code: CodeTrimmed, Text: "older than what is kept"}
	ErrTooLarge    = &Error{Code: CodeTooLarge, Text: "too large"}
	ErrUnavailable = &Error{Code: CodeUnavailable, Text: "storage is not available", Retry: time.Second}
	ErrFull        = &Error{Code: CodeFull, Text: "full"}
	ErrClosed      = &Error{Code: CodeUnavailable, Text: "shutting down", Retry: 2 * time.Second}
)

// CodeOf is the code of an error: that of the *Error in its chain, CodeInternal for any other error, 0 for nil.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Errorf-style constructors are not offered: an Error is a value, written where it is returned, so that its code,
// reason and sentence stand together.

// Bad is a CodeBad error with a sentence for a person.
func Bad(text string) error { return &Error{Code: CodeBad, Text: text} }

// Forbidden is a CodeForbidden error with a protocol reason and a sentence.
func Forbidden(reason, text string) error {
	return &Error{Code: CodeForbidden, Reason: reason, Text: text}
}
