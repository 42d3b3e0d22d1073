package policy

import (
	"testing"

	"github.com/hwangso/hwangso/store"
)

// TestWritePair states every combination: the rows say what decides, from first to last, and every combination must be
// decided by exactly the first row that fits it.
func TestWritePair(t *testing.T) {
	rows := []struct {
		name string
		fits func(PairFacts) bool
		want Outcome
	}{
		{"suspended", func(f PairFacts) bool { return f.AState == store.AccountSuspended }, DenySuspended},
		{"notes", func(f PairFacts) bool { return f.Self }, Deliver},
		{"a blocks b", func(f PairFacts) bool { return f.ABlocksB }, DenyYouBlocked},
		{"missing", func(f PairFacts) bool { return !f.BExists }, DenyNotFriend},
		{"stranger", func(f PairFacts) bool { return !f.BHasA }, DenyNotFriend},
		{"blocked", func(f PairFacts) bool { return f.BBlocksA }, Shadow},
		{"friend", func(f PairFacts) bool { return true }, Deliver},
	}
	used := make([]int, len(rows))
	for _, state := range states {
		for bits := range 32 {
			on := func(i int) bool { return bits>>i&1 == 1 }
			f := PairFacts{AState: state, Self: on(0), ABlocksB: on(1), BExists: on(2), BHasA: on(3), BBlocksA: on(4)}
			for i, row := range rows {
				if !row.fits(f) {
					continue
				}
				used[i]++
				if got := WritePair(f); got != row.want {
					t.Errorf("%s: %+v: %s, want %s", row.name, f, got, row.want)
				}
				break
			}
		}
	}
	for i, n := range used {
		if n == 0 {
			t.Errorf("row %s decides nothing", rows[i].name)
		}
	}
}

// A block must not be noticed: with and without it the sender is told the same in every state.
func TestFriendsBlockCannotBeNoticed(t *testing.T) {
	shadows := 0
	for _, state := range states {
		for bits := range 16 {
			on := func(i int) bool { return bits>>i&1 == 1 }
			f := PairFacts{AState: state, Self: on(0), ABlocksB: on(1), BExists: on(2), BHasA: on(3)}
			without := WritePair(f)
			f.BBlocksA = true
			with := WritePair(f)
			a, _ := without.Denied()
			b, _ := with.Denied()
			if a != b {
				t.Errorf("%+v: told %q, without the block %q", f, b, a)
			}
			if with == Shadow {
				shadows++
			}
		}
	}
	if shadows == 0 {
		t.Error("no state is shadowed")
	}
}

// Existence must not be noticed by a stranger.
func TestStrangersCannotNoticeExistence(t *testing.T) {
	for _, state := range states {
		for bits := range 4 {
			f := PairFacts{AState: state, ABlocksB: bits&1 == 1, BBlocksA: bits&2 == 2}
			missing := WritePair(f)
			f.BExists = true
			if got := WritePair(f); got != missing {
				t.Errorf("%+v: %s, missing %s", f, got, missing)
			}
		}
	}
}

func TestWithinAConversation(t *testing.T) {
	for _, state := range states {
		for bits := range 64 {
			on := func(i int) bool { return bits>>i&1 == 1 }
			open := on(0)
			f := PairFacts{AState: state, Self: on(1), ABlocksB: on(2), BExists: on(3), BHasA: on(4), BBlocksA: on(5)}
			wantAct, wantRead := WritePair(f), Deliver
			if !open {
				wantAct, wantRead = DenyUnreachable, DenyUnreachable
				if f.ABlocksB && !f.Self {
					wantAct = DenyYouBlocked
				}
			}
			if state == store.AccountSuspended {
				wantAct, wantRead = DenySuspended, DenySuspended
			}
			if got := ActPair(open, f); got != wantAct {
				t.Errorf("act, open %v, %+v: %s, want %s", open, f, got, wantAct)
			}
			if got := ReadPair(open, f); got != wantRead {
				t.Errorf("read, open %v, %+v: %s, want %s", open, f, got, wantRead)
			}
		}
	}
}
