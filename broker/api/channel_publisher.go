package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

type publisherSetIn struct {
	channelIn
	User string `json:"user" doc:"A user's identifier."`
	Role string `json:"role,omitempty" doc:"owner, editor or publisher; absent: publisher."`
}

type publisherSetOut struct {
	Pending bool `json:"pending,omitempty" doc:"The user was asked, and may accept for 72 hours."`
}

func (o *publisherSetOut) unfinished() bool { return o.Pending }

func (a *API) publisherSet(ctx context.Context, c *caller, in *publisherSetIn) (*publisherSetOut, error) {
	role := store.RoleMember
	var err error
	if in.Role != "" {
		if role, err = channel.ParseRole(in.Role); err != nil {
			return nil, err
		}
	}
	n, err := name("user", in.User)
	if err != nil {
		return nil, err
	}
	ch, err := a.published(c, in.Channel, store.RoleOwner)
	if err != nil {
		return nil, err
	}
	u, err := a.store.AccountByName(n)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return nil, fmt.Errorf("api: account: %w", err)
	}
	there := err == nil
	if c.id.Operator && !there {
		return nil, errNoUser
	}
	if there && (c.id.Operator || ch.Role(u.ID) != store.RoleNone) {
		if ch.Role(u.ID) == role {
			return &publisherSetOut{}, nil
		}
		if err := a.channels.SetPublisher(ctx, ch.ID, u.ID, role, c.account.ID); err != nil {
			return nil, err
		}
		a.tellMembers(ctx, ch.ID, u.ID, view.NoticePublisher)
		return &publisherSetOut{}, nil
	}
	if _, err := a.channels.Ask(ctx, ch.ID, n, role, c.account.ID); err != nil {
		return nil, err
	}
	// Who has the asking user as a friend is told. Anybody else must hear of it otherwise, or a channel would be a way to
	// write to strangers; it can accept all the same.
	friend := false
	if there {
		if friend, err = a.store.HasEdge(store.EdgeFriend, u.ID, c.account.ID); err != nil {
			return nil, fmt.Errorf("api: friend: %w", err)
		}
		blocks, err := a.store.HasEdge(store.EdgeBlock, u.ID, c.account.ID)
		if err != nil {
			return nil, fmt.Errorf("api: block: %w", err)
		}
		a.notice(ctx, u.ID, view.Notice{What: view.NoticePublish, Who: c.account.ID, Channel: ch.Name}, "", !friend || blocks)
	}
	return &publisherSetOut{Pending: true}, nil
}

// tellMembers tells who is concerned by a change of publishers, and the publishers.
func (a *API) tellMembers(ctx context.Context, id store.LogID, who store.AccountID, what string) {
	ch, err := a.channels.Get(id)
	if err != nil {
		a.log.Warn("publishers not told", keyErr, err)
		return
	}
	a.notify(ctx, who, view.Notice{What: what, Channel: ch.Name}, "")
	a.tellPublishers(ctx, ch, view.NoticeChannel, "", who)
}

func (a *API) publisherAccept(ctx context.Context, c *caller, in *channelIn) (*shownChannel, error) {
	n, err := name("channel", in.Channel)
	if err != nil {
		return nil, err
	}
	ch, err := a.channels.Find(n)
	if err != nil {
		return nil, notFound("nobody asks you to publish in this channel")
	}
	if _, err := a.channels.Accept(ctx, ch.ID, c.account); err != nil {
		return nil, err
	}
	a.tellMembers(ctx, ch.ID, c.account.ID, view.NoticePublisher)
	if ch, err = a.channels.Get(ch.ID); err != nil {
		return nil, err
	}
	return a.shownChannel(c, ch)
}

type publisherRemoveIn struct {
	channelIn
	User string `json:"user" doc:"A publisher, or one who was asked."`
}

func (a *API) publisherRemove(ctx context.Context, c *caller, in *publisherRemoveIn) (*changedOut, error) {
	n, err := name("user", in.User)
	if err != nil {
		return nil, err
	}
	least := store.RoleOwner
	if n == c.account.Name {
		least = store.RoleMember
	}
	ch, err := a.published(c, in.Channel, least)
	if err != nil {
		return nil, err
	}
	withdrawn, err := a.channels.Withdraw(ctx, ch.ID, n)
	if err != nil {
		return nil, err
	}
	u, err := a.store.AccountByName(n)
	if store.CodeOf(err) == store.CodeNotFound || err == nil && ch.Role(u.ID) == store.RoleNone {
		return &changedOut{withdrawn}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("api: account: %w", err)
	}
	if err := a.channels.RemovePublisher(ctx, ch.ID, u.ID, c.account.ID); err != nil {
		return nil, err
	}
	keys, err := a.keysOf(ch.Name, u.ID)
	if err != nil {
		return nil, err
	}
	for _, t := range keys {
		if err := a.removeToken(ctx, u.ID, tokenID(t.Hash)); err != nil && store.CodeOf(err) != store.CodeNotFound {
			return nil, err
		}
	}
	a.tellMembers(ctx, ch.ID, u.ID, view.NoticeUnpublished)
	return &changedOut{true}, nil
}

type publisher struct {
	User    string     `json:"user"`
	Display string     `json:"display,omitempty"`
	Role    string     `json:"role"`
	Since   *time.Time `json:"since,omitempty"`
	Pending bool       `json:"pending,omitempty" doc:"Was asked, and has not answered."`
	Expires *time.Time `json:"expires,omitempty" doc:"Until when it may accept."`
}

type publisherListOut struct {
	Publishers []publisher `json:"publishers"`
}

func (a *API) publisherList(_ context.Context, c *caller, in *channelIn) (*publisherListOut, error) {
	ch, err := a.published(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	out := &publisherListOut{Publishers: []publisher{}}
	for _, m := range ch.Log.Members.Members {
		if m.Role == store.RoleNone {
			continue
		}
		u, err := a.store.Account(m.Account)
		if store.CodeOf(err) == store.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("api: account: %w", err)
		}
		out.Publishers = append(out.Publishers, publisher{User: u.Name, Display: u.Shown(), Role: channel.RoleWord(m.Role), Since: at(m.Since)})
	}
	slices.SortFunc(out.Publishers, func(x, y publisher) int { return strings.Compare(x.User, y.User) })
	if !c.id.Operator && ch.Role(c.account.ID) < store.RoleOwner {
		return out, nil
	}
	offers, err := a.channels.Offers(ch.ID)
	if err != nil {
		return nil, err
	}
	for _, o := range offers {
		out.Publishers = append(out.Publishers, publisher{User: o.Name, Role: channel.RoleWord(o.Role), Pending: true, Expires: at(o.Expires)})
	}
	return out, nil
}

type keyCreateIn struct {
	channelIn
	Label   string `json:"label,omitempty"`
	For     string `json:"for,omitempty" doc:"posts (the default): what a publisher's program does. redeem: a shop's till, which redeems the channel's coupons and does nothing else."`
	Expires int64  `json:"expires_in,omitempty" doc:"Seconds the key lives; absent: it does not end."`
}

// keyScopes are the kinds of scope of a channel's keys, by what a key is for.
var keyScopes = map[string]string{"": hooks.ScopeChannel, "posts": hooks.ScopeChannel, "redeem": hooks.ScopeRedeem}

func (a *API) keyCreate(ctx context.Context, c *caller, in *keyCreateIn) (*issued, error) {
	ch, err := a.published(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	scope, known := keyScopes[in.For]
	if !known {
		return nil, store.Bad("for is posts or redeem")
	}
	t, err := a.draftToken(c.account.ID, in.Label, in.Expires)
	if err != nil {
		return nil, err
	}
	t.Scopes = []string{hooks.KeyScope(scope, ch.Name)}
	done, err := a.turns.take(ctx, uint64(c.account.ID))
	if err != nil {
		return nil, err
	}
	defer done()
	if err := a.roomForToken(ctx, c.account.ID); err != nil {
		return nil, err
	}
	return a.issue(ctx, t)
}

// keysOf are the keys of an account for a channel.
func (a *API) keysOf(name string, u store.AccountID) (out []store.Token, err error) {
	list, err := a.store.Tokens(u)
	if err != nil {
		return nil, fmt.Errorf("api: tokens: %w", err)
	}
	posts, redeem := hooks.KeyScope(hooks.ScopeChannel, name), hooks.KeyScope(hooks.ScopeRedeem, name)
	for _, t := range list {
		if slices.Contains(t.Scopes, posts) || slices.Contains(t.Scopes, redeem) {
			out = append(out, t)
		}
	}
	return out, nil
}

type channelKey struct {
	User string `json:"user" doc:"Whose key it is."`
	token
}

type keyListOut struct {
	Keys []channelKey `json:"keys"`
}

// keyHolders are the publishers whose keys the caller may see.
func (a *API) keyHolders(c *caller, ch *channel.Channel) (out []store.AccountID) {
	if !c.id.Operator && ch.Role(c.account.ID) < store.RoleOwner {
		return []store.AccountID{c.account.ID}
	}
	for _, m := range ch.Log.Members.Members {
		if m.Role != store.RoleNone {
			out = append(out, m.Account)
		}
	}
	return out
}

func (a *API) keyList(_ context.Context, c *caller, in *channelIn) (*keyListOut, error) {
	ch, err := a.published(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	out := &keyListOut{Keys: []channelKey{}}
	for _, u := range a.keyHolders(c, ch) {
		list, err := a.keysOf(ch.Name, u)
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			out.Keys = append(out.Keys, channelKey{a.nameOf(u), shownToken(t, c.id.Token)})
		}
	}
	return out, nil
}

type keyRemoveIn struct {
	channelIn
	Key string `json:"key" doc:"A key's id, as channel.key.list tells it."`
}

func (a *API) keyRemove(ctx context.Context, c *caller, in *keyRemoveIn) (*none, error) {
	ch, err := a.published(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	for _, u := range a.keyHolders(c, ch) {
		list, err := a.keysOf(ch.Name, u)
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			if tokenID(t.Hash) == in.Key {
				return &none{}, a.removeToken(ctx, u, in.Key)
			}
		}
	}
	return nil, notFound("there is no such key")
}
