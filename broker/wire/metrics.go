package wire

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/store"
)

// transport is how a client came.
type transport uint8

const (
	overTCP transport = iota
	overTLS
	overWS
	overWSS
	transports
)

var transportNames = [transports]string{"tcp", "tls", "ws", "wss"}

func (t transport) String() string { return transportNames[t] }

// metrics counts. Names of users and clients are no labels.
type metrics struct {
	open         *prometheus.GaugeVec // by transport
	logins       *prometheus.CounterVec
	refused      *prometheus.CounterVec
	endings      *prometheus.CounterVec
	packetsIn    prometheus.Counter
	packetsOut   prometheus.Counter
	bytesIn      prometheus.Counter
	bytesOut     prometheus.Counter
	acceptErrors prometheus.Counter
	stalls       prometheus.Counter
	paused       prometheus.Counter
	panics       prometheus.Counter
	willsDropped prometheus.Counter

	openBy [transports]prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hwangso", Subsystem: "mqtt", Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hwangso", Subsystem: "mqtt", Name: name, Help: help}, labels)
	}
	m := &metrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "hwangso", Subsystem: "mqtt", Name: "connections",
			Help: "Open connections, those before login included."}, []string{"transport"}),
		logins:       vec("logins_total", "Accepted CONNECTs.", "protocol", "transport"),
		refused:      vec("refused_total", "Connections and CONNECTs that were refused.", "reason"),
		endings:      vec("ended_total", "Connections the server ended, but for takeovers and shutdown.", "reason"),
		packetsIn:    counter("packets_received_total", "MQTT packets received."),
		packetsOut:   counter("packets_sent_total", "MQTT packets sent by sessions."),
		bytesIn:      counter("bytes_received_total", "Bytes of received MQTT packets."),
		bytesOut:     counter("bytes_sent_total", "Bytes of MQTT packets sent by sessions."),
		acceptErrors: counter("accept_errors_total", "Failed accepts, descriptor exhaustion among them."),
		stalls:       counter("write_stalls_total", "Connections ended because a write made no progress."),
		paused:       counter("read_pauses_total", "Times reading paused because a client sent more than its packet rate."),
		panics:       counter("panics_total", "Connection loops that panicked; each ended one connection."),
		willsDropped: counter("wills_dropped_total", "Wills on topics where a will is not allowed."),
	}
	for t := range transports {
		m.openBy[t] = m.open.WithLabelValues(t.String())
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.open, m.logins, m.refused, m.endings, m.packetsIn, m.packetsOut, m.bytesIn, m.bytesOut,
		m.acceptErrors, m.stalls, m.paused, m.panics, m.willsDropped} {
		if err := r.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("wire: register metrics: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

var protocolNames = map[byte]string{v31: "3.1", v311: "3.1.1", v5: "5"}

func (m *metrics) login(c *conn) {
	m.logins.WithLabelValues(protocolNames[c.version], c.transport.String()).Inc()
}

func (m *metrics) refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }

// ended counts an ending by its reason code or word, which are few.
func (m *metrics) ended(why error) {
	reason := "other"
	if p, ok := errors.AsType[*protocolError](why); ok {
		reason = "0x" + strconv.FormatUint(uint64(p.reason), 16)
	} else if e, ok := errors.AsType[*store.Error](why); ok {
		reason = e.Word()
	}
	m.endings.WithLabelValues(reason).Inc()
}

func (m *metrics) received(packets, bytes int) {
	m.packetsIn.Add(float64(packets))
	m.bytesIn.Add(float64(bytes))
}

func (m *metrics) sent(packets, bytes int) {
	m.packetsOut.Add(float64(packets))
	m.bytesOut.Add(float64(bytes))
}
