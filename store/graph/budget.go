package graph

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/hwangso/hwangso/store"
)

const tableBudget store.Table = "user.budget"

// budget is what a user has spent of one kind within one day (UTC).
type budget struct {
	Day  int64    `json:"d"`           // days since 1970
	On   []string `json:"o,omitempty"` // on whom, as spentOn spells it, each once, in order
	Free int      `json:"n,omitempty"` // spent on nobody in particular
}

// Spend takes one from a user's daily budget of a kind ("stranger", "invite", "lookup"), for something that the budget
// counts once per day, such as the name of a user, whether it exists or not. What was counted today costs nothing. ""
// counts every time. left is false, and nothing is spent, where the budget is used up; renews is then when it begins anew, at
// midnight UTC. Durable: a restart gives nothing back.
func (g *Graph) Spend(ctx context.Context, a store.AccountID, kind, on string, perDay int) (left bool, renews time.Time, err error) {
	now := g.now().UTC()
	day := now.Unix() / 86400
	renews = time.Unix((day+1)*86400, 0).UTC()
	if counted, _, err := g.Counted(a, kind, on, perDay); err != nil || counted {
		return counted, renews, err
	}
	err = change(ctx, g, tableBudget, store.OwnerOf(a), kind, func(b *budget) bool { return len(b.On) == 0 && b.Free == 0 },
		func(b *budget) ([]store.EdgePut, error) {
			if b.Day != day {
				*b = budget{Day: day}
			}
			spelt := spentOn(on)
			at, counted := slices.BinarySearch(b.On, spelt)
			if left = on != "" && counted; left {
				return nil, errSpent
			}
			if left = len(b.On)+b.Free < perDay; !left {
				return nil, errSpent
			}
			if on == "" {
				b.Free++
			} else {
				b.On = slices.Insert(b.On, at, spelt)
			}
			return nil, nil
		})
	if errors.Is(err, errSpent) {
		err = nil
	}
	return left, renews, err
}

// spentOn is how a row remembers on whom was spent: no name lies in another user's rows.
func spentOn(on string) string {
	sum := sha256.Sum256([]byte(on))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// Renews is how long it is until the daily budgets begin anew, at midnight UTC.
func Renews(now time.Time) time.Duration {
	now = now.UTC()
	return time.Unix((now.Unix()/86400+1)*86400, 0).Sub(now)
}

// errSpent ends a change that has nothing to store.
var errSpent = errors.New("graph: nothing to spend")

// Counted reports whether something is counted today already, so that Spend would cost nothing, and whether Spend would
// succeed. It spends nothing, and is cheap.
func (g *Graph) Counted(a store.AccountID, kind, on string, perDay int) (counted, left bool, err error) {
	b, err := read[budget](g, tableBudget, store.OwnerOf(a), kind)
	if err != nil {
		return false, false, err
	}
	if b.Day != g.now().UTC().Unix()/86400 {
		return false, perDay > 0, nil
	}
	if on != "" {
		_, counted = slices.BinarySearch(b.On, spentOn(on))
	}
	return counted, counted || len(b.On)+b.Free < perDay, nil
}
