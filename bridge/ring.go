package bridge

import (
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
)

// key names a ring: what one device is told of one conversation. Log 0 is the device's summary, of whatever
// conversations.
type key struct {
	account store.AccountID
	device  store.DeviceID
	log     store.LogID
}

// state is what is kept of a ring: in memory while something is under way, and as a row of the account wherever losing it
// would let a phone ring twice or not at all. There is one per (device, conversation), however much is written: an
// outage of hours costs rows, not a queue. Times are Unix milliseconds. The zero value is a device that was told nothing.
type state struct {
	// First is the oldest message that may have to ring and Time its time, 0 if nothing waits; Last is the newest.
	First store.Seq `json:"f,omitempty"`
	Time  int64     `json:"t,omitempty"`
	Last  store.Seq `json:"l,omitempty"`

	// Done: whatever is up to here was decided for good, and never rings again.
	Done store.Seq `json:"d,omitempty"`

	// Shown is the newest message that a push told of and the provider took; 0: the phone shows nothing of the
	// conversation. Began is when the first push of this run was taken, Rang when the last one was. Window is how many
	// pushes of the run there were: it chooses how long the next one waits.
	Shown  store.Seq `json:"s,omitempty"`
	Began  int64     `json:"b,omitempty"`
	Rang   int64     `json:"r,omitempty"`
	Window int       `json:"w,omitempty"`
	Count  int       `json:"n,omitempty"` // unread messages as the last push said

	Due   int64 `json:"u,omitempty"` // when to look again, 0: nothing to look at
	Tries int   `json:"y,omitempty"` // attempts in a row that came to nothing
	Bare  bool  `json:"e,omitempty"` // the provider found it too large: without content from now on

	Reason Reason `json:"v,omitempty"` // of the last decision, for who asks after a restart
}

// action is what is to be done about a ring.
type action uint8

const (
	nothing action = iota // it is settled: what is up to verdict.upto never rings
	wait                  // look again at verdict.until, or when something about the user changes
	ring                  // wake the device
	clears                // take away what the device shows
	fold                  // settled, and told in the device's summary at verdict.until
)

// verdict is what the rules say about a ring at one moment. assess returns it from what it looks up; decide, which it
// asks, is a pure function of facts.
type verdict struct {
	action action
	reason Reason
	until  time.Time // wait, fold
	upto   store.Seq // the newest message that was considered

	// ends: the run is over, and the phone shows nothing of the conversation any more: Shown, Began, Rang, Window and Count
	// are 0 from now on, of clears once it was sent.
	ends bool

	// Of ring and clears:
	class  push.Class
	kind   push.Kind
	silent bool
	begins bool          // it begins a run: once the provider took it, Began is that moment and Window 1; else Window grows by 1
	shown  store.Seq     // what Shown is once the provider took it
	count  int           // unread messages of the conversation that would ring, the newest included; what Count is then
	newest *store.Record // nil for a summary, requests and a clear
}

// Reason is why a message rang, or did not, in one word.
type Reason string

// The reasons, as `hwangso push why` and the API tell them.
const (
	// Why nothing rings.
	ReasonOwn       Reason = "own"       // the user's own message
	ReasonLeft      Reason = "left"      // not a member any more
	ReasonHidden    Reason = "hidden"    // of somebody the user blocks, or nothing to ring for: an operation, an event
	ReasonRecalled  Reason = "recalled"  // taken back
	ReasonMuted     Reason = "muted"     // the conversation is muted
	ReasonMention   Reason = "unmention" // an open room that rings for mentions only, and it mentions somebody else
	ReasonRead      Reason = "read"      // read on some device
	ReasonAcked     Reason = "acknowledged"
	ReasonNotifies  Reason = "notifies"  // the device tells its user by itself
	ReasonSilentLog Reason = "silent"    // of a kind that never rings
	ReasonBoxed     Reason = "boxed"     // a request, and the box has rung today
	ReasonNoToken   Reason = "no_token"  // the device has nothing registered any more
	ReasonExpired   Reason = "expired"   // too old to be told by itself
	ReasonRefused   Reason = "refused"   // the provider will not take it
	ReasonSuspended Reason = "suspended" // the account is
	ReasonDouble    Reason = "told"      // it was told before a restart already
	ReasonLive      Reason = "live"      // a channel's post: the device was connected
	ReasonSilent    Reason = "no_pushes" // a channel's post: the user has not asked for pushes
	ReasonNotFor    Reason = "not_for"   // a channel's post: it is not for this follower
	ReasonHush      Reason = "quiet"     // a channel's post: the user has quiet hours
	ReasonPassed    Reason = "passed"    // a channel's post: nobody was told, or the device had nothing registered then

	// Why it waits.
	ReasonGrace  Reason = "connected"        // the device is connected and has some seconds to acknowledge
	ReasonActive Reason = "active_elsewhere" // the user is at another device
	ReasonWindow Reason = "coalesced"        // told together with what comes until the window ends
	ReasonQuiet  Reason = "quiet_hours"      // told in a summary afterwards
	ReasonCapped Reason = "capped"           // too many for this device within a minute: told in a summary
	ReasonRetry  Reason = "retry"            // the provider did not take it; tried again
	ReasonHeld   Reason = "held"             // the provider is not asked at the moment
	ReasonNight  Reason = "night"            // advertising, and it is night where the user is
	ReasonTurn   Reason = "turn"             // a channel's post: the follower's turn has not come

	// Why it rings.
	ReasonAway       Reason = "away"       // the device is not connected
	ReasonSilence    Reason = "unanswered" // connected, and it did not acknowledge
	ReasonBackground Reason = "background" // connected in the background, and it does not tell its user by itself
	ReasonUpdate     Reason = "update"     // replaces what was shown
	ReasonSummary    Reason = "summary"
	ReasonClear      Reason = "clear"
)
