package store

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestRoles(t *testing.T) {
	for _, r := range []Role{RoleNone, RoleMember, RoleModerator, RoleOwner} {
		if got, ok := ParseRole(r.String()); !ok || got != r {
			t.Errorf("%d: %v %v", r, got, ok)
		}
	}
	if Role(9).String() != "unknown" {
		t.Error(Role(9).String())
	}
	for _, s := range []string{"", "Owner", "unknown", "admin"} {
		if r, ok := ParseRole(s); ok || r != RoleNone {
			t.Errorf("%q: %v", s, r)
		}
	}
}

// apply makes changes one after the other, each with the next sequence.
func apply(ms *Membership, changes ...Change) (*Membership, Seq) {
	seq := Seq(0)
	for _, c := range changes {
		seq++
		ms = ms.Apply(c, seq, int64(seq)*10)
	}
	return ms, seq
}

func TestApply(t *testing.T) {
	in := func(a AccountID) Change { return Change{Kind: ChangeJoin, Account: a, Role: RoleMember} }
	out := func(a AccountID) Change { return Change{Kind: ChangeLeave, Account: a} }
	cases := []struct {
		name    string
		changes []Change
		want    []Member
		active  int
	}{
		{"join", []Change{in(5)}, []Member{{Account: 5, Role: RoleMember, Since: 10, Spans: []Span{{1, 0}}}}, 1},
		{"join without a role", []Change{{Kind: ChangeJoin, Account: 5}}, []Member{{Account: 5, Role: RoleMember, Since: 10, Spans: []Span{{1, 0}}}}, 1},
		{"by account", []Change{in(5), in(2), in(9)}, []Member{
			{Account: 2, Role: RoleMember, Since: 20, Spans: []Span{{2, 0}}},
			{Account: 5, Role: RoleMember, Since: 10, Spans: []Span{{1, 0}}},
			{Account: 9, Role: RoleMember, Since: 30, Spans: []Span{{3, 0}}},
		}, 3},
		{"leave shows the farewell", []Change{in(5), out(5)}, []Member{{Account: 5, Since: 10, Spans: []Span{{1, 2}}}}, 0},
		{"leave and return", []Change{in(5), {Kind: ChangeRemove, Account: 5}, in(1), {Kind: ChangeJoin, Account: 5, Role: RoleModerator}}, []Member{
			{Account: 1, Role: RoleMember, Since: 30, Spans: []Span{{3, 0}}},
			{Account: 5, Role: RoleModerator, Since: 40, Spans: []Span{{1, 2}, {4, 0}}},
		}, 2},
		{"leave twice", []Change{in(5), out(5), out(5)}, []Member{{Account: 5, Since: 10, Spans: []Span{{1, 2}}}}, 0},
		{"a second join does not take a role away", []Change{{Kind: ChangeJoin, Account: 5, Role: RoleOwner}, in(5)},
			[]Member{{Account: 5, Role: RoleOwner, Since: 10, Spans: []Span{{1, 0}}}}, 1},
		{"role", []Change{in(5), {Kind: ChangeRole, Account: 5, Role: RoleOwner}}, []Member{{Account: 5, Role: RoleOwner, Since: 10, Spans: []Span{{1, 0}}}}, 1},
		{"no role removes nobody", []Change{in(5), {Kind: ChangeRole, Account: 5}}, []Member{{Account: 5, Role: RoleMember, Since: 10, Spans: []Span{{1, 0}}}}, 1},
		{"role of one who left", []Change{in(5), out(5), {Kind: ChangeRole, Account: 5, Role: RoleOwner}}, []Member{{Account: 5, Since: 10, Spans: []Span{{1, 2}}}}, 0},
		{"strangers", []Change{out(5), {Kind: ChangeRole, Account: 5, Role: RoleOwner}, {Kind: ChangeHide, Account: 5}, {Kind: ChangeDelete, Account: 5, From: 1, To: 2}}, nil, 0},
		{"hide and delete", []Change{in(5), {Kind: ChangeHide, Account: 5}, {Kind: ChangeDelete, Account: 5, From: 1, To: 2}, {Kind: ChangeTitle, Title: "t"}},
			[]Member{{Account: 5, Role: RoleMember, Since: 10, Spans: []Span{{1, 0}}, HiddenAt: 2, Deleted: []Span{{1, 2}}}}, 1},
		{"empty ranges", []Change{in(5), {Kind: ChangeDelete, Account: 5, From: 3, To: 2}, {Kind: ChangeDelete, Account: 5, From: 2}, {Kind: ChangeDelete, Account: 5, To: 9}},
			[]Member{{Account: 5, Role: RoleMember, Since: 10, Spans: []Span{{1, 0}}}}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ms, n := apply(nil, c.changes...)
			if len(ms.Members) != len(c.want) || len(c.want) > 0 && !reflect.DeepEqual(ms.Members, c.want) {
				t.Errorf("got  %+v\nwant %+v", ms.Members, c.want)
			}
			if ms.Active != c.active || ms.Version != uint64(n) {
				t.Errorf("active %d version %d after %d changes", ms.Active, ms.Version, n)
			}
		})
	}
	// A member without a span, which only damaged data can hold, leaves without a panic.
	odd := &Membership{Members: []Member{{Account: 5, Role: RoleMember}}}
	if got := odd.Apply(out(5), 3, 1); got.Role(5) != RoleNone || got.Find(5).Sees(3) {
		t.Errorf("%+v", got.Members)
	}
}

// Random changes against a model that notes, record by record, who sees what. Old snapshots must not move.
func TestMembershipModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const accounts, records = 14, 400
	var ms *Membership
	var old []*Membership
	var texts []string
	in := map[AccountID]bool{}
	roles := map[AccountID]Role{}
	sees := map[AccountID]map[Seq]bool{}
	for a := range AccountID(accounts) {
		sees[a+1] = map[Seq]bool{}
	}
	head := Seq(0)
	for head < records {
		a := AccountID(rnd.IntN(accounts) + 1)
		c := Change{Account: a}
		switch rnd.IntN(6) {
		case 0:
			c.Kind, c.Role = ChangeJoin, Role(rnd.IntN(4))
			if !in[a] {
				in[a], roles[a] = true, max(c.Role, RoleMember)
			}
		case 1:
			c.Kind = ChangeRole
			if c.Role = Role(rnd.IntN(4)); in[a] && c.Role != RoleNone {
				roles[a] = c.Role
			}
		case 2:
			c.Kind = ChangeDelete
			c.From = Seq(rnd.IntN(int(head) + 2))
			c.To = max(c.From+Seq(rnd.IntN(12)), 2) - 2 // also before From, which deletes nothing
			if c.From > 0 && c.To >= c.From && ms.Find(a) != nil {
				c.To = min(c.To, head)
				for s := c.From; s <= c.To; s++ {
					delete(sees[a], s)
				}
			}
		case 3:
			c.Kind = ChangeLeave
		}
		at := head
		if c.Kind.Numbered() {
			head++
			at = head
			for m := range in {
				sees[m][head] = true // the one who joins and the one who leaves too
			}
		}
		if c.Kind == ChangeLeave {
			delete(in, a)
			delete(roles, a)
		}
		if c.Kind != ChangeNone {
			ms = ms.Apply(c, at, 1)
			old = append(old, ms)
			texts = append(texts, fmt.Sprintf("%+v", *ms))
		}
	}
	if ms.Active != len(in) {
		t.Errorf("%d active, want %d", ms.Active, len(in))
	}
	for a := range AccountID(accounts + 1) {
		if ms.Role(a) != roles[a] {
			t.Errorf("%v has role %v, want %v", a, ms.Role(a), roles[a])
		}
		for s := Seq(1); s <= head; s++ {
			if got := ms.Visible(a, &Record{Seq: s, Sender: 99}); got != sees[a][s] {
				t.Fatalf("%v sees %d: %v, want %v; %+v", a, s, got, sees[a][s], ms.Find(a))
			}
		}
	}
	for i, o := range old {
		if fmt.Sprintf("%+v", *o) != texts[i] {
			t.Fatalf("snapshot %d changed", i)
		}
	}
}

func TestVisible(t *testing.T) {
	ms, _ := apply(nil, Change{Kind: ChangeJoin, Account: 1}, Change{Kind: ChangeJoin, Account: 2})
	cases := []struct {
		viewer AccountID
		r      *Record
		want   bool
	}{
		{1, &Record{Seq: 3, Sender: 2}, true},
		{1, &Record{Seq: 3, Sender: 2, Audience: AudienceSender}, false},
		{2, &Record{Seq: 3, Sender: 2, Audience: AudienceSender}, true},
		{1, &Record{Seq: 3, Sender: 2, Audience: AudienceRequest}, false},
		{2, &Record{Seq: 3, Sender: 2, Audience: AudienceRequest}, true},
		{2, &Record{Seq: 1, Sender: 2}, false}, // its own, from before it joined
		{3, &Record{Seq: 3, Sender: 3}, false}, // a stranger's own
		{3, &Record{Seq: 3, Sender: 1}, false},
		{0, &Record{Seq: 3, Sender: 1}, false},
	}
	for i, c := range cases {
		if got := ms.Visible(c.viewer, c.r); got != c.want {
			t.Errorf("case %d: %v", i, got)
		}
	}
	var none *Membership
	if none.Visible(1, &Record{Seq: 1}) || none.Find(1) != nil || none.Role(1) != RoleNone {
		t.Error("no membership shows something")
	}
}

func TestAddSpan(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var spans []Span
		var in [64]bool
		for range rnd.IntN(20) {
			from := Seq(1 + rnd.IntN(50))
			to := from + Seq(rnd.IntN(6))
			before := fmt.Sprint(spans)
			kept := spans
			spans = addSpan(spans, Span{from, to})
			if fmt.Sprint(kept) != before {
				t.Fatal("the old list was changed")
			}
			for s := from; s <= to; s++ {
				in[s] = true
			}
		}
		for s := Seq(0); s < 64; s++ {
			if within(spans, s) != in[s] {
				t.Fatalf("%d in %v: want %v", s, spans, in[s])
			}
		}
		for i := 1; i < len(spans); i++ {
			if spans[i-1].To+1 >= spans[i].From {
				t.Fatalf("not merged: %v", spans)
			}
		}
	}
	top := ^Seq(0)
	if got := addSpan([]Span{{5, top}}, Span{1, 2}); !reflect.DeepEqual(got, []Span{{1, 2}, {5, top}}) {
		t.Errorf("at the end of the numbers: %v", got)
	}
	if got := addSpan([]Span{{1, 2}}, Span{5, top}); !reflect.DeepEqual(got, []Span{{1, 2}, {5, top}}) {
		t.Errorf("at the end of the numbers: %v", got)
	}
}

// Large rooms are searched another way than small ones.
func TestFind(t *testing.T) {
	for _, n := range []int{0, 1, 8, 9, 100} {
		ms := &Membership{}
		for i := range n {
			ms = ms.Apply(Change{Kind: ChangeJoin, Account: AccountID(2*i + 2)}, 1, 1)
		}
		for a := range AccountID(2*n + 4) {
			m := ms.Find(a)
			want := a > 0 && a%2 == 0 && int(a) <= 2*n
			if (m != nil) != want || m != nil && m.Account != a {
				t.Fatalf("%d members, account %v: %+v", n, a, m)
			}
		}
	}
}

func TestJoinWithOpenHistory(t *testing.T) {
	ms := (*Membership)(nil).Apply(Change{Kind: ChangeJoin, Account: 1}, 1, 1)
	for _, c := range []struct {
		seq, from Seq
		want      string
	}{
		{10, 0, "[{10 0}]"}, {10, 1, "[{1 0}]"}, {10, 4, "[{4 0}]"}, {10, 10, "[{10 0}]"}, {10, 11, "[{10 0}]"},
	} {
		if got := fmt.Sprint(ms.Apply(Change{Kind: ChangeJoin, Account: 2, From: c.from}, c.seq, 1).Find(2).Spans); got != c.want {
			t.Errorf("joining at %d from %d: %s, want %s", c.seq, c.from, got, c.want)
		}
	}
	back := ms.Apply(Change{Kind: ChangeJoin, Account: 2}, 5, 1).Apply(Change{Kind: ChangeLeave, Account: 2}, 8, 1)
	for from, want := range map[Seq]string{0: "[{5 8} {20 0}]", 12: "[{5 8} {12 0}]", 9: "[{5 0}]", 6: "[{5 0}]", 2: "[{2 0}]"} {
		if got := fmt.Sprint(back.Apply(Change{Kind: ChangeJoin, Account: 2, From: from}, 20, 1).Find(2).Spans); got != want {
			t.Errorf("coming back from %d: %s, want %s", from, got, want)
		}
	}
}

func TestOperationsAreSeenWithTheirTarget(t *testing.T) {
	ms := (*Membership)(nil).Apply(Change{Kind: ChangeJoin, Account: 1}, 5, 1).Apply(Change{Kind: ChangeDelete, Account: 1, From: 7, To: 7}, 9, 1)
	for target, want := range map[Seq]bool{4: false, 5: true, 7: false, 8: true} {
		if got := ms.Visible(1, &Record{Seq: 9, Op: Op{OpEdit, target}}); got != want {
			t.Errorf("an operation on %d: %v", target, got)
		}
	}
}
