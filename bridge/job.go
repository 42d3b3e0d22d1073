package bridge

import (
	"context"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// carrier is what takes pushes to a provider: a lane.
type carrier interface {
	// Submit gives it a job; not ok: it takes none now, and it is worth another try at that time.
	Submit(j lane.Job) (at time.Time, ok bool)
	// Close ends it; every job is done before it returns.
	Close() error
}

// judge is what decides: the rules. They are asked by several goroutines, and never write a state.
type judge interface {
	assess(ctx context.Context, k key, st *state, now time.Time) (verdict, error)
	compose(ctx context.Context, k key, st *state, v verdict, r *graph.Registration, now time.Time) (*push.Push, error)
	boxRang(ctx context.Context, k key, now time.Time) error
	noted(e *store.Entry)
}

// job is the push of a ring, from when it is given to a lane until a worker has seen to what became of it. Build and Done
// are called one after the other, so what they leave here needs no lock.
type job struct {
	b         *Bridge
	r         *bell
	to        *graph.Registration
	class     push.Class
	reason    Reason // as it was submitted
	provider  graph.PushProvider
	submitted time.Time
	counted   bool // in the device's pushes of the minute
	tries     int
	bare      bool

	v     verdict // as Build found it
	sent  push.ID
	moved bool  // the device is registered elsewhere: another lane has to carry it
	err   error // Build could not find out
}

var _ lane.Tried = (*job)(nil)

// Class and To implement lane.Job, Tries and Bare lane.Tried.
func (j *job) Class() push.Class       { return j.class }
func (j *job) To() *graph.Registration { return j.to }
func (j *job) Tries() int              { return j.tries }
func (j *job) Bare() bool              { return j.bare }

// Build implements lane.Job: what is told is what is true now.
func (j *job) Build(ctx context.Context) *push.Push {
	b, r := j.b, j.r
	now := b.now()
	b.metrics.waited(j.provider, j.reason, now.Sub(j.submitted))
	sh := b.table.shard(r.account)
	sh.mu.Lock()
	st := r.view()
	sh.mu.Unlock()
	to, err := b.registration(r.key)
	switch {
	case err != nil:
		j.err = err
		return nil
	case to == nil:
		j.v = verdict{reason: ReasonNoToken, upto: max(st.Last, st.Done), ends: true}
		return nil
	case to.Provider != j.provider:
		j.moved = true
		return nil
	}
	if j.v, j.err = b.assessed(ctx, r.key, &st, now); j.err != nil || j.v.action != ring && j.v.action != clears {
		return nil
	}
	p, err := b.judge.compose(ctx, r.key, &st, j.v, to, now)
	if err != nil || p == nil {
		j.err = err
		j.v.action = nothing
		return nil
	}
	j.sent = p.ID
	return p
}

// Done implements lane.Job.
func (j *job) Done(res lane.Result) {
	sh := j.b.table.shard(j.r.account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	j.r.result = &res
	j.b.enqueue(j.r)
}

// registration is where a device is woken: nil if nowhere, because it has registered nothing, somebody else has its token
// by now, or no provider is set up for it.
func (b *Bridge) registration(k key) (*graph.Registration, error) {
	to, err := b.graph.Registration(k.account, k.device)
	if err != nil || to == nil || b.lanes[to.Provider] == nil {
		return nil, err
	}
	own, err := b.graph.Owns(k.account, to)
	if err != nil || !own {
		return nil, err
	}
	return to, nil
}

// assessed asks the rules, and sees to it that a verdict settles something.
func (b *Bridge) assessed(ctx context.Context, k key, st *state, now time.Time) (verdict, error) {
	v, err := b.judge.assess(ctx, k, st, now)
	if err != nil {
		return verdict{}, err
	}
	if k.log == 0 { // its numbers count what was folded into it
		v.upto = st.Last
	}
	if v.upto < st.First {
		v.upto = st.Last
	}
	v.upto = max(v.upto, st.Done)
	return v, nil
}
