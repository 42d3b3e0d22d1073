package cmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

func roomCommand() command {
	return group("room", "Rooms and their members",
		command{name: "create", args: "ROOM -owner USER [-members USER,…]", summary: "Create a room", run: roomCreate},
		command{name: "add", args: "ROOM USER…", summary: "Add members", run: roomAdd},
		command{name: "remove", args: "ROOM USER…", summary: "Remove members", run: roomRemove},
		command{name: "members", args: "ROOM", summary: "List a room's members", run: roomMembers},
		command{name: "role", args: "ROOM USER member|moderator|owner", summary: "Give a member a role", run: roomRole},
		command{name: "list", args: "USER", summary: "List the rooms a user is in", run: roomList},
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

func roomList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
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
