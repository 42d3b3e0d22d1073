package hooks

import (
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// OpenCapacity is how many members an open room has at most.
const OpenCapacity = 3000

// Entry is a request to come into an open room, and what was found out about it.
type Entry struct {
	Name string // of the room
	Code string // as the user gave it, "" for none

	// Skeleton is what the wished nickname is compared by, and Like reports whether it passes for another one, of the
	// owner or a moderator.
	Skeleton string
	Like     func(nick string) bool

	Room    *graph.Room
	Log     store.LogInfo
	Outcome policy.Outcome // Join, Pending or Noop
}

// JoinOpen decides whether a user may come into an open room, and fills in what it found. A room that does not exist, is
// no open room or was closed gives the same error as one from which the user is banned, after the same look-ups.
func (a *Access) JoinOpen(me store.AccountID, e *Entry) error {
	account, err := a.store.Account(me)
	if err != nil {
		return fmt.Errorf("hooks: account: %w", err)
	}
	if e.Log, err = a.find(store.RoomKey(e.Name)); err != nil {
		return err
	}
	if e.Room, err = a.graph.Room(e.Log.ID); err != nil {
		return fmt.Errorf("hooks: room: %w", err)
	}
	m, err := a.graph.RoomMember(e.Log.ID, me)
	if err != nil {
		return fmt.Errorf("hooks: member: %w", err)
	}
	f := policy.OpenFacts{AState: account.State, Role: e.Log.Members.Role(me), Banned: m.Banned != 0, Kind: policy.OpenKind(e.Room.JoinMode()),
		Code: e.Room.HasCode(e.Log.ID, e.Code), Locked: e.Room.Locked, Muted: m.MutedAt(a.cfg.Now().UnixMilli())}
	if e.Log.Members != nil {
		f.Full = e.Log.Members.Active >= Capacity(e.Room)
	}
	if f.NickTaken, err = a.nickTaken(me, e); err != nil {
		return err
	}
	if !e.Room.Open || e.Room.Closed != 0 {
		f.Role, f.Banned = store.RoleNone, true // to this user it is not there
	}
	e.Outcome = policy.JoinOpen(f)
	return Refusal(e.Outcome, 0)
}

// Capacity is how many members an open room may have.
func Capacity(r *graph.Room) int {
	if r.Capacity > 0 && r.Capacity < OpenCapacity {
		return r.Capacity
	}
	return OpenCapacity
}

// NickTaken reports whether a member of an open room may not have the nickname of an entry, whose Room and Log are known.
func (a *Access) NickTaken(me store.AccountID, e *Entry) (bool, error) { return a.nickTaken(me, e) }

func (a *Access) nickTaken(me store.AccountID, e *Entry) (bool, error) {
	n, err := a.graph.NickOf(e.Log.ID, e.Skeleton)
	if err != nil {
		return false, fmt.Errorf("hooks: nickname: %w", err)
	}
	taken := n.Account != 0 && n.Account != me
	if taken {
		free, err := a.NickFree(e.Log, n)
		if err != nil {
			return false, err
		}
		taken = !free
	}
	if e.Log.Members == nil || e.Like == nil {
		return taken, nil
	}
	for i := range e.Log.Members.Members {
		m := &e.Log.Members.Members[i]
		if m.Role < store.RoleModerator || m.Account == me {
			continue
		}
		staff, err := a.graph.RoomMember(e.Log.ID, m.Account)
		if err != nil {
			return false, fmt.Errorf("hooks: member: %w", err)
		}
		taken = e.Like(staff.Nick) || taken
	}
	return taken, nil
}

// NickFree reports whether a claim on a nickname counts for nothing: its owner is not in the room, does not wait to be let
// in, and has not just begun to come in or just left.
func (a *Access) NickFree(log store.LogInfo, n graph.Nick) (bool, error) {
	if n.Fresh || n.Left || log.Members.Role(n.Account) != store.RoleNone {
		return false, nil
	}
	asks, err := a.graph.Asks(log.ID, n.Account)
	return !asks, err
}

// openWrite decides whether a member may publish in an open room. Nothing holds up a read mark; slow mode is for messages
// alone, and asked last: see Pace. Every fact is gathered whatever the outcome.
func (a *Access) openWrite(me store.AccountID, g Grant, state store.AccountState, room *graph.Room, act Act) (Grant, error) {
	m, err := a.graph.RoomMember(g.Log.ID, me)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: member: %w", err)
	}
	now := a.cfg.Now()
	f := policy.OpenFacts{AState: state, Role: g.Log.Members.Role(me), Banned: m.Banned != 0, Kind: policy.OpenKind(room.JoinMode()), Locked: room.Locked,
		Muted: m.MutedAt(now.UnixMilli())}
	g.Open = true
	every := time.Duration(room.Slow) * time.Second
	if f.Role < store.RoleModerator && act == Message {
		g.Slow = every
	}
	if act == Read {
		f.Muted, f.Locked = false, false
	}
	outcome := policy.SendOpen(f)
	if room.Closed != 0 && act != Read && outcome != policy.DenySuspended && outcome != policy.DenyNotMember {
		return Grant{}, ErrRoomClosed
	}
	if outcome == policy.DenyMuted {
		wait := time.Duration(0) // for ever
		if m.Muted != graph.Forever {
			wait = time.UnixMilli(m.Muted).Sub(now)
		}
		return Grant{}, later(outcome, wait)
	}
	return decide(g, outcome, 0)
}

// Pace is asked last, when nothing else stands against a message that is granted: it holds the sender to the room's slow
// mode and notes the message. A repeat of the message that it has noted (the same cid) goes through, so that a sender who
// has lost the answer gets it again.
func (a *Access) Pace(me store.AccountID, g Grant, cid string) error {
	wait := a.paces.note(pacer{g.Log.ID, me}, cid, a.cfg.Now(), g.Slow)
	if wait <= 0 {
		return nil
	}
	return later(policy.SendOpen(policy.OpenFacts{Role: store.RoleMember, Slow: true}), wait)
}

// later is a refusal that says when trying again makes sense; 0: not known.
func later(o policy.Outcome, wait time.Duration) error {
	err := Refusal(o, 0)
	if e, ok := errors.AsType[*store.Error](err); ok && wait > 0 {
		timed := *e
		timed.Retry = wait
		return &timed
	}
	return err
}
