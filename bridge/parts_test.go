package bridge

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// TestLedger: the position passes a segment when nothing holds it or one before it, in whatever order they let go.
func TestLedger(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	l := newLedger(100)
	at := store.Position(100)
	type held struct {
		s *segment
		n int
	}
	var all []held
	for range 2000 {
		switch {
		case rnd.IntN(2) == 0:
			next := at + store.Position(1+rnd.IntN(50))
			s := l.begin(at, next, 1+rnd.IntN(segmentEntries))
			all = append(all, held{s, 1})
			at = next
			for range rnd.IntN(3) {
				if !s.hold() {
					t.Fatal("a segment that is held cannot be held again")
				}
				all[len(all)-1].n++
			}
		case len(all) > 0:
			h := &all[rnd.IntN(len(all))]
			if h.n > 0 {
				h.s.release()
				h.n--
			}
		}
		want := at
		for _, h := range all {
			if h.n > 0 {
				want = h.s.from
				break
			}
		}
		if got, n := l.passed(); got != want || (n > 0) != (want != at) {
			t.Fatalf("the position is %d with %d entries beyond, want %d of %d", got, n, want, at)
		}
	}
}

// TestNews: what is left of messages after some are settled is never taken for younger than its stretch ends, nor for older
// than it is, and each holds the segment of a message at most as new.
func TestNews(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		l := newLedger(0)
		var n news
		written := map[store.Seq]int64{}
		var segs []*segment
		next, settled, now := store.Seq(1), store.Seq(0), int64(0)
		for range 60 {
			if rnd.IntN(3) > 0 {
				now += int64(rnd.IntN(900))
				s := l.begin(store.Position(next), store.Position(next+1), segmentEntries)
				segs = append(segs, s)
				written[next] = now
				n.add(next, next, now, now, s, 1000)
				next++
			} else {
				upto := settled + store.Seq(rnd.IntN(int(next-settled)))
				n.settle(upto)
				settled = max(settled, upto)
			}
			if settled == next-1 {
				if n.first.seq != 0 {
					t.Fatalf("all is settled, and %+v is left", n)
				}
				continue
			}
			if n.first.seq != settled+1 || n.last != next-1 {
				t.Fatalf("%d to %d are left, want %d to %d", n.first.seq, n.last, settled+1, next-1)
			}
			if n.first.time < written[settled+1] || n.first.time > now {
				t.Fatalf("the oldest is taken for one of %d; it is of %d", n.first.time, written[settled+1])
			}
			if n.first.seg.from > store.Position(settled+1) {
				t.Fatalf("message %d holds the segment from %d", settled+1, n.first.seg.from)
			}
		}
		n.drop()
		for _, s := range segs {
			s.release()
		}
		if at, left := l.passed(); left != 0 || at != store.Position(next) && next > 1 {
			t.Fatalf("a hold is left: %d, %d", at, left)
		}
	}
}

// TestCaps: of a device's pushes no more than so many fall into any minute.
func TestCaps(t *testing.T) {
	c := newCaps(20)
	now := time.UnixMilli(1_700_000_000_000)
	k := key{1, 1, 1}
	var taken []time.Time
	for range 5000 {
		until, ok := c.take(k, now)
		if ok {
			taken = append(taken, now)
			if n := len(taken); n > 20 && taken[n-1].Sub(taken[n-21]) < time.Minute {
				t.Fatalf("21 pushes within %v", taken[n-1].Sub(taken[n-21]))
			}
		} else if !until.After(now) || until.After(now.Add(time.Minute)) {
			t.Fatalf("come back in %v", until.Sub(now))
		}
		now = now.Add(100 * time.Millisecond)
	}
	if len(taken) < 160 {
		t.Errorf("%d pushes in 500 s", len(taken))
	}
	if _, ok := c.take(key{1, 2, 1}, now); !ok {
		t.Error("another device pays")
	}
	for i := range store.AccountID(1000) {
		c.take(key{i, 1, 1}, now)
	}
	c.take(k, now.Add(2*time.Minute))
	if n := len(c.of); n != 1 {
		t.Errorf("%d devices are remembered", n)
	}
	back := now.Add(-time.Hour) // a clock that is put back holds up nobody for an hour
	if _, ok := c.take(k, back); !ok {
		t.Error("the clock was put back, and nothing goes")
	}
}

// TestAudit: the newest decisions are kept.
func TestAudit(t *testing.T) {
	a := audit{max: 5000}
	for i := range 12000 {
		a.add(remark{key: key{store.AccountID(i%3 + 1), 1, 1}, from: store.Seq(i), upto: store.Seq(i)})
	}
	got := a.about(2, func(*remark) bool { return true })
	if len(got) != 1667 && len(got) != 1666 || got[0].from < 7000 || got[len(got)-1].from < 11998-2 {
		t.Errorf("%d decisions, from %d to %d", len(got), got[0].from, got[len(got)-1].from)
	}
	if !slices.IsSortedFunc(got, func(x, y remark) int { return int(x.from) - int(y.from) }) {
		t.Error("they are not in order")
	}
}

// TestRowKey: a ring's name survives its row; a row of something else is nobody's.
func TestRowKey(t *testing.T) {
	k := key{1 << 60, 2, 1<<63 + 3}
	if got, ok := keyOfRow(store.Row{Owner: store.OwnerOf(k.account), Key: rowKey(k)}); !ok || got != k {
		t.Errorf("%v %v", got, ok)
	}
	for _, r := range []store.Row{{}, {Owner: store.OwnerOf(store.AccountID(1)), Key: "short"}, {Owner: "x", Key: rowKey(k)}} {
		if _, ok := keyOfRow(r); ok {
			t.Errorf("%+v names a ring", r)
		}
	}
}

// FuzzRow: whatever a row says, it is read or refused.
func FuzzRow(f *testing.F) {
	for _, s := range []string{`{}`, `{"f":1,"t":2,"l":3,"u":9223372036854775807}`, `{"f":-1}`, `[]`, `null`, "", `{"v":"` + "\xff" + `"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil && s != (state{}) {
			t.Errorf("an error, and %+v", s)
		}
		s.add(1, 5, 7)
		s.settled(5, ReasonRead, time.UnixMilli(10))
		if s.First != 0 && s.First <= 5 {
			t.Errorf("5 is settled and %d waits", s.First)
		}
		s.folded(1, time.UnixMilli(20))
		if !s.waiting() {
			t.Errorf("what is folded does not wait: %+v", s)
		}
	})
}

// TestRowUnreadable: a row that says nothing sensible does not keep a phone silent.
func TestRowUnreadable(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, bob, log := two(w)
		w.ok(w.store.Update(t.Context(), store.Update{Owner: store.OwnerOf(bob),
			Rows: []store.RowPut{{Table: tableRing, Key: rowKey(key{bob, 7, log}), Value: []byte("{")}}}))
		w.say(log, alice)
		w.sent("message 1×1")
		w.nothingWaits()
	})
}

// TestRoom: with as many rings in memory as there may be the reader waits, and goes on when some are settled.
func TestRoom(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.limit.rings = 5
		w.start()
		bob := w.account("bob")
		w.register(bob, 7)
		w.live.connect(bob, 7, doubleLink{})
		var logs []store.LogID
		for i := range 20 {
			a := w.account("u" + string(rune('a'+i)))
			logs = append(logs, w.pair(a, bob))
			w.say(logs[i], a)
			synctest.Wait()
		}
		time.Sleep(time.Second)
		if n := w.b.table.len(); n != 5 {
			t.Fatalf("%d rings in memory", n)
		}
		w.ackAll(bob, 7, logs)
		time.Sleep(time.Minute)
		w.sent()
		w.nothingWaits()
	})
}

// ackAll confirms the first message of each of some logs.
func (w *world) ackAll(a store.AccountID, d store.DeviceID, logs []store.LogID) {
	w.t.Helper()
	c := map[store.LogID]store.Cursor{}
	for _, l := range logs {
		c[l] = store.Cursor{}.Ack(1)
	}
	w.ok(w.store.SaveSession(w.t.Context(), &store.Session{Account: a, Device: d, Cursors: c}))
}

// TestLargeRoom: its members are gone through beside the reader, in order, and each message rings for each of them.
func TestLargeRoom(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		members := []store.AccountID{w.account("owner")}
		for i := range 150 {
			a := w.account("m" + string(rune('a'+i/26)) + string(rune('a'+i%26)))
			w.register(a, 7)
			members = append(members, a)
		}
		room := w.room("crowd", members...)
		for range 5 {
			w.say(room, members[0])
		}
		synctest.Wait()
		if n := len(w.lane.taken()); n != 150 {
			t.Errorf("%d pushes for 150 members", n)
		}
		time.Sleep(4 * time.Second)
		w.lane.set(func(l *doubleLane) {
			last := map[store.DeviceID]int{}
			for _, p := range l.pushes {
				if p.Note.Seq == w.head(room) {
					last[p.To.Device]++
				}
			}
			if last[7] != 150 {
				t.Errorf("%d members were told of the last message", last[7])
			}
			l.pushes = nil
		})
		w.nothingWaits()
		w.recall(room, members[0], w.head(room))
		synctest.Wait()
		w.nothingWaits()
	})
}

func (w *world) head(log store.LogID) store.Seq {
	w.t.Helper()
	info, err := w.store.Info(log)
	w.ok(err)
	return info.Head
}

// TestRoomsShareWalks: messages of a room that waits to be gone through share one walk, and of two walks of one room the
// second waits for the first.
func TestRoomsShareWalks(t *testing.T) {
	c := newCrowd(nil)
	l := newLedger(0)
	ctx, cancel := context.WithCancel(t.Context())
	for i := range store.Seq(10) {
		s := l.begin(store.Position(i), store.Position(i+1), segmentEntries)
		w := walk{log: 1, first: i + 1, last: i + 1, time: int64(i), sender: store.AccountID(1 + i/5)}
		if i == 7 {
			w = walk{log: 1, recalled: 3}
		}
		if !c.add(ctx, w, s) {
			t.Fatal("not added")
		}
		s.release()
	}
	if at, _ := l.passed(); at != 0 {
		t.Errorf("the position has passed what was not gone through: %d", at)
	}
	p, _ := c.take()
	if p == nil || p.first != 1 || p.last != 10 || p.time != 0 || !p.mixed || p.recalled != 3 {
		t.Fatalf("the walk is %+v", p)
	}
	s := l.begin(10, 11, 1)
	c.add(ctx, walk{log: 1, first: 11, last: 11}, s)
	if again, _ := c.take(); again != nil {
		t.Error("the room is gone through twice at once")
	}
	c.add(ctx, walk{log: 2, first: 1, last: 1}, s)
	if other, _ := c.take(); other == nil || other.log != 2 {
		t.Errorf("another room waits for it: %+v", other)
	}
	for i := range crowdLogs - 1 {
		c.add(ctx, walk{log: store.LogID(i + 10), first: 1, last: 1}, s)
	}
	cancel()
	if c.add(ctx, walk{log: 5, first: 1, last: 1}, s) {
		t.Error("there is room for more than there is")
	}
}

// TestManyRings: the rings of one account are found however many there are.
func TestManyRings(t *testing.T) {
	tb := newTable()
	sh := tb.shard(1)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range store.LogID(200) {
		tb.make(sh, key{1, 1, i + 1}).due = 1
	}
	for i := range store.LogID(200) {
		r := sh.find(key{1, 1, i + 1})
		if r == nil || tb.make(sh, r.key) != r {
			t.Fatalf("ring %d is lost", i)
		}
		if i%2 == 0 {
			r.due = 0
			tb.sweep(sh, r.a)
		}
	}
	if sh.find(key{1, 1, 1}) != nil || sh.find(key{1, 1, 2}) == nil || tb.len() != 100 {
		t.Errorf("%d rings are left", tb.len())
	}
	for _, r := range slices.Clone(sh.accounts[1].rings) {
		r.due = 0
	}
	tb.sweep(sh, sh.accounts[1])
	if len(sh.accounts) != 0 || tb.len() != 0 {
		t.Error("an account without rings is left")
	}
}

// TestCloseWaits: what is in flight when the bridge closes is waited for and remembered.
func TestCloseWaits(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		alice, _, log := two(w)
		gate := make(chan struct{})
		w.lane.set(func(l *doubleLane) { l.after = gate })
		w.say(log, alice)
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- w.b.Close() }()
		time.Sleep(time.Second)
		select {
		case <-closed:
			t.Fatal("closed with a push in flight")
		default:
		}
		close(gate)
		w.ok(<-closed)
		w.sent("message 1×1")
		w.lane.set(func(l *doubleLane) { l.after = nil })
		w.start()
		w.sent()
		w.nothingWaits()
	})
}

// meeting is a lane whose Close returns when the other one's was called.
type meeting struct {
	*doubleLane
	here, there chan struct{}
}

func (m *meeting) Close() error {
	close(m.here)
	<-m.there
	return m.doubleLane.Close()
}

// TestCloseTogether: a lane that takes its time does not keep the others from ending.
func TestCloseTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		cfg := Config{Store: w.store, Access: hooks.NewAccess(w.store, hooks.AccessConfig{}), Live: w.live}
		cfg.setDefaults()
		one, other := make(chan struct{}), make(chan struct{})
		var err error
		w.b, err = start(cfg, func(b *Bridge) judge { return &doubleRules{b: b} }, map[graph.PushProvider]carrier{
			graph.APNs: &meeting{newDoubleLane(), one, other}, graph.FCM: &meeting{newDoubleLane(), other, one}}, w.limit)
		w.ok(err)
		w.close()
	})
}
