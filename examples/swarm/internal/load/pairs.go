//go:build linux

package load

import (
	"context"
	"fmt"
	"io"
)

// pairs: sender 2i writes to user 2i+1.
func pairs(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	f, err := newFleet(o, log)
	if err != nil {
		return nil, err
	}
	defer f.close()
	receivers, senders := f.pairs()
	return f.drive(ctx, fmt.Sprintf("%s pairs, %s, %d bytes", thousands(o.N), o.loop(), o.Size), receivers, senders)
}

// pairs makes o.N pairs, both ends of each on one loop.
func (f *fleet) pairs() (receivers, senders []*peer) {
	o := f.opt
	for i := range o.N {
		to, from := f.scheme.login("r", 2*i, 2*i+1), f.scheme.login("s", 2*i+1, 2*i)
		to.Filters, to.FilterQoS = []string{f.scheme.userFilter(2*i + 1)}, byte(o.QoS)
		r, s := f.peer(i, to), f.peer(i, from)
		send := f.sender(s, i, f.scheme.toUser(2*i+1))
		if o.QoS == 0 && o.Rate == 0 {
			send.await(1)
		}
		r.hears = []*peer{s}
		receivers, senders = append(receivers, r), append(senders, s)
	}
	return receivers, senders
}

// groups: room r has members r·G to r·G+G-1, the first of which write. A
// writing member gets its own messages back, as MQTT has it.
func groups(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	f, err := newFleet(o, log)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var members []*peer
	// Senders are numbered across the rooms first, so that an open loop
	// spreads its messages over rooms before it comes to a room's next member.
	for r := range o.Rooms {
		var room, writers []*peer
		for m := range o.Members {
			i := r*o.Members + m
			cfg := f.scheme.login("m", i, i)
			cfg.Filters, cfg.FilterQoS = []string{f.scheme.roomFilter(r)}, byte(o.QoS)
			p := f.peer(r, cfg)
			if m < o.Senders {
				send := f.sender(p, m*o.Rooms+r, f.scheme.toRoom(r))
				if o.QoS == 0 && o.Rate == 0 {
					send.await(o.Members)
				}
				writers = append(writers, p)
			}
			room = append(room, p)
		}
		for _, p := range room {
			p.hears = writers
		}
		members = append(members, room...)
	}
	f.sortSenders()
	return f.drive(ctx, fmt.Sprintf("%s rooms of %d members, %d writing, %s, %d bytes",
		thousands(o.Rooms), o.Members, o.Senders, o.loop(), o.Size), members, nil)
}

// fanout: user 0 writes to room 0, everybody else listens. In the closed loop
// a message is in flight until every listener has it.
func fanout(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	f, err := newFleet(o, log)
	if err != nil {
		return nil, err
	}
	defer f.close()
	sender := f.peer(0, f.scheme.login("s", 0, 0))
	send := f.sender(sender, 0, f.scheme.toRoom(0))
	if o.Rate == 0 {
		send.await(o.N)
	}
	var listeners []*peer
	for i := range o.N {
		cfg := f.scheme.login("l", i+1, i+1)
		cfg.Filters, cfg.FilterQoS = []string{f.scheme.roomFilter(0)}, byte(o.QoS)
		p := f.peer(i, cfg)
		p.hears = []*peer{sender}
		listeners = append(listeners, p)
	}
	return f.drive(ctx, fmt.Sprintf("%s listeners, %s, %d bytes", thousands(o.N), o.loop(), o.Size), listeners, []*peer{sender})
}
