package broadcast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// The end of a broadcast and its report are each told once, before anybody can see them; who cannot be told now is told
// later.
func TestTold(t *testing.T) {
	w := newWorld(t)
	var told []string
	refuse := true
	cfg := w.config()
	cfg.Tell = func(_ context.Context, c store.LogID, b *Broadcast) error {
		if refuse {
			return errors.New("nobody listens")
		}
		if c != w.channel {
			t.Errorf("told of channel %v", c)
		}
		told = append(told, fmt.Sprint(b.Key, " ", b.State, " ", b.Report != nil))
		return nil
	}
	var err error
	w.b, err = still(cfg)
	w.must(err)
	w.set(func() { w.all = true })
	w.create(Wish{Key: "a", Post: text("hello")})
	for range 3 {
		w.step()
	}
	if w.get("a").Over() {
		t.Fatal("it has ended and nobody was told")
	}
	refuse = false
	for range 2 {
		w.step()
	}
	if c := w.get("a"); c.State != Done || !slices.Equal(told, []string{"a done false"}) {
		t.Fatalf("%s, told %q", c.State, told)
	}
	w.later(ReportAfter)
	for range 2 {
		w.step()
	}
	w.create(Wish{Key: "b", Post: text("hello"), At: w.now().Add(ReportAfter)})
	if _, err := w.b.Cancel(t.Context(), w.channel, "b", w.by); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, []string{"a done false", "a done true", "b canceled false"}) {
		t.Errorf("told %q", told)
	}
}
