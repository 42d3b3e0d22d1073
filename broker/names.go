package broker

import (
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// logNames are the names of accounts as the members of one log know them.
type logNames struct {
	b    *Broker
	log  store.LogID
	open bool
}

var _ view.Nicknames = logNames{}

// NamesOf is how accounts are called in a log. In an open room that is the room's own id of a member, and for people to
// read its nickname: whose account it is leaves the room nowhere.
func (b *Broker) NamesOf(log store.LogID) view.Names {
	room, err := b.access.Relations().Room(log)
	return logNames{b, log, err != nil || room.Open} // of a room that cannot be read nobody is named
}

// EnvOf is what the envelopes of a log have in common.
func (b *Broker) EnvOf(log store.LogID) view.Env {
	names := b.NamesOf(log).(logNames)
	return view.Env{Epoch: b.store.Epoch(), Names: names, Private: names.open}
}

// Name implements view.Names.
func (n logNames) Name(a store.AccountID) string {
	name := n.b.Name(a)
	if name == "" || !n.open {
		return name
	}
	m, err := n.b.access.Relations().RoomMember(n.log, a)
	if err != nil {
		return ""
	}
	return m.ID
}

// Nickname implements view.Nicknames.
func (n logNames) Nickname(a store.AccountID) string {
	name := n.b.Name(a)
	if name == "" || !n.open {
		return name
	}
	m, err := n.b.access.Relations().RoomMember(n.log, a)
	if err != nil {
		return ""
	}
	return m.Nick
}

// named is the member of a conversation that a user calls by this name, 0 for nobody. In an open room only the room's own
// ids name anybody.
func (b *Broker) named(g hooks.Grant, name string) (store.AccountID, error) {
	if g.Open {
		return b.access.Relations().MemberOf(g.Log.ID, name)
	}
	a, err := b.store.AccountByName(name)
	if store.CodeOf(err) == store.CodeNotFound {
		return 0, nil
	}
	return a.ID, err
}
