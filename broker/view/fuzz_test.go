package view

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"github.com/hwangso/hwangso/store"
)

// sound checks what holds for every content that a parser accepts, up to its envelopes.
func sound(t *testing.T, c Content) {
	t.Helper()
	if !c.Kind.ByClient() || !utf8.Valid(c.Text) || bytes.IndexByte(c.Text, 0) >= 0 || len(c.Mentions) > MaxMentions {
		t.Fatalf("accepted %+v", c)
	}
	if err := canonical(c.Extra); err != nil {
		t.Fatalf("extra %x: %v", c.Extra, err)
	}
	r := &store.Record{Seq: 1, Sender: 1, Kind: c.Kind, Text: c.Text, Extra: c.Extra, Expiry: c.Expiry}
	env := Env{Names: people}
	j, b := JSON(r, env).Append(nil, Own{}), CBOR(r, env).Append(nil, Own{})
	fromJSON, err := ParseJSON(j)
	if err != nil {
		t.Fatalf("%s does not parse: %v", j, err)
	}
	fromCBOR, err := ParseCBOR(b)
	if err != nil {
		t.Fatalf("%x does not parse: %v", b, err)
	}
	if !same(fromCBOR, c) {
		t.Fatalf("%x is %+v, was %+v", b, fromCBOR, c)
	}
	// JSON has no byte strings, and does not tell 1.0 from 1: its meaning settles after one round.
	r.Text, r.Extra = fromJSON.Text, fromJSON.Extra
	if again := JSON(r, env).Append(nil, Own{}); !bytes.Equal(again, j) {
		t.Fatalf("%s comes back as %s", j, again)
	}
	fromJSON.Extra, c.Extra = nil, nil
	if !same(fromJSON, c) {
		t.Fatalf("%s is %+v, was %+v", j, fromJSON, c)
	}
}

func same(a, b Content) bool {
	if len(a.Text)+len(b.Text) == 0 {
		a.Text, b.Text = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func FuzzParseJSON(f *testing.F) {
	for _, c := range bodies {
		f.Add([]byte(c.json))
	}
	f.Add([]byte(`{"b":"x","a":[{"n":1e308,"z":-0,"f":1.0,"i":-9223372036854775808,"u":18446744073709551616}]}`))
	f.Add([]byte(`{"b":"\ud83d\ude00","b":""}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := readJSON(payload)
		// The standard library agrees on what is valid, and on what it says.
		if err == nil {
			var m map[string]any
			if e := json.Unmarshal(payload, &m); e != nil {
				t.Fatalf("accepted what is no JSON: %v", e)
			}
			for key, got := range map[string]any{"b": b.B, "a": b.A, "m": b.M, "k": b.K, "r": b.R, "x": b.x} {
				if want := m[key]; !reflect.DeepEqual(floats(got), want) {
					t.Fatalf("%s is %#v, encoding/json says %#v", key, got, want)
				}
			}
		} else if json.Valid(payload) && utf8.Valid(payload) && len(payload) < 64 && bytes.Count(payload, []byte{'"'}) <= 4 &&
			bytes.IndexByte(payload, '\\') < 0 && bytes.HasPrefix(bytes.TrimSpace(payload), []byte("{")) &&
			bytes.Count(payload, []byte("["))+bytes.Count(payload, []byte("{")) < maxDepth && !strings.Contains(err.Error(), "repeated") {
			var v any
			if json.Unmarshal(payload, &v) == nil { // not out of range
				t.Fatalf("refused %q: %v", payload, err)
			}
		}
		if c, err := ParseJSON(payload); err == nil {
			sound(t, c)
		}
	})
}

// floats turns our numbers into those of encoding/json.
func floats(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = floats(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = floats(v[k])
		}
		return out
	}
	return v
}

func FuzzParseCBOR(f *testing.F) {
	for _, c := range bodies {
		f.Add(toCBOR(f, c.json))
	}
	for _, s := range []string{"bf047f61686169ff089fbf61757f6178ff61616178ffffff", "a20461780881a16175420001", "a20461780881a16175f93e00", "a20461780881a16175fb3ff199999999999a", "a2046178046179"} {
		f.Add(mustHex(f, s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if c, err := ParseCBOR(payload); err == nil {
			sound(t, c)
		}
	})
}

func FuzzParseOp(f *testing.F) {
	for _, s := range []string{"edit 12 new text", "recall 12", "react 12 👍", `{"op":"pin","s":12}`, `{"x":{"op":"react","s":12},"b":"❤️"}`, "\xa3\x0a\x64edit\x00\x0c\x04\x68new text", "\xa2\x0a\xa2\x00\x63pin\x01\x0c\x00\x18\x63"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		o, err := ParseOp(payload)
		if err != nil {
			return
		}
		if o.Op.Kind == store.OpNone || o.Op.Target == 0 || !utf8.Valid(o.Text) || bytes.IndexByte(o.Text, 0) >= 0 {
			t.Fatalf("accepted %+v", o)
		}
		r := &store.Record{Seq: 1, Sender: 1, Op: o.Op, Text: o.Text}
		for _, p := range [][]byte{JSON(r, Env{}).Append(nil, Own{}), CBOR(r, Env{}).Append(nil, Own{})} {
			if again, err := ParseOp(p); err != nil || !reflect.DeepEqual(again, o) {
				t.Fatalf("%q comes back as %+v, %v; was %+v", p, again, err, o)
			}
		}
	})
}

func FuzzParseRead(f *testing.F) {
	for _, s := range []string{"118", " 118\n", "\x18\x76", "\x0a", "007", "-1", "99999999999999999999"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		seq, err := ParseRead(payload)
		if err != nil {
			return
		}
		var n uint64
		if cbor.Unmarshal(payload, &n) == nil {
			if store.Seq(n) != seq {
				t.Fatalf("got %d, CBOR says %d", seq, n)
			}
			return
		}
		if digits := strings.TrimLeft(string(bytes.TrimSpace(payload)), "0"); digits != string(appendUint(seq)) {
			t.Fatalf("%q is %d", payload, seq)
		}
	})
}

func appendUint(s store.Seq) []byte { b, _ := json.Marshal(uint64(s)); return b }

func FuzzLine(f *testing.F) {
	for _, s := range scenes() {
		f.Add("alice", s.r.Text, s.name == "stranger", uint8(s.r.Kind), uint8(s.r.Op.Kind), uint8(Korean))
	}
	f.Add("· mallory", []byte("\x1b]\x1b]\x1b[\x1b"), false, uint8(0), uint8(0), uint8(0))
	f.Add("\u202e\x1b[2J", []byte("\u009b31mx\u009d0;t\u009c\r\n\u2028·"), true, uint8(0), uint8(0), uint8(3))
	f.Add("\u202e \x1b[m· mallory", []byte("\u202e· hi"), false, uint8(0), uint8(0), uint8(0))
	f.Add("", []byte("\xff\xc2\x9b\xc2"), false, uint8(10), uint8(0), uint8(255))
	f.Fuzz(func(t *testing.T, name string, text []byte, warn bool, kind, op, l uint8) {
		r := &store.Record{Seq: 2, Sender: 1, Text: text, Warn: warn, Kind: store.Kind(kind % 12), Op: store.Op{Kind: store.OpKind(op % 7), Target: 1}}
		if r.Kind == store.KindNotice {
			r.Extra = Notice{What: string(text), Who: 1, Room: name, Device: name}.Extra()
		}
		line := Line([]byte("before"), r, Lang(l), names{1: name}, Own{Viewer: 2, Unread: 3})
		line, ok := bytes.CutPrefix(line, []byte("before"))
		if !ok || !utf8.Valid(line) {
			t.Fatalf("got %q", line)
		}
		for _, c := range string(line) {
			if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == 0x2028 || c == 0x2029 {
				t.Fatalf("%U in %q", c, line)
			}
		}
		said := r.Op.Kind != store.OpNone || r.Kind == store.KindSystem || r.Kind == store.KindNotice
		if bytes.HasPrefix(line, []byte(systemMark)) != said {
			t.Fatalf("%q: said by the server: %t", line, said)
		}
		if _, body, found := bytes.Cut(line, []byte(": ")); found && !said && r.Kind == store.KindText {
			if c, _ := utf8.DecodeRune(body); dot(c) && !strings.Contains(name, ": ") {
				t.Fatalf("%q: the text begins like a line of the server", line)
			}
		}
		for _, s := range []Shared{JSON(r, Env{Names: names{1: name}}), CBOR(r, Env{Names: names{1: name}})} {
			payload := s.Append(nil, Own{Unread: 1 << 40, Withheld: store.Span{From: 1 << 62, To: 1 << 63}})
			if len(payload) > s.Len()+MaxOwn {
				t.Fatalf("%d bytes more than Len", len(payload)-s.Len())
			}
			if s.json && !json.Valid(payload) || !s.json && cbor.Wellformed(payload) != nil {
				t.Fatalf("malformed %q", payload)
			}
		}
	})
}
