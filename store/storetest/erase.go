package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// testErase: nothing of an erased account can be asked, and nothing of the others is touched.
func testErase(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	all := makeAccounts(t, d, "anna", "berta", "clara")
	a, b := all[0].ID, all[1].ID
	for _, id := range []store.AccountID{a, b} {
		noError(t, d.PutDevice(ctx, store.Device{Account: id, ID: 7, ClientID: "phone"}, 0))
		noError(t, d.PutToken(ctx, store.Token{Account: id, Hash: [32]byte{1}, Device: 7}))
		noError(t, d.PutAnswer(ctx, id, 7, "request", store.Answer{Status: 200}))
		noError(t, d.PutAnswer(ctx, id, 8, "request", store.Answer{Status: 200}))
		noError(t, d.Update(ctx, store.Update{Owner: store.OwnerOf(id), Rows: []store.RowPut{
			{Table: "user.one", Key: "k", Value: []byte("v")}, {Table: "user.one", Key: "gone", Value: []byte("v"), Expires: 1 << 50},
			{Table: "user.two", Value: []byte("v")}, {Table: "room.one", Key: "k", Value: []byte("kept")}}}))
	}
	for _, e := range [][2]store.AccountID{{a, b}, {b, a}} {
		for _, kind := range []store.Edge{store.EdgeFriend, store.EdgeBlock} {
			_, err := d.SetEdge(ctx, kind, e[0], e[1], true, 0)
			noError(t, err)
		}
	}
	if r, err := d.Row("user.one", store.OwnerOf(a), "k"); err != nil || r.Version == 0 { // cached from now on
		t.Fatal(r, err)
	}
	wantCode(t, d.EraseAccount(ctx, 0), store.CodeNotFound)
	wantCode(t, d.EraseAccount(ctx, 12345), store.CodeNotFound)
	noError(t, d.EraseAccount(ctx, a))
	noError(t, d.EraseAccount(ctx, a)) // again, as after a crash

	_, err := d.Account(a)
	wantCode(t, err, store.CodeNotFound)
	_, err = d.AccountByName("Anna")
	wantCode(t, err, store.CodeNotFound)
	listed, err := d.Accounts(0, 2)
	noError(t, err)
	if len(listed) != 2 || listed[0].ID != b {
		t.Fatalf("%+v", listed)
	}
	wantCode(t, d.SetAccount(ctx, store.Account{ID: a}), store.CodeNotFound)
	wantCode(t, d.PutDevice(ctx, store.Device{Account: a, ID: 7}, 0), store.CodeNotFound)
	wantCode(t, d.PutToken(ctx, store.Token{Account: a, Hash: [32]byte{2}}), store.CodeNotFound)
	wantCode(t, d.PutAnswer(ctx, a, 7, "request", store.Answer{}), store.CodeNotFound)
	wantCode(t, d.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{Table: "user.one", Value: []byte("v")}}}), store.CodeNotFound)
	_, err = d.SetEdge(ctx, store.EdgeFriend, a, b, true, 0)
	wantCode(t, err, store.CodeNotFound)
	_, err = d.SetEdge(ctx, store.EdgeFriend, all[2].ID, a, true, 0)
	wantCode(t, err, store.CodeNotFound)
	for id, want := range map[store.AccountID]int{a: 0, b: 1} {
		devices, err := d.Devices(id)
		noError(t, err)
		tokens, err := d.Tokens(id)
		noError(t, err)
		friends, err := d.Edges(store.EdgeFriend, id, 0, 0)
		noError(t, err)
		has, err := d.HasEdge(store.EdgeBlock, id, a+b-id)
		noError(t, err)
		one, err := d.Rows("user.one", store.OwnerOf(id), "", "", 0)
		noError(t, err)
		row, err := d.Row("user.one", store.OwnerOf(id), "k")
		noError(t, err)
		room, err := d.Row("room.one", store.OwnerOf(id), "k")
		noError(t, err)
		if len(devices) != want || len(tokens) != want || len(friends) != want || has != (want == 1) || len(one) != 2*want ||
			(row.Version != 0) != (want == 1) || string(room.Value) != "kept" {
			t.Fatalf("%d: devices %v tokens %v friends %v block %v rows %v %v %v", id, devices, tokens, friends, has, one, row, room)
		}
		for dev := range store.DeviceID(2) {
			_, err = d.AnswerTo(id, 7+dev, "request")
			if (err == nil) != (want == 1) {
				t.Fatalf("answer to %d: %v", id, err)
			}
		}
	}
	again, err := d.CreateAccount(ctx, store.Account{Name: "anna"})
	noError(t, err)
	if again.ID <= all[2].ID {
		t.Fatalf("the number %d was given again", again.ID)
	}
}

func testHolds(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	a := makeAccounts(t, d, "anna", "berta")
	wantCode(t, d.Hold(ctx, store.Hold{}), store.CodeBad)
	wantCode(t, d.Hold(ctx, store.Hold{Account: 1, Log: 1}), store.CodeBad)
	wantCode(t, d.Hold(ctx, store.Hold{Account: 12345}), store.CodeNotFound)
	wantCode(t, d.Hold(ctx, store.Hold{Account: a[0].ID, Reason: string(make([]byte, 2000))}), store.CodeTooLarge)
	wantCode(t, d.Unhold(ctx, store.Hold{}), store.CodeBad)
	wantCode(t, d.Unhold(ctx, store.Hold{Account: a[0].ID}), store.CodeNotFound)
	if holds, err := d.Holds(); err != nil || len(holds) != 0 {
		t.Fatal(holds, err)
	}
	one := store.Hold{Account: a[1].ID, Reason: "case 7", By: "ops", Since: 1234}
	noError(t, d.Hold(ctx, one))
	noError(t, d.Hold(ctx, store.Hold{Account: a[0].ID}))
	one.Reason = "case 8"
	noError(t, d.Hold(ctx, one))
	holds, err := d.Holds()
	noError(t, err)
	if len(holds) != 2 || holds[0].Account != a[0].ID || holds[0].Since == 0 || holds[1] != one {
		t.Fatalf("%+v", holds)
	}
	wantCode(t, d.EraseAccount(ctx, a[1].ID), store.CodeLocked)
	if _, err := d.AccountByName("berta"); err != nil {
		t.Fatal("erased in spite of a hold: ", err)
	}
	noError(t, d.Unhold(ctx, store.Hold{Account: a[1].ID}))
	wantCode(t, d.Unhold(ctx, store.Hold{Account: a[1].ID}), store.CodeNotFound)
	noError(t, d.EraseAccount(ctx, a[1].ID))
	wantCode(t, d.Hold(ctx, one), store.CodeNotFound)
}

// testEraseLogs: what an erased user wrote keeps its place and says nothing.
func testEraseLogs(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	l.say(log, l.a, "one")
	l.say(log, l.b, "two")
	l.say(log, l.a, "three")
	l.op(log, l.a, store.OpEdit, 1, "ONE", 0)
	noError(t, l.SaveSession(t.Context(), &store.Session{Account: l.a, Device: 1, Present: true}))
	noError(t, l.SaveSession(t.Context(), &store.Session{Account: l.b, Device: 1, Present: true}))
	wantEqual(t, l.sees(log, l.b), "1:ONE*4 2:two 3:three 4:ONE ") // in memory
	noError(t, l.EraseAccount(t.Context(), l.a))
	l.twice(func() {
		for _, viewer := range []store.AccountID{l.b, 0} {
			wantEqual(t, l.sees(log, viewer), "1:- 2:two 3:- 4:- ")
		}
		b, err := l.Follow(t.Context(), 0)
		noError(t, err)
		for _, e := range b.Entries {
			if r := e.Record; r != nil && r.Sender == l.a && len(r.Text) > 0 {
				t.Fatalf("a follower is given %q", r.Text)
			}
		}
		_, err = l.LoadSession(l.a, 1)
		wantCode(t, err, store.CodeNotFound)
		_, err = l.LoadSession(l.b, 1)
		noError(t, err)
		if _, err := l.Append(store.Draft{Log: log, Sender: l.a, Text: []byte("ghost")}).Result(); err == nil {
			t.Fatal("an erased user writes")
		}
	})
	if seq := l.say(log, l.b, "five"); seq != 5 {
		t.Fatalf("sequence %d after 4", seq)
	}
	wantCode(t, l.Hold(t.Context(), store.Hold{Log: 999}), store.CodeNotFound)
	noError(t, l.Hold(t.Context(), store.Hold{Log: log}))
}

// testCompact: everything is there afterwards, also for who opens the files again.
func testCompact(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	for i := range 200 {
		l.append(store.Draft{Log: log, Sender: l.a, Device: 1, CID: fmt.Sprint("cid", i), Text: []byte("x")})
	}
	noError(t, l.SaveSession(t.Context(), &store.Session{Account: l.b, Device: 1, Present: true, Cursors: map[store.LogID]store.Cursor{log: cursorAt(9)}}))
	noError(t, l.Compact(t.Context()))
	l.twice(func() {
		l.repeated(store.Draft{Log: log, Sender: l.a, Device: 1, CID: "cid0"}, 1)
		c, err := l.CursorOf(l.b, 1, log)
		noError(t, err)
		wantEqual(t, c, cursorAt(9))
		if a, err := l.AccountByName("d"); err != nil || a.ID != l.d {
			t.Fatal(a, err)
		}
		noError(t, l.Compact(t.Context()))
	})
	makeAccounts(t, l.Store, "e") // numbers go on
	if a, err := l.AccountByName("e"); err != nil || a.ID <= l.d {
		t.Fatal(a, err)
	}
}

// testCompactLive: what is acknowledged while the files are rewritten is in the new ones.
func testCompactLive(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var accounts []string
	rows, said := 0, 0
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprint("live", i)
			if _, err := l.CreateAccount(t.Context(), store.Account{Name: name}); err != nil {
				t.Error(err)
				return
			}
			accounts = append(accounts, name)
			if err := l.Update(t.Context(), store.Update{Owner: store.OwnerOf(l.a), Rows: []store.RowPut{
				{Table: "user.live", Key: fmt.Sprint(i), Value: []byte("v")}}}); err != nil {
				t.Error(err)
				return
			}
			rows++
			if _, err := l.AccountByName(accounts[i/2]); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := l.Append(store.Draft{Log: log, Sender: l.a, Text: []byte("x")}).Result(); err != nil {
				t.Error(err)
				return
			}
			said++
			l.SaveSession(t.Context(), &store.Session{Account: l.b, Device: store.DeviceID(i%5 + 1), Present: true,
				Cursors: map[store.LogID]store.Cursor{log: cursorAt(store.Seq(said))}})
		}
	})
	for range 5 {
		if err := l.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	l.twice(func() {
		for _, name := range accounts {
			if _, err := l.AccountByName(name); err != nil {
				t.Fatal(name, err)
			}
		}
		if got, err := l.Rows("user.live", store.OwnerOf(l.a), "", "", 1<<20); err != nil || len(got) != rows {
			t.Fatalf("%d rows of %d: %v", len(got), rows, err)
		}
		info, err := l.Info(log)
		noError(t, err)
		if int(info.Head) != said {
			t.Fatalf("head %d, said %d", info.Head, said)
		}
	})
}
