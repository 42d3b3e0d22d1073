package limit

import (
	"hash/maphash"
	"net/netip"
)

// MayLogin refuses, before credentials are looked at, an address with too many failed logins, or with a pause for this
// account. user is the name as the client wrote it; "" if the secret alone says who it is, then only the address counts.
func (l *Limiter) MayLogin(a netip.Addr, user string) error {
	if l == nil || l.free(a) {
		return nil
	}
	if err := l.empty(Login, addressKey(a)); err != nil {
		return err
	}
	now, f := l.now(), l.force.Load()
	if user != "" && !f.rates[LoginAccount].Off() {
		if b := l.tables[LoginAccount].find(l.loginKey(a, user)); b != nil {
			b.mu.Lock()
			wait := b.until.Sub(now)
			b.mu.Unlock()
			if wait > 0 {
				l.refused[LoginAccount].Add(1)
				return refusal(LoginAccount, wait)
			}
		}
	}
	return nil
}

// LoginFailed counts a login with wrong credentials.
func (l *Limiter) LoginFailed(a netip.Addr, user string) {
	if l == nil || l.free(a) {
		return
	}
	l.spent(Login, addressKey(a))
	now, f := l.now(), l.force.Load()
	c := f.rates[LoginAccount]
	if user == "" || c.Off() {
		return
	}
	b := l.tables[LoginAccount].get(l.loginKey(a, user), c, now)
	b.use(c, now)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.TokensAt(now) >= float64(c.Burst) {
		b.pauses = 0
	}
	if b.AllowN(now, 1) {
		return
	}
	pause := longestPause
	if b.pauses < 30 {
		pause = min(pause, firstPause<<b.pauses)
	}
	b.pauses++
	b.until = now.Add(pause)
}

// LoginSucceeded forgets the failures of this address with this account.
func (l *Limiter) LoginSucceeded(a netip.Addr, user string) {
	if l == nil || user == "" || l.free(a) {
		return
	}
	if k := l.loginKey(a, user); l.tables[LoginAccount].find(k) != nil {
		l.tables[LoginAccount].forget(k)
	}
}

// loginKey is a hash of address and name, whatever its case: a table of names somebody chose must not grow with them.
func (l *Limiter) loginKey(a netip.Addr, user string) (k key) {
	for i := range k {
		var h maphash.Hash
		h.SetSeed(l.seed)
		h.WriteByte(byte(i))
		maphash.WriteComparable(&h, addressKey(a))
		for j := range len(user) {
			c := user[j]
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			h.WriteByte(c)
		}
		k[i] = h.Sum64()
	}
	return k
}
