package bridge

import (
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
)

// caps count the pushes of each device within the last minute. A restart forgets them. A device is remembered for a
// minute after its last push, so there are at most as many as pushes a minute.
type caps struct {
	most int

	mu    sync.Mutex
	of    map[capped]*pushes
	swept int64
}

type capped struct {
	account store.AccountID
	device  store.DeviceID
}

// pushes are the times of a device's last pushes, Unix milliseconds, ascending.
type pushes []int64

const capWindow = time.Minute

func newCaps(most int) *caps { return &caps{most: most, of: make(map[capped]*pushes)} }

// take counts one push, or tells when the device may have one again.
func (c *caps) take(k key, now time.Time) (until time.Time, ok bool) {
	at := now.UnixMilli()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep(at)
	p := c.of[capped{k.account, k.device}]
	if p == nil {
		p = new(pushes)
		c.of[capped{k.account, k.device}] = p
	}
	p.forget(at)
	if len(*p) >= c.most {
		return time.UnixMilli((*p)[len(*p)-c.most]).Add(capWindow), false
	}
	*p = append(*p, at)
	return time.Time{}, true
}

// back takes the newest push out of the count: it came to nothing.
func (c *caps) back(k key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.of[capped{k.account, k.device}]; p != nil && len(*p) > 0 {
		*p = (*p)[:len(*p)-1]
	}
}

// forget leaves out what is older than the window, and what a clock that was put back has left in the future.
func (p *pushes) forget(now int64) {
	kept := (*p)[:0]
	for _, at := range *p {
		if at > now-capWindow.Milliseconds() && at <= now {
			kept = append(kept, at)
		}
	}
	*p = kept
}

// sweep forgets, once a minute, the devices that had no push for so long.
func (c *caps) sweep(now int64) {
	if d := now - c.swept; d >= 0 && d < capWindow.Milliseconds() {
		return
	}
	c.swept = now
	for k, p := range c.of {
		if p.forget(now); len(*p) == 0 {
			delete(c.of, k)
		}
	}
}
