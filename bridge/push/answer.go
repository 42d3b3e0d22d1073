package push

import (
	"context"
	"errors"
	"time"
)

// Outcome is what an attempt came to. Everybody who carries pushes tells it in these words, so that what is done about it
// (retries, pauses, the end of a token) is decided in one place: see package lane.
type Outcome uint8

// The outcomes.
const (
	// Unknown: the connection broke, or time ran out. The push may have arrived.
	Unknown Outcome = iota
	// Delivered: the provider has taken it.
	Delivered
	// Gone: the token is not valid any more, since Answer.Since if the provider says so.
	Gone
	// Suspect: the token is not valid here. The fault may be ours: a wrong environment or key makes every token look so.
	Suspect
	// TooLarge: the payload has more bytes than the provider takes.
	TooLarge
	// Rejected: the provider will never take this push, whatever the token. An operator has to look.
	Rejected
	// DeviceBusy: too many pushes to this one device.
	DeviceBusy
	// Busy: too many pushes at all, or the provider asks for a pause.
	Busy
	// Unavailable: the provider has a problem of its own.
	Unavailable
	// Expired: our credentials have expired; Refresh and try again.
	Expired
	// Denied: our credentials are refused. Nothing will be delivered until an operator mends them.
	Denied
	// Blocked: the address must not be spoken to (web push: a private or loopback address, plain HTTP, a redirect).
	Blocked
)

var outcomeNames = [...]string{"unknown", "delivered", "gone", "suspect", "too_large", "rejected", "device_busy", "busy",
	"unavailable", "expired", "denied", "blocked"}

// Outcomes are all of them, for a metric that shows each.
func Outcomes() []Outcome {
	out := make([]Outcome, len(outcomeNames))
	for i := range out {
		out[i] = Outcome(i)
	}
	return out
}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Answer is what one attempt came to.
type Answer struct {
	Outcome    Outcome
	Status     int           // of HTTP; 0: no answer
	Reason     string        // the provider's own word for it, "" if it gave none; never a token
	RetryAfter time.Duration // how long the provider asks to wait, 0: it does not say
	Since      time.Time     // Gone: when the provider learned of it; zero: it does not say
	Err        error         // why there is no answer, for the log; no token in it
}

// Provider carries pushes to phones. Package apns, fcm and webpush implement it. It may be used from any goroutine.
type Provider interface {
	// Send makes at most one attempt: one request, no retry, an answer or the end of ctx. A push that does not fit is made
	// to: texts are cut between graphemes, and what still does not fit goes without content.
	Send(ctx context.Context, p *Push) Answer

	// Refresh forgets credentials that are cached, so that the next Send makes new ones; it does nothing if they are newer
	// than the provider's rules allow to be replaced. It is called after Expired.
	Refresh()

	// Close ends idle connections. No Send may be under way or follow.
	Close() error
}

// ErrTooLarge is why a payload cannot be made to fit, whatever is left out of it.
var ErrTooLarge = errors.New("push: even without content it is too large")
