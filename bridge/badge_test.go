package bridge

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// counted is a user's number as it must be: every log read from the mark on.
func (w *town) counted(a store.AccountID) int {
	w.t.Helper()
	refs, err := w.s.LogsOf(a, 0, 0)
	w.ok(err)
	sum := 0
	for _, r := range refs {
		mute, err := w.graph.Mute(a, r.ID)
		w.ok(err)
		if r.Key.Kind == store.LogNotice || r.Me.Role == store.RoleNone || mute != nil {
			continue
		}
		marks, err := w.s.Standing(r.ID)
		w.ok(err)
		withhold, err := w.access.Withhold(a, r.LogInfo)
		w.ok(err)
		page, err := w.s.Read(store.Query{Log: r.ID, Viewer: a, After: marks.Of(a), Max: 1024, Withhold: withhold})
		w.ok(err)
		for _, m := range page.Records {
			rel, err := w.graph.Relation(a, m.Sender)
			w.ok(err)
			if m.Sender != a && m.Op.Kind == store.OpNone && m.Change.Kind == store.ChangeNone && !m.Recalled && rel.Block == graph.BlockNone && !rel.BlockedAt(m.Time) {
				sum++
			}
		}
	}
	return sum
}

func (w *town) number(a store.AccountID) int {
	w.t.Helper()
	n, err := w.badge(a, w.at)
	w.ok(err)
	return n
}

// TestBadge: the number after each thing that changes it.
func TestBadge(t *testing.T) {
	w := newTown(t)
	alice, bob, carol := w.person("alice", "", ""), w.person("bob", "", ""), w.person("carol", "", "")
	ctx := t.Context()
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	room := w.open(store.RoomKey("lobby"), "", alice, bob, carol)
	notices := w.open(store.NoticeKey(bob), "", bob)
	var at store.Position
	check := func(what string, want int) {
		t.Helper()
		at = w.follow(at)
		if got := w.number(bob); got != want || got != w.counted(bob) {
			t.Errorf("%s: %d, want %d (counted %d)", what, got, want, w.counted(bob))
		}
	}
	notice := func(what string) {
		w.say(notices, 0, "", func(d *store.Draft) { d.Kind, d.Extra = store.KindNotice, view.Notice{What: what}.Extra() })
	}
	check("nothing", 0)
	first := w.say(pair, alice, "1")
	check("a message", 1)
	second := w.say(pair, alice, "2")
	w.say(room, carol, "3")
	w.say(room, bob, "own")
	check("three", 3)
	w.recall(pair, alice, second)
	check("one recalled", 2)
	w.say(pair, alice, "2b", func(d *store.Draft) { d.Op = store.Op{Kind: store.OpEdit, Target: first} })
	check("one edited", 2)
	w.say(pair, alice, "x", func(d *store.Draft) { d.Audience = store.AudienceSender })
	check("one that only its sender sees", 2)
	notice(view.NoticeDevice)
	check("a notice", 2)
	w.ok2(w.graph.SetMute(ctx, bob, room, &graph.Mute{Until: w.at.Add(time.Hour).UnixMilli()}))
	check("muted", 1)
	w.say(room, carol, "4")
	check("more in the muted room", 1)
	w.pass(2 * time.Hour)
	check("the mute has ended", 3)
	w.ok2(w.graph.SetMute(ctx, bob, pair, &graph.Mute{}))
	check("another one muted", 2)
	w.ok2(w.graph.SetMute(ctx, bob, pair, nil))
	check("and not any more", 3)
	w.ok2(w.graph.SetBlock(ctx, bob, carol, graph.BlockMessages, false, 0))
	notice(view.NoticeBlocked)
	check("blocked in a room", 1)
	w.pass(time.Minute)
	w.say(room, carol, "5")
	check("and it writes", 1)
	w.pass(time.Minute)
	w.ok2(w.graph.SetBlock(ctx, bob, carol, graph.BlockNone, false, 0))
	notice(view.NoticeBlocked)
	check("unblocked: what it wrote meanwhile stays uncounted", 3)
	w.ok2(w.graph.SetBlock(ctx, bob, alice, graph.BlockMessages, false, 0))
	check("the other one of a pair blocked, before anybody is told", 2)
	w.ok2(w.graph.SetBlock(ctx, bob, alice, graph.BlockNone, false, 0))
	notice(view.NoticeBlocked)
	check("and not any more", 3)
	w.read(pair, bob, first)
	check("read", 2)
	w.say(room, 0, "", func(d *store.Draft) {
		d.Kind, d.Change = store.KindSystem, store.Change{Kind: store.ChangeDelete, Account: bob, From: 1, To: 1}
	})
	check("one deleted for oneself", 1)
	w.say(room, 0, "", func(d *store.Draft) {
		d.Kind, d.Change = store.KindSystem, store.Change{Kind: store.ChangeLeave, Account: bob}
	})
	check("left", 0)
	eve := w.person("eve", "", "")
	ask := w.open(store.PairKey(eve, bob), "", eve)
	w.say(ask, eve, "buy", func(d *store.Draft) { d.Audience = store.AudienceRequest })
	check("a request", 0)
	w.say(ask, bob, "", func(d *store.Draft) { d.Change = store.Change{Kind: store.ChangeAccept, Account: bob} })
	check("accepted", 1)
	if w.unreads.of[carol] != nil {
		t.Error("somebody is counted for whom nobody asked")
	}
}

// TestBadgeCost: a number that is asked again reads nothing, and after one more message only that.
func TestBadgeCost(t *testing.T) {
	w := newTown(t)
	alice, bob := w.person("alice", "", ""), w.person("bob", "", "")
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	for range 300 {
		w.say(pair, alice, "x")
	}
	at := w.follow(0)
	w.number(bob)
	reads := w.s.reads
	if n := w.number(bob); n != 300 || w.s.reads != reads {
		t.Errorf("%d, with %d reads", n, w.s.reads-reads)
	}
	w.say(pair, alice, "y")
	w.follow(at)
	if n := w.number(bob); n != 301 || w.s.reads != reads+1 {
		t.Errorf("%d, with %d reads", n, w.s.reads-reads)
	}
}

// TestBadgeBound: counters are bounded, and one that went is made again.
func TestBadgeBound(t *testing.T) {
	w := newTown(t)
	bob := w.person("bob", "", "")
	pair := w.open(store.PairKey(bob, w.person("alice", "", "")), "", bob, w.must("alice"))
	w.say(pair, w.must("alice"), "x")
	if w.number(bob) != 1 {
		t.Fatal("not counted")
	}
	for a := store.AccountID(1000); a < 1000+mostBadges+100; a++ {
		w.unreads.take(a, w.at.Add(time.Second)).mu.Unlock()
	}
	if n := len(w.unreads.of); n != mostBadges {
		t.Errorf("%d counters", n)
	}
	if w.number(bob) != 1 {
		t.Error("not counted again")
	}
}

func (w *town) must(name string) store.AccountID {
	a, err := w.s.AccountByName(name)
	w.ok(err)
	return a.ID
}

// TestBadgeRandom: whatever happens, in whatever order and however late the journal is followed, the number is that of
// the logs.
func TestBadgeRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 4))
	w := newTown(t)
	ctx := t.Context()
	var people []store.AccountID
	for i := range 4 {
		people = append(people, w.person(fmt.Sprint("p", i), "", ""))
	}
	me := people[0]
	notices := w.open(store.NoticeKey(me), "", me)
	logs := []store.LogID{w.open(store.RoomKey("r"), "", people...), w.open(store.RoomKey("s"), "", people[:3]...)}
	for _, p := range people[1:] {
		logs = append(logs, w.open(store.PairKey(me, p), "", me, p))
	}
	inside := func(log store.LogID) store.AccountID {
		info, err := w.s.Info(log)
		w.ok(err)
		for {
			if a := people[rng.IntN(len(people))]; info.Members.Role(a) != store.RoleNone {
				return a
			}
		}
	}
	var at store.Position
	for step := range 1500 {
		w.pass(time.Duration(rng.IntN(3000)) * time.Millisecond)
		log := logs[rng.IntN(len(logs))]
		info, err := w.s.Info(log)
		w.ok(err)
		switch k := rng.IntN(20); {
		case k < 9:
			w.say(log, inside(log), "x")
		case k < 11 && info.Head > 0:
			page, err := w.s.Read(store.Query{Log: log, After: store.Seq(rng.IntN(int(info.Head))), Max: 1})
			w.ok(err)
			if r := page.Records[0]; r.Op.Kind == store.OpNone && r.Change.Kind == store.ChangeNone {
				w.recall(log, r.Sender, r.Seq)
			}
		case k < 14 && info.Head > 0 && info.Members.Role(me) != store.RoleNone:
			w.read(log, me, store.Seq(rng.IntN(int(info.Head)))+1)
		case k < 15:
			var m *graph.Mute
			if rng.IntN(2) == 0 {
				m = &graph.Mute{Until: w.at.Add(time.Duration(rng.IntN(60)) * time.Second).UnixMilli()}
			}
			w.ok2(w.graph.SetMute(ctx, me, log, m))
		case k < 16:
			block := graph.Block(rng.IntN(2))
			w.ok2(w.graph.SetBlock(ctx, me, people[1+rng.IntN(3)], block, false, 0))
			w.say(notices, 0, "", func(d *store.Draft) {
				d.Kind, d.Extra = store.KindNotice, view.Notice{What: view.NoticeBlocked}.Extra()
			})
		case k < 17 && info.Key.Kind == store.LogRoom:
			change := store.Change{Kind: store.ChangeJoin, Account: me, Role: store.RoleMember}
			if info.Members.Role(me) != store.RoleNone {
				change = store.Change{Kind: store.ChangeLeave, Account: me}
			}
			w.say(log, 0, "", func(d *store.Draft) { d.Kind, d.Change = store.KindSystem, change })
		case k < 18 && info.Head > 3 && info.Members.Role(me) != store.RoleNone:
			from := store.Seq(rng.IntN(int(info.Head))) + 1
			w.say(log, 0, "", func(d *store.Draft) {
				d.Kind, d.Change = store.KindSystem, store.Change{Kind: store.ChangeDelete, Account: me, From: from, To: min(from+2, info.Head)}
			})
		case k < 19:
			w.number(me) // before the journal was followed
		}
		if rng.IntN(3) == 0 {
			at = w.follow(at)
			if got, want := w.number(me), w.counted(me); got != want {
				t.Fatalf("step %d: %d, want %d", step, got, want)
			}
		}
	}
}

func BenchmarkBadge(b *testing.B) {
	w := newTown(b)
	bob := w.person("bob", "", "")
	for i := range 20 {
		other := w.person(fmt.Sprint("p", i), "", "")
		log := w.open(store.PairKey(bob, other), "", bob, other)
		for range 10 {
			w.say(log, other, "x")
		}
	}
	w.number(bob)
	b.ReportAllocs()
	for b.Loop() {
		w.number(bob)
	}
}
