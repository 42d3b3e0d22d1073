package policy

// Profile is how much of B's profile A sees.
type Profile string

// The depths.
const (
	ProfileUnknown Profile = "unknown" // as if there were no such user
	ProfileName    Profile = "name"    // identifier and chosen name
	ProfileDefault Profile = "default" // chosen name, and everything else as of a user who never set it
	ProfileFull    Profile = "full"
)

// Visibility is what A sees of B outside open rooms.
type Visibility struct {
	Profile  Profile
	Presence bool // whether B is online
	Receipts bool // how far B has read
	Typing   bool
}

// String is the visibility as the truth table writes it.
func (v Visibility) String() string {
	word := func(on bool) string {
		if on {
			return "yes"
		}
		return "no"
	}
	return "profile=" + string(v.Profile) + " presence=" + word(v.Presence) + " receipts=" + word(v.Receipts) + " typing=" + word(v.Typing)
}

// VisibleFacts are what decides what A sees of B (table T4).
type VisibleFacts struct {
	BExists    bool
	BHasA      bool // A is among B's friends
	AHasB      bool // B is among A's friends
	SharedRoom bool // both are members of one room that shows accounts
	Answered   bool // B has written to A, and nothing since then has ended that
	Findable   bool // B's setting
	BBlocksA   Block
	ABlocksB   bool
	BShares    bool // B's presence setting
	AShares    bool // A's presence setting
}

// Visible decides what A sees of B outside open rooms.
//
// The profile opens with any tie that B accepted: friend, answer, a room together. Without one B can be looked up by its
// identifier, if it wants, with its name and no more; a block does not change that, or the asker would see it. What moves
// with the moment (receipts, typing, presence) goes to those B knows; a block from either side stops it. Presence needs
// both to be friends and both to share.
func Visible(f VisibleFacts) Visibility {
	v := Visibility{Profile: ProfileUnknown}
	if !f.BExists {
		return v
	}
	known := f.BHasA || f.Answered
	switch {
	case (known || f.SharedRoom) && f.BBlocksA == BlockProfile:
		v.Profile = ProfileDefault
	case known || f.SharedRoom:
		v.Profile = ProfileFull
	case f.Findable:
		v.Profile = ProfileName
	}
	if f.BBlocksA == BlockNone && !f.ABlocksB {
		v.Receipts, v.Typing = known, known
		v.Presence = f.BHasA && f.AHasB && f.BShares && f.AShares
	}
	return v
}
