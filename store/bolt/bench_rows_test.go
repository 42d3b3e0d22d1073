package bolt

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// BenchmarkRow is what is asked per message: a row in the cache, one that does not exist, and one that must be read.
func BenchmarkRow(b *testing.B) {
	const users, table = 20_000, store.Table("user.bench")
	dir := b.TempDir()
	s := testStore(b, Config{Dir: dir}, 0)
	perSecondN(b, users, 500, func(i int) error {
		return s.Update(context.Background(), store.Update{Owner: store.OwnerOf(store.AccountID(i + 1)), Rows: []store.RowPut{
			{Table: "room.bench", Key: "k", Value: []byte(`{"strangers":"ask","since":1700000000000}`)}}})
	})
	run := func(name string, d *directory, t store.Table, among int, exists bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r, err := d.Row(t, store.OwnerOf(store.AccountID(i*7919%among+1)), "k")
				if err != nil || (r.Version != 0) != exists {
					b.Fatal(r, err)
				}
			}
		})
	}
	run("hit", s.directory, "room.bench", 10_000, true)
	run("absent", s.directory, table, 10_000, false)
	b.Run("decoded", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r, err := s.Row("room.bench", store.OwnerOf(store.AccountID(i*7919%10_000+1)), "k")
			if err == nil {
				_, err = store.Decoded(r, func(v []byte) (m map[string]any, err error) { return m, json.Unmarshal(v, &m) })
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	s.directory.rows = newRowCache(cacheShards, tableRowCost) // nothing fits
	run("miss", s.directory, "room.bench", users, true)
}

// BenchmarkUpdate is a durable change of one row, alone and among 64 at a time.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			s := testStore(b, Config{Dir: b.TempDir()}, 0)
			var n atomic.Int64
			b.SetParallelism(writers)
			b.ReportAllocs()
			update := func() {
				owner := store.OwnerOf(store.AccountID(n.Add(1)%1000 + 1))
				if err := s.Update(context.Background(), store.Update{Owner: owner, Rows: []store.RowPut{
					{Table: "room.bench", Key: "k", Value: []byte("0123456789012345678901234567890123456789")}}}); err != nil {
					b.Error(err)
				}
			}
			if writers == 1 {
				for b.Loop() {
					update()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					update()
				}
			})
		})
	}
}

// BenchmarkInfo is what is asked per message about the log: of a room, and of a pair with its sides.
func BenchmarkInfo(b *testing.B) {
	s := testStore(b, Config{Dir: b.TempDir()}, 2)
	room, _, err := s.Open(context.Background(), store.RoomKey("r"), store.Creation{By: 1, Members: []store.Member{{Account: 1}, {Account: 2}}})
	if err != nil {
		b.Fatal(err)
	}
	pair, _, err := s.Open(context.Background(), store.PairKey(1, 2), store.Creation{By: 1, Members: []store.Member{{Account: 1}}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Append(store.Draft{Log: pair.ID, Sender: 1, Text: []byte("x"), Audience: store.AudienceRequest}).Result(); err != nil {
		b.Fatal(err)
	}
	for _, log := range []store.LogInfo{room, pair} {
		b.Run(fmt.Sprint("kind=", log.Key.Kind), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				info, err := s.Info(log.ID)
				if err != nil {
					b.Fatal(err)
				}
				n += info.Side(1).Requests
			}
			if (n > 0) != (log.Key.Kind == store.LogPair) {
				b.Fatal(n)
			}
		})
	}
}
