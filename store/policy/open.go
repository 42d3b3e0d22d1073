package policy

import "github.com/hwangso/hwangso/store"

// OpenKind is how an open room is entered. Its text is the word of the truth table.
type OpenKind string

// The kinds.
const (
	OpenPublic  OpenKind = "public"
	OpenCode    OpenKind = "code"    // with a code that members know
	OpenApprove OpenKind = "approve" // when a moderator says yes
)

// OpenFacts are what decides about joining an open room and writing in it (table T6).
type OpenFacts struct {
	AState    store.AccountState
	Role      store.Role // A's standing in the room, RoleNone also where there is no such room
	Banned    bool
	Kind      OpenKind
	Code      bool // the code given is right
	Full      bool
	NickTaken bool
	Muted     bool // A, in this room
	Slow      bool // A has written too little ago for the room's slow mode
	Locked    bool
}

// JoinOpen decides whether A may join an open room. A banned user is told what is told about a room that is not there;
// that comes before everything else about the room, which would give it away. A room with a code asks for it before it
// tells whether it is full and which nicknames are taken.
func JoinOpen(f OpenFacts) Outcome {
	switch {
	case f.AState == store.AccountSuspended:
		return DenySuspended
	case f.Role != store.RoleNone:
		return Noop
	case f.Banned:
		return DenyUnreachable
	case f.AState == store.AccountLimited:
		return DenyLimited
	case f.Locked:
		return DenyLocked
	case f.Kind == OpenCode && !f.Code:
		return DenyCode
	case f.Full:
		return DenyFull
	case f.NickTaken:
		return DenyNick
	case f.Kind == OpenApprove:
		return Pending
	}
	return Join
}

// SendOpen decides whether A may write in an open room. Who runs the room is not held up by its brakes.
func SendOpen(f OpenFacts) Outcome {
	switch {
	case f.AState == store.AccountSuspended:
		return DenySuspended
	case f.Role == store.RoleNone || f.Banned:
		return DenyNotMember
	case f.Role >= store.RoleModerator:
		return Deliver
	case f.Muted:
		return DenyMuted
	case f.Locked:
		return DenyLocked
	case f.Slow:
		return DenySlow
	}
	return Deliver
}
