package hooks

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// AdCap is how many advertising posts a follower gets in 24 hours, if AccessConfig says nothing else.
const AdCap = 3

// The frequency cap is computed from the logs alone, so that every device, a push and the history of a follower agree, and
// nothing has to be written at a delivery. Of all advertising that is for a follower, in the order in which it was posted,
// a post is capped if the cap's number of posts that were not were posted in the 24 hours before.
//
// Whether an earlier post was capped depends on those before it, without end. So the count begins anew every week, on
// Monday 00:00 UTC, and of the day before that the newest posts stand for those that the follower got: they are at least
// as late as those it did get, so that no 24 hours see more than the cap.
const (
	adDay  = int64(24 * time.Hour / time.Millisecond)
	adWeek = 7 * adDay
	monday = 4 * adDay // of the first week of Unix time
)

// adsFrom is the Monday on which the count for a post of this time begins, and the time from which on posts count.
func adsFrom(posted int64) (week, from int64) {
	week = posted - (posted-monday)%adWeek
	return week, week - adDay
}

// adPost is what counting needs to know of an advertising post.
type adPost struct {
	log  store.LogID
	seq  store.Seq
	time int64
	cid  string
}

func (p adPost) compare(o adPost) int {
	return cmp.Or(cmp.Compare(p.time, o.time), cmp.Compare(p.log, o.log), cmp.Compare(p.seq, o.seq))
}

// capped reports whether the last of the posts, all before it being for one follower in the order of compare, is one too
// many.
func capped(before []adPost, p adPost, cap int) bool {
	week, from := adsFrom(p.time)
	var got []int64 // times of those that count, at most cap
	for _, b := range before {
		if b.time < from || len(got) == cap && b.time >= week && b.time-got[0] < adDay {
			continue
		}
		if len(got) == cap {
			got = append(got[:0], got[1:]...)
		}
		got = append(got, b.time)
	}
	return len(got) == cap && p.time-got[0] < adDay
}

// adStream is one channel's advertising that a user follows and has consented to.
type adStream struct {
	channel store.LogID
	log     store.LogID
	follow  *graph.Follow
}

// capped reports whether the follower has had as much advertising before a post as the cap allows.
func (f *Follower) capped(r *store.Record) (bool, error) {
	a := f.access
	if a.cfg.AdCap < 0 {
		return false, nil
	}
	if err := f.loadStreams(); err != nil {
		return false, err
	}
	post := adPost{log: r.Log, seq: r.Seq, time: r.Time, cid: r.CID}
	_, from := adsFrom(post.time)
	var before []adPost
	for _, s := range f.streams {
		posts, err := a.ads.since(a.store, s.log, from)
		if err != nil {
			return false, err
		}
		for _, p := range posts {
			if p.compare(post) >= 0 {
				break // a log's posts are in the order of time
			}
			if p.seq <= s.follow.FromAds {
				continue
			}
			in, err := f.gets(s, p)
			if err != nil {
				return false, err
			}
			if in {
				before = append(before, p)
			}
		}
	}
	if len(before) < a.cfg.AdCap {
		return false, nil
	}
	slices.SortFunc(before, adPost.compare)
	return capped(before, post, a.cfg.AdCap), nil
}

// gets reports whether an advertising post is for the follower. That it was taken back or canceled later changes nothing:
// the follower may have it.
func (f *Follower) gets(s adStream, p adPost) (bool, error) {
	r := &store.Record{Log: p.log, Seq: p.seq, Time: p.time, CID: p.cid}
	about, err := f.access.graph.Post(s.channel, graph.PostID(r))
	if err != nil {
		return false, fmt.Errorf("hooks: post: %w", err)
	}
	return f.access.InSegment(f.me, s.channel, s.follow, r, about.Segment)
}

// followPage is how many channels of a user are listed at once.
const followPage = 200

// loadStreams finds the advertising that the user gets.
func (f *Follower) loadStreams() error {
	if f.streams != nil {
		return nil
	}
	f.streams = make([]adStream, 0, 4)
	a := f.access
	for after := store.LogID(0); ; {
		channels, follows, err := a.graph.Follows(f.me, after, followPage)
		if err != nil {
			return fmt.Errorf("hooks: follows: %w", err)
		}
		for i, channel := range channels {
			after = channel
			if follows[i].Ads == 0 || follows[i].Blocked != 0 || !follows[i].Follows() {
				continue
			}
			brand, err := a.graph.Channel(channel)
			if err != nil {
				return fmt.Errorf("hooks: channel: %w", err)
			}
			if brand.Ads != 0 {
				f.streams = append(f.streams, adStream{channel, brand.Ads, follows[i]})
			}
		}
		if len(channels) < followPage {
			return nil
		}
	}
}

// maxAds is how many posts the book holds, some 16 MB. Beyond it logs are forgotten, and read again when asked for.
const maxAds = 200_000

// adBook remembers what was posted lately to logs of advertising, as far back as was asked. The zero value is ready.
type adBook struct {
	mu    sync.Mutex
	logs  map[store.LogID]*adLog
	posts int // in all of them
}

// adLog is a log's posts, in order. Lists are replaced, never changed, but for appending.
type adLog struct {
	reading sync.Mutex // one reader at a time brings the list up to date

	mu    sync.Mutex
	posts []adPost
	head  store.Seq // posts up to here are in the list
	from  store.Seq // posts from here on are; head+1: none yet
	since int64     // and all posts from this time on
}

// adPage is how many records are read at once.
const adPage = 64

// since returns the posts of a log from a time on, in order; perhaps some before that too.
func (b *adBook) since(s Graph, log store.LogID, from int64) ([]adPost, error) {
	info, err := s.Info(log)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hooks: log: %w", err)
	}
	l := b.log(log)
	if posts, ok := l.has(info.Head, from); ok {
		return posts, nil
	}
	l.reading.Lock()
	defer l.reading.Unlock()
	if posts, ok := l.has(info.Head, from); ok {
		return posts, nil
	}
	added, err := l.read(s, info, from)
	b.count(log, added)
	if err != nil {
		return nil, fmt.Errorf("hooks: read: %w", err)
	}
	posts, _ := l.has(info.Head, from)
	return posts, nil
}

func (b *adBook) log(id store.LogID) *adLog {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logs[id]
	if l == nil {
		if b.logs == nil {
			b.logs = make(map[store.LogID]*adLog)
		}
		l = &adLog{since: 1<<63 - 1}
		b.logs[id] = l
		b.posts++ // a log is worth a post
	}
	return l
}

// count notes how many posts a log has got, and makes room.
func (b *adBook) count(of store.LogID, added int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.logs[of] == nil { // forgotten meanwhile
		return
	}
	b.posts += added
	for id, l := range b.logs {
		if b.posts <= maxAds {
			return
		}
		if id == of {
			continue
		}
		l.mu.Lock()
		b.posts -= 1 + len(l.posts)
		l.mu.Unlock()
		delete(b.logs, id)
	}
}

// has returns the list, if it holds everything from a time on and up to a sequence.
func (l *adLog) has(head store.Seq, from int64) ([]adPost, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head < head || l.since > from {
		return l.posts, false
	}
	i, _ := slices.BinarySearchFunc(l.posts, from, func(p adPost, from int64) int { return cmp.Compare(p.time, from) })
	return l.posts[i:], true
}

// read brings the list up to the log's head, and back to a time. The caller holds reading.
func (l *adLog) read(s Graph, info store.LogInfo, from int64) (added int, err error) {
	first := max(info.First, 1)
	l.mu.Lock()
	posts, head, begin, since := l.posts, l.head, l.from, l.since
	l.mu.Unlock()
	if begin == 0 { // nothing is known yet
		head, begin = info.Head, info.Head+1
	}
	upto := max(head, info.Head) // another reader may have had a newer head
	had := len(posts)
	newer, err := adsIn(s, info.ID, head, upto)
	if err != nil {
		return 0, err
	}
	posts = append(posts[:had:had], newer...)
	for since > from && begin > first {
		after := store.Seq(0)
		if begin > adPage+1 {
			after = begin - 1 - adPage
		}
		after = max(after, first-1)
		older, err := adsIn(s, info.ID, after, begin-1)
		if err != nil {
			return 0, err
		}
		posts = append(older, posts...)
		begin = after + 1
		if len(posts) > 0 {
			since = min(since, posts[0].time)
		}
	}
	if begin <= first { // that is all there is
		since = min(since, from)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posts, l.head, l.from, l.since = posts, upto, begin, since
	return len(posts) - had, nil
}

// adsIn reads the posts after one sequence and up to another; those that retention takes meanwhile are none.
func adsIn(s Graph, log store.LogID, after, upto store.Seq) (out []adPost, err error) {
	for after < upto {
		page, err := s.Read(store.Query{Log: log, After: after, Upto: upto, Max: adPage})
		if store.CodeOf(err) == store.CodeTrimmed {
			info, err := s.Info(log)
			if err != nil {
				return nil, err
			}
			if info.First <= after+1 {
				return nil, store.ErrTrimmed
			}
			after = info.First - 1
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			if r.Op.Kind == store.OpNone && r.Change.Kind == store.ChangeNone && r.Kind < store.KindSystem {
				out = append(out, adPost{log, r.Seq, r.Time, r.CID})
			}
		}
		if page.Next <= after {
			break
		}
		after = page.Next
	}
	return out, nil
}
