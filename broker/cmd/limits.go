package cmd

import (
	"context"
	"fmt"
	"strings"
)

func limitsCommand() command {
	return group("limits", "Limits of what users, devices and addresses may do and have, changed without a restart",
		command{name: "list", args: "[-set]", summary: "Show the limits", run: limitsList},
		command{name: "set", args: "NAME=VALUE… [-reason WHY]", summary: "Change limits: all of them, or none", text: limitsText, run: limitsSet},
		command{name: "reset", args: "NAME… [-reason WHY]", summary: "Give limits their defaults again", run: limitsReset},
	)
}

const limitsText = `A rate is count/period:burst: the burst at once, the count per period in the long run, as in publish=50/s:1000 or
login=10/10m:20; off is no limit. Others are numbers, as in group=300. A change counts from the next packet on and is
kept: it goes before flags.`

const maxNames = 100 // in one command

type limitLines struct {
	Limits []struct {
		Name, Value, Default, By, Text string
		Set                            bool
	}
}

func limitsList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	only := f.Bool("set", false, "only those that were set")
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		var out limitLines
		if err := o.call(ctx, "limits.get", struct{}{}, &out); err != nil {
			return err
		}
		w := newTable(io.Out, "LIMIT", "VALUE", "DEFAULT", "BY", "OF")
		for _, l := range out.Limits {
			if *only && !l.Set {
				continue
			}
			def := l.Default
			if !l.Set {
				def = "-"
			}
			by := l.By
			if by == "" {
				by = "-"
			}
			w.row(l.Name, l.Value, def, by, l.Text)
		}
		return w.Flush()
	})
}

func limitsSet(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	reason := f.String("reason", "", "`why`, for the audit log")
	return operate(ctx, c, f, p, args, 1, maxNames, io, func(o *operator, rest []string) error {
		set := make(map[string]string)
		for _, arg := range rest {
			name, value, ok := strings.Cut(arg, "=")
			if !ok {
				return fmt.Errorf("%q: write NAME=VALUE", arg)
			}
			set[name] = value
		}
		return changeLimits(ctx, o, io, map[string]any{"set": set, "reason": *reason}, func(name string) bool { _, ok := set[name]; return ok })
	})
}

func limitsReset(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	reason := f.String("reason", "", "`why`, for the audit log")
	return operate(ctx, c, f, p, args, 1, maxNames, io, func(o *operator, rest []string) error {
		return changeLimits(ctx, o, io, map[string]any{"reset": rest, "reason": *reason}, func(name string) bool {
			for _, r := range rest {
				if r == name {
					return true
				}
			}
			return false
		})
	})
}

func changeLimits(ctx context.Context, o *operator, io Streams, in map[string]any, named func(string) bool) error {
	var out limitLines
	if err := o.call(ctx, "limits.set", in, &out); err != nil {
		return err
	}
	for _, l := range out.Limits {
		if named(l.Name) {
			fmt.Fprintf(io.Out, "%s = %s\n", l.Name, l.Value)
		}
	}
	return nil
}
