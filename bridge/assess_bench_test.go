package bridge

import (
	"fmt"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// BenchmarkAssess: what a decision costs, with everything in memory as it is for what was written a moment ago.
func BenchmarkAssess(b *testing.B) {
	w := newTown(b)
	alice, bob := w.person("alice", "Alice", ""), w.person("bob", "Bob", "ko")
	var members []store.AccountID
	for i := range 500 {
		members = append(members, w.person(fmt.Sprint("m", i), "", ""))
	}
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	room := w.open(store.RoomKey("lobby"), "Lobby", append(members, alice, bob)...)
	muted := w.open(store.RoomKey("muted"), "", alice, bob)
	w.ok2(w.graph.SetMute(b.Context(), bob, muted, &graph.Mute{}))
	for range 20 {
		w.say(pair, alice, "hello")
		w.say(room, alice, "hello")
		w.say(muted, alice, "hello")
	}
	old := func(st *state) *state { st.Time = ago(20e9); return st }
	for _, c := range []struct {
		name string
		log  store.LogID
		st   *state
		live func()
		want Reason
	}{
		{"acknowledged", pair, w.waiting(20), func() { w.live.connected, w.live.acked[key{bob, phone1, pair}] = true, store.Cursor{Acked: 20} }, ReasonAcked},
		{"connected", pair, w.waiting(20), func() { w.live.connected = true }, ReasonGrace},
		{"away, a pair", pair, w.waiting(20), func() {}, ReasonAway},
		{"away, a room of 502", room, w.waiting(20), func() {}, ReasonAway},
		{"away, muted", muted, w.waiting(20), func() {}, ReasonMuted},
		{"unanswered", pair, old(w.waiting(20)), func() { w.live.connected = true }, ReasonSilence},
	} {
		b.Run(c.name, func(b *testing.B) {
			w.live.connected, w.live.acked = false, map[key]store.Cursor{}
			c.live()
			if v := w.ask(bob, c.log, c.st); v.reason != c.want {
				b.Fatalf("got %+v", v)
			}
			b.ReportAllocs()
			for b.Loop() {
				w.ask(bob, c.log, c.st)
			}
		})
	}
	b.Run("compose", func(b *testing.B) {
		w.live.connected, w.live.acked = false, map[key]store.Cursor{}
		st := w.waiting(20)
		v := w.ask(bob, room, st)
		b.ReportAllocs()
		for b.Loop() {
			w.pushed(bob, room, st, v)
		}
	})
	b.Run("noted, a room of 502", func(b *testing.B) {
		info, err := w.s.Info(room)
		w.ok(err)
		page, err := w.s.Read(store.Query{Log: room, After: info.Head - 1})
		w.ok(err)
		e := store.Entry{Record: page.Records[0], Key: info.Key, Members: info.Members}
		b.ReportAllocs()
		for b.Loop() {
			w.noted(&e)
		}
	})
}
