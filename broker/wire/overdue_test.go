package wire

import (
	"fmt"
	"testing"
	"time"
)

// A client is overdue once it was silent for longer than the keepalive in force, and not any more when it is heard.
func TestOverdue(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxKeepAlive = 300 * time.Second })
	for _, c := range []struct {
		connect string
		keep    time.Duration // in force; 0: none
	}{
		{`10 [ {MQTT} 04 c2 0000 {dev} {alice} {pw-alice} ]`, 0},
		{`10 [ {MQTT} 04 c2 003c {dev} {alice} {pw-alice} ]`, time.Minute},
		{`10 [ {MQTT} 05 c2 0000 [ ] {dev} {alice} {pw-alice} ]`, 300 * time.Second}, // the server's
		{`10 [ {MQTT} 05 c2 000a [ ] {dev} {alice} {pw-alice} ]`, 10 * time.Second},
	} {
		nc := loginAny(t, r.addr, c.connect)
		ping(t, nc)
		conn := r.d.last(t).link.(*conn)
		for _, s := range []struct {
			silent time.Duration
			want   bool
		}{{0, false}, {c.keep - 5*time.Second, false}, {c.keep + time.Millisecond, c.keep > 0}, {c.keep * 7 / 5, c.keep > 0}} {
			conn.heard.Store(r.now() - int64(s.silent))
			if got := conn.Overdue(); got != s.want {
				t.Errorf("%s, silent for %v: %v", c.connect, s.silent, got)
			}
		}
		ping(t, nc)
		if conn.Overdue() {
			t.Errorf("%s: overdue, and heard a moment ago", c.connect)
		}
		nc.Close()
		r.waitEmpty()
	}
}

// Whoever finds a session in the registry may ask it at any time, while its connection is still being answered too.
func TestOverdueWhileConnecting(t *testing.T) {
	r := newRig(t, nil)
	asked := make(chan bool)
	for i := range 20 {
		nc := dial(t, r.addr)
		say(t, nc, fmt.Sprintf(`10 [ {MQTT} 04 c2 003c {dev%02d} {alice} {pw-alice} ]`, i))
		n := i + 1
		go func() {
			for {
				r.d.mu.Lock()
				have := len(r.d.sessions)
				r.d.mu.Unlock()
				if have == n {
					asked <- r.d.last(t).link.Overdue()
					return
				}
			}
		}()
		readConnack(t, nc)
		if <-asked {
			t.Error("a client that has just connected is overdue")
		}
	}
}
