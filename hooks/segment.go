package hooks

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// sampleOf is the whole of which graph.Segment.Sample is a part.
const sampleOf = 1000

// InSegment reports whether a post is for a follower like this one; nil is for everybody. The weeks since following are
// counted at the time of the record, so that the answer does not change while a post waits. Who is in a sample is drawn
// with the server's secret anew for each post.
func (a *Access) InSegment(me store.AccountID, channel store.LogID, f *graph.Follow, r *store.Record, s *graph.Segment) (bool, error) {
	if s == nil {
		return true, nil
	}
	if s.MinWeeks > 0 || s.MaxWeeks > 0 {
		weeks := int(max(r.Time-f.Since, 0) / (7 * 24 * time.Hour).Milliseconds())
		if weeks < s.MinWeeks || s.MaxWeeks > 0 && weeks >= s.MaxWeeks {
			return false, nil
		}
	}
	if s.Sample > 0 {
		h := a.cfg.Secret("sample", strconv.FormatUint(uint64(channel), 10)+" "+strconv.FormatUint(uint64(me), 10)+" "+r.CID)
		if binary.BigEndian.Uint64(h[:])%sampleOf >= uint64(s.Sample) {
			return false, nil
		}
	}
	if len(s.Countries) > 0 {
		country, err := a.Country(me)
		if err != nil || country == "" || !slices.Contains(s.Countries, country) {
			return false, err
		}
	}
	if len(s.Languages) > 0 {
		account, err := a.store.Account(me)
		if store.CodeOf(err) == store.CodeNotFound {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("hooks: account: %w", err)
		}
		lang := primary(account.Language)
		if lang == "" || !slices.ContainsFunc(s.Languages, func(l string) bool { return primary(l) == lang }) {
			return false, nil
		}
	}
	if len(s.Platforms) > 0 {
		devices, err := a.graph.Devices(me)
		if err != nil {
			return false, fmt.Errorf("hooks: devices: %w", err)
		}
		if !slices.ContainsFunc(devices, func(d *graph.Device) bool { return slices.Contains(s.Platforms, d.Platform) }) {
			return false, nil
		}
	}
	return true, nil
}

// Country is where a user lives (ISO 3166-1 alpha-2), as far as is known: what it has set, else where its phone number
// is from; "" where neither says.
func (a *Access) Country(me store.AccountID) (string, error) {
	settings, err := a.graph.Settings(me)
	if err != nil {
		return "", fmt.Errorf("hooks: settings: %w", err)
	}
	if settings.Country != "" || a.cfg.Country == nil {
		return settings.Country, nil
	}
	return a.cfg.Country(me), nil
}

// primary is the language subtag of a BCP 47 tag, in lower case.
func primary(tag string) string {
	if i := strings.IndexAny(tag, "-_"); i >= 0 {
		tag = tag[:i]
	}
	return strings.ToLower(tag)
}

// lookup finds the variant for a language as RFC 4647, section 3.4, has it: what is said most precisely is dropped from
// the end until a tag matches; Chinese of a region has that region's script. If nothing does, a variant in the same
// language serves, but for Chinese, of which one script does not stand for the other. "" where none does, or where what
// is not a variant serves as well: that is in the language original.
func lookup(variants map[string]graph.Variant, wanted, original string) string {
	const longest = 35 // RFC 5646, section 4.4.1
	if wanted == "" || len(wanted) > longest {
		return ""
	}
	byTag := func(tag string) (string, bool) {
		for t := range variants {
			if strings.EqualFold(t, tag) {
				return t, true
			}
		}
		return "", false
	}
	tags := []string{strings.ReplaceAll(wanted, "_", "-")}
	if script, ok := scripts[strings.ToLower(tags[0])]; ok {
		tags = append(tags, script)
	}
	for _, tag := range tags {
		for tag != "" {
			if t, ok := byTag(tag); ok {
				return t
			}
			if strings.EqualFold(tag, original) {
				return ""
			}
			cut := strings.LastIndexByte(tag, '-')
			if cut > 1 && tag[cut-2] == '-' { // a single letter says what follows it
				cut -= 2
			}
			tag = tag[:max(cut, 0)]
		}
	}
	lang := primary(wanted)
	if lang == "zh" || lang == primary(original) {
		return ""
	}
	found := ""
	for t := range variants {
		if primary(t) == lang && (found == "" || t < found) {
			found = t
		}
	}
	return found
}

// scripts are the scripts of Chinese where the tag names only a region.
var scripts = map[string]string{"zh": "zh-Hans", "zh-cn": "zh-Hans", "zh-sg": "zh-Hans", "zh-my": "zh-Hans",
	"zh-tw": "zh-Hant", "zh-hk": "zh-Hant", "zh-mo": "zh-Hant"}
