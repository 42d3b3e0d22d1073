package push

import (
	"slices"
	"sort"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// ellipsis stands at the end of a text that was cut.
const ellipsis = "…"

// Cut returns s in at most so many bytes, always valid UTF-8 (U+FFFD stands for what is none). A text that is longer ends
// before a grapheme cluster, what a reader takes for one character (Unicode Standard Annex 29), and with an ellipsis: a
// Hangul syllable, an emoji of several code points or a flag is there whole or not at all. Where not even the ellipsis
// fits, nothing is left. The cost is in the order of bytes, however long s is.
func Cut(s string, bytes int) string {
	c := newCutter(s, bytes)
	return c.cut(bytes)
}

// cutter cuts one text to several lengths.
type cutter struct {
	text string // valid; as much of it as was asked for
	more bool   // there is more than that
	ends []int  // after which bytes a cut may be made, ascending; nil: not looked at yet
	most int
}

// newCutter prepares a text for lengths up to most.
func newCutter(s string, most int) cutter {
	// No more is looked at than shows that s is too long: one byte over the limit, and the rest of that character, which
	// decides whether there is a boundary before it. U+FFFD is never shorter than what it stands for.
	most = max(most, 0)
	c := cutter{text: s, most: most}
	if len(s) > most+utf8.UTFMax {
		c.text, c.more = s[:most+utf8.UTFMax], true
	}
	if !utf8.ValidString(c.text) {
		c.text = string([]rune(c.text)) // U+FFFD for every byte that is of no character
	}
	return c
}

// cut is Cut, for at most as many bytes as the cutter was made for.
func (c *cutter) cut(bytes int) string {
	if len(c.text) <= bytes && !c.more {
		return c.text
	}
	room := bytes - len(ellipsis)
	if room < 0 {
		return ""
	}
	if c.ends == nil {
		c.ends = boundaries(c.text, c.most-len(ellipsis))
	}
	i := sort.SearchInts(c.ends, room+1) // the first that is too far
	for i > 0 && c.text[c.ends[i-1]-1] == ' ' && (i == 1 && c.ends[0] == 1 || i > 1 && c.ends[i-1]-c.ends[i-2] == 1) {
		i-- // no space before the ellipsis
	}
	if i == 0 {
		return ellipsis
	}
	return c.text[:c.ends[i-1]] + ellipsis
}

// boundaries are the ends of the grapheme clusters that lie within so many bytes.
func boundaries(s string, upto int) []int {
	ends := make([]int, 0, min(upto, len(s))/2+1)
	at, state := 0, -1
	for at < len(s) {
		var cluster string
		cluster, _, _, state = uniseg.FirstGraphemeClusterInString(s[at:], state)
		if at += len(cluster); at > upto {
			break
		}
		ends = append(ends, at)
	}
	return ends
}

// shortest is how many bytes of a text are worth showing: below that a push goes without content.
const shortest = 24

// Fit makes the payload of a push that is at most so many bytes long, by whatever encoding. Where it is too long, its
// title, its body and its arguments are cut to the same greatest length with which it fits, so that a long message loses
// its end and a short name nothing. Where that leaves too little to read, the push goes without content: see Note.Bare.
// ErrTooLarge: not even that fits. Other errors are those of encode, which must not modify or keep the note. The push is
// left as it is.
func Fit(p *Push, max int, encode func(*Note) ([]byte, error)) ([]byte, error) {
	out, err := encode(&p.Note)
	if err != nil || len(out) <= max {
		return out, err
	}
	texts := cuttersOf(&p.Note, max)
	// Between a length with which it fits and one with which it does not.
	fits, over := 0, longest(&p.Note, max)
	var best []byte
	for try := shortest; fits < over-1; try = fits + (over-fits)/2 {
		if best == nil && try >= over {
			break
		}
		n := texts.note(&p.Note, try)
		if out, err = encode(&n); err != nil {
			return nil, err
		}
		if len(out) <= max {
			fits, best = try, out
			continue
		}
		if best == nil {
			break // too little would be left to read
		}
		over = try
	}
	if best != nil {
		return best, nil
	}
	bare := p.Note.Bare()
	if out, err = encode(&bare); err != nil {
		return nil, err
	}
	if len(out) > max {
		return nil, ErrTooLarge
	}
	return out, nil
}

// longest is how long a text of a note is at most, no more than so many bytes: no encoding makes a text shorter.
func longest(n *Note, most int) int {
	long := max(len(n.Title), len(n.Body))
	for _, a := range n.Args {
		long = max(long, len(a))
	}
	return min(long, most)
}

// cutters are the texts of a note, each different one once: the body is often an argument too.
type cutters map[string]*cutter

func cuttersOf(n *Note, most int) cutters {
	c := make(cutters, 2+len(n.Args))
	add := func(s string) {
		if c[s] == nil {
			made := newCutter(s, most)
			c[s] = &made
		}
	}
	add(n.Title)
	add(n.Body)
	for _, a := range n.Args {
		add(a)
	}
	return c
}

// note is a copy with no text longer than so many bytes.
func (c cutters) note(n *Note, bytes int) Note {
	out := *n
	out.Title, out.Body = c[n.Title].cut(bytes), c[n.Body].cut(bytes)
	out.Args = slices.Clone(n.Args)
	for i, a := range n.Args {
		out.Args[i] = c[a].cut(bytes)
	}
	return out
}

// Bare is the note without content: the same kind, thread, sequence and numbers, with a text that says that there is
// something new, and neither name, room nor words of anybody.
func (n *Note) Bare() Note {
	out := Note{Kind: n.Kind, Thread: n.Thread, Seq: n.Seq, Epoch: n.Epoch, Count: n.Count, Badge: n.Badge, Silent: n.Silent, Plain: n.Plain}
	if n.Key == "" && n.Title == "" && n.Body == "" {
		return out // it had nothing to show
	}
	out.Key, out.Body = KeyNew, n.Plain
	if out.Body == "" {
		out.Body = "New message"
	}
	return out
}
