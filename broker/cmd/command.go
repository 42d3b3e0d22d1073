package cmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// command is one subcommand.
type command struct {
	name    string // "demo", "user add"
	args    string // after the name, in the usage line
	summary string
	text    string // more about it, "" if the summary says it all
	run     func(ctx context.Context, c command, args []string, io Streams) error
}

// ErrUsage says that the command line was wrong; what is wrong has been printed.
var ErrUsage = errors.New("wrong usage")

// Run runs the program with its arguments (without the program's name) until it ends or ctx does. An error other than
// ErrUsage is still to be printed.
func Run(ctx context.Context, args []string, io Streams) error {
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && isHelp(args[0]) {
		usage(io.Out)
		return nil
	}
	if isHelp(name) {
		if len(args) == 0 {
			usage(io.Out)
			return nil
		}
		name, args = args[0], append(args[1:len(args):len(args)], "--help")
	}
	for _, c := range commands() {
		if c.name == name {
			err := c.run(ctx, c, args, io)
			if errors.Is(err, flag.ErrHelp) {
				return nil
			}
			return err
		}
	}
	fmt.Fprintf(io.Err, "hwangso: there is no command %q\n\n", name)
	usage(io.Err)
	return ErrUsage
}

func isHelp(s string) bool {
	return s == "help" || s == "-h" || s == "-help" || s == "--help"
}

func usage(w io.Writer) {
	fmt.Fprint(w, `hwangso is an MQTT push and chat broker.

Usage: hwangso [command] [flags]

`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
Without a command it serves. "hwangso COMMAND --help" tells a command's flags.
New here? Run "hwangso demo".
`)
}

// flags makes the flag set of a command; what it prints names the command.
func (c command) flags(io Streams) *flag.FlagSet {
	f := flag.NewFlagSet("hwangso "+c.name, flag.ContinueOnError)
	f.SetOutput(io.Err)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "%s.\n\nUsage: hwangso %s %s\n", c.summary, c.name, c.args)
		if c.text != "" {
			fmt.Fprintf(f.Output(), "\n%s\n", c.text)
		}
		any := false
		f.VisitAll(func(*flag.Flag) { any = true })
		if any {
			fmt.Fprintln(f.Output(), "\nFlags:")
			f.PrintDefaults()
		}
	}
	return f
}

// parse parses the flags of a command; more than max arguments beside them, or fewer than min, are wrong usage. Flags
// may stand after arguments, too.
func parse(f *flag.FlagSet, args []string, min, max int, io Streams) ([]string, error) {
	for _, a := range args {
		if isHelp(a) && a != "help" {
			f.SetOutput(io.Out)
		}
	}
	var rest []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, ErrUsage // the flag package has printed it
		}
		if args = f.Args(); len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	if len(rest) < min || len(rest) > max {
		if len(rest) > max {
			fmt.Fprintf(io.Err, "%s: what is %q for?\n\n", f.Name(), rest[max])
		} else {
			fmt.Fprintf(io.Err, "%s: an argument is missing\n\n", f.Name())
		}
		f.Usage()
		return nil, ErrUsage
	}
	return rest, nil
}

// group makes a command of commands: `hwangso user add`.
func group(name, summary string, members ...command) command {
	g := command{name: name, args: "COMMAND", summary: summary}
	help := func(w io.Writer) {
		fmt.Fprintf(w, "%s.\n\nUsage:\n", summary)
		for _, m := range members {
			fmt.Fprintf(w, "  %s\n      %s\n", strings.TrimSpace("hwangso "+name+" "+m.name+" "+m.args), m.summary)
		}
		fmt.Fprintf(w, "\n\"hwangso %s COMMAND --help\" tells a command's flags.\n", name)
	}
	g.run = func(ctx context.Context, _ command, args []string, io Streams) error {
		if len(args) == 0 {
			help(io.Err)
			return ErrUsage
		}
		if isHelp(args[0]) {
			help(io.Out)
			return nil
		}
		for _, m := range members {
			if m.name == args[0] {
				m.name = name + " " + m.name
				return m.run(ctx, m, args[1:], io)
			}
		}
		fmt.Fprintf(io.Err, "hwangso %s: there is no command %q\n\n", name, args[0])
		help(io.Err)
		return ErrUsage
	}
	return g
}
