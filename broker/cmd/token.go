package cmd

import (
	"context"
	"fmt"
	"strings"
)

func tokenCommand() command {
	return group("token", "Operators' tokens for the -admin address, and users' tokens",
		command{name: "add", args: "-scopes SCOPE,…", summary: "Make an operator's token", run: tokenAdd},
		command{name: "list", args: "[-user USER]", summary: "List operators' tokens, or a user's", run: tokenList},
		command{name: "remove", args: "ID [-user USER]", summary: "End an operator's token, or a user's", run: tokenRemove},
	)
}

func tokenAdd(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	scopes := f.String("scopes", "status", "what it allows, with commas: accounts, rooms, operators, status, reports, limits, holds, audit, or * for all")
	label := f.String("label", "", "what it is for")
	expires := f.Duration("expires", 0, "how long it is good for (default: for ever)")
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		var out secretLine
		in := map[string]any{"scopes": list(*scopes), "label": *label, "expires_in": seconds(*expires)}
		if err := o.call(ctx, "operator.token.create", in, &out); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "The operator's token, told this once:\n  %s\nUse it as a bearer token on the -admin address:\n  curl -H \"Authorization: Bearer TOKEN\" -X POST http://127.0.0.1:ADMIN-PORT/v1/server.status\n", out.Secret)
		return nil
	})
}

func tokenList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	user := f.String("user", "", "a `user`'s tokens instead of the operators'")
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		op, in := "operator.token.list", map[string]any{}
		if *user != "" {
			op, in["account"] = "token.list", *user
		}
		var out struct{ Tokens []tokenLine }
		if err := o.call(ctx, op, in, &out); err != nil {
			return err
		}
		w := newTable(io.Out, "ID", "OPENS", "LABEL", "SINCE", "UNTIL")
		for _, t := range out.Tokens {
			opens := "every device"
			if t.Device != "" {
				opens = "device " + t.Device
			}
			if *user == "" {
				opens = strings.Join(t.Scopes, ",")
			}
			w.row(t.ID, opens, t.Label, day(t.Created), day(t.Expires))
		}
		return w.Flush()
	})
}

func tokenRemove(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	user := f.String("user", "", "the `user` whose token it is (default: an operator's)")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		op, in := "operator.token.remove", map[string]any{"token": rest[0]}
		if *user != "" {
			op, in["account"] = "token.remove", *user
		}
		if err := o.call(ctx, op, in, nil); err != nil {
			return err
		}
		fmt.Fprintln(io.Out, "It opens nothing any more.")
		return nil
	})
}
