package webhook

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
)

// queue is what waits of one subject for one endpoint: at most one of them is under way. Guarded by Service.mu.
type queue struct {
	e       *endpoint
	subject string
	events  []*event
	tries   int       // of the first, that have failed
	at      time.Time // when the first is due
	place   int       // in Service.due, -1: not there
	flying  bool
	parked  bool // in endpoint.parked
}

// dues has the queues that wait, by when they are due.
type dues []*queue

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d dues) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push implements heap.Interface.
func (d *dues) Push(x any) {
	q := x.(*queue)
	q.place = len(*d)
	*d = append(*d, q)
}

// Pop implements heap.Interface.
func (d *dues) Pop() any {
	old := *d
	q := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	q.place = -1
	return q
}

// wake puts a queue where its time is. Guarded by mu.
func (s *Service) wake(q *queue) {
	switch {
	case q.flying, q.parked: // it comes back by itself
	case q.place >= 0:
		heap.Fix(&s.due, q.place)
	default:
		heap.Push(&s.due, q)
	}
}

// sleep takes a queue away from where it waits. Guarded by mu.
func (s *Service) sleep(q *queue) {
	if q.place >= 0 {
		heap.Remove(&s.due, q.place)
	}
	if q.parked {
		q.parked = false
		q.e.parked = slices.DeleteFunc(q.e.parked, func(p *queue) bool { return p == q })
	}
}

// dispatch begins attempts when they are due, until ctx ends. Attempts end with life.
func (s *Service) dispatch(ctx, life context.Context) {
	for {
		wait := s.begin(life)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-s.kicked:
		case <-t.C:
		}
		t.Stop()
	}
}

// begin begins what is due, and returns how long nothing else is.
func (s *Service) begin(life context.Context) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for len(s.due) > 0 && s.flying < s.cfg.InFlight {
		q := s.due[0]
		if q.at.After(now) {
			return min(q.at.Sub(now), time.Minute) // clocks are set
		}
		heap.Pop(&s.due)
		e := q.e
		switch {
		case now.Before(e.rest):
			q.at = e.rest
			s.wake(q)
			continue
		case e.flying >= e.share():
			q.parked = true
			e.parked = append(e.parked, q)
			continue
		}
		q.flying = true
		e.flying++
		s.flying++
		s.metrics.flying.Set(float64(s.flying))
		v, to := q.events[0], e.row.clone()
		s.attempts.Go(func() { s.attempt(life, q, v, &to) })
	}
	return time.Minute
}

// result is how an attempt ended.
type result struct {
	outcome string
	code    int
	after   time.Duration // Retry-After, 0: none
}

// attempt makes one request for the first event of a queue.
func (s *Service) attempt(ctx context.Context, q *queue, v *event, to *row) {
	began := s.now()
	body, err := s.body(q.e, v)
	var r result
	switch {
	case err != nil:
		s.log.Error("event of a webhook not read", keyErr, err)
		r.outcome = outBusy
	case body == nil:
		r.outcome = outNothing
	default:
		if r = s.post(ctx, to, v, body); r.outcome != outBusy && r.outcome != outCanceled {
			s.metrics.attempts.WithLabelValues(r.outcome).Inc()
			s.metrics.took.Observe(s.now().Sub(began).Seconds())
		}
	}
	if r.outcome == outNothing || r.outcome == outOK {
		u := store.Update{Owner: q.e.events(), Rows: []store.RowPut{{Table: tableEvent, Key: v.key()}}}
		if err := s.store.Update(ctx, u); err != nil && ctx.Err() == nil {
			s.log.Warn("a delivered event of a webhook is kept, and repeated after a restart", keyErr, err)
		}
	}
	s.finish(q, v, r)
	kick(s.kicked)
}

// finish notes how an attempt ended.
func (s *Service) finish(q *queue, v *event, r result) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := q.e
	q.flying = false
	e.flying--
	s.flying--
	s.metrics.flying.Set(float64(s.flying))
	if e.gone || e.queues[q.subject] != q || len(q.events) == 0 || q.events[0] != v { // removed or disabled meanwhile
		if len(q.events) == 0 && e.queues[q.subject] == q {
			delete(e.queues, q.subject)
		}
		s.unpark(e, now)
		return
	}
	switch r.outcome {
	case outNothing:
		s.take(q, v)
		s.lost(e, dropGone, 1)
	case outBusy, outCanceled:
		q.at = now.Add(firstWait)
		s.wake(q)
	case outOK:
		s.noted(e, v, r, now)
		s.succeeded(e, now)
		s.take(q, v)
	default:
		s.noted(e, v, r, now)
		s.failed(q, r, now)
	}
	s.unpark(e, now)
}

func (s *Service) noted(e *endpoint, v *event, r result, now time.Time) {
	e.dirty = true
	e.row.Last = slices.Insert(e.row.Last, 0, Answer{Time: now.UnixMilli(), Event: v.Type, Code: r.code, Outcome: r.outcome})
	if len(e.row.Last) > answersKept {
		e.row.Last = e.row.Last[:answersKept]
	}
}

// succeeded ends that an endpoint is failing; what waits for its next attempt need not wait any more.
func (s *Service) succeeded(e *endpoint, now time.Time) {
	if e.row.Failing != 0 {
		e.row.Failing = 0
		kick(s.tidied)
	}
	if e.fails >= failing {
		for _, q := range e.queues {
			if q.at.After(now) && !q.flying {
				q.at = now
				s.wake(q)
			}
		}
	}
	e.fails, e.rest = 0, time.Time{}
}

func (s *Service) failed(q *queue, r result, now time.Time) {
	e := q.e
	e.fails++
	if e.row.Failing == 0 {
		e.row.Failing = now.UnixMilli()
		kick(s.tidied)
	}
	switch {
	case r.outcome == outGone:
		s.disable(e, WhyGone, now)
		return
	case now.Sub(time.UnixMilli(e.row.Failing)) >= MaxAge:
		s.disable(e, WhyFailing, now)
		return
	}
	q.tries++
	q.at = now.Add(backoff(q.tries))
	if r.after > 0 {
		e.rest = now.Add(min(r.after, longest))
		if q.at.Before(e.rest) {
			q.at = e.rest
		}
	}
	s.wake(q)
}

// backoff is how long the next attempt waits after so many have failed: twice as long each time, half of it by chance, so
// that what failed together does not come back together.
func backoff(tries int) time.Duration {
	d := longest
	if tries <= 12 {
		d = min(firstWait<<(tries-1), longest)
	}
	return d/2 + rand.N(d/2) + 1
}

func (s *Service) disable(e *endpoint, why string, now time.Time) {
	s.metrics.disabled.WithLabelValues(why).Inc()
	e.row.Disabled, e.row.Why, e.row.Untold, e.dirty, e.purge = now.UnixMilli(), why, true, true, true
	s.lost(e, dropDisabled, s.empty(e))
	kick(s.tidied)
}

// unpark lets those be due again for which there is room now. Guarded by mu.
func (s *Service) unpark(e *endpoint, now time.Time) {
	for n := e.share() - e.flying; n > 0 && len(e.parked) > 0; n-- {
		q := e.parked[0]
		e.parked = e.parked[1:]
		q.parked = false
		s.wake(q)
	}
}

// stateOf is one word for how an endpoint is.
func stateOf(r *row) string {
	switch {
	case r.Disabled != 0:
		return "disabled"
	case r.Failing != 0:
		return "failing"
	}
	return "ok"
}

// secrets are those that sign, the newest first.
func (r *row) secrets(now time.Time) []string {
	if r.Old != "" && now.UnixMilli() < r.OldEnds {
		return []string{r.Secret, r.Old}
	}
	return []string{r.Secret}
}

// signatures is the value of HeaderSignature.
func signatures(secrets []string, timestamp string, body []byte) string {
	out := make([]string, len(secrets))
	for i, k := range secrets {
		out[i] = Signature([]byte(k), timestamp, body)
	}
	return strings.Join(out, ",")
}
