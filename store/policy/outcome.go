package policy

import "strings"

// Outcome is what the rules say. Its text is the protocol's word for it, and that of the truth tables.
type Outcome string

// What happens to a message, an invitation, a request to join.
const (
	Deliver       Outcome = "DELIVER"
	DeliverWarn   Outcome = "DELIVER_WARN"   // with a stranger warning for the receiver
	DeliverNoPush Outcome = "DELIVER_NOPUSH" // without waking anybody
	Request       Outcome = "REQUEST"        // into the receiver's request box
	Shadow        Outcome = "SHADOW"         // accepted, and only the sender ever sees it
	Skip          Outcome = "SKIP"           // the sequence is consumed, the body withheld
	Defer         Outcome = "DEFER"          // held until the night is over
	None          Outcome = "NONE"           // it is not there for this one
	Join          Outcome = "JOIN"           // a member at once
	Pending       Outcome = "PENDING"        // asked; somebody has to say yes
	PendingShadow Outcome = "PENDING_SHADOW" // looks like PENDING to who asked, and is never shown
	Noop          Outcome = "NOOP"           // it is so already
)

// The denials: "DENY:" and the reason that who asked is told.
const (
	DenySuspended        Outcome = "DENY:suspended"
	DenyLimited          Outcome = "DENY:limited"
	DenyYouBlocked       Outcome = "DENY:you_blocked"
	DenyStrangerLimit    Outcome = "DENY:stranger_limit"
	DenyInviteLimit      Outcome = "DENY:invite_limit"
	DenyUnreachable      Outcome = "DENY:unreachable"
	DenyNotFriend        Outcome = "DENY:not_friend"
	DenyNotMember        Outcome = "DENY:not_member"
	DenyFull             Outcome = "DENY:full"
	DenyMuted            Outcome = "DENY:muted"
	DenySlow             Outcome = "DENY:slow"
	DenyLocked           Outcome = "DENY:locked"
	DenyNick             Outcome = "DENY:nick"
	DenyCode             Outcome = "DENY:code"
	DenyChannelPaused    Outcome = "DENY:channel_paused"
	DenyChannelSuspended Outcome = "DENY:channel_suspended"
)

// Outcomes are all of them.
var Outcomes = []Outcome{
	Deliver, DeliverWarn, DeliverNoPush, Request, Shadow, Skip, Defer, None, Join, Pending, PendingShadow, Noop,
	DenySuspended, DenyLimited, DenyYouBlocked, DenyStrangerLimit, DenyInviteLimit, DenyUnreachable, DenyNotFriend,
	DenyNotMember, DenyFull, DenyMuted, DenySlow, DenyLocked, DenyNick, DenyCode, DenyChannelPaused, DenyChannelSuspended,
}

// Denied returns the reason of a denial, and whether it is one.
func (o Outcome) Denied() (reason string, denied bool) {
	if reason, denied = strings.CutPrefix(string(o), "DENY:"); denied {
		return reason, true
	}
	return "", false
}
