// Package openroom is what open rooms need beside storage: the rules for nicknames, and a search over titles, tags and
// descriptions. It looks nothing up and stores nothing: who uses it brings the rooms.
//
// # Search
//
// Index holds every open room in memory and may be used from any goroutine. A text is normalised (NFKC, case folded,
// marks on Latin letters dropped) and cut into terms: words of scripts that put spaces between them are found by their
// beginnings, and of the others (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) every pair of neighbouring
// characters is a term, so that parts of words are found wherever they stand. Korean is written with spaces, but its
// words grow by what is joined to them, so it is among those. All terms of a query must be found in a room. Memory is
// bounded by what is put in: at most MaxTerms terms a room.
//
// # Nicknames
//
// CleanNick is what is shown, Skeleton what must be unique: two nicknames that look alike have the same skeleton. The
// table of look-alikes is our own, of the letters that are used to pass for others in practice: Cyrillic, Greek,
// Armenian and Cherokee letters that look Latin, digits and signs that stand for letters, and pairs such as rn for m. It
// is no copy of Unicode's confusables, which has thousands of rows that no keyboard writes; letters of other scripts that
// only resemble each other stay different.
//
// The package starts no goroutine.
package openroom
