// Package openroom is what a nickname in an open room may be. It looks nothing up and stores nothing.
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
