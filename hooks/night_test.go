package hooks

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// TestNight: advertising waits by the clock of the follower's country.
func TestNight(t *testing.T) {
	phones := map[store.AccountID]string{}
	p := newPeople(t, AccessConfig{Country: func(a store.AccountID) string { return phones[a] }}, "alice")
	cafe := p.brand("cafe")
	cafe.follow("alice", consents)
	ad := cafe.post(cafe.news, "ad", nil, store.Draft{})
	notice := cafe.post(cafe.notices, "notice", nil, store.Draft{})
	alice := p.named("alice")
	at := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, s)
		p.must(err)
		return at
	}
	for _, c := range []struct {
		phone, set, zone string // zone: of the quiet hours
		now, until       string // until "": no night
	}{
		{"", "", "", "2026-03-03T13:00:00Z", ""},
		{"KR", "", "", "2026-03-03T11:59:59Z", ""},
		{"KR", "", "", "2026-03-03T12:00:00Z", "2026-03-03T23:00:00Z"},
		{"KR", "", "", "2026-03-03T22:59:59Z", "2026-03-03T23:00:00Z"},
		{"KR", "", "", "2026-03-03T23:00:00Z", ""},
		{"KR", "", "America/New_York", "2026-03-03T13:00:00Z", "2026-03-03T23:00:00Z"}, // one zone for all of Korea
		{"KR", "DE", "", "2026-03-03T13:00:00Z", ""},
		{"DE", "KR", "", "2026-03-03T13:00:00Z", "2026-03-03T23:00:00Z"},
		{"IN", "", "", "2026-03-03T15:30:00Z", "2026-03-04T03:30:00Z"},
		{"US", "", "", "2026-01-16T02:00:00Z", "2026-01-16T13:00:00Z"},
		{"US", "", "", "2026-07-16T01:00:00Z", "2026-07-16T12:00:00Z"}, // daylight saving time
		{"US", "", "", "2026-03-08T04:00:00Z", "2026-03-08T12:00:00Z"}, // the night in which clocks go forward
		{"US", "", "America/Los_Angeles", "2026-01-16T02:00:00Z", ""},
		{"US", "", "America/Los_Angeles", "2026-01-16T05:00:00Z", "2026-01-16T16:00:00Z"},
	} {
		phones[alice] = c.phone
		p.clock = at(c.now)
		p.must(p.Relations().SetSettings(t.Context(), alice, func(s *graph.Settings) error { s.Country = c.set; return nil }))
		quiet := graph.Quiet{}
		if c.zone != "" {
			quiet = graph.Quiet{Zone: c.zone, From: 60, To: 61}
		}
		_, err := p.Relations().SetQuiet(t.Context(), alice, quiet)
		p.must(err)
		o, until := cafe.outcome("alice", cafe.news, ad)
		switch {
		case c.until == "" && (o != policy.DeliverNoPush || !until.IsZero()),
			c.until != "" && (o != policy.Defer || !until.Equal(at(c.until))):
			t.Errorf("%+v: %s until %v", c, o, until)
		}
		cafe.want("alice", cafe.notices, notice, policy.DeliverNoPush)
	}
	p.clock = at("2026-03-03T13:00:00Z")
	a := NewAccess(p.st.Store, AccessConfig{Nights: Nights{}, Now: p.now, Country: func(store.AccountID) string { return "KR" }})
	f, err := a.Follower(alice, cafe.news)
	p.must(err)
	if o, _, err := f.Outcome(ad); err != nil || o != policy.DeliverNoPush {
		t.Errorf("without a table: %s, %v", o, err)
	}
}

func TestParseNights(t *testing.T) {
	base := Nights{"KR": {Zone: "Asia/Seoul", From: 21 * 60, To: 8 * 60}}
	got, err := ParseNights(strings.NewReader("# nights\n\n KR none # gone\nUS\tAmerica/New_York 21:00-08:00 own-zone\r\nTH Asia/Bangkok 22:30-00:00\n"), base)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Nights{"US": {"America/New_York", 1260, 480, true}, "TH": {"Asia/Bangkok", 1350, 1440, false}}); !maps.Equal(got, want) {
		t.Fatalf("%+v", got)
	}
	if len(base) != 1 {
		t.Error("the table it was built on has changed")
	}
	for _, bad := range []string{
		"kr Asia/Seoul 21:00-08:00", "XX Asia/Seoul 21:00-08:00", "KR", "KR Asia/Seoul", "KR Asia/Soul 21:00-08:00", "KR Local 21:00-08:00",
		"KR Asia/Seoul 21-8", "KR Asia/Seoul 25:00-08:00", "KR Asia/Seoul 21:00-24:01", "KR Asia/Seoul 8:00-9:00", "KR Asia/Seoul 08:00-08:00",
		"KR Asia/Seoul 24:00-08:00", "KR Asia/Seoul 21:00-08:00 both", "KR Asia/Seoul 21:00-08:00 own-zone x", "KR none\nKR none", "KR none x",
	} {
		if _, err := ParseNights(strings.NewReader("# first\n"+bad), nil); err == nil || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for country, n := range DefaultNights() {
		q := n.hours("")
		if err := q.Validate(); err != nil || !ValidCountry(country) {
			t.Errorf("%s: %v", country, err)
		}
	}
}

func FuzzParseNights(f *testing.F) {
	f.Add("KR Asia/Seoul 21:00-08:00\nUS America/New_York 21:00-08:00 own-zone\nIN none\n")
	f.Add("# comment\n\nKR Asia/Seoul 00:00-24:00")
	f.Add("KR ../../etc/passwd 21:00-08:00")
	f.Add("KR\x00 Asia/Seoul \xff-\xff")
	f.Fuzz(func(t *testing.T, s string) {
		nights, err := ParseNights(strings.NewReader(s), DefaultNights())
		if err != nil {
			return
		}
		for country, n := range nights {
			q := n.hours("")
			if !ValidCountry(country) || q.Validate() != nil {
				t.Fatalf("%q gives %s %+v", s, country, n)
			}
		}
	})
}

func TestValidCountry(t *testing.T) {
	for s, want := range map[string]bool{"KR": true, "AD": true, "ZW": true, "UK": false, "XK": false, "kr": false, "K": false, "": false, "KRA": false,
		"  ": false, " A": false, "D ": false, "DAE": false} {
		if ValidCountry(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
