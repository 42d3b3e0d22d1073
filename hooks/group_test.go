package hooks

import (
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// A page costs a member who hides nobody one look at its settings, and no record is asked about.
func TestWithholdNothing(t *testing.T) {
	p := town(t)
	lobby, err := p.store.Find(store.RoomKey("lobby"))
	if err != nil {
		t.Fatal(err)
	}
	if w, err := p.Withhold(p.id["alice"], lobby); w != nil || err != nil {
		t.Errorf("a member who hides nobody: %v", err)
	}
	if err := p.Relations().SetSettings(t.Context(), p.id["alice"], func(s *graph.Settings) error { s.HideBlocked = true; return nil }); err != nil {
		t.Fatal(err)
	}
	w, err := p.Withhold(p.id["alice"], lobby)
	if w == nil || err != nil {
		t.Fatalf("a member who hides: %v", err)
	}
	for _, c := range []struct {
		name string
		r    *store.Record
		want bool
	}{
		{"by one who is blocked", &store.Record{Sender: p.id["dave"], Time: p.now().UnixMilli()}, true},
		{"before the block", &store.Record{Sender: p.id["dave"], Time: 1}, false},
		{"by another one", &store.Record{Sender: p.id["bob"], Time: p.now().UnixMilli()}, false},
		{"a change", &store.Record{Sender: p.id["dave"], Kind: store.KindSystem, Change: store.Change{Kind: store.ChangeTitle}}, false},
		{"of the server", &store.Record{}, false},
		{"one's own", &store.Record{Sender: p.id["alice"]}, false},
	} {
		if got, err := w(c.r); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	pair := store.LogInfo{Key: store.PairKey(p.id["alice"], p.id["dave"])}
	if w, err := p.Withhold(p.id["alice"], pair); w != nil || err != nil {
		t.Errorf("in a conversation of two the audience decides: %v", err)
	}
	w, err = p.Withhold(p.id["frank"], lobby) // who has left
	if w == nil || err != nil {
		t.Fatalf("who has left: %v", err)
	}
	if got, err := w(&store.Record{Sender: p.id["bob"]}); !got || err != nil {
		t.Errorf("a message to who has left: %v, %v", got, err)
	}
}

// What a page costs a member who hides nobody: this, once.
func BenchmarkWithholdNothing(b *testing.B) {
	p := town(b)
	lobby, err := p.store.Find(store.RoomKey("lobby"))
	if err != nil {
		b.Fatal(err)
	}
	me := p.id["alice"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Withhold(me, lobby); err != nil {
			b.Fatal(err)
		}
	}
}

// What publishing to a room costs.
func BenchmarkAccessRoom(b *testing.B) {
	p := town(b)
	topic := publishTopic(b, "room/lobby/text")
	me := p.id["alice"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Publish(me, topic); err != nil {
			b.Fatal(err)
		}
	}
}
