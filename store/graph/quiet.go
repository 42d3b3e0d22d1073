package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
	_ "time/tzdata" // zones are known whatever the machine has installed

	"github.com/hwangso/hwangso/store"
)

const (
	tableMute  store.Table = "user.mute"
	tableQuiet store.Table = "user.quiet"
)

// Mute says that a conversation does not ring. Messages arrive and count as before.
type Mute struct {
	Until    int64 `json:"until,omitempty"`    // Unix milliseconds, 0: for ever
	Mentions bool  `json:"mentions,omitempty"` // messages that mention the user ring all the same
}

// Mute is whether and how a user has muted a conversation, nil if it has not. A mute that has ended is none. Cheap: it
// is asked per message and receiver.
func (g *Graph) Mute(a store.AccountID, log store.LogID) (*Mute, error) {
	r, err := g.store.Row(tableMute, store.OwnerOf(a), store.KeyOf(log))
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", tableMute, err)
	}
	return g.mute(r)
}

func (g *Graph) mute(r store.Row) (*Mute, error) {
	if r.Version == 0 || r.Expires != 0 && r.Expires <= g.now().UnixMilli() {
		return nil, nil
	}
	m, err := store.Decoded(r, func(b []byte) (m Mute, err error) {
		err = json.Unmarshal(b, &m)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", tableMute, err)
	}
	return m, nil
}

// Mutes are all conversations that a user has muted.
func (g *Graph) Mutes(a store.AccountID) (map[store.LogID]Mute, error) {
	var out map[store.LogID]Mute
	for after := ""; ; {
		rows, err := g.store.Rows(tableMute, store.OwnerOf(a), "", after, 1000)
		if err != nil {
			return nil, fmt.Errorf("graph: %s: %w", tableMute, err)
		}
		for _, r := range rows {
			after = r.Key
			m, err := g.mute(r)
			if err != nil {
				return nil, err
			}
			if m == nil {
				continue
			}
			if out == nil {
				out = make(map[store.LogID]Mute)
			}
			out[store.LogID(store.NumberOf(r.Key))] = *m
		}
		if len(rows) < 1000 {
			return out, nil
		}
	}
}

// SetMute mutes a conversation for a user, or with nil lets it ring again. changed tells whether anything moved.
func (g *Graph) SetMute(ctx context.Context, a store.AccountID, log store.LogID, m *Mute) (changed bool, err error) {
	for try := 0; ; try++ {
		r, err := g.store.Row(tableMute, store.OwnerOf(a), store.KeyOf(log))
		if err != nil {
			return false, fmt.Errorf("graph: %s: %w", tableMute, err)
		}
		was, err := g.mute(r)
		if err != nil {
			return false, err
		}
		if was == nil && m == nil || was != nil && m != nil && *was == *m {
			return false, nil
		}
		put := store.RowPut{Table: tableMute, Key: store.KeyOf(log), If: &r.Version}
		if m != nil {
			if put.Value, err = json.Marshal(m); err != nil {
				return false, fmt.Errorf("graph: %s: %w", tableMute, err)
			}
			put.Expires = m.Until
		}
		err = g.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{put}})
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("graph: %s: %w", tableMute, err)
		}
		return true, nil
	}
}

// Quiet are the hours of a user in which nothing rings. The zero value is none.
type Quiet struct {
	Zone string `json:"zone,omitempty"` // IANA name, such as Asia/Seoul; "": no quiet hours
	From int    `json:"from,omitempty"` // minutes after midnight at which they begin, 0 to 1439
	To   int    `json:"to,omitempty"`   // and end, 1 to 1440; at most From: on the next day
	Days uint8  `json:"days,omitempty"` // bit time.Weekday: the days on which they begin; 0: every day
}

// On reports whether there are quiet hours.
func (q *Quiet) On() bool { return q.Zone != "" }

// Validate tells what is wrong with quiet hours, as a CodeBad error, nil if nothing.
func (q *Quiet) Validate() error {
	if !q.On() {
		return nil
	}
	if _, err := zone(q.Zone); err != nil {
		return err
	}
	switch {
	case q.From < 0 || q.From > 1439:
		return store.Bad("from must be a time of day from 00:00 to 23:59")
	case q.To < 1 || q.To > 1440:
		return store.Bad("to must be a time of day from 00:01 to 24:00; 00:00 is 24:00")
	case q.From == q.To:
		return store.Bad("from and to must differ; a whole day is 00:00 to 24:00")
	case q.Days > 1<<7-1:
		return store.Bad("days must be days of the week")
	}
	return nil
}

// Ends is when the quiet hours end that t lies in; the zero time where nothing is quiet at t. The day of the week is that
// on which the hours begin, so that a night from Friday belongs to Friday. Where clocks are put forward or back, the hours
// are those that the clocks on the wall show.
func (q *Quiet) Ends(t time.Time) time.Time {
	if !q.On() {
		return time.Time{}
	}
	loc, err := zone(q.Zone)
	if err != nil { // a zone that the tables do not have any more
		return time.Time{}
	}
	t = t.In(loc)
	y, m, d := t.Date()
	for _, day := range []int{d - 1, d} {
		begins := time.Date(y, m, day, 0, q.From, 0, 0, loc)
		if q.Days != 0 && q.Days>>time.Date(y, m, day, 12, 0, 0, 0, loc).Weekday()&1 == 0 {
			continue
		}
		if q.To <= q.From {
			day++
		}
		if ends := time.Date(y, m, day, 0, q.To, 0, 0, loc); !t.Before(begins) && t.Before(ends) {
			return ends
		}
	}
	return time.Time{}
}

// zones are the time zones that were asked for: reading one costs more than asking for the time in it. There are some
// 600 names.
var zones sync.Map // string → *time.Location

func zone(name string) (*time.Location, error) {
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), nil
	}
	if name == "" || name == "Local" || len(name) > 64 {
		return nil, errZone
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, errZone
	}
	zones.Store(name, loc)
	return loc, nil
}

var errZone = store.Bad("zone must be the IANA name of a time zone, such as Asia/Seoul")

// Quiet are a user's quiet hours. Cheap: they are asked per message and receiver.
func (g *Graph) Quiet(a store.AccountID) (*Quiet, error) {
	return read[Quiet](g, tableQuiet, store.OwnerOf(a), "")
}

// SetQuiet sets a user's quiet hours; the zero Quiet ends them. changed tells whether anything moved. What Validate
// says is returned.
func (g *Graph) SetQuiet(ctx context.Context, a store.AccountID, q Quiet) (changed bool, err error) {
	if err := q.Validate(); err != nil {
		return false, err
	}
	if !q.On() {
		q = Quiet{}
	}
	err = change(ctx, g, tableQuiet, store.OwnerOf(a), "", func(q *Quiet) bool { return !q.On() },
		func(was *Quiet) ([]store.EdgePut, error) {
			changed = *was != q
			*was = q
			return nil, nil
		})
	return changed && err == nil, err
}
