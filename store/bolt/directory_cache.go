package bolt

import (
	"hash/maphash"
	"sync"
)

// cacheShards is how many locks a rowCache spreads its keys over.
const cacheShards = 32

// rowCache keeps recently asked rows within a budget of bytes; the ones not asked for the longest go first, by the
// second chance ("clock") rule. It never keeps a value older than the last forget of its key: whoever misses notes
// the shard's age before reading the file, and put drops the value if something was forgotten since.
type rowCache[K comparable, V any] struct {
	seed   maphash.Seed
	cost   func(K, V) int
	budget int // per shard
	shards [cacheShards]cacheShard[K, V]
}

type cacheShard[K comparable, V any] struct {
	mu    sync.Mutex
	age   uint64 // counts forgets
	at    map[K]int
	slots []cacheSlot[K, V]
	free  []int // slots without a value
	hand  int
	used  int
	_     [40]byte // shards on cache lines of their own
}

type cacheSlot[K comparable, V any] struct {
	key   K
	value V
	cost  int // 0: free
	asked bool
}

func newRowCache[K comparable, V any](budget int, cost func(K, V) int) *rowCache[K, V] {
	c := &rowCache[K, V]{seed: maphash.MakeSeed(), cost: cost, budget: budget / cacheShards}
	for i := range c.shards {
		c.shards[i].at = map[K]int{}
	}
	return c
}

func (c *rowCache[K, V]) shard(key K) *cacheShard[K, V] {
	return &c.shards[maphash.Comparable(c.seed, key)%cacheShards]
}

// get returns the value, or the age to hand to put.
func (c *rowCache[K, V]) get(key K) (value V, age uint64, ok bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.at[key]; ok {
		s.slots[i].asked = true
		return s.slots[i].value, s.age, true
	}
	return value, s.age, false
}

// put keeps a value that was read after get returned age.
func (c *rowCache[K, V]) put(key K, value V, age uint64) {
	cost := c.cost(key, value)
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.age != age || cost > c.budget/4 { // forgotten since, or so large that it would push out everything else
		return
	}
	if _, ok := s.at[key]; ok {
		return // somebody else read the same
	}
	for s.used+cost > c.budget {
		s.evict()
	}
	i := len(s.slots)
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		s.slots = append(s.slots, cacheSlot[K, V]{})
	}
	s.slots[i] = cacheSlot[K, V]{key: key, value: value, cost: cost}
	s.at[key] = i
	s.used += cost
}

// evict drops the next value that was not asked since the hand last passed. The shard is not empty.
func (s *cacheShard[K, V]) evict() {
	for {
		s.hand = (s.hand + 1) % len(s.slots)
		slot := &s.slots[s.hand]
		switch {
		case slot.cost == 0:
		case slot.asked:
			slot.asked = false
		default:
			s.drop(s.hand)
			return
		}
	}
}

func (s *cacheShard[K, V]) drop(i int) {
	delete(s.at, s.slots[i].key)
	s.used -= s.slots[i].cost
	s.slots[i] = cacheSlot[K, V]{}
	s.free = append(s.free, i)
}

// forget drops the value and everything being read for the shard right now.
func (c *rowCache[K, V]) forget(key K) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age++
	if i, ok := s.at[key]; ok {
		s.drop(i)
	}
}
