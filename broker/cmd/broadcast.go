package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hwangso/hwangso/examples/chat/tty"
)

func broadcastCommand() command {
	return group("broadcast", "What brands send to all of their followers",
		command{name: "create", args: "CHANNEL [TEXT] [flags]", summary: "Send a post to a channel's followers, now or later", text: broadcastCreateText, run: broadcastCreate},
		command{name: "list", args: "CHANNEL", summary: "List a channel's broadcasts, the newest first", run: broadcastList},
		command{name: "watch", args: "CHANNEL KEY", summary: "Tell how far a broadcast has come until it has ended", text: broadcastWatchText, run: broadcastWatch},
		command{name: "pause", args: "CHANNEL KEY", summary: "Hold a broadcast: who has not got it waits", run: broadcastControl("pause")},
		command{name: "resume", args: "CHANNEL KEY", summary: "Let a paused broadcast go on", run: broadcastControl("resume")},
		command{name: "cancel", args: "CHANNEL KEY", summary: "Cancel a broadcast: who has not got it does not get it", run: broadcastControl("cancel")},
		command{name: "report", args: "CHANNEL KEY", summary: "Tell what became of a broadcast, 24 hours after its end", text: broadcastReportText, run: broadcastReport},
	)
}

const broadcastCreateText = `TEXT is for everybody; with -text once for each language (-text ko=… -text en=…) who has one of these gets that one.
Without TEXT, -post names a file with a post as the control API takes it, "-" the standard input. The same -name again
sends nothing twice. It goes out without this command, and after a crash.`

const broadcastWatchText = `Percent are told in steps of ten, for channels with more than 1,000 followers; with fewer, only states: how long it takes
would tell how many they are. On a terminal it is one line.`

const broadcastReportText = `Numbers are rounded down, and "-" where they would tell too much.`

type broadcastLine struct {
	Key, State, Why, Opening string
	Percent                  int
	Ad                       bool
	At                       time.Time
}

func (b *broadcastLine) progress() string {
	s := b.State
	if b.State == "running" && b.Percent > 0 {
		s += fmt.Sprintf(" %3d%% of the followers considered", b.Percent)
	}
	if b.Why != "" {
		s += " (" + b.Why + ")"
	}
	return s
}

func (b *broadcastLine) over() bool { return b.State == "done" || b.State == "canceled" }

func broadcastCreate(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	key := f.String("name", "", "the broadcast's `key` within its channel (default: from the time)")
	file := f.String("post", "", "the `file` with the post in JSON")
	at := f.String("at", "", "when it goes out: a `time` (2026-03-01T09:00:00+09:00) or how long from now (90m)")
	expires := f.String("expires", "", "who has not got it by this `time` does not get it; or how long from now")
	ad := f.Bool("ad", false, "it is advertising: for those who consent, not at night, with the label in front")
	silent := f.Bool("silent", false, "no pushes")
	coupon := f.String("coupon", "", "the `campaign` of which it offers coupons")
	countries := f.String("countries", "", "only for followers in these `countries`, with commas")
	languages := f.String("languages", "", "only for followers with these `languages`, with commas")
	platforms := f.String("platforms", "", "only for followers with a device of these `systems`, with commas")
	weeks := f.String("weeks", "", "only for those who have followed for `MIN-MAX` weeks (MAX not included; 4- is 4 and more)")
	sample := f.Int("sample", 0, "only for so `many` of 1,000 followers")
	wait := f.Bool("wait", true, "tell how far it has come until it has ended")
	text := make(texts)
	f.Var(text, "text", "the text in one language, as `LANGUAGE=TEXT`")
	return operate(ctx, c, f, p, args, 1, 2, io, func(o *operator, rest []string) error {
		post, err := readPost(*file, rest[1:], text, io.In)
		if err != nil {
			return err
		}
		if *key == "" {
			*key = time.Now().UTC().Format("broadcast-20060102-150405")
		}
		in := map[string]any{"channel": rest[0], "key": *key, "post": post, "ad": *ad, "silent": *silent, "coupon": *coupon}
		for name, s := range map[string]string{"at": *at, "expires": *expires} {
			t, err := moment(s, time.Now())
			if err != nil {
				return fmt.Errorf("-%s: %w", name, err)
			}
			if !t.IsZero() {
				in[name] = t
			}
		}
		low, high, err := weekRange(*weeks)
		if err != nil {
			return err
		}
		segment := map[string]any{"countries": list(*countries), "languages": list(*languages), "platforms": list(*platforms),
			"min_weeks": low, "max_weeks": high, "sample": *sample}
		f.Visit(func(fl *flag.Flag) { // also one without a value, which is refused
			switch fl.Name {
			case "countries", "languages", "platforms", "weeks", "sample":
				in["segment"] = segment
			}
		})
		var out struct {
			Broadcast broadcastLine
			New       bool
		}
		err = o.call(ctx, "broadcast.create", in, &out)
		if errors.Is(err, errUnanswered) || errors.Is(err, context.Canceled) {
			return fmt.Errorf("%w: it is sent or not. With -name %s the same command sends nothing twice", err, *key)
		}
		if err != nil {
			return err
		}
		switch b := out.Broadcast; {
		case !out.New:
			fmt.Fprintf(io.Out, "%s was there: %s\n", b.Key, b.progress())
		case !o.running:
			fmt.Fprintf(io.Out, "%s goes out when the server runs\n", b.Key)
		case time.Until(b.At) > time.Minute:
			fmt.Fprintf(io.Out, "%s goes out at %s\n", b.Key, b.At.Local().Format("2006-01-02 15:04"))
			return nil
		default:
			fmt.Fprintf(io.Out, "%s is on its way\n", b.Key)
		}
		if !*wait || !o.running {
			return nil
		}
		return watchBroadcast(ctx, o, rest[0], out.Broadcast.Key, io.Out)
	})
}

// readPost is the post of the command line: from a file, or from texts.
func readPost(file string, args []string, text texts, in io.Reader) (any, error) {
	if file == "" {
		for _, t := range slices.Concat(args, slices.Collect(maps.Values(text))) {
			if !utf8.ValidString(t) {
				return nil, fmt.Errorf("the text is not UTF-8")
			}
		}
		post := map[string]any{}
		if len(args) == 1 {
			post["text"] = args[0]
		}
		variants := map[string]any{}
		for lang, t := range text {
			variants[lang] = map[string]string{"text": t}
		}
		if len(args) == 0 { // one of the languages is for everybody else, too
			main := ""
			for _, l := range []string{"en", "ko"} {
				if _, ok := text[l]; ok && main == "" {
					main = l
				}
			}
			for l := range text {
				if main == "" || main != "en" && main != "ko" && l < main {
					main = l
				}
			}
			if main == "" {
				return nil, fmt.Errorf("say what is to be sent: hwangso broadcast create CHANNEL TEXT")
			}
			post["text"], post["language"] = text[main], main
			delete(variants, main)
		}
		if len(variants) > 0 {
			post["variants"] = variants
		}
		return post, nil
	}
	if len(args) > 0 || len(text) > 0 {
		return nil, fmt.Errorf("the post is in the file, or on the command line: not both")
	}
	var raw []byte
	var err error
	if file == "-" {
		raw, err = io.ReadAll(io.LimitReader(in, 1<<20))
	} else {
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	if file == "-" {
		file = "the standard input"
	}
	switch {
	case !utf8.Valid(raw):
		return nil, fmt.Errorf("%s is not UTF-8", file)
	case !json.Valid(raw):
		return nil, fmt.Errorf("%s is not JSON", file)
	}
	return json.RawMessage(raw), nil
}

// moment is a time of the command line, zero for "".
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q is no time: write 2026-03-01T09:00:00+09:00, or 90m", s)
	}
	return t, nil
}

func weekRange(s string) (low, high int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	first, last, ok := strings.Cut(s, "-")
	if low, err = strconv.Atoi(first); err == nil && last != "" {
		high, err = strconv.Atoi(last)
	}
	if !ok || err != nil {
		return 0, 0, fmt.Errorf("-weeks is MIN-MAX, such as 4-12 or 4-")
	}
	return low, high, nil
}

func broadcastWatch(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	return operate(ctx, c, f, p, args, 2, 2, io, func(o *operator, rest []string) error {
		return watchBroadcast(ctx, o, rest[0], rest[1], io.Out)
	})
}

// watchBroadcast tells how far a broadcast has come until it has ended: on a terminal in one line that is drawn again, else
// with a line for each change. Without a server it tells once: nothing moves.
func watchBroadcast(ctx context.Context, o *operator, channel, key string, out io.Writer) error {
	file, ok := out.(*os.File)
	live := ok && tty.IsTerminal(file)
	last, drawn := "", false
	unwatched := func(err error) error { // the broadcast does not depend on this command
		if drawn {
			fmt.Fprintln(out)
		}
		look := "hwangso broadcast watch " + channel + " " + key
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("not watched any more. The broadcast goes on: %q looks again, \"hwangso broadcast cancel …\" ends it", look)
		case errors.Is(err, errUnanswered):
			return fmt.Errorf("%w. The broadcast goes on when it runs again: %q looks again", err, look)
		}
		return err
	}
	for {
		var got struct{ Broadcast broadcastLine }
		if err := o.call(ctx, "broadcast.get", map[string]any{"channel": channel, "key": key}, &got); err != nil {
			return unwatched(err)
		}
		b := &got.Broadcast
		end := b.over() || !o.running
		switch s := shown(b.Key + ": " + b.progress()); {
		case live:
			bar := strings.Repeat("█", b.Percent/10) + strings.Repeat("░", 10-b.Percent/10)
			if b.State == "done" {
				bar = strings.Repeat("█", 10)
			}
			fmt.Fprintf(out, "\r\x1b[K%s %s", bar, s)
			drawn = true
			if end {
				fmt.Fprintln(out)
			}
		case s != last:
			fmt.Fprintln(out, s)
			last = s
		}
		if end && !b.over() {
			fmt.Fprintln(out, "No server is running on this data: it goes on when one does.")
		}
		if end {
			return nil
		}
		select {
		case <-ctx.Done():
			return unwatched(ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func broadcastList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		w := newTable(io.Out, "BROADCAST", "AT", "STATE", "TEXT")
		for after := ""; ; {
			var out struct {
				Broadcasts []broadcastLine
				Next       string
			}
			if err := o.call(ctx, "broadcast.list", map[string]any{"channel": rest[0], "after": after}, &out); err != nil {
				return err
			}
			for _, b := range out.Broadcasts {
				w.row(b.Key, minute(b.At), b.progress(), shown(b.Opening))
			}
			if after = out.Next; after == "" {
				return w.Flush()
			}
		}
	})
}

// broadcastControl is a command that pauses, resumes or cancels.
func broadcastControl(what string) func(context.Context, command, []string, Streams) error {
	return func(ctx context.Context, c command, args []string, io Streams) error {
		f, p := c.flags(io), &place{existing: true}
		return operate(ctx, c, f, p, args, 2, 2, io, func(o *operator, rest []string) error {
			var out struct{ Broadcast broadcastLine }
			if err := o.call(ctx, "broadcast."+what, map[string]any{"channel": rest[0], "key": rest[1]}, &out); err != nil {
				return err
			}
			fmt.Fprintf(io.Out, "%s: %s\n", out.Broadcast.Key, out.Broadcast.progress())
			return nil
		})
	}
}

func broadcastReport(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), &place{existing: true}
	return operate(ctx, c, f, p, args, 2, 2, io, func(o *operator, rest []string) error {
		var out struct{ Reached, Pushed, Opened *int }
		if err := o.call(ctx, "broadcast.report", map[string]any{"channel": rest[0], "key": rest[1]}, &out); err != nil {
			return err
		}
		w := newTable(io.Out, "REACHED", "PUSHED", "OPENED")
		row := make([]string, 0, 3)
		for _, n := range []*int{out.Reached, out.Pushed, out.Opened} {
			if n == nil {
				row = append(row, "-")
				continue
			}
			row = append(row, strconv.Itoa(*n))
		}
		w.row(row...)
		return w.Flush()
	})
}
