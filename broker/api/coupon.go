package api

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/hwangso/hwangso/broker/coupon"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

// couponOperations are those on coupons and gifts.
func couponOperations() []operation {
	brand := func(o operation) operation { return byKey(hooks.ScopeChannel, fieldChannel, o) }
	shop := func(o operation) operation { return byKey(hooks.ScopeRedeem, fieldChannel, brand(o)) }
	return []operation{
		brand(changing(exact(op("coupon.create", "Make a campaign of coupons", "By the channel's owner and editors. Asked again for the same, it returns the campaign as it is; another one under its identifier is a conflict. A campaign never changes but for its end, and is forgotten 90 days after it. Keys that it does not know are refused.", (*API).couponCreate)))),
		brand(changing(op("coupon.close", "End a campaign", "At once, by the channel's owner and editors. Codes are answered with expired from then on.", (*API).couponClose))),
		brand(op("coupon.campaigns", "List a channel's campaigns", "For its publishers, by identifier.", (*API).couponCampaigns)),
		brand(op("coupon.report", "See how much of a campaign was redeemed", "For the channel's publishers: whole days that have ended, in UTC, rounded like all numbers of a channel; null is too few, or nearly all.", (*API).couponReport)),
		shop(changing(op("coupon.redeem", "Redeem a code", "By the channel's publishers and by shops' keys. valid is answered once, and again to the same request identifier, so that a till that lost the answer repeats the request. Who shows the code is never told. Too many wrong codes are 429 for the key and for the address.", (*API).couponRedeem))),
		shop(changing(op("coupon.unredeem", "Take a redemption back", "By the key that redeemed the code, within 10 minutes. The code is good again.", (*API).couponUnredeem))),
		op("coupon.show", "Show the own coupon", "Of a campaign of a channel that the asking user follows. This is all there is to claiming it. The code is made when it is shown and stored nowhere.", (*API).couponShow),
		op("coupon.list", "List the own coupons", "Those that can be shown now, of the channels that the asking user follows. Coupons for those who got a post are shown from the post alone.", (*API).couponList),
		changing(op("gift.send", "Give a coupon away", "The asking user's own coupon, to another user, by a message of kind gift in their conversation: the rules for messages decide. The giver's code is dead at once. What is not opened within 30 days is the giver's again. A gift cannot be given on.", (*API).giftSend)),
		op("gift.list", "List received gifts", "The newest first, without codes.", (*API).giftList),
		op("gift.sent", "List sent gifts", "The newest first. A gift is given or returned; whether it was seen, opened or used is not told.", (*API).giftSent),
		op("gift.show", "Open a gift", "And show its code. Once it is opened it does not go back.", (*API).giftShow),
	}
}

const fieldChannel = "channel"

// newCoupons makes the service of coupons. Without phone numbers there is no secret that outlives the process, and with
// it end the codes that were shown.
func (a *API) newCoupons() (err error) {
	var key *phone.Key
	if a.cfg.Phones != nil {
		key = a.cfg.Phones.Key()
	} else {
		var random [32]byte
		rand.Read(random[:]) // never fails: crypto/rand aborts the program instead
		key = phone.NewKey(random)
	}
	secret := func(purpose, text string) [32]byte { return key.Sum(purpose, text) }
	a.coupons, err = coupon.New(coupon.Config{
		Store: a.store, Graph: a.graph, Secret: secret, Send: a.broker.SendContent, MaySee: a.maySee, Round: a.roundOf,
		Limits: a.broker.Limits(), Registerer: a.cfg.Registerer, Now: a.now,
	})
	return err
}

// roundOf is what a brand is told of a number of its followers.
func (a *API) roundOf(channel store.LogID, n int) (*int, error) {
	if a.numbers == nil {
		return nil, nil
	}
	return a.numbers.Of(channel, n)
}

// maySee reports whether a follower is one of those whom a post is for. Advertising that waits for the morning is for it
// too: it may have come the evening before.
func (a *API) maySee(me store.AccountID, log store.LogInfo, post *store.Record) (bool, error) {
	f, err := a.broker.Access().Follower(me, log)
	if err != nil {
		return false, err
	}
	o, _, err := f.Outcome(post)
	return o == policy.Deliver || o == policy.DeliverNoPush || o == policy.Defer, err
}

// Campaign is what names a campaign.
type Campaign struct {
	Channel  string `json:"channel" doc:"The channel's identifier."`
	Campaign string `json:"campaign" doc:"The campaign's identifier within the channel."`
}

type couponCreateIn struct {
	Campaign
	Title   string     `json:"title" doc:"What the coupon is for, in one line of at most 200 bytes."`
	Note    string     `json:"note,omitempty" doc:"For the shop, told with valid codes; at most 1,000 bytes."`
	From    *time.Time `json:"from,omitempty" doc:"Absent: now."`
	Until   time.Time  `json:"until" doc:"At most a year after it begins."`
	Most    int        `json:"most,omitempty" doc:"Redeemed at most so often, exactly; absent: no limit."`
	For     string     `json:"for,omitempty" doc:"\"post\": only who may see a post that names the campaign; absent: every follower."`
	NoGifts bool       `json:"no_gifts,omitempty" doc:"The coupon cannot be given away."`
}

type campaignOut struct {
	Campaign string     `json:"campaign"`
	Title    string     `json:"title"`
	Note     string     `json:"note,omitempty" doc:"For the shop."`
	From     time.Time  `json:"from"`
	Until    time.Time  `json:"until"`
	Most     int        `json:"most,omitempty"`
	For      string     `json:"for,omitempty"`
	NoGifts  bool       `json:"no_gifts,omitempty"`
	Created  time.Time  `json:"created"`
	Closed   *time.Time `json:"closed,omitempty" doc:"When it was ended before its time."`
}

func campaignAnswer(c *coupon.Campaign) campaignOut {
	return campaignOut{c.ID, c.Title, c.Note, *at(c.From), *at(c.Until), c.Most, string(c.Audience), c.NoGifts, *at(c.Created), at(c.Closed)}
}

func (a *API) couponCreate(ctx context.Context, c *caller, in *couponCreateIn) (*campaignOut, error) {
	ask := coupon.Campaign{ID: in.Campaign.Campaign, Title: in.Title, Note: in.Note, Most: in.Most, Audience: coupon.Audience(in.For), NoGifts: in.NoGifts}
	if in.From != nil {
		ask.From = in.From.UnixMilli()
	}
	if !in.Until.IsZero() {
		ask.Until = in.Until.UnixMilli()
	}
	out, err := a.coupons.Create(ctx, c.account.ID, in.Channel, ask)
	if err != nil {
		return nil, err
	}
	answer := campaignAnswer(out)
	return &answer, nil
}

func (a *API) couponClose(ctx context.Context, c *caller, in *Campaign) (*campaignOut, error) {
	out, err := a.coupons.Close(ctx, c.account.ID, in.Channel, in.Campaign)
	if err != nil {
		return nil, err
	}
	answer := campaignAnswer(out)
	return &answer, nil
}

type couponCampaignsIn struct {
	Channel string `json:"channel" doc:"The channel's identifier."`
	After   string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit   int    `json:"limit,omitempty" doc:"Campaigns of a page; absent: 50."`
}

type couponCampaignsOut struct {
	Campaigns []campaignOut `json:"campaigns"`
	Next      string        `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) couponCampaigns(_ context.Context, c *caller, in *couponCampaignsIn) (*couponCampaignsOut, error) {
	limit, err := a.page(in.Limit, 50)
	if err != nil {
		return nil, err
	}
	list, err := a.coupons.Campaigns(c.account.ID, in.Channel, in.After, limit+1)
	if err != nil {
		return nil, err
	}
	out := &couponCampaignsOut{Campaigns: []campaignOut{}}
	for i, one := range list {
		if i == limit {
			out.Next = list[i-1].ID
			break
		}
		out.Campaigns = append(out.Campaigns, campaignAnswer(one))
	}
	return out, nil
}

type couponReportOut struct {
	Title    string      `json:"title"`
	Upto     string      `json:"upto" doc:"The last day that is counted."`
	Redeemed *int        `json:"redeemed" doc:"Until then; null: not told."`
	Days     []couponDay `json:"days" doc:"Days on which anything was redeemed."`
}

type couponDay struct {
	Day      string `json:"day" doc:"Such as 2026-01-31, in UTC."`
	Redeemed *int   `json:"redeemed" doc:"Null: not told."`
}

func (a *API) couponReport(_ context.Context, c *caller, in *Campaign) (*couponReportOut, error) {
	r, err := a.coupons.Report(c.account.ID, in.Channel, in.Campaign)
	if err != nil {
		return nil, err
	}
	out := &couponReportOut{Title: r.Campaign.Title, Upto: r.Upto, Redeemed: r.Redeemed, Days: []couponDay{}}
	for _, d := range r.Days {
		out.Days = append(out.Days, couponDay{d.Day, d.Redeemed})
	}
	return out, nil
}

type couponRedeemIn struct {
	Channel  string `json:"channel" doc:"The channel's identifier."`
	Coupon   string `json:"coupon" doc:"The code as typed or scanned: case, spaces and hyphens do not count, O is 0, I and L are 1, U is V."`
	Campaign string `json:"campaign,omitempty" doc:"Only this one; absent: whichever of the channel's."`
}

func (in *couponRedeemIn) presented(c *caller) coupon.Presented {
	return coupon.Presented{Channel: in.Channel, Campaign: in.Campaign, Code: in.Coupon, Request: c.rid}
}

type couponRedeemOut struct {
	Answer   string `json:"answer" doc:"valid, used, expired or unknown."`
	Campaign string `json:"campaign,omitempty" doc:"Absent with unknown."`
	Title    string `json:"title,omitempty"`
	Note     string `json:"note,omitempty" doc:"With valid."`
}

func (a *API) couponRedeem(ctx context.Context, c *caller, in *couponRedeemIn) (*couponRedeemOut, error) {
	r, err := a.coupons.Redeem(ctx, c.id, in.presented(c))
	if err != nil {
		return nil, err
	}
	out := &couponRedeemOut{Answer: string(r.Answer)}
	if r.Campaign != nil {
		out.Campaign, out.Title = r.Campaign.ID, r.Campaign.Title
	}
	if r.Answer == coupon.Valid {
		out.Note = r.Campaign.Note
	}
	return out, nil
}

type couponUnredeemOut struct {
	Campaign string `json:"campaign"`
	Title    string `json:"title"`
}

func (a *API) couponUnredeem(ctx context.Context, c *caller, in *couponRedeemIn) (*couponUnredeemOut, error) {
	out, err := a.coupons.Undo(ctx, c.id, in.presented(c))
	if err != nil {
		return nil, err
	}
	return &couponUnredeemOut{out.ID, out.Title}, nil
}

type couponShowIn struct {
	Campaign
	Seq store.Seq `json:"seq,omitempty" doc:"The sequence of the post that names the campaign; needed for a campaign for those who got a post."`
	Ads bool      `json:"ads,omitempty" doc:"The post is advertising."`
}

type couponOut struct {
	Channel  string    `json:"channel"`
	Campaign string    `json:"campaign"`
	Title    string    `json:"title"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Status   string    `json:"status" doc:"ready, waiting (its time has not begun), used, expired, given or returned."`
	Coupon   string    `json:"coupon,omitempty" doc:"The code in 26 characters, as for a barcode; only with ready."`
	Grouped  string    `json:"grouped,omitempty" doc:"The code in groups, as people read it."`
}

func couponAnswer(m *coupon.Mine) couponOut {
	return couponOut{m.Channel, m.Campaign.ID, m.Campaign.Title, *at(m.Campaign.From), *at(m.Campaign.Until), string(m.Status), m.Code, m.Grouped}
}

func (a *API) couponShow(_ context.Context, c *caller, in *couponShowIn) (*couponOut, error) {
	m, err := a.coupons.Show(c.account.ID, in.Channel, in.Campaign.Campaign, coupon.PostRef{Ads: in.Ads, Seq: in.Seq})
	if err != nil {
		return nil, err
	}
	out := couponAnswer(&m)
	return &out, nil
}

type couponListIn struct {
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Coupons of a page; absent: 50."`
}

type couponListOut struct {
	Coupons []couponOut `json:"coupons"`
	Next    string      `json:"next,omitempty" doc:"The after of the next page; absent: this was the last. A page may be short though there are more."`
}

func (a *API) couponList(_ context.Context, c *caller, in *couponListIn) (*couponListOut, error) {
	limit, err := a.page(in.Limit, 50)
	if err != nil {
		return nil, err
	}
	list, next, err := a.coupons.List(c.account.ID, in.After, limit)
	if err != nil {
		return nil, err
	}
	out := &couponListOut{Coupons: []couponOut{}, Next: next}
	for i := range list {
		out.Coupons = append(out.Coupons, couponAnswer(&list[i]))
	}
	return out, nil
}

type giftSendIn struct {
	couponShowIn
	User string `json:"user" doc:"Who gets it."`
	CID  string `json:"cid,omitempty" doc:"As in message.send: a repeat makes no second gift."`
}

type sentGiftOut struct {
	Gift     string    `json:"gift" doc:"The gift's identifier."`
	User     string    `json:"user" doc:"Who got it."`
	Channel  string    `json:"channel"`
	Campaign string    `json:"campaign"`
	Title    string    `json:"title"`
	Time     time.Time `json:"time"`
	Status   string    `json:"status" doc:"given or returned."`
}

func sentGift(s *coupon.Sent) sentGiftOut {
	return sentGiftOut{s.Gift, s.To, s.Channel, s.Campaign.ID, s.Campaign.Title, *at(s.Time), string(s.Status)}
}

func (a *API) giftSend(ctx context.Context, c *caller, in *giftSendIn) (*sentGiftOut, error) {
	cid := in.CID
	if cid == "" {
		cid = ownCID(c.rid)
	}
	s, err := a.coupons.Give(ctx, c.id, coupon.Giving{To: in.User, Channel: in.Channel, Campaign: in.Campaign.Campaign,
		Post: coupon.PostRef{Ads: in.Ads, Seq: in.Seq}, CID: cid})
	if err != nil {
		return nil, err
	}
	out := sentGift(s)
	return &out, nil
}

type giftSentOut struct {
	Gifts []sentGiftOut `json:"gifts"`
}

func (a *API) giftSent(ctx context.Context, c *caller, _ *none) (*giftSentOut, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience) // it may go on with a gift
	defer cancel()
	list, err := a.coupons.SentGifts(ctx, c.id)
	if err != nil {
		return nil, err
	}
	out := &giftSentOut{Gifts: []sentGiftOut{}}
	for _, s := range list {
		out.Gifts = append(out.Gifts, sentGift(s))
	}
	return out, nil
}

type giftOut struct {
	Gift   string    `json:"gift" doc:"The gift's identifier."`
	User   string    `json:"user,omitempty" doc:"Who gave it; absent if the account is gone."`
	Time   time.Time `json:"time"`
	Opened bool      `json:"opened,omitempty"`
	couponOut
}

func giftAnswer(g *coupon.Gift) giftOut {
	return giftOut{g.ID, g.From, *at(g.Time), g.Opened, couponAnswer(&g.Mine)}
}

type giftListOut struct {
	Gifts []giftOut `json:"gifts"`
}

func (a *API) giftList(_ context.Context, c *caller, _ *none) (*giftListOut, error) {
	list, err := a.coupons.Gifts(c.account.ID)
	if err != nil {
		return nil, err
	}
	out := &giftListOut{Gifts: []giftOut{}}
	for _, g := range list {
		out.Gifts = append(out.Gifts, giftAnswer(g))
	}
	return out, nil
}

type giftShowIn struct {
	Gift string    `json:"gift,omitempty" doc:"The gift's identifier, as gift.list and the message tell it; or"`
	User string    `json:"user,omitempty" doc:"who gave it, and"`
	Seq  store.Seq `json:"seq,omitempty" doc:"the sequence of its message in the conversation."`
}

func (a *API) giftShow(ctx context.Context, c *caller, in *giftShowIn) (*giftOut, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var g *coupon.Gift
	var err error
	switch {
	case in.Gift != "" && in.User == "" && in.Seq == 0:
		g, err = a.coupons.Open(ctx, c.account.ID, in.Gift)
	case in.Gift == "" && in.User != "" && in.Seq != 0:
		g, err = a.coupons.OpenMessage(ctx, c.account.ID, in.User, in.Seq)
	default:
		return nil, store.Bad("name the gift, or user and seq of its message")
	}
	if err != nil {
		return nil, err
	}
	out := giftAnswer(g)
	return &out, nil
}
