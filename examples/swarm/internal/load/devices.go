//go:build linux

package load

import (
	"context"
	"fmt"
	"io"

	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
)

// devices are the persistent sessions of offline and storm, with those who
// write to them.
type devices struct {
	*fleet
	receivers, senders []*peer

	start sample // before the first connection
}

// newDevices makes o.N devices that exist in the server only after prepare.
// Via pairs, device i is user 2i+1 and hears user 2i; via rooms, room r has
// o.Members members, the first of which writes and the others are devices.
func newDevices(o *Options, log io.Writer) (*devices, error) {
	f, err := newFleet(o, log)
	if err != nil {
		return nil, err
	}
	d := &devices{fleet: f}
	device := func(shard, user int, filter string, from *peer) {
		cfg := f.scheme.login("d", user, user)
		cfg.Filters, cfg.FilterQoS = []string{filter}, byte(o.QoS)
		cfg.ReceiveMax = uint16(o.RecvMax)
		p := f.peer(shard, cfg)
		p.hears = []*peer{from}
		d.receivers = append(d.receivers, p)
	}
	sender := func(shard, user int, topic string) *peer {
		p := f.peer(shard, f.scheme.login("s", user, user))
		s := f.sender(p, len(d.senders), topic)
		s.limit = uint32(o.Messages)
		d.senders = append(d.senders, p)
		return p
	}
	if o.Via == "pairs" {
		for i := range o.N {
			from := sender(i, 2*i, f.scheme.toUser(2*i+1))
			device(i, 2*i+1, f.scheme.userFilter(2*i+1), from)
		}
		return d, nil
	}
	for r := 0; len(d.receivers) < o.N; r++ {
		from := sender(r, r*o.Members, f.scheme.toRoom(r))
		for m := 1; m < o.Members && len(d.receivers) < o.N; m++ {
			device(r, r*o.Members+m, f.scheme.roomFilter(r), from)
		}
	}
	return d, nil
}

// prepare gives every device an empty session with its filter.
func (d *devices) prepare(ctx context.Context) error {
	if d.opt.version() != packet.V5 {
		if err := d.wipe(ctx); err != nil {
			return err
		}
	}
	for _, p := range d.receivers {
		persist(&p.c.Config, true)
	}
	_, err := d.open(ctx, d.receivers, false)
	// From here on the session is there to come back to.
	for _, p := range d.receivers {
		persist(&p.c.Config, false)
	}
	return err
}

// wipe removes the devices' sessions from the server. The filters stay.
func (d *devices) wipe(ctx context.Context) error {
	filters := make([][]string, len(d.receivers))
	for i, p := range d.receivers {
		filters[i] = p.c.Filters
		wipe(&p.c.Config)
	}
	_, err := d.open(ctx, d.receivers, true)
	if err == nil {
		d.leave(d.receivers)
	}
	for i, p := range d.receivers {
		p.c.Filters = filters[i]
	}
	return err
}

// send has every sender send its messages and waits for the answers.
func (d *devices) send(ctx context.Context) error {
	d.each(func(s *shard) {
		s.stopped = false
		for _, p := range s.senders {
			p.pump()
		}
	})
	want := uint64(len(d.senders)) * uint64(d.opt.Messages)
	d.await(ctx, d.opt.Drain, func(t totals) bool { return t.acked+t.refused >= want })
	d.each(func(s *shard) { s.stopped = true })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if t := d.totals(); t.acked+t.refused < want {
		return fmt.Errorf("%s: %d of %d messages acknowledged, then nothing for %v", d.scheme.to, t.acked, want, d.opt.Drain)
	}
	return nil
}
