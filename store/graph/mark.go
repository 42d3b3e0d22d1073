package graph

import (
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

// Knows reports whether the other is no stranger to the owner, as the other may know it: a friend, or answered. friend is
// the edge as it is; for the rest see Answered.
func (r *Relation) Knows(friend bool, wrote int64, s *Settings, now time.Time) bool {
	return r.KnowsAsFriend(friend) || r.Answered(wrote, s, now)
}

// ShownMark is how far the owner has read the pair, as the other may know it: at is how far it has, known what Knows says.
// A mark that was shown stands still from a block or the end of a friendship on.
func (r *Relation) ShownMark(at store.Seq, known bool) store.Seq {
	if r.Block == BlockNone && known {
		return at
	}
	return min(r.Mark, at)
}

// ReadMark is how far a user has read its conversation with another one, as the other one may know it; 0 without one.
func (g *Graph) ReadMark(of, to store.AccountID) (store.Seq, error) {
	log, err := g.store.Find(store.PairKey(of, to))
	if store.CodeOf(err) == store.CodeNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("graph: log: %w", err)
	}
	marks, err := g.store.Standing(log.ID)
	if err != nil {
		return 0, fmt.Errorf("graph: marks: %w", err)
	}
	r, err := g.Relation(of, to)
	if err != nil {
		return 0, err
	}
	friend, err := g.store.HasEdge(store.EdgeFriend, of, to)
	if err != nil {
		return 0, fmt.Errorf("graph: edge: %w", err)
	}
	s, err := g.Settings(of)
	if err != nil {
		return 0, err
	}
	return r.ShownMark(marks.Of(of), r.Knows(friend, log.Side(of).Wrote, s, g.now())), nil
}
