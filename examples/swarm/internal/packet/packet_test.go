package packet

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// decode reads one of our packets with another implementation's codec.
func decode(t *testing.T, b []byte, version byte) packets.Packet {
	t.Helper()
	first, body, size, err := Next(b, 1<<20)
	if err != nil || size != len(b) {
		t.Fatalf("Next(% x): size %d of %d, %v", b, size, len(b), err)
	}
	p := packets.Packet{ProtocolVersion: version}
	if err := p.FixedHeader.Decode(first); err != nil {
		t.Fatalf("first byte %#x: %v", first, err)
	}
	p.FixedHeader.Remaining = len(body)
	switch p.FixedHeader.Type {
	case packets.Connect:
		err = p.ConnectDecode(body)
	case packets.Publish:
		err = p.PublishDecode(body)
	case packets.Subscribe:
		err = p.SubscribeDecode(body)
	case packets.Puback:
		err = p.PubackDecode(body)
	case packets.Pubrel:
		err = p.PubrelDecode(body)
	}
	if err != nil {
		t.Fatalf("decode % x: %v", b, err)
	}
	return p
}

func TestConnectIsReadByAnother(t *testing.T) {
	for _, version := range []byte{V31, V311, V5} {
		c := Connect{Version: version, ClientID: "swarm-7", User: "u7", Password: "geheim", KeepAlive: 61, Expiry: 99, ReceiveMax: 12, Clean: version != V311}
		p := decode(t, AppendConnect(nil, &c), version)
		if p.Connect.ClientIdentifier != c.ClientID || string(p.Connect.Username) != c.User || string(p.Connect.Password) != c.Password ||
			p.Connect.Keepalive != 61 || p.Connect.Clean != c.Clean || p.ProtocolVersion != version {
			t.Errorf("version %d: %+v", version, p.Connect)
		}
		if version == V5 && (p.Properties.SessionExpiryInterval != 99 || p.Properties.ReceiveMaximum != 12) {
			t.Errorf("properties %+v", p.Properties)
		}
		if code := p.ConnectValidate(); code != packets.CodeSuccess {
			t.Errorf("version %d: %v", version, code)
		}
	}
	p := decode(t, AppendConnect(nil, &Connect{Version: V5, ClientID: "x", Clean: true}), V5)
	if p.Connect.UsernameFlag || p.Connect.PasswordFlag || p.Properties.SessionExpiryIntervalFlag {
		t.Errorf("anonymous: %+v %+v", p.Connect, p.Properties)
	}
}

func TestPublishIsReadByAnotherAndByUs(t *testing.T) {
	for _, version := range []byte{V311, V5} {
		for _, qos := range []byte{0, 1, 2} {
			for _, size := range []int{0, 1, 68, 127, 128, 16384, 70000} {
				payload := bytes.Repeat([]byte{'x'}, size)
				b := AppendPublish(nil, version, qos, qos > 0, 513, []byte("user/u8/text/"), []byte("c1"), payload)
				p := decode(t, b, version)
				if p.TopicName != "user/u8/text/c1" || !bytes.Equal(p.Payload, payload) || p.FixedHeader.Qos != qos || p.FixedHeader.Dup != (qos > 0) {
					t.Fatalf("version %d QoS %d size %d: %v %q", version, qos, size, p.FixedHeader, p.TopicName)
				}
				first, body, _, _ := Next(b, 1<<20)
				var ours Publish
				if err := ReadPublish(first, body, version, &ours); err != nil {
					t.Fatal(err)
				}
				if string(ours.Topic) != p.TopicName || !bytes.Equal(ours.Payload, payload) || ours.QoS != qos || ours.ID != p.PacketID {
					t.Errorf("we read %+v", ours)
				}
			}
		}
	}
}

func TestSubscribeAndAcksAreReadByAnother(t *testing.T) {
	p := decode(t, AppendSubscribe(nil, V5, 9, 1, "user/+/text", "room/+/json"), V5)
	if len(p.Filters) != 2 || p.Filters[1].Filter != "room/+/json" || p.Filters[0].Qos != 1 || p.PacketID != 9 {
		t.Errorf("%+v", p)
	}
	if p := decode(t, AppendAck(nil, PUBACK, 700), V311); p.PacketID != 700 {
		t.Errorf("%+v", p)
	}
	if p := decode(t, AppendAck(nil, PUBREL, 700), V5); p.PacketID != 700 || p.FixedHeader.Type != packets.Pubrel {
		t.Errorf("%+v", p)
	}
}

func TestAnswersOfAnotherAreRead(t *testing.T) {
	var buf bytes.Buffer
	connack := packets.Packet{ProtocolVersion: V5, FixedHeader: packets.FixedHeader{Type: packets.Connack}, SessionPresent: true,
		Properties: packets.Properties{ReceiveMaximum: 33, ServerKeepAlive: 44, ServerKeepAliveFlag: true, ReasonString: "why",
			AssignedClientID: "you", User: []packets.UserProperty{{Key: "a", Val: "b"}, {Key: "", Val: ""}}}}
	if err := connack.ConnackEncode(&buf); err != nil {
		t.Fatal(err)
	}
	_, body, size, err := Next(buf.Bytes(), 1<<20)
	if err != nil || size != buf.Len() {
		t.Fatal(size, err)
	}
	a, err := ReadConnack(body, V5)
	if err != nil || !a.SessionPresent || a.ReceiveMax != 33 || a.KeepAlive != 44 || string(a.ReasonString) != "why" {
		t.Errorf("%+v, %v", a, err)
	}

	buf.Reset()
	puback := packets.Packet{ProtocolVersion: V5, PacketID: 77, ReasonCode: 0x87, FixedHeader: packets.FixedHeader{Type: packets.Puback},
		Properties: packets.Properties{ReasonString: "no", User: []packets.UserProperty{{Key: "seq", Val: "12"}}}}
	if err := puback.PubackEncode(&buf); err != nil {
		t.Fatal(err)
	}
	_, body, _, _ = Next(buf.Bytes(), 1<<20)
	if id, reason, err := ReadAck(body, V5); id != 77 || reason != 0x87 || err != nil {
		t.Errorf("%d %#x %v", id, reason, err)
	}

	buf.Reset()
	suback := packets.Packet{ProtocolVersion: V5, PacketID: 5, ReasonCodes: []byte{1, 0x8F}, FixedHeader: packets.FixedHeader{Type: packets.Suback},
		Properties: packets.Properties{ReasonString: "no"}}
	if err := suback.SubackEncode(&buf); err != nil {
		t.Fatal(err)
	}
	_, body, _, _ = Next(buf.Bytes(), 1<<20)
	if id, codes, err := ReadSuback(body, V5); id != 5 || !bytes.Equal(codes, []byte{1, 0x8F}) || err != nil {
		t.Errorf("%d % x %v", id, codes, err)
	}

	buf.Reset()
	dis := packets.Packet{ProtocolVersion: V5, ReasonCode: 0x8E, FixedHeader: packets.FixedHeader{Type: packets.Disconnect},
		Properties: packets.Properties{ReasonString: "taken"}}
	if err := dis.DisconnectEncode(&buf); err != nil {
		t.Fatal(err)
	}
	_, body, _, _ = Next(buf.Bytes(), 1<<20)
	if reason, text, err := ReadDisconnect(body); reason != 0x8E || string(text) != "taken" || err != nil {
		t.Errorf("%#x %q %v", reason, text, err)
	}
}

func TestNextWaitsForTheWholePacket(t *testing.T) {
	whole := AppendPublish(nil, V5, 1, false, 1, []byte("swarm/u1"), nil, bytes.Repeat([]byte("a"), 300))
	for n := range len(whole) {
		if _, _, size, err := Next(whole[:n], 1<<20); size != 0 || err != nil {
			t.Fatalf("%d of %d bytes: size %d, %v", n, len(whole), size, err)
		}
	}
	if _, _, _, err := Next(whole, 100); !errors.Is(err, ErrTooLarge) {
		t.Errorf("limit 100: %v", err)
	}
	if _, _, _, err := Next([]byte{PUBLISH, 0xFF, 0xFF, 0xFF, 0xFF, 1}, 1<<30); !errors.Is(err, ErrMalformed) {
		t.Errorf("five length bytes: %v", err)
	}
}

func TestHostileBodies(t *testing.T) {
	long := strings.Repeat("x", 10)
	for _, c := range []struct {
		name    string
		version byte
		read    func(b []byte, v byte) error
		body    string
	}{
		{"connack empty", V311, connackErr, ""},
		{"connack one byte", V5, connackErr, "\x00"},
		{"connack flags", V311, connackErr, "\x02\x00"},
		{"connack receive maximum 0", V5, connackErr, "\x00\x00\x03\x21\x00\x00"},
		{"connack property cut", V5, connackErr, "\x00\x00\x02\x21\x00"},
		{"connack length beyond the end", V5, connackErr, "\x00\x00\x7f\x21\x00\x01"},
		{"connack unknown property", V5, connackErr, "\x00\x00\x02\x7e\x00"},
		{"connack string beyond the end", V5, connackErr, "\x00\x00\x04\x1f\xff\xff" + "x"},
		{"connack pair cut in its key", V5, connackErr, "\x00\x00\x05\x26\x00\x09ab"},
		{"connack pair without a value", V5, connackErr, "\x00\x00\x04\x26\x00\x01a"},
		{"connack pair cut in its value", V5, connackErr, "\x00\x00\x06\x26\x00\x01a\x00\x09"},
		{"connack bytes after the properties", V5, connackErr, "\x00\x00\x00" + long},
		{"connack endless varint", V5, connackErr, "\x00\x00\xff\xff\xff\xff\xff"},
		{"connack subscription id cut", V5, connackErr, "\x00\x00\x02\x0b\x80"},
		{"publish empty", V311, publishErr(PUBLISH), ""},
		{"publish topic beyond the end", V311, publishErr(PUBLISH), "\xff\xff" + long},
		{"publish without identifier", V311, publishErr(PUBLISH | 2), "\x00\x01a\x00"},
		{"publish identifier 0", V311, publishErr(PUBLISH | 2), "\x00\x01a\x00\x00"},
		{"publish QoS 3", V311, publishErr(PUBLISH | 6), "\x00\x01a\x00\x01"},
		{"publish without properties", V5, publishErr(PUBLISH), "\x00\x01a"},
		{"publish properties beyond the end", V5, publishErr(PUBLISH), "\x00\x01a\x09x"},
		{"publish endless varint", V5, publishErr(PUBLISH), "\x00\x01a\xff\xff\xff\xff\x01"},
		{"puback one byte", V5, ackErr, "\x00"},
		{"puback identifier 0", V5, ackErr, "\x00\x00"},
		{"puback long before 5", V311, ackErr, "\x00\x01\x00"},
		{"puback properties cut", V5, ackErr, "\x00\x01\x87\x05\x1f"},
		{"suback without codes", V311, subackErr, "\x00\x01"},
		{"suback 5 without codes", V5, subackErr, "\x00\x01\x00"},
		{"suback properties beyond the end", V5, subackErr, "\x00\x01\x7f\x00"},
	} {
		if err := c.read([]byte(c.body), c.version); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func connackErr(b []byte, v byte) error { _, err := ReadConnack(b, v); return err }
func ackErr(b []byte, v byte) error     { _, _, err := ReadAck(b, v); return err }
func subackErr(b []byte, v byte) error  { _, _, err := ReadSuback(b, v); return err }
func publishErr(first byte) func([]byte, byte) error {
	return func(b []byte, v byte) error { return ReadPublish(first, b, v, new(Publish)) }
}

// FuzzStream reads any bytes as a server's answers: it never panics, never
// takes more than there is, and answers lie inside the input.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x20\x02\x01\x00\x40\x02\x00\x01\x90\x03\x00\x01\x01\xd0\x00"), byte(V311))
	f.Add([]byte("\x20\x0b\x01\x00\x08\x21\x00\x21\x26\x00\x01a\x00\x00\x40\x04\x00\x01\x87\x00"), byte(V5))
	f.Add(AppendPublish(nil, V5, 1, true, 3, []byte("a/b"), []byte("/c"), []byte("payload")), byte(V5))
	f.Add(AppendPublish(nil, V311, 2, false, 3, []byte("a/b"), nil, nil), byte(V311))
	f.Add([]byte("\x30\xff\xff\xff\xff\xff"), byte(V31))
	f.Add([]byte("\xe0\x07\x8e\x05\x1f\x00\x02hi\xe0\x00"), byte(V5))
	f.Fuzz(func(t *testing.T, b []byte, version byte) {
		for len(b) > 0 {
			first, body, size, err := Next(b, 1<<16)
			if err != nil || size == 0 {
				return
			}
			if size > len(b) || size < 2 || len(body) > size-2 {
				t.Fatalf("size %d of %d, body %d", size, len(b), len(body))
			}
			switch first & 0xF0 {
			case CONNACK:
				if a, err := ReadConnack(body, version); err == nil && a.ReceiveMax == 0 {
					t.Fatal("Receive Maximum 0 accepted")
				}
			case PUBLISH:
				var p Publish
				if err := ReadPublish(first, body, version, &p); err == nil {
					if len(p.Topic)+len(p.Payload)+2 > len(body) || p.QoS > 2 || (p.QoS > 0) != (p.ID > 0) {
						t.Fatalf("%+v from %d bytes", p, len(body))
					}
				}
			case PUBACK, PUBREC, PUBREL, PUBCOMP:
				if id, _, err := ReadAck(body, version); err == nil && id == 0 {
					t.Fatal("identifier 0 accepted")
				}
			case SUBACK:
				if _, codes, err := ReadSuback(body, version); err == nil && len(codes) == 0 {
					t.Fatal("no codes accepted")
				}
			case DISCONNECT:
				_, _, _ = ReadDisconnect(body)
			}
			b = b[size:]
		}
	})
}

// BenchmarkPublish holds the promise that neither side allocates.
func BenchmarkPublish(b *testing.B) {
	payload, prefix, suffix := bytes.Repeat([]byte("x"), 68), []byte("user/u8/text/"), []byte("abcdefgh-00000001")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPublish(buf[:0], V311, 1, false, 7, prefix, suffix, payload)
		first, body, _, err := Next(buf, 1<<20)
		var p Publish
		if err != nil || ReadPublish(first, body, V311, &p) != nil || p.ID != 7 {
			b.Fatal("not read back")
		}
	}
}
