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
	Sources map[string]Source // each is a Pager or a Sifter

	Page   int              // users of a page, of a Sifter those whom it finds; 0: 500
	Logger *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now
}

// DefaultPage is how many users are told at a time.
const DefaultPage = 500

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil || c.Graph == nil:
		return errors.New("bulk: no store or graph")
	case c.Page < 0:
		return errors.New("bulk: a page has fewer than no users")
	}
	for name, s := range c.Sources {
		_, pages := s.(Pager)
		if _, sifts := s.(Sifter); !pages && !sifts {
			return fmt.Errorf("bulk: source %q names nobody", name)
		}
	}
	return nil
}

// Bulk runs jobs. It may be used from any goroutine.
type Bulk struct {
	cfg   Config
	store store.Tables
	log   *slog.Logger
	now   func() time.Time

	creating sync.Mutex // one at a time makes a job

	mu     sync.Mutex
	moved  chan struct{} // closed when something about jobs has changed
	live   []uint64      // the jobs that have not ended, ascending
	newest uint64        // the greatest number that a job has had
	sifts  []*sifting    // the last ones

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
	if err := b.load(); err != nil {
		return nil, err
	}
	b.life, b.end = context.WithCancel(context.Background())
	for name, l := range cfg.Lanes {
		b.wg.Go(func() { b.work(b.life, name, l) })
	}
	return b, nil
}

// Close stops sending and waits for what is under way; what was not sent is sent by the next New. Safe twice. Close it before
// the lanes, or at the same time.
func (b *Bulk) Close() error {
	b.end()
	b.wg.Wait()
	return nil
}

// load finds the jobs that have not ended.
func (b *Bulk) load() error {
	return b.jobs(func(j *Job) {
		b.newest = max(b.newest, j.Number)
		if !j.State.Ended() {
			b.live = append(b.live, j.Number)
		}
	})
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

// Look has those jobs looked at again that their sources hold: see ErrHold.
func (b *Bulk) Look() { b.kick() }

func (b *Bulk) running() []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.live)
}

func (b *Bulk) ended(number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, found := slices.BinarySearch(b.live, number); found {
		b.live = slices.Delete(b.live, at, at+1)
	}
}

// worker runs one provider's part of every job: a page of each in turn, so that who has few to tell does not wait for who
// has many.
type worker struct {
	*Bulk
	provider graph.PushProvider
	lane     Lane
	last     uint64               // the job that had its turn
	held     map[uint64]time.Time // jobs that are left alone until then
	sent     time.Time            // when the provider last took one
}

func (b *Bulk) work(ctx context.Context, name graph.PushProvider, l Lane) {
	w := &worker{Bulk: b, provider: name, lane: l}
	kicked := (<-chan struct{})(nil)
	for ctx.Err() == nil {
		if now := b.kicked(); now != kicked { // whatever was held is looked at again
			kicked, w.held = now, make(map[uint64]time.Time)
		}
		j, part, wait, err := w.next(ctx)
		if err == nil && j != nil {
			w.last = j.Number
			err = w.page(ctx, j, part)
		}
		if err != nil && ctx.Err() == nil {
			b.log.Error("bulk push is tried again", keyProvider, string(name), keyErr, err)
			pause(ctx, time.Second)
			continue
		}
		if j == nil {
			w.sleep(ctx, kicked, wait)
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

// sleep waits until jobs have changed, or about until a moment; zero: there is none. The clock may be put forward.
func (w *worker) sleep(ctx context.Context, kicked <-chan struct{}, until time.Time) {
	var alarm <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(min(max(until.Sub(w.now()), 10*time.Millisecond), time.Second))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ctx.Done():
	case <-kicked:
	case <-alarm:
	}
}

// next is the job whose turn it is, nil if there is none; wait is when there may be one, zero: when something changes.
func (w *worker) next(ctx context.Context) (_ *Job, _ *Part, wait time.Time, err error) {
	live := w.running()
	at, found := slices.BinarySearch(live, w.last)
	if found {
		at++
	}
	now := w.now()
	for _, n := range slices.Concat(live[at:], live[:at]) {
		j, _, err := w.job(n)
		if store.CodeOf(err) == store.CodeNotFound || err == nil && j.State.Ended() {
			w.ended(n)
			continue
		}
		if err != nil {
			return nil, nil, wait, err
		}
		if w.cfg.Sources[j.Source] == nil {
			continue
		}
		over := now.UnixMilli() >= j.Ends
		if over && j.State == Paused {
			if err := w.close(ctx, &j, Expired); err != nil {
				return nil, nil, wait, err
			}
			continue
		}
		if j.State != Running {
			continue
		}
		part, _, err := w.part(n, w.provider)
		if err != nil {
			return nil, nil, wait, err
		}
		if part.Done { // a crash, or the disk, may have come before the job's end was noted
			if err := w.finish(ctx, &j); err != nil {
				return nil, nil, wait, err
			}
			continue
		}
		until := w.held[n]
		if begins := time.UnixMilli(j.Begins); begins.After(until) {
			until = begins
		}
		if now.Before(until) && !over {
			if end := time.UnixMilli(j.Ends); end.Before(until) {
				until = end
			}
			if wait.IsZero() || until.Before(wait) {
				wait = until
			}
			continue
		}
		return &j, &part, wait, nil
	}
	return nil, nil, wait, nil
}
