package policy

import "strings"

// Outcome is what the rules say. Its text is the protocol's word for it, and that of the truth tables.
type Outcome string

// The outcomes. A denial is "DENY:" and the reason that the sender is told.
const (
	Deliver         Outcome = "DELIVER"
	Shadow          Outcome = "SHADOW" // accepted, and only the sender ever sees it
	DenySuspended   Outcome = "DENY:suspended"
	DenyYouBlocked  Outcome = "DENY:you_blocked"
	DenyNotFriend   Outcome = "DENY:not_friend"
	DenyUnreachable Outcome = "DENY:unreachable"
	DenyNotMember   Outcome = "DENY:not_member"
)

// Denied returns the reason of a denial, and whether it is one.
func (o Outcome) Denied() (reason string, denied bool) {
	if reason, denied = strings.CutPrefix(string(o), "DENY:"); denied {
		return reason, true
	}
	return "", false
}
