package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func reportCommand() command {
	return group("report", "The queue of users' reports and appeals",
		command{name: "list", args: "[-closed]", summary: "List the queue, the oldest first", run: reportList},
		command{name: "get", args: "ID", summary: "Show a report with its evidence; that you looked is in the audit log", run: reportGet},
		command{name: "close", args: "ID -outcome WHAT [-reason WHY]", summary: "Close a report; what was decided is recorded, not done", run: reportClose},
	)
}

type reportLine struct {
	ID, Kind, State, Account, Standing, Reporter, Room, Category, Outcome, Reason string
	Time                                                                          time.Time
	Messages                                                                      int
	Counted, Decide                                                               bool
}

func reportList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	closed := f.Bool("closed", false, "those that are closed, instead")
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		state := "open"
		if *closed {
			state = "closed"
		}
		w := newTable(io.Out, "REPORT", "SINCE", "KIND", "ABOUT", "STATE", "FROM", "CATEGORY", "MESSAGES", "NOTE")
		for after := ""; ; {
			var out struct {
				Reports []reportLine
				Next    string
			}
			if err := o.call(ctx, "report.list", map[string]any{"state": state, "after": after, "limit": 200}, &out); err != nil {
				return err
			}
			for _, r := range out.Reports {
				note := r.Outcome
				if r.Decide {
					note = "an operator decides"
				}
				w.row(r.ID, minute(r.Time), r.Kind, r.Account, dash(r.Standing), dash(r.Reporter), dash(r.Category), strconv.Itoa(r.Messages), dash(note))
			}
			if after = out.Next; after == "" {
				return w.Flush()
			}
		}
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func reportGet(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		var out struct {
			Report   reportLine
			Text     string
			Evidence []struct {
				Seq       uint64
				Time      time.Time
				Kind      string
				Text      string
				Cut, More bool
			}
		}
		if err := o.call(ctx, "report.get", map[string]any{"report": rest[0]}, &out); err != nil {
			return err
		}
		r := out.Report
		fmt.Fprintf(io.Out, "%s of %s, %s\nabout   %s (%s)\n", r.Kind, minute(r.Time), r.State, r.Account, dash(r.Standing))
		for _, l := range [][2]string{{"from", r.Reporter}, {"room", r.Room}, {"for", r.Category}, {"outcome", r.Outcome}, {"reason", r.Reason}, {"says", shown(out.Text)}} {
			if l[1] != "" {
				fmt.Fprintf(io.Out, "%-7s %s\n", l[0], l[1])
			}
		}
		for _, e := range out.Evidence {
			more := ""
			if e.Cut {
				more += " (cut)"
			}
			if e.More {
				more += " (and attachments)"
			}
			fmt.Fprintf(io.Out, "  #%d %s %s: %s%s\n", e.Seq, minute(e.Time), e.Kind, shown(e.Text), more)
		}
		return nil
	})
}

// shown is a user's text for a terminal, in one line and without control characters.
func shown(s string) string { return strings.Trim(strconv.QuoteToGraphic(s), `"`) }

func reportClose(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	outcome := f.String("outcome", "", "`what` was decided: none, warned, limited, suspended, removed or restored")
	reason := f.String("reason", "", "`why`, for other operators")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if err := o.call(ctx, "report.close", map[string]any{"report": rest[0], "outcome": *outcome, "reason": *reason}, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s: closed, %s\n", rest[0], *outcome)
		return nil
	})
}

func holdCommand() command {
	return group("hold", "Legal holds: what stops erasing and retention",
		command{name: "set", args: "USER -reason WHY | -room ROOM -reason WHY", summary: "Put a user or a room under legal hold", run: holdSet},
		command{name: "clear", args: "USER | -room ROOM [-reason WHY]", summary: "End a legal hold", run: holdClear},
		command{name: "list", args: "", summary: "List legal holds", run: holdList},
	)
}

func holdChange(ctx context.Context, c command, args []string, io Streams, op, done string) error {
	f, p := c.flags(io), new(place)
	room := f.String("room", "", "a `room`, instead of a user")
	reason := f.String("reason", "", "`why`; it names nobody and holds no long number")
	return operate(ctx, c, f, p, args, 0, 1, io, func(o *operator, rest []string) error {
		in := map[string]any{"room": *room, "reason": *reason}
		about := *room
		if len(rest) > 0 {
			in["account"], about = rest[0], strings.TrimSpace(rest[0]+" "+*room)
		}
		var out struct{ Changed bool }
		if err := o.call(ctx, op, in, &out); err != nil {
			return err
		}
		if !out.Changed {
			done = "not under legal hold"
		}
		fmt.Fprintf(io.Out, "%s: %s\n", about, done)
		return nil
	})
}

func holdSet(ctx context.Context, c command, args []string, io Streams) error {
	return holdChange(ctx, c, args, io, "hold.set", "under legal hold")
}

func holdClear(ctx context.Context, c command, args []string, io Streams) error {
	return holdChange(ctx, c, args, io, "hold.clear", "legal hold ended")
}

func holdList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		var out struct {
			Holds []struct {
				Account, Room, Reason, By string
				Since                     time.Time
			}
		}
		if err := o.call(ctx, "hold.list", struct{}{}, &out); err != nil {
			return err
		}
		w := newTable(io.Out, "USER", "ROOM", "SINCE", "BY", "REASON")
		for _, h := range out.Holds {
			w.row(dash(h.Account), dash(h.Room), minute(h.Since), h.By, h.Reason)
		}
		return w.Flush()
	})
}

func auditCommand() command {
	return command{name: "audit", args: "[-limit N | -verify]", summary: "Show what operators changed, or check that nothing of it was changed", text: auditText, run: audit}
}

const auditText = `The newest stand first. -verify reads the whole log and prints the hash of its newest entry: keep it elsewhere, and
whether a later log still holds that entry tells you whether it is the same log.`

func audit(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	limit := f.Int("limit", 50, "at most so many entries, 0 for all")
	verify := f.Bool("verify", false, "check the log instead")
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		if *verify {
			return auditVerify(ctx, o, io)
		}
		w := newTable(io.Out, "N", "TIME", "BY", "WHAT", "ABOUT", "DETAILS", "REASON")
		for before, n := uint64(0), 0; ; {
			var out struct {
				Entries []struct {
					N                    uint64
					Time                 time.Time
					By, Op, Room, Reason string
					Accounts             []string
					What                 map[string]any
					Of                   uint64
					CodeOf               int `json:"code_of"`
				}
				Next uint64
			}
			if err := o.call(ctx, "audit.list", map[string]any{"before": before, "limit": 200}, &out); err != nil {
				return err
			}
			for _, e := range out.Entries {
				if n++; *limit > 0 && n > *limit {
					return w.Flush()
				}
				about := e.Accounts
				if e.Room != "" {
					about = append(about, e.Room)
				}
				var details []string
				for k, v := range e.What {
					details = append(details, fmt.Sprint(k, "=", v))
				}
				slices.Sort(details)
				if e.Of != 0 {
					details = append(details, fmt.Sprintf("(of %d: %d)", e.Of, e.CodeOf))
				}
				w.row(strconv.FormatUint(e.N, 10), e.Time.Local().Format("2006-01-02 15:04:05"), e.By, e.Op, dash(strings.Join(about, " ")), dash(strings.Join(details, " ")), dash(e.Reason))
			}
			if before = out.Next; before == 0 {
				return w.Flush()
			}
		}
	})
}

func auditVerify(ctx context.Context, o *operator, io Streams) error {
	var out struct {
		OK      bool
		Entries uint64
		Head    string
		Broken  uint64
		Text    string
	}
	if err := o.call(ctx, "audit.verify", struct{}{}, &out); err != nil {
		return err
	}
	if !out.OK {
		if out.Broken != 0 {
			return fmt.Errorf("the audit log is not as it was written: entry %d: %s", out.Broken, out.Text)
		}
		return errors.New("the audit log is not as it was written: " + out.Text)
	}
	fmt.Fprintf(io.Out, "%d entries, none changed or missing\nhead %s\n", out.Entries, out.Head)
	return nil
}
