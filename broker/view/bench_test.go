package view

import (
	"strings"
	"testing"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// A Korean message of 30 characters, 68 bytes of UTF-8, from somebody with a name of usual length.
const koreanMessage = "오늘 저녁 6시에 강남역에서 보자. 늦으면 꼭 연락!!"

var koreanRecord = &store.Record{Seq: 1042, Time: aTime, Sender: 1, Text: []byte(koreanMessage)}

// TestSizes holds the figures that the documentation gives: what a short message costs as an MQTT 3.1.1 PUBLISH at
// QoS 1.
func TestSizes(t *testing.T) {
	if n, b := len([]rune(koreanMessage)), len(koreanMessage); n != 30 || b != 68 {
		t.Fatalf("the message has %d characters and %d bytes", n, b)
	}
	env, own := Env{Epoch: 1, Names: people}, Own{Viewer: 2, Unread: 1}
	for _, c := range []struct {
		view    hooks.View
		payload []byte
		most    int
	}{
		{hooks.Text, Text(nil, koreanRecord, Korean, people), 95},
		{hooks.CBOR, CBOR(koreanRecord, env).Append(nil, own), 120},
		{hooks.JSON, JSON(koreanRecord, env).Append(nil, own), 150},
	} {
		topic := hooks.Topic{Place: hooks.User, Act: hooks.Message, View: c.view, Name: "alice"}.String()
		const fixed, length, packetID = 2, 2, 2
		n := fixed + length + len(topic) + packetID + len(c.payload)
		if n > 129 {
			n++ // the Remaining Length takes two bytes
		}
		t.Logf("%s: PUBLISH of %d bytes: topic %s, payload %d bytes for %d characters, %d bytes of text", c.view, n, topic, len(c.payload), len([]rune(koreanMessage)), len(koreanMessage))
		if n > c.most {
			t.Errorf("%s: %d bytes, more than %d", c.view, n, c.most)
		}
	}
}

// TestAllocations: a delivery allocates nothing, encoding for everybody one buffer.
func TestAllocations(t *testing.T) {
	env, own := Env{Epoch: 1, Names: people}, Own{Viewer: 2, Unread: 1, Withheld: store.Span{From: 7, To: 9}}
	shared, buf := CBOR(koreanRecord, env), make([]byte, 0, 4096)
	sharedJSON := JSON(koreanRecord, env)
	items := []Item{{shared, own}, {shared, own}}
	for _, c := range []struct {
		name string
		want float64
		f    func()
	}{
		{"JSON", 1, func() { JSON(koreanRecord, env) }},
		{"CBOR", 1, func() { CBOR(koreanRecord, env) }},
		{"append JSON", 0, func() { sharedJSON.Append(buf, own) }},
		{"append CBOR", 0, func() { shared.Append(buf, own) }},
		{"batch", 0, func() { Batch(buf, items) }},
		{"text", 0, func() { Text(buf, koreanRecord, Korean, people) }},
		{"line", 0, func() { Line(buf, koreanRecord, Korean, people, own) }},
		{"parse text", 0, func() { _, _ = ParseText(koreanRecord.Text) }},
		{"outcome", 0, func() { AppendOutcome(buf, Outcome{CID: "c-1", Seq: 9, Time: aTime, Epoch: 1}) }},
	} {
		if got := testing.AllocsPerRun(100, c.f); got > c.want {
			t.Errorf("%s: %v allocations, want %v", c.name, got, c.want)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	env, own := Env{Epoch: 1, Names: people}, Own{Viewer: 2, Unread: 1}
	buf := make([]byte, 0, 4096)
	shared, sharedJSON := CBOR(koreanRecord, env), JSON(koreanRecord, env)
	items := make([]Item, 64)
	for i := range items {
		items[i] = Item{shared, own}
	}
	big := make([]byte, 0, 64*256)
	rich := *recordOf(b, bodies[8].json)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"json", func() { JSON(koreanRecord, env) }},
		{"cbor", func() { CBOR(koreanRecord, env) }},
		{"json-attachment", func() { JSON(&rich, env) }},
		{"cbor-attachment", func() { CBOR(&rich, env) }},
		{"append-json", func() { sharedJSON.Append(buf, own) }},
		{"append-cbor", func() { shared.Append(buf, own) }},
		{"batch-64", func() { Batch(big, items) }},
		{"text", func() { Text(buf, koreanRecord, Korean, people) }},
		{"line", func() { Line(buf, koreanRecord, Korean, people, own) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.f()
			}
		})
	}
}

func recordOf(t testing.TB, body string) *store.Record {
	t.Helper()
	c, err := ParseJSON([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return &store.Record{Seq: 1042, Time: aTime, Sender: 1, Kind: c.Kind, Text: c.Text, Extra: c.Extra}
}

func BenchmarkParse(b *testing.B) {
	text := []byte(`{"b":"` + koreanMessage + `"}`)
	rich := []byte(`{"k":"image","b":"see","r":7,"m":["bob","carol"],"a":[{"url":"https://f.example/1","w":640,"h":480}]}`)
	for _, c := range []struct {
		name string
		in   []byte
		f    func([]byte) (Content, error)
	}{
		{"text", []byte(koreanMessage), ParseText},
		{"json", text, ParseJSON},
		{"cbor", toCBOR(b, string(text)), ParseCBOR},
		{"json-rich", rich, ParseJSON},
		{"cbor-rich", toCBOR(b, string(rich)), ParseCBOR},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.f(c.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHostile is what 64 KiB cost that are built to cost much. Claim: no more per byte than harmless ones, within
// a small factor.
func BenchmarkHostile(b *testing.B) {
	const size = 64 << 10
	fill := func(s string) []byte { return []byte(strings.Repeat(s, size/len(s))) }
	line := func(in []byte) {
		Line(nil, &store.Record{Sender: 1, Text: in}, English, people, Own{})
	}
	for _, c := range []struct {
		name string
		in   []byte
		f    func([]byte)
	}{
		{"line-harmless", fill("a"), line},
		{"line-unended", fill("\x1b]"), line},
		{"line-invalid", fill("\xff"), line},
		{"json-harmless", []byte(`{"b":"` + string(fill("a")) + `"}`), func(in []byte) { _, _ = ParseJSON(in) }},
		{"json-deep", fill(`{"b":`), func(in []byte) { _, _ = ParseJSON(in) }},
		{"json-escapes", []byte(`{"b":"` + string(fill(`\ud83d\ude00`)) + `"}`), func(in []byte) { _, _ = ParseJSON(in) }},
		{"json-arrays", []byte(`{"z":[` + string(fill(`[[],[],[]],`)) + `]}`), func(in []byte) { _, _ = ParseJSON(in) }},
		{"cbor-deep", fill("\x81"), func(in []byte) { _, _ = ParseCBOR(append([]byte{majorMap | 1, keyBody}, in...)) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				c.f(c.in)
			}
		})
	}
}
