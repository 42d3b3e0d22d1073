package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// repeated appends a draft that was stored before as seq.
func (l *logCase) repeated(d store.Draft, seq store.Seq) {
	l.t.Helper()
	r, err := l.Append(d).Result()
	noError(l.t, err)
	if !r.Repeated || r.Seq != seq || r.Log != d.Log || r.Time == 0 || r.Epoch != l.Epoch() {
		l.t.Fatalf("receipt %+v, want a repeat of %d", r, seq)
	}
}

func testCID(t *testing.T, l *logCase) {
	log, other := l.room("r", l.a, l.b), l.room("s", l.a, l.b)
	d := store.Draft{Log: log, Sender: l.a, Device: 5, CID: "x", Text: []byte("hello")}
	l.append(d)
	for range 2 {
		l.repeated(d, 1)
		changed := d
		changed.Text = []byte("not compared")
		l.repeated(changed, 1)
		l.reopen()
	}
	for i, d := range []store.Draft{
		{Log: log, Sender: l.a, Device: 6, CID: "x"},
		{Log: log, Sender: l.b, Device: 5, CID: "x"},
		{Log: log, Sender: l.a, Device: 5, CID: "y"},
		{Log: log, Sender: l.a, Device: 5},
		{Log: log, Sender: l.a, Device: 5},
	} {
		if seq := l.append(d); seq != store.Seq(i+2) {
			t.Fatalf("draft %d has %d", i, seq)
		}
	}
	d.Log = other
	if seq := l.append(d); seq != 1 {
		t.Fatal(seq)
	}
	// A draft that was refused leaves nothing behind.
	refused := store.Draft{Log: log, Sender: l.c, Device: 5, CID: "z", Need: store.RoleMember}
	_, err := l.Append(refused).Result()
	wantCode(t, err, store.CodeForbidden)
	l.change(log, store.ChangeJoin, l.c, store.RoleMember)
	l.append(refused)
}

// Repeats that overtake the first one's commit share its outcome.
func testCIDInFlight(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	for round := range 20 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		first := 0
		for range 16 {
			wg.Go(func() {
				r, err := l.Append(store.Draft{Log: log, Sender: l.a, Device: 5, CID: fmt.Sprint(round), Text: []byte("x")}).Result()
				mu.Lock()
				defer mu.Unlock()
				if err != nil || r.Seq != store.Seq(round+1) {
					t.Errorf("%+v %v", r, err)
				}
				if !r.Repeated {
					first++
				}
			})
		}
		wg.Wait()
		if first != 1 {
			t.Fatalf("stored %d times", first)
		}
	}
	refused := store.Draft{Log: log, Sender: l.c, Device: 5, CID: "z", Need: store.RoleMember}
	p, q := l.Append(refused), l.Append(refused)
	_, err := p.Result()
	wantCode(t, err, store.CodeForbidden)
	_, err = q.Result()
	wantCode(t, err, store.CodeForbidden)
}

func testCIDFarBack(t *testing.T, l *logCase) {
	log := l.room("r", l.a)
	const n = 4300
	draft := func(i int) store.Draft {
		return store.Draft{Log: log, Sender: l.a, Device: 5, CID: fmt.Sprint("cid ", i)}
	}
	var last *store.Pending
	for i := range n {
		last = l.Append(draft(i))
		if i == 1000 || i == 2500 {
			l.reopen()
		}
	}
	_, err := last.Result()
	noError(t, err)
	for range 2 {
		for _, i := range []int{n - 4096, n - 4000, n - 3000, n - 65, n - 64, n - 63, n - 1} {
			l.repeated(draft(i), store.Seq(i+1))
		}
		l.reopen()
	}
}

// Clients reuse low packet identifiers: only what was not released is a repeat, whatever the payload.
func testPackets(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	ok := store.Draft{Log: log, Sender: l.a, Device: 5, PacketID: 1, Text: []byte("ok")}
	release := func(id uint16, forgot bool) {
		t.Helper()
		r, err := l.Release(store.Release{Account: l.a, Device: 5, PacketID: id}).Result()
		noError(t, err)
		wantEqual(t, r.Repeated, forgot)
	}
	l.append(ok)
	l.repeated(ok, 1)
	l.reopen()
	l.repeated(ok, 1)
	release(1, true)
	if seq := l.append(ok); seq != 2 { // a second "ok" with the same identifier
		t.Fatal(seq)
	}
	release(7, false) // unknown: nothing happens
	l.repeated(ok, 2)
	release(1, true)
	l.reopen()
	if seq := l.append(ok); seq != 3 {
		t.Fatal(seq)
	}
	other := ok
	other.Device = 6
	if seq := l.append(other); seq != 4 {
		t.Fatal(seq)
	}
	// Pipelined: the first, its repeat, the release, the next message.
	ok.PacketID = 9
	p := []*store.Pending{l.Append(ok), l.Append(ok), l.Release(store.Release{Account: l.a, Device: 5, PacketID: 9})}
	_, err := p[2].Result()
	noError(t, err)
	p = append(p, l.Append(ok))
	for i, want := range []store.Seq{5, 5, 0, 6} {
		r, err := p[i].Result()
		noError(t, err)
		if r.Seq != want || r.Repeated != (i == 1 || i == 2) {
			t.Fatalf("%d: %+v", i, r)
		}
	}
	// QoS 1 without a cid is at least once.
	ok.PacketID = 0
	l.append(ok)
	l.append(ok)
}

func testReleaseAll(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	for id := range uint16(20) {
		l.append(store.Draft{Log: log, Sender: l.a, Device: 5, PacketID: id + 1})
	}
	_, err := l.Release(store.Release{Account: l.a, Device: 5}).Result()
	noError(t, err)
	l.reopen()
	for id := range uint16(20) {
		if seq := l.append(store.Draft{Log: log, Sender: l.a, Device: 5, PacketID: id + 1}); seq != store.Seq(21+id) {
			t.Fatal(seq)
		}
	}
}

func testMarks(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b, l.c)
	set := func(a store.AccountID, seq, want store.Seq) {
		t.Helper()
		r, err := l.SetMark(store.Mark{Log: log, Account: a, Seq: seq}).Result()
		noError(t, err)
		if r.Seq != want || r.Log != log {
			t.Fatalf("%+v, want %d", r, want)
		}
	}
	set(l.a, 5, 0) // nothing to read yet
	for range 10 {
		l.say(log, l.a, "x")
	}
	set(l.a, 4, 4)
	set(l.a, 3, 4)
	set(l.b, 99, 10)
	var pending []*store.Pending
	for i := range 9 {
		pending = append(pending, l.SetMark(store.Mark{Log: log, Account: l.a, Seq: store.Seq(i + 1)}))
	}
	for _, p := range pending {
		_, err := p.Result()
		noError(t, err)
	}
	_, err := l.SetMark(store.Mark{Log: log, Account: l.d, Seq: 1}).Result()
	wantCode(t, err, store.CodeForbidden)
	for range 2 {
		m, err := l.Standing(log)
		noError(t, err)
		wantEqual(t, m.Steps(), []store.Step{{Seq: 0, Members: 1}, {Seq: 9, Members: 1}, {Seq: 10, Members: 1}})
		if m.Of(l.a) != 9 || m.Of(l.b) != 10 || m.Of(l.c) != 0 || m.Unread(10, l.a) != 1 {
			t.Fatalf("%+v", m)
		}
		l.reopen()
	}
	l.change(log, store.ChangeRemove, l.b, 0)
	_, err = l.SetMark(store.Mark{Log: log, Account: l.b, Seq: 11}).Result()
	wantCode(t, err, store.CodeForbidden)
	m, err := l.Standing(log)
	noError(t, err)
	wantEqual(t, m.Steps(), []store.Step{{Seq: 0, Members: 1}, {Seq: 9, Members: 1}, {Seq: 11, Members: 0}})
}
