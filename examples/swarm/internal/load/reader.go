//go:build linux

package load

import (
	"bytes"

	"github.com/hwangso/hwangso/examples/swarm/internal/check"
	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
)

// reader reads back what one writer wrote. Where envelopes carry sequence
// numbers (the json view) it tells a message that was stored twice, which has
// two of them, from one that was only delivered twice.
type reader struct {
	link
	sender uint32
	stream check.Stream
	twice  uint64
	again  uint64
	strays uint64
	// Of the stream's out of order ones, stored in that order.
	misplaced uint64
	forgotten uint64 // connections without the session

	sequenced bool
	lowest    uint64
	highest   uint64
	seen      check.Ranges
	bySeq     []uint64 // sequence of each message number; 0 is not seen
}

var _ engine.Handler = (*reader)(nil)

// Ready implements engine.Handler. The session was made before the writing, so
// a server that does not know it has lost it.
func (r *reader) Ready(_ *engine.Conn, present bool) {
	r.ready()
	if !present {
		r.forgotten++
	}
}

// Acked implements engine.Handler; a reader publishes nothing.
func (r *reader) Acked(*engine.Conn, byte, uint16, byte) {}

// Publish implements engine.Handler.
func (r *reader) Publish(_ *engine.Conn, m *packet.Publish) {
	seq, before := sequence(m.Payload), r.highest
	if seq > 0 {
		r.sequenced = true
		if r.lowest == 0 || seq < r.lowest {
			r.lowest = seq
		}
		r.highest = max(r.highest, seq)
		if !r.seen.Has(seq) {
			r.seen.Add(seq)
		}
	}
	st, _, ok := r.shard.run.find(m.Payload)
	if !ok {
		r.shard.unrelated++
		return
	}
	if st.sender != r.sender {
		r.strays++
		return
	}
	verdict := r.stream.Seen(uint64(st.number))
	first := verdict != check.Doubled
	if verdict == check.OutOfOrder && seq > before {
		r.misplaced++ // not only delivered late: its place in the log is behind a later one's
	}
	if first {
		r.shard.n.delivered++
		for len(r.bySeq) <= int(st.number) && seq > 0 && st.number < maxNumber {
			r.bySeq = append(r.bySeq, 0)
		}
	}
	known := uint64(0)
	if int(st.number) < len(r.bySeq) {
		known = r.bySeq[st.number]
	}
	switch {
	case first:
		if int(st.number) < len(r.bySeq) {
			r.bySeq[st.number] = seq
		}
	case known > 0 && seq > 0 && known != seq:
		r.twice++
	case known > 0 && known == seq || m.Dup:
		r.again++
	default:
		r.twice++ // nothing says that it is the same one
	}
}

// maxNumber bounds the memory a made-up number can take.
const maxNumber = 1 << 27

// gaps are the sequence numbers between the lowest and the highest seen that
// never came.
func (r *reader) gaps() check.Ranges {
	var gaps check.Ranges
	next := r.lowest
	for first, last := range r.seen.All() {
		gaps.AddRange(next, first)
		next = last + 1
	}
	return gaps
}

// sequence finds the "s" of a JSON envelope: 0 if there is none. Text in the
// envelope cannot look like it, since quotes are escaped there.
func sequence(b []byte) uint64 {
	if len(b) == 0 || b[0] != '{' {
		return 0
	}
	_, after, ok := bytes.Cut(b, []byte(`"s":`))
	if !ok {
		return 0
	}
	var n uint64
	for _, c := range bytes.TrimLeft(after, " ") {
		if c < '0' || c > '9' || n > 1<<59 {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}
