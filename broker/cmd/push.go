package cmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func pushCommand() command {
	return group("push", "What wakes devices that are away: why they rang, and how Apple, Google and browsers' services are",
		command{name: "why", args: "USER CONVERSATION SEQ", summary: "Tell why a user's devices rang for a message, or did not", text: pushWhyText, run: pushWhy},
		command{name: "status", args: "", summary: "Tell how pushes and their providers are", run: pushStatus},
		command{name: "resume", args: "PROVIDER", summary: "Try a paused provider again before its pause ends", text: pushResumeText, run: pushResume},
		command{name: "announce", args: "[TEXT]", summary: "Tell every user something by push", text: announceText, run: pushAnnounce},
		command{name: "announcements", args: "", summary: "List announcements, and how far each has come", run: pushAnnouncements},
		command{name: "pause", args: "ANNOUNCEMENT", summary: "Pause an announcement", run: pushAnnouncementState("paused")},
		command{name: "continue", args: "ANNOUNCEMENT", summary: "Go on with a paused announcement", run: pushAnnouncementState("running")},
		command{name: "cancel", args: "ANNOUNCEMENT", summary: "Cancel an announcement", run: pushAnnouncementState("canceled")},
	)
}

const pushWhyText = `CONVERSATION is a room's identifier, or user/NAME for the 1:1 conversation with NAME, or notice for the server's notices
to the user, or channel/NAME for the posts of a channel, channel/NAME/ads for its advertising, channel/NAME/thread for what
the user and the channel write to each other. SEQ is the message's sequence, s in its envelope. Decisions are kept in the server's memory, the last
100,000 or so, and the last one about each conversation and device on disk. That you asked is in the audit log.`

const pushResumeText = `PROVIDER is apns, fcm or webpush. Do this when what was wrong has been mended, such as a key or an environment: the next
push finds out, and if it gets through, the others follow. Without it that happens by itself within a minute or so.`

var errNotRunning = errors.New("no server is running on this data: what was decided is in the memory of one that runs")

func pushWhy(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 3, 3, io, func(o *operator, rest []string) error {
		if !o.running {
			return errNotRunning
		}
		seq, err := strconv.ParseUint(rest[2], 10, 64)
		if err != nil || seq == 0 {
			return fmt.Errorf("%q is no sequence of a message: write a number from 1 on", rest[2])
		}
		in := map[string]any{"account": rest[0], "seq": seq}
		channel, ofChannel := strings.CutPrefix(rest[1], "channel/")
		switch peer, pair := strings.CutPrefix(rest[1], "user/"); {
		case ofChannel:
			channel, log, named := strings.Cut(channel, "/")
			if in["channel"] = channel; named {
				in["log"] = log
			}
		case pair:
			in["user"] = peer
		case rest[1] == "notice":
			in["notices"] = true
		default:
			in["room"] = strings.TrimPrefix(rest[1], "room/")
		}
		var out struct {
			Decisions []struct {
				Device, Label, Reason, Text, Push string
				Time                              time.Time
				Until                             *time.Time
				From, Upto                        uint64
				Answer                            *struct {
					Outcome, Reason string
					Status          int
				}
			}
		}
		if err := o.call(ctx, "push.why", in, &out); err != nil {
			return err
		}
		if len(out.Decisions) == 0 {
			fmt.Fprintln(io.Out, "Nothing is known about it: it was decided too long ago, or it is about to be.")
			return nil
		}
		for _, d := range out.Decisions {
			fmt.Fprintf(io.Out, "%s  %s (%s)  #%d", d.Time.Local().Format("2006-01-02 15:04:05"), shown(d.Label), d.Device, d.From)
			if d.Upto > d.From {
				fmt.Fprintf(io.Out, " to #%d", d.Upto)
			}
			fmt.Fprintf(io.Out, "  %s\n    %s\n", d.Reason, d.Text)
			if d.Until != nil {
				fmt.Fprintf(io.Out, "    looked at again at %s\n", d.Until.Local().Format("15:04:05"))
			}
			if d.Answer != nil {
				fmt.Fprintf(io.Out, "    the provider: %s", d.Answer.Outcome)
				if d.Answer.Status != 0 {
					fmt.Fprintf(io.Out, ", status %d", d.Answer.Status)
				}
				if d.Answer.Reason != "" {
					fmt.Fprintf(io.Out, ", %s", shown(d.Answer.Reason))
				}
				fmt.Fprintln(io.Out)
			}
			if d.Push != "" {
				fmt.Fprintf(io.Out, "    push %s\n", d.Push)
			}
		}
		return nil
	})
}

func pushStatus(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		if !o.running {
			return errNotRunning
		}
		var out struct {
			Behind, Rows int64
			Rings        int
			Unsettled    int
			Providers    []struct {
				Provider, State, Why string
				LastError            string `json:"last_error"`
				Since                time.Time
				LastAt               time.Time `json:"last_error_at"`
				Probe                *time.Time
				InFlight             int `json:"in_flight"`
				Limit                int
				Queued               map[string]int
				OldestMS             int64 `json:"oldest_ms"`
				Guard                struct {
					Removed, Kept, Trips uint64
				}
				Routes []struct{ Name, State, Why string }
			}
		}
		if err := o.call(ctx, "push.status", struct{}{}, &out); err != nil {
			return err
		}
		w := newTable(io.Out, "PROVIDER", "STATE", "SINCE", "WHY", "IN FLIGHT", "CHAT", "CLEAR", "BULK", "OLDEST", "LAST ERROR")
		for _, l := range out.Providers {
			last := "-"
			if l.LastError != "" {
				last = minute(l.LastAt) + " " + shown(l.LastError)
			}
			state := l.State
			if l.Probe != nil && l.State != "open" {
				state += ", tried at " + l.Probe.Local().Format("15:04:05")
			}
			w.row(l.Provider, state, minute(l.Since), dash(shown(l.Why)), fmt.Sprintf("%d of %d", l.InFlight, l.Limit), strconv.Itoa(l.Queued["chat"]),
				strconv.Itoa(l.Queued["clear"]), strconv.Itoa(l.Queued["bulk"]), (time.Duration(l.OldestMS) * time.Millisecond).String(), last)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, l := range out.Providers {
			for _, r := range l.Routes {
				if r.State != "open" && len(l.Routes) > 1 {
					fmt.Fprintf(io.Out, "%s %s: %s %s\n", l.Provider, dash(shown(r.Name)), r.State, shown(r.Why))
				}
			}
			if g := l.Guard; g.Removed+g.Kept+g.Trips > 0 {
				fmt.Fprintf(io.Out, "%s: %d invalid tokens removed, %d left alone by the guard, which has paused %d times\n", l.Provider, g.Removed, g.Kept, g.Trips)
			}
		}
		fmt.Fprintf(io.Out, "%d bytes of the journal to read, %d entries unsettled; under way: %d in memory, %d waiting on disk\n", out.Behind, out.Unsettled, out.Rings, out.Rows)
		return nil
	})
}

func pushResume(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if !o.running {
			return errNotRunning
		}
		var out struct{ Paused bool }
		if err := o.call(ctx, "push.resume", map[string]any{"provider": rest[0]}, &out); err != nil {
			return err
		}
		if out.Paused {
			fmt.Fprintf(io.Out, "%s: the next push finds out whether it works again\n", rest[0])
		} else {
			fmt.Fprintf(io.Out, "%s: not paused\n", rest[0])
		}
		return nil
	})
}
