package webhook

import (
	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of attempts: what metrics and owners are told of them.
const (
	outOK       = "ok"       // 2xx
	outRedirect = "redirect" // 3xx, which is not followed
	outGone     = "gone"     // 410
	outRefused  = "refused"  // another 4xx
	outServer   = "server"   // 5xx, and what is no answer of HTTP
	outTimeout  = "timeout"
	outTLS      = "tls"     // no certificate that is believed
	outName     = "name"    // the name has no address
	outNetwork  = "network" // no connection, or it broke
	outBlocked  = "blocked" // the address is private
	outBusy     = "busy"    // the host has its share of requests; not an attempt
	outCanceled = "canceled"
	outNothing  = "nothing" // there is nothing to tell any more; not an attempt
)

// Why events are dropped.
const (
	dropFull     = "full"
	dropOld      = "old"
	dropDisabled = "disabled"
	dropGone     = "gone" // the message is not there any more
)

// metrics name no owner and no host.
type metrics struct {
	events   *prometheus.CounterVec // by type
	attempts *prometheus.CounterVec // by outcome
	dropped  *prometheus.CounterVec // by reason
	disabled *prometheus.CounterVec // by reason
	took     prometheus.Histogram
	waiting  prometheus.Gauge
	flying   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_webhook_events_total",
			Help: "Events for endpoints of webhooks, by type."}, []string{"type"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_webhook_attempts_total",
			Help: "Attempts to deliver an event, by outcome."}, []string{"outcome"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_webhook_dropped_total",
			Help: "Events that were not delivered, by reason."}, []string{"reason"}),
		disabled: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_webhook_disabled_total",
			Help: "Endpoints that were disabled, by reason."}, []string{"reason"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hwangso_webhook_attempt_seconds",
			Help: "How long attempts took.", Buckets: []float64{.01, .03, .1, .3, 1, 3, 10}}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hwangso_webhook_waiting", Help: "Events that wait to be delivered."}),
		flying:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "hwangso_webhook_in_flight", Help: "Requests under way."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.events, m.attempts, m.dropped, m.disabled, m.took, m.waiting, m.flying} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
