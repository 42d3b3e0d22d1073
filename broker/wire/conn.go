package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hwangso/hwangso/broker"
)

const (
	lastWord  = time.Second // to get a last packet out, and then without the client reading on
	firstSize = 64
)

// Ways a connection ends without anything to tell the client.
var (
	errClientGone = errors.New("wire: the client has gone") // end of stream or broken
	errClientDone = errors.New("wire: the client has disconnected")
	errUnreadable = errors.New("wire: not an MQTT client")
	errRefused    = errors.New("wire: the connect was refused")
	errQuiet      = errors.New("wire: time for a fresh goroutine")
	errPanic      = errors.New("wire: the connection loop panicked")
)

// conn is one client's connection. Its goroutine reads; the session's pump writes. There are many of them and most are
// idle: every field is paid for by every phone.
type conn struct {
	srv        *Server
	sock       socket
	stream     io.ReadWriteCloser // what MQTT is spoken over: &sock, a *tls.Conn or a *webSocket
	remote     string
	address    netip.Addr // of the client, for limits; the zero Addr if it is not known
	transport  transport
	prev, next *conn // guarded by Server.mu

	// Owned by the reading goroutine; fixed once the session has started, except due to lastTopic;
	// keepAlive once the session is asked for.
	raw       syscall.RawConn
	attempt   func(fd uintptr) bool
	tried     error
	first     *[firstSize]byte // for streams that are not raw
	sess      session
	version   byte
	connected bool
	fresh     bool // this goroutine has handled nothing yet
	renew     bool // it is to be replaced
	problems  bool // the client wants reason strings (Request Problem Information)
	will      bool // the session has a will, which a DISCONNECT with a reason sends
	keepAlive uint16
	maxPacket uint32 // the client's Maximum Packet Size, 0: no limit
	due       int64  // when the packets so far are paid for, for PacketRate
	in        inbox
	over      *oversized // a PUBLISH that is too large is being read over
	aliases   []string
	lastTopic string

	// Shared with the pump, and with whoever asks whether the client is overdue.
	heard    atomic.Int64           // Server.now of the last bytes
	why      atomic.Pointer[ending] // set once: the connection is to end
	farewell atomic.Pointer[farewell]
	broken   atomic.Bool  // a write failed: whatever follows would be garbage
	pending  atomic.Int32 // QoS 1 and 2 publishes of an MQTT 5 client without their last answer

	unstored map[uint16]struct{} // owned by the pump: QoS 2 identifiers acknowledged to an MQTT 5 client that no store knows (typing, marks, requests)

	armed int64 // owned by whoever writes: Server.now of the last write deadline
}

type ending struct{ err error }

// Close ends the connection without blocking; the first reason counts. It implements broker.Link.
func (c *conn) Close(why error) {
	if !c.why.CompareAndSwap(nil, &ending{why}) {
		return
	}
	c.sock.Conn.SetReadDeadline(past)
	c.sock.Conn.SetWriteDeadline(time.Now().Add(lastWord))
}

func (c *conn) closing() bool { return c.why.Load() != nil }

// serve runs the connection from accept to the end. It is the goroutine of the connection, or the next one: see
// quietAfter.
func (c *conn) serve() {
	err := c.guard(c.read)
	if c.renew && errors.Is(err, errQuiet) {
		c.renew, c.fresh = false, true
		c.srv.renewed.Add(1)
		go c.serve()
		return
	}
	c.finish(err)
}

// finish ends the connection.
func (c *conn) finish(err error) {
	defer c.srv.remove(c)
	c.Close(err)
	if e := c.guard(func() error { c.end(); return nil }); e != nil {
		c.stream.Close()
	}
}

// guard calls f and turns a panic into an error: a packet that breaks the codec or a layer above ends one connection,
// not the process.
func (c *conn) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.srv.metrics.panics.Inc()
			text := "panic"
			if e, ok := p.(error); ok { // a runtime error: its text holds no client data
				text = e.Error()
			}
			c.srv.log.Error("connection ended by a panic", keyRemote, c.remote, keyErr, text, keyStack, string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}

// read handles packets until the connection is to end and says why.
func (c *conn) read() error {
	c.setReadDeadline(c.readUntil())
	if t, ok := c.stream.(*tls.Conn); ok && !c.connected {
		if err := c.handshake(t); err != nil {
			return err
		}
	}
	for {
		if err := c.fill(); err != nil {
			if c.renew {
				return errQuiet
			}
			return c.readError(err)
		}
		if c.connected {
			c.heard.Store(c.srv.now())
		}
		if c.fresh {
			c.fresh = false
			c.setReadDeadline(c.readUntil())
		}
		if err := c.packets(); err != nil {
			return err
		}
		if c.closing() {
			return c.why.Load().err
		}
	}
}

func (c *conn) handshake(t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.srv.cfg.ConnectTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		c.srv.metrics.refuse("tls")
		c.srv.log.Debug("tls handshake failed", keyRemote, c.remote, keyErr, err)
		return errUnreadable
	}
	return nil
}

// readError says what a failed read means.
func (c *conn) readError(err error) error {
	switch {
	case c.closing():
		return c.why.Load().err
	case !c.connected && isTimeout(err):
		c.srv.metrics.refuse("connect_timeout")
		return errUnreadable
	case isTimeout(err):
		return errKeepAlive
	}
	if p, ok := errors.AsType[*protocolError](err); ok {
		return p
	}
	return errClientGone
}

var errKeepAlive = &protocolError{reasonKeepAlive, "nothing arrived for one and a half times the keep alive"}

// packets handles every complete packet that has arrived.
func (c *conn) packets() error {
	data := c.in.data()
	at, count, paid := 0, 0, 0
	var err error
	c.in.need = 0
	for at < len(data) {
		var header, body int
		if c.over != nil {
			at += c.skipped(data[at:])
			continue
		}
		header, body, err = parseFrame(data[at:], c.limit())
		if errors.Is(err, errTooLarge) {
			var took int
			if took, err = c.skim(data[at:]); took > 0 {
				at += took
				continue
			}
		}
		if err != nil || body < 0 {
			break
		}
		if len(data)-at < header+body {
			c.in.need = header + body
			break
		}
		if count++; count == 1 && c.connected {
			c.sess.Heard()
		}
		packet := data[at : at+header+body : at+header+body]
		at += len(packet)
		if t := packet[0] >> 4; t != typePuback && t != typePubrec && t != typePubcomp {
			paid++ // acknowledgements are as many as the deliveries, which the window bounds
		}
		if err = c.packet(packet[0], packet[header:]); err != nil || c.closing() {
			break // what is behind the end of a session (a removal, a takeover) is not its any more
		}
	}
	c.in.consumed(at)
	c.srv.metrics.received(count, at)
	if err != nil {
		if !c.connected && !errors.Is(err, errRefused) {
			c.srv.metrics.refuse("protocol")
			return errUnreadable
		}
		return err
	}
	if c.connected && paid > 0 {
		c.pace(paid)
	}
	return nil
}

func (c *conn) limit() int {
	if c.connected {
		return c.srv.cfg.MaxPacket
	}
	return c.srv.cfg.MaxPacketBeforeLogin
}

// packet handles one packet.
func (c *conn) packet(first byte, body []byte) error {
	if !c.connected {
		if first>>4 != typeConnect {
			return errFirst
		}
		return c.connect(body)
	}
	switch first >> 4 {
	case typePublish:
		return c.publish(first, body)
	case typePuback, typePubrec, typePubrel, typePubcomp:
		return c.ack(first>>4, body)
	case typeSubscribe:
		return c.subscribe(body)
	case typeUnsubscribe:
		return c.unsubscribe(body)
	case typePingreq:
		if len(body) != 0 {
			return errTrailing
		}
		c.sess.Send(framePingresp)
		return nil
	case typeDisconnect:
		return c.disconnect(body)
	case typeConnect:
		return errSecond
	case typeAuth:
		if c.version == v5 {
			return errAuth
		}
	}
	return errType
}

var (
	errFirst   = violation("the first packet is not CONNECT")
	errSecond  = violation("a second CONNECT")
	errAuth    = &protocolError{reasonAuthMethod, "enhanced authentication is not offered"}
	errType    = violation("a packet type that clients do not send")
	errMany    = &protocolError{reasonReceiveMaximum, "more unacknowledged publishes than the Receive Maximum"}
	errExpiry0 = violation("a session that ends with its connection was given an expiry at DISCONNECT")
	errWill    = errors.New("wire: the client has disconnected and wants its will sent")
)

// publish hands a PUBLISH to the session. The retain flag is ignored.
func (c *conn) publish(first byte, body []byte) error {
	var p publish
	if err := decodePublish(&p, first, c.version, body); err != nil {
		return err
	}
	topic, err := c.topic(&p)
	if err != nil {
		return err
	}
	if p.qos > 0 && c.version == v5 {
		if c.pending.Add(1) > int32(c.srv.cfg.ReceiveMaximum) {
			return errMany
		}
	}
	pub := broker.Publication{Topic: topic, Payload: p.payload, Expiry: p.expiry}
	if p.response != nil {
		pub.ResponseTopic = string(p.response)
	}
	if p.correlation != nil {
		pub.Correlation = append([]byte(nil), p.correlation...)
	}
	c.sess.Publish(pub, broker.Ack{PacketID: p.id, QoS: p.qos})
	return nil
}

// topic resolves the alias of a PUBLISH (MQTT 5, 3.3.2.3.4). A topic that comes with an alias defines it, whatever
// then becomes of the publish, so that server and client never disagree on what an alias means; whether the topic may
// be published to is asked for each publish, with the resolved topic.
func (c *conn) topic(p *publish) (string, error) {
	if int(p.alias) > int(c.srv.cfg.TopicAliasMaximum) {
		return "", errAlias
	}
	if len(p.topic) == 0 {
		if int(p.alias) > len(c.aliases) || c.aliases[p.alias-1] == "" {
			return "", errNoAlias
		}
		return c.aliases[p.alias-1], nil
	}
	if c.lastTopic != string(p.topic) { // a chat repeats its topic; this saves an allocation per message
		c.lastTopic = string(p.topic)
	}
	if p.alias > 0 {
		if c.aliases == nil {
			c.aliases = make([]string, c.srv.cfg.TopicAliasMaximum)
		}
		c.aliases[p.alias-1] = c.lastTopic
	}
	return c.lastTopic, nil
}

// ack handles the four acknowledgements. Deliveries are QoS 1 at most, so PUBREC and PUBCOMP can only be left over
// from a session with another server: the first is answered so that the client can forget it.
func (c *conn) ack(packet byte, body []byte) error {
	id, reason, err := decodeAck(packet, c.version, body)
	if err != nil {
		return err
	}
	switch packet {
	case typePuback:
		c.sess.Acked(id)
	case typePubrel:
		c.sess.Release(id)
	case typePubrec:
		if reason < 0x80 {
			c.sess.Send(appendAck(nil, typePubrel, c.version, id, reasonUnknownID, ackProps{}, 0))
		}
	}
	return nil
}

func (c *conn) disconnect(body []byte) error {
	reason, expiry, err := decodeDisconnect(c.version, body)
	if err != nil {
		return err
	}
	if expiry >= 0 {
		if expiry > 0 && c.sess.Expiry() == 0 {
			return errExpiry0
		}
		c.sess.SetExpiry(uint32(min(expiry, int64(c.srv.cfg.maxExpiry()))))
	}
	if reason != 0 { // only a normal end discards the will [MQTT-3.14.4-3]
		return errWill
	}
	return errClientDone
}

// pace pauses reading while the client has sent more than its packet rate allows: the rest waits in the client's own
// send buffer. It counts like a token bucket: due is when the packets so far are paid for.
func (c *conn) pace(count int) {
	cfg := &c.srv.cfg
	if cfg.PacketRate == 0 {
		return
	}
	each := float64(time.Second) / cfg.PacketRate
	now := c.srv.now()
	c.due = max(c.due, now) + int64(float64(count)*each)
	ahead := time.Duration(c.due - now - int64(float64(cfg.PacketBurst)*each))
	if ahead <= 0 || c.closing() {
		return
	}
	c.srv.metrics.paused.Inc()
	c.in.parkEmpty()
	time.Sleep(min(ahead, time.Second))
}

// end leaves the session and tells the client why, where its version can be told. The session's pump has ended when
// Detach returns, so that from there on this goroutine is the only writer.
func (c *conn) end() {
	why := c.why.Load().err
	if c.sess != nil {
		c.sess.Detach(errors.Is(why, errClientDone))
		c.logEnd(why)
	}
	c.in.discard()
	gone := is(why, errClientGone, errClientDone, errWill, errUnreadable)
	if !gone && !c.broken.Load() {
		c.sayGoodbye(why)
		c.linger()
	}
	c.stream.Close()
}

func (c *conn) logEnd(why error) {
	if is(why, errClientDone, errWill, errClientGone, broker.ErrTakenOver, broker.ErrShutdown) {
		return
	}
	c.srv.metrics.ended(why)
	c.srv.log.Debug("connection ended", keyRemote, c.remote, keyClient, c.sess.ClientID(), keyWhy, why)
}

func (c *conn) sayGoodbye(why error) {
	if !c.connected || c.version != v5 {
		return
	}
	code, text, ok := goodbye(why, c.srv.cfg.ServerReference != "")
	if !ok {
		return
	}
	reference := ""
	if code == reasonUseAnother {
		reference = c.srv.cfg.ServerReference
	}
	c.armed = 0 // a full lastWord for it
	c.send(encodeDisconnect(code, text, reference, c.maxPacket))
}

var _ broker.Link = (*conn)(nil)
var _ net.Conn = (*socket)(nil)
