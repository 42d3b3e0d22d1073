package hooks

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Night says when advertising waits in a country.
type Night struct {
	Zone string // IANA name
	From int    // minutes after midnight at which it begins, 0 to 1439
	To   int    // and ends, 1 to 1440; at most From: on the next day
	// OwnZone: the country has several time zones. The zone of a user's quiet hours is used, if there is one; Zone is where
	// most people live.
	OwnZone bool
}

// Nights are the nights by country (ISO 3166-1 alpha-2). In a country without one advertising never waits.
type Nights map[string]Night

// DefaultNights are the hours in which the law, or the regulator, of a country keeps advertising from phones:
//
//   - KR: Act on Promotion of Information and Communications Network Utilization and Information Protection, article
//     50(3): from 21:00 to 08:00 of the next day only with a separate consent, over any electronic medium.
//   - IN: Telecom Regulatory Authority, Telecom Commercial Communications Customer Preference Regulations: promotional
//     messages from 09:00 to 21:00 only.
//   - US: 47 CFR 64.1200(c)(1) (Telephone Consumer Protection Act): telephone solicitations, texts among them, from 08:00
//     to 21:00 only, at the place of who is called. Some states allow less.
//
// The regulations of India and the United States are about telephony; whoever is sure that they do not cover posts in an
// app, or of another country's, sets a table of its own (ParseNights).
func DefaultNights() Nights {
	return Nights{
		"KR": {Zone: "Asia/Seoul", From: 21 * 60, To: 8 * 60},
		"IN": {Zone: "Asia/Kolkata", From: 21 * 60, To: 9 * 60},
		"US": {Zone: "America/New_York", From: 21 * 60, To: 8 * 60, OwnZone: true},
	}
}

// maxNights bounds a file of nights; there are some 250 countries.
const maxNights = 1000

// ParseNights reads changes of a table of nights, one country a line:
//
//	KR Asia/Seoul 21:00-08:00
//	US America/New_York 21:00-08:00 own-zone
//	IN none
//
// What is not named stays as it was in base, which is not changed. # begins a comment. The error names the line.
func ParseNights(r io.Reader, base Nights) (Nights, error) {
	out := maps.Clone(base)
	if out == nil {
		out = make(Nights)
	}
	seen := make(map[string]bool)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		country, night, err := parseNight(words)
		if err == nil && seen[country] {
			err = errors.New("the country is named twice")
		}
		if err == nil && len(seen) >= maxNights {
			err = errors.New("too many countries")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		seen[country] = true
		if night == nil {
			delete(out, country)
		} else {
			out[country] = *night
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("nights: %w", err)
	}
	return out, nil
}

func parseNight(words []string) (country string, night *Night, err error) {
	country = words[0]
	if !ValidCountry(country) {
		return "", nil, fmt.Errorf("%.20q is no country; write its two letters of ISO 3166-1, such as KR", country)
	}
	if len(words) == 2 && words[1] == "none" {
		return country, nil, nil
	}
	if len(words) < 3 || len(words) > 4 || len(words) == 4 && words[3] != "own-zone" {
		return "", nil, errors.New("write COUNTRY ZONE FROM-TO, such as KR Asia/Seoul 21:00-08:00, own-zone after it where the country has several zones, or COUNTRY none")
	}
	n := Night{Zone: words[1], OwnZone: len(words) == 4}
	from, to, ok := strings.Cut(words[2], "-")
	if ok {
		n.From, ok = minuteOf(from)
	}
	if ok {
		n.To, ok = minuteOf(to)
	}
	if !ok {
		return "", nil, fmt.Errorf("%.20q is no span of hours such as 21:00-08:00", words[2])
	}
	if n.To == 0 {
		n.To = 24 * 60
	}
	q := n.hours("")
	return country, &n, q.Validate()
}

// minuteOf reads a time of day, 00:00 to 24:00.
func minuteOf(s string) (int, bool) {
	if s == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil && len(s) == 5
}

// hours are the night's, on the clock of zone, or of its own if that is "".
func (n Night) hours(zone string) graph.Quiet {
	if zone == "" {
		zone = n.Zone
	}
	return graph.Quiet{Zone: zone, From: n.From, To: n.To}
}

// night is when the night ends in which a user is now for advertising; zero: it is none.
func (a *Access) night(me store.AccountID, now time.Time) (time.Time, error) {
	country, err := a.Country(me)
	if err != nil || country == "" {
		return time.Time{}, err
	}
	n, ok := a.cfg.Nights[country]
	if !ok {
		return time.Time{}, nil
	}
	zone := ""
	if n.OwnZone {
		q, err := a.graph.Quiet(me)
		if err != nil {
			return time.Time{}, fmt.Errorf("hooks: quiet hours: %w", err)
		}
		zone = q.Zone
	}
	hours := n.hours(zone)
	return hours.Ends(now), nil
}

// NightEnds is when the night ends in which a user is at a moment for advertising; the zero time: it is none then.
func (a *Access) NightEnds(me store.AccountID, at time.Time) (time.Time, error) {
	return a.night(me, at)
}
