package broker

import (
	"bytes"
	"slices"
	"sync"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// progresses is the newest state that was told to the publishers of each channel, for those who connect later. It is lost
// with the process; who tells it tells it again.
type progresses struct {
	mu    sync.Mutex
	of    map[store.LogID][]byte
	order []store.LogID // the one told first goes first when there are too many
}

// maxProgress is of how many channels the state is kept.
const maxProgress = 4096

// TellPublishers tells a channel's publishers who are connected, and those who connect later, where its broadcasts stand:
// the payload of channel/{channel}/progress. Only the newest is kept and delivered, with QoS 0. nil forgets it.
func (b *Broker) TellPublishers(channel store.LogID, progress []byte) {
	if !b.progresses.set(channel, bytes.Clone(progress)) {
		return
	}
	info, err := b.store.Info(channel)
	if err != nil || info.Key.Kind != store.LogChannel {
		b.log.Warn("progress not told", keyLog, channel, keyErr, err)
		return
	}
	for i := range info.Members.Members {
		m := &info.Members.Members[i]
		if m.Role == store.RoleNone {
			continue
		}
		for _, s := range b.registry.of(m.Account) {
			s.tellProgress(channel)
		}
	}
}

// set keeps a state, and reports whether there is one to be told.
func (p *progresses) set(channel store.LogID, state []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.of[channel]; known || state == nil {
		p.order = slices.DeleteFunc(p.order, func(c store.LogID) bool { return c == channel })
	}
	if state == nil {
		delete(p.of, channel)
		return false
	}
	if p.of == nil {
		p.of = make(map[store.LogID][]byte)
	}
	if len(p.order) >= maxProgress {
		delete(p.of, p.order[0])
		p.order = p.order[1:]
	}
	p.of[channel] = state
	p.order = append(p.order, channel)
	return true
}

func (p *progresses) get(channel store.LogID) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[channel]
}

// tellProgress passes on that there is news of a channel's broadcasts, if a filter could select it.
func (s *Session) tellProgress(channel store.LogID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !hooks.AnyCould(s.parsed, hooks.Channel, hooks.Progress) {
		return
	}
	s.news().progress(channel)
	s.wake()
}

// recallProgress has a publisher told what is known of the channels among its logs. The caller holds mu.
func (s *Session) recallProgress(refs []store.LogRef) {
	for i := range refs {
		r := &refs[i]
		if r.Key.Kind == store.LogChannel && r.Me.Role != store.RoleNone && s.b.progresses.get(r.ID) != nil {
			s.news().progress(r.ID)
		}
	}
}

func (e *ephemera) progress(channel store.LogID) {
	if !slices.Contains(e.told, channel) {
		e.told = append(e.told, channel)
	}
}

// takeProgress moves the newest states into the chunk. It unlocks mu to ask who publishes.
func (s *Session) takeProgress(p *pump, e *ephemera) {
	for len(e.told) > 0 && p.bytes < chunkBytes {
		channel := e.told[0]
		e.told = e.told[1:]
		s.mu.Unlock()
		info, err := s.b.store.Info(channel)
		s.mu.Lock()
		state := s.b.progresses.get(channel)
		if err != nil || s.ended || state == nil || info.Members.Role(s.id.Account) == store.RoleNone {
			continue
		}
		topic := hooks.Topic{Place: hooks.Channel, Act: hooks.Progress, Name: info.Key.Name}.String()
		if rt, ok := s.live(topic); ok {
			p.items = append(p.items, Item{Kind: ItemDelivery, Topic: topic, Payload: state, Identifiers: rt.ids})
			p.bytes += len(state) + len(topic) + 8
		}
	}
}
