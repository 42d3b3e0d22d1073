package hooks

import (
	"fmt"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// Sight is what one user (the viewer) sees of another one outside open rooms.
type Sight struct {
	policy.Visibility

	// Mutual says that the two are friends of each other as far as the viewer may know, and that the viewer does not block
	// the other: where both share it, presence shows.
	Mutual bool
	// Away is since when (Unix milliseconds) the other is away for a viewer whom it blocks, and who saw its presence until
	// then: the viewer must not see it end. 0: nothing of that kind.
	Away int64

	known        bool            // a friend, or answered
	mine, theirs *graph.Relation // the viewer's of the other, and back
}

// Mark is how far the other has read their conversation, as the viewer may know it; at is how far it has. What was shown
// once stays: where receipts end, the mark stands still.
func (s Sight) Mark(at store.Seq) store.Seq {
	if s.mine.Block != graph.BlockNone {
		return min(s.mine.Seen, at)
	}
	return s.theirs.ShownMark(at, s.known)
}

// View gathers everything that decides what the viewer sees of another user (truth table T4). other may be an account that
// does not exist: the questions are the same ones.
func (a *Access) View(viewer, other store.AccountID) (Sight, error) {
	f, v, err := a.visible(viewer, other)
	if err != nil {
		return v, err
	}
	if f.SharedRoom, err = a.shareRoom(viewer, other); err != nil {
		return v, err
	}
	v.Visibility = policy.Visible(f)
	return v, nil
}

// Live is View but for the profile, which takes a look at every room of the viewer: presence, receipts, typing. Cheap: it is
// asked per delivery.
func (a *Access) Live(viewer, other store.AccountID) (Sight, error) {
	f, v, err := a.visible(viewer, other)
	if err == nil {
		v.Visibility = policy.Visible(f)
	}
	return v, err
}

func (a *Access) visible(viewer, other store.AccountID) (f policy.VisibleFacts, v Sight, err error) {
	_, err = a.store.Account(other)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return f, v, fmt.Errorf("hooks: account: %w", err)
	}
	f.BExists = err == nil
	friend, err := a.store.HasEdge(store.EdgeFriend, other, viewer)
	if err != nil {
		return f, v, fmt.Errorf("hooks: edge: %w", err)
	}
	if f.AHasB, err = a.store.HasEdge(store.EdgeFriend, viewer, other); err != nil {
		return f, v, fmt.Errorf("hooks: edge: %w", err)
	}
	if v.mine, err = a.graph.Relation(viewer, other); err != nil {
		return f, v, err
	}
	if v.theirs, err = a.graph.Relation(other, viewer); err != nil {
		return f, v, err
	}
	own, err := a.graph.Settings(viewer)
	if err != nil {
		return f, v, err
	}
	settings, err := a.graph.Settings(other)
	if err != nil {
		return f, v, err
	}
	log, err := a.find(store.PairKey(viewer, other))
	if err != nil {
		return f, v, err
	}
	f.BHasA = v.theirs.KnowsAsFriend(friend)
	f.Answered = v.theirs.Answered(log.Side(other).Wrote, settings, a.cfg.Now())
	f.Findable = !settings.Unfindable
	f.BBlocksA = policy.Block(v.theirs.Block)
	f.ABlocksB = v.mine.Block != graph.BlockNone
	f.BShares, f.AShares = settings.Presence, own.Presence
	v.known = v.theirs.Knows(friend, log.Side(other).Wrote, settings, a.cfg.Now())
	v.Mutual = f.BExists && f.BHasA && f.AHasB && !f.ABlocksB
	if n := len(v.theirs.Blocked); n > 0 && v.theirs.Block != graph.BlockNone && v.Mutual && f.BShares && f.AShares {
		v.Away = v.theirs.Blocked[n-1].From
	}
	return f, v, nil
}

// shareRoom reports whether two users are members of one room that shows accounts.
func (a *Access) shareRoom(x, y store.AccountID) (bool, error) {
	shared := false
	for after := store.LogID(0); ; {
		refs, err := a.store.LogsOf(x, after, 0)
		if err != nil {
			return false, fmt.Errorf("hooks: logs: %w", err)
		}
		for i := range refs {
			r := &refs[i]
			after = r.ID
			if r.Key.Kind != store.LogRoom || r.Me.Role == store.RoleNone || r.Members.Role(y) == store.RoleNone {
				continue
			}
			room, err := a.graph.Room(r.ID)
			if err != nil {
				return false, err
			}
			shared = shared || !room.Open
		}
		if len(refs) == 0 {
			return shared, nil
		}
	}
}
