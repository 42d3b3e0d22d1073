package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/hwangso/hwangso/store"
)

type roomCreateIn struct {
	Room  string `json:"room,omitempty" doc:"The identifier; absent: a random one."`
	Title string `json:"title,omitempty"`
}

type roomCreateOut struct {
	Room    string `json:"room" doc:"The identifier, as in the topic room/{room}/…"`
	Title   string `json:"title,omitempty"`
	Created bool   `json:"created" doc:"False: the room was there, and the asking user owns it."`
}

func (a *API) roomCreate(ctx context.Context, c *caller, in *roomCreateIn) (*roomCreateOut, error) {
	title, err := words("title", in.Title, 0, a.limits().Title)
	if err != nil {
		return nil, err
	}
	room := randomRoom(c)
	if in.Room != "" {
		if room, err = name("room", in.Room); err != nil {
			return nil, err
		}
	}
	if err := a.roomForRoom(c.account.ID); err != nil {
		return nil, err
	}
	return a.openRoom(ctx, room, store.Creation{By: c.account.ID, Title: title, Members: []store.Member{{Account: c.account.ID, Role: store.RoleOwner}}})
}

// openRoom creates a room. One that its creator owns already is returned as it is, so that a repeat whose first answer
// was lost finds it.
func (a *API) openRoom(ctx context.Context, room string, c store.Creation) (*roomCreateOut, error) {
	info, created, err := a.store.Open(ctx, store.RoomKey(room), c)
	if err != nil {
		return nil, fmt.Errorf("api: open room: %w", err)
	}
	if !created && (c.By == 0 || info.Members.Role(c.By) != store.RoleOwner) {
		return nil, conflict("a room with this identifier exists: choose another one")
	}
	return &roomCreateOut{Room: room, Title: info.Title, Created: created}, nil
}

var roomAlphabet = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// randomRoom chooses a room's identifier: of a request with an identifier always the same one, so that its repetition
// finds the room, else a random one. 100 bits of either.
func randomRoom(c *caller) string {
	var b [32]byte
	if c.rid == "" {
		rand.Read(b[:])
	} else {
		h := sha256.New()
		h.Write([]byte("room\x00"))
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(c.id.Account)))
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(answersOf(c.id))))
		h.Write([]byte(c.rid))
		h.Sum(b[:0])
	}
	return roomAlphabet.EncodeToString(b[:])[:20]
}

// roomForRoom refuses a user who is in as many rooms as allowed.
func (a *API) roomForRoom(u store.AccountID) error {
	n := 0
	for after := store.LogID(0); ; {
		refs, err := a.store.LogsOf(u, after, 0)
		if err != nil {
			return fmt.Errorf("api: logs: %w", err)
		}
		for i := range refs {
			after = refs[i].ID
			if refs[i].Key.Kind == store.LogRoom && refs[i].Me.Role != store.RoleNone {
				n++
			}
		}
		if n >= a.limits().Rooms {
			return full("rooms", "the user is in too many rooms", a.limits().Rooms)
		}
		if len(refs) == 0 {
			return nil
		}
	}
}

// roomOf is a room as its member finds it, within the room's turn: what is decided from it holds until done is called.
func (a *API) roomOf(ctx context.Context, c *caller, room string) (info store.LogInfo, done func(), err error) {
	n, err := name("room", room)
	if err != nil {
		return info, nil, err
	}
	info, err = a.store.Find(store.RoomKey(n))
	if store.CodeOf(err) == store.CodeNotFound {
		return info, nil, errNoRoom
	}
	if err != nil {
		return info, nil, fmt.Errorf("api: find: %w", err)
	}
	if done, err = a.turns.take(ctx, uint64(info.ID)); err != nil {
		return info, nil, err
	}
	if info, err = a.store.Info(info.ID); err != nil {
		done()
		return info, nil, fmt.Errorf("api: info: %w", err)
	}
	if !c.id.Operator && info.Members.Role(c.account.ID) == store.RoleNone {
		done()
		return info, nil, errNoRoom
	}
	return info, done, nil
}

// change appends a system record with a change of a room, waits until it is durable, and refreshes info. need is the
// role without which the commit is refused; operators need none.
func (a *API) change(ctx context.Context, c *caller, info *store.LogInfo, ch store.Change, need store.Role) error {
	if c.id.Operator {
		need = store.RoleNone
	}
	_, err := wait(ctx, a.store.Append(store.Draft{Log: info.ID, Sender: c.account.ID, Device: c.id.Device, Kind: store.KindSystem,
		Change: ch, Need: need, Version: info.Members.Version}))
	if err != nil {
		return fmt.Errorf("api: change of a room: %w", err)
	}
	if *info, err = a.store.Info(info.ID); err != nil {
		return fmt.Errorf("api: info: %w", err)
	}
	if ch.Kind == store.ChangeLeave || ch.Kind == store.ChangeRemove {
		return a.departed(ctx, info.ID, ch.Account)
	}
	return nil
}

type roomIn struct {
	Room string `json:"room" doc:"The room's identifier."`
}

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
	u, err := a.named(c, info, n)
	if err != nil {
		return nil, err
	}
	now := info.Members.Role(u)
	switch {
	case now == store.RoleNone:
		return nil, errNoMember
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
	if info.Members.Role(c.account.ID) == store.RoleOwner {
		others = append(others, c.account.ID)
	}
	for _, o := range others {
		if err := a.change(ctx, c, info, store.Change{Kind: store.ChangeRole, Account: o, Role: store.RoleModerator}, store.RoleOwner); err != nil {
			return err
		}
	}
	return nil
}

var errNoMember = notFound("the room has no such member")

type roomSetIn struct {
	Room  string `json:"room" doc:"The room's identifier."`
	Title string `json:"title" doc:"The new title; empty: none."`
}

func (a *API) roomSet(ctx context.Context, c *caller, in *roomSetIn) (*none, error) {
	title, err := words("title", in.Title, 0, a.limits().Title)
	if err != nil {
		return nil, err
	}
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	if !c.id.Operator && info.Members.Role(c.account.ID) < store.RoleModerator {
		return nil, store.Forbidden(store.ReasonRole, "only moderators and the owner change the title")
	}
	if title == info.Title {
		return &none{}, nil
	}
	return &none{}, a.change(ctx, c, &info, store.Change{Kind: store.ChangeTitle, Title: title}, store.RoleModerator)
}

type roomMembersIn struct {
	Room  string `json:"room" doc:"The room's identifier."`
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Members of a page; absent: 100."`
}

type member struct {
	Name    string `json:"name" doc:"In an open room the room's own id of the member."`
	Display string `json:"display" doc:"In an open room the nickname."`
	Role    string `json:"role"`
	Picture string `json:"picture,omitempty" doc:"In an open room: the identifier of a file."`
	Account string `json:"account,omitempty" doc:"Whose account it is: told to operators alone, of open rooms."`
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
		shown := member{Name: u.Name, Display: u.Shown(), Role: m.Role.String()}
		if room.Open {
			r, err := a.graph.RoomMember(info.ID, m.Account)
			if err != nil {
				return nil, fmt.Errorf("api: member: %w", err)
			}
			shown.Name, shown.Display, shown.Picture = r.ID, r.Nick, r.Picture
			if c.id.Operator {
				shown.Account = u.Name
			}
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

func (a *API) roomHide(ctx context.Context, c *caller, in *Conversation) (*none, error) {
	info, _, err := a.find(c.account.ID, *in)
	if err != nil {
		return nil, err
	}
	_, err = wait(ctx, a.store.Append(store.Draft{Log: info.ID, Sender: c.account.ID, Device: c.id.Device, Kind: store.KindSystem,
		Change: store.Change{Kind: store.ChangeHide, Account: c.account.ID}}))
	if err != nil {
		return nil, fmt.Errorf("api: hide: %w", err)
	}
	return &none{}, nil
}
