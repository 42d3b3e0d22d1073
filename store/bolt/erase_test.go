package bolt

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// searchFiles returns which of the needles each file below dir holds.
func searchFiles(t *testing.T, dir string, needles map[string][]byte) (found []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for what, n := range needles {
			if bytes.Contains(b, n) {
				found = append(found, what+" in "+path)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// After an erasure and a compaction no file holds a name, a text or the salt of who was erased.
func TestEraseLeavesNothing(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir, SegmentBytes: 16 << 10}, 2)
	ids := fill(t, s, 3, 100) // others' segments around
	needles := map[string][]byte{}
	secret := func(what string) string {
		needles[what] = []byte("needle-" + what)
		return "needle-" + what
	}
	a, err := s.CreateAccount(ctx, store.Account{Name: secret("name")})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a.Display, a.Status, a.Language = secret("display"), secret("status"), secret("language")
	must(s.SetAccount(ctx, a))
	for i, label := range []string{secret("label"), secret("other-label")} {
		id := store.DeviceID(i + 1)
		must(s.PutDevice(ctx, store.Device{Account: a.ID, ID: id, ClientID: secret("client-" + string(rune('a'+i))), Label: label}, 0))
		must(s.PutToken(ctx, store.Token{Account: a.ID, Hash: [32]byte{byte(i)}, Device: id, Label: secret("token-" + string(rune('a'+i)))}))
		must(s.PutAnswer(ctx, a.ID, id, "r", store.Answer{Status: 200, Body: []byte(secret("answer-" + string(rune('a'+i))))}))
		must(s.SaveSession(ctx, &store.Session{Account: a.ID, Device: id, Present: true, Filters: []store.Filter{{Topic: secret("filter-" + string(rune('a'+i)))}}}))
	}
	for _, table := range []store.Table{"user.profile", "user.contact", "user.zz"} {
		must(s.Update(ctx, store.Update{Owner: store.OwnerOf(a.ID), Rows: []store.RowPut{
			{Table: table, Key: secret("key-" + string(table)), Value: []byte(secret("value-" + string(table)))}}}))
	}
	_, err = s.SetEdge(ctx, store.EdgeFriend, 1, a.ID, true, 0)
	must(err)
	must(s.Update(ctx, store.Update{Owner: store.OwnerOf(1), Rows: []store.RowPut{{Table: "user.profile", Value: []byte("others stay")}}}))
	salt, err := s.directory.salt(a.ID)
	must(err)
	needles["salt"] = salt[:]
	pair := testPair(t, s, 1, a.ID)
	for i := range 40 {
		sender, text := a.ID, secret("text")
		if i%2 == 1 {
			sender, text = 1, "of the other"
		}
		_, err := s.Append(store.Draft{Log: pair.ID, Sender: sender, Text: []byte(text), Extra: bytes.Repeat([]byte("x"), 500)}).Result()
		must(err)
	}
	must(s.writeCheckpoint())
	if found := searchFiles(t, dir, map[string][]byte{"name": needles["name"], "salt": needles["salt"], "token": needles["token-a"],
		"filter": needles["filter-b"], "value": needles["value-user.zz"]}); len(found) < 5 {
		t.Fatalf("the search finds nothing before either: %q", found)
	}

	must(s.EraseAccount(ctx, a.ID))
	must(s.Compact(ctx))
	if found := searchFiles(t, dir, needles); len(found) > 0 {
		t.Errorf("while the server runs: %q", found)
	}
	ids = append(ids, pair.ID)
	want := dumpLogs(t, s, ids)
	must(s.Close())
	if found := searchFiles(t, dir, needles); len(found) > 0 {
		t.Errorf("after a stop: %q", found)
	}
	checkDir(t, dir, false)
	checkDir(t, dir, true)
	s = testStore(t, Config{Dir: dir}, 0)
	sameLines(t, dumpLogs(t, s, ids), want)
	for after := store.Seq(0); after < 40; {
		p, err := s.Read(store.Query{Log: pair.ID, After: after})
		must(err)
		for _, r := range p.Records {
			if after++; r.Seq != after {
				t.Fatalf("sequence %d after %d", r.Seq, after-1)
			}
			if own := r.Sender == a.ID; own != r.Recalled || own != (r.Text == nil) || !own && string(r.Text) != "of the other" {
				t.Fatalf("%d of %d: %q, recalled %v", r.Seq, r.Sender, r.Text, r.Recalled)
			}
		}
	}
	if row, err := s.Row("user.profile", store.OwnerOf(1), ""); err != nil || string(row.Value) != "others stay" {
		t.Fatal(row, err)
	}
	if found := searchFiles(t, dir, map[string][]byte{"text": []byte("of the other")}); len(found) > 0 {
		t.Errorf("bodies are not sealed: %q", found)
	}
}

// An erasure that a crash cut short between its files is finished at the next start.
func TestEraseIsFinished(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir}, 2)
	if err := s.SaveSession(ctx, &store.Session{Account: 1, Device: 1, Present: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.directory.erase(ctx, 1); err != nil { // and no further
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileDirectory+compactSuffix), []byte("half a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = testStore(t, Config{Dir: dir}, 0)
	if _, err := s.LoadSession(1, 1); store.CodeOf(err) != store.CodeNotFound {
		t.Fatal("the session is still there: ", err)
	}
	if ids, err := s.directory.erasing(); err != nil || len(ids) > 0 {
		t.Fatal(ids, err)
	}
	if _, err := os.Stat(filepath.Join(dir, fileDirectory+compactSuffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("what a crash left of a compaction is still there: ", err)
	}
}

// What is on its way when its sender is erased is committed, because its sequence is taken, and says nothing.
func TestEraseAgainstAppends(t *testing.T) {
	s := testStore(t, Config{Dir: t.TempDir()}, 2)
	info := testPair(t, s, 1, 2)
	var all []*store.Pending
	erased := make(chan error, 1)
	for i := range 2000 {
		if i == 1000 {
			go func() { erased <- s.EraseAccount(context.Background(), 1) }()
		}
		all = append(all, s.Append(store.Draft{Log: info.ID, Sender: 1, Text: []byte("secret")}))
	}
	for _, p := range all {
		p.Result() //nolint:errcheck // some are refused, which ones is chance
	}
	if err := <-erased; err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	n := store.Seq(0)
	for n < info.Head {
		p, err := s.Read(store.Query{Log: info.ID, Viewer: 2, After: n})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Records {
			if n++; r.Seq != n || !r.Recalled || r.Text != nil {
				t.Fatalf("record %d: %q", r.Seq, r.Text)
			}
		}
	}
	for from, end := store.Position(0), store.Position(0); ; {
		if _, end = s.Bounds(); from >= end {
			break
		}
		b, err := s.Follow(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Entries {
			if e.Record != nil && strings.Contains(string(e.Record.Text), "secret") {
				t.Fatalf("a follower is given %q", e.Record.Text)
			}
		}
		from = b.Next
	}
}

// A second copy of a file at the same time is refused, and nothing is left of a compaction that was given up.
func TestCompactGivesUp(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir}, 3)
	if !s.directory.file.touch() {
		t.Fatal("somebody copies")
	}
	if err := s.Compact(t.Context()); store.CodeOf(err) != store.CodeConflict {
		t.Fatal("beside a backup: ", err)
	}
	s.directory.file.untouch()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Compact(ended); !errors.Is(err, context.Canceled) {
		t.Fatal("with an ended context: ", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*"+compactSuffix)); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A compaction that meets the end of the store leaves it as it is: the index is closed, and there is no other one.
func TestCompactAgainstClose(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir}, 2)
	testPair(t, s, 1, 2)
	if err := s.writeCheckpoint(); err != nil {
		t.Fatal(err)
	}
	tx, err := s.ix.db.Begin(true) // the file cannot be closed while there is one
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.logs.close() }()
	for { // until nothing is left but to close the index
		_, wait, _, closing := s.ring.get(s.ring.end())
		if closing {
			break
		}
		<-wait
	}
	time.Sleep(50 * time.Millisecond) // and it has begun to: nothing tells
	time.AfterFunc(200*time.Millisecond, func() { _ = tx.Rollback() })
	if err := s.logs.compact(t.Context()); err != nil && !errors.Is(err, store.ErrClosed) {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ix, err := openIndex(filepath.Join(dir, fileIndex))
	if err != nil {
		t.Fatal("it is still open: ", err)
	}
	defer ix.close() //nolint:errcheck // only read
	if _, err := ix.logByKey(store.PairKey(1, 2)); err != nil {
		t.Fatal(err)
	}
}

// An edit that is committed while its sender is erased says nothing, and what it is about is gone as well, as it will be
// when it is read from the journal.
func TestEraseAgainstEdit(t *testing.T) {
	s := testStore(t, Config{Dir: t.TempDir()}, 2)
	info := testPair(t, s, 1, 2)
	_, from := s.Bounds()
	first, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Text: []byte("before")}).Result()
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.states.pin(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer st.unpin()
	st.mu.Lock() // the committer waits, with the edit sealed
	edit := s.Append(store.Draft{Log: info.ID, Sender: 1, Text: []byte("after"), Op: store.Op{Kind: store.OpEdit, Target: first.Seq}})
	s.seal.forget(1)
	st.mu.Unlock()
	if _, err := edit.Result(); err != nil {
		t.Fatal(err)
	}
	if err := s.EraseAccount(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	recalledEverywhere(t, s, info.ID, from, 2)
}

// recalledEverywhere looks at each of the n messages of a log, and at what a follower gets from a position on: all of it was
// taken back.
func recalledEverywhere(t *testing.T, s *Store, log store.LogID, from store.Position, n int) {
	t.Helper()
	look := func(where string, r *store.Record) {
		t.Helper()
		if r != nil && (!r.Recalled || r.Edited != 0 || len(r.Text) > 0) {
			t.Errorf("%s, record %d: %q, recalled %v, edited %d", where, r.Seq, r.Text, r.Recalled, r.Edited)
		}
	}
	p, err := s.Read(store.Query{Log: log, Viewer: 2})
	if err != nil || len(p.Records) != n {
		t.Fatal(p, err)
	}
	for _, r := range p.Records {
		look("read", r)
	}
	for _, end := s.Bounds(); from < end; {
		b, err := s.Follow(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Entries {
			look("followed", e.Record)
		}
		from = b.Next
	}
}

// What an erased account wrote into somebody else's message is gone from memory, as it is from the journal.
func TestEraseAnEditor(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir}, 2)
	info := testPair(t, s, 1, 2)
	_, from := s.Bounds()
	say := func(sender store.AccountID, text string, target store.Seq) *store.Record {
		t.Helper()
		d := store.Draft{Log: info.ID, Sender: sender, Text: []byte(text)}
		if target != 0 {
			d.Op = store.Op{Kind: store.OpEdit, Target: target}
		}
		got, err := s.Append(d).Result()
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Read(store.Query{Log: info.ID, Viewer: 1, After: got.Seq - 1, Upto: got.Seq})
		if err != nil || len(p.Records) != 1 {
			t.Fatal(p, err)
		}
		return p.Records[0]
	}
	first := say(1, "theirs", 0)
	edit := say(2, "mine", first.Seq)
	if p, err := s.Read(store.Query{Log: info.ID, Viewer: 1, Upto: first.Seq}); err != nil || string(p.Records[0].Text) != "mine" || p.Records[0].EditedBy != 2 {
		t.Fatal(p.Records[0], err)
	}
	if err := s.EraseAccount(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	recalledEverywhere(t, s, info.ID, from, 2)

	// The ring may be told of an edit that was committed just before.
	late := say(1, "theirs too", 0)
	edit = copyRecord(edit)
	edit.Text, edit.Recalled, edit.Op.Target = []byte("mine too"), false, late.Seq
	s.ring.operate(edit)
	b, err := s.Follow(t.Context(), late.Position)
	if err != nil || !b.Entries[0].Record.Recalled {
		t.Errorf("followed: %v, %v", b.Entries, err)
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = testStore(t, Config{Dir: dir}, 0)
	p, err := s.Read(store.Query{Log: info.ID, Viewer: 1, Upto: first.Seq})
	if err != nil || !p.Records[0].Recalled {
		t.Errorf("after a restart: %v, %v", p.Records[0], err)
	}
}

// Retention waits as long as there is a hold on anything.
func TestHoldKeepsSegments(t *testing.T) {
	now := newClock()
	s := testStore(t, Config{Dir: t.TempDir(), SegmentBytes: 16 << 10, Retention: time.Hour, Now: now.Now}, 4)
	ids := fill(t, s, 3, 600)
	hold := store.Hold{Log: ids[1], Reason: "case 7"}
	if err := s.Hold(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	now.pass(48 * time.Hour)
	before := len(s.journal.Segments())
	if err := s.retain(); err != nil {
		t.Fatal(err)
	}
	if got := len(s.journal.Segments()); before < 3 || got != before {
		t.Fatalf("%d segments of %d under a hold", got, before)
	}
	if err := s.Unhold(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	if err := s.retain(); err != nil {
		t.Fatal(err)
	}
	if got := len(s.journal.Segments()); got >= before {
		t.Fatalf("%d segments of %d after the hold", got, before)
	}
}
