package cmd

import (
	"context"
	"fmt"
	"strings"
)

func appCommand() command {
	return group("app", "Other people's apps, which send links",
		command{name: "list", args: "[-state waiting|ok|suspended|removed]", summary: "List apps; those that ask for more are waiting, too", run: appList},
		command{name: "approve", args: "APP [-rev N]", summary: "Let an app send links, under the terms it asks for", run: appApprove},
		command{name: "suspend", args: "APP [-reason WHY | -off]", summary: "Refuse an app's links and take the actions from those that were sent", run: appSuspend},
	)
}

type appLine struct {
	App, Name, State, Owner string
	Domains                 []string
	Rev                     int
	Asked                   *struct {
		Name    string
		Domains []string
	}
}

func appList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	state := f.String("state", "", "only those in this `state`")
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		w := newTable(io.Out, "APP", "NAME", "STATE", "OWNER", "REV", "DOMAINS", "ASKS FOR")
		for after := ""; ; {
			var out struct {
				Apps []appLine
				Next string
			}
			if err := o.call(ctx, "app.list", map[string]any{"state": *state, "after": after, "limit": 200}, &out); err != nil {
				return err
			}
			for _, a := range out.Apps {
				asks := ""
				if a.Asked != nil {
					asks = shown(a.Asked.Name) + " " + strings.Join(a.Asked.Domains, " ")
				}
				w.row(a.App, dash(shown(a.Name)), a.State, dash(a.Owner), fmt.Sprint(a.Rev), dash(strings.Join(a.Domains, " ")), dash(asks))
			}
			if after = out.Next; after == "" {
				return w.Flush()
			}
		}
	})
}

func appApprove(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	rev := f.Int("rev", 0, "the `number` that app list showed: if the app has changed since, nothing is approved")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		return appChanged(ctx, o, io, "app.approve", map[string]any{"app": rest[0], "rev": *rev})
	})
}

func appSuspend(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	reason := f.String("reason", "", "`why`, for the app's owner")
	off := f.Bool("off", false, "it may go on")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		return appChanged(ctx, o, io, "app.suspend", map[string]any{"app": rest[0], "reason": *reason, "on": !*off})
	})
}

func appChanged(ctx context.Context, o *operator, io Streams, op string, in map[string]any) error {
	var out struct{ App appLine }
	if err := o.call(ctx, op, in, &out); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "%s: %s\n", out.App.App, out.App.State)
	if op == "app.approve" && out.App.State == "suspended" {
		fmt.Fprintf(io.Out, "It goes on after: hwangso app suspend %s -off\n", out.App.App)
	}
	return nil
}
