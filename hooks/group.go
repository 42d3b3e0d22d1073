package hooks

import (
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// Withhold returns what a reader of a log has to leave out for a user beyond what membership and audience do, for
// store.Query.Withhold; nil where that is nothing, which is known after one look at the user's settings. In a room these
// are the messages of members that the user blocked when they were written, if the user hides blocked members, and
// operations on such messages; and for one who is no member any more, every message. Changes of the room and its members
// are withheld from nobody: without them a device would not know who is in.
func (a *Access) Withhold(me store.AccountID, log store.LogInfo) (func(*store.Record) (bool, error), error) {
	if log.Key.Kind != store.LogRoom || me == 0 {
		return nil, nil
	}
	v := groupViewer{access: a, me: me, log: log.ID}
	v.facts.MMemberNow = log.Members.Role(me) != store.RoleNone
	settings, err := a.graph.Settings(me)
	if err != nil {
		return nil, fmt.Errorf("hooks: settings: %w", err)
	}
	if v.facts.MHideBlocked, err = a.hides(settings, log.ID); err != nil {
		return nil, err
	}
	if v.facts.MMemberNow && !v.facts.MHideBlocked {
		return nil, nil
	}
	return func(r *store.Record) (bool, error) {
		outcome, err := v.outcome(r)
		return outcome == policy.Skip || outcome == policy.None, err
	}, nil
}

// GroupView decides what a member of a room gets of a record that membership and audience show to it: Deliver,
// DeliverNoPush (it is there, and wakes nobody), Skip or None. mentioned tells that the record mentions the member, which
// wakes it in a room that it has muted but for mentions. It is for readers that deliver one record to many members; a
// reader of pages uses Withhold, which decides the same.
func (a *Access) GroupView(me store.AccountID, log store.LogInfo, r *store.Record, mentioned bool) (policy.Outcome, error) {
	v := groupViewer{access: a, me: me, log: log.ID}
	settings, err := a.graph.Settings(me)
	if err != nil {
		return policy.None, fmt.Errorf("hooks: settings: %w", err)
	}
	if v.facts.MHideBlocked, err = a.hides(settings, log.ID); err != nil {
		return policy.None, err
	}
	mute, err := a.graph.Mute(me, log.ID)
	if err != nil {
		return policy.None, fmt.Errorf("hooks: mute: %w", err)
	}
	v.facts.MMemberNow = log.Members.Role(me) != store.RoleNone
	v.facts.MMutesRoom, v.facts.Mentioned = mute != nil, mentioned && (mute == nil || mute.Mentions)
	return v.outcome(r)
}

// hides reports whether a user with these settings hides blocked members of a room. In an open room it does not: who
// disappeared after a block would be known by its account.
func (a *Access) hides(settings *graph.Settings, log store.LogID) (bool, error) {
	if !settings.HideBlocked {
		return false, nil
	}
	room, err := a.graph.Room(log)
	if err != nil {
		return false, fmt.Errorf("hooks: room: %w", err)
	}
	return !room.Open, nil
}

// groupViewer is a user who looks at records of one room.
type groupViewer struct {
	access *Access
	me     store.AccountID
	log    store.LogID
	facts  policy.GroupFacts // those that are the same for every record
}

// outcome decides about a record that membership shows: that the sender may write was decided when it was written, and
// whether the viewer was in then, or came in with an open history, lies in the ranges of its membership.
func (v *groupViewer) outcome(r *store.Record) (policy.Outcome, error) {
	if r.Change.Kind != store.ChangeNone || r.Kind == store.KindSystem || r.Sender == 0 || r.Sender == v.me {
		if r.Sender == v.me && !v.facts.MMemberNow && r.Change.Kind == store.ChangeNone {
			return policy.None, nil
		}
		return policy.Deliver, nil
	}
	outcome, err := v.message(r.Sender, r.Time)
	if err != nil || r.Op.Kind == store.OpNone || outcome == policy.Skip || outcome == policy.None {
		return outcome, err
	}
	// What is done to a message that is withheld is withheld, whoever does it.
	page, err := v.access.store.Read(store.Query{Log: v.log, Viewer: v.me, After: r.Op.Target - 1, Upto: r.Op.Target, Max: 1})
	if store.CodeOf(err) == store.CodeTrimmed {
		return outcome, nil // retention has taken the message, and what an edit says of it
	}
	if err != nil {
		return policy.None, fmt.Errorf("hooks: read: %w", err)
	}
	for _, target := range page.Records {
		about, err := v.message(target.Sender, target.Time)
		if err != nil || about == policy.Skip {
			return about, err
		}
	}
	return outcome, nil
}

// message decides about something that was written by a user at a moment.
func (v *groupViewer) message(sender store.AccountID, written int64) (policy.Outcome, error) {
	f := v.facts
	f.MMemberThen = true // or it came in with an open history
	if sender != v.me {
		r, err := v.access.graph.Relation(v.me, sender)
		if err != nil {
			return policy.None, fmt.Errorf("hooks: relation: %w", err)
		}
		f.BlockedThen = r.BlockedAt(written)
	}
	return policy.GroupView(f), nil
}

// ErrRoomClosed is what everybody is told who would write in a room that an operator has closed, or come in.
var ErrRoomClosed error = &store.Error{Code: store.CodeLocked, Text: "the room was closed by the operators"}

// groupWrite decides whether a member may write in a group: nobody in one that an operator has closed, nobody who is
// muted, unless it moderates. reads tells that nothing is written: a read mark.
func (a *Access) groupWrite(me store.AccountID, log store.LogInfo, state store.AccountState, room *graph.Room, reads bool) (policy.Outcome, time.Duration, error) {
	role := log.Members.Role(me)
	outcome := policy.WriteRoom(policy.RoomFacts{AState: state, ARole: role})
	if _, denied := outcome.Denied(); denied || reads {
		return outcome, 0, nil
	}
	if room.Closed != 0 {
		return policy.DenyLocked, 0, ErrRoomClosed
	}
	m, err := a.graph.RoomMember(log.ID, me)
	if err != nil {
		return policy.None, 0, fmt.Errorf("hooks: member: %w", err)
	}
	now := a.cfg.Now().UnixMilli()
	f := policy.GroupFacts{AState: state, AMuted: role < store.RoleModerator && m.MutedAt(now), MMemberNow: true, MMemberThen: true}
	if outcome = policy.GroupView(f); outcome == policy.DenyMuted && m.Muted != graph.Forever {
		return outcome, time.Duration(m.Muted-now) * time.Millisecond, nil
	}
	return outcome, 0, nil
}
