package api

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// broadcastTexts are what is promised of the operations that publishers and operators share.
const (
	broadcastCreateText = "At its time the post goes to every follower for whom it is: at once to those who are there, by push to those who want that and are away, and to the others when they come. The same key with the same content is the same broadcast, however often it is asked for; with another content it is 409. Keys that it does not know are refused. Advertising (ad) goes only to those who consent to it, not in the night of their country, and gets its label in front. A segment with fewer than 100 followers is 422."
	broadcastPauseText  = "Who has not got the post waits."
	broadcastResumeText = "One whose time has passed meanwhile goes out at once."
	broadcastCancelText = "Who has not got the post does not get it. Who has it keeps it: to take it back, see channel.recall."
)

// broadcastOperations are those on a channel's posts, by its publishers and their keys.
func broadcastOperations() []operation {
	brand := func(o operation) operation { return byKey(hooks.ScopeChannel, "channel", o) }
	return []operation{
		brand(changing(exact(op("broadcast.create", "Send something to a channel's followers", broadcastCreateText, (*API).broadcastCreate)))),
		brand(op("broadcast.get", "Look at a broadcast", "Where it stands, and who did what about it. How far it has come is told in steps of ten percent, for channels with more than 1,000 followers.", (*API).broadcastGet)),
		brand(op("broadcast.list", "List broadcasts", "The newest first.", (*API).broadcastList)),
		brand(changing(op("broadcast.pause", "Hold a broadcast", broadcastPauseText, (*API).broadcastPause))),
		brand(changing(op("broadcast.resume", "Let a paused broadcast go on", broadcastResumeText, (*API).broadcastResume))),
		brand(changing(op("broadcast.cancel", "Cancel a broadcast", broadcastCancelText, (*API).broadcastCancel))),
		brand(op("broadcast.report", "What became of a broadcast", "Counted once, 24 hours after its end; 404 before. Numbers are rounded down, and null where they would tell too much.", (*API).broadcastReport)),
		brand(changing(exact(op("channel.post", "Post a notice now", "The same as publishing on channel/{channel}/json, with the languages of a broadcast. The answer means that the post is on disk. Keys that it does not know are refused.", (*API).channelPost)))),
		brand(changing(op("channel.recall", "Take a post back", "A broadcast, or a post of either log. Its text is not shown to anybody any more, and who has not got it does not get it. By its author, and of others' posts by owners and editors.", (*API).channelRecall))),
	}
}

// broadcastOperatorOperations are those of operators, for channels that they run themselves.
func broadcastOperatorOperations() []operation {
	return []operation{
		scoped(ScopeChannels, changing(exact(op("broadcast.create", "Send something to a channel's followers", broadcastCreateText, (*API).broadcastCreate)))),
		scoped(ScopeChannels, op("broadcast.get", "Look at a broadcast", "As its publishers see it.", (*API).broadcastGet)),
		scoped(ScopeChannels, op("broadcast.list", "List broadcasts", "The newest first.", (*API).broadcastList)),
		scoped(ScopeChannels, changing(op("broadcast.pause", "Hold a broadcast", broadcastPauseText, (*API).broadcastPause))),
		scoped(ScopeChannels, changing(op("broadcast.resume", "Let a paused broadcast go on", broadcastResumeText, (*API).broadcastResume))),
		scoped(ScopeChannels, changing(op("broadcast.cancel", "Cancel a broadcast", broadcastCancelText, (*API).broadcastCancel))),
		scoped(ScopeChannels, op("broadcast.report", "What became of a broadcast", "As its publishers see it.", (*API).broadcastReport)),
	}
}

// brandOf is a channel in which the caller may do what a role may. Whoever is no publisher is told the same whether there
// is such a channel or not.
func (a *API) brandOf(c *caller, channel string, least store.Role) (store.LogInfo, error) {
	n, err := name("channel", channel)
	if err != nil {
		return store.LogInfo{}, err
	}
	none := notFound("there is no such channel in which you publish")
	if c.id.Operator {
		none = notFound("there is no such channel")
	}
	info, err := a.store.Find(store.ChannelKey(n))
	if store.CodeOf(err) == store.CodeNotFound {
		return store.LogInfo{}, none
	}
	if err != nil {
		return store.LogInfo{}, fmt.Errorf("api: channel: %w", err)
	}
	if c.id.Operator {
		return info, nil
	}
	switch role := info.Members.Role(c.id.Account); {
	case role == store.RoleNone:
		return store.LogInfo{}, none
	case role < least:
		return store.LogInfo{}, store.Forbidden(store.ReasonRole, "your role in this channel does not allow it")
	}
	return info, nil
}

func (a *API) broadcasts() (*broadcast.Broadcasts, error) {
	if a.cfg.Broadcasts == nil {
		return nil, notFound("this server has no broadcasts")
	}
	return a.cfg.Broadcasts, nil
}

type segment struct {
	Countries []string         `json:"countries,omitempty" doc:"ISO 3166-1 alpha-2, such as KR."`
	Languages []string         `json:"languages,omitempty" doc:"BCP 47, the primary subtag alone, such as ko."`
	Platforms []graph.Platform `json:"platforms,omitempty" doc:"Of any device: android, ios, windows, macos, linux, web or other."`
	MinWeeks  int              `json:"min_weeks,omitempty" doc:"Has followed for so many weeks at least."`
	MaxWeeks  int              `json:"max_weeks,omitempty" doc:"And for fewer than so many."`
	Sample    int              `json:"sample,omitempty" doc:"Of 1,000 followers so many, drawn by the server anew for each broadcast."`
}

type broadcastCreateIn struct {
	Channel string     `json:"channel"`
	Key     string     `json:"key" doc:"Names the broadcast within its channel: 1 to 64 characters of A-Z a-z 0-9 . _ ~ -"`
	Post    view.Post  `json:"post"`
	At      *time.Time `json:"at,omitempty" doc:"When it goes out, at most 90 days ahead; absent: now."`
	Expires *time.Time `json:"expires,omitempty" doc:"Who has not got it by then does not get it; at most 90 days after its time. Absent: never."`
	Segment *segment   `json:"segment,omitempty" doc:"For whom it is: at most two of countries, languages, platforms, weeks and sample. Absent: for all followers."`
	Ad      bool       `json:"ad,omitempty" doc:"It is advertising."`
	Silent  bool       `json:"silent,omitempty" doc:"No push, whatever followers wish."`
	Coupon  string     `json:"coupon,omitempty" doc:"A campaign, of which every follower who gets the post is offered a coupon."`
}

type broadcastEvent struct {
	Time  *time.Time `json:"time"`
	State string     `json:"state"`
	By    string     `json:"by,omitempty" doc:"A publisher; absent: the server, or an operator."`
	Why   string     `json:"why,omitempty"`
}

type shownBroadcast struct {
	Channel  string           `json:"channel"`
	Key      string           `json:"key"`
	State    string           `json:"state" doc:"scheduled, running, paused, done or canceled."`
	Why      string           `json:"why,omitempty" doc:"channel_paused, channel_suspended: it was paused at its time, since the channel could not post. expired; refused: its post cannot be stored."`
	Percent  int              `json:"percent,omitempty" doc:"Of the followers so many were considered, in steps of ten."`
	Created  *time.Time       `json:"created"`
	At       *time.Time       `json:"at"`
	Began    *time.Time       `json:"began,omitempty"`
	Ended    *time.Time       `json:"ended,omitempty"`
	Expires  *time.Time       `json:"expires,omitempty"`
	Kind     string           `json:"kind"`
	Language string           `json:"language"`
	Opening  string           `json:"opening,omitempty" doc:"How its text begins."`
	Ad       bool             `json:"ad,omitempty"`
	Silent   bool             `json:"silent,omitempty"`
	Coupon   string           `json:"coupon,omitempty"`
	Segment  *segment         `json:"segment,omitempty"`
	Seq      store.Seq        `json:"seq,omitempty" doc:"Of its post, in the channel's notices or advertising."`
	Events   []broadcastEvent `json:"events,omitempty"`
}

type broadcastOut struct {
	Broadcast shownBroadcast `json:"broadcast"`
	New       bool           `json:"new,omitempty" doc:"It was made by this request."`
}

func (a *API) shownBroadcast(channel string, b *broadcast.Broadcast, events bool) shownBroadcast {
	out := shownBroadcast{Channel: channel, Key: b.Key, State: string(b.State), Why: b.Why, Percent: b.Percent, Created: at(b.Created), At: at(b.Due),
		Began: at(b.Began), Ended: at(b.Ended), Expires: at(b.Expiry), Kind: b.Kind.String(), Language: b.Language, Opening: b.Opening, Ad: b.Ad,
		Silent: b.Silent, Coupon: b.Campaign, Seq: b.Seq}
	if s := b.Segment; s != nil {
		out.Segment = &segment{s.Countries, s.Languages, s.Platforms, s.MinWeeks, s.MaxWeeks, s.Sample}
	}
	if !events {
		return out
	}
	for _, e := range b.Events {
		by := ""
		if e.By != 0 {
			if u, err := a.store.Account(e.By); err == nil {
				by = u.Name
			}
		}
		out.Events = append(out.Events, broadcastEvent{at(e.At), string(e.State), by, e.Why})
	}
	return out
}

func (a *API) broadcastCreate(ctx context.Context, c *caller, in *broadcastCreateIn) (*broadcastOut, error) {
	b, err := a.broadcasts()
	if err != nil {
		return nil, err
	}
	info, err := a.brandOf(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	w := broadcast.Wish{Key: in.Key, Post: in.Post, Ad: in.Ad, Silent: in.Silent, Campaign: in.Coupon}
	if in.At != nil {
		w.At = *in.At
	}
	if in.Expires != nil {
		w.Expiry = *in.Expires
	}
	if s := in.Segment; s != nil {
		w.Segment = &graph.Segment{Countries: s.Countries, Languages: s.Languages, Platforms: s.Platforms, MinWeeks: s.MinWeeks, MaxWeeks: s.MaxWeeks, Sample: s.Sample}
	}
	if in.Coupon != "" {
		if w.Campaign, err = name("coupon", in.Coupon); err != nil {
			return nil, err
		}
		w.Offer = func(at time.Time) error { return a.offers(info.Key.Name, w.Campaign, at) }
	}
	made, created, err := b.Create(ctx, info.ID, c.id.Account, w)
	if err != nil {
		return nil, err
	}
	return &broadcastOut{a.shownBroadcast(info.Key.Name, made, true), created}, nil
}

// offers tells whether a channel's campaign goes on at a time.
func (a *API) offers(channel, campaign string, at time.Time) error {
	c, err := a.coupons.Campaign(channel, campaign)
	if err != nil {
		return err
	}
	if c.Closed != 0 || at.UnixMilli() >= c.Until {
		return conflict("the campaign has ended by then")
	}
	return nil
}

type broadcastIn struct {
	Channel string `json:"channel"`
	Key     string `json:"key"`
}

// broadcastOf is what a request on one broadcast is about.
func (a *API) broadcastOf(c *caller, in *broadcastIn) (b *broadcast.Broadcasts, info store.LogInfo, key string, err error) {
	if b, err = a.broadcasts(); err != nil {
		return nil, info, "", err
	}
	if info, err = a.brandOf(c, in.Channel, store.RoleMember); err != nil {
		return nil, info, "", err
	}
	key, err = name("key", in.Key)
	return b, info, key, err
}

func (a *API) broadcastGet(_ context.Context, c *caller, in *broadcastIn) (*broadcastOut, error) {
	b, info, key, err := a.broadcastOf(c, in)
	if err != nil {
		return nil, err
	}
	got, err := b.Get(info.ID, key)
	if err != nil {
		return nil, err
	}
	return &broadcastOut{Broadcast: a.shownBroadcast(info.Key.Name, got, true)}, nil
}

func (a *API) broadcastPause(ctx context.Context, c *caller, in *broadcastIn) (*broadcastOut, error) {
	return a.broadcastControl(ctx, c, in, (*broadcast.Broadcasts).Pause)
}

func (a *API) broadcastResume(ctx context.Context, c *caller, in *broadcastIn) (*broadcastOut, error) {
	return a.broadcastControl(ctx, c, in, (*broadcast.Broadcasts).Resume)
}

func (a *API) broadcastCancel(ctx context.Context, c *caller, in *broadcastIn) (*broadcastOut, error) {
	return a.broadcastControl(ctx, c, in, (*broadcast.Broadcasts).Cancel)
}

func (a *API) broadcastControl(ctx context.Context, c *caller, in *broadcastIn,
	do func(*broadcast.Broadcasts, context.Context, store.LogID, string, store.AccountID) (*broadcast.Broadcast, error)) (*broadcastOut, error) {
	b, info, key, err := a.broadcastOf(c, in)
	if err != nil {
		return nil, err
	}
	got, err := do(b, ctx, info.ID, key, c.id.Account)
	if err != nil {
		return nil, err
	}
	return &broadcastOut{Broadcast: a.shownBroadcast(info.Key.Name, got, true)}, nil
}

type broadcastListIn struct {
	Channel string `json:"channel"`
	Limit   int    `json:"limit,omitempty" doc:"50 if absent."`
	After   string `json:"after,omitempty" doc:"What next was of the list before."`
}

type broadcastListOut struct {
	Broadcasts []shownBroadcast `json:"broadcasts"`
	Next       string           `json:"next,omitempty" doc:"Absent at the end."`
}

func (a *API) broadcastList(_ context.Context, c *caller, in *broadcastListIn) (*broadcastListOut, error) {
	b, err := a.broadcasts()
	if err != nil {
		return nil, err
	}
	info, err := a.brandOf(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	if in.Limit < 0 || in.Limit > a.limits().Page {
		return nil, store.Bad("limit must be 1 to " + strconv.Itoa(a.limits().Page))
	}
	list, next, err := b.List(info.ID, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &broadcastListOut{Broadcasts: make([]shownBroadcast, 0, len(list)), Next: next}
	for _, l := range list {
		out.Broadcasts = append(out.Broadcasts, a.shownBroadcast(info.Key.Name, l, false))
	}
	return out, nil
}

type broadcastReportOut struct {
	State   string `json:"state"`
	Reached *int   `json:"reached" doc:"Followers of whom a device confirmed that it got the post; null: too few to tell, or too close to all."`
	Pushed  *int   `json:"pushed" doc:"Likewise, devices that were woken for it."`
	Opened  *int   `json:"opened" doc:"Likewise, followers who opened it."`
}

func (a *API) broadcastReport(_ context.Context, c *caller, in *broadcastIn) (*broadcastReportOut, error) {
	b, info, key, err := a.broadcastOf(c, in)
	if err != nil {
		return nil, err
	}
	got, err := b.Get(info.ID, key)
	if err != nil {
		return nil, err
	}
	if got.Report == nil {
		return nil, notFound("the report is made 24 hours after the end of the broadcast, if anything went out")
	}
	return &broadcastReportOut{string(got.State), got.Report.Reached, got.Report.Pushed, got.Report.Opened}, nil
}

type channelPostIn struct {
	Channel string    `json:"channel"`
	Key     string    `json:"key,omitempty" doc:"Names the post: the same one again posts nothing twice. Absent: the request's identifier does."`
	Post    view.Post `json:"post"`
}

type channelPostOut struct {
	Seq      store.Seq  `json:"seq"`
	Time     *time.Time `json:"time"`
	Repeated bool       `json:"repeated,omitempty"`
}

func (a *API) channelPost(ctx context.Context, c *caller, in *channelPostIn) (*channelPostOut, error) {
	b, err := a.broadcasts()
	if err != nil {
		return nil, err
	}
	info, err := a.brandOf(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	key := in.Key
	if key == "" {
		key = c.rid
	}
	r, err := b.Notice(ctx, info.ID, c.id.Account, key, in.Post)
	if err != nil {
		return nil, err
	}
	return &channelPostOut{r.Seq, at(r.Time), r.Repeated}, nil
}

type channelRecallIn struct {
	Channel   string    `json:"channel"`
	Broadcast string    `json:"broadcast,omitempty" doc:"The key of a broadcast; it is canceled, too, if it has not ended."`
	Seq       store.Seq `json:"seq,omitempty" doc:"Or the sequence of a post."`
	Ads       bool      `json:"ads,omitempty" doc:"Seq is one of the channel's advertising."`
}

type channelRecallOut struct {
	Seq store.Seq `json:"seq,omitempty" doc:"Of the record that takes the post back; absent: it was taken back before, or had not gone out."`
}

func (a *API) channelRecall(ctx context.Context, c *caller, in *channelRecallIn) (*channelRecallOut, error) {
	b, err := a.broadcasts()
	if err != nil {
		return nil, err
	}
	info, err := a.brandOf(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	if (in.Broadcast == "") == (in.Seq == 0) {
		return nil, store.Bad("say which broadcast, or which seq")
	}
	seq, ads := in.Seq, in.Ads
	if in.Broadcast != "" {
		key, err := name("broadcast", in.Broadcast)
		if err != nil {
			return nil, err
		}
		got, err := b.Get(info.ID, key)
		if err == nil && !got.Over() {
			got, err = b.Cancel(ctx, info.ID, key, c.id.Account)
		}
		if err != nil {
			return nil, err
		}
		if seq, ads = got.Seq, got.Ad; seq == 0 {
			return &channelRecallOut{}, nil
		}
	}
	r, err := a.broker.RecallPost(ctx, info.ID, ads, seq, c.id.Account)
	if err != nil {
		return nil, err
	}
	return &channelRecallOut{r.Seq}, nil
}
