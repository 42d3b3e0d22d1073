// Package search finds what people look for by words: open rooms and channels. It looks nothing up and stores nothing: who
// uses it brings the entries.
//
// Index holds every entry in memory and may be used from any goroutine. A text is normalised (NFKC, case folded, marks on
// Latin letters dropped) and cut into terms: words of scripts that put spaces between them are found by their beginnings,
// and of the others (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) every pair of neighbouring characters is a
// term, so that parts of words are found wherever they stand. Korean is written with spaces, but its words grow by what is
// joined to them, so it is among those. All terms of a query must be found in an entry. Memory is bounded by what is put
// in: at most MaxTerms terms an entry.
//
// What is found is ranked by how well the words fit, how much is going on, and how large it is. Both numbers are the
// caller's: of a channel they come from the daily snapshot, so that the order of results tells nothing newer.
//
// The package starts no goroutine.
package search
