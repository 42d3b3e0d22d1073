package store

import "sort"

// Marks are the read marks of a log's active members: how far each has read. Of a pair both users count, whether they
// are members already or not, so that neither can tell from the marks. Immutable; the zero value is a log that nobody
// has read.
type Marks struct {
	head   Seq
	sorted []Seq    // one per user who counts, ascending
	by     []markOf // the same by account
}

type markOf struct {
	account AccountID
	seq     Seq
}

// NewMarks collects the marks of those who count in the log with this key: both users of a pair, the active members of
// any other log. of returns one user's mark, 0 for none; it is asked in the order of accounts.
func NewMarks(key Key, head Seq, ms *Membership, of func(AccountID) Seq) Marks {
	m := Marks{head: head}
	add := func(a AccountID) {
		s := of(a)
		m.sorted = append(m.sorted, s)
		m.by = append(m.by, markOf{a, s})
	}
	switch {
	case key.Kind == LogPair && key.A != key.B:
		m.sorted, m.by = make([]Seq, 0, 2), make([]markOf, 0, 2)
		add(key.A)
		add(key.B)
	case ms == nil:
		return m
	default:
		m.sorted, m.by = make([]Seq, 0, ms.Active), make([]markOf, 0, ms.Active)
		for i := range ms.Members {
			if a := &ms.Members[i]; a.Role != RoleNone {
				add(a.Account)
			}
		}
	}
	sort.Slice(m.sorted, func(i, j int) bool { return m.sorted[i] < m.sorted[j] })
	return m
}

// Of is one active member's own mark, 0 if it has read nothing or is no member. It is shown to that member only.
func (m Marks) Of(a AccountID) Seq {
	s, _ := m.find(a)
	return s
}

func (m Marks) find(a AccountID) (s Seq, ok bool) {
	i := sort.Search(len(m.by), func(i int) bool { return m.by[i].account >= a })
	if i < len(m.by) && m.by[i].account == a {
		return m.by[i].seq, true
	}
	return 0, false
}

// With returns the marks with that of one user somewhere else, for somebody who may not know where it stands. Who does
// not count stays so.
func (m Marks) With(a AccountID, at Seq) Marks {
	out := Marks{head: m.head, sorted: make([]Seq, len(m.by)), by: append([]markOf(nil), m.by...)}
	for i := range out.by {
		if out.by[i].account == a {
			out.by[i].seq = at
		}
		out.sorted[i] = out.by[i].seq
	}
	sort.Slice(out.sorted, func(i, j int) bool { return out.sorted[i] < out.sorted[j] })
	return out
}

// Own returns the marks as nobody's but one user's: those of others count as if they had read everything.
func (m Marks) Own(a AccountID) Marks {
	own := Marks{head: m.head}
	if s, ok := m.find(a); ok {
		own.by = []markOf{{a, s}}
	}
	return own
}

// Unread is the number of those who count and have not read the record with this sequence, its sender not counted. It
// comes from watermarks alone, and is the same for everybody who asks.
func (m Marks) Unread(seq Seq, sender AccountID) int {
	n := sort.Search(len(m.sorted), func(i int) bool { return m.sorted[i] >= seq })
	if at, counts := m.find(sender); counts && at < seq {
		n--
	}
	return max(n, 0)
}

// Step is a sequence and how many members' marks stand at it.
type Step struct {
	Seq     Seq
	Members int
}

// Steps are the marks without names, ascending, the head always last: [{118 2} {130 0}] says that two members stand
// at 118 and nobody has read up to the head, 130.
func (m Marks) Steps() []Step { return m.StepsTo(m.head) }

// StepsTo are the marks for who may know of nothing after a sequence: marks beyond it stand at it.
func (m Marks) StepsTo(head Seq) []Step {
	head = min(head, m.head)
	var out []Step
	for _, s := range m.sorted {
		s = min(s, head)
		if n := len(out); n > 0 && out[n-1].Seq == s {
			out[n-1].Members++
		} else {
			out = append(out, Step{s, 1})
		}
	}
	if n := len(out); n == 0 || out[n-1].Seq < head {
		out = append(out, Step{head, 0})
	}
	return out
}
