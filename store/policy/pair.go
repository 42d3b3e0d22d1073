package policy

import "github.com/hwangso/hwangso/store"

// PairFacts are what decides whether A may write to B. Edges are as they were before a block: blocking freezes them
// for every answer to the other side.
type PairFacts struct {
	Self     bool // A and B are one user: notes
	AState   store.AccountState
	ABlocksB bool
	BExists  bool
	BHasA    bool // A is in B's friends
	BBlocksA bool
}

// WritePair decides whether A may write to B.
//
// The order is part of the rule. A's own block is told before anything about B is looked at. Whether B exists is no
// different from B not having A as a friend, or strangers could list who exists. B's block comes last, and only among
// those whose message would otherwise arrive: tested earlier it could be noticed.
func WritePair(f PairFacts) Outcome {
	switch {
	case f.AState == store.AccountSuspended:
		return DenySuspended
	case f.Self:
		return Deliver
	case f.ABlocksB:
		return DenyYouBlocked
	case !f.BExists || !f.BHasA:
		return DenyNotFriend
	case f.BBlocksA:
		return Shadow
	}
	return Deliver
}

// ActPair decides whether A may act within the conversation with B without a new message: typing, or an operation on
// an earlier message. Where none is open to A, the answer is the same whoever B is; A's own block goes before, so that it
// does not show to A whether B, unseen, has written.
func ActPair(open bool, f PairFacts) Outcome {
	outcome := WritePair(f)
	if !open && outcome != DenySuspended && outcome != DenyYouBlocked {
		return DenyUnreachable
	}
	return outcome
}

// ReadPair decides whether A may move its read mark in the conversation with B. Neither unfriending nor a block
// changes what lies there to be read.
func ReadPair(open bool, f PairFacts) Outcome {
	switch {
	case f.AState == store.AccountSuspended:
		return DenySuspended
	case !open:
		return DenyUnreachable
	}
	return Deliver
}
