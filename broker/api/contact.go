package api

import (
	"context"
	"fmt"
	"strconv"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

type userIn struct {
	User string `json:"user" doc:"The user's identifier."`
}

type changedOut struct {
	Changed bool `json:"changed" doc:"False: it was so before."`
}

func (a *API) contactAdd(ctx context.Context, c *caller, in *userIn) (*changedOut, error) {
	return a.edge(ctx, store.EdgeFriend, c.account.ID, in.User, true)
}

func (a *API) contactRemove(ctx context.Context, c *caller, in *userIn) (*changedOut, error) {
	return a.edge(ctx, store.EdgeFriend, c.account.ID, in.User, false)
}

func (a *API) edge(ctx context.Context, kind store.Edge, me store.AccountID, user string, on bool) (*changedOut, error) {
	u, err := a.user1("user", user)
	if err != nil {
		return nil, err
	}
	if u.ID == me {
		return nil, store.Bad("user must be somebody else")
	}
	changed, err := a.setEdge(ctx, kind, me, u.ID, on)
	return &changedOut{changed}, err
}

func (a *API) setEdge(ctx context.Context, kind store.Edge, from, to store.AccountID, on bool) (bool, error) {
	word, what, limit := "friends", "the list of friends is full", a.limits().Friends
	if kind == store.EdgeBlock {
		word, what, limit = "blocks", "the list of blocked users is full", a.limits().Blocks
	}
	changed, err := a.store.SetEdge(ctx, kind, from, to, on, limit)
	switch {
	case store.CodeOf(err) == store.CodeFull:
		return false, full(word, what, limit)
	case err != nil:
		return false, fmt.Errorf("api: edge: %w", err)
	}
	return changed, nil
}

type pageIn struct {
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Items of a page; absent: 100."`
}

type user struct {
	Name    string `json:"name"`
	Display string `json:"display"`
}

type usersOut struct {
	Users []user `json:"users"`
	Next  string `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) contactList(_ context.Context, c *caller, in *pageIn) (*usersOut, error) {
	return a.edges(store.EdgeFriend, c.account.ID, in)
}

func (a *API) blockList(_ context.Context, c *caller, in *pageIn) (*usersOut, error) {
	return a.edges(store.EdgeBlock, c.account.ID, in)
}

func (a *API) edges(kind store.Edge, me store.AccountID, in *pageIn) (*usersOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	after, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	list, err := a.store.Edges(kind, me, store.AccountID(after), limit+1)
	if err != nil {
		return nil, fmt.Errorf("api: edges: %w", err)
	}
	out := &usersOut{Users: make([]user, 0, min(len(list), limit))}
	if len(list) > limit {
		list = list[:limit]
		out.Next = strconv.FormatUint(uint64(list[limit-1]), 36)
	}
	for _, id := range list {
		u, err := a.store.Account(id)
		if store.CodeOf(err) == store.CodeNotFound {
			continue // gone
		}
		if err != nil {
			return nil, fmt.Errorf("api: account: %w", err)
		}
		out.Users = append(out.Users, user{u.Name, u.Shown()})
	}
	return out, nil
}

// numberAfter reads a position between pages.
func numberAfter(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 36, 64)
	if err != nil {
		return 0, store.Bad("after must be what the page before told as next")
	}
	return n, nil
}

type blockSetIn struct {
	User string `json:"user" doc:"The user's identifier."`
	On   *bool  `json:"on,omitempty" doc:"False unblocks; absent: true."`
}

func (a *API) blockSet(ctx context.Context, c *caller, in *blockSetIn) (*changedOut, error) {
	out, err := a.edge(ctx, store.EdgeBlock, c.account.ID, in.User, in.On == nil || *in.On)
	if err == nil && out.Changed {
		a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeBlocked}, "")
	}
	return out, err
}
