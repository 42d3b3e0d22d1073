package hooks

import (
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// AnswerTime is how long a channel may answer after the newest message of a follower.
const AnswerTime = 7 * 24 * time.Hour

// What is refused in a channel and has no word in the truth table.
var (
	errNoChannel   error = &store.Error{Code: store.CodeNotFound, Text: "there is no such channel"}
	errNoThread    error = &store.Error{Code: store.CodeNotFound, Text: "nobody has written to the channel under this name"}
	errNotFollowed error = &store.Error{Code: store.CodeForbidden, Reason: store.ReasonNotFollower, Text: "you do not follow this channel: follow it to write to it"}
	errBlocksBrand error = &store.Error{Code: store.CodeForbidden, Reason: store.ReasonYouBlocked, Text: "you have blocked this channel: unblock it first"}
	errAnswerLate  error = &store.Error{Code: store.CodeLocked, Text: "a channel may answer for 7 days after the last message it got"}
	errAnswersSelf error = store.Bad("this thread is your own: write to the channel as its follower")
	errReadsSelf   error = store.Bad("this thread is your own: read it as the channel's follower")
)

// errNotPublisher is what is told about every channel, and about none, to who does not publish there.
func errNotPublisher(channel string) error {
	return &store.Error{Code: store.CodeForbidden, Reason: store.ReasonNotPublisher,
		Text: "you do not publish in the channel " + channel + "; its followers write to it on channel/" + channel + "/ask/text"}
}

// post decides whether a user may publish a post of a channel, or edit or take one back: its publishers may, as long as
// the channel may post. Whose post it is, is decided by who knows it.
func (a *Access) post(me store.AccountID, t Topic) (Grant, error) {
	g, brand, err := a.publisher(me, t.Name)
	if err != nil {
		return Grant{}, err
	}
	switch brand.State() {
	case policy.ChannelOK:
		g.Outcome = policy.Deliver
	case policy.ChannelPaused:
		g.Outcome = policy.DenyChannelPaused
	default:
		g.Outcome = policy.DenyChannelSuspended
	}
	g.Key = store.ChannelKey(t.Name)
	return decide(g, g.Outcome, 0)
}

// publisher finds a channel in which the user is a publisher. Anybody else is told the same about every channel and about
// none.
func (a *Access) publisher(me store.AccountID, channel string) (Grant, *graph.Channel, error) {
	account, err := a.store.Account(me)
	if err != nil {
		return Grant{}, nil, fmt.Errorf("hooks: account: %w", err)
	}
	log, err := a.find(store.ChannelKey(channel))
	if err != nil {
		return Grant{}, nil, err
	}
	brand, err := a.graph.Channel(log.ID)
	if err != nil {
		return Grant{}, nil, fmt.Errorf("hooks: channel: %w", err)
	}
	outcome := policy.WriteRoom(policy.RoomFacts{AState: account.State, ARole: log.Members.Role(me)})
	if outcome == policy.DenyNotMember {
		return Grant{}, nil, errNotPublisher(channel)
	}
	if err := Refusal(outcome, 0); err != nil {
		return Grant{}, nil, err
	}
	if !brand.Exists() {
		return Grant{}, nil, errNoChannel
	}
	return Grant{Log: log, Channel: log}, brand, nil
}

// ask decides whether a follower may write to a channel. A channel that posts nothing for the moment may be asked.
func (a *Access) ask(me store.AccountID, t Topic) (Grant, error) {
	account, err := a.store.Account(me)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: account: %w", err)
	}
	channel, err := a.find(store.ChannelKey(t.Name))
	if err != nil {
		return Grant{}, err
	}
	brand, err := a.graph.Channel(channel.ID)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: channel: %w", err)
	}
	follow, err := a.graph.Follow(me, channel.ID)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: follow: %w", err)
	}
	g := Grant{Key: store.ThreadKey(me, t.Name), Channel: channel}
	if g.Log, err = a.find(g.Key); err != nil {
		return Grant{}, err
	}
	switch {
	case account.State == store.AccountSuspended:
		return decide(g, policy.DenySuspended, 0)
	case !brand.Exists():
		return Grant{}, errNoChannel
	case follow.Blocked != 0:
		return Grant{}, errBlocksBrand
	case !follow.Follows():
		return Grant{}, errNotFollowed
	case brand.State() == policy.ChannelSuspended:
		return decide(g, policy.DenyChannelSuspended, 0)
	}
	return decide(g, policy.Deliver, 0)
}

// answer decides whether a publisher may write into the thread of a follower. Where the follower has left or blocked the
// channel, or is gone, the outcome is Shadow: the channel sees what an accepted answer looks like, after the same look-ups.
func (a *Access) answer(me store.AccountID, t Topic) (Grant, error) {
	g, brand, err := a.publisher(me, t.Name)
	if err != nil {
		return Grant{}, err
	}
	if brand.State() == policy.ChannelSuspended {
		return decide(g, policy.DenyChannelSuspended, 0)
	}
	who, err := a.graph.Thread(g.Channel.ID, t.Sub)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: thread: %w", err)
	}
	if who == me {
		return Grant{}, errAnswersSelf
	}
	g.Key = store.ThreadKey(who, t.Name)
	if g.Log, err = a.find(g.Key); err != nil {
		return Grant{}, err
	}
	side := g.Log.Side(who)
	if who == 0 || g.Log.ID == 0 || side.Wrote == 0 {
		return Grant{}, errNoThread
	}
	if a.cfg.Now().Sub(time.UnixMilli(side.Wrote)) > AnswerTime {
		return Grant{}, errAnswerLate
	}
	follow, err := a.graph.Follow(who, g.Channel.ID)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: follow: %w", err)
	}
	_, err = a.store.Account(who)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return Grant{}, fmt.Errorf("hooks: account: %w", err)
	}
	g.Outcome = policy.Deliver
	if err != nil || follow.Blocked != 0 || !follow.Follows() {
		g.Outcome = policy.Shadow
	}
	return g, nil
}

// ThreadExtra is what stands beside the text of a message that a follower and a channel have written to each other, its
// attachments, as the devices of the user get it; nothing where there is no such message for it. Without a pseudonym the
// thread is the user's own, as the channel's follower. With one it is that of the follower whom the channel knows by it, and
// the user publishes there now. Whose thread it is, and who of the channel has written, is not told.
func (a *Access) ThreadExtra(me store.AccountID, channel, pseudonym string, seq store.Seq) ([]byte, error) {
	log, err := a.thread(me, channel, pseudonym)
	if err != nil || log.ID == 0 || seq == 0 {
		return nil, err
	}
	page, err := a.store.Read(store.Query{Log: log.ID, Viewer: me, After: seq - 1, Upto: seq, Max: 1})
	if store.CodeOf(err) == store.CodeTrimmed || err == nil && len(page.Records) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hooks: thread: %w", err)
	}
	return page.Records[0].Extra, nil
}

// thread is the log of a thread that the user may read, an empty one if it has asked nothing there: see ThreadExtra.
func (a *Access) thread(me store.AccountID, channel, pseudonym string) (store.LogInfo, error) {
	if pseudonym == "" {
		return a.find(store.ThreadKey(me, channel))
	}
	g, _, err := a.publisher(me, channel)
	if err != nil {
		return store.LogInfo{}, err
	}
	who, err := a.graph.Thread(g.Channel.ID, pseudonym)
	switch {
	case err != nil:
		return store.LogInfo{}, fmt.Errorf("hooks: thread: %w", err)
	case who == 0:
		return store.LogInfo{}, errNoThread
	case who == me:
		return store.LogInfo{}, errReadsSelf
	}
	return a.find(store.ThreadKey(who, channel))
}

// Publishes reports whether a user is among those who publish in a channel.
func (a *Access) Publishes(me store.AccountID, channel string) (bool, error) {
	log, err := a.find(store.ChannelKey(channel))
	return log.Members.Role(me) != store.RoleNone, err
}
