package broker

import (
	"sync/atomic"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// encodings are the parts of envelopes that all receivers of a record share, encoded once. They hang on the record's
// Memo and go with it from the tail cache.
type encodings struct {
	json, cbor atomic.Pointer[view.Shared]
	posts      atomic.Pointer[[]postAs] // of a channel's post
}

// linkEncodings are those of a link, by the receiver's system.
type linkEncodings [view.Systems]encodings

func encodingsOf(r *store.Record, system view.System) *encodings {
	if r.Kind == store.KindLink {
		return &memo[linkEncodings](r)[system]
	}
	return memo[encodings](r)
}

// memo is what hangs on a record, made when there is nothing yet.
func memo[T any](r *store.Record) *T {
	if m := r.Memo.Load(); m != nil {
		if e, ok := m.Value.(*T); ok {
			return e
		}
	}
	e := new(T)
	if !r.Memo.CompareAndSwap(nil, &store.Memo{Value: e}) {
		if m := r.Memo.Load(); m != nil {
			if o, ok := m.Value.(*T); ok {
				return o
			}
		}
	}
	return e
}

// shared is the part of a record's envelope that its receivers share. reader is 0 but for the follower of a thread, for whom
// the names are others: see NamesOf.
func (b *Broker) shared(r *store.Record, cbor bool, system view.System, reader store.AccountID) view.Shared {
	if reader != 0 {
		return b.encoded(r, cbor, system, reader)
	}
	e := encodingsOf(r, system)
	at := &e.json
	if cbor {
		at = &e.cbor
	}
	if s := at.Load(); s != nil {
		return *s
	}
	s := b.encoded(r, cbor, system, 0)
	at.Store(&s)
	return s
}

func (b *Broker) encoded(r *store.Record, cbor bool, system view.System, reader store.AccountID) view.Shared {
	env := b.EnvOf(r.Log, reader)
	env.System = system
	if cbor {
		return view.CBOR(r, env)
	}
	return view.JSON(r, env)
}

// SystemFor is what a device of an account gets of a record: what is for its own system, as it said itself, or of a link
// whose app is not to be opened any more, nothing. Device 0 is none and gets what a browser gets. Of a record that is no
// link it looks at nothing.
func (b *Broker) SystemFor(r *store.Record, a store.AccountID, d store.DeviceID) view.System {
	link, ok := view.LinkOf(r)
	if !ok {
		return 0
	}
	app, err := b.access.Relations().App(link.App)
	if err != nil {
		b.log.Warn("app of a link not read", keyErr, err)
		return view.NoActions
	}
	if !app.Opens() {
		return view.NoActions
	}
	if d == 0 {
		return 0
	}
	said, err := b.access.Relations().Device(a, d)
	if err != nil {
		b.log.Warn("platform of a device not read", keyErr, err)
		return 0
	}
	return view.SystemOf(string(said.Platform), string(said.Class))
}

// Name implements view.Names: the identifier shown for an account, "" for one that is gone.
func (b *Broker) Name(a store.AccountID) string {
	if a == 0 {
		return ""
	}
	acct, err := b.store.Account(a)
	if err != nil {
		return ""
	}
	return acct.Name
}

// encode appends the payload of one record for this session, in any view but batch. The caller holds mu.
func (s *Session) encode(dst []byte, f *feed, rt *route, r *store.Record, page *pageContext) []byte {
	v := f.sel.View
	if rt == &f.edits {
		v = hooks.JSON
	}
	switch v {
	case hooks.Text:
		return view.TextOn(dst, r, s.lang, s.names(f, r), page.links[r.Seq])
	case hooks.Line:
		return view.Line(dst, r, s.lang, s.names(f, r), view.Own{Viewer: s.id.Account, System: page.links[r.Seq]})
	case hooks.CBOR:
		return s.b.shared(r, true, page.links[r.Seq], s.reader(f)).Append(dst, s.receiver(r, page))
	}
	return s.b.shared(r, false, page.links[r.Seq], s.reader(f)).Append(dst, s.receiver(r, page))
}

// names are how accounts are called in what this session gets of a record.
func (s *Session) names(f *feed, r *store.Record) view.Names { return s.b.NamesOf(r.Log, s.reader(f)) }

// reader is whose eyes make a difference to the names in a feed: see NamesOf.
func (s *Session) reader(f *feed) store.AccountID {
	if f.topic.Act == hooks.Ask {
		return s.id.Account
	}
	return 0
}

// pageContext is what the records of one page need beside themselves; it is gathered without the session's lock.
type pageContext struct {
	marks store.Marks
	known bool      // marks were read
	base  store.Seq // newest sequence before the page that the device has, or will not miss

	links map[store.Seq]view.System // of the links in the page: what the device gets of them
}

// gather asks for it, for a page read after f.next. The caller does not hold mu. mine tells that the device's own messages
// are withheld from it.
func (s *Session) gather(p *reading, t hooks.Topic, log store.LogID, v hooks.View, base store.Seq, fresh, mine bool) (c pageContext) {
	c.base = base
	if p.follower != nil {
		if fresh && v != hooks.Text && v != hooks.Line {
			c.base = s.lastPost(p, log, base)
		}
		c.base = max(c.base, p.before)
		return c
	}
	if v == hooks.Text || v == hooks.Line {
		return c
	}
	info, err := s.b.store.Info(log)
	if err != nil {
		return c
	}
	if t.Place != hooks.Channel && t.Place != hooks.Thread { // what a channel and its followers have read they do not tell each other
		if marks, err := s.b.MarksFor(s.id.Account, &info); err == nil {
			c.marks, c.known = marks, true
		}
	}
	if fresh {
		c.base = s.lastDelivered(log, base, mine)
	}
	return c
}

// systems are what the device gets of the links among records, nil where there are none. The caller does not hold mu.
func (s *Session) systems(records []*store.Record) (links map[store.Seq]view.System) {
	for _, r := range records {
		if r.Kind == store.KindLink {
			if links == nil {
				links = make(map[store.Seq]view.System)
			}
			links[r.Seq] = s.b.SystemFor(r, s.id.Account, s.id.Device)
		}
	}
	return links
}

// receiver is what only this receiver's envelope says.
func (s *Session) receiver(r *store.Record, page *pageContext) view.Own {
	o := view.Own{Viewer: s.id.Account}
	if page.known && r.Kind.ByUser() && r.Op.Kind == store.OpNone && !r.Recalled {
		o.Unread = page.marks.Unread(r.Seq, r.Sender)
	}
	if page.base+1 < r.Seq {
		o.Withheld = store.Span{From: page.base + 1, To: r.Seq - 1}
	}
	return o
}

// lookBack is how many records are looked at for what was delivered last.
const lookBack = 32

// lastDelivered looks back from a sequence, which it includes, for the newest one that the device gets, when the feed is
// new and does not know: what is withheld between that one and the next delivery rides on the delivery.
func (s *Session) lastDelivered(log store.LogID, seq store.Seq, mine bool) store.Seq {
	info, err := s.b.store.Info(log)
	if err != nil {
		return seq
	}
	withhold, err := s.b.access.Withhold(s.id.Account, info)
	if err != nil {
		return seq
	}
	first := max(info.First, 1)
	if m := info.Members.Find(s.id.Account); m != nil && len(m.Spans) > 0 {
		first = max(first, m.Spans[0].From) // what lies before the first join was never there for this user
	}
	if seq < first {
		return first - 1
	}
	for n := 0; n < lookBack && seq >= first; n++ {
		page, err := s.b.store.Read(store.Query{Log: log, Viewer: s.id.Account, After: seq - 1, Upto: seq, Max: 1, Withhold: withhold})
		if err != nil {
			return seq
		}
		if len(page.Records) > 0 && !(mine && s.own(page.Records[0])) {
			return seq
		}
		seq--
	}
	return seq
}

// own reports whether the device itself sent the record.
func (s *Session) own(r *store.Record) bool {
	return r.Sender == s.id.Account && r.Sender != 0 && r.Device == s.id.Device
}
