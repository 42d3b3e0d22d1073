package store

// Cursor is how far a device has confirmed a log. Confirmed are the sequences up to Below and those in (From, Acked];
// what lies between Below and From was skipped by a clean start or a late SUBSCRIBE: it is not delivered any more, but
// it is not confirmed either, so a push for it stays due.
//
// A cursor that was rewound has Below above Acked: deliveries start again after Acked, but up to Below only of what has
// become visible since.
type Cursor struct {
	Below Seq // confirmed before the newest clean start, first SUBSCRIBE or rewind
	From  Seq // deliveries start after this sequence
	Acked Seq // the highest contiguous sequence confirmed since; at least From
}

// Confirmed reports whether the device has confirmed seq.
func (c Cursor) Confirmed(seq Seq) bool {
	return seq <= c.Below || (seq > c.From && seq <= c.Acked)
}

// Ack moves the cursor to a contiguous acknowledgement; cursors never go back.
func (c Cursor) Ack(seq Seq) Cursor {
	if seq > c.Acked {
		c.Acked = seq
	}
	if c.Below >= c.From && c.Below <= c.Acked { // nothing was skipped: one contiguous run
		c.Below, c.From = c.Acked, c.Acked
	}
	return c
}

// Rewind starts deliveries again after a sequence, for what has become visible behind the cursor. What the device has
// confirmed stays so. A hole that the cursor had counts as confirmed then: whoever accepts a conversation has looked at
// it.
func (c Cursor) Rewind(after Seq) Cursor {
	if c.Acked <= after {
		return c
	}
	return Cursor{Below: max(c.Below, c.Acked), From: after, Acked: after}
}

// Skip starts deliveries after head without confirming what lies before it. A cursor remembers one hole: when it had
// one already, what was confirmed above that counts as not confirmed again, because a push twice is better than none.
func (c Cursor) Skip(head Seq) Cursor {
	if c.Below >= c.From {
		c.Below = max(c.Below, c.Acked)
	}
	if head > c.Acked {
		c.From, c.Acked = head, head
	}
	if c.Below >= c.From && c.Below <= c.Acked {
		c.Below, c.From = c.Acked, c.Acked
	}
	return c
}

// Cap lowers a cursor that is ahead of the log, as a restore leaves it.
func (c Cursor) Cap(head Seq) Cursor {
	return Cursor{min(c.Below, head), min(c.From, head), min(c.Acked, head)}
}

// Filter is one subscription of a session, in MQTT's words. Package hooks knows the grammar.
type Filter struct {
	Topic      string
	QoS        byte // 0 or 1: deliveries are at most QoS 1
	NoLocal    bool
	Identifier uint32 // MQTT 5 subscription identifier, 0: none
}

// Inflight is a delivery that was written and not acknowledged. With PacketID 0 it says instead that every sequence of
// the log up to Seq has been considered for delivery, so that what was acknowledged out of order is not sent again.
type Inflight struct {
	Log      LogID
	Seq      Seq
	PacketID uint16
}

// Session is what outlives a connection of a device: MQTT's session state. The row of a device stays when its MQTT
// session ends (Present false, no filters), because push and unread counts still ask its cursors.
type Session struct {
	Account      AccountID
	Device       DeviceID
	Present      bool   // an MQTT session exists: the answer to CONNECT
	Expiry       uint32 // seconds the session outlives its connection (MQTT 5 Session Expiry Interval, capped)
	Disconnected int64  // Unix milliseconds; 0 while connected, and after a crash
	Epoch        Epoch  // the epoch the cursors were written in
	Filters      []Filter
	Inflight     []Inflight // in the order of delivery; known only after an orderly disconnect
	Cursors      map[LogID]Cursor
}
