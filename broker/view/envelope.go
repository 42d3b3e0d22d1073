package view

import (
	"encoding/base64"
	"strconv"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// The envelope's keys in CBOR, and the letters they have in JSON.
const (
	keySeq      = 0  // s
	keyFrom     = 1  // f
	keyTime     = 2  // t
	keyCID      = 3  // i
	keyBody     = 4  // b
	keyKind     = 5  // k
	keyReply    = 6  // r
	keyMentions = 7  // m
	keyAttached = 8  // a
	keyLink     = 9  // l
	keyEvent    = 10 // x
	keyWarn     = 11 // w
	keyUnread   = 12 // u
	keyWithheld = 13 // g
	keyExpiry   = 14 // e
	keyEpoch    = 15 // h
	keyAds      = 16 // d
)

const keyLetters = "sftibkrmalxwugehd"

// Names gives the identifier under which an account is shown, "" for nobody and for those who are gone. It is asked
// while encoding and must not block.
type Names interface {
	Name(store.AccountID) string
}

// Nicknames are Names that differ from what is shown to people: the text and line views show the nickname instead. ""
// is nobody's. Account 0 is asked for, too: it has written what no account did.
type Nicknames interface {
	Names
	Nickname(store.AccountID) string
}

// Env is what all envelopes of a server have in common.
type Env struct {
	Epoch store.Epoch // the store's epoch; 0 and 1 are not written
	Names Names

	// Private leaves the sender's own id of the message out for everybody but the sender: what a program makes of its
	// messages' ids may tell it apart from others.
	Private bool

	// Ads says that the log is a channel's advertising, which shares its topic with the notices and counts by itself.
	Ads bool

	// System is that of the devices that the envelopes are for: of a link they get what is for it alone.
	System System
}

// Own is what only one receiver's envelope says.
type Own struct {
	// Viewer is the receiver: the stranger warning of a record is shown to everybody but its sender.
	Viewer store.AccountID
	// Unread is the number of members who have not read the record, store.Marks.Unread.
	Unread int
	// Withheld are the sequences before this one, back to the last one delivered, that this receiver does not get
	// (filtered by audience, blocks or No Local, or trimmed). The zero Span means none.
	Withheld store.Span
	// System is the receiver's, for Line: it shows of a link what is for it.
	System System
}

// Shared is the part of an envelope that is the same for all receivers, encoded once. It is immutable and may be kept
// and used by many goroutines. The zero value is no envelope.
type Shared struct {
	buf    []byte // JSON: from the opening brace on, without the closing one. CBOR: the pairs without the map's head
	cut    int    // the receiver's keys stand before buf[cut:], which holds the greater keys
	pairs  int    // CBOR: pairs in buf
	cid    []byte // the pair of the cid, for the sender alone; nil: it is in buf, or there is none
	cidAt  int    // where in buf it belongs
	json   bool
	warn   bool
	sender store.AccountID
}

// MaxOwn is how many bytes Append adds at most to Len.
const MaxOwn = 100

// Len is the length of the shared part in bytes. An envelope is longer by at most MaxOwn.
func (s Shared) Len() int { return len(s.buf) + len(s.cid) }

// JSON encodes the shared part of a record's envelope as JSON.
func JSON(r *store.Record, env Env) Shared {
	e, happened := eventOf(r, env.Names)
	s := Shared{json: true, warn: r.Warn, sender: r.Sender}
	b := make([]byte, 0, 96+len(r.CID)+len(r.Text)+len(r.Text)/16+len(r.Extra)+len(r.Extra)/2+e.size())
	b = strconv.AppendUint(append(b, `{"s":`...), uint64(r.Seq), 10)
	if f := nameOf(r.Sender, env.Names); f != "" {
		b = appendJSONString(append(b, `,"f":`...), []byte(f))
	}
	if r.Time != 0 {
		b = strconv.AppendInt(append(b, `,"t":`...), r.Time, 10)
	}
	s.cidAt = len(b)
	if r.CID != "" {
		cid := append(appendCID([]byte(`,"i":"`), r.CID), '"')
		if env.Private {
			s.cid = cid
		} else {
			b = append(b, cid...)
		}
	}
	if !gone(r) {
		if len(r.Text) > 0 {
			b = appendJSONString(append(b, `,"b":`...), r.Text)
		}
		if r.Kind != store.KindText {
			b = append(append(append(b, `,"k":"`...), r.Kind.String()...), '"')
		}
		if len(r.Extra) > 0 {
			pairs(r.Extra, func(key uint64, value []byte) {
				if key < keyReply || key > keyLink {
					return
				}
				if key == keyLink && r.Kind == store.KindLink {
					if value = encodedLink(value, env.System); value == nil {
						return
					}
				}
				n := len(b)
				out, _, ok := appendJSONFromCBOR(append(b, ',', '"', keyLetters[key], '"', ':'), value, maxDepth)
				if b = out; !ok {
					b = out[:n]
				}
			})
		}
	}
	if happened {
		b = e.appendJSON(append(b, `,"x":`...))
	}
	s.cut = len(b)
	if r.Expiry != 0 {
		b = strconv.AppendInt(append(b, `,"e":`...), r.Expiry, 10)
	}
	if env.Epoch > 1 {
		b = strconv.AppendUint(append(b, `,"h":`...), uint64(env.Epoch), 10)
	}
	if env.Ads {
		b = append(b, `,"d":true`...)
	}
	s.buf = b
	return s
}

// CBOR encodes the shared part of a record's envelope as CBOR.
func CBOR(r *store.Record, env Env) Shared {
	e, happened := eventOf(r, env.Names)
	s := Shared{warn: r.Warn, sender: r.Sender, pairs: 1}
	b := make([]byte, 0, 64+len(r.CID)+len(r.Text)+len(r.Extra)+e.size())
	b = appendHead(append(b, keySeq), majorUint, uint64(r.Seq))
	if f := nameOf(r.Sender, env.Names); f != "" {
		b = appendCBORText(append(b, keyFrom), []byte(f))
		s.pairs++
	}
	if r.Time > 0 {
		b = appendHead(append(b, keyTime), majorUint, uint64(r.Time))
		s.pairs++
	}
	s.cidAt = len(b)
	if r.CID != "" {
		n := len(r.CID)
		if !hooks.ValidCID(r.CID) {
			n = base64.RawURLEncoding.EncodedLen(n)
		}
		cid := appendCID(appendHead([]byte{keyCID}, majorText, uint64(n)), r.CID)
		if env.Private {
			s.cid = cid
		} else {
			b = append(b, cid...)
			s.pairs++
		}
	}
	if !gone(r) {
		if len(r.Text) > 0 {
			b = appendCBORText(append(b, keyBody), r.Text)
			s.pairs++
		}
		if r.Kind != store.KindText {
			b = appendCBORText(append(b, keyKind), []byte(r.Kind.String()))
			s.pairs++
		}
		if len(r.Extra) > 0 {
			pairs(r.Extra, func(key uint64, value []byte) {
				if key == keyLink && r.Kind == store.KindLink {
					if value = encodedLink(value, env.System); value == nil {
						return
					}
				}
				if key >= keyReply && key <= keyLink {
					b = append(append(b, byte(key)), value...)
					s.pairs++
				}
			})
		}
	}
	if happened {
		b = e.appendCBOR(append(b, keyEvent))
		s.pairs++
	}
	s.cut = len(b)
	if r.Expiry > 0 {
		b = appendHead(append(b, keyExpiry), majorUint, uint64(r.Expiry))
		s.pairs++
	}
	if env.Epoch > 1 {
		b = appendHead(append(b, keyEpoch), majorUint, uint64(env.Epoch))
		s.pairs++
	}
	if env.Ads {
		b = append(b, keyAds, cborTrue)
		s.pairs++
	}
	s.buf = b
	return s
}

// Append appends the envelope for one receiver.
func (s Shared) Append(dst []byte, own Own) []byte {
	warn := s.warn && own.Viewer != s.sender
	var cid []byte
	if len(s.cid) > 0 && own.Viewer == s.sender {
		cid = s.cid
	}
	if s.json {
		dst = s.appendBegin(dst, cid)
		if warn {
			dst = append(dst, `,"w":true`...)
		}
		if own.Unread > 0 {
			dst = strconv.AppendInt(append(dst, `,"u":`...), int64(own.Unread), 10)
		}
		if own.Withheld.From > 0 {
			dst = strconv.AppendUint(append(dst, `,"g":[`...), uint64(own.Withheld.From), 10)
			dst = strconv.AppendUint(append(dst, ','), uint64(own.Withheld.To), 10)
			dst = append(dst, ']')
		}
		return append(append(dst, s.buf[s.cut:]...), '}')
	}
	n := s.pairs
	if cid != nil {
		n++
	}
	if warn {
		n++
	}
	if own.Unread > 0 {
		n++
	}
	if own.Withheld.From > 0 {
		n++
	}
	dst = s.appendBegin(appendHead(dst, majorMap, uint64(n)), cid)
	if warn {
		dst = append(dst, keyWarn, cborTrue)
	}
	if own.Unread > 0 {
		dst = appendHead(append(dst, keyUnread), majorUint, uint64(own.Unread))
	}
	if own.Withheld.From > 0 {
		dst = appendHead(append(dst, keyWithheld, majorArray|2), majorUint, uint64(own.Withheld.From))
		dst = appendHead(dst, majorUint, uint64(own.Withheld.To))
	}
	return append(dst, s.buf[s.cut:]...)
}

// appendBegin appends what stands before the receiver's own keys.
func (s Shared) appendBegin(dst, cid []byte) []byte {
	dst = append(append(dst, s.buf[:s.cidAt]...), cid...)
	return append(dst, s.buf[s.cidAt:s.cut]...)
}

// Item is one envelope of a batch. Shared comes from CBOR.
type Item struct {
	Shared Shared
	Own    Own
}

// Batch appends one CBOR array of envelopes, in the order given. It is at most 9 bytes longer than its envelopes.
func Batch(dst []byte, items []Item) []byte {
	dst = appendHead(dst, majorArray, uint64(len(items)))
	for i := range items {
		dst = items[i].Shared.Append(dst, items[i].Own)
	}
	return dst
}

// gone reports whether a record is delivered without its body. What the server itself tells has none to take back.
func gone(r *store.Record) bool {
	return r.Recalled && r.Kind != store.KindSystem && r.Kind != store.KindNotice
}

func nameOf(a store.AccountID, names Names) string {
	if a == 0 || names == nil {
		return ""
	}
	return names.Name(a)
}

// appendCID appends a cid of the identifier alphabet as it is, any other one as base64url without padding.
func appendCID(dst []byte, cid string) []byte {
	if hooks.ValidCID(cid) {
		return append(dst, cid...)
	}
	return base64.RawURLEncoding.AppendEncode(dst, []byte(cid))
}
