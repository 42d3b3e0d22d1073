package api

import (
	"archive/zip"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// archive is a user's export, by file.
func (w *world) archive(user string) map[string]string {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.api.Export(w.t.Context(), w.account(user).ID, &b); err != nil {
		w.t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		w.t.Fatal(err)
	}
	files := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, twice := files[f.Name]; twice {
			w.t.Errorf("%s is there twice", f.Name)
		}
		files[f.Name] = string(text)
	}
	return files
}

// writes publishes as a user's phone would.
func (w *world) writes(user, topic, text string) {
	w.t.Helper()
	t, err := hooks.ParsePublish(topic)
	if err != nil {
		w.t.Fatal(err)
	}
	u := w.account(user)
	id := hooks.Identity{Account: u.ID, Name: u.Name, Device: store.DeviceOf(u.ID, "phone"), ClientID: "phone"}
	if _, err := w.broker.Send(w.t.Context(), id, t, broker.Publication{Topic: topic, Payload: []byte(text)}); err != nil {
		w.t.Fatalf("%s: %s: %v", user, topic, err)
	}
}

// TestExportChannels: what a user has with brands is in its copy as it sees it, and goes with the account.
func TestExportChannels(t *testing.T) {
	w := newWorld(t)
	w.users("owner", "alice", "bob", "carol")
	w.friends("alice", "bob")
	cafe, shop, bar := w.brand("cafe", "owner"), w.brand("shop", "owner"), w.brand("bar", "alice")
	w.followed(cafe, true, "alice", "bob")
	w.followed(shop, false, "alice")
	w.followed(bar, false, "carol")
	until := time.Now().Add(10 * day)
	for _, c := range []string{"coffee", "tea"} {
		w.as("owner", 200, "coupon.create", obj{"channel": "cafe", "campaign": c, "title": "free " + c, "until": until})
	}
	codes := []string{}
	for _, c := range []string{"coffee", "tea"} {
		codes = append(codes, w.as("alice", 200, "coupon.show", obj{"channel": "cafe", "campaign": c})["coupon"].(string))
	}
	w.as("alice", 200, "gift.send", obj{"channel": "cafe", "campaign": "coffee", "user": "bob"})
	gift := w.as("bob", 200, "gift.send", obj{"channel": "cafe", "campaign": "tea", "user": "alice"})["gift"]
	codes = append(codes, w.as("alice", 200, "gift.show", obj{"gift": gift})["coupon"].(string))
	w.writes("alice", "channel/cafe/ask/text", "open on sunday?")
	pseudonym := w.broker.Access().Pseudonym(cafe, w.account("alice").ID)
	w.writes("owner", "thread/cafe/"+pseudonym+"/text", "until noon")

	files := w.archive("alice")
	for name, parts := range map[string][]string{
		"channels.jsonl": {`{"channel":"cafe","since":"1970-01-01T00:00:00.001Z","ads":"1970-01-01T00:00:00.001Z","file":"messages/channel/cafe.jsonl"}`,
			`{"channel":"shop","since":"1970-01-01T00:00:00.001Z"}`, `{"channel":"bar","role":"owner"}`},
		"coupons.jsonl":               {`"campaign":"tea"`, `"status":"ready"`},
		"gifts.jsonl":                 {`"user":"bob"`, `"campaign":"tea"`, `"opened":true`, `{"sent":{`, `"campaign":"coffee"`},
		"messages/channel/cafe.jsonl": {`"f":"alice"`, `"b":"open on sunday?"`, `"f":"cafe"`, `"b":"until noon"`},
	} {
		for _, p := range parts {
			if !strings.Contains(files[name], p) {
				t.Errorf("%s has no %s:\n%s", name, p, files[name])
			}
		}
	}
	want(t, "lines of channels", strings.Count(files["channels.jsonl"], "\n"), 3)
	want(t, "lines of the thread", strings.Count(files["messages/channel/cafe.jsonl"], "\n"), 2)
	for name, text := range files {
		for _, secret := range append(slices.Clone(codes), pseudonym, `"f":"owner"`, "carol") {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s:\n%s", name, secret, text)
			}
		}
	}
	theirs := w.archive("owner")
	for name, text := range theirs {
		if strings.Contains(text, "alice") || strings.Contains(text, "sunday") {
			t.Errorf("the brand's %s tells of its follower:\n%s", name, text)
		}
	}

	id := w.account("alice").ID
	if err := w.store.EraseAccount(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, table := range []store.Table{"user.follow", "user.gift", "user.gift.sent"} {
		rows, err := w.store.AllRows(table, "", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		others := 0
		for _, r := range rows {
			if r.Owner == store.OwnerOf(id) {
				t.Errorf("%s still has a row of hers", table)
			} else {
				others++
			}
		}
		if others == 0 {
			t.Errorf("%s has lost others' rows", table)
		}
	}
	want(t, "what she gave and nobody had opened", len(w.as("bob", 200, "gift.list", nil)["gifts"].([]any)), 0)
	want(t, "what she was given", w.as("bob", 200, "gift.sent", nil)["gifts"].([]any)[0].(obj)["status"], "given")
}
