package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// channelOperations are those on channels, by brands and by those who follow them.
func channelOperations() []operation {
	ofKey := func(o operation) operation { return byKey(hooks.ScopeChannel, "channel", o) }
	return []operation{
		changing(op("channel.create", "Open a channel", "The asking user owns it. It waits for an operator's approval, unless this server needs none. An identifier that is taken is a conflict, unless the asking user owns that channel: then it is returned as it is.", (*API).channelCreate)),
		changing(op("channel.set", "Change a channel", "What it says about itself, by its owners and editors. Fields that are absent stay as they are. The publishers get a notice.", (*API).channelSet)),
		ofKey(op("channel.get", "Look at a channel", "Its page, as everybody sees it; its publishers are told more. A channel that is not there, that waits for approval, or that was suspended gives the same answer to who is no publisher.", (*API).channelGet)),
		op("channel.search", "Find channels", "By words, identifier, category, language and country. A channel whose identifier is the text comes first.", (*API).channelSearch),
		changing(op("channel.follow", "Follow a channel", "What is posted from now on comes to the devices. Consent to advertising is given apart, and only by ads:true. Nobody learns who follows. The own devices get a notice, as after every change of how one follows.", (*API).channelFollow)),
		changing(op("channel.unfollow", "Leave a channel", "Before the next delivery, also within a broadcast that is under way. Consent to its advertising ends, too.", (*API).channelUnfollow)),
		changing(op("channel.consent", "Consent to a channel's advertising", "Or withdraw it, with on:false: before the next delivery.", (*API).channelConsent)),
		changing(op("channel.push", "Set whether a channel's posts ring", "ring, silent, or default: as the settings say of all channels.", (*API).channelPush)),
		changing(op("channel.block", "Block a channel", "It is left, and its answers go nowhere; it does not notice. on:false ends it, without following again.", (*API).channelBlock)),
		op("channel.list", "List channels one follows", "In pages, with the newest post that the user gets.", (*API).channelList),
		ofKey(op("channel.history", "Read posts", "As a follower gets them, also from before it followed; a publisher sees everything, also who has posted. ads:true reads the advertising.", (*API).channelHistory)),
		changing(op("channel.opened", "Tell that a post was opened", "For the report about its broadcast, in which it is a rounded count and nobody's name. Nothing shows before the report.", (*API).channelOpened)),
		op("channel.mine", "List channels one publishes in", "With the role in each.", (*API).channelMine),
		changing(op("channel.pause", "Pause a channel", "By its owners and editors: what has not reached a follower waits until on:false.", (*API).channelPause)),
		ofKey(op("channel.numbers", "See a channel's numbers", "By its publishers. Counts of followers are of the daily snapshot, rounded down, and absent where they are small.", (*API).channelNumbers)),
		changing(op("channel.publisher.set", "Ask somebody to publish, or change a role", "By owners. A publisher gets the role at once; anybody else is asked, and may accept for 72 hours. Whether there is such a user shows in nothing.", (*API).publisherSet)),
		changing(op("channel.publisher.accept", "Accept to publish", "Who was asked becomes a publisher.", (*API).publisherAccept)),
		changing(op("channel.publisher.remove", "End that somebody publishes", "Owners remove anybody, everybody itself, but for the last owner. The keys that it has for the channel end with it.", (*API).publisherRemove)),
		op("channel.publisher.list", "List publishers", "By publishers; owners see who was asked, too.", (*API).publisherList),
		changing(op("channel.key.create", "Make a key for a program", "Of the asking publisher: it opens this channel alone, over HTTP and MQTT, or of this channel the till alone. The secret is told once.", (*API).keyCreate)),
		op("channel.key.list", "List keys", "Without the secrets: one's own, and for owners everybody's.", (*API).keyList),
		changing(op("channel.key.remove", "End a key", "Its connections end at once. Owners end anybody's.", (*API).keyRemove)),
	}
}

// Numbers are what package tally tells of channels.
type Numbers interface {
	Numbers(channel store.LogID) (tally.Numbers, error)
	Of(channel store.LogID, n int) (*int, error)
	Opened(ctx context.Context, a store.AccountID, log store.LogID, seq store.Seq) error
}

// channelIn names a channel in requests that need nothing else.
type channelIn struct {
	Channel string `json:"channel" doc:"The channel's identifier."`
}

type shownChannel struct {
	Channel     string `json:"channel" doc:"The identifier, as in the topic channel/{channel}/…"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Picture     string `json:"picture,omitempty" doc:"A file's identifier: see file.link."`
	Category    string `json:"category,omitempty"`
	Language    string `json:"language,omitempty"`
	Country     string `json:"country,omitempty"`
	Followers   *int   `json:"followers,omitempty" doc:"Of the daily snapshot, rounded down; absent: few, or not counted yet."`

	Following bool       `json:"following,omitempty" doc:"The asking user follows it."`
	Since     *time.Time `json:"since,omitempty" doc:"Since when."`
	Ads       bool       `json:"ads,omitempty" doc:"And has consented to its advertising."`
	Push      string     `json:"push,omitempty" doc:"ring or silent; absent: as the settings say of all channels."`
	Blocked   bool       `json:"blocked,omitempty" doc:"The asking user blocks it."`

	Role string `json:"role,omitempty" doc:"What the asking user is in it: owner, editor or publisher. What follows is told to publishers and operators alone."`

	State    string     `json:"state,omitempty" doc:"ok, waiting (for approval), paused, or suspended."`
	Reason   string     `json:"reason,omitempty" doc:"Why it was suspended."`
	Plan     string     `json:"plan,omitempty"`
	Created  *time.Time `json:"created,omitempty"`
	Approved *time.Time `json:"approved,omitempty"`
}

func stateOf(c *channel.Channel) string {
	switch {
	case c.Suspended != 0:
		return "suspended"
	case c.Approved == 0:
		return "waiting"
	case c.Paused != 0:
		return "paused"
	}
	return "ok"
}

// shownChannel is a channel as the caller sees it.
func (a *API) shownChannel(c *caller, ch *channel.Channel) (*shownChannel, error) {
	out := &shownChannel{Channel: ch.Name, Title: ch.Title, Description: ch.Description, Picture: ch.Picture, Category: ch.Category,
		Language: ch.Language, Country: ch.Country}
	if a.numbers != nil {
		n, err := a.numbers.Numbers(ch.ID)
		if err != nil {
			return nil, err
		}
		out.Followers = n.Followers
	}
	if !c.id.Operator && !c.id.Key() {
		f, err := a.graph.Follow(c.account.ID, ch.ID)
		if err != nil {
			return nil, fmt.Errorf("api: follow: %w", err)
		}
		out.Following, out.Since, out.Ads, out.Push, out.Blocked = f.Follows(), at(f.Since), f.Ads != 0, string(f.Push), f.Blocked != 0
	}
	role := ch.Role(c.account.ID)
	if !c.id.Operator && role == store.RoleNone {
		return out, nil
	}
	plan, err := a.channels.PlanOf(ch.ID)
	if err != nil {
		return nil, err
	}
	out.Role, out.State, out.Reason, out.Plan = channel.RoleWord(role), stateOf(ch), ch.SuspendedReason, plan.Name
	out.Created, out.Approved = at(ch.Created), at(ch.Approved)
	return out, nil
}

// channelOf is a channel that the caller may see.
func (a *API) channelOf(c *caller, s string) (*channel.Channel, error) {
	n, err := name("channel", s)
	if err != nil {
		return nil, err
	}
	ch, err := a.channels.Find(n)
	if err == nil && !ch.Public() && !c.id.Operator && ch.Role(c.account.ID) == store.RoleNone {
		return nil, channel.ErrNone
	}
	return ch, err
}

// published is a channel in which the caller has at least this role; operators have every role.
func (a *API) published(c *caller, s string, least store.Role) (*channel.Channel, error) {
	ch, err := a.channelOf(c, s)
	if err != nil || c.id.Operator {
		return ch, err
	}
	switch role := ch.Role(c.account.ID); {
	case role >= least:
		return ch, nil
	case role == store.RoleNone:
		return nil, store.Forbidden(store.ReasonRole, "only publishers of the channel do this")
	case least == store.RoleOwner:
		return nil, store.Forbidden(store.ReasonRole, "only owners of the channel do this")
	}
	return nil, store.Forbidden(store.ReasonRole, "only owners and editors of the channel do this")
}

// tellPublishers tells the publishers of a channel of a change, but for one.
func (a *API) tellPublishers(ctx context.Context, ch *channel.Channel, what, text string, but store.AccountID) {
	for _, m := range ch.Log.Members.Members {
		if m.Role != store.RoleNone && m.Account != but {
			a.notify(ctx, m.Account, view.Notice{What: what, Channel: ch.Name}, text)
		}
	}
}

// channelFields are what is said about a channel.
type channelFields struct {
	Title       *string `json:"title,omitempty"`
	Description *string `json:"description,omitempty" doc:"Also in several lines."`
	Picture     *string `json:"picture,omitempty" doc:"A picture of one's own, uploaded with file.slot; empty: none."`
	Category    *string `json:"category,omitempty" doc:"One of those that channel.search lists; empty: none."`
	Language    *string `json:"language,omitempty" doc:"BCP 47, of the posts."`
	Country     *string `json:"country,omitempty" doc:"ISO 3166, two letters."`
}

// read checks the form of the fields.
func (f *channelFields) read(a *API) (out channel.Fields, err error) {
	l := a.limits()
	for _, field := range []struct {
		from  *string
		to    **string
		check func(string) (string, error)
	}{
		{f.Title, &out.Title, func(s string) (string, error) { return words("title", s, 0, l.Title) }},
		{f.Description, &out.Description, func(s string) (string, error) { return paragraph("description", s, l.Description) }},
		{f.Picture, &out.Picture, picture}, {f.Category, &out.Category, func(s string) (string, error) { return s, nil }},
		{f.Language, &out.Language, language}, {f.Country, &out.Country, country},
	} {
		if field.from == nil {
			continue
		}
		s, err := field.check(*field.from)
		if err != nil {
			return out, err
		}
		*field.to = &s
	}
	if out.Picture != nil && *out.Picture != "" && a.cfg.Files == nil {
		return out, errNoFiles
	}
	return out, nil
}

// keptBy is for what a channel's picture is kept.
func keptBy(name string) string { return "channel/" + name }

// keepPicture keeps a new picture for a channel, before it is set; done lets go the one that it does not show then.
func (a *API) keepPicture(ctx context.Context, c *caller, name string, f channel.Fields) (done func(was string), err error) {
	if f.Picture == nil || a.cfg.Files == nil {
		return func(string) {}, nil
	}
	if *f.Picture != "" {
		ch, err := a.channels.Find(name)
		if err == nil && ch.Picture == *f.Picture { // perhaps another publisher's
			return func(string) {}, nil
		}
		if err != nil && !errors.Is(err, channel.ErrNone) {
			return nil, err
		}
		if err := a.cfg.Files.Keep(ctx, c.account.ID, *f.Picture, keptBy(name)); err != nil {
			return nil, err
		}
	}
	return func(was string) {
		ch, err := a.channels.Find(name)
		for _, id := range []string{was, *f.Picture} {
			if id == "" || err == nil && ch.Picture == id {
				continue
			}
			if err := a.cfg.Files.LetGo(ctx, id, keptBy(name)); err != nil {
				a.log.Warn("picture of a channel not let go", keyErr, err)
			}
		}
	}, nil
}

type channelCreateIn struct {
	Channel string `json:"channel,omitempty" doc:"The identifier; absent: a random one. It cannot be changed."`
	channelFields
}

type channelCreateOut struct {
	shownChannel
	New bool `json:"new" doc:"False: the channel was there, and the asking user owns it."`
}

func (a *API) channelCreate(ctx context.Context, c *caller, in *channelCreateIn) (*channelCreateOut, error) {
	if c.account.State == store.AccountLimited {
		return nil, store.Forbidden(store.ReasonLimited, "a limited account opens no channels")
	}
	return a.createChannel(ctx, c, c.account.ID, in)
}

func (a *API) createChannel(ctx context.Context, c *caller, owner store.AccountID, in *channelCreateIn) (*channelCreateOut, error) {
	n := randomName("channel", c)
	var err error
	if in.Channel != "" {
		if n, err = name("channel", in.Channel); err != nil {
			return nil, err
		}
	}
	f, err := in.read(a)
	if err != nil {
		return nil, err
	}
	if f.Title == nil {
		return nil, store.Bad("title is missing: it is what people find the channel by")
	}
	if _, err := a.channels.Find(n); err == nil {
		f.Picture = nil // it is there already, and stays as it is
	}
	f.Alike = c.id.Operator
	done, err := a.keepPicture(ctx, c, n, f)
	if err != nil {
		return nil, err
	}
	ch, created, err := a.channels.Create(ctx, owner, n, f)
	done("")
	if err != nil {
		return nil, err
	}
	shown, err := a.shownChannel(c, ch)
	if err != nil {
		return nil, err
	}
	return &channelCreateOut{*shown, created}, nil
}

// randomName is randomRoom for something else.
func randomName(what string, c *caller) string {
	if c.rid == "" {
		return randomRoom(c)
	}
	sum := sha256.Sum256([]byte(what + "\x00" + randomRoom(c)))
	return roomAlphabet.EncodeToString(sum[:])[:20]
}

type channelSetIn struct {
	channelIn
	channelFields
}

func (a *API) channelSet(ctx context.Context, c *caller, in *channelSetIn) (*shownChannel, error) {
	f, err := in.read(a)
	if err != nil {
		return nil, err
	}
	ch, err := a.published(c, in.Channel, store.RoleModerator)
	if err != nil {
		return nil, err
	}
	f.Alike = c.id.Operator
	done, err := a.keepPicture(ctx, c, ch.Name, f)
	if err != nil {
		return nil, err
	}
	was := ch.Picture
	ch, changed, err := a.channels.Set(ctx, ch.ID, f)
	done(was)
	if err != nil {
		return nil, err
	}
	if changed {
		a.tellPublishers(ctx, ch, view.NoticeChannel, "", 0)
	}
	return a.shownChannel(c, ch)
}

func (a *API) channelGet(_ context.Context, c *caller, in *channelIn) (*shownChannel, error) {
	ch, err := a.channelOf(c, in.Channel)
	if err != nil {
		return nil, err
	}
	return a.shownChannel(c, ch)
}

type channelSearchIn struct {
	Query    string `json:"query,omitempty" doc:"An identifier, or words of title, category and description: all of them must be there. Absent: any channel."`
	Category string `json:"category,omitempty"`
	Language string `json:"language,omitempty" doc:"BCP 47: pt finds pt-BR too."`
	Country  string `json:"country,omitempty" doc:"ISO 3166, two letters."`
	After    string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit    int    `json:"limit,omitempty" doc:"Channels of a page; absent: 20."`
}

type channelSearchOut struct {
	Channels   []shownChannel `json:"channels" doc:"The best first: how well the words fit, how much was posted and how large it is by the daily snapshot."`
	Next       string         `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
	Categories []string       `json:"categories" doc:"All there are."`
}

func (a *API) channelSearch(_ context.Context, c *caller, in *channelSearchIn) (*channelSearchOut, error) {
	limit, err := a.page(in.Limit, 20)
	switch {
	case err != nil:
		return nil, err
	case len(in.Query) > maxQuery:
		return nil, tooLarge("query", maxQuery, "bytes")
	case in.Category != "" && !channel.IsCategory(in.Category):
		return nil, store.Bad("there is no such category")
	case !a.found.Load():
		return nil, errLoading
	}
	q := channel.Query{Text: in.Query, Category: in.Category, After: in.After, Max: limit}
	if q.Language, err = language(in.Language); err != nil {
		return nil, err
	}
	if q.Country, err = country(in.Country); err != nil {
		return nil, err
	}
	list, next, err := a.channels.Search(q)
	if err != nil {
		return nil, err
	}
	out := &channelSearchOut{Channels: []shownChannel{}, Next: next, Categories: channel.Categories()}
	for _, ch := range list {
		shown, err := a.shownChannel(c, ch)
		if err != nil {
			return nil, err
		}
		out.Channels = append(out.Channels, *shown)
	}
	return out, nil
}

type channelsOut struct {
	Channels []shownChannel `json:"channels"`
	Next     string         `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) channelMine(_ context.Context, c *caller, _ *none) (*channelsOut, error) {
	list, err := a.channels.Mine(c.account.ID)
	if err != nil {
		return nil, err
	}
	out := &channelsOut{Channels: []shownChannel{}}
	for _, ch := range list {
		shown, err := a.shownChannel(c, ch)
		if err != nil {
			return nil, err
		}
		out.Channels = append(out.Channels, *shown)
	}
	return out, nil
}

type channelOnIn struct {
	channelIn
	On *bool `json:"on,omitempty" doc:"False undoes it; absent: true."`
}

func (in *channelOnIn) on() bool { return in.On == nil || *in.On }

func (a *API) channelPause(ctx context.Context, c *caller, in *channelOnIn) (*changedOut, error) {
	ch, err := a.published(c, in.Channel, store.RoleModerator)
	if err != nil {
		return nil, err
	}
	ch, changed, err := a.channels.Pause(ctx, ch.ID, in.on())
	if err == nil && changed {
		a.tellPublishers(ctx, ch, view.NoticeChannel, "", 0)
	}
	return &changedOut{changed}, err
}

type channelNumbersOut struct {
	Day        string       `json:"day,omitempty" doc:"Of the snapshot, in UTC; absent: there is none yet."`
	Followers  *int         `json:"followers,omitempty" doc:"Rounded down; absent: below 20."`
	Consenting *int         `json:"consenting,omitempty" doc:"Of them to advertising; absent: below 20, or all but 20."`
	Posts      int          `json:"posts_today" doc:"What the channel has used of its plan today, in UTC."`
	Ads        int          `json:"ads_today"`
	Plan       channel.Plan `json:"plan"`
}

func (a *API) channelNumbers(_ context.Context, c *caller, in *channelIn) (*channelNumbersOut, error) {
	ch, err := a.published(c, in.Channel, store.RoleMember)
	if err != nil {
		return nil, err
	}
	out := new(channelNumbersOut)
	if out.Plan, err = a.channels.PlanOf(ch.ID); err != nil {
		return nil, err
	}
	if out.Posts, out.Ads, err = a.channels.Used(ch.ID); err != nil {
		return nil, err
	}
	if a.numbers != nil {
		n, err := a.numbers.Numbers(ch.ID)
		if err != nil {
			return nil, err
		}
		out.Day, out.Followers, out.Consenting = n.Day, n.Followers, n.Ads
	}
	return out, nil
}

// loadChannels enters the channels into the directory, until ctx ends.
func (a *API) loadChannels(ctx context.Context) {
	for {
		err := a.channels.Load(ctx)
		if err == nil {
			a.found.Store(true)
			return
		}
		a.log.Error("channels not read", keyErr, err)
		if !pause(ctx, time.Second) {
			return
		}
	}
}

// pictureOf is a link to the picture of a channel that the user sees.
func (a *API) pictureOf(ctx context.Context, c *caller, s string) (*fileLinkOut, error) {
	ch, err := a.channelOf(c, s)
	if err != nil {
		return nil, err
	}
	if ch.Picture == "" {
		return nil, notFound("the channel has no picture")
	}
	l, err := a.cfg.Files.LinkKept(ctx, ch.Picture, keptBy(ch.Name))
	if err != nil {
		return nil, err
	}
	return shownLink(l), nil
}

// follows pages through how a user stands to channels.
func (a *API) follows(me store.AccountID, after store.LogID, fn func(store.LogID, *graph.Follow) (more bool, err error)) error {
	for {
		ids, list, err := a.graph.Follows(me, after, 200)
		if err != nil {
			return fmt.Errorf("api: follows: %w", err)
		}
		for i, id := range ids {
			after = id
			if more, err := fn(id, list[i]); err != nil || !more {
				return err
			}
		}
		if len(ids) < 200 {
			return nil
		}
	}
}

func nextChannel(id store.LogID) string { return strconv.FormatUint(uint64(id), 36) }
