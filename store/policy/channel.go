package policy

// ChannelState is a brand channel's standing. Its text is the word of the truth table.
type ChannelState string

// The states.
const (
	ChannelOK        ChannelState = "ok"
	ChannelPaused    ChannelState = "paused"    // by the brand or its plan
	ChannelSuspended ChannelState = "suspended" // by the operator
)

// ChannelFacts are what decides whether a channel's post reaches a follower (table T5).
type ChannelFacts struct {
	State      ChannelState
	Following  bool
	Blocked    bool // the follower has blocked the channel
	InSegment  bool // the post is for followers like this one
	Expired    bool
	Ad         bool
	AdConsent  bool
	Capped     bool // the follower has had as much advertising as the cap allows
	Night      bool // in the follower's country, advertising waits
	Quiet      bool // the follower's quiet hours
	Muted      bool // the follower has muted the channel
	PushWanted bool
}

// Channel decides whether a post reaches a follower, at the moment of delivery: leaving, a cap and the night act on
// posts that are under way. Advertising that is not wanted is gone, that comes at the wrong hour waits.
func Channel(f ChannelFacts) Outcome {
	switch {
	case f.State == ChannelPaused:
		return DenyChannelPaused
	case f.State != ChannelOK:
		return DenyChannelSuspended
	case !f.Following || f.Blocked || !f.InSegment || f.Expired:
		return None
	case f.Ad && (!f.AdConsent || f.Capped):
		return None
	case f.Ad && f.Night:
		return Defer
	case f.Quiet || f.Muted || !f.PushWanted:
		return DeliverNoPush
	}
	return Deliver
}
