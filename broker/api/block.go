package api

import (
	"context"
	"fmt"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// The levels of a block.
const (
	levelNone     = "none"
	levelMessages = "messages"
	levelProfile  = "profile"
)

var levels = map[string]graph.Block{levelNone: graph.BlockNone, levelMessages: graph.BlockMessages, levelProfile: graph.BlockProfile}

type blockSetIn struct {
	User  string `json:"user" doc:"The user's identifier."`
	On    *bool  `json:"on,omitempty" doc:"False unblocks; absent: true."`
	Level string `json:"level,omitempty" doc:"messages: what the user sends is not shown. profile: and the own profile looks to it like one that was never filled in. none unblocks. Absent: messages."`
}

func (in *blockSetIn) level() (graph.Block, error) {
	off := in.On != nil && !*in.On
	if in.Level == "" {
		in.Level = levelMessages
		if off {
			in.Level = levelNone
		}
	}
	level, ok := levels[in.Level]
	switch {
	case !ok:
		return 0, store.Bad("level must be none, messages or profile")
	case in.On != nil && *in.On != (level != graph.BlockNone):
		return 0, store.Bad("on and level contradict each other")
	}
	return level, nil
}

func (a *API) blockSet(ctx context.Context, c *caller, in *blockSetIn) (*changedOut, error) {
	level, err := in.level()
	if err != nil {
		return nil, err
	}
	u, err := a.other(ctx, c, in.User)
	if err != nil {
		return nil, err
	}
	me, limit := c.account.ID, a.limits().Blocks
	watch, err := a.broker.Watch(me, u.ID)
	if err != nil {
		return nil, fmt.Errorf("api: presence: %w", err)
	}
	changed, err := a.graph.SetBlock(ctx, me, u.ID, level, false, limit)
	switch {
	case store.CodeOf(err) == store.CodeFull:
		return nil, full("blocks", "the list of blocked users is full", limit)
	case err != nil:
		return nil, fmt.Errorf("api: block: %w", err)
	}
	if level == graph.BlockNone {
		// What comes from now on must find a member: not the blocked one's next message, which would take longer than one
		// before the block.
		err = a.broker.Admit(ctx, me, u.ID)
	} else {
		err = a.broker.DeclineRequests(ctx, me, u.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("api: block: %w", err)
	}
	if changed {
		a.tellWatch(watch)
		a.notify(ctx, me, view.Notice{What: view.NoticeBlocked}, "")
	}
	return &changedOut{changed}, nil
}

func (a *API) blockList(_ context.Context, c *caller, in *pageIn) (*usersOut, error) {
	return a.people(in, func(after store.AccountID, most int) ([]related, error) { return a.blocked(c.account.ID, after, most) })
}

// blocked lists whom a user has blocked knowingly, by number. Whom it has declined is not listed.
func (a *API) blocked(me, after store.AccountID, most int) ([]related, error) {
	var out []related
	for len(out) < most {
		step := min(most-len(out)+16, 1000)
		ids, err := a.store.Edges(store.EdgeBlock, me, after, step)
		if err != nil {
			return nil, fmt.Errorf("api: edges: %w", err)
		}
		for _, id := range ids {
			r, err := a.graph.Relation(me, id)
			if err != nil {
				return nil, err
			}
			level := levelMessages
			if r.Block == graph.BlockProfile {
				level = levelProfile
			}
			if r.Refuses() {
				out = append(out, related{id: id, level: level})
			}
			after = id
		}
		if len(ids) < step {
			break
		}
	}
	return out[:min(len(out), most)], nil
}
