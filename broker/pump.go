package broker

import (
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// pump is the working memory of a running pump goroutine, pooled because most sessions are idle most of the time.
type pump struct {
	kick    chan struct{}
	items   []Item
	arena   []byte // payloads and topics built for this chunk
	bytes   int
	wrote   []wrote0
	pending *store.Pending // what to wait for when nothing is due
	page    pageContext    // of the page being delivered
	bulk    int            // records of bulk feeds in the chunk
	resume  time.Time      // bulk waits until then
	woken   time.Time      // when chat that is yet to be written woke the session; guarded by Session.mu
	turn    *turn          // of the herald, that waits for what was told to be written; guarded by Session.mu
}

// wrote0 is a QoS 0 delivery in the chunk.
type wrote0 struct {
	feed *feed
	seq  store.Seq
}

var pumps = sync.Pool{New: func() any {
	return &pump{kick: make(chan struct{}, 1), items: make([]Item, 0, 16), arena: make([]byte, 0, 4<<10)}
}}

func (p *pump) reset() {
	clear(p.items)
	clear(p.wrote)
	p.items, p.wrote, p.arena, p.bytes, p.pending = p.items[:0], p.wrote[:0], p.arena[:0], 0, nil
	p.page, p.bulk = pageContext{}, 0
	if cap(p.arena) > 2*chunkBytes {
		p.arena = make([]byte, 0, 4<<10)
	}
}

// Within a chunk: packets of the link, outcomes in the order in which the packets arrived, ephemeral news, then
// deliveries, logs in turn.

// step does one round of a pump; false ends it.
func (s *Session) step(p *pump) bool {
	s.mu.Lock()
	if s.loading && !s.ended {
		s.mu.Unlock()
		if err := s.load(); err != nil {
			s.b.log.Error("session not loaded", keyUser, s.id.Name, keyClient, s.id.client, keyErr, err)
			s.stopPump(p)
			s.link.Close(ErrStorage)
			return false
		}
		s.mu.Lock()
	}
	s.collect(p)
	woken, turn := p.woken, p.turn
	p.woken, p.turn = time.Time{}, nil
	if len(p.items) > 0 {
		s.mu.Unlock()
		ran := time.Now()
		ok := s.write(p)
		if !woken.IsZero() {
			s.b.wroteChat(woken, ran)
		}
		turn.finish()
		return ok
	}
	turn.finish()
	if s.ended || s.idle() {
		s.leave(p)
		s.mu.Unlock()
		return false
	}
	s.mu.Unlock()
	p.wait()
	return true
}

// write gives the chunk to the link; false ends the pump.
func (s *Session) write(p *pump) bool {
	err := s.link.Write(p.items)
	s.written(p, err == nil)
	if p.bulk > 0 {
		now := time.Now()
		p.resume = time.Time{}
		if d := s.b.bulk.take(p.bulk, now); d > 0 {
			p.resume = now.Add(d)
		}
	}
	p.reset()
	if err != nil {
		s.stopPump(p)
		s.link.Close(err)
	}
	return err == nil
}

// wait waits for the outcome that is awaited, the end of a pause of the bulk lane, or a wake-up, whatever comes first.
func (p *pump) wait() {
	awaited := p.pending
	p.pending = nil
	if awaited != nil {
		if awaited.Notify(&p.kick); awaited.Ready() {
			return
		}
	}
	switch {
	case p.paused():
		timer := time.NewTimer(time.Until(p.resume))
		defer timer.Stop()
		select {
		case <-p.kick:
		case <-timer.C:
		}
	case awaited != nil:
		<-p.kick
	}
}

// paused reports whether bulk is to wait.
func (p *pump) paused() bool {
	if !p.resume.IsZero() && time.Until(p.resume) <= 0 {
		p.resume = time.Time{}
	}
	return !p.resume.IsZero()
}

// idle reports whether nothing is due and no outcome is awaited. The caller holds mu.
func (s *Session) idle() bool {
	return !s.loading && len(s.control) == 0 && len(s.results) == 0 && s.ephemera == nil &&
		len(s.resend) == 0 && !s.canFeed()
}

// canFeed reports whether a log has something to send for which the window has room. The caller holds mu.
func (s *Session) canFeed() bool {
	for _, f := range s.ready {
		if !s.full(f.slow()) {
			return true
		}
	}
	return false
}

// leave takes the pump from the session. The caller holds mu.
func (s *Session) leave(p *pump) {
	s.running, s.work = false, nil
	p.resume, p.woken = time.Time{}, time.Time{}
	p.turn.finish()
	p.turn = nil
	select {
	case <-p.kick:
	default:
	}
	s.signal()
	p.reset()
	pumps.Put(p)
}

// stopPump ends the session's writing after a broken link; Detach does the rest.
func (s *Session) stopPump(p *pump) {
	s.mu.Lock()
	s.ended = true
	s.leave(p)
	s.mu.Unlock()
}

// collect fills the pump's chunk with what is due. The caller holds mu, which is let go while a log is read.
func (s *Session) collect(p *pump) {
	if s.ended {
		return
	}
	s.takeControl(p)
	s.takeResults(p)
	s.takeEphemera(p)
	for len(s.resend) > 0 && p.bytes < chunkBytes && !s.ended {
		e := s.resend[0]
		s.resend = s.resend[1:]
		s.again(p, e)
	}
	paused := p.paused()
	for tries := len(s.ready); tries > 0 && p.bytes < chunkBytes && len(s.ready) > 0 && !s.ended; tries-- {
		f := s.ready[0]
		s.ready = s.ready[1:]
		if s.full(f.slow()) || f.bulk && paused {
			s.ready = append(s.ready, f)
			continue
		}
		n := len(p.items)
		if s.pull(p, f); f.bulk {
			p.bulk += len(p.items) - n
		}
		if f.parked != 0 {
			s.confirm(f)
			continue
		}
		if f.next < f.head {
			s.ready = append(s.ready, f)
			if p.bytes < chunkBytes {
				tries++ // more of the same log fits
			}
		} else {
			f.queued, f.bulk = false, false
			s.confirm(f)
		}
	}
	if len(s.ready) == 0 {
		s.ready = nil
	}
}

func (s *Session) takeControl(p *pump) {
	n := 0
	for _, frame := range s.control {
		if p.bytes >= chunkBytes {
			break
		}
		p.items = append(p.items, Item{Kind: ItemFrame, Frame: frame})
		p.bytes += len(frame)
		s.controlN -= len(frame)
		n++
	}
	if n == 0 {
		return
	}
	if s.control = s.control[n:]; len(s.control) == 0 {
		s.control = nil
	}
	s.signal()
}

// takeResults takes the outcomes that are known, in order of arrival: one that is not known yet holds back the later
// ones, as MQTT asks (4.6: acknowledgements in the order of the packets).
func (s *Session) takeResults(p *pump) {
	n := 0
	for i := range s.results {
		r := &s.results[i]
		if p.bytes >= chunkBytes {
			break
		}
		if !r.pending.Ready() {
			p.pending = r.pending
			break
		}
		receipt, err := r.pending.Result()
		n++
		if err == nil && s.guest && r.ack.QoS == 2 && !r.ack.Release {
			if s.released == nil {
				s.released = make(map[uint16]store.Receipt)
			}
			s.released[r.ack.PacketID] = receipt
		}
		if r.ack.QoS == 0 && !r.ack.Tell && (err == nil || r.ack.Quiet) {
			continue // nothing to say
		}
		p.items = append(p.items, Item{Kind: ItemOutcome, Ack: r.ack, Receipt: receipt, Err: err})
		p.bytes += 32
		if err != nil {
			p.bytes += 128
		}
	}
	if n == 0 {
		return
	}
	clear(s.results[:n])
	if s.results = s.results[n:]; len(s.results) == 0 {
		s.results = nil
	}
	s.signal()
}

// pull reads a page of a log into the chunk. It unlocks mu while it reads.
func (s *Session) pull(p *pump, f *feed) {
	q := store.Query{Log: f.log, Viewer: s.id.Account, After: f.next, Upto: f.head, Bytes: chunkBytes - p.bytes}
	free := int(s.window) - len(s.out)
	if f.slow() {
		free -= int(s.window) / 2
	}
	q.Max = max(1, min(free, 64))
	v, base, fresh, mine, turns := f.sel.View, f.base, f.fresh, f.route.noLocal, f.turns
	if fresh {
		base = f.next
	}
	s.mu.Unlock()
	page, err := s.read(f, q, false)
	var about pageContext
	if len(page.Records) > 0 || fresh && err == nil { // what nothing is shown of now is withheld, whoever looks back later
		about = s.gather(&page, f.topic, q.Log, v, base, fresh, mine)
		about.links = s.systems(page.Records)
	}
	s.mu.Lock()
	p.page = about
	if s.ended || f.turns != turns { // nothing of the page was taken: f.next must stay, or Detach would save the rest as delivered
		return
	}
	if s.feeds[f.log] != f { // unsubscribed meanwhile
		f.next = f.head
		return
	}
	if err != nil {
		if e, ok := errors.AsType[*store.Error](err); ok && e.Code == store.CodeTrimmed && e.First > f.next+1 {
			f.next = e.First - 1 // retention took what was not fetched in time; the hole is told with the next message
			return
		}
		s.b.log.Error("log not read", keyUser, s.id.Name, keyLog, f.log, keySeq, f.next, keyErr, err)
		s.ended = true
		s.link.Close(ErrStorage)
		return
	}
	if len(page.Records) > 0 || fresh {
		f.fresh, f.base = false, about.base
	}
	if f.sel.View == hooks.Batch {
		s.deliverBatch(p, f, slices.DeleteFunc(page.Records, func(r *store.Record) bool { return f.seen(s.id.Account, r) }), 0)
		f.base = p.page.base
	} else {
		for _, r := range page.Records {
			if s.full(f.slow()) || p.bytes >= chunkBytes {
				return // f.next stands at what was taken; the rest is read again from the tail cache
			}
			if !f.seen(s.id.Account, r) {
				s.deliver(p, f, r, 0)
				f.base = p.page.base
			}
			f.forward(&p.page, r.Seq)
		}
	}
	f.forward(&p.page, page.Next)
	if page.parked != 0 {
		s.park(f, page.parked)
	}
}

// read reads what the session may get of a log now; repeated: for a delivery that was written on the connection before.
// The caller does not hold mu.
func (s *Session) read(f *feed, q store.Query, repeated bool) (p reading, err error) {
	switch {
	case f.posts():
		return s.readPosts(q, repeated)
	case f.topic.Place == hooks.Thread:
		info, err := s.b.store.Find(store.ChannelKey(f.topic.Name))
		if err != nil {
			return p, err
		}
		if info.Members.Role(s.id.Account) == store.RoleNone { // who published there once sees nothing of it any more
			p.Next = q.Upto
			return p, nil
		}
	case f.topic.Place == hooks.Room:
		info, err := s.b.store.Info(q.Log)
		if err == nil {
			q.Withhold, err = s.b.access.Withhold(s.id.Account, info)
		}
		if err != nil {
			return p, err
		}
	}
	p.Page, err = s.b.store.Read(q)
	return p, err
}

// deliver appends one record to the chunk, or passes it over. id is the packet identifier of a delivery that is
// repeated, 0 for a new one. The caller holds mu.
func (s *Session) deliver(p *pump, f *feed, r *store.Record, id uint16) {
	rt := s.wanted(f, r)
	if rt == nil || s.expired(r) {
		return
	}
	start := len(p.arena)
	f.rebase(&p.page, r.Seq)
	p.arena = s.encode(p.arena, f, rt, r, &p.page)
	s.send(p, f, rt, start, r.Seq, r.Seq, r.Expiry, id)
}

// deliverBatch appends the records as one delivery in the batch view; those that go to …/edit go there one by one. The
// caller holds mu.
func (s *Session) deliverBatch(p *pump, f *feed, records []*store.Record, id uint16) {
	var items []view.Item
	var seqs []store.Seq
	for _, r := range records {
		rt := s.wanted(f, r)
		if rt == nil || s.expired(r) {
			continue
		}
		f.rebase(&p.page, r.Seq)
		if rt != &f.route {
			start := len(p.arena)
			p.arena = s.encode(p.arena, f, rt, r, &p.page)
			s.send(p, f, rt, start, r.Seq, r.Seq, r.Expiry, 0)
			continue
		}
		items = append(items, view.Item{Shared: s.b.shared(r, true, p.page.links[r.Seq], s.reader(f)), Own: s.receiver(r, &p.page)})
		seqs = append(seqs, r.Seq)
		p.page.base = r.Seq
	}
	s.sendBatch(p, f, items, seqs, id)
}

// sendBatch sends items as one delivery, or as several where the client's Maximum Packet Size asks for it.
func (s *Session) sendBatch(p *pump, f *feed, items []view.Item, seqs []store.Seq, id uint16) {
	if len(items) == 0 {
		return
	}
	start := len(p.arena)
	p.arena = view.Batch(p.arena, items)
	if len(items) > 1 && s.tooLarge(len(p.arena)-start, &f.route) {
		p.arena = p.arena[:start]
		half := len(items) / 2
		s.sendBatch(p, f, items[:half], seqs[:half], id)
		s.sendBatch(p, f, items[half:], seqs[half:], id)
		return
	}
	s.send(p, f, &f.route, start, seqs[0], seqs[len(seqs)-1], 0, id)
}

// tooLarge reports whether a payload does not fit into what the client takes.
func (s *Session) tooLarge(payload int, rt *route) bool {
	return s.maxPacket > 0 && payload+len(rt.topic)+40+5*len(rt.ids) > int(s.maxPacket)
}

func (s *Session) expired(r *store.Record) bool {
	return r.Expiry != 0 && r.Expiry <= s.b.now().UnixMilli()
}

// send adds the delivery whose payload begins at start of the arena, and which covers the sequences from first to last,
// to the chunk. A payload over the client's Maximum Packet Size is passed over and counts as confirmed.
func (s *Session) send(p *pump, f *feed, rt *route, start int, first, last store.Seq, expiry int64, id uint16) {
	payload := p.arena[start:len(p.arena):len(p.arena)]
	size := len(payload) + len(rt.topic)
	p.page.base = last
	if s.tooLarge(len(payload), rt) {
		p.arena = p.arena[:start]
		s.b.metrics.tooLarge.Inc()
		return
	}
	it := Item{Kind: ItemDelivery, Topic: rt.topic, Payload: payload, QoS: rt.qos, Identifiers: rt.ids}
	if expiry != 0 {
		it.Expiry = uint32(min(max(expiry-s.b.now().UnixMilli()+999, 1000)/1000, math.MaxUint32))
	}
	switch {
	case rt.qos == 0:
		if f.low0 == 0 || first < f.low0 {
			f.low0 = first
		}
		f.last0 = max(f.last0, last)
		p.wrote = append(p.wrote, wrote0{f, last})
	case id != 0: // it is in Session.out since the session was loaded
		it.PacketID, it.Dup = id, true
	default:
		it.PacketID = s.packetID()
		s.out = append(s.out, sent{feed: f, first: first, seq: last, bytes: int32(size), id: it.PacketID})
		s.outBytes += size
		f.unacked++
	}
	p.items = append(p.items, it)
	p.bytes += size + 8
	s.b.metrics.deliveries.Inc()
}

// packetID returns a packet identifier that is not in flight. The caller holds mu.
func (s *Session) packetID() uint16 {
	for {
		s.nextID++
		if s.nextID == 0 {
			s.nextID = 1
		}
		used := false
		for i := range s.out {
			if s.out[i].id == s.nextID && !s.out[i].acked {
				used = true
				break
			}
		}
		if !used {
			return s.nextID
		}
	}
}

// again sends a delivery of the connection before once more, with DUP and its identifier; if it is not to be seen any
// more, it counts as acknowledged. It unlocks mu while it reads.
func (s *Session) again(p *pump, e sent) {
	q := store.Query{Log: e.feed.log, Viewer: s.id.Account, After: e.first - 1, Upto: e.seq, Max: int(e.seq - e.first + 1)}
	f, v := e.feed, e.feed.sel.View
	s.mu.Unlock()
	page, err := s.read(f, q, true)
	about := s.gather(&page, f.topic, q.Log, v, e.first-1, false, false) // what was withheld before it has been told
	about.links = s.systems(page.Records)
	s.mu.Lock()
	if s.ended || s.feeds[f.log] != f {
		return
	}
	n := len(p.items)
	p.page = about
	if err == nil && f.sel.View == hooks.Batch {
		s.deliverBatch(p, f, page.Records, e.id)
	} else if err == nil {
		for _, r := range page.Records {
			s.deliver(p, f, r, e.id)
		}
	}
	if len(p.items) == n || p.items[n].PacketID != e.id {
		s.acknowledge(e.id)
	}
}

// written notes what a write has done: QoS 0 deliveries now wait for a sign of life.
func (s *Session) written(p *pump, ok bool) {
	if len(p.wrote) == 0 || !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range p.wrote {
		f := w.feed
		if f.written0 < w.seq {
			f.written0 = w.seq
		}
		listed := false
		for _, o := range s.qos0 {
			listed = listed || o == f
		}
		if !listed && f.low0 != 0 {
			s.qos0 = append(s.qos0, f)
		}
	}
	s.hasQoS0.Store(len(s.qos0) > 0)
}
