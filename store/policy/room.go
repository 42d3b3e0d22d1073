package policy

import "github.com/hwangso/hwangso/store"

// RoomFacts are what decides whether A may write in a room.
type RoomFacts struct {
	AState store.AccountState
	ARole  store.Role // RoleNone also where there is no such room
}

// WriteRoom decides whether A may write in a room. A stranger is told the same about every room and about none.
func WriteRoom(f RoomFacts) Outcome {
	switch {
	case f.AState == store.AccountSuspended:
		return DenySuspended
	case f.ARole == store.RoleNone:
		return DenyNotMember
	}
	return Deliver
}
