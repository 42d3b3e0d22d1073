package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
)

const tableService store.Table = "service.discovery"

// prefixes counts what networks ask for. A network is an IPv4 /24 or an IPv6 /48; behind one of a carrier are thousands
// of users, so a network that asks for much is slowed, never refused, unless what waits for it is out of all proportion.
// The counts lie in memory and are saved at every tick.
type prefixes struct {
	store    store.Store
	now      func() time.Time
	limits   func() *Limits
	carriers []netip.Prefix

	mu     sync.Mutex
	by     map[netip.Prefix]*prefix
	queued map[netip.Prefix]*queue
	moves  uint64 // changes of what waits, but by the worker
}

// queue is how many numbers of a network wait in rows. The worker counts them in each pass, while syncs go on: what it has
// counted is taken where no sync had anything under way meanwhile, and may or may not be among it.
type queue struct {
	n    int
	open int    // syncs whose rows are not written yet
	last uint64 // prefixes.moves of the last one that began or ended
}

// prefix is what one network has asked for.
type prefix struct {
	Day    int64   `json:"d"`           // days since 1970 (UTC)
	Used   int     `json:"u,omitempty"` // numbers looked up at once on that day
	Tokens float64 `json:"t,omitempty"` // numbers that may be looked up of those that wait
	At     int64   `json:"a,omitempty"` // when Tokens was counted, Unix milliseconds

	changes, saved int // how often it has changed, and up to which of that it is durable
}

// maxPrefixes is how many networks are held in memory; those beyond it are read from their rows again.
const maxPrefixes = 1 << 16

func (p *prefixes) init(s store.Store, now func() time.Time, l func() *Limits, carriers []netip.Prefix) {
	p.store, p.now, p.limits = s, now, l
	for _, c := range carriers {
		p.carriers = append(p.carriers, c.Masked())
	}
	p.by = make(map[netip.Prefix]*prefix)
	p.queued = make(map[netip.Prefix]*queue)
}

// networkOf is the network that an address counts for; the zero Prefix where there is no address.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 48
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 24
	}
	n, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return n
}

func (p *prefixes) perDay(n netip.Prefix) int {
	for _, c := range p.carriers {
		if n.IsValid() && c.Overlaps(n) {
			return p.limits().Carrier
		}
	}
	return p.limits().Prefix
}

func prefixKey(n netip.Prefix) string { return "net/" + n.String() }

// get returns a network's counts. p.mu is held; it is let go to read the row.
func (p *prefixes) get(n netip.Prefix) (*prefix, error) {
	if v := p.by[n]; v != nil {
		return v, nil
	}
	p.mu.Unlock()
	r, err := p.store.Row(tableService, "", prefixKey(n))
	p.mu.Lock()
	if err != nil {
		return nil, fmt.Errorf("discovery: network: %w", err)
	}
	if v := p.by[n]; v != nil { // somebody else was faster
		return v, nil
	}
	v := new(prefix)
	if r.Version != 0 {
		if err := json.Unmarshal(r.Value, v); err != nil {
			return nil, fmt.Errorf("discovery: network: %w", err)
		}
	}
	if len(p.by) >= maxPrefixes {
		for k, v := range p.by {
			if v.changes == v.saved {
				delete(p.by, k)
			}
		}
	}
	p.by[n] = v
	return v, nil
}

// take takes up to want numbers from a network's day: now of them may be looked up at once, slow of them wait. What is
// left over is too much; retry is then when to come back. If any wait, wrote must follow.
func (p *prefixes) take(n netip.Prefix, want int) (now, slow int, retry time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, err := p.get(n)
	if err != nil {
		return 0, 0, 0, err
	}
	if today := p.now().Unix() / 86400; v.Day != today {
		v.Day, v.Used = today, 0
	}
	now = min(want, max(0, p.perDay(n)-v.Used))
	waiting := 0
	q := p.queued[n]
	if q != nil {
		waiting = q.n
	}
	slow = min(want-now, max(0, p.limits().SlowMost-waiting))
	if v.Used += now; now > 0 {
		v.changes++
	}
	if slow > 0 {
		if q == nil {
			q = new(queue)
			p.queued[n] = q
		}
		p.moves++
		q.n, q.open, q.last = q.n+slow, q.open+1, p.moves
	}
	if now+slow < want {
		retry = time.Hour
	}
	return now, slow, retry, nil
}

// wrote says that numbers that take let wait are in their row now, or are not and never will be.
func (p *prefixes) wrote(n netip.Prefix, slow int, stored bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queued[n] // there as long as anything is open
	p.moves++
	q.open, q.last = q.open-1, p.moves
	if !stored {
		q.n -= slow
	}
}

// drip is how many of the numbers of a network that wait may be looked up now. They count as looked up.
func (p *prefixes) drip(n netip.Prefix, want int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, err := p.get(n)
	if err != nil {
		return 0, err
	}
	now := p.now().UnixMilli()
	if v.At == 0 || v.At > now {
		v.At = now
	}
	rate := float64(p.limits().SlowRate)
	v.Tokens = min(rate, v.Tokens+rate*float64(now-v.At)/float64(time.Hour.Milliseconds()))
	v.At, v.changes = now, v.changes+1
	got := min(want, int(v.Tokens))
	v.Tokens -= float64(got)
	return got, nil
}

// counting is what waits needs of the moment before the rows are counted.
func (p *prefixes) counting() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moves
}

// count is what the worker has found of a network's numbers that wait.
type count struct{ left, gone int } // those that still wait, and those that were let go on

// waits sets how many numbers of each network wait, as they were counted since a moment.
func (p *prefixes) waits(since uint64, counted map[netip.Prefix]count) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, q := range p.queued {
		c := counted[n]
		switch {
		case q.open > 0 || q.last > since:
			q.n -= c.gone
		case c.left == 0:
			delete(p.queued, n)
		default:
			q.n = c.left
		}
	}
	for n, c := range counted {
		if p.queued[n] == nil && c.left > 0 {
			p.queued[n] = &queue{n: c.left}
		}
	}
}

// save makes the counts durable; what cannot be written stays for the next time. They end by themselves: nobody needs to
// know tomorrow where somebody was today.
func (p *prefixes) save(ctx context.Context) error {
	now := p.now()
	type written struct {
		v       *prefix
		changes int
	}
	var puts []store.RowPut
	var of []written
	p.mu.Lock()
	for n, v := range p.by {
		if v.changes == v.saved {
			if v.Day < now.Unix()/86400 && p.queued[n] == nil {
				delete(p.by, n)
			}
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			p.mu.Unlock()
			return fmt.Errorf("discovery: network: %w", err)
		}
		puts = append(puts, store.RowPut{Table: tableService, Key: prefixKey(n), Value: b, Expires: now.Add(2 * day).UnixMilli()})
		of = append(of, written{v, v.changes})
	}
	p.mu.Unlock()
	for len(puts) > 0 {
		n := min(len(puts), 1000)
		if err := p.store.Update(ctx, store.Update{Rows: puts[:n]}); err != nil {
			return fmt.Errorf("discovery: network: %w", err)
		}
		p.mu.Lock()
		for _, w := range of[:n] {
			w.v.saved = w.changes
		}
		p.mu.Unlock()
		puts, of = puts[n:], of[n:]
	}
	return nil
}
