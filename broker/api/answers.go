package api

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/hwangso/hwangso/store"
)

// flightKey is what makes a request the same request.
type flightKey struct {
	account store.AccountID
	device  store.DeviceID
	rid     string
}

// print tells requests with the same identifier apart: half a SHA-256 of operation and body.
type print [16]byte

func fingerprint(op string, body []byte) print {
	h := sha256.New()
	h.Write([]byte(op))
	h.Write([]byte{0})
	h.Write(body)
	return print(h.Sum(nil)[:16])
}

// flights are the changing requests under way.
type flights struct {
	mu sync.Mutex
	by map[flightKey]*flight
}

type flight struct {
	print print
	done  chan struct{}
	body  []byte // set before done is closed
	err   error
}

// maxKept is the largest answer the store keeps.
const maxKept = 4 << 10

var errOtherRequest = &store.Error{Code: store.CodeConflict, Reason: "request_id",
	Text: "this request identifier was used for another request: choose a new one"}

// once does the work of a request unless it was done before or is being done.
func (a *API) once(ctx context.Context, k flightKey, p print, work func() (any, error)) ([]byte, error) {
	a.flights.mu.Lock()
	f := a.flights.by[k]
	mine := f == nil
	if mine {
		f = &flight{print: p, done: make(chan struct{}), err: &store.Error{Code: store.CodeInternal}}
		a.flights.by[k] = f
	}
	a.flights.mu.Unlock()
	if !mine {
		if f.print != p {
			return nil, errOtherRequest
		}
		select {
		case <-f.done:
			return f.body, f.err
		case <-ctx.Done():
			return nil, &store.Error{Code: store.CodeUnknown, Text: "not known yet: repeat the request", Err: ctx.Err()}
		}
	}
	defer func() {
		a.flights.mu.Lock()
		delete(a.flights.by, k)
		a.flights.mu.Unlock()
		close(f.done)
	}()
	f.body, f.err = a.first(ctx, k, p, work)
	return f.body, f.err
}

// first looks for a kept answer, does the work if there is none, and keeps the answer.
func (a *API) first(ctx context.Context, k flightKey, p print, work func() (any, error)) ([]byte, error) {
	kept, err := a.store.AnswerTo(k.account, k.device, k.rid)
	switch {
	case err == nil && len(kept.Body) < len(p):
		return nil, &store.Error{Code: store.CodeInternal, Text: "a kept answer is damaged"}
	case err == nil && print(kept.Body) != p:
		return nil, errOtherRequest
	case err == nil:
		return kept.Body[len(p):], nil
	case store.CodeOf(err) != store.CodeNotFound:
		return nil, err
	}
	out, err := work()
	if err != nil {
		return nil, err
	}
	body, err := encode(out)
	if err != nil {
		return nil, err
	}
	keep := body
	if s, ok := out.(secretive); ok {
		if keep, err = encode(s.withoutSecret()); err != nil {
			return nil, err
		}
	}
	if len(p)+len(keep) > maxKept {
		keep = []byte(`{"code":200,"repeated":true}`)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	ans := store.Answer{Status: 200, Body: append(p[:len(p):len(p)], keep...), Time: a.now().UnixMilli()}
	if err := a.store.PutAnswer(ctx, k.account, k.device, k.rid, ans); err != nil {
		// What was asked for is done and durable. Only its repetition would be carried out again.
		a.metrics.unkept.Inc()
		a.log.Warn("answer not kept", keyErr, err)
	}
	return body, nil
}
