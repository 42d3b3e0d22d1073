package broker

import (
	"github.com/hwangso/hwangso/store"
)

// Link is the connection under a session. Package wire implements it over MQTT.
type Link interface {
	// Write sends the items in order, in as few socket writes as they allow, and returns when the kernel has taken
	// them or the link is broken. Only the session's pump calls it, never concurrently. The items and what they point
	// to belong to the session again after the return.
	Write(items []Item) error

	// Close ends the connection without blocking and may be called more than once; why is told to the client where
	// its protocol version can. The link's reading side then calls Session.Detach.
	Close(why error)

	// Overdue reports whether nothing was heard of the client for longer than the keepalive it promised: the connection
	// may be half open. Any goroutine may ask; it is cheap.
	Overdue() bool
}

// ItemKind tells which fields of an Item count.
type ItemKind uint8

// The kinds of item.
const (
	ItemFrame    ItemKind = iota // Frame
	ItemDelivery                 // Topic to Correlation
	ItemOutcome                  // Ack, Receipt, Err
)

// Item is one thing for a link to write.
type Item struct {
	Kind  ItemKind
	Frame []byte // a packet the link encoded itself and gave to Session.Send

	Topic       string
	Payload     []byte
	QoS         byte // 0 or 1
	Dup         bool
	PacketID    uint16   // with QoS 1
	Identifiers []uint32 // subscription identifiers of every filter that matches
	Correlation []byte   // of an answer to a request that carried one
	Expiry      uint32   // seconds the message is still worth delivering (MQTT 5 Message Expiry Interval), 0: no limit

	Ack     Ack
	Receipt store.Receipt
	Err     error
}

// Ack says what to answer when the outcome of a packet is known. A link makes it and gets it back.
type Ack struct {
	PacketID uint16 // 0 with QoS 0
	QoS      byte   // of the PUBLISH
	Release  bool   // the packet was a PUBREL
	CID      string // the publication's own identifier, for reply/{cid}
	Quiet    bool   // set by Publish: a refusal is not told on reply/ (typing)
	Tell     bool   // set by Publish: success is told on reply/ too, because a filter of the session selects it
}

// Publication is a message as a client publishes it.
type Publication struct {
	Topic         string // as in the PUBLISH, aliases resolved
	Payload       []byte // may be reused by the caller after Publish returns
	Expiry        uint32 // MQTT 5 Message Expiry Interval in seconds, 0: none
	ResponseTopic string // MQTT 5; must lie under reply/
	Correlation   []byte // MQTT 5 Correlation Data
}

// Why a session ends, as given to Link.Close. They are compared with errors.Is.
var (
	ErrTakenOver = &store.Error{Code: store.CodeConflict, Reason: "taken_over", Text: "the same client identifier connected again"}
	ErrRemoved   = &store.Error{Code: store.CodeAuth, Reason: "removed", Text: "the device was signed out"}
	ErrExpired   = &store.Error{Code: store.CodeAuth, Reason: "expired", Text: "the credentials have expired"}
	ErrShutdown  = &store.Error{Code: store.CodeUnavailable, Reason: "shutdown", Text: "the server is going down"}
	ErrFlood     = &store.Error{Code: store.CodeTooMany, Reason: "flood", Text: "far too much in spite of refusals"}
	ErrStuck     = &store.Error{Code: store.CodeUnavailable, Reason: "stuck", Text: "the client does not read"}
	ErrStorage   = &store.Error{Code: store.CodeUnavailable, Reason: "storage", Text: "storage is not available"}
)
