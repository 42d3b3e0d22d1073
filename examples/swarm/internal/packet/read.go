package packet

import "encoding/binary"

// Property identifiers used here (2.2.2.2).
const (
	propSessionExpiry   = 0x11
	propServerKeepAlive = 0x13
	propReasonString    = 0x1F
	propReceiveMax      = 0x21
)

// Next finds the first packet in b. It returns the packet's first byte, its
// body and how many bytes of b it takes; size 0 without an error means that b
// does not hold all of it yet. A packet of more than limit bytes is
// ErrTooLarge as soon as its length is known.
func Next(b []byte, limit int) (first byte, body []byte, size int, err error) {
	n, w, err := varint(b, 1)
	if err != nil || w == 0 {
		return 0, nil, 0, err
	}
	size = 1 + w + n
	if size > limit {
		return 0, nil, 0, ErrTooLarge
	}
	if len(b) < size {
		return 0, nil, 0, nil
	}
	return b[0], b[1+w : size], size, nil
}

// Connack is a server's answer to CONNECT (3.2).
type Connack struct {
	SessionPresent bool
	Reason         byte   // 0 is success; a return code before 5.0
	ReceiveMax     uint16 // 65,535 unless the server said less
	KeepAlive      uint16 // seconds; 0 unless the server overrides the client's
	ReasonString   []byte // 5.0, empty if none
}

// ReadConnack reads the body of a CONNACK.
func ReadConnack(body []byte, version byte) (Connack, error) {
	a := Connack{ReceiveMax: 0xFFFF}
	if len(body) < 2 || body[0] > 1 && version != V31 {
		return a, ErrMalformed
	}
	a.SessionPresent, a.Reason = body[0]&1 == 1, body[1]
	if version != V5 || len(body) == 2 {
		return a, nil
	}
	err := properties(body[2:], func(id byte, v []byte) {
		switch id {
		case propReceiveMax:
			a.ReceiveMax = binary.BigEndian.Uint16(v)
		case propServerKeepAlive:
			a.KeepAlive = binary.BigEndian.Uint16(v)
		case propReasonString:
			a.ReasonString = v
		}
	})
	if err == nil && a.ReceiveMax == 0 {
		err = ErrMalformed // 3.2.2.3.3
	}
	return a, err
}

// Publish is a message from the server; the slices lie in the read buffer.
type Publish struct {
	Topic   []byte
	Payload []byte
	ID      uint16 // 0 at QoS 0
	QoS     byte
	Dup     bool
	Retain  bool
}

// ReadPublish reads a PUBLISH (3.3) into p.
func ReadPublish(first byte, body []byte, version byte, p *Publish) error {
	p.QoS = first >> 1 & 3
	p.Dup, p.Retain = first&8 != 0, first&1 != 0
	p.ID = 0
	if p.QoS == 3 || len(body) < 2 {
		return ErrMalformed
	}
	n := int(body[0])<<8 | int(body[1])
	at := 2 + n
	if len(body) < at {
		return ErrMalformed
	}
	p.Topic = body[2:at]
	if p.QoS > 0 {
		if len(body) < at+2 {
			return ErrMalformed
		}
		p.ID = uint16(body[at])<<8 | uint16(body[at+1])
		if p.ID == 0 {
			return ErrMalformed
		}
		at += 2
	}
	if version == V5 {
		n, w, err := varint(body, at)
		if err != nil {
			return err
		}
		if w == 0 || len(body) < at+w+n {
			return ErrMalformed
		}
		at += w + n
	}
	p.Payload = body[at:]
	return nil
}

// ReadAck reads the body of a PUBACK, PUBREC, PUBREL or PUBCOMP (3.4–3.7).
// reason is 0 before 5.0 and when the server left it out.
func ReadAck(body []byte, version byte) (id uint16, reason byte, err error) {
	if len(body) < 2 || version != V5 && len(body) != 2 {
		return 0, 0, ErrMalformed
	}
	id = binary.BigEndian.Uint16(body)
	if id == 0 {
		return 0, 0, ErrMalformed
	}
	if len(body) > 2 {
		reason = body[2]
	}
	if len(body) > 3 {
		err = properties(body[3:], func(byte, []byte) {})
	}
	return id, reason, err
}

// ReadSuback reads the body of a SUBACK (3.9); codes lie in the read buffer.
func ReadSuback(body []byte, version byte) (id uint16, codes []byte, err error) {
	if len(body) < 3 {
		return 0, nil, ErrMalformed
	}
	at := 2
	if version == V5 {
		n, w, err := varint(body, at)
		if err != nil {
			return 0, nil, err
		}
		if w == 0 || len(body) <= at+w+n {
			return 0, nil, ErrMalformed
		}
		at += w + n
	}
	return binary.BigEndian.Uint16(body), body[at:], nil
}

// ReadDisconnect reads why a 5.0 server closes (3.14).
func ReadDisconnect(body []byte) (reason byte, text []byte, err error) {
	if len(body) == 0 {
		return 0, nil, nil
	}
	if len(body) > 1 {
		err = properties(body[1:], func(id byte, v []byte) {
			if id == propReasonString {
				text = v
			}
		})
	}
	return body[0], text, err
}

// properties walks a property block (2.2.2) and gives each value to yield,
// strings without their length. Nothing may follow the block.
func properties(b []byte, yield func(id byte, v []byte)) error {
	n, w, err := varint(b, 0)
	if err != nil {
		return err
	}
	if w == 0 || len(b) != w+n {
		return ErrMalformed
	}
	b = b[w:]
	for len(b) > 0 {
		id := b[0]
		skip, size := 0, 0
		switch id {
		case 0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A:
			size = 1
		case 0x13, 0x21, 0x22, 0x23:
			size = 2
		case 0x02, 0x11, 0x18, 0x27:
			size = 4
		case 0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F:
			if len(b) < 3 {
				return ErrMalformed
			}
			skip, size = 2, int(b[1])<<8|int(b[2])
		case 0x26: // a pair of strings
			if len(b) < 3 {
				return ErrMalformed
			}
			key := 2 + (int(b[1])<<8 | int(b[2]))
			if len(b) < 1+key+2 {
				return ErrMalformed
			}
			size = key + 2 + (int(b[1+key])<<8 | int(b[2+key]))
		case 0x0B:
			_, w, err := varint(b, 1)
			if err != nil {
				return err
			}
			if w == 0 {
				return ErrMalformed
			}
			size = w
		default:
			return ErrMalformed
		}
		end := 1 + skip + size
		if len(b) < end {
			return ErrMalformed
		}
		yield(id, b[1+skip:end])
		b = b[end:]
	}
	return nil
}

// varint reads a variable byte integer at b[at:] (1.5.5): its value and width.
// Width 0 means that b ends inside it; more than four bytes are ErrMalformed.
func varint(b []byte, at int) (n, width int, err error) {
	for i := range 4 {
		if at+i >= len(b) {
			return 0, 0, nil
		}
		c := b[at+i]
		n |= int(c&0x7F) << (7 * i)
		if c < 0x80 {
			return n, i + 1, nil
		}
	}
	return 0, 0, ErrMalformed
}
