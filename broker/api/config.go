package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/broker/coupon"
	"github.com/hwangso/hwangso/broker/discovery"
	"github.com/hwangso/hwangso/broker/files"
	"github.com/hwangso/hwangso/broker/link"
	"github.com/hwangso/hwangso/broker/search"
	"github.com/hwangso/hwangso/broker/signup"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Keys of log attributes, the same everywhere.
const (
	keyErr  = "err"
	keyOp   = "op"
	keyUser = "user"
)

// Limits bound what a user may have and ask for. A zero field means its default.
type Limits struct {
	Group       int           `json:"group"`       // members of a room; 500
	Rooms       int           `json:"rooms"`       // rooms a user is in; 1,000
	Friends     int           `json:"friends"`     // friends of a user; 10,000
	Blocks      int           `json:"blocks"`      // users a user blocks; 10,000
	Devices     int           `json:"devices"`     // devices of a user; 10
	Tokens      int           `json:"tokens"`      // tokens of a user that have not expired; 50
	Batch       int           `json:"batch"`       // users named in one request; 32
	Page        int           `json:"page"`        // items of a page; 200
	Title       int           `json:"title"`       // bytes of a room's title; 200
	Description int           `json:"description"` // bytes of a room's description; 1,000
	Invites     int           `json:"invites"`     // users invited a day; 50
	Display     int           `json:"display"`     // characters of a display name; 64
	Status      int           `json:"status"`      // characters of a status; 200
	Label       int           `json:"label"`       // characters of a device's or token's label; 64
	Deleted     int           `json:"deleted"`     // separate ranges a user deleted for itself in one conversation; 1,000
	Body        int           `json:"body"`        // bytes of a request; 128 KiB
	AtOnce      int           `json:"at_once"`     // requests of one user under way; 32
	Grace       time.Duration `json:"-"`           // longest life of a rotated token; 7 days
}

// answerBytes is about how much of a history goes into one answer. At least one record does.
const answerBytes = 256 << 10

func (l *Limits) setDefaults() {
	for _, f := range []struct {
		v *int
		d int
	}{
		{&l.Group, 500}, {&l.Rooms, 1000}, {&l.Friends, 10_000}, {&l.Blocks, 10_000}, {&l.Devices, hooks.DefaultDevices},
		{&l.Tokens, 50}, {&l.Batch, 32}, {&l.Page, 200}, {&l.Title, 200}, {&l.Description, 1000}, {&l.Invites, hooks.InvitationsADay}, {&l.Display, 64}, {&l.Status, 200},
		{&l.Label, 64}, {&l.Deleted, 1000}, {&l.Body, 128 << 10}, {&l.AtOnce, 32},
	} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	if l.Grace == 0 {
		l.Grace = 7 * 24 * time.Hour
	}
}

func (l *Limits) validate() error {
	for _, v := range []int{l.Group, l.Rooms, l.Friends, l.Blocks, l.Devices, l.Tokens, l.Batch, l.Page, l.Title, l.Description, l.Invites, l.Display,
		l.Status, l.Label, l.Deleted, l.Body, l.AtOnce, int(l.Grace)} {
		if v < 0 {
			return errors.New("api: a limit is negative")
		}
	}
	return nil
}

// Config is what an API is made of.
type Config struct {
	Broker *broker.Broker       // required; the API works on its store
	Auth   *hooks.Authenticator // required; who sends an HTTP request
	Limits Limits
	// Contacts bounds what can be found out by syncing address books and looking users up; Carriers are the networks behind
	// which a carrier hides many users.
	Contacts discovery.Limits
	Carriers []netip.Prefix
	Phones   *phone.Book  // which account has which phone number; nil: nobody has one
	Files    *files.Files // nil: this server keeps no files

	// AppsOpen lets other people's apps send links without an operator's approval; RoundLinks makes a count out of a total one that an app may see (nil: apps see no numbers).
	AppsOpen   bool
	RoundLinks func(n, total int) *int

	Webhooks *webhook.Service // nil: this server has no webhooks
	Push     *Pushes          // nil: this server sends no pushes

	Channels *channel.Service // nil: those of the store, which wait for approval
	Numbers  Numbers          // of channels; nil: none are told
	// Followed is called after a user has changed how it stands to a channel, so that deliveries look again; nil: nobody is
	// told.
	Followed func(a store.AccountID, channel store.LogID)

	Broadcasts *broadcast.Broadcasts // nil: channels do not post by this API

	CodeSender signup.Sender   // of one-time codes; nil: nobody can sign up by phone number
	SignUp     signup.Settings // limits and times of signing up and off

	Version       string              // of the program, shown by server.status and in the OpenAPI document; "" means "dev"
	Gatherer      prometheus.Gatherer // what /metrics shows; nil: no /metrics
	PublicMetrics bool                // /metrics on the public handler too

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Broker == nil:
		return errors.New("api: no broker")
	case c.Auth == nil:
		return errors.New("api: no authenticator")
	}
	return c.Limits.validate()
}

// API is the control API of a broker.
type API struct {
	cfg     Config
	broker  *broker.Broker
	store   store.Store
	graph   *graph.Graph
	finder  *discovery.Discovery
	set     atomic.Pointer[Limits] // in force; replaced, never changed
	log     *slog.Logger
	now     func() time.Time
	started time.Time
	metrics *metrics

	signup  *signup.Service // nil without Config.Phones
	coupons *coupon.Service
	links   *link.Service // other people's apps
	exports chan struct{} // archives being written

	users     map[string]*operation
	operators map[string]*operation
	flights   flights
	busy      busy
	turns     turns
	audit     audit

	rooms openRooms // found by open.search

	channels *channel.Service
	numbers  Numbers     // nil: none
	found    atomic.Bool // the directory of channels is complete

	draining atomic.Bool
	signIns  chan hooks.Identity // at most 1,024: a further one is counted and not told
	life     context.Context     // ends with Close
	stop     context.CancelFunc
	wg       sync.WaitGroup // notices
}

var _ broker.Requests = (*API)(nil)

// New returns the API of a broker. Close ends what it starts.
func New(cfg Config) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Limits.setDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	a := &API{
		cfg: cfg, broker: cfg.Broker, store: cfg.Broker.Store(), graph: graph.New(cfg.Broker.Store(), cfg.Now), log: cfg.Logger, now: cfg.Now,
		started: cfg.Now(), users: byName(userOperations()), operators: byName(operatorOperations()),
		signIns: make(chan hooks.Identity, 1024),
	}
	a.rooms.Index = search.New()
	a.channels, a.numbers = cfg.Channels, cfg.Numbers
	if a.channels == nil {
		var err error
		if a.channels, err = channel.New(channel.Config{Store: a.store, Graph: a.graph, Now: cfg.Now}); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
	}
	cfg.Broker.SetPlans(a.channels)
	a.set.Store(&cfg.Limits)
	a.flights.by = make(map[flightKey]*flight)
	a.busy.by = make(map[store.AccountID]int)
	a.exports = make(chan struct{}, exportsAtOnce)
	a.turns.init()
	a.audit.init()
	var err error
	if a.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("api: metrics: %w", err)
	}
	cfg.Contacts.Friends = cfg.Limits.Friends
	if a.finder, err = discovery.New(discovery.Config{
		Store: a.store, Graph: a.graph, Numbers: cfg.Phones, Limits: cfg.Contacts, Carriers: cfg.Carriers, Tied: a.tied,
		Logger: cfg.Logger, Registerer: cfg.Registerer, Now: cfg.Now,
	}); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if err := a.newCoupons(); err != nil {
		return nil, errors.Join(fmt.Errorf("api: %w", err), a.finder.Close())
	}
	if err := a.loadLimits(); err != nil {
		return nil, errors.Join(err, a.finder.Close())
	}
	if err := a.startLinks(); err != nil {
		return nil, errors.Join(fmt.Errorf("api: %w", err), a.finder.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	a.life, a.stop = ctx, stop
	if err := a.startSignUp(); err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("api: %w", err), a.links.Close(), a.finder.Close())
	}
	a.wg.Go(func() { a.tellSignIns(ctx) })
	a.wg.Go(func() { a.followRooms(ctx) })
	a.wg.Go(func() { a.loadChannels(ctx) })
	a.wg.Go(func() { a.keepStanding(ctx) })
	return a, nil
}

// limits are those in force. They can change at any time, so whoever needs two that belong together asks once.
func (a *API) limits() *Limits { return a.set.Load() }

// Drain makes /readyz fail, so that a load balancer sends nobody here any more. Requests are served as before.
func (a *API) Drain() { a.draining.Store(true) }

// Close ends what the API does by itself and waits for it. Call it after the transports have ended and before the
// broker and the store are closed. Safe twice.
func (a *API) Close() error {
	a.draining.Store(true)
	a.stop()
	a.wg.Wait()
	return errors.Join(a.links.Close(), a.finder.Close())
}

// lang is the language in which a user reads refusals.
func lang(acct store.Account) view.Lang { return view.ParseLang(acct.Language) }
