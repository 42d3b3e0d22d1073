package discovery

import "github.com/prometheus/client_golang/prometheus"

// metrics count; they name no user and no number.
type metrics struct {
	numbers *prometheus.CounterVec // by outcome
	found   prometheus.Counter
	silent  prometheus.Counter
	joined  prometheus.Counter
	dropped prometheus.Counter
	failed  prometheus.Counter
	waiting prometheus.Gauge
	lookups *prometheus.CounterVec // by outcome
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Name: name, Help: help})
	}
	m := &metrics{
		numbers: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Name: "contacts_numbers_total",
			Help: "Phone numbers in syncs: known to the account, new, slow (they wait for their network), refused by a budget, bad."}, []string{"outcome"}),
		found:   counter("contacts_found_total", "Contacts told to users for the first time, in the answer to a sync or by a notice."),
		silent:  counter("contacts_silent_total", "Syncs of accounts that learn nothing new because of their hit ratio."),
		joined:  counter("contacts_joined_total", "Notices that a contact has joined."),
		dropped: counter("contacts_joined_dropped_total", "Users who were not told that a contact has joined, because too many waited for it."),
		failed:  counter("contacts_work_errors_total", "Pieces of queued work that failed and are tried again."),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "hwangso", Name: "contacts_slow_numbers",
			Help: "Numbers that wait because their network has asked for many, when they were last counted."}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Name: "lookups_total",
			Help: "Look-ups of users by identifier: of somebody tied, of a stranger, refused by a budget."}, []string{"outcome"}),
	}
	for _, o := range []string{outKnown, outNew, outSlow, outRefused, outBad} {
		m.numbers.WithLabelValues(o)
	}
	for _, o := range []string{outTied, outStranger, outRefused} {
		m.lookups.WithLabelValues(o)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.numbers, m.found, m.silent, m.joined, m.dropped, m.failed, m.waiting, m.lookups} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Outcomes of numbers and look-ups.
const (
	outKnown    = "known"
	outNew      = "new"
	outSlow     = "slow"
	outRefused  = "refused"
	outBad      = "bad"
	outTied     = "tied"
	outStranger = "stranger"
)
