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
	out, u, err := a.befriend(ctx, c, in.User, true)
	if err == nil && out.Changed { // a friend need not ask any more
		err = a.acceptWaiting(ctx, c.account.ID, u)
	}
	return out, err
}

func (a *API) contactRemove(ctx context.Context, c *caller, in *userIn) (*changedOut, error) {
	out, _, err := a.befriend(ctx, c, in.User, false)
	return out, err
}

func (a *API) befriend(ctx context.Context, c *caller, user string, on bool) (*changedOut, store.AccountID, error) {
	u, err := a.other(ctx, c, user)
	if err != nil {
		return nil, 0, err
	}
	changed, err := a.setFriend(ctx, c.account.ID, u.ID, on)
	if err == nil && changed {
		a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeFriends, Who: u.ID}, "")
	}
	return &changedOut{changed}, u.ID, err
}

func (a *API) setFriend(ctx context.Context, from, to store.AccountID, on bool) (bool, error) {
	limit := a.limits().Friends
	watch, err := a.broker.Watch(from, to)
	if err != nil {
		return false, fmt.Errorf("api: presence: %w", err)
	}
	changed, err := a.graph.SetFriend(ctx, from, to, on, limit)
	switch {
	case store.CodeOf(err) == store.CodeFull:
		return false, full("friends", "the list of friends is full", limit)
	case err != nil:
		return false, fmt.Errorf("api: friend: %w", err)
	}
	if changed {
		a.tellWatch(watch)
	}
	return changed, nil
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

type pageIn struct {
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Items of a page; absent: 100."`
}

type user struct {
	Name      string `json:"name"`
	Display   string `json:"display"`
	Favourite bool   `json:"favourite,omitempty" doc:"The user has marked this friend."`
	Level     string `json:"level,omitempty" doc:"Of a blocked user: messages or profile."`
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
		list, err := a.people(&pageIn{in.After, in.Limit}, func(after store.AccountID, most int) ([]related, error) {
			return a.friendsOf(c.account.ID, after, most)
		})
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
		out.Users = append(out.Users, user{Name: f.Account.Name, Display: f.Account.Shown(), Favourite: f.Favourite})
	}
	return out, nil
}

// friendsOf lists a user's friends by number.
func (a *API) friendsOf(me, after store.AccountID, most int) ([]related, error) {
	ids, err := a.store.Edges(store.EdgeFriend, me, after, most)
	if err != nil {
		return nil, fmt.Errorf("api: edges: %w", err)
	}
	favourites, err := a.finder.Favourites(me)
	if err != nil {
		return nil, err
	}
	out := make([]related, len(ids))
	for i, id := range ids {
		out[i] = related{id: id, favourite: favourites[id]}
	}
	return out, nil
}

// related is somebody on one of a user's lists.
type related struct {
	id        store.AccountID
	favourite bool
	level     string
}

// people is a page of one of a user's lists.
func (a *API) people(in *pageIn, list func(after store.AccountID, most int) ([]related, error)) (*usersOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	after, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	found, err := list(store.AccountID(after), limit+1)
	if err != nil {
		return nil, err
	}
	out := &usersOut{}
	if len(found) > limit {
		found = found[:limit]
		out.Next = strconv.FormatUint(uint64(found[limit-1].id), 36)
	}
	out.Users, err = a.shown(found)
	return out, err
}

func (a *API) shown(list []related) ([]user, error) {
	out := make([]user, 0, len(list))
	for _, r := range list {
		u, err := a.store.Account(r.id)
		if store.CodeOf(err) == store.CodeNotFound {
			continue // gone
		}
		if err != nil {
			return nil, fmt.Errorf("api: account: %w", err)
		}
		out = append(out, user{u.Name, u.Shown(), r.favourite, r.level})
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
