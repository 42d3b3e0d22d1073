package wire

// The library's decoder accepts much that MQTT forbids, and panics on some of it. So every packet it is to decode is
// first walked here, to the last byte; what passes is well formed.

var (
	errProtocolName = malformed("unknown protocol name")
	errLevel        = &protocolError{reasonVersion, "this protocol version is not offered"}
	errConnectFlags = malformed("CONNECT flags that contradict each other")
	errNoFilters    = violation("no topic filter")
	errEmptyFilter  = violation("an empty topic filter")
	errOptions      = malformed("reserved subscription options are set")
	errTooMany      = &protocolError{reasonQuota, "too many topic filters in one packet"}
)

// checkConnect walks the body of a CONNECT. The version is 0 if it is not known how to answer. Of a will it checks the
// form alone: whether there may be one is decided later.
func checkConnect(body []byte) (version byte, err error) {
	c := cursor{b: body}
	name := string(c.string())
	level := c.byte()
	flags := c.byte()
	c.uint16() // keep alive
	switch {
	case c.err != nil:
		return 0, c.err
	case name != "MQTT" && name != "MQIsdp":
		return 0, errProtocolName
	case name == "MQIsdp" && level == v31, name == "MQTT" && (level == v311 || level == v5):
	case name == "MQTT" && level > v5 && level < 0x80:
		return v5, errLevel // [MQTT-3.1.2-2]: the newest form there is
	default:
		return v311, &levelError
	}
	will, willQoS, willRetain := flags&4 != 0, flags>>3&3, flags&0x20 != 0
	password, user := flags&0x40 != 0, flags&0x80 != 0
	if flags&1 != 0 || willQoS == 3 || !will && (willQoS != 0 || willRetain) || password && !user && level != v5 {
		return level, errConnectFlags
	}
	if level == v5 {
		if err := checkConnectProps(&c); err != nil {
			return level, err
		}
	}
	c.string() // client identifier
	if will {
		if level == v5 {
			r := c.props(onWill)
			if err := r.skip(); err != nil {
				return level, err
			}
		}
		if topic := c.string(); c.err == nil && len(topic) == 0 {
			return level, errTopicEmpty
		}
		c.binary()
	}
	if user {
		c.string()
	}
	if password {
		c.binary()
	}
	return level, c.end()
}

// levelError is errLevel as 3.1.1 tells it: return code 1.
var levelError = protocolError{1, "this protocol version is not offered"}

func checkConnectProps(c *cursor) error {
	r := c.props(typeConnect)
	method, data := false, false
	for {
		v, ok := r.next()
		if !ok {
			break
		}
		method = method || v.id == propAuthMethod
		data = data || v.id == propAuthData
	}
	if r.err == nil && data && !method {
		return errAuthData
	}
	return r.err
}

// checkSubscribe walks the body of a SUBSCRIBE. Whether a filter means anything is for the topic grammar.
func checkSubscribe(version byte, body []byte, most int) error {
	return checkFilters(version, typeSubscribe, body, most)
}

// checkUnsubscribe walks the body of an UNSUBSCRIBE.
func checkUnsubscribe(version byte, body []byte, most int) error {
	return checkFilters(version, typeUnsubscribe, body, most)
}

func checkFilters(version, packet byte, body []byte, most int) error {
	c := cursor{b: body}
	c.packetID()
	if version == v5 {
		r := c.props(packet)
		if err := r.skip(); err != nil {
			return err
		}
	}
	n := 0
	for len(c.b) > 0 {
		filter := c.string()
		if c.err == nil && len(filter) == 0 {
			return errEmptyFilter
		}
		if packet == typeSubscribe {
			options := c.byte()
			switch {
			case options&3 == 3:
				return errQoS3
			case version != v5 && options > 2, options&0xc0 != 0, options&0x30 == 0x30:
				return errOptions
			}
		}
		if n++; n > most {
			return errTooMany
		}
	}
	if c.err == nil && n == 0 {
		return errNoFilters
	}
	return c.end()
}
