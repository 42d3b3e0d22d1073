package bridge

import (
	"strings"
	"testing"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// A channel's answer rings its follower, a question its publishers, both under the channel's name alone.
func TestThread(t *testing.T) {
	w := newTown(t)
	fan, boss, clerk, former := w.person("fan", "Fanny", ""), w.person("boss", "Boss", ""), w.person("clerk", "Clark", ""), w.person("former", "", "")
	notices := w.open(store.ChannelKey("daily"), "daily", boss, clerk)
	w.ok(w.graph.SetChannel(t.Context(), notices, func(c *graph.Channel) error {
		*c = graph.Channel{Title: "The Daily", Created: 1, Approved: 1}
		return nil
	}))
	thread := w.open(store.ThreadKey(fan, "daily"), "", fan, boss, clerk, former)
	secret := func(p *push.Push) {
		t.Helper()
		for _, s := range append([]string{p.Note.Title, p.Note.Body, p.Note.Room}, p.Note.Args...) {
			for _, name := range []string{"fan", "boss", "clerk", "clark"} {
				if strings.Contains(strings.ToLower(s), name) {
					t.Errorf("the push names somebody: %+v", p.Note)
				}
			}
		}
	}
	is := func(a store.AccountID, seq store.Seq, title, body, room string) {
		t.Helper()
		st := w.waiting(seq)
		v := w.ask(a, thread, st)
		if v.action != ring || v.class != push.Chat {
			t.Fatalf("%+v", v)
		}
		p := w.pushed(a, thread, st, v)
		secret(p)
		if p.Note.Title != title || p.Note.Body != body || !strings.HasPrefix(p.Note.Room, room) {
			t.Errorf("%+v, want %q %q %q", p.Note, title, body, room)
		}
	}
	not := func(a store.AccountID, seq store.Seq, why Reason) {
		t.Helper()
		if v := w.ask(a, thread, w.waiting(seq)); v.action == ring || v.reason != why {
			t.Errorf("%+v, want %s", v, why)
		}
	}
	badge := func(a store.AccountID, want int) {
		t.Helper()
		if n, err := w.badge(a, w.at); err != nil || n != want {
			t.Errorf("badge %d, want %d, %v", n, want, err)
		}
	}
	at := w.follow(0)
	question := w.say(thread, fan, "do you ship?")
	at = w.follow(at)
	for _, publisher := range []store.AccountID{boss, clerk} {
		is(publisher, question, "The Daily", "New question", "thread/daily/")
		badge(publisher, 0)
	}
	not(fan, question, ReasonOwn)
	not(former, question, ReasonLeft) // a member of the thread still, and no publisher any more
	w.say(thread, fan, "hello?")
	at = w.follow(at)
	is(boss, question, "The Daily", "2 new questions", "thread/daily/")
	_, err := w.graph.SetRoomPreview(t.Context(), boss, notices, graph.PreviewFull)
	w.ok(err)
	is(boss, question, "The Daily (2)", "hello?", "thread/daily/")
	_, err = w.graph.SetRoomPreview(t.Context(), boss, notices, graph.PreviewHidden)
	w.ok(err)
	is(boss, question, "", "2 new messages", "")

	answer := w.say(thread, boss, "we do")
	at = w.follow(at)
	is(fan, answer, "The Daily", "New message", "channel/daily")
	not(clerk, answer, ReasonOwn)
	badge(fan, 1)
	_, err = w.graph.SetRoomPreview(t.Context(), fan, notices, graph.PreviewFull)
	w.ok(err)
	is(fan, answer, "The Daily", "we do", "channel/daily")
	w.say(notices, boss, "a post")
	at = w.follow(at)
	badge(boss, 0)
	badge(fan, 1)
	_, err = w.graph.SetMute(t.Context(), fan, notices, &graph.Mute{})
	w.ok(err)
	not(fan, answer, ReasonMuted)
	badge(fan, 0)
	_, err = w.graph.SetMute(t.Context(), fan, notices, nil)
	w.ok(err)
	shadow := w.say(thread, boss, "are you there?", func(d *store.Draft) { d.Audience = store.AudienceSender })
	w.follow(at)
	badge(fan, 1)
	w.read(thread, fan, answer)
	badge(fan, 0)
	if v := w.ask(fan, thread, w.waiting(shadow)); v.action == ring {
		t.Errorf("%+v", v)
	}
}
