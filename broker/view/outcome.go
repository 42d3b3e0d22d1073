package view

import (
	"errors"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/store"
)

// Outcome is what a delivery on reply/… says about a publish or a request. It is one JSON object with the keys, as far
// as they apply:
//
//	code      200, 202 pending, or that of a store.Code
//	error     the protocol word of a refusal: not_friend, rate, bad_request …
//	text      a sentence for a person, in the device's language where there is one
//	retry_ms  with error: when trying again makes sense, in milliseconds; 0: unknown or never
//	cid       the sender's own id of the message
//	seq, time, epoch   with 200 for a message: where it stands now
//	hint      a sentence about something that is no refusal
//
// as in {"code":403,"error":"not_friend","text":"…","retry_ms":0} and
// {"code":200,"cid":"c1","seq":12,"time":1790000000000,"epoch":1}.
type Outcome struct {
	Code  store.Code // 0 means 200
	Word  string     // "" with success
	Text  string
	Retry time.Duration
	CID   string
	Seq   store.Seq // 0: not about a message that was stored
	Time  int64     // Unix milliseconds
	Epoch store.Epoch
	Hint  string
}

// Success is the outcome of a stored message.
func Success(r store.Receipt, cid string) Outcome {
	return Outcome{Code: 200, CID: cid, Seq: r.Seq, Time: r.Time, Epoch: r.Epoch}
}

// Failure is the outcome of a refused or failed publish or request, with its sentence in the language if there is one.
// Of an error that is no *store.Error it tells nothing but that there was a fault.
func Failure(err error, cid string, l Lang) Outcome {
	e, ok := errors.AsType[*store.Error](err)
	if !ok {
		e = &store.Error{Code: store.CodeInternal}
	}
	o := Outcome{Code: e.Code, Word: e.Word(), Text: e.Text, Retry: e.Retry, CID: cid}
	if l != English || o.Text == "" {
		if t := ErrorText(l, o.Word); t != "" {
			o.Text = t
		}
	}
	return o
}

// AppendOutcome appends the outcome as JSON.
func AppendOutcome(dst []byte, o Outcome) []byte {
	if o.Code == 0 {
		o.Code = 200
	}
	dst = strconv.AppendInt(append(dst, `{"code":`...), int64(o.Code), 10)
	if o.Word != "" {
		dst = appendJSONString(append(dst, `,"error":`...), []byte(o.Word))
	}
	if o.Text != "" {
		dst = appendJSONString(append(dst, `,"text":`...), []byte(o.Text))
	}
	if o.Word != "" {
		dst = strconv.AppendInt(append(dst, `,"retry_ms":`...), ceilMillis(o.Retry), 10)
	}
	if o.CID != "" {
		dst = append(appendCID(append(dst, `,"cid":"`...), o.CID), '"')
	}
	if o.Seq != 0 {
		dst = strconv.AppendUint(append(dst, `,"seq":`...), uint64(o.Seq), 10)
		dst = strconv.AppendInt(append(dst, `,"time":`...), o.Time, 10)
		dst = strconv.AppendUint(append(dst, `,"epoch":`...), uint64(max(o.Epoch, 1)), 10)
	}
	if o.Hint != "" {
		dst = appendJSONString(append(dst, `,"hint":`...), []byte(o.Hint))
	}
	return append(dst, '}')
}

// ceilMillis rounds up: who comes back a little late is served, who comes back early is refused again.
func ceilMillis(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
