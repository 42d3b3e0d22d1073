package limit

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/store"
)

// Config is what a Limiter is made of. The zero value is the defaults.
type Config struct {
	Rates   map[Rule]Rate    // instead of the defaults
	Numbers map[Number]int   // instead of the defaults
	Exempt  []netip.Prefix   // addresses that are not limited
	Entries int              // keys remembered per rule; 0: 65,536, about 200 bytes each
	Now     func() time.Time // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	if c.Entries < 0 {
		return errors.New("limit: Entries is negative")
	}
	return Settings{c.Rates, c.Numbers}.Validate()
}

// Settings are what differs from the defaults.
type Settings struct {
	Rates   map[Rule]Rate
	Numbers map[Number]int
}

// Validate tells what is wrong with the settings, nil if nothing.
func (s Settings) Validate() error {
	for r, v := range s.Rates {
		if r >= rules {
			return fmt.Errorf("limit: there is no rule %d", r)
		}
		if err := v.Validate(); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	for n, v := range s.Numbers {
		if err := validNumber(n, v); err != nil {
			return err
		}
	}
	return nil
}

// force is what is in force.
type force struct {
	rates   [rules]*compiled
	numbers [numbers]int
}

// Limiter counts and refuses. Its methods may be called from any goroutine; those of a nil Limiter allow everything.
type Limiter struct {
	base   Settings
	exempt []netip.Prefix
	now    func() time.Time
	seed   maphash.Seed

	changing sync.Mutex
	force    atomic.Pointer[force]
	tables   [rules]table
	refused  [rules]atomic.Uint64
}

// New returns a Limiter, or what Validate says.
func New(c Config) (*Limiter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Entries == 0 {
		c.Entries = defaultEntries
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l := &Limiter{base: Settings{maps.Clone(c.Rates), maps.Clone(c.Numbers)}, exempt: c.Exempt, now: c.Now, seed: maphash.MakeSeed()}
	for r := range l.tables {
		l.tables[r].most = max(1, c.Entries/shards)
	}
	l.force.Store(l.forceOf(Settings{}))
	return l, nil
}

// forceOf puts settings over those of the configuration and the defaults. Rules that stay as they are keep their
// compiled form, so that only the buckets of the others are adjusted.
func (l *Limiter) forceOf(s Settings) *force {
	f, old := new(force), l.force.Load()
	for r := range rules {
		v := l.baseRate(r)
		if set, ok := s.Rates[r]; ok {
			v = set
		}
		if old != nil && old.rates[r].Rate == v {
			f.rates[r] = old.rates[r]
		} else {
			f.rates[r] = compile(v)
		}
	}
	for n := range numbers {
		f.numbers[n] = l.baseNumber(n)
		if set, ok := s.Numbers[n]; ok {
			f.numbers[n] = set
		}
	}
	return f
}

func (l *Limiter) baseRate(r Rule) Rate {
	if v, ok := l.base.Rates[r]; ok {
		return v
	}
	return infos[r].Default
}

func (l *Limiter) baseNumber(n Number) int {
	if v, ok := l.base.Numbers[n]; ok {
		return v
	}
	return numberInfos[n].Default
}

// Set puts settings into force in place of all that were set before; what they do not name is as configured. It changes
// all of it at once or, with an error, nothing. Checks that begin after it returns see it.
func (l *Limiter) Set(s Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if l == nil {
		return nil
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	l.force.Store(l.forceOf(s))
	return nil
}

// Rate is a rule's rate in force, and what it is without Set. A nil Limiter has neither.
func (l *Limiter) Rate(r Rule) (now, base Rate) {
	if l == nil || r >= rules {
		return Rate{}, Rate{}
	}
	return l.force.Load().rates[r].Rate, l.baseRate(r)
}

// Number is the value of a number in force. A nil Limiter has the defaults.
func (l *Limiter) Number(n Number) int {
	if l == nil {
		return numberInfos[n].Default
	}
	return l.force.Load().numbers[n]
}

// BaseNumber is what a number is without Set.
func (l *Limiter) BaseNumber(n Number) int {
	if l == nil {
		return numberInfos[n].Default
	}
	return l.baseNumber(n)
}

// User takes n from what a user has left of a rule.
func (l *Limiter) User(r Rule, a store.AccountID, n int) error {
	if l == nil {
		return nil
	}
	return l.take(r, key{uint64(a)}, l.now(), n)
}

// Address takes n from what an address has left of a rule.
func (l *Limiter) Address(r Rule, a netip.Addr, n int) error {
	if l == nil || l.free(a) {
		return nil
	}
	return l.take(r, addressKey(a), l.now(), n)
}

// Flooding reports whether an address is to be closed unheard. It takes nothing.
func (l *Limiter) Flooding(a netip.Addr) bool {
	if l == nil || l.free(a) || l.force.Load().rates[FloodAddress].Off() {
		return false
	}
	b := l.tables[FloodAddress].find(addressKey(a))
	return b != nil && b.TokensAt(l.now()) < 1
}

func (l *Limiter) free(a netip.Addr) bool {
	if !a.IsValid() {
		return true
	}
	for _, p := range l.exempt {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// addressKey is what an address counts by: whoever has an IPv6 network has 2^64 addresses.
func addressKey(a netip.Addr) (k key) {
	b := a.As16()
	for i := range 8 {
		k[0] = k[0]<<8 | uint64(b[i])
		k[1] = k[1]<<8 | uint64(b[8+i])
	}
	if a.Is6() && !a.Is4In6() {
		k[1] = 0
	}
	return k
}

func (l *Limiter) take(r Rule, k key, now time.Time, n int) error {
	c := l.force.Load().rates[r]
	if c.Off() {
		return nil
	}
	return l.charge(r, l.tables[r].get(k, c, now), c, now, n)
}

// charge takes n from a bucket. More than its burst counts as its burst, or it could never be had.
func (l *Limiter) charge(r Rule, b *bucket, c *compiled, now time.Time, n int) error {
	b.use(c, now)
	n = min(n, c.Burst)
	if b.AllowN(now, n) {
		return nil
	}
	l.refused[r].Add(1)
	reserved := b.ReserveN(now, n)
	retry := reserved.DelayFrom(now)
	reserved.CancelAt(now)
	if !reserved.OK() { // the burst has just become smaller
		retry = time.Second
	}
	return refusal(r, retry)
}

func refusal(r Rule, retry time.Duration) error {
	return &store.Error{Code: store.CodeTooMany, Reason: store.ReasonRate, Text: infos[r].refusal, Retry: max(retry, time.Millisecond)}
}

// Sweep forgets keys that know nothing. Call it once a minute or so.
func (l *Limiter) Sweep() {
	if l == nil {
		return
	}
	now := l.now()
	for r := range l.tables {
		l.tables[r].sweep(now)
	}
}

// Refused is how often a rule has refused.
func (l *Limiter) Refused(r Rule) uint64 {
	if l == nil {
		return 0
	}
	return l.refused[r].Load()
}

// Len is how many keys a rule remembers.
func (l *Limiter) Len(r Rule) int {
	if l == nil {
		return 0
	}
	return l.tables[r].len()
}
