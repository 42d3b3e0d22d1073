package coupon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Store is what coupons are kept in and asked of; every store.Store has it.
type Store interface {
	graph.Store
	Account(id store.AccountID) (store.Account, error)
	AccountByName(name string) (store.Account, error)
	Info(log store.LogID) (store.LogInfo, error)
	Read(q store.Query) (store.Page, error)
}

// Config is what a Service is made of.
type Config struct {
	Store Store        // required
	Graph *graph.Graph // nil: over Store

	// Secret derives keys, from a secret that lies outside the database. Required. Under another secret every code that
	// was ever shown is unknown.
	Secret func(purpose, text string) [32]byte

	// Send sends a gift's message as a user, under the rules for messages. Repeating it with the topic's CID is safe.
	// nil: nobody can give.
	Send func(ctx context.Context, id hooks.Identity, t hooks.Topic, c view.Content) (store.Receipt, error)

	// MaySee tells whether a post of a channel is for a follower, now. nil: campaigns for those a post is for are for nobody.
	MaySee func(me store.AccountID, log store.LogInfo, post *store.Record) (bool, error)

	// Round is what a brand is told of a number of people, of all those who follow its channel. nil: nothing.
	Round func(channel store.LogID, n int) (*int, error)

	Limits     *limit.Limiter        // of wrong codes; nil: none
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("coupon: no store")
	case c.Secret == nil:
		return errors.New("coupon: no secret")
	}
	return nil
}

// Service answers users, brands and tills.
type Service struct {
	cfg     Config
	store   Store
	graph   *graph.Graph
	now     func() time.Time
	metrics *metrics
	turns   [64]chan struct{} // changes of one campaign's rows take turns: without, many at once would lose too many races
}

// New returns a Service, or what Validate says.
func New(cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Graph == nil {
		cfg.Graph = graph.New(cfg.Store, cfg.Now)
	}
	if cfg.Round == nil {
		cfg.Round = func(store.LogID, int) (*int, error) { return nil, nil }
	}
	s := &Service{cfg: cfg, store: cfg.Store, graph: cfg.Graph, now: cfg.Now}
	for i := range s.turns {
		s.turns[i] = make(chan struct{}, 1)
	}
	var err error
	if s.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("coupon: metrics: %w", err)
	}
	return s, nil
}

// metrics count; they name no campaign and nobody.
type metrics struct {
	redeemed *prometheus.CounterVec // by answer
	undone   prometheus.Counter
	shown    prometheus.Counter
	gifts    *prometheus.CounterVec // by outcome
}

// Outcomes of gifts, in metrics.
const (
	giftSent    = "sent"
	giftResumed = "resumed"
	giftRefused = "refused"
	giftOpened  = "opened"
)

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		redeemed: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Name: "coupons_redeemed_total",
			Help: "Codes presented at tills, by the answer: valid, repeated (a valid one that was asked for again), used, expired, unknown."}, []string{"answer"}),
		undone: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Name: "coupons_undone_total",
			Help: "Redemptions taken back by the shop."}),
		shown: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Name: "coupons_shown_total",
			Help: "Codes shown to their holders."}),
		gifts: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Name: "gifts_total",
			Help: "Gifts: sent, resumed after an interruption, refused by the rules for messages, opened."}, []string{"outcome"}),
	}
	for _, a := range []string{string(Valid), repeated, string(Used), string(Expired), string(Unknown)} {
		m.redeemed.WithLabelValues(a)
	}
	for _, o := range []string{giftSent, giftResumed, giftRefused, giftOpened} {
		m.gifts.WithLabelValues(o)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.redeemed, m.undone, m.shown, m.gifts} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
