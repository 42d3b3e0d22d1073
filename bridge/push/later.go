package push

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// latest is the longest pause that is believed: a provider that asks for more is asked again after it.
const latest = 24 * time.Hour

// RetryAfter reads the header of that name (RFC 9110, 10.2.3): a number of seconds, or a date. It is at most a day, and 0
// if there is none, it cannot be read or it has passed.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	var d time.Duration
	if n, err := strconv.ParseUint(v, 10, 64); err == nil {
		d = time.Duration(min(n, uint64(latest/time.Second))) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), latest)
}
