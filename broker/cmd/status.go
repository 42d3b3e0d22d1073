package cmd

import (
	"context"
	"fmt"
	"time"
)

func status(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		if !o.running {
			fmt.Fprintf(io.Out, "No server is running on %s.\n", p.data)
		}
		var out struct {
			Version, Storage string
			Uptime           int64 `json:"uptime_seconds"`
			Sessions         int
			Epoch            uint32
			Journal          [2]uint64
		}
		if err := o.call(ctx, "server.status", struct{}{}, &out); err != nil {
			return err
		}
		addrs := make(map[string]string)
		if err := o.local(ctx, "addresses", struct{}{}, &addrs); err != nil {
			return err
		}
		w := newTable(io.Out, "version", out.Version)
		if o.running {
			w.row("up", (time.Duration(out.Uptime) * time.Second).String())
			w.row("devices", fmt.Sprint(out.Sessions))
			for _, l := range []string{"mqtt", "mqtts", "http", "https", "admin"} {
				if addrs[l] != "" {
					w.row(l, addrs[l])
				}
			}
		}
		w.row("storage", out.Storage)
		w.row("epoch", fmt.Sprint(out.Epoch))
		w.row("journal", fmt.Sprintf("%d to %d", out.Journal[0], out.Journal[1]))
		return w.Flush()
	})
}
