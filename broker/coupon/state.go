package coupon

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

const (
	tableCoupon store.Table = "channel.coupon"       // owner: the channel's number; key: see coupon.key
	tableCount  store.Table = "channel.coupon.count" // owner: the channel's number; key: see dayKey and totalKey
)

// Returns is after how long a gift that was not opened comes back.
const Returns = 30 * 24 * time.Hour

// state is what became of one coupon. The zero value is one that its first holder has not redeemed: it has no row.
type state struct {
	// Generation is how often the coupon has changed hands: even, it is with whom it was first, odd, it is given away.
	Generation uint8  `json:"g,omitempty"`
	Gift       string `json:"gift,omitempty"`   // the newest gift's identifier
	Given      int64  `json:"given,omitempty"`  // Unix milliseconds, of the newest gift
	Opened     int64  `json:"opened,omitempty"` // Unix milliseconds, of the newest gift; 0: it was not opened

	Redeemed int64  `json:"redeemed,omitempty"` // Unix milliseconds; 0: it was not
	By       []byte `json:"by,omitempty"`       // which request redeemed it: see marks
	Shop     []byte `json:"shop,omitempty"`     // and whose
}

// at is the state as it is at a moment (Unix milliseconds): a gift that nobody opened in time is back.
func (s state) at(now int64) state {
	if s.away() && s.Opened == 0 && now >= s.Given+Returns.Milliseconds() {
		s.Generation++
	}
	return s
}

// away reports whether the coupon is given away.
func (s *state) away() bool { return s.Generation%2 == 1 }

func (s *state) empty() bool { return s.Generation == 0 && s.Redeemed == 0 }

// coupon is one coupon: a campaign's for one account.
type coupon struct {
	channel  store.LogID
	campaign *Campaign
	sealer   sealer
	first    store.AccountID // whose it was in the beginning
}

func (s *Service) coupon(channel store.LogID, c *Campaign, first store.AccountID) (coupon, error) {
	k, err := s.sealer(channel, c)
	return coupon{channel, c, k, first}, err
}

// key is the coupon's row. Of campaigns one's identifier may begin another's, so it ends with a byte that none has.
func (c *coupon) key() string { return c.campaign.ID + "\x00" + c.sealer.row(c.first) }

// shards are the rows in which one day of a campaign without limit is counted, so that tills do not wait for each other.
const shards = 16

func (c *coupon) shard() byte {
	if c.campaign.Most > 0 {
		return 0
	}
	row := c.sealer.row(c.first)
	return row[0] % shards
}

func dayKey(campaign string, day uint64, shard byte) string {
	return dayPrefix(campaign) + string(binary.BigEndian.AppendUint64(nil, day)) + string([]byte{shard})
}

func dayPrefix(campaign string) string { return campaign + "\x00d" }
func totalKey(campaign string) string  { return campaign + "\x00t" }

// count is a counter's row.
type count struct {
	N int `json:"n"`
}

// turn waits until no other change of the coupon's counters is under way here, and returns what ends the turn.
func (s *Service) turn(ctx context.Context, c *coupon) (end func(), err error) {
	h := uint64(c.channel)
	for _, b := range []byte(c.campaign.ID) {
		h = (h ^ uint64(b)) * 0x100000001b3 // FNV-1a
	}
	h += uint64(c.shard())
	t := s.turns[h%uint64(len(s.turns))]
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, &store.Error{Code: store.CodeUnavailable, Text: "too much at once", Retry: time.Second, Err: ctx.Err()}
	}
}

// races is how often a change that lost against another process is tried again.
const races = 16

// change is what becomes of a coupon.
type change struct {
	counts int    // by how much the counters move
	day    uint64 // of which day
}

// errLimit is what counting beyond a campaign's limit returns.
var errLimit = &store.Error{Code: store.CodeFull, Reason: "campaign_limit", Text: "all coupons of the campaign are redeemed"}

// change reads a coupon's state, lets fn change it, and stores it with what is counted, unless somebody else was faster;
// then it begins again. fn may be called several times; its error changes nothing and is returned. errLimit: the
// campaign's limit is reached.
func (s *Service) change(ctx context.Context, c *coupon, fn func(*state) (change, error)) error {
	end, err := s.turn(ctx, c)
	if err != nil {
		return err
	}
	defer end()
	for try := 0; ; try++ {
		row, st, err := s.stateRow(c)
		if err != nil {
			return err
		}
		was := row.Version
		ch, err := fn(&st)
		if err != nil {
			return err
		}
		put := store.RowPut{Table: tableCoupon, Key: c.key(), Expires: c.campaign.expires(), If: &was}
		if !st.empty() {
			if put.Value, err = json.Marshal(&st); err != nil {
				return fmt.Errorf("coupon: %w", err)
			}
		}
		u := store.Update{Owner: store.OwnerOfLog(c.channel), Rows: []store.RowPut{put}}
		if ch.counts != 0 {
			puts, err := s.counted(c, ch)
			if err != nil {
				return err
			}
			u.Rows = append(u.Rows, puts...)
		}
		err = s.store.Update(ctx, u)
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return fmt.Errorf("coupon: %w", err)
		}
		return nil
	}
}

// counted are the counters as they are to be.
func (s *Service) counted(c *coupon, ch change) ([]store.RowPut, error) {
	keys := []string{dayKey(c.campaign.ID, ch.day, c.shard())}
	if c.campaign.Most > 0 {
		keys = append(keys, totalKey(c.campaign.ID))
	}
	var out []store.RowPut
	for i, key := range keys {
		row, err := s.store.Row(tableCount, store.OwnerOfLog(c.channel), key)
		if err != nil {
			return nil, fmt.Errorf("coupon: count: %w", err)
		}
		n, err := decodeCount(row)
		if err != nil {
			return nil, err
		}
		if n += ch.counts; i == 1 && n > c.campaign.Most {
			return nil, errLimit
		}
		v, err := json.Marshal(count{max(0, n)})
		if err != nil {
			return nil, fmt.Errorf("coupon: count: %w", err)
		}
		out = append(out, store.RowPut{Table: tableCount, Key: key, Value: v, Expires: c.campaign.expires(), If: store.IfVersion(row.Version)})
	}
	return out, nil
}

func decodeCount(r store.Row) (int, error) {
	if r.Version == 0 {
		return 0, nil
	}
	var n count
	if err := json.Unmarshal(r.Value, &n); err != nil {
		return 0, fmt.Errorf("coupon: count: %w", err)
	}
	return n.N, nil
}

// state is what has become of a coupon until now.
func (s *Service) state(c *coupon) (state, error) {
	_, st, err := s.stateRow(c)
	return st, err
}

func (s *Service) stateRow(c *coupon) (store.Row, state, error) {
	row, err := s.store.Row(tableCoupon, store.OwnerOfLog(c.channel), c.key())
	if err != nil {
		return row, state{}, fmt.Errorf("coupon: %w", err)
	}
	var st state
	if row.Version != 0 {
		if err := json.Unmarshal(row.Value, &st); err != nil {
			return row, st, fmt.Errorf("coupon: %w", err)
		}
	}
	return row, st.at(s.now().UnixMilli()), nil
}

// full reports whether all coupons of a campaign are redeemed.
func (s *Service) full(channel store.LogID, c *Campaign) (bool, error) {
	if c.Most == 0 {
		return false, nil
	}
	row, err := s.store.Row(tableCount, store.OwnerOfLog(channel), totalKey(c.ID))
	if err != nil {
		return false, fmt.Errorf("coupon: count: %w", err)
	}
	n, err := decodeCount(row)
	return n >= c.Most, err
}
