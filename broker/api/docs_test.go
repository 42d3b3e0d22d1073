package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/api.md from the table")

const docsFile = "../../docs/api.md"

// TestDocs holds docs/api.md against the table. `go test -run TestDocs -update` writes it.
func TestDocs(t *testing.T) {
	want := renderDocs()
	if *update {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(docsFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("docs/api.md is not what the table says: run go test -run TestDocs -update ./broker/api")
	}
}

const docsIntro = `# Control API

This page is written from the table of operations: ` + "`go test -run TestDocs -update ./broker/api`" + `.

Every operation is called in two ways with the same body, a JSON object, and gives the same bytes back:

* **HTTP**: ` + "`POST /v1/{op}`" + ` with ` + "`Authorization: Bearer {token}`" + `, or Basic with user name and token. The OpenAPI document is at
  ` + "`/openapi.json`" + ` and ` + "`/openapi.yaml`" + `.
* **MQTT**: publish to ` + "`api/{op}/{rid}`" + `; the answer comes on ` + "`reply/{rid}`" + ` (or the MQTT 5 Response Topic, with the
  Correlation Data). An empty payload is an empty object.

      curl -H "Authorization: Bearer $TOKEN" -d '{"user":"bob","text":"hi"}' http://127.0.0.1:8080/v1/message.send
      {"code":200,"seq":12,"time":"2026-11-21T14:13:20.123Z","epoch":1}

Keys that an operation does not know are ignored, unless it says that they are refused. Times are RFC 3339 over both
transports; envelopes, which are what MQTT delivers in the json view, have Unix milliseconds. ` + "`next`" + ` and ` + "`token`" + ` are opaque.

## Refusals

    {"code":403,"error":"unreachable","text":"you cannot reach this user or room","retry_ms":0}

` + "`error`" + ` is for programs, ` + "`text`" + ` for people, in the user's language where there is a translation. ` + "`retry_ms`" + ` above 0 says when
to try again. Over HTTP the status is the code, the body is a problem document (RFC 9457) with these keys beside its own,
and ` + "`Retry-After`" + ` says the same in seconds.

| code | error | what is known |
|---|---|---|
| 400 | bad_request, phone, region | malformed; nothing was done |
| 401 | unauthorized, expired | who are you |
| 403 | not_friend, not_member, not_publisher, not_follower, you_blocked, suspended, role, unreachable, scope, operator, origin, country, line, code, pin, denied, proof, no_proof, phone, number_moved, signup_closed | the rules say no |
| 404 | not_found | there is none, or it is none of yours: the same answer |
| 409 | conflict, request_id, name, taken | a condition did not hold, nothing was done; request_id: the identifier belongs to another request |
| 413 | too_large | the text names the limit |
| 422 | segment | well-formed, and refused for what it would do: so few followers are in a segment that naming it would tell who they are |
| 423 | locked | too late |
| 429 | rate | too much at once; retry_ms |
| 500 | internal | a fault of the server |
| 503 | unavailable, shutdown | nothing was done; retry_ms |
| 504 | unknown | perhaps done: repeat the request with the same identifier |
| 507 | full, friends, blocks, devices, tokens, group, rooms, deleted | the text names the limit |

## Repeating a request

Give a changing request an identifier: the ` + "`rid`" + ` of the topic, or the header ` + "`Idempotency-Key`" + ` (1 to 64 characters of
` + "`A-Z a-z 0-9 . _ ~ -`" + `). Repeated within 24 hours by the same account and device it does nothing a second time and gives the
same answer, also while the first is under way. HTTP requests with an account token count as one device. Only successes
are kept, at most 256 per device: a refused request changed nothing and is tried again. A secret is never kept: the repeat
of a request that made a token says ` + "`\"repeated\":true`" + ` instead of the secret. The same identifier with another body is 409.

## Friends and writing

An edge has a direction. ` + "`contact.add`" + ` puts a user into the asking user's friends: that user may then write to the asking one
and invite it. Writing to somebody needs the opposite edge, which only the other side makes.

## Limits

| what | default |
|---|---|
`

func renderDocs() []byte {
	var b bytes.Buffer
	b.WriteString(docsIntro)
	var l Limits
	l.setDefaults()
	for _, row := range []struct {
		what string
		n    int
		unit string
	}{
		{"members of a room", l.Group, ""}, {"rooms of a user", l.Rooms, ""}, {"friends", l.Friends, ""}, {"blocked users", l.Blocks, ""},
		{"devices", l.Devices, ""}, {"tokens of a user", l.Tokens, ""}, {"users named in one request", l.Batch, ""},
		{"items of a page", l.Page, ""}, {"title", l.Title, " bytes"}, {"display name", l.Display, " characters"},
		{"status", l.Status, " characters"}, {"label", l.Label, " characters"},
		{"separate ranges deleted for oneself in a conversation", l.Deleted, ""}, {"a request", l.Body, " bytes"}, {"requests of a user at once", l.AtOnce, ""},
		{"life of a rotated token", int(l.Grace / time.Hour), " hours"},
	} {
		fmt.Fprintf(&b, "| %s | %d%s |\n", row.what, row.n, row.unit)
	}
	b.WriteString("\n## Settings\n\nOf a user, the same on all its devices; `settings.get` and `settings.set`.\n\n| setting | default | or | |\n|---|---|---|---|\n")
	for _, row := range settingTable {
		if row.valid != nil {
			fmt.Fprintf(&b, "| `%s` |  | %s | %s |\n", row.name, row.form, row.text)
			continue
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | `%s` | %s |\n", row.name, row.values[0], strings.Join(row.values[1:], "` `"), row.text)
	}
	b.WriteString("\n## Operations of users\n")
	renderTable(&b, userOperations())
	b.WriteString("\n## Operations of operators\n\nOver the admin listener with an operator's token that has the scope, and over the admin socket without one.\n" +
		"Never over the public listener or MQTT.\n")
	renderTable(&b, operatorOperations())
	b.WriteString("\n## Health\n\n`GET /healthz` is 200 while the process is alive. `GET /readyz` is 200 while messages can be stored and the server is not\n" +
		"going down, else 503. `GET /metrics` is for Prometheus, on the admin listener and the admin socket.\n")
	return b.Bytes()
}

func renderTable(b *bytes.Buffer, table []operation) {
	for _, o := range table {
		fmt.Fprintf(b, "\n### %s\n\n%s.", o.name, o.summary)
		if o.text != "" {
			fmt.Fprintf(b, " %s", o.text)
		}
		if o.changes {
			b.WriteString(" *Changes something.*")
		}
		if o.open {
			b.WriteString(" *Over HTTP without credentials.*")
		}
		if o.scope != "" {
			fmt.Fprintf(b, " Scope: `%s`.", o.scope)
		}
		for _, k := range o.keys {
			fmt.Fprintf(b, " A key with the scope `%s:{%s}` opens it.", k.kind, k.field)
		}
		b.WriteString("\n")
		renderFields(b, "request", o.in)
		renderFields(b, "answer", o.out)
	}
}

func renderFields(b *bytes.Buffer, title string, t reflect.Type) {
	rows := fieldRows("", t)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %s | type | |\n|---|---|---|\n", title)
	for _, r := range rows {
		b.WriteString(r)
	}
}

func fieldRows(prefix string, t reflect.Type) (rows []string) {
	for f := range fieldsOf(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			rows = append(rows, fieldRows(prefix, f.Type)...)
			continue
		case name == "-":
			continue
		}
		word, inner := typeWord(f.Type)
		rows = append(rows, fmt.Sprintf("| `%s%s` | %s | %s |\n", prefix, name, word, f.Tag.Get("doc")))
		if inner != nil {
			rows = append(rows, fieldRows(prefix+name+".", inner)...)
		}
	}
	return rows
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// typeWord is a type's name in the documentation, and the struct within it whose fields are to be told.
func typeWord(t reflect.Type) (string, reflect.Type) {
	switch t {
	case reflect.TypeFor[Envelope]():
		return "envelope", nil
	case reflect.TypeFor[Object]():
		return "object", nil
	case reflect.TypeFor[time.Time]():
		return "time", nil
	case reflect.TypeFor[Limits]():
		return "object", nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeWord(t.Elem())
	case reflect.Slice, reflect.Array:
		word, inner := typeWord(t.Elem())
		return "list of " + word, inner
	case reflect.Struct:
		return "object", t
	case reflect.String:
		return "string", nil
	case reflect.Bool:
		return "bool", nil
	}
	return "number", nil
}

// TestOpenAPI: every operation of a table stands in its document, with words for people, and no other one.
func TestOpenAPI(t *testing.T) {
	w := newWorld(t)
	for base, table := range map[string][]operation{w.public.URL: userOperations(), w.admin.URL: operatorOperations(), w.socket.URL: operatorOperations()} {
		r := get(t, base+"/openapi.json")
		want(t, "status", r.status, 200)
		want(t, "type", r.header.Get("Content-Type"), "application/openapi+json")
		var doc struct {
			OpenAPI string
			Info    struct{ Version string }
			Paths   map[string]map[string]struct {
				OperationID, Summary, Description string
				RequestBody                       struct {
					Content map[string]struct{ Schema struct{ Ref string } }
				}
				Responses map[string]any
			}
		}
		unmarshal(t, r.raw, &doc)
		want(t, "version", doc.OpenAPI+" "+doc.Info.Version, "3.1.0 v0.0.0-test")
		want(t, "paths", len(doc.Paths), len(table))
		for _, o := range table {
			p, ok := doc.Paths["/v1/"+o.name]["post"]
			if !ok {
				t.Errorf("%s is missing", o.name)
				continue
			}
			if p.OperationID != o.name || p.Summary == "" || p.Description == "" || p.Responses["200"] == nil || p.Responses["default"] == nil {
				t.Errorf("%s is described by %+v", o.name, p)
			}
		}
		for _, ref := range regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]+)"`).FindAllSubmatch(r.raw, -1) {
			if !bytes.Contains(r.raw, fmt.Appendf(nil, `%q:{`, ref[1])) {
				t.Errorf("schema %s is missing", ref[1])
			}
		}
		y := get(t, base+"/openapi.yaml")
		if y.status != http.StatusOK || !bytes.Contains(y.raw, []byte("openapi: 3.1.0")) {
			t.Errorf("YAML: %d %.80s", y.status, y.raw)
		}
	}
	// No name is used twice in a table, and every field says what it is called.
	for _, table := range [][]operation{userOperations(), operatorOperations()} {
		if len(byName(table)) != len(table) {
			t.Error("a name stands twice in a table")
		}
		for _, o := range table {
			for _, typ := range []reflect.Type{o.in, o.out} {
				for _, row := range fieldRows("", typ) {
					if strings.Contains(row, "``") || strings.Contains(row, "| `|") {
						t.Errorf("%s: a field of %v has no name: %s", o.name, typ, row)
					}
				}
			}
		}
	}
}

// TestOpenAPISchemasMatchAnswers: what an operation answers has the keys that its schema tells.
func TestOpenAPISchemasMatchAnswers(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	w.friends("alice", "bob")
	w.as("alice", 200, "message.send", obj{"user": "bob", "text": "x"})
	var doc struct {
		Paths map[string]struct {
			Post struct {
				Responses map[string]struct {
					Content map[string]struct {
						Schema map[string]string
					}
				}
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]json.RawMessage }
		}
	}
	unmarshal(t, get(t, w.public.URL+"/openapi.json").raw, &doc)
	for op, body := range map[string]obj{"account.me": {}, "room.list": {}, "sync": {}, "device.list": {}, "token.list": {},
		"room.history": {"user": "bob"}, "read.list": {"user": "bob"}, "contact.list": {}, "profile.get": {}} {
		ref := doc.Paths["/v1/"+op].Post.Responses["200"].Content["application/json"].Schema["$ref"]
		props := doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")].Properties
		for key := range w.as("alice", 200, op, body) {
			if props[key] == nil {
				t.Errorf("%s: the schema %s lacks %s", op, ref, key)
			}
		}
	}
}

// TestOpenAPIKnowsEveryField: a field that a request may have stands in its schema, those of embedded structs too.
func TestOpenAPIKnowsEveryField(t *testing.T) {
	w := newWorld(t)
	var doc struct {
		Paths map[string]struct {
			Post struct {
				RequestBody struct {
					Content map[string]struct{ Schema map[string]string }
				}
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]json.RawMessage }
		}
	}
	unmarshal(t, get(t, w.public.URL+"/openapi.json").raw, &doc)
	for _, o := range userOperations() {
		ref := doc.Paths["/v1/"+o.name].Post.RequestBody.Content["application/json"].Schema["$ref"]
		props := doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")].Properties
		for _, f := range reflect.VisibleFields(o.in) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" && name != "-" && props[name] == nil {
				t.Errorf("%s: the schema %s lacks %s", o.name, ref, name)
			}
		}
	}
}
