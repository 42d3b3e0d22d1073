package cmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"
	"time"
)

func userCommand() command {
	return group("user", "Users and their tokens",
		command{name: "add", args: "NAME [-friend NAME,…]", summary: "Add a user, and make a token", run: userAdd},
		command{name: "list", args: "[-limit N]", summary: "List users", run: userList},
		command{name: "token", args: "NAME", summary: "Make another token for a user, which opens any of the user's devices", run: userToken},
		command{name: "friend", args: "NAME NAME [-off]", summary: "Make two users friends, so that they may write to each other", run: userFriend},
		command{name: "suspend", args: "NAME -reason WHY [-for TIME | -until TIME]", summary: "End a user's connections and let the user in no more", text: decisionText, run: userDecision("account.suspend", "suspended")},
		command{name: "limit", args: "NAME -reason WHY [-for TIME | -until TIME]", summary: "Let a user begin no new conversations", text: decisionText, run: userDecision("account.limit", "limited")},
		command{name: "restore", args: "NAME [-reason WHY]", summary: "End a suspension or a limit", run: userRestore},
	)
}

type accountLine struct {
	Name, Display, State string
	Created              time.Time
}

type secretLine struct {
	Secret string
	Token  tokenLine
}

type tokenLine struct {
	ID, Device, Label string
	Scopes            []string
	Created, Expires  time.Time
}

func userAdd(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	friends := f.String("friend", "", "`users` to be friends with, with commas")
	display := f.String("display", "", "the name shown (default: the name itself)")
	language := f.String("language", "", "of what the server says to the user, such as ko or pt-BR (default English)")
	expires := f.Duration("expires", 0, "how long the token is good for (default: for ever)")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		var out struct {
			Account accountLine
			secretLine
		}
		in := map[string]any{"name": rest[0], "display": *display, "language": *language, "label": "user add", "expires_in": seconds(*expires)}
		if err := o.call(ctx, "account.create", in, &out); err != nil {
			return err
		}
		name := out.Account.Name
		fmt.Fprintf(io.Out, "%s is a user now. The token, told this once:\n  %s\n", name, out.Secret)
		for _, friend := range list(*friends) {
			if err := o.call(ctx, "friend.set", map[string]any{"users": []string{name, friend}}, nil); err != nil {
				return fmt.Errorf("%s was added, but is no friend of %s: %w", name, friend, err)
			}
			fmt.Fprintf(io.Out, "%s and %s are friends.\n", name, friend)
		}
		fmt.Fprintf(io.Out, "Listen with:\n  %s\n", o.listenCommand(ctx, name, name+"-laptop", out.Secret))
		if all := list(*friends); len(all) > 0 {
			fmt.Fprintf(io.Out, "and write with:\n  %s -t user/%s/text -m hello\n", o.mosquitto(ctx, "pub", name, out.Secret), strings.ToLower(all[0]))
		}
		return nil
	})
}

// mosquitto is the beginning of a mosquitto command line.
func (o *operator) mosquitto(ctx context.Context, what, user, secret string) string {
	addrs := make(map[string]string)
	if o.running {
		_ = o.local(ctx, "addresses", struct{}{}, &addrs) // without it the usual address is printed
	}
	at := ""
	if host, port, err := net.SplitHostPort(addrs["mqtt"]); err == nil {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() && host != "127.0.0.1" {
			at += " -h " + host
		}
		if port != "1883" {
			at += " -p " + port
		}
	}
	return fmt.Sprintf("mosquitto_%s -V 5 -q 1%s -u %s -P %s", what, at, user, secret)
}

func (o *operator) listenCommand(ctx context.Context, user, clientID, secret string) string {
	return fmt.Sprintf("%s -i %s -c -x 3600 -t 'user/+/line' -t 'room/+/line'", o.mosquitto(ctx, "sub", user, secret), clientID)
}

func userList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	limit := f.Int("limit", 0, "at most so many (default: all)")
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		w := newTable(io.Out, "NAME", "SHOWN AS", "STATE", "SINCE")
		for after, n := "", 0; ; {
			var out struct {
				Accounts []accountLine
				Next     string
			}
			if err := o.call(ctx, "account.list", map[string]any{"after": after, "limit": 200}, &out); err != nil {
				return err
			}
			for _, a := range out.Accounts {
				if n++; *limit > 0 && n > *limit {
					return w.Flush()
				}
				w.row(a.Name, a.Display, a.State, day(a.Created))
			}
			if after = out.Next; after == "" {
				return w.Flush()
			}
		}
	})
}

func userToken(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	label := f.String("label", "", "what the token is for")
	expires := f.Duration("expires", 0, "how long it is good for (default: for ever)")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		var out secretLine
		if err := o.call(ctx, "account.token", map[string]any{"account": rest[0], "label": *label, "expires_in": seconds(*expires)}, &out); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "The token, told this once:\n  %s\nListen with:\n  %s\n", out.Secret, o.listenCommand(ctx, strings.ToLower(rest[0]), strings.ToLower(rest[0])+"-laptop", out.Secret))
		return nil
	})
}

func userFriend(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	off := f.Bool("off", false, "end it instead")
	return operate(ctx, c, f, p, args, 2, 2, io, func(o *operator, rest []string) error {
		if err := o.call(ctx, "friend.set", map[string]any{"users": rest, "on": !*off}, nil); err != nil {
			return err
		}
		what := "are friends"
		if *off {
			what = "are no friends any more"
		}
		fmt.Fprintf(io.Out, "%s and %s %s.\n", rest[0], rest[1], what)
		return nil
	})
}

const decisionText = `The user is told the reason, and that it ends if it does, and may appeal: see hwangso report. The reason is kept in
the audit log for ever, so it names nobody and holds no phone number.`

func userDecision(op, done string) func(context.Context, command, []string, Streams) error {
	return func(ctx context.Context, c command, args []string, io Streams) error {
		f, p := c.flags(io), new(place)
		reason := f.String("reason", "", "`why`, as the user is told")
		length := f.Duration("for", 0, "for how long, such as 72h (default: until it is restored)")
		until := f.String("until", "", "until when, as a `time` such as 2026-12-01T12:00:00Z")
		return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
			in := map[string]any{"account": rest[0], "reason": *reason, "for": seconds(*length), "until": *until}
			var out struct{ Until time.Time }
			if err := o.call(ctx, op, in, &out); err != nil {
				return err
			}
			if out.Until.IsZero() {
				fmt.Fprintf(io.Out, "%s: %s\n", rest[0], done)
			} else {
				fmt.Fprintf(io.Out, "%s: %s until %s\n", rest[0], done, minute(out.Until))
			}
			return nil
		})
	}
}

func userRestore(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	reason := f.String("reason", "", "`why`, as the user is told")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if err := o.call(ctx, "account.restore", map[string]any{"account": rest[0], "reason": *reason}, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s: ok\n", rest[0])
		return nil
	})
}

// list splits names at commas.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// seconds rounds up: a token is good for at least as long as was asked.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// table writes aligned columns.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, head ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(head...)
	return t
}

func (t table) row(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) }

// day is a date, or a dash.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02")
}

// minute is a time of day, or a dash.
func minute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}
