package broadcast

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const (
	keyErr       = "err"
	keyChannel   = "channel"
	keyBroadcast = "broadcast"
	keyState     = "state"
)

// Broadcasts creates and runs broadcasts. It may be used from any goroutine.
type Broadcasts struct {
	cfg     Config
	store   Store
	graph   *graph.Graph
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	turns   [64]chan struct{} // changes of one broadcast take turns
	kicked  chan struct{}     // with room for one: something is due earlier than run knows

	end context.CancelFunc
	wg  sync.WaitGroup
}

// New goes on with the broadcasts that have not ended.
func New(cfg Config) (*Broadcasts, error) {
	b, err := still(cfg)
	if err != nil || cfg.Stored {
		return b, err
	}
	ctx, end := context.WithCancel(context.Background())
	b.end = end
	b.wg.Go(func() { b.run(ctx) })
	return b, nil
}

// still is New without anything that moves.
func still(cfg Config) (*Broadcasts, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Open == 0 {
		cfg.Open = DefaultOpen
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Broadcasts{cfg: cfg, store: cfg.Store, graph: cfg.Graph, log: cfg.Logger, now: cfg.Now, kicked: make(chan struct{}, 1),
		metrics: newMetrics(cfg.Metrics), end: func() {}}
	for i := range b.turns {
		b.turns[i] = make(chan struct{}, 1)
	}
	return b, nil
}

// Close stops and waits; what is under way goes on with the next New. Safe twice. Close it before what it was made of.
func (b *Broadcasts) Close() error {
	b.end()
	b.wg.Wait()
	return nil
}

// Look has what is due looked at now: the clock was moved, or how far followers have been considered.
func (b *Broadcasts) Look() {
	select {
	case b.kicked <- struct{}{}:
	default: // one that waits sees what this one is for, too
	}
}

// Get returns a broadcast of a channel. CodeNotFound: there is none with this key.
func (b *Broadcasts) Get(channel store.LogID, key string) (*Broadcast, error) {
	c, version, err := b.read(channel, key)
	if err == nil && version == 0 {
		return nil, errNone
	}
	return c, err
}

// List lists a channel's broadcasts, the newest first, from where a list ended (next; "" from the start), at most max (0:
// 50, and no more than 500). next is "" at the end.
func (b *Broadcasts) List(channel store.LogID, from string, max int) (list []*Broadcast, next string, err error) {
	if max <= 0 {
		max = 50
	}
	max = min(max, 500)
	after, err := base64.RawURLEncoding.DecodeString(from)
	if err != nil {
		return nil, "", store.Bad("a list goes on with what the one before has said")
	}
	rows, err := b.store.Rows(tableAge, store.OwnerOfLog(channel), "", string(after), max)
	if err != nil {
		return nil, "", fmt.Errorf("broadcast: list: %w", err)
	}
	for _, r := range rows {
		if len(r.Key) <= 8 {
			continue
		}
		c, err := b.Get(channel, r.Key[8:])
		if err != nil {
			return nil, "", err
		}
		list = append(list, c)
	}
	if len(rows) == max {
		next = base64.RawURLEncoding.EncodeToString([]byte(rows[len(rows)-1].Key))
	}
	return list, next, nil
}

// Pause holds a broadcast: one that is scheduled does not begin, of one that runs those wait who have not got it. A
// broadcast that is paused is returned as it is. CodeConflict: it has ended.
func (b *Broadcasts) Pause(ctx context.Context, channel store.LogID, key string, by store.AccountID) (*Broadcast, error) {
	return b.control(ctx, channel, key, by, func(c *Broadcast) State { return Paused })
}

// Resume lets a paused broadcast go on. One whose time has passed meanwhile goes out at once. CodeConflict: it has ended.
func (b *Broadcasts) Resume(ctx context.Context, channel store.LogID, key string, by store.AccountID) (*Broadcast, error) {
	return b.control(ctx, channel, key, by, func(c *Broadcast) State {
		switch {
		case c.State != Paused && !c.Over():
			return c.State // it goes on already
		case c.Began == 0:
			return Scheduled
		}
		return Running
	})
}

// Cancel ends a broadcast: who has not got it does not get it. Whoever has it keeps it; to take it back, see recalls. A
// broadcast that is canceled is returned as it is. CodeConflict: it is done.
func (b *Broadcasts) Cancel(ctx context.Context, channel store.LogID, key string, by store.AccountID) (*Broadcast, error) {
	return b.control(ctx, channel, key, by, func(c *Broadcast) State { return Canceled })
}

// control moves a broadcast into the state that to tells, and has that carried out before it returns.
func (b *Broadcasts) control(ctx context.Context, channel store.LogID, key string, by store.AccountID, to func(*Broadcast) State) (*Broadcast, error) {
	end, err := b.turn(ctx, channel, key)
	if err != nil {
		return nil, err
	}
	defer end()
	moved := false
	c, err := b.change(ctx, channel, key, func(c *Broadcast) (bool, error) {
		want := to(c)
		switch {
		case c.State == want:
			return false, nil
		case c.Over():
			return false, &store.Error{Code: store.CodeConflict, Text: "the broadcast has ended: it is " + string(c.State)}
		}
		moved = true
		c.enter(want, by, "", b.now().UnixMilli())
		c.Settle = c.Began != 0
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if c.Settle { // also of one that a crash left so
		if c, err = b.settle(ctx, channel, key); err != nil {
			return nil, err
		}
	}
	if moved {
		b.entered(channel, c)
		b.letGo(ctx, channel, c)
		b.Look()
	}
	return c, nil
}

// settle makes graph.Post say the state of a broadcast that has begun, so that deliveries follow it. Whoever calls it has
// the broadcast's turn.
func (b *Broadcasts) settle(ctx context.Context, channel store.LogID, key string) (*Broadcast, error) {
	c, err := b.Get(channel, key)
	if err != nil {
		return nil, err
	}
	if err := b.setPost(ctx, channel, c); err != nil {
		return nil, err
	}
	b.cfg.Poster.PostChanged(channel)
	if b.cfg.Pushes != nil {
		b.cfg.Pushes.Look()
	}
	return b.change(ctx, channel, key, func(c *Broadcast) (bool, error) {
		c.Settle = false
		return true, nil
	})
}

// setPost tells deliveries what they have to know of a broadcast beside its record.
func (b *Broadcasts) setPost(ctx context.Context, channel store.LogID, c *Broadcast) error {
	return b.graph.SetPost(ctx, channel, c.Key, func(p *graph.Post) error {
		p.State = c.State.post()
		if c.Post != nil {
			p.Segment, p.Variants, p.Silent, p.Campaign = c.Segment, c.Post.Variants, c.Silent, c.Campaign
		}
		return nil
	})
}

// entered tells that a broadcast has come into a state.
func (b *Broadcasts) entered(channel store.LogID, c *Broadcast) {
	b.metrics.states.WithLabelValues(string(c.State)).Inc()
	b.log.Info("broadcast", keyChannel, uint64(channel), keyBroadcast, c.Key, keyState, string(c.State), "why", c.Why)
	b.tell(channel, c)
}

// progress is what publishers are told.
type progress struct {
	Broadcast string `json:"broadcast"`
	State     State  `json:"state"`
	Percent   int    `json:"percent,omitempty"`
	Why       string `json:"why,omitempty"`
}

func (b *Broadcasts) tell(channel store.LogID, c *Broadcast) {
	payload, err := json.Marshal(progress{c.Key, c.State, c.Percent, c.Why})
	if err == nil {
		b.cfg.Poster.TellPublishers(channel, payload)
	}
}
