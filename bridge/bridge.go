package bridge

import (
	"log/slog"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Keys of log attributes, the same everywhere.
const (
	keyErr      = "err"
	keyUser     = "user"
	keyDevice   = "device"
	keyLog      = "log"
	keySeq      = "seq"
	keyProvider = "provider"
)

// Bridge decides who is woken. It may be used from any goroutine.
type Bridge struct {
	cfg    Config
	store  store.Store
	access *hooks.Access
	graph  *graph.Graph
	live   Live
	log    *slog.Logger
	now    func() time.Time

	unreads badges
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.Grace, DefaultGrace}, {&c.Overdue, DefaultOverdue}, {&c.Hold, DefaultHold}, {&c.Active, DefaultActive},
		{&c.Run, DefaultRun}, {&c.TTL, DefaultTTL}, {&c.Stale, DefaultStale},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if c.PerMin == 0 {
		c.PerMin = DefaultPerMin
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}
