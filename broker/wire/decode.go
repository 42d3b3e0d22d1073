package wire

// publish is a PUBLISH as read; topic, payload and what lies behind the pointers alias the packet.
type publish struct {
	qos         byte
	dup         bool
	id          uint16
	alias       uint16 // 0: none
	expiry      uint32
	topic       []byte
	payload     []byte
	response    []byte
	correlation []byte
}

// decodePublish reads the body of a PUBLISH whose flags parseFrame has checked. Wildcards in the topic are left to the
// topic grammar: a refused publish disconnects nobody. It allocates nothing.
func decodePublish(p *publish, first, version byte, body []byte) error {
	c := cursor{b: body}
	*p = publish{qos: first >> 1 & 3, dup: first&8 != 0, topic: c.string()}
	if p.qos > 0 {
		p.id = c.packetID()
	}
	if version == v5 {
		r := c.props(typePublish)
		for {
			v, ok := r.next()
			if !ok {
				break
			}
			switch v.id {
			case propMessageExpiry:
				p.expiry = v.n
			case propResponseTopic:
				p.response = v.bytes
			case propCorrelation:
				p.correlation = v.bytes
			case propTopicAlias:
				if v.n == 0 {
					return errAlias
				}
				p.alias = uint16(v.n)
			}
		}
		if r.err != nil {
			c.fail(r.err)
		}
	}
	p.payload = c.b
	if c.err != nil {
		return c.err
	}
	if len(p.topic) == 0 && p.alias == 0 {
		return errTopicEmpty
	}
	return nil
}

// decodeAck reads the body of a PUBACK, PUBREC, PUBREL or PUBCOMP.
func decodeAck(packet, version byte, body []byte) (id uint16, reason byte, err error) {
	c := cursor{b: body}
	id = c.packetID()
	if version == v5 && len(c.b) > 0 {
		reason = c.byte()
		if len(c.b) > 0 {
			r := c.props(packet)
			if err := r.skip(); err != nil {
				return 0, 0, err
			}
		}
	}
	return id, reason, c.end()
}

// decodeDisconnect reads the body of a DISCONNECT. expiry is -1 if the packet does not change it. (The library's
// decoder ignores a reason code without properties, and so would lose a will asked for by 0x04.)
func decodeDisconnect(version byte, body []byte) (reason byte, expiry int64, err error) {
	c := cursor{b: body}
	expiry = -1
	if version == v5 && len(body) > 0 {
		reason = c.byte()
		if len(c.b) > 0 {
			r := c.props(typeDisconnect)
			for {
				v, ok := r.next()
				if !ok {
					break
				}
				if v.id == propSessionExpiry {
					expiry = int64(v.n)
				}
			}
			if r.err != nil {
				return 0, 0, r.err
			}
		}
	}
	return reason, expiry, c.end()
}
