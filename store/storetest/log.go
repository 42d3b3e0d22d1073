package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// OpenStore opens the store over the files in dir, creating it if there is none. What was stored is found again after
// Close and another open. The suites close what they open.
type OpenStore func(t testing.TB, dir string) store.Store

// Log tests an implementation of store.Log.
func Log(t *testing.T, open OpenStore) {
	cases := []struct {
		name string
		test func(t *testing.T, l *logCase)
	}{
		{"open", testOpen},
		{"open at once", testOpenConcurrently},
		{"bad keys", testBadKeys},
		{"append and read", testAppendRead},
		{"refusals", testLogRefusals},
		{"roles", testRoles},
		{"pages", testPages},
		{"leave and return", testLeaveReturn},
		{"kick against pipelined appends", testKick},
		{"changes that came too late", testLateChanges},
		{"sender only", testSenderOnly},
		{"private changes", testPrivateChanges},
		{"sides of a pair", testSides},
		{"a request is accepted", testRequestAccepted},
		{"a request is declined", testRequestDeclined},
		{"a request in an old conversation", testRequestInOldConversation},
		{"a pair is opened", testOpenPair},
		{"requests at once", testRequestsAtOnce},
		{"a thread is opened and closed", testThread},
		{"accepting rewinds cursors", testAcceptRewinds},
		{"logs of a user", testLogsOf},
		{"logs of a kind", testLogs},
		{"fields", testFields},
		{"cid repeats", testCID},
		{"cid repeats in flight", testCIDInFlight},
		{"cid far back", testCIDFarBack},
		{"packet identifiers", testPackets},
		{"release all", testReleaseAll},
		{"marks", testMarks},
		{"edit and recall", testEditRecall},
		{"recall hides edits", testRecallHidesEdits},
		{"operations only their sender sees", testPrivateOps},
		{"recall against readers", testRecallRace},
		{"what a reader withholds", testWithhold},
		{"operations and spans", testSpansOfOperations},
		{"follow", testFollow},
		{"follow from behind", testFollowBehind},
		{"follow while appending", testFollowLive},
		{"many appenders", testManyAppenders},
		{"erase", testEraseLogs},
		{"compact", testCompact},
		{"compact under load", testCompactLive},
		{"pendings resolve before close", testCloseResolves},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLogCase(t, open)
			c.test(t, l)
			noError(t, l.Close())
		})
	}
	t.Run("random operations", func(t *testing.T) { logModelTest(t, open) })
	t.Run("random requests", func(t *testing.T) { pairModelTest(t, open) })
}

// logCase is a store under test with users a, b, c and d. Their numbers are in l.a to l.d.
type logCase struct {
	store.Store
	t          testing.TB
	open       OpenStore
	dir        string
	a, b, c, d store.AccountID
}

func newLogCase(t testing.TB, open OpenStore) *logCase {
	t.Helper()
	l := &logCase{t: t, open: open, dir: t.TempDir()}
	l.Store = open(t, l.dir)
	for i, a := range makeAccounts(t, l.Store, "a", "b", "c", "d") {
		*[]*store.AccountID{&l.a, &l.b, &l.c, &l.d}[i] = a.ID
	}
	return l
}

// reopen closes the store and opens it again.
func (l *logCase) reopen() {
	l.t.Helper()
	noError(l.t, l.Close())
	l.Store = l.open(l.t, l.dir)
}

// room opens a room with these members; the first one owns it.
func (l *logCase) room(name string, members ...store.AccountID) store.LogID {
	l.t.Helper()
	c := store.Creation{By: members[0], Title: "title of " + name}
	for i, m := range members {
		role := store.RoleMember
		if i == 0 {
			role = store.RoleOwner
		}
		c.Members = append(c.Members, store.Member{Account: m, Role: role})
	}
	info, created, err := l.Open(context.Background(), store.RoomKey(name), c)
	noError(l.t, err)
	if !created || info.ID == 0 || info.Title != c.Title {
		l.t.Fatalf("created %v, %+v", created, info)
	}
	return info.ID
}

// say appends a text and returns its sequence.
func (l *logCase) say(log store.LogID, sender store.AccountID, text string) store.Seq {
	l.t.Helper()
	return l.append(store.Draft{Log: log, Sender: sender, Text: []byte(text)})
}

func (l *logCase) append(d store.Draft) store.Seq {
	l.t.Helper()
	r, err := l.Append(d).Result()
	noError(l.t, err)
	if r.Repeated || r.Epoch != l.Epoch() || r.Log != d.Log {
		l.t.Fatalf("receipt %+v", r)
	}
	return r.Seq
}

// change appends a membership change as the server.
func (l *logCase) change(log store.LogID, kind store.ChangeKind, a store.AccountID, role store.Role) store.Seq {
	l.t.Helper()
	return l.append(store.Draft{Log: log, Kind: store.KindSystem, Change: store.Change{Kind: kind, Account: a, Role: role}})
}

// sees reads everything the viewer may see and returns "seq:text" of each, recalled records as "seq:-", edited ones
// with * and the edit's sequence.
func (l *logCase) sees(log store.LogID, viewer store.AccountID) string {
	l.t.Helper()
	out := ""
	info, err := l.Info(log)
	noError(l.t, err)
	for after := info.First - 1; after < info.Head; {
		p, err := l.Read(store.Query{Log: log, Viewer: viewer, After: after, Max: 3})
		noError(l.t, err)
		if p.Next <= after || p.Head < p.Next {
			l.t.Fatalf("page after %d goes to %d of %d", after, p.Next, p.Head)
		}
		for _, r := range p.Records {
			if r.Seq <= after || r.Seq > p.Next || r.Log != log {
				l.t.Fatalf("record %d in the page from %d to %d", r.Seq, after, p.Next)
			}
			out += fmt.Sprintf("%d:%s ", r.Seq, shown(r))
			after = r.Seq
		}
		after = p.Next
	}
	return out
}

func shown(r *store.Record) string {
	switch {
	case r.Recalled && r.Text == nil && r.Extra == nil:
		return "-"
	case r.Recalled:
		return "RECALLED BUT " + string(r.Text)
	case r.Edited != 0:
		return fmt.Sprintf("%s*%d", r.Text, r.Edited)
	case r.Change.Kind != store.ChangeNone:
		return fmt.Sprintf("change%d", r.Change.Kind)
	}
	return string(r.Text)
}

func testOpen(t *testing.T, l *logCase) {
	ctx := context.Background()
	key := store.PairKey(l.b, l.a)
	_, err := l.Find(key)
	wantCode(t, err, store.CodeNotFound)
	_, err = l.Info(12345)
	wantCode(t, err, store.CodeNotFound)
	c := store.Creation{By: l.a, Members: []store.Member{{Account: l.b, Role: store.RoleMember}, {Account: l.a, Role: store.RoleMember}}}
	info, created, err := l.Open(ctx, key, c)
	noError(t, err)
	if !created || info.Head != 0 || info.First != 1 || info.Key != key || info.HeadTime == 0 || info.Members.Active != 2 ||
		info.Members.Version == 0 || info.Members.Role(l.a) != store.RoleMember || info.Members.Role(l.c) != store.RoleNone {
		t.Fatalf("%v %+v %+v", created, info, info.Members)
	}
	again, created, err := l.Open(ctx, key, store.Creation{By: l.b, Title: "ignored"})
	noError(t, err)
	if created {
		t.Fatal("created twice")
	}
	wantEqual(t, again, info)
	notes, _, err := l.Open(ctx, store.PairKey(l.a, l.a), store.Creation{By: l.a, Members: []store.Member{{Account: l.a}}})
	noError(t, err)
	if notes.ID == info.ID || notes.Members.Active != 1 {
		t.Fatalf("%+v", notes)
	}
	for range 2 {
		found, err := l.Find(key)
		noError(t, err)
		if found.ID != info.ID || found.Key != key || found.Members.Active != 2 || found.HeadTime != info.HeadTime {
			t.Fatalf("%+v", found)
		}
		l.reopen()
	}
	other := l.room("new", l.a)
	if other <= notes.ID {
		t.Fatalf("number %v after %v: numbers are never reused", other, notes.ID)
	}
}

func testOpenConcurrently(t *testing.T, l *logCase) {
	var mu sync.Mutex
	ids := map[store.LogID]int{}
	made := 0
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			info, created, err := l.Open(context.Background(), store.RoomKey(fmt.Sprint("r", i%2)), store.Creation{By: l.a,
				Members: []store.Member{{Account: l.a, Role: store.RoleOwner}}})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			ids[info.ID]++
			if created {
				made++
			}
		})
	}
	wg.Wait()
	if len(ids) != 2 || made != 2 {
		t.Fatalf("%d logs, created %d times", len(ids), made)
	}
}

func testBadKeys(t *testing.T, l *logCase) {
	for _, k := range []store.Key{{}, {Kind: store.LogPair}, {Kind: store.LogPair, A: 2, B: 1}, {Kind: store.LogRoom},
		{Kind: store.LogRoom, A: 1, Name: "x"}, {Kind: store.LogNotice}, {Kind: 99, A: 1, B: 1}} {
		_, _, err := l.Open(context.Background(), k, store.Creation{})
		wantCode(t, err, store.CodeBad)
	}
	_, _, err := l.Open(context.Background(), store.RoomKey("twice"), store.Creation{Members: []store.Member{{Account: l.a}, {Account: l.a}}})
	wantCode(t, err, store.CodeBad)
}

func testAppendRead(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	before := time.Now().UnixMilli()
	for i := range 200 {
		r, err := l.Append(store.Draft{Log: log, Sender: l.a, Text: fmt.Appendf(nil, "t%d", i)}).Result()
		noError(t, err)
		if r.Seq != store.Seq(i+1) || r.Time < before-1000 {
			t.Fatalf("%+v", r)
		}
	}
	for range 2 {
		info, err := l.Info(log)
		noError(t, err)
		if info.Head != 200 || info.HeadTime < before-1000 {
			t.Fatalf("%+v", info)
		}
		p, err := l.Read(store.Query{Log: log, Viewer: l.b, After: 60, Upto: 140, Max: 1000})
		noError(t, err)
		if len(p.Records) != 80 || p.Next != 140 || p.Head != 200 {
			t.Fatalf("%d records to %d", len(p.Records), p.Next)
		}
		for i, r := range p.Records {
			if r.Seq != store.Seq(61+i) || string(r.Text) != fmt.Sprint("t", 60+i) || r.Sender != l.a || r.Time < before-1000 {
				t.Fatalf("%+v", r)
			}
		}
		p, err = l.Read(store.Query{Log: log, After: 200})
		noError(t, err)
		if len(p.Records) != 0 || p.Next != 200 {
			t.Fatalf("%+v", p)
		}
		l.reopen()
	}
	if n := len(l.sees(log, l.c)); n != 0 {
		t.Fatal("a stranger reads")
	}
}

func testLogRefusals(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	for _, c := range []struct {
		code store.Code
		d    store.Draft
	}{
		{store.CodeNotFound, store.Draft{Log: 999, Sender: l.a}},
		{store.CodeNotFound, store.Draft{Sender: l.a}},
		{store.CodeTooLarge, store.Draft{Log: log, Sender: l.a, Text: make([]byte, 20<<20)}},
		{store.CodeTooLarge, store.Draft{Log: log, Sender: l.a, CID: string(make([]byte, 129))}},
		{store.CodeBad, store.Draft{Log: log, Sender: l.a, Op: store.Op{Kind: store.OpEdit, Target: 1}}},
		{store.CodeBad, store.Draft{Log: log, Sender: l.a, Op: store.Op{Kind: store.OpReact}}},
		{store.CodeForbidden, store.Draft{Log: log, Sender: l.c, Need: store.RoleMember, Version: 1}},
		{store.CodeForbidden, store.Draft{Log: log, Sender: l.c, Need: store.RoleMember}},
		{store.CodeForbidden, store.Draft{Log: log, Sender: l.b, Need: store.RoleModerator, Version: 1}},
	} {
		_, err := l.Append(c.d).Result()
		wantCode(t, err, c.code)
	}
	if seq := l.say(log, l.a, "first"); seq != 1 {
		t.Fatalf("refused drafts took sequences: %d", seq)
	}
	_, err := l.Read(store.Query{Log: 999})
	wantCode(t, err, store.CodeNotFound)
	_, err = l.Standing(999)
	wantCode(t, err, store.CodeNotFound)
	_, err = l.MarkOf(999, l.a)
	wantCode(t, err, store.CodeNotFound)
	_, err = l.SetMark(store.Mark{Log: 999, Account: l.a, Seq: 1}).Result()
	wantCode(t, err, store.CodeNotFound)
}

func testRoles(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	l.change(log, store.ChangeRole, l.b, store.RoleModerator)
	_, err := l.Append(store.Draft{Log: log, Sender: l.b, Need: store.RoleModerator, Version: 1, Text: []byte("x")}).Result()
	noError(t, err) // the version moved, and the role it has now suffices
	l.change(log, store.ChangeRole, l.b, store.RoleMember)
	_, err = l.Append(store.Draft{Log: log, Sender: l.b, Need: store.RoleModerator, Version: 2, Text: []byte("x")}).Result()
	wantCode(t, err, store.CodeForbidden)
	l.append(store.Draft{Log: log, Kind: store.KindSystem, Sender: l.a, Change: store.Change{Kind: store.ChangeTitle, Title: "new title"}})
	for range 2 {
		info, err := l.Info(log)
		noError(t, err)
		if info.Title != "new title" || info.Members.Role(l.b) != store.RoleMember || info.Members.Role(l.a) != store.RoleOwner {
			t.Fatalf("%+v", info)
		}
		l.reopen()
	}
}

func testPages(t *testing.T, l *logCase) {
	log := l.room("r", l.a)
	for range 10 {
		l.append(store.Draft{Log: log, Sender: l.a, Text: make([]byte, 1000), Extra: make([]byte, 500)})
	}
	for range 2 {
		p, err := l.Read(store.Query{Log: log, Viewer: l.a, Bytes: 4000})
		noError(t, err)
		if len(p.Records) != 2 || p.Next != 2 {
			t.Fatalf("%d records to %d", len(p.Records), p.Next)
		}
		p, err = l.Read(store.Query{Log: log, Viewer: l.a, Bytes: 1, After: 4})
		noError(t, err)
		if len(p.Records) != 1 || p.Next != 5 {
			t.Fatal("at least one record is returned")
		}
		p, err = l.Read(store.Query{Log: log, Viewer: l.a, Max: 3, After: 8})
		noError(t, err)
		if len(p.Records) != 2 || p.Next != 10 {
			t.Fatalf("%d records to %d", len(p.Records), p.Next)
		}
		l.reopen()
	}
}

func testLeaveReturn(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	l.say(log, l.a, "one")
	l.change(log, store.ChangeLeave, l.b, 0) // 2
	l.say(log, l.a, "gap")                   // 3
	l.say(log, l.a, "gap")
	l.change(log, store.ChangeJoin, l.b, store.RoleMember) // 5
	l.say(log, l.a, "two")
	l.change(log, store.ChangeJoin, l.c, store.RoleMember) // 7
	l.say(log, l.a, "three")
	for range 2 {
		wantEqual(t, l.sees(log, l.b), "1:one 2:change2 5:change1 6:two 7:change1 8:three ")
		wantEqual(t, l.sees(log, l.c), "7:change1 8:three ")
		wantEqual(t, l.sees(log, 0), "1:one 2:change2 3:gap 4:gap 5:change1 6:two 7:change1 8:three ")
		refs, err := l.LogsOf(l.b, 0, 0)
		noError(t, err)
		if len(refs) != 1 || len(refs[0].Me.Spans) != 2 || refs[0].Me.Role != store.RoleMember {
			t.Fatalf("%+v", refs)
		}
		l.reopen()
	}
}

// A removal and messages have one order: whatever the removed one was told is stored lies before the removal.
func testKick(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	var pending []*store.Pending
	var kick *store.Pending
	for i := range 400 {
		if i == 200 {
			kick = l.Append(store.Draft{Log: log, Sender: l.a, Kind: store.KindSystem, Need: store.RoleModerator, Version: 1,
				Change: store.Change{Kind: store.ChangeRemove, Account: l.b}})
		}
		pending = append(pending, l.Append(store.Draft{Log: log, Sender: l.b, Need: store.RoleMember, Version: 1, Text: []byte("x")}))
	}
	kicked, err := kick.Result()
	noError(t, err)
	for i, p := range pending {
		r, err := p.Result()
		if i < 200 {
			noError(t, err)
			if r.Seq >= kicked.Seq {
				t.Fatalf("message %d has %d, the removal %d", i, r.Seq, kicked.Seq)
			}
			continue
		}
		wantCode(t, err, store.CodeForbidden)
	}
	info, err := l.Info(log)
	noError(t, err)
	if info.Head != kicked.Seq || kicked.Seq != 201 {
		t.Fatalf("head %d, removal %d", info.Head, kicked.Seq)
	}
}

func testLateChanges(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	leave := store.Draft{Log: log, Sender: l.b, Kind: store.KindSystem, Version: 1, Change: store.Change{Kind: store.ChangeLeave, Account: l.b}}
	first, second := l.Append(leave), l.Append(leave)
	_, err := first.Result()
	noError(t, err)
	_, err = second.Result()
	wantCode(t, err, store.CodeConflict)
	join := store.Draft{Log: log, Sender: l.a, Kind: store.KindSystem, Version: 1, Change: store.Change{Kind: store.ChangeJoin, Account: l.c}}
	l.append(join)
	_, err = l.Append(join).Result()
	wantCode(t, err, store.CodeConflict)
}

func testSenderOnly(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	l.say(log, l.a, "both")
	l.append(store.Draft{Log: log, Sender: l.a, Audience: store.AudienceSender, Text: []byte("mine")})
	l.append(store.Draft{Log: log, Sender: l.a, Audience: store.AudienceRequest, Text: []byte("request"), Warn: true})
	l.say(log, l.b, "reply")
	for range 2 {
		wantEqual(t, l.sees(log, l.a), "1:both 2:mine 3:request 4:reply ")
		wantEqual(t, l.sees(log, l.b), "1:both 4:reply ")
		wantEqual(t, l.sees(log, 0), "1:both 2:mine 3:request 4:reply ")
		p, err := l.Read(store.Query{Log: log, Viewer: l.b, After: 1, Upto: 3})
		noError(t, err)
		if len(p.Records) != 0 || p.Next != 3 {
			t.Fatalf("%+v", p)
		}
		l.reopen()
	}
}

func testPrivateChanges(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	for i := range 6 {
		l.say(log, l.a, fmt.Sprint(i))
	}
	private := func(c store.Change) {
		t.Helper()
		r, err := l.Append(store.Draft{Log: log, Sender: c.Account, Kind: store.KindSystem, Change: c}).Result()
		noError(t, err)
		if r.Seq != 0 {
			t.Fatalf("a private change has sequence %d", r.Seq)
		}
	}
	private(store.Change{Kind: store.ChangeHide, Account: l.b})
	private(store.Change{Kind: store.ChangeDelete, Account: l.b, From: 2, To: 3})
	private(store.Change{Kind: store.ChangeDelete, Account: l.b, From: 4, To: 4})
	_, err := l.Append(store.Draft{Log: log, Change: store.Change{Kind: store.ChangeHide, Account: l.c}}).Result()
	wantCode(t, err, store.CodeForbidden)
	_, err = l.Append(store.Draft{Log: log, Change: store.Change{Kind: store.ChangeDelete, Account: l.b, From: 3, To: 2}}).Result()
	wantCode(t, err, store.CodeBad)
	for range 2 {
		info, err := l.Info(log)
		noError(t, err)
		if me := info.Members.Find(l.b); me.HiddenAt != 6 || len(me.Deleted) != 1 || info.Head != 6 {
			t.Fatalf("%+v of %d", me, info.Head)
		}
		wantEqual(t, l.sees(log, l.b), "1:0 5:4 6:5 ")
		wantEqual(t, l.sees(log, l.a), "1:0 2:1 3:2 4:3 5:4 6:5 ")
		l.reopen()
	}
}

func testLogsOf(t *testing.T, l *logCase) {
	var want []store.LogID
	for i := range 25 {
		id := l.room(fmt.Sprint("r", i), l.b, l.a)
		want = append(want, id)
		if i == 12 {
			l.reopen()
		}
	}
	l.change(want[3], store.ChangeRemove, l.a, 0)
	for range 2 {
		var got []store.LogID
		after := store.LogID(0)
		for {
			refs, err := l.LogsOf(l.a, after, 7)
			noError(t, err)
			for _, r := range refs {
				got = append(got, r.ID)
				if role := r.Me.Role; role != store.RoleMember && !(role == store.RoleNone && r.ID == want[3]) {
					t.Fatalf("role %v in %v", role, r.ID)
				}
			}
			if len(refs) < 7 {
				break
			}
			after = refs[6].ID
		}
		wantEqual(t, got, want)
		if refs, err := l.LogsOf(l.c, 0, 0); err != nil || len(refs) != 0 {
			t.Fatal(refs, err)
		}
		l.reopen()
	}
}

func testLogs(t *testing.T, l *logCase) {
	var want []store.LogID
	for i := range 12 {
		want = append(want, l.room(fmt.Sprint("r", i), l.a))
		if i == 5 {
			l.pair(l.a)
			l.reopen()
		}
	}
	l.twice(func() {
		var got []store.LogID
		for after := store.LogID(0); ; after = got[len(got)-1] {
			infos, err := l.Logs(store.LogRoom, after, 5)
			noError(t, err)
			for i, info := range infos {
				got = append(got, info.ID)
				if info.Key != store.RoomKey(fmt.Sprint("r", len(got)-1)) || info.Members.Active != 1 {
					t.Fatalf("%d: %+v", i, info)
				}
			}
			if len(infos) < 5 {
				break
			}
		}
		wantEqual(t, got, want)
		pairs, err := l.Logs(store.LogPair, 0, 0)
		noError(t, err)
		if len(pairs) != 1 || pairs[0].Key != store.PairKey(l.a, l.b) {
			t.Fatalf("%+v", pairs)
		}
		if notices, err := l.Logs(store.LogNotice, 0, 0); err != nil || len(notices) != 0 {
			t.Fatal(notices, err)
		}
	})
}

func testFields(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	d := store.Draft{Log: log, Sender: l.a, Device: 1 << 63, CID: "c-1", Kind: store.KindPoll, Warn: true, Expiry: 1 << 45,
		Text: []byte("text"), Extra: []byte{0xa0, 0}}
	l.append(d)
	l.append(store.Draft{Log: log, Kind: store.KindSystem, Sender: l.a,
		Change: store.Change{Kind: store.ChangeJoin, Account: l.c, Role: store.RoleModerator}})
	d.Text[0], d.Extra[0] = 'X', 'X' // the draft's memory is the caller's
	for range 2 {
		p, err := l.Read(store.Query{Log: log})
		noError(t, err)
		r := p.Records[0]
		if r.Device != d.Device || r.CID != "c-1" || r.Kind != store.KindPoll || !r.Warn || r.Expiry != 1<<45 ||
			string(r.Text) != "text" || string(r.Extra) != "\xa0\x00" || r.Recalled || r.Edited != 0 {
			t.Fatalf("%+v", r)
		}
		r = p.Records[1]
		if r.Kind != store.KindSystem || r.Text != nil || r.Extra != nil || r.Position <= p.Records[0].Position {
			t.Fatalf("%+v", r)
		}
		wantEqual(t, r.Change, store.Change{Kind: store.ChangeJoin, Account: l.c, Role: store.RoleModerator})
		l.reopen()
	}
}
