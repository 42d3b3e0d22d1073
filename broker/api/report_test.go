package api

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// contact writes the first message of a conversation, as the log has it after an accepted one.
func (w *world) contact(from, to, text string) store.Receipt {
	w.t.Helper()
	a, b := w.account(from).ID, w.account(to).ID
	info, _, err := w.store.Open(w.t.Context(), store.PairKey(a, b), store.Creation{Members: []store.Member{{Account: a, Role: store.RoleMember}, {Account: b, Role: store.RoleMember}}})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := w.store.Append(store.Draft{Log: info.ID, Sender: a, Text: []byte(text)}).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) state(user string) string {
	w.t.Helper()
	return w.op(200, "account.get", obj{"account": user})["account"].(obj)["state"].(string)
}

// Three first contacts within a day limit an account for a day, the next three for three days, then a week, then an
// operator decides. Others do not count.
func TestReportLadder(t *testing.T) {
	w := newClockedWorld(t)
	w.users("mallory", "friend", "spoke")
	old := 0
	wave := func(n int) (names []string) {
		for range n {
			old++
			name := fmt.Sprint("user", old)
			w.users(name)
			names = append(names, name)
		}
		return names
	}
	first := wave(3)
	w.ticks.Add((8 * 24 * time.Hour).Milliseconds())
	young := wave(4)
	complain := func(by string) { w.as(by, 200, "report", obj{"user": "mallory", "category": "spam"}) }

	// Who does not count: young accounts, those who wrote first, those who added it, those it never wrote to, and the
	// same one again and again.
	for _, y := range young {
		w.contact("mallory", y, "buy")
		complain(y)
	}
	w.contact("spoke", "mallory", "hello")
	w.contact("mallory", "spoke", "buy")
	w.contact("mallory", "friend", "buy")
	w.as("friend", 200, "contact.add", obj{"user": "mallory"})
	for _, u := range []string{"spoke", "friend", first[1]} {
		complain(u)
	}
	w.contact("mallory", first[0], "buy")
	for range 5 {
		complain(first[0])
	}
	want(t, "after what does not count", w.state("mallory"), "ok")

	waves := [][]string{first, nil, nil, nil}
	for i := 1; i < 4; i++ {
		waves[i] = wave(3)
	}
	w.ticks.Add((8 * 24 * time.Hour).Milliseconds())
	for step, length := range []time.Duration{24 * time.Hour, 72 * time.Hour, 7 * 24 * time.Hour} {
		for i, u := range waves[step] {
			w.contact("mallory", u, "buy")
			if i == 2 {
				want(t, "two are not enough", w.state("mallory"), "ok")
			}
			complain(u)
		}
		want(t, "three are", w.state("mallory"), "limited")
		s := w.as("mallory", 200, "account.standing", nil)
		want(t, "reason", s["reason"], "reports")
		if step == 0 { // old contacts that report late take no further step
			for _, y := range young {
				w.ticks.Add((2 * time.Hour).Milliseconds())
				complain(y)
			}
			want(t, "steps", w.standing("mallory").Steps, 1)
			length -= 8 * time.Hour
		}
		w.passes(length - time.Minute)
		want(t, "still", w.state("mallory"), "limited")
		w.passes(2 * time.Minute)
		want(t, "restored", w.state("mallory"), "ok")
	}
	for _, u := range waves[3] {
		w.contact("mallory", u, "buy")
		complain(u)
	}
	want(t, "an operator decides", w.state("mallory"), "ok")
	decide := 0
	for after := ""; ; {
		p := w.op(200, "report.list", obj{"limit": 5, "after": after})
		for _, r := range p["reports"].([]any) {
			if r.(obj)["decide"] == true {
				decide++
			}
		}
		if p["next"] == nil {
			break
		}
		after = p["next"].(string)
	}
	want(t, "flagged", decide, 1)
	n := w.told("mallory")
	if len(n) != 6 || !strings.HasPrefix(n[0], "reports · → ") {
		t.Errorf("notices %q", n)
	}
	// Reports spread over more than a day are none.
	w.users("slow")
	third := wave(3)
	w.ticks.Add((8 * 24 * time.Hour).Milliseconds())
	for _, u := range third {
		w.contact("slow", u, "hi")
		w.as(u, 200, "report", obj{"user": "slow", "category": "other"})
		w.ticks.Add((13 * time.Hour).Milliseconds())
	}
	want(t, "spread", w.state("slow"), "ok")
}

func (w *world) standing(user string) decision {
	w.t.Helper()
	s, _, err := w.api.standingOf(w.account(user).ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// Evidence is what the reporter could see, of the reported one; only operators read it, no file does, and it ends.
func TestEvidence(t *testing.T) {
	w := newClockedWorld(t)
	w.users("mallory", "alice", "bob")
	w.friends("mallory", "alice")
	var seqs []int
	for i := range 3 {
		r := w.contact("mallory", "alice", fmt.Sprint("dirty word ", i))
		seqs = append(seqs, int(r.Seq))
	}
	own := int(w.contact("alice", "mallory", "leave me alone").Seq)
	w.op(200, "room.create", obj{"room": "club", "owner": "mallory", "members": []string{"alice"}})
	w.as("mallory", 200, "message.send", obj{"room": "club", "text": "dirty word in the club"})

	ask := func(status int, body obj) {
		t.Helper()
		if body["category"] == nil {
			body["category"] = "abuse"
		}
		w.as("alice", status, "report", body)
	}
	ask(400, obj{"user": "alice"})
	ask(400, obj{"user": "mallory", "category": "ugly"})
	ask(400, obj{"category": "spam"})
	ask(400, obj{"user": "~aaaaaaaaaaaaaaaa"})
	ask(413, obj{"user": "mallory", "seqs": make([]int, 21)})
	ask(413, obj{"user": "mallory", "text": strings.Repeat("y", 501)})
	ask(404, obj{"user": "mallory", "seqs": []int{own}})
	ask(404, obj{"user": "mallory", "seqs": []int{999}})
	ask(404, obj{"user": "bob", "seqs": []int{1}})
	ask(404, obj{"user": "nobody", "seqs": []int{1}})
	ask(403, obj{"user": "mallory", "room": "nowhere"})
	w.as("bob", 403, "report", obj{"user": "mallory", "room": "club", "category": "spam", "seqs": []int{1}})
	// Nobody and somebody without a conversation look the same, byte by byte.
	one := do(t, w.public.URL, "report", "Bearer "+w.tokens["alice"], obj{"user": "bob", "category": "spam"})
	two := do(t, w.public.URL, "report", "Bearer "+w.tokens["alice"], obj{"user": "nobody", "category": "spam"})
	if one.status != 200 || two.status != 200 || !bytes.Equal(one.raw, two.raw) {
		t.Errorf("%s, of nobody %s", one.raw, two.raw)
	}

	ask(200, obj{"user": "mallory", "seqs": []int{seqs[2], seqs[0], seqs[0]}, "text": "very dirty words"})
	history := w.as("alice", 200, "room.history", obj{"room": "club"})["items"].([]any)
	ask(200, obj{"user": "mallory", "room": "club", "seqs": []any{history[len(history)-1].(obj)["s"]}})
	w.as("mallory", 200, "message.recall", obj{"user": "alice", "seq": seqs[0]})
	reports := w.op(200, "report.list", nil)["reports"].([]any)
	want(t, "reports", len(reports), 3) // bob, and mallory twice; nobody's is not there
	r := reports[1].(obj)
	want(t, "line", say(r["account"], r["reporter"], r["category"], r["messages"], r["room"]), "mallory alice abuse 2 <nil>")
	got := w.op(200, "report.get", obj{"report": r["id"]})
	want(t, "text", got["text"], "very dirty words")
	e := got["evidence"].([]any)
	want(t, "evidence", say(len(e), e[0].(obj)["text"], e[1].(obj)["text"]), "2 dirty word 0 dirty word 2")
	want(t, "of the room", say(reports[2].(obj)["room"], w.op(200, "report.get", obj{"report": reports[2].(obj)["id"]})["evidence"].([]any)[0].(obj)["text"]), "club dirty word in the club")
	w.op(404, "report.get", obj{"report": "x"})
	w.op(404, "report.get", obj{"report": strings.Repeat("0", 28)})

	// No file has it in clear.
	err := filepath.Walk(w.dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("dirty word")) {
			t.Errorf("%s holds evidence in clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	// A hold keeps evidence after the report is closed; clearing it lets it go in time.
	left := func() int {
		g, _ := w.op(200, "report.get", obj{"report": r["id"]})["evidence"].([]any)
		return len(g)
	}
	w.op(200, "hold.set", obj{"account": "mallory", "reason": "file 2026/118"})
	w.op(409, "hold.set", obj{"account": "mallory", "reason": "again"})
	w.op(400, "hold.set", obj{"account": "mallory"})
	w.op(400, "hold.set", obj{"account": "mallory", "room": "club", "reason": "both"})
	w.op(200, "hold.set", obj{"room": "club", "reason": "file 2026/119"})
	h := w.op(200, "hold.list", nil)["holds"].([]any)
	want(t, "holds", say(len(h), h[0].(obj)["account"], h[0].(obj)["reason"], h[1].(obj)["room"]), "2 mallory file 2026/118 club")
	w.op(400, "report.close", obj{"report": r["id"], "outcome": "fine"})
	w.op(200, "report.close", obj{"report": r["id"], "outcome": "warned", "reason": "first time"})
	w.op(409, "report.close", obj{"report": r["id"], "outcome": "warned"})
	w.ticks.Add((100 * 24 * time.Hour).Milliseconds())
	want(t, "under hold", left(), 2)
	want(t, "closed", len(w.op(200, "report.list", obj{"state": "closed"})["reports"].([]any)), 1)
	want(t, "cleared", w.op(200, "hold.clear", obj{"account": "mallory"})["changed"], true)
	want(t, "again", w.op(200, "hold.clear", obj{"account": "mallory"})["changed"], false)
	w.ticks.Add((79 * 24 * time.Hour).Milliseconds())
	want(t, "closed report, held evidence", left(), 2)
	w.ticks.Add((2 * 24 * time.Hour).Milliseconds())
	w.op(404, "report.get", obj{"report": r["id"]}) // closed reports are kept for 180 days
	n := w.told("alice")
	if len(n) != 1 {
		t.Errorf("the reporter was told %q", n)
	}
	for _, text := range w.told("mallory") {
		if strings.Contains(text, "alice") {
			t.Errorf("the reported one was told %q", text)
		}
	}
}
