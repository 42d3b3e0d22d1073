package cmd

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func channelCommand() command {
	return group("channel", "Brands' channels: approval, publishers, plans",
		command{name: "create", args: "CHANNEL -owner USER -title TEXT", summary: "Open a channel, approved at once", run: channelCreate},
		command{name: "list", args: "[-waiting]", summary: "List channels", run: channelList},
		command{name: "get", args: "CHANNEL", summary: "Show what is set about a channel", run: channelGet},
		command{name: "approve", args: "CHANNEL [-plan PLAN] [-alike] [-reason WHY]", summary: "Let a channel begin, or give it another plan", text: "A channel that looks like somebody else's, in identifier or title, is approved only with -alike.", run: channelApprove},
		command{name: "suspend", args: "CHANNEL -reason WHY | -off", summary: "Shut a channel down, or reinstate it", text: "Nothing of it is delivered and nobody finds it. Its publishers read the reason. -off undoes it: what waited is delivered.", run: channelSuspend},
		command{name: "plan", args: "[PLAN [-posts N] [-ads N] [-scheduled N] [-per-minute N] [-publishers N] | PLAN -remove]", summary: "List plans, define one, or remove one", text: planText, run: channelPlan},
		command{name: "publisher", args: "CHANNEL [USER -role owner|editor|publisher | USER -remove]", summary: "List publishers, make one, or remove one", run: channelPublisher},
		command{name: "key", args: "CHANNEL [-remove KEY]", summary: "List the keys of programs, or end one", text: "Keys are made by publishers (channel.key.create): their secrets are told to nobody else.", run: channelKey},
		command{name: "numbers", args: "CHANNEL", summary: "Show a channel's numbers, as its publishers see them", text: "Of the daily snapshot, rounded down; - is too few to say. There are no others.", run: channelNumbers},
	)
}

const planText = `A plan says how many posts a day (UTC), of them advertising, broadcasts that wait, posts a minute and publishers a
channel may have. Without flags plans are listed. What a flag does not name stays as it is; a new plan begins as the default.
The default itself can be defined anew. A change counts from the next post on.`

// shownChannel is a channel as operators are told.
type shownChannel struct {
	Channel, Title, Description, Category, Language, Country, State, Reason, Plan string
	Followers                                                                     *int
	Created, Approved                                                             *time.Time
}

func some(n *int) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n)
}

func channelCreate(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	in := map[string]any{}
	owner := f.String("owner", "", "the `user` who owns the channel; required")
	title := f.String("title", "", "what the channel is called; required")
	fields := map[string]*string{"description": f.String("description", "", "what it is about"), "category": f.String("category", "", "a category, such as food"),
		"language": f.String("language", "", "the language of its posts, such as ko"), "country": f.String("country", "", "its country, such as KR"),
		"plan": f.String("plan", "", "its `plan` (default the default plan)")}
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if *owner == "" || *title == "" {
			return fmt.Errorf("say who owns the channel and what it is called, with -owner USER and -title TEXT")
		}
		in["channel"], in["owner"], in["title"] = rest[0], *owner, *title
		for k, v := range fields {
			if *v != "" {
				in[k] = *v
			}
		}
		var out struct {
			Title string
			New   bool
		}
		if err := o.call(ctx, "channel.create", in, &out); err != nil {
			return err
		}
		if !out.New {
			fmt.Fprintf(io.Out, "%s has opened the channel %s before, as %q. It is approved, and otherwise as it was.\n", *owner, strings.ToLower(rest[0]), out.Title)
			return nil
		}
		fmt.Fprintf(io.Out, "The channel %[1]s is there. Its publishers post to channel/%[1]s/text.\n", strings.ToLower(rest[0]))
		return nil
	})
}

func channelList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	waiting := f.Bool("waiting", false, "only those that wait for approval")
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		w := newTable(io.Out, "CHANNEL", "TITLE", "STATE", "PLAN", "FOLLOWERS")
		for after := ""; ; {
			var out struct {
				Channels []shownChannel
				Next     string
			}
			if err := o.call(ctx, "channel.list", map[string]any{"after": after, "limit": 200}, &out); err != nil {
				return err
			}
			for _, ch := range out.Channels {
				if !*waiting || ch.State == "waiting" {
					w.row(ch.Channel, ch.Title, ch.State, ch.Plan, some(ch.Followers))
				}
			}
			if after = out.Next; after == "" {
				return w.Flush()
			}
		}
	})
}

func channelGet(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		var ch shownChannel
		if err := o.call(ctx, "channel.get", map[string]any{"channel": rest[0]}, &ch); err != nil {
			return err
		}
		w := newTable(io.Out, "WHAT", "VALUE")
		for _, row := range [][2]string{{"channel", ch.Channel}, {"title", ch.Title}, {"description", strings.ReplaceAll(ch.Description, "\n", " ")}, {"category", ch.Category},
			{"language", ch.Language}, {"country", ch.Country}, {"state", ch.State}, {"suspended for", ch.Reason}, {"plan", ch.Plan}, {"followers", some(ch.Followers)}} {
			if row[1] != "" {
				w.row(row[0], row[1])
			}
		}
		return w.Flush()
	})
}

func channelApprove(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	plan := f.String("plan", "", "the `plan` of the channel")
	alike := f.Bool("alike", false, "also if it looks like somebody else's channel")
	reason := f.String("reason", "", "`why`, for the audit log")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if err := o.call(ctx, "channel.approve", map[string]any{"channel": rest[0], "plan": *plan, "alike": *alike, "reason": *reason}, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s is approved. Its posts go out.\n", rest[0])
		return nil
	})
}

func channelSuspend(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	reason := f.String("reason", "", "one `line` that the publishers are shown")
	off := f.Bool("off", false, "reinstate the channel")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if err := o.call(ctx, "channel.suspend", map[string]any{"channel": rest[0], "reason": *reason, "on": !*off}, nil); err != nil {
			return err
		}
		said := "is suspended"
		if *off {
			said = "is not suspended any more"
		}
		fmt.Fprintf(io.Out, "%s %s.\n", rest[0], said)
		return nil
	})
}

type planLine struct {
	Name                              string
	Posts, Ads, Scheduled, Publishers int
	PerMinute                         int `json:"per_minute"`
}

func channelPlan(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	remove := f.Bool("remove", false, "remove the plan: its channels have the default then")
	flags := map[string]*int{"posts": f.Int("posts", 0, "how `many` posts a day"), "ads": f.Int("ads", 0, "how `many` of them advertising"),
		"scheduled": f.Int("scheduled", 0, "how `many` broadcasts that wait"), "per-minute": f.Int("per-minute", 0, "how `many` posts a minute"),
		"publishers": f.Int("publishers", 0, "how `many` publishers, at most 20")}
	return operate(ctx, c, f, p, args, 0, 1, io, func(o *operator, rest []string) error {
		list := func(plans []planLine) error {
			w := newTable(io.Out, "PLAN", "POSTS A DAY", "ADVERTISING", "WAITING", "A MINUTE", "PUBLISHERS")
			for _, l := range plans {
				w.row(l.Name, strconv.Itoa(l.Posts), strconv.Itoa(l.Ads), strconv.Itoa(l.Scheduled), strconv.Itoa(l.PerMinute), strconv.Itoa(l.Publishers))
			}
			return w.Flush()
		}
		in := map[string]any{}
		f.Visit(func(fl *flag.Flag) {
			if n, ok := flags[fl.Name]; ok {
				in[strings.ReplaceAll(fl.Name, "-", "_")] = *n
			}
		})
		switch {
		case len(rest) == 0 && (*remove || len(in) > 0):
			return fmt.Errorf("say which plan: hwangso channel plan PLAN …")
		case *remove && len(in) > 0:
			return fmt.Errorf("a plan is defined or removed: not both")
		case len(rest) == 0:
			var out struct{ Plans []planLine }
			if err := o.call(ctx, "channel.plan.list", struct{}{}, &out); err != nil {
				return err
			}
			return list(out.Plans)
		case *remove:
			if err := o.call(ctx, "channel.plan.remove", map[string]any{"plan": rest[0]}, nil); err != nil {
				return err
			}
			fmt.Fprintf(io.Out, "The plan %s is gone. Its channels have the default.\n", rest[0])
			return nil
		}
		in["plan"] = rest[0]
		var out planLine
		if err := o.call(ctx, "channel.plan.set", in, &out); err != nil {
			return err
		}
		return list([]planLine{out})
	})
}

func channelPublisher(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	role := f.String("role", "publisher", "owner, editor or publisher")
	remove := f.Bool("remove", false, "end that the user publishes")
	return operate(ctx, c, f, p, args, 1, 2, io, func(o *operator, rest []string) error {
		in := map[string]any{"channel": rest[0]}
		given := *remove
		f.Visit(func(fl *flag.Flag) { given = given || fl.Name == "role" })
		switch {
		case len(rest) == 1 && given:
			return fmt.Errorf("say whom: hwangso channel publisher %s USER …", rest[0])
		case len(rest) == 1:
			var out struct {
				Publishers []struct {
					User, Role string
					Pending    bool
				}
			}
			if err := o.call(ctx, "channel.publisher.list", in, &out); err != nil {
				return err
			}
			w := newTable(io.Out, "USER", "ROLE", "")
			for _, l := range out.Publishers {
				asked := ""
				if l.Pending {
					asked = "was asked"
				}
				w.row(l.User, l.Role, asked)
			}
			return w.Flush()
		case *remove:
			in["user"] = rest[1]
			if err := o.call(ctx, "channel.publisher.remove", in, nil); err != nil {
				return err
			}
			fmt.Fprintf(io.Out, "%s publishes in %s no more.\n", rest[1], rest[0])
			return nil
		}
		in["user"], in["role"] = rest[1], *role
		if err := o.call(ctx, "channel.publisher.set", in, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s is %s of %s now.\n", rest[1], *role, rest[0])
		return nil
	})
}

func channelKey(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	remove := f.String("remove", "", "end the `key` with this id")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if *remove != "" {
			if err := o.call(ctx, "channel.key.remove", map[string]any{"channel": rest[0], "key": *remove}, nil); err != nil {
				return err
			}
			fmt.Fprintf(io.Out, "The key opens nothing any more.\n")
			return nil
		}
		var out struct {
			Keys []struct {
				User string
				tokenLine
			}
		}
		if err := o.call(ctx, "channel.key.list", map[string]any{"channel": rest[0]}, &out); err != nil {
			return err
		}
		w := newTable(io.Out, "KEY", "OF", "LABEL", "OPENS")
		for _, k := range out.Keys {
			w.row(k.ID, k.User, k.Label, strings.Join(k.Scopes, ","))
		}
		return w.Flush()
	})
}

func channelNumbers(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		var out struct {
			Day                   string
			Followers, Consenting *int
			Posts                 int `json:"posts_today"`
			Ads                   int `json:"ads_today"`
			Plan                  planLine
		}
		if err := o.call(ctx, "channel.numbers", map[string]any{"channel": rest[0]}, &out); err != nil {
			return err
		}
		day := out.Day
		if day == "" {
			day = "not counted yet"
		}
		w := newTable(io.Out, "WHAT", "VALUE")
		for _, row := range [][2]string{{"counted", day}, {"followers", some(out.Followers)}, {"of them want advertising", some(out.Consenting)},
			{"posts today", fmt.Sprintf("%d of %d", out.Posts, out.Plan.Posts)}, {"advertising today", fmt.Sprintf("%d of %d", out.Ads, out.Plan.Ads)}} {
			w.row(row[0], row[1])
		}
		return w.Flush()
	})
}
