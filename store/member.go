package store

import "sort"

// Role is a member's role. Greater roles may do what smaller ones may.
type Role uint8

// The roles.
const (
	RoleNone      Role = iota // not a member (any more)
	RoleMember                // reads and writes
	RoleModerator             // recalls others' messages, pins, removes members, invites
	RoleOwner                 // gives roles
)

var roleNames = [...]string{"none", "member", "moderator", "owner"}

// String is the role's name in the API.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "unknown"
}

// ParseRole is the inverse of String.
func ParseRole(s string) (Role, bool) {
	for i, n := range roleNames {
		if n == s {
			return Role(i), true
		}
	}
	return RoleNone, false
}

// Span is a range of sequences, both ends included. To = 0 means open: up to whatever comes.
type Span struct{ From, To Seq }

// Contains reports whether seq lies in the span.
func (s Span) Contains(seq Seq) bool { return seq >= s.From && (s.To == 0 || seq <= s.To) }

// Member is one user's standing in a log. A member who left stays listed, with RoleNone and closed spans, because
// what was visible stays visible.
type Member struct {
	Account  AccountID
	Role     Role
	Since    int64  // Unix milliseconds of the newest join
	Spans    []Span // what the member may see, in order; the last one is open while the member is in
	Deleted  []Span // what the member deleted for itself, in order
	HiddenAt Seq    // the conversation is left out of the member's list while the head is at most this; 0: not hidden

	// Accepted are the ranges, in order, in which the member sees what the other user of a pair sent as a request. A
	// deletion takes its range out; what the member deleted before it accepted was not there for it.
	Accepted []Span
}

// Sees reports whether membership lets the member see seq: it lies in a span and was not deleted by the member.
// Audience is a matter of the record: see Membership.Visible.
func (m *Member) Sees(seq Seq) bool {
	if m == nil || !within(m.Spans, seq) {
		return false
	}
	return !within(m.Deleted, seq)
}

// Accepts reports whether the member sees what was sent with this sequence as a request to it. Within the range of an
// acceptance that is more than Sees: what the member had deleted before was not there for it.
func (m *Member) Accepts(seq Seq) bool {
	return m != nil && within(m.Accepted, seq) && within(m.Spans, seq)
}

// Next is the first sequence from seq on that the member may see whatever its audience, 0 if there is none.
func (m *Member) Next(seq Seq) Seq {
	if m == nil {
		return 0
	}
	for _, s := range m.Spans {
		seq = max(seq, s.From)
		if !s.Contains(seq) {
			continue
		}
		for _, d := range m.Deleted {
			if d.Contains(seq) {
				seq = m.nextAccepted(seq, d.To+1)
			}
		}
		if s.Contains(seq) {
			return seq
		}
	}
	return 0
}

// nextAccepted is the first accepted sequence from seq on, before end; end if there is none.
func (m *Member) nextAccepted(seq, end Seq) Seq {
	for _, a := range m.Accepted {
		if a.To >= seq && a.From < end {
			return max(seq, a.From)
		}
	}
	return end
}

func within(spans []Span, seq Seq) bool {
	for i := len(spans) - 1; i >= 0; i-- {
		if seq >= spans[i].From {
			return spans[i].Contains(seq)
		}
	}
	return false
}

// Membership is an immutable snapshot of who belongs to a log.
type Membership struct {
	Version uint64   // grows with every change
	Members []Member // by Account
	Active  int      // members with a role
}

// Find returns the member, or nil.
func (ms *Membership) Find(a AccountID) *Member {
	if ms == nil {
		return nil
	}
	m := ms.Members
	if len(m) <= 8 { // pairs and small rooms: no call per step
		for i := range m {
			if m[i].Account == a {
				return &m[i]
			}
		}
		return nil
	}
	i := sort.Search(len(m), func(i int) bool { return m[i].Account >= a })
	if i < len(m) && m[i].Account == a {
		return &m[i]
	}
	return nil
}

// Role is the account's role, RoleNone for strangers.
func (ms *Membership) Role(a AccountID) Role {
	if m := ms.Find(a); m != nil {
		return m.Role
	}
	return RoleNone
}

// Visible decides whether the viewer may see the record: membership, deletions and audience; an operation is seen by
// those who may see what it operates on. It is the one place where this is decided, for live delivery, catch-up,
// history and whatever reads later.
func (ms *Membership) Visible(viewer AccountID, r *Record) bool {
	if r.Audience != AudienceBoth && r.Sender != viewer {
		m := ms.Find(viewer)
		return r.Audience == AudienceRequest && m.Accepts(r.Seq) && (r.Op.Kind == OpNone || m.Accepts(r.Op.Target))
	}
	m := ms.Find(viewer)
	return m.Sees(r.Seq) && (r.Op.Kind == OpNone || m.Sees(r.Op.Target) || m.Accepts(r.Op.Target))
}

// Apply returns the membership after a change that takes effect at the record with sequence seq (for changes without
// a number: the head), leaving the receiver as it was. Joining shows records from seq on, or from Change.From if that is
// set; leaving and being removed show everything up to seq, the farewell included, and so does closing. Opening shows what comes after seq;
// accepting shows everything from From on, to a user who was no member or came later, and the accepted requests to any. A change that
// has nothing to do (joining twice, leaving without being in, an empty range) changes nothing but the version.
func (ms *Membership) Apply(c Change, seq Seq, now int64) *Membership {
	next := &Membership{Version: 1}
	if ms != nil {
		next.Version = ms.Version + 1
		next.Members = append([]Member(nil), ms.Members...)
	}
	i := sort.Search(len(next.Members), func(i int) bool { return next.Members[i].Account >= c.Account })
	found := i < len(next.Members) && next.Members[i].Account == c.Account
	if !found && (c.Kind == ChangeJoin || c.Kind == ChangeOpen || c.Kind == ChangeAccept) {
		next.Members = append(next.Members, Member{})
		copy(next.Members[i+1:], next.Members[i:])
		next.Members[i] = Member{Account: c.Account}
	}
	switch c.Kind {
	case ChangeJoin:
		next.Members[i].join(seq, c.From, c.Role, now)
	case ChangeOpen:
		next.Members[i].join(seq+1, 0, c.Role, now)
	case ChangeAccept:
		m := &next.Members[i]
		if c.From == 0 || c.From > c.To { // nothing waits
			m.join(seq+1, 0, c.Role, now)
			break
		}
		m.join(c.From, 0, c.Role, now)
		if n := len(m.Spans); c.From < m.Spans[n-1].From { // it came in after the requests
			m.Spans = joined(m.Spans[:n-1], m.Spans[n-1].From, c.From)
		}
		m.Accepted = addSpan(m.Accepted, Span{c.From, c.To})
	case ChangeLeave, ChangeRemove, ChangeClose:
		if found && next.Members[i].Role != RoleNone {
			m := &next.Members[i]
			m.Role = RoleNone
			m.Spans = append([]Span(nil), m.Spans...)
			if n := len(m.Spans); n > 0 && m.Spans[n-1].From > seq { // nothing came since it was opened
				m.Spans = m.Spans[:n-1]
			} else if n > 0 {
				m.Spans[n-1].To = seq
			}
		}
	case ChangeRole:
		if found && next.Members[i].Role != RoleNone && c.Role != RoleNone {
			next.Members[i].Role = c.Role
		}
	case ChangeHide:
		if found {
			next.Members[i].HiddenAt = seq
		}
	case ChangeDelete:
		if found && c.From > 0 && c.From <= c.To {
			next.Members[i].Deleted = addSpan(next.Members[i].Deleted, Span{c.From, c.To})
			next.Members[i].Accepted = cutSpan(next.Members[i].Accepted, Span{c.From, c.To})
		}
	}
	for i := range next.Members {
		if next.Members[i].Role != RoleNone {
			next.Active++
		}
	}
	return next
}

// joined is what a member may see that comes in at seq, and sees what was written from back on, if that is not 0.
func joined(spans []Span, seq, back Seq) []Span {
	from := seq
	if back > 0 && back < seq {
		from = back
	}
	out := make([]Span, 0, len(spans)+1)
	for _, s := range spans {
		if s.To < from-1 { // not even touching
			out = append(out, s)
		} else {
			from = min(from, s.From)
		}
	}
	return append(out, Span{From: from})
}

// join makes one who is no member one who sees everything from seq on, or from back on if that is not 0.
func (m *Member) join(seq, back Seq, role Role, now int64) {
	if m.Role == RoleNone {
		m.Since = now
		m.Spans = joined(m.Spans, seq, back)
		m.Role = max(role, RoleMember)
	}
}

// cutSpan takes a closed span out of an ordered list of closed spans, without touching the old list.
func cutSpan(spans []Span, s Span) []Span {
	if len(spans) == 0 {
		return nil
	}
	out := make([]Span, 0, len(spans)+1)
	for _, o := range spans {
		if o.From < s.From {
			out = append(out, Span{o.From, min(o.To, s.From-1)})
		}
		if o.To > s.To {
			out = append(out, Span{max(o.From, s.To+1), o.To})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// addSpan merges a closed span into an ordered list of closed spans, without touching the old list.
func addSpan(spans []Span, s Span) []Span {
	out := make([]Span, 0, len(spans)+1)
	placed := false
	for _, o := range spans {
		switch {
		case o.To < s.From-1: // not even touching; neither From is 0
			out = append(out, o)
		case s.To < o.From-1:
			if !placed {
				out, placed = append(out, s), true
			}
			out = append(out, o)
		default:
			s = Span{min(s.From, o.From), max(s.To, o.To)}
		}
	}
	if !placed {
		out = append(out, s)
	}
	return out
}
