package coupon

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Status is how a coupon is for who holds it.
type Status string

// The statuses.
const (
	Ready   Status = "ready"   // it can be shown
	Waiting Status = "waiting" // its time has not begun
	Spent   Status = "used"
	Over    Status = "expired" // the campaign has ended, or all its coupons are redeemed
	Given   Status = "given"   // it was given away
	Back    Status = "returned"
)

// Mine is a coupon as its holder sees it.
type Mine struct {
	Channel  string
	Campaign *Campaign
	Status   Status
	Code     string // in 26 characters, of one that is Ready; else ""
	Grouped  string // the code in groups, for people
}

// PostRef is a post of a channel, by which a follower shows that it may have a coupon.
type PostRef struct {
	Ads bool // in the channel's advertising, else its notices
	Seq store.Seq
}

var errNotFollowing = store.Forbidden("not_following", "the coupon is for who follows the channel")

// Show is the user's own coupon of a campaign. Claiming is nothing else: nothing is stored. It must follow the channel,
// and for a campaign with the audience OfPost it must be allowed to see the post that names the campaign; for everybody
// else there is no such coupon.
func (s *Service) Show(me store.AccountID, channel, campaign string, post PostRef) (Mine, error) {
	p, c, err := s.claim(me, channel, campaign, post)
	if err != nil {
		return Mine{}, err
	}
	own, err := s.coupon(p.info.ID, c, me)
	if err != nil {
		return Mine{}, err
	}
	m, err := s.mine(&p, &own)
	if err == nil && m.Status == Ready {
		s.metrics.shown.Inc()
	}
	return m, err
}

// claim finds a campaign whose coupon a user may have.
func (s *Service) claim(me store.AccountID, channel, campaign string, post PostRef) (p place, c *Campaign, err error) {
	if p, err = s.channel(channel); err != nil {
		return p, nil, err
	}
	if err = p.open(); err != nil {
		return p, nil, err
	}
	if c, err = s.campaign(p.info.ID, campaign); err != nil {
		return p, nil, err
	}
	f, err := s.graph.Follow(me, p.info.ID)
	if err != nil {
		return p, nil, err
	}
	follows := f.Follows() && f.Blocked == 0
	if c.Audience == OfPost {
		may := false
		if follows {
			if may, err = s.maySee(me, &p, c, post); err != nil {
				return p, nil, err
			}
		}
		if !may {
			return p, nil, errNoCampaign
		}
		return p, c, nil
	}
	if !follows {
		return p, nil, errNotFollowing
	}
	return p, c, nil
}

// maySee reports whether a post names the campaign and the user may see it.
func (s *Service) maySee(me store.AccountID, p *place, c *Campaign, post PostRef) (bool, error) {
	if s.cfg.MaySee == nil || post.Seq == 0 {
		return false, nil
	}
	info := p.info
	if post.Ads {
		var err error
		if info, err = s.store.Find(store.AdsKey(info.Key.Name)); store.CodeOf(err) == store.CodeNotFound {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("coupon: post: %w", err)
		}
	}
	page, err := s.store.Read(store.Query{Log: info.ID, After: post.Seq - 1, Upto: post.Seq, Max: 1})
	if store.CodeOf(err) == store.CodeTrimmed || err == nil && len(page.Records) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("coupon: post: %w", err)
	}
	r := page.Records[0]
	if r.Recalled {
		return false, nil
	}
	names, err := s.names(p.info.ID, r)
	if err != nil || names != c.ID {
		return false, err
	}
	return s.cfg.MaySee(me, info, r)
}

// mine is an own coupon that is not given away.
func (s *Service) mine(p *place, own *coupon) (Mine, error) {
	st, err := s.state(own)
	if err != nil {
		return Mine{}, err
	}
	m := Mine{Channel: p.info.Key.Name, Campaign: own.campaign}
	if st.away() {
		m.Status = Given
		return m, nil
	}
	return m, s.reveal(&m, own, st)
}

// reveal sets the status of a coupon in the hands of who asks, and its code if it can be shown.
func (s *Service) reveal(m *Mine, c *coupon, st state) error {
	now := s.now().UnixMilli()
	full, err := s.full(c.channel, c.campaign)
	if err != nil {
		return err
	}
	switch {
	case st.Redeemed != 0:
		m.Status = Spent
	case c.campaign.over(now), full:
		m.Status = Over
	case now < c.campaign.From:
		m.Status = Waiting
	default:
		n, err := numberOf(c.first, st.Generation)
		if err != nil {
			return err
		}
		m.Status, m.Code = Ready, c.sealer.seal(n).text()
		m.Grouped = grouped(m.Code)
	}
	return nil
}

// looked is how many channels one page of List looks at.
const looked = 200

// List lists the coupons that a user can show now, of the channels that it follows, at most max; campaigns for those a
// post is for are shown from the post alone. next is the after of the next page, "" if this is the last one. A page may be
// short, or empty, though others follow.
func (s *Service) List(me store.AccountID, after string, max int) (out []Mine, next string, err error) {
	channel, campaign, ok := listPlace(after)
	if !ok {
		return nil, "", store.Bad("after must be what the page before told as next")
	}
	if campaign != "" { // the channel in the middle of which the page before ended
		if out, next, err = s.listChannel(me, channel, campaign, out, max); err != nil || next != "" {
			return out, next, err
		}
	}
	channels, follows, err := s.graph.Follows(me, channel, looked)
	if err != nil {
		return nil, "", err
	}
	for i, ch := range channels {
		if !follows[i].Follows() || follows[i].Blocked != 0 {
			continue
		}
		if out, next, err = s.listChannel(me, ch, "", out, max); err != nil || next != "" {
			return out, next, err
		}
	}
	if len(channels) == looked {
		next = placeText(channels[looked-1], "")
	}
	return out, next, nil
}

// listChannel appends a channel's coupons after a campaign, until there are max. next is where it stopped, "" at the end.
func (s *Service) listChannel(me store.AccountID, channel store.LogID, after string, out []Mine, max int) (_ []Mine, next string, err error) {
	all, err := s.campaigns(channel, after, MaxCampaigns)
	if err != nil || len(all) == 0 {
		return out, "", err
	}
	info, err := s.store.Info(channel)
	if err != nil {
		return out, "", fmt.Errorf("coupon: channel: %w", err)
	}
	p, err := s.channel(info.Key.Name)
	if store.CodeOf(err) == store.CodeNotFound || err == nil && p.open() != nil {
		return out, "", nil
	}
	if err != nil {
		return out, "", err
	}
	for i, c := range all {
		if c.Audience != OfPost {
			own, err := s.coupon(channel, c, me)
			if err != nil {
				return out, "", err
			}
			m, err := s.mine(&p, &own)
			if err != nil {
				return out, "", err
			}
			if m.Status == Ready {
				out = append(out, m)
			}
		}
		if len(out) >= max && i < len(all)-1 {
			return out, placeText(channel, c.ID), nil
		}
	}
	if len(out) >= max {
		next = placeText(channel, "")
	}
	return out, next, nil
}

// placeText is where a page of List ended: a channel, and a campaign of it or "" after all of them.
func placeText(channel store.LogID, campaign string) string {
	return strconv.FormatUint(uint64(channel), 36) + "." + campaign
}

func listPlace(after string) (channel store.LogID, campaign string, ok bool) {
	if after == "" {
		return 0, "", true
	}
	number, campaign, ok := strings.Cut(after, ".")
	n, err := strconv.ParseUint(number, 36, 64)
	if _, valid := hooks.NormalName(campaign); campaign != "" && !valid {
		ok = false
	}
	return store.LogID(n), campaign, ok && err == nil && n != 0
}

// names is the campaign that a post of a channel names, "" if it names none.
func (s *Service) names(channel store.LogID, r *store.Record) (string, error) {
	post, err := s.graph.Post(channel, graph.PostID(r))
	if err != nil {
		return "", err
	}
	id, _ := hooks.NormalName(post.Campaign)
	return id, nil
}
