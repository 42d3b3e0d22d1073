package bridge

import (
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

func mention(names ...string) func(*store.Draft) {
	return func(d *store.Draft) {
		body := `{"b":"x","m":["`
		for i, n := range names {
			if i > 0 {
				body += `","`
			}
			body += n
		}
		c, err := view.ParseJSON([]byte(body + `"]}`))
		if err != nil {
			panic(err)
		}
		d.Extra = c.Extra
	}
}

// TestAssess: the facts are those of the store, for every reason that a conversation may have.
func TestAssess(t *testing.T) {
	w := newTown(t)
	alice, bob, carol := w.person("alice", "Alice", ""), w.person("bob", "Bob", "ko"), w.person("carol", "", "")
	ctx := t.Context()
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	room := w.open(store.RoomKey("lobby"), "Lobby", alice, bob, carol)
	notices := w.open(store.NoticeKey(bob), "", bob)
	check := func(what string, log store.LogID, seq store.Seq, a action, r Reason) verdict {
		t.Helper()
		v := w.ask(bob, log, w.waiting(seq))
		if v.action != a || v.reason != r {
			t.Errorf("%s: got %d %s, want %d %s", what, v.action, v.reason, a, r)
		}
		return v
	}

	v := check("a message", pair, w.say(pair, alice, "hi"), ring, ReasonAway)
	if v.newest == nil || string(v.newest.Text) != "hi" || v.count != 1 || !v.begins || v.kind != push.KindMessage {
		t.Errorf("got %+v", v)
	}
	seq := w.say(pair, alice, "again")
	if v := check("another one", pair, seq, ring, ReasonAway); v.count != 2 || v.kind != push.KindMessages {
		t.Errorf("got %+v", v)
	}
	w.read(pair, bob, seq)
	check("read", pair, seq, nothing, ReasonRead)
	check("own, from another device", pair, w.say(pair, bob, "yes"), nothing, ReasonOwn)
	seq = w.say(pair, alice, "no")
	op := w.recall(pair, alice, seq)
	check("recalled", pair, seq, nothing, ReasonRecalled)
	if v := w.ask(bob, pair, &state{First: seq, Last: seq, Done: seq - 1, Time: ago(time.Second)}); v.upto != op {
		t.Errorf("considered up to %d, not %d", v.upto, op)
	}
	check("an edit", pair, w.say(pair, alice, "yes", func(d *store.Draft) { d.Op = store.Op{Kind: store.OpEdit, Target: 1} }), nothing, ReasonHidden)
	check("expired", pair, w.say(pair, alice, "now", func(d *store.Draft) { d.Expiry = noon.UnixMilli() }), nothing, ReasonExpired)
	check("to itself", pair, w.say(pair, alice, "x", func(d *store.Draft) { d.Audience = store.AudienceSender }), nothing, ReasonHidden)

	// The device.
	seq = w.say(pair, alice, "five")
	w.live.connected = true
	reads := w.s.reads
	check("connected", pair, seq, wait, ReasonGrace)
	w.live.acked[key{bob, phone1, pair}] = store.Cursor{Acked: seq}
	check("acknowledged", pair, seq, nothing, ReasonAcked)
	if w.s.reads != reads {
		t.Error("records were read for a device that is connected")
	}
	w.live.background = true
	check("in the background", pair, seq, ring, ReasonBackground)
	w.ok(w.graph.SetDevice(ctx, bob, phone1, graph.Device{Notifies: true}))
	check("it notifies", pair, seq, nothing, ReasonNotifies)
	w.live.connected, w.live.background, w.live.acked = false, false, map[key]store.Cursor{}
	w.live.active = noon.Add(-time.Second)
	check("elsewhere", pair, seq, wait, ReasonActive)
	w.live.active = time.Time{}

	// Quiet hours.
	w.ok2(w.graph.SetQuiet(ctx, bob, graph.Quiet{Zone: "Asia/Seoul", From: 21 * 60, To: 7 * 60})) // noon is 21:00
	if v := check("quiet", pair, seq, fold, ReasonQuiet); !v.until.Equal(noon.Add(10 * time.Hour)) {
		t.Errorf("until %s", v.until)
	}
	w.ok2(w.graph.SetFriend(ctx, bob, alice, true, 0))
	w.ok(w.graph.ChangeRelation(ctx, bob, alice, func(r *graph.Relation) ([]store.EdgePut, error) { r.Favourite = true; return nil, nil }))
	check("a favourite", pair, seq, ring, ReasonAway)
	w.ok2(w.graph.SetQuiet(ctx, bob, graph.Quiet{}))

	// A room.
	seq = w.say(room, alice, "hello")
	check("a room", room, seq, ring, ReasonAway)
	w.ok2(w.graph.SetMute(ctx, bob, room, &graph.Mute{}))
	check("muted", room, seq, nothing, ReasonMuted)
	w.ok2(w.graph.SetMute(ctx, bob, room, &graph.Mute{Mentions: true}))
	check("muted but for mentions", room, seq, nothing, ReasonMuted)
	check("another one is mentioned", room, w.say(room, alice, "x", mention("carol")), nothing, ReasonMuted)
	if v := check("a mention", room, w.say(room, alice, "x", mention("carol", "bob")), ring, ReasonAway); v.count != 1 {
		t.Errorf("count %d", v.count)
	}
	if v := check("everybody", room, w.say(room, alice, "x", mention("@all")), ring, ReasonAway); v.count != 2 {
		t.Errorf("count %d", v.count)
	}
	w.ok2(w.graph.SetMute(ctx, bob, room, nil))
	w.ok2(w.graph.SetBlock(ctx, bob, carol, graph.BlockMessages, false, 0))
	check("blocked", room, w.say(room, carol, "x", mention("bob")), nothing, ReasonHidden)
	w.ok(w.graph.SetSettings(ctx, bob, func(s *graph.Settings) error { s.HideBlocked = true; return nil }))
	check("blocked and withheld", room, w.say(room, carol, "x", mention("bob")), nothing, ReasonHidden)
	w.say(room, 0, "", func(d *store.Draft) {
		d.Change = store.Change{Kind: store.ChangeLeave, Account: bob}
		d.Kind = store.KindSystem
	})
	check("left", room, w.say(room, alice, "bye"), nothing, ReasonLeft)

	// Notices.
	check("a notice", notices, w.say(notices, 0, "", func(d *store.Draft) {
		d.Kind, d.Extra = store.KindNotice, view.Notice{What: view.NoticeInvited, Who: alice, Room: "lobby"}.Extra()
	}), nothing, ReasonSilentLog)
	v = check("a sign-in", notices, w.say(notices, 0, "", func(d *store.Draft) {
		d.Kind, d.Extra = store.KindNotice, view.Notice{What: view.NoticeDevice, Device: "evil\x1b[2J"}.Extra()
	}), ring, ReasonAway)
	if v.kind != push.KindNotice {
		t.Errorf("got %+v", v)
	}

	// The account and the token.
	seq = w.say(pair, alice, "six")
	a, err := w.s.Account(bob)
	w.ok(err)
	a.State = store.AccountSuspended
	w.ok(w.s.SetAccount(ctx, a))
	check("suspended", pair, seq, nothing, ReasonSuspended)
	a.State = store.AccountOK
	w.ok(w.s.SetAccount(ctx, a))
	check("restored", pair, seq, ring, ReasonAway)
	w.ok2(w.graph.Register(ctx, carol, graph.Registration{Device: 5, Provider: graph.APNs, Token: "token of bob"}))
	check("the token is somebody else's", pair, seq, nothing, ReasonNoToken)
	w.ok2(w.graph.Register(ctx, bob, graph.Registration{Device: phone1, Provider: graph.FCM, Token: "x"}))
	check("a provider that is not set up", pair, seq, nothing, ReasonNoToken)
	w.ok(w.s.EraseAccount(ctx, bob))
	check("erased", pair, seq, nothing, ReasonSuspended)
}

func (w *town) ok2(_ bool, err error) {
	w.t.Helper()
	w.ok(err)
}

// TestAssessPartly: a catching-up device settles part, and a row stands for what came after it.
func TestAssessPartly(t *testing.T) {
	w := newTown(t)
	alice, bob := w.person("alice", "", ""), w.person("bob", "", "")
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	for range 20 {
		w.say(pair, alice, "x")
	}
	k := key{bob, phone1, pair}
	w.live.connected, w.live.acked[k] = true, store.Cursor{Acked: 12}
	if v := w.ask(bob, pair, &state{First: 1, Last: 15, Time: ago(time.Minute)}); v.action != nothing || v.reason != ReasonAcked || v.upto != 12 {
		t.Errorf("in memory: %+v", v)
	}
	if v := w.ask(bob, pair, &state{First: 1, Last: 10, Time: ago(time.Minute), Due: ago(0), Shown: 1, Began: ago(time.Minute)}); v.action != wait || v.reason != ReasonGrace {
		t.Errorf("as a row: %+v", v)
	}
	w.live.connected = false
	if v := w.ask(bob, pair, &state{First: 1, Last: 10, Time: ago(time.Minute), Due: ago(0)}); v.action != ring || v.newest.Seq != 20 || v.upto != 20 {
		t.Errorf("as a row, away: %+v", v)
	}
	// A clean start skipped what was there.
	w.live.acked[k] = store.Cursor{Below: 3, From: 20, Acked: 20}
	if v := w.ask(bob, pair, &state{First: 1, Last: 20, Time: ago(time.Minute)}); v.action != ring || v.newest.Seq != 20 {
		t.Errorf("a clean start: %+v", v)
	}
	w.say(pair, alice, "y")
	w.live.acked[k] = store.Cursor{Below: 3, From: 20, Acked: 21}
	if v := w.ask(bob, pair, &state{First: 1, Last: 21, Time: ago(time.Minute)}); v.action != ring || v.newest.Seq != 20 {
		t.Errorf("a clean start, and a new one acknowledged: %+v", v)
	}
}

// TestAssessRequests: one push a day for the whole box.
func TestAssessRequests(t *testing.T) {
	w := newTown(t)
	bob := w.person("bob", "", "")
	request := func(name string) (store.LogID, store.Seq) {
		a := w.person(name, "", "")
		log := w.open(store.PairKey(a, bob), "", a)
		return log, w.say(log, a, "buy!", func(d *store.Draft) { d.Audience = store.AudienceRequest })
	}
	log, seq := request("eve")
	st := w.waiting(seq)
	v := w.ask(bob, log, st)
	if v.action != ring || v.kind != push.KindRequests {
		t.Fatalf("got %+v", v)
	}
	p := w.pushed(bob, log, st, v)
	if n := p.Note; n.Key != push.KeyRequests || n.Room != "" || n.Thread != "" || n.Seq != 0 || len(n.Args) > 0 || n.Badge != 0 {
		t.Errorf("got %+v", n)
	}
	w.ok(w.boxRang(t.Context(), key{bob, phone1, log}, w.at))
	log, seq = request("mallory")
	if v := w.ask(bob, log, w.waiting(seq)); v.action != nothing || v.reason != ReasonBoxed {
		t.Errorf("the same day: %+v", v)
	}
	w.pass(boxEvery)
	seq = w.say(log, w.peer(log, bob), "buy!!", func(d *store.Draft) { d.Audience = store.AudienceRequest })
	if v := w.ask(bob, log, w.waiting(seq)); v.action != ring || v.kind != push.KindRequests {
		t.Errorf("the next day: %+v", v)
	}
	seq = w.say(log, w.peer(log, bob), "shadow", func(d *store.Draft) { d.Audience = store.AudienceSender })
	if v := w.ask(bob, log, w.waiting(seq)); v.action != nothing || v.reason != ReasonHidden {
		t.Errorf("what only its sender sees: %+v", v)
	}
}

func (w *town) peer(log store.LogID, a store.AccountID) store.AccountID {
	info, err := w.s.Info(log)
	w.ok(err)
	return info.Key.Peer(a)
}

// TestAssessAfterwards: what became of a message after the phone has shown it.
func TestAssessAfterwards(t *testing.T) {
	w := newTown(t)
	alice, bob := w.person("alice", "", ""), w.person("bob", "", "")
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	ringOnce := func() (*state, store.Seq) {
		t.Helper()
		seq := w.say(pair, alice, "hi")
		st := w.waiting(seq)
		v := w.ask(bob, pair, st)
		if v.action != ring {
			t.Fatalf("got %+v", v)
		}
		return w.took(st, v), seq
	}
	st, seq := ringOnce()
	w.recall(pair, alice, seq)
	w.follow(0)
	v := w.ask(bob, pair, st)
	if v.action != ring || v.reason != ReasonUpdate || !v.newest.Recalled || !v.silent {
		t.Fatalf("recalled: %+v", v)
	}
	p := w.pushed(bob, pair, st, v)
	if p.Note.Key != push.KeyRecalled || p.Collapse != single(key{bob, phone1, pair}, seq) || p.Note.Seq <= seq {
		t.Errorf("recalled: %+v", p)
	}
	st = w.took(st, v)
	if v := w.ask(bob, pair, st); v.action != nothing {
		t.Errorf("recalled and replaced: %+v", v)
	}
	w.read(pair, bob, v.upto)
	if v := w.ask(bob, pair, st); v.action != clears || !v.ends {
		t.Errorf("read: %+v", v)
	}

	st, _ = ringOnce()
	w.ok2(w.graph.SetBlock(t.Context(), bob, alice, graph.BlockMessages, false, 0))
	w.Bridge.unreads.forget(bob) // what its notice does
	if v = w.ask(bob, pair, st); v.action != clears || !v.ends {
		t.Errorf("blocked: %+v", v)
	}
	p = w.pushed(bob, pair, st, v)
	if n := p.Note; n.Kind != push.KindClear || n.Title+n.Body+n.Key != "" || n.Thread == "" || p.Class != push.Clear {
		t.Errorf("blocked: %+v", p)
	}
	w.ok2(w.graph.SetBlock(t.Context(), bob, alice, graph.BlockNone, false, 0))
	w.Bridge.unreads.forget(bob)

	// Two told, one recalled.
	w.pass(time.Hour)
	st, seq = ringOnce()
	first := seq
	seq = w.say(pair, alice, "two")
	st.First, st.Last, st.Time = seq, seq, w.at.UnixMilli()
	if v = w.ask(bob, pair, st); v.action != wait || v.reason != ReasonWindow {
		t.Fatalf("in the window: %+v", v)
	}
	w.pass(3 * time.Second)
	if v = w.ask(bob, pair, st); v.action != ring || !v.silent || v.kind != push.KindMessages {
		t.Fatalf("after it: %+v", v)
	}
	n := v.count
	st = w.took(st, v)
	w.follow(0)
	w.recall(pair, alice, first)
	w.follow(0)
	w.pass(time.Minute)
	if v = w.ask(bob, pair, st); v.action != ring || v.reason != ReasonUpdate || v.count != n-1 {
		t.Errorf("one of them recalled: %+v, %d before", v, n)
	}
	w.read(pair, bob, seq)
	if v = w.ask(bob, pair, st); v.action != clears {
		t.Errorf("all read: %+v", v)
	}
	w.live.connected, w.live.acked[key{bob, phone1, pair}] = true, store.Cursor{Acked: seq + 5}
	if v = w.ask(bob, pair, st); v.action != nothing || !v.ends {
		t.Errorf("all read on the device itself: %+v", v)
	}
}

// TestAssessMany: the newest message is found behind many that do not ring, and counting stops.
func TestAssessMany(t *testing.T) {
	w := newTown(t)
	alice, bob, carol := w.person("alice", "", ""), w.person("bob", "", ""), w.person("carol", "", "")
	room := w.open(store.RoomKey("lobby"), "Lobby", alice, bob, carol)
	say := func(n int, who store.AccountID) {
		var last *store.Pending
		for range n {
			last = w.s.Append(store.Draft{Log: room, Sender: who, Text: []byte("x")})
		}
		_, err := last.Result()
		w.ok(err)
	}
	say(1, alice)
	w.ok2(w.graph.SetBlock(t.Context(), bob, carol, graph.BlockMessages, false, 0))
	w.pass(time.Second)
	say(300, carol)
	st := &state{First: 1, Last: 301, Time: w.at.UnixMilli()}
	if v := w.ask(bob, room, st); v.action != ring || v.newest.Seq != 1 || v.count != 1 || v.upto != 301 {
		t.Errorf("got %+v", v)
	}
	say(2000, alice)
	if v := w.ask(bob, room, st); v.action != ring || v.newest.Seq != 2301 || v.count != 2001 {
		t.Errorf("got %+v", v)
	}
	w.read(room, bob, 2300)
	st.Last = 2301
	if v := w.ask(bob, room, st); v.count != 1 {
		t.Errorf("count %d after reading", v.count)
	}
}

// TestGroupView: what rings in a room is what the policy delivers with a push.
func TestGroupView(t *testing.T) {
	w := newTown(t)
	alice, bob := w.person("alice", "", ""), w.person("bob", "", "")
	ctx := t.Context()
	room := w.open(store.RoomKey("lobby"), "", alice, bob)
	for _, mute := range []*graph.Mute{nil, {}, {Mentions: true}} {
		for _, block := range []graph.Block{graph.BlockNone, graph.BlockMessages} {
			for _, hide := range []bool{false, true} {
				for _, mentioned := range []bool{false, true} {
					w.pass(time.Minute)
					w.ok2(w.graph.SetMute(ctx, bob, room, mute))
					w.ok2(w.graph.SetBlock(ctx, bob, alice, block, false, 0))
					w.ok(w.graph.SetSettings(ctx, bob, func(s *graph.Settings) error { s.HideBlocked = hide; return nil }))
					change := func(*store.Draft) {}
					if mentioned {
						change = mention("bob")
					}
					seq := w.say(room, alice, "x", change)
					info, err := w.s.Info(room)
					w.ok(err)
					page, err := w.s.Read(store.Query{Log: room, After: seq - 1})
					w.ok(err)
					outcome, err := w.access.GroupView(bob, info, page.Records[0], mentioned)
					w.ok(err)
					v := w.ask(bob, room, w.waiting(seq))
					if (v.action == ring) != (outcome == policy.Deliver) {
						t.Errorf("mute %v, block %v, hide %v, mentioned %v: %v, but %s", mute, block, hide, mentioned, outcome, v.reason)
					}
				}
			}
		}
	}
}
