package api

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// changeFollow changes how the caller stands to a channel, and tells its own devices; nobody else learns of it.
func (a *API) changeFollow(ctx context.Context, c *caller, ch *channel.Channel, fn func(*graph.Follow) error) (*changedOut, error) {
	changed := false
	err := a.graph.SetFollow(ctx, c.account.ID, ch.ID, func(f *graph.Follow) error {
		was := *f
		err := fn(f)
		changed = *f != was
		return err
	})
	if store.CodeOf(err) == store.CodeFull {
		return nil, full("channels", "you follow as many channels as one may", graph.FollowLimit)
	}
	if err != nil || !changed {
		return &changedOut{}, err
	}
	if a.cfg.Followed != nil {
		a.cfg.Followed(c.account.ID, ch.ID)
	}
	a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeFollows, Channel: ch.Name}, "")
	return &changedOut{true}, nil
}

// known is a channel that the caller may see, or that it has followed or blocked before: one can always leave.
func (a *API) known(c *caller, s string) (*channel.Channel, error) {
	ch, err := a.channelOf(c, s)
	if err == nil {
		return ch, nil
	}
	n, bad := name("channel", s)
	if bad != nil {
		return nil, bad
	}
	if ch, missing := a.channels.Find(n); missing == nil {
		f, failed := a.graph.Follow(c.account.ID, ch.ID)
		if failed != nil {
			return nil, fmt.Errorf("api: follow: %w", failed)
		}
		if *f != (graph.Follow{}) {
			return ch, nil
		}
	}
	return nil, err
}

type channelFollowIn struct {
	channelIn
	Ads *bool `json:"ads,omitempty" doc:"Consent to its advertising, too. Absent: no, or as it is for who follows already."`
}

func (a *API) channelFollow(ctx context.Context, c *caller, in *channelFollowIn) (*changedOut, error) {
	ch, err := a.channelOf(c, in.Channel)
	if err != nil {
		return nil, err
	}
	heads, err := a.headsOf(ch)
	if err != nil {
		return nil, err
	}
	return a.changeFollow(ctx, c, ch, func(f *graph.Follow) error {
		if f.Blocked != 0 {
			return store.Forbidden(store.ReasonYouBlocked, "you block this channel: end that first")
		}
		now := a.now().UnixMilli()
		if !f.Follows() {
			f.Since, f.From, f.FromAds, f.Ads = now, heads[0], heads[1], 0
		}
		if in.Ads != nil {
			a.consent(f, *in.Ads, heads[1])
		}
		return nil
	})
}

// consent gives or withdraws consent to advertising. What was advertised before does not come any more.
func (a *API) consent(f *graph.Follow, on bool, head store.Seq) {
	switch {
	case !on:
		f.Ads = 0
	case f.Ads == 0:
		f.Ads, f.FromAds = a.now().UnixMilli(), head
	}
}

// headsOf are the newest sequences of a channel's notices and advertising.
func (a *API) headsOf(ch *channel.Channel) (heads [2]store.Seq, err error) {
	for i, id := range []store.LogID{ch.ID, ch.Ads} {
		info, err := a.store.Info(id)
		if err != nil {
			return heads, fmt.Errorf("api: info: %w", err)
		}
		heads[i] = info.Head
	}
	return heads, nil
}

func (a *API) channelUnfollow(ctx context.Context, c *caller, in *channelIn) (*changedOut, error) {
	ch, err := a.known(c, in.Channel)
	if err != nil {
		return nil, err
	}
	return a.changeFollow(ctx, c, ch, func(f *graph.Follow) error { a.leave(f); return nil })
}

func (a *API) leave(f *graph.Follow) {
	if f.Follows() {
		*f = graph.Follow{Left: a.now().UnixMilli(), Push: f.Push, Blocked: f.Blocked}
	}
}

var errNotFollowing = conflict("you do not follow this channel")

func (a *API) channelConsent(ctx context.Context, c *caller, in *channelOnIn) (*changedOut, error) {
	ch, err := a.known(c, in.Channel)
	if err != nil {
		return nil, err
	}
	heads, err := a.headsOf(ch)
	if err != nil {
		return nil, err
	}
	return a.changeFollow(ctx, c, ch, func(f *graph.Follow) error {
		if !f.Follows() {
			return errNotFollowing
		}
		a.consent(f, in.on(), heads[1])
		return nil
	})
}

type channelPushIn struct {
	channelIn
	Push string `json:"push" doc:"ring, silent, or default: as the settings say of all channels."`
}

func (a *API) channelPush(ctx context.Context, c *caller, in *channelPushIn) (*changedOut, error) {
	push := graph.PostPush(in.Push)
	switch in.Push {
	case "ring", "silent":
	case "default":
		push = graph.PostPushDefault
	default:
		return nil, store.Bad("push must be ring, silent or default")
	}
	ch, err := a.known(c, in.Channel)
	if err != nil {
		return nil, err
	}
	return a.changeFollow(ctx, c, ch, func(f *graph.Follow) error {
		if !f.Follows() {
			return errNotFollowing
		}
		f.Push = push
		return nil
	})
}

func (a *API) channelBlock(ctx context.Context, c *caller, in *channelOnIn) (*changedOut, error) {
	ch, err := a.known(c, in.Channel)
	if err != nil {
		return nil, err
	}
	return a.changeFollow(ctx, c, ch, func(f *graph.Follow) error {
		switch {
		case !in.on():
			f.Blocked = 0
		case f.Blocked == 0:
			a.leave(f)
			f.Blocked = a.now().UnixMilli()
		}
		return nil
	})
}

// followed is a channel in the list of a user.
type followed struct {
	shownChannel
	Head    store.Seq  `json:"head" doc:"The newest notice that this user gets; 0: none yet."`
	AdsHead store.Seq  `json:"ads_head,omitempty" doc:"The newest advertising that this user gets."`
	Time    *time.Time `json:"time,omitempty" doc:"Of the newest of the two."`
	Last    Envelope   `json:"last,omitempty" doc:"The newest of the two."`
}

type channelListOut struct {
	Channels []followed `json:"channels" doc:"In the order of their creation."`
	Next     string     `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) channelList(_ context.Context, c *caller, in *pageIn) (*channelListOut, error) {
	limit, err := a.page(in.Limit, 50)
	if err != nil {
		return nil, err
	}
	after, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	out := &channelListOut{Channels: []followed{}}
	size, last := 0, store.LogID(0)
	err = a.follows(c.account.ID, store.LogID(after), func(id store.LogID, f *graph.Follow) (bool, error) {
		if !f.Follows() {
			return true, nil
		}
		if len(out.Channels) == limit || size > answerBytes {
			out.Next = nextChannel(last)
			return false, nil
		}
		ch, err := a.channels.Get(id)
		if store.CodeOf(err) == store.CodeNotFound {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		e, err := a.followedChannel(c, ch, f)
		if err != nil {
			return false, err
		}
		last = id
		size += len(e.Last) + 512
		out.Channels = append(out.Channels, *e)
		return true, nil
	})
	return out, err
}

func (a *API) followedChannel(c *caller, ch *channel.Channel, f *graph.Follow) (*followed, error) {
	shown, err := a.shownChannel(c, ch)
	if err != nil {
		return nil, err
	}
	out := &followed{shownChannel: *shown}
	var newest *store.Record
	for _, log := range []store.LogID{ch.ID, ch.Ads} {
		if log == ch.Ads && f.Ads == 0 {
			continue
		}
		r, err := a.reader(c, ch, log)
		if err != nil {
			return nil, err
		}
		list, _, err := r.backward(0, r.info.Head, 1, lookVisible/8)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			continue
		}
		got := list[0]
		if log == ch.ID {
			out.Head = got.Seq
		} else {
			out.AdsHead = got.Seq
		}
		if newest == nil || got.Time > newest.Time {
			newest = got
		}
	}
	if newest != nil {
		out.Time, out.Last = at(newest.Time), a.postEnvelope(c, newest, noBase)
	}
	return out, nil
}
