package wire

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/store"
)

func BenchmarkDecodePublish(b *testing.B) {
	for name, script := range map[string]string{
		"v311":       `{room/lobby/text} 0001 "a message of thirty characters"`,
		"v5":         `{room/lobby/text} 0001 [ ] "a message of thirty characters"`,
		"v5/aliased": `{} 0001 [ 02 00000e10 09 {corr} 23 0001 ] "a message of thirty characters"`,
	} {
		b.Run(name, func(b *testing.B) {
			version := byte(v5)
			if name == "v311" {
				version = v311
			}
			body := mustBytes(b, script)
			b.ReportAllocs()
			var p publish
			for b.Loop() {
				if err := decodePublish(&p, 0x32, version, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("mochi/v311", func(b *testing.B) {
		body := mustBytes(b, `{room/lobby/text} 0001 "a message of thirty characters"`)
		b.ReportAllocs()
		for b.Loop() {
			pk := packets.Packet{ProtocolVersion: v311}
			pk.FixedHeader.Qos, pk.FixedHeader.Remaining = 1, len(body)
			if err := pk.PublishDecode(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEncodePublish(b *testing.B) {
	it := broker.Item{Topic: "user/alice/text", Payload: []byte("a message of thirty characters"), QoS: 1, PacketID: 7}
	for _, version := range []byte{v311, v5} {
		b.Run(fmt.Sprint("v", version), func(b *testing.B) {
			if version == v5 {
				it.Identifiers = []uint32{1, 300}
			}
			buf := make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				props := publishProps(&it)
				buf = appendPublish(buf[:0], &it, version, publishSize(&it, version, props), props)
			}
		})
	}
}

func BenchmarkEncodePuback(b *testing.B) {
	buf := make([]byte, 0, 256)
	for name, p := range map[string]ackProps{"plain": {}, "seq": {seq: 123456}, "refused": {text: "you are not friends", word: "not_friend"}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = appendAck(buf[:0], typePuback, v5, 7, 0, p, 0)
			}
		})
	}
}

// BenchmarkWrite is a pump's write of 100 items into a socket, per item.
func BenchmarkWrite(b *testing.B) {
	for name, it := range map[string]broker.Item{
		"delivery": {Kind: broker.ItemDelivery, Topic: "user/alice/text", Payload: []byte("a message of thirty characters"), QoS: 1, PacketID: 7},
		"puback":   {Kind: broker.ItemOutcome, Ack: broker.Ack{PacketID: 9, QoS: 1}, Receipt: store.Receipt{Seq: 123}},
	} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, nil)
			nc := login(b, r.addr, connectV5)
			go func() {
				buf := make([]byte, 64<<10)
				for {
					if _, err := nc.Read(buf); err != nil {
						return
					}
				}
			}()
			c := r.d.last(b).link.(*conn)
			items := make([]broker.Item, 100)
			for i := range items {
				items[i] = it
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += len(items) {
				if err := c.Write(items); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead is a client's pipelined QoS 0 publishes through the loop into a session that drops them, per packet.
func BenchmarkRead(b *testing.B) {
	s, err := newServer(Default(), keeper{}, newDouble().Attach)
	if err != nil {
		b.Fatal(err)
	}
	s.cfg.PacketRate = 0
	one := mustBytes(b, `30 [ {room/lobby/text} "a message of thirty characters" ]`)
	block := bytes.Repeat(one, readSize/len(one))
	c := &conn{srv: s, connected: true, version: v311, sess: sink{}}
	b.ReportAllocs()
	for n := 0; n < b.N; n += readSize / len(one) {
		copy(c.in.space(), block)
		c.in.filled(len(block))
		if err := c.packets(); err != nil {
			b.Fatal(err)
		}
	}
}

// sink is a session that takes everything and keeps nothing.
type sink struct{ session }

func (sink) Publish(broker.Publication, broker.Ack) {}
func (sink) Heard()                                 {}

func TestHotPathDoesNotAllocate(t *testing.T) {
	body := mustBytes(t, `{room/lobby/text} 0001 [ 02 00000e10 09 {corr} 23 0001 26 {k} {v} ] "hi"`)
	it := broker.Item{Topic: "user/alice/text", Payload: []byte("hi"), QoS: 1, PacketID: 7, Identifiers: []uint32{1}, Correlation: []byte("c")}
	buf := make([]byte, 0, 512)
	var p publish
	c := &conn{srv: &Server{cfg: Default()}}
	if _, err := c.topic(&publish{topic: []byte("room/lobby/text"), alias: 1}); err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(100, func() {
		decodePublish(&p, 0x32, v5, body)
		c.topic(&p)
		decodeAck(typePuback, v5, body[17:19])
		props := publishProps(&it)
		buf = appendPublish(buf[:0], &it, v5, publishSize(&it, v5, props), props)
		buf = appendAck(buf[:0], typePuback, v5, 7, 0, ackProps{seq: 99}, 0)
		buf = appendAck(buf[:0], typePuback, v5, 7, 0x87, ackProps{text: "no", word: "no", retry: 5}, 100)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
