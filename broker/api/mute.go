package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

type muteSetIn struct {
	Conversation
	On       *bool  `json:"on,omitempty" doc:"False lets it ring again; absent: true."`
	Until    string `json:"until,omitempty" doc:"When the mute ends, as in 2026-01-31T08:00:00Z; absent: never."`
	Mentions bool   `json:"mentions,omitempty" doc:"Messages that mention the user ring all the same."`
}

type mute struct {
	Until    *time.Time `json:"until,omitempty" doc:"When it ends; absent: never."`
	Mentions bool       `json:"mentions,omitempty" doc:"Messages that mention the user ring all the same."`
}

func shownMute(m *graph.Mute) *mute {
	if m == nil {
		return nil
	}
	return &mute{at(m.Until), m.Mentions}
}

type muteSetOut struct {
	Changed bool  `json:"changed" doc:"False: it was so before."`
	Mute    *mute `json:"mute,omitempty" doc:"Absent: the conversation rings."`
}

// farthest is how far in the future a time may lie that a user sets.
const farthest = 10 * 365 * 24 * time.Hour

func (a *API) muteSet(ctx context.Context, c *caller, in *muteSetIn) (*muteSetOut, error) {
	info, _, err := a.find(c.account.ID, in.Conversation)
	if err != nil {
		return nil, err
	}
	var m *graph.Mute
	if in.On == nil || *in.On {
		m = &graph.Mute{Mentions: in.Mentions}
		if in.Until != "" {
			until, err := time.Parse(time.RFC3339, in.Until)
			if err != nil {
				return nil, store.Bad("until must be a time such as 2026-01-31T08:00:00Z")
			}
			if now := a.now(); !until.After(now) || until.Sub(now) > farthest {
				return nil, store.Bad("until must lie in the future, at most ten years; leave it out to mute for ever")
			}
			m.Until = until.UnixMilli()
		}
		if info.Members.Role(c.account.ID) == store.RoleNone {
			return nil, errNoRoom
		}
	} else if in.Until != "" || in.Mentions {
		return nil, store.Bad("until and mentions belong to a mute: leave them out with on false")
	}
	changed, err := a.graph.SetMute(ctx, c.account.ID, info.ID, m)
	if err != nil {
		return nil, fmt.Errorf("api: mute: %w", err)
	}
	if changed {
		a.notify(ctx, c.account.ID, noticeOf(view.NoticeMute, info, c.account.ID), "")
	}
	return &muteSetOut{changed, shownMute(m)}, nil
}

// noticeOf is a notice about a conversation of a user.
func noticeOf(what string, info store.LogInfo, u store.AccountID) view.Notice {
	n := view.Notice{What: what, Room: info.Key.Name}
	if info.Key.Kind == store.LogPair {
		n.Who = info.Key.Peer(u)
	}
	return n
}

type muted struct {
	Conversation
	Mute mute `json:"mute"`
}

type muteListOut struct {
	Mutes []muted `json:"mutes"`
}

func (a *API) muteList(_ context.Context, c *caller, _ *none) (*muteListOut, error) {
	all, err := a.graph.Mutes(c.account.ID)
	if err != nil {
		return nil, fmt.Errorf("api: mutes: %w", err)
	}
	out := &muteListOut{Mutes: make([]muted, 0, len(all))}
	for log, m := range all {
		c, ok, err := a.conversationOf(c.account.ID, log)
		if err != nil {
			return nil, err
		}
		if ok {
			out.Mutes = append(out.Mutes, muted{c, *shownMute(&m)})
		}
	}
	slices.SortFunc(out.Mutes, func(x, y muted) int {
		return strings.Compare(x.Room+"/"+x.User, y.Room+"/"+y.User)
	})
	return out, nil
}

// conversationOf names a conversation of a user; ok is false where it has left, or nobody is left.
func (a *API) conversationOf(u store.AccountID, log store.LogID) (c Conversation, ok bool, err error) {
	info, err := a.store.Info(log)
	if store.CodeOf(err) == store.CodeNotFound {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("api: info: %w", err)
	}
	switch {
	case info.Members.Role(u) == store.RoleNone:
		return c, false, nil
	case info.Key.Kind == store.LogRoom:
		c.Room = info.Key.Name
	default:
		c.User = a.broker.Name(info.Key.Peer(u))
	}
	return c, c.Room != "" || c.User != "", nil
}

type quietSetIn struct {
	On   *bool    `json:"on,omitempty" doc:"False ends the quiet hours; absent: true."`
	Zone string   `json:"zone,omitempty" doc:"The time zone by its IANA name, such as Asia/Seoul."`
	From string   `json:"from,omitempty" doc:"When they begin, as in 22:00."`
	To   string   `json:"to,omitempty" doc:"When they end, as in 07:30; earlier than from, or the same: on the next day. 24:00 is midnight."`
	Days []string `json:"days,omitempty" doc:"The days on which they begin: mon, tue, wed, thu, fri, sat, sun; absent: every day."`
}

type quietOut struct {
	On   bool       `json:"on"`
	Zone string     `json:"zone,omitempty"`
	From string     `json:"from,omitempty"`
	To   string     `json:"to,omitempty"`
	Days []string   `json:"days,omitempty" doc:"Absent: every day."`
	Ends *time.Time `json:"ends,omitempty" doc:"When the quiet ends that is now; absent: it is not quiet now."`
}

var days = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (a *API) quietSet(ctx context.Context, c *caller, in *quietSetIn) (*quietOut, error) {
	q, err := readQuiet(in)
	if err != nil {
		return nil, err
	}
	changed, err := a.graph.SetQuiet(ctx, c.account.ID, q)
	if err != nil {
		if store.CodeOf(err) == store.CodeBad {
			return nil, err
		}
		return nil, fmt.Errorf("api: quiet: %w", err)
	}
	if changed {
		a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeQuiet}, "")
	}
	return a.shownQuiet(&q), nil
}

func readQuiet(in *quietSetIn) (q graph.Quiet, err error) {
	if in.On != nil && !*in.On {
		if in.Zone != "" || in.From != "" || in.To != "" || len(in.Days) > 0 {
			err = store.Bad("leave the hours out with on false")
		}
		return q, err
	}
	if in.Zone == "" {
		return q, store.Bad("zone is missing: the IANA name of a time zone, such as Asia/Seoul")
	}
	q.Zone = in.Zone
	if q.From, err = minutes("from", in.From); err != nil {
		return q, err
	}
	if q.To, err = minutes("to", in.To); err != nil {
		return q, err
	}
	if q.To == 0 {
		q.To = 24 * 60
	}
	for _, d := range in.Days {
		i := slices.Index(days[:], strings.ToLower(d))
		if i < 0 {
			return q, store.Bad("days must be " + alternatives(append(days[1:len(days):len(days)], days[0])))
		}
		q.Days |= 1 << i
	}
	if q.Days == 1<<7-1 {
		q.Days = 0
	}
	return q, nil
}

// minutes reads a time of day.
func minutes(field, s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, store.Bad(field + " must be a time of day such as 07:30")
	}
	return t.Hour()*60 + t.Minute(), nil
}

func (a *API) quietGet(_ context.Context, c *caller, _ *none) (*quietOut, error) {
	q, err := a.graph.Quiet(c.account.ID)
	if err != nil {
		return nil, fmt.Errorf("api: quiet: %w", err)
	}
	return a.shownQuiet(q), nil
}

func (a *API) shownQuiet(q *graph.Quiet) *quietOut {
	out := lastingQuiet(q)
	if ends := q.Ends(a.now()); !ends.IsZero() {
		out.Ends = at(ends.UnixMilli())
	}
	return out
}

// lastingQuiet is what does not depend on the time.
func lastingQuiet(q *graph.Quiet) *quietOut {
	if !q.On() {
		return &quietOut{}
	}
	clock := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }
	out := &quietOut{On: true, Zone: q.Zone, From: clock(q.From), To: clock(q.To)}
	for i := 1; q.Days != 0 && i <= len(days); i++ { // Monday first
		if d := i % len(days); q.Days>>d&1 == 1 {
			out.Days = append(out.Days, days[d])
		}
	}
	return out
}
