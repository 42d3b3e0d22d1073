package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/store"
)

// metrics count; they name no user, room or device.
type metrics struct {
	requests *prometheus.CounterVec   // by op, code
	seconds  *prometheus.HistogramVec // by op
	unkept   prometheus.Counter
	untold   prometheus.Counter
	queued   *prometheus.CounterVec // by kind
	closed   *prometheus.CounterVec // by kind, outcome
	limited  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Name: "api_requests_total",
			Help: "Control requests over HTTP and MQTT, by operation and code."}, []string{"op", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "hwangso", Name: "api_request_seconds",
			Help: "How long control requests took.", Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30}},
			[]string{"op"}),
		unkept: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Name: "api_answers_unkept_total",
			Help: "Answers to changing requests that could not be kept for a repetition."}),
		untold: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Name: "api_notices_lost_total",
			Help: "Notices to users that could not be written."}),
		queued: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Name: "reports_total",
			Help: "Reports and appeals that came into the operators' queue."}, []string{"kind"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Name: "reports_closed_total",
			Help: "Reports and appeals that operators closed, by outcome."}, []string{"kind", "outcome"}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Name: "accounts_limited_by_reports_total",
			Help: "Times reports limited an account without an operator."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.unkept, m.untold, m.queued, m.closed, m.limited} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) served(op string, err error, took time.Duration) {
	code := 200
	if err != nil {
		code = int(store.CodeOf(err))
	}
	m.requests.WithLabelValues(op, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(op).Observe(took.Seconds())
}
