package view

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/hwangso/hwangso/store"
)

// mustCBOR encodes a value of encoding/json's kinds, or of ours.
func mustCBOR(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refused checks that err is a *store.Error of the code with a sentence.
func refused(t *testing.T, what string, err error, code store.Code) {
	t.Helper()
	e, ok := errors.AsType[*store.Error](err)
	switch {
	case !ok:
		t.Errorf("%s: got %v, want a refusal", what, err)
	case e.Code != code:
		t.Errorf("%s: got code %d (%v), want %d", what, e.Code, err, code)
	case len(e.Text) < 10 || strings.Contains(e.Text, "%!"):
		t.Errorf("%s: %q is no sentence", what, e.Text)
	}
}

func TestParseText(t *testing.T) {
	c, err := ParseText([]byte("안녕"))
	if err != nil || string(c.Text) != "안녕" || c.Kind != store.KindText || c.Extra != nil {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, bad := range []string{"", "a\x00b", "\xff", "\xed\xa0\x80"} {
		_, err := ParseText([]byte(bad))
		refused(t, fmt.Sprintf("%q", bad), err, store.CodeBad)
	}
}

// bodies are bodies that mean something, as JSON; their CBOR means the same.
var bodies = []struct {
	json string
	want Content // without Extra
}{
	{`{"b":"hi"}`, Content{Text: []byte("hi")}},
	{" \r\n\t{ \"b\" : \"hi\" } \n", Content{Text: []byte("hi")}},
	{`{"b":"\u00e9\ud83d\ude00\/\b\f\n\r\t\"\\"}`, Content{Text: []byte("é😀/\b\f\n\r\t\"\\")}},
	{`{"k":"text","b":"hi","r":7,"e":1790000000000}`, Content{Text: []byte("hi"), ReplyTo: 7, Expiry: 1790000000000}},
	{`{"b":"hi","r":18446744073709551615}`, Content{Text: []byte("hi"), ReplyTo: 1<<64 - 1}},
	{`{"b":"hi","m":["Bob","bob","@all","carol"]}`, Content{Text: []byte("hi"), Mentions: []string{"bob", "carol"}, All: true}},
	{`{"b":"hi","m":[],"a":[]}`, Content{Text: []byte("hi")}},
	{`{"b":"hi","k":null,"r":null,"m":null,"a":null,"e":null,"x":null}`, Content{Text: []byte("hi")}},
	{`{"k":"image","a":[{"url":"https://f.example/1","w":640}]}`, Content{Kind: store.KindImage}},
	{`{"k":"location","a":[{"lat":37.5665,"lon":-126.978}]}`, Content{Kind: store.KindLocation}},
	{`{"k":"poll","b":"lunch?","a":[{"o":["a","b"],"deep":{"er":[[1]]}}]}`, Content{Kind: store.KindPoll, Text: []byte("lunch?")}},
	{`{"s":"x","f":"mallory","t":-1,"i":7,"w":false,"u":9,"g":{},"h":99,"l":3,"zz":[1,{"y":2}],"b":"hi"}`, Content{Text: []byte("hi")}},
}

func TestParseBodies(t *testing.T) {
	for _, c := range bodies {
		got, err := ParseJSON([]byte(c.json))
		if err != nil {
			t.Errorf("%s: %v", c.json, err)
			continue
		}
		again, err := ParseCBOR(toCBOR(t, c.json))
		if err != nil {
			t.Errorf("%s as CBOR: %v", c.json, err)
			continue
		}
		if !reflect.DeepEqual(got, again) {
			t.Errorf("%s: JSON says %+v, CBOR %+v", c.json, got, again)
		}
		extra := got.Extra
		got.Extra = nil
		if len(got.Text) == 0 {
			got.Text = nil
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.json, got, c.want)
		}
		if err := canonical(extra); err != nil {
			t.Errorf("%s: extra %x: %v", c.json, extra, err)
		}
	}
}

// canonical checks with another implementation that an Extra is deterministic CBOR.
func canonical(extra []byte) error {
	if extra == nil {
		return nil
	}
	var v map[uint64]any
	if err := cbor.Unmarshal(extra, &v); err != nil {
		return err
	}
	again, err := encoder.Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, extra) {
		return fmt.Errorf("canonical is %x", again)
	}
	return nil
}

// toCBOR turns a JSON body into one with integer keys, by encoding/json and the CBOR library alone.
func toCBOR(t testing.TB, s string) []byte {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	out := map[any]any{}
	for k, v := range v {
		if i := strings.Index(keyLetters, k); i >= 0 && len(k) == 1 {
			out[i] = numbers(v)
		} else {
			out[k] = numbers(v)
		}
	}
	return mustCBOR(t, out)
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		var u uint64
		if _, err := fmt.Sscanf(v.String(), "%d", &u); err == nil && fmt.Sprint(u) == v.String() {
			return u
		}
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

func TestRefusedBodies(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	list := func(n int, of string) string { return "[" + strings.TrimSuffix(strings.Repeat(of+",", n), ",") + "]" }
	for _, c := range []struct {
		json string
		code store.Code
	}{
		{`{"b":""}`, 400}, {`{}`, 400}, {`{"k":"text"}`, 400}, {`{"k":"image"}`, 400}, {`{"k":"image","b":"","a":[]}`, 400},
		{`{"b":"a\u0000b"}`, 400}, {`{"b":7}`, 400}, {`{"b":["x"]}`, 400},
		{`{"b":"x","k":"sticker"}`, 400}, {`{"b":"x","k":1}`, 400}, {`{"b":"x","k":""}`, 400},
		{`{"b":"x","k":"coupon"}`, 403}, {`{"b":"x","k":"gift"}`, 403}, {`{"b":"x","k":"link"}`, 403},
		{`{"b":"x","k":"system"}`, 403}, {`{"b":"x","k":"notice"}`, 403},
		{`{"b":"x","r":0}`, 400}, {`{"b":"x","r":-1}`, 400}, {`{"b":"x","r":1.5}`, 400}, {`{"b":"x","r":"7"}`, 400},
		{`{"b":"x","e":0}`, 400}, {`{"b":"x","e":-5}`, 400}, {`{"b":"x","e":9223372036854775808}`, 400}, {`{"b":"x","e":"soon"}`, 400},
		{`{"b":"x","m":"bob"}`, 400}, {`{"b":"x","m":[""]}`, 400}, {`{"b":"x","m":["@bob"]}`, 400}, {`{"b":"x","m":["a b"]}`, 400},
		{`{"b":"x","m":[7]}`, 400}, {`{"b":"x","m":` + list(21, `"bob"`) + `}`, 400},
		{`{"b":"x","a":{}}`, 400}, {`{"b":"x","a":["u"]}`, 400}, {`{"b":"x","a":[null]}`, 400}, {`{"b":"x","a":` + list(11, `{}`) + `}`, 400},
		{`{"b":"x","a":[{"u":"` + strings.Repeat("u", MaxAttachment) + `"}]}`, 413},
		{`{"b":"x","x":{"op":"recall","s":1}}`, 400}, {`{"b":"x","x":"recall"}`, 400},
		{`{"b":"x","zz":` + deep(6) + `}`, 400}, {`{"b":"x","a":[{"d":` + deep(4) + `}]}`, 400},
		{`{"b":"x","zz":` + list(65, `1`) + `}`, 400},
	} {
		_, err := ParseJSON([]byte(c.json))
		refused(t, c.json, err, c.code)
		_, err = ParseCBOR(toCBOR(t, c.json))
		refused(t, c.json+" as CBOR", err, c.code)
	}
}

func TestRefusedJSON(t *testing.T) {
	many := `{"b":"x"`
	for i := range 64 {
		many += fmt.Sprintf(`,"k%d":0`, i)
	}
	for _, s := range []string{
		"", " ", "null", `"hi"`, `[]`, `{`, `{"b"`, `{"b":`, `{"b":"`, `{"b":"x`, `{"b":"x"`, `{"b":"x",`, `{"b":"x",}`, `{b:"x"}`,
		`{"b":"x"}x`, `{"b":"x"}{}`, "{\"b\":\"x\"}\x00", `{'b':'x'}`, `{"b":"x"/**/}`, "\ufeff" + `{"b":"x"}`,
		`{"b":"x","b":"y"}`, `{"b":"x","zz":1,"zz":2}`, `{"b":"x","\u0062":"y"}`, `{"b":"x","a":[{"u":1,"u":2}]}`,
		"{\"b\":\"a\nb\"}", "{\"b\":\"\xff\"}", "{\"\xff\":1,\"b\":\"x\"}", "{\"b\":\"\\n\xff\"}",
		`{"b":"\ud800"}`, `{"b":"\udc00\ud800"}`, `{"b":"\ud800\u0041"}`, `{"b":"\ud800x"}`, `{"b":"\u12"}`, `{"b":"\uzzzz"}`, `{"b":"\x41"}`, `{"b":"\`,
		`{"b":"x","n":01}`, `{"b":"x","n":+1}`, `{"b":"x","n":1.}`, `{"b":"x","n":.5}`, `{"b":"x","n":1e}`, `{"b":"x","n":-}`, `{"b":"x","n":1e999}`,
		`{"b":"x","n":NaN}`, `{"b":"x","n":tru}`, `{"b":"x","n":nul`, `{"b":"x","n":[1}`, `{"b":"x","n":[1,]}`,
		many + "}", strings.Repeat("[", 1<<16), strings.Repeat(`{"a":`, 1<<16), `{"b":` + strings.Repeat("[", 1<<16),
	} {
		_, err := ParseJSON([]byte(s))
		refused(t, fmt.Sprintf("%.60q", s), err, store.CodeBad)
	}
}

func TestRefusedCBOR(t *testing.T) {
	for _, s := range []string{
		"", "60", "80", "f6", "01", // no map
		"a1", "a104", "a10461", "a1046178ff", // cut, or something after it
		"a10461ff",                             // not UTF-8
		"a2046178046179",                       // a repeated key
		"a304617818636101186361",               // a cut one
		"a3046178186301186302",                 // a repeated key that nobody reads
		"a2046178081a00000001",                 // attachments that are a number
		"a204617808a10101",                     // … a map
		"a20461780881a10101",                   // an attachment with integer keys
		"a20461780881a2617501617502",           // … with a repeated key
		"a20461780881a16175c11a514b67",         // … with a tag, cut
		"a20461780881a16175c100",               // … with a tag
		"a20461780881a16175c24101",             // … with a big number
		"a20461780881a161753bffffffffffffffff", // … less than an int64 holds
		"a20461780881a16175f97e00",             // … NaN
		"a20461780881a16175f97c00",             // … infinite
		"a20461780881a16175f7",                 // … undefined
		"a20461780881a16175e0",                 // … a simple value
		"bf046178",                             // no end
		"a1049bffffffffffffffff",               // an array of 2^64-1
		"a1047bffffffffffffffff",               // a text of 2^64-1
		"bbffffffffffffffff",                   // a map of 2^64-1
		"a104" + strings.Repeat("81", 1<<12) + "00",
		"a2046178" + "1863" + strings.Repeat("81", 1<<12) + "00",
		"a10441ff", // bytes where a text belongs
	} {
		_, err := ParseCBOR(mustHex(t, s))
		if s == "a20461780881a16175f7" {
			if err != nil { // undefined reads as null
				t.Errorf("%s: %v", s, err)
			}
			continue
		}
		refused(t, fmt.Sprintf("%.60s", s), err, store.CodeBad)
	}
	// Indefinite lengths are fine: small encoders write them. What is stored is canonical.
	c, err := ParseCBOR(mustHex(t, "bf047f61686169ff089fbf61757f6178ff61616178ffffff"))
	if err != nil || string(c.Text) != "hi" || canonical(c.Extra) != nil {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestParseOp(t *testing.T) {
	op := func(k store.OpKind, target store.Seq, text string) Operation {
		o := Operation{Op: store.Op{Kind: k, Target: target}}
		if text != "" {
			o.Text = []byte(text)
		}
		return o
	}
	for _, c := range []struct {
		in   string
		want Operation
	}{
		{"edit 12 new  text ", op(store.OpEdit, 12, "new  text ")},
		{" Recall  12\n", op(store.OpRecall, 12, "")},
		{"react 12 👍\n", op(store.OpReact, 12, "👍")},
		{"unreact 12 👍🏽", op(store.OpUnreact, 12, "👍🏽")},
		{"pin 12", op(store.OpPin, 12, "")},
		{"unpin 12", op(store.OpUnpin, 12, "")},
		{`{"op":"edit","s":12,"b":"new text"}`, op(store.OpEdit, 12, "new text")},
		{` {"s":12,"op":"recall","b":"ignored"}`, op(store.OpRecall, 12, "")},
		{`{"x":{"op":"react","s":12},"b":"❤️","s":99,"f":"alice"}`, op(store.OpReact, 12, "❤️")},
		{"\xa3\x0a\x64edit\x00\x0c\x04\x68new text", op(store.OpEdit, 12, "new text")},
		{"\xa2\x0a\xa2\x00\x63pin\x01\x0c\x00\x18\x63", op(store.OpPin, 12, "")},
	} {
		got, err := ParseOp([]byte(c.in))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, %v, want %+v", c.in, got, err, c.want)
		}
	}
	for _, bad := range []string{
		"", " \n", "12", "edit", "edit x y", "edit 12", "edit 0 x", "edit -1 x", "edit 99999999999999999999 x", "delete 12", "react 12", "react 12 ok",
		"edit 12 a\x00", "edit 12 \xff", "react 12 👍👍", "\xff", "{", `{}`, `{"op":"edit"}`, `{"op":"edit","s":12}`, `{"op":"edit","s":"12","b":"x"}`,
		`{"op":"edit","s":0,"b":"x"}`, `{"op":"edit","s":12,"b":7}`, `{"op":7,"s":12}`, `{"op":"","s":12}`, `{"x":"edit","s":12,"b":"x"}`, `{"s":12,"b":"hi"}`,
		"\xa1\x00\x0c", "\xa2\x0a\x80\x00\x0c", "\xa1\x0a\xa1\x00\x63pin", "\xa2\x0a\x63pin\x0a\x63pin", "\xa1\x0a\xa2\x00\x63pin\x00\x63pin", "\xa2\x0a\x63pin\x00\x20",
	} {
		_, err := ParseOp([]byte(bad))
		refused(t, fmt.Sprintf("%q", bad), err, store.CodeBad)
	}
}

// Operations come back to clients in the form in which they may be sent.
func TestOperationsRoundTrip(t *testing.T) {
	for _, s := range scenes() {
		if s.r.Op.Kind == store.OpNone || s.r.Recalled {
			continue
		}
		env := Env{Names: people}
		for _, payload := range [][]byte{JSON(s.r, env).Append(nil, Own{}), CBOR(s.r, env).Append(nil, Own{})} {
			o, err := ParseOp(payload)
			if err != nil || o.Op != s.r.Op || !bytes.Equal(o.Text, s.r.Text) {
				t.Errorf("%s: got %+v, %v", s.name, o, err)
			}
		}
	}
}

func TestEmoji(t *testing.T) {
	for _, good := range []string{"👍", "❤️", "👩‍👩‍👧‍👦", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "🇰🇷", "1️⃣", "#⃣", "👍🏽", "©", "™️", "‼️", "ℹ️", "♥", "✔", "〰️", "▪"} {
		if !emoji(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", "a", "1", "ㅋ", "hi", "👍👎", "👍 ", "🇰", "🇰🇷🇯", "👍\u200d", "\u200d👍", "\ufe0f", "\u202e", "!", "\x1b[m", "👍\n", "\xff", "1️", "👍⃣", strings.Repeat("👍\u200d", 5) + "👍"} {
		if emoji(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParseRead(t *testing.T) {
	for in, want := range map[string]store.Seq{"118": 118, " 118\n": 118, "1": 1, "007": 7, "9223372036854775807": 1<<63 - 1,
		"\x18\x76": 118, "\x0a": 10, "\x09": 9, "\x0d": 13, "\x17": 23, "\x1b\x00\x00\x00\x01\x00\x00\x00\x00": 1 << 32} {
		if got, err := ParseRead([]byte(in)); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"", " ", "\n\n", "0", "-1", "+1", "1.0", "1e3", "x", "118 119", "[118]", "99999999999999999999", "\x00", "\x18", "\x20", "\x82\x01\x02", "\x00\x00", "１"} {
		_, err := ParseRead([]byte(bad))
		refused(t, fmt.Sprintf("%q", bad), err, store.CodeBad)
	}
}

func TestParseTyping(t *testing.T) {
	if err := ParseTyping(nil); err != nil {
		t.Error(err)
	}
	if err := ParseTyping(make([]byte, MaxTyping)); err != nil {
		t.Error(err)
	}
	refused(t, "long", ParseTyping(make([]byte, MaxTyping+1)), store.CodeTooLarge)
}

func TestMarks(t *testing.T) {
	for _, c := range []struct {
		steps []store.Step
		want  string
	}{
		{nil, "[]"}, {[]store.Step{{Seq: 118, Members: 2}, {Seq: 130}}, "[[118,2],[130,0]]"},
	} {
		if got := string(AppendMarks(nil, c.steps)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
