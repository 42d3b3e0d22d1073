package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/hwangso/hwangso/store"
)

type roomHistoryIn struct {
	Conversation
	Before store.Seq  `json:"before,omitempty" doc:"Only older than this sequence."`
	After  *store.Seq `json:"after,omitempty" doc:"Only newer than this sequence; 0: from the beginning. Without before and after: the newest."`
	Limit  int        `json:"limit,omitempty" doc:"Records of a page; absent: 50."`
}

type roomHistoryOut struct {
	Items  []Envelope `json:"items" doc:"Ascending. What was taken back shows no text, what the user deleted for itself is left out."`
	Before store.Seq  `json:"before,omitempty" doc:"The before of the page with what is older; absent: nothing is."`
	After  store.Seq  `json:"after" doc:"The after of the page with what is newer."`
	Head   store.Seq  `json:"head" doc:"The newest sequence this user may see."`
	More   bool       `json:"more,omitempty" doc:"There is something newer than this page."`
}

func (a *API) roomHistory(_ context.Context, c *caller, in *roomHistoryIn) (*roomHistoryOut, error) {
	if in.Before != 0 && in.After != nil {
		return nil, store.Bad("before and after do not go together")
	}
	limit, err := a.page(in.Limit, 50)
	if err != nil {
		return nil, err
	}
	me := c.account.ID
	info, h, err := a.find(me, in.Conversation)
	if err != nil {
		return nil, err
	}
	marks, err := a.broker.MarksFor(me, &info)
	if err != nil {
		return nil, fmt.Errorf("api: marks: %w", err)
	}
	low := max(info.First, 1)
	if m := info.Members.Find(me); len(m.Spans) > 0 {
		low = max(low, m.Spans[0].From)
	}
	var records []*store.Record
	var base, next store.Seq // considered are (base, next]
	if in.After != nil {
		base = max(*in.After, low-1)
		records, next, err = a.forward(me, info.ID, base, h.seen, limit)
	} else {
		next = h.seen
		if in.Before != 0 {
			next = min(in.Before-1, h.seen)
		}
		records, base, err = a.backward(me, info.ID, low-1, next, limit)
	}
	if err != nil {
		return nil, err
	}
	out := &roomHistoryOut{Items: make([]Envelope, 0, len(records)), Head: h.seen, After: next, More: next < h.seen}
	if base >= low {
		out.Before = base + 1
	}
	for _, r := range records {
		out.Items = append(out.Items, a.envelope(me, c.id.Device, r, marks, base))
		base = r.Seq
	}
	return out, nil
}

// forward reads the oldest records after base, at most up to the sequence upto, and how far it has looked.
func (a *API) forward(me store.AccountID, log store.LogID, base, upto store.Seq, limit int) ([]*store.Record, store.Seq, error) {
	if base >= upto {
		return nil, base, nil
	}
	page, err := a.read(store.Query{Log: log, Viewer: me, After: base, Upto: upto, Max: limit, Bytes: answerBytes})
	if err != nil {
		return nil, 0, fmt.Errorf("api: read: %w", err)
	}
	return page.Records, page.Next, nil
}

// backward reads the newest records in (low, upto], and how far it has looked. One call looks at 4,096 sequences.
func (a *API) backward(me store.AccountID, log store.LogID, low, upto store.Seq, limit int) ([]*store.Record, store.Seq, error) {
	var records []*store.Record
	from, size := upto, 0
	for from > low && len(records) < limit && upto-from < lookVisible {
		window := min(from-low, max(store.Seq(limit-len(records)), 16))
		part, err := a.visible(me, log, from-window, from)
		if err != nil {
			return nil, 0, err
		}
		from -= window
		for i, r := range slices.Backward(part) {
			size += len(r.Text) + len(r.Extra)
			if len(records) == limit || size > answerBytes && len(records) > 0 {
				from = part[i].Seq // everything after it has been considered
				slices.Reverse(records)
				return records, from, nil
			}
			records = append(records, r)
		}
	}
	slices.Reverse(records)
	return records, from, nil
}
