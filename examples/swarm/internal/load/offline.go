//go:build linux

package load

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/hist"
)

// stillness is how long offline and storm listen on after the last expected
// message: a doubled one would come then.
const stillness = 500 * time.Millisecond

// offline: devices subscribe and leave, messages are sent to them, they come
// back and catch up.
func offline(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	d, err := newDevices(o, log)
	if err != nil {
		return nil, err
	}
	defer d.close()
	ctx, cancel := context.WithTimeout(ctx, o.Time)
	defer cancel()
	r := d.report(fmt.Sprintf("%s devices away for %s messages each, via %s%s",
		thousands(o.N), thousands(o.Messages), o.Via, o.receiveMax()))
	away, err := d.away(ctx, r, func() { d.leave(d.receivers) })
	if err != nil {
		return d.cutShort(ctx, r, err)
	}
	begin := d.sample()
	wait := d.startOpen(d.receivers, true)
	d.caughtUp(ctx, r)
	r.phase("catch up", "messages", d.totals().delivered, begin, d.sample())
	if err := wait(ctx); err != nil {
		return d.cutShort(ctx, r, err)
	}
	d.finish(ctx, r, away)
	return r, nil
}

// storm: devices are online, lose their connections at one moment, miss
// messages, and all come back.
func storm(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	d, err := newDevices(o, log)
	if err != nil {
		return nil, err
	}
	defer d.close()
	ctx, cancel := context.WithTimeout(ctx, o.Time)
	defer cancel()
	rate := "at once"
	if o.ConnectRate > 0 {
		rate = fmt.Sprintf("at %s/s", thousands(int(o.ConnectRate)))
	}
	r := d.report(fmt.Sprintf("%s devices lose their connections, miss %s messages each via %s, return %s",
		thousands(o.N), thousands(o.Messages), o.Via, rate))
	away, err := d.away(ctx, r, func() { d.drop(d.receivers) })
	if err != nil {
		return d.cutShort(ctx, r, err)
	}
	d.each(func(s *shard) { s.dial = hist.Hist{} }) // of the storm only
	begin := d.sample()
	if err := d.startOpen(d.receivers, true)(ctx); err != nil {
		return d.cutShort(ctx, r, err)
	}
	r.phase("reconnect", "devices", uint64(len(d.receivers)), begin, d.sample())
	d.caughtUp(ctx, r)
	r.phase("caught up", "messages", d.totals().delivered, begin, d.sample())
	d.finish(ctx, r, away)
	return r, nil
}

// away brings the devices into being, has them go by part, and sends them
// their messages. It answers the state before sending.
func (d *devices) away(ctx context.Context, r *Report, part func()) (sample, error) {
	d.start = d.sample()
	if d.failed != nil {
		return d.start, d.failed
	}
	if err := d.prepare(ctx); err != nil {
		return d.start, err
	}
	ready := d.sample()
	r.phase("prepare", "devices", uint64(len(d.receivers)), d.start, ready)
	part()
	if d.opt.Messages == 0 {
		return ready, nil
	}
	if _, err := d.open(ctx, d.senders, false); err != nil {
		return ready, err
	}
	before := d.sample()
	if err := d.send(ctx); err != nil {
		return before, err
	}
	after := d.sample()
	d.leave(d.senders)
	r.phase("send", "messages", after.n.acked-before.n.acked, before, after)
	if d.opt.Pause > 0 {
		fmt.Fprintf(d.log, "swarm: all messages wait in the server; pausing for %v\n", d.opt.Pause)
		sleep(ctx, d.opt.Pause)
		after = d.sample()
	}
	if r.MemoryWaiting = after.server.Anon - before.server.Anon; d.opt.ServerPID > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("server memory moved by %+.2f MiB while the messages came to wait", float64(r.MemoryWaiting)/(1<<20)))
	}
	// Latencies would count the absence: they say nothing here.
	d.each(func(s *shard) { s.from = 1<<63 - 1 })
	return before, nil
}

// caughtUp waits until the devices have everything.
func (d *devices) caughtUp(ctx context.Context, r *Report) {
	want := uint64(len(d.receivers)) * uint64(d.opt.Messages)
	if refused := d.totals().refused; refused > 0 {
		want -= min(want, refused*d.fan())
	}
	if !d.await(ctx, d.opt.Drain, func(t totals) bool { return t.delivered >= want }) {
		r.Notes = append(r.Notes, fmt.Sprintf("%d of %d deliveries came, then nothing for %v", d.totals().delivered, want, d.opt.Drain))
	}
}

// cutShort reports what there is when ctx ended the run, and fails otherwise.
func (d *devices) cutShort(ctx context.Context, r *Report, err error) (*Report, error) {
	if ctx.Err() == nil {
		return nil, err
	}
	r.Notes = append(r.Notes, fmt.Sprintf("ended before it was done (-time %v or ^C): what is missing counts as lost", d.opt.Time))
	d.finish(ctx, r, d.sample())
	return r, nil
}

// finish listens a little longer, removes the sessions unless told to keep
// them, and judges.
func (d *devices) finish(ctx context.Context, r *Report, away sample) {
	sleep(ctx, stillness)
	r.memory(d.fleet, d.start, away, d.sample())
	r.Interrupted = ctx.Err() != nil
	d.leave(d.peers)
	d.each(func(s *shard) { s.opener.untimed = true })
	if !d.opt.Keep && ctx.Err() == nil {
		if err := d.wipe(ctx); err != nil {
			r.Notes = append(r.Notes, "removing the devices' sessions: "+err.Error())
		}
	}
	d.close()
	r.collect(d.fleet)
}

func (o *Options) receiveMax() string {
	if o.RecvMax == 0 {
		return ""
	}
	return fmt.Sprintf(", Receive Maximum %d", o.RecvMax)
}

// drop ends connections as a lost network does, without a DISCONNECT.
func (f *fleet) drop(peers []*peer) {
	mine := make(map[*shard][]*peer)
	for _, p := range peers {
		mine[p.shard] = append(mine[p.shard], p)
	}
	f.each(func(sh *shard) {
		for _, p := range mine[sh] {
			p.c.Drop()
		}
	})
}
