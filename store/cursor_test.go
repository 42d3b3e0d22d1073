package store

import (
	"math/rand/v2"
	"testing"
)

func TestCursor(t *testing.T) {
	at := func(s Seq) Cursor { return Cursor{s, s, s} }
	cases := []struct {
		name      string
		got, want Cursor
	}{
		{"first acknowledgement", Cursor{}.Ack(5), at(5)},
		{"backwards", at(5).Ack(3), at(5)},
		{"clean start", at(5).Skip(9), Cursor{5, 9, 9}},
		{"clean start of a device up to date", at(9).Skip(9), at(9)},
		{"a new device", Cursor{}.Skip(9), Cursor{0, 9, 9}},
		{"a new device in an empty log", Cursor{}.Skip(0), Cursor{}},
		{"acknowledging after a hole", at(5).Skip(9).Ack(12), Cursor{5, 9, 12}},
		{"head behind", at(5).Skip(3), at(5)},
		{"a second hole", Cursor{5, 9, 12}.Skip(20), Cursor{5, 20, 20}},
		{"a second clean start with nothing new", Cursor{5, 9, 12}.Skip(12), Cursor{5, 9, 12}},
		{"restore", at(12).Cap(7), at(7)},
		{"restore into the hole", Cursor{5, 9, 12}.Cap(7), Cursor{5, 7, 7}},
		{"restore behind nothing", Cursor{5, 9, 12}.Cap(30), Cursor{5, 9, 12}},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, c.got, c.want)
		}
	}
}

// Random walks against the set of what the device really confirmed: a cursor never claims more, it never goes back,
// and with at most one hole it claims exactly that.
func TestCursorModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		var c Cursor
		head, pos, holes := Seq(rnd.IntN(5)), Seq(0), 0
		confirmed := map[Seq]bool{}
		for range 30 {
			before := c
			switch rnd.IntN(3) {
			case 0:
				head += Seq(rnd.IntN(5))
			case 1:
				if to := pos + Seq(rnd.IntN(int(head-pos)+1)); to > pos {
					for s := pos + 1; s <= to; s++ {
						confirmed[s] = true
					}
					pos = to
				}
				c = c.Ack(pos)
			case 2:
				if head > pos {
					holes++
				}
				c, pos = c.Skip(head), head
			}
			if c.Acked < before.Acked || c.From < before.From || c.From > c.Acked || c.Acked != pos {
				t.Fatalf("%+v became %+v at position %d", before, c, pos)
			}
			for s := Seq(1); s <= head+3; s++ {
				if got := c.Confirmed(s); got && !confirmed[s] || holes < 2 && got != confirmed[s] {
					t.Fatalf("%+v says %v of %d, really %v", c, got, s, confirmed[s])
				}
			}
		}
	}
}

// A rewound cursor goes back and confirms nothing less; it is an ordinary one when it has caught up.
func TestCursorRewind(t *testing.T) {
	at := func(s Seq) Cursor { return Cursor{s, s, s} }
	for _, c := range []struct {
		name      string
		got, want Cursor
	}{
		{"back", at(14).Rewind(10), Cursor{14, 10, 10}},
		{"not forward", at(14).Rewind(14), at(14)},
		{"on the way", at(14).Rewind(10).Ack(12), Cursor{14, 10, 12}},
		{"caught up", at(14).Rewind(10).Ack(14), at(14)},
		{"further", at(14).Rewind(10).Ack(20), at(20)},
		{"twice", at(14).Rewind(10).Rewind(5), Cursor{14, 5, 5}},
		{"less far the second time", at(14).Rewind(5).Rewind(10), Cursor{14, 5, 5}},
		{"a hole counts as confirmed", Cursor{5, 20, 25}.Rewind(10), Cursor{25, 10, 10}},
		{"clean start", at(14).Rewind(10).Skip(30), Cursor{14, 30, 30}},
		{"clean start where it had been", at(14).Rewind(10).Skip(14), at(14)},
		{"restored", at(14).Rewind(10).Cap(12), Cursor{12, 10, 10}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, c.got, c.want)
		}
	}
	for seq := range Seq(20) {
		if at(14).Rewind(10).Confirmed(seq) != at(14).Confirmed(seq) {
			t.Errorf("%d", seq)
		}
	}
}
