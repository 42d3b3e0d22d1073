package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	for ctx.Err() == nil {
		kicked := b.kicked()
		j, part, err := b.next(name)
		if err == nil && j != nil {
			err = b.page(ctx, l, j, part)
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

// page sends one page of a job and stores how far it came.
func (b *Bulk) page(ctx context.Context, l Lane, j *Job, part *Part) error {
	if b.now().UnixMilli() >= j.Ends {
		return b.setState(ctx, j.Number, Expired)
	}
	source := b.cfg.Sources[j.Source]
	users, err := source.Page(ctx, j, part.After, b.cfg.Page)
	if err != nil {
		return fmt.Errorf("bulk: page: %w", err)
	}
	if len(users) == 0 {
		part.Done = true
		if err := b.putPart(ctx, j.Number, part); err != nil {
			return err
		}
		return b.finish(ctx, j)
	}
	p := &page{bulk: b, ctx: ctx, job: j, source: source}
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
	counts, whole := p.send(l)
	if !whole {
		return ctx.Err() // paused, canceled, or the end of the program: the page begins anew
	}
	counts.Users = len(users)
	part.add(counts)
	part.After = users[len(users)-1]
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
	items   []*item
	results chan outcome
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
	err     error // why Build had nothing
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

// send sends every item until it is settled, and counts. whole is false if the job was stopped first: then nothing is
// counted. What was given to the lane is waited for in any case.
func (p *page) send(l Lane) (counts Part, whole bool) {
	open := p.items
	underway := 0
	var again []*item
	var at time.Time // when to go on
	for stop := false; ; {
		if !stop && !p.goesOn() {
			stop = true
		}
		for !stop && len(open) > 0 {
			when, ok := l.Submit(open[0])
			if !ok {
				at = when
				break
			}
			underway++
			open = open[1:]
		}
		if underway == 0 {
			open = append(open, again...)
			again = nil
			late := p.bulk.now().UnixMilli() >= p.job.Ends
			switch {
			case late:
				counts.Late += len(open)
				return counts, true
			case stop:
				return counts, false
			case len(open) == 0:
				return counts, true
			}
			p.sleep(at)
			continue
		}
		o := <-p.results
		underway--
		switch r := o.result; r.Action {
		case lane.Sent:
			counts.Sent++
		case lane.Dropped:
			counts.Failed++
		case lane.TokenGone:
			counts.Gone++
			p.forget(o.item)
		case lane.Bare:
			o.item.bare = true
			again = append(again, o.item)
		case lane.Again:
			again = append(again, o.item)
			if r.Tried {
				o.item.tries++
			}
			if r.At.After(at) {
				at = r.At
			}
		default: // lane.Unneeded
			if o.item.err == nil && p.goesOn() {
				counts.Skipped++
				continue
			}
			if o.item.err != nil {
				p.bulk.log.Error("bulk push is tried again", keyJob, p.job.Number, keyErr, o.item.err)
				at = p.bulk.now().Add(time.Second)
			}
			again, o.item.err = append(again, o.item), nil
		}
	}
}

// sleep waits until a moment, at least a little and at most a second, and less if jobs have changed.
func (p *page) sleep(until time.Time) {
	kicked := p.bulk.kicked()
	t := time.NewTimer(min(max(until.Sub(p.bulk.now()), 10*time.Millisecond), time.Second))
	defer t.Stop()
	select {
	case <-p.ctx.Done():
	case <-kicked:
	case <-t.C:
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
