package broker

import (
	"fmt"
	"slices"
	"sync"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// A channel's followers are no members of its logs, and there may be millions of them: what is kept in memory are those
// who are connected with a filter that selects the channel. A session is listed while it lasts, from its loading, from a
// SUBSCRIBE or from when its user follows (FollowChanged); who leaves is taken out at once. What a listed session costs is
// said by TestFollowingCostsLittle.

// audiences are the listed sessions by channel. The lock is a leaf: nothing is asked or taken while it is held.
type audiences struct {
	mu sync.Mutex
	of map[store.LogID]map[*Session]struct{}

	// turns make looking at how a user stands to a channel serial per user, so that of two looks the later one counts.
	// They are held while rows are read, and never by who holds another lock.
	turns [64]sync.Mutex
}

func (a *audiences) enter(channel store.LogID, s *Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	set := a.of[channel]
	if set == nil {
		if a.of == nil {
			a.of = make(map[store.LogID]map[*Session]struct{})
		}
		set = make(map[*Session]struct{})
		a.of[channel] = set
	}
	set[s] = struct{}{}
}

func (a *audiences) leave(channel store.LogID, s *Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if set := a.of[channel]; set != nil {
		if delete(set, s); len(set) == 0 {
			delete(a.of, channel)
		}
	}
}

// list returns a copy of a channel's listed sessions.
func (a *audiences) list(channel store.LogID) []*Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	set := a.of[channel]
	out := make([]*Session, 0, len(set))
	for s := range set {
		out = append(out, s)
	}
	return out
}

// follows is what a session knows of the channels that its user follows; nil for nobody's. Guarded by Session.mu.
type follows struct {
	list []following   // listed, in order of channels
	late []store.LogID // to be looked at when the session is loaded, each once
}

// following is a session's place in one channel.
type following struct {
	channel store.LogID
	// told is how far the session was told of the channel's two logs: what lies above was not considered, what does not
	// is confirmed or in a feed. untold: it is told nothing of this log.
	told [2]store.Seq
}

// untold is of the log of advertising for who does not want any.
const untold = ^store.Seq(0)

// Which of a channel's logs, in following.told.
const (
	notices = 0
	ads     = 1
)

func logOf(kind store.LogKind) int {
	if kind == store.LogAds {
		return ads
	}
	return notices
}

// find returns the session's place in a channel, nil if it is not listed. The caller holds Session.mu.
func (f *follows) find(channel store.LogID) *following {
	if f == nil {
		return nil
	}
	if i, ok := slices.BinarySearchFunc(f.list, channel, byChannel); ok {
		return &f.list[i]
	}
	return nil
}

// behind is how many posts the session was not told of yet. The caller holds Session.mu.
func (f *follows) behind(p post) int {
	if place := f.find(p.channel); place != nil && place.told[logOf(p.key.Kind)] < p.head {
		return int(min(p.head-place.told[logOf(p.key.Kind)], maxWindow))
	}
	return 0
}

func byChannel(f following, channel store.LogID) int {
	switch {
	case f.channel < channel:
		return -1
	case f.channel > channel:
		return 1
	}
	return 0
}

// delay notes a channel to be looked at when the session is loaded. The caller holds mu.
func (s *Session) delay(channel store.LogID) {
	if s.follows == nil {
		s.follows = &follows{}
	}
	if !slices.Contains(s.follows.late, channel) {
		s.follows.late = append(s.follows.late, channel)
	}
}

// enlist lists the session in a channel, or finds it there. The caller holds mu.
func (s *Session) enlist(channel store.LogID) (f *following, fresh bool) {
	if s.follows == nil {
		s.follows = &follows{}
	}
	i, ok := slices.BinarySearchFunc(s.follows.list, channel, byChannel)
	if !ok {
		s.follows.list = slices.Insert(s.follows.list, i, following{channel: channel})
		s.b.audiences.enter(channel, s)
	}
	return &s.follows.list[i], !ok
}

// delist takes the session out of a channel. The caller holds mu.
func (s *Session) delist(channel store.LogID) {
	if s.follows == nil {
		return
	}
	if i, ok := slices.BinarySearchFunc(s.follows.list, channel, byChannel); ok {
		s.follows.list = slices.Delete(s.follows.list, i, i+1)
		s.b.audiences.leave(channel, s)
	}
	if len(s.follows.list) == 0 && len(s.follows.late) == 0 {
		s.follows = nil
	}
}

// delistAll takes an ended session out of all channels.
func (s *Session) delistAll() {
	s.mu.Lock()
	f := s.follows
	s.follows = nil
	s.mu.Unlock()
	if f != nil {
		for i := range f.list {
			s.b.audiences.leave(f.list[i].channel, s)
		}
	}
}

// FollowChanged tells the broker how an account stands to a channel now: call it after graph.SetFollow. What the account's
// devices get next is decided by that already; this lists them, or takes them out, and has those look again that wait.
func (b *Broker) FollowChanged(a store.AccountID, channel store.LogID) {
	for _, s := range b.registry.of(a) {
		s.mu.Lock()
		loading := s.loading && !s.ended
		if loading {
			s.delay(channel)
		}
		s.mu.Unlock()
		if loading {
			continue
		}
		if err := s.lookAt(channel, nil, nil, 0); err != nil {
			b.log.Warn("a channel's posts wait for the next connection", keyLog, channel, keyErr, err)
		}
	}
}

// lookAt brings a session in line with how its user stands to a channel. from is how far the device has confirmed the
// logs, or begins; inflight belongs to it; until is for the feeds of a session that is being loaded.
func (s *Session) lookAt(channel store.LogID, from func(store.LogID) store.Seq, inflight []store.Inflight, until uint64) error {
	turn := &s.b.audiences.turns[uint64(s.id.Account)%uint64(len(s.b.audiences.turns))]
	turn.Lock()
	defer turn.Unlock()
	relations := s.b.access.Relations()
	follow, err := relations.Follow(s.id.Account, channel)
	if err != nil {
		return err
	}
	settings, err := relations.Channel(channel)
	if err != nil {
		return err
	}
	info, err := s.b.store.Info(channel)
	if store.CodeOf(err) == store.CodeNotFound || err == nil && info.Key.Kind != store.LogChannel {
		return nil // a row of a channel that is gone
	}
	if err != nil {
		return fmt.Errorf("broker: channel: %w", err)
	}
	t := postTopic(info.Key)
	logs := [2]store.LogID{notices: channel, ads: settings.Ads}
	if from == nil {
		from = func(store.LogID) store.Seq { return 0 }
	}

	s.mu.Lock()
	for _, log := range logs {
		if f := s.feeds[log]; f != nil && log != 0 {
			f.turns++ // a page that was read before is decided anew
			s.unpark(f)
		}
	}
	if s.ended || s.id.key != nil || !follow.Follows() || !selects(s.parsed, t) {
		s.delist(channel)
		s.mu.Unlock()
		return nil
	}
	place, fresh := s.enlist(channel)
	for k, kind := range [2]store.LogKind{notices: store.LogChannel, ads: store.LogAds} {
		start := max(follow.Before(kind), from(logs[k]))
		switch {
		case k == ads && (follow.Ads == 0 || logs[ads] == 0):
			place.told[k] = untold
		case fresh || place.told[k] == untold:
			place.told[k] = start
		default:
			place.told[k] = max(place.told[k], from(logs[k]))
		}
	}
	s.mu.Unlock()

	// What was committed before the session was listed was not told to it.
	for _, log := range logs {
		if log == 0 {
			continue
		}
		info, err := s.b.store.Info(log)
		if err != nil {
			return fmt.Errorf("broker: channel: %w", err)
		}
		s.mu.Lock()
		s.tellPost(post{channel: channel, log: log, key: info.Key, head: info.Head, until: until}, inflight)
		s.mu.Unlock()
	}
	return nil
}

// followed calls fn with every channel that the user follows.
func (s *Session) followed(fn func(channel store.LogID) error) error {
	var after store.LogID
	for {
		channels, follows, err := s.b.access.Relations().Follows(s.id.Account, after, 500)
		if err != nil {
			return err
		}
		if len(channels) == 0 {
			return nil
		}
		after = channels[len(channels)-1]
		for i, c := range channels {
			if !follows[i].Follows() {
				continue
			}
			if err := fn(c); err != nil {
				return err
			}
		}
	}
}

// mayFollow reports whether filters could select posts for the session. What the account follows is nothing to a program
// with a key.
func (s *Session) mayFollow(filters []hooks.Filter) bool {
	return s.id.key == nil && hooks.AnyCould(filters, hooks.Channel, hooks.Message)
}
