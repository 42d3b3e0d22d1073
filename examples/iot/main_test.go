package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/examples/iot/mqtt3"
)

// TestVerdict: the check finds what it claims not to be there.
func TestVerdict(t *testing.T) {
	ack := func(i int) mqtt3.Packet { return mqtt3.Packet{Type: mqtt3.PubAck, ID: uint16(i + 1)} }
	for _, c := range []struct {
		name string
		came func(s *sensor, back func(i int, seq int) mqtt3.Packet) []mqtt3.Packet
		want string // "" for good
	}{
		{"good", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			return []mqtt3.Packet{ack(0), back(0, 1), back(1, 2), ack(1)}
		}, ""},
		{"others between", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			other := mqtt3.Packet{Type: mqtt3.Publish, Topic: "user/alice/json", Payload: []byte(`{"s":2,"i":"x","b":"y"}`)}
			return []mqtt3.Packet{back(0, 1), other, back(1, 3), ack(0), ack(1)}
		}, ""},
		{"redelivered", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			again := back(0, 1)
			again.Dup = true
			return []mqtt3.Packet{back(0, 1), back(1, 2), again, ack(0), ack(1)}
		}, ""},
		{"no PUBACK", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			return []mqtt3.Packet{ack(0), back(0, 1), back(1, 2)}
		}, "reading 1 was not acknowledged"},
		{"lost", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			return []mqtt3.Packet{ack(0), ack(1), back(1, 2)}
		}, "reading 0 did not come back"},
		{"twice", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			return []mqtt3.Packet{ack(0), ack(1), back(0, 1), back(1, 2), back(1, 3)}
		}, "reading 1 came twice"},
		{"out of order", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			return []mqtt3.Packet{ack(0), ack(1), back(1, 2), back(0, 1)}
		}, "reading 0 came out of order"},
		{"changed", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			p := back(1, 2)
			p.Payload = []byte(strings.Replace(string(p.Payload), "°C", "°F", 1))
			return []mqtt3.Packet{ack(0), ack(1), back(0, 1), p}
		}, "reading 1 came back changed"},
		{"refused", func(s *sensor, back func(int, int) mqtt3.Packet) []mqtt3.Packet {
			no := mqtt3.Packet{Type: mqtt3.Publish, Topic: "reply/" + s.cid(1), Payload: []byte(`{"code":403,"error":"not_friend","text":"no"}`)}
			return []mqtt3.Packet{ack(0), back(0, 1), no, ack(1)}
		}, "reading 1 was refused: no"},
	} {
		s := newSensor(nil, "user/alice", 1, 2)
		back := func(i, seq int) mqtt3.Packet {
			return mqtt3.Packet{
				Type: mqtt3.Publish, Topic: "user/alice/json",
				Payload: fmt.Appendf(nil, `{"s":%d,"i":%q,"b":%q}`, seq, s.cid(i), s.readings[i].text),
			}
		}
		for _, p := range c.came(s, back) {
			if err := s.received(p); err != nil {
				t.Fatal(err)
			}
		}
		err := s.verdict()
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
