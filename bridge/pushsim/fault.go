package pushsim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is something that goes wrong: which attempts it strikes, when, and what it does. The first part selects; an
// empty field selects everything. Of several faults that select an attempt, the one that was added first strikes.
type Fault struct {
	ID   uint64 `json:"id"`             // given by Add
	Name string `json:"name,omitempty"` // as attempts show it; "" becomes "fault" and the ID

	Provider Provider `json:"provider,omitempty"`
	Sandbox  *bool    `json:"sandbox,omitempty"` // APNs: of one environment only
	Token    string   `json:"token,omitempty"`
	Topic    string   `json:"topic,omitempty"`
	PushType string   `json:"push_type,omitempty"` // alert, background; "oauth" are FCM's requests for an access token, which "" leaves alone
	Priority int      `json:"priority,omitempty"`

	// Of the attempts that are selected so far, these are struck: the Nth alone, or every Every-th, or each with a
	// Probability. None of the three: all of them.
	Nth         int     `json:"nth,omitempty"`
	Every       int     `json:"every,omitempty"`
	Probability float64 `json:"probability,omitempty"`
	Times       int     `json:"times,omitempty"` // so many at most, 0: no limit

	From time.Duration `json:"-"` // it begins so long after it was added
	For  time.Duration `json:"-"` // and lasts so long, 0: until it is cleared

	Do Do `json:"do"`
}

// Do is what a fault does. With nothing set, it does nothing but mark the attempt.
type Do struct {
	// Status and Reason are answered, in the provider's form. A Reason alone has the provider's status for it; a Status
	// alone has no body.
	Status int    `json:"status,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Body is answered in place of the provider's form, as ContentType; that is text/html unless it says otherwise.
	Body        string `json:"body,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	// RetryAfter adds the header Retry-After: in seconds, or as a date if RetryDate.
	RetryAfter time.Duration `json:"-"`
	RetryDate  bool          `json:"retry_date,omitempty"`
	// Since is the timestamp of a 410: so long before the attempt.
	Since time.Duration `json:"-"`

	// Latency holds the answer back, with Jitter more at random. The phone has got the push at once.
	Latency time.Duration `json:"-"`
	Jitter  time.Duration `json:"-"`

	// Deliver gives the push to the phone although it is answered with an error or not at all.
	Deliver bool `json:"deliver,omitempty"`

	// These take the place of the answer. All but BlackHole leave the rest of the connection working, as far as HTTP/2
	// does.
	Hang      bool   `json:"hang,omitempty"`       // nothing is answered; PING is
	GoAway    GoAway `json:"goaway,omitempty"`     // the connection ends after what is under way
	Reset     string `json:"reset,omitempty"`      // RST_STREAM with this code: REFUSED_STREAM, INTERNAL_ERROR … (RFC 9113, 7)
	Close     bool   `json:"close,omitempty"`      // the connection is closed without a word
	BlackHole bool   `json:"black_hole,omitempty"` // the connection reads on and writes nothing any more, not even to PING

	// MaxStreams sets SETTINGS_MAX_CONCURRENT_STREAMS of the connection; the attempt itself goes on.
	MaxStreams uint32 `json:"max_streams,omitempty"`
	// ExpireTokens makes every provider token that was used before the fault was added count as expired; another one is
	// taken. The attempt goes on if it has another one. Of APNs and of FCM's access tokens.
	ExpireTokens bool `json:"expire_tokens,omitempty"`
	// Refuse closes connections that are opened while the fault is active, before TLS. It selects by provider and
	// environment only, and strikes no attempt.
	Refuse bool `json:"refuse,omitempty"`
}

// GoAway is a GOAWAY frame (RFC 9113, 6.8).
type GoAway string

// The GOAWAYs.
const (
	GoAwayBelow    GoAway = "below"    // its last stream is below this one: the request was not looked at
	GoAwayCovering GoAway = "covering" // its last stream is this one, and it is never answered
)

// maxFaults is how many there are at a time.
const maxFaults = 1000

// check tells what is wrong with a fault.
func (f *Fault) check() error {
	d := &f.Do
	instead := 0
	for _, b := range []bool{d.Hang, d.GoAway != "", d.Reset != "", d.Close, d.BlackHole} {
		if b {
			instead++
		}
	}
	selects := 0
	for _, b := range []bool{f.Nth != 0, f.Every != 0, f.Probability != 0} {
		if b {
			selects++
		}
	}
	_, resets := resetCodes[d.Reset]
	switch {
	case f.Provider != "" && f.Provider != APNs && f.Provider != FCM && f.Provider != WebPush:
		return fmt.Errorf("provider %q is none of apns, fcm, webpush", f.Provider)
	case f.Nth < 0 || f.Every < 0 || f.Times < 0 || f.Priority < 0:
		return errors.New("nth, every, times and priority are not negative")
	case !(f.Probability >= 0 && f.Probability <= 1):
		return errors.New("probability is from 0 to 1")
	case selects > 1:
		return errors.New("nth, every and probability exclude each other")
	case f.From < 0 || f.For < 0 || d.Latency < 0 || d.Jitter < 0 || d.RetryAfter < 0:
		return errors.New("a duration is negative")
	case d.Latency > maxLatency || d.Jitter > maxLatency:
		return fmt.Errorf("latency and jitter are at most %s", maxLatency)
	case d.Status != 0 && (d.Status < 200 || d.Status > 599):
		return errors.New("status is from 200 to 599")
	case d.GoAway != "" && d.GoAway != GoAwayBelow && d.GoAway != GoAwayCovering:
		return fmt.Errorf("goaway %q is neither below nor covering", d.GoAway)
	case d.Reset != "" && !resets:
		return fmt.Errorf("reset %q is no error code of HTTP/2", d.Reset)
	case instead > 1:
		return errors.New("hang, goaway, reset, close and black_hole exclude each other")
	case d.Refuse && (instead > 0 || selects > 0 || f.Times != 0 || d.Status != 0 || d.Reason != "" || f.Token != ""):
		return errors.New("refuse goes with a provider and a time alone")
	case len(f.Name) > 100 || len(f.Token) > 4096 || len(f.Topic) > 256 || len(d.Reason) > 256 || len(d.Body) > 64<<10 || len(d.ContentType) > 256:
		return errors.New("a text is too long")
	case !printable(d.ContentType) || !printable(d.Reason) || !printable(f.Name):
		return errors.New("name, reason and content_type are printable ASCII")
	}
	return nil
}

const maxLatency = time.Hour

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// faults are those that are set. The random decision about an attempt depends on the seed, on the fault's place and on
// how many attempts it has selected, and on nothing else.
type faults struct {
	seed   uint64
	active atomic.Int32 // how many there are, so that without any nobody takes the lock

	mu    sync.Mutex
	list  []*fault // guarded by mu
	next  uint64   // guarded by mu
	added uint64   // guarded by mu: since the start or the last Clear of all, for the seed
}

type fault struct {
	Fault
	begin, end time.Time // end zero: open
	place      uint64
	selected   uint64
	struck     int
}

func (f *fault) runs(now time.Time) bool {
	return !now.Before(f.begin) && (f.end.IsZero() || now.Before(f.end))
}

func (f *fault) selects(a *Attempt) bool {
	return (f.Provider == "" || f.Provider == a.Provider) &&
		(f.Sandbox == nil || *f.Sandbox == a.Sandbox) &&
		(f.Token == "" || f.Token == a.Token) &&
		(f.Topic == "" || f.Topic == a.Topic) &&
		(f.PushType == a.PushType || f.PushType == "" && a.PushType != oauthPush) &&
		(f.Priority == 0 || f.Priority == a.Priority)
}

// add sets a fault and returns its ID.
func (fs *faults) add(f Fault, now time.Time) (uint64, error) {
	if err := f.check(); err != nil {
		return 0, fmt.Errorf("pushsim: fault: %w", err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(fs.list) >= maxFaults {
		return 0, fmt.Errorf("pushsim: fault: there are %d already", maxFaults)
	}
	fs.next++
	fs.added++
	f.ID = fs.next
	if f.Name == "" {
		f.Name = fmt.Sprintf("fault %d", f.ID)
	}
	e := &fault{Fault: f, begin: now.Add(f.From), place: fs.added}
	if f.For > 0 {
		e.end = e.begin.Add(f.For)
	}
	fs.list = append(fs.list, e)
	fs.active.Store(int32(len(fs.list)))
	return f.ID, nil
}

// clear ends the faults with the ID, all of them if it is 0, and tells how many there were.
func (fs *faults) clear(id uint64) int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	was := len(fs.list)
	fs.list = slices.DeleteFunc(fs.list, func(f *fault) bool { return id == 0 || f.ID == id })
	if id == 0 {
		fs.added = 0
	}
	fs.active.Store(int32(len(fs.list)))
	return was - len(fs.list)
}

// blow is a fault that strikes: what it does, with its random part decided.
type blow struct {
	Do
	name string
	late time.Duration
}

// strike returns what happens to an attempt, nil if nothing does.
func (fs *faults) strike(a *Attempt, cred *credential, now time.Time) *blow {
	if fs.active.Load() == 0 {
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.list {
		if f.Do.Refuse || !f.runs(now) || !f.selects(a) || f.Times > 0 && f.struck >= f.Times {
			continue
		}
		if f.Do.ExpireTokens && (cred == nil || !cred.since.Before(f.begin)) {
			continue
		}
		f.selected++
		random := rand.New(rand.NewPCG(fs.seed^f.place*0x9e3779b97f4a7c15, f.selected))
		switch {
		case f.Nth > 0 && f.selected != uint64(f.Nth),
			f.Every > 0 && f.selected%uint64(f.Every) != 0,
			f.Probability > 0 && random.Float64() >= f.Probability:
			continue
		}
		f.struck++
		b := &blow{Do: f.Do, name: f.Name, late: f.Do.Latency}
		if f.Do.Jitter > 0 {
			b.late += time.Duration(random.Int64N(int64(f.Do.Jitter)))
		}
		return b
	}
	return nil
}

// refuses reports whether a new connection is closed at once.
func (fs *faults) refuses(p Provider, sandbox bool, now time.Time) bool {
	if fs.active.Load() == 0 {
		return false
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return slices.ContainsFunc(fs.list, func(f *fault) bool {
		return f.Do.Refuse && f.runs(now) && f.selects(&Attempt{Provider: p, Sandbox: sandbox})
	})
}

// Set is a fault that is set, and how often it has struck.
type Set struct {
	Fault
	Selected uint64 `json:"selected"` // attempts that it applies to
	Struck   int    `json:"struck"`
	Active   bool   `json:"active"` // within its time, and not used up
}

// Add sets a fault. It begins From after now, and lasts until it is cleared, For is over, or it has struck Times.
func (s *Sim) Add(f Fault) (id uint64, err error) { return s.faults.add(f, s.now()) }

// Clear ends a fault, all of them if id is 0, and tells how many it ended. Connections that a fault has made a black hole
// stay one.
func (s *Sim) Clear(id uint64) int { return s.faults.clear(id) }

// Faults are those that are set, in the order in which they were added.
func (s *Sim) Faults() []Set {
	now := s.now()
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	out := make([]Set, 0, len(s.faults.list))
	for _, f := range s.faults.list {
		out = append(out, Set{f.Fault, f.selected, f.struck, f.runs(now) && (f.Times == 0 || f.struck < f.Times)})
	}
	return out
}
