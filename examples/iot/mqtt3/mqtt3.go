// Package mqtt3 is as much of MQTT 3.1.1 as a small device needs, written out: CONNECT, SUBSCRIBE, PUBLISH with QoS 0, 1
// and 2, and their answers. It keeps nothing: what was not acknowledged is the caller's to send again.
//
// A Conn starts no goroutine. One goroutine may read while another one writes.
package mqtt3

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// The packet types that a client gets to see.
const (
	ConnAck  = 2
	Publish  = 3
	PubAck   = 4
	PubRec   = 5
	PubRel   = 6
	PubComp  = 7
	SubAck   = 9
	PingResp = 13
)

const maxPacket = 1 << 20

// Options are what a client says in CONNECT.
type Options struct {
	ClientID, User, Password string
	Clean                    bool          // the session ends with the connection
	KeepAlive                time.Duration // whole seconds; 0: none
}

// Packet is a packet from the server.
type Packet struct {
	Type    byte
	Dup     bool
	QoS     byte
	ID      uint16
	Topic   string
	Payload []byte
	Codes   []byte // of a SUBACK: 0 to 2 granted, 0x80 refused
}

// Conn is a connection to a server.
type Conn struct {
	nc net.Conn
	r  *bufio.Reader

	mu sync.Mutex // one packet is written at a time
}

// New says CONNECT on a connection and waits for the answer. present tells whether the server kept a session. On an
// error the connection is closed.
func New(nc net.Conn, o Options) (c *Conn, present bool, err error) {
	c = &Conn{nc: nc, r: bufio.NewReader(nc)}
	defer func() {
		if err != nil {
			err = errors.Join(err, nc.Close())
		}
	}()
	flags := byte(0xc0) // user name and password
	if o.Clean {
		flags |= 2
	}
	b := appendString(nil, "MQTT")
	b = append(b, 4, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(o.KeepAlive/time.Second))
	b = appendString(appendString(appendString(b, o.ClientID), o.User), o.Password)
	if err := c.write(1<<4, b); err != nil {
		return nil, false, err
	}
	first, body, err := c.read()
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("mqtt3: no answer to CONNECT: %w", err)
	case first>>4 != ConnAck || len(body) != 2:
		return nil, false, errors.New("mqtt3: the answer to CONNECT is no CONNACK")
	case body[1] != 0:
		return nil, false, refused(body[1])
	}
	return c, body[0]&1 != 0, nil
}

func refused(code byte) error {
	words := map[byte]string{1: "protocol version", 2: "client identifier", 3: "server unavailable", 4: "bad user name or password", 5: "not authorized"}
	if w := words[code]; w != "" {
		return fmt.Errorf("mqtt3: the server refuses the connection: %s", w)
	}
	return fmt.Errorf("mqtt3: the server refuses the connection with code %d", code)
}

// Subscribe asks for filters, all with the same QoS; the answer is a SubAck with this id.
func (c *Conn) Subscribe(id uint16, qos byte, filters ...string) error {
	b := binary.BigEndian.AppendUint16(nil, id)
	for _, f := range filters {
		b = append(appendString(b, f), qos)
	}
	return c.write(8<<4|2, b)
}

// Publish sends a message. With QoS 1 the answer is a PubAck, with QoS 2 a PubRec, upon which the caller says Release.
func (c *Conn) Publish(topic string, payload []byte, qos byte, id uint16, dup bool) error {
	first := byte(Publish<<4) | qos<<1
	if dup {
		first |= 8
	}
	b := appendString(nil, topic)
	if qos > 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return c.write(first, append(b, payload...))
}

// Ack acknowledges a message that came with QoS 1.
func (c *Conn) Ack(id uint16) error {
	return c.write(PubAck<<4, binary.BigEndian.AppendUint16(nil, id))
}

// Release ends a publish with QoS 2; the answer is a PubComp.
func (c *Conn) Release(id uint16) error {
	return c.write(PubRel<<4|2, binary.BigEndian.AppendUint16(nil, id))
}

// Ping asks for a PingResp; a device without anything to say sends one within its keep alive.
func (c *Conn) Ping() error { return c.write(12<<4, nil) }

// Disconnect says goodbye and closes the connection.
func (c *Conn) Disconnect() error { return errors.Join(c.write(14<<4, nil), c.nc.Close()) }

// Close closes the connection without a goodbye.
func (c *Conn) Close() error { return c.nc.Close() }

// SetReadDeadline bounds the next Reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// Read returns the next packet. Packets that a server does not send to a client are an error.
func (c *Conn) Read() (Packet, error) {
	first, body, err := c.read()
	if err != nil {
		return Packet{}, err
	}
	return parse(first, body)
}

func parse(first byte, body []byte) (Packet, error) {
	p := Packet{Type: first >> 4}
	id := func() bool {
		if len(body) < 2 {
			return false
		}
		p.ID, body = binary.BigEndian.Uint16(body), body[2:]
		return true
	}
	ok := false
	switch p.Type {
	case Publish:
		p.Dup, p.QoS = first&8 != 0, first>>1&3
		if len(body) >= 2 {
			n := int(binary.BigEndian.Uint16(body))
			if ok = len(body) >= 2+n && p.QoS < 3; ok {
				p.Topic, body = string(body[2:2+n]), body[2+n:]
			}
		}
		if ok && p.QoS > 0 {
			ok = id()
		}
		p.Payload = body
	case PubAck, PubRec, PubRel, PubComp:
		ok = id() && len(body) == 0
	case SubAck:
		ok = id() && len(body) > 0
		p.Codes = body
	case PingResp:
		ok = len(body) == 0
	}
	if !ok {
		return Packet{}, fmt.Errorf("mqtt3: a packet of type %d that is wrong", p.Type)
	}
	return p, nil
}

func (c *Conn) read() (first byte, body []byte, err error) {
	if first, err = c.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.r) // MQTT's Remaining Length has the same form
	if err != nil {
		return 0, nil, unexpected(err)
	}
	if n > maxPacket {
		return 0, nil, fmt.Errorf("mqtt3: a packet of %d bytes", n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(c.r, body)
	return first, body, unexpected(err)
}

// unexpected makes an end within a packet an error of its own.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Conn) write(first byte, body []byte) error {
	if len(body) > maxPacket {
		return fmt.Errorf("mqtt3: a packet of %d bytes", len(body))
	}
	b := binary.AppendUvarint([]byte{first}, uint64(len(body)))
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.nc.Write(append(b, body...))
	return err
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
