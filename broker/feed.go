package broker

import (
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// feed is a session's place in one log. It exists only while something of the log is to be sent or confirmed, or the
// follower may still tell of a record that was; a session without a feed for a log has confirmed all of it. Guarded by
// Session.mu.
type feed struct {
	log   store.LogID
	topic hooks.Topic // the log as this device sees it: Place and Name
	sel   hooks.Selection
	route route // of the selected view
	edits route // of …/edit, if a filter names it

	next  store.Seq // considered up to here: the After of the next read
	head  store.Seq // known to exist
	until uint64    // the position in the journal up to which the follower may tell of records up to head
	acked store.Seq // contiguously confirmed
	saved store.Seq // acked as given to the store
	told  store.Seq // while loading: the newest sequence of the in-flight list

	// QoS 0 deliveries are confirmed by the next packet that arrives after their write.
	low0     store.Seq // the first unconfirmed, 0: none
	last0    store.Seq // the newest given to a write
	written0 store.Seq // the newest whose write has returned

	again store.Seq // up to here only what became visible lately is sent: see rewind.go; 0: everything
	turns uint32    // how often it was taken back, or is to be decided again: a page read before is old
	mixed bool      // what is in flight is not in the order of sequences, or lies behind what the row has as confirmed

	parked int64 // waits: until then (Unix milliseconds) or for a change; see posts.go

	unacked int       // entries in Session.out
	queued  bool      // in Session.ready
	fresh   bool      // nothing delivered yet: base is not known
	base    store.Seq // the newest sequence delivered; what lies between it and the next delivery is withheld
	bulk    bool      // far behind: may use half of the window
}

// route is where deliveries of one topic go.
type route struct {
	topic   string
	qos     byte
	noLocal bool     // every matching filter asks not to get the device's own messages
	ids     []uint32 // subscription identifiers
}

// behind is how far a feed lags to count as bulk: an absence, not a reconnect.
const behind = 1000

// logTopic is how a user sees a log; ok is false for a log that has no topic for it.
func (b *Broker) logTopic(key store.Key, me store.AccountID) (t hooks.Topic, ok bool) {
	switch key.Kind {
	case store.LogPair:
		peer, err := b.store.Account(key.Peer(me))
		if err != nil {
			return t, false
		}
		return hooks.Topic{Place: hooks.User, Act: hooks.Message, Name: peer.Name}, true
	case store.LogRoom:
		return hooks.Topic{Place: hooks.Room, Act: hooks.Message, Name: key.Name}, true
	case store.LogNotice:
		return hooks.Topic{Place: hooks.Notice, Act: hooks.Message}, true
	case store.LogChannel, store.LogAds:
		return postTopic(key), true
	case store.LogThread:
		if key.A == me {
			return hooks.Topic{Place: hooks.Channel, Act: hooks.Ask, Name: key.Name}, true
		}
		info, err := b.store.Find(store.ChannelKey(key.Name))
		if err != nil || info.Members.Role(me) == store.RoleNone { // one who published there once
			return t, false
		}
		return hooks.Topic{Place: hooks.Thread, Act: hooks.Message, Name: key.Name, Sub: b.access.Pseudonym(info.ID, key.A)}, true
	}
	return t, false
}

// newFeed selects the log for the session, nil if its filters do not. The caller holds s.mu and sets the sequences.
func (s *Session) newFeed(log store.LogID, t hooks.Topic) *feed {
	if !s.id.admits(t) {
		return nil
	}
	sel := hooks.Select(s.parsed, t)
	if !sel.OK() && !sel.Edits {
		return nil
	}
	f := &feed{log: log, topic: t, sel: sel, fresh: true}
	if sel.OK() {
		t.View = sel.View
		f.route = s.routeTo(t)
	}
	if sel.Edits {
		t.View, t.Act = 0, hooks.Edit
		f.edits = s.routeTo(t)
	}
	return f
}

// routeTo collects QoS, No Local and identifiers from the filters that match the topic. The caller holds s.mu.
func (s *Session) routeTo(t hooks.Topic) route {
	var buf [160]byte
	r := route{topic: string(hooks.AppendDelivery(buf[:0], t)), noLocal: true}
	hooks.MatchDelivered(s.parsed, r.topic, func(i int) bool {
		f := &s.filters[i]
		r.qos = max(r.qos, f.QoS)
		r.noLocal = r.noLocal && f.NoLocal
		if f.Identifier != 0 {
			r.ids = append(r.ids, f.Identifier)
		}
		return true
	})
	r.noLocal = r.noLocal || s.noEcho
	return r
}

// wanted says on which route a record goes to this session, nil if it is passed over and counts as confirmed.
func (s *Session) wanted(f *feed, r *store.Record) *route {
	rt := &f.route
	if r.Op.Kind != store.OpNone && f.sel.Edits {
		rt = &f.edits
	} else if !f.sel.OK() {
		return nil
	}
	if rt.noLocal && s.own(r) {
		return nil
	}
	// The text view of a conversation of two has no room for a sender: only what the peer wrote is shown in it.
	if r.Sender == s.id.Account && f.topic.Place == hooks.User && f.sel.View == hooks.Text && rt == &f.route && f.topic.Name != s.id.Name {
		return nil
	}
	return rt
}
