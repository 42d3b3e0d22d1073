package broadcast

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// watchEvery is how often it is looked how far broadcasts have come, by the clock: at its full multiples, and not sooner than
// so long after one has begun to run. Who chooses the moment chooses how much before a multiple that is, and would measure
// a time of any length otherwise: whether one phone had to be waited for.
const watchEvery = 5 * time.Second

// repeats is for how long a log certainly knows the cids that it was given. A post that may have been appended longer ago
// is looked for.
const repeats = 24 * time.Hour

// run looks at what is due.
func (b *Broadcasts) run(ctx context.Context) {
	var slot time.Time // of the last pass
	var left bool
	for {
		now := b.now()
		// A broadcast that begins in the middle is not looked at before the next multiple.
		watch := left && !now.Truncate(watchEvery).Equal(slot)
		slot = now.Truncate(watchEvery)
		var next time.Time
		next, left = b.pass(ctx, now, watch)
		wait := time.Minute // clocks are set
		if !next.IsZero() {
			wait = min(wait, next.Sub(b.now()))
		}
		if left {
			wait = min(wait, slot.Add(watchEvery).Sub(b.now()))
		}
		t := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-b.kicked:
			t.Stop()
		case <-t.C:
		}
	}
}

// pass looks at everything that is due, and tells when the next one is, and whether something stays due. How far those
// that run have come is looked at if watch says so. One that fails keeps nothing else waiting.
func (b *Broadcasts) pass(ctx context.Context, now time.Time, watch bool) (next time.Time, left bool) {
	after := ""
	for ctx.Err() == nil {
		rows, err := b.store.Rows(tableDue, "", "", after, 100)
		if err != nil {
			b.fail(ctx, err)
			return next, true
		}
		for _, r := range rows {
			after = r.Key
			at, channel, key, ok := cutDue(r.Key)
			if !ok {
				continue
			}
			if at > now.UnixMilli() {
				return time.UnixMilli(at), left
			}
			stays, err := b.due(ctx, at, channel, key, now, watch)
			if err != nil {
				b.fail(ctx, err, keyChannel, uint64(channel), keyBroadcast, key)
			}
			left = left || stays || err != nil
		}
		if len(rows) < 100 {
			break
		}
	}
	return next, left
}

func (b *Broadcasts) fail(ctx context.Context, err error, about ...any) {
	if ctx.Err() == nil {
		b.metrics.failed.Inc()
		b.log.Error("broadcast is tried again", append(about, keyErr, err)...)
	}
}

// due takes the next steps of one broadcast. left: it has to be looked at again soon.
func (b *Broadcasts) due(ctx context.Context, at int64, channel store.LogID, key string, now time.Time, watch bool) (left bool, err error) {
	end, err := b.turn(ctx, channel, key)
	if err != nil {
		return true, err
	}
	defer end()
	c, version, err := b.read(channel, key)
	if err != nil {
		return true, err
	}
	if version == 0 || c.Wake != at { // the rest of a change that a crash has cut
		return false, b.putDue(ctx, dueKey(at, channel, key), nil)
	}
	if c.Settle {
		if c, err = b.settle(ctx, channel, key); err != nil {
			return true, err
		}
		b.tell(channel, c)
		b.letGo(ctx, channel, c)
	}
	if b.untold(c) {
		if c, err = b.inform(ctx, channel, c); err != nil {
			return true, err
		}
	}
	if expired := c.Expiry != 0 && c.Expiry <= now.UnixMilli(); expired && !c.Over() {
		_, err := b.endNow(ctx, channel, c, WhyExpired)
		return err != nil, err
	}
	if c.State == Scheduled && c.Due <= now.UnixMilli() {
		if c, err = b.begin(ctx, channel, c, now); err != nil {
			return true, err
		}
	}
	if c.State == Running && c.Seq == 0 {
		if c, err = b.post(ctx, channel, c); err != nil {
			return true, err
		}
		return c.State == Running, nil
	}
	switch {
	case c.State == Running && watch && now.UnixMilli()-c.since() >= watchEvery.Milliseconds():
		return b.watch(ctx, channel, c)
	case c.State == Running:
		return true, nil
	case c.Over() && c.Wake != 0 && c.Wake <= now.UnixMilli():
		return false, b.report(ctx, channel, c)
	}
	return false, nil
}

// begin starts a broadcast whose time has come, unless its channel may not post.
func (b *Broadcasts) begin(ctx context.Context, channel store.LogID, c *Broadcast, now time.Time) (*Broadcast, error) {
	brand, err := b.graph.Channel(channel)
	if err != nil {
		return nil, fmt.Errorf("broadcast: channel: %w", err)
	}
	info, err := b.store.Info(c.Log)
	if err != nil {
		return nil, fmt.Errorf("broadcast: log: %w", err)
	}
	c, err = b.change(ctx, channel, c.Key, func(c *Broadcast) (bool, error) {
		switch brand.State() {
		case policy.ChannelOK:
			c.enter(Running, 0, "", now.UnixMilli())
			c.Began, c.From = now.UnixMilli(), info.Head
		case policy.ChannelSuspended:
			c.enter(Paused, 0, WhySuspended, now.UnixMilli())
		default:
			c.enter(Paused, 0, WhyPaused, now.UnixMilli())
		}
		return true, nil
	})
	if err == nil {
		b.entered(channel, c)
	}
	return c, err
}

// post appends the record of a broadcast that runs, once, whatever was done of it before a crash.
func (b *Broadcasts) post(ctx context.Context, channel store.LogID, c *Broadcast) (*Broadcast, error) {
	if err := b.setPost(ctx, channel, c); err != nil {
		return nil, fmt.Errorf("broadcast: post: %w", err)
	}
	now := b.now()
	var seq store.Seq
	var err error
	if now.Sub(time.UnixMilli(c.Began)) > repeats {
		if seq, err = b.find(c); err != nil {
			return nil, err
		}
	}
	if seq == 0 {
		content := view.Content{Kind: c.Kind, Text: []byte(c.Post.Text), Extra: c.Post.Extra, Files: c.Post.Files, Expiry: c.Expiry}
		r, err := b.cfg.Poster.Post(ctx, channel, c.Ad, c.Key, content)
		switch store.CodeOf(err) {
		case store.CodeBad, store.CodeTooLarge, store.CodeForbidden, store.CodeNotFound: // so it would be every time
			b.log.Error("broadcast refused", keyChannel, uint64(channel), keyBroadcast, c.Key, keyErr, err)
			return b.endNow(ctx, channel, c, WhyRefused)
		}
		if err != nil {
			return nil, fmt.Errorf("broadcast: post: %w", err)
		}
		seq = r.Seq
	}
	said := c.Post
	c, err = b.change(ctx, channel, c.Key, func(c *Broadcast) (bool, error) {
		c.Seq, c.Post = seq, nil
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	b.metrics.late.Observe(max(0, now.Sub(time.UnixMilli(c.Due)).Seconds()))
	b.release(ctx, channel, c.Key, said)
	return c, nil
}

// find looks for the record of a broadcast that may have been appended, 0: it was not.
func (b *Broadcasts) find(c *Broadcast) (store.Seq, error) {
	for after := c.From; ; {
		page, err := b.store.Read(store.Query{Log: c.Log, After: after, Max: 1000})
		if store.CodeOf(err) == store.CodeTrimmed {
			info, err := b.store.Info(c.Log)
			if err != nil {
				return 0, fmt.Errorf("broadcast: find: %w", err)
			}
			after = max(after+1, info.First-1)
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("broadcast: find: %w", err)
		}
		for _, r := range page.Records {
			if r.CID == graph.PostCID(c.Key) {
				return r.Seq, nil
			}
		}
		if page.Next >= page.Head {
			return 0, nil
		}
		after = page.Next
	}
}

// watch looks how far a broadcast has come.
func (b *Broadcasts) watch(ctx context.Context, channel store.LogID, c *Broadcast) (left bool, err error) {
	if b.cfg.Pushes != nil {
		n, all, err := b.cfg.Pushes.Considered(c.Log, c.Seq)
		if err != nil {
			return true, fmt.Errorf("broadcast: progress: %w", err)
		}
		if !all {
			return true, b.come(ctx, channel, c, n)
		}
	}
	c, err = b.change(ctx, channel, c.Key, func(c *Broadcast) (bool, error) {
		c.Percent = 0
		c.enter(Done, 0, "", b.now().UnixMilli())
		return true, nil
	})
	if err != nil {
		return true, err
	}
	b.entered(channel, c)
	return false, nil
}

// come notes how far a broadcast has come, if that may be told and is another step.
func (b *Broadcasts) come(ctx context.Context, channel store.LogID, c *Broadcast, considered int) error {
	if b.cfg.Tally == nil {
		return nil
	}
	all, err := b.cfg.Tally.Followers(ctx, channel)
	if err != nil {
		return fmt.Errorf("broadcast: progress: %w", err)
	}
	if all == nil || *all <= MinFollowers {
		return nil
	}
	percent := min(90, considered*10 / *all * 10)
	if percent <= c.Percent {
		return nil
	}
	c, err = b.change(ctx, channel, c.Key, func(c *Broadcast) (bool, error) {
		c.Percent = percent
		return true, nil
	})
	if err == nil {
		b.tell(channel, c)
	}
	return err
}

// endNow ends a broadcast by itself: one that nobody got is canceled.
func (b *Broadcasts) endNow(ctx context.Context, channel store.LogID, c *Broadcast, why string) (*Broadcast, error) {
	c, err := b.change(ctx, channel, c.Key, func(c *Broadcast) (bool, error) {
		to := Canceled
		if c.Seq != 0 {
			to = Done
		}
		c.Percent = 0
		c.enter(to, 0, why, b.now().UnixMilli())
		c.Settle = c.Began != 0 && c.Seq == 0 // it may have been appended all the same
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if c.Settle {
		if c, err = b.settle(ctx, channel, c.Key); err != nil {
			return nil, err
		}
	}
	b.entered(channel, c)
	b.letGo(ctx, channel, c)
	return c, nil
}

// report counts what became of a broadcast, once.
func (b *Broadcasts) report(ctx context.Context, channel store.LogID, c *Broadcast) error {
	var n Numbers
	if b.cfg.Tally != nil {
		var err error
		if n, err = b.cfg.Tally.Report(ctx, channel, c.Log, c.Seq, c.Ended); err != nil {
			return fmt.Errorf("broadcast: report: %w", err)
		}
	}
	_, err := b.change(ctx, channel, c.Key, func(c *Broadcast) (bool, error) {
		c.Report = &n
		return true, nil
	})
	return err
}

// letGo frees the files of a broadcast that ended without a record.
func (b *Broadcasts) letGo(ctx context.Context, channel store.LogID, c *Broadcast) {
	if c.Over() && c.Seq == 0 {
		b.release(ctx, channel, c.Key, c.Post)
	}
}

// release frees the files of a broadcast: they are held by its record now, or by nothing. What fails costs their space.
func (b *Broadcasts) release(ctx context.Context, channel store.LogID, key string, post *said) {
	if post == nil || b.cfg.Files == nil {
		return
	}
	for _, id := range post.Files {
		if err := b.cfg.Files.LetGo(ctx, id, holdName(channel, key)); err != nil && ctx.Err() == nil {
			b.log.Warn("a file of a broadcast is kept", keyChannel, uint64(channel), keyBroadcast, key, keyErr, err)
		}
	}
}
