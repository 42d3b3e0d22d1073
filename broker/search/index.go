package search

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
)

// Entry is an open room or a channel, as the index knows it.
type Entry struct {
	Log         store.LogID
	Name        string // the identifier, unique
	Title       string
	Description string
	Tags        []string
	Language    string // BCP 47, "" for none
	Country     string // ISO 3166-1 alpha-2, "" for none
	Size        int
	Hidden      bool // known, and never found: who looks around does not see it

	// Activity is how much is going on in it, in events: each counts 1 and half of that every HalfLife. At is the
	// moment the number is for (Unix milliseconds).
	Activity float64
	At       int64
}

// HalfLife is how long it takes until an event counts half in an entry's activity.
const HalfLife = 72 * time.Hour

func (r *Entry) activity(now int64) float64 {
	if now <= r.At {
		return r.Activity
	}
	return r.Activity * math.Exp2(-float64(now-r.At)/float64(HalfLife.Milliseconds()))
}

// Index finds entries by their texts. The zero value is not usable: see New.
type Index struct {
	mu      sync.RWMutex
	words   shelf
	entries []Entry             // a free place has Log 0
	tags    [][]string          // of each entry, folded
	free    []int               // places
	at      map[store.LogID]int // where an entry is
}

// New returns an empty index.
func New() *Index { return &Index{words: make(shelf), at: make(map[store.LogID]int)} }

// Len is how many entries it knows.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.at)
}

// Put enters an entry, or what changed about it. Of an entry that it knows the activity stays as it is.
func (x *Index) Put(r Entry) {
	r.Tags = slices.Clone(r.Tags)
	x.mu.Lock()
	defer x.mu.Unlock()
	place, known := x.at[r.Log]
	if known {
		old := &x.entries[place]
		r.Activity, r.At = old.Activity, old.At
		if old.Title == r.Title && old.Description == r.Description && slices.Equal(old.Tags, r.Tags) {
			*old = r
			return
		}
		x.unlist(place)
	} else if n := len(x.free); n > 0 {
		place, x.free = x.free[n-1], x.free[:n-1]
	} else {
		place = len(x.entries)
		x.entries, x.tags = append(x.entries, Entry{}), append(x.tags, nil)
	}
	x.entries[place], x.at[r.Log], x.tags[place] = r, place, folded(r.Tags)
	eachTerm(&r, func(term string, field posting) { x.words.add(term, posting(place)<<fieldBits|field) })
}

// Remove forgets an entry.
func (x *Index) Remove(log store.LogID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	place, known := x.at[log]
	if !known {
		return
	}
	x.unlist(place)
	delete(x.at, log)
	x.entries[place], x.tags[place] = Entry{}, nil
	x.free = append(x.free, place)
}

func (x *Index) unlist(place int) {
	eachTerm(&x.entries[place], func(term string, _ posting) { x.words.remove(term, place) })
}

// eachTerm calls fn with the terms of an entry, at most MaxTerms.
func eachTerm(r *Entry, fn func(string, posting)) {
	n := 0
	in := func(field posting) func(string) bool {
		return func(term string) bool {
			fn(term, field)
			n++
			return n < MaxTerms
		}
	}
	terms(r.Title, false, in(inTitle))
	for _, t := range r.Tags {
		if n < MaxTerms {
			terms(t, false, in(inTag))
		}
	}
	if n < MaxTerms {
		terms(r.Description, false, in(inText))
	}
}

// News is what happened in an entry.
type News struct {
	Log    store.LogID
	Events int
	Size   int // how many there are now, -1: not known
}

// Tell counts what happened at a moment (Unix milliseconds). Entries it does not know are passed over.
func (x *Index) Tell(news []News, now int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, n := range news {
		place, known := x.at[n.Log]
		if !known {
			continue
		}
		r := &x.entries[place]
		if n.Events > 0 {
			r.Activity, r.At = r.activity(now)+float64(n.Events), max(r.At, now)
		}
		if n.Size >= 0 {
			r.Size = n.Size
		}
	}
}

// Weigh replaces what an entry is ranked by, but for its texts. An entry it does not know is passed over.
func (x *Index) Weigh(log store.LogID, size int, activity float64, at int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if place, known := x.at[log]; known {
		e := &x.entries[place]
		e.Size, e.Activity, e.At = size, activity, at
	}
}

// Knows reports whether a log is an entry of the index.
func (x *Index) Knows(log store.LogID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, known := x.at[log]
	return known
}

// Query says which entries are looked for.
type Query struct {
	Text     string   // all its terms must be found; "" finds everything
	Tags     []string // all of them must be tags of the entry, letter for letter but for case and width
	Language string   // of the entry: "pt" finds "pt-BR"; "" is any
	Country  string
	After    string // Found.Next of the page before
	Max      int    // entries of a page; 0: 20

	// Skip leaves out an entry for this reader alone. It is called without a lock.
	Skip func(store.LogID) bool
}

// Found is a page of results, the best first. Equally good ones are in the order of their names.
type Found struct {
	Entries []Entry // copies; the tags are shared
	Next    string  // the After of the next page, "" for the last
}

// Search finds entries. now is in Unix milliseconds. An After that is no Next is CodeBad.
func (x *Index) Search(q Query, now int64) (Found, error) {
	if q.Max <= 0 {
		q.Max = 20
	}
	from, err := parseMark(q.After)
	if err != nil {
		return Found{}, err
	}
	if from.now == 0 {
		from.now = now
	}
	var out Found
	for len(out.Entries) < q.Max {
		list, more := x.best(&q, from, q.Max+1-len(out.Entries))
		for _, h := range list {
			from.hit = h
			if q.Skip != nil && q.Skip(h.entry.Log) {
				continue
			}
			if out.Entries = append(out.Entries, h.entry); len(out.Entries) == q.Max {
				if more || h.entry.Log != list[len(list)-1].entry.Log {
					out.Next = from.String()
				}
				return out, nil
			}
		}
		if !more {
			break
		}
	}
	return out, nil
}

// hit is an entry that was found, and how well it fits.
type hit struct {
	score float64
	entry Entry
}

// compare puts the better one first.
func (h hit) compare(o hit) int {
	return cmp.Or(cmp.Compare(o.score, h.score), strings.Compare(h.entry.Name, o.entry.Name))
}

// mark is where a page ended: after this hit, and what was worth how much at which moment, so that all pages agree.
type mark struct {
	hit
	now int64
}

func (m mark) String() string {
	return strconv.FormatUint(math.Float64bits(m.score), 36) + "." + strconv.FormatInt(m.now, 36) + "." + m.entry.Name
}

func parseMark(s string) (m mark, err error) {
	m.score = math.Inf(1)
	if s == "" {
		return m, nil
	}
	score, rest, _ := strings.Cut(s, ".")
	now, name, ok := strings.Cut(rest, ".")
	bits, err1 := strconv.ParseUint(score, 36, 64)
	at, err2 := strconv.ParseInt(now, 36, 64)
	if m.score = math.Float64frombits(bits); !ok || err1 != nil || err2 != nil || at <= 0 || math.IsNaN(m.score) {
		return m, store.Bad("after must be what the page before told as next")
	}
	m.now, m.entry.Name = at, name
	return m, nil
}

// best returns the best hits after a mark, at most max, and whether there are more.
func (x *Index) best(q *Query, after mark, max int) (list []hit, more bool) {
	tags := folded(q.Tags)
	x.mu.RLock()
	defer x.mu.RUnlock()
	var top worst
	x.each(q.Text, func(place int, fit float64) {
		r := &x.entries[place]
		if r.Log == 0 || r.Hidden || !q.suits(r) || !holds(x.tags[place], tags) {
			return
		}
		h := hit{score: fit + math.Log2(1+r.activity(after.now)) + math.Log2(1+float64(r.Size))/2}
		h.entry.Name = r.Name
		if h.compare(after.hit) <= 0 {
			return
		}
		h.entry.Log = r.Log
		if len(top) > max {
			if h.compare(top[0]) > 0 {
				return
			}
			top[0] = h
			heap.Fix(&top, 0)
			return
		}
		heap.Push(&top, h)
	})
	slices.SortFunc(top, hit.compare)
	if more = len(top) > max; more {
		top = top[:max]
	}
	for i := range top {
		top[i].entry = x.entries[x.at[top[i].entry.Log]]
	}
	return top, more
}

// folded is every tag, folded; the list itself if it is already.
func folded(tags []string) []string {
	out := tags
	for i, t := range tags {
		f := Fold(t)
		if f != t && &out[0] == &tags[0] {
			out = slices.Clone(tags)
		}
		if &out[0] != &tags[0] {
			out[i] = f
		}
	}
	return out
}

// holds reports whether all wanted tags are there.
func holds(have, want []string) bool {
	for _, t := range want {
		if !slices.Contains(have, t) {
			return false
		}
	}
	return true
}

func (q *Query) suits(r *Entry) bool {
	if q.Country != "" && !strings.EqualFold(q.Country, r.Country) {
		return false
	}
	if n := len(q.Language); n > 0 {
		if len(r.Language) < n || !strings.EqualFold(r.Language[:n], q.Language) || len(r.Language) > n && r.Language[n] != '-' {
			return false
		}
	}
	return true
}

// What it is worth that a term of the query is found. A term in a title counts as much as 8 times the activity.
func worth(p posting) float64 {
	switch {
	case p&inTag != 0:
		return 4
	case p&inTitle != 0:
		return 3
	}
	return 1
}

// each calls fn with the entries in which all terms of a text are found. The caller holds mu.
func (x *Index) each(text string, fn func(place int, fit float64)) {
	var asked []string
	terms(text, true, func(term string) bool {
		if !slices.Contains(asked, term) {
			asked = append(asked, term)
		}
		return len(asked) < maxAsked
	})
	if len(asked) == 0 {
		if strings.TrimSpace(text) == "" {
			for i := range x.entries {
				fn(i, 0)
			}
		}
		return
	}
	found := make([]uint8, len(x.entries)) // how many terms, those before the current one without a gap
	fit := make([]uint8, len(x.entries))   // their worth
	last := make([]uint8, len(x.entries))  // worth of the current term
	for i, term := range asked {
		clear(last)
		x.words.beginning(term, func(w *word) {
			for _, p := range w.entries {
				at := p.entry()
				if int(found[at]) < i {
					continue
				}
				found[at] = uint8(i) + 1
				v := uint8(worth(p))
				if w.term == term {
					v++ // the whole word
				}
				if v > last[at] {
					fit[at] += v - last[at]
					last[at] = v
				}
			}
		})
	}
	for at, n := range found {
		if int(n) == len(asked) {
			fn(at, float64(fit[at]))
		}
	}
}

// worst is a heap with the worst hit on top.
type worst []hit

func (w worst) Len() int           { return len(w) }
func (w worst) Less(i, j int) bool { return w[i].compare(w[j]) > 0 }
func (w worst) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *worst) Push(h any)        { *w = append(*w, h.(hit)) }

func (w *worst) Pop() any {
	last := len(*w) - 1
	h := (*w)[last]
	*w = (*w)[:last]
	return h
}
