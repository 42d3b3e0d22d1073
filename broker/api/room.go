package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
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

// roomIn names a room in requests that need nothing else.
type roomIn struct {
	Room string `json:"room" doc:"The room's identifier."`
}

// moderates refuses who does not moderate a room; may says what only moderators do.
func moderates(c *caller, info *store.LogInfo, may string) error {
	if c.id.Operator || info.Members.Role(c.account.ID) >= store.RoleModerator {
		return nil
	}
	return store.Forbidden(store.ReasonRole, "only moderators and the owner "+may)
}

// usable is what is set about a room, unless it is closed: then nothing of it changes any more.
func (a *API) usable(info *store.LogInfo) (*graph.Room, error) {
	set, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	if set.Closed != 0 {
		return nil, hooks.ErrRoomClosed
	}
	return set, nil
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
	if ch.Kind == store.ChangeRole && ch.Role == store.RoleOwner {
		return a.withdrawOffer(ctx, info)
	}
	if ch.Kind == store.ChangeLeave || ch.Kind == store.ChangeRemove {
		return a.departed(ctx, info.ID, ch.Account)
	}
	return nil
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
