package tally

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics say how the runs go. No number of a channel is among them: who reads metrics is no reader of followers.
type metrics struct {
	channels, reports prometheus.Counter
	took, day         prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		channels: prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_tally_channels_total", Help: "Snapshots of channels taken."}),
		reports:  prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_tally_reports_total", Help: "Reports of broadcasts made."}),
		took:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "hwangso_tally_run_seconds", Help: "How long the newest run over all channels took."}),
		day:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "hwangso_tally_day_seconds", Help: "The day of the newest complete snapshot, in seconds since 1970."}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.channels), reg.Register(m.reports), reg.Register(m.took), reg.Register(m.day))
}
