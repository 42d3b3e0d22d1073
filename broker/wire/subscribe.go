package wire

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/view"
)

// subscribe answers a SUBSCRIBE when its filters are durable. Each filter is granted or refused by itself.
//
//go:noinline
func (c *conn) subscribe(body []byte) error {
	if err := checkSubscribe(c.version, body, c.srv.cfg.MaxFilters); err != nil {
		return err
	}
	pk := packets.Packet{ProtocolVersion: c.version}
	pk.FixedHeader.Type = packets.Subscribe
	if err := pk.SubscribeDecode(bytes.Clone(body)); err != nil {
		return malformed("SUBSCRIBE could not be decoded")
	}
	asked := make([]broker.SubRequest, len(pk.Filters))
	for i := range pk.Filters {
		f := &pk.Filters[i]
		asked[i] = broker.SubRequest{Filter: strings.Clone(f.Filter), QoS: f.Qos, NoLocal: f.NoLocal, Identifier: uint32(f.Identifier)}
	}
	results, err := c.sess.Subscribe(context.Background(), asked)
	flood := errors.Is(err, broker.ErrFlood)
	if flood && c.version == v5 {
		return err
	}
	if err != nil && (flood || c.version == v31) { // granting QoS 0 would be a lie: the client is to ask again
		c.sendLast(pk.PacketID, err)
		return nil
	}
	if err != nil { // the storage: no filter is in force
		results = make([]broker.SubResult, len(asked))
		for i := range results {
			results[i].Err = err
		}
	}
	ack := packets.Packet{ProtocolVersion: c.version, PacketID: pk.PacketID, ReasonCodes: make([]byte, len(asked))}
	ack.FixedHeader.Type = packets.Suback
	ack.Mods = packets.Mods{MaxSize: c.maxPacket, DisallowProblemInfo: !c.problems}
	for i, r := range results {
		ack.ReasonCodes[i] = r.Granted
		if r.Err == nil {
			if r.Hint != "" {
				c.tell(pk.PacketID, view.Outcome{Hint: r.Hint})
			}
			continue
		}
		ack.ReasonCodes[i] = subReason(c.version, r.Err)
		switch c.version {
		case v31: // knows no failure: QoS 0 is granted, and the truth told beside it
			ack.ReasonCodes[i] = 0
			fallthrough
		case v311:
			c.tell(pk.PacketID, view.Failure(r.Err, "", view.English))
		default:
			if ack.Properties.ReasonString == "" {
				ack.Properties.ReasonString = cutText(view.Failure(r.Err, "", view.English).Text, 200)
			}
		}
	}
	var b bytes.Buffer
	if err := ack.SubackEncode(&b); err != nil {
		return err
	}
	c.sess.Send(b.Bytes())
	return nil
}

// unsubscribe answers an UNSUBSCRIBE when its filters are durably gone.
//
//go:noinline
func (c *conn) unsubscribe(body []byte) error {
	if err := checkUnsubscribe(c.version, body, c.srv.cfg.MaxFilters); err != nil {
		return err
	}
	pk := packets.Packet{ProtocolVersion: c.version}
	pk.FixedHeader.Type = packets.Unsubscribe
	if err := pk.UnsubscribeDecode(bytes.Clone(body)); err != nil {
		return malformed("UNSUBSCRIBE could not be decoded")
	}
	filters := make([]string, len(pk.Filters))
	for i := range pk.Filters {
		filters[i] = strings.Clone(pk.Filters[i].Filter)
	}
	had, err := c.sess.Unsubscribe(context.Background(), filters)
	if errors.Is(err, broker.ErrFlood) && c.version == v5 {
		return err
	}
	if err != nil && c.version != v5 { // 3.x has no failure: no UNSUBACK, so that the client asks again
		c.sendLast(pk.PacketID, err)
		return nil
	}
	ack := packets.Packet{ProtocolVersion: c.version, PacketID: pk.PacketID, ReasonCodes: make([]byte, len(filters))}
	ack.FixedHeader.Type = packets.Unsuback
	for i := range filters {
		switch {
		case err != nil:
			ack.ReasonCodes[i] = reasonOurs
		case i >= len(had) || !had[i]:
			ack.ReasonCodes[i] = reasonNoSubscription
		}
	}
	var b bytes.Buffer
	if err := ack.UnsubackEncode(&b); err != nil {
		return err
	}
	c.sess.Send(b.Bytes())
	return nil
}

// tell sends a PUBLISH about a packet on reply/-{packet identifier}.
func (c *conn) tell(id uint16, o view.Outcome) {
	if frame := c.encodeReply(id, "", o); frame != nil {
		c.sess.Send(frame)
	}
}

// farewell is a frame after which the connection is to end.
type farewell struct {
	frame []byte
	why   error
}

// sendLast tells a 3.x client, in the order of everything else, why its request failed, and ends the connection when
// that has been written.
func (c *conn) sendLast(id uint16, why error) {
	f := &farewell{frame: c.encodeReply(id, "", view.Failure(why, "", view.English)), why: why}
	c.farewell.Store(f)
	c.sess.Send(f.frame)
}

// encodeReply is a PUBLISH on reply/{cid}, or reply/-{packet identifier} without one; nil if the client takes no packet
// of that size.
func (c *conn) encodeReply(id uint16, cid string, o view.Outcome) []byte {
	topic := replyPrefix + cid
	if cid == "" {
		topic = replyPrefix + "-" + strconv.Itoa(int(id))
	}
	it := broker.Item{Topic: topic, Payload: view.AppendOutcome(nil, o)}
	n := publishSize(&it, c.version, 0)
	size := 1 + varintSize(n) + n
	if c.maxPacket > 0 && size > int(c.maxPacket) {
		return nil
	}
	return appendPublish(make([]byte, 0, size), &it, c.version, n, 0)
}
