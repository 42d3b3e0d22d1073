package store

import "sync/atomic"

// Kind says what a message is. Clients may send Text to Location; the others are the server's.
type Kind uint8

// The kinds, as the envelope's key k names them.
const (
	KindText Kind = iota
	KindImage
	KindVideo
	KindAudio
	KindFile
	KindPoll
	KindLocation
	KindLink
	KindCoupon
	KindGift
	KindSystem // an event of the conversation (joined, left, renamed …), told by Change
	KindNotice // a notice to one user's devices
)

var kindNames = [...]string{"text", "image", "video", "audio", "file", "poll", "location", "link", "coupon", "gift", "system", "notice"}

// String is the kind's name in an envelope.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// ParseKind is the inverse of String.
func ParseKind(s string) (Kind, bool) {
	for i, n := range kindNames {
		if n == s {
			return Kind(i), true
		}
	}
	return 0, false
}

// ByClient reports whether clients may send this kind by publishing.
func (k Kind) ByClient() bool { return k <= KindLocation }

// ByUser reports whether a user said it, by publishing or through an operation that sends for it, as links, coupons and
// gifts are sent: it counts as unread, can be answered, reacted to and taken back. The others are the server's.
func (k Kind) ByUser() bool { return k < KindSystem }

// Audience is who may ever see a record. It is decided once, before the append, and never again.
type Audience uint8

// The audiences.
const (
	AudienceBoth    Audience = iota // every member
	AudienceSender                  // the sender only: for everybody else the record does not exist
	AudienceRequest                 // the sender, and the receiver's request box
)

// OpKind is what an operation does to an earlier record.
type OpKind uint8

// The operations.
const (
	OpNone    OpKind = iota
	OpEdit           // replaces the text
	OpRecall         // takes the message back: its text is never delivered again
	OpReact          // adds an emoji (one per emoji and user)
	OpUnreact        // takes the emoji back
	OpPin            // pins
	OpUnpin          // unpins
)

var opNames = [...]string{"", "edit", "recall", "react", "unreact", "pin", "unpin"}

// String is the operation's name in an envelope.
func (o OpKind) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "unknown"
}

// ParseOp is the inverse of String; "" is not an operation.
func ParseOp(s string) (OpKind, bool) {
	for i, n := range opNames {
		if i > 0 && n == s {
			return OpKind(i), true
		}
	}
	return 0, false
}

// Op is an operation on an earlier record of the same log. The new text of an edit is the Text of the record that
// carries the operation; a reaction's emoji too.
type Op struct {
	Kind   OpKind
	Target Seq
}

// ChangeKind is what a Change does to a log.
type ChangeKind uint8

// The changes. Those from ChangeHide on are private to one member and carry no sequence. ChangeOpen to ChangeDecline are for
// pairs, whose two users are members only once something exists for them. ChangeOpen and ChangeClose are for threads, whose
// members come and go without the others seeing it.
const (
	ChangeNone    ChangeKind = iota
	ChangeJoin               // Account becomes a member with Role (or comes back), and sees records from From on (0: from this one)
	ChangeLeave              // Account leaves by itself
	ChangeRemove             // Account is removed by the sender
	ChangeRole               // Account gets Role
	ChangeTitle              // the room gets Title
	ChangeHide               // Account hides the conversation from its list until the next message
	ChangeDelete             // Account deletes [From, To] for itself
	ChangeOpen               // Account becomes a member that sees what comes from now on
	ChangeAccept             // Account accepts the other's requests in [From, To]: it becomes a member from From on, and sees them
	ChangeDecline            // Account declines the other's requests in [From, To]: they stay with their sender
	ChangeClose              // Account is no member any more, and sees nothing that comes from now on
)

// Change is a change to a log's membership or state, carried by the record that makes it. Tables of members are the
// projection of these records.
//
// ChangeAccept and ChangeDecline without From begin at the first request that waits, without To they go to the head at
// their commit. The committed record names both, and of a ChangeAccept RoleMember if its account became a member with it,
// else RoleNone.
type Change struct {
	Kind     ChangeKind
	Account  AccountID
	Role     Role
	Title    string
	From, To Seq
}

// Numbered reports whether a record with this change takes a sequence number and is shown to the members.
func (c ChangeKind) Numbered() bool { return c < ChangeHide }

// Record is one message, operation or system event of a log, as it was committed and as operations since then have
// left it: a recalled record has Recalled set and no Text or Extra; an edited one has its newest text and Edited.
// Records are immutable and shared.
type Record struct {
	Log      LogID
	Seq      Seq
	Time     int64     // server time of the commit, Unix milliseconds
	Sender   AccountID // 0: the server
	Device   DeviceID
	CID      string // the sender's own identifier of the message, "" without one
	Kind     Kind
	Audience Audience
	Warn     bool   // the receiver is shown a stranger warning
	Recalled bool   // an operation took it back, or a key without which its text cannot be read is gone
	Expiry   int64  // Unix milliseconds after which it is not delivered any more, 0: never
	Text     []byte // UTF-8
	Extra    []byte // further client fields (mentions, attachments, reply-to …) in CBOR, opaque to the store
	Op       Op
	Change   Change
	Position Position

	Edited   Seq       // the sequence of the newest edit, 0: none
	EditedBy AccountID // who wrote that edit: with its key the text is gone

	// Memo is a place for one reader-side derivation (the broker's encodings), kept as long as the record stays in
	// the tail cache. It is not part of the record: whoever finds it empty computes it again.
	Memo atomic.Pointer[Memo]
}

// Memo holds derivations of a record. Its fields belong to whoever fills them.
type Memo struct{ Value any }

// Draft is a record before its commit. Text and Extra are sealed by the store with the sender's data key.
type Draft struct {
	Log      LogID
	Sender   AccountID
	Device   DeviceID
	CID      string // ≤ 128 bytes; with one, a repeat within the de-duplication window gets the first receipt again
	PacketID uint16 // of an MQTT QoS 2 publish of a persistent session, 0 otherwise; a repeat until Release gets the first receipt again
	Kind     Kind
	Audience Audience
	Warn     bool
	Expiry   int64
	Text     []byte
	Extra    []byte
	Op       Op
	Change   Change

	// Need is the least role the sender must hold at the moment of commit; RoleNone asks nothing (the server's own
	// records). Version is the membership version the decision was taken under: if it has moved, the committer looks
	// again and refuses with ErrNotMember or ErrRole, so that a removal and a message have one order.
	Need    Role
	Version uint64
}

// Mark is a read mark: Account has read the log up to Seq on some device. Marks only move forward.
type Mark struct {
	Log     LogID
	Account AccountID
	Seq     Seq
}

// Release forgets packet identifiers of QoS 2 publishes of one device: one (PUBREL), or with PacketID 0 all (a clean
// start).
type Release struct {
	Account  AccountID
	Device   DeviceID
	PacketID uint16
}

// Receipt is what a durable append says.
type Receipt struct {
	Log      LogID
	Seq      Seq // 0 for what has no sequence
	Time     int64
	Epoch    Epoch
	Repeated bool // the same cid or packet identifier was stored before: this is its receipt
}

// Pending is the future result of an append. The zero value is unresolved.
type Pending struct {
	ready   atomic.Bool
	notify  atomic.Pointer[chan struct{}]
	done    atomic.Pointer[chan struct{}] // made by who asks for it
	receipt Receipt
	err     error
}

// NewPending returns an unresolved Pending for an implementation of Log.
func NewPending() *Pending { return new(Pending) }

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Resolved returns a Pending that has its result already.
func Resolved(r Receipt, err error) *Pending {
	p := &Pending{receipt: r, err: err}
	p.ready.Store(true)
	return p
}

// Resolve sets the result, once, by the implementation of Log.
func (p *Pending) Resolve(r Receipt, err error) {
	p.receipt, p.err = r, err
	p.ready.Store(true)
	if c := p.notify.Load(); c != nil {
		select {
		case *c <- struct{}{}:
		default:
		}
	}
	if c := p.done.Load(); c != nil {
		close(*c)
	}
}

// Ready reports whether the result is known.
func (p *Pending) Ready() bool { return p.ready.Load() }

// Notify makes Resolve send to a channel with room for one, unless something waits in it already. It is for one waiter
// that waits for many things by one channel; the signal may also be an earlier one, so the waiter asks Ready. A result
// that is known when Notify returns may have sent nothing.
func (p *Pending) Notify(c *chan struct{}) { p.notify.Store(c) }

// Done is closed when the result is known.
func (p *Pending) Done() <-chan struct{} {
	if p.ready.Load() {
		return closedChan
	}
	c := make(chan struct{})
	if !p.done.CompareAndSwap(nil, &c) {
		return *p.done.Load()
	}
	if p.ready.Load() { // Resolve may not have seen the channel
		return closedChan
	}
	return c
}

// Result waits for the result. A nil error means that the record is durable: it survives the death of the process
// and of the machine. Any other error means that nobody will ever see it, except CodeUnknown.
func (p *Pending) Result() (Receipt, error) {
	if !p.ready.Load() {
		<-p.Done()
	}
	return p.receipt, p.err
}
