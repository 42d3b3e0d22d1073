package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hwangso/hwangso/store"
)

// A journal record is a head of fixed length, fields that its flags announce, and a body to the end:
//
//	version u8 | type u8 | flags u8 | kind u8 | log u64 | seq u64 | time i64 | sender uvarint | device u64
//	[cid: length u8, bytes] [packet identifier u16] [expiry i64] [op: kind u8, target uvarint]
//	[change: kind u8, role u8, account, from, to uvarint, title: length uvarint, bytes] | body
//
// Numbers are little endian. Sequence and time lie at fixed offsets, because the committer fills them in after the
// record was encoded by whoever appends it. The body of a message is sealed (seal.go), that of a creation or a state
// is a fullState (codec_state.go); the others have none.
const (
	recordVersion = 1
	logOffset     = 4
	seqOffset     = 12
	timeOffset    = 20
	headLength    = 28
	maxCID        = 128  // bytes
	maxTitle      = 1024 // bytes
)

// recordType says what a journal record is.
type recordType byte

const (
	typeMessage recordType = 1 // takes the next sequence of its log: messages, operations, numbered changes
	typePrivate recordType = 2 // a change that is private to one member; no sequence
	typeCreate  recordType = 3 // the log begins; the body is its first fullState
	typeMark    recordType = 4 // sender has read up to seq
	typeRelease recordType = 5 // QoS 2 identifiers of sender's device are released; packet 0: all of them
	typeState   recordType = 6 // everything about the log that older records said (retention.go)
)

const (
	flagAudience = 3 << 0 // two bits, a store.Audience
	flagWarn     = 1 << 2
	flagCID      = 1 << 3
	flagPacket   = 1 << 4
	flagExpiry   = 1 << 5
	flagOp       = 1 << 6
	flagChange   = 1 << 7
)

var errRecord = errors.New("bolt: malformed journal record")

// record is a journal record taken apart. cid, title and body share the memory that was decoded.
type record struct {
	typ      recordType
	kind     store.Kind
	audience store.Audience
	warn     bool
	packet   uint16
	log      store.LogID
	seq      store.Seq
	time     int64
	sender   store.AccountID
	device   store.DeviceID
	cid      []byte
	expiry   int64
	op       store.Op
	change   recordChange
	body     []byte
}

// recordChange is a store.Change whose title shares memory with the record.
type recordChange struct {
	kind     store.ChangeKind
	role     store.Role
	account  store.AccountID
	from, to store.Seq
	title    []byte
}

func (c recordChange) store() store.Change {
	return store.Change{Kind: c.kind, Account: c.account, Role: c.role, Title: string(c.title), From: c.from, To: c.to}
}

// appendHead appends everything of a draft's record but the body. Sequence and time are zero.
func appendHead(b []byte, typ recordType, d *store.Draft) []byte {
	flags := byte(d.Audience) & flagAudience
	if d.Warn {
		flags |= flagWarn
	}
	if d.CID != "" {
		flags |= flagCID
	}
	if d.PacketID != 0 {
		flags |= flagPacket
	}
	if d.Expiry != 0 {
		flags |= flagExpiry
	}
	if d.Op.Kind != store.OpNone {
		flags |= flagOp
	}
	if d.Change.Kind != store.ChangeNone {
		flags |= flagChange
	}
	b = append(b, recordVersion, byte(typ), flags, byte(d.Kind))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.Log))
	b = append(b, make([]byte, headLength-seqOffset)...)
	b = binary.AppendUvarint(b, uint64(d.Sender))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.Device))
	if flags&flagCID != 0 {
		b = append(b, byte(len(d.CID)))
		b = append(b, d.CID...)
	}
	if flags&flagPacket != 0 {
		b = binary.LittleEndian.AppendUint16(b, d.PacketID)
	}
	if flags&flagExpiry != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(d.Expiry))
	}
	if flags&flagOp != 0 {
		b = append(b, byte(d.Op.Kind))
		b = binary.AppendUvarint(b, uint64(d.Op.Target))
	}
	if flags&flagChange != 0 {
		c := &d.Change
		b = append(b, byte(c.Kind), byte(c.Role))
		b = binary.AppendUvarint(b, uint64(c.Account))
		b = binary.AppendUvarint(b, uint64(c.From))
		b = binary.AppendUvarint(b, uint64(c.To))
		b = binary.AppendUvarint(b, uint64(len(c.Title)))
		b = append(b, c.Title...)
	}
	return b
}

// setPlace fills in what the committer assigns.
func setPlace(b []byte, seq store.Seq, time int64) {
	binary.LittleEndian.PutUint64(b[seqOffset:], uint64(seq))
	binary.LittleEndian.PutUint64(b[timeOffset:], uint64(time))
}

// setAudience replaces the audience.
func setAudience(b []byte, a store.Audience) { b[2] = b[2]&^flagAudience | byte(a) }

// decodeRecord takes a journal record apart. It refuses everything that appendHead would not have written, so that a
// record that decodes encodes to the same bytes.
func decodeRecord(b []byte) (record, error) {
	var r record
	if len(b) < headLength {
		return r, fmt.Errorf("%w: %d bytes", errRecord, len(b))
	}
	if b[0] != recordVersion {
		return r, fmt.Errorf("%w: version %d is not one this program knows", errRecord, b[0])
	}
	flags := b[2]
	r.typ, r.kind = recordType(b[1]), store.Kind(b[3])
	r.audience, r.warn = store.Audience(flags&flagAudience), flags&flagWarn != 0
	r.log = store.LogID(binary.LittleEndian.Uint64(b[4:]))
	r.seq = store.Seq(binary.LittleEndian.Uint64(b[seqOffset:]))
	r.time = int64(binary.LittleEndian.Uint64(b[timeOffset:]))
	d := decoder{b: b[headLength:]}
	r.sender = store.AccountID(d.uvarint())
	r.device = store.DeviceID(d.u64())
	if flags&flagCID != 0 {
		n := int(d.u8())
		d.bad = d.bad || n == 0 || n > maxCID
		r.cid = d.take(n)
	}
	if flags&flagPacket != 0 {
		r.packet = d.u16()
		d.bad = d.bad || r.packet == 0
	}
	if flags&flagExpiry != 0 {
		r.expiry = int64(d.u64())
		d.bad = d.bad || r.expiry == 0
	}
	if flags&flagOp != 0 {
		r.op = store.Op{Kind: store.OpKind(d.u8()), Target: store.Seq(d.uvarint())}
		d.bad = d.bad || r.op.Kind == store.OpNone
	}
	if flags&flagChange != 0 {
		r.change.kind, r.change.role = store.ChangeKind(d.u8()), store.Role(d.u8())
		r.change.account = store.AccountID(d.uvarint())
		r.change.from, r.change.to = store.Seq(d.uvarint()), store.Seq(d.uvarint())
		r.change.title = d.bytes(maxTitle)
		d.bad = d.bad || r.change.kind == store.ChangeNone
	}
	r.body = d.b
	switch {
	case d.bad:
		return r, fmt.Errorf("%w: a field is cut short or out of range", errRecord)
	case r.audience > store.AudienceRequest:
		return r, fmt.Errorf("%w: audience %d", errRecord, r.audience)
	}
	ok := false
	switch r.typ {
	case typeMessage:
		ok = r.log != 0 && r.seq != 0 && (r.change.kind == 0 || r.change.kind.Numbered())
	case typePrivate:
		ok = r.log != 0 && r.seq == 0 && r.change.kind != 0 && !r.change.kind.Numbered() && len(r.body) == 0
	case typeCreate, typeState:
		ok = r.log != 0 && len(r.body) > 0
	case typeMark:
		ok = r.log != 0 && len(r.body) == 0
	case typeRelease:
		ok = r.log == 0 && len(r.body) == 0
	}
	if !ok {
		return r, fmt.Errorf("%w: fields do not fit type %d", errRecord, r.typ)
	}
	return r, nil
}

// decoder takes numbers and strings off the front of b; bad is set once b was too short or a number not minimal.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if v := d.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if v := d.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || n > 1 && d.b[n-1] == 0 { // a padded number has two encodings
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count is a uvarint that counts things of at least one byte each, so it cannot exceed what is left.
func (d *decoder) count() int {
	v := d.uvarint()
	if v > uint64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(v)
}

// bytes is a length and that many bytes, at most max.
func (d *decoder) bytes(max int) []byte {
	n := d.uvarint()
	if n > uint64(max) {
		d.bad = true
		return nil
	}
	return d.take(int(n))
}

// done reports whether everything was taken and nothing was wrong.
func (d *decoder) done() bool { return !d.bad && len(d.b) == 0 }
