package broker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// A user who shares its presence is online while a device of it is connected, and for a grace after that, so that a
// reconnect does not flicker. One goroutine tells those friends of it who are connected, ask for it with a filter, and
// share theirs; what waits for it is the set of users whose presence moved, each once, so a storm of connects costs each of
// them one walk through its friends. What a session is told is the newest state when its pump writes it: see seen. So that
// the last it is told is how it is, every change of what a pump may read is followed by a telling.

// presence knows who counts as online. It costs nothing for a user who does not share.
//
// A user counts as online while one of its sessions is shown or it is in gone. A session is shown from came to left, and in
// the registry all that time; both, and the end of a grace, happen under mu. So under mu nobody is seen away who reconnects
// within the grace.
type presence struct {
	grace    time.Duration
	sessions func(store.AccountID) []*Session // of a user, those in the registry
	kick     chan struct{}                    // holds one

	mu      sync.Mutex
	due     []moved                       // moved, in order, each once
	busy    bool                          // what was in due is being told
	queued  map[store.AccountID]struct{}  // those in due
	leaving []leave                       // in order of until
	gone    map[store.AccountID]time.Time // those in leaving: the newest until
	told    map[store.AccountID]struct{}  // told as online
	last    map[store.AccountID]int64     // when they were last seen, Unix milliseconds; at most maxLast
}

type moved struct {
	id     store.AccountID
	force  bool // told whatever was told before
	ending bool // it shares no more: who saw it is told so
}

type leave struct {
	id    store.AccountID
	until time.Time
}

// maxLast bounds the times of last sight kept in memory. Of others the devices' sessions are asked.
const maxLast = 1 << 16

// DefaultGrace is how long a user counts as online after its last connection.
const DefaultGrace = 10 * time.Second

func newPresence(grace time.Duration, sessions func(store.AccountID) []*Session) *presence {
	return &presence{grace: grace, sessions: sessions, kick: make(chan struct{}, 1), queued: make(map[store.AccountID]struct{}),
		gone: make(map[store.AccountID]time.Time), told: make(map[store.AccountID]struct{}), last: make(map[store.AccountID]int64)}
}

func (p *presence) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// move queues a user. The caller holds mu.
func (p *presence) move(a moved) {
	if _, in := p.queued[a.id]; in && !a.ending && !a.force {
		return
	}
	p.queued[a.id] = struct{}{}
	p.due = append(p.due, a)
	p.wake()
}

// connected reports whether a session of the user is shown. The caller holds mu.
func (p *presence) connected(a store.AccountID) bool {
	return slices.ContainsFunc(p.sessions(a), func(s *Session) bool { return s.shown })
}

// online reports whether the user counts as online, and else when it was last seen, 0 if that is not known.
func (p *presence) online(a store.AccountID) (online bool, last int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, lingers := p.gone[a]
	return lingers || p.connected(a), p.last[a]
}

// came notes that a device of the user has connected. A program, which has a key, is nobody's presence.
func (p *presence) came(s *Session) {
	if s.id.key != nil {
		return
	}
	a := s.id.Account
	p.mu.Lock()
	defer p.mu.Unlock()
	_, lingered := p.gone[a]
	was := lingered || p.connected(a)
	s.shown = true
	delete(p.gone, a)
	switch _, told := p.told[a]; {
	case !told:
		p.move(moved{id: a})
	case !was: // its end was not told yet, but may have been read
		p.move(moved{id: a, force: true})
	}
}

// left notes that a device of the user is going, perhaps the last one. What was never told needs no end.
func (p *presence) left(s *Session, now time.Time) {
	if s.id.key != nil {
		return
	}
	a := s.id.Account
	p.mu.Lock()
	defer p.mu.Unlock()
	s.shown = false
	if _, told := p.told[a]; !told {
		if _, queued := p.queued[a]; !queued && !p.busy { // while busy, it may be about to be told
			return
		}
	}
	for id := range p.last {
		if len(p.last) < maxLast {
			break
		}
		delete(p.last, id)
	}
	p.last[a] = now.UnixMilli()
	until := time.Now().Add(p.grace)
	p.gone[a] = until
	p.leaving = append(p.leaving, leave{a, until})
	p.wake()
}

// take returns the users whose presence is to be told now, and how long until the next one's grace ends (0: nobody's).
func (p *presence) take(now time.Time) (due []moved, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, l := range p.leaving {
		if until, ok := p.gone[l.id]; ok && until == l.until {
			if until.After(now) {
				next = until.Sub(now)
				break
			}
			delete(p.gone, l.id)
			if !p.connected(l.id) {
				_, told := p.told[l.id]
				p.move(moved{id: l.id, force: !told}) // that it came was not told yet, but may have been read
			}
		}
		n++
	}
	if p.leaving = p.leaving[n:]; len(p.leaving) == 0 {
		p.leaving = nil
	}
	due, p.due = p.due, nil
	p.busy = len(due) > 0
	clear(p.queued)
	return due, next
}

// tell notes that the user is told as online, or not any more; changed tells whether that is new.
func (p *presence) tell(a store.AccountID, online bool) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, was := p.told[a]
	if online {
		p.told[a] = struct{}{}
	} else {
		delete(p.told, a)
	}
	return was != online
}

// tellPresence tells friends who comes and goes until ctx ends.
func (b *Broker) tellPresence(ctx context.Context) {
	for {
		due, next := b.presence.take(time.Now())
		for _, a := range due {
			if ctx.Err() != nil {
				return
			}
			if err := b.spread(a); err != nil {
				b.log.Warn("presence not told", keyErr, err)
			}
		}
		if len(due) > 0 {
			continue // what came meanwhile
		}
		var timer <-chan time.Time
		if next > 0 {
			timer = time.After(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
		case <-b.presence.kick:
		}
	}
}

// online reports whether a user counts as online, and else since when it is away, 0 if that is not known.
func (b *Broker) online(a store.AccountID) (online bool, since int64, err error) {
	online, since = b.presence.online(a)
	if online || since != 0 {
		return online, since, nil
	}
	devices, err := b.store.Devices(a)
	if err != nil {
		return false, 0, err
	}
	for _, d := range devices {
		if hooks.IsKeyDevice(d.ClientID) {
			continue
		}
		row, err := b.store.LoadSession(a, d.ID)
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return false, 0, err
		}
		if err == nil {
			since = max(since, row.Disconnected)
		}
	}
	return false, since, nil
}

// spread tells the friends of a user who are connected that its presence has moved.
func (b *Broker) spread(a moved) error {
	settings, err := b.access.Relations().Settings(a.id)
	if err != nil {
		return err
	}
	if !settings.Presence && !a.ending {
		b.presence.tell(a.id, false)
		return nil
	}
	online, _, err := b.online(a.id)
	if err != nil {
		return err
	}
	if !b.presence.tell(a.id, online && settings.Presence) && !a.ending && !a.force {
		return nil // it came back before anybody was told
	}
	b.metrics.presence.Inc()
	return b.friends(a.id, func(friend store.AccountID) error {
		sessions := b.watchers(friend)
		if len(sessions) == 0 {
			return nil
		}
		v, err := b.access.Live(friend, a.id)
		if err != nil {
			return err
		}
		switch {
		case a.ending && v.Mutual: // both ways: presence is mutual
			b.tellSeen(sessions, a.id, true)
			b.tellSeen(b.watchers(a.id), friend, true)
		case v.Presence: // one whom the user blocks has seen it go, and sees nothing more
			b.tellSeen(sessions, a.id, false)
		}
		return nil
	})
}

// friends calls fn for every friend of a user.
func (b *Broker) friends(a store.AccountID, fn func(store.AccountID) error) error {
	for after := store.AccountID(0); ; {
		list, err := b.store.Edges(store.EdgeFriend, a, after, 500)
		if err != nil {
			return err
		}
		for _, f := range list {
			after = f
			if err := fn(f); err != nil {
				return err
			}
		}
		if len(list) < 500 {
			return nil
		}
	}
}

// watchers are the sessions of a user with a filter for presence.
func (b *Broker) watchers(a store.AccountID) (out []*Session) {
	for _, s := range b.registry.of(a) {
		s.mu.Lock()
		if !s.ended && hooks.AnyCould(s.parsed, hooks.Presence, hooks.Status) {
			out = append(out, s)
		}
		s.mu.Unlock()
	}
	return out
}

func (b *Broker) tellSeen(sessions []*Session, of store.AccountID, ended bool) {
	for _, s := range sessions {
		s.mu.Lock()
		if !s.ended {
			s.news().seen.add(of, ended)
			s.wake()
		}
		s.mu.Unlock()
	}
}

// SharePresence tells that a user has begun or ceased to share its presence, after the setting has changed.
func (b *Broker) SharePresence(a store.AccountID, on bool) {
	p := b.presence
	p.mu.Lock()
	p.move(moved{id: a, ending: !on, force: on})
	p.mu.Unlock()
	if !on {
		return
	}
	for _, s := range b.watchers(a) {
		s.mu.Lock()
		if !s.ended {
			s.news().seen.all()
			s.wake()
		}
		s.mu.Unlock()
	}
}

// Watch is what two users saw of each other's presence.
type Watch struct{ x, y watcher }

// watcher is what a user saw of another one's presence: all of it, or one that stands still since a block, or nothing.
type watcher struct {
	who  store.AccountID
	saw  bool
	away int64
}

// Watch asks what two users see of each other's presence now. Ask before their relation changes, and call Changed after.
func (b *Broker) Watch(x, y store.AccountID) (w Watch, err error) {
	w = Watch{watcher{who: x}, watcher{who: y}}
	for _, d := range [][2]*watcher{{&w.x, &w.y}, {&w.y, &w.x}} {
		v, err := b.access.Live(d[0].who, d[1].who)
		if err != nil {
			return w, err
		}
		d[0].saw, d[0].away = v.Presence, v.Away
	}
	return w, nil
}

// Changed tells the devices of both what they see of each other after their relation has changed; where nothing changed
// for one of them, it is told nothing.
func (b *Broker) Changed(w Watch) error {
	now, err := b.Watch(w.x.who, w.y.who)
	if err != nil {
		return err
	}
	if now.x != w.x {
		b.tellSeen(b.watchers(w.x.who), w.y.who, true)
	}
	if now.y != w.y {
		b.tellSeen(b.watchers(w.y.who), w.x.who, true)
	}
	return nil
}

// seen is what a session is to be told of its friends' presence. Guarded by Session.mu.
type seen struct {
	of    []sight // each user once; beyond maxSight everybody is told again
	walk  bool    // all friends, those after
	after store.AccountID
	walks int // how often a walk has begun
}

type sight struct {
	of    store.AccountID
	ended bool // what is not to be seen any more is told as off
}

const maxSight = 256

func (s *seen) add(of store.AccountID, ended bool) {
	i := slices.IndexFunc(s.of, func(x sight) bool { return x.of == of })
	switch {
	case i >= 0:
		s.of[i].ended = s.of[i].ended || ended
	case len(s.of) >= maxSight && !ended: // the walk tells it
		s.all()
	default:
		s.of = append(s.of, sight{of, ended})
	}
}

func (s *seen) all() {
	s.walk, s.after = true, 0
	s.walks++
}

func (s *seen) idle() bool { return !s.walk && len(s.of) == 0 }

// takeSeen moves what fits of the presence of friends into the chunk. It unlocks mu while it asks. The caller holds mu.
func (s *Session) takeSeen(p *pump, e *ephemera) {
	for !e.seen.idle() && p.bytes < chunkBytes && !s.ended {
		if len(e.seen.of) == 0 {
			after, walks := e.seen.after, e.seen.walks
			s.mu.Unlock()
			list, err := s.b.nextFriends(s.id.Account, after)
			s.mu.Lock()
			switch {
			case e.seen.walks != walks: // begun again meanwhile: what was read may be old
			case err != nil:
				s.b.log.Warn("friends not read", keyUser, s.id.Name, keyErr, err)
				e.seen.walk = false
			case len(list) == 0:
				e.seen.walk = false
			default:
				e.seen.after = list[len(list)-1]
				for _, f := range list {
					e.seen.add(f, false)
				}
			}
			continue
		}
		next := e.seen.of[0]
		e.seen.of = e.seen.of[1:]
		s.mu.Unlock()
		payload, err := s.b.sight(s.id.Account, next)
		topic := ""
		if err == nil && payload != nil {
			topic = hooks.Presence.String() + "/" + s.b.Name(next.of)
		}
		s.mu.Lock()
		if err != nil {
			s.b.log.Warn("presence not read", keyUser, s.id.Name, keyErr, err)
		}
		if topic == "" || s.ended {
			continue
		}
		if rt, ok := s.live(topic); ok {
			p.items = append(p.items, Item{Kind: ItemDelivery, Topic: topic, Payload: payload, Identifiers: rt.ids})
			p.bytes += len(payload) + len(topic) + 8
		}
	}
	if len(e.seen.of) == 0 {
		e.seen.of = nil
	}
}

// nextFriends are some friends of a user after the given one; none if the user does not share its presence, because then
// it sees nobody's.
func (b *Broker) nextFriends(a, after store.AccountID) ([]store.AccountID, error) {
	settings, err := b.access.Relations().Settings(a)
	if err != nil || !settings.Presence {
		return nil, err
	}
	return b.store.Edges(store.EdgeFriend, a, after, maxSight/2)
}

// sight is the presence of a user as a viewer sees it; nil: nothing is to be told.
func (b *Broker) sight(viewer store.AccountID, of sight) ([]byte, error) {
	v, err := b.access.Live(viewer, of.of)
	if err != nil {
		return nil, err
	}
	switch {
	case v.Presence:
		online, since, err := b.online(of.of)
		if err != nil {
			return nil, err
		}
		return view.AppendPresence(nil, view.Presence{Online: online, Since: since}), nil
	case v.Away != 0:
		online, since, err := b.online(of.of)
		if err != nil {
			return nil, err
		}
		if online || since == 0 || since > v.Away {
			since = v.Away
		}
		return view.AppendPresence(nil, view.Presence{Since: since}), nil
	case of.ended:
		return view.AppendPresence(nil, view.Presence{Off: true}), nil
	}
	return nil, nil
}
