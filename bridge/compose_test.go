package bridge

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// TestComposeTexts: what a push says, by preview, number of messages, conversation and kind.
func TestComposeTexts(t *testing.T) {
	w := newTown(t)
	alice, bob := w.person("alice", "Alice\x1b[31m\u202e", ""), w.person("bob", "Bob", "ko")
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	room := w.open(store.RoomKey("lobby"), "로비\n", alice, bob)
	untitled := w.open(store.RoomKey("a7f3"), "", alice, bob)
	image := func(d *store.Draft) { d.Kind = store.KindImage }
	warn := func(d *store.Draft) { d.Warn = true }
	none := func(*store.Draft) {}
	for _, c := range []struct {
		name    string
		log     store.LogID
		preview graph.Preview
		before  int // unread messages before
		text    string
		change  func(*store.Draft)

		key, title, body, room string
		args                   []string
	}{
		{"sender", pair, graph.PreviewSender, 0, "secret", none, push.KeyFrom, "Alice", "새 메시지", "user/alice", []string{"Alice"}},
		{"sender, several", pair, graph.PreviewSender, 2, "secret", none, push.KeyCount, "Alice", "새 메시지 3개", "user/alice", []string{"3", "Alice"}},
		{"sender, a photo", pair, graph.PreviewSender, 0, "secret", image, push.KeyFrom, "Alice", "새 메시지", "user/alice", []string{"Alice"}},
		{"sender, a room", room, graph.PreviewSender, 0, "secret", none, push.KeyFromIn, "로비", "Alice님이 메시지를 보냈습니다", "room/lobby", []string{"Alice", "로비"}},
		{"sender, a room, several", room, graph.PreviewSender, 1, "secret", none, push.KeyCount, "로비", "새 메시지 2개", "room/lobby", []string{"2", "로비"}},
		{"sender, a room without a title", untitled, graph.PreviewSender, 0, "secret", none, push.KeyFrom, "Alice", "새 메시지", "room/a7f3", []string{"Alice"}},
		{"sender, a room without a title, several", untitled, graph.PreviewSender, 1, "secret", none, push.KeyNews, "", "새 메시지 2개", "room/a7f3", []string{"2"}},
		{"full", pair, graph.PreviewFull, 0, "안녕\x1b]0;x\x07\u202e!", none, push.KeyText, "Alice", "안녕!", "user/alice", []string{"Alice", "안녕!"}},
		{"full, several", pair, graph.PreviewFull, 1, "hi", none, push.KeyLatest, "Alice (2)", "hi", "user/alice", []string{"2", "Alice", "hi"}},
		{"full, a photo", pair, graph.PreviewFull, 0, "", image, push.KeyImage, "Alice", "[사진]", "user/alice", []string{"Alice", ""}},
		{"full, a photo with words", pair, graph.PreviewFull, 0, "바다", image, push.KeyImage, "Alice", "[사진] 바다", "user/alice", []string{"Alice", "바다"}},
		{"full, photos", pair, graph.PreviewFull, 1, "바다", image, push.KeyLatest, "Alice (2)", "[사진] 바다", "user/alice", []string{"2", "Alice", "[사진] 바다"}},
		{"full, a room", room, graph.PreviewFull, 0, "hi", none, push.KeyIn(push.KeyText), "로비", "Alice: hi", "room/lobby", []string{"Alice", "로비", "hi"}},
		{"full, a room, several", room, graph.PreviewFull, 1, "hi", none, push.KeyLatestIn, "로비 (2)", "Alice: hi", "room/lobby", []string{"2", "Alice", "로비", "hi"}},
		{"full, a photo in a room", room, graph.PreviewFull, 0, "", image, push.KeyIn(push.KeyImage), "로비", "Alice: [사진]", "room/lobby", []string{"Alice", "로비", ""}},
		{"hidden", pair, graph.PreviewHidden, 0, "secret", none, push.KeyNew, "", "새 메시지", "", nil},
		{"hidden, several", room, graph.PreviewHidden, 4, "secret", none, push.KeyNews, "", "새 메시지 5개", "", []string{"5"}},
		{"hidden, a photo", room, graph.PreviewHidden, 0, "secret", image, push.KeyNew, "", "새 메시지", "", nil},
		{"hidden, a stranger", pair, graph.PreviewHidden, 0, "secret", warn, push.KeyNew, "", "새 메시지", "", nil},
		{"a stranger", pair, graph.PreviewFull, 0, "buy!", warn, push.KeyStranger, "", "친구가 아닌 사용자가 보낸 새 메시지", "", nil},
		{"a stranger, again", pair, graph.PreviewFull, 2, "buy!", warn, push.KeyStranger, "", "친구가 아닌 사용자가 보낸 새 메시지", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			w.ok2(w.graph.SetRoomPreview(t.Context(), bob, c.log, c.preview))
			info, err := w.s.Info(c.log)
			w.ok(err)
			w.read(c.log, bob, info.Head)
			for range c.before {
				w.say(c.log, alice, "before")
			}
			seq := w.say(c.log, alice, c.text, c.change)
			st := w.waiting(seq)
			v := w.ask(bob, c.log, st)
			p := w.pushed(bob, c.log, st, v)
			n := p.Note
			if n.Key != c.key || n.Title != c.title || n.Body != c.body || n.Room != c.room || !slices.Equal(n.Args, c.args) {
				t.Errorf("got %q %q %q in %q, %q", n.Key, n.Title, n.Body, n.Room, n.Args)
			}
			if n.Seq != seq || n.Thread != push.Thread(bob, c.log) || n.Count != c.before+1 || n.Epoch != 1 || n.Silent || n.Plain != "새 메시지" {
				t.Errorf("got %+v", n)
			}
			if p.Class != push.Chat || !p.Expires.Equal(noon.Add(DefaultTTL)) || p.To.Token != "token of bob" || len(p.Collapse) > 64 {
				t.Errorf("got %+v", p)
			}
			again := w.pushed(bob, c.log, st, v)
			if again.ID != p.ID || again.Collapse != p.Collapse {
				t.Error("another identifier the second time")
			}
			if title, body := view.PushText(view.Korean, n.Key, n.Args); title != n.Title || body != n.Body {
				t.Errorf("the key says %q %q", title, body)
			}
			if c.preview == graph.PreviewHidden {
				all, err := json.Marshal(n)
				w.ok(err)
				for _, word := range []string{"Alice", "alice", "bob", "secret", "로비", "lobby"} {
					if strings.Contains(string(all), word) {
						t.Errorf("%q in a hidden push: %s", word, all)
					}
				}
			}
			w.t = t
		})
	}
}

// TestComposeOpenRoom: nobody is named but by its nickname, and what rings are mentions.
func TestComposeOpenRoom(t *testing.T) {
	w := newTown(t)
	alice, bob := w.person("alice", "Alice", ""), w.person("bob", "Bob", "")
	ctx := t.Context()
	room := w.open(store.RoomKey("plaza"), "Plaza", alice, bob)
	w.ok(w.graph.SetRoom(ctx, room, func(r *graph.Room) error { r.Open = true; return nil }))
	_, err := w.graph.ClaimNick(ctx, room, alice, "Fox", "fox", "", "", nil)
	w.ok(err)
	id, err := w.graph.ClaimNick(ctx, room, bob, "Owl", "owl", "", "", nil)
	w.ok(err)
	w.ok2(w.graph.SetRoomPreview(ctx, bob, room, graph.PreviewFull))
	seq := w.say(room, alice, "hi")
	if v := w.ask(bob, room, w.waiting(seq)); v.action != nothing || v.reason != ReasonMention {
		t.Errorf("not mentioned: %+v", v)
	}
	seq = w.say(room, alice, "hi bob", mention("bob"))
	if v := w.ask(bob, room, w.waiting(seq)); v.action != nothing {
		t.Errorf("mentioned by the account's name: %+v", v)
	}
	seq = w.say(room, alice, "hi Owl", mention(id))
	st := w.waiting(seq)
	v := w.ask(bob, room, st)
	if v.action != ring || v.count != 1 {
		t.Fatalf("mentioned: %+v", v)
	}
	n := w.pushed(bob, room, st, v).Note
	if all, _ := json.Marshal(n); n.Title != "Plaza" || n.Body != "Fox: hi Owl" || strings.Contains(strings.ToLower(string(all)), "alice") {
		t.Errorf("got %s", all)
	}
	// A favourite breaks quiet hours, but not where that would tell who is who.
	w.ok2(w.graph.SetFriend(ctx, bob, alice, true, 0))
	w.ok(w.graph.ChangeRelation(ctx, bob, alice, func(r *graph.Relation) ([]store.EdgePut, error) { r.Favourite = true; return nil, nil }))
	w.ok2(w.graph.SetQuiet(ctx, bob, graph.Quiet{Zone: "UTC", From: 0, To: 1440}))
	if v := w.ask(bob, room, st); v.action != fold {
		t.Errorf("a favourite behind a nickname: %+v", v)
	}
	w.ok2(w.graph.SetQuiet(ctx, bob, graph.Quiet{}))
	w.ok(w.graph.SetSettings(ctx, bob, func(s *graph.Settings) error { s.OpenRoomPushes = true; return nil }))
	w.Bridge.unreads.forget(bob)
	if v := w.ask(bob, room, w.waiting(seq)); v.action != ring || v.count != 3 {
		t.Errorf("every message: %+v", v)
	}
	w.ok(w.s.EraseAccount(ctx, alice))
	if n := w.pushed(bob, room, st, v).Note; n.Body == "" {
		t.Errorf("got %+v", n)
	}
}

// TestComposeBare: content-free where the provider found it too large.
func TestComposeBare(t *testing.T) {
	w := newTown(t)
	alice, bob := w.person("alice", "Alice", ""), w.person("bob", "Bob", "")
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	seq := w.say(pair, alice, strings.Repeat("긴 글 ", 5000))
	w.ok2(w.graph.SetRoomPreview(t.Context(), bob, pair, graph.PreviewFull))
	st := w.waiting(seq)
	v := w.ask(bob, pair, st)
	if n := w.pushed(bob, pair, st, v).Note; len(n.Body) > mostText || !strings.HasSuffix(n.Body, "…") || n.Args[1] != n.Body {
		t.Errorf("got %d bytes", len(n.Body))
	}
	st.Bare = true
	if n := w.pushed(bob, pair, st, v).Note; n.Key != push.KeyNew || n.Body != "New message" || n.Room != "" || n.Title != "" || n.Args != nil || n.Seq != seq || n.Badge != 1 {
		t.Errorf("got %+v", n)
	}
}

// TestComposeOthers: a notice, a summary, and what collapses by what.
func TestComposeOthers(t *testing.T) {
	w := newTown(t)
	alice, bob := w.person("alice", "Alice", ""), w.person("bob", "Bob", "de")
	pair := w.open(store.PairKey(alice, bob), "", alice, bob)
	notices := w.open(store.NoticeKey(bob), "", bob)
	seq := w.say(notices, 0, "", func(d *store.Draft) {
		d.Kind, d.Extra = store.KindNotice, view.Notice{What: view.NoticeDevice, Device: "evil"}.Extra()
	})
	st := w.waiting(seq)
	if n := w.pushed(bob, notices, st, w.ask(bob, notices, st)).Note; n.Kind != push.KindNotice || n.Body != "Anmeldung auf einem neuen Gerät" || n.Key != push.KeyDevice || n.Silent || n.Badge != 0 {
		t.Errorf("got %+v", n)
	}

	sum := &state{First: 1, Last: 1, Due: noon.UnixMilli(), Time: ago(time.Hour)}
	if v := w.ask(bob, 0, sum); v.action != nothing {
		t.Errorf("a summary of nothing: %+v", v)
	}
	w.say(pair, alice, "x")
	w.follow(0)
	v := w.ask(bob, 0, sum)
	if n := w.pushed(bob, 0, sum, v).Note; v.action != ring || n.Key != push.KeyNew || n.Kind != push.KindSummary {
		t.Errorf("got %+v, %+v", v, n)
	}
	w.say(pair, alice, "y")
	w.follow(0)
	v = w.ask(bob, 0, sum)
	p := w.pushed(bob, 0, sum, v)
	if n := p.Note; n.Body != "2 ungelesene Nachrichten" || n.Count != 2 || n.Badge != 2 || n.Thread != "" || n.Room != "" || p.Collapse != oneSummary {
		t.Errorf("got %+v", p)
	}
	shown := w.took(sum, v)
	w.read(pair, bob, 2)
	v = w.ask(bob, 0, shown)
	if p = w.pushed(bob, 0, shown, v); v.action != clears || p.Note.Kind != push.KindClear || p.Collapse != oneSummary || p.Note.Badge != 0 {
		t.Errorf("got %+v, %+v", v, p)
	}

	// The first of a run stands for itself, the others for the conversation; so does what takes them away.
	var collapses []string
	st = &state{Done: 2}
	for i := range 3 {
		seq := w.say(pair, alice, "z")
		st.First, st.Last, st.Time = seq, seq, w.at.UnixMilli()
		v := w.ask(bob, pair, st)
		p := w.pushed(bob, pair, st, v)
		if v.action != ring || v.silent != (i > 0) {
			t.Fatalf("%d: %+v", i, v)
		}
		collapses = append(collapses, p.Collapse)
		st = w.took(st, v)
		read := *st
		read.Shown = st.Shown
		if c := w.pushed(bob, pair, &read, verdict{action: clears, kind: push.KindClear, class: push.Clear, upto: v.upto}); c.Collapse != p.Collapse {
			t.Errorf("%d: the clear replaces something else", i)
		}
		w.pass(time.Minute)
	}
	if collapses[0] == collapses[1] || collapses[1] != collapses[2] || collapses[1] != push.Thread(bob, pair) {
		t.Errorf("got %q", collapses)
	}
}

// TestPushKeys: every key has a text in every language, and the arguments that the rules give it.
func TestPushKeys(t *testing.T) {
	keys := view.PushKeys()
	for _, k := range []string{push.KeyNew, push.KeyNews, push.KeyFrom, push.KeyFromIn, push.KeyCount, push.KeyLatest, push.KeyLatestIn, push.KeyStranger,
		push.KeyRequests, push.KeySummary, push.KeyRecalled, push.KeyDevice} {
		if !slices.Contains(keys, k) {
			t.Errorf("no text for %s", k)
		}
	}
	for _, k := range kinds {
		if !slices.Contains(keys, k) || !slices.Contains(keys, push.KeyIn(k)) {
			t.Errorf("no text for %s", k)
		}
	}
}
