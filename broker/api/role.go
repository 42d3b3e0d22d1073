package api

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

func (a *API) roomLeave(ctx context.Context, c *caller, in *roomIn) (*none, error) {
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	me := c.account.ID
	if heir := successor(info.Members, me); heir != 0 {
		if err := a.change(ctx, c, &info, store.Change{Kind: store.ChangeRole, Account: heir, Role: store.RoleOwner}, store.RoleOwner); err != nil {
			return nil, err
		}
	}
	until := a.now().Add(graph.LeavingRefuses).UnixMilli()
	if err := a.graph.Refuse(ctx, me, info.ID, until); err != nil { // before: who has left is not asked again
		return nil, fmt.Errorf("api: leave: %w", err)
	}
	err = a.change(ctx, c, &info, store.Change{Kind: store.ChangeLeave, Account: me}, store.RoleMember)
	return &none{}, err
}

// successor is who owns a room when this member leaves: the moderator, else the member, who has been in it longest; 0
// if nobody need take it over.
func successor(ms *store.Membership, leaving store.AccountID) store.AccountID {
	if ms.Role(leaving) != store.RoleOwner {
		return 0
	}
	var best *store.Member
	for i := range ms.Members {
		m := &ms.Members[i]
		switch {
		case m.Account == leaving || m.Role == store.RoleNone:
		case m.Role == store.RoleOwner:
			return 0
		case best == nil || m.Role > best.Role || m.Role == best.Role && m.Since < best.Since:
			best = m
		}
	}
	if best == nil {
		return 0
	}
	return best.Account
}

type roomRoleIn struct {
	Room string `json:"room" doc:"The room's identifier."`
	User string `json:"user" doc:"Whose role."`
	Role string `json:"role" doc:"member, moderator, or owner: the asking owner becomes a moderator."`
}

func (a *API) roomRole(ctx context.Context, c *caller, in *roomRoleIn) (*none, error) {
	role, ok := store.ParseRole(in.Role)
	if !ok || role == store.RoleNone {
		return nil, store.Bad("role must be member, moderator or owner")
	}
	n, err := name("user", in.User)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	me := c.account.ID
	if !c.id.Operator && info.Members.Role(me) < store.RoleOwner {
		return nil, store.Forbidden(store.ReasonRole, "only the owner gives roles")
	}
	u, err := a.member1(c, &info, n)
	if err != nil {
		return nil, err
	}
	now := info.Members.Role(u)
	switch {
	case now != role && u == me:
		return nil, store.Bad("an owner makes somebody else owner, or leaves")
	case now != role:
		if err := a.change(ctx, c, &info, store.Change{Kind: store.ChangeRole, Account: u, Role: role}, store.RoleOwner); err != nil {
			return nil, err
		}
	}
	if role == store.RoleOwner && u != me {
		return &none{}, a.soleOwner(ctx, c, &info, u)
	}
	return &none{}, nil
}

// soleOwner makes every other owner a moderator, the caller last: it needs to be one for the others. A hand-over that a
// crash has cut in two is finished by repeating it.
func (a *API) soleOwner(ctx context.Context, c *caller, info *store.LogInfo, owner store.AccountID) error {
	var others []store.AccountID
	for _, m := range info.Members.Members {
		if m.Role == store.RoleOwner && m.Account != owner && m.Account != c.account.ID {
			others = append(others, m.Account)
		}
	}
	if c.account.ID != owner && info.Members.Role(c.account.ID) == store.RoleOwner {
		others = append(others, c.account.ID)
	}
	for _, o := range others {
		if err := a.change(ctx, c, info, store.Change{Kind: store.ChangeRole, Account: o, Role: store.RoleModerator}, store.RoleOwner); err != nil {
			return err
		}
	}
	return nil
}

// offerLives is how long an offered room can be taken.
const offerLives = 72 * time.Hour

type roomOfferIn struct {
	Room string `json:"room" doc:"The room's identifier."`
	User string `json:"user,omitempty" doc:"A member; absent: an offer that was made is taken back."`
}

type roomOfferOut struct {
	Expires *time.Time `json:"expires,omitempty" doc:"Until when the offer can be taken."`
}

func (a *API) roomOffer(ctx context.Context, c *caller, in *roomOfferIn) (*roomOfferOut, error) {
	heir := ""
	if in.User != "" {
		var err error
		if heir, err = name("user", in.User); err != nil {
			return nil, err
		}
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	u, err := a.offer(ctx, c, &info, heir)
	done()
	if err != nil || heir == "" {
		return &roomOfferOut{}, err
	}
	a.notify(ctx, u, view.Notice{What: view.NoticeOffered, Who: c.account.ID, Room: info.Key.Name}, "")
	return &roomOfferOut{at(a.now().Add(offerLives).UnixMilli())}, nil
}

// withdrawOffer ends an offer: the room has another owner.
func (a *API) withdrawOffer(ctx context.Context, info *store.LogInfo) error {
	set, err := a.graph.Room(info.ID)
	if err != nil {
		return fmt.Errorf("api: room: %w", err)
	}
	if set.Heir == 0 {
		return nil
	}
	return a.setRoom(ctx, info, func(r *graph.Room) error {
		r.Heir, r.Offered = 0, 0
		return nil
	})
}

// offer notes to whom a room is offered, "" nobody.
func (a *API) offer(ctx context.Context, c *caller, info *store.LogInfo, heir string) (to store.AccountID, err error) {
	if info.Members.Role(c.account.ID) < store.RoleOwner {
		return 0, store.Forbidden(store.ReasonRole, "only the owner gives the room to somebody else")
	}
	offered := int64(0)
	if heir != "" {
		u, err := a.member1(c, info, heir)
		if err != nil {
			return 0, err
		}
		if u == c.account.ID {
			return 0, store.Bad("user must be somebody else")
		}
		to, offered = u, a.now().UnixMilli()
	}
	return to, a.setRoom(ctx, info, func(r *graph.Room) error {
		r.Heir, r.Offered = to, offered
		return nil
	})
}

func (a *API) roomTake(ctx context.Context, c *caller, in *roomIn) (*none, error) {
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	me := c.account.ID
	set, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	if set.Heir != me || a.now().Sub(time.UnixMilli(set.Offered)) >= offerLives {
		return nil, notFound("nobody offers you this room")
	}
	if info.Members.Role(me) != store.RoleOwner {
		if err := a.change(ctx, c, &info, store.Change{Kind: store.ChangeRole, Account: me, Role: store.RoleOwner}, store.RoleNone); err != nil {
			return nil, err
		}
	}
	return &none{}, a.soleOwner(ctx, c, &info, me)
}

// mostMuted is the longest mute that ends, in seconds.
const mostMuted = 365 * 24 * 60 * 60

type roomMuteIn struct {
	Room    string `json:"room" doc:"The room's identifier."`
	User    string `json:"user" doc:"A member."`
	Seconds *int64 `json:"seconds,omitempty" doc:"How long, at most a year; 0: the member may write again; absent: without end."`
}

type roomMuteOut struct {
	Muted *time.Time `json:"muted_until,omitempty" doc:"The year 9999: without end."`
}

func (a *API) roomMute(ctx context.Context, c *caller, in *roomMuteIn) (*roomMuteOut, error) {
	until := int64(graph.Forever)
	if in.Seconds != nil {
		if *in.Seconds < 0 || *in.Seconds > mostMuted {
			return nil, store.Bad("seconds must be 0 to 31536000")
		}
		if until = 0; *in.Seconds > 0 {
			until = a.now().UnixMilli() + *in.Seconds*1000
		}
	}
	n, err := name("user", in.User)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := moderates(c, &info, "mute members"); err != nil {
		return nil, err
	}
	u, err := a.below(c, info, n)
	if err != nil {
		return nil, err
	}
	return &roomMuteOut{mutedUntil(until)}, a.muteMember(ctx, c, info, u, until)
}

// muteMember mutes a member until a moment, 0: not any more, and says so in the room.
func (a *API) muteMember(ctx context.Context, c *caller, info store.LogInfo, u store.AccountID, until int64) error {
	if info.Members.Role(u) == store.RoleNone {
		return errNoMember
	}
	m, err := a.graph.RoomMember(info.ID, u)
	if err != nil {
		return fmt.Errorf("api: member: %w", err)
	}
	if m.Muted == until || until == 0 && !m.MutedAt(a.now().UnixMilli()) {
		return nil
	}
	if err := a.graph.SetRoomMember(ctx, info.ID, u, func(m *graph.RoomMember) error { m.Muted = until; return nil }); err != nil {
		return fmt.Errorf("api: mute: %w", err)
	}
	e := view.RoomEvent{What: view.RoomMuted, Who: u}
	switch until {
	case 0:
		e.What = view.RoomUnmuted
	case graph.Forever:
	default:
		e.At = until
	}
	return a.tell(ctx, c, info, e)
}

// mutedUntil is the end of a mute as answers show it, nil for none.
func mutedUntil(until int64) *time.Time {
	if until == graph.Forever {
		t := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		return &t
	}
	return at(until)
}
