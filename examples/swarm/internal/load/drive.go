//go:build linux

package load

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
)

// stallLimit is how long a closed loop waits for a delivery before it counts
// the message out.
const stallLimit = 5 * time.Second

// drive connects everybody, runs the senders for the asked time, lets the rest
// arrive, and reports. receivers are connected before senders.
func (f *fleet) drive(ctx context.Context, settings string, receivers, senders []*peer) (*Report, error) {
	r := f.report(settings)
	start := f.sample()
	if f.failed != nil {
		return nil, f.failed
	}
	both := append(append([]*peer{}, receivers...), senders...)
	took, err := f.open(ctx, both, false)
	if err != nil {
		return nil, err
	}
	r.ConnectSecs = took.Seconds()
	ready := f.sample()

	warmup := f.opt.Warmup
	if f.opt.Count > 0 {
		warmup = 0
	}
	a := f.sample()
	begin := engine.Now()
	from := begin + int64(warmup)
	until := from + int64(f.opt.Time)
	f.begin(begin, from, until)
	if warmup > 0 {
		sleep(ctx, time.Duration(from-engine.Now()))
		a = f.sample()
	}
	f.runUntil(ctx, until)
	b := f.sample()
	r.Interrupted = ctx.Err() != nil
	r.measured(f, a, b)
	f.stop()

	// What is under way may still arrive; a second ^C ends this too.
	fan := f.fan()
	f.await(context.WithoutCancel(ctx), f.opt.Drain, func(t totals) bool { return f.settled(t, fan) })
	r.memory(f, start, ready, f.sample())
	f.leave(both)
	f.close()
	r.collect(f)
	for _, p := range both {
		if s := p.send; s != nil && s.paced {
			r.Unsent += uint64(s.due - min(s.due, s.next))
		}
	}
	return r, nil
}

// begin starts the senders; an open loop's schedule starts at the time begin.
func (f *fleet) begin(begin, from, until int64) {
	all := 0
	for _, p := range f.peers {
		if p.send != nil {
			all++
		}
	}
	f.each(func(s *shard) {
		s.from, s.stopped = from, false
		if f.opt.Rate > 0 {
			s.pace.start, s.pace.until, s.pace.all = begin, until, all
			s.pace.interval = float64(time.Second) / f.opt.Rate
			s.pace.begin()
			return
		}
		for _, p := range s.senders {
			p.pump()
		}
		unstick := &engine.Timer{}
		unstick.Fire = func(now int64) {
			if s.stopped {
				return
			}
			for _, p := range s.senders {
				if p.expect > 0 {
					p.unstick(now, int64(stallLimit))
				}
			}
			s.loop.Set(unstick, now+int64(time.Second))
		}
		s.loop.Set(unstick, engine.Now()+int64(time.Second))
	})
}

// stop ends the senders. What is due by now is, although a loop that was held up may not have seen it yet.
func (f *fleet) stop() {
	f.each(func(s *shard) {
		if s.pace.interval > 0 && len(s.senders) > 0 {
			s.pace.fire(engine.Now())
		}
		s.stopped = true
		s.publish() // who waits for answers must know of what was sent just now
	})
}

// runUntil waits for the end of the measured time, and with -count for the
// last delivery if that is earlier.
func (f *fleet) runUntil(ctx context.Context, until int64) {
	left := time.Duration(until - engine.Now())
	if f.opt.Count == 0 {
		sleep(ctx, left)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	var want, senders uint64
	fan := f.fan()
	for _, p := range f.peers {
		if p.send != nil {
			senders++
		}
	}
	want = senders * uint64(f.opt.Count)
	f.await(ctx, left, func(t totals) bool {
		return t.acked+t.refused >= want && f.settled(t, fan)
	})
}

// fan is how many receivers a message has; every sender of a workload has the
// same number.
func (f *fleet) fan() uint64 {
	var pairs, senders uint64
	for _, p := range f.peers {
		pairs += uint64(len(p.hears))
		if p.send != nil {
			senders++
		}
	}
	return pairs / max(senders, 1)
}

// settled reports whether everything sent is answered and delivered.
func (f *fleet) settled(t totals, fan uint64) bool {
	return t.acked+t.refused >= t.sent && t.delivered >= t.acked*fan
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// loop names the way messages are sent, for a report.
func (o *Options) loop() string {
	if o.Rate > 0 {
		return fmt.Sprintf("open loop, %s messages/s", thousands(int(o.Rate)))
	}
	return fmt.Sprintf("closed loop, %d in flight each", o.Window)
}
