package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/hwangso/hwangso/store"
)

func humaConfig(title, version string) huma.Config {
	c := huma.DefaultConfig(title, version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil
	c.Info.Description = "Every operation is POST /v1/{op} with a JSON object. Keys that an operation does not know are ignored, unless it says that they are refused. " +
		"Times are RFC 3339; envelopes have Unix milliseconds."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "A token, or a JWT of a configured identity provider."},
		"basic":  {Type: "http", Scheme: "basic", Description: "User name and token."},
	}
	c.Security = []map[string][]string{{"bearer": {}}, {"basic": {}}}
	return c
}

// describe makes the OpenAPI description of an operation.
func describe(doc *huma.OpenAPI, o *operation) *huma.Operation {
	schemas := doc.Components.Schemas
	out := schemas.Schema(o.out, true, "")
	if s := schemas.SchemaFromRef(out.Ref); s.Properties["code"] == nil {
		if s.Properties == nil {
			s.Properties = make(map[string]*huma.Schema)
		}
		s.Properties["code"] = &huma.Schema{Type: huma.TypeInteger, Description: "200"}
	}
	in := schemas.Schema(o.in, true, "")
	seen := make(map[reflect.Type]bool)
	embed(schemas, o.in, seen)
	embed(schemas, o.out, seen)
	for _, s := range []*huma.Schema{schemas.SchemaFromRef(in.Ref), schemas.SchemaFromRef(out.Ref)} {
		s.AdditionalProperties = true
	}
	schemas.SchemaFromRef(in.Ref).Required = nil // the sentence of a refusal says what is missing
	op := &huma.Operation{
		Method: http.MethodPost, Path: "/v1/" + o.name, OperationID: o.name, Summary: o.summary, Description: o.text,
		Tags: []string{family(o.name)},
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{
			"application/json": {Schema: in},
		}},
		Responses: map[string]*huma.Response{
			"200": {Description: "Done.", Content: map[string]*huma.MediaType{"application/json": {Schema: out}}},
			"default": {Description: "Refused or failed.", Content: map[string]*huma.MediaType{
				"application/problem+json": {Schema: schemas.Schema(reflect.TypeFor[problem](), true, "")},
			}},
		},
	}
	if o.open {
		op.Security = []map[string][]string{{}}
	}
	if o.changes && !o.open {
		op.Parameters = []*huma.Param{{Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "The request identifier: a repeat within 24 hours gets the same answer and does nothing twice."}}
	}
	return op
}

// embed completes the schemas of a type and of all that it consists of: package huma passes over what an embedded struct
// with an unexported name brings, which encoding/json does not.
func embed(schemas huma.Registry, t reflect.Type, seen map[reflect.Type]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Array {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || seen[t] || t.PkgPath() != reflect.TypeFor[API]().PkgPath() {
		return
	}
	seen[t] = true
	whole := schemas.SchemaFromRef(schemas.Schema(t, true, "").Ref)
	for i := range t.NumField() {
		f := t.Field(i)
		embed(schemas, f.Type, seen)
		if !f.Anonymous || f.IsExported() || f.Type.Kind() != reflect.Struct || whole == nil {
			continue
		}
		part := schemas.SchemaFromRef(schemas.Schema(f.Type, true, "").Ref)
		if part == nil {
			continue
		}
		if whole.Properties == nil {
			whole.Properties = make(map[string]*huma.Schema)
		}
		for name, p := range part.Properties {
			if whole.Properties[name] == nil {
				whole.Properties[name] = p
			}
		}
		for _, name := range part.Required {
			if !slices.Contains(whole.Required, name) {
				whole.Required = append(whole.Required, name)
			}
		}
	}
}

// family is the first word of an operation's name.
func family(name string) string {
	word, _, _ := strings.Cut(name, ".")
	return word
}

// serveDocument serves the OpenAPI documents of a table of operations. Each is made when it is asked for the first time,
// and kept as it was rendered: what it is made of takes longer than whatever else a start does and some megabytes, and
// most servers and commands show it to nobody.
func serveDocument(mux *http.ServeMux, title, version string, table []operation) {
	for path, d := range map[string]struct {
		kind   string
		render func(*huma.OpenAPI) ([]byte, error)
	}{
		"/openapi.json": {"application/openapi+json", func(doc *huma.OpenAPI) ([]byte, error) { return json.Marshal(doc) }},
		"/openapi.yaml": {"application/openapi+yaml", (*huma.OpenAPI).YAML},
	} {
		rendered := sync.OnceValues(func() ([]byte, error) { return d.render(document(title, version, table)) })
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			body, err := rendered()
			if err != nil { // the table is constant: a test holds that it renders
				writeProblem(w, 0, err, store.Account{})
				return
			}
			w.Header().Set("Content-Type", d.kind)
			w.Write(body)
		})
	}
}

// document describes a table of operations. Package huma serves nothing of it: the mux that it asks for is thrown away.
func document(title, version string, table []operation) *huma.OpenAPI {
	doc := huma.NewAPI(humaConfig(title, version), humago.NewAdapter(http.NewServeMux(), "")).OpenAPI()
	for i := range table {
		doc.AddOperation(describe(doc, &table[i]))
	}
	return doc
}
