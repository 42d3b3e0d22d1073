package bolt

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the store's figures. None has labels: nothing names a user, device or log.
type metrics struct {
	commits, records, syncErrors, readErrors prometheus.Counter
	cacheHits, cacheMisses                   prometheus.Counter
	batch, commit, checkpoint                prometheus.Histogram
	all                                      []prometheus.Collector
}

func newMetrics(l *logs) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Subsystem: "store", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "hwangso", Subsystem: "store", Name: name, Help: help, Buckets: buckets})
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hwangso", Subsystem: "store", Name: name, Help: help}, f)
	}
	m := &metrics{
		commits:     counter("commits_total", "Batches made durable."),
		records:     counter("records_total", "Records made durable."),
		syncErrors:  counter("commit_errors_total", "Batches that the disk refused."),
		readErrors:  counter("read_errors_total", "Reads of the journal that failed."),
		cacheHits:   counter("tail_hits_total", "Records read from memory."),
		cacheMisses: counter("tail_misses_total", "Records read from the journal."),
		batch:       histogram("batch_records", "Records per batch.", prometheus.ExponentialBuckets(1, 2, 14)),
		commit:      histogram("commit_seconds", "Write and sync of a batch.", prometheus.ExponentialBuckets(50e-6, 2, 18)),
		checkpoint:  histogram("checkpoint_seconds", "Writing of a checkpoint.", prometheus.ExponentialBuckets(1e-3, 2, 16)),
	}
	m.all = []prometheus.Collector{m.commits, m.records, m.syncErrors, m.readErrors, m.cacheHits, m.cacheMisses, m.batch,
		m.commit, m.checkpoint,
		gauge("free_bytes", "Free space of the data directory's file system.", func() float64 { return float64(l.disk.free.Load()) }),
		gauge("logs", "Logs ever created.", func() float64 { return float64(l.nextLog.Load() - 1) }),
	}
	return m
}

// register adds the figures; two stores cannot share a registerer.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.all {
		if err := r.Register(c); err != nil {
			for _, c := range m.all[:i] {
				r.Unregister(c)
			}
			return err
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.all {
		r.Unregister(c)
	}
}

func (m *metrics) committed(records int, took time.Duration) {
	m.commits.Inc()
	m.records.Add(float64(records))
	m.batch.Observe(float64(records))
	m.commit.Observe(took.Seconds())
}

func (m *metrics) failed() { m.syncErrors.Inc() }
