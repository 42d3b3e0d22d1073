package main

import (
	"testing"

	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store/graph"
)

// Whoever is away is woken once, by whatever provider.
func TestAwayRingsOnce(t *testing.T) {
	r := newRinging(t, nil, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	for _, p := range graph.PushProviders() {
		t.Run(string(p), func(t *testing.T) {
			token := r.phone("bob", "phone-"+string(p), p)
			seq := r.says("alice", "user/bob", "hello")
			got := r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) > 0 })
			if n := got.Notifications[0]; got.Rang != 1 || len(got.Notifications) != 1 || n.Seq != uint64(seq) || n.Room != "user/alice" {
				t.Errorf("it shows %+v", got)
			}
			r.does("bob", "read.set", `{"user":"alice","seq":`+itoa(seq)+`}`)
		})
	}
	for _, c := range r.sim.Counts() {
		if c.Shown != 1 {
			t.Errorf("shown %d times: %+v", c.Shown, c)
		}
	}
}
