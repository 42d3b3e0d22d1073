package storetest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// SessionsCloser is a store.Sessions that the suite closes. A store.Store is one.
type SessionsCloser interface {
	store.Sessions
	io.Closer
}

// Sessions tests an implementation of store.Sessions. open opens the one over the files in dir, creating it if there
// is none; what was stored is found again after Close and another open.
func Sessions(t *testing.T, open func(t testing.TB, dir string) SessionsCloser) {
	cases := []struct {
		name string
		test func(t *testing.T, s SessionsCloser)
	}{
		{"save and load", testSaveLoad},
		{"puts", testPuts},
		{"cursors never go back", testCursorsForward},
		{"guests", testGuests},
		{"a save replaces what was put before", testSaveAfterPut},
		{"delete", testDeleteSession},
		{"cursor of", testCursorOf},
		{"expiry", testExpiry},
		{"expiry in slices", testExpirySlices},
		{"reader positions", testReaders},
		{"nothing is shared with the caller", testNotShared},
		{"many savers", testManySavers},
		{"load beside save and put", testLoadBeside},
		{"ended context", testSessionsContext},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			c.test(t, s)
			noError(t, s.Close())
		})
	}
	t.Run("put survives close", func(t *testing.T) { testPutSurvives(t, open) })
	t.Run("connected when the server ended", func(t *testing.T) { testExpiryAfterCrash(t, open) })
	t.Run("random operations", func(t *testing.T) { sessionsModelTest(t, open) })
}

func sampleSession(a store.AccountID, d store.DeviceID) *store.Session {
	return &store.Session{
		Account: a, Device: d, Present: true, Expiry: 3600, Epoch: 1,
		Filters: []store.Filter{
			{Topic: "room/+/json", QoS: 1, NoLocal: true, Identifier: 268435455},
			{Topic: "user/#"},
			{Topic: "", QoS: 1},
		},
		Inflight: []store.Inflight{{Log: 9, Seq: 4, PacketID: 65535}, {Log: 1, Seq: 1 << 40, PacketID: 1}},
		Cursors: map[store.LogID]store.Cursor{
			1:       {Below: 7, From: 7, Acked: 7},
			3:       {Below: 2, From: 10, Acked: 12},
			1 << 50: {Acked: 1 << 60, From: 1, Below: 0},
			4:       {},
		},
	}
}

func wantSession(t testing.TB, s store.Sessions, want *store.Session) {
	t.Helper()
	got, err := s.LoadSession(want.Account, want.Device)
	noError(t, err)
	wantEqual(t, *got, *want)
}

func cursorAt(seq store.Seq) store.Cursor { return store.Cursor{Below: seq, From: seq, Acked: seq} }

func testSaveLoad(t *testing.T, s SessionsCloser) {
	_, err := s.LoadSession(1, 2)
	wantCode(t, err, store.CodeNotFound)
	want := sampleSession(1, 2)
	noError(t, s.SaveSession(t.Context(), want))
	wantSession(t, s, want)
	for _, other := range [][2]uint64{{2, 2}, {1, 1}, {2, 1}} {
		_, err = s.LoadSession(store.AccountID(other[0]), store.DeviceID(other[1]))
		wantCode(t, err, store.CodeNotFound)
	}
	empty := &store.Session{Account: 1, Device: 2, Epoch: 1} // the MQTT session ended: everything goes
	noError(t, s.SaveSession(t.Context(), empty))
	wantSession(t, s, empty)
	wantCode(t, s.SaveSession(t.Context(), &store.Session{
		Account: 1, Device: 2, Cursors: map[store.LogID]store.Cursor{0: {}},
	}), store.CodeBad)
	wantSession(t, s, empty)
}

func testPuts(t *testing.T, s SessionsCloser) {
	want := sampleSession(1, 2)
	noError(t, s.SaveSession(t.Context(), want))
	s.PutCursors(1, 2, map[store.LogID]store.Cursor{1: cursorAt(9), 2: cursorAt(5)})
	want.Cursors[1], want.Cursors[2] = cursorAt(9), cursorAt(5)
	wantSession(t, s, want)
	inflight := []store.Inflight{{Log: 2, Seq: 6, PacketID: 3}}
	s.PutDisconnect(1, 2, map[store.LogID]store.Cursor{2: cursorAt(6)}, 1234, inflight)
	want.Cursors[2], want.Disconnected, want.Inflight = cursorAt(6), 1234, inflight
	wantSession(t, s, want)
	s.PutDisconnect(1, 2, nil, 1300, nil)
	want.Disconnected, want.Inflight = 1300, nil
	wantSession(t, s, want)
}

func testCursorsForward(t *testing.T, s SessionsCloser) {
	skipped := cursorAt(10).Skip(20)
	want := &store.Session{Account: 1, Device: 1, Present: true, Epoch: 1, Cursors: map[store.LogID]store.Cursor{5: cursorAt(10), 6: skipped}}
	noError(t, s.SaveSession(t.Context(), want))
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{5: cursorAt(9), 6: cursorAt(19)}) // an old connection's last words
	wantSession(t, s, want)
	// Only the acknowledgement counts: the hole of a clean start stays, whatever the caller says of it.
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{5: {Acked: 12}, 6: cursorAt(25)})
	want.Cursors[5], want.Cursors[6] = cursorAt(12), store.Cursor{Below: 10, From: 20, Acked: 25}
	wantSession(t, s, want)
	s.PutDisconnect(1, 1, map[store.LogID]store.Cursor{6: {Acked: 26}, 7: {Acked: 3}}, 5, nil)
	want.Cursors[6], want.Cursors[7], want.Disconnected = store.Cursor{Below: 10, From: 20, Acked: 26}, cursorAt(3), 5
	wantSession(t, s, want)
	s.PutDisconnect(1, 1, nil, 0, nil) // connected again
	want.Disconnected = 0
	wantSession(t, s, want)
}

// testGuests: a device without a row gets none from being connected.
func testGuests(t *testing.T, s SessionsCloser) {
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{5: cursorAt(10)})
	s.PutDisconnect(1, 1, map[store.LogID]store.Cursor{5: cursorAt(11)}, 77, nil)
	_, err := s.LoadSession(1, 1)
	wantCode(t, err, store.CodeNotFound)
	c, err := s.CursorOf(1, 1, 5)
	noError(t, err)
	wantEqual(t, c, store.Cursor{})
}

func testSaveAfterPut(t *testing.T, s SessionsCloser) {
	noError(t, s.SaveSession(t.Context(), sampleSession(1, 1)))
	s.PutDisconnect(1, 1, map[store.LogID]store.Cursor{70: cursorAt(3)}, 99, []store.Inflight{{Log: 70, Seq: 4, PacketID: 1}})
	clean := &store.Session{Account: 1, Device: 1, Present: true, Expiry: 5, Epoch: 1}
	noError(t, s.SaveSession(t.Context(), clean))
	wantSession(t, s, clean)
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{8: cursorAt(1)})
	clean.Cursors = map[store.LogID]store.Cursor{8: cursorAt(1)}
	wantSession(t, s, clean)
}

func testDeleteSession(t *testing.T, s SessionsCloser) {
	ctx := t.Context()
	noError(t, s.DeleteSession(ctx, 1, 1))
	noError(t, s.SaveSession(ctx, sampleSession(1, 1)))
	noError(t, s.SaveSession(ctx, sampleSession(1, 2)))
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{8: cursorAt(1)})
	noError(t, s.DeleteSession(ctx, 1, 1))
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{8: cursorAt(2)})
	_, err := s.LoadSession(1, 1)
	wantCode(t, err, store.CodeNotFound)
	wantSession(t, s, sampleSession(1, 2))
}

func testCursorOf(t *testing.T, s SessionsCloser) {
	want := sampleSession(1, 1)
	noError(t, s.SaveSession(t.Context(), want))
	check := func() {
		t.Helper()
		for _, log := range []store.LogID{1, 2, 3, 4, 5, 1 << 50, 1<<50 + 1} {
			c, err := s.CursorOf(1, 1, log)
			noError(t, err)
			wantEqual(t, c, want.Cursors[log])
		}
	}
	check()
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{5: cursorAt(8)})
	want.Cursors[5] = cursorAt(8)
	check()
	c, err := s.CursorOf(9, 1, 1)
	noError(t, err)
	wantEqual(t, c, store.Cursor{})
}

func testExpiry(t *testing.T, s SessionsCloser) {
	ctx := t.Context()
	gone := sampleSession(1, 1)
	gone.Disconnected = 10_000
	later := sampleSession(1, 2)
	later.Disconnected = 20_000
	connected := sampleSession(1, 3)
	zero := sampleSession(1, 4)
	zero.Expiry = 0
	ended := sampleSession(1, 5)
	ended.Present, ended.Disconnected = false, 1
	for _, sess := range []*store.Session{gone, later, connected, zero, ended} {
		noError(t, s.SaveSession(ctx, sess))
	}
	expire := func(now int64, want int) {
		t.Helper()
		n, err := s.ExpireSessions(ctx, now, 100)
		noError(t, err)
		wantEqual(t, n, want)
	}
	at := int64(10_000 + 3600*1000)
	expire(at-1, 0)
	expire(at+1, 1)
	expire(at+1, 0)
	gone.Present, gone.Filters, gone.Inflight = false, nil, nil // the cursors stay
	for _, sess := range []*store.Session{gone, later, connected, zero, ended} {
		wantSession(t, s, sess)
	}
	// Coming back before the end counts.
	later.Disconnected = 0
	noError(t, s.SaveSession(ctx, later))
	expire(at+100_000, 0)
	later.Disconnected, later.Expiry = 30_000, 1
	noError(t, s.SaveSession(ctx, later))
	expire(31_001, 1)
	noError(t, s.DeleteSession(ctx, 1, 5))
	zero.Disconnected = 5
	noError(t, s.SaveSession(ctx, zero))
	noError(t, s.DeleteSession(ctx, 1, 4))
	expire(at*2, 0)
	_, err := s.LoadSession(1, 4)
	wantCode(t, err, store.CodeNotFound)
}

func testExpirySlices(t *testing.T, s SessionsCloser) {
	const n = 40
	together(n, func(i int) bool {
		sess := sampleSession(store.AccountID(i+1), 1)
		sess.Disconnected, sess.Expiry = int64(1000+i), 1
		if err := s.SaveSession(t.Context(), sess); err != nil {
			t.Error(err)
		}
		return true
	})
	left := n
	for _, max := range []int{1, 7, 30, 30} {
		got, err := s.ExpireSessions(t.Context(), 1<<40, max)
		noError(t, err)
		wantEqual(t, got, min(max, left))
		left -= got
	}
}

// testExpiryAfterCrash: a session that was connected when the server ended counts its expiry from the next start.
func testExpiryAfterCrash(t *testing.T, open func(t testing.TB, dir string) SessionsCloser) {
	dir := t.TempDir()
	s := open(t, dir)
	back, away := sampleSession(1, 1), sampleSession(1, 2)
	noError(t, s.SaveSession(t.Context(), back))
	noError(t, s.SaveSession(t.Context(), away))
	noError(t, s.Close()) // without a disconnect: what a crash leaves
	s = open(t, dir)
	noError(t, s.SaveSession(t.Context(), back))
	n, err := s.ExpireSessions(t.Context(), 1, 100)
	noError(t, err)
	wantEqual(t, n, 0)
	n, err = s.ExpireSessions(t.Context(), 1<<50, 100)
	noError(t, err)
	wantEqual(t, n, 1)
	wantSession(t, s, back)
	away.Present, away.Filters, away.Inflight = false, nil, nil
	wantSession(t, s, away)
	noError(t, s.Close())
}

func testReaders(t *testing.T, s SessionsCloser) {
	p, err := s.ReaderPosition("push")
	noError(t, err)
	wantEqual(t, p, 0)
	s.PutReaderPosition("push", 17)
	s.PutReaderPosition("webhook", 1<<63)
	s.PutReaderPosition("push", 18)
	p, err = s.ReaderPosition("push")
	noError(t, err)
	wantEqual(t, p, 18)
	p, err = s.ReaderPosition("webhook")
	noError(t, err)
	wantEqual(t, p, 1<<63)
}

func testPutSurvives(t *testing.T, open func(t testing.TB, dir string) SessionsCloser) {
	dir := t.TempDir()
	s := open(t, dir)
	want := sampleSession(1, 1)
	noError(t, s.SaveSession(t.Context(), want))
	s.PutDisconnect(1, 1, map[store.LogID]store.Cursor{1: cursorAt(50)}, 600, nil)
	s.PutReaderPosition("push", 18)
	noError(t, s.Close())
	s = open(t, dir)
	want.Cursors[1], want.Disconnected, want.Inflight = cursorAt(50), 600, nil
	wantSession(t, s, want)
	p, err := s.ReaderPosition("push")
	noError(t, err)
	wantEqual(t, p, 18)
	noError(t, s.Close())
	noError(t, s.Close())
}

func testNotShared(t *testing.T, s SessionsCloser) {
	mine := sampleSession(1, 1)
	noError(t, s.SaveSession(t.Context(), mine))
	mine.Filters[0].Topic, mine.Cursors[1] = "changed", cursorAt(1000)
	wantSession(t, s, sampleSession(1, 1))
	cursors := map[store.LogID]store.Cursor{1: cursorAt(8)}
	inflight := []store.Inflight{{Log: 1, Seq: 9, PacketID: 2}}
	s.PutDisconnect(1, 1, cursors, 5, inflight)
	cursors[1], inflight[0].Seq = cursorAt(1000), 1000
	want := sampleSession(1, 1)
	want.Cursors[1], want.Inflight, want.Disconnected = cursorAt(8), []store.Inflight{{Log: 1, Seq: 9, PacketID: 2}}, 5
	wantSession(t, s, want)
}

func testManySavers(t *testing.T, s SessionsCloser) {
	const n = 200
	if bad := together(n, func(i int) bool {
		sess := sampleSession(store.AccountID(i%20+1), store.DeviceID(i/20+1))
		sess.Expiry = uint32(i)
		return s.SaveSession(t.Context(), sess) != nil
	}); bad > 0 {
		t.Fatalf("%d saves failed", bad)
	}
	for i := range n {
		want := sampleSession(store.AccountID(i%20+1), store.DeviceID(i/20+1))
		want.Expiry = uint32(i)
		wantSession(t, s, want)
	}
	// Of one device: one of them wins entirely.
	together(20, func(i int) bool {
		sess := sampleSession(1, 1)
		sess.Expiry, sess.Cursors = uint32(i), map[store.LogID]store.Cursor{1: cursorAt(store.Seq(i))}
		if err := s.SaveSession(t.Context(), sess); err != nil {
			t.Error(err)
		}
		return true
	})
	got, err := s.LoadSession(1, 1)
	noError(t, err)
	wantEqual(t, got.Cursors[1], cursorAt(store.Seq(got.Expiry)))
}

// testLoadBeside: whoever loads between a save and a put sees both, whatever is being written at that moment.
func testLoadBeside(t *testing.T, s SessionsCloser) {
	var wg sync.WaitGroup
	for d := range store.DeviceID(4) {
		wg.Go(func() {
			seq := store.Seq(0)
			for round := range 40 {
				sess := &store.Session{Account: 1, Device: d + 1, Present: true, Expiry: uint32(round), Epoch: 1,
					Cursors: map[store.LogID]store.Cursor{1: cursorAt(seq)}}
				if err := s.SaveSession(t.Context(), sess); err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					seq++
					s.PutCursors(1, d+1, map[store.LogID]store.Cursor{1: cursorAt(seq)})
					got, err := s.LoadSession(1, d+1)
					if err != nil || got.Expiry != uint32(round) || got.Cursors[1] != cursorAt(seq) {
						t.Errorf("round %d seq %d: %+v, %v", round, seq, got, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func testSessionsContext(t *testing.T, s SessionsCloser) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.SaveSession(ctx, sampleSession(1, 1)) == nil {
		t.Fatal("an ended context changed something")
	}
	_, err := s.LoadSession(1, 1)
	wantCode(t, err, store.CodeNotFound)
}

// sessionsModelTest runs random operations against a map of sessions, with restarts in between.
func sessionsModelTest(t *testing.T, open func(t testing.TB, dir string) SessionsCloser) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	s := open(t, dir)
	m := sessionsModel{}
	for step := range 1500 {
		if step%300 == 299 {
			noError(t, s.Close())
			s = open(t, dir)
		}
		m.step(t, rnd, s)
	}
	for _, want := range m {
		wantSession(t, s, want)
	}
	noError(t, s.Close())
}

type sessionsModel map[[2]uint64]*store.Session

func (m sessionsModel) step(t testing.TB, rnd *rand.Rand, s store.Sessions) {
	t.Helper()
	a, d := store.AccountID(1+rnd.IntN(3)), store.DeviceID(1+rnd.IntN(3))
	key := [2]uint64{uint64(a), uint64(d)}
	row := m[key]
	cursors := map[store.LogID]store.Cursor{}
	for range rnd.IntN(4) {
		c := cursorAt(store.Seq(rnd.IntN(20)))
		if rnd.IntN(3) == 0 {
			c = c.Skip(store.Seq(rnd.IntN(20)))
		}
		cursors[store.LogID(1+rnd.IntN(6))] = c
	}
	switch op := rnd.IntN(12); op {
	case 0:
		sess := sampleSession(a, d)
		sess.Cursors, sess.Expiry = cursors, uint32(1+rnd.IntN(100))
		if rnd.IntN(2) == 0 {
			sess.Disconnected = int64(1 + rnd.IntN(100_000))
		}
		sess.Present = rnd.IntN(3) > 0
		noError(t, s.SaveSession(t.Context(), sess))
		m[key] = sess
	case 1:
		noError(t, s.DeleteSession(t.Context(), a, d))
		delete(m, key)
	case 2:
		m.expire(t, s, int64(rnd.IntN(200_000)))
	case 3, 4:
		at := int64(rnd.IntN(100_000))
		if rnd.IntN(3) == 0 {
			at = 0 // connected again
		}
		inflight := []store.Inflight{{Log: 1, Seq: store.Seq(at), PacketID: 7}}
		s.PutDisconnect(a, d, cursors, at, inflight)
		if row != nil {
			m.merge(row, cursors)
			row.Disconnected, row.Inflight = at, inflight
		}
	case 5, 6, 7, 8:
		s.PutCursors(a, d, cursors)
		if row != nil {
			m.merge(row, cursors)
		}
	default:
		if row != nil {
			wantSession(t, s, row)
			for log := range store.LogID(7) {
				c, err := s.CursorOf(a, d, log)
				noError(t, err)
				wantEqual(t, c, row.Cursors[log])
			}
			return
		}
		_, err := s.LoadSession(a, d)
		wantCode(t, err, store.CodeNotFound)
	}
}

func (m sessionsModel) merge(row *store.Session, cursors map[store.LogID]store.Cursor) {
	for log, c := range cursors {
		row.Cursors[log] = row.Cursors[log].Ack(c.Acked)
	}
}

// expire ends sessions; those whose lazy disconnect is not written yet may be left for a later time, so the model
// takes over what the implementation did and checks that it was allowed.
func (m sessionsModel) expire(t testing.TB, s store.Sessions, now int64) {
	t.Helper()
	n, err := s.ExpireSessions(t.Context(), now, 0)
	noError(t, err)
	ended := 0
	keys := make([]string, 0, len(m))
	for _, row := range m {
		got, err := s.LoadSession(row.Account, row.Device)
		noError(t, err)
		due := row.Present && row.Disconnected > 0 && row.Disconnected+int64(row.Expiry)*1000 <= now
		if row.Present && !got.Present {
			if !due {
				t.Fatalf("ended too early at %d: %+v", now, row)
			}
			ended++
			row.Present, row.Filters, row.Inflight = false, nil, nil
		}
		keys = append(keys, fmt.Sprint(row.Account, row.Device))
	}
	slices.Sort(keys)
	if n != ended {
		t.Fatalf("%d ended, said %d (rows %v)", ended, n, keys)
	}
}
