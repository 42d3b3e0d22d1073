package hooks

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

func TestSegment(t *testing.T) {
	p := newPeople(t, AccessConfig{}, "alice", "bob")
	cafe := p.brand("cafe")
	alice := p.named("alice")
	account, err := p.st.Store.Account(alice)
	p.must(err)
	account.Language = "pt-BR"
	p.must(p.st.SetAccount(t.Context(), account))
	p.must(p.Relations().SetSettings(t.Context(), alice, func(s *graph.Settings) error { s.Country = "KR"; return nil }))
	for i, platform := range []graph.Platform{graph.PlatformWeb, "", graph.PlatformIOS} {
		p.must(p.Relations().SetDevice(t.Context(), alice, store.DeviceID(i+1), graph.Device{Platform: platform, Notifies: true}))
	}
	cafe.follow("alice", nil)
	cafe.follow("bob", nil)
	p.pass(15 * 24 * time.Hour) // the third week
	for i, c := range []struct {
		s          graph.Segment
		alice, bob bool
	}{
		{graph.Segment{}, true, true},
		{graph.Segment{Countries: []string{"KR"}}, true, false},
		{graph.Segment{Countries: []string{"JP", "KR"}}, true, false},
		{graph.Segment{Countries: []string{"JP"}}, false, false},
		{graph.Segment{Languages: []string{"pt"}}, true, false},
		{graph.Segment{Languages: []string{"en", "PT-pt"}}, true, false},
		{graph.Segment{Languages: []string{"p"}}, false, false},
		{graph.Segment{Platforms: []graph.Platform{graph.PlatformIOS}}, true, false},
		{graph.Segment{Platforms: []graph.Platform{graph.PlatformAndroid, graph.PlatformWeb}}, true, false},
		{graph.Segment{Platforms: []graph.Platform{graph.PlatformAndroid}}, false, false},
		{graph.Segment{MinWeeks: 2}, true, true},
		{graph.Segment{MinWeeks: 3}, false, false},
		{graph.Segment{MaxWeeks: 3}, true, true},
		{graph.Segment{MaxWeeks: 2}, false, false},
		{graph.Segment{MinWeeks: 1, MaxWeeks: 4}, true, true},
		{graph.Segment{Sample: sampleOf}, true, true},
		{graph.Segment{Countries: []string{"KR"}, Languages: []string{"ko"}}, false, false},
		{graph.Segment{Countries: []string{"KR"}, Platforms: []graph.Platform{graph.PlatformWeb}}, true, false},
	} {
		r := cafe.post(cafe.notices, fmt.Sprint("p", i), &graph.Post{Segment: &c.s}, store.Draft{})
		for who, want := range map[string]bool{"alice": c.alice, "bob": c.bob} {
			if o, _ := cafe.outcome(who, cafe.notices, r); (o == policy.DeliverNoPush) != want {
				t.Errorf("%+v: %s %s", c.s, who, o)
			}
		}
	}
	weeks := cafe.post(cafe.notices, "weeks", &graph.Post{Segment: &graph.Segment{MaxWeeks: 3}}, store.Draft{})
	p.pass(30 * 24 * time.Hour)
	cafe.want("alice", cafe.notices, weeks, policy.DeliverNoPush) // as it was when it was posted
	erased := store.AccountID(999)
	if in, err := p.InSegment(erased, cafe.notices.ID, &graph.Follow{}, weeks, &graph.Segment{Languages: []string{"en"}}); in || err != nil {
		t.Errorf("an account that is gone: %v, %v", in, err)
	}
}

// TestSample: a sample has its share of followers, others for each post, and is the same for every server with the secret.
func TestSample(t *testing.T) {
	p := newPeople(t, AccessConfig{})
	other := NewAccess(p.st.Store, AccessConfig{Secret: p.cfg.Secret})
	const users, share = 20_000, 50
	in := func(a *Access, u int, cid string) bool {
		ok, err := a.InSegment(store.AccountID(u), 7, &graph.Follow{}, &store.Record{CID: cid}, &graph.Segment{Sample: share})
		p.must(err)
		return ok
	}
	first, both := 0, 0
	for u := range users {
		x, y := in(p.Access, u, "!a"), in(p.Access, u, "!b")
		if x != in(other, u, "!a") {
			t.Fatal("another server draws another sample")
		}
		if x {
			first++
		}
		if x && y {
			both++
		}
	}
	// 1,000 expected, with a deviation of 31; of both 50 and 7.
	if first < 800 || first > 1200 || both < 5 || both > 100 {
		t.Errorf("%d of %d in the first sample, %d in both", first, users, both)
	}
}

func TestVariant(t *testing.T) {
	variants := func(tags ...string) map[string]graph.Variant {
		m := make(map[string]graph.Variant)
		for _, tag := range tags {
			m[tag] = graph.Variant{Text: tag}
		}
		return m
	}
	all := variants("en", "pt-BR", "zh-Hant", "zh-Hans", "sr-Latn")
	for _, c := range []struct {
		have             map[string]graph.Variant
		wanted, original string
		want             string
	}{
		{all, "en", "ko", "en"},
		{all, "EN-us", "ko", "en"},
		{all, "en_US", "ko", "en"},
		{all, "en-x-private", "ko", "en"},
		{all, "pt-BR", "ko", "pt-BR"},
		{all, "pt", "ko", "pt-BR"},
		{all, "pt-PT", "ko", "pt-BR"},
		{all, "zh-TW", "ko", "zh-Hant"},
		{all, "zh-Hant-HK", "ko", "zh-Hant"},
		{all, "zh", "ko", "zh-Hans"},
		{all, "zh_CN", "ko", "zh-Hans"},
		{variants("zh-Hans"), "zh-TW", "ko", ""},
		{all, "ko", "ko", ""},
		{all, "ko-KR", "ko", ""},
		{all, "fr", "ko", ""},
		{all, "", "ko", ""},
		{variants("en-GB"), "en-US", "en", ""}, // the post itself is English
		{variants("en-GB", "en-AU"), "en-US", "ko", "en-AU"},
		{all, "en-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ko", ""},
		{all, "-", "ko", ""},
	} {
		if got := lookup(c.have, c.wanted, c.original); got != c.want {
			t.Errorf("%q of a post in %s: %q, want %q", c.wanted, c.original, got, c.want)
		}
	}

	p := newPeople(t, AccessConfig{}, "alice")
	cafe := p.brand("cafe")
	cafe.follow("alice", nil)
	account, err := p.st.Store.Account(p.named("alice"))
	p.must(err)
	account.Language = "pt"
	p.must(p.st.SetAccount(t.Context(), account))
	plain := cafe.post(cafe.notices, "plain", nil, store.Draft{})
	rich := cafe.post(cafe.notices, "rich", &graph.Post{Variants: all}, store.Draft{})
	f := cafe.follower("alice", cafe.notices)
	if lang, v, err := f.Variant(plain); err != nil || v != nil || lang != "" {
		t.Errorf("a post without: %q %v %v", lang, v, err)
	}
	if lang, v, err := f.Variant(rich); err != nil || v == nil || lang != "pt-BR" || v.Text != "pt-BR" {
		t.Errorf("%q %v %v", lang, v, err)
	}
	recalled := store.Record{Log: rich.Log, Seq: rich.Seq, CID: rich.CID, Recalled: true}
	if _, v, err := f.Variant(&recalled); v != nil || err != nil {
		t.Errorf("taken back: %v %v", v, err)
	}
}

func TestPseudonym(t *testing.T) {
	p := newPeople(t, AccessConfig{})
	other := NewAccess(p.st.Store, AccessConfig{})
	seen := make(map[string]bool)
	for channel := store.LogID(1); channel < 30; channel++ {
		for who := store.AccountID(1); who < 30; who++ {
			name := p.Pseudonym(channel, who)
			if !regexp.MustCompile(`^[a-z2-7]{16}$`).MatchString(name) || !ValidName(name) || seen[name] || name == other.Pseudonym(channel, who) {
				t.Fatalf("%d %d: %q", channel, who, name)
			}
			seen[name] = true
		}
	}
	again := NewAccess(p.st.Store, AccessConfig{Secret: p.cfg.Secret})
	if p.Pseudonym(1, 1) != again.Pseudonym(1, 1) {
		t.Error("a pseudonym changes with the server")
	}
}

func TestCountry(t *testing.T) {
	p := newPeople(t, AccessConfig{Country: func(store.AccountID) string { return "JP" }}, "alice")
	alice := p.named("alice")
	if c, err := p.Country(alice); err != nil || c != "JP" {
		t.Errorf("%q, %v", c, err)
	}
	p.must(p.Relations().SetSettings(context.Background(), alice, func(s *graph.Settings) error { s.Country = "KR"; return nil }))
	if c, err := p.Country(alice); err != nil || c != "KR" {
		t.Errorf("%q, %v", c, err)
	}
}
