package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Live is what the bridge asks about connections; the broker has it. Every method is cheap and may be called from any
// goroutine.
type Live interface {
	// Link tells how a device is connected: at all, with a keepalive that is overdue (nothing was heard for longer than
	// it promised), in the background (the app said that its user does not look at it). A device that is connecting just
	// now, perhaps in place of an older connection, counts as connected.
	Link(a store.AccountID, d store.DeviceID) (connected, overdue, background bool)

	// Acked is what a device has confirmed of a log, what its connection confirmed a moment ago included. Ask
	// Cursor.Confirmed of a message: a clean start leaves a hole that is not confirmed, whatever is confirmed after it.
	Acked(a store.AccountID, d store.DeviceID, log store.LogID) (store.Cursor, error)

	// Active is when a connected device of the user other than this one, and not in the background, last sent something or
	// read a message; the zero time if none did since it connected.
	Active(a store.AccountID, but store.DeviceID) time.Time
}

// Config is what a Bridge is made of. A zero duration or number means its default.
type Config struct {
	Store     store.Store
	Access    *hooks.Access
	Live      Live
	Providers map[graph.PushProvider]push.Provider // those that are set up; a device of another one is not woken
	Followers store.Followers                      // nil: posts of channels ring nowhere

	// Pace waits until so many followers may be considered beside what is urgent. nil: it never waits.
	Pace func(ctx context.Context, n int) error

	// Lanes are settings of the providers' lanes. Name, Provider, Logger, Registerer and Now are set here.
	Lanes map[graph.PushProvider]lane.Config

	Grace   time.Duration // a connected device has so long to acknowledge; 8 s
	Overdue time.Duration // so long if its keepalive is overdue; 3 s
	Hold    time.Duration // a device waits so long while another one of the user is active; 15 s
	Active  time.Duration // a device is active so long after it sent or read; 30 s
	Run     time.Duration // messages are told together so long after the first; 10 min
	PerMin  int           // pushes of a device a minute, before they become a summary; 20
	TTL     time.Duration // a provider keeps a chat push so long for a phone that is off; 7 days
	Stale   time.Duration // what could not be sent for so long becomes a summary; 1 h

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

// The defaults of Config.
const (
	DefaultGrace   = 8 * time.Second
	DefaultOverdue = 3 * time.Second
	DefaultHold    = 15 * time.Second
	DefaultActive  = 30 * time.Second
	DefaultRun     = 10 * time.Minute
	DefaultPerMin  = 20
	DefaultTTL     = 7 * 24 * time.Hour
	DefaultStale   = time.Hour
)

// windows is how long a push of a conversation waits after the one before it: the last one for all that follow.
var windows = [...]time.Duration{3 * time.Second, 6 * time.Second, 12 * time.Second, 30 * time.Second}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil || c.Access == nil || c.Live == nil:
		return errors.New("bridge: no store, access or live sessions")
	case c.Grace < 0 || c.Overdue < 0 || c.Hold < 0 || c.Active < 0 || c.Run < 0 || c.PerMin < 0 || c.TTL < 0 || c.Stale < 0:
		return errors.New("bridge: a setting is negative")
	}
	for p, v := range c.Providers {
		if v == nil {
			return fmt.Errorf("bridge: provider %s is nil", p)
		}
	}
	return nil
}

// Decision is what was decided about messages of one conversation for one device, for who asks why a phone rang or did
// not.
type Decision struct {
	Time    time.Time
	Account store.AccountID
	Device  store.DeviceID
	Log     store.LogID
	From    store.Seq // the first message it was about
	Upto    store.Seq
	Reason  Reason
	Until   time.Time    // when it is looked at again; zero: it is settled
	Answer  *push.Answer // the provider's, nil if none was asked
	Push    push.ID      // zero if none was sent
}

// Asked is how the API asks the bridge; a *Bridge has it.
type Asked interface {
	// Why tells the decisions about one message for every device of a user, oldest first. They are kept in memory, the
	// last some 100,000, and of each conversation and device the last one with its row.
	Why(ctx context.Context, a store.AccountID, log store.LogID, seq store.Seq) ([]Decision, error)
}
