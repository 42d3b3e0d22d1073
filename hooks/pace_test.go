package hooks

import (
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func TestPace(t *testing.T) {
	var p paces
	now := time.UnixMilli(1_000_000)
	k := pacer{1, 2}
	note := func(k pacer, cid string, every, want time.Duration) {
		t.Helper()
		if got := p.note(k, cid, now, every); got != want {
			t.Errorf("waits %v, want %v", got, want)
		}
	}
	note(k, "", 0, 0)
	note(k, "", 0, 0)
	if len(p.last) != 0 {
		t.Error("remembered without slow mode")
	}
	note(k, "a", 10*time.Second, 0)
	note(k, "a", 10*time.Second, 0) // the same message again
	note(k, "b", 10*time.Second, 10*time.Second)
	note(k, "", 10*time.Second, 10*time.Second)
	note(pacer{1, 3}, "b", 10*time.Second, 0)
	note(pacer{2, 2}, "b", 10*time.Second, 0)
	now = now.Add(4 * time.Second)
	note(k, "b", 10*time.Second, 6*time.Second)
	note(k, "b", 2*time.Second, 2*time.Second) // a shorter slow mode counts at once
	now = now.Add(6 * time.Second)
	note(k, "", 10*time.Second, 0)
	note(k, "", 10*time.Second, 10*time.Second) // without a cid nothing is a repeat
}

// However many members write in rooms with slow mode, what is remembered is bounded, and whose wait is over goes first.
func TestPaceIsBounded(t *testing.T) {
	var p paces
	now := time.UnixMilli(1_000_000)
	for i := range maxPaces {
		p.note(pacer{1, store.AccountID(i)}, "", now, time.Second)
	}
	now = now.Add(2 * time.Second)
	p.note(pacer{2, 1}, "", now, time.Hour)
	if len(p.last) != 1 {
		t.Errorf("%d are remembered", len(p.last))
	}
	for i := range maxPaces + 10 {
		p.note(pacer{3, store.AccountID(i)}, "", now, time.Hour)
		if len(p.last) > maxPaces {
			t.Fatalf("%d are remembered", len(p.last))
		}
	}
}
