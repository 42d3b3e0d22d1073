package api

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/signup"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// proofOf asks for a code that proves that it is the owner who removes the account.
func (c *town) proofOf(user, number string) obj {
	c.t.Helper()
	c.wait(day)
	ticket := c.as(user, 200, "account.code", obj{"phone": number, "region": "KR", "for": "erase"})["ticket"]
	all := c.texts()
	return obj{"ticket": ticket, "code": all[len(all)-1].Code}
}

// What is told to a user's devices, oldest first.
func (c *town) told(user string) (ops []string) {
	c.t.Helper()
	info, err := c.store.Find(store.NoticeKey(c.account(user).ID))
	if err != nil {
		c.t.Fatal(err)
	}
	page, err := c.store.Read(store.Query{Log: info.ID, Viewer: c.account(user).ID, Max: 100})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range page.Records {
		for _, op := range []string{"erase_canceled", "erase", "locked", "sign_in", "moved"} {
			if bytes.Contains(r.Extra, []byte(op)) {
				ops = append(ops, op)
				break
			}
		}
	}
	return ops
}

// TestErase: seven days to undo, through restarts, and then nothing is left.
func TestErase(t *testing.T) {
	c := newTown(t, signup.Settings{})
	c.signUp("alicewonderland", "01012345678")
	c.users("bob", "carol")
	c.friends("alicewonderland", "bob")
	c.as("alicewonderland", 200, "profile.set", obj{"display": "Alice in Wonderland", "status": "curiouser"})
	room := c.op(200, "room.create", obj{"room": "tea", "title": "tea party", "owner": "alicewonderland", "members": []string{"bob"}})["room"]
	c.as("alicewonderland", 200, "message.send", obj{"user": "bob", "text": "off with their heads"})
	c.as("bob", 200, "message.send", obj{"user": "alicewonderland", "text": "why?"})
	id := c.account("alicewonderland").ID
	for _, open := range []string{"one", "two"} {
		c.as("bob", 200, "open.create", obj{"room": open, "title": "an open room", "nickname": "Hatter"})
		c.as("alicewonderland", 200, "open.join", obj{"room": open, "nickname": "Queen-of-Hearts"})
	}
	c.as("alicewonderland", 200, "room.leave", obj{"room": "two"})

	const pushToken = "push-token-of-her-phone"
	for device := range store.DeviceID(2) {
		if _, err := c.api.graph.Register(t.Context(), id, graph.Registration{Device: device + 1, Provider: graph.FCM, Token: pushToken + fmt.Sprint(device)}); err != nil {
			t.Fatal(err)
		}
	}

	want(t, "without proof", c.as("alicewonderland", 403, "erase", nil)["error"], "proof")
	want(t, "nobody's proof", c.as("bob", 403, "erase", nil)["error"], "no_proof")
	want(t, "nothing to cancel", c.as("alicewonderland", 404, "erase.cancel", nil)["code"], 404.0)
	due := c.as("alicewonderland", 200, "erase", c.proofOf("alicewonderland", "01012345678"))["due"]
	want(t, "again", c.as("alicewonderland", 200, "erase.status", nil)["due"], due)
	c.wait(6 * day)
	c.api.signup.Work(t.Context())
	c.as("alicewonderland", 200, "erase.cancel", nil)
	c.wait(10 * day)
	c.api.signup.Work(t.Context())
	want(t, "kept", c.as("alicewonderland", 200, "erase.status", nil)["due"], nil)
	if got := c.told("alicewonderland"); !slices.Equal(got, []string{"erase", "erase_canceled"}) {
		t.Errorf("told %v", got)
	}

	// A PIN will do, too. A legal hold stops the removal, not its undoing.
	c.as("alicewonderland", 200, "account.pin", obj{"new": "2468"})
	c.as("alicewonderland", 200, "erase", obj{"pin": "2468"})
	if err := c.store.Hold(t.Context(), store.Hold{Account: id, Reason: "a court"}); err != nil {
		t.Fatal(err)
	}
	c.wait(3 * day)
	c.stop()
	c.start(c.change) // in the midst of the seven days
	c.wait(5 * day)
	c.api.signup.Work(t.Context())
	c.as("alicewonderland", 200, "account.me", nil)
	want(t, "at once, held", c.op(423, "account.erase", obj{"account": "alicewonderland"})["code"], 423.0)
	if err := c.store.Unhold(t.Context(), store.Hold{Account: id}); err != nil {
		t.Fatal(err)
	}
	token := c.tokens["alicewonderland"]
	c.api.signup.Work(t.Context())

	want(t, "signed out", do(t, c.public.URL, "account.me", "Bearer "+token, nil).status, 401)
	if _, err := c.store.AccountByName("alicewonderland"); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("the account: %v", err)
	}
	n, err := phone.Parse("01012345678", "KR")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.api.cfg.Phones.Account(c.key.Hash(n)); a != 0 || err != nil {
		t.Errorf("the number is with %v, %v", a, err)
	}
	members := c.as("bob", 200, "room.members", obj{"room": room})["members"].([]any)
	if len(members) != 1 || members[0].(obj)["role"] != "owner" {
		t.Errorf("the room's members: %v", members)
	}
	if rows, err := c.store.AllRows("service.pushtoken", "", "", 0); err != nil || len(rows) != 0 {
		t.Errorf("%d tokens are left, %v", len(rows), err)
	}
	c.api.signup.Work(t.Context()) // nothing is left to do

	// After the compaction, which Work has done, no file holds what was hers, in clear or hashed.
	c.stop()
	hash := c.key.Hash(n)
	for what, text := range map[string]string{"name": "alicewonderland", "display": "Alice in Wonderland", "status": "curiouser", "nickname": "Queen-of-Hearts",
		"number": "1012345678", "hash": string(hash[:]), "message": "off with their heads", "token": token, "push token": pushToken} {
		err := filepath.WalkDir(c.dir, func(name string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(name)
			if bytes.Contains(b, []byte(text)) {
				t.Errorf("%s holds her %s", name, what)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.start(c.change)

	// The number is free for somebody new, who is nobody's friend.
	c.signUp("dora", "01012345678")
	want(t, "friends", len(c.as("dora", 200, "contact.list", nil)["users"].([]any)), 0)
	// Operators need no proof.
	c.op(200, "account.erase", obj{"account": "dora"})
	want(t, "dora", do(t, c.public.URL, "account.me", "Bearer "+c.tokens["dora"], nil).status, 401)
	due2 := c.op(200, "account.erase", obj{"account": "carol", "undo": true})["due"]
	want(t, "carol", c.as("carol", 200, "erase.status", nil)["due"], due2)
	c.as("carol", 200, "erase.cancel", nil)
}

// faulty fails one kind of call until it is told otherwise.
type faulty struct {
	store.Store
	failing bool
}

func (f *faulty) EraseAccount(ctx context.Context, a store.AccountID) error {
	if f.failing {
		return store.ErrUnavailable
	}
	return f.Store.EraseAccount(ctx, a)
}

// A removal that fails half way is finished later, and cannot be undone any more.
func TestEraseHalfway(t *testing.T) {
	c := newTown(t, signup.Settings{})
	c.signUp("alice", "01012345678")
	c.users("bob")
	c.friends("alice", "bob")
	room := c.op(200, "room.create", obj{"room": "x", "owner": "alice", "members": []string{"bob"}})["room"]
	id := c.account("alice").ID
	f := &faulty{c.store, true}
	s, err := signup.New(signup.Config{Store: f, Book: c.api.cfg.Phones, Host: signUpHost{c.api}, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EraseNow(t.Context(), id); store.CodeOf(err) != store.CodeUnavailable {
		t.Fatalf("%v", err)
	}
	if err := s.CancelErase(t.Context(), id); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("undone half way: %v", err)
	}
	want(t, "half way", do(t, c.public.URL, "account.me", "Bearer "+c.tokens["alice"], nil).status, 403)
	s.Work(t.Context())
	c.stop()
	c.start(c.change)
	c.api.signup.Work(t.Context())
	if _, err := c.store.Account(id); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("after the restart: %v", err)
	}
	want(t, "the room's members", len(c.as("bob", 200, "room.members", obj{"room": room})["members"].([]any)), 1)
}

// TestExport: the archive holds what the user's own requests show, no more and no less.
func TestExport(t *testing.T) {
	c := newTown(t, signup.Settings{})
	c.signUp("alice", "01012345678")
	c.users("bob", "carol", "dave")
	c.friends("alice", "bob")
	c.friends("alice", "carol")
	c.friends("alice", "dave")
	room := c.op(200, "room.create", obj{"room": "lobby", "owner": "bob", "members": []string{"alice", "carol"}})["room"].(string)
	left := c.op(200, "room.create", obj{"room": "left", "owner": "bob", "members": []string{"alice"}})["room"].(string)
	for i := range 250 { // more than a page
		c.as("bob", 200, "message.send", obj{"user": "alice", "text": fmt.Sprintf("message %d", i)})
	}
	c.as("alice", 200, "message.edit", obj{"user": "bob", "seq": c.as("alice", 200, "message.send", obj{"user": "bob", "text": "tpyo"})["seq"], "text": "typo"})
	c.as("carol", 200, "block.set", obj{"user": "alice"})
	c.as("alice", 200, "message.send", obj{"user": "carol", "text": "carol never sees this"})
	c.as("alice", 200, "block.set", obj{"user": "dave"})
	c.as("dave", 200, "message.send", obj{"user": "alice", "text": "alice never sees this"})
	c.as("alice", 200, "message.send", obj{"room": room, "text": "in the lobby"})
	c.as("alice", 200, "message.send", obj{"room": left, "text": "before leaving"})
	c.as("alice", 200, "room.leave", obj{"room": left})
	c.as("bob", 200, "message.send", obj{"room": left, "text": "after leaving"})

	out := c.as("alice", 200, "export", nil)
	link := c.public.URL + out["path"].(string)
	if r, err := http.Head(link); err != nil || r.StatusCode != 405 {
		t.Errorf("HEAD: %v, %v", r, err)
	}
	fetch := func(link string) (int, []byte) {
		t.Helper()
		r, err := http.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, b
	}
	status, archive := fetch(link)
	want(t, "status", status, 200)
	status, _ = fetch(link)
	want(t, "a second time", status, 404)
	status, _ = fetch(c.public.URL + "/v1/export/nonsense")
	want(t, "nonsense", status, 404)

	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]json.RawMessage)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name, ".txt") {
			continue
		}
		files[f.Name] = []json.RawMessage{}
		for line := range bytes.Lines(b) {
			if !json.Valid(line) {
				t.Fatalf("%s: %s", f.Name, line)
			}
			files[f.Name] = append(files[f.Name], bytes.TrimSpace(line))
		}
	}
	history := func(q obj) (lines []string) {
		q["limit"], q["after"] = 37, 0
		for {
			var page struct {
				Items []json.RawMessage
				After int
				More  bool
			}
			unmarshal(t, do(t, c.public.URL, "room.history", "Bearer "+c.tokens["alice"], q).raw, &page)
			for _, i := range page.Items {
				lines = append(lines, string(i))
			}
			if !page.More {
				return lines
			}
			q["after"] = page.After
		}
	}
	bare := func(line string) string { // without the hint at holes, which depends on where a page begins
		var m map[string]json.RawMessage
		unmarshal(t, []byte(line), &m)
		delete(m, "g")
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	conversations := 0
	for file, q := range map[string]obj{"user/bob": {"user": "bob"}, "user/carol": {"user": "carol"}, "room/" + room: {"room": room}, "room/" + left: {"room": left}} {
		lines, shown := files["messages/"+file+".jsonl"], history(q)
		conversations++
		if len(lines) != len(shown) || len(lines) == 0 {
			t.Errorf("%s: %d lines, history has %d", file, len(lines), len(shown))
			continue
		}
		for i := range lines {
			if bare(string(lines[i])) != bare(shown[i]) {
				t.Errorf("%s, line %d:\n%s\n%s", file, i, lines[i], shown[i])
				break
			}
		}
	}
	want(t, "bob's", len(files["messages/user/bob.jsonl"]) > 250, true)
	for _, f := range []struct {
		name  string
		lines int
	}{{"profile", 1}, {"settings", 1}, {"friends", 3}, {"blocked", 1}, {"devices", 1}, {"tokens", 1}, {"requests", 0}, {"conversations", conversations}} {
		if got := files[f.name+".jsonl"]; len(got) != f.lines {
			t.Errorf("%s: %s", f.name, got)
		}
	}
	all := ""
	for _, lines := range files {
		for _, l := range lines {
			all += string(l)
		}
	}
	for text, there := range map[string]bool{"carol never sees this": true, "in the lobby": true, "before leaving": false, "after leaving": false,
		"alice never sees this": false, "1012345678": false, c.tokens["alice"]: false} {
		if strings.Contains(all, text) != there {
			t.Errorf("%q in the archive: %v", text, !there)
		}
	}

	// An hour, five a day, and none for who may not log in any more.
	path := c.as("alice", 200, "export", nil)["path"].(string)
	c.wait(time.Hour + time.Minute)
	status, _ = fetch(c.public.URL + path)
	want(t, "after an hour", status, 404)
	c.as("alice", 200, "export", nil)
	c.as("alice", 200, "export", nil)
	path = c.as("alice", 200, "export", nil)["path"].(string)
	if retry := c.as("alice", 429, "export", nil)["retry_ms"].(float64); retry < 1 || retry > 24*3600*1000 {
		t.Errorf("retry in %v ms", retry)
	}
	c.op(200, "account.set", obj{"account": "alice", "state": "suspended"})
	status, _ = fetch(c.public.URL + path)
	want(t, "suspended", status, 403)
	c.op(200, "account.set", obj{"account": "alice", "state": "ok"})
	c.wait(day)
	kept := c.as("alice", 200, "export", nil, "Idempotency-Key", "one")
	again := c.as("alice", 200, "export", nil, "Idempotency-Key", "one")
	if kept["path"] == nil || again["path"] != nil || again["repeated"] != true {
		t.Errorf("a repeat tells %v", again)
	}
}
