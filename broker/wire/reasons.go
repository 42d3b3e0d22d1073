package wire

import (
	"errors"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// MQTT 5 reason codes that this server sends (2.4).
const (
	reasonNoSubscription   = 0x11
	reasonUnspecified      = 0x80
	reasonMalformed        = 0x81
	reasonProtocol         = 0x82
	reasonOurs             = 0x83 // implementation specific error
	reasonVersion          = 0x84
	reasonClientID         = 0x85
	reasonCredentials      = 0x86
	reasonForbidden        = 0x87
	reasonUnavailable      = 0x88
	reasonShutdown         = 0x8b
	reasonAuthMethod       = 0x8c
	reasonKeepAlive        = 0x8d
	reasonTakenOver        = 0x8e
	reasonFilter           = 0x8f
	reasonTopic            = 0x90
	reasonUnknownID        = 0x92
	reasonReceiveMaximum   = 0x93
	reasonMessageRate      = 0x96
	reasonQuota            = 0x97
	reasonAdministrative   = 0x98
	reasonPayload          = 0x99
	reasonUseAnother       = 0x9c
	reasonShared           = 0x9e
	reasonConnectionRate   = 0x9f
	reasonMaximumConnected = 0xa0
)

// Answer is what becomes of a publish that failed, on MQTT 3.1 and 3.1.1.
type Answer string

// The answers.
const (
	AnswerAck   Answer = "reply/, then PUBACK"               // refused: sending it again is useless, or for the app to decide
	AnswerClose Answer = "reply/, no PUBACK, then the close" // not stored: the client is to send it again by itself
)

// Row is one line of the table of outcomes.
type Row struct {
	Code    store.Code
	Word    string // the code's own word; a refusal may carry a nearer one
	V3      Answer // a publish on 3.1 and 3.1.1
	V5      byte   // reason code of PUBACK and PUBREC
	Connack byte   // reason code of an MQTT 5 CONNACK
	Return  byte   // return code of a 3.x CONNACK
	Retry   bool   // retry_ms may be told
}

// The one table of outcomes. 0x10 (no matching subscribers) is never sent, since it would tell who is there; 0x95 is
// no reason code of PUBACK, and clients close on it.
//
//	code  word          publish on 3.x          PUBACK  CONNACK  return code
//	400   bad_request   reply/, then PUBACK     0x99    0x80     2   topic: 0x90, client_id: 0x85
//	401   unauthorized  reply/, then PUBACK     0x87    0x86     4
//	403   forbidden     reply/, then PUBACK     0x87    0x87     5   retry_ms
//	404   not_found     reply/, then PUBACK     0x90    0x86     4
//	409   conflict      reply/, then PUBACK     0x83    0x88     3
//	410   trimmed       reply/, then PUBACK     0x83    0x88     3
//	413   too_large     reply/, then PUBACK     0x99    0x97     5
//	422   unprocessable reply/, then PUBACK     0x99    0x80     5
//	423   locked        reply/, then PUBACK     0x87    0x87     5
//	429   rate          reply/, then PUBACK     0x97    0x97     3   retry_ms
//	451   legal         reply/, then PUBACK     0x87    0x87     5
//	500   internal      reply/, then PUBACK     0x83    0x80     3
//	503   unavailable   reply/, then the close  0x83    0x88     3   retry_ms
//	504   unknown       reply/, then the close  0x83    0x88     3   retry_ms
//	507   full          reply/, then PUBACK     0x97    0x97     5   retry_ms
var table = [...]Row{
	{store.CodeBad, "bad_request", AnswerAck, reasonPayload, reasonUnspecified, 2, false},
	{store.CodeAuth, "unauthorized", AnswerAck, reasonForbidden, reasonCredentials, 4, false},
	{store.CodeForbidden, "forbidden", AnswerAck, reasonForbidden, reasonForbidden, 5, true},
	{store.CodeNotFound, "not_found", AnswerAck, reasonTopic, reasonCredentials, 4, false},
	{store.CodeConflict, "conflict", AnswerAck, reasonOurs, reasonUnavailable, 3, false},
	{store.CodeTrimmed, "trimmed", AnswerAck, reasonOurs, reasonUnavailable, 3, false},
	{store.CodeTooLarge, "too_large", AnswerAck, reasonPayload, reasonQuota, 5, false},
	{store.CodeUnprocessable, "unprocessable", AnswerAck, reasonPayload, reasonUnspecified, 5, false},
	{store.CodeLocked, "locked", AnswerAck, reasonForbidden, reasonForbidden, 5, false},
	{store.CodeTooMany, "rate", AnswerAck, reasonQuota, reasonQuota, 3, true},
	{store.CodeLegal, "legal", AnswerAck, reasonForbidden, reasonForbidden, 5, false},
	{store.CodeInternal, "internal", AnswerAck, reasonOurs, reasonUnspecified, 3, false},
	{store.CodeUnavailable, "unavailable", AnswerClose, reasonOurs, reasonUnavailable, 3, true},
	{store.CodeUnknown, "unknown", AnswerClose, reasonOurs, reasonUnavailable, 3, true},
	{store.CodeFull, "full", AnswerAck, reasonQuota, reasonQuota, 5, true},
}

// Table returns the table of outcomes, for documentation and tests.
func Table() []Row { return append([]Row(nil), table[:]...) }

// row finds the line of an error; what has no code is a fault of ours.
func row(err error) Row {
	code := store.CodeOf(err)
	for i := range table {
		if table[i].Code == code {
			return table[i]
		}
	}
	return row(&store.Error{Code: store.CodeInternal})
}

// wordClientID is the word of a client identifier that is refused, as package hooks has it.
const wordClientID = "client_id"

func is(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// pubReason is the reason code of an MQTT 5 PUBACK or PUBREC, and what it says beside.
func pubReason(err error) (byte, ackProps) {
	r := row(err)
	o := view.Failure(err, "", view.English)
	p := ackProps{text: o.Text, word: o.Word}
	if r.Retry {
		p.retry = ceilMillis(o.Retry)
	}
	if r.Code == store.CodeBad && o.Word == hooks.ReasonTopic {
		return reasonTopic, p
	}
	return r.V5, p
}

func ceilMillis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// subReason is the reason code of an entry of a SUBACK: MQTT 5's, or 0x80, which is all that 3.1.1 knows.
func subReason(version byte, err error) byte {
	if version != v5 {
		return reasonUnspecified
	}
	switch {
	case is(err, hooks.ErrShared):
		return reasonShared
	case is(err, hooks.ErrSys, hooks.ErrNothing):
		return reasonForbidden
	}
	switch store.CodeOf(err) {
	case store.CodeBad, store.CodeTooLarge:
		return reasonFilter
	case store.CodeForbidden, store.CodeAuth, store.CodeNotFound, store.CodeLocked, store.CodeLegal:
		return reasonForbidden
	case store.CodeFull, store.CodeTooMany:
		return reasonQuota
	}
	return reasonOurs
}

// connackReason is how a CONNECT is refused: the reason code of MQTT 5 or the return code of 3.x, and a sentence. Code 0
// means no CONNACK: 3.x has no return code for a packet that breaks the protocol.
func connackReason(version byte, err error) (byte, string) {
	r := row(err)
	o := view.Failure(err, "", view.English)
	if p, ok := errors.AsType[*protocolError](err); ok {
		if version == v5 || p == &levelError {
			return p.reason, p.text
		}
		return 0, p.text
	}
	code := r.Return
	if version == v5 {
		code = r.Connack
		switch {
		case r.Code == store.CodeBad && o.Word == wordClientID:
			code = reasonClientID
		case errors.Is(err, broker.ErrShutdown):
			code = reasonUnavailable
		case r.Code == store.CodeTooMany && o.Word == store.ReasonRate:
			code = reasonConnectionRate
		}
	}
	return code, o.Text
}

// goodbye is the reason code of the server's DISCONNECT on MQTT 5 and its sentence. ok is false if the client is not
// told anything: it has ended the connection itself, or cannot be reached.
func goodbye(err error, serverReference bool) (code byte, text string, ok bool) {
	if p, is := errors.AsType[*protocolError](err); is {
		return p.reason, p.text, true
	}
	e, known := errors.AsType[*store.Error](err)
	if !known {
		return reasonUnspecified, "", !is(err, errClientGone, errClientDone, errRefused, errUnreadable)
	}
	switch {
	case errors.Is(err, broker.ErrTakenOver):
		code = reasonTakenOver
	case errors.Is(err, broker.ErrFlood):
		code = reasonMessageRate
	case errors.Is(err, broker.ErrExpired):
		code = reasonMaximumConnected
	case errors.Is(err, broker.ErrShutdown):
		if code = reasonShutdown; serverReference {
			code = reasonUseAnother
		}
	case e.Code == store.CodeAuth:
		code = reasonAdministrative
	default:
		code = row(err).V5
	}
	return code, e.Text, true
}
