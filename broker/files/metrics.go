package files

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/store"
)

// metrics name no user and no file.
type metrics struct {
	uploads   *prometheus.CounterVec // by code
	bytes     prometheus.Counter
	downloads prometheus.Counter
	removed   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_files_uploads_total",
			Help: "Uploads, by the code of their answer."}, []string{"code"}),
		bytes:     prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_files_stored_bytes_total", Help: "Bytes of uploads that were kept."}),
		downloads: prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_files_downloads_total", Help: "Files and thumbnails that were served."}),
		removed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_files_removed_total", Help: "Files that were removed."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.uploads, m.bytes, m.downloads, m.removed} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) uploaded(size int64, err error) {
	code := 201
	if err != nil {
		code = int(store.CodeOf(err))
	} else {
		m.bytes.Add(float64(size))
	}
	m.uploads.WithLabelValues(strconv.Itoa(code)).Inc()
}
