package bridge

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// benchWorld has users with conversations, and a bridge whose reading is done by hand, on a clock of its own.
func benchWorld(b *testing.B, users int, registered bool) (w *world, entries []store.Entry, clock *atomic.Int64) {
	b.Helper()
	clock = new(atomic.Int64)
	clock.Store(time.Now().UnixMilli())
	w = newWorld(b, b.TempDir())
	w.conf = func(c *Config) { c.Now = func() time.Time { return time.UnixMilli(clock.Load()) } }
	w.start()
	b.Cleanup(w.close)
	w.b.stop()
	w.b.readers.Wait()
	for i := range users {
		a := w.account(fmt.Sprintf("u%d", i))
		if registered {
			w.register(a, 7)
			w.live.connect(a, 7, doubleLink{})
		}
		key := store.Key{Kind: store.LogPair, A: 1 << 40, B: a}
		entries = append(entries, store.Entry{Key: key, Record: &store.Record{Log: store.LogID(i + 1), Sender: key.A}})
	}
	return w, entries, clock
}

// acksAll is a server whose devices have acknowledged everything.
type acksAll struct{ *doubleLive }

func (acksAll) Acked(store.AccountID, store.DeviceID, store.LogID) (store.Cursor, error) {
	return store.Cursor{Below: 1 << 60, From: 1 << 60, Acked: 1 << 60}, nil
}

// BenchmarkNobody: a message to somebody who has nothing registered.
func BenchmarkNobody(b *testing.B) {
	w, entries, _ := benchWorld(b, 5000, false)
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		seg := w.b.ledger.begin(store.Position(i), store.Position(i+1), 1)
		e := entries[i%len(entries)]
		e.Record.Seq = store.Seq(i/len(entries) + 1)
		w.b.entry(ctx, &e, seg)
		seg.release()
	}
}

// BenchmarkConnected: a message to a device that is connected and acknowledges, with the look after its seconds, at 10,000
// messages a second to 5,000 devices.
func BenchmarkConnected(b *testing.B) {
	w, entries, clock := benchWorld(b, 5000, true)
	w.b.live = acksAll{w.live}
	ctx := b.Context()
	out := make([]due[*bell], 0, soonBatch)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		seg := w.b.ledger.begin(store.Position(i), store.Position(i+1), 1)
		e := entries[i%len(entries)]
		e.Record.Seq, e.Record.Time = store.Seq(i/len(entries)+1), clock.Load()
		w.b.entry(ctx, &e, seg)
		seg.release()
		if i%10 == 9 {
			clock.Add(1)
		}
		if i%1000 == 999 {
			for {
				out = w.b.soon.take(clock.Load(), out)
				for _, d := range out {
					w.b.fell(d)
				}
				if len(out) < cap(out) {
					break
				}
			}
		}
	}
	if n := w.rules.questions(); n != 0 {
		b.Errorf("the rules were asked %d times", n)
	}
}

// BenchmarkConnectedOnce is BenchmarkConnected with a conversation of its own for every message within the seconds, which
// is the dearest.
func BenchmarkConnectedOnce(b *testing.B) {
	w, entries, clock := benchWorld(b, 5000, true)
	w.b.live = acksAll{w.live}
	ctx := b.Context()
	out := make([]due[*bell], 0, soonBatch)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		seg := w.b.ledger.begin(store.Position(i), store.Position(i+1), 1)
		e := entries[i%len(entries)]
		e.Record.Seq, e.Record.Time = store.Seq(i/len(entries)+1), clock.Load()
		w.b.entry(ctx, &e, seg)
		seg.release()
		if i%4000 == 3999 {
			clock.Add(8001)
			for {
				out = w.b.soon.take(clock.Load(), out)
				for _, d := range out {
					w.b.fell(d)
				}
				if len(out) < cap(out) {
					break
				}
			}
		}
	}
}

// BenchmarkRoom: a message in a room of 3,000 of whom one in three is connected with a registered device, the others have
// none.
func BenchmarkRoom(b *testing.B) {
	w, _, clock := benchWorld(b, 0, false)
	w.b.live = acksAll{w.live}
	var ms store.Membership
	for i := range 3000 {
		a := w.account(fmt.Sprintf("m%d", i))
		if i%3 == 0 {
			w.register(a, 7)
			w.live.connect(a, 7, doubleLink{})
		}
		ms.Members = append(ms.Members, store.Member{Account: a, Role: store.RoleMember})
	}
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		seg := w.b.ledger.begin(store.Position(i), store.Position(i+1), 1)
		w.b.walk(ctx, &walk{log: 1, key: store.RoomKey("r"), members: &ms, first: store.Seq(i + 1), last: store.Seq(i + 1), time: clock.Load()}, seg)
		seg.release()
	}
}

// BenchmarkRingMemory: bytes of memory for each ring that waits for an acknowledgement, of devices that are all of
// different users.
func BenchmarkRingMemory(b *testing.B) {
	w, _, clock := benchWorld(b, 0, false)
	rings := 100_000
	if testing.Short() {
		rings = 5_000
	}
	for b.Loop() {
		w.b.table, w.b.soon = newTable(), soon{}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range rings {
			k := key{store.AccountID(i + 1), 7, 1}
			seg := w.b.ledger.begin(store.Position(i), store.Position(i+1), 1)
			sh := w.b.table.shard(k.account)
			sh.mu.Lock()
			r := w.b.table.make(sh, k)
			r.news.add(1, 1, clock.Load(), clock.Load(), seg, 2000)
			w.b.await(r, clock.Load()+8000, clock.Load())
			sh.mu.Unlock()
			seg.release()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(rings), "bytes/ring")
	}
}
