package api

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/store"
)

// sortListed sorts the newest first; at the same time by name, so that pages have an order.
func sortListed(list []listed) {
	slices.SortFunc(list, func(x, y listed) int {
		return cmp.Or(cmp.Compare(y.time, x.time), strings.Compare(x.key, y.key))
	})
}

type roomListIn struct {
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Conversations of a page; absent: 50."`
}

type roomListOut struct {
	Rooms []entry `json:"rooms" doc:"Rooms and 1:1 conversations, the newest first."`
	Next  string  `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) roomList(ctx context.Context, c *caller, in *roomListIn) (*roomListOut, error) {
	limit, err := a.page(in.Limit, 50)
	if err != nil {
		return nil, err
	}
	from, err := placeAfter(in.After)
	if err != nil {
		return nil, err
	}
	list, err := a.conversations(ctx, c.account.ID)
	if err != nil {
		return nil, err
	}
	out, size := &roomListOut{Rooms: []entry{}}, 0
	for i := range list {
		l := &list[i]
		if l.hidden() || l.Me.Role == store.RoleNone || !from.before(l) {
			continue
		}
		if len(out.Rooms) == limit || size > answerBytes {
			break
		}
		e, err := a.entry(c.account.ID, c.id.Device, l)
		if err != nil {
			return nil, err
		}
		out.Rooms = append(out.Rooms, e)
		size += len(e.Last)
		out.Next = strconv.FormatInt(l.time, 36) + "." + l.key
	}
	if !goesOn(list, out.Next) {
		out.Next = ""
	}
	return out, nil
}

// goesOn reports whether anything is listed after a place.
func goesOn(list []listed, next string) bool {
	from, err := placeAfter(next)
	if err != nil || next == "" {
		return false
	}
	return slices.ContainsFunc(list, func(l listed) bool {
		return from.before(&l) && !l.hidden() && l.Me.Role != store.RoleNone
	})
}

// place is where a page of the list ended.
type place struct {
	time int64
	key  string
	all  bool // before everything
}

func placeAfter(s string) (place, error) {
	if s == "" {
		return place{all: true}, nil
	}
	ms, key, ok := strings.Cut(s, ".")
	t, err := strconv.ParseInt(ms, 36, 64)
	if !ok || err != nil {
		return place{}, store.Bad("after must be what the page before told as next")
	}
	return place{time: t, key: key}, nil
}

// before reports whether the conversation comes after the place.
func (p place) before(l *listed) bool {
	return p.all || l.time < p.time || l.time == p.time && l.key > p.key
}
