// Package packet is the small part of MQTT 3.1, 3.1.1 and 5.0 that a load
// generator's client needs: it writes CONNECT, PUBLISH, the four
// acknowledgements, SUBSCRIBE, PINGREQ and DISCONNECT, and reads what a server
// answers.
//
// Writing appends to a buffer of the caller, reading returns slices of the
// caller's buffer: neither allocates. The reader trusts nothing: every length
// is checked against what is there, and a malformed packet is ErrMalformed,
// never a panic. It does not check what a load generator has no use for (UTF-8
// of topics, properties that are legal elsewhere only).
//
// Section numbers are those of the OASIS MQTT 5.0 specification.
package packet

import (
	"encoding/binary"
	"errors"
)

// Protocol levels as CONNECT carries them (3.1.2.2).
const (
	V31  = 3
	V311 = 4
	V5   = 5
)

// Control packet types, already in the upper half of the first byte (2.1.2).
const (
	CONNECT    = 1 << 4
	CONNACK    = 2 << 4
	PUBLISH    = 3 << 4
	PUBACK     = 4 << 4
	PUBREC     = 5 << 4
	PUBREL     = 6 << 4
	PUBCOMP    = 7 << 4
	SUBSCRIBE  = 8 << 4
	SUBACK     = 9 << 4
	PINGREQ    = 12 << 4
	PINGRESP   = 13 << 4
	DISCONNECT = 14 << 4
)

// Errors of the reader. Both end the connection.
var (
	ErrMalformed = errors.New("packet: malformed")
	ErrTooLarge  = errors.New("packet: larger than the reader accepts")
)

// Connect is what a CONNECT says. Strings longer than 65,535 bytes are the
// caller's mistake and are cut.
type Connect struct {
	Version    byte // V31, V311 or V5
	ClientID   string
	User       string // "" means none
	Password   string // sent only with User
	Clean      bool   // Clean Session; Clean Start in 5.0
	KeepAlive  uint16 // seconds
	Expiry     uint32 // 5.0: session expiry in seconds, 0 is not sent
	ReceiveMax uint16 // 5.0: Receive Maximum, 0 is not sent
}

// AppendConnect appends a CONNECT (3.1).
func AppendConnect(b []byte, c *Connect) []byte {
	name := "MQTT"
	if c.Version == V31 {
		name = "MQIsdp"
	}
	var flags byte
	if c.Clean {
		flags |= 1 << 1
	}
	size := 2 + len(name) + 1 + 1 + 2 + 2 + len(cut(c.ClientID))
	if c.User != "" {
		flags |= 1<<7 | 1<<6
		size += 2 + len(cut(c.User)) + 2 + len(cut(c.Password))
	}
	props := 0
	if c.Version == V5 {
		if c.Expiry > 0 {
			props += 5
		}
		if c.ReceiveMax > 0 {
			props += 3
		}
		size += 1 + props
	}
	b = append(b, CONNECT)
	b = appendVarint(b, size)
	b = appendString(b, name)
	b = append(b, c.Version, flags)
	b = binary.BigEndian.AppendUint16(b, c.KeepAlive)
	if c.Version == V5 {
		b = append(b, byte(props))
		if c.Expiry > 0 {
			b = append(b, propSessionExpiry)
			b = binary.BigEndian.AppendUint32(b, c.Expiry)
		}
		if c.ReceiveMax > 0 {
			b = append(b, propReceiveMax)
			b = binary.BigEndian.AppendUint16(b, c.ReceiveMax)
		}
	}
	b = appendString(b, c.ClientID)
	if c.User != "" {
		b = appendString(b, c.User)
		b = appendString(b, c.Password)
	}
	return b
}

// AppendPublish appends a PUBLISH (3.3) on the topic that prefix and suffix
// make together. id is ignored at QoS 0.
func AppendPublish(b []byte, version, qos byte, dup bool, id uint16, prefix, suffix, payload []byte) []byte {
	first := byte(PUBLISH) | qos<<1
	if dup {
		first |= 1 << 3
	}
	topic := len(prefix) + len(suffix)
	size := 2 + topic + len(payload)
	if qos > 0 {
		size += 2
	}
	if version == V5 {
		size++
	}
	b = append(b, first)
	b = appendVarint(b, size)
	b = append(b, byte(topic>>8), byte(topic))
	b = append(b, prefix...)
	b = append(b, suffix...)
	if qos > 0 {
		b = append(b, byte(id>>8), byte(id))
	}
	if version == V5 {
		b = append(b, 0)
	}
	return append(b, payload...)
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP with success (3.4–3.7).
func AppendAck(b []byte, kind byte, id uint16) []byte {
	if kind == PUBREL {
		kind |= 1 << 1 // reserved bits, 3.6.1
	}
	return append(b, kind, 2, byte(id>>8), byte(id))
}

// AppendSubscribe appends a SUBSCRIBE for one or more filters, all at one QoS
// (3.8).
func AppendSubscribe(b []byte, version byte, id uint16, qos byte, filters ...string) []byte {
	size := 2
	if version == V5 {
		size++
	}
	for _, f := range filters {
		size += 2 + len(cut(f)) + 1
	}
	b = append(b, SUBSCRIBE|1<<1)
	b = appendVarint(b, size)
	b = append(b, byte(id>>8), byte(id))
	if version == V5 {
		b = append(b, 0)
	}
	for _, f := range filters {
		b = appendString(b, f)
		b = append(b, qos)
	}
	return b
}

// AppendPing appends a PINGREQ (3.12).
func AppendPing(b []byte) []byte { return append(b, PINGREQ, 0) }

// AppendDisconnect appends a normal DISCONNECT (3.14).
func AppendDisconnect(b []byte) []byte { return append(b, DISCONNECT, 0) }

func appendString(b []byte, s string) []byte {
	s = cut(s)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func cut(s string) string {
	if len(s) > 0xFFFF {
		return s[:0xFFFF]
	}
	return s
}

func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}
