// Package journal keeps records in segment files: bytes in, positions out. It knows nothing of what
// the records mean, keeps no index, and calls nobody.
//
// # What it promises
//
//   - Append with a nil error means that the records are on disk: one write and one fdatasync for all
//     of them. They survive a killed process and a power cut.
//   - Records are read back exactly, or not at all: every read checks a CRC-32C over the record, its
//     length and its position.
//   - An Append is all or nothing. With an error none of its records is visible, also after a
//     restart. After a crash in the midst of it either all of them are there or none.
//   - Positions grow with every record, are never given twice to durable records, and stay valid
//     until DropBefore removes their segment.
//   - Readers, Snapshot and DropBefore do not delay an Append other than by their use of the disk: they
//     share no lock with it.
//   - Open reads one segment, however many there are.
//
// # What it does not promise
//
// The disk must do what fdatasync asks. If it reports an error, nobody knows what of that write is on
// it. The journal then cuts the refused bytes off, and begins a new segment at the confirmed end;
// whichever of the two is durable first makes them count for nothing. If both fail, Append's error
// says so and the next Append tries again before it writes. Should the process or the machine
// die in just that time, the next Open may find the refused Append whole, and then keeps it. And a
// write that failed may have damaged the block it shares with the last confirmed records; the CRC
// tells, the bytes are gone.
//
// An Append under way in a crash may be there after it although nobody was told: the caller knows its
// records by its own identifiers.
//
// A damaged record amid good ones, a bit that flipped on the disk, is reported (ErrCorrupt) and never
// repaired. In the newest segment Open tells it from an unfinished Append by what follows: Appends are
// synced one by one, so a later Append proves that the earlier one was confirmed. Only in the very
// last Append the two look the same, and it is dropped with a log line.
//
// # Files
//
// A directory holds a LOCK file, segments named by the position of their first record (20 digits and
// ".seg") and, for a moment or until Close, files that end in ".tmp" and mean nothing. A segment's
// records end where the next segment begins; the newest one's at the first zero. Frames and header
// are described in frame.go. A segment is preallocated, so a write neither grows the file nor finds
// the disk full; it is cut to its length once it is sealed.
//
// # Goroutines
//
//	keeper   one per Journal, begun by Open, ended and awaited by Close: prepares the next
//	         segment's file, cuts sealed ones. It is woken through a channel with one place; a wake-up
//	         that finds it full is not needed.
//
// Everything else runs on the caller's goroutine.
package journal
