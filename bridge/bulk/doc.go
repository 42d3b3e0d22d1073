// Package bulk sends the same push to many: announcements of the operators, and whatever else has a Source. A job reads
// its audience page by page and gives each device's push to the bulk class of its provider's lane, which never takes the
// share of chat.
//
// # Promises
//
//   - A job goes on after a crash where its last complete page ended. The pushes of the page that was under way go out
//     again under the same identifiers and collapse IDs, so a phone shows each job once.
//   - Each provider has a place of its own in each job: one that is down delays nobody else.
//   - One device or host that takes nothing for now delays nobody else: it is tried again along with later pages, until the
//     job ends. Only if there are more than a thousand of them, what has waited for an hour while others were told is given
//     up, and counted as late.
//   - Memory is one page per provider, and those thousand, however many are told. A page is read when the one before it is
//     settled but for them.
//   - Somebody for whom the Source has no push at the moment of sending gets none: who unfollowed during a broadcast is
//     not told.
//   - Create with an identifier that is known changes nothing and returns the job as it is.
//
// # Goroutines
//
//	who           how many             ended by
//	part worker   one per provider     Close
//
// Close waits for all of them.
package bulk
