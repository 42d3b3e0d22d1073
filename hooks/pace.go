package hooks

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
)

// maxPaces is how many members' newest messages in rooms with slow mode are remembered, about 10 MB. Beyond it, once
// those whose wait is over are forgotten, some others are too: they may write once before their wait is over. After a
// restart everybody may.
const maxPaces = 100_000

// paces remembers when members of rooms with slow mode wrote last. The zero value is ready.
type paces struct {
	mu   sync.Mutex
	seed maphash.Seed
	last map[pacer]paced
}

type pacer struct {
	log     store.LogID
	account store.AccountID
}

type paced struct {
	until int64 // Unix milliseconds
	cid   uint64
}

// note remembers a message, unless the member has to wait: then it returns how long. A message with the cid of the one
// remembered is that one again. Where every is 0 there is nothing to remember.
func (p *paces) note(k pacer, cid string, now time.Time, every time.Duration) time.Duration {
	if every <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last, p.seed = make(map[pacer]paced), maphash.MakeSeed()
	}
	var hash uint64
	if cid != "" {
		hash = maphash.String(p.seed, cid) | 1
	}
	ms := now.UnixMilli()
	old, known := p.last[k]
	if known && ms < old.until {
		if hash != 0 && hash == old.cid {
			return 0
		}
		return min(every, time.Duration(old.until-ms)*time.Millisecond)
	}
	if !known && len(p.last) >= maxPaces {
		p.sweep(ms)
	}
	p.last[k] = paced{ms + every.Milliseconds(), hash}
	return 0
}

func (p *paces) sweep(now int64) {
	for k, v := range p.last {
		if v.until <= now {
			delete(p.last, k)
		}
	}
	for k := range p.last {
		if len(p.last) < maxPaces*9/10 {
			return
		}
		delete(p.last, k)
	}
}
