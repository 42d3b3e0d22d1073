package signup

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// watch sees which countries and ranges use the codes they are sent. Pumped sign-ups (texts that somebody earns from)
// show as codes that nobody ever enters. Counts are of the day (UTC) and of this process; what was closed stays closed
// over a restart.
type watch struct {
	s *Service

	mu     sync.Mutex // guards what follows; nothing is read, written or called under it
	day    int64      // since 1970
	by     map[string]*use
	closed map[string]shut
}

// maxWatched is how many countries and ranges are watched in a day. Further ones are counted by the limits alone.
const maxWatched = 1 << 16

// shut is a closed place.
type shut struct {
	until int64 // Unix milliseconds
	shown string
}

// place is a country or a range. Tickets remember ranges by key alone.
type place struct {
	key   string // a country's letters, or a hash
	shown string
}

// places are a number's country and range.
func (w *watch) places(n phone.Number) [2]place {
	r := rangeOf(n)
	h := w.s.book.Key().Sum("range", r)
	return [2]place{{n.Region(), n.Region()}, {string(h[:]), r}}
}

// use is what became of one place's codes.
type use struct {
	sent, used int
	fresh      [fresh]struct { // sent lately: they may still be used
		slot int64
		n    int
	}
}

// fresh is into how many slots a code's life is cut, and one more for the one that has begun.
const fresh = 11

func newWatch(s *Service) (*watch, error) {
	w := &watch{s: s, by: make(map[string]*use), closed: make(map[string]shut)}
	rows, err := s.store.Rows(table, "", "c", "", 0)
	if err != nil {
		return nil, fmt.Errorf("signup: closed countries: %w", err)
	}
	for _, r := range rows {
		w.closed[r.Key[1:]] = shut{r.Expires, string(r.Value)}
	}
	return w, nil
}

// open refuses a closed country or range.
func (w *watch) open(at [2]place, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range at {
		if until := w.closed[p.key].until; until > now.UnixMilli() {
			return &store.Error{Code: store.CodeTooMany, Reason: ErrCountry.Reason, Text: "no codes are sent to this country or network today",
				Retry: time.Duration(until-now.UnixMilli()) * time.Millisecond}
		}
	}
	return nil
}

// closing is a place that is to be closed.
type closing struct {
	place
	until    int64
	used, of int
}

// sent counts a code, and returns what is to be closed because of those before it.
func (w *watch) sent(at [2]place, now time.Time) (toShut []closing) {
	slot := now.UnixNano() / max(1, int64(w.s.set.CodeLife)/(fresh-1))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(now)
	for i, rule := range []Watch{w.s.set.WatchCountry, w.s.set.WatchRange} {
		p := at[i]
		u := w.by[p.key]
		if u == nil {
			if len(w.by) >= maxWatched {
				continue
			}
			u = new(use)
			w.by[p.key] = u
		}
		if old := u.sent - u.under(slot); rule.Codes >= 0 && old >= rule.Codes && u.used*100 < old*rule.Percent {
			c := closing{place: p, until: now.Add(untilMidnight(now)).UnixMilli(), used: u.used, of: old}
			w.closed[p.key] = shut{c.until, p.shown}
			toShut = append(toShut, c)
		}
		u.sent++
		f := &u.fresh[slot%fresh]
		if f.slot != slot {
			f.slot, f.n = slot, 0
		}
		f.n++
	}
	return toShut
}

// used counts a code that was entered rightly, by the keys of its places.
func (w *watch) used(keys [2]string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(now)
	for _, key := range keys {
		if u := w.by[key]; u != nil {
			u.used++
		}
	}
}

// turn begins a new day. The caller holds mu.
func (w *watch) turn(now time.Time) {
	if d := now.Unix() / int64(day/time.Second); d != w.day {
		w.day = d
		clear(w.by)
		for key, c := range w.closed {
			if c.until <= now.UnixMilli() {
				delete(w.closed, key)
			}
		}
	}
}

// under is how many codes may still be used.
func (u *use) under(slot int64) (n int) {
	for _, f := range u.fresh {
		if f.slot > slot-fresh && f.slot <= slot {
			n += f.n
		}
	}
	return n
}

// Closed tells which countries and ranges get no codes today, and until when.
func (s *Service) Closed() map[string]time.Time { return s.watch.now(s.now()) }

// Reopen lets a country or range that Closed names have codes again; false if it was not closed. What was counted there
// is forgotten.
func (s *Service) Reopen(ctx context.Context, place string) (bool, error) {
	row, ok := s.watch.reopen(place)
	if !ok {
		return false, nil
	}
	if err := s.store.Update(ctx, store.Update{Rows: []store.RowPut{row}}); err != nil {
		return false, fmt.Errorf("signup: reopen: %w", err)
	}
	return true, nil
}

// now tells what is closed now, and until when.
func (w *watch) now(now time.Time) map[string]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[string]time.Time)
	for _, c := range w.closed {
		if c.until > now.UnixMilli() {
			out[c.shown] = time.UnixMilli(c.until).UTC()
		}
	}
	return out
}

// reopen forgets that a place was closed, and why; the row to remove, false if it was not.
func (w *watch) reopen(shown string) (row store.RowPut, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, c := range w.closed {
		if c.shown == shown {
			delete(w.closed, key)
			delete(w.by, key)
			return store.RowPut{Table: table, Key: "c" + key}, true
		}
	}
	return store.RowPut{}, false
}
