package limit

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// key is a user, a device, an address, or a hash.
type key [2]uint64

const (
	shards     = 16
	starts     = 4 // places in the map where entries are looked at when one must go
	sampled    = 4 // entries looked at in each
	sweepEvery = time.Second
)

// table holds the buckets of one rule.
type table struct {
	most   int // per shard
	shards [shards]shard
}

type shard struct {
	mu    sync.RWMutex
	by    map[key]*bucket
	swept time.Time
}

// bucket is what one key has left.
type bucket struct {
	*rate.Limiter
	set  atomic.Pointer[compiled] // the setting that Limiter has
	gone atomic.Bool              // it is not in the table any more: who holds it looks again

	mu     sync.Mutex // of what follows: failed logins
	pauses int        // since the bucket was last full
	until  time.Time  // no login before
}

// compiled is a rule's setting.
type compiled struct {
	Rate
	limit rate.Limit
}

func compile(r Rate) *compiled {
	c := &compiled{Rate: r}
	if !r.Off() {
		c.limit = rate.Limit(r.Count / r.Per.Seconds())
	}
	return c
}

func newBucket(c *compiled) *bucket {
	b := &bucket{Limiter: rate.NewLimiter(c.limit, c.Burst)}
	b.set.Store(c)
	return b
}

// use makes a setting that changed count. What was spent stays spent.
func (b *bucket) use(c *compiled, now time.Time) {
	if old := b.set.Load(); old != c && b.set.CompareAndSwap(old, c) {
		b.SetLimitAt(now, c.limit)
		b.SetBurstAt(now, c.Burst)
	}
}

// idle reports whether the bucket knows nothing that a new one does not.
func (b *bucket) idle(now time.Time) bool {
	if b.TokensAt(now) < float64(b.Burst()) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !now.Before(b.until)
}

// left is the share of the burst that is left.
func (b *bucket) left(now time.Time) float64 {
	n := b.Burst()
	if n == 0 {
		return 1
	}
	return b.TokensAt(now) / float64(n)
}

func (t *table) shard(k key) *shard {
	h := (k[0] ^ k[1]*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	return &t.shards[h>>60]
}

// find returns the key's bucket, nil if there is none.
func (t *table) find(k key) *bucket {
	s := t.shard(k)
	s.mu.RLock()
	b := s.by[k]
	s.mu.RUnlock()
	return b
}

// get returns the key's bucket, a new one if there is none.
func (t *table) get(k key, c *compiled, now time.Time) *bucket {
	if b := t.find(k); b != nil {
		return b
	}
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.by[k]; b != nil {
		return b
	}
	if s.by == nil {
		s.by = make(map[key]*bucket)
	}
	if len(s.by) >= t.most {
		s.makeRoom(now)
	}
	b := newBucket(c)
	s.by[k] = b
	return b
}

// makeRoom forgets idle keys, at most once a second, and if that makes no room, the one of a few with the most left. The
// caller holds mu.
func (s *shard) makeRoom(now time.Time) {
	if d := now.Sub(s.swept); d >= sweepEvery || d < 0 {
		if s.sweep(now) > 0 {
			return
		}
	}
	var least key
	most := -1.0
	for range starts { // a map's iteration begins anywhere and goes on to the neighbours
		n := 0
		for k, b := range s.by {
			if l := max(b.left(now), 0); l > most {
				most, least = l, k
			}
			if n++; n == sampled {
				break
			}
		}
	}
	s.by[least].gone.Store(true)
	delete(s.by, least)
}

// sweep forgets idle keys and returns how many. The caller holds mu.
func (s *shard) sweep(now time.Time) (n int) {
	s.swept = now
	for k, b := range s.by {
		if b.idle(now) {
			b.gone.Store(true)
			delete(s.by, k)
			n++
		}
	}
	return n
}

func (t *table) sweep(now time.Time) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.sweep(now)
		s.mu.Unlock()
	}
}

func (t *table) forget(k key) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.by[k]; b != nil {
		b.gone.Store(true)
		delete(s.by, k)
	}
}

func (t *table) len() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n += len(s.by)
		s.mu.RUnlock()
	}
	return n
}
