package webhook

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hwangso/hwangso/store"
)

const (
	tidyEvery = time.Minute
	lookEvery = 10 * time.Minute
)

// keep does what has to be done now and then, until ctx ends.
func (s *Service) keep(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var last time.Time // of look
	for {
		if now := s.now(); s.looked.Swap(false) || now.Sub(last) >= lookEvery {
			last = now
			if err := s.look(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("the day's numbers are not told by webhooks", keyErr, err)
			}
		}
		if err := errors.Join(s.sweep(ctx), s.save(ctx), s.tell(ctx)); err != nil && ctx.Err() == nil {
			s.log.Warn("webhooks not kept", keyErr, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.tidied:
		case <-tick.C:
		}
	}
}

// each are the endpoints for which a condition holds.
func (s *Service) each(is func(*endpoint) bool) (out []*endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byID {
		if is(e) {
			out = append(out, e)
		}
	}
	return out
}

// sweep drops what is too old.
func (s *Service) sweep(ctx context.Context) error {
	limit := s.now().Add(-MaxAge).UnixMilli()
	var errs []error
	for _, e := range s.each(func(e *endpoint) bool { return e.order.Len() > 0 && e.order.Front().Value.(*event).rank <= limit }) {
		s.mu.Lock()
		u := store.Update{Owner: e.events()}
		for _, v := range s.drop(e, dropOld, func(v *event) bool { return v.rank <= limit && len(u.Rows) < chunk }) {
			u.Rows = append(u.Rows, store.RowPut{Table: tableEvent, Key: v.key()})
		}
		s.mu.Unlock()
		if len(u.Rows) > 0 {
			errs = append(errs, s.store.Update(ctx, u))
		}
	}
	kick(s.kicked)
	return errors.Join(errs...)
}

// save writes how endpoints are, and removes what waited when they were disabled.
func (s *Service) save(ctx context.Context) error {
	var errs []error
	for _, e := range s.each(func(e *endpoint) bool { return e.dirty || e.purge }) {
		errs = append(errs, s.saveOne(ctx, e))
	}
	return errors.Join(errs...)
}

func (s *Service) saveOne(ctx context.Context, e *endpoint) error {
	done, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	s.mu.Lock()
	r, purge, gone := e.row.clone(), e.purge, e.gone
	e.dirty = false
	s.mu.Unlock()
	if gone {
		return nil
	}
	if err = s.put(ctx, e, &r); err == nil && purge {
		err = s.forget(ctx, e.events())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		e.dirty = true
	} else if purge {
		e.purge = false
	}
	return err
}

// tell tells owners what was disabled.
func (s *Service) tell(ctx context.Context) error {
	var errs []error
	for _, e := range s.each(func(e *endpoint) bool { return e.row.Untold && !e.dirty }) {
		var err error
		if s.cfg.Tell != nil {
			err = s.cfg.Tell(ctx, e.owner, s.shown(e))
		}
		if err == nil {
			err = s.change(ctx, e, func(r *row) { r.Untold = false })
		}
		if !errors.Is(err, errNone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// look finds the day's numbers that were not told yet. What was told is written after the event is durable; in between a
// crash has it found again, under the same identifier.
func (s *Service) look(ctx context.Context) error {
	var errs []error
	for _, e := range s.each(func(e *endpoint) bool { return e.row.Disabled == 0 }) {
		s.mu.Lock()
		r := e.row.clone()
		s.mu.Unlock()
		var err error
		switch {
		case e.owner.App != "":
			err = s.lookApp(ctx, e, &r)
		case slices.Contains(r.Events, ChannelFollowers):
			err = s.lookChannel(ctx, e, &r)
		}
		if !errors.Is(err, errNone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// followers is the data of ChannelFollowers.
type followers struct {
	Day       string `json:"day"`
	Followers *int   `json:"followers"` // rounded; null: too few to be told
}

func (s *Service) lookChannel(ctx context.Context, e *endpoint, r *row) error {
	day, count, err := s.daily(e.owner)
	if err != nil || day <= r.Day {
		return err
	}
	if !same(count, r.Count) {
		if err := s.emit(ctx, e, ChannelFollowers, "followers", day, followers{day, count}); err != nil {
			return err
		}
	}
	return s.change(ctx, e, func(r *row) { r.Day, r.Count = day, count })
}

// daily is a channel's newest daily count, day "" without one.
func (s *Service) daily(o Owner) (day string, count *int, err error) {
	if s.cfg.Followers == nil || o.Channel == "" {
		return "", nil, nil
	}
	info, err := s.store.Find(store.ChannelKey(o.Channel))
	if err != nil {
		return "", nil, err
	}
	count, day, err = s.cfg.Followers(info.ID)
	return day, count, err
}

func (s *Service) lookApp(ctx context.Context, e *endpoint, r *row) error {
	days, err := s.ended(e.owner)
	if store.CodeOf(err) == store.CodeNotFound { // the app is no more
		return s.Remove(ctx, e.owner, e.id)
	}
	if err != nil || len(days) == 0 || days[0].Day <= r.Opened {
		return err
	}
	for _, d := range slices.Backward(days) {
		if d.Day <= r.Opened || d.Opened == nil || !slices.Contains(r.Events, LinkOpened) {
			continue
		}
		if err := s.emit(ctx, e, LinkOpened, "opened", d.Day, d); err != nil {
			return err
		}
	}
	return s.change(ctx, e, func(r *row) { r.Opened = days[0].Day })
}

func (s *Service) ended(o Owner) ([]Opened, error) {
	if s.cfg.Opened == nil || o.App == "" {
		return nil, nil
	}
	return s.cfg.Opened(o.App)
}

func same(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }
