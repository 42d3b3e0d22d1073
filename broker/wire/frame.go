package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Packet types (MQTT 5, 2.1.2) in the upper half of a packet's first byte.
const (
	typeConnect     = 1
	typeConnack     = 2
	typePublish     = 3
	typePuback      = 4
	typePubrec      = 5
	typePubrel      = 6
	typePubcomp     = 7
	typeSubscribe   = 8
	typeSuback      = 9
	typeUnsubscribe = 10
	typeUnsuback    = 11
	typePingreq     = 12
	typePingresp    = 13
	typeDisconnect  = 14
	typeAuth        = 15
)

// Protocol levels of CONNECT.
const (
	v31  = 3
	v311 = 4
	v5   = 5
)

const maxRemaining = 268_435_455 // what four bytes of a Variable Byte Integer hold

// protocolError is a client's breach of the protocol: the reason code MQTT 5 tells it and a constant sentence, so that
// no client data reaches a log.
type protocolError struct {
	reason byte
	text   string
}

func (e *protocolError) Error() string { return e.text }

func malformed(text string) error { return &protocolError{0x81, text} }
func violation(text string) error { return &protocolError{0x82, text} }

var (
	errVarint     = malformed("a Variable Byte Integer has more than four bytes")
	errOverlong   = malformed("a Variable Byte Integer has more bytes than it needs")
	errFlags      = malformed("reserved flags of the fixed header are set")
	errQoS3       = malformed("QoS 3")
	errDup0       = malformed("DUP with QoS 0")
	errShort      = malformed("the packet is cut off")
	errTrailing   = malformed("bytes after the end of the packet")
	errUTF8       = malformed("a string is no valid UTF-8 or holds a null character")
	errPacketID   = violation("packet identifier 0")
	errTopicEmpty = violation("a PUBLISH without topic and alias")
	errTooLarge   = &protocolError{0x95, "the packet is larger than the server accepts"}
	errAlias      = &protocolError{0x94, "topic alias 0 or above the maximum"}
	errNoAlias    = violation("a topic alias that was never set")
)

// parseFrame looks at the beginning of b. It returns the size of header and body of the first packet; body is -1 while
// more bytes are needed to tell. It refuses a body above limit before anybody allocates for it, a fifth length byte,
// and flags that the packet type does not have.
func parseFrame(b []byte, limit int) (header, body int, err error) {
	if len(b) == 0 {
		return 0, -1, nil
	}
	if err := checkFlags(b[0]); err != nil {
		return 0, -1, err
	}
	n, size, err := readVarint(b[1:])
	switch {
	case err != nil:
		return 0, -1, err
	case size == 0:
		return 0, -1, nil
	case n > limit:
		return 0, -1, errTooLarge
	}
	return 1 + size, n, nil
}

// readVarint reads a Variable Byte Integer (MQTT 5, 1.5.5). size is 0 while bytes are missing.
func readVarint(b []byte) (n, size int, err error) {
	for i := range min(len(b), 4) {
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if i > 0 && b[i] == 0 {
				return 0, 0, errOverlong
			}
			return n, i + 1, nil
		}
	}
	if len(b) >= 4 {
		return 0, 0, errVarint
	}
	return 0, 0, nil
}

func checkFlags(first byte) error {
	flags := first & 0x0f
	switch first >> 4 {
	case typePublish:
		switch {
		case flags&0x06 == 0x06:
			return errQoS3
		case flags&0x0e == 0x08:
			return errDup0
		}
	case typePubrel, typeSubscribe, typeUnsubscribe:
		if flags != 2 {
			return errFlags
		}
	default:
		if flags != 0 {
			return errFlags
		}
	}
	return nil
}

// validString reports whether b is UTF-8 without U+0000 (MQTT 5, 1.5.4). Surrogates are no valid UTF-8.
func validString(b []byte) bool {
	ascii := true
	for _, c := range b {
		if c == 0 {
			return false
		}
		if c >= utf8.RuneSelf {
			ascii = false
		}
	}
	return ascii || utf8.Valid(b)
}

// cursor reads a body from front to back. After a failure every further read fails, so that only the end is checked.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.b = nil
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.fail(errShort)
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) varint() int {
	n, size, err := readVarint(c.b)
	if err != nil {
		c.fail(err)
		return 0
	}
	if size == 0 {
		c.fail(errShort)
		return 0
	}
	c.b = c.b[size:]
	return n
}

func (c *cursor) binary() []byte { return c.take(int(c.uint16())) }

func (c *cursor) string() []byte {
	b := c.binary()
	if !validString(b) {
		c.fail(errUTF8)
		return nil
	}
	return b
}

// packetID reads a packet identifier, which is never 0.
func (c *cursor) packetID() uint16 {
	id := c.uint16()
	if id == 0 {
		c.fail(errPacketID)
	}
	return id
}

// end returns the first failure, or that bytes are left.
func (c *cursor) end() error {
	if c.err == nil && len(c.b) > 0 {
		return errTrailing
	}
	return c.err
}
