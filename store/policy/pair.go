package policy

import "github.com/hwangso/hwangso/store"

// ActPair decides whether A may act within the conversation with B without a new message: typing, or an operation on
// an earlier message. open: there is a conversation that A is in. self: B is A, the conversation is A's notes.
//
// Where none is open to A, the answer is the same whoever B is; A's own block goes before, so that it does not show to A
// whether B, unseen, has written. Within a conversation the rules of Send hold, but for what counts new conversations:
// neither the budget for strangers nor the size of the request box.
func ActPair(open, self bool, f SendFacts) Outcome {
	if self {
		return ReadPair(open, f.AState)
	}
	f.Budget, f.RequestFull = true, false
	if f.AState == store.AccountLimited {
		f.AState = store.AccountOK
	}
	outcome := Send(f)
	if !open && outcome != DenySuspended && outcome != DenyYouBlocked {
		return DenyUnreachable
	}
	return outcome
}

// ReadPair decides whether A may move its read mark in the conversation with B. Neither unfriending nor a block
// changes what lies there to be read.
func ReadPair(open bool, state store.AccountState) Outcome {
	switch {
	case state == store.AccountSuspended:
		return DenySuspended
	case !open:
		return DenyUnreachable
	}
	return Deliver
}
