// Package bolt is the embedded storage engine: the contracts of package store over one data directory. Messages lie in
// the segment files of package journal, what is looked up by key in bolt files, and recent things in memory.
//
// # What it promises
//
//   - A Pending with a nil error is durable: it survives kill -9 and a power cut. With any other error nobody will
//     ever see the record, also not after a restart (package journal says where that ends).
//   - Sequences are gapless in the order of commit. What a failed commit had taken is given again.
//   - Readers and followers see a record only after it is durable, and an edit or recall at once when it is.
//   - A cid or unreleased QoS 2 identifier that was stored gets its first receipt again, also across a crash: for a
//     cid 4,096 sends or 7 days of its device back.
//   - The index can be made anew from the journal at any time, also after retention removed segments.
//   - Bodies are sealed: who has the files without the key file reads no text. Accounts, membership, room titles,
//     sizes and times are not hidden. Without an account's salt its messages read as recalled.
//   - What was erased before Compact began is in no file that is looked up by key when it returns, nor is the key of what
//     its user wrote: those bodies never open again.
//   - One process has a directory open. Memory does not grow with what is stored.
//
// # What it does not promise
//
// Cursors and reader positions may be up to a second old after a crash. Retention removes whole segments, so records
// live somewhat longer than asked for. Until then the journal keeps of an erased user's messages what it keeps of every
// message: the sealed body, which nobody can open any more, numbers, times, and the cid that the client gave it. Backups
// made before an erasure hold what they held. An index, unlike the journal, may be lost: then a start takes about a second per
// few hundred thousand records.
//
// # The files
//
//	FORMAT          version, identity, epoch, fingerprint of the key
//	LOCK            the process that has the directory open
//	journal/        all that is ordered with messages (codec.go)
//	index.bolt      derived from the journal (index.go)
//	directory.bolt  accounts, devices, tokens, edges
//	state.bolt      sessions with cursors, reader positions
//	keys/           the master key, unless Config.KeyFile says otherwise
//
// # Goroutines
//
//	committer   1                the only one that appends to the journal; ended by Close, when the queue is empty
//	keeper      1                checkpoints, free space, retention; ended by Close
//	writer      1 per bolt file  directory and state: commits changes in groups; ended by Close, when its queue is empty
//	flusher     1                writes cursors about every second; ended by Close
//	warm        4                read the index ahead while Open runs
//
// The journal has one of its own. Close waits for all of them.
//
// # Queues
//
//	commits     65,536 records or 64 MiB; then Append is CodeUnavailable at once
//	followers   64 batches or 8,192 entries are kept for those up to date; who is behind reads the journal
//	changes     4,096 per bolt file; then callers wait for a place, or for their context
//	cursors     1,048,576 that wait to be written; then new ones are dropped, which costs redeliveries
//	tail cache  Config.CacheBytes; then the oldest records are read from the journal
//
// DESIGN.md has the reasons and the measurements.
package bolt
