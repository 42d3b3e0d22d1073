package bridge

import (
	"context"
	"errors"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// tableBox says when a device was last told of the request box; the key is the device. The row goes when it may be told
// again.
const tableBox store.Table = "user.pushbox"

// boxEvery is how often a device is told that requests wait.
const boxEvery = 24 * time.Hour

// assess decides about a ring as things are now. Nearly every message is acknowledged by a connected device within seconds:
// what decides that is looked up first, the conversation after it, and records only where nothing else has decided. Of a
// verdict that settles less than state.Last the rest has to be asked about again at once.
func (b *Bridge) assess(ctx context.Context, k key, st *state, now time.Time) (verdict, error) {
	if err := ctx.Err(); err != nil {
		return verdict{}, err
	}
	f := facts{cfg: &b.cfg, summary: k.log == 0}
	if st != nil {
		f.st = *st
	}
	if err := b.device(&f, k); err != nil {
		return verdict{}, err
	}
	if v, ok := f.early(now); ok {
		return v, nil
	}
	q, err := b.graph.Quiet(k.account)
	if err != nil {
		return verdict{}, err
	}
	f.quiet = q.Ends(now)
	f.elsewhere = b.live.Active(k.account, k.device)
	if f.summary {
		if f.count, err = b.badge(k.account, now); err != nil {
			return verdict{}, err
		}
		return decide(f, now), nil
	}
	info, err := b.store.Info(k.log)
	if store.CodeOf(err) == store.CodeNotFound {
		return decide(f, now), nil // nobody is a member
	}
	if err != nil {
		return verdict{}, err
	}
	if err := b.standing(&f, k, info, now); err != nil {
		return verdict{}, err
	}
	if v, ok := f.outside(); ok {
		return v, nil
	}
	if err := b.messages(&f, k, info, now); err != nil {
		return verdict{}, err
	}
	return decide(f, now), nil
}

// device gathers what is known of an account and its device without a look at any conversation.
func (b *Bridge) device(f *facts, k key) error {
	a, err := b.store.Account(k.account)
	switch {
	case store.CodeOf(err) == store.CodeNotFound:
		f.suspended = true
		return nil
	case err != nil:
		return err
	case a.State >= store.AccountSuspended: // or locked
		f.suspended = true
		return nil
	}
	r, err := b.graph.Registration(k.account, k.device)
	if err != nil || r == nil || b.cfg.Providers[r.Provider] == nil {
		return err
	}
	if f.registered, err = b.graph.Owns(k.account, r); err != nil || !f.registered {
		return err
	}
	f.connected, f.overdue, f.background = b.live.Link(k.account, k.device)
	if f.background {
		d, err := b.graph.Device(k.account, k.device)
		if err != nil {
			return err
		}
		f.notifies = d.Notifies
	}
	if f.summary {
		return nil
	}
	if f.acked, err = b.live.Acked(k.account, k.device, k.log); err != nil || f.st.Due == 0 || !f.undecided() {
		return err
	}
	info, err := b.store.Info(k.log)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil
	}
	f.head = info.Head
	return err
}

// standing gathers what is known of a user in a conversation without a look at its messages.
func (b *Bridge) standing(f *facts, k key, info store.LogInfo, now time.Time) (err error) {
	f.upto = max(f.st.Last, info.Head)
	switch info.Key.Kind {
	case store.LogNotice:
		f.member = info.Key.A == k.account
	case store.LogPair:
		f.member = info.Members.Role(k.account) != store.RoleNone
		peer := info.Key.Peer(k.account)
		f.requests = peer != k.account && info.Side(peer).Requests > 0
	case store.LogThread:
		if f.member, err = b.inThread(k.account, info); err != nil {
			return err
		}
	default:
		f.member = info.Members.Role(k.account) != store.RoleNone
	}
	if f.requests {
		row, err := b.store.Row(tableBox, store.OwnerOf(k.account), store.KeyOf(k.device))
		if err != nil {
			return err
		}
		f.boxed = row.Version != 0 && (row.Expires == 0 || row.Expires > now.UnixMilli())
	}
	mute, err := b.muteOf(k.account, info)
	if err != nil {
		return err
	}
	f.muted, f.through = mute != nil, mute != nil && mute.Mentions
	f.mark, err = b.store.MarkOf(k.log, k.account)
	return err
}

// boxRang notes that a device was told that requests wait. Call it when a push of push.KindRequests was taken.
func (b *Bridge) boxRang(ctx context.Context, k key, now time.Time) error {
	return b.store.Update(ctx, store.Update{Owner: store.OwnerOf(k.account), Rows: []store.RowPut{
		{Table: tableBox, Key: store.KeyOf(k.device), Value: []byte{'1'}, Expires: now.Add(boxEvery).UnixMilli()}}})
}

// messages gathers what the log says: which message rings, and how many are unread.
func (b *Bridge) messages(f *facts, k key, info store.LogInfo, now time.Time) error {
	t, err := b.talk(k.account, info, now)
	if err != nil {
		return err
	}
	fence := max(f.st.Done, f.mark)
	if f.hears() {
		fence = reached(f.acked, fence)
	}
	w := wishes{muted: f.muted, through: f.through, mentions: t.mentions}
	if f.member {
		if err := b.freshest(f, t, w, fence); err != nil {
			return err
		}
	}
	if f.requests && f.fresh == nil {
		if f.request, err = t.asked(fence); err != nil || f.request {
			return err
		}
	}
	if !f.member || f.fresh == nil && (f.st.Shown == 0 || f.mark >= f.st.Shown) {
		return nil
	}
	if f.count, err = b.howMany(f, t, w, now); err != nil {
		return err
	}
	if f.fresh != nil {
		f.count = max(f.count, 1)
		return nil
	}
	return b.shows(f, t, w)
}

// pageBack is how many records are read at once from the newest on backwards.
const pageBack = 64

// freshest finds the newest message after the fence that rings; in quiet hours, the newest of a favourite if there is one.
func (b *Bridge) freshest(f *facts, t *talk, w wishes, fence store.Seq) error {
	return t.back(fence, f.upto, func(r *store.Record, m message) (more bool, err error) {
		why := w.rings(m)
		if why == "" && f.hears() && f.acked.Confirmed(r.Seq) {
			why = ReasonAcked
		}
		if why != "" {
			if f.why == "" || f.why == ReasonHidden && why == ReasonRecalled { // that says more than the recall itself, which comes after it
				f.why = why
			}
			return true, nil
		}
		if f.fresh == nil {
			f.fresh, f.always = r, m.always
		}
		if f.quiet.IsZero() || m.always || t.open || t.thread() {
			return false, nil
		}
		rel, err := b.graph.Relation(t.me, r.Sender)
		if err != nil || !rel.Favourite {
			return true, err
		}
		f.fresh, f.favourite = r, true
		return false, nil
	})
}

// shows finds what is left of what the phone shows: the newest unread message that rings, or one that was taken back.
func (b *Bridge) shows(f *facts, t *talk, w wishes) error {
	return t.back(f.mark, f.upto, func(r *store.Record, m message) (bool, error) {
		switch w.rings(m) {
		case "":
			f.newest, f.recalled = r, nil
			return false, nil
		case ReasonRecalled:
			if f.recalled == nil && r.Seq <= f.st.Shown {
				f.recalled = r
			}
		}
		return true, nil
	})
}

// howMany counts the unread messages that ring, or have rung. A user that has never read anything there, since its client
// does not tell, has read what the device has acknowledged.
func (b *Bridge) howMany(f *facts, t *talk, w wishes, now time.Time) (int, error) {
	if f.mark == 0 && f.acked.Acked > 0 && !f.background {
		n := 0
		err := t.scan(max(reached(f.acked, 0), f.upto-min(f.upto, mostScanned)), f.upto, func(_ *store.Record, m message) bool {
			if w.rings(m) == "" {
				n++
			}
			return n < mostCounted
		})
		return n, err
	}
	n, mentions, err := b.unreadIn(t, f.mark, now)
	if w.muted || w.mentions {
		n = mentions
	}
	return n, err
}

// talk is a conversation as one user sees it, while a ring of it is decided about or told.
type talk struct {
	graph    *graph.Graph
	store    store.Store
	me       store.AccountID
	info     store.LogInfo
	open     bool   // its members are known by nicknames
	mentions bool   // only mentions ring
	name     string // what the user is mentioned by
	withhold func(*store.Record) (bool, error)
	now      int64
}

func (b *Bridge) talk(a store.AccountID, info store.LogInfo, now time.Time) (*talk, error) {
	t := &talk{graph: b.graph, store: b.store, me: a, info: info, now: now.UnixMilli()}
	account, err := b.store.Account(a)
	if err != nil {
		return nil, err
	}
	t.name = account.Name
	if info.Key.Kind != store.LogRoom {
		return t, nil
	}
	room, err := b.graph.Room(info.ID)
	if err != nil {
		return nil, err
	}
	if t.open = room.Open; t.open {
		s, err := b.graph.Settings(a)
		if err != nil {
			return nil, err
		}
		m, err := b.graph.RoomMember(info.ID, a)
		if err != nil {
			return nil, err
		}
		t.mentions, t.name = !s.OpenRoomPushes, m.ID
	}
	t.withhold, err = b.access.Withhold(a, info)
	return t, err
}

// weigh says what is to be known of a record that the user sees.
func (t *talk) weigh(r *store.Record) (m message, err error) {
	if m.own = r.Sender == t.me; t.thread() && t.me != t.info.Key.A { // a publisher is told of questions, not of what its colleagues answer
		m.own = r.Sender != t.info.Key.A
	}
	m.event = r.Op.Kind != store.OpNone || r.Change.Kind != store.ChangeNone || r.Kind == store.KindSystem
	m.recalled = r.Recalled
	m.expired = r.Expiry != 0 && r.Expiry <= t.now
	if m.own || m.event {
		return m, nil
	}
	if r.Kind == store.KindNotice {
		m.notice, m.always = true, view.NoticeOf(r).What == view.NoticeDevice
		return m, nil
	}
	if t.thread() { // nobody in it knows who the other one is
		return m, nil
	}
	if r.Sender != 0 {
		rel, err := t.graph.Relation(t.me, r.Sender)
		if err != nil {
			return m, err
		}
		m.blocked = rel.Block != graph.BlockNone || rel.BlockedAt(r.Time)
	}
	named, all := view.Mentions(r.Extra, t.name)
	m.mention = named || all
	return m, nil
}

// scan goes through what the user sees after a sequence, up to another one, until fn says no.
func (t *talk) scan(after, upto store.Seq, fn func(*store.Record, message) bool) error {
	for after < upto {
		page, err := t.read(after, upto, 256)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			m, err := t.weigh(r)
			if err != nil {
				return err
			}
			if !fn(r, m) {
				return nil
			}
		}
		if page.Next <= after {
			return nil
		}
		after = page.Next
	}
	return nil
}

// back is scan from the newest on backwards.
func (t *talk) back(after, upto store.Seq, fn func(*store.Record, message) (bool, error)) error {
	after = max(after, t.info.First-min(t.info.First, 1))
	for upto > after {
		from := max(after, upto-min(upto, pageBack))
		var records []*store.Record
		for next := from; next < upto; {
			page, err := t.read(next, upto, pageBack)
			if err != nil {
				return err
			}
			if records = append(records, page.Records...); page.Next <= next {
				break
			}
			next = page.Next
		}
		for i := len(records) - 1; i >= 0; i-- {
			m, err := t.weigh(records[i])
			if err != nil {
				return err
			}
			if more, err := fn(records[i], m); err != nil || !more {
				return err
			}
		}
		upto = from
	}
	return nil
}

// read returns a page of what the user sees. What retention has removed is passed over.
func (t *talk) read(after, upto store.Seq, most int) (store.Page, error) {
	q := store.Query{Log: t.info.ID, Viewer: t.me, After: after, Upto: upto, Max: most, Withhold: t.withhold}
	page, err := t.store.Read(q)
	if e, ok := asTrimmed(err); ok && e.First > after+1 {
		if q.After = e.First - 1; q.After >= upto {
			return store.Page{Next: upto}, nil
		}
		page, err = t.store.Read(q)
	}
	return page, err
}

func asTrimmed(err error) (*store.Error, bool) {
	e, ok := errors.AsType[*store.Error](err)
	return e, ok && e.Code == store.CodeTrimmed
}

// asked reports whether a message after a sequence waits in the user's request box.
func (t *talk) asked(after store.Seq) (bool, error) {
	peer := t.info.Key.Peer(t.me)
	side := t.info.Side(peer)
	q := store.Query{Log: t.info.ID, After: max(after, side.First-min(side.First, 1)), Upto: t.info.Head}
	for q.After < q.Upto {
		page, err := t.store.Read(q)
		if _, trimmed := asTrimmed(err); trimmed {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		for _, r := range page.Records {
			if r.Audience == store.AudienceRequest && r.Sender == peer && r.Op.Kind == store.OpNone && !r.Recalled &&
				!t.info.Members.Visible(t.me, r) {
				return true, nil
			}
		}
		if page.Next <= q.After {
			break
		}
		q.After = page.Next
	}
	return false, nil
}
