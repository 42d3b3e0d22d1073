package channel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/search"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// DefaultOwned is how many channels an account owns at most.
const DefaultOwned = 5

// Config is what a Service is made of.
type Config struct {
	Store store.Store
	Graph *graph.Graph // nil: over Store

	Unapproved bool // channels post without an operator's approval
	Owned      int  // channels an account owns at most; 0: DefaultOwned

	// Weigh is how large a channel is, coarsely, and how much goes on in it, as of a moment (Unix milliseconds): by the
	// daily snapshot, never live. nil: all are the same.
	Weigh func(channel store.LogID) (size int, activity float64, at int64, err error)
	// Changed is called after what is set about a channel has changed, so that deliveries look again; nil: nobody is told.
	Changed func(channel store.LogID)

	Now func() time.Time // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("channel: no store")
	case c.Owned < 0:
		return errors.New("channel: a limit is negative")
	}
	return nil
}

// Service is the channels of a server. It may be used from any goroutine.
type Service struct {
	cfg   Config
	store store.Store
	graph *graph.Graph
	now   func() time.Time
	turn  chan struct{} // who creates a channel or changes publishers holds its token: limits are decided before the change
	index *search.Index
	looks looks
}

// New returns the channels of a store. The directory finds those that Enter was called for.
func New(cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Graph == nil {
		cfg.Graph = graph.New(cfg.Store, cfg.Now)
	}
	if cfg.Owned == 0 {
		cfg.Owned = DefaultOwned
	}
	if cfg.Changed == nil {
		cfg.Changed = func(store.LogID) {}
	}
	s := &Service{cfg: cfg, store: cfg.Store, graph: cfg.Graph, now: cfg.Now, turn: make(chan struct{}, 1), index: search.New()}
	s.turn <- struct{}{}
	return s, nil
}

func (s *Service) take(ctx context.Context) (done func(), err error) {
	select {
	case <-s.turn:
		return func() { s.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, &store.Error{Code: store.CodeUnavailable, Text: "too much is being changed at once", Retry: store.ErrUnavailable.Retry, Err: ctx.Err()}
	}
}

// ErrNone is told of a channel that is not there, and of one that is not there for who asks.
var ErrNone = &store.Error{Code: store.CodeNotFound, Text: "there is no such channel"}

// Channel is a channel at one moment.
type Channel struct {
	graph.Channel
	ID   store.LogID
	Name string
	Log  store.LogInfo // of its notices; its members are the publishers
}

// Role is what an account is in the channel, RoleNone for no publisher.
func (c *Channel) Role(a store.AccountID) store.Role { return c.Log.Members.Role(a) }

// Public reports whether everybody may see the channel: it was approved and is not suspended.
func (c *Channel) Public() bool { return c.Approved != 0 && c.Suspended == 0 }

// Find is a channel by its name in lower case, ErrNone if there is none.
func (s *Service) Find(name string) (*Channel, error) {
	info, err := s.store.Find(store.ChannelKey(name))
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("channel: find: %w", err)
	}
	return s.of(info)
}

// Get is a channel by its number, ErrNone if there is none.
func (s *Service) Get(id store.LogID) (*Channel, error) {
	info, err := s.store.Info(id)
	if store.CodeOf(err) == store.CodeNotFound || err == nil && info.Key.Kind != store.LogChannel {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("channel: info: %w", err)
	}
	return s.of(info)
}

func (s *Service) of(info store.LogInfo) (*Channel, error) {
	c, err := s.graph.Channel(info.ID)
	if err != nil {
		return nil, fmt.Errorf("channel: %w", err)
	}
	if !c.Exists() { // a crash came between the log and its settings: its owner creates it again
		return nil, ErrNone
	}
	return &Channel{Channel: *c, ID: info.ID, Name: info.Key.Name, Log: info}, nil
}

// List lists the channels by number after the given one (0 from the start), at most max, and the number to go on after,
// 0 at the end.
func (s *Service) List(after store.LogID, max int) (out []*Channel, next store.LogID, err error) {
	logs, err := s.store.Logs(store.LogChannel, after, max+1)
	if err != nil {
		return nil, 0, fmt.Errorf("channel: list: %w", err)
	}
	if len(logs) > max {
		logs = logs[:max]
		next = logs[max-1].ID
	}
	for _, info := range logs {
		c, err := s.of(info)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		out = append(out, c)
	}
	return out, next, nil
}

// Mine are the channels in which an account publishes.
func (s *Service) Mine(a store.AccountID) (out []*Channel, err error) {
	for after := store.LogID(0); ; {
		refs, err := s.store.LogsOf(a, after, 0)
		if err != nil {
			return nil, fmt.Errorf("channel: logs: %w", err)
		}
		for i := range refs {
			after = refs[i].ID
			if refs[i].Key.Kind != store.LogChannel || refs[i].Me.Role == store.RoleNone {
				continue
			}
			c, err := s.of(refs[i].LogInfo)
			if errors.Is(err, ErrNone) {
				continue
			}
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		if len(refs) == 0 {
			return out, nil
		}
	}
}

// Fields are what a brand says about its channel. The caller has checked their form.
type Fields struct {
	Title, Description, Picture, Category, Language, Country *string

	Alike bool // an operator says it: it may look like somebody else's channel
}

func (f *Fields) apply(c *graph.Channel) error {
	if f.Category != nil && *f.Category != "" && !IsCategory(*f.Category) {
		return store.Bad("there is no such category: channel.search lists them")
	}
	for _, p := range []struct{ to, from *string }{{&c.Title, f.Title}, {&c.Description, f.Description}, {&c.Picture, f.Picture},
		{&c.Category, f.Category}, {&c.Language, f.Language}, {&c.Country, f.Country}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	if c.Title == "" {
		return store.Bad("title is missing: it is what people find the channel by")
	}
	return nil
}

// Create opens a channel that by owns. One that it owns already is returned as it is, so that a repeat whose first answer
// was lost finds it. CodeConflict: the name is taken, or it looks like a channel of somebody else (see Alike); CodeFull: by owns as many as it may.
func (s *Service) Create(ctx context.Context, by store.AccountID, name string, f Fields) (c *Channel, created bool, err error) {
	if err := f.apply(&graph.Channel{}); err != nil {
		return nil, false, err
	}
	done, err := s.take(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	if c, err := s.Find(name); err == nil {
		if c.Role(by) != store.RoleOwner {
			return nil, false, errTaken
		}
		return c, false, nil
	} else if !errors.Is(err, ErrNone) {
		return nil, false, err
	}
	mine, err := s.Mine(by)
	if err != nil {
		return nil, false, err
	}
	owned := 0
	for _, m := range mine {
		if m.Role(by) == store.RoleOwner {
			owned++
		}
	}
	if owned >= s.cfg.Owned {
		return nil, false, &store.Error{Code: store.CodeFull, Reason: "channels", Text: fmt.Sprintf("you own as many channels as one may: %d", s.cfg.Owned)}
	}
	if !f.Alike {
		like, err := s.alike(0, name, *f.Title, by)
		if err != nil {
			return nil, false, err
		}
		if like != nil {
			return nil, false, taken(like)
		}
	}
	begin := store.Creation{By: by, Title: *f.Title, Members: []store.Member{{Account: by, Role: store.RoleOwner}}}
	notices, _, err := s.store.Open(ctx, store.ChannelKey(name), begin)
	if err != nil {
		return nil, false, fmt.Errorf("channel: open: %w", err)
	}
	ads, _, err := s.store.Open(ctx, store.AdsKey(name), begin)
	if err != nil {
		return nil, false, fmt.Errorf("channel: open: %w", err)
	}
	if notices.Members.Role(by) != store.RoleOwner || ads.Members.Role(by) != store.RoleOwner { // left behind by somebody's crash
		return nil, false, errTaken
	}
	now := s.now().UnixMilli()
	err = s.graph.SetChannel(ctx, notices.ID, func(c *graph.Channel) error {
		c.Created, c.Ads, c.Approved = now, ads.ID, 0
		if s.cfg.Unapproved {
			c.Approved = now
		}
		return f.apply(c)
	})
	if err != nil {
		return nil, false, fmt.Errorf("channel: create: %w", err)
	}
	c, err = s.entered(notices.ID)
	return c, err == nil, err
}

var errTaken = &store.Error{Code: store.CodeConflict, Text: "a channel with this identifier exists: choose another one"}

// change changes what is set about a channel; changed tells whether anything moved.
func (s *Service) change(ctx context.Context, id store.LogID, fn func(*graph.Channel) error) (c *Channel, changed bool, err error) {
	err = s.graph.SetChannel(ctx, id, func(c *graph.Channel) error {
		if !c.Exists() {
			return ErrNone
		}
		was := *c
		if err := fn(c); err != nil {
			return err
		}
		changed = *c != was
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	if changed {
		s.cfg.Changed(id)
	}
	c, err = s.entered(id)
	return c, changed, err
}

// Set changes what a brand says about its channel. CodeConflict: it would look like a channel of somebody else (see Alike).
func (s *Service) Set(ctx context.Context, id store.LogID, f Fields) (*Channel, bool, error) {
	if f.Title != nil && !f.Alike {
		done, err := s.take(ctx)
		if err != nil {
			return nil, false, err
		}
		defer done()
		c, err := s.Get(id)
		if err != nil {
			return nil, false, err
		}
		if c.Title != *f.Title { // one that an operator has let pass stays
			c.Title = *f.Title
			like, err := s.Alike(c)
			if err != nil {
				return nil, false, err
			}
			if like != nil {
				return nil, false, taken(like)
			}
		}
	}
	return s.change(ctx, id, f.apply)
}

// Pause stops a channel's deliveries, or lets them go on: what has not reached a follower waits.
func (s *Service) Pause(ctx context.Context, id store.LogID, on bool) (*Channel, bool, error) {
	return s.change(ctx, id, func(c *graph.Channel) error {
		switch {
		case !on:
			c.Paused = 0
		case c.Paused == 0:
			c.Paused = s.now().UnixMilli()
		}
		return nil
	})
}

// Approve lets a channel begin. plan "" leaves its plan as it is.
func (s *Service) Approve(ctx context.Context, id store.LogID, plan string) (*Channel, bool, error) {
	if plan != "" {
		if _, err := s.Plan(plan); err != nil {
			return nil, false, err
		}
	}
	return s.change(ctx, id, func(c *graph.Channel) error {
		if c.Approved == 0 {
			c.Approved = s.now().UnixMilli()
		}
		if plan != "" {
			c.Plan = plan
		}
		return nil
	})
}

// Suspend shuts a channel down for a reason that its publishers are told, or reinstates it.
func (s *Service) Suspend(ctx context.Context, id store.LogID, on bool, reason string) (*Channel, bool, error) {
	return s.change(ctx, id, func(c *graph.Channel) error {
		switch {
		case !on:
			c.Suspended, c.SuspendedReason = 0, ""
		case c.Suspended == 0:
			c.Suspended, c.SuspendedReason = s.now().UnixMilli(), reason
		default:
			c.SuspendedReason = reason
		}
		return nil
	})
}
