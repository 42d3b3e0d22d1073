package pushsim

import (
	"context"
	"sync"
	"time"
)

// Provider is a push service.
type Provider string

// The providers.
const (
	APNs    Provider = "apns"
	FCM     Provider = "fcm"
	WebPush Provider = "webpush"
)

// Effect is what an attempt did at the phone.
type Effect string

// The effects.
const (
	NotReached Effect = ""         // it was refused, lost, or the device is not there
	Shown      Effect = "shown"    // a notification that was not there before
	Replaced   Effect = "replaced" // a notification took the place of an older one
	Repeated   Effect = "repeated" // the same notification again: nothing new to see or hear
	Dropped    Effect = "dropped"  // the app had something as new or newer of that conversation already
	Cleared    Effect = "cleared"  // notifications were taken away, or there were none
	Woken      Effect = "woken"    // the app got it and nothing is shown, but perhaps the badge
	Held       Effect = "held"     // the phone is offline, and the provider keeps it
	Lost       Effect = "lost"     // the phone is offline, and the provider does not keep it
)

// Attempt is one request that asked for a push, and what came of it.
type Attempt struct {
	N        uint64    `json:"n"` // from 1, in the order in which they were decided
	Time     time.Time `json:"time"`
	Provider Provider  `json:"provider"`
	Sandbox  bool      `json:"sandbox,omitempty"` // APNs: at the development environment
	Conn     uint64    `json:"conn,omitempty"`    // number of the connection: another one is another connection
	Stream   uint32    `json:"stream,omitempty"`  // of HTTP/2
	// Credential is the number of the provider token or access token, from 1 in the order in which they came: another
	// number is another token. 0: none, or no valid one.
	Credential uint64 `json:"credential,omitempty"`

	Token    string `json:"token,omitempty"`
	ID       string `json:"id,omitempty"` // apns-id, FCM's message name, a web push message's location
	Topic    string `json:"topic,omitempty"`
	Collapse string `json:"collapse,omitempty"` // apns-collapse-id, collapse_key, Topic of RFC 8030
	Priority int    `json:"priority,omitempty"` // as APNs counts: 10 at once, 5 sparing, 1 sparing most
	PushType string `json:"push_type,omitempty"`
	// Expires is when the provider may give up. Zero: the request does not say; the Unix epoch: now or never.
	Expires time.Time `json:"expires,omitzero"`

	Payload map[string]any `json:"payload,omitempty"` // decoded JSON, numbers as json.Number
	Size    int            `json:"size"`              // bytes of the body as it came

	Status int       `json:"status"` // 0: no answer was given
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`  // with 410: when the provider learned that the token is void
	Fault  string    `json:"fault,omitempty"` // name of the fault that struck

	Effect Effect `json:"effect,omitempty"`
	Rang   bool   `json:"rang,omitempty"` // with a sound
	Thread string `json:"thread,omitempty"`
	Seq    uint64 `json:"seq,omitempty"`

	raw    []byte // Payload as JSON: the log keeps that, which is a tenth of the memory
	dry    bool   // the device is asked, and gets nothing
	answer []byte // the body of the answer, where the service knows it from the request; not in the log
}

// journal is the log of attempts: the last so many. Who reads it has a position and no queue, so a slow reader costs
// nothing; what it misses it sees by the numbers.
type journal struct {
	mu      sync.Mutex
	ring    []Attempt     // guarded by mu: grows to its capacity, then wraps
	keep    int           // fixed
	last    uint64        // guarded by mu: N of the newest
	floor   uint64        // guarded by mu: up to here nothing is told any more
	changed chan struct{} // guarded by mu: closed at the next append; nil if nobody waits
}

// append numbers an attempt and keeps it.
func (j *journal) append(a *Attempt) {
	if a.raw == nil && a.Payload != nil {
		a.raw = jsonOf(a.Payload)
	}
	j.mu.Lock()
	j.last++
	a.N = j.last
	kept := *a
	kept.Payload, kept.answer = nil, nil
	if len(j.ring) < j.keep {
		j.ring = append(j.ring, kept)
	} else {
		j.ring[(a.N-1)%uint64(j.keep)] = kept
	}
	changed := j.changed
	j.changed = nil
	j.mu.Unlock()
	if changed != nil {
		close(changed)
	}
}

// after returns up to limit attempts with a larger number than n, oldest first; none: a channel that is closed when
// there is one.
func (j *journal) after(n uint64, limit int) ([]Attempt, <-chan struct{}) {
	list, changed := j.copy(n, limit)
	for i := range list {
		if raw := list[i].raw; raw != nil {
			list[i].Payload, _ = decodeObject(raw) // it was decoded before
		}
	}
	return list, changed
}

func (j *journal) copy(n uint64, limit int) ([]Attempt, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n = max(n, j.floor, j.last-uint64(len(j.ring)))
	if n >= j.last {
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		return nil, j.changed
	}
	out := make([]Attempt, 0, min(uint64(limit), j.last-n))
	for i := n; i < j.last && len(out) < limit; i++ {
		out = append(out, j.ring[i%uint64(j.keep)])
	}
	return out, nil
}

// forget leaves out what was attempted so far; the numbers go on.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.floor = j.last
}

// Attempts returns the attempts that are kept, oldest first.
func (s *Sim) Attempts() []Attempt {
	list, _ := s.journal.after(0, s.cfg.Keep)
	return list
}

// After returns attempts with a number larger than n, oldest first and at most 1,000 of them, and waits until there is
// one. The error is that of ctx, or ErrClosed.
func (s *Sim) After(ctx context.Context, n uint64) ([]Attempt, error) {
	for {
		list, changed := s.journal.after(n, 1000)
		if len(list) > 0 {
			return list, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// Wait returns the first attempt of those that are kept, or of those to come, for which f is true. f is called once for
// each, in order. The error is that of ctx, or ErrClosed.
func (s *Sim) Wait(ctx context.Context, f func(Attempt) bool) (Attempt, error) {
	return s.WaitAfter(ctx, 0, f)
}

// WaitAfter is Wait among those with a number larger than n.
func (s *Sim) WaitAfter(ctx context.Context, n uint64, f func(Attempt) bool) (Attempt, error) {
	for {
		list, err := s.After(ctx, n)
		if err != nil {
			return Attempt{}, err
		}
		for _, a := range list {
			if f(a) {
				return a, nil
			}
			n = a.N
		}
	}
}

// Last is the number of the newest attempt, 0 if there was none: what comes later is After it.
func (s *Sim) Last() uint64 {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return s.journal.last
}

// Forget empties the log of attempts. Their numbers go on.
func (s *Sim) Forget() { s.journal.forget() }
