//go:build linux

package load

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// slow runs pairs without and with clients that stop reading, in turns, so
// that slow changes of the machine hit both alike.
func slow(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	one := *o
	one.Workload = "pairs"
	var all *Report
	var p99 [2][]float64
	for round := range 2 * o.Rounds {
		stuck := round%2 == 1
		r, err := besideStuck(ctx, &one, stuck, log)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = &Report{Workload: o.Workload, Target: r.Target, Addr: r.Addr, MQTT: r.MQTT, QoS: r.QoS, Run: r.Run, Begin: r.Begin,
				Settings: fmt.Sprintf("%s pairs, %s, beside %d clients that stop reading, %d runs of %v each way",
					thousands(o.N), o.loop(), o.Stuck, o.Rounds, o.Time)}
		}
		all.Runs = append(all.Runs, r)
		if r.Delivery != nil {
			p99[round%2] = append(p99[round%2], r.Delivery.P99)
		}
		if r.Interrupted {
			all.Interrupted = true
			break
		}
	}
	if len(p99[0]) > 0 && len(p99[1]) > 0 {
		low, high := slices.Min(p99[0]), slices.Max(p99[0])
		with := median(p99[1])
		verdict := "within"
		if with > high {
			verdict = "above"
		}
		all.Notes = append(all.Notes,
			fmt.Sprintf("p99 to delivery without: %s to %s, median %s", micros(low), micros(high), micros(median(p99[0]))),
			fmt.Sprintf("p99 to delivery with:    %s to %s, median %s, which is %s the spread without",
				micros(slices.Min(p99[1])), micros(slices.Max(p99[1])), micros(with), verdict))
	}
	return all, nil
}

// stuckBuffer is the receive buffer of a client that stops reading, in bytes;
// the kernel makes it at least 2,304.
const stuckBuffer = 1

// besideStuck is one run of pairs. With stuck, o.Stuck more clients subscribe
// to what receiver i mod N gets and never read it.
func besideStuck(ctx context.Context, o *Options, stuck bool, log io.Writer) (*Report, error) {
	f, err := newFleet(o, log)
	if err != nil {
		return nil, err
	}
	defer f.close()
	receivers, senders := f.pairs()
	name := "without"
	if stuck {
		name = fmt.Sprintf("with %d stuck", o.Stuck)
		var deaf []*peer
		for i := range o.Stuck {
			user := 2*(i%o.N) + 1
			cfg := f.scheme.login(fmt.Sprintf("stuck%d-", i/o.N), user, user)
			// At QoS 1 a server stops at its window of unacknowledged messages,
			// at QoS 0 only when the socket is full: both kinds of stuck.
			cfg.Filters, cfg.FilterQoS = []string{f.scheme.userFilter(user)}, byte(i%2)
			cfg.RcvBuf = stuckBuffer
			deaf = append(deaf, f.peer(i, cfg))
		}
		if _, err := f.open(ctx, deaf, false); err != nil {
			return nil, err
		}
		f.each(func(sh *shard) {
			for _, p := range deaf {
				if p.shard == sh {
					p.leaving = true // a server may well throw it out
					p.c.StopReading()
				}
			}
		})
	}
	r, err := f.drive(ctx, name, receivers, senders)
	if err == nil && stuck {
		r.Connections = len(f.peers)
	}
	return r, err
}
