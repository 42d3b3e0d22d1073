package coupon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// Answer is what a shop learns of a code.
type Answer string

// The answers.
const (
	Valid   Answer = "valid"   // it is redeemed now, by this request
	Used    Answer = "used"    // it was redeemed before, or is not its holder's any more
	Expired Answer = "expired" // the campaign has ended, or all its coupons are redeemed
	Unknown Answer = "unknown" // no campaign of the channel made it
)

// repeated is Valid for a request that is asked again, in metrics.
const repeated = "repeated"

// UndoTime is for how long a shop can take back what it redeemed.
const UndoTime = 10 * time.Minute

// Presented is a code at a till.
type Presented struct {
	Channel  string
	Campaign string // "": whichever of the channel's
	Code     string // as typed or scanned
	Request  string // the request's identifier: a repetition gets the first answer; "": it has none
}

// Redeemed is what a shop learns.
type Redeemed struct {
	Answer   Answer
	Campaign *Campaign // nil for Unknown
}

// Redeem redeems a code for a publisher of the channel, or for a key of the shop or the channel that a publisher made. Of requests at the
// same time, and whatever ends in between, one is Valid, and its repetitions are. CodeTooMany: too many wrong codes.
// After CodeUnavailable and CodeUnknown the same request is to be repeated.
func (s *Service) Redeem(ctx context.Context, till hooks.Identity, p Presented) (Redeemed, error) {
	c, err := s.presented(till, p)
	if err != nil {
		return Redeemed{}, err
	}
	if c == nil {
		s.metrics.redeemed.WithLabelValues(string(Unknown)).Inc()
		return Redeemed{Answer: Unknown}, nil
	}
	out := Redeemed{Campaign: c.campaign}
	request, shop := marks(till, p.Request)
	again := false
	err = s.change(ctx, &c.coupon, func(st *state) (change, error) {
		now := s.now().UnixMilli()
		again = st.Redeemed != 0 && st.Generation == c.generation && request != nil && bytes.Equal(st.By, request)
		switch {
		case again:
			out.Answer = Valid
		case st.Redeemed != 0, st.Generation != c.generation, st.away() && st.Opened == 0:
			out.Answer = Used
		case c.campaign.over(now), now < c.campaign.From:
			out.Answer = Expired
		default:
			out.Answer = Valid
			st.Redeemed, st.By, st.Shop = now, request, shop
			return change{counts: 1, day: dayOf(now)}, nil
		}
		return change{}, errSettled
	})
	switch {
	case errors.Is(err, errLimit):
		out.Answer = Expired
	case err != nil && !errors.Is(err, errSettled):
		return Redeemed{}, err
	}
	label := string(out.Answer)
	if again {
		label = repeated
	}
	s.metrics.redeemed.WithLabelValues(label).Inc()
	return out, nil
}

// errSettled ends a change that has nothing to change.
var errSettled = errors.New("coupon: nothing to change")

// Undo takes a redemption back: by whoever redeemed it, within UndoTime. The code is good again. CodeConflict: it was not
// redeemed by this shop, or too long ago.
func (s *Service) Undo(ctx context.Context, till hooks.Identity, p Presented) (*Campaign, error) {
	c, err := s.presented(till, p)
	if err != nil {
		return nil, err
	}
	refused := &store.Error{Code: store.CodeConflict, Reason: "not_redeemed", Text: "this shop has not redeemed the code within the last minutes"}
	if c == nil {
		return nil, refused
	}
	_, shop := marks(till, "")
	err = s.change(ctx, &c.coupon, func(st *state) (change, error) {
		if st.Redeemed == 0 || st.Generation != c.generation || !bytes.Equal(st.Shop, shop) ||
			s.now().UnixMilli()-st.Redeemed > UndoTime.Milliseconds() {
			return change{}, refused
		}
		day := dayOf(st.Redeemed)
		st.Redeemed, st.By, st.Shop = 0, nil, nil
		return change{counts: -1, day: day}, nil
	})
	if err != nil {
		return nil, err
	}
	s.metrics.undone.Inc()
	return c.campaign, nil
}

// shown is a code that a campaign has made.
type shown struct {
	coupon
	generation uint8
}

// presented reads a code; nil if none of the campaigns made it.
func (s *Service) presented(till hooks.Identity, p Presented) (*shown, error) {
	place, err := s.channel(p.Channel)
	if err != nil {
		return nil, err
	}
	if err := mayRedeem(till, &place); err != nil {
		return nil, err
	}
	_, shop := marks(till, "")
	key := [16]byte(shop)
	if err := s.cfg.Limits.MayTry(key, till.Address); err != nil {
		return nil, err
	}
	if p.Code == "" {
		return nil, store.Bad("coupon is missing")
	}
	var campaigns []*Campaign
	if p.Campaign != "" {
		c, err := s.campaign(place.info.ID, p.Campaign)
		if err != nil {
			return nil, err
		}
		campaigns = []*Campaign{c}
	} else if campaigns, err = s.campaigns(place.info.ID, "", MaxCampaigns); err != nil {
		return nil, err
	}
	if entered, ok := parseCode(p.Code); ok {
		for _, c := range campaigns {
			k, err := s.sealer(place.info.ID, c)
			if err != nil {
				return nil, err
			}
			if n, ok := k.open(entered); ok && n.account() != 0 {
				return &shown{coupon{place.info.ID, c, k, n.account()}, n.generation()}, nil
			}
		}
	}
	s.cfg.Limits.Wrong(key, till.Address)
	return nil, nil
}

// mayRedeem refuses who is no publisher of the channel. A key ends when who made it
// is no publisher any more.
func mayRedeem(till hooks.Identity, p *place) error {
	if err := p.publishes(till.Account, store.RoleMember); err != nil {
		return err
	}
	if name := p.info.Key.Name; till.Key() && !till.Opens(hooks.ScopeRedeem, name) && !till.Opens(hooks.ScopeChannel, name) {
		return hooks.ErrKey()
	}
	return p.open()
}

// marks are what is kept of who redeems: a hash of the request, nil if it has no identifier, and one of the shop's key.
func marks(till hooks.Identity, rid string) (request, shop []byte) {
	h := sha256.New()
	h.Write([]byte("shop"))
	if till.Token != ([32]byte{}) {
		h.Write(till.Token[:])
	} else {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(till.Account)))
	}
	shop = h.Sum(nil)[:16]
	if rid == "" {
		return nil, shop
	}
	sum := sha256.Sum256(append(slices.Clone(shop), rid...))
	return sum[:16], shop
}
