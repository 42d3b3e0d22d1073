package broker

import (
	"context"
	"sync"

	"github.com/hwangso/hwangso/store"
)

// registry knows the attached sessions: by user, for waking, and by device, for taking over. It costs nothing for a
// user without a session.
type registry struct {
	mu    sync.RWMutex
	users map[store.AccountID][]*Session // attached sessions; the slices are replaced, never changed
	slots map[deviceKey]*slot
	count int

	crowds crowds
}

type deviceKey struct {
	account store.AccountID
	device  store.DeviceID
}

// slot makes attaching serial per device. It exists while a session is attached or somebody waits for it.
type slot struct {
	turn    chan struct{} // holds a token when it is nobody's turn
	users   int           // guarded by registry.mu: the attached session, whose turn it is, who waits
	session *Session      // guarded by registry.mu
}

func newRegistry() *registry {
	return &registry{users: make(map[store.AccountID][]*Session), slots: make(map[deviceKey]*slot)}
}

// acquire waits for the turn on a device. release must follow.
func (r *registry) acquire(ctx context.Context, k deviceKey) (*slot, error) {
	r.mu.Lock()
	s := r.slots[k]
	if s == nil {
		s = &slot{turn: make(chan struct{}, 1)}
		s.turn <- struct{}{}
		r.slots[k] = s
	}
	s.users++
	r.mu.Unlock()
	select {
	case <-s.turn:
		return s, nil
	case <-ctx.Done():
		r.drop(k, s)
		return nil, ctx.Err()
	}
}

func (r *registry) release(k deviceKey, s *slot) {
	s.turn <- struct{}{}
	r.drop(k, s)
}

func (r *registry) drop(k deviceKey, s *slot) {
	r.mu.Lock()
	s.users--
	if s.users == 0 {
		delete(r.slots, k)
	}
	r.mu.Unlock()
}

// current is the session attached to the slot, nil if there is none.
func (r *registry) current(s *slot) *Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return s.session
}

// hold attaches a session to the slot; end takes it off.
func (r *registry) hold(s *slot, session *Session) {
	r.mu.Lock()
	s.session = session
	s.users++
	r.mu.Unlock()
}

func (r *registry) end(k deviceKey, session *Session) {
	s := session.slot
	r.mu.Lock()
	if s.session == session {
		s.session = nil
	}
	r.mu.Unlock()
	r.drop(k, s)
}

// device returns the session attached to a device, nil if there is none.
func (r *registry) device(k deviceKey) *Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s := r.slots[k]; s != nil {
		return s.session
	}
	return nil
}

// add makes the session wakeable. limit bounds the guest sessions of one user; 0 means none.
func (r *registry) add(s *Session, guests int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.users[s.id.Account]
	if guests > 0 && s.guest {
		n := 0
		for _, o := range old {
			if o.guest {
				n++
			}
		}
		if n >= guests {
			return false
		}
	}
	next := make([]*Session, len(old)+1)
	copy(next, old)
	next[len(old)] = s
	r.users[s.id.Account] = next
	r.count++
	return true
}

func (r *registry) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.users[s.id.Account]
	var next []*Session
	for _, o := range old {
		if o != s {
			next = append(next, o)
		}
	}
	switch {
	case len(next) == len(old):
		return
	case next == nil:
		delete(r.users, s.id.Account)
	default:
		r.users[s.id.Account] = next
	}
	r.count--
	for _, log := range s.crowds {
		if delete(r.crowds[log], s); len(r.crowds[log]) == 0 {
			delete(r.crowds, log)
		}
	}
	s.crowds = nil
}

// of returns the user's attached sessions. The slice is shared.
func (r *registry) of(a store.AccountID) []*Session {
	r.mu.RLock()
	s := r.users[a]
	r.mu.RUnlock()
	return s
}

func (r *registry) all() []*Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]*Session, 0, r.count)
	for _, s := range r.users {
		out = append(out, s...)
	}
	return out
}

func (r *registry) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count
}
