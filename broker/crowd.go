package broker

import (
	"github.com/hwangso/hwangso/store"
)

// crowded is from how many members on a log keeps a list of its connected devices, so that a message does not ask for
// each member who is away. Smaller logs walk their members: a list of logs per idle session would cost more.
const crowded = 200

// crowds are the connected devices of crowded logs. A list is made by the first message to a log since the start, and
// kept up by sessions that begin and end and by members who come and go. Guarded by registry.mu.
type crowds map[store.LogID]map[*Session]struct{}

// crowd returns the sessions of a crowded log's members, after a change of membership that the entry may carry.
func (r *registry) crowd(e *store.Entry) []*Session {
	log := entryLog(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	set := r.crowds[log]
	if set == nil {
		set = make(map[*Session]struct{})
		for i := range e.Members.Members {
			if m := &e.Members.Members[i]; m.Role != store.RoleNone {
				r.gather(log, set, m.Account)
			}
		}
		if r.crowds == nil {
			r.crowds = make(crowds)
		}
		r.crowds[log] = set
	}
	if e.Record != nil && e.Record.Change.Kind == store.ChangeJoin {
		r.gather(log, set, e.Record.Change.Account)
	}
	out := make([]*Session, 0, len(set))
	for s := range set {
		out = append(out, s)
	}
	if e.Record != nil { // who leaves is told, for the last time
		if k := e.Record.Change.Kind; k == store.ChangeLeave || k == store.ChangeRemove {
			for _, s := range r.users[e.Record.Change.Account] {
				delete(set, s)
			}
		}
	}
	return out
}

// gather adds the sessions of a user to a crowd. The caller holds mu.
func (r *registry) gather(log store.LogID, set map[*Session]struct{}, a store.AccountID) {
	for _, s := range r.users[a] {
		if _, in := set[s]; !in {
			set[s] = struct{}{}
			s.crowds = append(s.crowds, log)
		}
	}
}

// enter adds a session that begins to the crowd of a log, if there is one already.
func (r *registry) enter(log store.LogID, s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if set := r.crowds[log]; set != nil {
		if _, in := set[s]; !in {
			set[s] = struct{}{}
			s.crowds = append(s.crowds, log)
		}
	}
}

func entryLog(e *store.Entry) store.LogID {
	if e.Mark != nil {
		return e.Mark.Log
	}
	return e.Record.Log
}
