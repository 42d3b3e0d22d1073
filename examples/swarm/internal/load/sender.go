//go:build linux

package load

import (
	"sync/atomic"

	"github.com/hwangso/hwangso/examples/swarm/internal/check"
	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
)

// maxPending is how many unsent bytes a connection may have before a sender at
// QoS 0, whom no window holds back, waits.
const maxPending = 1 << 20

// pacedWindow is how many unacknowledged messages an open loop's sender may
// have, unless -inflight names a number: enough that the schedule is kept.
const pacedWindow = 1000

// sender is the writing side of a peer. It belongs to the peer's loop, except
// for outstanding, which receivers on other loops count down.
type sender struct {
	peer  *peer
	index int    // among all senders of the run
	topic []byte // complete, or up to the cid
	cid   bool
	qos   byte
	size  int
	limit uint32 // messages to send, 0 is no limit
	paced bool   // open loop

	next     uint32 // number of the next message
	due      uint32 // open loop: messages whose time has come
	window   int
	inflight int
	id       uint16
	slots    []slot // by packet identifier
	refused  check.Ranges

	// With expect > 0 a message is in flight until that many receivers have
	// it: the closed loop at QoS 0, and of fanout.
	expect      uint32
	outstanding []atomic.Uint64 // by number: number<<32 | receivers to come
	since       []atomic.Int64  // intended times, by number
}

// slot is a message that waits for its acknowledgement.
type slot struct {
	intended int64
	number   uint32
	id       uint16
	busy     bool
	refused  bool // a reply said so before the acknowledgement
}

func newSender(p *peer, index int, topic string, o *Options, cid bool) *sender {
	s := &sender{
		peer: p, index: index, topic: []byte(topic), cid: cid,
		qos: byte(o.QoS), size: o.Size, limit: uint32(o.Count),
		paced: o.Rate > 0, window: o.Window,
	}
	if s.paced && s.window == 1 {
		s.window = pacedWindow
	}
	s.slots = make([]slot, power2(s.window))
	p.send = s
	return s
}

// await makes the loop wait for expect receivers of each message.
func (s *sender) await(expect int) {
	s.expect = uint32(expect)
	s.outstanding = make([]atomic.Uint64, power2(s.window))
	s.since = make([]atomic.Int64, len(s.outstanding))
	for i := range s.outstanding {
		s.outstanding[i].Store(1<<64 - 1<<32) // number 2^32-1, none to come
	}
}

// pump sends what may be sent now.
func (s *sender) pump() {
	p := s.peer
	for p.c.Open() && s.inflight < s.window && p.c.Pending() < maxPending {
		// As of the current read or timer: when a closed loop's message could
		// first be sent.
		intended := p.c.Loop().Now()
		if s.paced {
			if s.next >= s.due {
				return
			}
			intended = p.shard.pace.at(s.index, s.next)
		} else if p.shard.stopped || s.limit > 0 && s.next >= s.limit {
			return
		}
		if !s.publish(intended) {
			return
		}
	}
}

// publish sends the next message, unless no place for it is free.
func (s *sender) publish(intended int64) bool {
	p := s.peer
	if s.expect > 0 && s.waits() {
		return false
	}
	if s.qos > 0 {
		at := s.free()
		if at == nil {
			return false
		}
		*at = slot{intended: intended, number: s.next, id: s.id, busy: true}
		s.inflight++
	}
	if s.expect > 0 {
		mask := uint32(len(s.outstanding) - 1)
		s.since[s.next&mask].Store(intended)
		s.outstanding[s.next&mask].Store(uint64(s.next)<<32 | uint64(s.expect))
	}
	b := p.shard.run.appendPayload(p.c.Loop().Scratch(), stamp{p.id, s.next, intended}, s.size)
	end := len(b)
	if s.cid {
		b = p.shard.run.appendCID(b, s.next)
	}
	p.c.Publish(s.qos, false, s.id, s.topic, b[end:], b[:end])
	p.c.Loop().KeepScratch(b)
	s.next++
	p.shard.n.sent++
	if s.qos == 0 {
		p.shard.n.acked++
	}
	return true
}

// waits reports whether the message a window back is still under way.
func (s *sender) waits() bool {
	n := s.next - uint32(s.window)
	v := s.outstanding[n&uint32(len(s.outstanding)-1)].Load()
	return uint32(v>>32) == n && uint32(v) > 0
}

// free picks the next packet identifier whose slot is free.
func (s *sender) free() *slot {
	for range s.slots {
		if s.id++; s.id == 0 {
			s.id = 1
		}
		if at := &s.slots[int(s.id)&(len(s.slots)-1)]; !at.busy {
			return at
		}
	}
	return nil
}

// acked takes the server's answer to packet id.
func (s *sender) acked(id uint16, reason byte) {
	sh := s.peer.shard
	at := &s.slots[int(id)&(len(s.slots)-1)]
	if !at.busy || at.id != id {
		sh.failed("acknowledgement of nothing sent")
		return
	}
	at.busy = false
	s.inflight--
	if reason >= 0x80 {
		sh.failed("PUBACK " + engine.ReasonName(reason))
	}
	if reason >= 0x80 || at.refused {
		s.refused.Add(uint64(at.number))
		sh.n.refused++
		s.giveUp(at.number)
	} else {
		sh.n.acked++
		if at.intended >= sh.from {
			sh.ack.Record(sh.loop.Now() - at.intended)
		}
	}
	s.pump()
}

// replied takes an outcome told on the topic reply/{rest} (MQTT 3.x, before
// the acknowledgement): -id, or the cid.
func (s *sender) replied(rest []byte) {
	if id, ok := packetID(rest); ok {
		if at := &s.slots[int(id)&(len(s.slots)-1)]; at.busy && at.id == id {
			at.refused = true
		}
		return
	}
	n, ok := s.peer.shard.run.cidNumber(rest)
	for i := range s.slots {
		if at := &s.slots[i]; ok && at.busy && at.number == n {
			at.refused = true
		}
	}
}

// delivered is told by a receiver, on its own loop, that it has message n.
func (s *sender) delivered(n uint32, receiver *shard, now int64) {
	o := &s.outstanding[n&uint32(len(s.outstanding)-1)]
	for {
		v := o.Load()
		if uint32(v>>32) != n || uint32(v) == 0 {
			return // given up meanwhile
		}
		// Read before the count reaches 0, when the slot may be used again.
		since := s.since[n&uint32(len(s.since)-1)].Load()
		if !o.CompareAndSwap(v, v-1) {
			continue
		}
		if uint32(v) > 1 {
			return
		}
		if since >= receiver.from {
			receiver.last.Record(now - since)
		}
		if receiver == s.peer.shard {
			s.pump()
		} else {
			s.peer.shard.loop.Do(s.pump)
		}
		return
	}
}

// giveUp stops waiting for receivers of message n.
func (s *sender) giveUp(n uint32) {
	if s.expect == 0 {
		return
	}
	o := &s.outstanding[n&uint32(len(s.outstanding)-1)]
	if v := o.Load(); uint32(v>>32) == n {
		o.CompareAndSwap(v, v&^0xFFFFFFFF)
	}
}

// unstick gives up messages that wait longer than limit: lost ones must not
// stop the run; they are counted as lost at its end.
func (s *sender) unstick(now, limit int64) {
	for i := range s.outstanding {
		v := s.outstanding[i].Load()
		if uint32(v) > 0 && now-s.since[i].Load() > limit {
			if s.outstanding[i].CompareAndSwap(v, v&^0xFFFFFFFF) {
				s.peer.shard.stalled++
			}
		}
	}
	s.pump()
}

// unanswered is the set of messages that were sent and not answered: they may
// arrive or not.
func (s *sender) unanswered() check.Ranges {
	var r check.Ranges
	for i := range s.slots {
		if s.slots[i].busy {
			r.Add(uint64(s.slots[i].number))
		}
	}
	return r
}

func power2(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}
