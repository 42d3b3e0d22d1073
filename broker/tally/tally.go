package tally

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Facts are what segments are made of, as deliveries see them.
type Facts struct {
	Country   string // ISO 3166-1 alpha-2, "": not known
	Language  string // BCP 47, the primary language alone
	Platforms []graph.Platform
}

// Config is what a Tally is made of.
type Config struct {
	Store     store.Store
	Followers store.Followers

	// Facts are a follower's, as the rules at delivery see them: a segment must count whom it will reach.
	Facts func(store.AccountID) (Facts, error)
	// Meant reports whether a post is for a follower, whatever has become of it. Asked for reports.
	Meant func(a store.AccountID, log store.LogInfo, r *store.Record) (bool, error)
	// Pushed is how many devices were woken for a post; nil: nobody is woken.
	Pushed func(ctx context.Context, log store.LogID, seq store.Seq) (int, error)
	// Pace waits until n rows may be read for what nobody waits for; nil: at once.
	Pace func(ctx context.Context, n int) error
	// Told is called when a day's numbers of a channel are there, from the goroutine of the run; nil: nobody is told.
	Told func(channel store.LogID)

	Hour int // of the day in UTC at which a snapshot is due, 0 to 23

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil || c.Followers == nil || c.Facts == nil || c.Meant == nil:
		return errors.New("tally: a store, its followers, facts and what posts are meant for are required")
	case c.Hour < 0 || c.Hour > 23:
		return fmt.Errorf("tally: %d is no hour of the day", c.Hour)
	}
	return nil
}

// The tables.
const (
	tableDay    store.Table = "channel.tally"  // owner: the channel; key "day", and "cells" with a number
	tableReport store.Table = "channel.report" // owner: the channel; key: log and sequence of the post
	tableRun    store.Table = "service.tally"  // how far the run has come
	tableOpened store.Table = "user.opened"    // key: log and sequence of a post that the user has opened; expires

	keyDay   = "day"
	keyCells = "cells"
	keyRun   = "run"
)

// HalfLife is how many days it takes until a post counts half in a channel's activity.
const HalfLife = 3

// page is how many followers are read at once.
const page = 500

// Tally takes the snapshots and answers from them. It may be used from any goroutine.
type Tally struct {
	cfg   Config
	store store.Store
	graph *graph.Graph
	log   *slog.Logger
	now   func() time.Time

	runs    chan struct{} // with room for one: a token when nobody takes a snapshot
	reports chan struct{} // the same for reports: they read as much
	metrics *metrics
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// New returns a Tally. Start begins its runs; Close ends it.
func New(cfg Config) (*Tally, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Pace == nil {
		cfg.Pace = func(ctx context.Context, _ int) error { return ctx.Err() }
	}
	if cfg.Pushed == nil {
		cfg.Pushed = func(context.Context, store.LogID, store.Seq) (int, error) { return 0, nil }
	}
	if cfg.Told == nil {
		cfg.Told = func(store.LogID) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("tally: metrics: %w", err)
	}
	t := &Tally{cfg: cfg, store: cfg.Store, graph: graph.New(cfg.Store, cfg.Now), log: cfg.Logger, now: cfg.Now, metrics: m,
		runs: make(chan struct{}, 1), reports: make(chan struct{}, 1), stop: func() {}}
	t.runs <- struct{}{}
	t.reports <- struct{}{}
	return t, nil
}

// Start takes the snapshot of the day if it was not taken yet, and then one a day, until Close. Call it once.
func (t *Tally) Start() {
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.wg.Go(func() { t.run(ctx) })
}

// Close ends the run and waits for it. What it has not finished goes on at the next Start. Safe twice.
func (t *Tally) Close() error {
	t.stop()
	t.wg.Wait()
	return nil
}

func (t *Tally) run(ctx context.Context) {
	for {
		next, wait := t.next(), time.Minute // of before: what falls due while others are counted is taken right after
		if err := t.Snapshot(ctx); err == nil {
			wait = next.Sub(t.now())
		} else if ctx.Err() == nil {
			t.log.Error("numbers of channels not counted", "err", err)
		}
		timer := time.NewTimer(max(wait, time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// today is the day whose numbers are due, counted from 1970; it begins at the hour of the snapshot.
func (t *Tally) today() int64 {
	return floorDiv(t.now().Unix()-int64(t.cfg.Hour)*3600, 24*3600)
}

// next is when the next snapshot is due.
func (t *Tally) next() time.Time {
	return time.Unix((t.today()+1)*24*3600+int64(t.cfg.Hour)*3600, 0)
}

func floorDiv(a, b int64) int64 { return int64(math.Floor(float64(a) / float64(b))) }

// progress is how far the run of a day has come.
type progress struct {
	Day   int64       `json:"day"`
	Began int64       `json:"began"` // Unix milliseconds
	After store.LogID `json:"after,omitempty"`
	Done  bool        `json:"done,omitempty"`
}

// Snapshot takes the snapshot that is due, if it was not taken yet. It is what the run does by itself, once a day.
func (t *Tally) Snapshot(ctx context.Context) error {
	select {
	case <-t.runs:
		defer func() { t.runs <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var p progress
	row, err := t.store.Row(tableRun, "", keyRun)
	if err == nil && row.Version != 0 {
		err = json.Unmarshal(row.Value, &p)
	}
	if err != nil {
		return fmt.Errorf("tally: run: %w", err)
	}
	if day := t.today(); row.Version == 0 || p.Day < day {
		p = progress{Day: day, Began: t.now().UnixMilli()}
		if err := t.keep(ctx, p); err != nil {
			return err
		}
	}
	for !p.Done {
		list, err := t.store.Logs(store.LogChannel, p.After, 100)
		if err != nil {
			return fmt.Errorf("tally: channels: %w", err)
		}
		for i := range list {
			if err := t.take(ctx, list[i], p); err != nil {
				return err
			}
			p.After = list[i].ID
			if err := t.keep(ctx, p); err != nil {
				return err
			}
		}
		if p.Done = len(list) == 0; p.Done {
			t.metrics.took.Set(float64(t.now().UnixMilli()-p.Began) / 1000)
			t.metrics.day.Set(float64(p.Day * 24 * 3600))
			if err := t.keep(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tally) keep(ctx context.Context, p progress) error {
	value, err := json.Marshal(p)
	if err == nil {
		err = t.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableRun, Key: keyRun, Value: value}}})
	}
	if err != nil {
		return fmt.Errorf("tally: run: %w", err)
	}
	return nil
}

// day is the snapshot of a channel.
type day struct {
	Day       int64     `json:"day"`
	Followers int       `json:"followers"`
	Ads       int       `json:"ads"`   // of them consent to advertising
	Chunks    int       `json:"cells"` // rows of cells
	Head      store.Seq `json:"head"`  // of the notices and advertising together
	Activity  float64   `json:"activity"`
	At        int64     `json:"at"` // when it was written, Unix milliseconds
}

// take makes the numbers of one channel and writes them at once. One that has those of the day keeps them.
func (t *Tally) take(ctx context.Context, info store.LogInfo, p progress) error {
	c, err := t.graph.Channel(info.ID)
	if err != nil {
		return fmt.Errorf("tally: channel: %w", err)
	}
	old, err := t.dayOf(info.ID)
	if err != nil {
		return err
	}
	if !c.Exists() || c.Created > p.Began || old.Day >= p.Day && old.At != 0 {
		return nil
	}
	d := day{Day: p.Day, Head: info.Head, At: t.now().UnixMilli()}
	if c.Ads != 0 {
		ads, err := t.store.Info(c.Ads)
		if err != nil {
			return fmt.Errorf("tally: advertising: %w", err)
		}
		d.Head += ads.Head
	}
	posts := min(d.Head-min(old.Head, d.Head), 50) // more a day count no more
	d.Activity = old.Activity*math.Exp2(-float64(p.Day-old.Day)/HalfLife) + float64(posts)
	cells := make(cells)
	err = t.each(ctx, info.ID, func(a store.AccountID, f *graph.Follow) error {
		d.Followers++
		if f.Ads != 0 {
			d.Ads++
		}
		facts, err := t.cfg.Facts(a)
		if store.CodeOf(err) == store.CodeNotFound { // it was erased a moment ago
			return nil
		}
		if err != nil {
			return fmt.Errorf("tally: facts: %w", err)
		}
		cells.add(traitsOf(facts, weeks(f.Since, p.Began)))
		return nil
	})
	if err != nil {
		return err
	}
	chunks := cells.encode()
	d.Chunks = len(chunks)
	u := store.Update{Owner: store.OwnerOfLog(info.ID)}
	for i, chunk := range chunks {
		u.Rows = append(u.Rows, store.RowPut{Table: tableDay, Key: cellsKey(i), Value: chunk})
	}
	for i := len(chunks); i < old.Chunks; i++ {
		u.Rows = append(u.Rows, store.RowPut{Table: tableDay, Key: cellsKey(i)})
	}
	value, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("tally: %w", err)
	}
	u.Rows = append(u.Rows, store.RowPut{Table: tableDay, Key: keyDay, Value: value})
	if err := t.store.Update(ctx, u); err != nil {
		return fmt.Errorf("tally: snapshot: %w", err)
	}
	t.metrics.channels.Inc()
	t.cfg.Told(info.ID)
	return nil
}

// each calls fn for every follower of a channel, paced. Nothing of it leaves the package.
func (t *Tally) each(ctx context.Context, channel store.LogID, fn func(store.AccountID, *graph.Follow) error) error {
	for after := store.AccountID(0); ; {
		if err := t.cfg.Pace(ctx, page); err != nil {
			return err
		}
		list, err := t.cfg.Followers.Followers(channel, after, page)
		if err != nil {
			return fmt.Errorf("tally: followers: %w", err)
		}
		for _, a := range list {
			after = a
			f, err := t.graph.Follow(a, channel)
			if err != nil {
				return fmt.Errorf("tally: follow: %w", err)
			}
			if !f.Follows() { // it left a moment ago
				continue
			}
			if err := fn(a, f); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
	}
}

func (t *Tally) dayOf(channel store.LogID) (day, error) {
	row, err := t.store.Row(tableDay, store.OwnerOfLog(channel), keyDay)
	if err != nil {
		return day{}, fmt.Errorf("tally: snapshot: %w", err)
	}
	d, err := store.Decoded(row, func(b []byte) (d day, err error) {
		if b != nil {
			err = json.Unmarshal(b, &d)
		}
		return d, err
	})
	if err != nil {
		return day{}, fmt.Errorf("tally: snapshot: %w", err)
	}
	return *d, nil
}

// Numbers are what a day's snapshot tells of a channel.
type Numbers struct {
	Day       string // of the snapshot, as in 2026-11-22; "": there is none yet
	Followers *int   // rounded; nil: too few
	Ads       *int   // of them consent to advertising; nil: too few, or nearly all
	Size      int    // coarse, for ranking: a power of ten, 0 below 20
	Activity  float64
	At        int64 // of Activity, Unix milliseconds
}

// Numbers are a channel's numbers of the day.
func (t *Tally) Numbers(channel store.LogID) (Numbers, error) {
	d, err := t.dayOf(channel)
	if err != nil || d.At == 0 {
		return Numbers{}, err
	}
	n := Numbers{Day: time.Unix(d.Day*24*3600, 0).UTC().Format(time.DateOnly), Followers: Round(d.Followers, 0), Ads: Round(d.Ads, d.Followers),
		Activity: d.Activity, At: d.At}
	if n.Followers != nil {
		for n.Size = 10; n.Size*10 <= *n.Followers; n.Size *= 10 {
		}
	}
	return n, nil
}

// Of is what outsiders are told of a number of a channel's followers: Round beside the snapshot's number of them all, which
// stays here. nil also before the first snapshot.
func (t *Tally) Of(channel store.LogID, n int) (*int, error) {
	d, err := t.dayOf(channel)
	if err != nil || d.At == 0 {
		return nil, err
	}
	return Round(n, d.Followers), nil
}
