package cmd

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the module version the program was built from, or the revision of a checkout, or "devel".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

func version(_ context.Context, c command, args []string, io Streams) error {
	f := c.flags(io)
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "hwangso %s %s %s/%s\n", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
