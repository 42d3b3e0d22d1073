package broker

import (
	"strconv"
	"time"

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
	heralded, slices, stalled    prometheus.Counter
	parked                       prometheus.Counter
	chatDelay                    prometheus.Histogram
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
		heralded:   counter("bulk_woken_total", "Sessions woken for a channel's posts by the bulk lane."),
		slices:     counter("bulk_slices_total", "Slices of the bulk lane that were waited for."),
		stalled:    counter("bulk_stalled_total", "Sessions that the bulk lane did not wait for, because their devices do not read."),
		parked:     counter("bulk_parked_total", "Times that a session stopped before a post that waits: a night, a broadcast that is paused."),
		chatDelay: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "hwangso", Name: "chat_delivery_delay_seconds",
			Help:    "From the wake-up of a session for a message to the end of its write; the bulk lane yields to it.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5}}),
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
		reg.MustRegister(m.chatDelay, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hwangso", Name: "bulk_queue",
			Help: "Connected followers that the bulk lane is yet to tell of a post."}, func() float64 { return float64(b.herald.queued.Load()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hwangso", Name: "bulk_pace",
				Help: "Sessions a second that the bulk lane wakes beside chat, 0 while there is no chat to yield to."}, func() float64 { return float64(b.pace.shown.Load()) }))
		reg.MustRegister(m.refusals, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hwangso", Name: "sessions",
			Help: "Connected devices."}, func() float64 { return float64(b.Sessions()) }))
	}
	return m
}

func (m *metrics) refused(err error) {
	m.refusals.WithLabelValues(strconv.Itoa(int(store.CodeOf(err)))).Inc()
}

// slowSocket is from when on a write waited for its device, and not for the machine.
const slowSocket = 50 * time.Millisecond

// wroteChat notes a delivery of chat that was written now, whose pump was woken and ran at these times.
func (b *Broker) wroteChat(woken, ran time.Time) {
	now := time.Now()
	if now.Sub(ran) > slowSocket {
		now = ran
	}
	d := now.Sub(woken)
	b.pace.wrote(d)
	b.metrics.chatDelay.Observe(d.Seconds())
}
