package hooks

import (
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

// refusals are the codes and sentences of the denials. Their reasons are the outcomes' own words; where that is a code's
// own word (locked, full), the error needs no reason.
var refusals = map[policy.Outcome]*store.Error{
	policy.DenySuspended:        ErrSuspended,
	policy.DenyLimited:          {Code: store.CodeForbidden, Reason: store.ReasonLimited, Text: "the account is limited after reports"},
	policy.DenyYouBlocked:       {Code: store.CodeForbidden, Reason: store.ReasonYouBlocked, Text: "you have blocked this user: unblock first"},
	policy.DenyStrangerLimit:    {Code: store.CodeTooMany, Reason: store.ReasonStrangerLimit, Text: "you may not write to more new people today"},
	policy.DenyInviteLimit:      {Code: store.CodeTooMany, Reason: store.ReasonInviteLimit, Text: "you may not invite more people today"},
	policy.DenyUnreachable:      {Code: store.CodeForbidden, Reason: store.ReasonUnreachable, Text: "you cannot reach this user or room"},
	policy.DenyNotFriend:        {Code: store.CodeForbidden, Reason: store.ReasonNotFriend, Text: "this user is not among your friends"},
	policy.DenyNotMember:        store.ErrNotMember,
	policy.DenyFull:             {Code: store.CodeFull, Text: "the room is full"},
	policy.DenyMuted:            {Code: store.CodeForbidden, Reason: store.ReasonMuted, Text: "you are muted in this room"},
	policy.DenySlow:             {Code: store.CodeTooMany, Reason: store.ReasonSlow, Text: "the room is in slow mode: wait a moment"},
	policy.DenyLocked:           {Code: store.CodeLocked, Text: "the room is locked"},
	policy.DenyNick:             {Code: store.CodeForbidden, Reason: store.ReasonNick, Text: "this nickname is taken"},
	policy.DenyCode:             {Code: store.CodeForbidden, Reason: store.ReasonWrongCode, Text: "the code is wrong"},
	policy.DenyChannelPaused:    {Code: store.CodeForbidden, Reason: store.ReasonChannelPaused, Text: "the channel is paused, or waits for the operator"},
	policy.DenyChannelSuspended: {Code: store.CodeForbidden, Reason: store.ReasonChannelSuspended, Text: "the channel is suspended"},
}

// Refusal is the error that a denial is told with, nil for every other outcome. retry is when trying again makes sense,
// of denials that end by themselves (CodeTooMany); 0: not known.
func Refusal(o policy.Outcome, retry time.Duration) error {
	reason, denied := o.Denied()
	if !denied {
		return nil
	}
	e := refusals[o]
	switch {
	case e == nil:
		return store.Forbidden(reason, "")
	case retry > 0 && e.Code == store.CodeTooMany:
		timed := *e
		timed.Retry = retry
		return &timed
	}
	return e
}
