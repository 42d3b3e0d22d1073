package cmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func roomCommand() command {
	return group("room", "Rooms and their members",
		command{name: "create", args: "ROOM -owner USER [-members USER,…]", summary: "Create a room", run: roomCreate},
		command{name: "add", args: "ROOM USER…", summary: "Add members", run: roomAdd},
		command{name: "remove", args: "ROOM USER…", summary: "Remove members", run: roomRemove},
		command{name: "members", args: "ROOM", summary: "List a room's members", run: roomMembers},
		command{name: "role", args: "ROOM USER member|moderator|owner", summary: "Give a member a role", run: roomRole},
		command{name: "mute", args: "ROOM USER [-for 1h | -off]", summary: "Keep a member from writing", run: roomMute},
		command{name: "show", args: "ROOM", summary: "Show what is set about a room", run: roomShow},
		command{name: "close", args: "ROOM [-reason TEXT]", summary: "Close a room: nobody writes and nobody comes in", run: roomClose},
		command{name: "reopen", args: "ROOM", summary: "Open a closed room again", run: roomReopen},
		command{name: "list", args: "[USER]", summary: "List every room, or those a user is in", run: roomList},
	)
}

func roomCreate(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	owner := f.String("owner", "", "the `user` who owns the room; required")
	members := f.String("members", "", "further `users`, with commas")
	title := f.String("title", "", "what the room is called")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if *owner == "" {
			return fmt.Errorf("say who owns the room, with -owner USER")
		}
		in := map[string]any{"room": rest[0], "owner": *owner, "members": list(*members), "title": *title}
		if err := o.call(ctx, "room.create", in, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "The room %[1]s is there. Members write to room/%[1]s/text.\n", strings.ToLower(rest[0]))
		return nil
	})
}

type refusedLine struct{ User, Error string }

func roomAdd(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	role := f.String("role", "", "member, moderator or owner (default member)")
	return operate(ctx, c, f, p, args, 2, 33, io, func(o *operator, rest []string) error {
		var out struct {
			Added, Already []string
			Refused        []refusedLine
		}
		if err := o.call(ctx, "room.add", map[string]any{"room": rest[0], "users": rest[1:], "role": *role}, &out); err != nil {
			return err
		}
		for _, u := range out.Added {
			fmt.Fprintf(io.Out, "%s is in %s now.\n", u, rest[0])
		}
		for _, u := range out.Already {
			fmt.Fprintf(io.Out, "%s was in %s already.\n", u, rest[0])
		}
		return refusals(out.Refused)
	})
}

func refusals(list []refusedLine) error {
	if len(list) == 0 {
		return nil
	}
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = r.User + " (" + r.Error + ")"
	}
	return fmt.Errorf("refused: %s", strings.Join(words, ", "))
}

func roomRemove(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 2, 33, io, func(o *operator, rest []string) error {
		var out struct {
			Removed []string
			Refused []refusedLine
		}
		if err := o.call(ctx, "room.remove", map[string]any{"room": rest[0], "users": rest[1:]}, &out); err != nil {
			return err
		}
		for _, u := range out.Removed {
			fmt.Fprintf(io.Out, "%s is not in %s any more.\n", u, rest[0])
		}
		return refusals(out.Refused)
	})
}

func roomMembers(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		w := newTable(io.Out, "USER", "SHOWN AS", "ROLE")
		for after := ""; ; {
			var out struct {
				Members []struct{ Name, Display, Role string }
				Next    string
			}
			if err := o.call(ctx, "room.members", map[string]any{"room": rest[0], "after": after, "limit": 200}, &out); err != nil {
				return err
			}
			for _, m := range out.Members {
				w.row(m.Name, m.Display, m.Role)
			}
			if after = out.Next; after == "" {
				return w.Flush()
			}
		}
	})
}

func roomRole(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 3, 3, io, func(o *operator, rest []string) error {
		if err := o.call(ctx, "room.role", map[string]any{"room": rest[0], "user": rest[1], "role": rest[2]}, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s is %s of %s now.\n", rest[1], rest[2], rest[0])
		return nil
	})
}

func roomMute(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	length := f.Duration("for", 0, "how long, such as 30m or 48h (default without end)")
	off := f.Bool("off", false, "let the member write again")
	return operate(ctx, c, f, p, args, 2, 2, io, func(o *operator, rest []string) error {
		in := map[string]any{"room": rest[0], "user": rest[1]}
		said := "does not write in"
		switch {
		case *off:
			in["seconds"], said = 0, "writes again in"
		case *length < 0 || *length > 0 && *length < time.Second:
			return fmt.Errorf("-for must be a second or more")
		case *length > 0:
			in["seconds"] = int64(*length / time.Second)
		}
		if err := o.call(ctx, "room.mute", in, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s %s %s now.\n", rest[1], said, rest[0])
		return nil
	})
}

// shownRoom is a room as operators are told.
type shownRoom struct {
	Room, Title, Description, History, Invites, Reason string
	Members, Capacity                                  int
	Open                                               bool
	Head                                               uint64
	Newest, Closed                                     *time.Time
}

func (r *shownRoom) state() string {
	switch {
	case r.Closed != nil:
		return "closed"
	case r.Open:
		return "open room"
	}
	return "group"
}

func roomShow(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		var r shownRoom
		if err := o.call(ctx, "room.get", map[string]any{"room": rest[0]}, &r); err != nil {
			return err
		}
		w := newTable(io.Out, "WHAT", "VALUE")
		for _, row := range [][2]string{{"room", r.Room}, {"title", r.Title}, {"description", strings.ReplaceAll(r.Description, "\n", " ")},
			{"kind", r.state()}, {"members", fmt.Sprintf("%d of %d", r.Members, r.Capacity)}, {"newest", "#" + strconv.FormatUint(r.Head, 10)},
			{"history", r.History}, {"invites", r.Invites}, {"closed for", r.Reason}} {
			if row[1] != "" {
				w.row(row[0], row[1])
			}
		}
		return w.Flush()
	})
}

func roomClose(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	reason := f.String("reason", "", "one `line` that the members are shown")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if err := o.call(ctx, "room.close", map[string]any{"room": rest[0], "reason": *reason}, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s is closed. Its members can read it.\n", rest[0])
		return nil
	})
}

func roomReopen(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if err := o.call(ctx, "room.close", map[string]any{"room": rest[0], "on": false}, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s is open again.\n", rest[0])
		return nil
	})
}

// everyRoom lists the rooms of the whole service.
func everyRoom(ctx context.Context, o *operator, io Streams) error {
	w := newTable(io.Out, "ROOM", "TITLE", "KIND", "MEMBERS", "NEWEST")
	for after := ""; ; {
		var out struct {
			Rooms []shownRoom
			Next  string
		}
		if err := o.call(ctx, "room.list", map[string]any{"after": after, "limit": 200}, &out); err != nil {
			return err
		}
		for _, r := range out.Rooms {
			w.row(r.Room, r.Title, r.state(), strconv.Itoa(r.Members), "#"+strconv.FormatUint(r.Head, 10))
		}
		if after = out.Next; after == "" {
			return w.Flush()
		}
	}
}

func roomList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 0, 1, io, func(o *operator, rest []string) error {
		if len(rest) == 0 {
			return everyRoom(ctx, o, io)
		}
		var out roomsAnswer
		if err := o.local(ctx, "rooms", roomsRequest{strings.ToLower(rest[0])}, &out); err != nil {
			return err
		}
		w := newTable(io.Out, "ROOM", "TITLE", "ROLE", "MEMBERS", "NEWEST")
		for _, r := range out.Rooms {
			w.row(r.Room, r.Title, r.Role, strconv.Itoa(r.Members), "#"+strconv.FormatUint(uint64(r.Messages), 10))
		}
		return w.Flush()
	})
}
