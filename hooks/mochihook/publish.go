package mochihook

import (
	"encoding/json"
	"errors"
	"strconv"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// OnPublish decides about a message and publishes it into the namespaces of its receivers. To mochi every message ends
// here: of the results of this hook only "acknowledge" and "send nothing" are safe, any other publishes a refused
// message to MQTT 3 clients.
func (h *Hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil // our own, into a namespace
	}
	s := h.session(cl)
	if s == nil {
		return pk, packets.ErrRejectPacket
	}
	t, err := hooks.ParsePublish(pk.TopicName)
	if err == nil {
		err = h.publish(s, t, pk)
	}
	if err == nil || t.Act == hooks.Typing { // nobody is told about typing
		return pk, packets.CodeSuccessIgnore
	}
	return h.refuse(cl, t, pk, err)
}

func (h *Hook) publish(s *session, t hooks.Topic, pk packets.Packet) error {
	if t.Place == hooks.Channel || t.Place == hooks.Thread { // followers are decided about one by one, which subscriptions cannot
		return &store.Error{Code: store.CodeNotFound, Text: "there is no such " + t.Place.String()}
	}
	g, err := h.opt.Access.Publish(s.id.Account, t)
	if err != nil {
		return err
	}
	if t.Act == hooks.Read {
		return &store.Error{Code: store.CodeNotFound, Text: "this server keeps no read marks"}
	}
	qos := min(pk.FixedHeader.Qos, 1)
	send := func(to string, t hooks.Topic) error {
		topic := hooks.AppendDelivery([]byte(space(to)), t)
		return h.opt.Server.Publish(string(topic), pk.Payload, false, qos)
	}
	if t.Act == hooks.Typing {
		t.Sub = s.id.Name
	}
	if t.Place == hooks.Room {
		return h.toRoom(g, func(name string) error { return send(name, t) })
	}
	// The sender's own devices see the message under the peer's name, except as text, which has no sender, and except
	// typing, which is about oneself.
	if own := t.Act != hooks.Typing && t.View != hooks.Text; own && g.Peer.ID != s.id.Account {
		if err := send(s.id.Name, t); err != nil {
			return err
		}
	}
	if !g.Delivers() { // there is no request box here
		return nil
	}
	t.Name = s.id.Name
	return send(g.Peer.Name, t)
}

func (h *Hook) toRoom(g hooks.Grant, send func(name string) error) error {
	for _, m := range g.Log.Members.Members {
		if m.Role == store.RoleNone {
			continue
		}
		account, err := h.opt.Accounts.Account(m.Account)
		if store.CodeOf(err) == store.CodeNotFound {
			continue // erased, and still listed
		}
		if err == nil {
			err = send(account.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refuse tells a client why its message was not sent, and lets the connection live. MQTT 5 hears it in the
// acknowledgement; where there is none, and before MQTT 5, it is a message on reply/ and then a good acknowledgement.
func (h *Hook) refuse(cl *mqtt.Client, t hooks.Topic, pk packets.Packet, err error) (packets.Packet, error) {
	answer := answerTo(err)
	if cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos > 0 {
		ack := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Puback},
			PacketID:    pk.PacketID,
			ReasonCode:  answer.reason,
			Properties:  packets.Properties{ReasonString: answer.Text},
		}
		if pk.FixedHeader.Qos == 2 {
			ack.FixedHeader.Type = packets.Pubrec
		}
		h.write(cl, ack)
		return pk, packets.ErrRejectPacket
	}
	rid := t.CID
	if rid == "" {
		id := pk.PacketID
		if pk.FixedHeader.Qos == 0 {
			id = 0
		}
		rid = "-" + strconv.Itoa(int(id))
	}
	body, jerr := json.Marshal(answer)
	if jerr != nil {
		h.Log.Error("refusal not told", keyClient, cl.ID, keyErr, jerr)
		return pk, packets.CodeSuccessIgnore
	}
	h.write(cl, packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish},
		TopicName:   string(hooks.AppendDelivery(nil, hooks.Topic{Place: hooks.Reply, Act: hooks.Answer, Sub: rid})),
		Payload:     body,
	})
	return pk, packets.CodeSuccessIgnore
}

func (h *Hook) write(cl *mqtt.Client, pk packets.Packet) {
	if err := cl.WritePacket(pk); err != nil {
		h.Log.Debug("refusal not told", keyClient, cl.ID, keyErr, err)
	}
}

// answer is a refusal as it is told on reply/.
type answer struct {
	Code   int    `json:"code"`
	Error  string `json:"error"`
	Retry  int64  `json:"retry_ms"`
	Text   string `json:"text,omitempty"`
	reason byte   // MQTT 5
}

func answerTo(err error) answer {
	e, ok := errors.AsType[*store.Error](err)
	if !ok {
		e = &store.Error{Code: store.CodeInternal}
	}
	a := answer{Code: int(e.Code), Error: e.Word(), Retry: e.Retry.Milliseconds(), Text: e.Text}
	switch e.Code {
	case store.CodeBad:
		a.reason = packets.ErrTopicNameInvalid.Code
	case store.CodeForbidden, store.CodeNotFound:
		a.reason = packets.ErrNotAuthorized.Code
	case store.CodeTooMany, store.CodeFull:
		a.reason = packets.ErrQuotaExceeded.Code
	default:
		a.reason = packets.ErrImplementationSpecificError.Code
	}
	return a
}
