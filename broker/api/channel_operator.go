package api

import (
	"context"

	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

// channelOperatorOperations are those of operators on channels.
func channelOperatorOperations() []operation {
	of := func(o operation) operation { return scoped(ScopeChannels, o) }
	return []operation{
		of(changing(op("channel.create", "Open a channel", "For an owner, and approved at once.", (*API).opChannelCreate))),
		of(op("channel.list", "List channels", "Every channel there is, in the order of their creation, with its state.", (*API).opChannelList)),
		of(op("channel.get", "Look at a channel", "What is set about it.", (*API).channelGet)),
		of(changing(op("channel.set", "Change a channel", "As channel.set of its owners.", (*API).channelSet))),
		of(changing(op("channel.approve", "Approve a channel", "Its posts go out from then on. The publishers get a notice. Again, with a plan, it changes the plan.", (*API).channelApprove))),
		of(changing(op("channel.suspend", "Suspend a channel, or reinstate it", "Nothing of it is delivered and nobody finds it. The publishers get a notice and read the reason.", (*API).channelSuspend))),
		of(op("channel.numbers", "See a channel's numbers", "As its publishers see them: rounded, of the daily snapshot.", (*API).channelNumbers)),
		of(changing(op("channel.publisher.set", "Make somebody a publisher", "At once, or give another role.", (*API).publisherSet))),
		of(changing(op("channel.publisher.remove", "End that somebody publishes", "As channel.publisher.remove of its owners.", (*API).publisherRemove))),
		of(op("channel.publisher.list", "List publishers", "And who was asked.", (*API).publisherList)),
		of(op("channel.key.list", "List a channel's keys", "Without the secrets.", (*API).keyList)),
		of(changing(op("channel.key.remove", "End a key", "Its connections end at once.", (*API).keyRemove))),
		of(op("channel.plan.list", "List plans", "The default first.", (*API).planList)),
		of(changing(op("channel.plan.set", "Define a plan", "It counts from the next post on, for every channel that has it.", (*API).planSet))),
		of(changing(op("channel.plan.remove", "Remove a plan", "Its channels have the default then.", (*API).planRemove))),
	}
}

type opChannelCreateIn struct {
	channelCreateIn
	Owner string `json:"owner" doc:"The user who owns the channel."`
	Plan  string `json:"plan,omitempty" doc:"Absent: the default."`
}

func (a *API) opChannelCreate(ctx context.Context, c *caller, in *opChannelCreateIn) (*channelCreateOut, error) {
	owner, err := a.user1("owner", in.Owner)
	if err != nil {
		return nil, err
	}
	if in.Picture != nil && *in.Picture != "" {
		return nil, store.Bad("a picture is set by the channel's publishers: it is a file of theirs")
	}
	if in.Plan != "" {
		if _, err := a.channels.Plan(in.Plan); err != nil {
			return nil, err
		}
	}
	out, err := a.createChannel(ctx, c, owner.ID, &in.channelCreateIn)
	if err != nil {
		return nil, err
	}
	ch, err := a.channels.Find(out.Channel)
	if err != nil {
		return nil, err
	}
	if ch, _, err = a.channels.Approve(ctx, ch.ID, in.Plan); err != nil {
		return nil, err
	}
	shown, err := a.shownChannel(c, ch)
	if err != nil {
		return nil, err
	}
	if out.New {
		a.notify(ctx, owner.ID, view.Notice{What: view.NoticePublisher, Channel: ch.Name}, "")
	}
	return &channelCreateOut{*shown, out.New}, nil
}

func (a *API) opChannelList(_ context.Context, c *caller, in *pageIn) (*channelsOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	after, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	list, next, err := a.channels.List(store.LogID(after), limit)
	if err != nil {
		return nil, err
	}
	out := &channelsOut{Channels: []shownChannel{}}
	if next != 0 {
		out.Next = nextChannel(next)
	}
	for _, ch := range list {
		shown, err := a.shownChannel(c, ch)
		if err != nil {
			return nil, err
		}
		out.Channels = append(out.Channels, *shown)
	}
	return out, nil
}

type channelApproveIn struct {
	channelIn
	Plan   string `json:"plan,omitempty" doc:"Absent: as it is; at first the default."`
	Alike  bool   `json:"alike,omitempty" doc:"Also if it looks like somebody else's channel; else that is 409."`
	Reason string `json:"reason,omitempty" doc:"For the audit log."`
}

func (a *API) channelApprove(ctx context.Context, c *caller, in *channelApproveIn) (*changedOut, error) {
	ch, err := a.published(c, in.Channel, store.RoleOwner)
	if err != nil {
		return nil, err
	}
	waited := ch.Approved == 0
	if waited && !in.Alike {
		like, err := a.channels.Alike(ch)
		if err != nil {
			return nil, err
		}
		if like != nil {
			return nil, &store.Error{Code: store.CodeConflict, Text: "it looks like the channel " + like.Name + " (" + like.Title + ") of somebody else, and is approved only if you say that you have seen it (alike)"}
		}
	}
	ch, changed, err := a.channels.Approve(ctx, ch.ID, in.Plan)
	if err != nil {
		return nil, err
	}
	if waited {
		a.tellPublishers(ctx, ch, view.NoticeOpened, "", 0)
	} else if changed {
		a.tellPublishers(ctx, ch, view.NoticeChannel, "", 0)
	}
	return &changedOut{changed}, nil
}

type channelSuspendIn struct {
	channelOnIn
	Reason string `json:"reason,omitempty" doc:"One line, shown to the publishers."`
}

func (a *API) channelSuspend(ctx context.Context, c *caller, in *channelSuspendIn) (*changedOut, error) {
	reason, err := words("reason", in.Reason, 0, a.limits().Title)
	if err != nil {
		return nil, err
	}
	if in.on() && reason == "" {
		return nil, store.Bad("reason is missing: its publishers read why it was suspended")
	}
	ch, err := a.published(c, in.Channel, store.RoleOwner)
	if err != nil {
		return nil, err
	}
	before := ch.Suspended != 0
	ch, _, err = a.channels.Suspend(ctx, ch.ID, in.on(), reason)
	if err != nil {
		return nil, err
	}
	changed := before != (ch.Suspended != 0)
	if changed {
		what := view.NoticeReinstated
		if ch.Suspended != 0 {
			what = view.NoticeStopped
		}
		a.tellPublishers(ctx, ch, what, "", 0)
	}
	return &changedOut{changed}, nil
}

type planListOut struct {
	Plans []channel.Plan `json:"plans"`
}

func (a *API) planList(context.Context, *caller, *none) (*planListOut, error) {
	list, err := a.channels.Plans()
	return &planListOut{list}, err
}

type planSetIn struct {
	Plan       string `json:"plan" doc:"Its name."`
	Posts      *int   `json:"posts,omitempty" doc:"Posts a day in UTC, advertising included. What is absent is as it is, of a new plan as in the default."`
	Ads        *int   `json:"ads,omitempty" doc:"Of them advertising."`
	Scheduled  *int   `json:"scheduled,omitempty" doc:"Broadcasts that wait for their time."`
	PerMinute  *int   `json:"per_minute,omitempty" doc:"Posts a minute."`
	Publishers *int   `json:"publishers,omitempty" doc:"Publishers, at most 20."`
}

func (a *API) planSet(ctx context.Context, _ *caller, in *planSetIn) (*channel.Plan, error) {
	n, err := name("plan", in.Plan)
	if err != nil {
		return nil, err
	}
	p, err := a.channels.Plan(n)
	if store.CodeOf(err) == store.CodeNotFound {
		p, err = a.channels.Plan(channel.DefaultPlan)
	}
	if err != nil {
		return nil, err
	}
	p.Name = n
	for _, f := range []struct{ to, from *int }{{&p.Posts, in.Posts}, {&p.Ads, in.Ads}, {&p.Scheduled, in.Scheduled}, {&p.PerMinute, in.PerMinute}, {&p.Publishers, in.Publishers}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return &p, a.channels.SetPlan(ctx, p)
}

type planRemoveIn struct {
	Plan string `json:"plan" doc:"Its name."`
}

func (a *API) planRemove(ctx context.Context, _ *caller, in *planRemoveIn) (*none, error) {
	n, err := name("plan", in.Plan)
	if err != nil {
		return nil, err
	}
	return &none{}, a.channels.RemovePlan(ctx, n)
}
