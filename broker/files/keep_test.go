package files

import (
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// A picture that a profile shows outlives its day without a message, and goes when nothing holds it any more.
func TestKeep(t *testing.T) {
	w := newWorld(t)
	ctx, alice := t.Context(), w.id("alice")
	picture := w.file("alice", "image/jpeg", jpegWith(t))
	text := w.file("alice", "text/plain", []byte("no picture"))
	wantCode(t, w.Keep(ctx, alice, text, "profile"), store.CodeBad)
	wantCode(t, w.Keep(ctx, w.id("bob"), picture, "profile"), store.CodeNotFound)
	wantCode(t, w.Keep(ctx, alice, "nothing", "profile"), store.CodeNotFound)
	for range 2 {
		if err := w.Keep(ctx, alice, picture, "profile"); err != nil {
			t.Fatal(err)
		}
	}
	there := func(want bool) {
		t.Helper()
		if _, err := w.LinkOwn(ctx, alice, picture); (err == nil) != want {
			t.Errorf("the picture is there: %v", err == nil)
		}
	}
	w.pass(25 * time.Hour)
	w.sweepAll()
	there(true)
	if err := w.LetGo(ctx, picture, "profile"); err != nil {
		t.Fatal(err)
	}
	w.sweepAll()
	there(true)
	w.pass(2 * grace)
	w.sweepAll()
	there(false)
}
