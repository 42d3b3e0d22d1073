package broadcast

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	states *prometheus.CounterVec
	late   prometheus.Histogram
	failed prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		states: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_broadcasts_total",
			Help: "Changes of broadcasts' states, by the state they came into."}, []string{"state"}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hwangso_broadcast_late_seconds",
			Help:    "How long after its time a broadcast's record was durable.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 30, 60, 300, 3600}}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_broadcast_failures_total",
			Help: "Steps of broadcasts that failed and are tried again."}),
	}
	for _, s := range []State{Scheduled, Running, Paused, Done, Canceled} {
		m.states.WithLabelValues(string(s))
	}
	if r != nil {
		r.MustRegister(m.states, m.late, m.failed)
	}
	return m
}
