package bolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// fill makes rooms with history, operations, marks and membership changes, over several segments: no more waits at once
// than fits into one of 16 KiB, because what is committed together is in one segment, however much it is.
func fill(t *testing.T, s *Store, rooms, messages int) []store.LogID {
	t.Helper()
	var ids []store.LogID
	for i := range rooms {
		info, _, err := s.Open(context.Background(), store.RoomKey(fmt.Sprint("room", i)), store.Creation{By: 1, Title: fmt.Sprint("title", i),
			Members: []store.Member{{Account: 1, Role: store.RoleOwner}, {Account: 2}, {Account: 3}}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, info.ID)
	}
	var pending []*store.Pending
	for i := range messages {
		id := ids[i*i%rooms]
		d := store.Draft{Log: id, Sender: 1, Device: 4, Text: fmt.Appendf(nil, "message %d, long enough to fill segments %0200d", i, i)}
		switch {
		case i%10 == 0:
			d.CID = fmt.Sprint("cid", i)
		case i%97 == 0:
			d.Change = store.Change{Kind: []store.ChangeKind{store.ChangeLeave, store.ChangeJoin}[i%2], Account: 3, Role: store.RoleMember}
		case i%53 == 0:
			d.Op = store.Op{Kind: []store.OpKind{store.OpRecall, store.OpEdit}[i%2], Target: 1}
		case i%31 == 0:
			pending = append(pending, s.SetMark(store.Mark{Log: id, Account: 2, Seq: store.Seq(i)}))
		}
		pending = append(pending, s.Append(d))
		if len(pending) >= 32 || i == messages-1 {
			for _, p := range pending {
				if _, err := p.Result(); err != nil && store.CodeOf(err) != store.CodeBad {
					t.Fatal(err)
				}
			}
			pending = pending[:0]
		}
	}
	return ids
}

// fillPair has a conversation with requests: accepted, declined and waiting.
func fillPair(t *testing.T, s *Store) store.LogID {
	t.Helper()
	info, _, err := s.Open(context.Background(), store.PairKey(1, 2), store.Creation{By: 2, Members: []store.Member{{Account: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range []store.Draft{
		{Sender: 2, Text: []byte("accepted"), Audience: store.AudienceRequest},
		{Sender: 2, Text: []byte("edited"), Audience: store.AudienceRequest, Op: store.Op{Kind: store.OpEdit, Target: 1}},
		{Change: store.Change{Kind: store.ChangeAccept, Account: 1}},
		{Sender: 1, Text: []byte("answer")},
		{Sender: 2, Text: []byte("declined"), Audience: store.AudienceRequest},
		{Change: store.Change{Kind: store.ChangeDecline, Account: 1}},
		{Sender: 2, Text: []byte("waits"), Audience: store.AudienceRequest},
		{Sender: 2, Text: []byte("shadow"), Audience: store.AudienceSender},
	} {
		d.Log = info.ID
		if _, err := s.Append(d).Result(); err != nil {
			t.Fatal(i, err)
		}
	}
	return info.ID
}

// dumpLogs is everything that can be read of some logs.
func dumpLogs(t *testing.T, s *Store, ids []store.LogID) (out []string) {
	t.Helper()
	for _, id := range ids {
		info, err := s.Info(id)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Standing(id)
		if err != nil {
			t.Fatal(err)
		}
		members := strings.ReplaceAll(fmt.Sprintf("%+v", *info.Members), " Accepted:[]", "") // format 1 had none
		if info.Key.Kind == store.LogPair {
			members += fmt.Sprintf(" %+v", info.Sides)
		}
		out = append(out, fmt.Sprintf("%d %v %q %d-%d %d %s %v", id, info.Key, info.Title, info.First, info.Head, info.HeadTime, members, m.Steps()))
		for after := info.First - 1; after < info.Head; {
			p, err := s.Read(store.Query{Log: id, After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range p.Records {
				out = append(out, fmt.Sprintf("%d/%d %d %q %q %v %d %+v @%d", id, r.Seq, r.Time, r.CID, r.Text, r.Recalled, r.Edited, r.Change, r.Position))
			}
			after = p.Next
		}
	}
	return out
}

func sameLines(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("line %d\ngot  %s\nwant %s", i, got[i], want[i])
		}
	}
}

// checkDir wants a directory without findings.
func checkDir(t *testing.T, dir string, rebuild bool) CheckReport {
	t.Helper()
	r, err := Check(context.Background(), dir, CheckOptions{Rebuild: rebuild, Finding: func(line string) { t.Error(line) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	now := newClock()
	cfg := Config{Dir: dir, SegmentBytes: 64 << 10, CacheBytes: 4 << 10, Retention: 24 * time.Hour, Now: now.Now}
	s := testStore(t, cfg, 4)
	ids := fill(t, s, 7, 2000)
	quiet, err := s.Find(store.RoomKey("room1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.retain(); err != nil {
		t.Fatal(err)
	}
	if first, _ := s.Bounds(); first != 0 {
		t.Fatal("young segments are removed")
	}
	now.pass(48 * time.Hour)
	before := dumpLogs(t, s, ids)
	if err := s.retain(); err != nil {
		t.Fatal(err)
	}
	first, end := s.Bounds()
	if first == 0 || first >= end {
		t.Fatal(first, end)
	}
	after := dumpLogs(t, s, ids)
	if len(after) >= len(before) {
		t.Fatal("nothing is trimmed")
	}
	// What is left is what was there.
	kept := map[string]bool{}
	for _, line := range before {
		kept[line] = true
	}
	trimmed := 0
	for _, id := range ids {
		info, err := s.Info(id)
		if err != nil {
			t.Fatal(err)
		}
		if info.First == 1 {
			continue
		}
		trimmed++
		_, err = s.Read(store.Query{Log: id, Viewer: 1, After: info.First - 2})
		if store.CodeOf(err) != store.CodeTrimmed {
			t.Fatal(err)
		}
		if _, err := s.Read(store.Query{Log: id, Viewer: 1, After: info.First - 1}); err != nil {
			t.Fatal(err)
		}
	}
	if trimmed == 0 {
		t.Fatal("no log is trimmed")
	}
	for _, line := range after {
		var id, seq int
		if n, _ := fmt.Sscanf(line, "%d/%d ", &id, &seq); n == 2 && !kept[line] &&
			!strings.Contains(line, ` "" true 0 `) { // an edit goes with its trimmed target
			t.Fatalf("%s was not there before", line)
		}
	}
	if _, err := s.Follow(context.Background(), 0); store.CodeOf(err) != store.CodeTrimmed {
		t.Fatal(err)
	}
	// Logs go on, and everything can be made anew from what is left.
	if r, err := s.Append(store.Draft{Log: quiet.ID, Sender: 1, Text: []byte("on")}).Result(); err != nil || r.Seq != quiet.Head+1 {
		if info, _ := s.Info(quiet.ID); err != nil || r.Seq != info.Head {
			t.Fatal(r, err)
		}
	}
	want := dumpLogs(t, s, ids)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir, false)
	checkDir(t, dir, true)
	s = testStore(t, cfg, 4)
	sameLines(t, dumpLogs(t, s, ids), want)
	if refs, err := s.LogsOf(2, 0, 0); err != nil || len(refs) != 7 {
		t.Fatal(refs, err)
	}
	if r, err := s.Append(store.Draft{Log: ids[0], Sender: 1, Device: 4, CID: "cid1990", Text: []byte("x")}).Result(); err != nil || !r.Repeated {
		t.Log("the repeat of a message whose segment is gone is a new message:", r, err)
	}
}

func TestRebuild(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, SegmentBytes: 64 << 10, CheckpointRecords: 500}
	s := testStore(t, cfg, 4)
	ids := fill(t, s, 5, 1500)
	want := dumpLogs(t, s, ids)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r := checkDir(t, dir, false)
	if r.Logs != 5 || r.Messages < 1400 || r.Torn != 0 || r.Segments < 3 {
		t.Fatalf("%+v", r)
	}
	for _, damage := range []func() error{
		func() error { return os.Remove(filepath.Join(dir, fileIndex)) },
		func() error { return os.WriteFile(filepath.Join(dir, fileIndex), []byte("not a bolt file"), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		s = testStore(t, cfg, 4)
		sameLines(t, dumpLogs(t, s, ids), want)
		if r, err := s.Append(store.Draft{Log: ids[0], Sender: 1, Device: 4, CID: "cid0", Text: []byte("x")}).Result(); err != nil || !r.Repeated {
			t.Fatal(r, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checkDir(t, dir, false)
	}
}

// Check tells a damaged frame, and an index that says something else than the journal.
func TestCheckFinds(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir, SegmentBytes: 64 << 10}, 4)
	ids := fill(t, s, 3, 800)
	if err := s.writeCheckpoint(); err != nil {
		t.Fatal(err)
	}
	st, err := s.states.pin(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	st.mu.Lock() // a wrong position, as a defect would leave it
	st.tail[len(st.tail)-1]--
	st.saved = 0
	s.dirty.addLog(st)
	st.mu.Unlock()
	st.unpin()
	if _, err := Check(context.Background(), dir, CheckOptions{}); err == nil {
		t.Fatal("a directory in use is checked")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	findings := func() (lines []string) {
		r, err := Check(context.Background(), dir, CheckOptions{Finding: func(l string) { lines = append(lines, l) }})
		if err != nil || r.Findings != len(lines) {
			t.Fatal(r, err)
		}
		return lines
	}
	if got := findings(); len(got) != 1 {
		t.Fatal(got)
	}
	checkDir(t, dir, true)
	segments, err := filepath.Glob(filepath.Join(dir, dirJournal, "*.seg"))
	if err != nil || len(segments) < 3 {
		t.Fatal(segments, err)
	}
	b, err := os.ReadFile(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	b[10_000] ^= 1
	if err := os.WriteFile(segments[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := findings(); len(got) != 1 {
		t.Fatal(got)
	}
}

// Guests come with ever new names; what de-duplication keeps of them goes when it cannot be asked for any more.
func TestSweepDevices(t *testing.T) {
	now := newClock()
	s := testStore(t, Config{Dir: t.TempDir(), SegmentBytes: 16 << 10, Retention: -1, Now: now.Now}, 3)
	info := testPair(t, s, 1, 2)
	say := func(d store.Draft) store.Receipt {
		t.Helper()
		d.Log, d.Sender, d.Text = info.ID, 1, make([]byte, 200)
		r, err := s.Append(d).Result()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i := range 100 {
		say(store.Draft{Device: 1, CID: fmt.Sprint("busy", i)})
		say(store.Draft{Device: store.DeviceID(100 + i), CID: "guest"})
	}
	say(store.Draft{Device: 2, PacketID: 5})
	for i := range 100 { // into a newer segment
		say(store.Draft{Device: 3, CID: fmt.Sprint(i)})
	}
	count := func(bucket []byte) int {
		t.Helper()
		if err := s.writeCheckpoint(); err != nil {
			t.Fatal(err)
		}
		n, err := s.ix.count(bucket)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	sweep := func(age time.Duration) {
		t.Helper()
		now.pass(age)
		if err := s.retain(); err != nil {
			t.Fatal(err)
		}
	}
	if d, b := count(bucketDevices), count(bucketSends); d != 103 || b != 2 {
		t.Fatal(d, b)
	}
	sweep(6 * 24 * time.Hour)
	if d, b := count(bucketDevices), count(bucketSends); d != 103 || b != 2 {
		t.Fatal(d, b)
	}
	sweep(2 * 24 * time.Hour)
	if d, b := count(bucketDevices), count(bucketSends); d != 2 || b != 1 { // the unreleased identifier, the newest device
		t.Fatal(d, b)
	}
	s.devices.sweep(now.Now().Add(time.Hour))
	if r := say(store.Draft{Device: 2, PacketID: 5}); !r.Repeated {
		t.Fatal("an unreleased identifier is forgotten")
	}
	if r := say(store.Draft{Device: 100, CID: "guest"}); r.Repeated {
		t.Fatal("a cid of last week is a repeat")
	}
	for i := range 70 { // numbering starts anew over what was swept
		say(store.Draft{Device: 1, CID: fmt.Sprint("again", i)})
	}
	count(bucketDevices)
	s.devices.sweep(now.Now().Add(time.Hour))
	for i := range 70 {
		if r := say(store.Draft{Device: 1, CID: fmt.Sprint("again", i)}); !r.Repeated {
			t.Fatal(i)
		}
	}
	sweep(40 * 24 * time.Hour)
	if d := count(bucketDevices); d > 3 {
		t.Fatal(d)
	}
}
