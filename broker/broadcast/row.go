package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const (
	tableBroadcast store.Table = "channel.broadcast"      // owner: the channel's number; key: the broadcast's
	tableOpen      store.Table = "channel.broadcast.open" // of those that have not ended
	tableAge       store.Table = "channel.broadcast.age"  // key: see ageKey
	tableDue       store.Table = "service.broadcast"      // owner: ""; key: see dueKey
)

// State is where a broadcast stands.
type State string

// The states. Done and Canceled stay.
const (
	Scheduled State = "scheduled"
	Running   State = "running"
	Paused    State = "paused"
	Done      State = "done"
	Canceled  State = "canceled"
)

// post is what deliveries are told of a state.
func (s State) post() graph.PostState {
	switch s {
	case Paused:
		return graph.PostPaused
	case Canceled:
		return graph.PostCanceled
	}
	return graph.PostOut
}

// Why a broadcast was paused or ended other than by a publisher.
const (
	WhyPaused    = store.ReasonChannelPaused
	WhySuspended = store.ReasonChannelSuspended
	WhyExpired   = "expired"
	WhyRefused   = "refused" // its record cannot be stored
)

// Broadcast is one broadcast. Times are Unix milliseconds, 0: not yet, or never.
type Broadcast struct {
	Key     string          `json:"key"`
	Print   string          `json:"print"` // of what was asked for, to tell a repeat from another one
	By      store.AccountID `json:"by"`
	State   State           `json:"state"`
	Why     string          `json:"why,omitempty"` // see WhyPaused
	Created int64           `json:"created"`
	Due     int64           `json:"due"`
	Began   int64           `json:"began,omitempty"`
	Ended   int64           `json:"ended,omitempty"`
	Events  []Event         `json:"events"` // every change of the state, the newest maxEvents

	Ad       bool           `json:"ad,omitempty"`
	Silent   bool           `json:"silent,omitempty"`
	Expiry   int64          `json:"expiry,omitempty"`
	Campaign string         `json:"campaign,omitempty"`
	Segment  *graph.Segment `json:"segment,omitempty"`
	Language string         `json:"language"`
	Kind     store.Kind     `json:"kind,omitempty"`
	Opening  string         `json:"opening,omitempty"` // the first characters of the text

	Log     store.LogID `json:"log,omitempty"`  // to which it goes
	From    store.Seq   `json:"from,omitempty"` // the head of the log before it
	Seq     store.Seq   `json:"seq,omitempty"`  // of its record
	Percent int         `json:"percent,omitempty"`
	Report  *Numbers    `json:"report,omitempty"`

	Post   *said `json:"post,omitempty"`   // until its record is known to be there
	Settle bool  `json:"settle,omitempty"` // graph.Post does not say the state yet
	Wake   int64 `json:"wake,omitempty"`   // the time in tableDue; 0: none
	Told   news  `json:"told,omitempty"`   // what Config.Tell knows
}

// said is what a broadcast says.
type said struct {
	Text     string                   `json:"text,omitempty"`
	Extra    []byte                   `json:"extra,omitempty"`
	Variants map[string]graph.Variant `json:"variants,omitempty"`
	Files    []string                 `json:"files,omitempty"`
}

// news is what there is to be told of a broadcast.
type news int

const (
	newsEnd    news = 1 // it has ended
	newsReport news = 2 // its report is there
)

func (b *Broadcast) news() news {
	switch {
	case !b.Over():
		return 0
	case b.Report == nil:
		return newsEnd
	}
	return newsReport
}

// Event is a change of the state.
type Event struct {
	At    int64           `json:"at"` // Unix milliseconds
	State State           `json:"state"`
	By    store.AccountID `json:"by,omitempty"` // 0: the server
	Why   string          `json:"why,omitempty"`
}

const maxEvents = 50

// Over reports whether the broadcast has ended.
func (b *Broadcast) Over() bool { return b.State == Done || b.State == Canceled }

// enter moves a broadcast into a state.
func (b *Broadcast) enter(s State, by store.AccountID, why string, now int64) {
	b.State, b.Why = s, why
	if b.Events = append(b.Events, Event{At: now, State: s, By: by, Why: why}); len(b.Events) > maxEvents {
		b.Events = b.Events[len(b.Events)-maxEvents:]
	}
	if b.Over() {
		b.Ended = now
	}
}

// since is when the broadcast came into its state, Unix milliseconds.
func (b *Broadcast) since() int64 { return b.Events[len(b.Events)-1].At }

// immediately is the time in tableDue of what must not wait.
const immediately = 1

// wake is when a broadcast has to be looked at next, 0: never.
func (b *Broadcast) wake(counts bool) int64 {
	switch {
	case b.Settle:
		return immediately
	case b.State == Scheduled:
		return b.Due
	case b.State == Running:
		return b.Began
	case b.State == Paused:
		return b.Expiry
	case b.Seq != 0 && b.Report == nil && counts:
		return b.Ended + ReportAfter.Milliseconds()
	}
	return 0
}

// ageKey is where a broadcast stands in tableAge: rows are in the order of their creation, the newest first.
func (b *Broadcast) ageKey() string { return store.KeyOf(^uint64(b.Created)) + b.Key }

// dueKey is where a broadcast stands in tableDue: rows are in the order of times.
func dueKey(at int64, channel store.LogID, key string) string {
	return store.KeyOf(uint64(at)) + store.KeyOf(channel) + key
}

func cutDue(k string) (at int64, channel store.LogID, key string, ok bool) {
	if len(k) < 17 {
		return 0, 0, "", false
	}
	return int64(store.NumberOf(k[:8])), store.LogID(store.NumberOf(k[8:16])), strings.Clone(k[16:]), true
}

// read returns a broadcast and its row's version, 0 and an empty broadcast where there is none.
func (b *Broadcasts) read(channel store.LogID, key string) (*Broadcast, uint64, error) {
	r, err := b.store.Row(tableBroadcast, store.OwnerOfLog(channel), key)
	if err != nil {
		return nil, 0, fmt.Errorf("broadcast: read: %w", err)
	}
	out := new(Broadcast)
	if r.Version == 0 {
		return out, 0, nil
	}
	if err := json.Unmarshal(r.Value, out); err != nil {
		return nil, 0, fmt.Errorf("broadcast: read: %w", err)
	}
	return out, r.Version, nil
}

// write stores a broadcast with the time at which it is looked at next. The row that has the time is there before the
// broadcast says so, and the one that had it goes afterwards: a crash in between leaves one too many, never too few. Whoever
// calls it has the broadcast's turn.
func (b *Broadcasts) write(ctx context.Context, channel store.LogID, c *Broadcast, version uint64) error {
	old := c.Wake
	if c.Wake = c.wake(b.cfg.Tally != nil); b.untold(c) {
		c.Wake = immediately
	}
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("broadcast: write: %w", err)
	}
	if c.Wake != 0 && c.Wake != old {
		if err := b.putDue(ctx, dueKey(c.Wake, channel, c.Key), []byte{1}); err != nil {
			return err
		}
	}
	rows := []store.RowPut{{Table: tableBroadcast, Key: c.Key, Value: value, If: store.IfVersion(version)}}
	if version == 0 {
		rows = append(rows, store.RowPut{Table: tableOpen, Key: c.Key, Value: []byte{1}}, store.RowPut{Table: tableAge, Key: c.ageKey(), Value: []byte{1}})
	}
	if c.Over() {
		rows = append(rows, store.RowPut{Table: tableOpen, Key: c.Key})
	}
	if err = b.store.Update(ctx, store.Update{Owner: store.OwnerOfLog(channel), Rows: rows}); err != nil {
		return fmt.Errorf("broadcast: write: %w", err)
	}
	if old != 0 && old != c.Wake {
		return b.putDue(ctx, dueKey(old, channel, c.Key), nil)
	}
	return nil
}

func (b *Broadcasts) putDue(ctx context.Context, key string, value []byte) error {
	if err := b.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableDue, Key: key, Value: value}}}); err != nil {
		return fmt.Errorf("broadcast: due: %w", err)
	}
	return nil
}

// turn waits until nobody else changes a broadcast, and returns what ends the turn.
func (b *Broadcasts) turn(ctx context.Context, channel store.LogID, key string) (end func(), err error) {
	h := uint64(channel)
	for i := range len(key) {
		h = h*31 + uint64(key[i])
	}
	c := b.turns[h%uint64(len(b.turns))]
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, &store.Error{Code: store.CodeUnavailable, Text: "too much at once", Retry: time.Second, Err: ctx.Err()}
	}
}

// change lets fn change a broadcast in its turn and stores it, if fn says so. CodeNotFound: there is no such broadcast.
func (b *Broadcasts) change(ctx context.Context, channel store.LogID, key string, fn func(*Broadcast) (store bool, err error)) (*Broadcast, error) {
	c, version, err := b.read(channel, key)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, errNone
	}
	changed, err := fn(c)
	if err != nil || !changed {
		return c, err
	}
	if err := b.write(ctx, channel, c, version); err != nil || !b.untold(c) || c.Settle { // what has to settle is written again
		return c, err
	}
	told, err := b.inform(ctx, channel, c)
	if err != nil {
		b.fail(ctx, err, keyChannel, uint64(channel), keyBroadcast, key)
		b.Look() // run tries it again
		return c, nil
	}
	return told, nil
}

// untold reports whether there is news of a broadcast that Config.Tell does not know.
func (b *Broadcasts) untold(c *Broadcast) bool { return b.cfg.Tell != nil && c.news() > c.Told }

// inform tells the news of a broadcast as it is stored, and notes that. Whoever calls it has the broadcast's turn.
func (b *Broadcasts) inform(ctx context.Context, channel store.LogID, c *Broadcast) (*Broadcast, error) {
	if err := b.cfg.Tell(ctx, channel, c); err != nil {
		return nil, fmt.Errorf("broadcast: told: %w", err)
	}
	return b.change(ctx, channel, c.Key, func(c *Broadcast) (bool, error) {
		c.Told = c.news()
		return true, nil
	})
}

var errNone = &store.Error{Code: store.CodeNotFound, Text: "there is no such broadcast"}
