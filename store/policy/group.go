package policy

import "github.com/hwangso/hwangso/store"

// GroupFacts are what decides what member M sees of a message of A in a group (table T3). "Then" is the record's time:
// history and a second device must agree with what was shown live, and unblocking must not replay.
type GroupFacts struct {
	AState       store.AccountState
	AMuted       bool // in this room
	MMemberNow   bool
	MMemberThen  bool
	HistoryOpen  bool // newcomers may read what was written before them
	BlockedThen  bool // M blocked A at the record's time
	MHideBlocked bool // M's setting
	MMutesRoom   bool
	Mentioned    bool // the message mentions M
}

// GroupView decides what M sees of A's message. A's denials come first, they are about the message as a whole (the
// room's before the service's: the moderator who muted A is who can answer for it); then
// whether M may see anything at all; then M's own wishes, of which a block is the strongest: a blocked member's mention
// wakes nobody.
func GroupView(f GroupFacts) Outcome {
	switch {
	case f.AMuted:
		return DenyMuted
	case f.AState == store.AccountSuspended:
		return DenySuspended
	case !f.MMemberNow || !f.MMemberThen && !f.HistoryOpen:
		return None
	case f.BlockedThen && f.MHideBlocked:
		return Skip
	case f.BlockedThen, f.MMutesRoom && !f.Mentioned:
		return DeliverNoPush
	}
	return Deliver
}
