package bolt

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hwangso/hwangso/store"
)

const (
	seedOpeners  = 256    // conversations being made at once
	seedInFlight = 8192   // messages appended and not confirmed yet
	seedTold     = 10_000 // messages between two reports of progress
)

// loadTalk makes the rooms, and with messages the pairs, and appends the messages: half of them to rooms, half to
// pairs, one to each conversation before the second one to any.
func loadTalk(ctx context.Context, st *Store, s Seed, progress func(string, int, int)) error {
	rooms, err := openAll(ctx, s.Rooms, func(j int) (store.LogID, error) {
		return openRoom(ctx, st, j, s.members(j))
	}, func(done int) { progress("rooms", done, s.Rooms) })
	if err != nil {
		return fmt.Errorf("bolt: seed: rooms: %w", err)
	}
	if s.Messages == 0 {
		return nil
	}
	toPairs := s.Messages / 2
	switch {
	case s.Rooms == 0:
		toPairs = s.Messages
	case s.pairs() == 0:
		toPairs = 0
	}
	n := min(s.pairs(), toPairs)
	pairs, err := openAll(ctx, n, func(p int) (store.LogID, error) {
		a, b := s.pair(p)
		return openPair(ctx, st, a, b)
	}, func(done int) { progress("pairs", done, n) })
	if err != nil {
		return fmt.Errorf("bolt: seed: pairs: %w", err)
	}
	f := flight{st: st, ctx: ctx}
	for i := range s.Messages {
		if i%seedTold == 0 {
			progress("messages", i, s.Messages)
		}
		log, sender := s.message(i, toPairs, rooms, pairs)
		if err := f.append(log, sender, i); err != nil {
			return err
		}
	}
	if err := f.land(); err != nil {
		return err
	}
	progress("messages", s.Messages, s.Messages)
	return nil
}

// message says where message i goes and who sends it. The two kinds alternate while both have some left.
func (s Seed) message(i, toPairs int, rooms, pairs []store.LogID) (log store.LogID, sender int) {
	toRooms := s.Messages - toPairs
	both := 2 * min(toPairs, toRooms)
	room, n := toRooms > toPairs, i-both/2 // the longer kind's rest
	if i < both {
		room, n = i%2 == 0, i/2
	}
	if room {
		j, round := n%len(rooms), n/len(rooms)
		users := s.members(j)
		return rooms[j], users[round%len(users)]
	}
	p, round := n%len(pairs), n/len(pairs)
	a, b := s.pair(p)
	if round%2 == 1 {
		a = b
	}
	return pairs[p], a
}

// openAll makes n conversations, several at once, and returns their numbers in order.
func openAll(ctx context.Context, n int, open func(i int) (store.LogID, error), progress func(done int)) ([]store.LogID, error) {
	logs := make([]store.LogID, n)
	var next, done atomic.Int64
	var first atomic.Pointer[error]
	var telling sync.Mutex
	var wg sync.WaitGroup
	for range min(seedOpeners, n) {
		wg.Go(func() {
			for ctx.Err() == nil && first.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				log, err := open(i)
				if err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
				logs[i] = log
				if done.Add(1)%1000 == 0 && telling.TryLock() {
					progress(int(done.Load()))
					telling.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return nil, *err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if n > 0 {
		progress(n)
	}
	return logs, nil
}

func openRoom(ctx context.Context, st *Store, j int, users []int) (store.LogID, error) {
	owner := users[0]
	members := make([]store.Member, len(users))
	slices.Sort(users)
	for m, u := range users {
		members[m] = store.Member{Account: store.AccountID(u + 1), Role: store.RoleMember}
		if u == owner {
			members[m].Role = store.RoleOwner
		}
	}
	info, _, err := st.Open(ctx, store.RoomKey(seedRoom(j)), store.Creation{By: store.AccountID(owner + 1), Members: members})
	return info.ID, err
}

func openPair(ctx context.Context, st *Store, a, b int) (store.LogID, error) {
	low, high := store.AccountID(min(a, b)+1), store.AccountID(max(a, b)+1)
	info, _, err := st.Open(ctx, store.PairKey(low, high), store.Creation{By: store.AccountID(a + 1), Members: []store.Member{
		{Account: low, Role: store.RoleMember}, {Account: high, Role: store.RoleMember},
	}})
	return info.ID, err
}

// flight keeps a bounded number of appends under way.
type flight struct {
	ctx  context.Context //nolint:containedctx // the load's own lifetime
	st   *Store
	ring [seedInFlight]*store.Pending
	n    int
}

func (f *flight) append(log store.LogID, sender, i int) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	slot := &f.ring[f.n%len(f.ring)]
	f.n++
	if err := landed(*slot); err != nil {
		return err
	}
	*slot = f.st.Append(store.Draft{
		Log: log, Sender: store.AccountID(sender + 1),
		Text: fmt.Appendf(nil, "message %d of the history, by %s", i, seedUser(sender)),
	})
	return nil
}

// land waits for everything under way.
func (f *flight) land() error {
	for i := range f.ring {
		if err := landed(f.ring[i]); err != nil {
			return err
		}
	}
	return nil
}

func landed(p *store.Pending) error {
	if p == nil {
		return nil
	}
	if _, err := p.Result(); err != nil {
		return fmt.Errorf("bolt: seed: messages: %w", err)
	}
	return nil
}
