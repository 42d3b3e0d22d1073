// Package files keeps what is too large for a message: photos, videos, voice, documents.
//
// A client asks for a slot, uploads to the signed address it gets, and names the file in an attachment of a message.
// Whoever sees that message may ask for a link: a signed address that works for a few minutes. There is no other way to a
// file, its identifier says nothing about who sent it, and only files that one owns or was shown can be attached.
//
// What an upload says it is must be what it looks like. Place, time, device and whatever else the file tells of its making
// is removed from pictures and videos before anybody else can get them; pictures get a thumbnail. Downloads carry headers
// that keep a browser from running them; serve them from an origin of their own.
//
// A file goes when its last message is recalled or removed by retention, when its owner is erased, or when it was never
// attached. A reader of the journal with a durable position keeps count.
//
// Where the bytes lie is a Blobs: Disk in a directory, S3 in a bucket.
//
// # Goroutines
//
//	read    1, counts which messages hold which file; ended by Close
//	sweep   1, removes what is due; ended by Close
package files
