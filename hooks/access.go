package hooks

import (
	"fmt"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

// Graph is what Access asks about users; every store.Directory has it.
type Graph interface {
	Account(id store.AccountID) (store.Account, error)
	AccountByName(name string) (store.Account, error)
	HasEdge(kind store.Edge, from, to store.AccountID) (bool, error)
}

// Logs is what Access asks about conversations; every store.Log has it.
type Logs interface {
	Find(key store.Key) (store.LogInfo, error)
}

// Access gathers the facts for the policy and tells its outcome. It keeps no state and may be used from any goroutine.
type Access struct {
	graph Graph
	logs  Logs
}

// NewAccess returns an Access over a store.
func NewAccess(graph Graph, logs Logs) *Access { return &Access{graph, logs} }

// Grant is the permission to publish to a topic, and what the append needs to know of how it was decided.
type Grant struct {
	Key     store.Key
	Outcome policy.Outcome // Deliver or Shadow
	Log     store.LogInfo  // the conversation; ID 0: none yet, the first message opens it
	Peer    store.Account  // of a 1:1 conversation: the other side
}

// Audience is who may ever see a record written under the grant.
func (g Grant) Audience() store.Audience {
	if g.Outcome == policy.Shadow {
		return store.AudienceSender
	}
	return store.AudienceBoth
}

// Version is the membership version the grant was decided under, for Draft.Version; 0 if there is no log yet.
func (g Grant) Version() uint64 {
	if g.Log.Members == nil {
		return 0
	}
	return g.Log.Members.Version
}

// Publish decides whether a user may publish to a topic of a room or a 1:1 conversation: a message, an operation on an
// earlier one (Edit; whether this user may do it to that message is decided by who knows the message), Typing or Read.
// A denial is a CodeForbidden error with the reason of the outcome; storage errors are passed on. Other places are
// CodeNotFound: there is nobody to publish to.
func (a *Access) Publish(me store.AccountID, t Topic) (Grant, error) {
	switch t.Place {
	case Room:
		return a.room(me, t)
	case User:
		return a.pair(me, t)
	}
	return Grant{}, &store.Error{Code: store.CodeNotFound, Text: "there is no such " + t.Place.String()}
}

func (a *Access) room(me store.AccountID, t Topic) (Grant, error) {
	account, err := a.graph.Account(me)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: account: %w", err)
	}
	g := Grant{Key: store.RoomKey(t.Name)}
	if g.Log, err = a.find(g.Key); err != nil {
		return Grant{}, err
	}
	return decide(g, policy.WriteRoom(policy.RoomFacts{AState: account.State, ARole: g.Log.Members.Role(me)}))
}

func (a *Access) pair(me store.AccountID, t Topic) (Grant, error) {
	f, g, err := a.pairFacts(me, t.Name)
	if err != nil {
		return Grant{}, err
	}
	open := g.Log.Members.Role(me) != store.RoleNone
	switch t.Act {
	case Message:
		return decide(g, policy.WritePair(f))
	case Read:
		return decide(g, policy.ReadPair(open, f))
	}
	return decide(g, policy.ActPair(open, f))
}

// pairFacts asks everything, also what the outcome turns out not to need, so that the time an answer takes tells
// nothing about blocks.
func (a *Access) pairFacts(me store.AccountID, name string) (f policy.PairFacts, g Grant, err error) {
	account, err := a.graph.Account(me)
	if err != nil {
		return f, g, fmt.Errorf("hooks: account: %w", err)
	}
	f.AState = account.State
	g.Peer, err = a.graph.AccountByName(name)
	if store.CodeOf(err) == store.CodeNotFound {
		g.Peer, err = store.Account{ID: nobody}, nil
	}
	if err != nil {
		return f, g, fmt.Errorf("hooks: account: %w", err)
	}
	peer := g.Peer.ID
	f.BExists, f.Self = peer != nobody, peer == me
	for _, edge := range []struct {
		on       *bool
		kind     store.Edge
		from, to store.AccountID
	}{
		{&f.ABlocksB, store.EdgeBlock, me, peer},
		{&f.BHasA, store.EdgeFriend, peer, me},
		{&f.BBlocksA, store.EdgeBlock, peer, me},
	} {
		if *edge.on, err = a.graph.HasEdge(edge.kind, edge.from, edge.to); err != nil {
			return f, g, fmt.Errorf("hooks: edge: %w", err)
		}
	}
	g.Key = store.PairKey(me, peer)
	g.Log, err = a.find(g.Key)
	return f, g, err
}

// Inside reports whether a filter for exactly this room or user can select anything: me is a member of the room, has a
// conversation with the user, or could begin one. If not, the client deserves a hint; the same one whether the place
// exists or not.
func (a *Access) Inside(me store.AccountID, place Place, name string) (bool, error) {
	switch place {
	case Room:
		log, err := a.find(store.RoomKey(name))
		return log.Members.Role(me) != store.RoleNone, err
	case User:
		f, g, err := a.pairFacts(me, name)
		if err != nil {
			return false, err
		}
		return f.Self || f.BHasA || g.Log.Members.Role(me) != store.RoleNone, nil
	}
	return false, nil
}

// find returns the log, or an empty one if there is none.
func (a *Access) find(key store.Key) (store.LogInfo, error) {
	log, err := a.logs.Find(key)
	if store.CodeOf(err) == store.CodeNotFound {
		return store.LogInfo{}, nil
	}
	if err != nil {
		return store.LogInfo{}, fmt.Errorf("hooks: log: %w", err)
	}
	return log, nil
}

func decide(g Grant, outcome policy.Outcome) (Grant, error) {
	if err := Refusal(outcome, 0); err != nil {
		return Grant{}, err
	}
	g.Outcome = outcome
	return g, nil
}
