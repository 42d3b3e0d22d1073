package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

func unmarshal(t testing.TB, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
}

// FuzzRequestBody: whatever arrives over MQTT is read or refused with a sentence, and an answer is one JSON object.
func FuzzRequestBody(f *testing.F) {
	for _, s := range []string{"", "{}", "null", "[]", `{"limit":1}`, `{"room":"lobby","users":["bob"]}`, `{"user":"bob","text":"hi","attachments":[{"x":1}]}`,
		`{"limit":1e99}`, `{"seq":18446744073709551616}`, `{"expires":"2026-11-21T00:00:00Z"}`, `{"a":{"a":{"a":{}}}}`, "{\"text\":\"\xff\"}",
		`{"attachments":[null,1,"x",[[]]]}`, `{"on":null}`, `{"TEXT":"x"}`, strings.Repeat("[", 300), "\ufeff{}", `{"text":"\ud800"}`} {
		f.Add([]byte(s))
	}
	table := append(userOperations(), operatorOperations()...)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, o := range table {
			in := reflect.New(o.in).Interface()
			if err := decode(body, in); err != nil {
				if store.CodeOf(err) != store.CodeBad {
					t.Fatalf("%s: %v has code %v", o.name, err, store.CodeOf(err))
				}
				continue
			}
			out, err := encode(struct { // a request may have a code of its own
				In any `json:"in"`
			}{in})
			if err != nil {
				t.Fatalf("%s: %v", o.name, err)
			}
			var m map[string]any
			if err := json.Unmarshal(out, &m); err != nil || m["code"] != 200.0 {
				t.Fatalf("%s: %q: %v", o.name, out, err)
			}
		}
	})
}

// FuzzSyncToken: a token that is not ours is as good as none.
func FuzzSyncToken(f *testing.F) {
	var own syncToken
	own.rooms = map[[syncName]byte][syncState]byte{{1}: {2}, {3}: {4}}
	f.Add(own.String(1))
	f.Add("")
	f.Add("AQAAAAE")
	f.Fuzz(func(t *testing.T, s string) {
		tok, ok := readSyncToken(s, 1)
		if !ok {
			return
		}
		back, ok := readSyncToken(tok.String(1), 1)
		if !ok || !reflect.DeepEqual(back, tok) {
			t.Fatalf("%q: %v %v", s, back, tok)
		}
		if _, ok := readSyncToken(s, 2); ok {
			t.Fatal("a token of another epoch was taken")
		}
	})
}
