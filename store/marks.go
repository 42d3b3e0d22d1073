package store

import "sort"

// Marks are the read marks of a log's active members: how far each has read. Immutable; the zero value is a log that
// nobody has read.
type Marks struct {
	head   Seq
	sorted []Seq       // one per active member, ascending
	by     []markOf    // by account, active members only
	all    *Membership // whose marks these are
}

type markOf struct {
	account AccountID
	seq     Seq
}

// NewMarks collects the marks of the active members; of returns one member's mark, 0 for none.
func NewMarks(head Seq, ms *Membership, of func(AccountID) Seq) Marks {
	m := Marks{head: head, all: ms}
	if ms == nil {
		return m
	}
	m.sorted = make([]Seq, 0, ms.Active)
	m.by = make([]markOf, 0, ms.Active)
	for i := range ms.Members {
		if a := &ms.Members[i]; a.Role != RoleNone {
			s := of(a.Account)
			m.sorted = append(m.sorted, s)
			m.by = append(m.by, markOf{a.Account, s})
		}
	}
	sort.Slice(m.sorted, func(i, j int) bool { return m.sorted[i] < m.sorted[j] })
	return m
}

// Of is one active member's own mark, 0 if it has read nothing or is no member. It is shown to that member only.
func (m Marks) Of(a AccountID) Seq {
	i := sort.Search(len(m.by), func(i int) bool { return m.by[i].account >= a })
	if i < len(m.by) && m.by[i].account == a {
		return m.by[i].seq
	}
	return 0
}

// Unread is the number of active members who have not read the record with this sequence, its sender not counted. It
// comes from watermarks alone, and is the same for everybody who asks.
func (m Marks) Unread(seq Seq, sender AccountID) int {
	n := sort.Search(len(m.sorted), func(i int) bool { return m.sorted[i] >= seq })
	if n > 0 && m.all.Role(sender) != RoleNone && m.Of(sender) < seq {
		n--
	}
	return n
}

// Step is a sequence and how many members' marks stand at it.
type Step struct {
	Seq     Seq
	Members int
}

// Steps are the marks without names, ascending, the head always last: [{118 2} {130 0}] says that two members stand
// at 118 and nobody has read up to the head, 130.
func (m Marks) Steps() []Step {
	var out []Step
	for _, s := range m.sorted {
		if n := len(out); n > 0 && out[n-1].Seq == s {
			out[n-1].Members++
		} else {
			out = append(out, Step{s, 1})
		}
	}
	if n := len(out); n == 0 || out[n-1].Seq < m.head {
		out = append(out, Step{m.head, 0})
	}
	return out
}
