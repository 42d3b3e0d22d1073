package tally

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// The attributes of a follower that segments ask for.
const (
	byCountry = iota
	byLanguage
	byPlatform // all platforms of its devices, one bit each
	byWeeks    // since it follows
	attributes
)

// mostWeeks is where weeks stop being told apart: ten years.
const mostWeeks = 520

// traits are a follower's attributes as short words.
type traits [attributes]string

func traitsOf(f Facts, weeks int) traits {
	mask := 0
	for i, p := range graph.Platforms() {
		if slices.Contains(f.Platforms, p) {
			mask |= 1 << i
		}
	}
	return traits{byCountry: word(f.Country, 2), byLanguage: word(f.Language, 3), byPlatform: strconv.Itoa(mask), byWeeks: strconv.Itoa(min(weeks, mostWeeks))}
}

// word is a country or language in lower case, "" for what cannot be one: users write what they want, and what is kept
// must stay small.
func word(s string, most int) string {
	s, _, _ = strings.Cut(strings.ToLower(s), "-")
	if len(s) < 2 || len(s) > most {
		return ""
	}
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return ""
		}
	}
	return s
}

// weeks is for how many whole weeks somebody has followed.
func weeks(since, now int64) int {
	return max(0, int((now-since)/(7*24*time.Hour).Milliseconds()))
}

// cell is two attributes with their values, the smaller attribute first.
type cell struct {
	x, y   int
	vx, vy string
}

// cells are how many followers have each pair of values: enough for segments of at most two attributes, and much less
// than the followers.
type cells map[cell]int

func (c cells) add(t traits) {
	for x := range attributes {
		for y := x + 1; y < attributes; y++ {
			c[cell{x, y, t[x], t[y]}]++
		}
	}
}

// line is a cell as it is stored.
type line struct {
	X  int    `json:"x"`
	Y  int    `json:"y"`
	VX string `json:"a"`
	VY string `json:"b"`
	N  int    `json:"n"`
}

const chunkLines = 1000 // in one row: below store.MaxRowValue

// encode makes rows of the cells, in an order that does not tell who came first.
func (c cells) encode() (chunks [][]byte) {
	lines := make([]line, 0, len(c))
	for k, n := range c {
		lines = append(lines, line{k.x, k.y, k.vx, k.vy, n})
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(a.X-b.X, a.Y-b.Y, strings.Compare(a.VX, b.VX), strings.Compare(a.VY, b.VY))
	})
	for part := range slices.Chunk(lines, chunkLines) {
		b, err := json.Marshal(part)
		if err != nil { // strings and numbers always encode
			panic(err)
		}
		chunks = append(chunks, b)
	}
	return chunks
}

func cellsKey(i int) string { return fmt.Sprintf("%s/%06d", keyCells, i) }

// asks is a segment as questions about attributes; nil for those it does not ask.
type asks [attributes]func(v string) bool

func asksOf(s *graph.Segment) (q asks) {
	among := func(list []string, most int) func(string) bool {
		var words []string
		for _, l := range list {
			if w := word(l, most); w != "" {
				words = append(words, w)
			}
		}
		return func(v string) bool { return v != "" && slices.Contains(words, v) }
	}
	if len(s.Countries) > 0 {
		q[byCountry] = among(s.Countries, 2)
	}
	if len(s.Languages) > 0 {
		q[byLanguage] = among(s.Languages, 3)
	}
	if len(s.Platforms) > 0 {
		mask := 0
		for i, p := range graph.Platforms() {
			if slices.Contains(s.Platforms, p) {
				mask |= 1 << i
			}
		}
		q[byPlatform] = func(v string) bool {
			n, err := strconv.Atoi(v)
			return err == nil && n&mask != 0
		}
	}
	if s.MinWeeks > 0 || s.MaxWeeks > 0 {
		q[byWeeks] = func(v string) bool {
			n, err := strconv.Atoi(v)
			return err == nil && n >= s.MinWeeks && (s.MaxWeeks == 0 || n < s.MaxWeeks)
		}
	}
	return q
}

// Segment reports whether a channel has as many followers in a segment as it must, SegmentLeast, by the day's snapshot:
// the answer is the same all day, for every segment of the same followers. Of a sample the expected number counts. nil,
// and a segment that asks for nothing, are all followers, who are always enough. CodeBad: more than two attributes, or
// numbers out of range.
func (t *Tally) Segment(ctx context.Context, channel store.LogID, s *graph.Segment) (bool, error) {
	switch n := s.Attributes(); {
	case n == 0:
		return true, nil
	case n > 2:
		return false, store.Bad("a segment asks for at most two attributes")
	case s.Sample < 0 || s.Sample > 1000:
		return false, store.Bad("sample must be 1 to 1,000 of 1,000 followers")
	case s.MinWeeks < 0 || s.MaxWeeks < 0 || s.MinWeeks > mostWeeks || s.MaxWeeks > mostWeeks || s.MaxWeeks != 0 && s.MaxWeeks <= s.MinWeeks:
		return false, store.Bad("weeks must be 0 to 520, max_weeks above min_weeks")
	}
	d, err := t.dayOf(channel)
	if err != nil {
		return false, err
	}
	n := d.Followers
	if q := asksOf(s); slices.ContainsFunc(q[:], func(f func(string) bool) bool { return f != nil }) {
		if n, err = t.count(ctx, channel, d, q); err != nil {
			return false, err
		}
	}
	if s.Sample > 0 {
		n = n * s.Sample / 1000
	}
	return n >= SegmentLeast, nil
}

// count is how many followers a segment of one or two attributes had.
func (t *Tally) count(ctx context.Context, channel store.LogID, d day, q asks) (n int, err error) {
	x, y := -1, -1
	for i := range q {
		switch {
		case q[i] == nil:
		case x < 0:
			x = i
		default:
			y = i
		}
	}
	if y < 0 { // any pair that it is in
		if y = (x + 1) % attributes; y < x {
			x, y = y, x
		}
	}
	for i := range d.Chunks {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		row, err := t.store.Row(tableDay, store.OwnerOfLog(channel), cellsKey(i))
		var lines []line
		if err == nil && row.Version != 0 {
			err = json.Unmarshal(row.Value, &lines)
		}
		if err != nil {
			return 0, fmt.Errorf("tally: segment: %w", err)
		}
		for _, l := range lines {
			if l.X == x && l.Y == y && (q[x] == nil || q[x](l.VX)) && (q[y] == nil || q[y](l.VY)) {
				n += l.N
			}
		}
	}
	return n, nil
}
