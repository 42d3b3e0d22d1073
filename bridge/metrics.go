package bridge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/store/graph"
)

// metrics count; they name no user, device or conversation.
type metrics struct {
	decisions, pushes *prometheus.CounterVec
	acked             map[graph.PushProvider]prometheus.Counter // of decisions, for the path of every message
	age, delay        *prometheus.HistogramVec
	entries           prometheus.Counter
	failures          prometheus.Counter
}

// The buckets reach from one provider's round trip to the time after which a message is told in a summary.
var delays = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 300, 1800, 3600}

func newMetrics(b *Bridge) (*metrics, error) {
	const ns = "hwangso"
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: ns, Subsystem: "push", Name: name, Help: help}
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Subsystem: "push", Name: name, Help: help, Buckets: delays},
			[]string{"provider", "reason"})
	}
	m := &metrics{
		decisions: counter("decisions_total", "Decisions about messages of one conversation for one device, by reason.", "provider", "reason"),
		pushes:    counter("results_total", "What became of pushes that were given to a provider's lane.", "provider", "reason", "result"),
		age:       histogram("queue_age_seconds", "How long a push waited for its turn at a provider."),
		delay:     histogram("delay_seconds", "From the commit of the oldest message that a push tells of to the provider's answer that it has it."),
		entries: prometheus.NewCounter(prometheus.CounterOpts(opts("reader_entries_total",
			"Entries of the journal that the push bridge has read."))),
		failures: prometheus.NewCounter(prometheus.CounterOpts(opts("failures_total",
			"Decisions and rows that failed because of the store, and are made again."))),
		acked: make(map[graph.PushProvider]prometheus.Counter),
	}
	for p := range b.lanes {
		m.acked[p] = m.decisions.WithLabelValues(string(p), string(ReasonAcked))
	}
	reg := b.cfg.Registerer
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, of func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), of)
	}
	for _, c := range []prometheus.Collector{
		m.decisions, m.pushes, m.age, m.delay, m.entries, m.failures,
		gauge("rings", "Conversations of devices that something is under way with, in memory.", func() float64 { return float64(b.table.len()) }),
		gauge("rows_due", "Conversations of devices that wait as rows: windows, retries, quiet hours.", func() float64 { return float64(b.rowsDue.Load()) }),
		gauge("reader_lag_bytes", "How far the bridge's reader is behind the end of the journal.", func() float64 {
			_, end := b.store.Bounds()
			return float64(int64(end) - int64(b.read.Load()))
		}),
		gauge("reader_unsettled_entries", "Entries of the journal that were read and would be read again after a crash.", func() float64 {
			_, n := b.ledger.passed()
			return float64(n)
		}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) decided(p graph.PushProvider, why Reason) {
	m.decisions.WithLabelValues(string(p), string(why)).Inc()
}

func (m *metrics) ended(p graph.PushProvider, why Reason, a lane.Action) {
	m.pushes.WithLabelValues(string(p), string(why), a.String()).Inc()
}

func (m *metrics) waited(p graph.PushProvider, why Reason, d time.Duration) {
	m.age.WithLabelValues(string(p), string(why)).Observe(max(0, d.Seconds()))
}

func (m *metrics) took(p graph.PushProvider, why Reason, d time.Duration) {
	m.delay.WithLabelValues(string(p), string(why)).Observe(max(0, d.Seconds()))
}
