package coupon

import (
	"encoding/binary"
	"fmt"

	"github.com/hwangso/hwangso/store"
)

// Report is what a brand learns of a campaign. Numbers are rounded as all of a brand's are; nil is one that is too small,
// or too close to all, to be told.
type Report struct {
	Campaign *Campaign
	Upto     string // the last day that is counted, such as 2026-01-31, in UTC
	Redeemed *int
	Days     []Day // on which anything was redeemed
}

// Day is what was redeemed on one day.
type Day struct {
	Day      string
	Redeemed *int
}

// Report counts the whole days that have ended, for the channel's publishers. A day counts once what was redeemed on it
// cannot be taken back any more, so that its number never changes: asking again on the same day tells nothing.
func (s *Service) Report(me store.AccountID, channel, campaign string) (*Report, error) {
	p, err := s.channel(channel)
	if err != nil {
		return nil, err
	}
	if err := p.publishes(me, store.RoleMember); err != nil {
		return nil, err
	}
	c, err := s.campaign(p.info.ID, campaign)
	if err != nil {
		return nil, err
	}
	today := dayOf(s.now().Add(-UndoTime).UnixMilli())
	r := &Report{Campaign: c, Upto: dayText(max(today, 1) - 1)}
	sum, byDay, err := s.days(p.info.ID, c.ID, today)
	if err != nil {
		return nil, err
	}
	if r.Redeemed, err = s.cfg.Round(p.info.ID, sum); err != nil {
		return nil, fmt.Errorf("coupon: report: %w", err)
	}
	for _, d := range byDay {
		n, err := s.cfg.Round(p.info.ID, d.n)
		if err != nil {
			return nil, fmt.Errorf("coupon: report: %w", err)
		}
		r.Days = append(r.Days, Day{dayText(d.day), n})
	}
	return r, nil
}

type dayCount struct {
	day uint64
	n   int
}

// days adds up what was redeemed before a day.
func (s *Service) days(channel store.LogID, campaign string, before uint64) (sum int, out []dayCount, err error) {
	prefix, after := dayPrefix(campaign), ""
	const page = 1000
	for {
		rows, err := s.store.Rows(tableCount, store.OwnerOfLog(channel), prefix, after, page)
		if err != nil {
			return 0, nil, fmt.Errorf("coupon: count: %w", err)
		}
		for _, r := range rows {
			after = r.Key
			if len(r.Key) != len(prefix)+9 {
				continue
			}
			day := binary.BigEndian.Uint64([]byte(r.Key[len(prefix):]))
			n, err := decodeCount(r)
			if err != nil {
				return 0, nil, err
			}
			if day >= before || n == 0 {
				continue
			}
			if len(out) == 0 || out[len(out)-1].day != day {
				out = append(out, dayCount{day: day})
			}
			out[len(out)-1].n += n
			sum += n
		}
		if len(rows) < page {
			return sum, out, nil
		}
	}
}

// dayOf is the day of a time in Unix milliseconds, in UTC, counted from the epoch.
func dayOf(ms int64) uint64 { return uint64(max(0, ms)) / dayMillis }

const dayMillis = 24 * 3600 * 1000

// dayText is a day as reports show it.
func dayText(day uint64) string { return timeOf(int64(day) * dayMillis).Format("2006-01-02") }
