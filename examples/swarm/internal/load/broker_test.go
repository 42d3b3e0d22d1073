//go:build linux

package load

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// faulty is a small broker that does its work right, except where a test tells
// it not to: it keeps a log for each recipient, delivers at least once, keeps
// persistent sessions, and loses, doubles, swaps, refuses, stalls and crashes
// on command.
type faulty struct {
	tb testing.TB
	ln net.Listener
	wg sync.WaitGroup

	started sync.Once

	// Faults, set before addr is called.
	chat   bool                                     // topics user/{u}/text/{cid}, JSON envelopes
	keep   func(key string, n int, e entry) []entry // what of message n of a log is kept; nil is all
	refuse func(key string, n int) byte             // reason code of message n; nil is never
	before func(n int)                              // called before message n is handled, under the lock
	ignore func(n int) bool                         // no acknowledgement

	mu       sync.Mutex
	total    int
	logs     map[string][]entry
	counts   map[string]int
	sessions map[string]*fakeSession
	conns    map[net.Conn]bool
	cids     map[string]bool
	dedupe   bool
}

type entry struct {
	topic   string
	payload []byte
}

type fakeSession struct {
	key     string // of the log it follows
	clean   bool
	next    int // of the log, to be sent
	acked   int // of the log, up to here
	conn    net.Conn
	version byte
	ids     map[uint16]bool // QoS 2 messages between PUBREC and PUBREL
	id      uint16
}

func newFaulty(tb testing.TB) *faulty {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	b := &faulty{tb: tb, ln: ln, logs: map[string][]entry{}, counts: map[string]int{},
		sessions: map[string]*fakeSession{}, conns: map[net.Conn]bool{}, cids: map[string]bool{}}
	tb.Cleanup(func() {
		ln.Close()
		b.crash(0)
		b.wg.Wait()
	})
	return b
}

// addr starts the broker, whose faults stay as they are from now on, and
// answers where it listens.
func (b *faulty) addr() string {
	b.started.Do(func() { b.wg.Go(b.accept) })
	return b.ln.Addr().String()
}

func (b *faulty) accept() {
	for {
		c, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.conns[c] = true
		b.mu.Unlock()
		b.wg.Go(func() { b.serve(c) })
	}
}

// stored is how many messages all logs hold.
func (b *faulty) stored() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, log := range b.logs {
		n += len(log)
	}
	return n
}

// handled is how many publishes came.
func (b *faulty) handled() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// followers are the names of the sessions that follow a log.
func (b *faulty) followers() (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, s := range b.sessions {
		if s.key != "" {
			names = append(names, name)
		}
	}
	return names
}

// crash closes every connection, forgets clean sessions and cuts lose entries
// off every log.
func (b *faulty) crash(lose int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.Close()
	}
	for key, s := range b.sessions {
		s.conn = nil
		if s.clean {
			delete(b.sessions, key)
		}
	}
	for key, log := range b.logs {
		b.logs[key] = log[:max(0, len(log)-lose)]
	}
}

func (b *faulty) serve(c net.Conn) {
	defer func() {
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
		c.Close()
	}()
	var s *fakeSession
	var user string
	var version byte
	r := bufio.NewReader(c)
	for {
		p, err := readAny(r, version)
		if err != nil {
			return
		}
		b.mu.Lock()
		switch p.FixedHeader.Type {
		case packets.Connect:
			user = string(p.Connect.Username)
			version = p.ProtocolVersion
			s = b.connect(c, p)
			present := byte(0)
			if s.key != "" {
				present = 1
			}
			b.write(c, p.ProtocolVersion, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, SessionPresent: present == 1})
			b.deliver(s)
		case packets.Subscribe:
			s.key = p.Filters[0].Filter
			if b.chat {
				s.key = user
			}
			s.next = len(b.logs[s.key])
			s.acked = s.next
			b.write(c, s.version, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Suback}, PacketID: p.PacketID, ReasonCodes: []byte{1}})
		case packets.Publish:
			b.publish(c, s, user, p)
		case packets.Puback:
			s.acked = min(s.acked+1, s.next)
		case packets.Pubrel:
			delete(s.ids, p.PacketID)
			b.write(c, s.version, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubcomp}, PacketID: p.PacketID})
		case packets.Pingreq:
			b.write(c, s.version, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}})
		case packets.Disconnect:
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
	}
}

func (b *faulty) connect(c net.Conn, p packets.Packet) *fakeSession {
	name := string(p.Connect.Username) + "/" + p.Connect.ClientIdentifier
	s := b.sessions[name]
	if s != nil && s.conn != nil {
		s.conn.Close()
	}
	if s == nil || p.Connect.Clean {
		s = &fakeSession{ids: map[uint16]bool{}}
		b.sessions[name] = s
	}
	s.clean = p.Connect.Clean && p.Properties.SessionExpiryInterval == 0
	s.conn, s.version = c, p.ProtocolVersion
	s.next = s.acked
	return s
}

func (b *faulty) publish(c net.Conn, s *fakeSession, user string, p packets.Packet) {
	key, cid := p.TopicName, ""
	if b.chat {
		parts := strings.Split(p.TopicName, "/") // user, {u}, text, {cid}
		key, cid = parts[1], parts[3]
	}
	n := b.counts[key]
	if b.before != nil {
		b.before(b.total)
	}
	b.total++
	reason := byte(0)
	again := b.dedupe && b.cids[user+"/"+cid] || s.ids[p.PacketID]
	if b.refuse != nil {
		reason = b.refuse(key, n)
	}
	if reason == 0 && !again {
		b.counts[key]++
		b.cids[user+"/"+cid] = true
		e := entry{p.TopicName, p.Payload}
		if b.chat {
			e.topic = "user/" + user + "/json"
			e.payload = fmt.Appendf(nil, `{"s":%d,"f":%q,"i":%q,"b":%q}`, len(b.logs[key])+1, user, cid, p.Payload)
		}
		kept := []entry{e}
		if b.keep != nil {
			kept = b.keep(key, n, e)
		}
		b.logs[key] = append(b.logs[key], kept...)
		for _, to := range b.sessions {
			if to.key == key {
				b.deliver(to)
			}
		}
	} else if reason != 0 {
		b.counts[key]++
		if s.version < 5 {
			body, _ := json.Marshal(map[string]any{"code": 403, "error": "not_friend"})
			topic := fmt.Sprintf("reply/-%d", p.PacketID)
			if cid != "" {
				topic = "reply/" + cid
			}
			b.write(c, s.version, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: topic, Payload: body})
			reason = 0
		}
	}
	if b.ignore != nil && b.ignore(b.total-1) {
		return
	}
	switch p.FixedHeader.Qos {
	case 1:
		b.write(c, s.version, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: p.PacketID, ReasonCode: reason})
	case 2:
		s.ids[p.PacketID] = true
		b.write(c, s.version, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrec}, PacketID: p.PacketID, ReasonCode: reason})
	}
}

func (b *faulty) deliver(s *fakeSession) {
	log := b.logs[s.key]
	s.next, s.acked = min(s.next, len(log)), min(s.acked, len(log))
	for s.conn != nil && s.key != "" && s.next < len(log) {
		if s.id++; s.id == 0 {
			s.id = 1
		}
		e := log[s.next]
		b.write(s.conn, s.version, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, TopicName: e.topic, PacketID: s.id, Payload: e.payload})
		s.next++
	}
}

func (b *faulty) write(c net.Conn, version byte, p packets.Packet) {
	_, _ = c.Write(encodePacket(version, p)) // a closed one is noticed by its reader
}

func encodePacket(version byte, p packets.Packet) []byte {
	p.ProtocolVersion = version
	var buf bytes.Buffer
	var err error
	switch p.FixedHeader.Type {
	case packets.Connack:
		err = p.ConnackEncode(&buf)
	case packets.Suback:
		err = p.SubackEncode(&buf)
	case packets.Publish:
		err = p.PublishEncode(&buf)
	case packets.Puback:
		err = p.PubackEncode(&buf)
	case packets.Pubrec:
		err = p.PubrecEncode(&buf)
	case packets.Pubcomp:
		err = p.PubcompEncode(&buf)
	case packets.Pingresp:
		err = p.PingrespEncode(&buf)
	}
	if err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// readAny reads a client's packet.
func readAny(r *bufio.Reader, version byte) (p packets.Packet, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return p, err
	}
	if err := p.FixedHeader.Decode(first); err != nil {
		return p, err
	}
	n, _, err := packets.DecodeLength(r)
	if err != nil {
		return p, err
	}
	p.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return p, err
	}
	p.ProtocolVersion = version
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
	return p, err
}
