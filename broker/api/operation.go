package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
)

// caller is who asks.
type caller struct {
	id      hooks.Identity
	account store.Account // of a user; zero for an operator
	by      string        // an operator, as the audit log names it
	rid     string        // the request identifier, "" without one
}

// operation is a row of the table.
type operation struct {
	name    string     // as in the topic and the path
	summary string     // a few words
	text    string     // what is promised, for the documentation
	changes bool       // it is carried out once per request identifier
	heard   bool       // suspended users may ask it, too
	rate    limit.Rule // what a user's request counts as
	scope   string     // what an operator's token must allow; "" for users' operations
	open    bool       // over HTTP without credentials, by whoever has no account yet
	keys    []keyed    // which keys open it; none: it wants a token of the whole account
	in, out reflect.Type
	run     func(ctx context.Context, a *API, c *caller, body []byte) (any, error)
}

// A secretive answer has something that is told once and never kept.
type secretive interface{ withoutSecret() any }

// op makes a row from a typed function. An operation that changes something says so with changing.
func op[In, Out any](name, summary, text string, fn func(*API, context.Context, *caller, *In) (*Out, error)) operation {
	return operation{
		name: name, summary: summary, text: text, rate: limit.APIRead, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
		run: func(ctx context.Context, a *API, c *caller, body []byte) (any, error) {
			in := new(In)
			if err := decode(body, in); err != nil {
				return nil, err
			}
			out, err := fn(a, ctx, c, in)
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// changing marks an operation that changes something.
func changing(o operation) operation {
	o.changes, o.rate = true, limit.APIChange
	return o
}

// exact marks an operation that refuses keys it does not know, in whatever object of its request: what it does reaches
// everybody and cannot be taken back, and without its misspelled "segment" or "ad" it would be something else.
func exact(o operation) operation {
	run := o.run
	o.run = func(ctx context.Context, a *API, c *caller, body []byte) (any, error) {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		err := d.Decode(reflect.New(o.in).Interface())
		if err != nil {
			// The package has no type for this error. What else is wrong is said by decode.
			if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
				return nil, &store.Error{Code: store.CodeBad, Text: "the request has a key that " + o.name + " does not know: " + key, Err: err}
			}
		}
		return run(ctx, a, c, body)
	}
	return o
}

// heard marks a user's operation that suspended users may ask, too, over HTTP.
func heard(o operation) operation {
	o.heard = true
	return o
}

// scoped marks an operator's operation.
func scoped(scope string, o operation) operation {
	o.scope = scope
	return o
}

// keyed says that a key with a scope of this kind opens an operation, for requests whose field names what the scope
// names.
type keyed struct{ kind, field string }

// byKey marks a user's operation that keys with a scope of the kind open too. field is the request's field that must name
// what the scope names: it is checked before the operation runs.
func byKey(kind, field string, o operation) operation {
	o.keys = append(o.keys[:len(o.keys):len(o.keys)], keyed{kind, field})
	return o
}

// openedBy reports whether a key opens the operation for this request.
func (o *operation) openedBy(id hooks.Identity, body []byte) bool {
	if len(o.keys) == 0 {
		return false
	}
	var in map[string]json.RawMessage
	if decode(body, &in) != nil {
		return false
	}
	for _, k := range o.keys {
		// Go reads the keys of objects in whatever case, the last one in the object wins: here there must be one.
		var value json.RawMessage
		n := 0
		for key, v := range in {
			if strings.EqualFold(key, k.field) {
				value, n = v, n+1
			}
		}
		var s string
		if n != 1 || json.Unmarshal(value, &s) != nil {
			continue
		}
		if s, ok := hooks.NormalName(s); ok && id.Opens(k.kind, s) {
			return true
		}
	}
	return false
}

// heavier are the users' operations that count as something else than a read or a change.
var heavier = map[string]limit.Rule{
	"room.create": limit.APICreate, "room.invite": limit.APICreate, "token.create": limit.APICreate, "app.register": limit.APICreate, "link.ticket": limit.APICreate, "token.rotate": limit.APICreate,
	"channel.create": limit.APICreate, "channel.publisher.set": limit.APICreate, "channel.key.create": limit.APICreate,
	"channel.history": limit.APICostly, "channel.list": limit.APICostly,
	"sync": limit.APICostly, "contact.sync": limit.APICostly, "room.history": limit.APICostly, "export": limit.APICostly, opPushWhy: limit.APICostly,
	"coupon.create": limit.APICreate, "coupon.redeem": limit.APIRead, "gift.send": limit.APICreate,
	"report": limit.Reports, "account.appeal": limit.Appeals,
}

// unauthenticated marks an operation for people without an account. Nothing of its caller is known but the address, so
// its own limits have to do; answers are not kept, since there is nobody to keep them for.
func unauthenticated(o operation) operation {
	o.open = true
	return o
}

func byName(table []operation) map[string]*operation {
	m := make(map[string]*operation, len(table))
	for i := range table {
		if rule, ok := heavier[table[i].name]; ok {
			table[i].rate = rule
		}
		m[table[i].name] = &table[i]
	}
	return m
}

// answer202 begins an answer of which something follows later.
const answer202 = `{"code":202`

// none is the answer that says nothing but that it is done, and the request that needs no fields.
type none struct{}

// decode reads a request's body: a JSON object, or nothing. Keys it does not know are ignored. Errors are CodeBad.
func decode(body []byte, into any) error {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil
	}
	if !utf8.Valid(body) {
		return store.Bad("the request is not UTF-8")
	}
	if body[0] != '{' {
		return store.Bad(`the request must be a JSON object such as {"limit":20}`)
	}
	err := json.Unmarshal(body, into)
	if err == nil {
		return nil
	}
	text := "the request is not JSON"
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		text = fmt.Sprintf("the request is not JSON: %s at byte %d", e.Error(), e.Offset)
	} else if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		text = fmt.Sprintf("%s must be %s, not %s", e.Field, jsonWord(e.Type), strings.Fields(e.Value + " ")[0])
	} else if e, ok := errors.AsType[*time.ParseError](err); ok {
		text = e.Value + " is no time such as \"2026-03-01T09:00:00+09:00\" (RFC 3339)"
	}
	return &store.Error{Code: store.CodeBad, Text: text, Err: err}
}

// jsonWord is what a Go type is called by who writes JSON.
func jsonWord(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 on"
	}
	return "a whole number"
}

// unfinished answers tell whether something of what was asked for follows later: then the code is 202.
type unfinished interface{ unfinished() bool }

// encode writes the answer of a success: {"code":200 (or 202), and the keys of v, a struct.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	code := `{"code":200`
	if u, ok := v.(unfinished); ok && u.unfinished() {
		code = answer202
	}
	b.WriteString(code)
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	n := b.Len()
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("api: encode: %w", err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if out[n+1] == '}' { // {} → nothing more to say
		return append(out[:n], '}'), nil
	}
	out[n] = ','
	return out, nil
}
