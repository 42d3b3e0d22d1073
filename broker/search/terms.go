package search

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// posting says that a term occurs in an entry: the entry's place in Index.entries, shifted, and in which fields.
type posting uint32

// The fields a term occurs in.
const (
	inTitle posting = 1 << iota
	inTag
	inText
	fieldBits = 3
	fields    = 1<<fieldBits - 1
)

func (p posting) entry() int { return int(p >> fieldBits) }

// word is a term with the entries it occurs in, by place.
type word struct {
	term    string
	entries []posting
}

// shelf keeps words in order, in drawers by their first and second character: every question is for the words that begin
// so, and a new word moves few others.
type shelf map[rune]map[rune][]*word

// drawer is where a term lies. A term of one character lies in drawer -1.
func drawer(term string) (a, b rune) {
	a, n := utf8.DecodeRuneInString(term)
	if n == len(term) {
		return a, -1
	}
	b, _ = utf8.DecodeRuneInString(term[n:])
	return a, b
}

func (s shelf) find(term string) (words []*word, at int, found bool) {
	a, b := drawer(term)
	words = s[a][b]
	at, found = slices.BinarySearchFunc(words, term, func(w *word, t string) int { return strings.Compare(w.term, t) })
	return words, at, found
}

func (s shelf) put(term string, words []*word) {
	a, b := drawer(term)
	if s[a] == nil {
		s[a] = make(map[rune][]*word)
	}
	if s[a][b] = words; len(words) > 0 {
		return
	}
	if delete(s[a], b); len(s[a]) == 0 {
		delete(s, a)
	}
}

func (s shelf) add(term string, p posting) {
	words, at, found := s.find(term)
	if !found {
		w := &word{term: strings.Clone(term), entries: []posting{p}}
		s.put(term, slices.Insert(words, at, w))
		return
	}
	w := words[at]
	i, found := slices.BinarySearchFunc(w.entries, p, byEntry)
	if found {
		w.entries[i] |= p
		return
	}
	w.entries = slices.Insert(w.entries, i, p)
}

// remove takes an entry from a term, and the term away with its last entry.
func (s shelf) remove(term string, entry int) {
	words, at, found := s.find(term)
	if !found {
		return
	}
	w := words[at]
	i, found := slices.BinarySearchFunc(w.entries, posting(entry)<<fieldBits, byEntry)
	if !found {
		return
	}
	if w.entries = slices.Delete(w.entries, i, i+1); len(w.entries) > 0 {
		return
	}
	s.put(term, slices.Delete(words, at, at+1))
}

func byEntry(a, b posting) int { return a.entry() - b.entry() }

// beginning calls fn with the words that begin with a prefix, in no order.
func (s shelf) beginning(prefix string, fn func(*word)) {
	a, b := drawer(prefix)
	if b == -1 {
		for _, words := range s[a] {
			for _, w := range words {
				fn(w)
			}
		}
		return
	}
	words, at, _ := s.find(prefix)
	for ; at < len(words) && strings.HasPrefix(words[at].term, prefix); at++ {
		fn(words[at])
	}
}
