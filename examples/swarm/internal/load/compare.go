//go:build linux

package load

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// side is one of the two servers of a comparison.
type side struct {
	name string
	spec string
	runs []*Report
}

// set writes "target@host:port[,flag=value…]" into the flags of one run.
func (s *side) set(fs *flag.FlagSet) error {
	head, rest, _ := strings.Cut(s.spec, ",")
	target, addr, ok := strings.Cut(head, "@")
	if !ok {
		return fmt.Errorf("-%s %q: give target@host:port, as mqtt@127.0.0.1:1883,server-pid=123", s.name, s.spec)
	}
	if err := errors.Join(fs.Set("target", target), fs.Set("addr", addr)); err != nil {
		return err
	}
	for rest != "" {
		var kv string
		kv, rest, _ = strings.Cut(rest, ",")
		k, v, _ := strings.Cut(kv, "=")
		if err := fs.Set(k, v); err != nil {
			return fmt.Errorf("-%s: %s: %w", s.name, kv, err)
		}
	}
	return nil
}

const compareHelp = `usage: swarm compare -a SIDE -b SIDE [-rounds N] WORKLOAD [flags of the workload]

Runs one workload against two servers in turns (a b a b …, and b a in every
second round) and prints the medians and their ratio. A SIDE is
target@host:port followed by flags that differ, with commas:

  swarm compare -a mqtt@127.0.0.1:1883,server-pid=71 \
                -b hwangso@127.0.0.1:1884,server-pid=72,password=secret \
                pairs -n 500 -time 10s

`

// compare runs args, a workload with its flags, against two servers.
func compare(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("swarm compare", flag.ContinueOnError)
	fs.SetOutput(stderr)
	a, b := side{name: "a"}, side{name: "b"}
	fs.StringVar(&a.spec, "a", "", "first `side`")
	fs.StringVar(&b.spec, "b", "", "second `side`")
	rounds := fs.Int("rounds", 3, "runs against each")
	fs.Usage = func() {
		fmt.Fprint(stderr, compareHelp)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return helped(err)
	}
	args = fs.Args()
	if len(args) == 0 || args[0] == "compare" {
		fs.Usage()
		return errors.New("compare what? name a workload")
	}
	if *rounds < 1 {
		return errors.New("-rounds: at least 1")
	}
	var last *Options
	for round := range *rounds {
		sides := []*side{&a, &b}
		if round%2 == 1 {
			sides = []*side{&b, &a}
		}
		for _, s := range sides {
			o := &Options{Workload: args[0]}
			fs, err := o.parse(args[1:], stderr)
			if err != nil {
				return helped(err)
			}
			if err := s.set(fs); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return err
			}
			r, err := o.run(ctx, stderr)
			if err != nil {
				return fmt.Errorf("side %s: %w", s.name, err)
			}
			s.runs = append(s.runs, r)
			last = o
			fmt.Fprintf(stdout, "%s%d ", s.name, round+1)
			r.Write(stdout)
			fmt.Fprintln(stdout)
			if ctx.Err() != nil {
				return errors.New("interrupted: not enough runs to compare")
			}
		}
	}
	writeRatios(stdout, &a, &b)
	all := &Report{Workload: "compare", Settings: fmt.Sprintf("%s, a: %s, b: %s", args[0], a.spec, b.spec),
		Runs: append(a.runs, b.runs...), Begin: a.runs[0].Begin}
	return last.finish(all, io.Discard)
}

// writeRatios prints the medians of both sides and b/a.
func writeRatios(w io.Writer, a, b *side) {
	fmt.Fprintf(w, "%-34s %14s %14s %8s\n", "medians", "a", "b", "b/a")
	for _, m := range metrics {
		va, vb := a.values(m.of), b.values(m.of)
		if len(va) == 0 || len(vb) == 0 {
			continue
		}
		x, y := median(va), median(vb)
		ratio := "-"
		if x != 0 {
			ratio = strconv.FormatFloat(y/x, 'f', 2, 64)
		}
		fmt.Fprintf(w, "%-34s %14s %14s %8s\n", m.name, m.show(x), m.show(y), ratio)
	}
}

func (s *side) values(of func(*Report) (float64, bool)) []float64 {
	var v []float64
	for _, r := range s.runs {
		if x, ok := of(r); ok {
			v = append(v, x)
		}
	}
	return v
}

type metric struct {
	name string
	show func(float64) string
	of   func(*Report) (float64, bool)
}

var metrics = buildMetrics()

func buildMetrics() []metric {
	count := func(v float64) string { return thousands(int(v)) }
	us := func(v float64) string { return fmt.Sprintf("%.1f µs", v) }
	kib := func(v float64) string { return fmt.Sprintf("%.1f KiB", v/1024) }
	ms := []metric{
		{"acknowledged/s", count, func(r *Report) (float64, bool) { return r.AckRate, r.AckRate > 0 }},
		{"delivered/s", count, func(r *Report) (float64, bool) { return r.DeliveryRate, r.DeliveryRate > 0 }},
	}
	for _, l := range []struct {
		name string
		of   func(*Report) *Latency
	}{
		{"to PUBACK", func(r *Report) *Latency { return r.Ack }},
		{"to delivery", func(r *Report) *Latency { return r.Delivery }},
		{"to last delivery", func(r *Report) *Latency { return r.Last }},
		{"to connect", func(r *Report) *Latency { return r.connectShown() }},
	} {
		for _, q := range []struct {
			name string
			of   func(*Latency) float64
		}{
			{"p50", func(l *Latency) float64 { return l.P50 }},
			{"p99", func(l *Latency) float64 { return l.P99 }},
			{"p99.9", func(l *Latency) float64 { return l.P999 }},
		} {
			ms = append(ms, metric{l.name + " " + q.name, micros, func(r *Report) (float64, bool) {
				if x := l.of(r); x != nil {
					return q.of(x), true
				}
				return 0, false
			}})
		}
	}
	ms = append(ms, broadcastMetrics()...)
	for _, name := range []string{"send", "catch up", "reconnect", "caught up"} {
		ms = append(ms, metric{name + "/s", count, func(r *Report) (float64, bool) {
			for _, p := range r.Phases {
				if p.Name == name {
					return p.Rate, true
				}
			}
			return 0, false
		}})
	}
	server := func(of func(*Server) float64) func(*Report) (float64, bool) {
		return func(r *Report) (float64, bool) {
			if r.Server == nil || of(r.Server) == 0 {
				return 0, false
			}
			return of(r.Server), true
		}
	}
	return append(ms,
		metric{"server CPU a message", us, server(func(s *Server) float64 { return s.CPUPerMessage })},
		metric{"server CPU a delivery", us, server(func(s *Server) float64 { return s.CPUPerDeliver })},
		metric{"server memory a connection", kib, server(func(s *Server) float64 { return s.AnonPerConn })},
		metric{"client CPU a message", us, func(r *Report) (float64, bool) {
			if r.Client == nil || r.Client.CPUPerMessage == 0 {
				return 0, false
			}
			return r.Client.CPUPerMessage, true
		}},
		metric{"lost", count, func(r *Report) (float64, bool) { return float64(r.Lost), true }},
		metric{"doubled", count, func(r *Report) (float64, bool) { return float64(r.Doubled), true }},
		metric{"out of order", count, func(r *Report) (float64, bool) { return float64(r.OutOfOrder), true }},
	)
}
