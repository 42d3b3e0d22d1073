package bridge

import (
	"sync"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const (
	mostScanned = 4096 // newest messages of one conversation that are looked at for its count
	mostCounted = mostScanned
	mostBadges  = 1 << 14   // users whose counters are in memory; the one not asked for longest of a few goes first
	badgeLasts  = time.Hour // after that a counter is made anew, whatever happened to it
)

// badges count the unread messages of users. A counter is made from the logs at the first need, and from then on only
// what came since is read: noted says in which conversations something did.
//
// What may change a number without a message:
//   - The read mark is compared at every question; what was counted before it is counted again if it moved.
//   - A mute is not part of the counter: it is asked for when the numbers of the conversations are added up, so that it
//     counts from its first moment on, and not after it has lapsed. So is the block of the other one of a pair.
//   - A block or unblock changes what counts in rooms too, hiding blocked members which of it is shown: the user's notice
//     of it (every such change leaves one in the journal) has the counter made anew. So have a recall, a deletion, leaving
//     and accepting the one of their conversation.
//   - What none of this tells (an erased account's messages, a notice that could not be written) is put right when the
//     counter is an hour old.
type badges struct {
	mu sync.Mutex
	of map[store.AccountID]*unread
}

// unread is the counter of one user.
type unread struct {
	// Guarded by badges.mu: what was noted since the counter was asked last.
	touched map[store.LogID]bool // true: it has to be counted anew
	anew    bool                 // all of it
	used    int64

	mu    sync.Mutex // held while logs are read: who asks twice at once for the same user shares the work
	logs  map[store.LogID]*tally
	whole bool // it knows every conversation with something unread
	made  time.Time
}

// tally is what is unread in one conversation.
type tally struct {
	counted    bool
	from, upto store.Seq // the read mark that it was counted from; counted up to here
	n          int       // messages that ring where nothing is muted
	mentions   int       // of them those that mention the user
}

// noted keeps the counters up. It is told every entry of the journal, in order, and costs a look in a map per member.
func (b *Bridge) noted(e *store.Entry) {
	r := e.Record
	if r == nil {
		return
	}
	u := &b.unreads
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.of) == 0 {
		return
	}
	anew := false
	switch {
	case e.Key.Kind == store.LogNotice:
		switch view.NoticeOf(r).What {
		case view.NoticeBlocked, view.NoticeRequests, view.NoticeSettings, view.NoticeFriends:
			if c := u.of[e.Key.A]; c != nil {
				c.anew = true
			}
		}
		return
	case r.Change.Kind != store.ChangeNone:
		u.touch(r.Change.Account, r.Log, true)
		return
	case r.Op.Kind == store.OpRecall:
		anew = true
	case r.Op.Kind != store.OpNone, r.Kind == store.KindSystem, r.Audience == store.AudienceSender:
		return
	}
	switch e.Key.Kind {
	case store.LogChannel, store.LogAds:
		return
	case store.LogThread:
		u.touch(e.Key.A, r.Log, anew)
		if !anew {
			return
		}
	}
	if e.Key.Kind == store.LogPair {
		u.touch(e.Key.A, r.Log, anew)
		u.touch(e.Key.B, r.Log, anew)
		return
	}
	if e.Members == nil {
		return
	}
	for i := range e.Members.Members {
		if m := &e.Members.Members[i]; m.Role != store.RoleNone && (anew || m.Account != r.Sender) {
			u.touch(m.Account, r.Log, anew)
		}
	}
}

// touch notes that something happened in a conversation. The caller holds mu.
func (u *badges) touch(a store.AccountID, log store.LogID, anew bool) {
	c := u.of[a]
	if c == nil || c.anew {
		return
	}
	if c.touched == nil {
		c.touched = make(map[store.LogID]bool)
	}
	c.touched[log] = c.touched[log] || anew
	if len(c.touched) > 1000 { // asking all is no more work
		c.anew, c.touched = true, nil
	}
}

// forget has a user's counter made anew.
func (u *badges) forget(a store.AccountID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c := u.of[a]; c != nil {
		c.anew = true
	}
}

// take returns a user's counter with what was noted applied, locked.
func (u *badges) take(a store.AccountID, now time.Time) *unread {
	u.mu.Lock()
	c := u.of[a]
	if c == nil {
		if u.of == nil {
			u.of = make(map[store.AccountID]*unread)
		}
		if len(u.of) >= mostBadges {
			u.evict()
		}
		c = &unread{}
		u.of[a] = c
	}
	c.used = now.UnixMilli()
	u.mu.Unlock()

	c.mu.Lock()
	u.mu.Lock() // after c.mu: what is noted while somebody else reads is for who comes next
	touched, anew := c.touched, c.anew
	c.touched, c.anew = nil, false
	u.mu.Unlock()
	if anew || now.Sub(c.made) >= badgeLasts || now.Before(c.made) {
		c.logs, c.whole, c.made = nil, false, now
	}
	if c.logs == nil {
		c.logs = make(map[store.LogID]*tally)
	}
	for log, anew := range touched {
		t := c.logs[log]
		switch {
		case t == nil && c.whole:
			c.logs[log] = &tally{}
		case t != nil && anew:
			*t = tally{}
		}
	}
	return c
}

// evict forgets the counter of a few that was not asked for longest. The caller holds mu.
func (u *badges) evict() {
	const few = 16
	var oldest store.AccountID
	var used int64
	seen := 0
	for a, c := range u.of { // in an order of its own each time
		if seen == 0 || c.used < used {
			oldest, used = a, c.used
		}
		if seen++; seen == few {
			break
		}
	}
	delete(u.of, oldest)
}

// unreadIn is how many messages after a read mark would ring, and how many of them mention the user.
func (b *Bridge) unreadIn(t *talk, mark store.Seq, now time.Time) (n, mentions int, err error) {
	c := b.unreads.take(t.me, now)
	defer c.mu.Unlock()
	l := c.logs[t.info.ID]
	if l == nil {
		l = &tally{}
		c.logs[t.info.ID] = l
	}
	err = l.count(t, mark)
	return l.n, l.mentions, err
}

// count brings a tally up to date.
func (l *tally) count(t *talk, mark store.Seq) error {
	if !l.counted || l.from != mark {
		*l = tally{counted: true, from: mark, upto: mark}
	}
	head := t.info.Head
	if l.upto >= head {
		return nil
	}
	if head > mostScanned {
		l.upto = max(l.upto, head-mostScanned)
	}
	err := t.scan(l.upto, head, func(_ *store.Record, m message) bool {
		if (wishes{}).rings(m) == "" {
			l.n = min(l.n+1, mostCounted)
			if m.mention {
				l.mentions = min(l.mentions+1, mostCounted)
			}
		}
		return true
	})
	if err != nil {
		*l = tally{} // half of a page may be in it
		return err
	}
	l.upto = head
	return nil
}

// badge is how many messages a user has not read: in all conversations but those it has muted, without requests, notices
// and what users wrote whom it blocks.
func (b *Bridge) badge(a store.AccountID, now time.Time) (int, error) {
	c := b.unreads.take(a, now)
	defer c.mu.Unlock()
	if !c.whole {
		if err := b.conversations(a, c); err != nil {
			return 0, err
		}
		c.whole = true
	}
	sum := 0
	for log, l := range c.logs {
		n, err := b.unreadOf(a, log, l, now)
		if err != nil {
			return 0, err
		}
		if sum += n; n == 0 && l.counted && l.n == 0 {
			delete(c.logs, log) // the next message in it is noted
		}
	}
	return sum, nil
}

// conversations finds those in which something is unread.
func (b *Bridge) conversations(a store.AccountID, c *unread) error {
	for after := store.LogID(0); ; {
		refs, err := b.store.LogsOf(a, after, 1000)
		if err != nil {
			return err
		}
		for i := range refs {
			after = refs[i].ID
			if !badged(a, refs[i].Key) || refs[i].Me.Role == store.RoleNone || c.logs[after] != nil {
				continue
			}
			mark, err := b.store.MarkOf(after, a)
			if err != nil {
				return err
			}
			if refs[i].Head > mark {
				c.logs[after] = &tally{}
			}
		}
		if len(refs) < 1000 {
			return nil
		}
	}
}

// badged reports whether what is unread in a log counts for a user's badge: notices do not, nor posts of channels. What a
// follower and a channel write to each other counts for the follower; a channel's publishers have all its threads.
func badged(a store.AccountID, k store.Key) bool {
	switch k.Kind {
	case store.LogPair, store.LogRoom:
		return true
	case store.LogThread:
		return k.A == a
	}
	return false
}

func (b *Bridge) unreadOf(a store.AccountID, log store.LogID, l *tally, now time.Time) (int, error) {
	info, err := b.store.Info(log)
	if store.CodeOf(err) == store.CodeNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if !badged(a, info.Key) {
		*l = tally{counted: true}
		return 0, nil
	}
	mute, err := b.muteOf(a, info)
	if err != nil || mute != nil {
		return 0, err
	}
	peer := info.Key.Peer(a)
	if info.Members.Role(a) == store.RoleNone {
		return 0, nil
	}
	if info.Key.Kind == store.LogPair && peer != a {
		r, err := b.graph.Relation(a, peer)
		if err != nil || r.Block != graph.BlockNone {
			return 0, err
		}
	}
	mark, err := b.store.MarkOf(log, a)
	if err != nil {
		return 0, err
	}
	if l.counted && l.from == mark && l.upto >= info.Head {
		return l.n, nil
	}
	if mark >= info.Head {
		*l = tally{counted: true, from: mark, upto: info.Head}
		return 0, nil
	}
	t, err := b.talk(a, info, now)
	if err != nil {
		return 0, err
	}
	err = l.count(t, mark)
	return l.n, err
}
