package signup

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// table holds what the service itself remembers, with owner "": tickets under "t" and the hash of the ticket, counts
// under "l" and the hash of what is counted, closed countries and ranges under "c". Everything has an expiry.
const table store.Table = "service.signup"

// maxWindows is how many windows one thing may be counted in.
const maxWindows = 4

// maxCounted is how many counted things are in memory. Others are read again from their rows.
const maxCounted = 1 << 16

// limits counts codes by number, device, address, range, country and in all. What is in memory decides; the rows are
// for the next start.
type limits struct {
	store store.Tables
	key   *phone.Key

	mu sync.Mutex // guards by; nothing is read, written or called under it
	by map[phone.Hash]*counted
}

// counted is one thing's windows.
type counted [maxWindows]struct {
	since int64 // Unix milliseconds of the first; 0: none yet
	n     int
}

func newLimits(t store.Tables, k *phone.Key) *limits {
	return &limits{store: t, key: k, by: make(map[phone.Hash]*counted)}
}

// charge is one thing to count.
type charge struct {
	what    string // of the metric and the refusal
	text    string
	windows []Window
	ends    time.Duration // it counts anew after this in any case; 0: no
	hash    phone.Hash
	stored  counted
}

func (l *limits) charge(what, text, id string, windows []Window) charge {
	return charge{what: what, text: text, windows: windows, hash: l.key.Sum("limit "+what, id)}
}

// take counts one for every charge, or for none: then the refusal says when all would allow it, and what refused it.
// The returned rows are to be written with what was allowed.
func (l *limits) take(charges []charge, now time.Time) (rows []store.RowPut, refused string, err error) {
	for i := range charges {
		if err := l.load(&charges[i]); err != nil {
			return nil, "", err
		}
	}
	ms := now.UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	var wait time.Duration
	var text string
	for i := range charges {
		c := &charges[i]
		state := l.by[c.hash]
		if state == nil {
			l.makeRoom()
			state = new(counted)
			*state = c.stored
			l.by[c.hash] = state
		}
		for j, w := range c.windows {
			end := state[j].since + w.Per.Milliseconds()
			if state[j].since == 0 || ms >= end || ms < state[j].since-day.Milliseconds() { // the clock was set back
				state[j].since, state[j].n = 0, 0
				continue
			}
			left := time.Duration(end-ms) * time.Millisecond
			if c.ends > 0 {
				left = min(left, c.ends)
			}
			if state[j].n >= w.Count && left > wait {
				wait, refused, text = left, c.what, c.text
			}
		}
	}
	if wait > 0 {
		return nil, refused, &store.Error{Code: store.CodeTooMany, Reason: store.ReasonRate, Text: text, Retry: wait}
	}
	for i := range charges {
		c := &charges[i]
		state := l.by[c.hash]
		expires := int64(0)
		for j, w := range c.windows {
			if state[j].since == 0 {
				state[j].since = ms
			}
			state[j].n++
			expires = max(expires, state[j].since+w.Per.Milliseconds())
		}
		rows = append(rows, store.RowPut{Table: table, Key: "l" + string(c.hash[:]), Value: state.encode(), Expires: expires})
	}
	return rows, "", nil
}

// makeRoom forgets somebody when too many are known; the rows still know.
func (l *limits) makeRoom() {
	if len(l.by) < maxCounted {
		return
	}
	for h := range l.by {
		delete(l.by, h)
		return
	}
}

// load reads what a row says, for a thing that is not in memory.
func (l *limits) load(c *charge) error {
	l.mu.Lock()
	known := l.by[c.hash] != nil
	l.mu.Unlock()
	if known {
		return nil
	}
	row, err := l.store.Row(table, "", "l"+string(c.hash[:]))
	if err != nil {
		return fmt.Errorf("signup: limit: %w", err)
	}
	c.stored.decode(row.Value)
	return nil
}

func (c *counted) encode() []byte {
	var b []byte
	for _, w := range c {
		b = binary.AppendVarint(b, w.since)
		b = binary.AppendUvarint(b, uint64(w.n))
	}
	return b
}

// decode reads what encode wrote; anything else is nothing counted.
func (c *counted) decode(b []byte) {
	for i := range c {
		since, n := binary.Varint(b)
		if n <= 0 {
			return
		}
		count, m := binary.Uvarint(b[n:])
		if m <= 0 || count > 1<<31 {
			return
		}
		c[i].since, c[i].n = since, int(count)
		b = b[n+m:]
	}
}

// addressKey is what an address counts by: whoever has an IPv6 network has 2^64 addresses. "" is no address.
func addressKey(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Is6() && !a.Is4In6():
		p, err := a.WithZone("").Prefix(64)
		if err != nil {
			return ""
		}
		return p.String()
	}
	return a.Unmap().String()
}

// admit counts a code that is asked for against every limit. The rows are to be written before the code is sent.
func (s *Service) admit(n phone.Number, device string, from netip.Addr, now time.Time) ([]store.RowPut, error) {
	country := n.Region()
	if !s.set.AnyLine && !n.Textable() {
		return nil, ErrLine
	}
	cap, err := s.cap(country)
	if err != nil {
		return nil, err
	}
	if err := s.watch.open(s.watch.places(n), now); err != nil {
		s.metrics.refused.WithLabelValues("watch").Inc()
		return nil, err
	}
	const slow = "too many codes were asked for: wait"
	l := s.limits
	charges := []charge{
		l.charge("number", slow, n.E164(), s.set.Number),
		l.charge("device", slow, device, s.set.Device),
		l.charge("range", slow, rangeOf(n), s.set.Range),
		l.charge("country", "no more codes to this country today", country+now.UTC().Format(time.DateOnly), []Window{{cap, day}}),
		l.charge("global", slow, "", s.set.Global),
	}
	charges[3].ends = untilMidnight(now)
	if a := addressKey(from); a != "" {
		charges = append(charges, l.charge("address", slow, a, s.set.Address))
	}
	rows, refused, err := l.take(charges, now)
	if refused != "" {
		s.metrics.refused.WithLabelValues(refused).Inc()
	}
	return rows, err
}

// cap is how many codes a country gets in a day.
func (s *Service) cap(country string) (int, error) {
	allowed := len(s.set.Allow) == 0
	for _, c := range s.set.Allow {
		allowed = allowed || c == country
	}
	for _, c := range s.set.Deny {
		allowed = allowed && c != country
	}
	most, set := s.set.CountryCaps[country]
	if !set {
		most = s.set.CountryDay
	}
	if !allowed || most == 0 {
		s.metrics.refused.WithLabelValues("denied").Inc()
		return 0, ErrCountry
	}
	return most, nil
}

// rangeOf is the number without its last four digits: numbers that are sold together share it.
func rangeOf(n phone.Number) string { return n.Prefix(max(0, len(n.E164())-1-4)) }

// untilMidnight is the rest of the day in UTC, above 0.
func untilMidnight(now time.Time) time.Duration {
	u := now.UTC()
	return u.Truncate(day).Add(day).Sub(u)
}
