package store

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestMarksSteps(t *testing.T) {
	room := func(accounts ...AccountID) (ms *Membership) {
		for _, a := range accounts {
			ms = ms.Apply(Change{Kind: ChangeJoin, Account: a}, 1, 1)
		}
		return ms
	}
	marks := map[AccountID]Seq{1: 118, 2: 118, 3: 130, 4: 7}
	of := func(a AccountID) Seq { return marks[a] }
	cases := []struct {
		name string
		head Seq
		ms   *Membership
		want []Step
	}{
		{"two behind", 130, room(1, 2), []Step{{118, 2}, {130, 0}}},
		{"one at the head", 130, room(1, 3, 2), []Step{{118, 2}, {130, 1}}},
		{"nobody has read", 5, room(8, 9), []Step{{0, 2}, {5, 0}}},
		{"empty log", 0, room(8), []Step{{0, 1}}},
		{"nobody there", 9, nil, []Step{{9, 0}}},
		{"those who left do not count", 130, room(1, 4).Apply(Change{Kind: ChangeLeave, Account: 4}, 9, 1), []Step{{118, 1}, {130, 0}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := NewMarks(RoomKey("r"), c.head, c.ms, of).Steps(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// Random marks against counting one by one.
func TestMarksModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		var ms *Membership
		marks := map[AccountID]Seq{}
		head := Seq(rnd.IntN(30))
		for a := range AccountID(rnd.IntN(15)) {
			ms = ms.Apply(Change{Kind: ChangeJoin, Account: a + 1}, 1, 1)
			marks[a+1] = Seq(rnd.IntN(int(head) + 1))
			if rnd.IntN(4) == 0 {
				ms = ms.Apply(Change{Kind: ChangeLeave, Account: a + 1}, 1, 1)
			}
		}
		m := NewMarks(RoomKey("r"), head, ms, func(a AccountID) Seq { return marks[a] })
		for sender := range AccountID(17) {
			want := Seq(0)
			if ms.Role(sender) != RoleNone {
				want = marks[sender]
			}
			if m.Of(sender) != want {
				t.Fatalf("mark of %v: %d, want %d", sender, m.Of(sender), want)
			}
			for seq := Seq(1); seq <= head; seq++ {
				unread := 0
				for a, s := range marks {
					if a != sender && ms.Role(a) != RoleNone && s < seq {
						unread++
					}
				}
				if got := m.Unread(seq, sender); got != unread {
					t.Fatalf("unread %d by %v: %d, want %d", seq, sender, got, unread)
				}
			}
		}
		members, last := 0, Seq(0)
		steps := m.Steps()
		for i, s := range steps {
			members += s.Members
			if i > 0 && s.Seq <= last {
				t.Fatalf("not ascending: %v", steps)
			}
			last = s.Seq
		}
		if last != head || ms != nil && members != ms.Active {
			t.Fatalf("steps %v, head %d", steps, head)
		}
	}
	if (Marks{}).Unread(1, 1) != 0 || (Marks{}).Of(1) != 0 {
		t.Error("the zero value has marks")
	}
}
