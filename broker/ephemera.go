package broker

import (
	"slices"
	"sync"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// ephemera are the things that go to a connected device at once or never: typing, the newest read marks and presence,
// answers to requests, hints. They are bounded, and written with QoS 0. Guarded by Session.mu.
type ephemera struct {
	typing   []string      // topics, each once; the oldest goes when there are more than 64
	standing []standing    // logs whose marks are to be told, each once
	told     []store.LogID // channels whose progress is to be told, each once
	seen     seen          // friends whose presence is to be told
	answers  []Item        // at most 256: control requests under way are bounded, too
}

type standing struct {
	log   store.LogID
	topic hooks.Topic
}

const (
	maxTyping  = 64
	maxAnswers = 256
)

// news is where ephemera are collected. The caller holds mu.
func (s *Session) news() *ephemera {
	if s.ephemera == nil {
		s.ephemera = &ephemera{}
	}
	return s.ephemera
}

func (e *ephemera) marks(log store.LogID, t hooks.Topic) {
	for i := range e.standing {
		if e.standing[i].log == log {
			return
		}
	}
	t.Act, t.View = hooks.Read, 0
	e.standing = append(e.standing, standing{log, t})
}

// takeEphemera moves what fits into the chunk. It unlocks mu to ask for marks.
func (s *Session) takeEphemera(p *pump) {
	e := s.ephemera
	if e == nil {
		return
	}
	for len(e.answers) > 0 && p.bytes < chunkBytes {
		p.items = append(p.items, e.answers[0])
		p.bytes += len(e.answers[0].Payload) + 64
		e.answers = e.answers[1:]
	}
	for len(e.typing) > 0 && p.bytes < chunkBytes {
		topic := e.typing[0]
		e.typing = e.typing[1:]
		if rt, ok := s.live(topic); ok {
			p.items = append(p.items, Item{Kind: ItemDelivery, Topic: topic, Identifiers: rt.ids})
			p.bytes += len(topic) + 8
		}
	}
	for len(e.standing) > 0 && p.bytes < chunkBytes {
		st := e.standing[0]
		e.standing = e.standing[1:]
		rt := s.routeTo(st.topic)
		s.mu.Unlock()
		info, err := s.b.store.Info(st.log)
		var marks store.Marks
		if err == nil {
			marks, err = s.b.MarksFor(s.id.Account, &info)
		}
		s.mu.Lock()
		if err != nil || s.ended {
			continue
		}
		start := len(p.arena)
		p.arena = view.AppendMarks(p.arena, marks.StepsTo(knownHead(&info, s.id.Account)))
		payload := p.arena[start:len(p.arena):len(p.arena)]
		p.items = append(p.items, Item{Kind: ItemDelivery, Topic: rt.topic, Payload: payload, Identifiers: rt.ids})
		p.bytes += len(payload) + len(rt.topic) + 8
	}
	s.takeProgress(p, e)
	s.takeSeen(p, e)
	if len(e.typing) == 0 && len(e.told) == 0 && len(e.standing) == 0 && len(e.answers) == 0 && e.seen.idle() {
		s.ephemera = nil
	}
}

// live reports whether a filter matches an ephemeral topic, with the identifiers of those that do. The caller holds mu.
func (s *Session) live(topic string) (route, bool) {
	rt, ok := route{topic: topic}, false
	if !s.id.admitsTopic(topic) {
		return rt, false
	}
	hooks.MatchDelivered(s.parsed, topic, func(i int) bool {
		ok = true
		if id := s.filters[i].Identifier; id != 0 {
			rt.ids = append(rt.ids, id)
		}
		return true
	})
	return rt, ok
}

// tellTyping passes on that somebody types in a conversation; topic is as this session sees it.
func (s *Session) tellTyping(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.live(topic); !ok || s.ended {
		return
	}
	e := s.news()
	if slices.Contains(e.typing, topic) {
		return
	}
	if e.typing = append(e.typing, topic); len(e.typing) > maxTyping {
		e.typing = e.typing[1:]
	}
	s.wake()
}

// tellMarks passes on that the read marks of a log have moved.
func (s *Session) tellMarks(e *store.Entry) {
	if e.Key.OfChannel() {
		return
	}
	place := hooks.Room
	if e.Key.Kind == store.LogPair {
		place = hooks.User
	}
	s.mu.Lock()
	could := !s.ended && hooks.AnyCould(s.parsed, place, hooks.Read)
	s.mu.Unlock()
	if !could || !s.b.marksMove(e, s.id.Account) {
		return
	}
	t, ok := s.b.logTopic(e.Key, s.id.Account)
	if !ok {
		return
	}
	t.Act = hooks.Read
	topic := t.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.live(topic); !ok || s.ended {
		return
	}
	s.news().marks(e.Mark.Log, t)
	s.wake()
}

// Reply sends the device an answer on a topic under reply/, whatever its filters say: it has asked. An answer that
// finds 256 waiting is dropped: the client does not read.
func (s *Session) Reply(topic string, payload, correlation []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.news()
	if s.ended || len(e.answers) >= maxAnswers {
		return
	}
	rt, _ := s.live(topic)
	e.answers = append(e.answers, Item{Kind: ItemDelivery, Topic: topic, Payload: payload,
		Correlation: correlation, Identifiers: rt.ids})
	s.wake()
}

// typists remembers when somebody's typing was last passed on, so that it is at most once per three seconds and
// conversation. What is older is swept when there is much of it.
type typists struct {
	mu   sync.Mutex
	last map[typist]time.Time
}

type typist struct {
	log     store.LogID
	account store.AccountID
}

const typingEvery = 3 * time.Second

// due reports whether the typing is to be passed on now, and notes it if so.
func (t *typists) due(k typist, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.last[k]; ok && now.Sub(last) < typingEvery {
		return false
	}
	if t.last == nil {
		t.last = make(map[typist]time.Time)
	}
	if len(t.last) >= 10_000 {
		for k, at := range t.last {
			if now.Sub(at) >= typingEvery {
				delete(t.last, k)
			}
		}
	}
	t.last[k] = now
	return true
}
