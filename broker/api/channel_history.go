package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

// postReader reads one of a channel's two logs as its viewer sees it.
type postReader struct {
	a        *API
	me       store.AccountID
	info     store.LogInfo
	follower *hooks.Follower // nil: a publisher, who sees everything
}

// reader is a reader for the caller. A publisher reads its own channel as one.
func (a *API) reader(c *caller, ch *channel.Channel, log store.LogID) (*postReader, error) {
	info, err := a.store.Info(log)
	if err != nil {
		return nil, fmt.Errorf("api: info: %w", err)
	}
	r := &postReader{a: a, me: c.account.ID, info: info}
	if ch.Role(c.account.ID) == store.RoleNone {
		f, err := a.broker.Access().Follower(c.account.ID, info)
		if err != nil {
			return nil, fmt.Errorf("api: follower: %w", err)
		}
		r.follower = f.Back()
	}
	return r, nil
}

// shown is a record as the viewer gets it, nil for one that it does not: of a post a follower sees neither who wrote it
// nor from which device.
func (r *postReader) shown(rec *store.Record) (*store.Record, error) {
	if r.follower == nil {
		return rec, nil
	}
	o, _, err := r.follower.Outcome(rec)
	if err != nil {
		return nil, fmt.Errorf("api: follower: %w", err)
	}
	if o != policy.Deliver && o != policy.DeliverNoPush {
		return nil, nil
	}
	_, v, err := r.follower.Variant(rec)
	if err != nil {
		return nil, fmt.Errorf("api: follower: %w", err)
	}
	seen := view.InVariant(rec, v)
	return &store.Record{Log: seen.Log, Seq: seen.Seq, Time: seen.Time, Kind: seen.Kind, Expiry: seen.Expiry, Text: seen.Text, Extra: seen.Extra,
		Op: seen.Op, Recalled: seen.Recalled, Edited: seen.Edited}, nil
}

// page reads what the viewer gets in (from, upto], and how far it has looked.
func (r *postReader) page(from, upto store.Seq) (out []*store.Record, err error) {
	from = max(from, r.info.First-1)
	for from < upto {
		p, err := r.a.store.Read(store.Query{Log: r.info.ID, After: from, Upto: upto, Max: 200})
		if store.CodeOf(err) == store.CodeTrimmed {
			return out, nil // retention was faster
		}
		if err != nil {
			return nil, fmt.Errorf("api: read: %w", err)
		}
		for _, rec := range p.Records {
			got, err := r.shown(rec)
			if err != nil {
				return nil, err
			}
			if got != nil {
				out = append(out, got)
			}
		}
		if p.Next <= from {
			break
		}
		from = p.Next
	}
	return out, nil
}

// backward reads the newest that the viewer gets in (low, upto], in ascending order, and how far it has looked; at most
// so many sequences are looked at.
func (r *postReader) backward(low, upto store.Seq, limit, look int) (out []*store.Record, from store.Seq, err error) {
	low = max(low, r.info.First-1)
	from, size := upto, 0
	for from > low && len(out) < limit && upto-from < store.Seq(look) {
		window := min(from-low, max(store.Seq(limit-len(out)), 16))
		part, err := r.page(from-window, from)
		if err != nil {
			return nil, 0, err
		}
		from -= window
		for i, rec := range slices.Backward(part) {
			size += len(rec.Text) + len(rec.Extra)
			if len(out) == limit || size > answerBytes && len(out) > 0 {
				from = part[i].Seq
				slices.Reverse(out)
				return out, from, nil
			}
			out = append(out, rec)
		}
	}
	slices.Reverse(out)
	return out, from, nil
}

// forward reads the oldest that the viewer gets after base, at most up to the sequence upto, and how far it has looked.
func (r *postReader) forward(base, upto store.Seq, limit, look int) (out []*store.Record, next store.Seq, err error) {
	next, size := base, 0
	for next < upto && len(out) < limit && next-base < store.Seq(look) {
		end := min(upto, next+max(store.Seq(limit-len(out)), 16))
		part, err := r.page(next, end)
		if err != nil {
			return nil, 0, err
		}
		for _, rec := range part {
			size += len(rec.Text) + len(rec.Extra)
			if len(out) == limit || size > answerBytes && len(out) > 0 {
				return out, out[len(out)-1].Seq, nil
			}
			out = append(out, rec)
		}
		next = end
	}
	return out, next, nil
}

func (a *API) postEnvelope(c *caller, r *store.Record, base store.Seq) Envelope {
	return a.envelope(c.account.ID, c.id.Device, r, store.Marks{}, base)
}

type channelHistoryIn struct {
	channelIn
	Ads    bool       `json:"ads,omitempty" doc:"The advertising instead of the notices."`
	Before store.Seq  `json:"before,omitempty" doc:"Only older than this sequence."`
	After  *store.Seq `json:"after,omitempty" doc:"Only newer than this sequence; 0: from the beginning. Without before and after: the newest."`
	Limit  int        `json:"limit,omitempty" doc:"Posts of a page; absent: 50."`
}

func (a *API) channelHistory(_ context.Context, c *caller, in *channelHistoryIn) (*roomHistoryOut, error) {
	if in.Before != 0 && in.After != nil {
		return nil, store.Bad("before and after do not go together")
	}
	limit, err := a.page(in.Limit, 50)
	if err != nil {
		return nil, err
	}
	ch, err := a.channelOf(c, in.Channel)
	if err != nil {
		return nil, err
	}
	log := ch.ID
	if in.Ads {
		log = ch.Ads
	}
	r, err := a.reader(c, ch, log)
	if err != nil {
		return nil, err
	}
	low, head := max(r.info.First, 1), r.info.Head
	var records []*store.Record
	var base, next store.Seq // considered are (base, next]
	if in.After != nil {
		base = min(max(*in.After, low-1), head)
		records, next, err = r.forward(base, head, limit, lookVisible)
	} else {
		next = head
		if in.Before != 0 {
			next = min(in.Before-1, head)
		}
		records, base, err = r.backward(low-1, next, limit, lookVisible)
	}
	if err != nil {
		return nil, err
	}
	out := &roomHistoryOut{Items: make([]Envelope, 0, len(records)), After: next, Head: head, More: next < head}
	if base >= low {
		out.Before = base + 1
	}
	for _, rec := range records {
		out.Items = append(out.Items, a.postEnvelope(c, rec, base))
		base = rec.Seq
	}
	return out, nil
}

// postOf is a post as the caller gets it.
func (a *API) postOf(c *caller, s string, ads bool, seq store.Seq) (*channel.Channel, *store.Record, error) {
	ch, err := a.channelOf(c, s)
	if err != nil {
		return nil, nil, err
	}
	log := ch.ID
	if ads {
		log = ch.Ads
	}
	r, err := a.reader(c, ch, log)
	if err != nil {
		return nil, nil, err
	}
	none := notFound("there is no such post")
	if seq == 0 || seq > r.info.Head {
		return nil, nil, none
	}
	list, err := r.page(seq-1, seq)
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, none
	}
	return ch, list[0], nil
}

type channelOpenedIn struct {
	channelIn
	Seq store.Seq `json:"seq" doc:"The post."`
	Ads bool      `json:"ads,omitempty" doc:"It is one of the advertising."`
}

func (a *API) channelOpened(ctx context.Context, c *caller, in *channelOpenedIn) (*none, error) {
	_, r, err := a.postOf(c, in.Channel, in.Ads, in.Seq)
	if err != nil || a.numbers == nil {
		return &none{}, err
	}
	return &none{}, a.numbers.Opened(ctx, c.account.ID, r.Log, r.Seq)
}
