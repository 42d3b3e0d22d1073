package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// Connect is what a link knows after CONNECT and authentication.
type Connect struct {
	Identity  hooks.Identity // ClientID may be empty: one is assigned
	Clean     bool           // clean start: forget an earlier session
	Expiry    uint32         // seconds the session is to outlive the connection; 0 ends it with the connection
	Window    uint16         // the client's Receive Maximum; 0 means 65,535
	MaxPacket uint32         // the client's Maximum Packet Size in bytes; 0 means no limit
	Will      *Publication   // nil, or on a typing topic
	Remote    string         // address, for the log
}

// Attach gives a link its session, ending an older connection of the same device first: that one has confirmed and
// saved what it could before this returns. present tells whether an earlier MQTT session goes on. Errors have a code:
// CodeFull (devices, guests), CodeUnavailable.
//
// The link writes its CONNACK and then calls Start; when its reading side ends it calls Detach.
func (b *Broker) Attach(ctx context.Context, c Connect, l Link) (s *Session, present bool, err error) {
	if b.closing.Load() {
		return nil, false, ErrShutdown
	}
	id := c.Identity
	k := deviceKey{id.Account, id.Device}
	turn, err := b.registry.acquire(ctx, k)
	if err != nil {
		return nil, false, &store.Error{Code: store.CodeUnavailable, Text: "another connection of this device is being replaced", Err: err}
	}
	defer b.registry.release(k, turn)
	if old := b.registry.current(turn); old != nil {
		b.metrics.takeovers.Inc()
		old.link.Close(ErrTakenOver)
		select {
		case <-old.done:
		case <-ctx.Done():
			return nil, false, &store.Error{Code: store.CodeUnavailable, Text: "another connection of this device does not end", Err: ctx.Err()}
		}
	}

	s = &Session{
		b: b, link: l, slot: turn, loading: true,
		id:     who{Account: id.Account, Device: id.Device, Name: id.Name, client: id.ClientID, token: id.Token, address: id.Address},
		window: maxWindow, maxPacket: c.MaxPacket, will: c.Will, done: make(chan struct{}),
		expiry: min(c.Expiry, b.cfg.maxExpiry()), guest: id.Guest, noEcho: id.NoEcho,
	}
	if id.Key() {
		scopes := id.Scopes
		s.id.key = &scopes
	}
	if c.Window > 0 {
		s.window = min(int32(c.Window), maxWindow)
	}
	acct, err := b.store.Account(id.Account)
	if err != nil {
		return nil, false, err
	}
	s.lang = view.ParseLang(acct.Language)
	rewound := b.rewinds.count()
	present, replaced, err := s.restore(ctx, c.Clean)
	if err != nil {
		return nil, false, err
	}
	if !b.registry.add(s, b.cfg.MaxGuests) {
		return nil, false, hooks.ErrGuests
	}
	if !s.guest {
		if err := s.look(ctx, rewound, replaced); err != nil {
			b.registry.remove(s)
			close(s.done) // somebody may have found it and wait
			return nil, false, err
		}
	}
	b.registry.hold(turn, s)
	if err := b.stillIn(id); err != nil {
		b.registry.remove(s)
		b.registry.end(k, s)
		close(s.done) // somebody may have found it and wait
		return nil, false, err
	}
	if !id.Expires.IsZero() {
		s.id.expires = id.Expires.UnixMilli()
		s.timer = time.AfterFunc(id.Expires.Sub(b.now()), func() { l.Close(ErrExpired) })
	}
	b.presence.came(s)
	b.metrics.attached.Inc()
	if e := b.cfg.Events.Attached; e != nil {
		e(id, present)
	}
	return s, present, nil
}

// stillIn asks again whether the credentials are good, once the session can be found by Disconnect: whoever ends them
// ends them first and then the sessions, so that one of the two finds the other.
func (b *Broker) stillIn(id hooks.Identity) error {
	if id.Token != [32]byte{} {
		if _, err := b.store.TokenByHash(id.Account, id.Token); store.CodeOf(err) == store.CodeNotFound {
			return ErrRemoved
		} else if err != nil {
			return err
		}
	}
	acct, err := b.store.Account(id.Account)
	if err == nil && acct.State == store.AccountSuspended {
		return hooks.ErrSuspended
	}
	return err
}

// restore takes up or clears the session row, and reports whether it replaced it. A guest has none.
func (s *Session) restore(ctx context.Context, clean bool) (present, replaced bool, err error) {
	b, id := s.b, s.id
	if s.guest {
		s.row = &store.Session{}
		return false, false, nil
	}
	row, err := b.store.LoadSession(id.Account, id.Device)
	if store.CodeOf(err) == store.CodeNotFound {
		row, err = &store.Session{Account: id.Account, Device: id.Device, Epoch: b.store.Epoch()}, nil
	}
	if err != nil {
		return false, false, err
	}
	if row.Present && clean {
		row.Present, row.Filters, row.Inflight = false, nil, nil
		if err := b.store.SaveSession(ctx, row); err != nil {
			return false, false, err
		}
		if _, err := b.store.Release(store.Release{Account: id.Account, Device: id.Device}).Result(); err != nil {
			return false, false, err
		}
	}
	present = row.Present
	switch {
	case present && row.Expiry == s.expiry:
		b.store.PutDisconnect(id.Account, id.Device, nil, 0, nil) // connected: what is in flight is ours to know now
	case present || s.expiry > 0:
		if err := s.replace(ctx, row); err != nil {
			return false, false, err
		}
		replaced = true
	}
	if !present {
		row.Filters, row.Inflight = nil, nil
	}
	for _, f := range row.Filters {
		p, err := s.parseFilter(f.Topic)
		if err != nil { // the grammar of an older version
			b.log.Warn("stored filter dropped", keyUser, id.Name, keyClient, s.id.client, keyErr, err)
			continue
		}
		s.filters, s.parsed = append(s.filters, f), append(s.parsed, p)
	}
	s.row = row
	return present, replaced, nil
}

// replace saves a row as that of a connected device.
func (s *Session) replace(ctx context.Context, row *store.Session) error {
	started := *row
	started.Present, started.Expiry, started.Disconnected, started.Inflight = true, s.expiry, 0, nil
	return s.b.store.SaveSession(ctx, &started)
}

func (s *Session) parseFilter(topic string) (hooks.Filter, error) {
	return hooks.ParseFilter(topic)
}

// load looks which logs the device is behind in. The pump calls it first, so that CONNACK does not wait for it. Logs
// that grow meanwhile are collected in missed and looked at in the end.
func (s *Session) load() error {
	_, since := s.b.store.Bounds() // before the filters: a SUBSCRIBE after them begins what is committed after it by itself
	s.mu.Lock()
	row, filters := s.row, len(s.parsed)
	marks := hooks.AnyCould(s.parsed, hooks.Room, hooks.Read) || hooks.AnyCould(s.parsed, hooks.User, hooks.Read)
	progress, posts := hooks.AnyCould(s.parsed, hooks.Channel, hooks.Progress), s.mayFollow(s.parsed)
	s.mu.Unlock()
	var after store.LogID
	for filters > 0 {
		refs, err := s.b.store.LogsOf(s.id.Account, after, 500)
		if err != nil {
			return err
		}
		if len(refs) == 0 {
			break
		}
		after = refs[len(refs)-1].ID
		s.enterCrowds(refs)
		_, until := s.b.store.Bounds()
		s.mu.Lock()
		for i := range refs {
			s.loadLog(&refs[i], row.Cursors[refs[i].ID], row.Inflight, uint64(until), marks)
		}
		if progress {
			s.recallProgress(refs)
		}
		ended := s.ended
		s.mu.Unlock()
		if ended {
			return nil
		}
	}
	if err := s.loadPosts(row, posts); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	_, until := s.b.store.Bounds()
	for log, ref := range s.missed {
		s.loadLog(&ref, row.Cursors[log], row.Inflight, uint64(until), false)
	}
	s.since = since
	s.takeInflight(row.Inflight)
	s.row, s.missed, s.loading = nil, nil, false
	if hooks.AnyCould(s.parsed, hooks.Presence, hooks.Status) {
		s.news().seen.all()
	}
	if len(s.feeds) > 0 {
		s.mark()
	}
	return nil
}

// loadPosts looks at the channels that the user follows, and then at those that have changed meanwhile. It locks mu, so
// that none changes before the session counts as loaded.
func (s *Session) loadPosts(row *store.Session, all bool) error {
	_, until := s.b.store.Bounds()
	from := func(log store.LogID) store.Seq { return row.Cursors[log].Acked }
	look := func(channel store.LogID) error { return s.lookAt(channel, from, row.Inflight, uint64(until)) }
	if all {
		if err := s.followed(look); err != nil {
			return err
		}
	}
	for s.mu.Lock(); s.follows != nil && len(s.follows.late) > 0; s.mu.Lock() {
		late := s.follows.late
		s.follows.late = nil
		s.mu.Unlock()
		for _, channel := range late {
			if err := look(channel); err != nil {
				return err
			}
		}
	}
	return nil
}

// enterCrowds lists the session in crowded logs, and looks at their heads again: what came before the session was
// listed was not told to it.
func (s *Session) enterCrowds(refs []store.LogRef) {
	for i := range refs {
		if len(refs[i].Members.Members) < crowded || refs[i].Me.Role == store.RoleNone {
			continue
		}
		s.b.registry.enter(refs[i].ID, s)
		if info, err := s.b.store.Info(refs[i].ID); err == nil {
			refs[i].LogInfo = info
		}
	}
}

// loadLog makes a feed for a log with something to send. The caller holds mu.
func (s *Session) loadLog(ref *store.LogRef, cur store.Cursor, inflight []store.Inflight, until uint64, marks bool) {
	t, ok := s.b.logTopic(ref.Key, s.id.Account)
	if !ok || ref.Key.Posts() && ref.Me.Role == store.RoleNone { // who published there once is a follower or nothing
		return
	}
	if marks && !ref.Key.OfChannel() && s.id.admits(t) && knownHead(&ref.LogInfo, s.id.Account) > 0 && ref.Me.Role != store.RoleNone {
		s.news().marks(ref.ID, t)
	}
	head := visibleHead(&ref.Me, ref.Head)
	if f := s.feeds[ref.ID]; f != nil { // a SUBSCRIBE has been quicker
		s.grow(f, head, until)
		return
	}
	if cur.Acked >= head {
		return
	}
	f := s.newFeed(ref.ID, t)
	if f == nil {
		return
	}
	f.next, f.acked, f.saved, f.head = cur.Acked, cur.Acked, cur.Acked, head
	if cur.Below > cur.Acked { // rewound
		f.again, f.told, f.mixed = cur.Below, cur.Below, true
	}
	for _, in := range inflight {
		switch {
		case in.Log != ref.ID:
		case f.again != 0:
			f.again = max(f.again, in.Seq)
		default:
			f.next = max(f.next, in.Seq)
		}
	}
	f.until = until
	f.bulk = head-f.next > behind
	if f.next > cur.Acked {
		f.fresh, f.base = false, f.next
	}
	s.addFeed(f)
}

// visibleHead is the head for a member: that of the log, or of the last span of one who left.
func visibleHead(m *store.Member, head store.Seq) store.Seq {
	if n := len(m.Spans); n > 0 && m.Spans[n-1].To != 0 {
		return min(head, m.Spans[n-1].To)
	}
	return head
}

func (s *Session) addFeed(f *feed) {
	if s.feeds == nil {
		s.feeds = make(map[store.LogID]*feed)
	}
	s.feeds[f.log] = f
	if f.next < f.head {
		f.queued = true
		s.ready = append(s.ready, f)
	}
}

// takeInflight puts the deliveries of the connection before back in flight, to be sent again in their order with DUP
// (MQTT 5, 4.4). The caller holds mu.
func (s *Session) takeInflight(list []store.Inflight) {
	for _, in := range list {
		f := s.feeds[in.Log]
		if f == nil || in.Seq <= f.acked {
			continue
		}
		first := max(f.acked, f.told) + 1
		f.told = in.Seq
		if in.PacketID == 0 || f.route.qos == 0 {
			continue
		}
		e := sent{feed: f, first: first, seq: in.Seq, id: in.PacketID}
		if f.sel.View != hooks.Batch {
			e.first = in.Seq
		}
		f.unacked++
		s.out, s.resend = append(s.out, e), append(s.resend, e)
	}
	for _, in := range list { // a log whose filter is gone, or asks for QoS 0 now, has nothing to wait for
		if f := s.feeds[in.Log]; f != nil {
			s.confirm(f)
		}
	}
}

// Detach ends the session's attachment, once, when the link's reading side has ended. orderly tells a DISCONNECT (MQTT
// 5: with reason 0) from a broken connection, which fires the will. It waits for the pump, saves cursors and what is in
// flight, and lets a waiting takeover go on.
func (s *Session) Detach(orderly bool) {
	b := s.b
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Lock()
	s.ended = true
	s.signal()
	if s.running {
		select {
		case s.work.kick <- struct{}{}:
		default:
		}
	}
	for s.running {
		s.wait()
	}
	if orderly { // the client was there until now: what was written has arrived
		s.hear()
	}
	if !s.guest {
		s.save()
	}
	s.control, s.results, s.ready, s.resend, s.out, s.feeds, s.row = nil, nil, nil, nil, nil, nil, nil
	s.mu.Unlock()
	if s.will != nil && !orderly {
		b.fire(s, *s.will)
	}
	b.presence.left(s, b.now()) // before it is out of the registry: see presence
	b.registry.remove(s)
	s.delistAll()
	b.registry.end(deviceKey{s.id.Account, s.id.Device}, s)
	b.metrics.detached.Inc()
	if e := b.cfg.Events.Detached; e != nil {
		e(s.Identity(), orderly)
	}
	close(s.done)
}

// save gives the store the cursors and, for a session that goes on, what is in flight. The caller holds mu.
func (s *Session) save() {
	b, id := s.b, s.id
	var inflight []store.Inflight
	if !s.started || s.loading { // nothing has been sent on this connection: the row knows
		if s.row != nil {
			inflight = slices.DeleteFunc(s.row.Inflight, func(in store.Inflight) bool { return in.Log == s.held })
		}
	} else {
		for i := range s.out {
			e := &s.out[i]
			if e.feed.again != 0 || e.feed.mixed || e.feed.log == s.held {
				continue // the cursor alone says what the device has
			}
			in := store.Inflight{Log: e.feed.log, Seq: e.seq}
			if !e.acked {
				in.PacketID = e.id
			}
			inflight = append(inflight, in)
		}
		for _, f := range s.feeds {
			if f.unacked > 0 && f.next > f.acked && f.low0 == 0 && f.again == 0 && !f.mixed && f.log != s.held {
				inflight = append(inflight, store.Inflight{Log: f.log, Seq: f.next})
			}
		}
	}
	cursors := s.takeCursors()
	now := b.now().UnixMilli()
	if s.expiry > 0 {
		b.store.PutDisconnect(id.Account, id.Device, cursors, now, inflight)
		return
	}
	b.store.PutCursors(id.Account, id.Device, cursors)
	row, err := b.store.LoadSession(id.Account, id.Device)
	if err == nil && row.Present {
		row.Present, row.Filters, row.Inflight, row.Disconnected = false, nil, nil, now
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = b.store.SaveSession(ctx, row)
		b.store.Release(store.Release{Account: id.Account, Device: id.Device})
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		b.log.Warn("session not ended in storage", keyUser, id.Name, keyClient, s.id.client, keyErr, err)
	}
}
