package api

import (
	"context"
	"fmt"
	"strconv"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

type userIn struct {
	User string `json:"user" doc:"The user's identifier."`
}

type changedOut struct {
	Changed bool `json:"changed" doc:"False: it was so before."`
}

func (a *API) contactAdd(ctx context.Context, c *caller, in *userIn) (*changedOut, error) {
	return a.setFriend(ctx, c, in.User, true)
}

func (a *API) contactRemove(ctx context.Context, c *caller, in *userIn) (*changedOut, error) {
	return a.setFriend(ctx, c, in.User, false)
}

func (a *API) setFriend(ctx context.Context, c *caller, user string, on bool) (*changedOut, error) {
	u, err := a.other(ctx, c, user)
	if err != nil {
		return nil, err
	}
	changed, err := a.graph.SetFriend(ctx, c.account.ID, u.ID, on, a.limits().Friends)
	switch {
	case store.CodeOf(err) == store.CodeFull:
		return nil, full("friends", "the list of friends is full", a.limits().Friends)
	case err != nil:
		return nil, fmt.Errorf("api: friend: %w", err)
	}
	if changed {
		a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeFriends, Who: u.ID}, "")
	}
	return &changedOut{changed}, nil
}

type contactSetIn struct {
	User      string `json:"user" doc:"The identifier of a friend."`
	Favourite *bool  `json:"favourite,omitempty" doc:"Whether it is marked as a favourite; absent: as it is."`
}

func (a *API) contactSet(ctx context.Context, c *caller, in *contactSetIn) (*changedOut, error) {
	u, err := a.other(ctx, c, in.User)
	if err != nil {
		return nil, err
	}
	me := c.account.ID
	out := &changedOut{}
	err = a.graph.ChangeRelation(ctx, me, u.ID, func(r *graph.Relation) ([]store.EdgePut, error) {
		friend, err := a.store.HasEdge(store.EdgeFriend, me, u.ID)
		if err != nil {
			return nil, fmt.Errorf("api: edge: %w", err)
		}
		if !friend {
			return nil, store.Forbidden(store.ReasonNotFriend, "only friends can be marked: add the user first")
		}
		if out.Changed = in.Favourite != nil && r.Favourite != *in.Favourite; out.Changed {
			r.Favourite = *in.Favourite
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	if out.Changed {
		a.notify(ctx, me, view.Notice{What: view.NoticeFriends, Who: u.ID}, "")
	}
	return out, nil
}

// other finds somebody else whom a request names, within the budget of look-ups.
func (a *API) other(ctx context.Context, c *caller, user string) (store.Account, error) {
	u, err := a.lookup(ctx, c, "user", user)
	if err == nil && u.ID == c.account.ID {
		err = store.Bad("user must be somebody else")
	}
	return u, err
}

func (a *API) edge(ctx context.Context, c *caller, kind store.Edge, user string, on bool) (*changedOut, error) {
	u, err := a.other(ctx, c, user)
	if err != nil {
		return nil, err
	}
	changed, err := a.setEdge(ctx, kind, c.account.ID, u.ID, on)
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
	Name      string `json:"name"`
	Display   string `json:"display"`
	Favourite bool   `json:"favourite,omitempty" doc:"The user has marked this friend."`
}

type usersOut struct {
	Users []user `json:"users"`
	Next  string `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

type contactListIn struct {
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Items of a page; absent: 100."`
	Since string `json:"since,omitempty" doc:"Tell what has changed instead: 0 at first, then the token of the answer before. Not with after."`
}

type contactListOut struct {
	Users   []user   `json:"users"`
	Next    string   `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
	Removed []string `json:"removed,omitempty" doc:"With since: who is no friend any more."`
	Token   string   `json:"token,omitempty" doc:"With since: for the next time. Absent: the list is too long for changes; read it in pages."`
	More    bool     `json:"more,omitempty" doc:"With since: there is more; ask again with the token."`
	Full    bool     `json:"full,omitempty" doc:"With since: the token was unknown or too old; what is not told any more is gone."`
}

func (a *API) contactList(ctx context.Context, c *caller, in *contactListIn) (*contactListOut, error) {
	if in.Since == "" {
		list, err := a.edges(store.EdgeFriend, c.account.ID, &pageIn{in.After, in.Limit})
		if err != nil {
			return nil, err
		}
		return &contactListOut{Users: list.Users, Next: list.Next}, nil
	}
	if in.After != "" {
		return nil, store.Bad("since and after do not go together")
	}
	most, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	changes, err := a.finder.FriendsSince(ctx, c.account.ID, in.Since, most)
	if err != nil {
		return nil, err
	}
	out := &contactListOut{Users: make([]user, 0, len(changes.Friends)), Removed: changes.Removed,
		Token: changes.Token, More: changes.More, Full: changes.Full}
	for _, f := range changes.Friends {
		out.Users = append(out.Users, user{f.Account.Name, f.Account.Shown(), f.Favourite})
	}
	return out, nil
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
	var favourites map[store.AccountID]bool
	if kind == store.EdgeFriend {
		if favourites, err = a.finder.Favourites(me); err != nil {
			return nil, err
		}
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
		out.Users = append(out.Users, user{u.Name, u.Shown(), favourites[id]})
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
	out, err := a.edge(ctx, c, store.EdgeBlock, in.User, in.On == nil || *in.On)
	if err == nil && out.Changed {
		a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeBlocked}, "")
	}
	return out, err
}
