//go:build linux

package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/hwangso/hwangso/examples/swarm/internal/check"
	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
)

// peer is one connection of a run: it sends, receives or does both.
type peer struct {
	shard *shard
	c     *engine.Conn
	id    uint32 // as sender in payloads

	opening bool
	dialed  int64
	leaving bool // its end is our wish
	posts   bool // what it sends are posts of a broadcast

	send *sender

	// Receiving: whom it should hear, and one stream each. Most peers hear
	// one sender, so the first needs no map.
	hears []*peer
	first check.Stream
	rest  map[uint32]*check.Stream
	dups  uint64 // doubled messages that came flagged DUP
	stray uint64 // messages of this run from somebody not in hears
}

var _ engine.Handler = (*peer)(nil)

// Ready implements engine.Handler.
func (p *peer) Ready(c *engine.Conn, _ bool) {
	if p.send != nil {
		p.send.window = min(p.send.window, int(c.Window()))
	}
	if p.opening {
		p.shard.opener.finished(p, nil)
	}
	if p.send != nil {
		p.send.pump()
	}
}

// Closed implements engine.Handler.
func (p *peer) Closed(_ *engine.Conn, err error) {
	if p.opening {
		if err == nil {
			err = engine.ErrServer
		}
		p.shard.opener.finished(p, err)
		return
	}
	if err != nil && !p.leaving {
		p.shard.n.closed++
		p.shard.failed("connection lost: " + err.Error())
	}
}

// Acked implements engine.Handler.
func (p *peer) Acked(_ *engine.Conn, kind byte, id uint16, reason byte) {
	if p.send == nil || kind != packet.PUBACK {
		p.shard.failed("acknowledgement of nothing sent")
		return
	}
	p.send.acked(id, reason)
}

// Publish implements engine.Handler.
func (p *peer) Publish(_ *engine.Conn, m *packet.Publish) {
	sh := p.shard
	st, rest, ok := sh.run.find(m.Payload)
	if !ok {
		p.other(m)
		return
	}
	now := sh.loop.Now()
	for ; ok; st, rest, ok = sh.run.find(rest) {
		stream, from := p.stream(st.sender)
		if stream == nil {
			p.stray++
			continue
		}
		if stream.Seen(uint64(st.number)) == check.Doubled {
			if m.Dup {
				p.dups++
			}
			continue
		}
		sh.n.delivered++
		if st.intended >= sh.from {
			sh.delivery.Record(now - st.intended)
			if sh.split != nil {
				sh.split.record(from.posts, st.intended, now)
			}
		}
		if from.send.expect > 0 {
			from.send.delivered(st.number, sh, now)
		}
	}
}

// stream finds the stream of a sender this peer should hear, or nil.
func (p *peer) stream(sender uint32) (*check.Stream, *peer) {
	if len(p.hears) > 0 && p.hears[0].id == sender {
		return &p.first, p.hears[0]
	}
	for _, h := range p.hears[min(1, len(p.hears)):] {
		if h.id != sender {
			continue
		}
		s := p.rest[sender]
		if s == nil {
			if p.rest == nil {
				p.rest = map[uint32]*check.Stream{}
			}
			s = new(check.Stream)
			p.rest[sender] = s
		}
		return s, h
	}
	return nil, nil
}

// other takes a message that is not of this run: an outcome on reply/, or
// somebody else's.
func (p *peer) other(m *packet.Publish) {
	rest, ok := bytes.CutPrefix(m.Topic, []byte("reply/"))
	if !ok {
		p.shard.unrelated++
		return
	}
	what, refused := readReply(m.Payload)
	if !refused {
		return
	}
	p.shard.failed(what)
	if p.send != nil {
		p.send.replied(rest)
	}
}

// readReply reads {"code":403,"error":"not_friend",…}.
func readReply(payload []byte) (what string, refused bool) {
	var r struct {
		Code  int    `json:"code"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(payload, &r); err != nil {
		return "reply that is no JSON", true
	}
	if r.Code < 300 {
		return "", false
	}
	return fmt.Sprintf("reply %d %.40s", r.Code, r.Error), true
}

// packetID reads the "-17" of a topic reply/-17.
func packetID(b []byte) (uint16, bool) {
	if len(b) < 2 || b[0] != '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[1:]), 10, 16)
	return uint16(n), err == nil
}
