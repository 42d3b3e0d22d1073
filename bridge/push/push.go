package push

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Class is how urgent a push is. A lower class goes first, and none takes the share of another: see package lane.
type Class uint8

// The classes.
const (
	Chat  Class = iota // somebody writes to somebody
	Clear              // takes a notification away or sets a badge
	Bulk               // the same to many: announcements, posts of channels
)

var classNames = [...]string{"chat", "clear", "bulk"}

// Classes are all of them, the most urgent first.
func Classes() []Class { return []Class{Chat, Clear, Bulk} }

func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// Kind is what a push is about.
type Kind string

// The kinds, as clients see them.
const (
	KindMessage  Kind = "message"  // one message of a conversation
	KindMessages Kind = "messages" // several unread messages of one conversation; replaces what was shown of it
	KindSummary  Kind = "summary"  // unread messages, of whatever conversations
	KindRequests Kind = "requests" // strangers wait in the request box
	KindClear    Kind = "clear"    // nothing to show: what was shown of the conversation goes
	KindNotice   Kind = "notice"   // the server tells the user something, such as a sign-in on a new device
	KindAnnounce Kind = "announce" // the operators tell everybody something
	KindPost     Kind = "post"     // a channel that the user follows has posted something
)

// Note is what a phone is to show or do, independent of who carries it. Every text in it is meant for the user's eyes:
// with a hidden preview there is no name and no message text in any field.
type Note struct {
	Kind   Kind
	Thread string    // groups the notifications of one conversation; opaque, different for every user. "": of none
	Room   string    // the conversation's topic without the view: room/lobby, user/alice. "" if hidden or of none
	Seq    store.Seq // of the newest message it is about, 0: of none. A client drops what is not newer than what it showed
	Epoch  store.Epoch
	Count  int  // unread messages of the conversation, of all of them in a summary
	Badge  int  // number at the app's icon; negative: it stays as it is
	Silent bool // no sound: it replaces what rang already, or takes it away

	// The same text twice: as keys that the app has in its languages, and in the user's language for clients that have
	// none. Args are cut as Body is.
	Key   string
	Args  []string
	Title string
	Body  string

	Plain string // what KeyNew says in the user's language, for where content has to be left out
}

// Push is one push to one device.
type Push struct {
	// ID is the same for every attempt at the same push: see NewID.
	ID ID
	To graph.Registration

	Class Class
	// Collapse names what this push replaces: of pushes with the same one a phone shows the newest, a provider keeps one
	// for a phone that is away. At most 64 bytes; "" replaces nothing.
	Collapse string
	// Expires is when the provider may give up; zero: now or never.
	Expires time.Time
	Note    Note
}

// ID is the identifier of a push, a UUID.
type ID [16]byte

// NewID derives the identifier of the push about a message for a device: the same after a restart, so that a provider
// or a phone can tell a repeat. RFC 9562, 5.8.
func NewID(d store.DeviceID, log store.LogID, seq store.Seq, kind Kind) (id ID) {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], uint64(d))
	binary.BigEndian.PutUint64(b[8:], uint64(log))
	binary.BigEndian.PutUint64(b[16:], uint64(seq))
	h := sha256.New()
	h.Write(b[:])
	h.Write([]byte(kind))
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String is the canonical form, in lower case.
func (id ID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}

// Thread is the opaque name of a conversation for a user: it says nothing to who does not know the numbers, and the same
// conversation has another one for everybody else.
func Thread(a store.AccountID, log store.LogID) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(a))
	binary.BigEndian.PutUint64(b[8:], uint64(log))
	sum := sha256.Sum256(append([]byte("thread"), b[:]...))
	return hex.EncodeToString(sum[:10])
}
