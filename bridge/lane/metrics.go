package lane

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge/push"
)

// Why Submit refuses, beside the states.
const (
	whyClosed = "closed"
	whyDevice = "device" // the provider asked to leave it alone
	whyFull   = "full"
	whyRoutes = "routes" // too many are in use
)

const (
	actions  = int(TokenGone) + 1
	outcomes = int(push.Blocked) + 1
)

// metrics name no token, device, user or host. Those of one provider have its name in the label "provider".
type metrics struct {
	jobs     [3][actions]prometheus.Counter
	attempts [3][outcomes]prometheus.Counter
	seconds  prometheus.Observer
	queued   [3]prometheus.Observer
	reasons  *prometheus.CounterVec
	refusals *prometheus.CounterVec
	trips    prometheus.Counter
	spared   prometheus.Counter
	gone     [outcomes]prometheus.Counter // nil for outcomes by which no token goes
}

func newMetrics(reg prometheus.Registerer, l *Lane) (*metrics, error) {
	labels := prometheus.Labels{"provider": string(l.cfg.Name)}
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "hwangso", Name: name, Help: help, ConstLabels: labels}
	}
	jobs := prometheus.NewCounterVec(opts("push_jobs_total", "What became of pushes that were submitted, by class and action."), []string{"class", "action"})
	attempts := prometheus.NewCounterVec(opts("push_attempts_total", "Attempts to send a push, by class and outcome."), []string{"class", "outcome"})
	gone := prometheus.NewCounterVec(opts("push_tokens_removed_total", "Push tokens that ended, by the outcome that ended them."), []string{"outcome"})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "hwangso", Name: "push_attempt_seconds",
		Help: "How long an attempt to send a push took.", ConstLabels: labels, Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}})
	queued := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "hwangso", Name: "push_queue_seconds",
		Help: "How long a push waited for its turn, by class.", ConstLabels: labels, Buckets: []float64{.001, .01, .1, .5, 1, 5, 15, 60}}, []string{"class"})
	m := &metrics{
		seconds: seconds,
		reasons: prometheus.NewCounterVec(opts("push_refusals_total",
			"Attempts that were not delivered, by outcome and the provider's reason."), []string{"outcome", "reason"}),
		refusals: prometheus.NewCounterVec(opts("push_deferrals_total",
			"Pushes that were not queued but told to come back, by why."), []string{"why"}),
		trips:  prometheus.NewCounter(opts("push_guard_trips_total", "How often all push tokens looked invalid, so that they were kept and pushes held.")),
		spared: prometheus.NewCounter(opts("push_suspects_dropped_total", "Pushes given up because their token looked invalid and may not be removed.")),
	}
	for _, c := range push.Classes() {
		m.queued[c] = queued.WithLabelValues(c.String())
		for a := range m.jobs[c] {
			m.jobs[c][a] = jobs.WithLabelValues(c.String(), Action(a).String())
		}
		for o := range m.attempts[c] {
			m.attempts[c][o] = attempts.WithLabelValues(c.String(), push.Outcome(o).String())
		}
	}
	for _, o := range []push.Outcome{push.Gone, push.Suspect, push.Blocked} {
		m.gone[o] = gone.WithLabelValues(o.String())
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, more prometheus.Labels, f func() float64) prometheus.Collector {
		all := prometheus.Labels{"provider": string(l.cfg.Name)}
		for k, v := range more {
			all[k] = v
		}
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hwangso", Name: name, Help: help, ConstLabels: all}, f)
	}
	all := []prometheus.Collector{jobs, attempts, gone, seconds, queued, m.reasons, m.refusals, m.trips, m.spared,
		gauge("push_in_flight", "Pushes under way.", nil, func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return float64(l.inFlight())
		}),
		gauge("push_queue_oldest_seconds", "How long the oldest push has been waiting for its turn.", nil, func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.oldest(l.cfg.Now()).Seconds()
		}),
		gauge("push_bulk_rate", "Bulk pushes a second that may be sent at this moment, 0 if as many as go.", nil, func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.bulkRate(l.cfg.Now())
		}),
	}
	for _, c := range push.Classes() {
		all = append(all, gauge("push_queued", "Pushes that wait for their turn, by class.", prometheus.Labels{"class": c.String()}, func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return float64(l.waiting[c].n)
		}))
	}
	for _, s := range States() {
		all = append(all, gauge("push_state", "1 for the state in which a provider is.", prometheus.Labels{"state": string(s)}, func() float64 {
			if l.state() == s {
				return 1
			}
			return 0
		}))
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) did(c push.Class, a Action) { m.jobs[c][a].Inc() }

func (m *metrics) refused(why string) { m.refusals.WithLabelValues(why).Inc() }

func (m *metrics) waited(c push.Class, d time.Duration) { m.queued[c].Observe(d.Seconds()) }

func (m *metrics) answered(c push.Class, a *attempt, d time.Duration) {
	o := a.answer.Outcome
	m.attempts[c][o].Inc()
	m.seconds.Observe(d.Seconds())
	if o != push.Delivered {
		m.reasons.WithLabelValues(o.String(), a.word).Inc()
	}
}
