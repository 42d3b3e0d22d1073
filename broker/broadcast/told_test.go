package broadcast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// The end of a broadcast and its report are each told once, when they are stored; who cannot be told now is told later.
func TestTold(t *testing.T) {
	w := newWorld(t)
	refuse := true
	cfg := w.config()
	cfg.Tell = func(ctx context.Context, c store.LogID, b *Broadcast) error {
		if refuse {
			return errors.New("nobody listens")
		}
		if c != w.channel {
			t.Errorf("told of channel %v", c)
		}
		return w.tell(ctx, c, b)
	}
	told := func(want ...string) {
		t.Helper()
		var got []string
		for _, n := range w.news {
			f := strings.Fields(n)
			got = append(got, f[0]+" "+f[1]+" "+f[3])
		}
		if !slices.Equal(got, want) {
			t.Fatalf("told %q, not %q", got, want)
		}
	}
	var err error
	w.b, err = still(cfg)
	w.must(err)
	w.set(func() { w.all = true })
	w.create(Wish{Key: "a", Post: text("hello")})
	for range 4 {
		w.step()
	}
	c := w.get("a")
	if c.State != Done || w.dues() != 1 {
		t.Fatalf("nobody listens: it is %s, %d are due", c.State, w.dues())
	}
	ended := c.Ended
	w.later(ReportAfter) // it is told in order, however late
	w.step()
	refuse = false
	w.step()
	told("a done false", "a done true")
	if c = w.get("a"); c.Ended != ended || c.Report == nil || w.dues() != 0 {
		t.Errorf("%+v, %d are due", c, w.dues())
	}
	w.create(Wish{Key: "b", Post: text("hello"), At: w.now().Add(ReportAfter)})
	if _, err := w.b.Cancel(t.Context(), w.channel, "b", w.by); err != nil {
		t.Fatal(err)
	}
	told("a done false", "a done true", "b canceled false")

	// One that runs is told of as canceled when nothing more of it is delivered.
	w.create(Wish{Key: "c", Post: text("hello")})
	w.set(func() { w.all = false })
	w.step()
	w.wantState("c", Running, "")
	if _, err := w.b.Cancel(t.Context(), w.channel, "c", w.by); err != nil {
		t.Fatal(err)
	}
	told("a done false", "a done true", "b canceled false", "c canceled false")
}

// What a dying store has not taken was told to nobody: a broadcast that its brand has heard to be canceled is.
func TestToldWhatIsStored(t *testing.T) {
	w := newWorld(t)
	for n, died := 0, true; died; n++ {
		key := fmt.Sprint("k", n)
		w.create(Wish{Key: key, Post: text("hello"), At: w.now().Add(ReportAfter)})
		w.news = nil
		w.failing.die(n+1, false)
		_, err := w.b.Cancel(t.Context(), w.channel, key, w.by)
		died = w.failing.dead
		w.failing.die(0, false)
		w.still()
		c := w.get(key)
		if (err == nil || len(w.news) > 0) && !c.Over() {
			t.Fatalf("dead at change %d: answered %v, told %q, it is %s", n+1, err, w.news, c.State)
		}
		w.step()
		if c.Over() != (len(w.news) > 0) {
			t.Fatalf("dead at change %d: it is %s, and told is %q", n+1, c.State, w.news)
		}
	}
}
