package store

import "context"

// LogKind says what a log is for.
type LogKind uint8

// The kinds of log.
const (
	LogPair   LogKind = 1 // two users, or one user's notes to itself
	LogRoom   LogKind = 2
	LogNotice LogKind = 3 // what the server tells one user's devices

	LogChannel LogKind = 4 // a brand channel's notices
	LogAds     LogKind = 5 // a brand channel's advertising
	LogThread  LogKind = 6 // what one follower and a channel write to each other
)

// Key names a log by what it is for. Exactly one log exists per key.
type Key struct {
	Kind LogKind
	A, B AccountID // LogPair: both, A <= B (see PairKey). LogNotice: A. LogThread: the follower is A.
	Name string    // LogRoom: the room's identifier, lower case. LogChannel, LogAds, LogThread: the channel's
}

// PairKey is the key of the conversation of two users, in whatever order; of one user with itself: notes.
func PairKey(a, b AccountID) Key {
	if a > b {
		a, b = b, a
	}
	return Key{Kind: LogPair, A: a, B: b}
}

// RoomKey is the key of a room.
func RoomKey(name string) Key { return Key{Kind: LogRoom, Name: name} }

// NoticeKey is the key of a user's notices.
func NoticeKey(a AccountID) Key { return Key{Kind: LogNotice, A: a} }

// Peer is the other side of a pair as seen by a member; of notes, the member itself.
func (k Key) Peer(me AccountID) AccountID {
	if k.A == me {
		return k.B
	}
	return k.A
}

// LogInfo is a snapshot of a log's head and membership.
type LogInfo struct {
	ID       LogID
	Key      Key
	Title    string
	Head     Seq   // sequence of the newest record, 0 when empty
	First    Seq   // the oldest sequence still kept; 1 before retention removed anything
	HeadTime int64 // Unix milliseconds of the newest record, of the creation when empty
	Members  *Membership
	// Sides: LogPair: of Key.A and of Key.B (of notes the first alone). LogThread: of the follower and of the channel. Zero
	// for other kinds.
	Sides [2]Side
}

// Side is what one user of a pair, or the follower or the channel of a thread, may know of it, and has said in it. It is a projection of the records like the
// membership.
type Side struct {
	// Head is the newest record this user may know of: one that everybody sees, or its own; a request of the other one
	// counts once it is accepted. 0: none. HeadTime is its time in Unix milliseconds.
	Head     Seq
	HeadTime int64
	// Wrote is the time (Unix milliseconds) of this user's newest message that the other one sees or is asked to accept:
	// no operation, no change, whatever its kind but system and notice. 0: none.
	Wrote int64
	// Requests is how many messages of this user wait in the other one's request box, at most MaxRequests, and First the
	// sequence of the first of them, 0 for none. Operations on such messages are not counted.
	Requests int
	First    Seq
}

// MaxRequests is how many messages of one user wait in a request box at most. The committer makes a further
// AudienceRequest message an AudienceSender one, so that messages on their way at the same time cannot exceed it and
// their sender sees no difference.
const MaxRequests = 3

// Side is the side of one of the two users of a pair, zero for anybody else; in a thread of the follower, or for anybody
// else the channel's.
func (i *LogInfo) Side(a AccountID) Side {
	switch {
	case i.Key.Kind == LogThread && a == i.Key.A:
		return i.Sides[0]
	case i.Key.Kind == LogThread:
		return i.Sides[1]
	case i.Key.Kind != LogPair:
	case a == i.Key.A:
		return i.Sides[0]
	case a == i.Key.B:
		return i.Sides[1]
	}
	return Side{}
}

// Creation says how a log begins.
type Creation struct {
	By      AccountID // recorded as the one who created it
	Title   string
	Members []Member // Account and Role of the first members; they see the log from its first record on. Of a pair one may do
}

// Query selects records of one log in ascending order.
type Query struct {
	Log    LogID
	Viewer AccountID // whose eyes: records the viewer may not see are withheld; 0 sees all (the server itself)
	After  Seq       // exclusive
	Upto   Seq       // inclusive; 0: the head
	Max    int       // records; 0: 64
	Bytes  int       // stop after this many bytes of text and extra; 0: 256 KiB. At least one record is returned

	// Withhold leaves out more than membership and audience do, for this reader alone. It is asked for every record that
	// those show, as it was committed: true leaves it out. A message whose newest edit is withheld has the text of the
	// edit before, or its first; a recall takes the text from everybody, withheld or not. nil withholds nothing. It may
	// read the log; its error is that of Read.
	Withhold func(*Record) (bool, error)
}

// Page is the answer to a Query.
type Page struct {
	Records []*Record // what the viewer may see
	Next    Seq       // everything up to here has been considered: the After of the next query
	Head    Seq       // the head at that moment
}

// Entry is one journal record as followers see it.
type Entry struct {
	Position Position
	Record   *Record     // a message, or with Seq 0 a private change; nil for a mark, a release and a creation
	Mark     *Mark       // a read mark that moved
	Key      Key         // of the log; the zero Key for a release, which belongs to none
	Members  *Membership // after the entry, or later if the follower is behind
}

// Batch is a run of entries in journal order.
type Batch struct {
	Entries []Entry
	Next    Position // where the next Follow continues
}

// LogRef is one log of a user.
type LogRef struct {
	LogInfo
	Me Member // the user's own standing; RoleNone after leaving
}

// Log is the contract of the journal and what is derived from it. Every method may be called from any goroutine.
//
// Errors have a code: CodeNotFound for a log that does not exist, CodeUnavailable when the disk fails (nothing was
// applied or will be seen; a full disk too, so that senders keep what they have), CodeUnknown.
type Log interface {
	// Open returns the log with this key, creating it durably with these first members if there is none. created
	// tells which. An existing log is returned as it is.
	Open(ctx context.Context, key Key, c Creation) (info LogInfo, created bool, err error)

	// Find returns the log with this key, CodeNotFound if there is none.
	Find(key Key) (LogInfo, error)

	// Info returns the log's snapshot. Cheap: it is asked per message.
	Info(log LogID) (LogInfo, error)

	// Append joins a record to the next group commit and returns at once. It refuses before joining what cannot be
	// appended (no such log, too large, not a member at Draft.Version). A cid or QoS 2 packet identifier that was
	// stored before, or is being stored, gets the result of that one, with Repeated set. Order: of two Appends by one
	// goroutine the first has the smaller sequence.
	//
	// With Draft.Need the role at the moment of commit decides (ErrNotMember, ErrRole). A membership change that was
	// decided under an older Version and has nothing left to do, because somebody else was faster, is ErrConflict. An
	// operation on a sequence that does not exist yet is CodeBad.
	//
	// ChangeOpen, ChangeAccept and ChangeDecline are for the two users of a pair, ChangeOpen and ChangeClose for everybody in
	// a thread; anything else is CodeBad. One that has nothing to do is resolved without a record. Before a ChangeAccept is appended the cursors of the accepter's devices
	// go back to before the first accepted record (Sessions.Rewind), so that every device gets what becomes visible.
	Append(d Draft) *Pending

	// SetMark moves a read mark forward (a smaller or equal mark is resolved without writing; one above the head is
	// capped to it). Same durability as Append. Receipt.Seq is the mark; an account that is no active member is
	// ErrNotMember.
	SetMark(m Mark) *Pending

	// Release forgets QoS 2 packet identifiers. Same durability as Append. Repeated in the receipt tells whether there
	// was anything to forget.
	Release(r Release) *Pending

	// Read returns a page of records, operations applied: a recalled record never shows its text again once the
	// recall is durable; nor does an edit of it, and an edit whose target retention has removed. Operations that only
	// their sender sees (Audience) change records for that viewer alone. An edit without Extra leaves the Extra as it
	// was. Reading before First returns CodeTrimmed with First set. A viewer who is no member sees nothing.
	Read(q Query) (Page, error)

	// Standing returns the read marks of a log's active members.
	Standing(log LogID) (Marks, error)

	// MarkOf is Standing(log).Of(a), for who asks about one user. Cheap: it is asked per message and receiver.
	MarkOf(log LogID, a AccountID) (Seq, error)

	// LogsOf returns the logs the user is or was a member of, by LogID, at most max after the given one (0 from the
	// start; max 0: 1,000). A pair is a log of a user only from its ChangeOpen or ChangeAccept on, if it was not opened
	// with it.
	LogsOf(a AccountID, after LogID, max int) ([]LogRef, error)

	// RequestsTo returns the pairs in which messages of the other user wait in this one's request box (Side.Requests), by
	// LogID, at most max after the given one (0 from the start; max 0: 1,000).
	RequestsTo(a AccountID, after LogID, max int) ([]LogInfo, error)

	// Logs lists the logs of a kind by number after the given one (0 from the start), at most max (0: 1,000), whoever is in
	// them. A log that is created meanwhile may be missing.
	Logs(kind LogKind, after LogID, max int) ([]LogInfo, error)

	// Follow returns the entries from a position on, waiting for the next commit if there are none yet, until ctx
	// ends. Only durable entries are returned, each once, in order. A position before the oldest kept one is
	// CodeTrimmed. At most a few thousand entries are returned at a time; a follower that is behind reads from disk.
	Follow(ctx context.Context, from Position) (Batch, error)

	// Bounds returns the oldest kept position and the position after the newest durable entry.
	Bounds() (first, end Position)

	// Epoch is the store's current epoch.
	Epoch() Epoch
}
