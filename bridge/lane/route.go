package lane

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// State is how a lane, or a route of it, is, in one word.
type State string

// The states.
const (
	Open       State = "open"
	Recovering State = "recovering" // open, with few pushes in flight that become more
	Busy       State = "busy"       // the provider asked for a pause
	Down       State = "down"       // attempts fail
	Denied     State = "denied"     // our credentials are refused: an operator has to look
	Guarded    State = "guarded"    // all tokens look invalid: an operator has to look
	Partly     State = "partly"     // of several routes some are not open
	Closed     State = "closed"
)

// States are all of them, for a metric that shows each.
func States() []State {
	return []State{Open, Recovering, Busy, Down, Denied, Guarded, Partly, Closed}
}

// route is one way of a provider that is well or unwell by itself. The lane's mutex guards it.
type route struct {
	name  string
	queue [3]fifo
	jobs  int // queued, being given back or under way: while there are some it is not forgotten

	state State // Open, Busy, Down, Denied or Guarded
	why   string
	since time.Time
	until time.Time // not Open: when the next push may find out whether it is over
	probe bool      // one is queued or under way to find out
	// epoch counts the changes of state. An attempt that began in an earlier one says nothing about this one.
	epoch   uint32
	refused int // jobs that were told to come back after until

	// How much goes at once.
	flying   [3]int // attempts under way, by class
	limit    int
	ramp     bool // limit grows with every answer
	warm     bool // the connection has carried something
	warming  bool // a push is under way to find out
	answered time.Time
	slow     slowdown

	// What failed.
	fails    int // in a row
	timeouts int // of them
	falls    int // how often it went down since it was well
	streak   int // answers since it went down

	// Credentials: how often they were refreshed, whether that is under way, and whether nothing was accepted since.
	refreshes  uint32
	refreshing bool
	unproven   bool

	guard guard
}

const (
	idle = time.Minute // after so long without an answer a connection may be broken

	breakAfter         = 8 // failures in a row
	breakAfterRamp     = 3 // the same while the route recovers
	breakAfterTimeouts = 2 // of them by the deadline, each of which cost ten seconds
	wellAfter          = 16

	downFirst = time.Second
	downMost  = time.Minute
	pause     = time.Minute // without a word of the provider about it
	pauseMost = time.Hour

	maxRoutes = 1024
)

func (r *route) inFlight() int { return r.flying[0] + r.flying[1] + r.flying[2] }

// small reports whether a route is one that a user may have set up alone: few devices were reached over it lately. All of
// them together have half of the slots and of the queue, so that many hosts that hang do not stop the large ones.
func (l *Lane) small(r *route) bool { return l.shared && r.guard.reached() < guardLeast }

// comeBack is when a job that is refused is to be submitted again: what was refused is spread over a millisecond for each,
// so that an outage's end is not a burst.
func (r *route) comeBack(now time.Time) time.Time {
	at := now
	if r.state != Open {
		r.refused++
		at = r.until
		if !at.After(now) {
			at = now.Add(time.Second) // a probe is under way
		}
	}
	spread := min(max(time.Duration(r.refused)*time.Millisecond, time.Second), 2*time.Minute)
	return at.Add(rand.N(spread))
}

// jitter is d and up to a quarter more.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/4+1) }

// asked is for how long the provider is left alone.
func asked(retryAfter time.Duration) time.Duration {
	if retryAfter <= 0 {
		return pause
	}
	return min(retryAfter, pauseMost)
}

// backoff is how long a job waits after an attempt that came to nothing, tries of them before: 1, 4, 16 s, then longer, up
// to 5 minutes.
func backoff(tries int) time.Duration {
	switch {
	case tries <= 0:
		return jitter(time.Second)
	case tries == 1:
		return jitter(4 * time.Second)
	case tries == 2:
		return jitter(16 * time.Second)
	case tries == 3:
		return jitter(time.Minute)
	}
	return 4*time.Minute + rand.N(time.Minute)
}

// routeName is what a registration's pushes have in common with those that fail when they do.
func routeName(p graph.PushProvider, to *graph.Registration) string {
	switch p {
	case graph.APNs:
		if to.Sandbox {
			return to.App + "/sandbox"
		}
		return to.App
	case graph.WebPush:
		_, rest, _ := strings.Cut(to.Token, "://")
		host, _, _ := strings.Cut(rest, "/")
		return strings.ToLower(host)
	}
	return ""
}

// route is the one of that name, nil if there are too many that are in use.
func (l *Lane) route(name string, now time.Time) *route {
	if r := l.routes[name]; r != nil {
		return r
	}
	if len(l.routes) >= maxRoutes && !l.forget() {
		return nil
	}
	r := &route{name: strings.Clone(name), state: Open, since: now, limit: l.most}
	r.guard.bits = l.guardBits
	l.routes[r.name] = r
	return r
}

// forget makes room for a route: the one that was answered longest ago, of those that have nothing to do and are well, or
// else of those that have nothing to do.
func (l *Lane) forget() bool {
	var oldest *route
	for _, r := range l.routes {
		if r.jobs > 0 {
			continue
		}
		if oldest == nil || (r.state == Open) != (oldest.state == Open) && r.state == Open ||
			(r.state == Open) == (oldest.state == Open) && r.answered.Before(oldest.answered) {
			oldest = r
		}
	}
	if oldest == nil {
		return false
	}
	delete(l.routes, oldest.name)
	return true
}

// leave is called when a job's last word was said.
func (l *Lane) leave(it *item) {
	it.route.jobs--
	if it.probe {
		it.route.probe = false
	}
}

// hold stops a route, and gives back what it has queued.
func (l *Lane) hold(r *route, s State, why string, now time.Time, d time.Duration) {
	if r.state != s {
		r.since = now
	}
	r.state, r.why, r.until = s, why, now.Add(d)
	r.epoch++
	r.refused = 0
	r.limit, r.ramp, r.warm, r.refreshing = 1, true, false, false
	r.streak = 0
	l.drain(r)
}

// wellAgain opens a route whose probe was answered.
func (l *Lane) wellAgain(r *route, now time.Time) {
	l.note(noteWell, r, r.why, "took", now.Sub(r.since).Round(time.Second))
	r.state, r.why, r.since, r.until = Open, "", now, time.Time{}
	r.epoch++
	r.refused = 0
}

// alive notes an answer by which the provider works and takes our credentials.
func (l *Lane) alive(r *route, a *attempt, now time.Time) {
	if a.refreshes == r.refreshes {
		r.unproven = false
	}
	if r.state == Guarded && a.answer.Outcome != push.Delivered {
		r.until = now.Add(jitter(5 * time.Second)) // it says nothing about tokens: the next one finds out
		return
	}
	r.warm = true
	r.fails, r.timeouts = 0, 0
	if r.state != Open {
		l.wellAgain(r, now)
	}
	if r.ramp {
		if r.limit++; r.limit >= l.most {
			r.limit, r.ramp = l.most, false
		}
	}
	if r.streak++; r.streak >= wellAfter {
		r.falls = 0
	}
}

// failed notes an attempt that came to nothing.
func (l *Lane) failed(r *route, a *attempt, now time.Time) {
	if r.state == Denied || r.state == Guarded {
		l.hold(r, r.state, r.why, now, jitter(pause))
		return
	}
	r.fails++
	r.streak = 0
	if a.late {
		r.timeouts++
	}
	if r.ramp {
		r.limit = max(r.limit/2, 1)
	}
	switch {
	case r.state != Open, r.fails >= breakAfter, r.ramp && r.fails >= breakAfterRamp, r.timeouts >= breakAfterTimeouts:
		d := max(min(downFirst<<min(r.falls, 10), downMost), min(a.answer.RetryAfter, pauseMost))
		r.falls++
		r.fails, r.timeouts = 0, 0
		l.note(noteDown, r, a.word, "retry", d)
		l.hold(r, Down, a.word, now, jitter(d))
	case !a.answered():
		// The connection is gone: what else was under way on it fails too, and says nothing about the next one.
		r.warm = false
		r.epoch++
	}
}
