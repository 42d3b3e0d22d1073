package limit

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// MayTry refuses, before a coupon's code is looked at, a shop's key or an address from which too many wrong ones came. It
// takes nothing. key is a hash that stands for the shop's key.
func (l *Limiter) MayTry(key [16]byte, a netip.Addr) error {
	if l == nil {
		return nil
	}
	if err := l.empty(Codes, hashKey(key)); err != nil {
		return err
	}
	if l.free(a) {
		return nil
	}
	return l.empty(CodesAddress, addressKey(a))
}

// Wrong counts a wrong code.
func (l *Limiter) Wrong(key [16]byte, a netip.Addr) {
	if l == nil {
		return
	}
	l.spent(Codes, hashKey(key))
	if !l.free(a) {
		l.spent(CodesAddress, addressKey(a))
	}
}

// empty refuses what has nothing left of a rule. It takes nothing.
func (l *Limiter) empty(r Rule, k key) error {
	c := l.force.Load().rates[r]
	if c.Off() {
		return nil
	}
	b, now := l.tables[r].find(k), l.now()
	if b == nil {
		return nil
	}
	b.use(c, now)
	left := b.TokensAt(now)
	if left >= 1 {
		return nil
	}
	l.refused[r].Add(1)
	return refusal(r, time.Duration((1-left)/float64(c.limit)*float64(time.Second)))
}

// spent takes one of a rule, if there is one.
func (l *Limiter) spent(r Rule, k key) {
	c := l.force.Load().rates[r]
	if c.Off() {
		return
	}
	now := l.now()
	b := l.tables[r].get(k, c, now)
	b.use(c, now)
	b.AllowN(now, 1)
}

func hashKey(h [16]byte) key {
	return key{binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:])}
}
