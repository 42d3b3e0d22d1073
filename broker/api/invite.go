package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

func sortMembers(list []member) {
	slices.SortFunc(list, func(x, y member) int { return strings.Compare(x.Name, y.Name) })
}

type roomUsersIn struct {
	Room  string   `json:"room" doc:"The room's identifier."`
	Users []string `json:"users" doc:"Identifiers of users."`
}

type refusal struct {
	User string `json:"user"`
	Code int    `json:"code"`
	Word string `json:"error" doc:"The protocol word of the refusal."`
}

type roomInviteOut struct {
	Added   []string  `json:"added" doc:"Who became a member."`
	Already []string  `json:"already,omitempty" doc:"Who was one."`
	Refused []refusal `json:"refused,omitempty" doc:"Who was not added, and why."`
}

func (a *API) roomInvite(ctx context.Context, c *caller, in *roomUsersIn) (*roomInviteOut, error) {
	return a.addMembers(ctx, c, in.Room, in.Users, store.RoleMember)
}

// addMembers makes users members of a room, each with a record of its own. If there is one user only, its refusal is the
// refusal of the request.
func (a *API) addMembers(ctx context.Context, c *caller, room string, users []string, role store.Role) (*roomInviteOut, error) {
	names, err := a.userNames(users)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, room)
	if err != nil {
		return nil, err
	}
	if r, err := a.graph.Room(info.ID); err != nil || r.Open {
		done()
		if err != nil {
			return nil, fmt.Errorf("api: room: %w", err)
		}
		return nil, store.Bad("nobody is brought into an open room: tell its identifier, and open.join")
	}
	out := &roomInviteOut{Added: []string{}}
	var added []store.AccountID
	for _, n := range names {
		u, err := a.invitee(c, info.Members, n)
		if err == nil && info.Members.Role(u.ID) != store.RoleNone {
			out.Already = append(out.Already, n)
			continue
		}
		if err == nil {
			err = a.join(ctx, c, &info, u.ID, role)
		}
		switch code := store.CodeOf(err); {
		case err == nil:
			out.Added = append(out.Added, n)
			added = append(added, u.ID)
			continue
		case len(names) > 1 && (code == store.CodeForbidden || code == store.CodeNotFound || code == store.CodeFull):
			out.Refused = append(out.Refused, refusal{n, int(code), view.Failure(err, "", view.English).Word})
			continue
		}
		done()
		return nil, err
	}
	done()
	for _, u := range added {
		a.notify(ctx, u, view.Notice{What: view.NoticeInvited, Who: c.account.ID, Room: info.Key.Name}, "")
	}
	return out, nil
}

// userNames checks a list of users.
func (a *API) userNames(users []string) ([]string, error) {
	switch {
	case len(users) == 0:
		return nil, store.Bad("users is missing: name at least one")
	case len(users) > a.limits().Batch:
		return nil, tooLarge("users", a.limits().Batch, "names")
	}
	names := make([]string, 0, len(users))
	for _, s := range users {
		n, err := name("a user's identifier", s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names, nil
}

var errNotTheirFriend = store.Forbidden(store.ReasonNotFriend, "only users who have you as a friend can be invited")

// invitee is whom the caller may add: a user who has the caller as a friend, or is a member already. That the user does
// not exist, does not have the caller, or blocks the caller is one answer.
func (a *API) invitee(c *caller, members *store.Membership, n string) (store.Account, error) {
	u, err := a.store.AccountByName(n)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return u, fmt.Errorf("api: account: %w", err)
	}
	missing := err != nil
	if c.id.Operator {
		if missing {
			return u, errNoUser
		}
		return u, nil
	}
	me := c.account.ID
	if !missing && members.Role(u.ID) != store.RoleNone {
		return u, nil
	}
	mine, err := a.store.HasEdge(store.EdgeBlock, me, u.ID)
	if err != nil {
		return u, fmt.Errorf("api: edge: %w", err)
	}
	friend, err := a.store.HasEdge(store.EdgeFriend, u.ID, me)
	if err != nil {
		return u, fmt.Errorf("api: edge: %w", err)
	}
	theirs, err := a.store.HasEdge(store.EdgeBlock, u.ID, me)
	if err != nil {
		return u, fmt.Errorf("api: edge: %w", err)
	}
	switch {
	case mine:
		return u, store.Forbidden(store.ReasonYouBlocked, "you have blocked this user: unblock first")
	case missing || !friend || theirs || u.State == store.AccountSuspended:
		return u, errNotTheirFriend
	}
	return u, nil
}

// join adds one member. The caller has the room's turn, so the limit holds.
func (a *API) join(ctx context.Context, c *caller, info *store.LogInfo, u store.AccountID, role store.Role) error {
	if info.Members.Active >= a.limits().Group {
		return full("group", "the room has all the members it may have", a.limits().Group)
	}
	if err := a.roomForRoom(u); err != nil {
		return err
	}
	return a.change(ctx, c, info, store.Change{Kind: store.ChangeJoin, Account: u, Role: role}, store.RoleMember)
}

type roomRemoveOut struct {
	Removed []string  `json:"removed" doc:"Who is no member any more."`
	Refused []refusal `json:"refused,omitempty" doc:"Who was not removed, and why."`
}

func (a *API) roomRemove(ctx context.Context, c *caller, in *roomUsersIn) (*roomRemoveOut, error) {
	names, err := a.userNames(in.Users)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	if !c.id.Operator && info.Members.Role(c.account.ID) < store.RoleModerator {
		return nil, store.Forbidden(store.ReasonRole, "only moderators and the owner remove members")
	}
	out := &roomRemoveOut{Removed: []string{}}
	for _, n := range names {
		err := a.expel(ctx, c, &info, n)
		switch code := store.CodeOf(err); {
		case err == nil:
			out.Removed = append(out.Removed, n)
		case len(names) > 1 && (code == store.CodeForbidden || code == store.CodeNotFound):
			out.Refused = append(out.Refused, refusal{n, int(code), view.Failure(err, "", view.English).Word})
		default:
			return nil, err
		}
	}
	return out, nil
}

// expel removes one member. Moderators remove members, the owner everybody else.
func (a *API) expel(ctx context.Context, c *caller, info *store.LogInfo, n string) error {
	u, err := a.named(c, *info, n)
	if err != nil {
		return err
	}
	role := info.Members.Role(u)
	if role == store.RoleNone {
		return errNoMember
	}
	if !c.id.Operator {
		switch {
		case u == c.account.ID:
			return store.Forbidden(store.ReasonRole, "leave with room.leave")
		case role >= info.Members.Role(c.account.ID):
			return store.Forbidden(store.ReasonRole, "only somebody with a greater role removes this member")
		}
	}
	if c.id.Operator {
		if heir := successor(info.Members, u); heir != 0 {
			if err := a.change(ctx, c, info, store.Change{Kind: store.ChangeRole, Account: heir, Role: store.RoleOwner}, store.RoleNone); err != nil {
				return err
			}
		}
	}
	return a.change(ctx, c, info, store.Change{Kind: store.ChangeRemove, Account: u}, store.RoleModerator)
}
