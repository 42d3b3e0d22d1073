package bridge

import (
	"context"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// whyPost is Why for a post of a channel. Most followers are passed over without a note: of a device about which nothing
// was noted it says what is so now.
func (b *Bridge) whyPost(ctx context.Context, a store.AccountID, info store.LogInfo, seq store.Seq) ([]Decision, error) {
	var out []Decision
	told := make(map[store.DeviceID]bool)
	for _, n := range b.told.about(a, func(n *remark) bool { return n.log == info.ID && n.from == seq }) {
		out = append(out, n.decision())
		told[n.device] = true
	}
	devices, err := b.devicesOf(a)
	if err != nil {
		return nil, err
	}
	r, err := b.record(info.ID, seq)
	if err != nil || r == nil || !isPost(r) {
		return out, err
	}
	channel, err := b.graph.ChannelOf(info.Key)
	if err != nil {
		return nil, err
	}
	p := story{postData{Log: info.ID, Seq: seq}, info, channel, r}
	for _, d := range devices {
		if told[d] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		now := Decision{Time: b.now(), Account: a, Device: d, Log: info.ID, From: seq, Upto: seq}
		if now.Reason, now.Until, err = b.standsPost(key{a, d, info.ID}, &p); err != nil {
			return nil, err
		}
		out = append(out, now)
	}
	return out, nil
}

// standsPost is what can be said of a post for a device about which nothing was noted.
func (b *Bridge) standsPost(k key, p *story) (why Reason, until time.Time, err error) {
	to, err := b.registration(k)
	switch {
	case err != nil:
		return "", until, err
	case p.record.Recalled:
		return ReasonRecalled, until, nil
	case p.record.Sender == k.account:
		return ReasonOwn, until, nil
	case to == nil:
		return ReasonNoToken, until, nil
	}
	why, until, err = b.whyNot(k.account, p)
	if err != nil || why != "" {
		return why, until, err
	}
	if why, err = b.has(k, p.Seq); err != nil || why != "" {
		return why, until, err
	}
	if !b.tellsPosts() {
		return ReasonPassed, until, nil
	}
	j, err := b.bulk.Find(postJob(p.Log, p.Seq))
	if store.CodeOf(err) == store.CodeNotFound {
		return ReasonPassed, until, nil
	}
	if err != nil || j.State.Ended() {
		return ReasonPassed, until, err
	}
	for i := range j.Parts {
		if part := &j.Parts[i]; part.Provider == to.Provider && k.account <= part.After {
			return ReasonPassed, until, nil
		}
	}
	return ReasonTurn, until, nil
}

// whyNot is why a post does not ring for a follower, and until when; "" if it does.
func (b *Bridge) whyNot(a store.AccountID, p *story) (why Reason, until time.Time, err error) {
	f, err := b.access.Follower(a, p.info)
	if err != nil {
		return "", until, err
	}
	o, until, err := f.Outcome(p.record)
	switch {
	case err != nil:
		return "", until, err
	case o == policy.Deliver:
		return "", until, nil
	case o == policy.Defer && until.IsZero():
		return ReasonTurn, until, nil
	case o == policy.Defer:
		return ReasonNight, until, nil
	}
	follow, err := b.graph.Follow(a, p.channel)
	if err != nil {
		return "", until, err
	}
	switch {
	case !follow.Follows() || follow.Blocked != 0 || p.Seq <= follow.Before(p.info.Key.Kind):
		return ReasonLeft, until, nil
	case o != policy.DeliverNoPush:
		return ReasonNotFor, until, nil
	}
	about, err := b.graph.Post(p.channel, graph.PostID(p.record))
	if err != nil || about.Silent {
		return ReasonPassed, until, err
	}
	if rings, err := b.graph.PostsRing(a, p.channel); err != nil || !rings {
		return ReasonSilent, until, err
	}
	if mute, err := b.graph.Mute(a, p.channel); err != nil || mute != nil {
		return ReasonMuted, until, err
	}
	return ReasonHush, until, nil
}
