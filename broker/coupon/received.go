package coupon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// Gift is a gift as its receiver sees it.
type Gift struct {
	ID     string
	From   string // the giver's identifier, "" if it has none any more
	Time   int64  // Unix milliseconds
	Opened bool
	Mine
}

// maxGifts is how many gifts a list has at most.
const maxGifts = 1000

// resumeAfter is how old a gift that is not done must be before a look at the list goes on with it: before, the request
// that makes it may be under way. One that has not even taken the coupon within forgetAfter is forgotten instead.
const (
	resumeAfter = time.Minute
	forgetAfter = time.Hour
)

// SentGifts lists what the user gave, the newest first, and goes on with what an interruption has left undone.
func (s *Service) SentGifts(ctx context.Context, id hooks.Identity) ([]*Sent, error) {
	rows, err := s.store.Rows(tableSent, store.OwnerOf(id.Account), "", "", maxGifts)
	if err != nil {
		return nil, fmt.Errorf("coupon: gifts: %w", err)
	}
	out := make([]*Sent, 0, len(rows))
	for _, row := range rows {
		var r sentRow
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, fmt.Errorf("coupon: gift: %w", err)
		}
		if !r.Done && s.now().UnixMilli()-r.Time > resumeAfter.Milliseconds() {
			there, err := s.resume(ctx, id, row.Key, r)
			if err != nil {
				return nil, err
			}
			if !there {
				continue
			}
		}
		one, err := s.sent(id.Account, row.Key, r)
		if store.CodeOf(err) == store.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b *Sent) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Gift, b.Gift)) })
	return out, nil
}

// resume goes on with a gift. there is false if nothing is left of it.
func (s *Service) resume(ctx context.Context, id hooks.Identity, gift string, r sentRow) (there bool, err error) {
	c, err := s.campaign(r.Channel, r.Campaign)
	if store.CodeOf(err) == store.CodeNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	own, err := s.coupon(r.Channel, c, id.Account)
	if err != nil {
		return false, err
	}
	st, err := s.state(&own)
	if err != nil {
		return false, err
	}
	if st.Gift != gift && s.now().UnixMilli()-r.Time > forgetAfter.Milliseconds() {
		return false, s.dropSent(ctx, id.Account, gift)
	}
	switch err := s.finish(ctx, id, gift, r, c); {
	case err == nil:
		s.metrics.gifts.WithLabelValues(giftResumed).Inc()
		return true, nil
	case undecided(err): // it stays as it is until the next look
		return true, nil
	}
	return false, nil // refused: the coupon is back
}

// sent is what a giver sees of a gift.
func (s *Service) sent(me store.AccountID, gift string, r sentRow) (*Sent, error) {
	c, err := s.campaign(r.Channel, r.Campaign)
	if err != nil {
		return nil, err
	}
	info, err := s.store.Info(r.Channel)
	if err != nil {
		return nil, fmt.Errorf("coupon: channel: %w", err)
	}
	own, err := s.coupon(r.Channel, c, me)
	if err != nil {
		return nil, err
	}
	st, err := s.state(&own)
	if err != nil {
		return nil, err
	}
	out := &Sent{Gift: gift, To: r.To, Channel: info.Key.Name, Campaign: c, Time: r.Time, Status: Given}
	if r.Done && (st.Gift != gift || !st.away()) {
		out.Status = Back
	}
	return out, nil
}

// Gifts lists what the user was given and may see, the newest first, without codes: those are shown when a gift is opened.
func (s *Service) Gifts(me store.AccountID) ([]*Gift, error) {
	rows, err := s.store.Rows(tableGift, store.OwnerOf(me), "", "", maxGifts)
	if err != nil {
		return nil, fmt.Errorf("coupon: gifts: %w", err)
	}
	out := make([]*Gift, 0, len(rows))
	for _, row := range rows {
		r, err := decodeGift(row)
		if err != nil {
			return nil, err
		}
		if ok, err := s.visible(me, &r); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		g, _, _, err := s.given(row.Key, &r)
		if store.CodeOf(err) == store.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		g.Code, g.Grouped = "", ""
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *Gift) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// Open opens a gift of the user, if nobody has before, and shows it. It is named by its identifier. From then on it does
// not go back, and stays the user's whatever becomes of the message.
func (s *Service) Open(ctx context.Context, me store.AccountID, gift string) (*Gift, error) {
	row, err := s.store.Row(tableGift, store.OwnerOf(me), gift)
	if err != nil {
		return nil, fmt.Errorf("coupon: gift: %w", err)
	}
	if row.Version == 0 {
		return nil, errNoSuchGift
	}
	r, err := decodeGift(row)
	if err != nil {
		return nil, err
	}
	if ok, err := s.visible(me, &r); err != nil {
		return nil, err
	} else if !ok {
		return nil, errNoSuchGift
	}
	return s.open(ctx, me, gift, &r)
}

// OpenMessage is Open of the gift that a message of a 1:1 conversation carries. It does not need the list, which is
// written after the message.
func (s *Service) OpenMessage(ctx context.Context, me store.AccountID, user string, seq store.Seq) (*Gift, error) {
	peer, err := s.store.AccountByName(user)
	if store.CodeOf(err) == store.CodeNotFound || err == nil && (peer.ID == me || seq == 0) {
		return nil, errNoSuchGift
	}
	if err != nil {
		return nil, fmt.Errorf("coupon: account: %w", err)
	}
	log, err := s.store.Find(store.PairKey(me, peer.ID))
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, errNoSuchGift
	}
	if err != nil {
		return nil, fmt.Errorf("coupon: conversation: %w", err)
	}
	rec, err := s.message(me, log.ID, seq)
	if err != nil {
		return nil, err
	}
	if rec == nil || rec.Sender != peer.ID {
		return nil, errNoSuchGift
	}
	of, err := view.ReadGift(rec.Extra)
	if err != nil {
		return nil, err
	}
	g, err := s.Open(ctx, me, of.ID)
	if store.CodeOf(err) != store.CodeNotFound {
		return g, err
	}
	p, err := s.channel(of.Channel)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, me, of.ID, &giftRow{From: peer.ID, Channel: p.info.ID, Campaign: of.Campaign, Log: log.ID, Seq: seq, Time: rec.Time})
}

// open opens a gift that the user may see.
func (s *Service) open(ctx context.Context, me store.AccountID, gift string, r *giftRow) (*Gift, error) {
	g, c, st, err := s.given(gift, r)
	if err != nil {
		return nil, err
	}
	if g.Status == Ready && st.Opened == 0 {
		now := s.now().UnixMilli()
		err := s.change(ctx, c, func(st *state) (change, error) {
			if st.Gift != gift || !st.away() || st.Opened != 0 {
				return change{}, errSettled
			}
			st.Opened = now
			return change{}, nil
		})
		if err != nil && !errors.Is(err, errSettled) {
			return nil, err
		}
		if err == nil {
			s.metrics.gifts.WithLabelValues(giftOpened).Inc()
		}
		if g, _, st, err = s.given(gift, r); err != nil {
			return nil, err
		}
	}
	if st.Gift == gift && st.Opened != 0 && r.Opened == 0 {
		r.Opened = st.Opened
		v, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("coupon: gift: %w", err)
		}
		if err := s.store.Update(ctx, store.Update{Owner: store.OwnerOf(me), Rows: []store.RowPut{
			{Table: tableGift, Key: gift, Value: v, Expires: c.campaign.expires()}}}); err != nil {
			return nil, fmt.Errorf("coupon: gift: %w", err)
		}
	}
	if g.Status == Ready {
		s.metrics.shown.Inc()
	}
	return g, nil
}

// given is how a gift stands.
func (s *Service) given(gift string, r *giftRow) (*Gift, *coupon, state, error) {
	campaign, err := s.campaign(r.Channel, r.Campaign)
	if err != nil {
		return nil, nil, state{}, err
	}
	info, err := s.store.Info(r.Channel)
	if err != nil {
		return nil, nil, state{}, fmt.Errorf("coupon: channel: %w", err)
	}
	c, err := s.coupon(r.Channel, campaign, r.From)
	if err != nil {
		return nil, nil, state{}, err
	}
	st, err := s.state(&c)
	if err != nil {
		return nil, nil, state{}, err
	}
	g := &Gift{ID: gift, Time: r.Time, Mine: Mine{Channel: info.Key.Name, Campaign: campaign}}
	switch from, err := s.store.Account(r.From); {
	case err == nil:
		g.From = from.Name
	case store.CodeOf(err) != store.CodeNotFound:
		return nil, nil, state{}, fmt.Errorf("coupon: account: %w", err)
	}
	if st.Gift != gift || !st.away() {
		g.Status = Back
		return g, &c, st, nil
	}
	g.Opened = st.Opened != 0
	return g, &c, st, s.reveal(&g.Mine, &c, st)
}

// visible reports whether the user may see a gift: it has opened it before, or it sees its message.
func (s *Service) visible(me store.AccountID, r *giftRow) (bool, error) {
	if r.Opened != 0 {
		return true, nil
	}
	rec, err := s.message(me, r.Log, r.Seq)
	return rec != nil, err
}

// message is a gift's message as the user sees it, nil if it does not.
func (s *Service) message(me store.AccountID, log store.LogID, seq store.Seq) (*store.Record, error) {
	page, err := s.store.Read(store.Query{Log: log, Viewer: me, After: seq - 1, Upto: seq, Max: 1})
	if store.CodeOf(err) == store.CodeTrimmed || store.CodeOf(err) == store.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("coupon: gift: %w", err)
	}
	if len(page.Records) == 0 || page.Records[0].Kind != store.KindGift || page.Records[0].Recalled {
		return nil, nil
	}
	return page.Records[0], nil
}

func decodeGift(row store.Row) (r giftRow, err error) {
	if err = json.Unmarshal(row.Value, &r); err != nil {
		err = fmt.Errorf("coupon: gift: %w", err)
	}
	return r, err
}
