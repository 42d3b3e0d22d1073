package webhook

import (
	"container/list"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/hwangso/hwangso/store"
)

// Emit puts an event into the outbox of those endpoints of an owner that want it, durably: after nil it is not lost. The
// same event (kind, subject and unique are the same) is told under the same identifier, so it can be repeated. at is when
// it happened; endpoints are told what happens after they were set. data is encoded as JSON.
func (s *Service) Emit(ctx context.Context, o Owner, kind, subject, unique string, at time.Time, data any) error {
	value, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("webhook: event: %w", err)
	}
	for _, e := range s.wanting(o, kind, at.UnixMilli()) {
		v := &event{ID: eventID(e.id, kind, subject, unique), Type: kind, Subject: subject, At: at.UnixMilli(), Data: value}
		if err := s.enqueue(ctx, e, []*event{v}); err != nil {
			return err
		}
	}
	return nil
}

// wanting are the endpoints of an owner that get events of a kind that happened at a time.
func (s *Service) wanting(o Owner, kind string, at int64) (out []*endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.hooks[o] {
		if e.row.Disabled == 0 && at >= e.row.Created && slices.Contains(e.row.Events, kind) {
			out = append(out, e)
		}
	}
	return out
}

// enqueue makes events durable and then due. Those that wait already are passed over. What is too much drops the oldest.
func (s *Service) enqueue(ctx context.Context, e *endpoint, list []*event) error {
	done, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	u := store.Update{Owner: e.events()}
	s.mu.Lock()
	list = slices.DeleteFunc(list, func(v *event) bool { return e.ids[v.ID] != nil })
	if len(list) == 0 || e.gone || e.row.Disabled != 0 {
		s.mu.Unlock()
		return nil
	}
	for _, v := range s.drop(e, dropFull, func(*event) bool { return e.order.Len()+len(list) > MaxWaiting }) {
		u.Rows = append(u.Rows, store.RowPut{Table: tableEvent, Key: v.key()})
	}
	s.mu.Unlock()
	for _, v := range list {
		value, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("webhook: event: %w", err)
		}
		u.Rows = append(u.Rows, store.RowPut{Table: tableEvent, Key: v.key(), Value: value})
	}
	if err := s.store.Update(ctx, u); err != nil {
		return fmt.Errorf("webhook: outbox: %w", err)
	}
	now := s.now()
	s.mu.Lock()
	if e.row.Disabled == 0 { // else meanwhile: keep removes the rows when the turn has ended
		for _, v := range list {
			s.metrics.events.WithLabelValues(v.Type).Inc()
			s.add(e, v, now)
		}
	}
	s.mu.Unlock()
	kick(s.kicked)
	return nil
}

// take waits until nobody else writes rows of the endpoint.
func (e *endpoint) take(ctx context.Context) (done func(), err error) {
	select {
	case e.turn <- struct{}{}:
		return func() { <-e.turn }, nil
	case <-ctx.Done():
		return nil, &store.Error{Code: store.CodeUnavailable, Text: "too much at once", Retry: time.Second, Err: ctx.Err()}
	}
}

// add lets an event wait in memory. Guarded by mu.
func (s *Service) add(e *endpoint, v *event, now time.Time) {
	q := e.queues[v.Subject]
	if q == nil {
		q = &queue{e: e, subject: v.Subject, at: now, place: -1}
		e.queues[v.Subject] = q
	}
	v.rank = v.At
	if n := len(q.events); n > 0 {
		v.rank = max(v.rank, q.events[n-1].rank)
	}
	v.el = e.order.PushBack(v)
	e.ids[v.ID] = v
	s.metrics.waiting.Inc()
	q.events = append(q.events, v)
	s.wake(q)
}

// drop takes the oldest events from memory as long as more says so, but for those that are under way, and counts them.
// Guarded by mu; the caller removes the rows.
func (s *Service) drop(e *endpoint, why string, more func(*event) bool) (out []*event) {
	for el := e.order.Front(); el != nil; {
		v := el.Value.(*event)
		el = el.Next()
		if !more(v) {
			break
		}
		if q := e.queues[v.Subject]; !q.flying || q.events[0] != v {
			s.take(q, v)
			out = append(out, v)
		}
	}
	s.lost(e, why, len(out))
	return out
}

// lost counts what was dropped. Guarded by mu.
func (s *Service) lost(e *endpoint, why string, n int) {
	if n > 0 {
		e.row.Dropped += int64(n)
		e.dirty = true
		s.metrics.dropped.WithLabelValues(why).Add(float64(n))
	}
}

// take takes an event from memory. Guarded by mu.
func (s *Service) take(q *queue, v *event) {
	e := q.e
	e.order.Remove(v.el)
	delete(e.ids, v.ID)
	s.metrics.waiting.Dec()
	if i := slices.Index(q.events, v); i >= 0 {
		first := i == 0
		q.events = slices.Delete(q.events, i, i+1)
		if first { // the next one has not failed yet
			q.tries, q.at = 0, s.now()
		}
	}
	if len(q.events) == 0 {
		s.sleep(q)
		if !q.flying {
			delete(e.queues, q.subject)
		}
		return
	}
	s.wake(q)
}

// empty takes everything from memory. Guarded by mu.
func (s *Service) empty(e *endpoint) (n int) {
	n = e.order.Len()
	s.metrics.waiting.Sub(float64(n))
	for _, q := range e.queues {
		s.sleep(q)
	}
	e.order, e.ids, e.queues, e.parked = list.New(), make(map[string]*event), make(map[string]*queue), nil
	return n
}
