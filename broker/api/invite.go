package api

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

type roomInviteOut struct {
	Joined  []string  `json:"joined" doc:"Who became a member at once."`
	Pending []string  `json:"pending" doc:"Who was asked: the invitation can be accepted for 72 hours, and nothing more is told until the user comes in."`
	Already []string  `json:"already,omitempty" doc:"Who was a member."`
	Refused []refusal `json:"refused,omitempty" doc:"Who was not invited, and why."`
}

// telling is an invitation on its way to the devices of the invited user, or as if.
type telling struct {
	user   store.AccountID
	what   string
	hidden bool
}

func (a *API) roomInvite(ctx context.Context, c *caller, in *roomUsersIn) (*roomInviteOut, error) {
	names, err := a.userNames(in.Users)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	out := &roomInviteOut{Joined: []string{}, Pending: []string{}}
	var tell []telling
	set, err := a.usable(&info)
	if err == nil && set.Open {
		err = errBrought
	}
	if err == nil && !set.MayInvite(info.Members.Role(c.account.ID)) {
		err = store.Forbidden(store.ReasonRole, "only moderators and the owner invite into this room")
	}
	if err == nil {
		out.Refused, err = each(names, func(n string) error {
			ask, err := a.invite(ctx, c, &info, set, n, out)
			if ask.user != 0 {
				tell = append(tell, ask)
			}
			return err
		})
	}
	done()
	for _, t := range tell { // what was written is told, also if a later one failed
		a.notice(ctx, t.user, view.Notice{What: t.what, Who: c.account.ID, Room: info.Key.Name}, "", t.hidden)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// invite invites one user. Whether the user sees a pending invitation shows in nothing that the inviter can see: the
// same is written, and the same said.
func (a *API) invite(ctx context.Context, c *caller, info *store.LogInfo, set *graph.Room, n string, out *roomInviteOut) (telling, error) {
	i, err := a.broker.Access().Invite(ctx, c.account.ID, *info, n, a.capacity(set), a.limits().Invites)
	if err != nil {
		return telling{}, err
	}
	u := i.Invited.ID
	switch i.Outcome {
	case policy.Noop:
		out.Already = append(out.Already, n)
		return telling{}, nil
	case policy.Join:
		err := a.join(ctx, c, info, set, u, store.RoleMember, store.RoleMember)
		if err == nil {
			out.Joined = append(out.Joined, n)
			return telling{user: u, what: view.NoticeAdded}, nil
		}
		if store.CodeOf(err) != store.CodeFull { // too many rooms: the user may leave one and accept
			return telling{}, err
		}
	}
	shown, err := a.graph.Invite(ctx, info.ID, u, c.account.ID, i.Outcome == policy.PendingShadow)
	if err != nil {
		return telling{}, fmt.Errorf("api: invite: %w", err)
	}
	out.Pending = append(out.Pending, n)
	return telling{user: u, what: view.NoticeInvited, hidden: !shown}, nil
}

type invitation struct {
	Room    string    `json:"room"`
	Title   string    `json:"title,omitempty"`
	Picture string    `json:"picture,omitempty"`
	Members int       `json:"members"`
	By      string    `json:"by" doc:"Who invites; of several the first."`
	Display string    `json:"display" doc:"Of who invites."`
	Time    time.Time `json:"time"`
	Expires time.Time `json:"expires"`
}

type invitationsOut struct {
	Invitations []invitation `json:"invitations" doc:"That can be accepted now, each room once."`
}

func (a *API) roomInvitations(_ context.Context, c *caller, _ *none) (*invitationsOut, error) {
	list, err := a.graph.Invitations(c.account.ID)
	if err != nil {
		return nil, fmt.Errorf("api: invitations: %w", err)
	}
	out := &invitationsOut{Invitations: []invitation{}}
	last := store.LogID(0)
	for _, i := range list { // those of one room are neighbours
		if i.Room == last {
			continue
		}
		info, err := a.store.Info(i.Room)
		if store.CodeOf(err) == store.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("api: info: %w", err)
		}
		set, err := a.invited(c, &info, i)
		if err != nil {
			return nil, err
		}
		by, err := a.store.Account(i.By)
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return nil, fmt.Errorf("api: account: %w", err)
		}
		if set == nil || set.Closed != 0 || err != nil {
			continue
		}
		last = i.Room
		out.Invitations = append(out.Invitations, invitation{Room: info.Key.Name, Title: info.Title, Picture: set.Picture, Members: info.Members.Active,
			By: by.Name, Display: by.Shown(), Time: time.UnixMilli(i.Time).UTC(), Expires: time.UnixMilli(i.Expires).UTC()})
	}
	return out, nil
}

// invited reports whether an invitation of the caller still holds: the caller is not in, nor banned, and who invited it
// may still do so. If so it returns what is set about the room, else nil.
func (a *API) invited(c *caller, info *store.LogInfo, i graph.Invitation) (*graph.Room, error) {
	set, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	me, err := a.graph.RoomMember(info.ID, c.account.ID)
	if err != nil {
		return nil, fmt.Errorf("api: member: %w", err)
	}
	if info.Members.Role(c.account.ID) != store.RoleNone || me.Banned != 0 || !set.MayInvite(info.Members.Role(i.By)) {
		return nil, nil
	}
	return set, nil
}

// errNoInvitation is also what is told about a room that does not exist, and about an invitation that does not hold any
// more.
var errNoInvitation = notFound("you have no invitation into such a room")

// invitedTo is a room into which the caller is invited, within the room's turn.
func (a *API) invitedTo(ctx context.Context, c *caller, room string) (info store.LogInfo, list []graph.Invitation, done func(), err error) {
	n, err := name("room", room)
	if err != nil {
		return info, nil, nil, err
	}
	info, err = a.store.Find(store.RoomKey(n))
	if store.CodeOf(err) == store.CodeNotFound {
		return info, nil, nil, errNoInvitation
	}
	if err != nil {
		return info, nil, nil, fmt.Errorf("api: find: %w", err)
	}
	if done, err = a.turns.take(ctx, uint64(info.ID)); err != nil {
		return info, nil, nil, err
	}
	if info, err = a.store.Info(info.ID); err == nil {
		list, err = a.graph.InvitationsTo(c.account.ID, info.ID)
	}
	if err != nil {
		done()
		return info, nil, nil, fmt.Errorf("api: invitation: %w", err)
	}
	return info, list, done, nil
}

type roomAcceptOut struct {
	Room  string `json:"room"`
	Title string `json:"title,omitempty"`
}

func (a *API) roomAccept(ctx context.Context, c *caller, in *roomIn) (*roomAcceptOut, error) {
	info, list, done, err := a.invitedTo(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	joined, err := a.accept(ctx, c, &info, list)
	done()
	if err != nil {
		return nil, err
	}
	if joined {
		a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeAnswered, Room: info.Key.Name}, "")
	}
	return &roomAcceptOut{info.Key.Name, info.Title}, nil
}

// accept makes the caller a member if one of its invitations holds; joined is false if it was one.
func (a *API) accept(ctx context.Context, c *caller, info *store.LogInfo, list []graph.Invitation) (joined bool, err error) {
	if info.Members.Role(c.account.ID) != store.RoleNone {
		return false, nil
	}
	for _, i := range list {
		set, err := a.invited(c, info, i)
		if err != nil {
			return false, err
		}
		if set == nil {
			continue
		}
		if set, err = a.usable(info); err != nil {
			return false, err
		}
		return true, a.join(ctx, c, info, set, c.account.ID, store.RoleMember, store.RoleNone)
	}
	return false, errNoInvitation
}

func (a *API) roomRefuse(ctx context.Context, c *caller, in *roomIn) (*none, error) {
	info, list, done, err := a.invitedTo(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		done()
		return nil, errNoInvitation
	}
	err = a.graph.Refuse(ctx, c.account.ID, info.ID, 0)
	done()
	if err != nil {
		return nil, fmt.Errorf("api: refuse: %w", err)
	}
	a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeAnswered, Room: info.Key.Name}, "")
	return &none{}, nil
}

type roomWithdrawOut struct {
	Withdrawn []string  `json:"withdrawn" doc:"Whose invitations are void."`
	Refused   []refusal `json:"refused,omitempty" doc:"Who has none, as far as the asking user may know."`
}

func (a *API) roomWithdraw(ctx context.Context, c *caller, in *roomUsersIn) (*roomWithdrawOut, error) {
	names, err := a.userNames(in.Users)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	by := c.account.ID
	if info.Members.Role(by) >= store.RoleModerator {
		by = 0 // everybody's
	}
	out := &roomWithdrawOut{Withdrawn: []string{}}
	var tell []telling
	out.Refused, err = each(names, func(n string) error {
		u, err := a.store.AccountByName(n)
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return fmt.Errorf("api: account: %w", err)
		}
		found, shown := false, false
		if err == nil {
			if found, shown, err = a.graph.Uninvite(ctx, info.ID, u.ID, by); err != nil {
				return fmt.Errorf("api: withdraw: %w", err)
			}
		}
		if !found {
			return notFound("this user is not invited")
		}
		out.Withdrawn, tell = append(out.Withdrawn, n), append(tell, telling{u.ID, view.NoticeWithdrawn, !shown})
		return nil
	})
	done()
	for _, t := range tell {
		a.notice(ctx, t.user, view.Notice{What: t.what, Room: info.Key.Name}, "", t.hidden)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

type roomInvitedIn struct {
	Room  string `json:"room" doc:"The room's identifier."`
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Users of a page; absent: 100."`
}

type invitedUser struct {
	User    string    `json:"user"`
	By      string    `json:"by,omitempty" doc:"Who invites."`
	Time    time.Time `json:"time"`
	Expires time.Time `json:"expires"`
}

type roomInvitedOut struct {
	Invited []invitedUser `json:"invited" doc:"Who was asked and has not come in."`
	Next    string        `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) roomInvited(ctx context.Context, c *caller, in *roomInvitedIn) (*roomInvitedOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	from, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	done()
	all := info.Members.Role(c.account.ID) >= store.RoleModerator
	out := &roomInvitedOut{Invited: []invitedUser{}}
	for after := store.AccountID(from); ; {
		list, err := a.graph.InvitationsInto(info.ID, after, 0)
		if err != nil {
			return nil, fmt.Errorf("api: invited: %w", err)
		}
		for _, i := range list {
			if len(out.Invited) >= limit && i.Invited != after {
				out.Next = strconv.FormatUint(uint64(after), 36)
				return out, nil
			}
			after = i.Invited
			if !all && i.By != c.account.ID {
				continue
			}
			u, err := a.store.Account(i.Invited)
			if store.CodeOf(err) == store.CodeNotFound {
				continue // gone
			}
			if err != nil {
				return nil, fmt.Errorf("api: account: %w", err)
			}
			out.Invited = append(out.Invited, invitedUser{u.Name, a.broker.Name(i.By), time.UnixMilli(i.Time).UTC(), time.UnixMilli(i.Expires).UTC()})
		}
		if len(list) == 0 {
			return out, nil
		}
	}
}
