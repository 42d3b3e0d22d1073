package limit

import (
	"github.com/hwangso/hwangso/store"
)

// Meter is the limits of one device of a user, with its buckets at hand. It is for one goroutine at a time. A nil Meter
// allows everything.
type Meter struct {
	l       *Limiter
	account store.AccountID
	device  store.DeviceID

	publish, publishDevice, bytes held
}

// held is a bucket that was looked up, and what was taken from it ahead: one in 64 of the burst, so that most checks
// need neither the clock nor the bucket's lock.
type held struct {
	b      *bucket
	c      *compiled // the setting under which credit was taken
	credit int
}

const aheadShare = 64

// Meter returns the meter of a device, nil if l is. It takes no memory of the Limiter's until it is used.
func (l *Limiter) Meter(a store.AccountID, d store.DeviceID) *Meter {
	if l == nil {
		return nil
	}
	return &Meter{l: l, account: a, device: d}
}

// Publish takes one message or operation of so many bytes. What one of its rules refuses stays spent with the others.
func (m *Meter) Publish(bytes int) error {
	if m == nil {
		return nil
	}
	f := m.l.force.Load()
	if err := m.spend(PublishDevice, &m.publishDevice, f, 1); err != nil {
		return err
	}
	if err := m.spend(Publish, &m.publish, f, 1); err != nil {
		return err
	}
	return m.spend(PublishBytes, &m.bytes, f, bytes)
}

// spend takes n from the credit, or else from the bucket.
func (m *Meter) spend(r Rule, h *held, f *force, n int) error {
	c := f.rates[r]
	if h.c == c && h.credit >= n && !h.b.gone.Load() {
		h.credit -= n
		return nil
	}
	if c.Off() {
		return nil
	}
	now := m.l.now()
	if h.b == nil || h.b.gone.Load() {
		h.b, h.c = m.l.tables[r].get(m.key(r), c, now), nil
	}
	if h.c != c { // what was taken under another setting is gone
		h.c, h.credit = c, 0
	}
	n = min(n, c.Burst) - h.credit // above 0: the credit is below n, and below the burst
	h.b.use(c, now)
	if ahead := c.Burst / aheadShare; ahead > 0 && h.b.AllowN(now, min(n+ahead, c.Burst)) {
		h.credit = min(n+ahead, c.Burst) - n
		return nil
	}
	err := m.l.charge(r, h.b, c, now, n)
	if err == nil {
		h.credit = 0
	}
	return err
}

func (m *Meter) key(r Rule) key {
	if infos[r].By == ByDevice {
		return key{uint64(m.account), uint64(m.device)}
	}
	return key{uint64(m.account)}
}

// Take takes n from what the device, or its user, has left of any other rule.
func (m *Meter) Take(r Rule, n int) error {
	if m == nil || n == 0 {
		return nil
	}
	return m.l.take(r, m.key(r), m.l.now(), n)
}

// Flood counts a refusal and reports whether there have been so many that the connection is to end.
func (m *Meter) Flood() bool { return m.Take(Flood, 1) != nil }
