//go:build linux

package load

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
	"github.com/hwangso/hwangso/examples/swarm/internal/hist"
)

// split tells the deliveries of chat before, during and after a broadcast
// apart by when they were due, and those of posts from chat. It belongs to
// its shard's loop.
type split struct {
	chat  [3]hist.Hist // before, during, after
	posts hist.Hist
	from  int64 // the first post was due
	until int64 // 0: not every follower has the last post yet
	ended int64 // the newest delivery of a post
}

var splitNames = [...]string{"before", "during", "after"}

// record takes a delivery.
func (s *split) record(post bool, intended, now int64) {
	switch {
	case post:
		s.posts.Record(now - intended)
		s.ended = now
	case s.from == 0 || intended < s.from:
		s.chat[0].Record(now - intended)
	case s.until == 0 || intended < s.until:
		s.chat[1].Record(now - intended)
	default:
		s.chat[2].Record(now - intended)
	}
}

// broadcast runs pairs at a steady rate, posts to many followers in the middle
// of it, each post as soon as the one before is acknowledged, and tells chat's
// latency before, while the posts are under way, and after. The pairs have a
// loop of their own, so that what they see is the server's doing and not that
// swarm is busy with the followers.
func broadcast(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	f, err := newFleet(o, log)
	if err != nil {
		return nil, err
	}
	defer f.close()
	for _, sh := range f.shards {
		sh.split = new(split)
	}
	var everybody []*peer
	followers, poster := f.followers()
	everybody = append(append(everybody, followers...), poster)
	chat := f.chatters()
	everybody = append(everybody, chat...)

	r := f.report(fmt.Sprintf("%s pairs, %s, %d bytes; %d posts of %d bytes to %s followers",
		thousands(o.N), o.loop(), o.Size, o.Posts, o.Size, thousands(o.Followers)))
	start := f.sample()
	if f.failed != nil {
		return nil, f.failed
	}
	took, err := f.open(ctx, everybody, false)
	if err != nil {
		return nil, err
	}
	r.ConnectSecs = took.Seconds()
	ready := f.sample()

	begin := engine.Now()
	from := begin + int64(o.Warmup)
	f.begin(begin, from, from+int64(time.Hour))
	sleep(ctx, time.Duration(from-engine.Now()))
	a := f.sample()
	sleep(ctx, o.Time)
	f.post(poster)
	want := uint64(o.Posts) * uint64(o.Followers)
	all := f.followed(ctx, want)
	f.each(func(sh *shard) { sh.split.until = engine.Now() })
	b := f.sample()
	sleep(ctx, o.Time)
	c := f.sample()
	r.Interrupted = ctx.Err() != nil
	r.measured(f, a, c)
	f.stop()
	f.await(context.WithoutCancel(ctx), o.Drain, func(t totals) bool { // a post counts once as acknowledged, and often as delivered
		return t.acked+t.refused >= t.sent && t.delivered+uint64(o.Posts) >= t.acked+f.posted()
	})
	r.memory(f, start, ready, c)
	f.leave(everybody)
	f.close()
	r.collect(f)
	r.broadcast(f, o, all, b.server.CPU-a.server.CPU)
	return r, nil
}

// followers makes the connections of o.Followers users and the one that posts,
// all on the last loop.
func (f *fleet) followers() (list []*peer, poster *peer) {
	o, last := f.opt, len(f.shards)-1
	poster = f.peer(last, f.scheme.publisher())
	poster.posts = true
	for i := range o.Followers {
		cfg := f.scheme.login("f", i, i)
		cfg.Filters, cfg.FilterQoS = []string{f.scheme.channelFilter()}, byte(o.QoS)
		p := f.peer(last, cfg)
		p.hears = []*peer{poster}
		list = append(list, p)
	}
	return list, poster
}

// chatters makes o.N pairs on the first loop, of the users after the followers.
func (f *fleet) chatters() (list []*peer) {
	o := f.opt
	for i := range o.N {
		u := o.Followers + o.Followers%2 + 2*i
		to, from := f.scheme.login("r", o.Followers+2*i, u+1), f.scheme.login("s", o.Followers+2*i+1, u)
		to.Filters, to.FilterQoS = []string{f.scheme.userFilter(u + 1)}, byte(o.QoS)
		r, s := f.peer(0, to), f.peer(0, from)
		f.sender(s, i, f.scheme.toUser(u+1))
		r.hears = []*peer{s}
		list = append(list, r, s)
	}
	return list
}

// post has the publisher send all posts, the next one when one is acknowledged.
func (f *fleet) post(p *peer) {
	done := make(chan struct{})
	p.shard.loop.Do(func() {
		o := *f.opt
		o.Rate, o.Window, o.Count = 0, 1, o.Posts
		newSender(p, 0, f.scheme.toChannel(), &o, f.scheme.cid())
		close(done)
	})
	<-done
	f.each(func(sh *shard) { sh.split.from = engine.Now() })
	p.shard.loop.Do(func() { p.send.pump() })
}

// followed waits until so many posts have been delivered, or none was for the
// time of -drain; it reports which.
func (f *fleet) followed(ctx context.Context, want uint64) bool {
	last, since := f.posted(), time.Now()
	for last < want && time.Since(since) < f.opt.Drain && ctx.Err() == nil {
		sleep(ctx, poll)
		if n := f.posted(); n != last {
			last, since = n, time.Now()
		}
	}
	return last >= want
}

// posted is how many deliveries of posts have arrived.
func (f *fleet) posted() uint64 {
	var n atomic.Uint64
	f.each(func(sh *shard) { n.Add(sh.split.posts.Count()) })
	return n.Load()
}

// Broadcast is what a broadcast did to chat.
type Broadcast struct {
	Posts, Followers int
	Seconds          float64     // from the first post to the last delivery of the last one
	Rate             float64     // deliveries a second in that time
	ServerCPU        float64     `json:",omitempty"` // seconds, chat included, from the measured time's begin
	Delivery         *Latency    // of posts
	Chat             [3]*Latency // before, during, after
}

func (r *Report) broadcast(f *fleet, o *Options, all bool, cpu time.Duration) {
	var s split
	var ended int64
	for _, sh := range f.shards {
		for i := range s.chat {
			s.chat[i].Merge(&sh.split.chat[i])
		}
		s.posts.Merge(&sh.split.posts)
		ended = max(ended, sh.split.ended)
		s.from = sh.split.from
	}
	b := &Broadcast{Posts: o.Posts, Followers: o.Followers, Delivery: latency(&s.posts), ServerCPU: cpu.Seconds()}
	for i := range s.chat {
		b.Chat[i] = latency(&s.chat[i])
	}
	if b.Seconds = max(0, time.Duration(ended-s.from).Seconds()); b.Seconds > 0 {
		b.Rate = float64(s.posts.Count()) / b.Seconds
	}
	if !all {
		r.Notes = append(r.Notes, "not every follower got every post: nothing came for the time of -drain")
	}
	r.Broadcast = b
}

func (b *Broadcast) write(line func(string, string, ...any)) {
	line("broadcast", "%d posts to %s followers in %s = %s deliveries/s", b.Posts, thousands(b.Followers), seconds(b.Seconds), thousands(int(b.Rate)))
	show := func(name string, l *Latency) {
		if l != nil {
			line(name, "p50 %s  p99 %s  p99.9 %s  max %s", micros(l.P50), micros(l.P99), micros(l.P999), micros(l.Max))
		}
	}
	show("to a follower", b.Delivery)
	for i, l := range b.Chat {
		show("chat "+splitNames[i], l)
	}
}

// broadcastMetrics are what compare shows of it.
func broadcastMetrics() []metric {
	ms := []metric{{"last follower has the last post", seconds, func(r *Report) (float64, bool) {
		if r.Broadcast == nil {
			return 0, false
		}
		return r.Broadcast.Seconds, true
	}}}
	for i, name := range splitNames {
		ms = append(ms, metric{"chat " + name + " p99", micros, func(r *Report) (float64, bool) {
			if r.Broadcast == nil || r.Broadcast.Chat[i] == nil {
				return 0, false
			}
			return r.Broadcast.Chat[i].P99, true
		}})
	}
	return ms
}
