//go:build linux

package load

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// ErrNotClean is what Main returns with -strict if anything was lost, doubled,
// out of order or an error.
var ErrNotClean = errors.New("not everything arrived once and in order")

// Main is the program: args are those after its name. The report goes to
// stdout, progress and help to stderr. When ctx ends, the run ends early with a
// report.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		usage(stderr)
		if len(args) == 0 {
			return errors.New("which workload?")
		}
		return nil
	}
	if args[0] == "compare" {
		return compare(ctx, args[1:], stdout, stderr)
	}
	o := &Options{Workload: args[0]}
	if _, err := o.parse(args[1:], stderr); err != nil {
		return helped(err)
	}
	if err := o.Validate(); err != nil {
		return err
	}
	r, err := o.run(ctx, stderr)
	if err != nil {
		return err
	}
	return o.finish(r, stdout)
}

// parse reads the flags of o.Workload.
func (o *Options) parse(args []string, stderr io.Writer) (*flag.FlagSet, error) {
	if o.runner() == nil {
		return nil, fmt.Errorf("no workload %q: swarm --help lists them", o.Workload)
	}
	fs := flags(o, stderr)
	fs.Usage = func() {
		for _, w := range workloads {
			if w.name == o.Workload {
				fmt.Fprintf(stderr, "usage: swarm %s [flags]\n\n%s\n\n", w.name, w.does)
			}
		}
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q: all that follows %s are flags", fs.Arg(0), o.Workload)
	}
	return fs, nil
}

func (o *Options) runner() func(context.Context, *Options, io.Writer) (*Report, error) {
	switch o.Workload {
	case "pairs":
		return pairs
	case "groups":
		return groups
	case "fanout":
		return fanout
	case "broadcast":
		return broadcast
	case "idle":
		return idle
	case "offline":
		return offline
	case "storm":
		return storm
	case "slow":
		return slow
	case "crash":
		return crash
	}
	return nil
}

func (o *Options) run(ctx context.Context, log io.Writer) (*Report, error) {
	return o.runner()(ctx, o, log)
}

// finish writes the report where o says, and judges it.
func (o *Options) finish(r *Report, stdout io.Writer) error {
	if o.JSON != "-" {
		r.Write(stdout)
		for i, run := range r.Runs {
			fmt.Fprintf(stdout, "\nrun %d: ", i+1)
			run.Write(stdout)
		}
	}
	if o.JSON != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		b = append(b, '\n')
		if o.JSON == "-" {
			_, err = stdout.Write(b)
		} else {
			err = os.WriteFile(o.JSON, b, 0o644)
		}
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	if o.Strict && !r.Clean() {
		return ErrNotClean
	}
	return nil
}

// helped turns the request for help, which was answered, into success.
func helped(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

func usage(w io.Writer) {
	fmt.Fprint(w, `swarm puts load on an MQTT broker on this machine and checks what comes back:
nothing lost, nothing twice, in order, and how late.

usage: swarm WORKLOAD [flags]

`)
	for _, l := range workloads {
		fmt.Fprintf(w, "  %-9s %s\n", l.name, l.does)
	}
	fmt.Fprint(w, `
  swarm pairs -n 500                             500 senders and their receivers, as fast as it goes
  swarm pairs -n 500 -rate 2000 -server-pid 123  at 2,000 messages/s, with the server's CPU and memory
  swarm pairs -target hwangso -password P        at a server filled with: hwangso seed -password P
  swarm WORKLOAD --help                          the flags of a workload
`)
}
