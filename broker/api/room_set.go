package api

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

type roomSetIn struct {
	Room        string  `json:"room" doc:"The room's identifier."`
	Title       *string `json:"title,omitempty" doc:"The new title; empty: none; absent: as it is."`
	Description *string `json:"description,omitempty" doc:"What the room is about, also in several lines; empty: none."`
	Picture     *string `json:"picture,omitempty" doc:"A file's identifier; empty: none."`
	History     string  `json:"history,omitempty" doc:"What new members see of what was written before they came: joined, nothing; open, everything. Counts for who comes from now on."`
	Invites     string  `json:"invites,omitempty" doc:"Who invites: members or moderators."`
}

func (a *API) roomSet(ctx context.Context, c *caller, in *roomSetIn) (*none, error) {
	title, set, err := a.readRoomSet(in)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := moderates(c, &info, "change the room"); err != nil {
		return nil, err
	}
	before, err := a.usable(&info)
	if err != nil {
		return nil, err
	}
	if before.Open && title != nil && *title == "" {
		return nil, store.Bad("title is missing: it is what others find the room by")
	}
	after := *before
	if set(&after); fmt.Sprint(after) != fmt.Sprint(*before) {
		if err := a.setRoom(ctx, &info, func(r *graph.Room) error { set(r); return nil }); err != nil {
			return nil, err
		}
		if err := a.tell(ctx, c, info, view.RoomEvent{What: view.RoomSettings}); err != nil {
			return nil, err
		}
	}
	if title != nil && *title != info.Title {
		if err := a.change(ctx, c, &info, store.Change{Kind: store.ChangeTitle, Title: *title}, store.RoleModerator); err != nil {
			return nil, err
		}
	}
	return &none{}, a.indexRoom(info.ID)
}

// readRoomSet checks a request and returns what it does.
func (a *API) readRoomSet(in *roomSetIn) (title *string, set func(*graph.Room), err error) {
	var description, picture string
	if in.Title != nil {
		s, err := words("title", *in.Title, 0, a.limits().Title)
		if err != nil {
			return nil, nil, err
		}
		title = &s
	}
	if in.Description != nil {
		if description, err = paragraph("description", *in.Description, a.limits().Description); err != nil {
			return nil, nil, err
		}
	}
	if in.Picture != nil && *in.Picture != "" {
		if picture, err = name("picture", *in.Picture); err != nil {
			return nil, nil, err
		}
	}
	switch graph.History(in.History) {
	case "", graph.HistoryJoined, graph.HistoryOpen:
	default:
		return nil, nil, store.Bad("history must be joined or open")
	}
	switch graph.InvitesBy(in.Invites) {
	case "", graph.InvitesMembers, graph.InvitesModerators:
	default:
		return nil, nil, store.Bad("invites must be members or moderators")
	}
	return title, func(r *graph.Room) {
		if in.Description != nil {
			r.Description = description
		}
		if in.Picture != nil {
			r.Picture = picture
		}
		if in.History != "" {
			if r.History = graph.History(in.History); r.History == graph.HistoryJoined {
				r.History = ""
			}
		}
		if in.Invites != "" {
			if r.InvitesBy = graph.InvitesBy(in.Invites); r.InvitesBy == graph.InvitesMembers {
				r.InvitesBy = ""
			}
		}
	}, nil
}

// setRoom changes what is set about a room.
func (a *API) setRoom(ctx context.Context, info *store.LogInfo, fn func(*graph.Room) error) error {
	if err := a.graph.SetRoom(ctx, info.ID, fn); err != nil {
		return fmt.Errorf("api: room: %w", err)
	}
	return nil
}

type roomOut struct {
	Room        string     `json:"room"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Picture     string     `json:"picture,omitempty" doc:"A file's identifier."`
	History     string     `json:"history" doc:"What new members see of what was written before: joined, nothing; open, everything."`
	Invites     string     `json:"invites" doc:"Who invites: members or moderators."`
	Members     int        `json:"members"`
	Capacity    int        `json:"capacity" doc:"Members at most."`
	Open        bool       `json:"open,omitempty" doc:"An open room: see open.get."`
	Role        string     `json:"role,omitempty" doc:"Of the asking user."`
	Muted       *time.Time `json:"muted_until,omitempty" doc:"Until when the asking user may not write; the year 9999: without end."`
	Offered     bool       `json:"offered,omitempty" doc:"The owner offers the room to the asking user."`
	Closed      *time.Time `json:"closed,omitempty" doc:"When an operator closed the room: it can be read, nobody writes and nobody comes in."`
	Reason      string     `json:"reason,omitempty" doc:"Why it was closed."`
	Head        store.Seq  `json:"head,omitempty" doc:"Told to operators: the newest sequence."`
	Newest      *time.Time `json:"newest,omitempty" doc:"Told to operators: of the newest record."`
}

func (a *API) roomGet(_ context.Context, c *caller, in *roomIn) (*roomOut, error) {
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
	return a.room(c, info)
}

// room tells what is known of a room.
func (a *API) room(c *caller, info store.LogInfo) (*roomOut, error) {
	set, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	out := &roomOut{Room: info.Key.Name, Title: info.Title, Description: set.Description, Picture: set.Picture,
		History: string(set.HistoryMode()), Invites: string(set.InvitesMode()), Members: info.Members.Active, Capacity: a.capacity(set), Open: set.Open,
		Closed: at(set.Closed), Reason: set.ClosedReason}
	if c.id.Operator {
		out.Head, out.Newest = info.Head, at(info.HeadTime)
		return out, nil
	}
	me := c.account.ID
	out.Role = info.Members.Role(me).String()
	out.Offered = set.Heir == me && a.now().Sub(time.UnixMilli(set.Offered)) < offerLives
	m, err := a.graph.RoomMember(info.ID, me)
	if err != nil {
		return nil, fmt.Errorf("api: member: %w", err)
	}
	if m.MutedAt(a.now().UnixMilli()) {
		out.Muted = mutedUntil(m.Muted)
	}
	return out, nil
}

type roomCloseIn struct {
	Room   string `json:"room" doc:"The room's identifier."`
	Reason string `json:"reason,omitempty" doc:"One line, shown to the members."`
	On     *bool  `json:"on,omitempty" doc:"False opens it again; absent: true."`
}

// roomClose closes a room to everybody, or opens it again.
func (a *API) roomClose(ctx context.Context, c *caller, in *roomCloseIn) (*changedOut, error) {
	reason, err := words("reason", in.Reason, 0, a.limits().Title)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	what, closed := view.RoomClosed, a.now().UnixMilli()
	if in.On != nil && !*in.On {
		what, closed, reason = view.RoomReopened, 0, ""
	}
	changed := false
	err = a.setRoom(ctx, &info, func(r *graph.Room) error {
		changed = (r.Closed != 0) != (closed != 0)
		if changed || closed == 0 {
			r.Closed = closed
		}
		r.ClosedReason = reason
		return nil
	})
	if err != nil || !changed {
		return &changedOut{}, err
	}
	if err := a.indexRoom(info.ID); err != nil {
		return nil, err
	}
	return &changedOut{true}, a.tell(ctx, c, info, view.RoomEvent{What: what, Text: reason})
}

type roomsIn struct {
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Rooms of a page; absent: 100."`
}

type roomsOut struct {
	Rooms []roomOut `json:"rooms" doc:"Groups and open rooms, in the order of their creation."`
	Next  string    `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

// opRoomList lists every room.
func (a *API) opRoomList(_ context.Context, c *caller, in *roomsIn) (*roomsOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	after, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	list, err := a.store.Logs(store.LogRoom, store.LogID(after), limit+1)
	if err != nil {
		return nil, fmt.Errorf("api: rooms: %w", err)
	}
	out := &roomsOut{Rooms: []roomOut{}}
	if len(list) > limit {
		list = list[:limit]
		out.Next = strconv.FormatUint(uint64(list[limit-1].ID), 36)
	}
	for _, info := range list {
		r, err := a.room(c, info)
		if err != nil {
			return nil, err
		}
		out.Rooms = append(out.Rooms, *r)
	}
	return out, nil
}
