package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/store"
)

// The herald wakes the followers of a channel that has grown. All of them at once would stand in the run queue before
// every chat message that comes meanwhile: fifteen thousand pumps of some twenty microseconds are a sixth of a second of
// both cores. So it wakes a slice, waits until those have written, and goes on at a pace that yields to chat: see pace.
//
// A session is told how far its log has grown at the moment of its turn. So of several posts that come while the herald
// is on its way through a channel, those who are told later get all in one write, and only those who were told before
// have a second turn. Channels take turns slice by slice: a small one does not wait for the end of a large one.
type herald struct {
	kick chan struct{} // holds one

	mu     sync.Mutex
	rounds []*round // in turn
	of     map[store.LogID]*round

	queued atomic.Int64 // listed sessions that the rounds have before them
}

// round is one way through the followers of a channel.
type round struct {
	channel store.LogID
	posts   [2]post // newest, guarded by herald.mu; log 0: that log has not grown
	grown   bool    // guarded by herald.mu: since the list was made
	again   bool    // guarded by herald.mu: since the list was made, those who are parked are to look again
	looking bool    // the list is for that too

	sessions []*Session
	at       int
}

// turn is a slice of sessions under way.
type turn struct {
	left atomic.Int32
	done chan struct{} // holds one
}

func newTurn() *turn {
	t := &turn{done: make(chan struct{}, 1)}
	t.left.Store(1) // the herald's own, until all are woken
	return t
}

// finish takes one session, or the herald, off a turn. nil is nobody's turn.
func (t *turn) finish() {
	if t != nil && t.left.Add(-1) == 0 {
		t.done <- struct{}{}
	}
}

// grew queues a post; one with again alone has those look again who are parked.
func (h *herald) grew(p post) {
	h.mu.Lock()
	r := h.of[p.channel]
	if r == nil {
		r = &round{channel: p.channel}
		if h.of == nil {
			h.of = make(map[store.LogID]*round)
		}
		h.of[p.channel] = r
		h.rounds = append(h.rounds, r)
	}
	if p.again {
		r.again = true
	}
	if p.log != 0 {
		r.posts[logOf(p.key.Kind)] = p
		r.grown = true
	}
	h.mu.Unlock()
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// next returns the round whose turn it is, with what there is to tell, nil if there is none.
func (b *Broker) nextRound() (r *round, posts [2]post) {
	h := &b.herald
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.rounds) > 0 {
		r = h.rounds[0]
		h.rounds = h.rounds[1:]
		if r.at == len(r.sessions) && !r.grown && !r.again {
			delete(h.of, r.channel)
			if len(h.rounds) == 0 {
				h.rounds = nil
			}
			continue
		}
		if r.at == len(r.sessions) {
			r.looking, r.grown, r.again = r.again, false, false
			r.sessions, r.at = b.audiences.list(r.channel), 0
			h.queued.Add(int64(len(r.sessions)))
		}
		h.rounds = append(h.rounds, r)
		return r, r.posts
	}
	return nil, posts
}

// PostChanged tells the broker that a post or a channel is set otherwise: call it after graph.SetPost and
// graph.SetChannel. Followers for whom something waits look again.
func (b *Broker) PostChanged(channel store.LogID) { b.herald.grew(post{channel: channel, again: true}) }

// herald tells followers until ctx ends.
func (b *Broker) proclaim(ctx context.Context) {
	defer b.herald.queued.Store(0)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	sleep := func(d time.Duration) {
		timer.Reset(d)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	for ctx.Err() == nil {
		r, posts := b.nextRound()
		if r == nil {
			select {
			case <-ctx.Done():
			case <-b.herald.kick:
			}
			continue
		}
		began := time.Now()
		want := b.pace.slice(began)
		t := newTurn()
		woken, told := b.tellSlice(r, posts, want, t)
		t.finish()
		if b.cfg.Unpaced || woken == 0 {
			continue
		}
		b.await(ctx, t, timer)
		b.metrics.slices.Inc()
		if d := b.pace.pause(woken, told, began, time.Now()); d > 0 {
			paused := time.Now()
			sleep(d)
			b.pace.slept(paused, d, time.Now())
		}
	}
}

// maxLook is how many sessions the herald looks at in a slice at most, those included that have nothing to be told.
const maxLook = 2048

// tellSlice tells sessions of a round until so many are woken, and returns how many were, of how many posts.
func (b *Broker) tellSlice(r *round, posts [2]post, want int, t *turn) (woken, told int) {
	if b.cfg.Unpaced {
		want = len(r.sessions)
	}
	looked := 0
	for woken < want && (looked < maxLook || b.cfg.Unpaced) && r.at < len(r.sessions) {
		s := r.sessions[r.at]
		r.sessions[r.at] = nil
		r.at++
		looked++
		if n, ready := s.hearPosts(r.channel, posts, r.looking, t); ready {
			woken, told = woken+1, told+n
		}
	}
	if r.at == len(r.sessions) {
		r.sessions, r.at = nil, 0
	}
	b.herald.queued.Add(int64(-looked))
	b.metrics.heralded.Add(float64(woken))
	return woken, told
}

// stalled is how long nobody of a slice writes until the herald goes on without the rest: their sockets are full.
const stalled = 5 * time.Millisecond

// await waits until a slice has written.
func (b *Broker) await(ctx context.Context, t *turn, timer *time.Timer) {
	for left := t.left.Load(); ; {
		timer.Reset(stalled)
		select {
		case <-ctx.Done():
			return
		case <-t.done:
			return
		case <-timer.C:
		}
		now := t.left.Load()
		if now == left {
			b.metrics.stalled.Add(float64(now))
			return
		}
		left = now
	}
}

// hearPosts tells the session what there is of a channel, how many posts that are, and reports whether its pump has something to write now that
// the turn waits for. Whose last turn is not over yet is told and not waited for.
func (s *Session) hearPosts(channel store.LogID, posts [2]post, again bool, t *turn) (n int, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, false
	}
	if s.loading {
		s.delay(channel)
		return 0, false
	}
	waiting := len(s.ready)
	for _, p := range posts {
		if p.log != 0 {
			n += s.follows.behind(p)
			s.tellPost(p, nil)
		}
	}
	if again {
		s.lookAgain()
	}
	if len(s.ready) == waiting || !s.running || s.work.turn != nil {
		return 0, false
	}
	t.left.Add(1)
	s.work.turn = t
	return n, true
}
