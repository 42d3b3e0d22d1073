package engine

import "time"

var (
	base     = time.Now()
	baseUnix = base.UnixNano()
)

// Now is the time in nanoseconds since 1970 of a clock that never steps: wall
// time at the program's start, monotonic from there.
func Now() int64 { return baseUnix + int64(time.Since(base)) }
