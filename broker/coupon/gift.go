package coupon

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

const (
	tableSent store.Table = "user.gift.sent" // key: the gift's identifier
	tableGift store.Table = "user.gift"      // key: the gift's identifier
)

// A gift is made in five steps, each durable before the next, and each may find itself done already:
//
//  1. what the giver wants, under an identifier that comes from the message's cid (user.gift.sent)
//  2. the coupon is away: the giver's code is dead from here on (channel.coupon)
//  3. the message, under the cid: the rules decide, and who may see it is written into it
//  4. the receiver's list (user.gift), also of a message that the receiver never sees: it shows only what it may see
//  5. the giver's row says that all of it is done
//
// A repetition with the same cid goes on where a crash cut it short, and so does the giver's next look at its gifts. If
// the rules refuse the message, the coupon goes back and nothing is left. A coupon whose message never came comes back
// like one that nobody opened.

// sentRow is what a giver wants, and whether it is done.
type sentRow struct {
	To       string         `json:"to"`
	Channel  store.LogID    `json:"channel"`
	Campaign string         `json:"campaign"`
	CID      string         `json:"cid"`
	Device   store.DeviceID `json:"device,omitempty"` // which sent it: the store knows repetitions by it
	Time     int64          `json:"t"`                // Unix milliseconds
	Done     bool           `json:"done,omitempty"`
}

// giftRow is what a receiver was given.
type giftRow struct {
	From     store.AccountID `json:"from"`
	Channel  store.LogID     `json:"channel"`
	Campaign string          `json:"campaign"`
	Log      store.LogID     `json:"log"`
	Seq      store.Seq       `json:"seq"`
	Time     int64           `json:"t"` // Unix milliseconds
	Opened   int64           `json:"opened,omitempty"`
}

// Giving is a gift to be made: the giver's own coupon to another user.
type Giving struct {
	To       string // the receiver's identifier
	Channel  string
	Campaign string
	Post     PostRef // as in Show
	CID      string  // of its message; a repetition with the same makes no second gift
}

// Sent is a gift as its giver sees it: Given, or Back. Whether it was seen, opened or used, nobody tells it.
type Sent struct {
	Gift     string
	To       string
	Channel  string
	Campaign *Campaign
	Time     int64 // Unix milliseconds
	Status   Status
}

var (
	errGiftCID    = &store.Error{Code: store.CodeConflict, Text: "this cid was used for another gift: choose a new one"}
	errGiven      = &store.Error{Code: store.CodeConflict, Reason: "given", Text: "the coupon is given away"}
	errSpent      = &store.Error{Code: store.CodeConflict, Reason: "used", Text: "the coupon is used"}
	errOver       = &store.Error{Code: store.CodeConflict, Reason: "expired", Text: "the coupon cannot be used any more, or not yet"}
	errNoGifts    = store.Forbidden("no_gifts", "this coupon cannot be given away")
	errManyGifts  = &store.Error{Code: store.CodeConflict, Reason: "given", Text: "this coupon has come back too often"}
	errNoSuchGift = &store.Error{Code: store.CodeNotFound, Text: "there is no such gift"}
)

// Give gives the user's own coupon to another one, by a message of kind gift in their conversation: the rules for messages
// decide. The giver's code is dead at once. A gift cannot be given on. CodeConflict: the coupon is not there to be given.
func (s *Service) Give(ctx context.Context, id hooks.Identity, g Giving) (*Sent, error) {
	if s.cfg.Send == nil {
		return nil, errNoGifts
	}
	to, ok := hooks.NormalName(g.To)
	switch {
	case !ok:
		return nil, store.Bad("user must be a user's identifier")
	case to == id.Name:
		return nil, store.Bad("the coupon is yours already")
	case g.CID == "":
		g.CID = "gift-" + strings.ToLower(rand.Text())
	case !hooks.ValidCID(g.CID):
		return nil, store.Bad("cid must be 1 to " + strconv.Itoa(hooks.MaxCID) + " characters of A-Z a-z 0-9 . _ ~ -")
	}
	p, err := s.channel(g.Channel)
	if err != nil {
		return nil, err
	}
	gift := s.giftID(id.Account, g.CID)
	want := sentRow{To: to, Channel: p.info.ID, CID: g.CID, Device: id.Device, Time: s.now().UnixMilli()}
	want.Campaign, _ = hooks.NormalName(g.Campaign)
	have, version, err := s.sentRow(id.Account, gift)
	if err != nil {
		return nil, err
	}
	if version != 0 { // a repetition, whatever has become of the campaign since
		if have.To != want.To || have.Channel != want.Channel || have.Campaign != want.Campaign {
			return nil, errGiftCID
		}
		c, err := s.campaign(p.info.ID, have.Campaign)
		if err != nil {
			return nil, err
		}
		if !have.Done {
			if err := s.finish(ctx, id, gift, have, c); err != nil {
				return nil, err
			}
			s.metrics.gifts.WithLabelValues(giftResumed).Inc()
		}
		return s.sent(id.Account, gift, have)
	}
	_, c, err := s.claim(id.Account, g.Channel, g.Campaign, g.Post)
	if err != nil {
		return nil, err
	}
	if c.NoGifts {
		return nil, errNoGifts
	}
	own, err := s.coupon(p.info.ID, c, id.Account)
	if err != nil {
		return nil, err
	}
	if err := s.mayGive(&own); err != nil {
		return nil, err
	}
	switch err := s.putSent(ctx, id.Account, gift, want, c, 0); {
	case store.CodeOf(err) == store.CodeConflict: // the same at the same moment
		return s.Give(ctx, id, g)
	case err != nil:
		return nil, err
	}
	if err := s.finish(ctx, id, gift, want, c); err != nil {
		return nil, err
	}
	s.metrics.gifts.WithLabelValues(giftSent).Inc()
	return s.sent(id.Account, gift, want)
}

// giftID is the identifier of the gift of a user's message.
func (s *Service) giftID(a store.AccountID, cid string) string {
	sum := s.cfg.Secret("gift", strconv.FormatUint(uint64(a), 10)+"/"+cid)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:15]))
}

// mayGive refuses to give a coupon that is not there.
func (s *Service) mayGive(own *coupon) error {
	st, err := s.state(own)
	if err != nil {
		return err
	}
	if err := st.mayLeave(); err != nil {
		return err
	}
	var m Mine
	if err := s.reveal(&m, own, st); err != nil {
		return err
	}
	if m.Status != Ready {
		return errOver
	}
	return nil
}

func (s *state) mayLeave() error {
	switch {
	case s.Redeemed != 0:
		return errSpent
	case s.away():
		return errGiven
	case s.Generation > lastGift:
		return errManyGifts
	}
	return nil
}

// finish does what is left of a gift: steps 2 to 5.
func (s *Service) finish(ctx context.Context, id hooks.Identity, gift string, want sentRow, c *Campaign) error {
	own, err := s.coupon(want.Channel, c, id.Account)
	if err != nil {
		return err
	}
	err = s.change(ctx, &own, func(st *state) (change, error) {
		if st.Gift == gift {
			return change{}, errSettled
		}
		if err := st.mayLeave(); err != nil {
			return change{}, err
		}
		st.Generation++
		st.Gift, st.Given, st.Opened = gift, s.now().UnixMilli(), 0
		return change{}, nil
	})
	if err != nil && !errors.Is(err, errSettled) {
		if store.CodeOf(err) == store.CodeConflict { // it went another way
			return cleanly(err, s.dropSent(ctx, id.Account, gift))
		}
		return err
	}
	info, err := s.store.Info(want.Channel)
	if err != nil {
		return fmt.Errorf("coupon: channel: %w", err)
	}
	content, err := view.Gift(view.GiftOf{ID: gift, Channel: info.Key.Name, Campaign: c.ID, Title: c.Title})
	if err != nil {
		return err
	}
	topic := hooks.Topic{Place: hooks.User, Act: hooks.Message, View: hooks.JSON, Name: want.To, CID: want.CID}
	id.Device = want.Device
	receipt, err := s.cfg.Send(ctx, id, topic, content)
	if err != nil {
		if undecided(err) {
			return err
		}
		s.metrics.gifts.WithLabelValues(giftRefused).Inc()
		return cleanly(err, s.takeBack(ctx, id.Account, gift, &own))
	}
	if err := s.deliver(ctx, id.Account, gift, want, c, receipt); err != nil {
		return err
	}
	want.Done = true
	return s.putSent(ctx, id.Account, gift, want, c, anyVersion)
}

// undecided reports whether an error leaves open what becomes of a message: it is to be sent again under its cid. A rate
// is none: what it refused was not looked at any further.
func undecided(err error) bool {
	switch store.CodeOf(err) {
	case store.CodeUnknown, store.CodeUnavailable, store.CodeInternal, store.CodeFull:
		return true
	}
	return false
}

// cleanly is the error of a step after which something was to be put back: of both, the one that asks for a repetition.
func cleanly(err, clean error) error {
	if clean != nil {
		return clean
	}
	return err
}

// takeBack returns a coupon whose gift was refused: as if it had never left, since nobody has seen the other code.
func (s *Service) takeBack(ctx context.Context, me store.AccountID, gift string, own *coupon) error {
	err := s.change(ctx, own, func(st *state) (change, error) {
		if st.Gift != gift || !st.away() || st.Opened != 0 {
			return change{}, errSettled
		}
		st.Generation--
		st.Gift, st.Given = "", 0
		return change{}, nil
	})
	if err != nil && !errors.Is(err, errSettled) {
		return err
	}
	return s.dropSent(ctx, me, gift)
}

// deliver puts the gift into the list of whoever the message went to.
func (s *Service) deliver(ctx context.Context, me store.AccountID, gift string, want sentRow, c *Campaign, r store.Receipt) error {
	info, err := s.store.Info(r.Log)
	if err != nil {
		return fmt.Errorf("coupon: conversation: %w", err)
	}
	peer := info.Key.Peer(me)
	v, err := json.Marshal(giftRow{From: me, Channel: want.Channel, Campaign: c.ID, Log: r.Log, Seq: r.Seq, Time: r.Time})
	if err != nil {
		return fmt.Errorf("coupon: gift: %w", err)
	}
	err = s.store.Update(ctx, store.Update{Owner: store.OwnerOf(peer), Rows: []store.RowPut{
		{Table: tableGift, Key: gift, Value: v, Expires: c.expires(), If: store.IfVersion(0)}}})
	switch store.CodeOf(err) {
	case 0, store.CodeConflict, store.CodeNotFound: // there already, or the receiver is erased
		return nil
	}
	return fmt.Errorf("coupon: gift: %w", err)
}

// anyVersion is a condition that asks nothing.
const anyVersion = ^uint64(0)

func (s *Service) putSent(ctx context.Context, me store.AccountID, gift string, r sentRow, c *Campaign, version uint64) error {
	v, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("coupon: gift: %w", err)
	}
	put := store.RowPut{Table: tableSent, Key: gift, Value: v, Expires: c.expires()}
	if version != anyVersion {
		put.If = &version
	}
	if err := s.store.Update(ctx, store.Update{Owner: store.OwnerOf(me), Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("coupon: gift: %w", err)
	}
	return nil
}

func (s *Service) dropSent(ctx context.Context, me store.AccountID, gift string) error {
	if err := s.store.Update(ctx, store.Update{Owner: store.OwnerOf(me), Rows: []store.RowPut{{Table: tableSent, Key: gift}}}); err != nil {
		return fmt.Errorf("coupon: gift: %w", err)
	}
	return nil
}

func (s *Service) sentRow(me store.AccountID, gift string) (r sentRow, version uint64, err error) {
	row, err := s.store.Row(tableSent, store.OwnerOf(me), gift)
	if err == nil && row.Version != 0 {
		err = json.Unmarshal(row.Value, &r)
	}
	if err != nil {
		return r, 0, fmt.Errorf("coupon: gift: %w", err)
	}
	return r, row.Version, nil
}
