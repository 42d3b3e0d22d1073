package graph

import (
	"context"
	"slices"
	"time"

	"github.com/hwangso/hwangso/store"
)

const tableRelation store.Table = "user.relation"

// Block says how much of a user another one is shut out from.
type Block uint8

// The levels.
const (
	BlockNone     Block = iota
	BlockMessages       // its messages do not arrive
	BlockProfile        // and the profile looks as if there were nothing to see
)

var blockNames = [...]string{"none", "msg", "msg+profile"}

// String is the level's word in the truth tables.
func (b Block) String() string {
	if int(b) < len(blockNames) {
		return blockNames[b]
	}
	return "unknown"
}

// Interval is a stretch of server time in Unix milliseconds, From included, To not. To = 0: it lasts.
type Interval struct {
	From int64 `json:"f"`
	To   int64 `json:"t,omitempty"`
}

// maxIntervals bounds the block intervals that are remembered for one user; the oldest grow together beyond it, which
// withholds what was sent between them.
const maxIntervals = 64

// Relation is what one user (the owner) has decided about another beyond a plain friendship. The zero value is nothing.
type Relation struct {
	Block     Block      `json:"block,omitempty"`
	Quiet     bool       `json:"quiet,omitempty"`     // the block comes from a declined request, and is not listed
	Blocked   []Interval `json:"blocked,omitempty"`   // when the other was blocked, ascending; the last one lasts while Block is set
	Friend    bool       `json:"friend,omitempty"`    // while blocked: whether the other was a friend when the block began
	Mark      store.Seq  `json:"mark,omitempty"`      // the owner's read mark that the other was last shown when a block began, or a friendship ended
	Seen      store.Seq  `json:"seen,omitempty"`      // while blocked: the other's read mark that the owner was last shown when the block began
	Barrier   int64      `json:"barrier,omitempty"`   // Unix milliseconds: what the owner wrote to the other before does not count as an answer
	Accepted  int64      `json:"accepted,omitempty"`  // Unix milliseconds: when the owner took up what the other had asked; counts as an answer
	Favourite bool       `json:"favourite,omitempty"` // of a friend
}

// AnswerLasts is how long an answer opens the way back without a further message.
const AnswerLasts = 180 * 24 * time.Hour

// Answered reports whether what the owner wrote to the other still opens the way back: the owner has written, or
// accepted a request, not longer ago than AnswerLasts, and after it last removed, declined or unblocked the other, or
// closed its door to strangers. wrote is the time (Unix milliseconds) of the owner's newest message to the other, 0 for
// none; s are the owner's settings.
func (r *Relation) Answered(wrote int64, s *Settings, now time.Time) bool {
	newest := max(wrote, r.Accepted)
	return newest != 0 && newest > max(r.Barrier, s.Closed) && now.UnixMilli()-newest < AnswerLasts.Milliseconds()
}

// Refuses reports whether the owner has blocked the other knowingly: then it may not write to it either. The quiet block
// of a declined request does not count: whoever writes to somebody it declined takes that back.
func (r *Relation) Refuses() bool { return r.Block != BlockNone && !r.Quiet }

// BlockedAt reports whether the other was blocked at a moment of server time (Unix milliseconds).
func (r *Relation) BlockedAt(t int64) bool {
	for _, i := range r.Blocked {
		if t >= i.From && (i.To == 0 || t < i.To) {
			return true
		}
	}
	return false
}

// Relation is what a user has decided about another one. Cheap: it is asked per message.
func (g *Graph) Relation(of, to store.AccountID) (*Relation, error) {
	return read[Relation](g, tableRelation, store.OwnerOf(of), store.KeyOf(to))
}

// Relations lists the users about whom a user has decided something, by number after the given one, at most max (0:
// 1,000).
func (g *Graph) Relations(of, after store.AccountID, max int) ([]store.AccountID, error) {
	from := ""
	if after != 0 {
		from = store.KeyOf(after)
	}
	rows, err := g.store.Rows(tableRelation, store.OwnerOf(of), "", from, max)
	if err != nil {
		return nil, err
	}
	out := make([]store.AccountID, len(rows))
	for i, r := range rows {
		out[i] = store.AccountID(store.NumberOf(r.Key))
	}
	return out, nil
}

// ChangeRelation changes what a user has decided about another one, and edges with it, in one durable change. fn may be
// called several times. CodeNotFound: an edge to or from nobody. CodeFull: an edge beyond its limit.
func (g *Graph) ChangeRelation(ctx context.Context, of, to store.AccountID, fn func(*Relation) ([]store.EdgePut, error)) error {
	if of == to {
		return store.Bad("nobody has a relation to themselves")
	}
	return change(ctx, g, tableRelation, store.OwnerOf(of), store.KeyOf(to), (*Relation).empty, fn)
}

func (r *Relation) empty() bool {
	return r.Block == BlockNone && !r.Quiet && len(r.Blocked) == 0 && !r.Friend && r.Mark == 0 && r.Seen == 0 && r.Barrier == 0 && r.Accepted == 0 &&
		!r.Favourite
}

// SetBlock blocks (or with BlockNone unblocks) a user. The block freezes what the other side can ask about: the friend
// edge and the read mark as they are now; unblocking sets them free and ends what counted as an answer. quiet is the block
// of a declined request. limit bounds the blocks of a user, 0: none. changed tells whether anything moved.
func (g *Graph) SetBlock(ctx context.Context, of, to store.AccountID, level Block, quiet bool, limit int) (changed bool, err error) {
	mark, err := g.ReadMark(of, to)
	if err != nil {
		return false, err
	}
	seen, err := g.ReadMark(to, of)
	if err != nil {
		return false, err
	}
	err = g.ChangeRelation(ctx, of, to, func(r *Relation) ([]store.EdgePut, error) {
		changed = r.Block != level || r.Quiet != quiet && level != BlockNone
		if !changed {
			return nil, nil
		}
		now := g.now().UnixMilli()
		was := r.Block
		r.Block, r.Quiet = level, quiet && level != BlockNone
		switch {
		case was == BlockNone:
			friend, err := g.store.HasEdge(store.EdgeFriend, of, to)
			if err != nil {
				return nil, err
			}
			r.Friend, r.Mark, r.Seen = friend, mark, seen
			r.Blocked = append(slices.Clone(r.Blocked), Interval{From: now})
			if n := len(r.Blocked); n > maxIntervals {
				r.Blocked = append([]Interval{{r.Blocked[0].From, r.Blocked[1].To}}, r.Blocked[2:]...)
			}
		case level == BlockNone:
			r.unblock(now)
			r.Barrier = now
		}
		return []store.EdgePut{{Kind: store.EdgeBlock, To: to, On: level != BlockNone, Limit: limit}}, nil
	})
	return changed && err == nil, err
}

// unblock ends a block and sets free what it froze. The mark stays: it is what the other was shown, should nothing else let
// it see more.
func (r *Relation) unblock(now int64) {
	r.Block, r.Quiet, r.Friend, r.Seen = BlockNone, false, false, 0
	r.Blocked = slices.Clone(r.Blocked)
	if n := len(r.Blocked); n > 0 && r.Blocked[n-1].To == 0 {
		r.Blocked[n-1].To = now
	}
}

// Accept takes up what another user has asked: from now on that counts as an answer. A quiet block ends with it, without
// a barrier; one that the owner knows of stays.
func (g *Graph) Accept(ctx context.Context, of, to store.AccountID) error {
	return g.ChangeRelation(ctx, of, to, func(r *Relation) ([]store.EdgePut, error) {
		now := g.now().UnixMilli()
		r.Accepted = max(now, r.Barrier+1)
		if !r.Quiet {
			return nil, nil
		}
		r.unblock(now)
		return []store.EdgePut{{Kind: store.EdgeBlock, To: to, On: false}}, nil
	})
}

// SetFriend makes a user a friend, or ends it: then what was written to it does not count as an answer any more. While
// the user is blocked neither shows to it: its answers are those of the block's begin. A friend is not declined any more:
// a quiet block ends. limit bounds the friends of a user, 0: none. changed tells whether anything moved.
func (g *Graph) SetFriend(ctx context.Context, of, to store.AccountID, on bool, limit int) (changed bool, err error) {
	mark, err := g.ReadMark(of, to)
	if err != nil {
		return false, err
	}
	err = g.ChangeRelation(ctx, of, to, func(r *Relation) ([]store.EdgePut, error) {
		has, err := g.store.HasEdge(store.EdgeFriend, of, to)
		if err != nil {
			return nil, err
		}
		if changed = has != on; !changed {
			return nil, nil
		}
		edges := []store.EdgePut{{Kind: store.EdgeFriend, To: to, On: on, Limit: limit}}
		switch now := g.now().UnixMilli(); {
		case !on:
			r.Favourite = false
			if r.Block == BlockNone { // unblocking is a barrier of its own
				r.Barrier, r.Mark = now, mark
			}
		case r.Quiet:
			r.unblock(now)
			edges = append(edges, store.EdgePut{Kind: store.EdgeBlock, To: to, On: false})
		}
		return edges, nil
	})
	return changed && err == nil, err
}

// HasFriend reports whether a user has another one as a friend, as the other one may know it.
func (g *Graph) HasFriend(of, to store.AccountID) (bool, error) {
	friend, err := g.store.HasEdge(store.EdgeFriend, of, to)
	if err != nil {
		return false, err
	}
	r, err := g.Relation(of, to)
	if err != nil {
		return false, err
	}
	return r.KnowsAsFriend(friend), nil
}

// KnowsAsFriend is whether the owner has the other as a friend, as the other may know it: while it is blocked, as it was
// when the block began. friend is the edge as it is.
func (r *Relation) KnowsAsFriend(friend bool) bool {
	if r.Block != BlockNone {
		return r.Friend
	}
	return friend
}
