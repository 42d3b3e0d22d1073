package policy

import "github.com/hwangso/hwangso/store"

// Invitations is who may bring a user into a room. Its text is the setting's word.
type Invitations string

// The invitation policies.
const (
	InviteAsk     Invitations = "ask"
	InviteFriends Invitations = "friends"
	InviteAnyone  Invitations = "anyone"
	InviteNobody  Invitations = "nobody"
)

// InviteFacts are what decides about an invitation of I by A into a room (table T2).
type InviteFacts struct {
	AState            store.AccountState
	Budget            bool // A has invitations left today
	Member            bool // I is a member already
	Full              bool // the room takes no more members
	AHasI             bool // I is among A's friends
	ABlocksI          bool
	IExists           bool
	IRefused          bool // I left or refused this room not long ago
	IBlocksA          bool
	IHasA             bool // A is among I's friends
	IPolicy           Invitations
	IBlocksSomeMember bool
}

// Invite decides what happens when A invites I into a room.
//
// What A knows anyway is asked first: its own standing, the room, its own friends and blocks. From there on everything
// is about I, and every answer that I's state gives is PENDING as far as A can see. Under "ask" that holds without
// exception. Who lets friends or anyone bring it in at once gives away something: an invitation that waits where
// another would have joined.
func Invite(f InviteFacts) Outcome {
	switch {
	case f.AState == store.AccountSuspended:
		return DenySuspended
	case f.AState == store.AccountLimited || !f.Budget:
		return DenyInviteLimit
	case f.Member:
		return Noop
	case f.ABlocksI:
		return DenyYouBlocked
	case !f.AHasI:
		return DenyNotFriend
	case f.Full:
		return DenyFull
	case !f.IExists || f.IRefused || f.IBlocksA || f.IPolicy == InviteNobody:
		return PendingShadow
	case f.IBlocksSomeMember: // nobody is put beside somebody it has blocked without being asked
		return Pending
	case f.IPolicy == InviteAnyone, f.IPolicy == InviteFriends && f.IHasA:
		return Join
	}
	return Pending
}
