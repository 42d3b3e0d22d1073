package broker

import (
	"context"
	"slices"
	"sync"

	"github.com/hwangso/hwangso/store"
)

// maxRewinds is how many rewinds wait at most. A further one is left out: the rows of the devices went back before the
// acceptance was committed, so a connected device then gets what was accepted at its next connection.
const maxRewinds = 1024

// rewinds are conversations of which something older has become visible to one of the two: it accepted what the other
// had asked. Its connected devices get it at once.
type rewinds struct {
	kick chan struct{}

	mu   sync.Mutex
	list []accepted
	done []accepted // the newest, for sessions that begin at the same time
	n    uint64     // how many there were, those forgotten included
}

type accepted struct {
	account  store.AccountID
	log      store.LogID
	from, to store.Seq
}

// accepted serves the acceptance that an entry of the journal tells of. The devices of one who became a member with it
// have nothing to be taken back: the log begins for them.
func (b *Broker) accepted(e *store.Entry) {
	c, log := e.Record.Change, e.Record.Log
	m := e.Members.Find(c.Account)
	switch {
	case m == nil || c.From > c.To: // it made a member, and nothing waited
		return
	case c.Role == store.RoleNone: // it was one before
		b.rewinds.add(c, log)
		return
	}
	info, err := b.store.Info(log)
	if err != nil {
		b.log.Warn("accepted messages wait for the next ones", keyLog, log, keyErr, err)
		return
	}
	for _, s := range b.registry.of(c.Account) {
		s.rewind(store.LogRef{LogInfo: info, Me: *m}, c.From-1, 0, uint64(e.Position)+1)
	}
}

func (r *rewinds) add(c store.Change, log store.LogID) {
	r.mu.Lock()
	if len(r.list) < maxRewinds {
		r.list = append(r.list, accepted{c.Account, log, c.From, c.To})
	}
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// count is how many rewinds there were.
func (r *rewinds) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// finish notes that the rows of an acceptance are taken back.
func (r *rewinds) finish(a accepted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.done) >= maxRewinds {
		r.done = slices.Delete(r.done, 0, maxRewinds/2)
	}
	r.done = append(r.done, a)
	r.n++
}

// since returns the rewinds after the first n; all is false if some are forgotten.
func (r *rewinds) since(n uint64) (list []accepted, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := min(r.n-n, uint64(len(r.done)))
	return slices.Clone(r.done[len(r.done)-int(k):]), k == r.n-n
}

func (r *rewinds) take() []accepted {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.list
	r.list = nil
	return l
}

// rewind serves the acceptances that the follower met, until ctx ends.
func (b *Broker) rewind(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.rewinds.kick:
		}
		for _, a := range b.rewinds.take() {
			if err := b.rewindFor(ctx, a); err != nil && ctx.Err() == nil {
				b.log.Warn("accepted messages wait for the next connection", keyLog, a.log, keyErr, err)
			}
		}
	}
}

// rewindFor takes the connected devices of who accepted back. The rows are taken back once more, for what the devices
// have acknowledged since they were before the commit. A session that ends meanwhile saves nothing of this log; one that
// begins meanwhile is found by the next look at who is attached, or looks at the finished rewinds itself.
func (b *Broker) rewindFor(ctx context.Context, a accepted) error {
	info, err := b.store.Info(a.log)
	if err != nil {
		return err
	}
	m := info.Members.Find(a.account)
	if m == nil {
		return nil
	}
	held := map[*Session]bool{}
	for first := true; ; first = false {
		before := len(held)
		for _, s := range b.registry.of(a.account) {
			if !held[s] {
				held[s] = true
				s.hold(a.log)
			}
		}
		if !first && len(held) == before {
			break // whoever comes now looks at what is finished
		}
		if err := b.store.Rewind(ctx, a.account, a.log, a.from-1); err != nil {
			for s := range held {
				s.hold(0)
			}
			return err
		}
		if first {
			b.rewinds.finish(a)
		}
	}
	_, until := b.store.Bounds()
	for s := range held {
		s.rewind(store.LogRef{LogInfo: info, Me: *m}, a.from-1, a.to, uint64(until))
	}
	return nil
}

// hold gives the store what was acknowledged and keeps the cursor of one log from being saved from then on, until
// rewind, or until it is called with 0. It waits while the row is being replaced.
func (s *Session) hold(log store.LogID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for log != 0 && s.frozen && !s.ended {
		s.wait()
	}
	if log != 0 && !s.loading && !s.ended {
		if m := s.takeCursors(); m != nil {
			s.b.store.PutCursors(s.id.Account, s.id.Device, m)
		}
	}
	s.held = log
	s.signal()
}

// look takes back what was accepted between the loading of the row, when so many rewinds had been, and now, when the
// session is listed; on the disk too, if the row was replaced meanwhile.
func (s *Session) look(ctx context.Context, since uint64, replaced bool) error {
	s.freeze()
	defer s.thaw()
	recent, all := s.b.rewinds.since(since)
	if !all { // a thousand conversations were accepted meanwhile
		row, err := s.b.store.LoadSession(s.id.Account, s.id.Device)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.row.Cursors, s.row.Inflight = row.Cursors, nil
		s.mu.Unlock()
	}
	s.mu.Lock()
	back := false
	for _, a := range recent {
		if a.account == s.id.Account {
			rewindRow(s.row, a.log, a.from-1)
			back = true
		}
	}
	s.mu.Unlock()
	if !back || !replaced {
		return nil
	}
	return s.replace(ctx, s.row) // nobody changes it before thaw
}

// rewindRow takes a row that was loaded back as the store does the one on the disk.
func rewindRow(row *store.Session, log store.LogID, after store.Seq) {
	if c, ok := row.Cursors[log]; ok {
		row.Cursors[log] = c.Rewind(after)
	}
	row.Inflight = slices.DeleteFunc(row.Inflight, func(f store.Inflight) bool { return f.Log == log && f.Seq > after })
}

// rewind starts deliveries of a log again after a sequence. Up to known, and as far as the session has read, only what
// was accepted is delivered.
func (s *Session) rewind(ref store.LogRef, after, known store.Seq, until uint64) {
	t, ok := s.b.logTopic(ref.Key, s.id.Account)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = 0
	s.signal()
	if s.row != nil && (s.loading || !s.started) {
		rewindRow(s.row, ref.ID, after)
	}
	head := visibleHead(&ref.Me, ref.Head)
	f := s.feeds[ref.ID]
	if f != nil {
		f.rewind(after)
	}
	switch {
	case !ok || s.ended: // it is yet to save what it has
		return
	case f != nil:
	case s.loading: // looked at in the end, with the row's cursor
		if s.missed == nil {
			s.missed = make(map[store.LogID]store.LogRef)
		}
		s.missed[ref.ID] = ref
		return
	default:
		if f = s.newFeed(ref.ID, t); f == nil {
			return
		}
		f.next, f.acked, f.saved, f.again, f.mixed = after, after, after, known, known > after
		s.addFeed(f)
	}
	f.head = max(f.head, head)
	f.until = max(f.until, until)
	if f.next < f.head && !f.queued {
		f.queued = true
		s.ready = append(s.ready, f)
	}
	s.mark()
	s.wake()
}

// rewind takes a feed back. What is in flight stays there; what was written with QoS 0 counts as confirmed.
func (f *feed) rewind(after store.Seq) {
	f.turns++
	if f.next <= after {
		return
	}
	f.again = max(f.again, f.next)
	f.mixed = true // what is sent from here on lies behind what the row has as confirmed
	f.next = after
	f.acked, f.saved = min(f.acked, after), min(f.saved, after)
	f.low0, f.last0, f.written0 = 0, 0, 0
}

// seen reports whether the device has got a record before its feed was taken back, or will not.
func (f *feed) seen(me store.AccountID, r *store.Record) bool {
	return r.Seq <= f.again && (r.Audience != store.AudienceRequest || r.Sender == me)
}

// rebase keeps what was delivered before a feed was taken back from being told as withheld.
func (f *feed) rebase(page *pageContext, seq store.Seq) {
	if f.again != 0 {
		page.base = max(page.base, min(seq-1, f.again))
	}
}

// forward notes how far a feed has come; one that was taken back is like any other from there on.
func (f *feed) forward(page *pageContext, seq store.Seq) {
	f.next = max(f.next, seq)
	if f.again != 0 && f.next >= f.again {
		page.base = max(page.base, f.again)
		if !f.fresh {
			f.base = max(f.base, f.again)
		}
		f.again, f.mixed = 0, f.unacked > 0
	}
}
