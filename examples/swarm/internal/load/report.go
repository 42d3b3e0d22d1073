//go:build linux

package load

import (
	"maps"
	"slices"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/hist"
)

// Report is what a run found, also as JSON. Rates and CPU are of the measured
// time only; lost, doubled and out of order of all messages of the run.
type Report struct {
	Workload string    `json:"workload"`
	Settings string    `json:"settings"`
	Target   string    `json:"target"`
	Addr     string    `json:"addr"`
	MQTT     string    `json:"mqtt"`
	QoS      int       `json:"qos"`
	Run      string    `json:"run"`
	Begin    time.Time `json:"begin"`

	Connections   int     `json:"connections"`
	ConnectSecs   float64 `json:"connect_s"`
	Seconds       float64 `json:"seconds"` // measured
	Sent          uint64  `json:"sent"`
	Acked         uint64  `json:"acked"`
	Delivered     uint64  `json:"delivered"`
	AckRate       float64 `json:"acked_per_s"`
	DeliveryRate  float64 `json:"delivered_per_s"`
	Interrupted   bool    `json:"interrupted,omitempty"`
	Unsent        uint64  `json:"unsent,omitempty"` // open loop: due and never sent
	Lost          uint64  `json:"lost"`
	Doubled       uint64  `json:"doubled"`
	DoubledAsDup  uint64  `json:"doubled_with_dup"` // of Doubled, flagged DUP
	OutOfOrder    uint64  `json:"out_of_order"`
	Strays        uint64  `json:"strays"`     // received and never sent, or by the wrong receiver
	Unanswered    uint64  `json:"unanswered"` // sent, no answer until the end
	Refused       uint64  `json:"refused"`
	RefusedCame   uint64  `json:"refused_but_delivered"`
	ClosedByPeer  uint64  `json:"connections_lost"`
	UnrelatedSeen uint64  `json:"unrelated"` // messages of others

	// By how much the server's anonymous memory moved while messages were
	// sent to absent devices.
	MemoryWaiting int64 `json:"memory_waiting_bytes,omitempty"`

	Ack      *Latency          `json:"ack,omitempty"`           // intended time to PUBACK
	Delivery *Latency          `json:"delivery,omitempty"`      // intended time to each delivery
	Last     *Latency          `json:"last_delivery,omitempty"` // intended time to a message's last delivery
	Connect  *Latency          `json:"connect,omitempty"`       // begin of connecting to subscribed
	Phases   []Phase           `json:"phases,omitempty"`
	Errors   map[string]uint64 `json:"errors,omitempty"`
	Server   *Server           `json:"server,omitempty"`
	Client   *Client           `json:"client,omitempty"`
	Crash    *Crash            `json:"crash,omitempty"`

	Broadcast *Broadcast `json:"broadcast,omitempty"`

	Runs  []*Report `json:"runs,omitempty"` // of slow and compare
	Notes []string  `json:"notes,omitempty"`
}

// Latency is a distribution in microseconds; percentiles within 0.4 %, mean
// and maximum exact.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
}

// Phase is one step of offline or storm.
type Phase struct {
	Name      string  `json:"name"`
	Seconds   float64 `json:"seconds"`
	Count     uint64  `json:"count"`
	Unit      string  `json:"unit"`
	Rate      float64 `json:"per_s"`
	ServerCPU float64 `json:"server_cpu_s,omitempty"`
	ClientCPU float64 `json:"client_cpu_s"`
	Anon      int64   `json:"server_anon_bytes,omitempty"` // at its end
}

// Server is what the process of -server-pid used.
type Server struct {
	PID           int     `json:"pid"`
	AnonStart     int64   `json:"anon_start_bytes"` // before the first connection
	AnonReady     int64   `json:"anon_ready_bytes"` // all connected
	AnonEnd       int64   `json:"anon_end_bytes"`   // before disconnecting
	AnonPerConn   float64 `json:"anon_per_connection_bytes"`
	CPU           float64 `json:"cpu_s"` // in the measured time
	CPUPerMessage float64 `json:"cpu_per_message_us"`
	CPUPerDeliver float64 `json:"cpu_per_delivery_us"`
	Share         float64 `json:"cores"`
}

// Client is what swarm itself used in the measured time.
type Client struct {
	CPU           float64 `json:"cpu_s"`
	CPUPerMessage float64 `json:"cpu_per_message_us"`
	Share         float64 `json:"cores"`
}

// Clean reports whether nothing was lost, doubled, out of order or an error.
func (r *Report) Clean() bool {
	bad := r.Lost + r.Doubled + r.OutOfOrder + r.Strays + r.Unanswered + r.Refused + r.ClosedByPeer + r.Unsent
	if c := r.Crash; c != nil {
		// Over crashes connections end and messages come again: that is what
		// the mode is about.
		bad = c.Lost + c.SessionsLost + c.StoredTwice + c.Gaps + c.OutOfOrder + r.Strays + r.Refused
	} else if len(r.Errors) > 0 {
		bad++
	}
	for _, run := range r.Runs {
		if !run.Clean() {
			bad++
		}
	}
	return bad == 0 && !r.Interrupted
}

// report starts a report of f's run.
func (f *fleet) report(settings string) *Report {
	return &Report{
		Workload: f.opt.Workload, Settings: settings, Target: f.opt.Target,
		Addr: f.scheme.to.String(), MQTT: f.opt.Version, QoS: f.opt.QoS, Run: f.run.id, Begin: time.Now(),
		Connections: len(f.peers),
	}
}

// measured fills in what happened between two samples.
func (r *Report) measured(f *fleet, a, b sample) {
	n := b.n.sub(a.n)
	r.Seconds = b.at.Sub(a.at).Seconds()
	if r.Seconds > 0 {
		r.AckRate = float64(n.acked) / r.Seconds
		r.DeliveryRate = float64(n.delivered) / r.Seconds
	}
	cpu := (b.client - a.client).Seconds()
	r.Client = &Client{CPU: cpu, CPUPerMessage: per(cpu, n.acked), Share: cpu / r.Seconds}
	if f.opt.ServerPID > 0 {
		if r.Server == nil {
			r.Server = &Server{PID: f.opt.ServerPID}
		}
		cpu := (b.server.CPU - a.server.CPU).Seconds()
		r.Server.CPU, r.Server.Share = cpu, cpu/r.Seconds
		r.Server.CPUPerMessage, r.Server.CPUPerDeliver = per(cpu, n.acked), per(cpu, n.delivered)
	}
}

// memory fills in the server's memory at the start, with everybody connected,
// and at the end.
func (r *Report) memory(f *fleet, start, ready, end sample) {
	if f.opt.ServerPID == 0 {
		return
	}
	if r.Server == nil {
		r.Server = &Server{PID: f.opt.ServerPID}
	}
	r.Server.AnonStart, r.Server.AnonReady, r.Server.AnonEnd = start.server.Anon, ready.server.Anon, end.server.Anon
	if r.Connections > 0 {
		r.Server.AnonPerConn = float64(end.server.Anon-start.server.Anon) / float64(r.Connections)
	}
}

// phase adds a step with count things done between two samples.
func (r *Report) phase(name, unit string, count uint64, a, b sample) {
	p := Phase{Name: name, Unit: unit, Count: count, Seconds: b.at.Sub(a.at).Seconds(),
		ServerCPU: (b.server.CPU - a.server.CPU).Seconds(), ClientCPU: (b.client - a.client).Seconds(), Anon: b.server.Anon}
	if p.Seconds > 0 {
		p.Rate = float64(count) / p.Seconds
	}
	r.Phases = append(r.Phases, p)
}

// collect fills in what the shards counted and what became of the messages.
// The loops are closed by then.
func (r *Report) collect(f *fleet) {
	var ack, delivery, last, dial hist.Hist
	var n totals
	errs := map[string]uint64{}
	for _, s := range f.shards {
		ack.Merge(&s.ack)
		delivery.Merge(&s.delivery)
		last.Merge(&s.last)
		dial.Merge(&s.dial)
		n.add(s.n)
		r.UnrelatedSeen += s.unrelated
		for k, v := range s.errors {
			errs[k] += v
		}
		if s.stalled > 0 {
			errs["not delivered to all within 5 s"] += s.stalled
		}
	}
	if len(errs) > 0 {
		r.Errors = errs
	}
	r.Sent, r.Acked, r.Delivered, r.Refused, r.ClosedByPeer = n.sent, n.acked, n.delivered, n.refused, n.closed
	r.Ack, r.Delivery, r.Last, r.Connect = latency(&ack), latency(&delivery), latency(&last), latency(&dial)
	v := f.judge()
	r.Lost, r.Doubled, r.DoubledAsDup, r.OutOfOrder = v.lost, v.doubled, v.dups, v.outOfOrder
	r.Strays, r.Unanswered, r.RefusedCame = v.strays, v.unanswered, v.refusedDelivered
	if f.failed != nil {
		r.Notes = append(r.Notes, "server not measured: "+f.failed.Error())
	}
}

func latency(h *hist.Hist) *Latency {
	if h.Count() == 0 {
		return nil
	}
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return &Latency{Count: h.Count(), Mean: us(h.Mean()), P50: us(h.Quantile(.5)), P99: us(h.Quantile(.99)),
		P999: us(h.Quantile(.999)), Max: us(h.Max())}
}

// per is microseconds of CPU for each of n things.
func per(seconds float64, n uint64) float64 {
	if n == 0 {
		return 0
	}
	return seconds * 1e6 / float64(n)
}

// median of some figures, 0 of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// sortedErrors are the texts of errors, the most frequent first.
func sortedErrors(m map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return int(min(m[b], 1<<31)) - int(min(m[a], 1<<31))
		}
		if a < b {
			return -1
		}
		return 1
	})
}
