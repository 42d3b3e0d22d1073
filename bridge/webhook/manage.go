package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
)

var (
	errNone     = &store.Error{Code: store.CodeNotFound, Reason: "webhook", Text: "there is no such webhook"}
	errDisabled = &store.Error{Code: store.CodeConflict, Reason: "disabled", Text: "the webhook is disabled: set it again to enable it"}
)

// Hook is an endpoint as its owner sees it. Times are Unix milliseconds, 0: never.
type Hook struct {
	ID      string
	URL     string
	Events  []string
	Created int64

	State    string // ok, failing or disabled
	Failing  int64  // since
	Disabled int64  // since
	Why      string // it is disabled: WhyGone or WhyFailing

	Waiting int   // events
	Oldest  int64 // of them
	Dropped int64 // events that were never delivered, since the endpoint was made
	Last    []Answer
	OldEnds int64 // until then requests carry the signature under the secret before, too
}

func (s *Service) shown(e *endpoint) Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := e.row.clone()
	h := Hook{ID: e.id, URL: r.URL, Events: r.Events, Created: r.Created, State: stateOf(&r), Failing: r.Failing, Disabled: r.Disabled, Why: r.Why,
		Waiting: e.order.Len(), Dropped: r.Dropped, Last: r.Last}
	if f := e.order.Front(); f != nil {
		h.Oldest = f.Value.(*event).At
	}
	if s.now().UnixMilli() < r.OldEnds {
		h.OldEnds = r.OldEnds
	}
	return h
}

// Get returns an endpoint of an owner. CodeNotFound: it has none with this identifier.
func (s *Service) Get(o Owner, id string) (Hook, error) {
	e, err := s.find(o, id)
	if err != nil {
		return Hook{}, err
	}
	return s.shown(e), nil
}

// List lists the endpoints of an owner, the oldest first.
func (s *Service) List(o Owner) []Hook {
	s.mu.Lock()
	list := slices.Clone(s.hooks[o])
	s.mu.Unlock()
	out := make([]Hook, 0, len(list))
	for _, e := range list {
		out = append(out, s.shown(e))
	}
	slices.SortStableFunc(out, func(a, b Hook) int { return int(min(max(a.Created-b.Created, -1), 1)) })
	return out
}

func (s *Service) find(o Owner, id string) (*endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil || e.owner != o {
		return nil, errNone
	}
	return e, nil
}

// Set makes an endpoint, or with an identifier changes one: what is empty stays. Setting enables what was disabled. An
// endpoint with the URL that the owner has already is that one. secret is that of a new endpoint, else "". CodeFull: the
// owner has PerOwner of them. CodeBad says what is wrong with the URL or the events.
func (s *Service) Set(ctx context.Context, o Owner, id, url string, events []string) (h Hook, secret string, err error) {
	if events, err = checkEvents(o, events); err != nil {
		return h, "", err
	}
	if url != "" || id == "" {
		if _, err := s.guard.Check(url); err != nil {
			return h, "", store.Bad(err.Error())
		}
	}
	select { // one at a time looks how many there are
	case s.setting <- struct{}{}:
		defer func() { <-s.setting }()
	case <-ctx.Done():
		return h, "", &store.Error{Code: store.CodeUnavailable, Text: "too much at once", Retry: time.Second, Err: ctx.Err()}
	}
	var e *endpoint
	if id != "" {
		if e, err = s.find(o, id); err != nil {
			return h, "", err
		}
	} else {
		all := s.List(o)
		if i := slices.IndexFunc(all, func(h Hook) bool { return h.URL == url }); i >= 0 {
			e, err = s.find(o, all[i].ID)
		} else if len(all) >= PerOwner {
			return h, "", &store.Error{Code: store.CodeFull, Reason: "webhooks", Text: "there are three webhooks already: remove one"}
		}
		if err != nil {
			return h, "", err
		}
	}
	if e == nil {
		return s.make(ctx, o, url, events)
	}
	if err := s.saveOne(ctx, e); err != nil { // what waited when it was disabled goes before anything new comes
		return h, "", err
	}
	baseline, err := s.baseline(o)
	if err != nil {
		return h, "", err
	}
	err = s.change(ctx, e, func(r *row) {
		if url != "" {
			r.URL = url
		}
		if len(events) > 0 {
			if o.Channel != "" && !slices.Contains(r.Events, ChannelFollowers) {
				r.Day, r.Count = baseline.Day, baseline.Count
			}
			r.Events = events
		}
		if r.Disabled != 0 {
			r.Day, r.Count, r.Opened = baseline.Day, baseline.Count, baseline.Opened
		}
		r.Disabled, r.Why, r.Failing, r.Untold = 0, "", 0, false
	})
	if err != nil {
		return h, "", err
	}
	s.mu.Lock()
	e.fails, e.rest = 0, time.Time{}
	now := s.now()
	for _, q := range e.queues { // it may be another one now: everything is tried again
		q.tries = 0
		if q.at.After(now) {
			q.at = now
			s.wake(q)
		}
	}
	s.mu.Unlock()
	kick(s.kicked)
	return s.shown(e), "", nil
}

func (s *Service) make(ctx context.Context, o Owner, url string, events []string) (h Hook, secret string, err error) {
	if len(events) == 0 {
		events = EventsOf(o)
	}
	r, err := s.baseline(o)
	if err != nil {
		return h, "", err
	}
	secret = newSecret()
	r.URL, r.Events, r.Secret, r.Created = url, events, secret, s.now().UnixMilli()
	e := newEndpoint(o, strings.ToLower(rand.Text()[:16]))
	e.row = *r
	if err := s.put(ctx, e, r); err != nil {
		return h, "", err
	}
	s.mu.Lock()
	s.hooks[o] = append(s.hooks[o], e)
	s.byID[e.id] = e
	s.mu.Unlock()
	return s.shown(e), secret, nil
}

// baseline has the numbers that there are now: only what comes after them is told.
func (s *Service) baseline(o Owner) (*row, error) {
	r := new(row)
	var err error
	if r.Day, r.Count, err = s.daily(o); err != nil {
		return nil, err
	}
	days, err := s.ended(o)
	if err != nil {
		return nil, err
	}
	if len(days) > 0 {
		r.Opened = days[0].Day
	}
	return r, nil
}

// newSecret makes a secret of 260 random bits, in letters and digits: its bytes as they are written sign.
func newSecret() string { return "whs_" + rand.Text() + rand.Text() }

func checkEvents(o Owner, events []string) ([]string, error) {
	var out []string
	for _, kind := range events {
		if !slices.Contains(EventsOf(o), kind) {
			return nil, store.Bad("events must be some of " + strings.Join(EventsOf(o), ", "))
		}
		if !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	return out, nil
}

// Remove ends an endpoint; what waits for it is dropped. CodeNotFound: there is none.
func (s *Service) Remove(ctx context.Context, o Owner, id string) error {
	e, err := s.find(o, id)
	if err != nil {
		return err
	}
	done, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableHook, Key: e.key()}}}); err != nil {
		return err
	}
	s.mu.Lock()
	if e.gone {
		s.mu.Unlock()
		return errNone
	}
	e.gone = true
	delete(s.byID, id)
	if s.hooks[o] = slices.DeleteFunc(s.hooks[o], func(x *endpoint) bool { return x == e }); len(s.hooks[o]) == 0 {
		delete(s.hooks, o)
	}
	s.empty(e)
	s.mu.Unlock()
	return s.forget(ctx, e.events()) // after a crash before it, by load
}

// Rotate makes another secret. For RotateFor requests carry a signature under the one before, too.
func (s *Service) Rotate(ctx context.Context, o Owner, id string) (h Hook, secret string, err error) {
	e, err := s.find(o, id)
	if err != nil {
		return h, "", err
	}
	secret = newSecret()
	ends := s.now().Add(RotateFor).UnixMilli()
	err = s.change(ctx, e, func(r *row) {
		if r.Secret != secret {
			r.Old, r.OldEnds, r.Secret = r.Secret, ends, secret
		}
	})
	if err != nil {
		return h, "", err
	}
	return s.shown(e), secret, nil
}

// Test sends a ping to an endpoint, whatever events it wants; one at a time: if one waits, its identifier is returned. How
// it was answered shows in Hook.Last.
func (s *Service) Test(ctx context.Context, o Owner, id string) (event string, err error) {
	e, err := s.find(o, id)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	disabled := e.row.Disabled != 0
	if q := e.queues[Ping]; q != nil && len(q.events) > 0 {
		event = q.events[0].ID
	}
	s.mu.Unlock()
	switch {
	case disabled:
		return "", errDisabled
	case event != "":
		return event, nil
	}
	unique := rand.Text()
	return eventID(e.id, Ping, Ping, unique), s.emit(ctx, e, Ping, Ping, unique, struct{}{})
}

// emit is Emit for one endpoint, now.
func (s *Service) emit(ctx context.Context, e *endpoint, kind, subject, unique string, data any) error {
	value, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return s.enqueue(ctx, e, []*event{{ID: eventID(e.id, kind, subject, unique), Type: kind, Subject: subject, At: s.now().UnixMilli(), Data: value}})
}
