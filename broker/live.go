package broker

import (
	"time"

	"github.com/hwangso/hwangso/store"
)

// What follows is for who wakes devices that are away: how a device is connected, what it has confirmed, and whether the
// user is at another one. It is asked per message and receiver, so it costs a look at the registry, and at most one at a
// session or its row.

// Link tells how a device is connected: at all, with a keepalive that is overdue, in the background (see SetBackground).
//
// A device whose connection is being made counts as connected, so that one which comes back before its old connection has
// ended is never taken for away in between; if the new connection fails after all, that shows at the next look. After Drain
// everybody counts as connected: whose connection the server ends itself has not gone away.
func (b *Broker) Link(a store.AccountID, d store.DeviceID) (connected, overdue, background bool) {
	if b.draining.Load() {
		return true, false, false
	}
	s, coming := b.registry.link(deviceKey{a, d})
	if s == nil {
		return coming, false, false
	}
	return true, s.link.Overdue(), s.background.Load()
}

// Drain says that the server is about to end its connections: from now on nobody who loses one counts as away, so that a
// restart rings no phones. Close does so by itself; call it before, where something else ends the connections.
func (b *Broker) Drain() { b.draining.Store(true) }

// Acked is what a device has confirmed of a log: what its row says, and what its connection has confirmed since. What was
// written with QoS 0 counts once any packet has arrived after it. A device without a row has confirmed nothing.
func (b *Broker) Acked(a store.AccountID, d store.DeviceID, log store.LogID) (store.Cursor, error) {
	// The session first: what it has confirmed and no longer knows is in the row by then.
	var acked store.Seq
	if s := b.registry.device(deviceKey{a, d}); s != nil {
		acked = s.ackedOf(log)
	}
	c, err := b.store.CursorOf(a, d, log)
	if err != nil {
		return store.Cursor{}, err
	}
	return c.Ack(acked), nil
}

// ackedOf is how far the connection has confirmed a log, 0 if it has nothing to add to the row: it is yet to look where
// the device stands, or all is confirmed and saved, or no filter selects the log.
func (s *Session) ackedOf(log store.LogID) store.Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.feeds[log]; f != nil {
		return f.acked
	}
	return 0
}

// Active is when another connected device of the user last published something (a message, an edit, typing, a read mark)
// over whatever transport; the zero time if none did since it connected. Guests count, devices in the background and programs with a key do not. It
// is exact to a second.
func (b *Broker) Active(a store.AccountID, but store.DeviceID) time.Time {
	var last uint32
	for _, s := range b.registry.of(a) {
		if s.id.Device != but && s.id.key == nil && !s.background.Load() {
			last = max(last, s.active.Load())
		}
	}
	if last == 0 {
		return time.Time{}
	}
	return b.begun.Add(time.Duration(last-1) * time.Second)
}

// use notes that the client has sent something by its user's hand.
func (s *Session) use() {
	s.active.Store(uint32(max(s.b.now().Sub(s.b.begun), 0)/time.Second) + 1)
}

// SetBackground notes that the app of a device went into the background, where its user does not look at it, or came back.
// It is forgotten with the connection. connected is false, and nothing is noted, if the device has none.
func (b *Broker) SetBackground(a store.AccountID, d store.DeviceID, background bool) (connected bool) {
	s := b.registry.device(deviceKey{a, d})
	if s == nil {
		return false
	}
	s.background.Store(background)
	return true
}

// link is device, and whether one that has none yet is about to have one: somebody waits for the turn or has it.
func (r *registry) link(k deviceKey) (s *Session, coming bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if slot := r.slots[k]; slot != nil {
		return slot.session, true
	}
	return nil, false
}
