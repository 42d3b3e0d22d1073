package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
)

// A signature that was computed elsewhere: printf %s "$signedAt.$signedBody" | openssl dgst -sha256 -hmac secret
const (
	signedAt   = "1790000000"
	signedBody = `{"id":"e1","event":"ping","time":"2026-09-21T13:33:20.000Z","data":{}}`
	signature  = "v1=9b5c4cb9de1d1ab5ad8d4d8234941d9f3bc8d3fc3c4014a0b2451eb81c01f275"
)

func TestWebhook(t *testing.T) {
	var took []string
	at := time.Unix(1790000000, 0)
	v := &Receiver{Secret: "secret", Took: func(e Event) { took = append(took, e.ID+" "+e.Event) }, Now: func() time.Time { return at }}
	post := func(timestamp, sign, body string) int {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Hwangso-Timestamp", timestamp)
		r.Header.Set("X-Hwangso-Signature", sign)
		w := httptest.NewRecorder()
		v.ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct {
		name, timestamp, sign, body string
		want                        int
	}{
		{"none", signedAt, "", signedBody, 401},
		{"another body", signedAt, signature, signedBody + " ", 401},
		{"another time", "1790000001", signature, signedBody, 401},
		{"no time", "", signature, signedBody, 401},
		{"cut", signedAt, signature[:len(signature)-1], signedBody, 401},
		{"too large", signedAt, signature, strings.Repeat("x", maxEvent+1), 413},
		{"good", signedAt, signature, signedBody, 204},
		{"again", signedAt, signature, signedBody, 204},
		{"beside another secret's", signedAt, "v1=00, " + signature, signedBody, 204},
	} {
		if got := post(c.timestamp, c.sign, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if strings.Join(took, ",") != "e1 ping" {
		t.Errorf("taken: %q", took)
	}
	at = at.Add(maxAge + time.Second)
	if got := post(signedAt, signature, signedBody); got != 401 {
		t.Errorf("an old request: %d", got)
	}
	if w := httptest.NewRecorder(); true {
		v.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != 405 {
			t.Errorf("GET: %d", w.Code)
		}
	}
	if err := verify("", signedAt, []string{"v1="}, nil, at); err == nil {
		t.Error("without a secret everything is believed")
	}
	for i := range maxTaken + 10 {
		v.first(strconv.Itoa(i))
	}
	if len(v.taken) != maxTaken || len(v.order) != maxTaken {
		t.Errorf("%d and %d events are remembered", len(v.taken), len(v.order))
	}
}

// TestRegister: the secret is that of a new webhook, the one that is kept, or for want of one another one.
func TestRegister(t *testing.T) {
	for _, c := range []struct{ told, kept, want, asked string }{
		{"new", "", "new", "/v1/webhook.set"},
		{"new", "kept", "new", "/v1/webhook.set"},
		{"", "kept", "kept", "/v1/webhook.set"},
		{"", "", "other", "/v1/webhook.set /v1/webhook.rotate"},
	} {
		var asked []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path)
			var in struct{ Channel, URL, Webhook string }
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Channel != "cafe" {
				t.Errorf("%+v, %v", in, err)
			}
			secret := c.told
			switch {
			case in.Webhook == "w1" && in.URL == "":
				secret = "other"
			case in.Webhook != "" || in.URL != "https://brand.example/":
				t.Errorf("%+v", in)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"code": 200, "secret": secret, "webhook": map[string]string{"webhook": "w1"}})
		}))
		secret, err := register(t.Context(), &API{Base: s.URL, User: "u", Token: "t", HTTP: s.Client()}, "cafe", "https://brand.example/", c.kept)
		s.Close()
		if err != nil || secret != c.want || strings.Join(asked, " ") != c.asked {
			t.Errorf("%+v: %q by %v, %v", c, secret, asked, err)
		}
	}
}

func TestQuestion(t *testing.T) {
	for _, c := range []struct {
		topic, payload, want string
	}{
		{"thread/cafe/abc/json", `{"s":3,"f":"abc","b":"hi"}`, "abc 3 hi a0-3"},
		{"thread/cafe/abc/json", `{"s":3,"f":"abc","b":"hi","h":2}`, "abc 3 hi a2-3"},
		{"thread/cafe/abc/json", `{"s":3,"f":"abc","b":"hi","x":{"op":"edit","s":3,"at":5}}`, "abc 3 hi a0-3"},
		{"thread/cafe/abc/json", `{"s":4,"f":"abc","b":"hi","x":{"op":"edit","s":3}}`, ""},
		{"thread/cafe/abc/json", `{"s":3,"f":"abc","x":{"op":"recall","s":3}}`, ""},
		{"thread/cafe/abc/json", `{"s":3,"f":"cafe","b":"a colleague's answer"}`, ""},
		{"thread/cafe/abc/text", `{"s":3,"f":"abc","b":"hi"}`, ""},
		{"thread/other/abc/json", `{"s":3,"f":"abc","b":"hi"}`, ""},
		{"thread/cafe/abc/json", `[`, ""},
	} {
		q, cid, ok := parseQuestion("cafe", c.topic, []byte(c.payload))
		got := ""
		if ok {
			got = q.Follower + " " + strconv.FormatUint(q.Seq, 10) + " " + q.Text + " " + cid
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.topic, c.payload, got, c.want)
		}
	}
}

// FuzzQuestion: whatever a server delivers, a question names who is answered, and steers no terminal.
func FuzzQuestion(f *testing.F) {
	f.Add("thread/cafe/abc/json", []byte(`{"s":3,"f":"abc","b":"hi\u001b"}`))
	f.Add("thread/cafe//json", []byte(`{"s":3,"f":"","b":"hi"}`))
	f.Add("channel/cafe/progress", []byte(`{"state":"done"}`))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		q, cid, ok := parseQuestion("cafe", topic, payload)
		if !ok {
			return
		}
		if q.Follower == "" || strings.Contains(q.Follower, "/") || q.Seq == 0 || len(cid) > 64 {
			t.Errorf("%q %q is %+v, %q", topic, payload, q, cid)
		}
		if strings.ContainsFunc(clean(q.Text), unicode.IsControl) {
			t.Errorf("%q", clean(q.Text))
		}
	})
}

// FuzzWebhook: nothing that is not signed is taken.
func FuzzWebhook(f *testing.F) {
	f.Add(signedAt, "v1=", []byte(signedBody))
	f.Add("", ",,", []byte("{}"))
	f.Fuzz(func(t *testing.T, timestamp, sign string, body []byte) {
		if bytes.Equal(body, []byte(signedBody)) && strings.Contains(sign, signature) {
			return
		}
		if verify("another secret", timestamp, []string{sign}, body, time.Unix(1790000000, 0)) == nil {
			t.Errorf("%q %q %q is believed", timestamp, sign, body)
		}
	})
}

// TestUsage: what is missing is said before anything is done.
func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"":                              "-channel, -user and -token",
		"-channel c -user u -token t x": "too much",
		"-channel c -user u -token t -webhook :0":                         "-webhook-secret",
		"-channel c -user u -token t -webhook-url https://brand.example/": "-webhook, where",
	} {
		err := run(t.Context(), strings.Fields(args), strings.NewReader(""), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
	var help bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, strings.NewReader(""), &help); err == nil || !strings.Contains(help.String(), "-webhook-secret") || !strings.Contains(help.String(), "Usage: brand") {
		t.Errorf("%v\n%s", err, help.String())
	}
}
