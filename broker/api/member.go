package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
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

// each does something for each of several users and lists who was refused. If there is one user only, its refusal is the
// refusal of the request; what is no refusal of one user ends it.
func each(names []string, do func(n string) error) (refused []refusal, err error) {
	for _, n := range names {
		err := do(n)
		switch code := store.CodeOf(err); {
		case err == nil:
		case len(names) > 1 && slices.Contains([]store.Code{store.CodeForbidden, store.CodeNotFound, store.CodeTooMany, store.CodeFull}, code):
			refused = append(refused, refusal{n, int(code), view.Failure(err, "", view.English).Word})
		default:
			return refused, err
		}
	}
	return refused, nil
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

// member1 is the member whom a caller names.
func (a *API) member1(c *caller, info *store.LogInfo, n string) (store.AccountID, error) {
	u, err := a.named(c, *info, n)
	if err != nil {
		return 0, err
	}
	if info.Members.Role(u) == store.RoleNone {
		return 0, errNoMember
	}
	return u, nil
}

var errNoMember = notFound("the room has no such member")

// capacity is how many members a room may have.
func (a *API) capacity(set *graph.Room) int {
	if set.Open {
		return hooks.Capacity(set)
	}
	if most := a.limits().Group; set.Capacity == 0 || set.Capacity > most {
		return most
	}
	return set.Capacity
}

// join makes a user a member. The caller has the room's turn, so the limit holds.
func (a *API) join(ctx context.Context, c *caller, info *store.LogInfo, set *graph.Room, u store.AccountID, role, need store.Role) error {
	if most := a.capacity(set); info.Members.Active >= most {
		return full("group", "the room has all the members it may have", most)
	}
	if err := a.roomForRoom(u); err != nil {
		return err
	}
	ch := store.Change{Kind: store.ChangeJoin, Account: u, Role: role}
	if set.HistoryMode() == graph.HistoryOpen {
		ch.From = 1
	}
	if err := a.change(ctx, c, info, ch, need); err != nil {
		return err
	}
	if err := a.graph.Answered(ctx, info.ID, u); err != nil { // a member's invitations are listed nowhere
		a.log.Warn("invitations not removed", keyErr, err)
	}
	return nil
}

type roomAddOut struct {
	Added   []string  `json:"added" doc:"Who became a member."`
	Already []string  `json:"already,omitempty" doc:"Who was one."`
	Refused []refusal `json:"refused,omitempty" doc:"Who was not added, and why."`
}

var errBrought = store.Bad("nobody is brought into an open room: tell its identifier, and open.join")

// addMembers makes users members of a room by an operator, each with a record of its own.
func (a *API) addMembers(ctx context.Context, c *caller, room string, users []string, role store.Role) (*roomAddOut, error) {
	names, err := a.userNames(users)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, room)
	if err != nil {
		return nil, err
	}
	out := &roomAddOut{Added: []string{}}
	var added []store.AccountID
	set, err := a.usable(&info)
	if err == nil && set.Open {
		err = errBrought
	}
	if err == nil {
		out.Refused, err = each(names, func(n string) error {
			u, err := a.user1("users", n)
			if err != nil {
				return err
			}
			if info.Members.Role(u.ID) != store.RoleNone {
				out.Already = append(out.Already, n)
				return nil
			}
			if err := a.join(ctx, c, &info, set, u.ID, role, store.RoleNone); err != nil {
				return err
			}
			out.Added, added = append(out.Added, n), append(added, u.ID)
			return nil
		})
	}
	done()
	for _, u := range added {
		a.notify(ctx, u, view.Notice{What: view.NoticeAdded, Room: info.Key.Name}, "")
	}
	if err != nil {
		return nil, err
	}
	return out, nil
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
	if err := moderates(c, &info, "remove members"); err != nil {
		return nil, err
	}
	out := &roomRemoveOut{Removed: []string{}}
	out.Refused, err = each(names, func(n string) error {
		if err := a.expel(ctx, c, &info, n); err != nil {
			return err
		}
		out.Removed = append(out.Removed, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// expel removes one member. Moderators remove members, the owner everybody else.
func (a *API) expel(ctx context.Context, c *caller, info *store.LogInfo, n string) error {
	u, err := a.member1(c, info, n)
	if err != nil {
		return err
	}
	role := info.Members.Role(u)
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

type roomMembersIn struct {
	Room  string `json:"room" doc:"The room's identifier."`
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Members of a page; absent: 100."`
}

type member struct {
	Name    string     `json:"name" doc:"In an open room the room's own id of the member."`
	Display string     `json:"display" doc:"In an open room the nickname."`
	Role    string     `json:"role"`
	Picture string     `json:"picture,omitempty" doc:"In an open room: the identifier of a file."`
	Account string     `json:"account,omitempty" doc:"Whose account it is: told to operators alone, of open rooms."`
	Muted   *time.Time `json:"muted_until,omitempty" doc:"Until when the member may not write, told to moderators and to the member itself; the year 9999: without end."`
}

type roomMembersOut struct {
	Members []member `json:"members"`
	Count   int      `json:"count" doc:"Of all members."`
	Next    string   `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) roomMembers(_ context.Context, c *caller, in *roomMembersIn) (*roomMembersOut, error) {
	n, err := name("room", in.Room)
	if err != nil {
		return nil, err
	}
	info, err := a.store.Find(store.RoomKey(n))
	if store.CodeOf(err) == store.CodeNotFound || err == nil && !c.id.Operator && info.Members.Role(c.account.ID) == store.RoleNone {
		return nil, errNoRoom
	}
	if err != nil {
		return nil, fmt.Errorf("api: find: %w", err)
	}
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	after := ""
	if in.After != "" {
		if after, err = name("after", in.After); err != nil {
			return nil, err
		}
	}
	return a.members(c, info, after, limit)
}

// members lists a room's members by name: in an open room by the room's own ids, which follow no order of accounts.
func (a *API) members(c *caller, info store.LogInfo, after string, limit int) (*roomMembersOut, error) {
	room, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	mutes := c.id.Operator || info.Members.Role(c.account.ID) >= store.RoleModerator
	out := &roomMembersOut{Members: []member{}, Count: info.Members.Active}
	var all []member
	for i := range info.Members.Members {
		m := &info.Members.Members[i]
		if m.Role == store.RoleNone {
			continue
		}
		u, err := a.store.Account(m.Account)
		if store.CodeOf(err) == store.CodeNotFound {
			continue // gone
		}
		if err != nil {
			return nil, fmt.Errorf("api: account: %w", err)
		}
		r, err := a.graph.RoomMember(info.ID, m.Account)
		if err != nil {
			return nil, fmt.Errorf("api: member: %w", err)
		}
		shown := member{Name: u.Name, Display: u.Shown(), Role: m.Role.String()}
		if room.Open {
			shown.Name, shown.Display, shown.Picture = r.ID, r.Nick, r.Picture
			if c.id.Operator {
				shown.Account = u.Name
			}
		}
		if (mutes || m.Account == c.account.ID) && r.MutedAt(a.now().UnixMilli()) {
			shown.Muted = mutedUntil(r.Muted)
		}
		if strings.Compare(shown.Name, after) > 0 {
			all = append(all, shown)
		}
	}
	sortMembers(all)
	if len(all) > limit {
		all = all[:limit]
		out.Next = all[limit-1].Name
	}
	out.Members = append(out.Members, all...)
	return out, nil
}
