// Package bulk sends the same push to many: announcements of the operators, and whatever else has a Source. A job reads
// its audience page by page and gives each device's push to the bulk class of its provider's lane, which never takes the
// share of chat.
//
// # Promises
//
//   - A job goes on after a crash where its last complete page ended. The pushes of the page that was under way go out
//     again under the same identifiers and collapse IDs, so a phone shows each job once.
//   - Each provider has a place of its own in each job: one that is down delays nobody else. Where they are abreast, what one
//     has found is for all of them, so that a large audience is read once and not once for each.
//   - One device or host that takes nothing for now delays nobody else: it is tried again along with later pages, until the
//     job ends. Only if there are more than a thousand of them, what has waited for an hour while others were told is given
//     up, and counted as late.
//   - Memory is one page per provider, those thousand, and the last few pages that were found, however many are told. A page
//     is read when the one before it is settled but for them.
//   - Jobs take turns by the page: one with few to tell does not wait for the end of one with many.
//   - Somebody whom the Source has wait until a time is told then, once, by a job for the rest that is durable before the page
//     is: see Deferred and Later. It costs a row for each such time, not for each user.
//   - What a job has sent when it is paused, or the program ends, is not sent again when it goes on.
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
