package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// posts makes the pushes of channels' posts. Of a million followers nearly all have nothing registered, or leave posts
// silent, which is the default: those are told apart by reading the rows of a thousand users at a time, and only of who is
// left everything is asked.
type posts struct {
	*Bridge
	followers store.Followers
}

var (
	_ bulk.Sifter = (*posts)(nil)
	_ bulk.Teller = (*posts)(nil)
)

const (
	siftPage = 1000                   // followers whose rows are read together
	siftMost = 16 * siftPage          // that are considered at a time
	siftTime = 500 * time.Millisecond // unless it has taken so long
)

// story is a post as it is now.
type story struct {
	postData
	info    store.LogInfo
	channel store.LogID
	record  *store.Record
}

// story finds the post of a job. bulk.ErrOver: it was taken back, canceled or has an end that has passed. bulk.ErrHold: it
// is paused, or its channel is.
func (s *posts) story(j *bulk.Job) (p story, err error) {
	if err := json.Unmarshal(j.Data, &p.postData); err != nil {
		return p, fmt.Errorf("bridge: post: %w", err)
	}
	if p.info, err = s.store.Info(p.Log); err == nil {
		p.channel, err = s.graph.ChannelOf(p.info.Key)
	}
	if store.CodeOf(err) == store.CodeNotFound {
		return p, bulk.ErrOver
	}
	if err != nil || p.Clear {
		return p, err
	}
	if p.record, err = s.record(p.Log, p.Seq); err != nil {
		return p, err
	}
	r := p.record
	if r == nil || r.Recalled || r.Expiry != 0 && r.Expiry <= s.now().UnixMilli() {
		return p, bulk.ErrOver
	}
	about, err := s.graph.Post(p.channel, graph.PostID(r))
	if err != nil {
		return p, err
	}
	channel, err := s.graph.Channel(p.channel)
	switch {
	case err != nil:
		return p, err
	case about.State == graph.PostCanceled || about.Silent || !channel.Exists():
		return p, bulk.ErrOver
	case about.State == graph.PostPaused || channel.State() != policy.ChannelOK:
		return p, bulk.ErrHold
	}
	return p, nil
}

// Sift implements bulk.Sifter.
func (s *posts) Sift(ctx context.Context, j *bulk.Job, after, upto store.AccountID, max int) (out bulk.Sifted, err error) {
	p, err := s.story(j)
	if err != nil {
		return out, err
	}
	out.After = after
	for began := time.Now(); out.Users < siftMost && len(out.Found) < max && time.Since(began) < siftTime; {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		users, err := s.followers.Followers(p.channel, out.After, siftPage)
		if err != nil {
			return out, fmt.Errorf("bridge: followers: %w", err)
		}
		for n := len(users); upto != 0 && n > 0 && users[n-1] > upto; n-- {
			users = users[:n-1]
		}
		if len(users) == 0 {
			out.End = true
			return out, nil
		}
		if err := s.sieve(ctx, j, &p, users, max, &out); err != nil {
			return out, err
		}
		if pace := s.cfg.Pace; pace != nil {
			if err := pace(ctx, len(users)); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// sieve adds to out who of some followers is to be told, until enough are.
func (s *posts) sieve(ctx context.Context, j *bulk.Job, p *story, users []store.AccountID, max int, out *bulk.Sifted) error {
	rings, err := s.graph.PostsRingFor(users, p.channel)
	if err != nil || len(rings) == 0 {
		if err == nil {
			out.After, out.Users = users[len(users)-1], out.Users+len(users)
		}
		return err
	}
	where := make(map[store.AccountID][]graph.Registration)
	if err := s.graph.RegistrationsOf(rings, func(a store.AccountID, list []graph.Registration) error {
		where[a] = list
		return nil
	}); err != nil {
		return err
	}
	seen := 0
	for _, a := range rings {
		for users[seen] != a {
			seen++
		}
		if len(out.Found) >= max {
			out.After, out.Users = users[seen]-1, out.Users+seen
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if list := where[a]; len(list) > 0 {
			if err := s.consider(j, p, a, list, out); err != nil {
				return err
			}
		}
	}
	out.After, out.Users = users[len(users)-1], out.Users+len(users)
	return nil
}

// consider adds the devices of one follower.
func (s *posts) consider(j *bulk.Job, p *story, a store.AccountID, list []graph.Registration, out *bulk.Sifted) error {
	outcome, until := policy.Deliver, time.Time{}
	if !p.Clear {
		var err error
		if outcome, until, err = s.outcome(j, p, a); err != nil {
			return err
		}
	}
	for i := range list {
		found := bulk.Found{Account: a, To: &list[i]}
		switch {
		case s.lanes[list[i].Provider] == nil:
		case outcome == policy.Deliver:
			out.Found = append(out.Found, found)
		case outcome == policy.Defer:
			out.Later = append(out.Later, bulk.Later{Found: found, Until: until})
		}
	}
	return nil
}

// outcome decides whether a follower is told. bulk.ErrHold: the post or its channel was paused in this moment.
func (s *posts) outcome(j *bulk.Job, p *story, a store.AccountID) (o policy.Outcome, until time.Time, err error) {
	if a == p.record.Sender {
		return policy.None, until, nil
	}
	if j.Begins != 0 { // the job is for those alone whose night ends then: the others were told before
		slept, err := s.access.NightEnds(a, time.UnixMilli(j.Begins-1))
		if err != nil || slept.UnixMilli() != j.Begins {
			return policy.None, until, err
		}
	}
	f, err := s.access.Follower(a, p.info)
	if err != nil {
		return policy.None, until, err
	}
	o, until, err = f.Outcome(p.record)
	if err == nil && o == policy.Defer && until.IsZero() {
		err = bulk.ErrHold
	}
	return o, until, err
}

// Push implements bulk.Source.
func (s *posts) Push(_ context.Context, j *bulk.Job, a store.AccountID, r *graph.Registration) (*push.Push, error) {
	p, err := s.story(j)
	if err != nil {
		return nil, err
	}
	account, err := s.store.Account(a)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bridge: account: %w", err)
	}
	if account.State >= store.AccountSuspended {
		s.note(&p, a, r, ReasonSuspended)
		return nil, nil
	}
	if p.Clear { // an app that has come and has acknowledged the post takes it away by itself
		if why, err := s.has(key{a, r.Device, p.Log}, p.Seq); err != nil || why != "" {
			return nil, err
		}
		return s.unpost(&p, a, r), nil
	}
	o, until, err := s.outcome(j, &p, a)
	switch {
	case err != nil:
		return nil, err
	case o == policy.Defer:
		s.note(&p, a, r, ReasonNight)
		return nil, &bulk.Deferred{Until: until}
	case o != policy.Deliver:
		why, _, err := s.whyNot(a, &p)
		s.note(&p, a, r, why)
		return nil, err
	}
	if why, err := s.has(key{a, r.Device, p.Log}, p.Seq); err != nil || why != "" {
		s.note(&p, a, r, why)
		return nil, err
	}
	return s.compose(&p, account, r)
}

// has is why a device needs no push about a post: it is connected and in use, so that it gets the post live, or has it
// already. What it has acknowledged in the background its user has not seen, unless the app tells it.
func (b *Bridge) has(k key, seq store.Seq) (Reason, error) {
	connected, overdue, background := b.live.Link(k.account, k.device)
	if connected && !overdue && !background {
		return ReasonLive, nil
	}
	c, err := b.live.Acked(k.account, k.device, k.log)
	if err != nil || !c.Confirmed(seq) {
		return "", err
	}
	if connected && background {
		d, err := b.graph.Device(k.account, k.device)
		if err != nil || !d.Notifies {
			return "", err
		}
		return ReasonNotifies, nil
	}
	return ReasonAcked, nil
}

// compose makes the push. What it shows is decided by the user's preview of the channel: hidden is that there is a post,
// and nothing of the channel; sender is which channel; full is what. Advertising has its label in front in all of them but
// the first, which is of nobody.
func (s *posts) compose(p *story, account store.Account, r *graph.Registration) (*push.Push, error) {
	lang := view.ParseLang(account.Language)
	preview, err := s.graph.RoomPreview(account.ID, p.channel)
	if err != nil {
		return nil, err
	}
	thread := push.Thread(account.ID, p.Log)
	out := &push.Push{ID: push.NewID(r.Device, p.Log, p.Seq, push.KindPost), Collapse: thread,
		Note: push.Note{Kind: push.KindPost, Thread: thread, Seq: p.Seq, Epoch: s.store.Epoch(), Badge: -1}}
	n := &out.Note
	_, n.Plain = view.PushText(lang, push.KeyNew, nil)
	if preview == graph.PreviewHidden {
		say(n, lang, push.KeyPost)
		return out, nil
	}
	n.Room = "channel/" + p.info.Key.Name
	title, err := s.brand(p.channel, p.info)
	if err != nil {
		return nil, err
	}
	shown, err := s.shownTo(account.ID, p)
	if err != nil {
		return nil, err
	}
	text := push.Cut(view.Clean(shown.Text), mostText)
	switch {
	case preview == graph.PreviewFull && text != "":
		say(n, lang, push.KeyText, title, text)
	case preview == graph.PreviewFull:
		say(n, lang, push.KeyText, title, push.Cut(view.KindWord(lang, shown), mostText))
	case p.info.Key.Kind == store.LogAds:
		_, there := view.PushText(lang, push.KeyPost, nil)
		say(n, lang, push.KeyText, title, string(view.Labeled([]byte(there), lang)))
	default:
		say(n, lang, push.KeyPostFrom, title)
	}
	return out, nil
}

// shownTo is the post in the follower's variant.
func (s *posts) shownTo(a store.AccountID, p *story) (*store.Record, error) {
	f, err := s.access.Follower(a, p.info)
	if err != nil {
		return nil, err
	}
	_, v, err := f.Variant(p.record)
	if err != nil {
		return nil, err
	}
	return view.InVariant(p.record, v), nil
}

// brand is what a channel is known by.
func (b *Bridge) brand(channel store.LogID, info store.LogInfo) (string, error) {
	c, err := b.graph.Channel(channel)
	if err != nil {
		return "", err
	}
	title := push.Cut(view.Clean([]byte(c.Title)), mostName)
	if title == "" {
		title = info.Key.Name
	}
	return title, nil
}

// unpost makes what takes a post away again. It collapses with nothing: a post after this one may be on its way.
func (s *posts) unpost(p *story, a store.AccountID, r *graph.Registration) *push.Push {
	return &push.Push{ID: push.NewID(r.Device, p.Log, p.Seq, push.KindClear), Collapse: "c" + single(key{a, r.Device, p.Log}, p.Seq),
		Note: push.Note{Kind: push.KindClear, Thread: push.Thread(a, p.Log), Seq: p.Seq, Epoch: s.store.Epoch(), Badge: -1, Silent: true}}
}

// Told implements bulk.Teller: what became of pushes is kept for who asks, in a list of their own, so that a broadcast
// leaves what was decided about chat.
func (s *posts) Told(j *bulk.Job, a store.AccountID, r *graph.Registration, p *push.Push, res lane.Result) {
	var d postData
	if p == nil || json.Unmarshal(j.Data, &d) != nil {
		return
	}
	n := remark{key: key{a, r.Device, d.Log}, time: s.now().UnixMilli(), from: d.Seq, upto: d.Seq, reason: ReasonAway, push: p.ID}
	switch {
	case d.Clear:
		n.reason = ReasonClear
	case res.Action == lane.TokenGone:
		n.reason = ReasonNoToken
	case res.Action != lane.Sent:
		n.reason = ReasonRefused
	}
	if res.Push != nil {
		n.answer = answerOf(&res)
	}
	s.metrics.decided(r.Provider, n.reason)
	s.told.add(n)
}

// note keeps why a device is not told.
func (s *posts) note(p *story, a store.AccountID, r *graph.Registration, why Reason) {
	if why == "" {
		return
	}
	s.metrics.decided(r.Provider, why)
	s.told.add(remark{key: key{a, r.Device, p.Log}, time: s.now().UnixMilli(), from: p.Seq, upto: p.Seq, reason: why})
}
