package broadcast

import (
	"slices"
	"strings"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Limits of a segment.
const (
	maxValues = 50 // of a list
	maxWeeks  = 52 * 20
)

// segment is a segment as it is stored: checked, its values in order and each once, so that the same followers are always
// named alike. nil for none, which is everybody; one that asks for nothing is refused, since it rather is a list that a
// program has left empty.
func segment(s *graph.Segment) (*graph.Segment, error) {
	if s == nil {
		return nil, nil
	}
	switch { // before anything is counted: an attribute below 0 would count as none, and the post go to everybody
	case s.MinWeeks < 0 || s.MaxWeeks < 0 || s.MinWeeks > maxWeeks || s.MaxWeeks > maxWeeks, s.MaxWeeks != 0 && s.MaxWeeks <= s.MinWeeks:
		return nil, store.Bad("weeks of following go from one number up to, but without, a larger one")
	case s.Sample < 0 || s.Sample > 1000:
		return nil, store.Bad("a sample is 1 to 1,000 of 1,000 followers")
	case s.Attributes() == 0:
		return nil, store.Bad("a segment needs an attribute: what is for all followers has none")
	}
	if s.Attributes() > MaxAttributes {
		return nil, store.Bad("a segment has at most two attributes")
	}
	if max(len(s.Countries), len(s.Languages), len(s.Platforms)) > maxValues {
		return nil, store.Bad("a list in a segment has at most 50 values")
	}
	out := &graph.Segment{MinWeeks: s.MinWeeks, MaxWeeks: s.MaxWeeks, Sample: s.Sample}
	for _, c := range s.Countries {
		c = strings.ToUpper(c)
		if len(c) != 2 || !letters(c) {
			return nil, store.Bad("a country is two letters (ISO 3166-1), such as KR")
		}
		out.Countries = append(out.Countries, c)
	}
	for _, l := range s.Languages {
		l = strings.ToLower(l)
		if len(l) < 2 || len(l) > 3 || !letters(l) {
			return nil, store.Bad("a language of a segment is its primary subtag (BCP 47), such as ko")
		}
		out.Languages = append(out.Languages, l)
	}
	for _, p := range s.Platforms {
		if !slices.Contains(graph.Platforms(), p) {
			return nil, store.Bad("a platform of a segment is one that devices name: see device.set")
		}
		out.Platforms = append(out.Platforms, p)
	}
	out.Countries, out.Languages, out.Platforms = sorted(out.Countries), sorted(out.Languages), sorted(out.Platforms)
	return out, nil
}

func letters(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r|0x20 < 'a' || r|0x20 > 'z' })
}

func sorted[T ~string](s []T) []T {
	slices.Sort(s)
	return slices.Compact(s)
}
