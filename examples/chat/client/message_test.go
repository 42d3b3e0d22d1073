package client

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/eclipse/paho.golang/paho"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		`{"s":1,"f":"alice","b":"hi"}`:                                         "alice: hi",
		`{"s":1,"f":"alice","b":"hi","x":{"op":"edit","s":1,"at":5}}`:          "alice: hi (edited)",
		`{"s":5,"f":"alice","b":"new","x":{"op":"edit","s":1}}`:                "· alice edited #1: new",
		`{"s":5,"f":"alice","x":{"op":"recall","s":1}}`:                        "· alice took #1 back",
		`{"s":5,"f":"alice","b":"👍","x":{"op":"react","s":1}}`:                 "· alice: 👍 to #1",
		`{"s":5,"f":"alice","k":"image","b":"the sea"}`:                        "alice: [image] the sea",
		`{"s":5,"k":"system","x":{"op":"joined","who":"bob"}}`:                 "· bob is in the room now",
		`{"s":5,"k":"system","x":{"op":"role","who":"bob","role":"owner"}}`:    "· bob is owner now",
		`{"s":5,"k":"notice","x":{"op":"device","device":"phone"}}`:            "· a device of yours has signed in: phone",
		`{"s":5,"k":"notice","x":{"op":"invited","who":"bob","room":"plans"}}`: "· bob invites you to #plans: /join #plans",
		`{"s":5,"k":"notice","x":{"op":"something_new","who":"bob"}}`:          "· something new bob",
		`{"s":1,"f":"a","b":"x\u001b[2Jy\u202e\nz"}`:                           "a: x[2Jy z",
	} {
		m, ok := ParseEnvelope("room/r", []byte(in))
		if !ok || m.Line() != want {
			t.Errorf("%s: %q, want %q", in, m.Line(), want)
		}
	}
}

func TestUnreadBy(t *testing.T) {
	e, ok := parseEvent("room", "r", "read", []byte(`[[3,1],[5,2],[9,0]]`))
	if !ok || e.UnreadBy(3) != 0 || e.UnreadBy(4) != 1 || e.UnreadBy(6) != 3 {
		t.Errorf("%+v", e)
	}
}

// FuzzEnvelope: whatever a server sends, a line for the terminal has nothing that steers it.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"s":1,"f":"alice","b":"hi","x":{"op":"edit","s":1}}`))
	f.Add([]byte(`{"s":1,"b":"\u0000\u001b\u009b\u202e"}`))
	f.Add([]byte(`{"s":-1}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, ok := ParseEnvelope("room/r", payload)
		if !ok {
			return
		}
		if m.Seq == 0 || !json.Valid(payload) {
			t.Errorf("%q is a message", payload)
		}
		if i := strings.IndexFunc(m.Line(), unicode.IsControl); i >= 0 {
			t.Errorf("%q becomes %q", payload, m.Line())
		}
	})
}

// TestEachMessageOnce: what is delivered again is not handed over again, what comes after a restore is.
func TestEachMessageOnce(t *testing.T) {
	var got []string
	c := &Client{last: make(map[string]place), cfg: Config{Message: func(m Message) { got = append(got, m.Text) }}}
	for _, d := range []struct{ topic, payload string }{
		{"room/r/json", `{"s":1,"b":"a"}`},
		{"room/r/json", `{"s":2,"b":"b"}`},
		{"room/other/json", `{"s":1,"b":"c"}`},
		{"room/r/json", `{"s":1,"b":"again"}`},
		{"room/r/json", `{"s":2,"b":"again"}`},
		{"room/r/json", `{"s":3,"b":"d"}`},
		{"room/r/json", `{"s":3,"b":"restored","h":2}`},
		{"room/r/json", `{"s":3,"b":"again","h":2}`},
		{"channel/c/json", `{"s":1,"b":"notice"}`},
		{"channel/c/json", `{"s":1,"b":"ad","d":true}`},
		{"channel/c/json", `{"s":1,"b":"again","d":true}`},
	} {
		_, err := c.received(paho.PublishReceived{Packet: &paho.Publish{Topic: d.topic, Payload: []byte(d.payload)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if s := strings.Join(got, " "); s != "a b c d restored notice ad" {
		t.Errorf("got %s", s)
	}
}
