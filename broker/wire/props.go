package wire

import "errors"

// MQTT 5 properties (2.2.2.2) that this package looks at by name.
const (
	propPayloadFormat   = 1
	propMessageExpiry   = 2
	propContentType     = 3
	propResponseTopic   = 8
	propCorrelation     = 9
	propSubscriptionID  = 11
	propSessionExpiry   = 17
	propAuthMethod      = 21
	propAuthData        = 22
	propReasonString    = 31
	propReceiveMaximum  = 33
	propTopicAlias      = 35
	propUser            = 38
	propMaximumPacket   = 39
	propServerReference = 28
)

// onWill stands for the properties of a will in a property's packets; no packet type has this number.
const onWill = 0

// shape is how the value of a property is written.
type shape uint8

const (
	shapeNone shape = iota
	shapeFlag       // a byte that is 0 or 1
	shape2
	shape4
	shapeVarint
	shapeString
	shapeBinary
	shapePair
)

// property is one row of the specification's table: the packets that clients may send it in, and its shape. Properties
// of servers' packets only are not listed, so that they are refused.
type property struct {
	shape   shape
	nonzero bool // 0 is a protocol error
	packets uint16
}

func in(types ...uint8) (mask uint16) {
	for _, t := range types {
		mask |= 1 << t
	}
	return mask
}

var properties = [43]property{
	propPayloadFormat:  {shapeFlag, false, in(typePublish, onWill)},
	propMessageExpiry:  {shape4, false, in(typePublish, onWill)},
	propContentType:    {shapeString, false, in(typePublish, onWill)},
	propResponseTopic:  {shapeString, false, in(typePublish, onWill)},
	propCorrelation:    {shapeBinary, false, in(typePublish, onWill)},
	propSubscriptionID: {shapeVarint, true, in(typeSubscribe)}, // in a client's PUBLISH it is a protocol error [MQTT-3.3.4-6]
	propSessionExpiry:  {shape4, false, in(typeConnect, typeDisconnect)},
	propAuthMethod:     {shapeString, false, in(typeConnect, typeAuth)},
	propAuthData:       {shapeBinary, false, in(typeConnect, typeAuth)},
	23:                 {shapeFlag, false, in(typeConnect)}, // Request Problem Information
	24:                 {shape4, false, in(onWill)},         // Will Delay Interval
	25:                 {shapeFlag, false, in(typeConnect)}, // Request Response Information
	propReasonString:   {shapeString, false, in(typePuback, typePubrec, typePubrel, typePubcomp, typeDisconnect, typeAuth)},
	propReceiveMaximum: {shape2, true, in(typeConnect)},
	34:                 {shape2, false, in(typeConnect)}, // Topic Alias Maximum
	propTopicAlias:     {shape2, false, in(typePublish)}, // 0 has a reason code of its own
	propUser: {shapePair, false, in(typeConnect, typePublish, onWill, typePuback, typePubrec, typePubrel, typePubcomp,
		typeSubscribe, typeUnsubscribe, typeDisconnect, typeAuth)},
	propMaximumPacket: {shape4, true, in(typeConnect)},
}

var (
	errProperty    = violation("a property that this packet must not have")
	errPropTwice   = violation("a property twice")
	errPropZero    = violation("a property that must not be 0")
	errPropFlag    = violation("a property that must be 0 or 1")
	errPropsLength = malformed("the properties do not end where their length says")
	errAuthData    = violation("authentication data without a method")
)

// value is one property as read. Only the field of its shape is set.
type value struct {
	id    byte
	n     uint32
	bytes []byte // of a string, binary or a pair's key; aliases the packet
}

// propReader walks the properties of one packet and checks each.
type propReader struct {
	cursor
	packet byte
	seen   uint64
}

// props begins at a property length and takes the properties off the cursor.
func (c *cursor) props(packet byte) propReader {
	n := c.varint()
	if n > len(c.b) {
		c.fail(errShort)
	}
	return propReader{cursor: cursor{b: c.take(n), err: c.err}, packet: packet}
}

// next returns the next property, false at the end or after an error.
func (r *propReader) next() (v value, ok bool) {
	if len(r.b) == 0 || r.err != nil {
		return v, false
	}
	v.id = r.byte()
	if int(v.id) >= len(properties) || properties[v.id].packets&(1<<r.packet) == 0 {
		r.fail(errProperty)
		return v, false
	}
	p := properties[v.id]
	if bit := uint64(1) << v.id; p.shape != shapePair {
		if r.seen&bit != 0 {
			r.fail(errPropTwice)
			return v, false
		}
		r.seen |= bit
	}
	switch p.shape {
	case shapeFlag:
		if v.n = uint32(r.byte()); v.n > 1 {
			r.fail(errPropFlag)
		}
	case shape2:
		v.n = uint32(r.uint16())
	case shape4:
		v.n = r.uint32()
	case shapeVarint:
		v.n = uint32(r.varint())
	case shapeString:
		v.bytes = r.string()
	case shapeBinary:
		v.bytes = r.binary()
	case shapePair:
		v.bytes = r.string()
		r.string()
	}
	if r.err != nil && errors.Is(r.err, errShort) {
		r.err = errPropsLength
	}
	if p.nonzero && v.n == 0 {
		r.fail(errPropZero)
	}
	return v, r.err == nil
}

// skip checks properties nobody needs.
func (r *propReader) skip() error {
	for {
		if _, ok := r.next(); !ok {
			return r.err
		}
	}
}
