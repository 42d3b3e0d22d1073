package bulk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const (
	// A device or a host that takes nothing for now does not hold up everybody behind it: after leaveAfter without
	// anything else to do a page is over, and what it could not send is tried again along with the pages after it.
	leaveAfter = 5 * time.Second
	// mostLeft is how many of them there may be. Beyond it no more users are considered, as it should be where a provider
	// is down; but what has waited for giveUp, while others who came later were told, is given up.
	mostLeft = 1000
	giveUp   = time.Hour
	// refusals is how many in a row say that the lane takes nothing at all.
	refusals = 16
	// holdLasts is how long a job is left alone that its source holds.
	holdLasts = 5 * time.Second
)

// errStopped is why a push was not made that would have been a moment before, and perhaps a moment later.
var errStopped = errors.New("bulk: stopped")

// page sends one page of a job, and what the pages before it have left over, and stores how far it came.
func (w *worker) page(ctx context.Context, j *Job, part *Part) error {
	if w.now().UnixMilli() >= j.Ends {
		if len(part.Left) > 0 {
			part.Late, part.Left = part.Late+len(part.Left), nil
			if err := w.putPart(ctx, j, part); err != nil {
				return err
			}
		}
		return w.close(ctx, j, Expired)
	}
	if j.Of != "" && part.Upto == 0 {
		if err := w.reached(j, part); err != nil {
			return err
		}
	}
	sifted := Sifted{After: part.After}
	if len(part.Left) <= mostLeft {
		var err error
		switch sifted, err = w.sift(ctx, j, part); {
		case errors.Is(err, ErrHold):
			w.held[j.Number] = w.now().Add(holdLasts)
			return nil
		case errors.Is(err, ErrOver):
			return w.close(ctx, j, Canceled)
		case err != nil:
			return fmt.Errorf("bulk: page: %w", err)
		}
	}
	p := &page{worker: w, ctx: ctx, job: j, source: w.cfg.Sources[j.Source], began: w.now(), sent: &w.sent}
	if err := p.fill(part, sifted.Found); err != nil {
		return err
	}
	p.results = make(chan outcome, len(p.items)) // each is under way once at most, so that no lane waits for us
	p.send(w.lane)
	ctx = context.WithoutCancel(ctx) // what was sent is noted, though the program ends
	if err := p.rest(ctx, sifted.Later); err != nil {
		return err
	}
	part.add(p.counts)
	part.Left = part.Left[:0]
	for _, i := range p.items {
		part.Left = append(part.Left, late{i.account, i.to.Device, i.since, i.at.UnixMilli(), i.tries, i.bare})
	}
	part.After, part.Users = sifted.After, part.Users+sifted.Users
	part.Done = sifted.End && len(part.Left) == 0
	if err := w.putPart(ctx, j, part); err != nil {
		return err
	}
	switch {
	case part.Done:
		return w.finish(ctx, j)
	case len(p.items) > 0 && (sifted.End || len(part.Left) > mostLeft): // until one may be tried again
		at := p.items[0].at
		for _, i := range p.items {
			if i.at.Before(at) {
				at = i.at
			}
		}
		w.held[j.Number] = at
	}
	return nil
}

// reached sets for whom a job is that goes after another one. Pages of the other one with this provider are this worker's, so
// none of them is under way.
func (w *worker) reached(j *Job, part *Part) error {
	family, err := w.Family(j.Of)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	sent := 0
	for _, p := range family {
		for _, o := range p.Parts {
			if o.Provider == w.provider {
				sent += o.Sent
				part.Upto = max(part.Upto, o.After)
			}
		}
	}
	if sent == 0 {
		part.Upto = 0
	}
	return nil
}

// finish ends a job once every provider's part is done.
func (w *worker) finish(ctx context.Context, j *Job) error {
	for name := range w.cfg.Lanes {
		part, _, err := w.part(j.Number, name)
		if err != nil || !part.Done {
			return err
		}
	}
	return w.close(ctx, j, Done)
}

// page is a page under way.
type page struct {
	*worker
	ctx     context.Context // of the worker
	job     *Job
	source  Source
	items   []*item // that are neither settled nor under way
	results chan outcome
	counts  Part
	stopped bool // the source holds the job, or says that it is over
	began   time.Time
	woke    time.Time  // it has waited until then, whatever the clock says
	sent    *time.Time // when the provider last took one
	later   []*item    // that are to be told later
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
	err     error      // why Build had nothing
	made    *push.Push // by Build
	since   int64      // Unix milliseconds, when it was left over by its own page; 0: it was not
	at      time.Time  // it is not submitted before
}

var _ lane.Tried = (*item)(nil)

// fill takes up what was left over, and what was found.
func (p *page) fill(part *Part, found []Found) error {
	for _, late := range part.Left {
		r, err := p.cfg.Graph.Registration(late.Account, late.Device)
		if err != nil {
			return fmt.Errorf("bulk: registration: %w", err)
		}
		if r == nil || r.Provider != part.Provider {
			p.counts.Skipped++
			continue
		}
		p.items = append(p.items, &item{page: p, account: late.Account, to: r, since: late.Since, at: time.UnixMilli(late.At), tries: late.Tries, bare: late.Bare})
	}
	for _, f := range found {
		if f.To.Provider == part.Provider {
			p.items = append(p.items, &item{page: p, account: f.Account, to: f.To})
		}
	}
	return nil
}

// Class and To implement lane.Job, Tries and Bare lane.Tried.
func (i *item) Class() push.Class       { return push.Bulk }
func (i *item) To() *graph.Registration { return i.to }
func (i *item) Tries() int              { return i.tries }
func (i *item) Bare() bool              { return i.bare }

// Build implements lane.Job.
func (i *item) Build(ctx context.Context) *push.Push {
	p := i.page
	i.made = nil
	if !p.goesOn() {
		i.err = errStopped
		return nil
	}
	owns, err := p.cfg.Graph.Owns(i.account, i.to)
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
	i.made = out
	return out
}

// Done implements lane.Job.
func (i *item) Done(r lane.Result) { i.page.results <- outcome{i, r} }

// goesOn reports whether the job is still to be sent.
func (p *page) goesOn() bool {
	if p.ctx.Err() != nil || p.now().UnixMilli() >= p.job.Ends {
		return false
	}
	j, _, err := p.Bulk.job(p.job.Number)
	return err == nil && j.State == Running
}

// send sends the items until each is settled or can wait for a later page, or the job is stopped, and counts; what waits is
// left in p.items. What was given to the lane is waited for in any case.
func (p *page) send(l Lane) {
	underway := 0
	for {
		p.stopped = p.stopped || !p.goesOn()
		var next time.Time
		if !p.stopped {
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
		switch now := p.now(); {
		case now.UnixMilli() >= p.job.Ends:
			p.counts.Late += len(p.items)
			p.items = nil
			return
		case p.stopped:
			for _, i := range p.items {
				if i.since == 0 {
					i.since = p.began.UnixMilli()
				}
			}
			return
		case len(p.items) == 0, p.leaves(now):
			return
		}
		p.sleep(next)
	}
}

// submit gives the lane what may be submitted now, and tells when there is more.
func (p *page) submit(l Lane) (n int, next time.Time) {
	now := p.now()
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
	if slices.ContainsFunc(p.items, func(i *item) bool { return i.since == 0 }) && now.Sub(p.began) < leaveAfter {
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
	var deferred *Deferred
	switch r := o.result; r.Action {
	case lane.Sent:
		p.counts.Sent++
		*p.sent = p.now()
		p.told(o)
		return
	case lane.Dropped:
		p.counts.Failed++
		p.told(o)
		return
	case lane.TokenGone:
		p.counts.Gone++
		p.forget(i)
		p.told(o)
		return
	case lane.Bare:
		i.bare = true
	case lane.Again:
		i.at = r.At
		if r.Tried {
			i.tries++
		}
	default: // lane.Unneeded
		switch err := i.err; {
		case err == nil:
			p.counts.Skipped++
			p.told(o)
			return
		case errors.Is(err, errStopped): // it may go on by now
		case errors.As(err, &deferred):
			i.at = deferred.Until
			p.later = append(p.later, i)
			return
		case errors.Is(err, ErrHold), errors.Is(err, ErrOver):
			p.stopped = true
		default:
			p.log.Error("bulk push is tried again", keyJob, p.job.Number, keyErr, err)
			i.at = p.now().Add(time.Second)
		}
		i.err = nil
	}
	p.items = append(p.items, i)
}

// told lets the source know.
func (p *page) told(o outcome) {
	if t, ok := p.source.(Teller); ok {
		t.Told(p.job, o.item.account, o.item.to, o.item.made, o.result)
	}
}

// rest has those told later who are to be, by jobs for that.
func (p *page) rest(ctx context.Context, waits []Later) error {
	type span struct {
		first, last store.AccountID
		single      lates
	}
	spans := make(map[int64]*span)
	var order []int64
	of := func(until time.Time) *span {
		at := until.UnixMilli()
		if spans[at] == nil {
			spans[at] = &span{}
			order = append(order, at)
		}
		return spans[at]
	}
	for i := range waits {
		l := &waits[i]
		if l.To.Provider != p.provider {
			continue
		}
		s := of(l.Until)
		if s.first == 0 {
			s.first = l.Account
		}
		s.last = l.Account
		p.counts.Later++
	}
	for _, i := range p.later {
		s := of(i.at)
		s.single = append(s.single, late{Account: i.account, Device: i.to.Device, Since: i.at.UnixMilli(), At: i.at.UnixMilli(), Tries: i.tries, Bare: i.bare})
		p.counts.Later++
	}
	for _, at := range order {
		s := spans[at]
		late, err := p.worker.later(ctx, p.job, time.UnixMilli(at), s.first, s.last, s.single)
		if err != nil {
			return err
		}
		p.counts.Late += late
		p.counts.Later -= late
	}
	return nil
}

// sleep waits until a moment, at least a little and at most a second, and less if jobs have changed.
func (p *page) sleep(until time.Time) {
	kicked := p.kicked()
	d := max(until.Sub(p.now()), 10*time.Millisecond)
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
	if _, err := p.cfg.Graph.Unregister(ctx, i.account, i.to.Device, i.to); err != nil {
		p.log.Warn("registration not removed", keyProvider, string(i.to.Provider), keyErr, err)
	}
}
