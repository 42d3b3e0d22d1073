package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"
)

func deviceCommand() command {
	return group("device", "Users' devices",
		command{name: "add", args: "USER CLIENT-ID", summary: "Make a device and a token that opens only this device", run: deviceAdd},
		command{name: "list", args: "USER", summary: "List a user's devices", run: deviceList},
		command{name: "remove", args: "USER DEVICE", summary: "Sign a device out: its connection, its session and its tokens end", run: deviceRemove},
	)
}

type deviceLine struct {
	ID, Label string
	ClientID  string    `json:"client_id"`
	Created   time.Time `json:"created"`
	LastSeen  time.Time `json:"last_seen"`
	Online    bool
}

func deviceAdd(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	label := f.String("label", "", "what people call the device")
	expires := f.Duration("expires", 0, "how long the token is good for (default: for ever)")
	return operate(ctx, c, f, p, args, 2, 2, io, func(o *operator, rest []string) error {
		var out secretLine
		in := map[string]any{"account": rest[0], "client_id": rest[1], "label": *label, "expires_in": seconds(*expires)}
		if err := o.call(ctx, "device.create", in, &out); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "The token of %s's device %s, told this once:\n  %s\nListen with:\n  %s\n", rest[0], rest[1], out.Secret,
			o.listenCommand(ctx, strings.ToLower(rest[0]), rest[1], out.Secret))
		return nil
	})
}

func (o *operator) devices(ctx context.Context, user string) ([]deviceLine, error) {
	var out struct{ Devices []deviceLine }
	err := o.call(ctx, "device.list", map[string]any{"account": user}, &out)
	return out.Devices, err
}

func deviceList(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		devices, err := o.devices(ctx, rest[0])
		if err != nil {
			return err
		}
		w := newTable(io.Out, "DEVICE", "CLIENT ID", "LABEL", "SINCE", "LAST SEEN", "")
		for _, d := range devices {
			online := ""
			if d.Online {
				online = "online"
			}
			w.row(d.ID, d.ClientID, d.Label, day(d.Created), day(d.LastSeen), online)
		}
		return w.Flush()
	})
}

func deviceRemove(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 2, 2, io, func(o *operator, rest []string) error {
		devices, err := o.devices(ctx, rest[0])
		if err != nil {
			return err
		}
		id := rest[1]
		for _, d := range devices { // people know the client identifier rather than the number
			if d.ClientID == rest[1] {
				id = d.ID
			}
		}
		if err := o.call(ctx, "device.remove", map[string]any{"account": rest[0], "device": id}, nil); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s's device %s is signed out.\n", rest[0], rest[1])
		return nil
	})
}
