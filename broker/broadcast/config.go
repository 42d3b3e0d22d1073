package broadcast

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Store is what broadcasts are kept in and appended to; every store.Store has it.
type Store interface {
	graph.Store
	Info(log store.LogID) (store.LogInfo, error)
	Read(q store.Query) (store.Page, error)
}

// Poster is the running server; *broker.Broker is one.
type Poster interface {
	// Post appends a post durably, once for each id.
	Post(ctx context.Context, channel store.LogID, ads bool, id string, c view.Content) (store.Receipt, error)
	// PostChanged is called after the state of a post has changed.
	PostChanged(channel store.LogID)
	// TellPublishers tells a channel's publishers the newest progress.
	TellPublishers(channel store.LogID, progress []byte)
}

// Pushes wakes followers who are away; *bridge.Bridge is one.
type Pushes interface {
	// Considered tells how many followers have been considered for a post so far, and whether all were.
	Considered(log store.LogID, seq store.Seq) (followers int, all bool, err error)
	// Look is called after the state of a post has changed.
	Look()
}

// Tally makes the numbers that a brand may see.
type Tally interface {
	// Followers is how many follow a channel by the last daily count, rounded; nil: too few to say, or not counted yet.
	Followers(ctx context.Context, channel store.LogID) (*int, error)
	// Segment tells whether enough followers are in a segment that naming it tells about nobody.
	Segment(ctx context.Context, channel store.LogID, s *graph.Segment) (bool, error)
	// Report counts what became of a post that went out until a time (Unix milliseconds), each number rounded or nil.
	Report(ctx context.Context, channel, log store.LogID, seq store.Seq, ended int64) (Numbers, error)
}

// Numbers are what became of a broadcast, rounded down; nil where a number would tell too much.
type Numbers struct {
	Reached *int `json:"reached"` // a device of the follower confirmed that it got the post
	Pushed  *int `json:"pushed"`
	Opened  *int `json:"opened"`
}

// Plans knows what a channel's plan allows.
type Plans interface {
	// Broadcast takes one broadcast for the day of a time from what the plan allows; the same key takes once. Errors are
	// *store.Error: CodeFull or CodeTooMany.
	Broadcast(ctx context.Context, channel store.LogID, key string, ad bool, at time.Time) error
	// Spend takes one post of now from what the plan allows; the same id takes once. Errors are *store.Error.
	Spend(ctx context.Context, channel store.LogID, ads bool, id string) error
	// Scheduled is how many broadcasts of a channel may be there that have not ended.
	Scheduled(channel store.LogID) (int, error)
}

// Files keeps what posts show.
type Files interface {
	// May tells whether a user may attach files.
	May(user store.AccountID, ids []string) error
	// Hold keeps files of a user's own until LetGo with the same word. CodeNotFound: it has no such file.
	Hold(ctx context.Context, owner store.AccountID, ids []string, what string) error
	// LetGo undoes Hold.
	LetGo(ctx context.Context, id, what string) error
}

// Config is what Broadcasts are made of.
type Config struct {
	Store  Store
	Graph  *graph.Graph
	Poster Poster

	Pushes Pushes // nil: nobody who is away is woken
	Tally  Tally  // nil: there are no numbers, and no segments
	Plans  Plans  // nil: every plan allows everything
	Files  Files  // nil: posts show no files

	// Tell is told that a broadcast has ended (Report nil), and that its report is there, once either is stored: what it was
	// told stays so, and a crash has it told again, the same. What it refuses it is told later. nil: nobody wants to know.
	Tell func(ctx context.Context, channel store.LogID, b *Broadcast) error

	Open int // without Plans: broadcasts of one channel that have not ended; 0: DefaultOpen

	// Stored: the server does not run. Broadcasts are made and looked at, and none goes out.
	Stored bool

	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: discard
	Metrics prometheus.Registerer
}

// Limits.
const (
	DefaultOpen   = 100
	MaxAhead      = 90 * 24 * time.Hour // from now to the time of a broadcast
	MaxLife       = 90 * 24 * time.Hour // from the time of a broadcast to its expiry
	MaxAttributes = 2                   // of a segment

	// MinFollowers is how many daily counted followers there must be above which progress is told in percent.
	MinFollowers = 1000
	// ReportAfter is how long after the end of a broadcast it is counted what became of it.
	ReportAfter = 24 * time.Hour
)

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil || c.Graph == nil || c.Poster == nil:
		return errors.New("broadcast: no store, graph or poster")
	case c.Open < 0:
		return errors.New("broadcast: fewer than no broadcasts may be open")
	}
	return nil
}
