package push

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 60 ": time.Minute, "86400": 24 * time.Hour, "86401": 24 * time.Hour,
		"18446744073709551615": 24 * time.Hour, "18446744073709551616": 0, "-1": 0, "1.5": 0, "soon": 0,
		"Sun, 22 Nov 2026 04:00:30 GMT": 30 * time.Second, "Sun, 22 Nov 2026 03:59:30 GMT": 0,
		"Sunday, 22-Nov-26 04:01:00 GMT": time.Minute, "Sun Nov 22 04:02:00 2026": 2 * time.Minute,
		"Sun, 22 Nov 2126 04:00:30 GMT": 24 * time.Hour,
	} {
		h := http.Header{}
		if v != "" {
			h.Set("Retry-After", v)
		}
		if got := RetryAfter(h, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7")
	f.Add("Sun, 22 Nov 2026 04:00:30 GMT")
	f.Add("99999999999999999999")
	f.Fuzz(func(t *testing.T, v string) {
		if d := RetryAfter(http.Header{"Retry-After": {v}}, time.Unix(1e9, 0)); d < 0 || d > latest {
			t.Errorf("%q: %v", v, d)
		}
	})
}
