package view

import (
	"strconv"
	"time"
)

// Presence is what a friend sees of whether a user is there.
type Presence struct {
	Off    bool  // it does not share it any more
	Online bool  // else it is away
	Since  int64 // since when it is away, Unix milliseconds; 0: not known
}

// AppendPresence appends the payload of a delivery on presence/{user}: {"state":"online"}, {"state":"away","since":…} with
// Unix milliseconds to the minute, or {"state":"off"}.
func AppendPresence(dst []byte, p Presence) []byte {
	switch {
	case p.Off:
		return append(dst, `{"state":"off"}`...)
	case p.Online:
		return append(dst, `{"state":"online"}`...)
	case p.Since <= 0:
		return append(dst, `{"state":"away"}`...)
	}
	dst = append(dst, `{"state":"away","since":`...)
	dst = strconv.AppendInt(dst, p.Since-p.Since%time.Minute.Milliseconds(), 10)
	return append(dst, '}')
}
