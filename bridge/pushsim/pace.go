package pushsim

import (
	"slices"
	"time"
)

// bucket paces collapsible messages: a burst, and then one every so often (firebase.google.com/docs/cloud-messaging,
// "Collapsible message throttling").
type bucket struct {
	used int // of the burst
	at   time.Time
}

const (
	paceBurst = 20
	paceEvery = 3 * time.Minute
)

// take reports whether another message may go.
func (b *bucket) take(now time.Time) bool {
	if n := int(min(now.Sub(b.at)/paceEvery, paceBurst)); b.used > 0 && n > 0 {
		b.used -= min(n, b.used)
		b.at = b.at.Add(time.Duration(n) * paceEvery)
	}
	if b.used == 0 {
		b.at = now
	}
	if b.used >= paceBurst {
		return false
	}
	b.used++
	return true
}

// thaw delivers messages that FCM has held back only because there were too many, as far as their time has come. Nobody
// waits for that time: whatever comes next, or whoever looks at the phone, finds it done.
func (ps *phones) thaw(ph *phone, now time.Time) {
	if ph.State != Online || ph.Provider != FCM {
		return
	}
	for len(ph.held) > 0 && ph.pace.take(now) {
		ph.Version++
		p := ph.held[0]
		ph.held = slices.Delete(ph.held, 0, 1)
		ph.Phone.Held = len(ph.held)
		if !p.expires.IsZero() && !p.expires.After(now) {
			ph.Lost++
			continue
		}
		ps.arrive(ph, p, now)
	}
}

// maxCollapseKeys is how many collapse keys FCM keeps of a device. Which ones it says nothing of; here it is the newest.
const maxCollapseKeys = 4

// keys makes room for another collapse key.
func (ph *phone) keys() {
	n := 0
	for _, h := range ph.held {
		if h.collapse != "" {
			n++
		}
	}
	if n < maxCollapseKeys {
		return
	}
	i := slices.IndexFunc(ph.held, func(h parcel) bool { return h.collapse != "" })
	ph.held = slices.Delete(ph.held, i, i+1)
	ph.Lost++
}
