package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const (
	workers     = 32               // goroutines that decide; most of them wait for the disk, which serves them together
	again       = time.Second      // after the store failed
	inMemory    = 16 * time.Second // a wait may be in memory, and hold the position, if it ends within this
	inMemoryAll = 24 * time.Second // and this after the message came
)

// look is a ring in a worker's hands.
type look struct {
	r    *bell
	base *state // as the row has it, nil: there is none
	st   state  // what becomes of it
	news news   // a copy; its holds are not ours

	provider graph.PushProvider // as far as is known; for metrics

	fly    *job
	result *lane.Result

	// What was decided.
	failed  bool      // nothing: the store did not answer
	covered bool      // the row tells of everything that came
	settled store.Seq // so far nothing has to be remembered
	wait    time.Time // in memory
	why     Reason
	hint    time.Time // instead of st.Due
	more    bool      // look again at once
	save    bool
	put     *store.RowPut
}

// view is a state with what has come since. The caller holds the shard's mu.
func (r *bell) view() state {
	var st state
	if r.st != nil {
		st = *r.st
	}
	if r.news.first.seq != 0 {
		st.add(r.news.first.seq, r.news.last, r.news.first.time)
	}
	return st
}

// work looks after accounts until the queue is closed and empty.
func (b *Bridge) work() {
	for a := b.queue.pop(); a != nil; a = b.queue.pop() {
		b.serve(a)
	}
}

// serve looks after one account until there is nothing to do.
func (b *Bridge) serve(a *account) {
	sh := b.table.shard(a.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a.queued, a.working = false, true
	for {
		var p pass
		for _, r := range a.rings {
			if !r.todo || r.result == nil && (r.fly != nil || b.closing.Load()) {
				continue
			}
			r.todo, r.due = false, 0
			p.looks = append(p.looks, &look{r: r, base: r.st, news: r.news, provider: r.provider, fly: r.fly, result: r.result})
		}
		if len(p.looks) == 0 {
			break
		}
		sh.mu.Unlock()
		b.run(sh, a, &p)
		sh.mu.Lock()
	}
	a.working = false
	b.table.sweep(sh, a)
}

// pass is what a worker does for an account at one time: its changes are one change of the store.
type pass struct {
	looks []*look
	folds []folding
}

// folding is something to be told in a device's summary.
type folding struct {
	device  store.DeviceID
	written int64
	until   time.Time
}

// run decides about each ring, makes it durable, and then lets it take effect.
func (b *Bridge) run(sh *shard, a *account, p *pass) {
	ctx := b.life
	now := b.now()
	for _, l := range p.looks {
		if l.r.log != 0 {
			b.look(ctx, p, l, now)
		}
	}
	for _, l := range p.looks {
		if l.r.log == 0 {
			b.look(ctx, p, l, now)
		}
	}
	for _, f := range p.folds {
		b.summarise(sh, a, p, f)
	}
	err := b.save(ctx, a, p, now)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if store.CodeOf(err) == store.CodeNotFound { // the account was erased, and its rows with it
		for _, l := range p.looks {
			if l.result != nil { // a push that was given to the lane just now is still to come back
				l.r.fly, l.r.result = nil, nil
			}
			if l.base != nil && l.base.Due != 0 {
				b.rowsDue.Add(-1)
			}
		}
		for _, r := range a.rings {
			r.drop()
		}
		return
	}
	if err != nil {
		b.metrics.failures.Inc()
		b.log.Error("what was decided is not stored", keyUser, a.id, keyErr, err)
	}
	for _, l := range p.looks {
		if err != nil && l.save {
			l.failed = true
		}
		b.commit(sh, l, now)
	}
}

// drop lets go of everything that a ring holds.
func (r *bell) drop() {
	r.news.drop()
	r.release()
	r.due, r.todo, r.touched, r.st = 0, r.result != nil, false, nil // what became of a push is seen to, or the ring would stay for ever
}

func (r *bell) release() {
	if r.kick != nil {
		r.kick.release()
		r.kick = nil
	}
}

// look decides about one ring.
func (b *Bridge) look(ctx context.Context, p *pass, l *look, now time.Time) {
	if err := b.tryLook(ctx, p, l, now); err != nil {
		l.failed = true
		b.metrics.failures.Inc()
		b.log.Error("nothing decided", keyUser, l.r.account, keyDevice, l.r.device, keyLog, l.r.log, keyErr, err)
	}
}

func (b *Bridge) tryLook(ctx context.Context, p *pass, l *look, now time.Time) error {
	if !l.r.loaded {
		st, err := b.load(l.r.key)
		if err != nil {
			return err
		}
		l.base = st
	}
	if l.base != nil {
		l.st = *l.base
	}
	if l.news.first.seq != 0 {
		l.st.add(l.news.first.seq, l.news.last, l.news.first.time)
	}
	l.settled = l.st.Done
	if l.result != nil {
		return b.landed(ctx, p, l, now)
	}
	if l.st.First == 0 && l.st.Shown == 0 {
		if l.news.first.seq != 0 {
			b.remark(l, remark{reason: ReasonDouble, from: l.news.first.seq, upto: l.news.last}, now)
		}
		l.save = true // a row that says nothing goes
		return nil
	}
	to, err := b.registration(l.r.key)
	if err != nil {
		return err
	}
	if to != nil {
		l.provider = to.Provider
	} else {
		b.act(p, l, nil, verdict{reason: ReasonNoToken, upto: max(l.st.Last, l.st.Done), ends: true}, now)
		return nil
	}
	v, err := b.assessed(ctx, l.r.key, &l.st, now)
	if err != nil {
		return err
	}
	b.act(p, l, to, v, now)
	return nil
}

// act applies a verdict.
func (b *Bridge) act(p *pass, l *look, to *graph.Registration, v verdict, now time.Time) {
	from := l.st.First
	switch v.action {
	case nothing:
		b.remark(l, remark{reason: v.reason, from: from, upto: v.upto}, now)
		if l.st.settled(v.upto, v.reason, now); v.ends {
			l.st.forgotten()
		}
		l.settled, l.save = v.upto, true
	case wait:
		b.waits(l, v.until, v.reason, now)
	case fold:
		b.fold(p, l, v.until, v.reason, v.upto, now)
	case ring, clears:
		var why Reason // it waited
		if l.base != nil && l.base.Due != 0 {
			why = l.base.Reason
		}
		chat := v.action == ring && v.class == push.Chat && l.r.log != 0 && v.kind != push.KindNotice
		switch {
		case (why == ReasonRetry || why == ReasonHeld || why == ReasonCapped) && l.base.Due > now.UnixMilli(): // until then nobody is asked
			if l.covered, l.save = true, true; l.base.waiting() {
				l.keep()
			}
		case chat && why == ReasonCapped:
			b.fold(p, l, now, ReasonCapped, v.upto, now)
		default:
			b.submit(l, to, v, chat, now)
		}
	}
}

// waits has the ring wait: for a moment in memory, else as a row that stands for everything that came.
func (b *Bridge) waits(l *look, until time.Time, why Reason, now time.Time) {
	if l.st.Reason != why || !until.Equal(time.UnixMilli(l.st.Due)) {
		b.remark(l, remark{reason: why, from: l.st.First, upto: l.st.Last, until: until.UnixMilli()}, now)
	}
	short := why == ReasonGrace || why == ReasonActive
	if short && until.Sub(now) <= inMemory &&
		(l.news.first.seq == 0 || until.UnixMilli()-l.news.since <= inMemoryAll.Milliseconds()) {
		l.wait, l.why = until, why
		if l.base != nil {
			l.st = *l.base
		} else {
			l.st = state{}
		}
		return
	}
	l.st.waits(until, why)
	l.save, l.covered = true, true
}

// fold settles the ring, to be told in the device's summary.
func (b *Bridge) fold(p *pass, l *look, until time.Time, why Reason, upto store.Seq, now time.Time) {
	b.remark(l, remark{reason: why, from: l.st.First, upto: upto, until: until.UnixMilli()}, now)
	p.folds = append(p.folds, folding{l.r.device, l.st.Time, until})
	l.st.settled(upto, why, now)
	l.settled, l.save = upto, true
}

// summarise notes in a device's summary that it has something to tell.
func (b *Bridge) summarise(sh *shard, a *account, p *pass, f folding) {
	var l *look
	for _, o := range p.looks {
		if o.r.log == 0 && o.r.device == f.device {
			l = o
		}
	}
	if l == nil {
		sh.mu.Lock()
		r := b.table.make(sh, key{a.id, f.device, 0})
		l = &look{r: r, base: r.st, fly: r.fly}
		loaded := r.loaded
		sh.mu.Unlock()
		p.looks = append(p.looks, l)
		if !loaded {
			var err error
			if l.base, err = b.load(l.r.key); err != nil {
				l.failed = true
			}
		}
		if l.base != nil {
			l.st = *l.base
		}
	}
	if l.failed {
		p.fail()
		return
	}
	sh.mu.Lock()
	flies := l.r.fly != nil && l.result == nil
	sh.mu.Unlock()
	if flies {
		l.st.Due = 0 // what is on its way may not tell of it
	}
	if l.st.folded(f.written, f.until) {
		l.save = true
	}
}

// fail gives up what was decided: it belongs together.
func (p *pass) fail() {
	for _, l := range p.looks {
		l.failed = true
	}
}

// submit gives the ring's push to the lane. Where that takes none the ring waits as a row.
func (b *Bridge) submit(l *look, to *graph.Registration, v verdict, counts bool, now time.Time) {
	if counts {
		if until, ok := b.caps.take(l.r.key, now); !ok {
			b.waits(l, until, ReasonCapped, now)
			return
		}
	}
	j := &job{b: b, r: l.r, to: to, class: v.class, reason: v.reason, provider: to.Provider, submitted: now, counted: counts,
		tries: l.st.Tries, bare: l.st.Bare}
	if v.action == clears {
		j.class = push.Clear
	}
	sh := b.table.shard(l.r.account)
	sh.mu.Lock()
	l.r.loaded, l.r.st, l.r.fly, l.r.provider = true, l.base, j, to.Provider
	sh.mu.Unlock()
	at, ok := b.lanes[to.Provider].Submit(j)
	if ok {
		l.keep()
		return
	}
	sh.mu.Lock()
	l.r.fly = nil
	sh.mu.Unlock()
	if counts {
		b.caps.back(l.r.key)
	}
	// Those that come back within the same second are tried in order of age.
	at = at.Add(time.Second - 1).Truncate(time.Second)
	if l.base != nil && l.base.waiting() {
		l.keep()
		l.covered, l.hint = true, at
		return
	}
	b.waits(l, at, ReasonHeld, now)
}

// keep leaves the state as the row has it: what has come since is remembered otherwise.
func (l *look) keep() {
	l.st = state{}
	if l.base != nil {
		l.st = *l.base
	}
}

// landed sees to what became of a push.
func (b *Bridge) landed(ctx context.Context, p *pass, l *look, now time.Time) error {
	j, res := l.fly, l.result
	v := &j.v
	from, oldest := l.st.First, l.st.Time
	if j.counted && res.Action != lane.Sent && !res.Tried {
		b.caps.back(l.r.key)
		j.counted = false // once, though this is seen to again where the store fails
	}
	note := remark{reason: v.reason, from: from, upto: v.upto, answer: answerOf(res), push: j.sent}
	switch res.Action {
	case lane.Sent:
		if v.kind == push.KindRequests {
			if err := b.judge.boxRang(ctx, l.r.key, now); err != nil && store.CodeOf(err) != store.CodeNotFound {
				return err
			}
		}
		l.st.told(v, now)
		if oldest != 0 && v.action == ring {
			b.metrics.took(j.provider, v.reason, now.Sub(time.UnixMilli(oldest)))
		}
		b.remark(l, note, now)
		l.settled, l.save = v.upto, true
	case lane.Unneeded:
		switch {
		case j.err != nil: // what became of the push is known: it was not made; so the ring is looked at anew, not the result
			b.metrics.failures.Inc()
			b.log.Error("push not made", keyUser, l.r.account, keyDevice, l.r.device, keyLog, l.r.log, keyErr, j.err)
			l.keep()
			l.wait, l.why = now.Add(again), ReasonRetry
		case j.moved:
			l.keep()
			l.more = true
		default:
			b.act(p, l, nil, *v, now)
		}
	case lane.Again:
		why := ReasonHeld
		if res.Push != nil {
			why = ReasonRetry
			l.st.Tries++
			note.reason, note.until = why, res.At.UnixMilli()
			b.remark(l, note, now)
		}
		l.st.waits(res.At, why)
		l.save, l.covered = true, true
	case lane.Bare:
		if l.st.Bare {
			note.reason = ReasonRefused
			b.refuse(l, note, now)
			break
		}
		l.st.Bare = true
		l.st.waits(now, ReasonRetry)
		l.save, l.covered, l.more = true, true, true
	case lane.TokenGone:
		if res.Push != nil {
			removed, err := b.graph.Unregister(ctx, l.r.account, l.r.device, &res.Push.To)
			if err != nil && store.CodeOf(err) != store.CodeNotFound {
				return err
			}
			if !removed && err == nil { // it has registered again meanwhile
				l.keep()
				l.more = true
				break
			}
		}
		note.reason = ReasonNoToken
		b.refuse(l, note, now)
	default: // lane.Dropped
		note.reason = ReasonRefused
		b.refuse(l, note, now)
	}
	b.metrics.ended(j.provider, j.reason, res.Action)
	return nil
}

// refuse settles what the provider will never take.
func (b *Bridge) refuse(l *look, note remark, now time.Time) {
	b.remark(l, note, now)
	if l.st.settled(max(note.upto, l.st.Last), note.reason, now); note.reason == ReasonNoToken {
		l.st.forgotten()
	}
	l.settled, l.save = l.st.Done, true
}

func answerOf(res *lane.Result) *push.Answer {
	if res.Push == nil {
		return nil
	}
	a := res.Answer
	a.Err = nil // for the log alone
	return &a
}

// remark counts a decision and keeps it for who asks.
func (b *Bridge) remark(l *look, n remark, now time.Time) {
	n.key, n.time = l.r.key, now.UnixMilli()
	if n.from == 0 {
		n.from = n.upto
	}
	b.metrics.decided(l.provider, n.reason)
	b.audit.add(n)
}

// save makes what was decided durable, all of it or nothing.
func (b *Bridge) save(ctx context.Context, a *account, p *pass, now time.Time) error {
	u := store.Update{Owner: store.OwnerOf(a.id)}
	for _, l := range p.looks {
		if l.failed || !l.save {
			continue
		}
		if l.st.First != 0 && l.st.Due == 0 { // a part is settled: the rest is looked at at once, after a crash too
			l.st.Due, l.more = now.UnixMilli(), true
		}
		put := store.RowPut{Table: tableRing, Key: rowKey(l.r.key)}
		switch keeps := l.st.keeps(); {
		case keeps && (l.base == nil || *l.base != l.st):
			value, err := json.Marshal(&l.st)
			if err != nil {
				return fmt.Errorf("bridge: %s: %w", tableRing, err)
			}
			put.Value, put.Expires = value, l.st.expires(b.cfg.TTL, now)
		case keeps || l.base == nil:
			continue
		}
		l.put = &put
		u.Rows = append(u.Rows, put)
	}
	if len(u.Rows) == 0 {
		return nil
	}
	if err := b.store.Update(ctx, u); err != nil {
		return fmt.Errorf("bridge: %s: %w", tableRing, err)
	}
	return nil
}

// commit lets take effect what was decided about a ring and is durable. The caller holds the shard's mu.
func (b *Bridge) commit(sh *shard, l *look, now time.Time) {
	r := l.r
	if l.failed {
		b.await(r, now.Add(again).UnixMilli(), l.st.Time)
		r.why = ReasonRetry
		return
	}
	if l.result != nil {
		r.fly, r.result = nil, nil
		r.todo, r.touched = r.todo || r.touched, false
	}
	was := l.base != nil && l.base.Due != 0
	r.loaded, r.st = true, l.base
	if l.put != nil {
		sh.rows++
		r.st = nil
		if l.put.Value != nil {
			st := l.st
			r.st = &st
		}
	}
	is := r.st != nil && r.st.Due != 0
	switch {
	case is && !was:
		b.rowsDue.Add(1)
	case was && !is:
		b.rowsDue.Add(-1)
		b.hints.drop(r.key)
	}
	switch {
	case r.news.first.seq < l.news.first.seq: // one came late meanwhile: all of it is looked at again
	case !l.covered:
		r.news.settle(l.settled)
	case r.st != nil && r.st.Reason == ReasonQuiet: // what came since may be of somebody who rings all the same
		r.news.settle(l.news.last)
	default:
		r.news.drop()
	}
	if l.covered {
		r.release()
	}
	if !l.wait.IsZero() {
		r.why = l.why
		b.await(r, l.wait.UnixMilli(), l.st.Time)
	}
	r.todo = r.todo || l.more
	if r.fly != nil || r.due != 0 || r.todo {
		return
	}
	if r.news.first.seq != 0 { // more has come
		r.todo = true
		return
	}
	r.release()
	if is {
		at := r.st.Due
		if !l.hint.IsZero() {
			at = l.hint.UnixMilli()
		}
		b.hints.add(r.key, at, r.st.Time)
		b.stir()
	}
}
