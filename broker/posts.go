package broker

import (
	"math"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// A channel's posts are read as the server sees them and decided record by record for each follower, in the moment of
// their delivery: a page is never kept from one write to the next. So leaving, a consent that ends and a post that is
// canceled act on whatever was not written yet.

// follower decides about a channel's posts for one user: see hooks.Follower.
type follower interface {
	Outcome(r *store.Record) (o policy.Outcome, until time.Time, err error)
	Variant(r *store.Record) (lang string, v *graph.Variant, err error)
}

// post is that a channel's log has grown.
type post struct {
	channel, log store.LogID
	key          store.Key // of the log
	head         store.Seq
	until        uint64 // see feed.until
	again        bool   // those who are parked look again
}

// postTopic is where the posts of a log go.
func postTopic(key store.Key) hooks.Topic {
	return hooks.Topic{Place: hooks.Channel, Act: hooks.Message, Name: key.Name}
}

// posts reports whether the feed is one of a channel's posts.
func (f *feed) posts() bool { return f.topic.Place == hooks.Channel && f.topic.Act == hooks.Message }

// slow reports whether the feed is for what nobody waits for to the second: it may use half of the window.
func (f *feed) slow() bool { return f.bulk || f.posts() }

// Where a feed waits in feed.parked: until a time in Unix milliseconds, or until the state of what it met changes.
const parkedForChange = int64(-1)

// tellPost tells a listed session that a log of its channel has grown, or is to be looked at again. listed is false for a
// session that is not. The caller holds mu.
func (s *Session) tellPost(p post, inflight []store.Inflight) (listed bool) {
	place := s.follows.find(p.channel)
	if place == nil || s.ended {
		return false
	}
	f := s.feeds[p.log]
	told := &place.told[logOf(p.key.Kind)]
	if *told >= p.head { // untold too
		return true
	}
	after := *told
	*told = p.head
	if f == nil {
		if f = s.newFeed(p.log, postTopic(p.key)); f == nil {
			return true
		}
		f.next, f.acked, f.saved = after, after, after
		for _, in := range inflight {
			if in.Log == p.log {
				f.next = max(f.next, in.Seq)
			}
		}
		if f.next > after {
			f.fresh, f.base = false, f.next
		}
		f.bulk = p.head > f.next && p.head-f.next > behind
		if s.feeds == nil {
			s.feeds = make(map[store.LogID]*feed)
		}
		s.feeds[p.log] = f
	}
	s.grow(f, p.head, p.until)
	return true
}

// unpark has a feed that waits look again. The caller holds mu.
func (s *Session) unpark(f *feed) {
	if f.parked == 0 {
		return
	}
	f.parked = 0
	if f.next < f.head && !f.queued {
		f.queued = true
		s.ready = append(s.ready, f)
		s.wake()
	}
}

// lookAgain has the session decide again about posts that it has read, or that wait. The caller holds mu.
func (s *Session) lookAgain() {
	for _, f := range s.feeds {
		if f.posts() {
			f.turns++
			s.unpark(f)
		}
	}
}

// park lets a feed wait. The caller holds mu.
func (s *Session) park(f *feed, until int64) {
	f.parked, f.queued = until, false
	if until > 0 {
		s.b.parks.add(f.topic.Name, until)
	}
	s.b.metrics.parked.Inc()
}

// reading is what a session may get of a log now.
type reading struct {
	store.Page
	parked   int64     // not 0: the page ends before a record that waits, see feed.parked
	follower follower  // who decided; nil where membership does
	before   store.Seq // what was before the follower's time: it was never there for it
}

// readPosts reads what the session gets of a channel's log now. A delivery that is repeated has begun and waits for
// nothing.
func (s *Session) readPosts(q store.Query, repeated bool) (p reading, err error) {
	info, err := s.b.store.Info(q.Log)
	if err != nil {
		return p, err
	}
	if info.Members.Role(s.id.Account) != store.RoleNone { // one who publishes there, asked at every delivery
		if p.Page, err = s.b.store.Read(q); err == nil {
			for i, r := range p.Records {
				p.Records[i] = s.b.postFor(r, true, "", nil)
			}
		}
		return p, err
	}
	channel := q.Log
	if info.Key.Kind == store.LogAds {
		if channel, err = s.b.access.Relations().ChannelOf(info.Key); err != nil {
			return p, err
		}
	}
	follow, err := s.b.access.Relations().Follow(s.id.Account, channel)
	if err != nil {
		return p, err
	}
	p.before = follow.Before(info.Key.Kind)
	f, err := s.b.follower(s.id.Account, info)
	if err != nil {
		return p, err
	}
	p.follower = f
	q.Viewer = 0
	if p.Page, err = s.b.store.Read(q); err != nil {
		return p, err
	}
	records := p.Records
	p.Records = p.Records[:0]
	for _, r := range records {
		o, until, err := postOutcome(f, r)
		if err != nil {
			return p, err
		}
		if o == policy.Defer && !repeated {
			p.Next, p.parked = r.Seq-1, parkedForChange
			if !until.IsZero() {
				p.parked = max(until.UnixMilli(), 1)
			}
			break
		}
		if o == policy.Deliver || o == policy.DeliverNoPush || o == policy.Defer {
			lang, v, err := f.Variant(r)
			if err != nil {
				return p, err
			}
			p.Records = append(p.Records, s.b.postFor(r, false, lang, v))
		}
	}
	return p, nil
}

// postOutcome decides about one record. Who publishes in a channel is nothing to its followers.
func postOutcome(f follower, r *store.Record) (policy.Outcome, time.Time, error) {
	if r.Change.Kind != store.ChangeNone || r.Kind == store.KindSystem || r.Kind == store.KindNotice {
		return policy.None, time.Time{}, nil
	}
	return f.Outcome(r)
}

// lastPost is lastDelivered for a follower: it looks back from a sequence for the newest one that the follower gets.
func (s *Session) lastPost(p *reading, log store.LogID, seq store.Seq) store.Seq {
	for n := 0; n < lookBack && seq > p.before; n++ {
		page, err := s.b.store.Read(store.Query{Log: log, After: seq - 1, Upto: seq, Max: 1})
		if err != nil { // retention took it
			return seq
		}
		if len(page.Records) > 0 {
			o, _, err := postOutcome(p.follower, page.Records[0])
			if err != nil || o == policy.Deliver || o == policy.DeliverNoPush || o == policy.Defer {
				return seq
			}
		}
		seq--
	}
	return seq
}

// theChannel stands for whoever wrote a post, in what followers get.
const theChannel = store.AccountID(math.MaxUint64)

// postAs is a post as some of its readers get it.
type postAs struct {
	publisher bool
	lang      string
	record    *store.Record
}

// postFor is the record as it goes to publishers, or to followers: without whose it is and by what id, in one of its
// languages. It hangs on the record like encodings, and has its own for all who get the same.
func (b *Broker) postFor(r *store.Record, publisher bool, lang string, v *graph.Variant) *store.Record {
	if publisher && graph.PostID(r) == "" {
		return r
	}
	as := view.InVariant(r, v)
	if as == r { // what was changed has one text
		lang = ""
	}
	e := memo[encodings](r)
	for {
		known := e.posts.Load()
		if known != nil {
			for i := range *known {
				if p := &(*known)[i]; p.publisher == publisher && p.lang == lang {
					return p.record
				}
			}
		}
		n := &store.Record{Log: r.Log, Seq: r.Seq, Time: r.Time, Sender: theChannel, Kind: r.Kind, Audience: r.Audience, Warn: r.Warn,
			Expiry: r.Expiry, Text: as.Text, Extra: as.Extra, Op: r.Op, Position: r.Position, Recalled: r.Recalled, Edited: r.Edited}
		if publisher {
			n.Sender, n.Device, n.CID = r.Sender, r.Device, graph.PostID(r)
		}
		next := []postAs{{publisher, lang, n}}
		if known != nil {
			next = append(next, *known...)
		}
		if e.posts.CompareAndSwap(known, &next) {
			return n
		}
	}
}
