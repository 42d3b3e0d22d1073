package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/openroom"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// named is the user whom a caller calls by this name in a room, 0 if nobody it may know of. In an open room members call
// each other by the room's own ids and by nothing else; operators may use account names too.
func (a *API) named(c *caller, info store.LogInfo, n string) (store.AccountID, error) {
	room, err := a.graph.Room(info.ID)
	if err != nil {
		return 0, fmt.Errorf("api: room: %w", err)
	}
	if room.Open && (!c.id.Operator || graph.IsPseudonym(n)) {
		return a.graph.MemberOf(info.ID, n)
	}
	u, err := a.store.AccountByName(n)
	if store.CodeOf(err) == store.CodeNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("api: account: %w", err)
	}
	return u.ID, nil
}

// MemberOf is the user behind an open room's own id of it, 0 if it is nobody's. It is for reports: the answer may be
// kept and shown to operators, and to nobody else.
func (a *API) MemberOf(room, id string) (store.AccountID, error) {
	info, err := a.store.Find(store.RoomKey(room))
	if store.CodeOf(err) == store.CodeNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("api: find: %w", err)
	}
	return a.graph.MemberOf(info.ID, id)
}

// below is whom a moderator may do something to: somebody the room knows, with a smaller role.
func (a *API) below(c *caller, info store.LogInfo, s string) (store.AccountID, error) {
	n, err := name("user", s)
	if err != nil {
		return 0, err
	}
	u, err := a.named(c, info, n)
	if err != nil {
		return 0, err
	}
	if u == 0 {
		return 0, errNoMember
	}
	if !c.id.Operator && info.Members.Role(u) >= info.Members.Role(c.account.ID) {
		return 0, store.Forbidden(store.ReasonRole, "only somebody with a greater role does this")
	}
	return u, nil
}

// tell writes into a room what happened to it.
func (a *API) tell(ctx context.Context, c *caller, info store.LogInfo, e view.RoomEvent) error {
	_, err := wait(ctx, a.store.Append(store.Draft{Log: info.ID, Sender: c.account.ID, Kind: store.KindSystem, Extra: e.Extra(), Text: []byte(e.Text)}))
	if err != nil {
		return fmt.Errorf("api: event of a room: %w", err)
	}
	return nil
}

type openMuteIn struct {
	Room    string `json:"room" doc:"The room's identifier."`
	User    string `json:"user" doc:"The room's own id of the member."`
	On      *bool  `json:"on,omitempty" doc:"False lets the member write again; absent: true."`
	Seconds int64  `json:"seconds,omitempty" doc:"How long; absent: until it is undone."`
}

// maxMute is the longest mute with an end, in seconds: ten years.
const maxMute = 10 * 365 * 86400

func (a *API) openMute(ctx context.Context, c *caller, in *openMuteIn) (*none, error) {
	if in.Seconds < 0 || in.Seconds > maxMute {
		return nil, store.Bad("seconds must be 1 to " + strconv.Itoa(maxMute) + ", or absent")
	}
	info, done, err := a.moderated(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	u, err := a.below(c, info, in.User)
	if err != nil {
		return nil, err
	}
	until := int64(graph.Forever)
	switch {
	case in.On != nil && !*in.On:
		until = 0
	case in.Seconds > 0:
		until = a.now().Add(time.Duration(in.Seconds) * time.Second).UnixMilli()
	}
	return &none{}, a.muteMember(ctx, c, info, u, until)
}

type openBanIn struct {
	Room string `json:"room" doc:"The room's identifier."`
	User string `json:"user" doc:"The room's own id of a member, of who was one, or of who wants to come in."`
	On   *bool  `json:"on,omitempty" doc:"False ends the ban; absent: true."`
}

func (a *API) openBan(ctx context.Context, c *caller, in *openBanIn) (*none, error) {
	info, done, err := a.moderated(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	u, err := a.below(c, info, in.User)
	if err != nil {
		return nil, err
	}
	banned := int64(0)
	if in.On == nil || *in.On {
		banned = a.now().UnixMilli()
	}
	err = a.graph.SetRoomMember(ctx, info.ID, u, func(m *graph.RoomMember) error {
		if m.Banned == 0 || banned == 0 {
			m.Banned = banned
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("api: ban: %w", err)
	}
	if banned == 0 {
		return &none{}, nil
	}
	if err := a.graph.EndRequest(ctx, info.ID, u); err != nil {
		return nil, err
	}
	if info.Members.Role(u) == store.RoleNone {
		return &none{}, nil
	}
	return &none{}, a.change(ctx, c, &info, store.Change{Kind: store.ChangeRemove, Account: u}, store.RoleModerator)
}

type openBansOut struct {
	Banned []openBanned `json:"banned"`
}

type openBanned struct {
	ID       string     `json:"id" doc:"The room's own id, for open.ban."`
	Nickname string     `json:"nickname,omitempty"`
	Time     *time.Time `json:"time,omitempty"`
}

func (a *API) openBans(ctx context.Context, c *caller, in *openGetIn) (*openBansOut, error) {
	info, done, err := a.moderated(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	done()
	out := &openBansOut{Banned: []openBanned{}}
	for after := store.AccountID(0); ; {
		list, err := a.graph.RoomMembers(info.ID, after, 0)
		if err != nil {
			return nil, fmt.Errorf("api: members: %w", err)
		}
		for _, u := range list {
			after = u
			m, err := a.graph.RoomMember(info.ID, u)
			if err != nil {
				return nil, fmt.Errorf("api: member: %w", err)
			}
			if m.Banned != 0 {
				out.Banned = append(out.Banned, openBanned{m.ID, m.Nick, at(m.Banned)})
			}
		}
		if len(list) == 0 {
			break
		}
	}
	slices.SortFunc(out.Banned, func(x, y openBanned) int { return cmp.Or(y.Time.Compare(*x.Time), strings.Compare(x.ID, y.ID)) })
	return out, nil
}

type openSlowIn struct {
	Room    string `json:"room" doc:"The room's identifier."`
	Seconds int    `json:"seconds" doc:"From one message of a member to its next, up to 3,600; 0: no slow mode."`
}

func (a *API) openSlow(ctx context.Context, c *caller, in *openSlowIn) (*none, error) {
	if in.Seconds < 0 || in.Seconds > maxSlow {
		return nil, store.Bad("seconds must be 0 to " + strconv.Itoa(maxSlow))
	}
	return a.setMode(ctx, c, in.Room, view.RoomEvent{What: view.RoomSlow, At: int64(in.Seconds)}, func(r *graph.Room) bool {
		old := r.Slow
		r.Slow = in.Seconds
		return old != r.Slow
	})
}

type openLockIn struct {
	Room string `json:"room" doc:"The room's identifier."`
	On   *bool  `json:"on,omitempty" doc:"False unlocks; absent: true."`
}

func (a *API) openLock(ctx context.Context, c *caller, in *openLockIn) (*none, error) {
	on := in.On == nil || *in.On
	e := view.RoomEvent{What: view.RoomUnlocked}
	if on {
		e.What = view.RoomLocked
	}
	return a.setMode(ctx, c, in.Room, e, func(r *graph.Room) bool {
		old := r.Locked
		r.Locked = on
		return old != on
	})
}

// setMode changes how a room is run, and says so in it.
func (a *API) setMode(ctx context.Context, c *caller, room string, e view.RoomEvent, set func(*graph.Room) (changed bool)) (*none, error) {
	info, done, err := a.moderated(ctx, c, room)
	if err != nil {
		return nil, err
	}
	defer done()
	changed := false
	if err := a.graph.SetRoom(ctx, info.ID, func(r *graph.Room) error { changed = set(r); return nil }); err != nil {
		return nil, fmt.Errorf("api: set room: %w", err)
	}
	if !changed {
		return &none{}, nil
	}
	if err := a.indexRoom(info.ID); err != nil {
		return nil, err
	}
	return &none{}, a.tell(ctx, c, info, e)
}

// departed keeps the nickname of who left an open room for a while.
func (a *API) departed(ctx context.Context, log store.LogID, u store.AccountID) error {
	m, err := a.graph.RoomMember(log, u)
	if err != nil {
		return fmt.Errorf("api: member: %w", err)
	}
	if m.Nick == "" {
		return nil
	}
	return a.graph.LeaveNick(ctx, log, u, openroom.Skeleton(m.Nick))
}
