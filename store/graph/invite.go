package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

// An invitation lies in two places: with the invited user, who answers it, and with the room, where whoever invited can
// take it back. One that the invited user is never to see lies in two places too, so that its making costs what every
// other one's does, and looks in the room like every other one.
const (
	tableInvitation store.Table = "user.invitation" // of the invited: key is the room and who invites
	tableHushed     store.Table = "user.hushed"     // the same of those it does not see
	tableInvited    store.Table = "room.invited"    // of the room: key is the invited and who invites
	tableRefused    store.Table = "user.refused"    // key is the room
)

// How long an invitation can be answered, and how long who left a room is not asked again.
const (
	InvitationLives = 72 * time.Hour
	LeavingRefuses  = 30 * 24 * time.Hour
)

// maxInvitations is how many invitations wait for one user; further ones are hidden.
const maxInvitations = 200

// Invitation is one user's invitation of another one into a room.
type Invitation struct {
	Room    store.LogID
	Invited store.AccountID
	By      store.AccountID
	Time    int64 // Unix milliseconds
	Expires int64
}

type invitationRow struct {
	Time int64 `json:"t"`
}

// Invite stores an invitation until it expires, with hide one that the invited user does not see. One that it sees
// already stays as it is, whatever is asked now; a hidden one does not stand in the way of another. shown tells whether
// the invited user sees one now that it did not see before. What is written, and how often, is the same in every case.
func (g *Graph) Invite(ctx context.Context, room store.LogID, invited, by store.AccountID, hide bool) (shown bool, err error) {
	now := g.now()
	value, err := json.Marshal(invitationRow{now.UnixMilli()})
	if err != nil {
		return false, fmt.Errorf("graph: invitation: %w", err)
	}
	put := store.RowPut{Key: store.KeyOf(room) + store.KeyOf(by), Value: value, Expires: now.Add(InvitationLives).UnixMilli()}
	old, err := g.store.Row(tableInvitation, store.OwnerOf(invited), put.Key)
	if err != nil {
		return false, fmt.Errorf("graph: %s: %w", tableInvitation, err)
	}
	waiting, err := g.store.Rows(tableInvitation, store.OwnerOf(invited), "", "", maxInvitations)
	if err != nil {
		return false, fmt.Errorf("graph: %s: %w", tableInvitation, err)
	}
	switch {
	case old.Version != 0:
		put.Table, put.Value, put.Expires = tableInvitation, old.Value, old.Expires
	case hide || len(waiting) >= maxInvitations:
		put.Table = tableHushed
	default:
		put.Table, shown = tableInvitation, true
	}
	theirs := store.RowPut{Table: tableInvited, Key: store.KeyOf(invited) + store.KeyOf(by), Value: value, Expires: now.Add(InvitationLives).UnixMilli()}
	for _, u := range []store.Update{{Owner: store.OwnerOfLog(room), Rows: []store.RowPut{theirs}}, {Owner: store.OwnerOf(invited), Rows: []store.RowPut{put}}} {
		if err := g.store.Update(ctx, u); err != nil {
			return false, fmt.Errorf("graph: invite: %w", err)
		}
	}
	return shown, nil
}

func invitationOf(r store.Row) (invitationRow, error) {
	v, err := store.Decoded(r, func(b []byte) (v invitationRow, err error) {
		err = json.Unmarshal(b, &v)
		return v, err
	})
	if err != nil {
		return invitationRow{}, fmt.Errorf("graph: invitation: %w", err)
	}
	return *v, nil
}

// Invitations lists what a user was invited to and may answer, by room and then by who invites; there are at most a few
// hundred. Those that were taken back are left out; whether one may still be accepted is for the room to say.
func (g *Graph) Invitations(a store.AccountID) ([]Invitation, error) { return g.invitations(a, "") }

// InvitationsTo lists a user's invitations to one room.
func (g *Graph) InvitationsTo(a store.AccountID, room store.LogID) ([]Invitation, error) {
	return g.invitations(a, store.KeyOf(room))
}

func (g *Graph) invitations(a store.AccountID, prefix string) ([]Invitation, error) {
	rows, err := g.store.Rows(tableInvitation, store.OwnerOf(a), prefix, "", 0)
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", tableInvitation, err)
	}
	var out []Invitation
	for _, r := range rows {
		v, err := invitationOf(r)
		if err != nil {
			return nil, err
		}
		if len(r.Key) != 16 {
			continue
		}
		i := Invitation{Room: store.LogID(store.NumberOf(r.Key[:8])), Invited: a, By: store.AccountID(store.NumberOf(r.Key[8:])), Time: v.Time, Expires: r.Expires}
		there, err := g.store.Row(tableInvited, store.OwnerOfLog(i.Room), store.KeyOf(a)+store.KeyOf(i.By))
		if err != nil {
			return nil, fmt.Errorf("graph: %s: %w", tableInvited, err)
		}
		if there.Version != 0 {
			out = append(out, i)
		}
	}
	return out, nil
}

// InvitationsInto lists whom a room waits for, by the invited user after the given one and by who invites, at most max
// rows (0: 1,000). What the invited one does not see, and what it refused, stands among them until it expires.
func (g *Graph) InvitationsInto(room store.LogID, after store.AccountID, max int) ([]Invitation, error) {
	from := ""
	if after != 0 {
		from = store.KeyOf(after) + "\xff"
	}
	return g.invited(room, "", from, max)
}

func (g *Graph) invited(room store.LogID, prefix, after string, max int) ([]Invitation, error) {
	rows, err := g.store.Rows(tableInvited, store.OwnerOfLog(room), prefix, after, max)
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", tableInvited, err)
	}
	out := make([]Invitation, 0, len(rows))
	for _, r := range rows {
		v, err := invitationOf(r)
		if err != nil {
			return nil, err
		}
		if len(r.Key) == 16 {
			out = append(out, Invitation{Room: room, Invited: store.AccountID(store.NumberOf(r.Key[:8])), By: store.AccountID(store.NumberOf(r.Key[8:])), Time: v.Time, Expires: r.Expires})
		}
	}
	return out, nil
}

// Uninvite takes back the invitations of a user into a room: those of one inviter, or with by = 0 all. found tells
// whether there was one, shown whether the invited user saw one of them. What is written does not depend on it.
func (g *Graph) Uninvite(ctx context.Context, room store.LogID, invited, by store.AccountID) (found, shown bool, err error) {
	prefix := store.KeyOf(invited)
	if by != 0 {
		prefix += store.KeyOf(by)
	}
	list, err := g.invited(room, prefix, "", 0)
	if err != nil || len(list) == 0 {
		return false, false, err
	}
	seen, err := g.InvitationsTo(invited, room)
	if err != nil {
		return false, false, err
	}
	for _, i := range seen {
		shown = shown || by == 0 || i.By == by
	}
	return true, shown, g.forget(ctx, room, invited, list)
}

// Answered removes every invitation of a user into a room, after the user has come in.
func (g *Graph) Answered(ctx context.Context, room store.LogID, a store.AccountID) error {
	list, err := g.invited(room, store.KeyOf(a), "", 0)
	if err != nil || len(list) == 0 {
		return err
	}
	return g.forget(ctx, room, a, list)
}

// forget removes invitations from both places.
func (g *Graph) forget(ctx context.Context, room store.LogID, a store.AccountID, list []Invitation) error {
	mine, theirs := store.Update{Owner: store.OwnerOf(a)}, store.Update{Owner: store.OwnerOfLog(room)}
	for _, i := range list {
		key := store.KeyOf(room) + store.KeyOf(i.By)
		mine.Rows = append(mine.Rows, store.RowPut{Table: tableInvitation, Key: key}, store.RowPut{Table: tableHushed, Key: key})
		theirs.Rows = append(theirs.Rows, store.RowPut{Table: tableInvited, Key: store.KeyOf(a) + store.KeyOf(i.By)})
	}
	for _, u := range []store.Update{theirs, mine} {
		if err := g.store.Update(ctx, u); err != nil {
			return fmt.Errorf("graph: invitations: %w", err)
		}
	}
	return nil
}

// Refuse makes every later invitation of a user into a room one that it does not see: for good, or with a time in Unix
// milliseconds until then. What it was invited to before is gone for it, and stands in the room as it did. A refusal for
// good stays one.
func (g *Graph) Refuse(ctx context.Context, a store.AccountID, room store.LogID, until int64) error {
	old, err := g.store.Row(tableRefused, store.OwnerOf(a), store.KeyOf(room))
	if err != nil {
		return fmt.Errorf("graph: %s: %w", tableRefused, err)
	}
	if old.Version != 0 && old.Expires == 0 {
		until = 0
	}
	list, err := g.InvitationsTo(a, room)
	if err != nil {
		return err
	}
	u := store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{Table: tableRefused, Key: store.KeyOf(room), Value: []byte("{}"), Expires: until}}}
	for _, i := range list {
		u.Rows = append(u.Rows, store.RowPut{Table: tableInvitation, Key: store.KeyOf(room) + store.KeyOf(i.By)})
	}
	if err := g.store.Update(ctx, u); err != nil {
		return fmt.Errorf("graph: refuse: %w", err)
	}
	return nil
}

// Refused reports whether a user refuses invitations into a room.
func (g *Graph) Refused(a store.AccountID, room store.LogID) (bool, error) {
	r, err := g.store.Row(tableRefused, store.OwnerOf(a), store.KeyOf(room))
	if err != nil {
		return false, fmt.Errorf("graph: %s: %w", tableRefused, err)
	}
	return r.Version != 0, nil
}
