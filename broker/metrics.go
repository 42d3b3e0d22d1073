package broker

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
)

// metrics count; they name no user, room or device.
type metrics struct {
	published, deliveries, acked prometheus.Counter
	attached, detached           prometheus.Counter
	takeovers, tooLarge          prometheus.Counter
	presence                     prometheus.Counter
	refusals                     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, b *Broker) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Name: name, Help: help})
		if reg != nil {
			reg.MustRegister(c)
		}
		return c
	}
	m := &metrics{
		published:  counter("messages_published_total", "Messages and operations accepted by the rules and given to the log."),
		deliveries: counter("deliveries_total", "Deliveries written to devices, repeated ones included."),
		acked:      counter("deliveries_acknowledged_total", "Deliveries with QoS 1 that devices acknowledged."),
		attached:   counter("sessions_attached_total", "Connections that got a session."),
		detached:   counter("sessions_detached_total", "Sessions whose connection ended."),
		takeovers:  counter("session_takeovers_total", "Connections replaced by a newer one of the same device."),
		tooLarge:   counter("deliveries_skipped_too_large_total", "Deliveries passed over because they exceed the client's Maximum Packet Size."),
		presence:   counter("presence_changes_total", "Users who came or went and share it, so that their friends were told."),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Name: "publishes_refused_total",
			Help: "Publishes refused, by code."}, []string{"code"}),
	}
	if reg != nil && b.limits != nil {
		for _, r := range limit.Rules() {
			labels := prometheus.Labels{"rule": r.Name}
			reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "hwangso", Name: "limited_total",
				Help: "Refusals by a rate limit.", ConstLabels: labels}, func() float64 { return float64(b.limits.Refused(r.Rule)) }),
				prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hwangso", Name: "limit_keys",
					Help: "Users, devices or addresses that a rate limit remembers.", ConstLabels: labels}, func() float64 { return float64(b.limits.Len(r.Rule)) }))
		}
	}
	if reg != nil {
		reg.MustRegister(m.refusals, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hwangso", Name: "sessions",
			Help: "Connected devices."}, func() float64 { return float64(b.Sessions()) }))
	}
	return m
}

func (m *metrics) refused(err error) {
	m.refusals.WithLabelValues(strconv.Itoa(int(store.CodeOf(err)))).Inc()
}
