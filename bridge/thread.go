package bridge

import (
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// What a follower and a channel write to each other rings like chat. Both sides know the other one as the channel: no push
// says who of the publishers has answered, nor who has asked. What a user has set of the channel holds for its thread.

// thread reports whether the conversation is of a follower and a channel.
func (t *talk) thread() bool { return t.info.Key.Kind == store.LogThread }

// inThread reports whether a user is told of a thread: the follower whose thread it is, and who publishes for the channel
// now.
func (b *Bridge) inThread(a store.AccountID, info store.LogInfo) (bool, error) {
	if info.Members.Role(a) == store.RoleNone || a == info.Key.A {
		return a == info.Key.A && info.Members.Role(a) != store.RoleNone, nil
	}
	channel, err := b.store.Find(store.ChannelKey(info.Key.Name))
	if store.CodeOf(err) == store.CodeNotFound {
		return false, nil
	}
	return err == nil && channel.Members.Role(a) != store.RoleNone, err
}

// muteOf is whether and how a user has muted a conversation, of a thread: it or its channel.
func (b *Bridge) muteOf(a store.AccountID, info store.LogInfo) (*graph.Mute, error) {
	mute, err := b.graph.Mute(a, info.ID)
	if err != nil || mute != nil || info.Key.Kind != store.LogThread {
		return mute, err
	}
	channel, err := b.graph.ChannelOf(info.Key)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return b.graph.Mute(a, channel)
}

// previewOf is how much a push shows of a conversation, of a thread: of its channel.
func (b *Bridge) previewOf(a store.AccountID, info store.LogInfo) (graph.Preview, error) {
	log := info.ID
	if info.Key.Kind == store.LogThread {
		channel, err := b.graph.ChannelOf(info.Key)
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return "", err
		}
		if err == nil {
			log = channel
		}
	}
	return b.graph.RoomPreview(a, log)
}

// threadName is what both sides of a thread are told by.
func (b *Bridge) threadName(info store.LogInfo) (string, error) {
	channel, err := b.graph.ChannelOf(info.Key)
	if store.CodeOf(err) == store.CodeNotFound {
		return info.Key.Name, nil
	}
	if err != nil {
		return "", err
	}
	return b.brand(channel, info)
}

// threadTopic is a thread's topic without the view: the follower has it at the channel, the brand under a pseudonym.
func (b *Bridge) threadTopic(a store.AccountID, info store.LogInfo) (string, error) {
	if a == info.Key.A {
		return "channel/" + info.Key.Name, nil
	}
	channel, err := b.graph.ChannelOf(info.Key)
	if err != nil {
		return "", err
	}
	return "thread/" + info.Key.Name + "/" + b.access.Pseudonym(channel, info.Key.A), nil
}
