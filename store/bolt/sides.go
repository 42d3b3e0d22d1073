package bolt

import (
	"encoding/binary"

	"github.com/hwangso/hwangso/store"
)

// sides are the two users of a pair, in the order of its key; of notes the first alone; of a thread the follower and the
// channel, for which all its publishers speak. Nothing in it is allocated: it is copied with the log.
type sides [2]side

// side is a store.Side with the requests that wait.
type side struct {
	head     store.Seq
	headTime int64
	wrote    int64
	asked    asked // the newest request or operation on one that was not answered; seq 0: none
	waiting  [store.MaxRequests]asked
	requests int // how many of waiting are
}

// asked is a record that waits for the other user's answer.
type asked struct {
	seq  store.Seq
	time int64
}

func (s *sides) public() (out [2]store.Side) {
	for i := range s {
		o := &s[i]
		out[i] = store.Side{Head: o.head, HeadTime: o.headTime, Wrote: o.wrote, Requests: o.requests}
		if o.requests > 0 {
			out[i].First = o.waiting[0].seq
		}
	}
	return out
}

// of returns a user's side and the other's, nil for who is not of the pair; of notes both are the same.
func (s *sides) of(k store.Key, a store.AccountID) (mine, other *side) {
	switch {
	case !k.Sided() || a == 0:
		return nil, nil
	case k.Kind == store.LogThread && a != k.A:
		return &s[1], &s[0]
	case k.A == k.B && a == k.A:
		return &s[0], &s[0]
	case a == k.A:
		return &s[0], &s[1]
	case a == k.B:
		return &s[1], &s[0]
	}
	return nil, nil
}

// apply moves the sides past a record of a log that has sides; members are those after it.
func (s *sides) apply(k store.Key, p *placed, members *store.Membership) {
	switch p.typ {
	case typeMessage:
		s.applyMessage(k, p, members)
	case typePrivate:
		mine, other := s.of(k, p.change.Account)
		if mine == nil {
			return
		}
		switch p.change.Kind {
		case store.ChangeAccept:
			if newest := other.answer(p.change.From, p.change.To); newest.seq > mine.head {
				mine.head, mine.headTime = newest.seq, newest.time
			}
		case store.ChangeDecline:
			other.answer(p.change.From, p.change.To)
		}
	}
}

func (s *sides) applyMessage(k store.Key, p *placed, members *store.Membership) {
	for i, a := range [2]store.AccountID{k.A, k.B} {
		if p.audience != store.AudienceBoth && a != p.sender || i > 0 && k.A == k.B {
			continue
		}
		if members.Find(a).Sees(p.seq) || i > 0 && k.Kind == store.LogThread {
			s[i].head, s[i].headTime = p.seq, p.time
		}
	}
	mine, _ := s.of(k, p.sender)
	if mine == nil || p.audience == store.AudienceSender || p.change.Kind != store.ChangeNone {
		return
	}
	message := p.op.Kind == store.OpNone && p.kind < store.KindSystem
	if message {
		mine.wrote = p.time
	}
	switch {
	case p.audience != store.AudienceRequest:
	case message && !mine.full():
		mine.asked = asked{p.seq, p.time}
		mine.waiting[mine.requests] = mine.asked
		mine.requests++
	case p.op.Kind != store.OpNone && mine.waits(p.op.Target):
		mine.asked = asked{p.seq, p.time}
	}
}

// waits reports whether a message waits to be answered.
func (s *side) waits(seq store.Seq) bool {
	for _, w := range s.waiting[:s.requests] {
		if w.seq == seq {
			return true
		}
	}
	return false
}

// answer takes what waits in a range away and returns the newest of it.
func (s *side) answer(from, to store.Seq) (newest asked) {
	kept := 0
	for _, w := range s.waiting[:s.requests] {
		if w.seq < from || w.seq > to {
			s.waiting[kept] = w
			kept++
			continue
		}
		newest = w
	}
	clear(s.waiting[kept:])
	s.requests = kept
	if s.asked.seq >= from && s.asked.seq <= to {
		newest, s.asked = s.asked, asked{}
		if kept > 0 {
			s.asked = s.waiting[kept-1]
		}
	}
	return newest
}

// resolve fills in the range of an answer and reports whether anything waits in it.
func (s *side) resolve(c *store.Change, head store.Seq) (waits bool) {
	if c.To == 0 || c.To > head {
		c.To = head
	}
	if c.From == 0 {
		if c.From = c.To + 1; s.requests > 0 {
			c.From = min(c.From, s.waiting[0].seq)
		}
	}
	for _, w := range s.waiting[:s.requests] {
		waits = waits || w.seq >= c.From && w.seq <= c.To
	}
	return waits
}

// full reports whether the request box of the other user holds as many messages of this one as it may.
func (s *side) full() bool { return s.requests >= len(s.waiting) }

func appendSides(b []byte, k store.Key, s *sides) []byte {
	if !k.Sided() {
		return b
	}
	for i := range s {
		o := &s[i]
		b = binary.AppendUvarint(b, uint64(o.head))
		b = binary.AppendUvarint(b, uint64(o.headTime))
		b = binary.AppendUvarint(b, uint64(o.wrote))
		b = appendAsked(b, o.asked)
		b = binary.AppendUvarint(b, uint64(o.requests))
		for _, w := range o.waiting[:o.requests] {
			b = appendAsked(b, w)
		}
	}
	return b
}

func appendAsked(b []byte, a asked) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(a.seq)), uint64(a.time))
}

func (d *decoder) sides(k store.Key) (s sides) {
	if !k.Sided() {
		return s
	}
	for i := range s {
		o := &s[i]
		o.head, o.headTime, o.wrote = store.Seq(d.uvarint()), int64(d.uvarint()), int64(d.uvarint())
		o.asked = d.asked()
		o.requests = d.count()
		if o.requests > len(o.waiting) {
			d.bad = true
			return sides{}
		}
		for j := range o.requests {
			o.waiting[j] = d.asked()
		}
	}
	return s
}

func (d *decoder) asked() asked { return asked{store.Seq(d.uvarint()), int64(d.uvarint())} }

// applyFull takes over what a creation or state record says. One of format 1 says nothing: then what was known stays,
// and if nothing was, everything up to there was for both, and both had written.
func (s *sides) applyFull(known bool, f *fullState) {
	if f.sided {
		*s = f.sides
	}
	if f.sided || known || f.key.Kind != store.LogPair || f.head == 0 {
		return
	}
	for i, a := range [2]store.AccountID{f.key.A, f.key.B} {
		if f.members.Find(a) != nil && (i == 0 || f.key.A != f.key.B) {
			s[i] = side{head: f.head, headTime: f.headTime, wrote: f.headTime}
		}
	}
}
