package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// thread opens what a and a channel write to each other, with these members.
func (l *logCase) thread(channel string, members ...store.AccountID) store.LogID {
	l.t.Helper()
	var c store.Creation
	for _, m := range members {
		c.Members = append(c.Members, store.Member{Account: m, Role: store.RoleMember})
	}
	info, created, err := l.Open(context.Background(), store.ThreadKey(l.a, channel), c)
	noError(l.t, err)
	if !created || info.Members.Active != len(members) || info.Sides != [2]store.Side{} {
		l.t.Fatalf("%v %+v", created, info)
	}
	return info.ID
}

// testThread: members of a thread come and go without a record, and its two sides are the follower and everybody else.
func testThread(t *testing.T, l *logCase) {
	log := l.thread("cafe", l.a, l.b)
	l.say(log, l.a, "one")
	l.twice(func() { wantEqual(t, l.threadSides(log), "1w 1-") })
	l.say(log, l.b, "two")
	l.answer(log, store.ChangeClose, l.a, 0, 0)
	before, err := l.Info(log)
	noError(t, err)
	l.answer(log, store.ChangeClose, l.a, 0, 0) // nothing to do
	l.answer(log, store.ChangeClose, l.d, 0, 0)
	l.answer(log, store.ChangeOpen, l.b, 0, 0)
	after, err := l.Info(log)
	noError(t, err)
	if before.Members.Version != after.Members.Version || before.Head != after.Head {
		t.Fatalf("%+v, then %+v", before, after)
	}
	l.say(log, l.b, "three")
	l.twice(func() {
		wantEqual(t, l.sees(log, l.a), "1:one 2:two ")
		wantEqual(t, l.sees(log, l.b), "1:one 2:two 3:three ")
		wantEqual(t, l.threadSides(log), "2w 3w")
	})
	_, err = l.Append(store.Draft{Log: log, Sender: l.a, Text: []byte("x"), Need: store.RoleMember}).Result()
	wantCode(t, err, store.CodeForbidden)
	l.answer(log, store.ChangeOpen, l.a, 0, 0)
	l.answer(log, store.ChangeOpen, l.c, 0, 0)
	l.say(log, l.c, "four")
	l.twice(func() {
		wantEqual(t, l.sees(log, l.a), "1:one 2:two 4:four ")
		wantEqual(t, l.sees(log, l.b), "1:one 2:two 3:three 4:four ")
		wantEqual(t, l.sees(log, l.c), "4:four ")
		wantEqual(t, l.threadSides(log), "4w 4w")
		for _, who := range []store.AccountID{l.a, l.b, l.c} {
			if refs, err := l.LogsOf(who, 0, 0); err != nil || len(refs) != 1 || refs[0].Me.Role != store.RoleMember {
				t.Fatal(who, refs, err)
			}
		}
	})
	// Closed before anything was written.
	empty := l.thread("bakery", l.a, l.b)
	l.answer(empty, store.ChangeClose, l.a, 0, 0)
	l.say(empty, l.b, "one")
	l.twice(func() {
		wantEqual(t, l.sees(empty, l.a), "")
		wantEqual(t, l.threadSides(empty), "0- 1w")
	})
	for _, c := range []struct {
		log    store.LogID
		change store.Change
	}{
		{log, store.Change{Kind: store.ChangeAccept, Account: l.a}},
		{log, store.Change{Kind: store.ChangeDecline, Account: l.a}},
		{log, store.Change{Kind: store.ChangeClose}},
		{log, store.Change{Kind: store.ChangeClose + 1, Account: l.a}},
		{l.room("r", l.a, l.b), store.Change{Kind: store.ChangeClose, Account: l.a}},
		{l.pair(l.a, l.b), store.Change{Kind: store.ChangeClose, Account: l.a}},
	} {
		_, err := l.Append(store.Draft{Log: c.log, Change: c.change}).Result()
		wantCode(t, err, store.CodeBad)
	}
}

// threadSides is what the log says about the follower and the channel: "head wrote?" of each.
func (l *logCase) threadSides(log store.LogID) string {
	l.t.Helper()
	info, err := l.Info(log)
	noError(l.t, err)
	if info.Side(l.a) != info.Sides[0] || info.Side(l.b) != info.Sides[1] || info.Side(l.d) != info.Sides[1] {
		l.t.Fatalf("%+v", info.Sides)
	}
	out := ""
	for i, s := range info.Sides {
		if i > 0 {
			out += " "
		}
		wrote := "-"
		if s.Wrote != 0 {
			wrote = "w"
		}
		out += fmt.Sprint(s.Head) + wrote
	}
	return out
}
