package bolt

import (
	"encoding/binary"

	"github.com/hwangso/hwangso/store"
)

// fullState is all that is known about a log apart from its messages. A creation and a state record carry one, so
// that everything before the newest of them may be removed.
type fullState struct {
	key      store.Key
	by       store.AccountID // who created it
	created  int64
	title    string
	head     store.Seq
	headTime int64
	members  *store.Membership
	marks    []mark
	sides    sides
	sided    bool // sides are known: format 1 had none
}

// mark is one account's read mark in a log.
type mark struct {
	account store.AccountID
	seq     store.Seq
}

const maxName = 1024 // bytes of a key's name

func appendFullState(b []byte, s *fullState) []byte {
	b = appendKey(b, s.key)
	b = binary.AppendUvarint(b, uint64(s.by))
	b = binary.AppendUvarint(b, uint64(s.created))
	b = appendString(b, s.title)
	b = binary.AppendUvarint(b, uint64(s.head))
	b = binary.AppendUvarint(b, uint64(s.headTime))
	b = appendMembers(b, s.members)
	b = appendMarks(b, s.marks)
	if s.sided {
		b = appendSides(b, s.key, &s.sides)
	}
	return b
}

func decodeFullState(b []byte) (fullState, bool) {
	d := decoder{b: b}
	s := fullState{key: d.key()}
	s.by = store.AccountID(d.uvarint())
	s.created = int64(d.uvarint())
	s.title = string(d.bytes(maxTitle))
	s.head = store.Seq(d.uvarint())
	s.headTime = int64(d.uvarint())
	s.members = d.members()
	s.marks = d.marks()
	if s.key.Sided() && !d.done() {
		s.sides, s.sided = d.sides(s.key), true
	}
	return s, d.done()
}

func appendKey(b []byte, k store.Key) []byte {
	b = append(b, byte(k.Kind))
	b = binary.AppendUvarint(b, uint64(k.A))
	b = binary.AppendUvarint(b, uint64(k.B))
	return appendString(b, k.Name)
}

func (d *decoder) key() store.Key {
	k := store.Key{Kind: store.LogKind(d.u8())}
	k.A, k.B = store.AccountID(d.uvarint()), store.AccountID(d.uvarint())
	k.Name = string(d.bytes(maxName))
	return k
}

// appendMembers appends version and members; a nil membership is version 0.
func appendMembers(b []byte, ms *store.Membership) []byte {
	if ms == nil {
		return append(b, 0, 0)
	}
	b = binary.AppendUvarint(b, ms.Version)
	b = binary.AppendUvarint(b, uint64(len(ms.Members)))
	for i := range ms.Members {
		m := &ms.Members[i]
		b = binary.AppendUvarint(b, uint64(m.Account))
		role := byte(m.Role)
		if len(m.Accepted) > 0 {
			role |= roleAccepted
		}
		b = append(b, role)
		b = binary.AppendUvarint(b, uint64(m.Since))
		b = binary.AppendUvarint(b, uint64(m.HiddenAt))
		b = appendSpans(b, m.Spans)
		b = appendSpans(b, m.Deleted)
		if len(m.Accepted) > 0 {
			b = appendSpans(b, m.Accepted)
		}
	}
	return b
}

// roleAccepted is set in a member's role when accepted spans follow.
const roleAccepted = 1 << 7

func (d *decoder) members() *store.Membership {
	ms := &store.Membership{Version: d.uvarint()}
	n := d.count()
	if n > 0 {
		ms.Members = make([]store.Member, 0, min(n, len(d.b)/6+1))
	}
	for range n {
		if d.bad {
			break
		}
		m := store.Member{Account: store.AccountID(d.uvarint())}
		role := d.u8()
		m.Role = store.Role(role &^ roleAccepted)
		m.Since, m.HiddenAt = int64(d.uvarint()), store.Seq(d.uvarint())
		m.Spans, m.Deleted = d.spans(), d.spans()
		if role&roleAccepted != 0 {
			m.Accepted = d.spans()
			d.bad = d.bad || len(m.Accepted) == 0
		}
		if k := len(ms.Members); k > 0 && ms.Members[k-1].Account >= m.Account {
			d.bad = true // lookups search by account
		}
		if m.Role != store.RoleNone {
			ms.Active++
			d.bad = d.bad || len(m.Spans) == 0 // a leave closes the last span
		}
		ms.Members = append(ms.Members, m)
	}
	return ms
}

func appendSpans(b []byte, spans []store.Span) []byte {
	b = binary.AppendUvarint(b, uint64(len(spans)))
	for _, s := range spans {
		b = binary.AppendUvarint(b, uint64(s.From))
		b = binary.AppendUvarint(b, uint64(s.To))
	}
	return b
}

func (d *decoder) spans() []store.Span {
	n := d.count()
	if n == 0 || d.bad {
		return nil
	}
	spans := make([]store.Span, 0, min(n, len(d.b)/2+1))
	for range n {
		if d.bad {
			return nil
		}
		spans = append(spans, store.Span{From: store.Seq(d.uvarint()), To: store.Seq(d.uvarint())})
	}
	return spans
}

func appendMarks(b []byte, marks []mark) []byte {
	b = binary.AppendUvarint(b, uint64(len(marks)))
	for _, m := range marks {
		b = binary.AppendUvarint(b, uint64(m.account))
		b = binary.AppendUvarint(b, uint64(m.seq))
	}
	return b
}

func (d *decoder) marks() []mark {
	n := d.count()
	if n == 0 || d.bad {
		return nil
	}
	marks := make([]mark, 0, min(n, len(d.b)/2+1))
	for range n {
		m := mark{store.AccountID(d.uvarint()), store.Seq(d.uvarint())}
		if d.bad || len(marks) > 0 && marks[len(marks)-1].account >= m.account {
			d.bad = true
			return nil
		}
		marks = append(marks, m)
	}
	return marks
}
