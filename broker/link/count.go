package link

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

const (
	tableOpened store.Table = "user.linkopened"   // key: log and sequence
	tableCount  store.Table = "service.linkcount" // owner: none; key: app and day

	openedKept = 366 * 24 * time.Hour // as long as an opening is known, and can be told
	countKept  = 400 * 24 * time.Hour

	// MaxDays is of how many days an app sees its numbers.
	MaxDays = 90
	// settled is how long after its end a day's counts are all written.
	settled = time.Minute

	dayFormat = "20060102"

	// near is how many openings above the links sent say nothing of single links any more.
	near = 20
)

// Opened notes that a user has opened a link that it sees, once for each. first tells whether it had not before; what the
// user sent itself, and what is older than a year, is not counted. ErrNoLink: the record is none.
func (s *Service) Opened(ctx context.Context, a store.AccountID, r *store.Record) (first bool, err error) {
	l, ok := view.LinkOf(r)
	if !ok || r.Recalled || r.Op.Kind != store.OpNone {
		return false, ErrNoLink
	}
	now := s.now()
	if r.Sender == a || now.Sub(time.UnixMilli(r.Time)) > openedKept {
		return false, nil
	}
	err = s.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{Table: tableOpened, Key: store.KeyOf(r.Log) + store.KeyOf(r.Seq),
		Value: []byte(store.KeyOf(uint64(now.UnixMilli()))), Expires: r.Time + openedKept.Milliseconds() + time.Hour.Milliseconds(), If: store.IfVersion(0)}}})
	if store.CodeOf(err) == store.CodeConflict {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("link: opened: %w", err)
	}
	s.metrics.opened.Inc()
	s.counts.add(l.App, now, 0, 1)
	return true, nil
}

// Opening is a link that a user has opened.
type Opening struct {
	Log  store.LogID
	Seq  store.Seq
	Time time.Time
}

// Openings lists what a user has opened, in pages of at most max after the given one (the zero Opening: from the start).
func (s *Service) Openings(a store.AccountID, after Opening, max int) (out []Opening, err error) {
	from := ""
	if after.Log != 0 {
		from = store.KeyOf(after.Log) + store.KeyOf(after.Seq)
	}
	rows, err := s.store.Rows(tableOpened, store.OwnerOf(a), "", from, max)
	if err != nil {
		return nil, fmt.Errorf("link: opened: %w", err)
	}
	for _, r := range rows {
		if len(r.Key) == 16 {
			out = append(out, Opening{store.LogID(store.NumberOf(r.Key[:8])), store.Seq(store.NumberOf(r.Key[8:])), time.UnixMilli(int64(store.NumberOf(string(r.Value)))).UTC()})
		}
	}
	return out, nil
}

// Day is what an app sees of one day (UTC).
type Day struct {
	Day    string `json:"day" doc:"As in 2026-03-02, UTC."`
	Sent   *int   `json:"sent" doc:"Links sent; null: fewer than 20."`
	Opened *int   `json:"opened" doc:"Openings, once per user and link; null: fewer than 20, or so near to sent that single users would show."`
}

// Days are the numbers of an app on the newest days that have ended, the newest first, also where nothing happened.
func (s *Service) Days(app string, n int) ([]Day, error) {
	n = min(max(n, 1), MaxDays)
	last := s.now().UTC().Add(-settled).Truncate(24*time.Hour).AddDate(0, 0, -1)
	counted := make(map[string]count)
	for after := ""; ; {
		rows, err := s.store.Rows(tableCount, "", app+"\x00", after, 1000)
		if err != nil {
			return nil, fmt.Errorf("link: counts: %w", err)
		}
		for _, r := range rows {
			after = r.Key
			var c count
			if err := json.Unmarshal(r.Value, &c); err != nil {
				return nil, fmt.Errorf("link: counts: %w", err)
			}
			counted[strings.TrimPrefix(r.Key, app+"\x00")] = c
		}
		if len(rows) < 1000 {
			break
		}
	}
	var out []Day
	for i := range n {
		day := last.AddDate(0, 0, -i)
		c := counted[day.Format(dayFormat)]
		total := c.Sent
		if c.Opened-total >= near { // links into rooms are opened by many: there is no rest that would be told
			total = 0
		}
		out = append(out, Day{day.Format(time.DateOnly), s.cfg.Round(c.Sent, 0), s.cfg.Round(c.Opened, total)})
	}
	return out, nil
}

type count struct {
	Sent   int `json:"s,omitempty"`
	Opened int `json:"o,omitempty"`
}

type countKey struct{ app, day string }

// counts are what was counted and is not written yet.
type counts struct {
	mu   sync.Mutex
	by   map[countKey]count
	kick chan struct{}
	turn chan struct{} // of who writes
}

func (c *counts) init() {
	c.by, c.kick, c.turn = make(map[countKey]count), make(chan struct{}, 1), make(chan struct{}, 1)
}

func (c *counts) add(app string, at time.Time, sent, opened int) {
	k := countKey{app, at.UTC().Format(dayFormat)}
	c.mu.Lock()
	n := c.by[k]
	n.Sent, n.Opened = n.Sent+sent, n.Opened+opened
	c.by[k] = n
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (c *counts) take() map[countKey]count {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.by
	c.by = make(map[countKey]count)
	return was
}

// keepCounts writes what was counted, a second after there is something, until ctx ends.
func (s *Service) keepCounts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.counts.kick:
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := s.Flush(context.WithoutCancel(ctx)); err != nil { // whole, or what was written would be counted twice
			s.log.Warn("counts of links not written", keyErr, err)
		}
	}
}

// Flush writes what was counted so far. What cannot be written is kept for the next time.
func (s *Service) Flush(ctx context.Context) error {
	s.counts.turn <- struct{}{}
	defer func() { <-s.counts.turn }()
	var failed error
	for k, n := range s.counts.take() {
		if err := s.write(ctx, k, n); err != nil {
			failed = err
			s.metrics.lost.Inc()
			s.counts.again(k, n)
		}
	}
	return failed
}

// again puts back what could not be written.
func (c *counts) again(k countKey, n count) {
	c.mu.Lock()
	was := c.by[k]
	c.by[k] = count{was.Sent + n.Sent, was.Opened + n.Opened}
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (s *Service) write(ctx context.Context, k countKey, n count) error {
	key := k.app + "\x00" + k.day
	r, err := s.store.Row(tableCount, "", key)
	if err != nil {
		return fmt.Errorf("link: count: %w", err)
	}
	var was count
	if r.Version != 0 {
		if err := json.Unmarshal(r.Value, &was); err != nil {
			return fmt.Errorf("link: count: %w", err)
		}
	}
	v, err := json.Marshal(count{was.Sent + n.Sent, was.Opened + n.Opened})
	if err != nil {
		return fmt.Errorf("link: count: %w", err)
	}
	err = s.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableCount, Key: key, Value: v, Expires: s.now().Add(countKept).UnixMilli(),
		If: store.IfVersion(r.Version)}}})
	if err != nil {
		return fmt.Errorf("link: count: %w", err)
	}
	return nil
}
