package files

import (
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// What a post shows is held from the day it is scheduled until it is taken back, in every language.
func TestPostsHoldFiles(t *testing.T) {
	w := newWorld(t)
	ctx, alice := t.Context(), w.id("alice")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	info, _, err := w.store.Open(ctx, store.ChannelKey("acme"), store.Creation{By: alice, Members: []store.Member{{Account: alice, Role: store.RoleOwner}}})
	must(err)
	main, other, loose := w.file("alice", "image/jpeg", jpegWith(t)), w.file("alice", "image/jpeg", jpegWith(t)), w.file("alice", "image/jpeg", jpegWith(t))
	has := func(id string, want bool) {
		t.Helper()
		w.sweepAll()
		if _, err := w.LinkOwn(ctx, alice, id); (err == nil) != want {
			t.Errorf("file there: %v, want %v", err == nil, want)
		}
	}
	wantCode(t, w.Hold(ctx, w.id("bob"), []string{main}, "post"), store.CodeNotFound)
	must(w.Hold(ctx, alice, []string{main, other}, "post"))
	w.pass(80 * 24 * time.Hour)
	has(main, true)
	has(other, true)
	has(loose, false)
	post := view.Post{Kind: "image", Files: []view.PostFile{{File: main}}, Variants: map[string]view.PostText{"ko": {Files: []view.PostFile{{File: other}}}}}
	p, err := post.Parse(view.PostHow{})
	must(err)
	g := graph.New(w.store, w.time)
	must(g.SetPost(ctx, info.ID, "spring", func(out *graph.Post) error { out.Variants = p.Variants; return nil }))
	r, err := w.broker.Post(ctx, info.ID, false, "spring", p.Content)
	must(err)
	for _, id := range []string{main, other} {
		must(w.LetGo(ctx, id, "post"))
	}
	w.pass(2 * grace)
	has(main, true)
	has(other, true)
	_, err = w.broker.RecallPost(ctx, info.ID, false, r.Seq, alice)
	must(err)
	w.sweepAll()
	w.pass(2 * grace)
	has(main, false)
	has(other, false)
}
