package mochihook

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// client speaks MQTT over a socket, packet by packet, in whatever version.
type client struct {
	t       testing.TB
	conn    net.Conn
	r       *bufio.Reader
	version byte
	id      uint16
	waiting []packets.Packet // deliveries read while waiting for something else
}

type login struct {
	user, secret, id string
	version          byte
	persistent       bool
	will             string
}

// dial connects and returns the client and the CONNACK's code.
func dial(t testing.TB, addr string, l login) (*client, byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// Not a measurement: a test that waits for a packet that never comes fails instead of hanging.
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &client{t: t, conn: conn, r: bufio.NewReader(conn), version: l.version}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: l.version,
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), Clean: !l.persistent, Keepalive: 60, ClientIdentifier: l.id,
			UsernameFlag: true, Username: []byte(l.user), PasswordFlag: true, Password: []byte(l.secret)}}
	if l.version == 5 && l.persistent {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 600, true
	}
	if l.will != "" {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillRetain = true, l.will, []byte("will"), true
	}
	c.write(pk)
	return c, c.await(packets.Connack).ReasonCode
}

// open is dial for logins that succeed.
func open(t testing.TB, addr string, l login) *client {
	t.Helper()
	c, code := dial(t, addr, l)
	if code != 0 {
		t.Fatalf("%s: CONNACK %#x", l.user, code)
	}
	return c
}

func (c *client) write(pk packets.Packet) {
	c.t.Helper()
	pk.ProtocolVersion = c.version
	var b bytes.Buffer
	encode := map[byte]func(*packets.Packet, *bytes.Buffer) error{packets.Connect: (*packets.Packet).ConnectEncode,
		packets.Subscribe: (*packets.Packet).SubscribeEncode, packets.Unsubscribe: (*packets.Packet).UnsubscribeEncode,
		packets.Publish: (*packets.Packet).PublishEncode, packets.Pubrel: (*packets.Packet).PubrelEncode,
		packets.Puback: (*packets.Packet).PubackEncode, packets.Pingreq: (*packets.Packet).PingreqEncode}[pk.FixedHeader.Type]
	if err := encode(&pk, &b); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: c.version}
	first, err := c.r.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	n, _, err := packets.DecodeLength(c.r)
	if err != nil {
		return pk, err
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	decode := map[byte]func(*packets.Packet, []byte) error{packets.Connack: (*packets.Packet).ConnackDecode,
		packets.Suback: (*packets.Packet).SubackDecode, packets.Unsuback: (*packets.Packet).UnsubackDecode,
		packets.Publish: (*packets.Packet).PublishDecode, packets.Puback: (*packets.Packet).PubackDecode,
		packets.Pubrec: (*packets.Packet).PubrecDecode, packets.Pubcomp: (*packets.Packet).PubcompDecode,
		packets.Pingresp: (*packets.Packet).PingrespDecode, packets.Disconnect: (*packets.Packet).DisconnectDecode}[pk.FixedHeader.Type]
	if decode == nil {
		return pk, fmt.Errorf("unexpected packet type %d", pk.FixedHeader.Type)
	}
	return pk, decode(&pk, body)
}

// await reads until a packet of the type; deliveries on the way are kept.
func (c *client) await(kind byte) packets.Packet {
	c.t.Helper()
	for {
		pk, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for packet type %d: %v", kind, err)
		}
		if pk.FixedHeader.Type == kind {
			return pk
		}
		if pk.FixedHeader.Type != packets.Publish {
			c.t.Fatalf("waiting for packet type %d: got %+v", kind, pk.FixedHeader)
		}
		c.waiting = append(c.waiting, pk)
	}
}

// subscribe returns the SUBACK's codes.
func (c *client) subscribe(filters ...string) []byte {
	c.t.Helper()
	c.id++
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: c.id}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: 1})
	}
	c.write(pk)
	return c.await(packets.Suback).ReasonCodes
}

func (c *client) unsubscribe(filter string) {
	c.t.Helper()
	c.id++
	c.write(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: c.id,
		Filters: packets.Subscriptions{{Filter: filter}}})
	c.await(packets.Unsuback)
}

// publish returns the reason code of the acknowledgement, 0 where there is none.
func (c *client) publish(topic, text string, qos byte, change ...func(*packets.Packet)) byte {
	c.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: topic, Payload: []byte(text)}
	if qos > 0 {
		c.id++
		pk.PacketID = c.id
	}
	for _, f := range change {
		f(&pk)
	}
	c.write(pk)
	switch qos {
	case 1:
		return c.await(packets.Puback).ReasonCode
	case 2:
		code := c.await(packets.Pubrec).ReasonCode
		if code >= 0x80 {
			return code
		}
		c.write(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: pk.PacketID})
		return c.await(packets.Pubcomp).ReasonCode
	}
	return 0
}

// next returns the next delivery as "topic: payload".
func (c *client) next() string {
	c.t.Helper()
	var pk packets.Packet
	if len(c.waiting) > 0 {
		pk, c.waiting = c.waiting[0], c.waiting[1:]
	} else {
		pk = c.await(packets.Publish)
	}
	if pk.FixedHeader.Qos == 1 {
		c.write(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
	}
	return pk.TopicName + ": " + string(pk.Payload)
}

// drained fails if a delivery is there that nobody expected. A message to oneself is the fence: the server writes to a
// connection in order, and what was published before it has been handed out before it.
func (c *client) drained(user string) {
	c.t.Helper()
	c.publish("user/"+user+"/json/fence", "fence", 1)
	if got, want := c.next(), "user/"+user+"/json: fence"; got != want {
		c.t.Errorf("unexpected delivery %s", got)
	}
}

// closed reports that the server closes the connection.
func (c *client) closed() {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				c.t.Error("the connection stays open")
			}
			return
		}
	}
}
