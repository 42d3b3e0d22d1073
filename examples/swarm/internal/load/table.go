//go:build linux

package load

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Write prints the report for a person.
func (r *Report) Write(w io.Writer) {
	fmt.Fprintf(w, "%s · %s %s · MQTT %s · QoS %d · %s\n", r.Workload, r.Target, r.Addr, strings.TrimPrefix(r.MQTT, "v"), r.QoS, r.Settings)
	line := func(name, format string, a ...any) {
		fmt.Fprintf(w, "  %-16s %s\n", name, fmt.Sprintf(format, a...))
	}
	if r.Interrupted {
		line("interrupted", "the figures are of the time until then")
	}
	if r.Connections > 0 && r.ConnectSecs > 0 {
		line("connections", "%s in %s", thousands(r.Connections), seconds(r.ConnectSecs))
	}
	if r.AckRate > 0 || r.DeliveryRate > 0 {
		what := "acknowledged"
		if r.QoS == 0 {
			what = "sent"
		}
		line("messages", "%s/s %s over %s", thousands(int(r.AckRate)), what, seconds(r.Seconds))
		line("deliveries", "%s/s", thousands(int(r.DeliveryRate)))
	}
	for _, p := range r.Phases {
		s := fmt.Sprintf("%s %s in %s", thousands(int(p.Count)), p.Unit, seconds(p.Seconds))
		if p.Count > 0 && p.Name != "idle" {
			s += fmt.Sprintf(" = %s/s", thousands(int(p.Rate)))
		}
		s += fmt.Sprintf(", CPU client %s", seconds(p.ClientCPU))
		if r.Server != nil {
			s += fmt.Sprintf(", server %s, its memory %s", seconds(p.ServerCPU), mib(p.Anon))
		}
		line(p.Name, "%s", s)
	}
	for _, l := range []struct {
		name string
		l    *Latency
	}{{"connect", r.connectShown()}, {"to PUBACK", r.Ack}, {"to delivery", r.Delivery}, {"to last delivery", r.Last}} {
		if l.l != nil {
			line(l.name, "p50 %s  p99 %s  p99.9 %s  max %s", micros(l.l.P50), micros(l.l.P99), micros(l.l.P999), micros(l.l.Max))
		}
	}
	if r.Broadcast != nil {
		r.Broadcast.write(line)
	}
	if s := r.Server; s != nil {
		r.writeServer(line, s)
	}
	if c := r.Client; c != nil && c.CPUPerMessage > 0 {
		line("client CPU", "%s a message, %.2f cores", cost(c.CPUPerMessage), c.Share)
	}
	if c := r.Crash; c != nil {
		c.write(line)
	} else if r.Sent > 0 {
		line("all messages", "sent %s, acknowledged %s, delivered %s", thousands(int(r.Sent)), thousands(int(r.Acked)), thousands(int(r.Delivered)))
		verdict := fmt.Sprintf("lost %d, doubled %d, out of order %d", r.Lost, r.Doubled, r.OutOfOrder)
		if r.DoubledAsDup > 0 {
			verdict += fmt.Sprintf(" (%d of the doubled flagged DUP)", r.DoubledAsDup)
		}
		line("checked", "%s", verdict)
	}
	for _, n := range []struct {
		name string
		n    uint64
	}{{"unsent", r.Unsent}, {"unanswered", r.Unanswered}, {"refused", r.Refused}, {"refused but came", r.RefusedCame},
		{"strays", r.Strays}, {"of others", r.UnrelatedSeen}, {"connections lost", r.ClosedByPeer}} {
		if n.n > 0 {
			line(n.name, "%s", thousands(int(n.n)))
		}
	}
	for _, e := range sortedErrors(r.Errors) {
		line("error", "%s × %s", thousands(int(r.Errors[e])), e)
	}
	for _, n := range r.Notes {
		line("note", "%s", n)
	}
}

func (r *Report) writeServer(line func(string, string, ...any), s *Server) {
	if s.CPU > 0 {
		t := fmt.Sprintf("%.2f cores", s.Share)
		if s.CPUPerMessage > 0 {
			t = fmt.Sprintf("%s a message, %s a delivery, %s", cost(s.CPUPerMessage), cost(s.CPUPerDeliver), t)
		}
		line("server CPU", "%s", t)
	}
	if s.AnonStart > 0 {
		line("server memory", "%s anonymous before, %s connected, %s at the end (%+.1f KiB a connection)",
			mib(s.AnonStart), mib(s.AnonReady), mib(s.AnonEnd), s.AnonPerConn/1024)
	}
}

// connectShown is the time to connect where it matters.
func (r *Report) connectShown() *Latency {
	if r.Workload == "storm" || r.Workload == "idle" {
		return r.Connect
	}
	return nil
}

// thousands writes 12345 as 12,345.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func seconds(s float64) string {
	switch {
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 100:
		return fmt.Sprintf("%.2f s", s)
	}
	return (time.Duration(s) * time.Second).String()
}

func micros(us float64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%.0f µs", us)
	case us < 100_000:
		return fmt.Sprintf("%.2f ms", us/1000)
	}
	return seconds(us / 1e6)
}

// cost is CPU time with one digit more than a latency needs.
func cost(us float64) string {
	if us < 1000 {
		return fmt.Sprintf("%.1f µs", us)
	}
	return micros(us)
}

func mib(b int64) string { return fmt.Sprintf("%.1f MiB", float64(b)/(1<<20)) }
