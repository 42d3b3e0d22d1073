package wire

import (
	"encoding/binary"
	"strconv"

	"github.com/hwangso/hwangso/broker"
)

// Fixed packets, shared and never changed.
var framePingresp = []byte{typePingresp << 4, 0}

func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// publishProps is the size of a delivery's properties.
func publishProps(it *broker.Item) (n int) {
	for _, id := range it.Identifiers {
		n += 1 + varintSize(int(id))
	}
	if len(it.Correlation) > 0 {
		n += 3 + len(it.Correlation)
	}
	if it.Expiry > 0 {
		n += 5
	}
	return n
}

// publishSize is the Remaining Length of a delivery.
func publishSize(it *broker.Item, version byte, props int) int {
	n := 2 + len(it.Topic) + len(it.Payload)
	if it.QoS > 0 {
		n += 2
	}
	if version == v5 {
		n += varintSize(props) + props
	}
	return n
}

// appendPublish encodes a delivery of that Remaining Length and property length. It allocates nothing if b has room.
func appendPublish(b []byte, it *broker.Item, version byte, remaining, props int) []byte {
	first := byte(typePublish<<4) | it.QoS<<1
	if it.Dup {
		first |= 8
	}
	b = appendVarint(append(b, first), remaining)
	b = appendString(b, it.Topic)
	if it.QoS > 0 {
		b = binary.BigEndian.AppendUint16(b, it.PacketID)
	}
	if version == v5 {
		b = appendVarint(b, props)
		for _, id := range it.Identifiers {
			b = appendVarint(append(b, propSubscriptionID), int(id))
		}
		if len(it.Correlation) > 0 {
			b = binary.BigEndian.AppendUint16(append(b, propCorrelation), uint16(len(it.Correlation)))
			b = append(b, it.Correlation...)
		}
		if it.Expiry > 0 {
			b = binary.BigEndian.AppendUint32(append(b, propMessageExpiry), it.Expiry)
		}
	}
	return append(b, it.Payload...)
}

// ackProps is what an MQTT 5 acknowledgement says beside its reason code.
type ackProps struct {
	text  string // Reason String
	word  string // user property error
	seq   uint64 // user property seq, 0: none
	retry int64  // user property retry_ms, 0: none
}

// appendProps encodes the properties without their length. Reason Strings are cut at 200 bytes.
func (p ackProps) appendProps(b []byte) []byte {
	if p.text != "" {
		b = appendString(append(b, propReasonString), cutText(p.text, 200))
	}
	if p.word != "" {
		b = appendString(appendString(append(b, propUser), "error"), p.word)
	}
	if p.seq != 0 {
		b = appendUserNumber(b, "seq", p.seq)
	}
	if p.retry > 0 {
		b = appendUserNumber(b, "retry_ms", uint64(p.retry))
	}
	return b
}

func appendUserNumber(b []byte, key string, n uint64) []byte {
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], n, 10)
	b = appendString(append(b, propUser), key)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(d))), d...)
}

// appendAck encodes a PUBACK, PUBREC, PUBREL or PUBCOMP. On 3.x it is the packet identifier alone. most bounds the
// whole packet (the client's Maximum Packet Size, 0: no bound): properties that do not fit are left out
// [MQTT-3.4.2-2].
func appendAck(b []byte, packet, version byte, id uint16, reason byte, p ackProps, most uint32) []byte {
	first := packet << 4
	if packet == typePubrel {
		first |= 2
	}
	if version == v5 && p != (ackProps{}) {
		var scratch [320]byte
		props := p.appendProps(scratch[:0])
		remaining := 3 + varintSize(len(props)) + len(props)
		if most == 0 || 1+varintSize(remaining)+remaining <= int(most) {
			b = appendVarint(append(b, first), remaining)
			b = append(binary.BigEndian.AppendUint16(b, id), reason)
			return append(appendVarint(b, len(props)), props...)
		}
	}
	if version == v5 && reason != 0 {
		return append(binary.BigEndian.AppendUint16(append(b, first, 3), id), reason)
	}
	return binary.BigEndian.AppendUint16(append(b, first, 2), id)
}

// cutText shortens s to at most n bytes without breaking a character.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
