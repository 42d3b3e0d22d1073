package broker

import (
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// logNames are the names of accounts as somebody who reads one log knows them.
type logNames struct {
	b    *Broker
	log  store.LogID
	key  store.Key
	mine bool // the reader is the follower of a thread
	open bool // an open room, or a log that cannot be read: nobody is named by its account
	mute bool // of a channel's posts, for one who does not publish there: nobody is named
}

var _ view.Nicknames = logNames{}

// NamesOf is how accounts are called in a log by who reads it; 0 is anybody, but in a thread of a channel somebody who
// publishes there. In an open room that is the room's own id of a member, and for people to read its nickname: whose
// account it is leaves the room nowhere. In a channel's posts only those who publish there are told who does; for anybody
// else the channel speaks. In a thread it speaks with one voice to its follower, and knows the follower by a pseudonym.
func (b *Broker) NamesOf(log store.LogID, reader store.AccountID) view.Names {
	n := logNames{b: b, log: log}
	info, err := b.store.Info(log)
	if err != nil {
		n.open = store.CodeOf(err) != store.CodeNotFound // of a log that cannot be read nobody is named
		return n
	}
	n.key = info.Key
	switch info.Key.Kind {
	case store.LogRoom:
		room, err := b.access.Relations().Room(log)
		n.open = err != nil || room.Open
	case store.LogThread:
		n.mine = reader != 0 && reader == info.Key.A
	case store.LogChannel, store.LogAds:
		n.mute = reader != 0 && info.Members.Role(reader) == store.RoleNone
	}
	return n
}

// EnvOf is what the envelopes of a log have in common for who reads it: see NamesOf.
func (b *Broker) EnvOf(log store.LogID, reader store.AccountID) view.Env {
	names := b.NamesOf(log, reader).(logNames)
	return view.Env{Epoch: b.store.Epoch(), Names: names, Private: names.open || names.mute || names.key.Kind == store.LogThread,
		Ads: names.key.Kind == store.LogAds}
}

// Name implements view.Names.
func (n logNames) Name(a store.AccountID) string {
	switch {
	case n.mute || a == theChannel:
		return ""
	case n.key.Kind == store.LogThread:
		return n.inThread(a)
	}
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

// inThread is the name of a thread's follower, or of the channel, for all who write for it.
func (n logNames) inThread(a store.AccountID) string {
	switch {
	case a == 0:
		return ""
	case a != n.key.A:
		return n.key.Name
	case n.mine:
		return n.b.Name(a)
	}
	channel, err := n.b.access.Relations().ChannelOf(n.key)
	if err != nil {
		return ""
	}
	return n.b.access.Pseudonym(channel, a)
}

// Nickname implements view.Nicknames.
func (n logNames) Nickname(a store.AccountID) string {
	if n.mute || a == theChannel || a == 0 && n.key.Posts() { // a broadcast is the channel's own, and nobody who is gone
		return n.key.Name
	}
	if n.key.Kind == store.LogThread {
		return n.inThread(a)
	}
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
