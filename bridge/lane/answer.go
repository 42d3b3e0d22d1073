package lane

import (
	"maps"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// row is what is done about an outcome.
type row struct {
	arrived bool // it is on the phone, or may be: Result.Tried
	alive   bool // the provider works and takes our credentials: it ends a pause
	act     func(l *Lane, a *attempt, now time.Time) (Action, time.Time)
}

// rows are what is done about every outcome. Nothing else of this server decides it.
var rows = [...]row{
	push.Delivered:   {arrived: true, alive: true, act: (*Lane).delivered},
	push.Gone:        {alive: true, act: (*Lane).gone},
	push.Suspect:     {alive: true, act: (*Lane).suspect},
	push.TooLarge:    {alive: true, act: (*Lane).tooLarge},
	push.Rejected:    {alive: true, act: (*Lane).rejected},
	push.DeviceBusy:  {alive: true, act: (*Lane).deviceBusy},
	push.Busy:        {act: (*Lane).tooMany},
	push.Unavailable: {arrived: true, act: (*Lane).broken},
	push.Unknown:     {arrived: true, act: (*Lane).broken},
	push.Expired:     {act: (*Lane).expired},
	push.Denied:      {act: (*Lane).denied},
	push.Blocked:     {act: (*Lane).refusedAddress},
}

const (
	// goneTries is how often a push is tried whose token ended before it was registered, by the provider's clock.
	goneTries = 5
	// laterTries is how often one is tried whose token looks invalid while nothing stands beside it.
	laterTries = 3

	// An address that must not be spoken to ends its registration after so many attempts over so long.
	blockedLeast = 3
	blockedFor   = 24 * time.Hour
	blockedKept  = 7 * 24 * time.Hour

	// maxDevices is how many devices are remembered that are left alone, or whose address is blocked.
	maxDevices = 1 << 14
)

type strike struct {
	first, last time.Time
	n           int
}

// settle does what an answer asks for. refresh: Provider.Refresh is to be called, and then refreshed.
func (l *Lane) settle(a *attempt, now time.Time) (res Result, refresh bool) {
	r, row := a.route, &rows[a.answer.Outcome]
	if o := a.answer.Outcome; o != push.Delivered && o != push.Gone {
		l.last = failure{at: now, answer: a.answer, word: a.word, token: a.push.To.Token}
	}
	if a.answered() {
		r.answered = now
	}
	if row.alive && a.epoch == r.epoch {
		l.alive(r, a, now)
	}
	action, at := row.act(l, a, now)
	if action == TokenGone {
		l.metrics.gone[a.answer.Outcome].Inc()
	}
	return Result{Action: action, Push: a.push, Answer: a.answer, At: at, Tried: row.arrived}, a.refresh
}

func (l *Lane) delivered(a *attempt, now time.Time) (Action, time.Time) {
	a.route.guard.delivered(a.device, now)
	if len(l.blocked) > 0 {
		delete(l.blocked, a.device)
	}
	return Sent, time.Time{}
}

// gone: the token ends, unless it was registered after the provider learned that it had ended.
func (l *Lane) gone(a *attempt, now time.Time) (Action, time.Time) {
	if since := a.answer.Since; since.IsZero() || a.push.To.Time < since.UnixMilli() {
		return TokenGone, time.Time{}
	}
	if a.tries() >= goneTries {
		return Dropped, time.Time{}
	}
	return Again, now.Add(backoff(a.tries()))
}

// suspect: the guard says what is to be done about the token.
func (l *Lane) suspect(a *attempt, now time.Time) (Action, time.Time) {
	r := a.route
	if r.state == Guarded {
		r.guard.another(a.device)
		if a.epoch == r.epoch {
			l.hold(r, Guarded, r.why, now, jitter(pause))
		}
		return Again, r.comeBack(now)
	}
	switch d := r.guard.suspect(a.device, now); {
	case d == remove:
		return TokenGone, time.Time{}
	case d == trip:
		l.metrics.trips.Inc()
		l.note(noteTrip, r, a.word, "devices", len(r.guard.run))
		l.hold(r, Guarded, a.word, now, jitter(pause))
		return Again, r.comeBack(now)
	case d == later && a.tries() < laterTries:
		return Again, now.Add(jitter(pause))
	default:
		l.metrics.spared.Inc()
		l.note(noteSpared, r, a.word)
		return Dropped, time.Time{}
	}
}

func (l *Lane) tooLarge(a *attempt, _ time.Time) (Action, time.Time) {
	if t, ok := a.job.(Tried); ok && t.Bare() {
		l.note(noteTooLarge, a.route, a.word)
		return Dropped, time.Time{}
	}
	return Bare, time.Time{}
}

func (l *Lane) rejected(a *attempt, _ time.Time) (Action, time.Time) {
	l.note(noteRejected, a.route, a.word, "status", a.answer.Status)
	return Dropped, time.Time{}
}

func (l *Lane) deviceBusy(a *attempt, now time.Time) (Action, time.Time) {
	until := now.Add(jitter(asked(a.answer.RetryAfter)))
	l.sweep(now)
	if len(l.devices) < maxDevices { // else the next push to it learns the same
		l.devices[a.device] = until
	}
	return Again, until
}

func (l *Lane) tooMany(a *attempt, now time.Time) (Action, time.Time) {
	r := a.route
	if a.epoch == r.epoch {
		d := asked(a.answer.RetryAfter)
		r.slow.halve(now, now.Add(d))
		l.note(noteBusy, r, a.word, "retry", d)
		l.hold(r, Busy, a.word, now, jitter(d))
	}
	return Again, latest(r.comeBack(now), now.Add(asked(a.answer.RetryAfter)))
}

// broken: it failed, or nobody knows.
func (l *Lane) broken(a *attempt, now time.Time) (Action, time.Time) {
	r := a.route
	at := now.Add(max(backoff(a.tries()), min(a.answer.RetryAfter, pauseMost)))
	if a.epoch == r.epoch {
		l.failed(r, a, now)
	}
	if r.state != Open {
		at = latest(at, r.comeBack(now))
	}
	return Again, at
}

// expired: new credentials, once for all that were under way with the old ones.
func (l *Lane) expired(a *attempt, now time.Time) (Action, time.Time) {
	r := a.route
	switch {
	case a.refreshes != r.refreshes || r.refreshing:
		return Again, now
	case r.unproven:
		a.refresh = true // for the probe
		return l.denied(a, now)
	}
	l.note(noteExpired, r, a.word)
	a.refresh, r.refreshing = true, true
	return Again, now
}

func (l *Lane) denied(a *attempt, now time.Time) (Action, time.Time) {
	r := a.route
	if a.epoch == r.epoch && a.refreshes == r.refreshes {
		l.note(noteDenied, r, a.word, "status", a.answer.Status)
		l.hold(r, Denied, a.word, now, jitter(pause))
	}
	return Again, r.comeBack(now)
}

// refusedAddress: the push is lost; the registration goes when that has lasted.
func (l *Lane) refusedAddress(a *attempt, now time.Time) (Action, time.Time) {
	l.note(noteBlocked, nil, a.word)
	s, ok := l.blocked[a.device]
	if !ok || now.Sub(s.last) > blockedKept {
		s = strike{first: now}
	}
	s.last = now
	if s.n++; s.n >= blockedLeast && now.Sub(s.first) >= blockedFor {
		delete(l.blocked, a.device)
		return TokenGone, time.Time{}
	}
	l.sweep(now)
	if ok || len(l.blocked) < maxDevices {
		l.blocked[a.device] = s
	}
	return Dropped, time.Time{}
}

// sweep forgets devices of which nothing is to be remembered any more, once a minute and if there are many.
func (l *Lane) sweep(now time.Time) {
	if len(l.devices)+len(l.blocked) < maxDevices/2 || now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	maps.DeleteFunc(l.devices, func(_ uint64, until time.Time) bool { return !until.After(now) })
	maps.DeleteFunc(l.blocked, func(_ uint64, s strike) bool { return now.Sub(s.last) > blockedKept })
}

// answered reports whether the provider said anything, so that there is a connection.
func (a *attempt) answered() bool {
	switch a.answer.Outcome {
	case push.Unknown, push.Blocked:
		return false
	case push.Unavailable, push.Busy, push.Denied: // or we never came as far as asking
		return a.answer.Status != 0
	}
	return true
}

func (a *attempt) tries() int {
	if t, ok := a.job.(Tried); ok {
		return t.Tries()
	}
	return 0
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
