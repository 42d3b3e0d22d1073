package hooks

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

// budgetInvitations is the kind of the budget for invitations.
const budgetInvitations = "invite"

// InvitationsADay is the default budget for invitations, per day in UTC.
const InvitationsADay = 50

// Invitation is what becomes of an invitation into a room.
type Invitation struct {
	Outcome policy.Outcome // Join, Pending, PendingShadow or Noop
	Invited store.Account
}

// Invite decides what happens when a member invites a user into a room, which takes at most capacity members. perDay is
// the member's budget, of which each user and room counts once a day, whether the user exists or not; an attempt that is
// refused is paid for too. That the member may invite at all is for the caller to know. Errors are what Refusal says, and
// of the store.
//
// Everything is asked, also what the outcome turns out not to need, so that the time an answer takes tells nothing about
// who refuses or blocks whom.
func (a *Access) Invite(ctx context.Context, me store.AccountID, room store.LogInfo, name string, capacity, perDay int) (Invitation, error) {
	account, err := a.store.Account(me)
	if err != nil {
		return Invitation{}, fmt.Errorf("hooks: account: %w", err)
	}
	f := policy.InviteFacts{AState: account.State, Full: room.Members.Active >= capacity}
	var renews time.Time
	if account.State == store.AccountOK {
		if f.Budget, renews, err = a.graph.Spend(ctx, me, budgetInvitations, room.Key.Name+"/"+name, perDay); err != nil {
			return Invitation{}, fmt.Errorf("hooks: budget: %w", err)
		}
	}
	u, err := a.store.AccountByName(name)
	if store.CodeOf(err) == store.CodeNotFound {
		u, err = store.Account{ID: nobody}, nil
	}
	if err != nil {
		return Invitation{}, fmt.Errorf("hooks: account: %w", err)
	}
	f.IExists = u.ID != nobody
	if err := a.inviteFacts(&f, me, u.ID, room); err != nil {
		return Invitation{}, err
	}
	outcome := policy.Invite(f)
	retry := time.Duration(0)
	if outcome == policy.DenyInviteLimit && !renews.IsZero() {
		retry = renews.Sub(a.cfg.Now())
	}
	if err := Refusal(outcome, retry); err != nil {
		return Invitation{}, err
	}
	return Invitation{outcome, u}, nil
}

// inviteFacts asks about the invited user and about what lies between it and the one who invites.
func (a *Access) inviteFacts(f *policy.InviteFacts, me, u store.AccountID, room store.LogInfo) (err error) {
	f.Member = room.Members.Role(u) != store.RoleNone
	for _, edge := range []struct {
		on       *bool
		kind     store.Edge
		from, to store.AccountID
	}{
		{&f.AHasI, store.EdgeFriend, me, u},
		{&f.ABlocksI, store.EdgeBlock, me, u},
		{&f.IBlocksA, store.EdgeBlock, u, me},
	} {
		if *edge.on, err = a.store.HasEdge(edge.kind, edge.from, edge.to); err != nil {
			return fmt.Errorf("hooks: edge: %w", err)
		}
	}
	if f.IHasA, err = a.graph.HasFriend(u, me); err != nil {
		return fmt.Errorf("hooks: friend: %w", err)
	}
	settings, err := a.graph.Settings(u)
	if err != nil {
		return fmt.Errorf("hooks: settings: %w", err)
	}
	f.IPolicy = policy.Invitations(settings.InvitationsMode())
	if f.IRefused, err = a.graph.Refused(u, room.ID); err != nil {
		return fmt.Errorf("hooks: refused: %w", err)
	}
	f.IBlocksSomeMember, err = a.blocksSome(u, room.Members)
	return err
}

// blocksSome reports whether a user blocks an active member.
func (a *Access) blocksSome(u store.AccountID, ms *store.Membership) (bool, error) {
	for i := range ms.Members {
		m := &ms.Members[i]
		if m.Role == store.RoleNone {
			continue
		}
		on, err := a.store.HasEdge(store.EdgeBlock, u, m.Account)
		if err != nil {
			return false, fmt.Errorf("hooks: edge: %w", err)
		}
		if on {
			return true, nil
		}
	}
	return false, nil
}
