package api

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// patience is how long a changing request may take. It does not end with its client: what has begun is finished, so
// that the answer can be kept.
const patience = 30 * time.Second

// Request implements broker.Requests: a user's operation that arrived over MQTT.
func (a *API) Request(ctx context.Context, id hooks.Identity, op, rid string, body []byte) []byte {
	c := &caller{id: id, rid: rid}
	answer, err := a.serve(ctx, a.users, c, op, body)
	if err != nil {
		return view.AppendOutcome(nil, view.Failure(err, "", lang(c.account)))
	}
	return answer
}

// serve runs one request from a table and returns the answer of a success, or the refusal.
func (a *API) serve(ctx context.Context, table map[string]*operation, c *caller, name string, body []byte) (answer []byte, err error) {
	began := time.Now()
	label := name
	defer func() { a.metrics.served(label, err, time.Since(began)) }()
	o := table[name]
	if o == nil {
		label = "unknown"
		return nil, &store.Error{Code: store.CodeNotFound, Text: "there is no such operation"}
	}
	if len(body) > a.limits().Body {
		return nil, tooLarge("a request", a.limits().Body, "bytes")
	}
	if err := a.admit(o, c, body); err != nil {
		return nil, err
	}
	if o.scope == "" && !o.open {
		if !a.busy.enter(c.id.Account, a.limits().AtOnce) {
			return nil, &store.Error{Code: store.CodeTooMany, Text: "too many requests at once: the limit is " + strconv.Itoa(a.limits().AtOnce), Retry: time.Second}
		}
		defer a.busy.leave(c.id.Account)
		if err := a.broker.Limits().User(o.rate, c.id.Account, 1); err != nil {
			return nil, err
		}
	}
	answer, err = a.carryOut(ctx, o, c, body)
	if store.CodeOf(err) == store.CodeInternal {
		a.log.Error("request failed", keyOp, name, keyErr, err)
	}
	return answer, err
}

// admit decides whether the caller may use the operation at all.
func (a *API) admit(o *operation, c *caller, body []byte) error {
	if o.open {
		return nil
	}
	if o.scope != "" {
		if !c.id.Allows(o.scope) {
			return store.Forbidden("scope", "the token does not have the scope "+o.scope)
		}
		return nil
	}
	if c.id.Operator || c.id.Account == 0 {
		return store.Forbidden("operator", "an operator is no user: use the admin listener")
	}
	if c.id.Key() && !o.openedBy(c.id, body) {
		return hooks.ErrKey()
	}
	acct, err := a.store.Account(c.id.Account)
	if err != nil {
		return fmt.Errorf("api: account: %w", err)
	}
	c.account = acct
	if acct.State == store.AccountSuspended && o.heard {
		return nil
	}
	return standing(acct)
}

// standing refuses an account that may do nothing.
func standing(u store.Account) error {
	switch u.State {
	case store.AccountSuspended:
		return hooks.ErrSuspended
	case store.AccountLocked:
		return hooks.ErrLocked
	}
	return nil
}

func (a *API) carryOut(ctx context.Context, o *operation, c *caller, body []byte) ([]byte, error) {
	run := func(ctx context.Context) (any, error) { return o.run(ctx, a, c, body) }
	if o.audited() {
		run = func(ctx context.Context) (any, error) {
			return a.auditing(ctx, o, c, body, func() (any, error) { return o.run(ctx, a, c, body) })
		}
	}
	if !o.changes {
		out, err := run(ctx)
		if err != nil {
			return nil, err
		}
		return encode(out)
	}
	work := func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return run(ctx)
	}
	if c.rid == "" || o.open {
		out, err := work()
		if err != nil {
			return nil, err
		}
		return encode(out)
	}
	return a.once(ctx, flightKey{c.id.Account, answersOf(c.id), c.rid}, fingerprint(o.name, body), work)
}

// answersOf is the device under which a caller's answers are kept. Operators and keys have none; their token tells them
// apart.
func answersOf(id hooks.Identity) store.DeviceID {
	if id.Operator || id.Key() {
		return store.DeviceID(binary.BigEndian.Uint64(id.Token[:8]))
	}
	return id.Device
}

// wait is the result of an append, or CodeUnknown when ctx ends first.
func wait(ctx context.Context, p *store.Pending) (store.Receipt, error) {
	select {
	case <-p.Done():
		return p.Result()
	case <-ctx.Done():
		return store.Receipt{}, &store.Error{Code: store.CodeUnknown, Text: "not known yet: repeat the request", Err: ctx.Err()}
	}
}

func tooLarge(what string, limit int, unit string) error {
	return &store.Error{Code: store.CodeTooLarge, Text: what + " may have at most " + strconv.Itoa(limit) + " " + unit}
}

func full(word, what string, limit int) error {
	return &store.Error{Code: store.CodeFull, Reason: word, Text: what + ": the limit is " + strconv.Itoa(limit)}
}

func notFound(text string) error { return &store.Error{Code: store.CodeNotFound, Text: text} }

func conflict(text string) error { return &store.Error{Code: store.CodeConflict, Text: text} }
