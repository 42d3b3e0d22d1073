//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/check"
	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
	"github.com/hwangso/hwangso/examples/swarm/internal/proc"
)

// poll is how often the coordinator looks at the counters while it waits. It
// bounds how exactly the end of a phase is seen, and costs 200 wake-ups a
// second.
const poll = 5 * time.Millisecond

// fleet is one run: its loops and its peers. Its methods are for one
// goroutine, the coordinator.
type fleet struct {
	opt    *Options
	scheme *scheme
	run    *run
	shards []*shard
	peers  []*peer
	log    io.Writer
	failed error // of the server's measurement
}

func newFleet(o *Options, log io.Writer) (*fleet, error) {
	s, err := newScheme(o)
	if err != nil {
		return nil, err
	}
	if _, err := engine.RaiseFiles(); err != nil {
		return nil, err
	}
	f := &fleet{opt: o, scheme: s, run: newRun(), log: log}
	if o.Quiet {
		f.log = io.Discard
	}
	for range o.Loops {
		sh, err := newShard(f.run)
		if err != nil {
			f.close()
			return nil, err
		}
		f.shards = append(f.shards, sh)
	}
	return f, nil
}

// close ends the loops; from then on everything may be read.
func (f *fleet) close() {
	for _, s := range f.shards {
		s.loop.Close()
	}
}

// peer makes a peer on shard number i (modulo their number).
func (f *fleet) peer(i int, cfg engine.Config) *peer {
	sh := f.shards[i%len(f.shards)]
	p := &peer{shard: sh, id: uint32(len(f.peers))}
	p.c = sh.loop.NewConn(cfg, p)
	f.peers = append(f.peers, p)
	return p
}

// sender gives p a writing side.
func (f *fleet) sender(p *peer, index int, topic string) *sender {
	s := newSender(p, index, topic, f.opt, f.scheme.cid())
	p.shard.senders = append(p.shard.senders, s)
	return s
}

// sortSenders puts each loop's senders in the order of their turns.
func (f *fleet) sortSenders() {
	for _, sh := range f.shards {
		slices.SortFunc(sh.senders, func(a, b *sender) int { return a.index - b.index })
	}
}

// each runs fn on every loop and waits until all have.
func (f *fleet) each(fn func(*shard)) {
	done := make(chan struct{}, len(f.shards))
	for _, sh := range f.shards {
		sh.loop.Do(func() {
			fn(sh)
			done <- struct{}{}
		})
	}
	for range f.shards {
		<-done
	}
}

// open connects the peers and waits until all are ready.
func (f *fleet) open(ctx context.Context, peers []*peer, retry bool) (time.Duration, error) {
	begin := time.Now()
	wait := f.startOpen(peers, retry)
	if err := wait(ctx); err != nil {
		return 0, f.explain(err)
	}
	took := time.Since(begin)
	if len(peers) > 1 {
		fmt.Fprintf(f.log, "swarm: %d connections in %v\n", len(peers), took.Round(time.Millisecond))
	}
	return took, nil
}

// startOpen begins to connect the peers; the result waits for the end of it.
func (f *fleet) startOpen(peers []*peer, retry bool) (wait func(context.Context) error) {
	lists := make(map[*shard][]*peer)
	for _, p := range peers {
		lists[p.shard] = append(lists[p.shard], p)
	}
	var interval int64
	if f.opt.ConnectRate > 0 {
		interval = int64(float64(time.Second) / f.opt.ConnectRate * float64(len(lists)))
	}
	parallel := max(1, f.opt.ConnectParallel/max(1, len(lists)))
	done := make(chan error, len(lists)+1)
	for sh, list := range lists {
		sh.loop.Do(func() {
			sh.opener.start(list, parallel, interval, retry, func(err error) { done <- err })
		})
	}
	return func(ctx context.Context) error {
		var first error
		for range lists {
			select {
			case err := <-done:
				if first == nil {
					first = err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return first
	}
}

// explain adds what to do about a failed connection.
func (f *fleet) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connection refused: is the broker running on %s?", f.scheme.to)
	case errors.Is(err, syscall.EMFILE):
		n, _ := engine.RaiseFiles()
		return fmt.Errorf("more connections than this process may open files (%d): use several swarms with -first and -prefix", n)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("no free port towards %s: wait a minute for closed connections to expire: %w", f.scheme.to, err)
	case errors.Is(err, engine.ErrRefused) && f.scheme.hwangso:
		return fmt.Errorf("%s: %w (users u0… with token -password: hwangso seed -users N -password P)", f.scheme.to, err)
	case errors.Is(err, engine.ErrServer) && f.scheme.hwangso:
		return fmt.Errorf("%s: %w (is it a hwangso server? elsewhere use -target mqtt)", f.scheme.to, err)
	case errors.Is(err, engine.ErrFilter) && !f.scheme.hwangso:
		return fmt.Errorf("%s: %w (is this a hwangso server? add -target hwangso)", f.scheme.to, err)
	}
	return fmt.Errorf("%s: %w", f.scheme.to, err)
}

// leave disconnects the peers politely.
func (f *fleet) leave(peers []*peer) {
	mine := make(map[*shard][]*peer)
	for _, p := range peers {
		mine[p.shard] = append(mine[p.shard], p)
	}
	f.each(func(sh *shard) {
		sh.opener.abandon()
		for _, p := range mine[sh] {
			p.leaving = true
			p.c.Disconnect()
		}
	})
}

func (f *fleet) totals() totals {
	var t totals
	for _, s := range f.shards {
		t.add(s.totals())
	}
	return t
}

// await waits until done says so, until limit passes without a change of the
// counters, or until ctx ends; it reports whether done said so.
func (f *fleet) await(ctx context.Context, limit time.Duration, done func(totals) bool) bool {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var last totals
	changed := time.Now()
	for {
		t := f.totals()
		if done(t) {
			return true
		}
		if t != last {
			last, changed = t, time.Now()
		} else if time.Since(changed) > limit {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// sample is the state of everything at one moment.
type sample struct {
	at     time.Time
	n      totals
	server proc.Use
	client time.Duration
}

func (f *fleet) sample() sample {
	s := sample{at: time.Now(), n: f.totals()}
	if f.opt.ServerPID > 0 {
		var err error
		if s.server, err = proc.Read(f.opt.ServerPID); err != nil && f.failed == nil {
			f.failed = err
		}
	}
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err == nil {
		s.client = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	return s
}

// fate is what became of a run's messages.
type fate struct {
	lost, doubled, dups, outOfOrder, strays, unanswered, refusedDelivered uint64
}

// judge compares what was sent with what arrived, after close.
func (f *fleet) judge() fate {
	var r fate
	type sent struct {
		refused, open check.Ranges
		n             uint64
	}
	all := make(map[*peer]*sent)
	for _, p := range f.peers {
		if p.send == nil {
			continue
		}
		s := &sent{refused: p.send.refused, open: p.send.unanswered(), n: uint64(p.send.next)}
		all[p] = s
		r.unanswered += s.open.Count()
	}
	for _, p := range f.peers {
		r.dups += p.dups
		r.strays += p.stray
		for i, h := range p.hears {
			st := &p.first
			if i > 0 {
				if st = p.rest[h.id]; st == nil {
					st = new(check.Stream)
				}
			}
			s := all[h]
			missing := st.Missing(s.n)
			r.lost += missing.Count() - missing.Common(&s.refused) - missing.Common(&s.open)
			r.refusedDelivered += s.refused.Count() - missing.Common(&s.refused)
			r.strays += st.Unsent(s.n)
			r.doubled += st.Doubled()
			r.outOfOrder += st.OutOfOrder()
		}
	}
	return r
}
