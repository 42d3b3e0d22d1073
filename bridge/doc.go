// Package bridge wakes devices that are away: a reader of the journal that decides, per device and message, whether a
// phone rings, when, and with what, and gives that to the providers.
//
// # The path of a message
//
// The reader (reader.go) goes through the journal and asks of each receiver what it has registered. One with nothing costs
// that look. A device that is connected and in use gets an entry in memory, which is looked at once, after Config.Grace,
// and is gone if the device has acknowledged by then (watch.go). For any other device a worker asks the rules (work.go):
// they say that it never rings, that it waits, that it rings, that what the phone shows goes away, or that the device's
// summary tells of it. A push is made by the lane's goroutine when its turn has come, from what is true then (job.go), and
// a worker sees to what became of it. Members of large rooms are gone through beside the reader (crowd.go).
//
// What is kept of a conversation for a device is a ring: see state. In memory are those that something is under way with;
// the others are rows, which are in memory again when they are due, when a message comes that they do not tell of anyway,
// and when something is read, recalled or otherwise changes.
//
// # Posts of channels
//
// A post goes to followers, of whom there may be a million, so it has no rings: it is one job of package bulk, which the
// reader begins before its position passes the post (posts.go), and which asks about each follower when its turn has come
// (followers.go). What a follower and a channel write to each other are rings like any other (thread.go).
//
// # Exactly once, for the right reason
//
// Nothing is lost: the durable position moves over a run of entries only when nothing holds it any more (ledger.go). Who
// remembers a message in memory alone holds the run that it came in, until it is settled or a row, durable, tells of it.
// So do a read mark and a recall until it is known what they clear. At the start the rows that wait are found before the
// first entry is read.
//
//   - A crash before the POST: the run is held, the entry is read again, the rules are asked again.
//   - After the POST, before the row: the same, and what is made is the push about the same message under the same
//     identifier and collapse identifier, so that the provider or the phone puts one in the other's place. If more has
//     come meanwhile, or it was read, the push says so: it is then another one, that replaces the first where it was to.
//   - After the row, before the position: the entry is read again, and the row says in Done that it was decided for good. A
//     row goes early only where the same facts decide again in the same way: read, acknowledged, recalled, left.
//   - Between a message and the summary that it was folded into there is no moment: both rows are one change.
//
// The position is written lazily, which only means that more is read again.
//
// What came to nothing at the provider, and what a lane does not take, is a row with a time: an outage costs rows, one for
// each conversation and device however much is written, and no memory beyond the hints of when they are due, of which
// there is a fixed number (dues.go). Afterwards they go to the lane as it takes them, those that come due within the same
// second in order of age. What has waited too long by then the rules fold into one summary for each device.
//
// Not promised: a push that the provider took is on its way whatever is read or recalled meanwhile; what it shows is
// cleared or replaced then. What Changed is told of is not repeated after a crash. The pushes of a minute are counted in
// memory, so a restart allows a device as many again.
//
// # Full
//
// The rings in memory are bounded: beyond it the reader waits, and so does bringing in rows that are due. The journal and
// the rows are the queue. Rooms that wait to be gone through are bounded too, and messages of a room that waits already
// share one walk.
//
// # Goroutines
//
//	who      how many                                   ended by
//	follow   one per Bridge: reads the journal          Close
//	run      two per Bridge: go through large rooms     Close
//	watch    one per Bridge: looks at what is due       Close
//	fill     at most one: reads the rows for it         Close
//	work     32 per Bridge: decide and write rows       Close, after the lanes
//	bulk     those of package bulk                      Close
//	Close    one per lane, and of bulk: closes it       Close
//
// Close waits for all of them. A lane's goroutines call Build and Done; see package lane.
//
// # Locks
//
// A shard of the table guards the accounts and rings in it, and is never held while the store, a lane, the rules or the
// running server is asked. A worker has an account to itself while it decides, so its rows are written in order.
package bridge
