package coupon

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

const tableCampaign store.Table = "channel.campaign" // owner: the channel's number; key: the campaign's identifier

// Limits of campaigns.
const (
	MaxCampaigns = 500 // of a channel, that are not gone
	MaxTitle     = 200 // bytes
	MaxNote      = 1000
	MaxMost      = 100_000_000
	longest      = 366 * 24 * time.Hour

	// Kept is how long after its end a campaign, and what was redeemed of it, is remembered.
	Kept = 90 * 24 * time.Hour
)

// Audience says who may show a campaign's coupon.
type Audience string

// The audiences.
const (
	Followers Audience = ""     // who follows the channel
	OfPost    Audience = "post" // of them, who may see the post that names the campaign
)

// Campaign is a coupon that a channel gives to its followers. It never changes, but for its end.
type Campaign struct {
	ID       string   `json:"-"`
	Title    string   `json:"title"`
	Note     string   `json:"note,omitempty"` // for the shop
	From     int64    `json:"from"`           // Unix milliseconds
	Until    int64    `json:"until"`          // Unix milliseconds, exclusive
	Most     int      `json:"most,omitempty"` // redeemed at most, 0: no limit
	Audience Audience `json:"audience,omitempty"`
	NoGifts  bool     `json:"no_gifts,omitempty"` // it cannot be given away
	Created  int64    `json:"created"`            // Unix milliseconds
	Closed   int64    `json:"closed,omitempty"`   // Unix milliseconds since when nothing more is redeemed, 0: it is open
}

// over reports whether the campaign has ended.
func (c *Campaign) over(now int64) bool { return c.Closed != 0 || now >= c.Until }

// expires is when everything of the campaign is forgotten, in Unix milliseconds.
func (c *Campaign) expires() int64 { return c.Until + Kept.Milliseconds() }

// same reports whether two campaigns were asked for alike.
func (c Campaign) same(other Campaign) bool {
	c.Created, c.Closed, other.Created, other.Closed = 0, 0, 0, 0
	return c == other
}

func (c *Campaign) check(now time.Time) error {
	id, ok := hooks.NormalName(c.ID)
	if !ok {
		return store.Bad("campaign must be 1 to " + strconv.Itoa(hooks.MaxName) + " characters of A-Z a-z 0-9 . _ ~ -")
	}
	c.ID = id
	if c.From == 0 {
		c.From = now.UnixMilli()
	}
	switch {
	case c.Title == "":
		return store.Bad("title is missing")
	case len(c.Title) > MaxTitle || !printable(c.Title):
		return store.Bad("title must be one line of at most " + strconv.Itoa(MaxTitle) + " bytes")
	case len(c.Note) > MaxNote || !printable(c.Note):
		return store.Bad("note must be one line of at most " + strconv.Itoa(MaxNote) + " bytes")
	case c.Until == 0:
		return store.Bad("until is missing")
	case c.Until <= now.UnixMilli():
		return store.Bad("until must lie in the future")
	case c.Until <= c.From:
		return store.Bad("until must be after from")
	case c.From > now.Add(longest).UnixMilli() || c.Until-c.From > longest.Milliseconds():
		return store.Bad("a campaign begins within a year and is at most a year long")
	case c.Most < 0 || c.Most > MaxMost:
		return store.Bad("most must be 1 to " + strconv.Itoa(MaxMost) + ", or absent")
	case c.Audience != Followers && c.Audience != OfPost:
		return store.Bad(`audience must be "post", or absent`)
	}
	return nil
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 {
			return false
		}
	}
	return true
}

var (
	errNoChannel  = &store.Error{Code: store.CodeNotFound, Text: "there is no such channel"}
	errNoCampaign = &store.Error{Code: store.CodeNotFound, Text: "there is no such coupon"}
)

// place is a channel as the service finds it.
type place struct {
	info  store.LogInfo
	state policy.ChannelState
}

func (s *Service) channel(name string) (p place, err error) {
	name, ok := hooks.NormalName(name)
	if !ok {
		return p, store.Bad("channel must be a channel's identifier")
	}
	if p.info, err = s.store.Find(store.ChannelKey(name)); store.CodeOf(err) == store.CodeNotFound {
		return p, errNoChannel
	} else if err != nil {
		return p, fmt.Errorf("coupon: channel: %w", err)
	}
	set, err := s.graph.Channel(p.info.ID)
	if err != nil {
		return p, err
	}
	if !set.Exists() {
		return p, errNoChannel
	}
	p.state = set.State()
	return p, nil
}

// open refuses a channel that the operator has suspended.
func (p *place) open() error {
	if p.state == policy.ChannelSuspended {
		return store.Forbidden(store.ReasonChannelSuspended, "the channel is suspended")
	}
	return nil
}

// publishes refuses who has not this role among the channel's publishers.
func (p *place) publishes(me store.AccountID, least store.Role) error {
	switch role := p.info.Members.Role(me); {
	case role == store.RoleNone:
		return store.Forbidden(store.ReasonNotPublisher, "only the channel's publishers may do this")
	case role < least:
		return store.ErrRole
	}
	return nil
}

// Create makes a campaign of a channel; its owner and editors may. A repetition that asks for the same returns the
// campaign as it is; another one under the same identifier is CodeConflict. CodeFull: the channel has MaxCampaigns.
func (s *Service) Create(ctx context.Context, me store.AccountID, channel string, c Campaign) (*Campaign, error) {
	p, err := s.channel(channel)
	if err != nil {
		return nil, err
	}
	if err := p.publishes(me, store.RoleModerator); err != nil {
		return nil, err
	}
	now, begins := s.now(), c.From
	c.Created, c.Closed = now.UnixMilli(), 0
	if err := c.check(now); err != nil {
		return nil, err
	}
	there := func() (*Campaign, error) {
		old, err := s.campaign(p.info.ID, c.ID)
		if err != nil {
			return nil, err
		}
		want := c
		if begins == 0 {
			want.From = old.From
		}
		if !want.same(*old) {
			return nil, &store.Error{Code: store.CodeConflict, Text: "the channel has another campaign with this identifier"}
		}
		return old, nil
	}
	if old, err := there(); store.CodeOf(err) != store.CodeNotFound {
		return old, err
	}
	if err := p.open(); err != nil {
		return nil, err
	}
	all, err := s.store.Rows(tableCampaign, store.OwnerOfLog(p.info.ID), "", "", MaxCampaigns)
	if err != nil {
		return nil, fmt.Errorf("coupon: campaigns: %w", err)
	}
	if len(all) == MaxCampaigns {
		return nil, &store.Error{Code: store.CodeFull, Reason: "campaigns", Text: "the channel has all the campaigns it may have: the limit is " + strconv.Itoa(MaxCampaigns)}
	}
	switch err := s.putCampaign(ctx, p.info.ID, &c, 0); {
	case store.CodeOf(err) == store.CodeConflict: // somebody else made it at the same moment
		return there()
	case err != nil:
		return nil, err
	}
	return &c, nil
}

func (s *Service) putCampaign(ctx context.Context, channel store.LogID, c *Campaign, version uint64) error {
	v, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("coupon: campaign: %w", err)
	}
	err = s.store.Update(ctx, store.Update{Owner: store.OwnerOfLog(channel), Rows: []store.RowPut{
		{Table: tableCampaign, Key: c.ID, Value: v, Expires: c.expires(), If: &version}}})
	if err != nil {
		return fmt.Errorf("coupon: campaign: %w", err)
	}
	return nil
}

// Close ends a campaign at once; the channel's owner and editors may. One that has ended stays as it is.
func (s *Service) Close(ctx context.Context, me store.AccountID, channel, id string) (*Campaign, error) {
	p, err := s.channel(channel)
	if err != nil {
		return nil, err
	}
	if err := p.publishes(me, store.RoleModerator); err != nil {
		return nil, err
	}
	for {
		row, err := s.campaignRow(p.info.ID, id)
		if err != nil {
			return nil, err
		}
		c, err := decodeCampaign(row)
		if err != nil || c.Closed != 0 {
			return c, err
		}
		c.Closed = s.now().UnixMilli()
		err = s.putCampaign(ctx, p.info.ID, c, row.Version)
		if store.CodeOf(err) != store.CodeConflict {
			return c, err
		}
	}
}

// Campaigns lists a channel's campaigns by identifier, after the given one, at most max, for its publishers.
func (s *Service) Campaigns(me store.AccountID, channel, after string, max int) ([]*Campaign, error) {
	p, err := s.channel(channel)
	if err != nil {
		return nil, err
	}
	if err := p.publishes(me, store.RoleMember); err != nil {
		return nil, err
	}
	return s.campaigns(p.info.ID, after, max)
}

// Campaign is a channel's campaign, CodeNotFound if there is none.
func (s *Service) Campaign(channel, id string) (*Campaign, error) {
	p, err := s.channel(channel)
	if err != nil {
		return nil, err
	}
	return s.campaign(p.info.ID, id)
}

func (s *Service) campaigns(channel store.LogID, after string, max int) ([]*Campaign, error) {
	rows, err := s.store.Rows(tableCampaign, store.OwnerOfLog(channel), "", after, max)
	if err != nil {
		return nil, fmt.Errorf("coupon: campaigns: %w", err)
	}
	out := make([]*Campaign, 0, len(rows))
	for _, r := range rows {
		c, err := decodeCampaign(r)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (s *Service) campaignRow(channel store.LogID, id string) (store.Row, error) {
	id, ok := hooks.NormalName(id)
	if !ok {
		return store.Row{}, errNoCampaign
	}
	row, err := s.store.Row(tableCampaign, store.OwnerOfLog(channel), id)
	if err != nil {
		return row, fmt.Errorf("coupon: campaign: %w", err)
	}
	if row.Version == 0 {
		return row, errNoCampaign
	}
	return row, nil
}

func (s *Service) campaign(channel store.LogID, id string) (*Campaign, error) {
	row, err := s.campaignRow(channel, id)
	if err != nil {
		return nil, err
	}
	return decodeCampaign(row)
}

func decodeCampaign(r store.Row) (*Campaign, error) {
	c := new(Campaign)
	if err := json.Unmarshal(r.Value, c); err != nil {
		return nil, fmt.Errorf("coupon: campaign: %w", err)
	}
	c.ID = r.Key
	return c, nil
}

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
