package lane

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// Status is how a lane is, for operators. There is no token in it.
type Status struct {
	Provider graph.PushProvider `json:"provider"`
	State    State              `json:"state"`
	Why      string             `json:"why,omitempty"` // the provider's word, or how many routes are not open
	Since    time.Time          `json:"since"`
	Probe    time.Time          `json:"probe,omitzero"` // not open: when the next push may find out

	InFlight int            `json:"in_flight"`
	Limit    int            `json:"limit"` // what may be in flight at this moment
	Queued   map[string]int `json:"queued"`
	Oldest   time.Duration  `json:"oldest"` // how long the oldest job has been queued

	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`

	Guard  GuardStatus   `json:"guard"`
	Quota  QuotaStatus   `json:"quota"`
	Routes []RouteStatus `json:"routes"` // those that are not open, at most 20, then the busiest
}

// GuardStatus is what the mass-invalidation guard has seen.
type GuardStatus struct {
	Reached  int       `json:"reached"`  // devices in the last 12 to 24 hours; of the route that reached most
	Suspects int       `json:"suspects"` // devices whose token looks invalid, since the last success of their route
	Removed  uint64    `json:"removed"`  // tokens taken away because they looked invalid
	Kept     uint64    `json:"kept"`     // tokens left alone because too many looked so
	Trips    uint64    `json:"trips"`
	Tripped  time.Time `json:"tripped,omitzero"` // the last time
}

// QuotaStatus is what may be sent, in pushes a second; 0 is as many as go.
type QuotaStatus struct {
	Rate     float64 `json:"rate"`
	BulkRate float64 `json:"bulk_rate"`
	BulkNow  float64 `json:"bulk_now"` // what a busy provider leaves of it at this moment
}

// RouteStatus is how one route is. The name of a web push host that few use is left out.
type RouteStatus struct {
	Name     string    `json:"name,omitempty"`
	State    State     `json:"state"`
	Why      string    `json:"why,omitempty"`
	Since    time.Time `json:"since"`
	Probe    time.Time `json:"probe,omitzero"`
	InFlight int       `json:"in_flight"`
	Queued   int       `json:"queued"`
}

// maxRouteStatus is how many routes a Status shows.
const maxRouteStatus = 20

// failure is the last attempt that came to nothing.
type failure struct {
	at     time.Time
	answer push.Answer
	word   string
	token  string
}

func (f *failure) String() string {
	if f.at.IsZero() {
		return ""
	}
	s := f.answer.Outcome.String() + " " + f.word
	if f.answer.Status != 0 {
		s += fmt.Sprintf(" (status %d)", f.answer.Status)
	}
	if f.answer.Err != nil {
		err := f.answer.Err.Error()
		if f.token != "" { // a provider promises that there is none; an HTTP client's error has the address in it
			err = strings.ReplaceAll(err, f.token, "…")
		}
		s += ": " + err
	}
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Status tells how the lane is at this moment.
func (l *Lane) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.cfg.Now()
	s := Status{
		Provider: l.cfg.Name, State: Open, Since: l.since, InFlight: l.inFlight(), Limit: l.cfg.InFlight,
		Queued: make(map[string]int), Oldest: l.oldest(now),
		LastError: l.last.String(), LastErrorAt: l.last.at,
		Quota:  QuotaStatus{Rate: l.cfg.Rate, BulkRate: l.cfg.BulkRate, BulkNow: l.bulkRate(now)},
		Routes: []RouteStatus{},
	}
	for _, c := range push.Classes() {
		s.Queued[c.String()] = l.waiting[c].n
	}
	for _, r := range l.routes {
		g := &r.guard
		s.Guard.Reached = max(s.Guard.Reached, g.reached())
		s.Guard.Suspects += len(g.run)
		s.Guard.Removed += g.removed
		s.Guard.Kept += g.kept
		s.Guard.Trips += g.trips
		s.Guard.Tripped = latest(s.Guard.Tripped, g.tripped)
		s.Routes = append(s.Routes, RouteStatus{Name: l.shown(r), State: r.word(), Why: r.why, Since: r.since, Probe: r.until,
			InFlight: r.inFlight(), Queued: r.queue[0].len() + r.queue[1].len() + r.queue[2].len()})
	}
	slices.SortFunc(s.Routes, func(a, b RouteStatus) int {
		if (a.State == Open) != (b.State == Open) {
			if a.State == Open {
				return 1
			}
			return -1
		}
		if d := b.InFlight - a.InFlight; d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	unwell := 0
	for unwell < len(s.Routes) && s.Routes[unwell].State != Open {
		unwell++
	}
	switch {
	case l.closed:
		s.State = Closed
	case len(s.Routes) == 1:
		r := s.Routes[0]
		s.State, s.Why, s.Since, s.Probe = r.State, r.Why, r.Since, r.Probe
		for _, r := range l.routes {
			s.Limit = r.limit
		}
	case unwell > 0:
		s.State, s.Why = Partly, fmt.Sprintf("%d of %d routes", unwell, len(s.Routes))
		s.Since = s.Routes[0].Since
		for _, r := range s.Routes[1:unwell] {
			if r.Since.Before(s.Since) {
				s.Since = r.Since
			}
		}
	}
	s.Routes = s.Routes[:min(len(s.Routes), maxRouteStatus)]
	return s
}

// word is the state as it is shown.
func (r *route) word() State {
	if r.state == Open && r.ramp {
		return Recovering
	}
	return r.state
}

// state is that of Status.
func (l *Lane) state() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Open
	for _, r := range l.routes {
		if w := r.word(); w != Open {
			s = Partly
			if len(l.routes) == 1 {
				s = w
			}
		}
	}
	if l.closed {
		s = Closed
	}
	return s
}

func (l *Lane) oldest(now time.Time) time.Duration {
	var d time.Duration
	for c := range l.waiting {
		for _, r := range l.waiting[c].routes {
			d = max(d, now.Sub(r.queue[c].first().since))
		}
	}
	for i := range l.back {
		d = max(d, now.Sub(l.back[i].since))
	}
	return d
}

// bulkRate is what bulk may have a second on the route that has least, 0 if it may have as much as goes.
func (l *Lane) bulkRate(now time.Time) float64 {
	rate := l.cfg.BulkRate
	for _, r := range l.routes {
		r.slow.ready(now)
		if r.slow.rate != 0 && (rate == 0 || r.slow.rate < rate) {
			rate = r.slow.rate
		}
	}
	return rate
}
