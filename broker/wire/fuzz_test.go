package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// sentBytes are the packets that the scripts send, for seeds.
func sentBytes(f *testing.F) (all [][]byte) {
	names, _ := filepath.Glob("testdata/scripts/*.txt")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for part := range strings.SplitSeq(string(text), "\n\n") {
			var b []byte
			for line := range strings.Lines(part) {
				if rest, ok := strings.CutPrefix(strings.TrimSpace(line), ">"); ok {
					b = append(b, mustBytes(f, rest)...)
				}
			}
			if len(b) > 0 {
				all = append(all, b)
			}
		}
	}
	return all
}

// bodies returns the bodies of the seeds' packets of one type.
func bodies(f *testing.F, packet byte) (all [][]byte) {
	for _, b := range sentBytes(f) {
		for len(b) > 0 {
			header, body, err := parseFrame(b, maxRemaining)
			if err != nil || body < 0 || header+body > len(b) {
				break
			}
			if b[0]>>4 == packet {
				all = append(all, b[header:header+body])
			}
			b = b[header+body:]
		}
	}
	if len(all) == 0 {
		f.Fatal("no seeds")
	}
	return all
}

const fuzzLimit = 40_000

// frames cuts bytes into packets the simple way.
func frames(b []byte) (all [][]byte, err error) {
	for {
		header, body, err := parseFrame(b, fuzzLimit)
		if err != nil || body < 0 || len(b) < header+body {
			return all, err
		}
		all = append(all, b[:header+body])
		b = b[header+body:]
	}
}

// FuzzFraming holds that packets are the same however the bytes arrive.
func FuzzFraming(f *testing.F) {
	for _, b := range sentBytes(f) {
		f.Add(b, []byte{1})
	}
	f.Add(append([]byte{0x30, 0xc0, 0xb8, 0x02}, make([]byte, 40_000)...), []byte{250, 3, 0, 255})
	f.Add([]byte{0x30, 0x80, 0x80, 0x80, 0x80}, []byte{1})
	f.Add([]byte{0x30, 0x80, 0x00}, []byte{1})
	f.Fuzz(func(t *testing.T, b, pieces []byte) {
		want, wantErr := frames(b)
		var in inbox
		var got [][]byte
		var err error
		rest := b
		for i := 0; len(rest) > 0 && err == nil; i++ {
			n := len(rest)
			if len(pieces) > 0 {
				n = min(n, 1+len(b)/1000+int(pieces[i%len(pieces)])*100)
			}
			if i%2 == 1 {
				in.park()
			}
			n = copy(in.space(), rest[:n])
			if n == 0 {
				t.Fatal("no room")
			}
			in.filled(n)
			rest = rest[n:]
			at := 0
			data := in.data()
			in.need = 0
			for at < len(data) {
				var header, body int
				if header, body, err = parseFrame(data[at:], fuzzLimit); err != nil || body < 0 {
					break
				}
				if len(data)-at < header+body {
					in.need = header + body
					break
				}
				got = append(got, bytes.Clone(data[at:at+header+body]))
				at += header + body
			}
			in.consumed(at)
			if held := len(in.part); held > fuzzLimit+5 {
				t.Fatalf("%d bytes held", held)
			}
		}
		in.discard()
		if len(got) != len(want) || !errors.Is(err, wantErr) {
			t.Fatalf("%d packets, %v; want %d, %v", len(got), err, len(want), wantErr)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("packet %d: % x; want % x", i, got[i], want[i])
			}
		}
	})
}

// decodes runs the library's decoder and reports a panic as an error.
func decodes(decode func([]byte) error, b []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errPanic
		}
	}()
	return decode(bytes.Clone(b))
}

// FuzzPublish holds the decoder against the library's: what ours accepts means the same there.
func FuzzPublish(f *testing.F) {
	for _, b := range bodies(f, typePublish) {
		f.Add(byte(0x32), byte(v5), b)
		f.Add(byte(0x30), byte(v311), b)
	}
	f.Add(byte(0x34), byte(v5), mustBytes(f, `{t} 0001 [ 01 01 02 00000009 03 {type} 08 {reply/x} 09 {corr} 23 0003 26 {k} {v} 26 {k} {v} ] "body"`))
	f.Fuzz(func(t *testing.T, first, version byte, body []byte) {
		first = typePublish<<4 | first&0x0f
		if version != v5 {
			version = v311
		}
		if checkFlags(first) != nil {
			return
		}
		var p publish
		if decodePublish(&p, first, version, body) != nil {
			return
		}
		pk := packets.Packet{ProtocolVersion: version}
		pk.FixedHeader.Decode(first)
		pk.FixedHeader.Remaining = len(body)
		if err := decodes(pk.PublishDecode, body); err != nil {
			t.Fatalf("% x: accepted, but %v", body, err)
		}
		if string(p.topic) != pk.TopicName || !bytes.Equal(p.payload, pk.Payload) || p.qos > 0 && p.id != pk.PacketID ||
			p.alias != pk.Properties.TopicAlias || p.expiry != pk.Properties.MessageExpiryInterval ||
			string(p.response) != pk.Properties.ResponseTopic || !bytes.Equal(p.correlation, pk.Properties.CorrelationData) {
			t.Fatalf("% x: %+v is %+v to the library", body, p, pk)
		}
	})
}

// FuzzConnect holds that what passes the check decodes.
func FuzzConnect(f *testing.F) {
	for _, b := range bodies(f, typeConnect) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		version, err := checkConnect(body)
		if err != nil {
			if p := new(protocolError); !errors.As(err, &p) {
				t.Fatalf("error %v has no reason", err)
			}
			return
		}
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect, Remaining: len(body)}}
		if err := decodes(pk.ConnectDecode, body); err != nil {
			t.Fatalf("% x: accepted, but %v", body, err)
		}
		if pk.ProtocolVersion != version || !validString(pk.Connect.Username) || pk.Connect.WillQos > 2 || pk.ReservedBit != 0 {
			t.Fatalf("% x: version %d, %+v", body, version, pk.Connect)
		}
	})
}

// FuzzFilters holds the same of SUBSCRIBE and UNSUBSCRIBE.
func FuzzFilters(f *testing.F) {
	for _, packet := range []byte{typeSubscribe, typeUnsubscribe} {
		for _, b := range bodies(f, packet) {
			f.Add(byte(v5), b)
			f.Add(byte(v311), b)
		}
	}
	f.Fuzz(func(t *testing.T, version byte, body []byte) {
		if version != v5 {
			version = v311
		}
		for packet, decode := range map[byte]func(*packets.Packet, []byte) error{
			typeSubscribe:   (*packets.Packet).SubscribeDecode,
			typeUnsubscribe: (*packets.Packet).UnsubscribeDecode,
		} {
			if checkFilters(version, packet, body, 64) != nil {
				continue
			}
			pk := packets.Packet{ProtocolVersion: version}
			pk.FixedHeader.Type = packet
			if err := decodes(func(b []byte) error { return decode(&pk, b) }, body); err != nil {
				t.Fatalf("% x: accepted, but %v", body, err)
			}
			if len(pk.Filters) == 0 || len(pk.Filters) > 64 || pk.PacketID == 0 {
				t.Fatalf("% x: %+v", body, pk)
			}
			for _, s := range pk.Filters {
				if s.Filter == "" || s.Qos > 2 || s.RetainHandling > 2 || packet == typeSubscribe && len(pk.Properties.SubscriptionIdentifier) > 0 && s.Identifier == 0 {
					t.Fatalf("% x: %+v", body, s)
				}
			}
		}
	})
}

// FuzzAck holds that acknowledgements and DISCONNECT decode without a panic, and to what was encoded.
func FuzzAck(f *testing.F) {
	f.Add(byte(typePuback), byte(v5), mustBytes(f, `0001 00 [ 1f {why} 26 {k} {v} ]`))
	f.Add(byte(typePubrel), byte(v311), []byte{0, 1})
	f.Add(byte(typeDisconnect), byte(v5), mustBytes(f, `04 [ 11 00000009 1f {bye} ]`))
	f.Fuzz(func(t *testing.T, packet, version byte, body []byte) {
		if version != v5 {
			version = v311
		}
		decodeDisconnect(version, body)
		packet = typePuback + packet%4
		id, reason, err := decodeAck(packet, version, body)
		if err != nil {
			return
		}
		b := appendAck(nil, packet, version, id, reason, ackProps{text: string(body)}, 0)
		header, n, err := parseFrame(b, maxRemaining)
		if err != nil || header+n != len(b) {
			t.Fatalf("% x is no packet: %v", b, err)
		}
		if !validString([]byte(cutText(string(body), 200))) {
			return // our own reason strings are UTF-8
		}
		again, code, err := decodeAck(packet, version, b[header:])
		if err != nil || again != id || code != reason {
			t.Fatalf("% x: %d %#x, %v", b, again, code, err)
		}
	})
}

// memory is a connection whose client has sent everything at once and reads nothing that matters.
type memory struct {
	r io.Reader
	w bytes.Buffer
}

func (m *memory) Read(p []byte) (int, error)       { return m.r.Read(p) }
func (m *memory) Write(p []byte) (int, error)      { return m.w.Write(p) }
func (m *memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (m *memory) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

// FuzzConversation holds that no client makes the loop panic, and that what it is answered is packets.
func FuzzConversation(f *testing.F) {
	for _, b := range sentBytes(f) {
		f.Add(b)
	}
	f.Add(append(mustBytes(f, connectV5), mustBytes(f, `82 06 0003 00 0001 "a"`)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("panic")) {
			return // the double does as it is told
		}
		cfg := Default()
		cfg.PacketRate = 0
		s, err := newServer(cfg, keeper{}, newDouble().Attach)
		if err != nil {
			t.Fatal(err)
		}
		m := &memory{r: bytes.NewReader(b)}
		c, refused := s.add(m, overTCP)
		if c == nil {
			t.Fatal(refused)
		}
		c.run(nil)
		if n := count(s.metrics.panics); n != 0 {
			t.Fatalf("%q: a panic", b)
		}
		all, err := framesOut(m.w.Bytes())
		if err != nil {
			t.Fatalf("%q: answered % x: %v", b, m.w.Bytes(), err)
		}
		for i, p := range all {
			if (i == 0) != (p[0]>>4 == typeConnack) || p[0]>>4 == typeDisconnect && (c.version != v5 || i != len(all)-1) {
				t.Fatalf("%q: answer %d of %d is % x", b, i, len(all), p)
			}
		}
	})
}

// framesOut cuts what the server wrote into packets; none may be cut off.
func framesOut(b []byte) (all [][]byte, err error) {
	for len(b) > 0 {
		header, body, err := parseFrame(b, maxRemaining)
		if err != nil {
			return nil, err
		}
		if body < 0 || header+body > len(b) {
			return nil, errShort
		}
		all = append(all, b[:header+body])
		b = b[header+body:]
	}
	return all, nil
}
