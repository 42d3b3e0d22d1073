//go:build linux

package load

import (
	"context"
	"fmt"
	"io"
	"time"
)

// idle opens N connections and only keeps them alive.
func idle(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	if o.TLS || o.WS {
		return idleStreams(ctx, o, log)
	}
	f, err := newFleet(o, log)
	if err != nil {
		return nil, err
	}
	defer f.close()
	for i := range o.N {
		cfg := f.scheme.login("i", i, i)
		if o.Subscribe {
			cfg.Filters, cfg.FilterQoS = []string{f.scheme.userFilter(i)}, byte(o.QoS)
		}
		f.peer(i, cfg)
	}
	r := f.report(idleSettings(o))
	start := f.sample()
	if f.failed != nil {
		return nil, f.failed
	}
	took, err := f.open(ctx, f.peers, false)
	if err != nil {
		return nil, err
	}
	r.ConnectSecs = took.Seconds()
	ready := f.sample()
	fmt.Fprintf(f.log, "swarm: %d connections established, idle for %v\n", o.N, o.Time)
	sleep(ctx, o.Time)
	end := f.sample()
	r.Interrupted = ctx.Err() != nil
	r.phase("connect", "connections", uint64(o.N), start, ready)
	r.phase("idle", "connections", uint64(o.N)-end.n.closed, ready, end)
	r.memory(f, start, ready, end)
	f.leave(f.peers)
	f.close()
	r.collect(f)
	return r, nil
}

func idleSettings(o *Options) string {
	s := fmt.Sprintf("%s connections for %v, keep-alive %v", thousands(o.N), o.Time.Round(time.Millisecond), o.KeepAlive)
	if o.Subscribe {
		s += ", one filter each"
	}
	switch {
	case o.TLS && o.WS:
		s += ", WebSocket over TLS"
	case o.TLS:
		s += ", TLS"
	case o.WS:
		s += ", WebSocket"
	}
	return s
}
