package apns

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hwangso/hwangso/bridge/push"
)

func encoded(t *testing.T, c *Client, p *push.Push) string {
	t.Helper()
	n, err := c.notification(p, testApp)
	if err != nil {
		t.Fatal(err)
	}
	return string(n.Payload.([]byte))
}

func TestPayload(t *testing.T) {
	phone, server := &Client{cfg: Config{Texts: TextsPhone}}, &Client{cfg: Config{Texts: TextsServer}}
	for _, row := range []struct {
		name string
		c    *Client
		note push.Note
		want string
	}{
		{"server", server, push.Note{Kind: push.KindMessage, Thread: "x", Seq: 1, Count: 1, Badge: 0, Key: "push_text", Args: []string{"A", "b"}, Title: "A", Body: "b"},
			`{"aps":{"alert":{"body":"b","title":"A"},"badge":0,"mutable-content":1,"relevance-score":1,"sound":"default","thread-id":"x"},"count":1,"kind":"message","seq":1,"thread":"x"}`},
		{"server, silent, no badge", server, push.Note{Kind: push.KindMessages, Thread: "x", Seq: 5, Count: 5, Badge: -1, Silent: true, Body: "five"},
			`{"aps":{"alert":{"body":"five"},"interruption-level":"passive","mutable-content":1,"relevance-score":1,"thread-id":"x"},"count":5,"kind":"messages","seq":5,"silent":1,"thread":"x"}`},
		{"server, keys alone", server, push.Note{Kind: push.KindSummary, Count: 9, Badge: 9, Key: "push_summary", Args: []string{"9"}},
			`{"aps":{"alert":{"loc-args":["9"],"loc-key":"push_summary"},"badge":9,"mutable-content":1,"relevance-score":1,"sound":"default"},"count":9,"kind":"summary"}`},
		{"phone, texts alone", phone, push.Note{Kind: push.KindAnnounce, Badge: -1, Title: "T", Body: "B <&>"},
			`{"aps":{"alert":{"body":"B \u003c\u0026\u003e","title":"T"},"mutable-content":1,"relevance-score":1,"sound":"default"},"kind":"announce"}`},
		{"phone, no arguments", phone, push.Note{Kind: push.KindRequests, Badge: -1, Key: "push_requests", Title: "T", Body: "B"},
			`{"aps":{"alert":{"loc-key":"push_requests"},"mutable-content":1,"relevance-score":1,"sound":"default"},"kind":"requests"}`},
		{"clear", phone, push.Note{Kind: push.KindClear, Thread: "x", Seq: 4, Badge: -1, Silent: true},
			`{"aps":{"content-available":1},"kind":"clear","seq":4,"thread":"x"}`},
	} {
		if got := encoded(t, row.c, &push.Push{Note: row.note}); got != row.want {
			t.Errorf("%s:\n%s\nwant\n%s", row.name, got, row.want)
		}
	}
}

// TestPayloadFits: whatever the texts are, there are at most 4,096 bytes of JSON, cut between characters.
func TestPayloadFits(t *testing.T) {
	family := "👨‍👩‍👧‍👦"
	for _, c := range []*Client{{cfg: Config{Texts: TextsPhone}}, {cfg: Config{Texts: TextsServer}}} {
		for _, unit := range []string{"한글", family, "a", "<", "\"", "\n", "\u2028", "\xff"} {
			p := testPush()
			text := strings.Repeat(unit, 8192/len(unit))
			p.Note.Args, p.Note.Body = []string{"Alice", text}, text
			got := encoded(t, c, p)
			var parsed struct {
				Aps struct {
					Alert struct {
						Args []string `json:"loc-args"`
						Body string   `json:"body"`
					} `json:"alert"`
				} `json:"aps"`
			}
			if err := json.Unmarshal([]byte(got), &parsed); err != nil || len(got) > maxPayload || len(got) < maxPayload*3/4 || !utf8.ValidString(got) {
				t.Fatalf("%q: %d bytes, %v", unit, len(got), err)
			}
			shown := parsed.Aps.Alert.Body
			if len(parsed.Aps.Alert.Args) == 2 {
				shown = parsed.Aps.Alert.Args[1]
			}
			if rest := strings.ReplaceAll(strings.TrimSuffix(shown, "…"), unit, ""); unit == family && rest != "" {
				t.Errorf("cut within a character: %q", rest)
			}
		}
	}
	// Nothing but the name of the conversation: it goes without content.
	p := testPush()
	p.Note.Room = "room/" + strings.Repeat("x", 4096)
	if got := encoded(t, &Client{}, p); strings.Contains(got, "xxx") || !strings.Contains(got, push.KeyNew) || strings.Contains(got, "Alice") {
		t.Errorf("%s", got)
	}
}

// TestPayloadHidden: a hidden preview has nothing in any byte that the note does not show.
func TestPayloadHidden(t *testing.T) {
	p := testPush()
	p.Note = p.Note.Bare()
	for _, c := range []*Client{{cfg: Config{Texts: TextsPhone}}, {cfg: Config{Texts: TextsServer}}} {
		if got := encoded(t, c, p); strings.Contains(got, "Alice") || strings.Contains(got, "hello") || strings.Contains(got, "lobby") {
			t.Errorf("%s", got)
		}
	}
}

func TestCollapseID(t *testing.T) {
	for in, same := range map[string]bool{
		"": true, "m0123": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "a\nb": false, "é": false,
	} {
		got := collapseID(in)
		if len(got) > 64 || (got == in) != same || got != collapseID(in) {
			t.Errorf("%q: %q", in, got)
		}
	}
}
