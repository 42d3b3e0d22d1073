package push

import (
	"slices"
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
	// No more is looked at than shows that s is too long: one byte over the limit, and the rest of that character, which
	// decides whether there is a boundary before it. U+FFFD is never shorter than what it stands for.
	seen := s
	if len(s) > max(bytes, 0)+utf8.UTFMax {
		seen = s[:max(bytes, 0)+utf8.UTFMax]
	}
	clean := seen
	if !utf8.ValidString(seen) {
		clean = string([]rune(seen)) // U+FFFD for every byte that is of no character
	}
	if len(clean) <= bytes && len(seen) == len(s) {
		return clean
	}
	room := bytes - len(ellipsis)
	if room < 0 {
		return ""
	}
	end, at, state := 0, 0, -1
	for at < len(clean) {
		var cluster string
		cluster, _, _, state = uniseg.FirstGraphemeClusterInString(clean[at:], state)
		if at += len(cluster); at > room {
			break
		}
		if cluster != " " { // none before the ellipsis
			end = at
		}
	}
	return clean[:end] + ellipsis
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
	// Between a length with which it fits and one with which it does not.
	fits, over := 0, longest(&p.Note)
	var best []byte
	for fits < over-1 {
		try := fits + (over-fits)/2
		if best == nil {
			try = shortest // whether it is worth while at all
			if over <= shortest {
				break
			}
		}
		n := p.Note.cut(try)
		if out, err = encode(&n); err != nil {
			return nil, err
		}
		switch {
		case len(out) <= max:
			fits, best = try, out
		case best == nil:
			over = 0
		default:
			over = try
		}
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

func longest(n *Note) int {
	most := max(len(n.Title), len(n.Body))
	for _, a := range n.Args {
		most = max(most, len(a))
	}
	return most
}

// cut is a copy with no text longer than so many bytes.
func (n *Note) cut(bytes int) Note {
	out := *n
	out.Title, out.Body = Cut(n.Title, bytes), Cut(n.Body, bytes)
	out.Args = slices.Clone(n.Args)
	for i, a := range out.Args {
		out.Args[i] = Cut(a, bytes)
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
