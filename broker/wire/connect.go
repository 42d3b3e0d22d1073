package wire

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
)

// replyPrefix is told to clients that ask where answers come (Response Information).
const replyPrefix = "reply/"

// connect answers the CONNECT: who it is, its session, CONNACK. An error ends the connection.
//
//go:noinline
func (c *conn) connect(body []byte) error {
	version, err := checkConnect(body)
	c.version = version
	if err != nil {
		if version == 0 {
			return err // what is not known to be MQTT gets no answer
		}
		return c.refuse(err)
	}
	// The decoder's strings point into its input, which is a pooled buffer here.
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect, Remaining: len(body)}}
	if err := pk.ConnectDecode(bytes.Clone(body)); err != nil {
		return c.refuse(malformed("CONNECT could not be decoded"))
	}
	if version == v5 {
		c.problems = !pk.Properties.RequestProblemInfoFlag || pk.Properties.RequestProblemInfo == 1
		c.maxPacket = pk.Properties.MaximumPacketSize
		if pk.Properties.AuthenticationMethod != "" {
			return c.refuse(errAuth)
		}
	}
	if pk.Connect.ClientIdentifier == "" && version != v5 && (version == v31 || !pk.Connect.Clean) {
		return c.refuse(&store.Error{Code: store.CodeBad, Reason: wordClientID, Text: "a session that is kept needs a client identifier"})
	}

	req, keepAlive := c.session(&pk)
	ctx, cancel := context.WithDeadline(context.Background(), c.srv.start.Add(time.Duration(c.silentUntil())))
	defer cancel()
	user := strings.Clone(string(pk.Connect.Username))
	if err := c.admitted(user); err != nil {
		return c.refuse(err)
	}
	req.Identity, err = c.srv.auth.Connect(ctx, hooks.Credentials{
		User:     user,
		Secret:   hooks.Secret(pk.Connect.Password),
		ClientID: strings.Clone(pk.Connect.ClientIdentifier),
		Clean:    req.Expiry == 0,
		Address:  c.address,
	})
	if err = c.loggedIn(user, req.Identity, err); err != nil {
		return c.refuse(err)
	}
	c.keepAlive = keepAlive // from now on somebody may ask whether it is overdue
	c.heard.Store(c.srv.now())
	sess, present, err := c.srv.attach(ctx, req, c)
	if err != nil {
		return c.refuse(err)
	}
	c.sess, c.will = sess, req.Will != nil
	c.heard.Store(c.srv.now())
	c.connected = true
	c.srv.metrics.login(c)
	c.sock.settle(keepAlive)
	frame, err := encodeConnack(c.connack(&pk, present, sess, req, keepAlive))
	if err != nil {
		return err
	}
	if err := c.send(frame); err != nil {
		return errClientGone
	}
	c.setReadDeadline(c.readUntil())
	sess.Start()
	return nil
}

// admitted refuses a CONNECT before its credentials are looked at: too many from the address, or too many wrong ones.
func (c *conn) admitted(user string) error {
	l := c.srv.cfg.Limits
	err := l.Address(limit.Connect, c.address, 1)
	if err == nil {
		err = l.MayLogin(c.address, user)
	}
	if err != nil {
		l.Address(limit.FloodAddress, c.address, 1) // what it says is asked at the next accept
	}
	return err
}

// loggedIn counts how a login ended, and refuses a user who connects too often.
func (c *conn) loggedIn(user string, id hooks.Identity, err error) error {
	l := c.srv.cfg.Limits
	switch {
	case err == nil:
		l.LoginSucceeded(c.address, user)
		return l.User(limit.ConnectUser, id.Account, 1)
	case store.CodeOf(err) == store.CodeAuth && !errors.Is(err, hooks.ErrExpired):
		l.LoginFailed(c.address, user)
	}
	return err
}

// session translates what the CONNECT says about the session, within the server's limits.
func (c *conn) session(pk *packets.Packet) (req broker.Connect, keepAlive uint16) {
	cfg := &c.srv.cfg
	req = broker.Connect{Clean: pk.Connect.Clean, Remote: c.remote}
	keepAlive = pk.Connect.Keepalive
	if c.version == v5 {
		req.Expiry = min(pk.Properties.SessionExpiryInterval, cfg.maxExpiry())
		req.Window = pk.Properties.ReceiveMaximum
		req.MaxPacket = pk.Properties.MaximumPacketSize
		if most := uint16(cfg.MaxKeepAlive / time.Second); most > 0 && (keepAlive == 0 || keepAlive > most) {
			keepAlive = most
		}
	} else if !req.Clean {
		req.Expiry = cfg.maxExpiry()
	}
	if pk.Connect.WillFlag {
		// A will on anything but typing is dropped, not the CONNECT.
		topic := strings.Clone(pk.Connect.WillTopic)
		if t, err := hooks.ParsePublish(topic); err == nil && t.Act == hooks.Typing {
			req.Will = &broker.Publication{Topic: topic, Payload: bytes.Clone(pk.Connect.WillPayload)}
		} else {
			c.srv.metrics.willsDropped.Inc()
		}
	}
	return req, keepAlive
}

// connack is the answer to an accepted CONNECT. Maximum QoS, Retain Available, Wildcard and Subscription Identifier
// Available are absent, which means QoS 2 and yes.
func (c *conn) connack(pk *packets.Packet, present bool, sess session, req broker.Connect, keepAlive uint16) packets.Packet {
	ans := packets.Packet{
		ProtocolVersion: c.version,
		FixedHeader:     packets.FixedHeader{Type: packets.Connack},
		SessionPresent:  present && c.version != v31, // the bit is reserved in 3.1
	}
	if c.version != v5 {
		return ans
	}
	cfg := &c.srv.cfg
	p := &ans.Properties
	p.ReceiveMaximum = cfg.ReceiveMaximum
	p.TopicAliasMaximum = cfg.TopicAliasMaximum
	p.MaximumPacketSize = uint32(1 + varintSize(cfg.MaxPacket) + cfg.MaxPacket)
	p.SharedSubAvailableFlag = true // and 0: not available
	if expiry := sess.Expiry(); expiry != pk.Properties.SessionExpiryInterval {
		p.SessionExpiryInterval, p.SessionExpiryIntervalFlag = expiry, true
	}
	if keepAlive != pk.Connect.Keepalive {
		p.ServerKeepAlive, p.ServerKeepAliveFlag = keepAlive, true
	}
	if pk.Connect.ClientIdentifier == "" {
		p.AssignedClientID = sess.ClientID()
	}
	if pk.Properties.RequestResponseInfo == 1 {
		p.ResponseInfo, ans.Mods.AllowResponseInfo = replyPrefix, true
	}
	return ans
}

// refuse answers a CONNECT that fails and ends the connection.
func (c *conn) refuse(err error) error {
	code, text := connackReason(c.version, err)
	c.srv.metrics.refuse(row(err).Word)
	c.srv.log.Debug("connect refused", keyRemote, c.remote, keyErr, err)
	if code == 0 {
		return errRefused
	}
	ans := packets.Packet{ProtocolVersion: c.version, ReasonCode: code, FixedHeader: packets.FixedHeader{Type: packets.Connack}}
	if c.version == v5 {
		ans.Properties.ReasonString = cutText(text, 200)
		ans.Mods.MaxSize = c.maxPacket
	}
	if frame, err := encodeConnack(ans); err == nil {
		c.send(frame)
	}
	return errRefused
}

func encodeConnack(pk packets.Packet) ([]byte, error) {
	var b bytes.Buffer
	err := pk.ConnackEncode(&b)
	return b.Bytes(), err
}

// encodeDisconnect is the server's DISCONNECT on MQTT 5 (3.x has none). What does not fit the client's Maximum Packet
// Size is left out.
func encodeDisconnect(code byte, text, reference string, most uint32) []byte {
	pk := packets.Packet{ProtocolVersion: v5, ReasonCode: code, FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
	pk.Properties.ReasonString = cutText(text, 200)
	pk.Properties.ServerReference = reference
	for {
		var b bytes.Buffer
		pk.DisconnectEncode(&b)
		switch {
		case most == 0 || b.Len() <= int(most):
			return b.Bytes()
		case pk.Properties.ReasonString != "":
			pk.Properties.ReasonString = ""
		case pk.Properties.ServerReference != "":
			pk.Properties.ServerReference = ""
		default:
			return []byte{typeDisconnect << 4, 1, code}
		}
	}
}
