package lane

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// Config is what a Lane is made of.
type Config struct {
	Name     graph.PushProvider
	Provider push.Provider // it is not closed by the lane

	InFlight int           // attempts under way at once, at least 4; 0: 500 for APNs, 90 for FCM, 100 for web push
	Queue    int           // jobs of each class that may wait; 0: 4 × InFlight
	Timeout  time.Duration // of an attempt; 0: 10 s

	// Rate is how many pushes a second the provider grants, 0: as many as go. BulkRate is how many of them may be bulk;
	// 0: half of Rate. What is left of both in a second may be used up at once.
	Rate     float64
	BulkRate float64

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now. Timers run on the clock of package time
}

// defaultTimeout is Config.Timeout. A connection that is a black hole is noticed by pings at about the same time.
const defaultTimeout = 10 * time.Second

// leastInFlight is the fewest slots of which a quarter can be set aside.
const leastInFlight = 4

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("lane: no name")
	case c.Provider == nil:
		return fmt.Errorf("lane: %s: no provider", c.Name)
	case c.InFlight != 0 && c.InFlight < leastInFlight:
		return fmt.Errorf("lane: %s: %d in flight; it takes at least %d, because some are kept for chat", c.Name, c.InFlight, leastInFlight)
	case c.Queue < 0, c.Timeout < 0:
		return fmt.Errorf("lane: %s: a setting is negative", c.Name)
	case !(c.Rate >= 0 && c.BulkRate >= 0): // so that it is false for NaN
		return fmt.Errorf("lane: %s: a rate is negative", c.Name)
	case c.Rate > 0 && c.BulkRate > c.Rate:
		return fmt.Errorf("lane: %s: bulk would have %g pushes a second of %g", c.Name, c.BulkRate, c.Rate)
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.InFlight == 0 {
		switch c.Name {
		case graph.APNs:
			c.InFlight = 500
		case graph.FCM:
			c.InFlight = 90
		default:
			c.InFlight = 100
		}
	}
	if c.Queue == 0 {
		c.Queue = 4 * c.InFlight
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.BulkRate == 0 {
		c.BulkRate = c.Rate / 2
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}
