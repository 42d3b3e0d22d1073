package wire

import (
	"github.com/hwangso/hwangso/broker"
)

// maxSkim is the largest packet that is read to its end just to refuse it.
const maxSkim = 16 << 20

// oversized is a PUBLISH above MaxPacket that is being read and thrown away. A 3.x client cannot know the limit: if it
// were disconnected, it would send the same message again on every connection, for ever. So it is told what any
// refused publish is told. (An MQTT 5 client was told the limit, and is disconnected with 0x95.)
type oversized struct {
	skip  int // bytes to come
	topic string
	id    uint16
	qos   byte
}

// skim begins to read over the packet at the front of b. It returns how many bytes it took, 0 while it needs more, or
// errTooLarge if there is no way but to end the connection.
func (c *conn) skim(b []byte) (took int, err error) {
	if !c.connected || c.version == v5 || b[0]>>4 != typePublish {
		return 0, errTooLarge
	}
	header, body, err := parseFrame(b, maxSkim)
	if err != nil {
		return 0, err
	}
	qos := b[0] >> 1 & 3
	cur := cursor{b: b[header:]}
	topic := cur.binary()
	if cur.err == nil && !validString(topic) {
		return 0, errUTF8
	}
	var id uint16
	if qos > 0 {
		id = cur.uint16()
	}
	if cur.err != nil { // cut off: at most a topic's length is waited for
		if len(b) > header+4 && int(b[header])<<8|int(b[header+1]) > readSize/2 {
			return 0, errTooLarge
		}
		return 0, nil
	}
	if qos > 0 && id == 0 {
		return 0, errPacketID
	}
	took = len(b) - len(cur.b)
	c.over = &oversized{skip: header + body - took, topic: string(topic), id: id, qos: qos}
	return took, nil
}

// skipped throws away bytes of the oversized packet and returns how many. At its end the session is given a message
// that is too large for it too, so that the refusal takes its turn among the other answers.
func (c *conn) skipped(b []byte) int {
	o := c.over
	n := min(o.skip, len(b))
	if o.skip -= n; o.skip == 0 {
		c.over = nil
		c.sess.Publish(broker.Publication{Topic: o.topic, Payload: c.srv.tooLarge()}, broker.Ack{PacketID: o.id, QoS: o.qos})
	}
	return n
}

// tooLarge is a payload above every limit. It is shared and holds nothing.
func (s *Server) tooLarge() []byte {
	s.oversize.Do(func() { s.zeros = make([]byte, s.cfg.MaxPacket+1) })
	return s.zeros
}
