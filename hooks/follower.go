package hooks

import (
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// Follower is one user before one of the two logs of a channel. It decides about each of the log's records at the moment
// of delivery, for whoever delivers: live, at reconnecting, in history, by push. It is cheap to make and holds what the
// user and the channel have set at that moment, so it is for one page of records or one delivery, and for one goroutine.
type Follower struct {
	access   *Access
	me       store.AccountID
	log      store.LogInfo
	channel  store.LogID
	brand    *graph.Channel
	follow   *graph.Follow
	settings *graph.Settings
	streams  []adStream // of the advertising that the user gets, once asked
}

// Follower returns a user before a channel's notices or advertising, whether it follows the channel or not. CodeNotFound:
// the log is no channel's.
func (a *Access) Follower(me store.AccountID, log store.LogInfo) (*Follower, error) {
	if !log.Key.Posts() {
		return nil, &store.Error{Code: store.CodeNotFound, Text: "there is no such channel"}
	}
	f := &Follower{access: a, me: me, log: log, channel: log.ID}
	var err error
	if log.Key.Kind == store.LogAds {
		if f.channel, err = a.graph.ChannelOf(log.Key); err != nil {
			return nil, fmt.Errorf("hooks: channel: %w", err)
		}
	}
	if f.brand, err = a.graph.Channel(f.channel); err != nil {
		return nil, fmt.Errorf("hooks: channel: %w", err)
	}
	if f.follow, err = a.graph.Follow(me, f.channel); err != nil {
		return nil, fmt.Errorf("hooks: follow: %w", err)
	}
	if f.settings, err = a.graph.Settings(me); err != nil {
		return nil, fmt.Errorf("hooks: settings: %w", err)
	}
	return f, nil
}

// Channel is the number of the channel.
func (f *Follower) Channel() store.LogID { return f.channel }

// Outcome decides whether a record of the log, read as the server sees it (Query.Viewer 0), reaches the follower (truth
// table T5): Deliver, DeliverNoPush, Defer, or anything else for a record that is not for this follower.
//
// A deferred post waits: for the moment until, when the night of its follower ends; or, where until is zero, for somebody
// to let the post or its channel go on. So a post of a channel that is paused or suspended is not lost. An edit or a recall
// follows the post that it is for, wakes nobody, and does not wait for the night: who has the post has to hear of it.
// Changes of who publishes are no follower's.
func (f *Follower) Outcome(r *store.Record) (o policy.Outcome, until time.Time, err error) {
	post := r
	if r.Op.Kind != store.OpNone {
		if post, err = f.target(r); err != nil || post == nil {
			return policy.None, time.Time{}, err
		}
	}
	if !f.brand.Exists() || post.Change.Kind != store.ChangeNone || post.Kind >= store.KindSystem || post.Op.Kind != store.OpNone ||
		r.Audience != store.AudienceBoth || post.Audience != store.AudienceBoth {
		return policy.None, time.Time{}, nil
	}
	now := f.access.cfg.Now()
	about, err := f.about(post)
	if err != nil {
		return policy.None, time.Time{}, err
	}
	facts, until, err := f.facts(post, about, now)
	if err != nil {
		return policy.None, time.Time{}, err
	}
	if r != post {
		facts.Night, facts.PushWanted, until = false, false, time.Time{}
	}
	o = policy.Channel(facts)
	held := about.State == graph.PostPaused
	if _, denied := o.Denied(); denied {
		held, facts.State = true, policy.ChannelOK
		o = policy.Channel(facts)
	}
	switch {
	case !reaches(o):
		return o, time.Time{}, nil
	case about.State == graph.PostCanceled && r.Op.Kind != store.OpRecall:
		return policy.None, time.Time{}, nil
	case held:
		return policy.Defer, time.Time{}, nil
	case o != policy.Defer:
		until = time.Time{}
	}
	return o, until, nil
}

// Variant is the post in the follower's language, with its BCP 47 tag; nil where it is the record as it is. Recalled
// records have none. Of an edit there is none either: posts with variants are not edited.
func (f *Follower) Variant(r *store.Record) (lang string, v *graph.Variant, err error) {
	if r.Op.Kind != store.OpNone || r.Recalled {
		return "", nil, nil
	}
	about, err := f.about(r)
	if err != nil || len(about.Variants) == 0 {
		return "", nil, err
	}
	account, err := f.access.store.Account(f.me)
	if store.CodeOf(err) == store.CodeNotFound {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("hooks: account: %w", err)
	}
	lang = lookup(about.Variants, account.Language, f.brand.Language)
	if lang == "" {
		return "", nil, nil
	}
	variant := about.Variants[lang]
	return lang, &variant, nil
}

// target is the post that an operation is for, nil where there is none any more, and for operations that are not for
// followers.
func (f *Follower) target(r *store.Record) (*store.Record, error) {
	if r.Op.Kind != store.OpEdit && r.Op.Kind != store.OpRecall {
		return nil, nil
	}
	page, err := f.access.store.Read(store.Query{Log: f.log.ID, After: r.Op.Target - 1, Upto: r.Op.Target, Max: 1})
	if store.CodeOf(err) == store.CodeTrimmed || err == nil && len(page.Records) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hooks: read: %w", err)
	}
	return page.Records[0], nil
}

// about is what has been said about a post beside its record.
func (f *Follower) about(r *store.Record) (*graph.Post, error) {
	p, err := f.access.graph.Post(f.channel, graph.PostID(r))
	if err != nil {
		return nil, fmt.Errorf("hooks: post: %w", err)
	}
	return p, nil
}

// facts gathers what decides about a post. What costs a look-up is gathered only where it can still matter.
func (f *Follower) facts(r *store.Record, about *graph.Post, now time.Time) (p policy.ChannelFacts, night time.Time, err error) {
	p.State = f.brand.State()
	p.Following = f.follow.Follows() && r.Seq > f.follow.Before(f.log.Key.Kind)
	p.Blocked = f.follow.Blocked != 0
	p.Expired = r.Expiry != 0 && r.Expiry <= now.UnixMilli()
	p.Ad, p.AdConsent = f.log.Key.Kind == store.LogAds, f.follow.Ads != 0
	if !p.Following || p.Blocked || p.Expired || p.Ad && !p.AdConsent {
		return p, night, nil
	}
	if p.InSegment, err = f.access.InSegment(f.me, f.channel, f.follow, r, about.Segment); err != nil || !p.InSegment {
		return p, night, err
	}
	if p.Ad {
		if p.Capped, err = f.capped(r); err != nil || p.Capped {
			return p, night, err
		}
		if night, err = f.access.night(f.me, now); err != nil {
			return p, night, err
		}
		p.Night = !night.IsZero()
	}
	p.PushWanted = !about.Silent && (f.follow.Push == graph.PostPushRing || f.follow.Push == graph.PostPushDefault && f.settings.ChannelPushes)
	if !p.PushWanted {
		return p, night, nil
	}
	mute, err := f.access.graph.Mute(f.me, f.channel)
	if err != nil {
		return p, night, fmt.Errorf("hooks: mute: %w", err)
	}
	p.Muted = mute != nil
	quiet, err := f.access.graph.Quiet(f.me)
	if err != nil {
		return p, night, fmt.Errorf("hooks: quiet hours: %w", err)
	}
	p.Quiet = !quiet.Ends(now).IsZero()
	return p, night, nil
}

// reaches reports whether an outcome brings the record to its follower, now or later.
func reaches(o policy.Outcome) bool {
	return o == policy.Deliver || o == policy.DeliverNoPush || o == policy.Defer
}

// Back is the same follower as it reads back what was posted before it began to follow: everything else counts as in
// Outcome. Before a channel that the user does not follow nothing is shown.
func (f *Follower) Back() *Follower {
	back, follow := *f, *f.follow
	follow.From, follow.FromAds = 0, 0
	back.follow = &follow
	return &back
}
