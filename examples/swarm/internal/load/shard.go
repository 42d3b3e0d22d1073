//go:build linux

package load

import (
	"sync/atomic"

	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
	"github.com/hwangso/hwangso/examples/swarm/internal/hist"
)

// shard is one loop with everything that counts on it. Peers that talk to each
// other share a shard where they can.
type shard struct {
	// fixed
	loop *engine.Loop
	run  *run

	// owned by the loop until it is closed
	n         totals
	ack       hist.Hist // intended time to acknowledgement
	delivery  hist.Hist // intended time to each delivery
	last      hist.Hist // intended time to the last of a message's deliveries
	dial      hist.Hist // begin of a connection to ready
	errors    map[string]uint64
	unrelated uint64 // messages that are not of this run
	stalled   uint64
	from      int64 // latencies of messages intended before are not recorded
	stopped   bool
	senders   []*sender
	pace      pace
	opener    opener
	split     *split // of the workload broadcast, else nil

	// published after each round of the loop, for whoever coordinates
	sent, acked, refused, delivered, closed atomic.Uint64
}

// totals are the counters of one or more shards.
type totals struct {
	sent      uint64 // PUBLISH written, each message once
	acked     uint64 // messages with a positive answer; at QoS 0 = sent
	refused   uint64 // messages with a negative answer
	delivered uint64 // different messages received, summed over receivers
	closed    uint64 // connections that ended by themselves
}

func (t *totals) add(o totals) {
	t.sent += o.sent
	t.acked += o.acked
	t.refused += o.refused
	t.delivered += o.delivered
	t.closed += o.closed
}

func (t totals) sub(o totals) totals {
	return totals{t.sent - o.sent, t.acked - o.acked, t.refused - o.refused, t.delivered - o.delivered, t.closed - o.closed}
}

func newShard(r *run) (*shard, error) {
	s := &shard{run: r, errors: map[string]uint64{}, stopped: true}
	s.pace.init(s)
	s.opener.init(s)
	var err error
	s.loop, err = engine.Start(s.publish)
	return s, err
}

func (s *shard) publish() {
	s.sent.Store(s.n.sent)
	s.acked.Store(s.n.acked)
	s.refused.Store(s.n.refused)
	s.delivered.Store(s.n.delivered)
	s.closed.Store(s.n.closed)
}

func (s *shard) totals() totals {
	return totals{s.sent.Load(), s.acked.Load(), s.refused.Load(), s.delivered.Load(), s.closed.Load()}
}

// failed counts an error. The number of different texts is bounded: a server
// that makes up reason strings must not fill our memory.
func (s *shard) failed(what string) {
	if _, ok := s.errors[what]; !ok && len(s.errors) >= 100 {
		what = "others"
	}
	s.errors[what]++
}

// pace sends on a schedule: message k of the run is due at start + k·interval
// and belongs to sender k mod S. What is due and cannot be sent waits, and
// keeps its due time as the time its latency counts from: a slow server cannot
// slow the schedule down and hide its own latency (coordinated omission).
type pace struct {
	shard    *shard
	timer    engine.Timer
	start    int64
	interval float64 // ns between two messages of all senders
	all      int     // senders of all shards, S
	until    int64   // no slot at or after this time
	slot     int     // next: index into shard.senders
	lap      uint32
}

func (p *pace) init(s *shard) {
	p.shard = s
	p.timer.Fire = p.fire
}

// at is when message number n of sender index i is due.
func (p *pace) at(i int, n uint32) int64 {
	return p.start + int64((float64(n)*float64(p.all)+float64(i))*p.interval)
}

func (p *pace) begin() {
	if len(p.shard.senders) > 0 {
		p.shard.loop.Set(&p.timer, p.at(p.shard.senders[0].index, 0))
	}
}

func (p *pace) fire(now int64) {
	ss := p.shard.senders
	for {
		s := ss[p.slot]
		at := p.at(s.index, p.lap)
		if at >= p.until || p.shard.stopped {
			return
		}
		if at > now {
			p.shard.loop.Set(&p.timer, at)
			return
		}
		if s.limit == 0 || s.due < s.limit {
			s.due++
			s.pump()
		}
		if p.slot++; p.slot == len(ss) {
			p.slot = 0
			p.lap++
		}
	}
}

// opener opens a list of peers on one shard, at most parallel at a moment and
// one each interval.
type opener struct {
	shard    *shard
	timer    engine.Timer
	queue    []*peer
	begun    int
	active   int
	parallel int
	interval int64 // ns, 0 is no pause
	next     int64
	untimed  bool // these connections are not part of what is measured
	retry    bool // failures go to the end of the queue instead of ending the run
	err      error
	done     func(error) // called once, on the loop
}

func (o *opener) init(s *shard) {
	o.shard = s
	o.timer.Fire = func(int64) { o.more() }
}

func (o *opener) start(peers []*peer, parallel int, interval int64, retry bool, done func(error)) {
	o.queue, o.begun, o.active, o.err = peers, 0, 0, nil
	o.parallel, o.interval, o.next = parallel, interval, engine.Now()
	o.retry, o.done = retry, done
	o.more()
}

func (o *opener) more() {
	if o.done == nil {
		return
	}
	for o.err == nil && o.begun < len(o.queue) && o.active < o.parallel {
		now := engine.Now()
		if o.interval > 0 && o.next > now {
			o.shard.loop.Set(&o.timer, o.next)
			return
		}
		o.next += o.interval
		p := o.queue[o.begun]
		o.begun++
		o.active++
		p.opening = true
		if p.dialed == 0 {
			p.dialed = now
		}
		p.c.Dial()
	}
	if o.active == 0 && (o.err != nil || o.begun == len(o.queue)) {
		done := o.done
		o.done = nil
		done(o.err)
	}
}

// abandon ends opening; done is not called any more.
func (o *opener) abandon() {
	o.done, o.queue = nil, nil
	o.shard.loop.Stop(&o.timer)
}

// finished is told by a peer that is ready (nil) or failed.
func (o *opener) finished(p *peer, err error) {
	p.opening = false
	if o.done == nil {
		return // abandoned
	}
	o.active--
	switch {
	case err == nil:
		if !o.untimed {
			o.shard.dial.Record(engine.Now() - p.dialed)
		}
		p.dialed = 0
	case o.retry:
		o.shard.failed("connect again: " + err.Error())
		o.queue = append(o.queue, p)
		o.next = max(o.next, engine.Now()+1_000_000) // a server that refuses gets a pause
		o.interval = max(o.interval, 1)
	case o.err == nil:
		o.err = err
	}
	o.more()
}
