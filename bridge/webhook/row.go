package webhook

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hwangso/hwangso/store"
)

const (
	tableHook  store.Table = "service.webhook"
	tableEvent store.Table = "service.webhookevent"
)

// The kinds of events. There is none about one follower, one opening or one coupon.
const (
	ChannelFollowers  = "channel.followers"  // the daily number of followers is another one
	ThreadMessage     = "thread.message"     // a follower has written
	BroadcastFinished = "broadcast.finished" // it is done, or was canceled
	BroadcastReport   = "broadcast.report"   // what became of it was counted
	LinkOpened        = "link.opened"        // the day's number of an app
	Ping              = "ping"               // somebody wants to see whether events arrive
)

// EventsOf are the kinds of events that an owner can have.
func EventsOf(o Owner) []string {
	if o.App != "" {
		return []string{LinkOpened}
	}
	return []string{ChannelFollowers, ThreadMessage, BroadcastFinished, BroadcastReport}
}

// Owner is a channel or an app. One of the two is set.
type Owner struct {
	Channel string // its identifier
	App     string // its identifier
}

// String is "channel:" or "app:" and the identifier.
func (o Owner) String() string {
	if o.App != "" {
		return "app:" + o.App
	}
	return "channel:" + o.Channel
}

func parseOwner(s string) (o Owner, ok bool) {
	switch kind, id, _ := strings.Cut(s, ":"); {
	case id == "":
		return o, false
	case kind == "app":
		o.App = id
	case kind == "channel":
		o.Channel = id
	}
	return o, o != Owner{}
}

// row is an endpoint as it is stored. Times are Unix milliseconds, 0: never.
type row struct {
	URL     string   `json:"url"`
	Events  []string `json:"events"`
	Secret  string   `json:"secret"`
	Old     string   `json:"old,omitempty"`      // the secret before, valid until
	OldEnds int64    `json:"old_ends,omitempty"` // this
	Created int64    `json:"created"`

	Failing  int64    `json:"failing,omitempty"` // since when every attempt has failed
	Disabled int64    `json:"disabled,omitempty"`
	Why      string   `json:"why,omitempty"`
	Untold   bool     `json:"untold,omitempty"` // the owner is to get a notice of that
	Dropped  int64    `json:"dropped,omitempty"`
	Last     []Answer `json:"last,omitempty"` // the newest first

	Day    string `json:"day,omitempty"`    // of the daily count that was told, or looked at, last
	Count  *int   `json:"count,omitempty"`  // of followers then
	Opened string `json:"opened,omitempty"` // the same of the day's number of an app
}

// Why endpoints are disabled.
const (
	WhyGone    = "gone"    // it has answered 410
	WhyFailing = "failing" // nothing but failures for MaxAge
)

// Answer is how an attempt ended.
type Answer struct {
	Time    int64  `json:"time"` // Unix milliseconds
	Event   string `json:"event"`
	Code    int    `json:"code,omitempty"` // of HTTP; 0: there was no answer
	Outcome string `json:"outcome"`        // a class, see the outcomes
}

// event is one that waits, as it is stored. What it says is in data, or for a message is read when it is sent.
type event struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	At      int64           `json:"at"` // Unix milliseconds
	Log     store.LogID     `json:"log,omitempty"`
	Seq     store.Seq       `json:"seq,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`

	rank int64         // its time, but not before what its subject had before it
	el   *list.Element // in endpoint.order
}

var words = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// eventID is the same for the same event to the same endpoint, however often it is found.
func eventID(endpoint, kind, subject, unique string) string {
	sum := sha256.Sum256([]byte(endpoint + "\x00" + kind + "\x00" + subject + "\x00" + unique))
	return words.EncodeToString(sum[:16])
}

// key is where an event stands among those that wait: messages in the order of the journal, others in that of their times.
func (v *event) key() string {
	if v.Log != 0 {
		return "m" + store.KeyOf(v.Log) + store.KeyOf(v.Seq)
	}
	return "e" + store.KeyOf(uint64(v.At)) + v.ID
}

func (s *Service) put(ctx context.Context, e *endpoint, r *row) error {
	value, err := json.Marshal(r)
	if err == nil {
		err = s.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableHook, Key: e.key(), Value: value}}})
	}
	if err != nil {
		return fmt.Errorf("webhook: write: %w", err)
	}
	return nil
}

// change lets fn change an endpoint's row: durably first, then in memory. fn is called twice.
func (s *Service) change(ctx context.Context, e *endpoint, fn func(*row)) error {
	done, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	s.mu.Lock()
	r, gone := e.row.clone(), e.gone
	s.mu.Unlock()
	if gone {
		return errNone
	}
	fn(&r)
	if err := s.put(ctx, e, &r); err != nil {
		return err
	}
	s.mu.Lock()
	fn(&e.row)
	s.mu.Unlock()
	return nil
}

func (r *row) clone() row {
	c := *r
	c.Events, c.Last = slices.Clone(r.Events), slices.Clone(r.Last)
	return c
}

// load reads the endpoints and what waits.
func (s *Service) load(ctx context.Context) error {
	for after := ""; ; {
		rows, err := s.store.Rows(tableHook, "", "", after, 0)
		if err != nil {
			return fmt.Errorf("webhook: load: %w", err)
		}
		for _, r := range rows {
			after = r.Key
			owner, id, _ := strings.Cut(r.Key, "/")
			o, ok := parseOwner(owner)
			if !ok || id == "" {
				continue
			}
			e := newEndpoint(o, id)
			if err := json.Unmarshal(r.Value, &e.row); err != nil {
				return fmt.Errorf("webhook: load: %w", err)
			}
			e.purge = e.row.Disabled != 0
			s.hooks[o] = append(s.hooks[o], e)
			s.byID[id] = e
		}
		if len(rows) == 0 {
			break
		}
	}
	lost := make(map[store.Owner]bool) // of endpoints that were removed
	var owner store.Owner
	for key := ""; ; {
		rows, err := s.store.AllRows(tableEvent, owner, key, 0)
		if err != nil {
			return fmt.Errorf("webhook: load: %w", err)
		}
		for _, r := range rows {
			owner, key = r.Owner, r.Key
			e := s.byID[string(r.Owner)]
			if e == nil {
				lost[r.Owner] = true
				continue
			}
			v := new(event)
			if err := json.Unmarshal(r.Value, v); err != nil {
				return fmt.Errorf("webhook: load: %w", err)
			}
			v.rank = max(v.At, e.ranks[v.Subject])
			e.ranks[v.Subject] = v.rank
			e.loaded = append(e.loaded, v)
		}
		if len(rows) == 0 {
			break
		}
	}
	for o := range lost {
		if err := s.forget(ctx, o); err != nil {
			return err
		}
	}
	now := s.now()
	for _, e := range s.byID {
		// Rows are in the order of each subject; among subjects time decides which are the oldest.
		slices.SortStableFunc(e.loaded, func(a, b *event) int { return cmp.Compare(a.rank, b.rank) })
		for _, v := range e.loaded {
			if !e.purge {
				s.add(e, v, now)
			}
		}
		e.loaded, e.ranks = nil, nil
	}
	return nil
}

// forget removes the rows of what waits.
func (s *Service) forget(ctx context.Context, o store.Owner) error {
	for {
		rows, err := s.store.Rows(tableEvent, o, "", "", 500)
		if err != nil {
			return fmt.Errorf("webhook: forget: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		u := store.Update{Owner: o}
		for _, r := range rows {
			u.Rows = append(u.Rows, store.RowPut{Table: tableEvent, Key: strings.Clone(r.Key)})
		}
		if err := s.store.Update(ctx, u); err != nil {
			return fmt.Errorf("webhook: forget: %w", err)
		}
	}
}
