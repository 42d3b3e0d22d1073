package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// pair opens the conversation of a and b with these members.
func (l *logCase) pair(members ...store.AccountID) store.LogID {
	l.t.Helper()
	c := store.Creation{By: l.a}
	for _, m := range members {
		c.Members = append(c.Members, store.Member{Account: m, Role: store.RoleMember})
	}
	info, created, err := l.Open(context.Background(), store.PairKey(l.a, l.b), c)
	noError(l.t, err)
	if !created || info.Members.Active != len(members) || info.Sides != [2]store.Side{} {
		l.t.Fatalf("%v %+v", created, info)
	}
	return info.ID
}

// asks appends a request and returns its sequence.
func (l *logCase) asks(log store.LogID, sender store.AccountID, text string) store.Seq {
	l.t.Helper()
	return l.append(store.Draft{Log: log, Sender: sender, Text: []byte(text), Audience: store.AudienceRequest})
}

// answer appends a private change of a pair.
func (l *logCase) answer(log store.LogID, kind store.ChangeKind, a store.AccountID, from, to store.Seq) {
	l.t.Helper()
	r, err := l.Append(store.Draft{Log: log, Sender: a, Kind: store.KindSystem,
		Change: store.Change{Kind: kind, Account: a, From: from, To: to}}).Result()
	noError(l.t, err)
	if r.Seq != 0 || r.Time == 0 {
		l.t.Fatalf("receipt %+v", r)
	}
}

// sides is what the log says about both users of a pair, without times: "head wrote? requests@first".
func (l *logCase) sides(log store.LogID) string {
	l.t.Helper()
	info, err := l.Info(log)
	noError(l.t, err)
	out := ""
	for i, s := range info.Sides {
		if i == 1 && info.Key.A == info.Key.B { // notes have one side
			wantEqual(l.t, s, store.Side{})
			return out
		}
		if (s.Head == 0) != (s.HeadTime == 0) || s.HeadTime > info.HeadTime || s.Wrote > info.HeadTime {
			l.t.Fatalf("times of side %d: %+v of %+v", i, s, info)
		}
		if a := []store.AccountID{info.Key.A, info.Key.B}[i]; info.Side(a) != s {
			l.t.Fatalf("side of %d: %+v, not %+v", a, info.Side(a), s)
		}
		wrote := "-"
		if s.Wrote != 0 {
			wrote = "w"
		}
		out += fmt.Sprintf("%d%s%d@%d ", s.Head, wrote, s.Requests, s.First)
	}
	if info.Side(l.d) != (store.Side{}) {
		l.t.Fatal("a stranger has a side")
	}
	return out
}

// twice runs check before and after the store is opened again.
func (l *logCase) twice(check func()) {
	l.t.Helper()
	check()
	l.reopen()
	check()
}

func testSides(t *testing.T, l *logCase) {
	room := l.room("r", l.a, l.b)
	l.say(room, l.a, "x")
	if info, err := l.Info(room); err != nil || info.Sides != [2]store.Side{} || info.Side(l.a) != (store.Side{}) {
		t.Fatalf("a room has sides: %+v %v", info.Sides, err)
	}
	log := l.pair(l.a, l.b)
	l.say(log, l.a, "one")
	wantEqual(t, l.sides(log), "1w0@0 1-0@0 ")
	l.append(store.Draft{Log: log, Sender: l.b, Text: []byte("!"), Op: store.Op{Kind: store.OpReact, Target: 1}}) // no message
	l.append(store.Draft{Log: log, Kind: store.KindSystem, Text: []byte("system")})
	wantEqual(t, l.sides(log), "3w0@0 3-0@0 ")
	before, err := l.Info(log)
	noError(t, err)
	l.append(store.Draft{Log: log, Sender: l.a, Text: []byte("shadow"), Audience: store.AudienceSender}) // 4
	l.twice(func() { wantEqual(t, l.sides(log), "4w0@0 3-0@0 ") })
	after, err := l.Info(log)
	noError(t, err)
	if after.Side(l.a).Wrote != before.Side(l.a).Wrote || after.Side(l.b) != before.Side(l.b) {
		t.Fatalf("a message that only its sender sees: %+v, before %+v", after.Sides, before.Sides)
	}
	l.say(log, l.b, "five")
	l.twice(func() { wantEqual(t, l.sides(log), "5w0@0 5w0@0 ") })
	notes, _, err := l.Open(t.Context(), store.PairKey(l.c, l.c), store.Creation{By: l.c, Members: []store.Member{{Account: l.c}}})
	noError(t, err)
	l.say(notes.ID, l.c, "note")
	l.twice(func() { wantEqual(t, l.sides(notes.ID), "1w0@0 ") })
}

// A stranger writes: the other one is no member, and nothing tells the stranger so.
func testRequestAccepted(t *testing.T, l *logCase) {
	log := l.pair(l.a)
	l.asks(log, l.a, "one")
	l.append(store.Draft{Log: log, Sender: l.a, Text: []byte("shadow"), Audience: store.AudienceSender}) // 2
	l.asks(log, l.a, "three")
	l.op(log, l.a, store.OpEdit, 1, "ONE", store.AudienceRequest)                 // 4
	l.op(log, l.a, store.OpEdit, 3, "only mine", store.AudienceSender)            // 5
	l.append(store.Draft{Log: log, Sender: l.a, Audience: store.AudienceRequest}) // 6
	l.asks(log, l.a, "too many")                                                  // 7
	l.twice(func() {
		wantEqual(t, l.sides(log), "7w3@1 0-0@0 ")
		wantEqual(t, l.sees(log, l.b), "")
		refs, err := l.LogsOf(l.b, 0, 0)
		noError(t, err)
		if len(refs) != 0 {
			t.Fatalf("listed for one who is no member: %+v", refs)
		}
		for a, want := range map[store.AccountID]int{l.a: 0, l.b: 1, l.c: 0} {
			asked, err := l.RequestsTo(a, 0, 0)
			noError(t, err)
			if len(asked) != want || want > 0 && (asked[0].ID != log || asked[0].Side(l.a).Requests != 3) {
				t.Fatalf("requests to %d: %+v", a, asked)
			}
			if asked, err = l.RequestsTo(a, log, 1); err != nil || len(asked) != 0 {
				t.Fatalf("requests after the last: %+v, %v", asked, err)
			}
		}
		marks, err := l.Standing(log)
		noError(t, err)
		l.compareMarks(log, marks)
		wantEqual(t, marks.Steps(), []store.Step{{Seq: 0, Members: 2}, {Seq: 7}})
		if marks.Unread(7, l.a) != 1 {
			t.Fatalf("unread by %d", marks.Unread(7, l.a))
		}
	})
	_, err := l.SetMark(store.Mark{Log: log, Account: l.b, Seq: 1}).Result()
	wantCode(t, err, store.CodeForbidden)
	l.answer(log, store.ChangeAccept, l.b, 0, 0)
	l.twice(func() {
		if asked, err := l.RequestsTo(l.b, 0, 0); err != nil || len(asked) != 0 {
			t.Fatalf("requests that were accepted: %+v, %v", asked, err)
		}
		wantEqual(t, l.sides(log), "7w0@0 6-0@0 ")
		wantEqual(t, l.sees(log, l.b), "1:ONE*4 3:three 4:ONE 6: ")
		wantEqual(t, l.sees(log, l.a), "1:ONE*4 2:shadow 3:only mine*5 4:ONE 5:only mine 6: 7:too many ")
		refs, err := l.LogsOf(l.b, 0, 0)
		noError(t, err)
		if len(refs) != 1 || refs[0].Me.Role != store.RoleMember {
			t.Fatalf("%+v", refs)
		}
	})
	l.asks(log, l.a, "again") // 8
	wantEqual(t, l.sides(log), "8w1@8 6-0@0 ")
	l.say(log, l.b, "nine")
	wantEqual(t, l.sees(log, l.b), "1:ONE*4 3:three 4:ONE 6: 9:nine ")
	l.answer(log, store.ChangeAccept, l.b, 8, 8)
	l.answer(log, store.ChangeAccept, l.b, 0, 0) // nothing to do
	l.twice(func() {
		wantEqual(t, l.sides(log), "9w0@0 9w0@0 ")
		wantEqual(t, l.sees(log, l.b), "1:ONE*4 3:three 4:ONE 6: 8:again 9:nine ")
	})
	info, err := l.Info(log)
	noError(t, err)
	if m := info.Members.Find(l.b); len(m.Spans) != 1 || m.Spans[0] != (store.Span{From: 1}) {
		t.Fatalf("%+v", m)
	}
}

func testRequestDeclined(t *testing.T, l *logCase) {
	log := l.pair(l.a)
	l.asks(log, l.a, "one")
	l.answer(log, store.ChangeDecline, l.b, 0, 0)
	l.answer(log, store.ChangeDecline, l.b, 0, 0)
	l.asks(log, l.a, "two")
	l.asks(log, l.a, "three")
	l.twice(func() { wantEqual(t, l.sides(log), "3w2@2 0-0@0 ") })
	l.answer(log, store.ChangeDecline, l.b, 2, 2)
	l.twice(func() { wantEqual(t, l.sides(log), "3w1@3 0-0@0 ") })
	l.answer(log, store.ChangeAccept, l.b, 0, 0)
	l.twice(func() {
		wantEqual(t, l.sides(log), "3w0@0 3-0@0 ")
		wantEqual(t, l.sees(log, l.b), "3:three ")
	})
}

// An old conversation whose receiver asks to be asked now.
func testRequestInOldConversation(t *testing.T, l *logCase) {
	log := l.pair(l.a, l.b)
	l.say(log, l.a, "one")
	l.asks(log, l.a, "two")
	l.say(log, l.b, "three")
	l.asks(log, l.a, "four")
	l.append(store.Draft{Log: log, Sender: l.b, Change: store.Change{Kind: store.ChangeDelete, Account: l.b, From: 1, To: 3}})
	wantEqual(t, l.sees(log, l.b), "")
	l.answer(log, store.ChangeAccept, l.b, 0, 0)
	l.twice(func() { // what was deleted before it was there comes, and nothing else
		wantEqual(t, l.sees(log, l.b), "2:two 4:four ")
		wantEqual(t, l.sides(log), "4w0@0 4w0@0 ")
	})
	l.append(store.Draft{Log: log, Sender: l.b, Change: store.Change{Kind: store.ChangeDelete, Account: l.b, From: 2, To: 2}})
	l.twice(func() { wantEqual(t, l.sees(log, l.b), "4:four ") })
}

func testOpenPair(t *testing.T, l *logCase) {
	log := l.pair(l.a)
	l.append(store.Draft{Log: log, Sender: l.a, Text: []byte("shadow"), Audience: store.AudienceSender})
	l.answer(log, store.ChangeOpen, l.b, 0, 0)
	before, err := l.Info(log)
	noError(t, err)
	l.answer(log, store.ChangeOpen, l.b, 0, 0)
	after, err := l.Info(log)
	noError(t, err)
	if before.Members.Version != after.Members.Version {
		t.Fatal("opened twice")
	}
	l.say(log, l.a, "two")
	l.twice(func() {
		wantEqual(t, l.sees(log, l.b), "2:two ")
		wantEqual(t, l.sides(log), "2w0@0 2-0@0 ")
		if refs, err := l.LogsOf(l.b, 0, 0); err != nil || len(refs) != 1 {
			t.Fatal(refs, err)
		}
	})
	room := l.room("r", l.a, l.b)
	for _, c := range []struct {
		log    store.LogID
		change store.Change
	}{
		{room, store.Change{Kind: store.ChangeOpen, Account: l.c}},
		{room, store.Change{Kind: store.ChangeAccept, Account: l.b}},
		{room, store.Change{Kind: store.ChangeDecline, Account: l.b}},
		{log, store.Change{Kind: store.ChangeOpen, Account: l.c}},
		{log, store.Change{Kind: store.ChangeAccept, Account: l.c}},
		{log, store.Change{Kind: store.ChangeDecline, Account: l.c}},
		{log, store.Change{Kind: store.ChangeOpen}},
		{log, store.Change{Kind: store.ChangeAccept, Account: l.b, From: 3, To: 2}},
	} {
		_, err := l.Append(store.Draft{Log: c.log, Change: c.change}).Result()
		wantCode(t, err, store.CodeBad)
	}
}

// However many requests are on their way at the same time, the box takes three.
func testRequestsAtOnce(t *testing.T, l *logCase) {
	log := l.pair(l.a)
	var all []*store.Pending
	for i := range 100 {
		all = append(all, l.Append(store.Draft{Log: log, Sender: l.a, Text: fmt.Append(nil, i), Audience: store.AudienceRequest}))
	}
	for _, p := range all {
		_, err := p.Result()
		noError(t, err)
	}
	l.twice(func() { wantEqual(t, l.sides(log), "100w3@1 0-0@0 ") })
	l.answer(log, store.ChangeAccept, l.b, 1, 100)
	l.twice(func() {
		wantEqual(t, l.sees(log, l.b), "1:0 2:1 3:2 ")
		wantEqual(t, l.sides(log), "100w0@0 3-0@0 ")
	})
}

// An accepted request lies behind the cursors of devices that have been in the conversation before.
func testAcceptRewinds(t *testing.T, l *logCase) {
	log := l.pair(l.a, l.b)
	l.say(log, l.a, "one")
	l.asks(log, l.a, "two")
	l.say(log, l.b, "three")
	for d := range store.DeviceID(3) {
		noError(t, l.SaveSession(t.Context(), &store.Session{Account: l.b, Device: d + 1, Present: true,
			Cursors: map[store.LogID]store.Cursor{log: cursorAt(store.Seq(d + 1)), log + 1: cursorAt(7)}}))
	}
	l.PutCursors(l.b, 2, map[store.LogID]store.Cursor{log: {Acked: 3}})
	l.answer(log, store.ChangeAccept, l.b, 0, 0)
	l.twice(func() {
		for d, want := range []store.Cursor{cursorAt(1), {Below: 3, From: 1, Acked: 1}, {Below: 3, From: 1, Acked: 1}} {
			got, err := l.CursorOf(l.b, store.DeviceID(d+1), log)
			noError(t, err)
			wantEqual(t, got, want)
			got, err = l.CursorOf(l.b, store.DeviceID(d+1), log+1)
			noError(t, err)
			wantEqual(t, got, cursorAt(7))
		}
	})
	l.PutCursors(l.b, 2, map[store.LogID]store.Cursor{log: {Acked: 2}})
	l.PutCursors(l.b, 3, map[store.LogID]store.Cursor{log: {Acked: 3}})
	l.twice(func() {
		for d, want := range []store.Cursor{cursorAt(1), {Below: 3, From: 1, Acked: 2}, cursorAt(3)} {
			got, err := l.CursorOf(l.b, store.DeviceID(d+1), log)
			noError(t, err)
			wantEqual(t, got, want)
		}
	})
}
