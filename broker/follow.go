package broker

import (
	"context"
	"errors"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// follow reads what is committed from a position on and wakes the sessions that it concerns. It is one reader of the journal like every
// other; because it wakes and never waits for a session, one goroutine is enough.
func (b *Broker) follow(ctx context.Context, at store.Position) {
	for {
		batch, err := b.store.Follow(ctx, at)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if e, ok := errors.AsType[*store.Error](err); ok && e.Code == store.CodeTrimmed {
				_, at = b.store.Bounds()
				b.followed.Store(uint64(at)) // sessions find the rest by their cursors, at the next message or connect
				continue
			}
			b.log.Error("journal not read", keyErr, err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			continue
		}
		for i := range batch.Entries {
			b.wakeFor(&batch.Entries[i])
		}
		at = batch.Next
		b.followed.Store(uint64(at))
	}
}

// wakeFor tells the sessions of everybody whom an entry concerns.
func (b *Broker) wakeFor(e *store.Entry) {
	if e.Members == nil {
		return
	}
	if e.Record != nil && b.cfg.Events.Committed != nil {
		b.cfg.Events.Committed(e)
	}
	if e.Record != nil && e.Record.Seq == 0 && e.Record.Change.Kind == store.ChangeAccept {
		b.accepted(e)
	}
	if e.Record != nil && e.Record.Seq != 0 && e.Key.Posts() {
		b.proclaimPost(e)
		return
	}
	if len(e.Members.Members) >= crowded && (e.Record != nil || e.Mark != nil) {
		for _, s := range b.registry.crowd(e) {
			if m := e.Members.Find(s.id.Account); m != nil {
				s.concerns(e, m)
			}
		}
		return
	}
	for i := range e.Members.Members {
		m := &e.Members.Members[i]
		for _, s := range b.registry.of(m.Account) {
			s.concerns(e, m)
		}
	}
}

// proclaimPost tells a channel's publishers of a post, and has the herald tell its followers. A publisher who follows the
// channel is told as a follower, at once.
func (b *Broker) proclaimPost(e *store.Entry) {
	channel, err := b.access.Relations().ChannelOf(e.Key)
	if err != nil {
		b.log.Warn("followers get a post with the next one", keyLog, e.Record.Log, keySeq, e.Record.Seq, keyErr, err)
		return
	}
	p := post{channel: channel, log: e.Record.Log, key: e.Key, head: e.Record.Seq, until: uint64(e.Position) + 1}
	for i := range e.Members.Members {
		m := &e.Members.Members[i]
		for _, s := range b.registry.of(m.Account) {
			s.mu.Lock()
			listed := !s.loading && s.tellPost(p, nil)
			s.mu.Unlock()
			if !listed {
				s.concerns(e, m)
			}
		}
	}
	b.herald.grew(p)
}

// concerns wakes the session of a member if the entry is anything to it.
func (s *Session) concerns(e *store.Entry, m *store.Member) {
	r := e.Record
	switch {
	case e.Mark != nil:
		if m.Role != store.RoleNone {
			s.tellMarks(e)
		}
	case r == nil || r.Seq == 0:
	case m.Role == store.RoleNone && !m.Sees(r.Seq): // one who left gets the farewell and nothing later
	case r.Audience != store.AudienceBoth && r.Sender != m.Account: // for this member the record does not exist
	default:
		s.tell(e, m)
	}
}

// tell wakes the session for a record: its log has grown to there. It never waits: what it takes is the session's lock,
// under which nothing is read or written.
func (s *Session) tell(e *store.Entry, m *store.Member) {
	r := e.Record
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || (len(s.parsed) == 0 && !s.loading) {
		return
	}
	f := s.feeds[r.Log]
	var t hooks.Topic
	if f == nil && !s.loading {
		s.mu.Unlock()
		var ok bool
		t, ok = s.b.logTopic(e.Key, s.id.Account)
		s.mu.Lock()
		if f = s.feeds[r.Log]; !ok || s.ended { // a SUBSCRIBE may have made one meanwhile
			return
		}
	}
	if f == nil && !s.loading && e.Position < s.since {
		return // the follower is late: loading has seen the record
	}
	if f == nil && s.loading {
		if s.missed == nil {
			s.missed = make(map[store.LogID]store.LogRef)
		}
		s.missed[r.Log] = store.LogRef{LogInfo: store.LogInfo{ID: r.Log, Key: e.Key, Head: r.Seq, Members: e.Members}, Me: *m}
		return
	}
	if f == nil {
		if f = s.newFeed(r.Log, t); f == nil {
			return
		}
		// No feed means that everything before this record was considered.
		f.next, f.acked, f.saved = r.Seq-1, r.Seq-1, r.Seq-1
		if s.feeds == nil {
			s.feeds = make(map[store.LogID]*feed)
		}
		s.feeds[r.Log] = f
	}
	idle := !s.running
	s.grow(f, r.Seq, uint64(e.Position)+1)
	if idle && s.running && !f.slow() { // how late it runs is what the bulk lane looks at
		s.work.woken = time.Now()
	}
}

// grow raises a feed's head, and wakes the pump if there is something to send now. The caller holds mu.
func (s *Session) grow(f *feed, head store.Seq, until uint64) {
	if head <= f.head {
		return
	}
	f.head, f.until = head, max(f.until, until)
	if f.next >= f.head || f.queued || f.parked != 0 {
		return
	}
	f.queued = true
	s.ready = append(s.ready, f)
	if !s.full(f.slow()) {
		s.wake()
	}
}
