package bridge

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// A post of a channel is told by a bulk job: one row, whatever the number of followers, made durable before the reader's
// position passes the post. The job goes through the followers of the channel and asks, in the moment of sending, what
// hooks.Follower says of each: so who leaves, withdraws a consent or mutes the channel while it runs is not told, and who
// sleeps is told when its night ends, by a job for those (bulk's Deferred). A device that is connected and in use gets the
// post live, and one that goes offline before it got there finds it at its next connection: no push is owed to it.

// SourcePosts is the name of channels' posts among the sources of package bulk.
const SourcePosts = "post"

const (
	postLives = 24 * time.Hour     // a post without an end of its own is worth a push for so long
	postKeep  = 7 * 24 * time.Hour // the rows of its job stay so long after that, for who asks how it went
)

// postData says which post a job tells of.
type postData struct {
	Log   store.LogID `json:"log"`
	Seq   store.Seq   `json:"seq"`
	Clear bool        `json:"clear,omitempty"` // it was taken back: what phones show of it goes
}

// postJob is the identifier of a post's job. No announcement has one like it: see hooks.ValidName.
func postJob(log store.LogID, seq store.Seq) string {
	return "post/" + strconv.FormatUint(uint64(log), 10) + "/" + strconv.FormatUint(uint64(seq), 10)
}

// clearJob is that of the job that takes it away.
func clearJob(log store.LogID, seq store.Seq) string { return "un" + postJob(log, seq) }

// isPost reports whether a record of a channel's log is a post.
func isPost(r *store.Record) bool {
	return r.Seq != 0 && r.Op.Kind == store.OpNone && r.Change.Kind == store.ChangeNone && r.Kind < store.KindSystem &&
		r.Audience == store.AudienceBoth
}

// post looks at an entry of a channel's log. false: ctx has ended before what follows from it was durable.
func (b *Bridge) post(ctx context.Context, e *store.Entry) bool {
	r := e.Record
	var do func() error
	switch {
	case !b.tellsPosts():
		return true
	case isPost(r) && !r.Recalled:
		do = func() error { return b.posted(ctx, e) }
	case r.Op.Kind == store.OpRecall && r.Audience == store.AudienceBoth:
		do = func() error { return b.unposted(ctx, r.Log, r.Op.Target) }
	default:
		return true
	}
	for {
		err := do()
		switch {
		case err == nil:
			return true
		case damaged(err):
			b.log.Error("what a channel has set cannot be read, its post rings nowhere", keyLog, r.Log, keySeq, r.Seq, keyErr, err)
			return true
		}
		b.metrics.failures.Inc()
		b.log.Error("a post's pushes do not begin", keyLog, r.Log, keySeq, r.Seq, keyErr, err)
		if pause(ctx, time.Second); ctx.Err() != nil {
			return false
		}
	}
}

// tellsPosts reports whether there are pushes of posts here at all.
func (b *Bridge) tellsPosts() bool { return b.cfg.Followers != nil && len(b.lanes) > 0 }

// posted begins the job of a post, unless there is one.
func (b *Bridge) posted(ctx context.Context, e *store.Entry) error {
	r := e.Record
	channel, err := b.graph.ChannelOf(e.Key)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	about, err := b.graph.Post(channel, graph.PostID(r))
	if err != nil || about.Silent || about.State == graph.PostCanceled {
		return err
	}
	o := bulk.Order{Source: SourcePosts, ID: postJob(r.Log, r.Seq), Data: postData{Log: r.Log, Seq: r.Seq}, Lives: postLives, Keep: postKeep}
	now := b.now()
	if r.Expiry != 0 {
		o.Last = time.UnixMilli(r.Expiry)
		o.Lives = min(o.Last.Sub(now), b.cfg.TTL)
	} else {
		o.Lives = time.UnixMilli(r.Time).Add(postLives).Sub(now) // the reader may be late
	}
	if o.Lives <= 0 {
		return nil
	}
	if _, _, err := b.bulk.Begin(ctx, o); err != nil {
		return fmt.Errorf("bridge: post: %w", err)
	}
	return nil
}

// unposted ends the job of a post that was taken back, and has what phones show of it taken away.
func (b *Bridge) unposted(ctx context.Context, log store.LogID, seq store.Seq) error {
	id := postJob(log, seq)
	if _, err := b.bulk.Find(id); store.CodeOf(err) == store.CodeNotFound {
		return nil
	} else if err != nil {
		return err
	}
	if err := b.bulk.SetFamily(ctx, id, bulk.Canceled); err != nil {
		return err
	}
	_, _, err := b.bulk.Begin(ctx, bulk.Order{Source: SourcePosts, ID: clearJob(log, seq), Of: id,
		Data: postData{Log: log, Seq: seq, Clear: true}, Lives: clearLasts, Keep: postKeep})
	return err
}

// Look is called after the state of a post (graph.SetPost) or of a channel has changed, so that pushes stop within moments,
// or go on; without it they do so within seconds. What is on its way to a provider is not taken back.
func (b *Bridge) Look() { b.bulk.Look() }

// PostPushes is how far the pushes of a post have come.
type PostPushes struct {
	Considered int  // followers, by the provider that is farthest
	Sent       int  // pushes that a provider took, those of the mornings after included
	Later      int  // devices whose night has to end first, or has
	Done       bool // every follower was considered, or nothing more is sent; who waits for the morning may still be told
}

// PostPushes tells how far the pushes of a post have come. What was done long ago is not known any more: Done alone.
func (b *Bridge) PostPushes(log store.LogID, seq store.Seq) (PostPushes, error) {
	if !b.tellsPosts() {
		return PostPushes{Done: true}, nil
	}
	read := store.Position(b.read.Load()) // first, because a job is there before it passes its post
	family, err := b.bulk.Family(postJob(log, seq))
	if store.CodeOf(err) == store.CodeNotFound {
		return b.unknown(log, seq, read)
	}
	if err != nil {
		return PostPushes{}, err
	}
	sum := family[0].Sum()
	out := PostPushes{Considered: sum.Users, Sent: sum.Sent, Later: sum.Later, Done: family[0].State.Ended()}
	for i := range family[1:] {
		out.Sent += family[i+1].Sum().Sent
	}
	return out, nil
}

// unknown is what can be said of a post without a job when everything up to a position was read: it has none yet, or has
// none any more, or never will.
func (b *Bridge) unknown(log store.LogID, seq store.Seq, read store.Position) (p PostPushes, err error) {
	p.Done = true
	info, err := b.store.Info(log)
	if err != nil || !info.Key.Posts() {
		return p, err
	}
	r, err := b.record(log, seq)
	if err != nil || r == nil || r.Recalled || !isPost(r) {
		return p, err
	}
	channel, err := b.graph.ChannelOf(info.Key)
	if err != nil {
		return p, err
	}
	about, err := b.graph.Post(channel, graph.PostID(r))
	if err != nil {
		return p, err
	}
	ends := r.Expiry
	if ends == 0 {
		ends = r.Time + postLives.Milliseconds()
	}
	// The reader has not come to it, which it does within moments.
	p.Done = about.Silent || about.State == graph.PostCanceled || b.now().UnixMilli() >= ends || read > r.Position
	return p, nil
}

// Considered is PostPushes for who broadcasts: how many followers have been considered for a post so far, and whether all
// were, or nothing more is sent.
func (b *Bridge) Considered(log store.LogID, seq store.Seq) (followers int, all bool, err error) {
	p, err := b.PostPushes(log, seq)
	return p.Considered, p.Done, err
}

// Pushed is PostPushes for who counts what became of a post: how many devices were woken for it.
func (b *Bridge) Pushed(_ context.Context, log store.LogID, seq store.Seq) (int, error) {
	p, err := b.PostPushes(log, seq)
	return p.Sent, err
}

// record is a record of a log as the server sees it, nil if there is none any more.
func (b *Bridge) record(log store.LogID, seq store.Seq) (*store.Record, error) {
	page, err := b.store.Read(store.Query{Log: log, After: seq - 1, Upto: seq, Max: 1})
	switch code := store.CodeOf(err); {
	case code == store.CodeTrimmed, code == store.CodeNotFound, err == nil && len(page.Records) == 0:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("bridge: read: %w", err)
	}
	return page.Records[0], nil
}

// Bulk is what sends to many: the announcements of operators and the posts of channels. It ends with the bridge.
func (b *Bridge) Bulk() *bulk.Bulk { return b.bulk }
