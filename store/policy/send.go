package policy

import "github.com/hwangso/hwangso/store"

// Strangers is what a user lets those do who are neither friends nor answered. Its text is the setting's word.
type Strangers string

// The stranger policies.
const (
	StrangersOpen    Strangers = "open"
	StrangersWarn    Strangers = "warn"
	StrangersRequest Strangers = "request"
	StrangersClosed  Strangers = "closed"
)

// Block is how much of B is shut to A.
type Block uint8

// The levels.
const (
	BlockNone     Block = iota
	BlockMessages       // A's messages do not arrive
	BlockProfile        // and B's profile looks empty
)

var blockWords = [...]string{"none", "msg", "msg+profile"}

// String is the level's word in the truth tables.
func (b Block) String() string {
	if int(b) < len(blockWords) {
		return blockWords[b]
	}
	return "unknown"
}

// SendFacts are what decides whether A may write to B (table T1).
type SendFacts struct {
	AState      store.AccountState
	ABlocksB    bool
	BHasA       bool // A is among B's friends
	BReplied    bool // B has written to A, and nothing since then has ended that
	Budget      bool // A may write to another stranger today, or B is counted already
	BExists     bool
	BPolicy     Strangers
	RequestFull bool // as much of A as B's request box takes waits there
	BBlocksA    Block
}

// Spends reports whether trying to write takes from A's budget for strangers, whatever becomes of it: B does not know A,
// and A is not refused before the budget is looked at.
func (f SendFacts) Spends() bool {
	return !f.BHasA && !f.BReplied && f.AState == store.AccountOK && !f.ABlocksB
}

// Send decides whether A may write to B. The order is part of the rule:
//
//   - A's own standing and A's own block come first: they tell A nothing that A does not know.
//   - For somebody B knows (friend or answered) the budget does not count. For a stranger it is asked before whether B
//     exists, so that every look costs something and a spammer cannot list who exists for free. An account under
//     reports has no budget for strangers.
//   - That B is missing and that B lets no stranger write is one answer: unreachable.
//   - B's block comes last, and only makes a shadow of what would have been accepted. Tested any earlier it would take the
//     place of a denial, or a denial its place, and A could see the difference.
func Send(f SendFacts) Outcome {
	stranger := !f.BHasA && !f.BReplied
	switch {
	case f.AState == store.AccountSuspended:
		return DenySuspended
	case f.ABlocksB:
		return DenyYouBlocked
	case stranger && (f.AState == store.AccountLimited || !f.Budget):
		return DenyStrangerLimit
	case !f.BExists:
		return DenyUnreachable
	case stranger && f.BPolicy == StrangersClosed:
		return DenyUnreachable
	case f.BBlocksA != BlockNone:
		return Shadow
	case stranger && f.BPolicy == StrangersWarn:
		return DeliverWarn
	case stranger && f.BPolicy == StrangersRequest && f.RequestFull:
		return Shadow
	case stranger && f.BPolicy == StrangersRequest:
		return Request
	}
	return Deliver
}
