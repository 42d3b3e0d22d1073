package pushsim

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const goodToken = "fJ3kd82ksLQ:APA91bHun4MxP5egoKMwt2KZFBaFUH"

func TestParseFCM(t *testing.T) {
	m, e := parseFCM([]byte(`{"message":{"token":"` + goodToken + `","data":{"kind":"message","args":"[\"a\"]"},
		"android":{"priority":"high","ttl":"604800.500s","collapse_key":"k"}},"validate_only":true}`))
	if e != nil {
		t.Fatal(e)
	}
	if !m.ValidateOnly || m.Token != goodToken || m.Data["args"] != `["a"]` || len(m.Data) != 2 || !m.High ||
		m.TTL != 604800*time.Second+500*time.Millisecond || m.CollapseKey != "k" || !m.collapsible() {
		t.Fatalf("%+v", m)
	}
	// What is not said: four weeks, normal priority, not collapsible. The camel case of Google's own JSON is understood.
	m, e = parseFCM([]byte(`{"validateOnly":false,"message":{"topic":"news","android":{"restrictedPackageName":"a.b","directBootOk":true}}}`))
	if e != nil || m.TTL != 28*24*time.Hour || m.High || m.collapsible() || m.Package != "a.b" {
		t.Fatalf("%+v, %v", m, e)
	}
	if m, e = parseFCM([]byte(`{"message":{"token":"x","notification":{"title":"t","body":"b"}}}`)); e != nil || !m.collapsible() || m.Title != "t" || m.Body != "b" {
		t.Fatalf("a notification is collapsible: %+v, %v", m, e)
	}
}

func TestParseFCMRefuses(t *testing.T) {
	to := `"token":"` + goodToken + `"`
	for _, c := range []struct{ name, body, field, fcm, text string }{
		{"nothing", ``, "", "", "Unexpected end of string"},
		{"no JSON", `{"message"`, "", "", "Unexpected"},
		{"array", `[]`, "", "", "Invalid value"},
		{"string", `"x"`, "", "", "Invalid value"},
		{"text after", `{"message":{` + to + `}} x`, "", "", "after the end"},
		{"no UTF-8", "{\"message\":{\"token\":\"\xff\"}}", "", "", "UTF-8"},
		{"no message", `{}`, "message", "INVALID_ARGUMENT", "missing"},
		{"no target", `{"message":{"data":{"a":"b"}}}`, "message", "INVALID_ARGUMENT", "Recipient"},
		{"two targets", `{"message":{` + to + `,"topic":"x"}}`, "message", "", "Cannot set 'topic'"},
		{"unknown", `{"message":{` + to + `,"tokn":"x"}}`, "message", "", `Unknown name "tokn"`},
		{"unknown above", `{"mesage":{}}`, "", "", `Unknown name "mesage"`},
		{"twice", `{"message":{"data":{"a":"1","a":"2"}}}`, "message.data", "", "twice"},
		{"number", `{"message":{` + to + `,"data":{"a":"b","n":12}}}`, "message.data[1].value", "", "(TYPE_STRING), 12"},
		{"null value", `{"message":{` + to + `,"data":{"a":null}}}`, "message.data[0].value", "", "(TYPE_STRING)"},
		{"object", `{"message":{` + to + `,"data":{"a":{}}}}`, "message.data[0].value", "", "(TYPE_STRING)"},
		{"token number", `{"message":{"token":7}}`, "message.token", "", "(TYPE_STRING), 7"},
		{"data text", `{"message":{` + to + `,"data":"x"}}`, "message.data", "", "Invalid value"},
		{"reserved", `{"message":{` + to + `,"data":{"from":"x"}}}`, "message.data", "INVALID_ARGUMENT", "Invalid data payload key: from"},
		{"reserved prefix", `{"message":{` + to + `,"data":{"google.x":"x"}}}`, "message.data", "INVALID_ARGUMENT", "google.x"},
		{"reserved gcm", `{"message":{` + to + `,"data":{"gcm.notification.x":"x"}}}`, "message.data", "INVALID_ARGUMENT", "gcm.notification.x"},
		{"reserved type", `{"message":{` + to + `,"data":{"message_type":"x"}}}`, "message.data", "INVALID_ARGUMENT", "message_type"},
		{"ttl number", `{"message":{` + to + `,"android":{"ttl":3600}}}`, "message.android.ttl", "", "Duration"},
		{"ttl unit", `{"message":{` + to + `,"android":{"ttl":"3600"}}}`, "message.android.ttl", "", "must end with 's'"},
		{"ttl text", `{"message":{` + to + `,"android":{"ttl":"1hs"}}}`, "message.android.ttl", "", "number of seconds"},
		{"ttl digits", `{"message":{` + to + `,"android":{"ttl":"1.0000000001s"}}}`, "message.android.ttl", "", "number of seconds"},
		{"ttl huge", `{"message":{` + to + `,"android":{"ttl":"9999999999999999999s"}}}`, "message.android.ttl", "", "out of range"},
		{"ttl negative", `{"message":{` + to + `,"android":{"ttl":"-1s"}}}`, "message.android.ttl", "INVALID_ARGUMENT", "Invalid TTL"},
		{"ttl above four weeks", `{"message":{` + to + `,"android":{"ttl":"2419201s"}}}`, "message.android.ttl", "INVALID_ARGUMENT", "Invalid TTL"},
		{"priority", `{"message":{` + to + `,"android":{"priority":"10"}}}`, "message.android.priority", "", "AndroidMessagePriority"},
		{"priority number", `{"message":{` + to + `,"android":{"priority":10}}}`, "message.android.priority", "", "AndroidMessagePriority"},
		{"bool", `{"validate_only":"yes","message":{` + to + `}}`, "validate_only", "", "TYPE_BOOL"},
		{"android unknown", `{"message":{` + to + `,"android":{"x":1}}}`, "message.android", "", `Unknown name "x"`},
		{"too big", `{"message":{` + to + `,"data":{"k":"` + strings.Repeat("x", 4096) + `"}}}`, "message.android", "INVALID_ARGUMENT", "too big"},
		{"topic too big", `{"message":{"topic":"t","data":{"k":"` + strings.Repeat("x", 2048) + `"}}}`, "message.android", "INVALID_ARGUMENT", "too big"},
	} {
		m, e := parseFCM([]byte(c.body))
		if e == nil {
			t.Errorf("%s: accepted as %+v", c.name, m)
			continue
		}
		if e.code != 400 || e.status != "INVALID_ARGUMENT" || e.field != c.field || e.fcm != c.fcm || !strings.Contains(e.message, c.text) {
			t.Errorf("%s: field %q, FCM error %q, %q", c.name, e.field, e.fcm, e.message)
		}
	}
	// The limit is what keys and values come to, to the byte.
	if _, e := parseFCM([]byte(`{"message":{` + to + `,"data":{"k":"` + strings.Repeat("x", 4095) + `"}}}`)); e != nil {
		t.Errorf("4,096 bytes: %v", e)
	}
}

// TestGoogleError holds the form of an error against Google's own example
// (firebase.google.com/docs/cloud-messaging/error-codes).
func TestGoogleError(t *testing.T) {
	_, e := parseFCM([]byte(`{"message":{"token":"x","data":{"a":12}}}`))
	want := `{"error":{"code":400,"message":"Invalid value at 'message.data[0].value' (TYPE_STRING), 12","status":"INVALID_ARGUMENT","details":[` +
		`{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.data[0].value",` +
		`"description":"Invalid value at 'message.data[0].value' (TYPE_STRING), 12"}]}]}}`
	sameJSON(t, e.body(), want)
	u := fcmErrors["UNREGISTERED"]
	sameJSON(t, u.body(), `{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND","details":[`+
		`{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}`)
	q := fcmErrors["QUOTA_EXCEEDED"]
	if b := string(q.body()); !strings.Contains(b, "google.rpc.QuotaFailure") || !strings.Contains(b, `"RESOURCE_EXHAUSTED"`) {
		t.Error(b)
	}
	for code := 300; code < 600; code++ {
		p := plainError(code)
		if !json.Valid(p.body()) || p.status == "" {
			t.Errorf("%d: %s", code, p.body())
		}
	}
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	norm := func(b []byte) string {
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		out, _ := json.Marshal(v)
		return string(out)
	}
	if g, w := norm(got), norm([]byte(want)); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

// FuzzParseFCM: whatever arrives, there is a message within its limits or an error that can be answered.
func FuzzParseFCM(f *testing.F) {
	f.Add([]byte(`{"message":{"token":"` + goodToken + `","data":{"a":"b"},"android":{"priority":"HIGH","ttl":"3.5s"}}}`))
	f.Add([]byte(`{"message":{"notification":{"title":"x"},"condition":"'a' in topics","android":null}}`))
	f.Add([]byte(`{"message":{"data":{"a":[[[[[[[[]]]]]]]]}}}`))
	f.Add([]byte(`{"a":1e999,"message":null}`))
	f.Add([]byte("{\"\xf0\x28\":0}"))
	f.Add([]byte(`nullnull`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, e := parseFCM(body)
		if (m == nil) == (e == nil) {
			t.Fatal("neither a message nor an error, or both")
		}
		if e != nil && (e.code != 400 || !json.Valid(e.body())) {
			t.Fatalf("%+v", e)
		}
		if m != nil && (m.TTL < 0 || m.TTL > fcmMaxTTL || m.Token == "" && m.Topic == "" && m.Condition == "") {
			t.Fatalf("%+v", m)
		}
	})
}
