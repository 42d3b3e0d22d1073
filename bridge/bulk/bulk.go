package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const (
	keyErr      = "err"
	keyJob      = "job"
	keyProvider = "provider"
)

// Lane is what carries pushes to one provider; *lane.Lane does.
type Lane interface {
	Submit(lane.Job) (at time.Time, ok bool)
}

// Config is what a Bulk is made of.
type Config struct {
	Store   store.Tables
	Graph   *graph.Graph
	Lanes   map[graph.PushProvider]Lane
	Sources map[string]Source

	Page   int              // users of a page; 0: 500
	Logger *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now
}

// DefaultPage is how many users are considered at a time.
const DefaultPage = 500

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil || c.Graph == nil:
		return errors.New("bulk: no store or graph")
	case c.Page < 0:
		return errors.New("bulk: a page has fewer than no users")
	}
	return nil
}

// Bulk runs jobs. It may be used from any goroutine.
type Bulk struct {
	cfg   Config
	store store.Tables
	log   *slog.Logger
	now   func() time.Time

	creating sync.Mutex // one Create at a time

	mu    sync.Mutex
	moved chan struct{} // closed when something about jobs has changed

	life context.Context // ends with Close
	end  context.CancelFunc
	wg   sync.WaitGroup
}

// New starts the jobs that have not ended.
func New(cfg Config) (*Bulk, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Page == 0 {
		cfg.Page = DefaultPage
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	b := &Bulk{cfg: cfg, store: cfg.Store, log: cfg.Logger, now: cfg.Now, moved: make(chan struct{})}
	b.life, b.end = context.WithCancel(context.Background())
	for name, l := range cfg.Lanes {
		b.wg.Go(func() { b.work(b.life, name, l) })
	}
	return b, nil
}

// Close stops sending and waits; pages under way are begun again by the next New. Safe twice. Close it before the lanes, or
// at the same time.
func (b *Bulk) Close() error {
	b.end()
	b.wg.Wait()
	return nil
}

// kick lets the workers look at the jobs again.
func (b *Bulk) kick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.moved)
	b.moved = make(chan struct{})
}

func (b *Bulk) kicked() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.moved
}

// work runs one provider's part of every job, the oldest first.
func (b *Bulk) work(ctx context.Context, name graph.PushProvider, l Lane) {
	var sent time.Time // when the provider last took one
	for ctx.Err() == nil {
		kicked := b.kicked()
		j, part, err := b.next(name)
		if err == nil && j != nil {
			err = b.page(ctx, l, j, part, &sent)
		}
		if err != nil && ctx.Err() == nil {
			b.log.Error("bulk push is tried again", keyProvider, string(name), keyErr, err)
			pause(ctx, time.Second)
			continue
		}
		if j != nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-kicked:
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// next is the oldest running job in which this provider has something left to do, nil if there is none.
func (b *Bulk) next(name graph.PushProvider) (*Job, *Part, error) {
	for after := ""; ; {
		rows, err := b.store.Rows(tableJob, "", "", after, 1000)
		if err != nil {
			return nil, nil, fmt.Errorf("bulk: %s: %w", tableJob, err)
		}
		for _, r := range rows {
			after = r.Key
			j, _, err := b.job(store.NumberOf(r.Key))
			if err != nil {
				return nil, nil, err
			}
			if j.State != Running || b.cfg.Sources[j.Source] == nil {
				continue
			}
			part, _, err := b.part(j.Number, name)
			if err != nil {
				return nil, nil, err
			}
			if !part.Done {
				return &j, &part, nil
			}
		}
		if len(rows) == 0 {
			return nil, nil, nil
		}
	}
}

// page sends one page of a job, and what the pages before it have left over, and stores how far it came.
func (b *Bulk) page(ctx context.Context, l Lane, j *Job, part *Part, sent *time.Time) error {
	if b.now().UnixMilli() >= j.Ends {
		if len(part.Left) > 0 {
			part.Late, part.Left = part.Late+len(part.Left), nil
			if err := b.putPart(ctx, j.Number, part); err != nil {
				return err
			}
		}
		return b.setState(ctx, j.Number, Expired)
	}
	source := b.cfg.Sources[j.Source]
	users, err := source.Page(ctx, j, part.After, b.cfg.Page)
	if err != nil {
		return fmt.Errorf("bulk: page: %w", err)
	}
	if len(users) == 0 && len(part.Left) == 0 {
		part.Done = true
		if err := b.putPart(ctx, j.Number, part); err != nil {
			return err
		}
		return b.finish(ctx, j)
	}
	p := &page{bulk: b, ctx: ctx, job: j, source: source, last: len(users) == 0, began: b.now(), sent: sent}
	for _, late := range part.Left {
		r, err := b.cfg.Graph.Registration(late.Account, late.Device)
		if err != nil {
			return fmt.Errorf("bulk: registration: %w", err)
		}
		if r == nil || r.Provider != part.Provider {
			p.counts.Skipped++
			continue
		}
		p.items = append(p.items, &item{page: p, account: late.Account, to: r, since: late.Since, at: time.UnixMilli(late.At), tries: late.Tries, bare: late.Bare})
	}
	for _, a := range users {
		list, err := b.cfg.Graph.Registrations(a)
		if err != nil {
			return fmt.Errorf("bulk: registrations: %w", err)
		}
		for i := range list {
			if list[i].Provider == part.Provider {
				p.items = append(p.items, &item{page: p, account: a, to: &list[i]})
			}
		}
	}
	p.results = make(chan outcome, len(p.items)) // each is under way once at most, so that no lane waits for us
	if !p.send(l) {
		return ctx.Err() // paused, canceled, or the end of the program: the page begins anew
	}
	part.add(p.counts)
	part.Left = part.Left[:0]
	for _, i := range p.items {
		part.Left = append(part.Left, late{i.account, i.to.Device, i.since, i.at.UnixMilli(), i.tries, i.bare})
	}
	if part.Users += len(users); len(users) > 0 {
		part.After = users[len(users)-1]
	}
	return b.putPart(ctx, j.Number, part)
}

// finish ends a job once every provider's part is done.
func (b *Bulk) finish(ctx context.Context, j *Job) error {
	for name := range b.cfg.Lanes {
		part, _, err := b.part(j.Number, name)
		if err != nil || !part.Done {
			return err
		}
	}
	err := b.setState(ctx, j.Number, Done)
	if store.CodeOf(err) == store.CodeConflict { // canceled meanwhile
		err = nil
	}
	return err
}

// page is a page under way.
type page struct {
	bulk    *Bulk
	ctx     context.Context // of the worker
	job     *Job
	source  Source
	items   []*item // that are neither settled nor under way
	results chan outcome
	counts  Part
	last    bool // there are no more users: nothing is left over to a later page
	began   time.Time
	woke    time.Time  // it has waited until then, whatever the clock says
	sent    *time.Time // when the provider last took one
}

type outcome struct {
	item   *item
	result lane.Result
}

// item is the push to one device. It is a lane.Tried.
type item struct {
	page    *page
	account store.AccountID
	to      *graph.Registration
	bare    bool // the provider found it too large
	tries   int
	err     error     // why Build had nothing
	since   int64     // Unix milliseconds, when it was left over by its own page; 0: it was not
	at      time.Time // it is not submitted before
}

var _ lane.Tried = (*item)(nil)

// Class and To implement lane.Job, Tries and Bare lane.Tried.
func (i *item) Class() push.Class       { return push.Bulk }
func (i *item) To() *graph.Registration { return i.to }
func (i *item) Tries() int              { return i.tries }
func (i *item) Bare() bool              { return i.bare }

// Build implements lane.Job.
func (i *item) Build(ctx context.Context) *push.Push {
	p := i.page
	if !p.goesOn() {
		return nil
	}
	owns, err := p.bulk.cfg.Graph.Owns(i.account, i.to)
	if err != nil || !owns {
		i.err = err
		return nil
	}
	out, err := p.source.Push(ctx, p.job, i.account, i.to)
	if err != nil || out == nil {
		i.err = err
		return nil
	}
	out.To, out.Class, out.Expires = *i.to, push.Bulk, time.UnixMilli(p.job.Ends)
	if i.bare {
		out.Note = out.Note.Bare()
	}
	return out
}

// Done implements lane.Job.
func (i *item) Done(r lane.Result) { i.page.results <- outcome{i, r} }

// goesOn reports whether the job is still to be sent.
func (p *page) goesOn() bool {
	if p.ctx.Err() != nil || p.bulk.now().UnixMilli() >= p.job.Ends {
		return false
	}
	j, _, err := p.bulk.job(p.job.Number)
	return err == nil && j.State == Running
}

const (
	// A device or a host that takes nothing for now does not hold up everybody behind it: after leaveAfter without
	// anything else to do a page is over, and what it could not send is tried again along with the pages after it.
	leaveAfter = 5 * time.Second
	// mostLeft is how many of them there may be. Beyond it pages wait, as they should where a provider is down; but what
	// has waited for giveUp, while others who came later were told, is given up.
	mostLeft = 1000
	giveUp   = time.Hour
	// refusals is how many in a row say that the lane takes nothing at all.
	refusals = 16
)

// send sends the items until each is settled, or can wait for a later page, and counts; what waits is left in p.items.
// false if the job was stopped first: then nothing is counted. What was given to the lane is waited for in any case.
func (p *page) send(l Lane) (whole bool) {
	underway := 0
	for stop := false; ; {
		if !stop && !p.goesOn() {
			stop = true
		}
		var next time.Time
		if !stop {
			var n int
			n, next = p.submit(l)
			underway += n
		}
		if underway > 0 {
			o := <-p.results
			underway--
			p.settle(o)
			continue
		}
		switch now := p.bulk.now(); {
		case now.UnixMilli() >= p.job.Ends:
			p.counts.Late += len(p.items)
			p.items = nil
			return true
		case stop:
			return false
		case len(p.items) == 0, !p.last && p.leaves(now):
			return true
		}
		p.sleep(next)
	}
}

// submit gives the lane what may be submitted now, and tells when there is more.
func (p *page) submit(l Lane) (n int, next time.Time) {
	now := p.bulk.now()
	var waits []*item
	refused := 0
	for k, i := range p.items {
		if !i.at.After(now) || !i.at.After(p.woke) {
			at, ok := l.Submit(i)
			if ok {
				n++
				refused = 0
				continue
			}
			i.at = at
			refused++
		}
		waits = append(waits, i)
		if next.IsZero() || i.at.Before(next) {
			next = i.at
		}
		if refused == refusals {
			waits = append(slices.Clone(p.items[k+1:]), waits...) // they have their turn first
			break
		}
	}
	p.items = waits
	return n, next
}

// leaves reports whether what waits can be left to later pages.
func (p *page) leaves(now time.Time) bool {
	if over := len(p.items) - mostLeft; over > 0 {
		p.items = slices.DeleteFunc(p.items, func(i *item) bool {
			since := time.UnixMilli(i.since)
			if over <= 0 || i.since == 0 || now.Sub(since) < giveUp || !p.sent.After(since) {
				return false
			}
			over--
			p.counts.Late++
			return true
		})
	}
	fresh := slices.ContainsFunc(p.items, func(i *item) bool { return i.since == 0 })
	if len(p.items) > mostLeft || fresh && now.Sub(p.began) < leaveAfter {
		return false
	}
	for _, i := range p.items {
		if i.since == 0 {
			i.since = p.began.UnixMilli()
		}
	}
	return true
}

// settle counts what became of an item, or keeps it for another try.
func (p *page) settle(o outcome) {
	i := o.item
	switch r := o.result; r.Action {
	case lane.Sent:
		p.counts.Sent++
		*p.sent = p.bulk.now()
		return
	case lane.Dropped:
		p.counts.Failed++
		return
	case lane.TokenGone:
		p.counts.Gone++
		p.forget(i)
		return
	case lane.Bare:
		i.bare = true
	case lane.Again:
		i.at = r.At
		if r.Tried {
			i.tries++
		}
	default: // lane.Unneeded
		if i.err == nil && p.goesOn() {
			p.counts.Skipped++
			return
		}
		if i.err != nil {
			p.bulk.log.Error("bulk push is tried again", keyJob, p.job.Number, keyErr, i.err)
			i.at = p.bulk.now().Add(time.Second)
		}
		i.err = nil
	}
	p.items = append(p.items, i)
}

// sleep waits until a moment, at least a little and at most a second, and less if jobs have changed.
func (p *page) sleep(until time.Time) {
	kicked := p.bulk.kicked()
	d := max(until.Sub(p.bulk.now()), 10*time.Millisecond)
	t := time.NewTimer(min(d, time.Second))
	defer t.Stop()
	select {
	case <-p.ctx.Done():
	case <-kicked:
	case <-t.C:
		if d <= time.Second {
			p.woke = until
		}
	}
}

// forget removes a registration whose token is not valid any more, unless it is newer.
func (p *page) forget(i *item) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), 10*time.Second)
	defer cancel()
	if _, err := p.bulk.cfg.Graph.Unregister(ctx, i.account, i.to.Device, i.to); err != nil {
		p.bulk.log.Warn("registration not removed", keyProvider, string(i.to.Provider), keyErr, err)
	}
}
