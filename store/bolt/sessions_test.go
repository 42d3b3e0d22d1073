package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/storetest"
)

func testSessions(t testing.TB, dir string, opt sessionsOptions) *sessions {
	t.Helper()
	s, err := openSessions(filepath.Join(dir, "state"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSessions(t *testing.T) {
	storetest.Sessions(t, func(t testing.TB, dir string) storetest.SessionsCloser {
		return testSessions(t, dir, sessionsOptions{})
	})
}

// With a flush after every put, every other interleaving is met.
func TestSessionsBusyFlush(t *testing.T) {
	storetest.Sessions(t, func(t testing.TB, dir string) storetest.SessionsCloser {
		return testSessions(t, dir, sessionsOptions{Every: time.Microsecond})
	})
}

// The same through a whole store.
func TestStoreSessions(t *testing.T) {
	storetest.Sessions(t, func(t testing.TB, dir string) storetest.SessionsCloser {
		return testStore(t, Config{Dir: dir}, 0)
	})
}

func cursorAt(seq store.Seq) store.Cursor { return store.Cursor{Below: seq, From: seq, Acked: seq} }

// pendingDevices is how many devices' rows differ from memory.
func (s *sessions) pendingDevices() (devices, weight int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending), s.weight
}

func TestFlushLeavesNothingInMemory(t *testing.T) {
	flushed := make(chan int, 100)
	s := testSessions(t, t.TempDir(), sessionsOptions{
		Every:   time.Millisecond,
		Flushed: func(rows int, err error) { flushed <- rows },
	})
	if err := s.SaveSession(t.Context(), &store.Session{Account: 1, Device: 1, Present: true}); err != nil {
		t.Fatal(err)
	}
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{1: cursorAt(5)})
	if n := <-flushed; n != 1 {
		t.Fatalf("%d rows flushed", n)
	}
	if devices, weight := s.pendingDevices(); devices != 0 || weight != 0 {
		t.Fatalf("%d devices, weight %d still in memory", devices, weight)
	}
	row, err := s.stored(sessionKey{1, 1})
	if err != nil || len(row.cursors) != 1 || row.cursors[0].Cursor != cursorAt(5) {
		t.Fatalf("%+v, %v", row, err)
	}
}

// Much that waits starts a flush long before its time.
func TestFullFlushesEarly(t *testing.T) {
	flushed := make(chan int, 1000)
	s := testSessions(t, t.TempDir(), sessionsOptions{
		Every:   time.Hour,
		Flushed: func(rows int, err error) { flushed <- rows },
	})
	cursors := map[store.LogID]store.Cursor{}
	for log := range store.LogID(200) {
		cursors[log+1] = cursorAt(1)
	}
	n := flushFull/len(cursors) + 1
	for d := range n {
		s.PutCursors(1, store.DeviceID(d+1), cursors)
	}
	if got := <-flushed; got == 0 {
		t.Fatal("nothing was flushed")
	}
}

// While the disk fails, puts stay visible, are written when it works again, and beyond a bound are dropped.
func TestFlushFailing(t *testing.T) {
	results := make(chan error, 1000)
	failing := errors.New("no head today")
	broken := make(chan struct{})
	var logged bytes.Buffer
	s := testSessions(t, t.TempDir(), sessionsOptions{
		Every:   time.Millisecond,
		Epoch:   func() store.Epoch { return 2 },
		Flushed: func(rows int, err error) { results <- err },
		Log:     slog.New(slog.NewTextHandler(&logged, nil)),
		Head: func(store.LogID) (store.Seq, error) {
			select {
			case <-broken:
				return 100, nil
			default:
				return 0, failing
			}
		},
	})
	old := &store.Session{Account: 1, Device: 1, Epoch: 1, Cursors: map[store.LogID]store.Cursor{1: cursorAt(3)}}
	if err := s.SaveSession(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{2: cursorAt(7)})
	for range 3 {
		if err := <-results; !errors.Is(err, failing) {
			t.Fatalf("got %v", err)
		}
	}
	if devices, _ := s.pendingDevices(); devices != 1 {
		t.Fatalf("%d devices wait", devices)
	}
	close(broken)
	for err := range results {
		if err == nil {
			break
		}
	}
	got, err := s.LoadSession(1, 1)
	if err != nil || got.Epoch != 2 || got.Cursors[1] != cursorAt(3) || got.Cursors[2] != cursorAt(7) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logged.String(), "sessions cannot be written"); n != 1 {
		t.Fatalf("told %d times:\n%s", n, &logged)
	}
}

func TestPutsBeyondTheBoundAreDropped(t *testing.T) {
	s := testSessions(t, t.TempDir(), sessionsOptions{Every: time.Hour})
	s.mu.Lock()
	s.weight = flushDrop
	s.mu.Unlock()
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{2: cursorAt(7)})
	if devices, _ := s.pendingDevices(); devices != 0 || s.dropped != 1 {
		t.Fatalf("%d devices wait, %d dropped", devices, s.dropped)
	}
	s.mu.Lock()
	s.weight = 0
	s.mu.Unlock()
}

func TestEpochCapsCursors(t *testing.T) {
	dir := t.TempDir()
	s := testSessions(t, dir, sessionsOptions{})
	sess := &store.Session{
		Account: 1, Device: 1, Present: true, Expiry: 9,
		Inflight: []store.Inflight{{Log: 1, Seq: 9, PacketID: 1}, {Log: 1, Seq: 6, PacketID: 2}, {Log: 3, Seq: 1, PacketID: 3}},
		Cursors: map[store.LogID]store.Cursor{
			1: {Below: 2, From: 5, Acked: 9}, 2: cursorAt(4), 3: cursorAt(8),
		},
	}
	if err := s.SaveSession(t.Context(), sess); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	head := func(log store.LogID) (store.Seq, error) {
		if log == 3 {
			return 0, store.ErrNotFound // made after the backup
		}
		return 6, nil
	}
	s = testSessions(t, dir, sessionsOptions{Epoch: func() store.Epoch { return 2 }, Head: head})
	want := map[store.LogID]store.Cursor{1: {Below: 2, From: 5, Acked: 6}, 2: cursorAt(4)}
	for range 2 { // the second time after a put, which may be lower than before the restore
		got, err := s.LoadSession(1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got.Epoch != 2 || !reflect.DeepEqual(got.Cursors, want) {
			t.Fatalf("epoch %d cursors %v", got.Epoch, got.Cursors)
		}
		if len(got.Inflight) != 1 || got.Inflight[0].PacketID != 2 {
			t.Fatalf("inflight %v", got.Inflight)
		}
		for log := range store.LogID(5) {
			if c, err := s.CursorOf(1, 1, log); err != nil || c != want[log] {
				t.Fatalf("log %d: %v, %v", log, c, err)
			}
		}
		want[1] = store.Cursor{Below: 2, From: 5, Acked: 7}
		s.PutCursors(1, 1, map[store.LogID]store.Cursor{1: want[1]})
		if err := s.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A device that was connected at a crash is listed again as soon as its cursors move, and ends later only.
func TestExpiryCountsFromTheStart(t *testing.T) {
	dir := t.TempDir()
	s := testSessions(t, dir, sessionsOptions{})
	for d := range store.DeviceID(3) {
		if err := s.SaveSession(t.Context(), &store.Session{Account: 1, Device: d + 1, Present: true, Expiry: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.UnixMilli(1_000_000)
	s = testSessions(t, dir, sessionsOptions{Now: func() time.Time { return start }})
	expire := func(now int64, max, want int) {
		t.Helper()
		if n, err := s.ExpireSessions(t.Context(), now, max); err != nil || n != want {
			t.Fatalf("at %d: %d ended, want %d (%v)", now, n, want, err)
		}
	}
	expire(1_009_999, 2, 0) // takes over two of the three
	s.PutCursors(1, 2, map[store.LogID]store.Cursor{1: cursorAt(1)})
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	expire(1_010_000, 10, 2)
	got, err := s.LoadSession(1, 2)
	if err != nil || !got.Present {
		t.Fatalf("the one that is back: %+v, %v", got, err)
	}
	expire(1<<50, 10, 0)
}

func TestDamagedSession(t *testing.T) {
	s := testSessions(t, t.TempDir(), sessionsOptions{})
	if err := s.SaveSession(t.Context(), &store.Session{Account: 5, Device: 0xabc, Present: true, Expiry: 1, Disconnected: 1}); err != nil {
		t.Fatal(err)
	}
	key := sessionKey{5, 0xabc}
	if err := s.file.update(t.Context(), func(w *writeTx) error {
		return w.bucket(stateSessions).put(key.bytes(), []byte{sessionVersion, 1, 0xff})
	}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := s.LoadSession(5, 0xabc)
	if store.CodeOf(err) != store.CodeInternal || !strings.Contains(err.Error(), "device abc of a5") {
		t.Fatalf("got %v", err)
	}
	if _, err := s.CursorOf(5, 0xabc, 1); store.CodeOf(err) != store.CodeInternal {
		t.Fatalf("got %v", err)
	}
	s.PutCursors(5, 0xabc, map[store.LogID]store.Cursor{1: cursorAt(1)})
	if err := s.flush(t.Context()); err != nil { // others' rows go on
		t.Fatal(err)
	}
	if n, err := s.ExpireSessions(t.Context(), 1<<40, 10); n != 0 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	fresh := &store.Session{Account: 5, Device: 0xabc, Present: true}
	if err := s.SaveSession(t.Context(), fresh); err != nil { // a clean start heals it
		t.Fatal(err)
	}
	if _, err := s.LoadSession(5, 0xabc); err != nil {
		t.Fatal(err)
	}
}

func TestSessionsAfterClose(t *testing.T) {
	s := testSessions(t, t.TempDir(), sessionsOptions{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.PutCursors(1, 1, map[store.LogID]store.Cursor{1: cursorAt(1)})
	s.PutReaderPosition("push", 1)
	if err := s.SaveSession(t.Context(), &store.Session{Account: 1, Device: 1}); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.LoadSession(1, 1); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func FuzzSessionRow(f *testing.F) {
	full := rowOf(&store.Session{
		Present: true, Expiry: 1 << 31, Disconnected: 1_700_000_000_000, Epoch: 3,
		Filters:  []store.Filter{{Topic: "room/+/json", QoS: 1, NoLocal: true, Identifier: 9}, {Topic: "#"}},
		Inflight: []store.Inflight{{Log: 1, Seq: 2, PacketID: 3}},
		Cursors:  map[store.LogID]store.Cursor{1: cursorAt(9), 7: {Below: 1, From: 5, Acked: 6}},
	})
	full.deadline, full.boot = 12345, 6
	packed := appendSession(nil, &full)
	f.Add(packed)
	f.Add(appendSession(nil, &sessionRow{}))
	f.Add([]byte{})
	f.Add([]byte{2})
	for _, cut := range []int{1, len(packed) / 2, len(packed) - 1} {
		f.Add(packed[:cut])
	}
	f.Add(append(bytes.Clone(packed), 0))
	f.Add([]byte{sessionVersion, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		row, err := decodeSession(b)
		_, _, oneErr := cursorInRow(b, 7)
		if err != nil {
			return
		}
		if oneErr != nil {
			t.Fatalf("the row is read as a whole but not for one cursor: %v", oneErr)
		}
		again, err := decodeSession(appendSession(nil, &row))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(row) {
			t.Fatalf("%+v\n%+v\n%v", row, again, err)
		}
		for _, c := range row.cursors {
			if one, _, err := cursorInRow(b, c.log); err != nil || one != c.Cursor {
				t.Fatalf("log %v: %v, want %v (%v)", c.log, one, c.Cursor, err)
			}
		}
	})
}

func BenchmarkSaveSession(b *testing.B) {
	for _, clients := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := testSessions(b, b.TempDir(), sessionsOptions{})
			perSecond(b, clients, func(i int) error {
				return s.SaveSession(context.Background(), benchSession(i))
			})
		})
	}
}

// benchSession is a phone with 65 friends and 5 rooms.
func benchSession(i int) *store.Session {
	sess := &store.Session{
		Account: store.AccountID(i + 1), Device: store.DeviceOf(store.AccountID(i+1), "phone"), Present: true, Expiry: 30 * 86400,
		Filters: []store.Filter{{Topic: "#", QoS: 1}},
		Cursors: map[store.LogID]store.Cursor{},
	}
	for n := range 70 {
		sess.Cursors[store.LogID(i*35+n+1)] = cursorAt(store.Seq(1000 + n))
	}
	return sess
}

func BenchmarkLoadSession(b *testing.B) {
	s := testSessions(b, b.TempDir(), sessionsOptions{})
	const n = 2000
	perSecondN(b, n, 500, func(i int) error { return s.SaveSession(context.Background(), benchSession(i)) })
	b.Run("stored", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			sess := benchSession0(i % n)
			if _, err := s.LoadSession(sess.account, sess.device); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cursor", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			sess := benchSession0(i % n)
			if _, err := s.CursorOf(sess.account, sess.device, store.LogID(i%n*35+35)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchSession0(i int) sessionKey {
	a := store.AccountID(i + 1)
	return sessionKey{a, store.DeviceOf(a, "phone")}
}

// BenchmarkPutCursors is the cost for the connection that reports, flushes going on beside it.
func BenchmarkPutCursors(b *testing.B) {
	s := testSessions(b, b.TempDir(), sessionsOptions{})
	const n = 15000
	perSecondN(b, n, 500, func(i int) error { return s.SaveSession(context.Background(), benchSession(i)) })
	keys := make([]sessionKey, n)
	for i := range keys {
		keys[i] = benchSession0(i)
	}
	b.ReportAllocs()
	seq := store.Seq(5000)
	for i := 0; b.Loop(); i++ {
		k := keys[i*7919%n]
		seq++
		s.PutCursors(k.account, k.device, map[store.LogID]store.Cursor{store.LogID(i%n*35 + 1): cursorAt(seq)})
	}
}

// BenchmarkExpireSessions is asking when nothing is due, among many sessions: it must not depend on how many there are.
func BenchmarkExpireSessions(b *testing.B) {
	for _, n := range []int{1000, 30_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			s := testSessions(b, b.TempDir(), sessionsOptions{})
			perSecondN(b, n, 500, func(i int) error {
				sess := benchSession(i)
				sess.Disconnected = int64(i%2) * 1_700_000_000_000
				return s.SaveSession(context.Background(), sess)
			})
			for b.Loop() {
				if n, err := s.ExpireSessions(context.Background(), 1_700_000_000_000, 0); n != 0 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// BenchmarkSaveStorm: 15,000 devices out of 200,000 with a row come at once and subscribe; then their cursors are
// flushed.
func BenchmarkSaveStorm(b *testing.B) {
	const rows, storm = 200_000, 15_000
	flushed := make(chan int, 1000)
	s := testSessions(b, b.TempDir(), sessionsOptions{Every: time.Millisecond, Flushed: func(n int, err error) { flushed <- n }})
	save := func(i int) error { return s.SaveSession(context.Background(), benchSession(i)) }
	perSecondN(b, rows, 1000, save)
	var saving, flushing time.Duration
	for b.Loop() {
		start := time.Now()
		perSecondN(b, storm, storm, func(i int) error { return save(i * 7919 % rows) })
		saving += time.Since(start)
		start = time.Now()
		for i := range storm {
			k := benchSession0(i * 7919 % rows)
			s.PutCursors(k.account, k.device, map[store.LogID]store.Cursor{store.LogID(i*7919%rows*35 + 1): cursorAt(5000)})
		}
		for n := 0; n < storm; {
			n += <-flushed
		}
		flushing += time.Since(start)
	}
	b.ReportMetric(float64(storm*b.N)/saving.Seconds(), "saves/s")
	b.ReportMetric(float64(storm*b.N)/flushing.Seconds(), "flushes/s")
}
