package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// TestBrandWatchesProgress: a brand watches its broadcasts to followers who are away, whom a real bridge wakes, one of them slowly.
// It has them begin a moment before it is looked how far they are, and go on after a pause at such a moment. It sees the same,
// to the byte and to the millisecond, whether that one follows or not: with 24 others, and with nobody else.
func TestBrandWatchesProgress(t *testing.T) {
	t.Parallel()
	began := time.Now().Truncate(time.Hour).Add(time.Hour)
	crowds := []int{24, 0}
	seen := make([][2]string, len(crowds))
	t.Run("worlds", func(t *testing.T) {
		for i, others := range crowds {
			for k, follows := range []bool{false, true} {
				t.Run(fmt.Sprint(others, " others, follows ", follows), func(t *testing.T) {
					t.Parallel()
					seen[i][k] = watched(t, began, others, follows)
				})
			}
		}
	})
	for i, others := range crowds {
		without, with := strings.Split(seen[i][0], "\n"), strings.Split(seen[i][1], "\n")
		for n := range min(len(without), len(with)) {
			if without[n] != with[n] {
				t.Errorf("with %d other followers, without the one:\n%s\nwith the one:\n%s", others, without[n], with[n])
			}
		}
		if n := strings.Count(seen[i][0], `"state":"done"`); len(without) != len(with) || n < 4 || strings.Contains(seen[i][0], "percent") {
			t.Errorf("with %d other followers a broadcast that ends is not seen to end: %s", others, seen[i][0])
		}
	}
}

// watched is all that a brand sees of two broadcasts. follows says whether one more follows than were counted, whose phone is
// slow.
func watched(t *testing.T, began time.Time, others int, follows bool) string {
	t.Helper()
	users := []string{"brand", "one"}
	for i := range others {
		users = append(users, fmt.Sprint("f", i))
	}
	var numbers *tally.Tally
	var r *ringing
	r = newRingingOf(t, stageParts{Posts: func(s *stage, c *broadcast.Config) {
		var err error
		numbers, err = tally.New(tally.Config{Store: s.store, Followers: s.store, Now: s.now,
			Facts:  func(store.AccountID) (tally.Facts, error) { return tally.Facts{}, nil },
			Meant:  func(store.AccountID, store.LogInfo, *store.Record) (bool, error) { return true, nil },
			Pushed: func(ctx context.Context, log store.LogID, seq store.Seq) (int, error) { return r.Pushed(ctx, log, seq) }})
		if err != nil {
			t.Fatal(err)
		}
		c.Tally = counts{numbers}
	}, API: func(_ *stage, c *api.Config) func() error {
		c.Numbers = numbers
		return numbers.Close
	}}, nil, users...)
	r.pass(began.Sub(r.now()))
	g := r.gazette("brand")
	slow := r.phone("one", "phone", graph.APNs)
	for _, u := range users[2:] {
		r.phone(u, "phone", graph.APNs)
		g.follow(u, rings)
	}
	g.ok(numbers.Snapshot(t.Context()))
	if follows {
		g.follow("one", rings)
	}
	desk := r.device("brand", "desk", 5)
	desk.connect(false)
	desk.subscribe("channel/+/progress", "channel/+/json")

	var all strings.Builder
	named := func(key string) string { return fmt.Sprintf(`{"channel":"gazette","key":%q}`, key) }
	posted := func(key string) store.Seq {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			c := r.does("brand", "broadcast.get", named(key))["broadcast"].(map[string]any)
			if seq, ok := c["seq"].(float64); ok {
				return store.Seq(seq)
			}
			if time.Now().After(end) {
				t.Fatalf("%s is not posted: %v", key, c)
			}
		}
	}
	// look moves the clock, and has the brand ask for everything after it was looked how far broadcasts are. That was when
	// another one, which is due then and rings nowhere, is posted.
	looks := 0
	look := func(d time.Duration) {
		t.Helper()
		looks++
		tick := fmt.Sprint("tick", looks)
		r.does("brand", "broadcast.create", fmt.Sprintf(`{"channel":"gazette","key":%q,"silent":true,"at":%q,"post":{"text":"x"}}`, tick, r.now().Add(d).Format(time.RFC3339Nano)))
		r.pass(d)
		r.posts.Look()
		posted(tick)
		for _, op := range []string{"broadcast.get", "broadcast.report"} {
			for _, key := range []string{"now", "held"} {
				fmt.Fprintln(&all, r.ask("brand", op, named(key)))
			}
		}
		fmt.Fprintln(&all, r.ask("brand", "channel.numbers", `{"channel":"gazette"}`))
		fmt.Fprintln(&all, r.ask("brand", "broadcast.list", `{"channel":"gazette"}`))
	}
	const left = time.Millisecond // until it is looked how far broadcasts are
	before := func() {
		r.pass(r.now().Add(left).Truncate(5 * time.Second).Add(10*time.Second - left).Sub(r.now()))
	}
	for _, key := range []string{"now", "held"} {
		fault, err := r.sim.Add(pushsim.Fault{Token: slow, Do: pushsim.Do{Latency: 700 * time.Millisecond}})
		g.ok(err)
		before()
		r.does("brand", "broadcast.create", fmt.Sprintf(`{"channel":"gazette","key":%q,"post":{"text":"news"}}`, key))
		seq := posted(key)
		if follows {
			r.waits(slow, func(p pushsim.Phone) bool {
				return len(p.Notifications) > 0 && p.Notifications[len(p.Notifications)-1].Seq == uint64(seq)
			})
		} else {
			g.told(g.notices, seq)
		}
		if key == "held" {
			r.does("brand", "broadcast.pause", named(key))
			before()
			r.does("brand", "broadcast.resume", named(key))
		}
		look(left)
		g.told(g.notices, seq)
		r.sim.Clear(fault)
		look(5 * time.Second)
		look(5 * time.Second)
	}
	look(25 * time.Hour)
	desk.mu.Lock()
	defer desk.mu.Unlock()
	for _, f := range desk.frames {
		if bytes.Contains(f, []byte("percent")) || bytes.Contains(f, []byte("followers")) {
			t.Errorf("a publisher is told %q", f)
		}
	}
	return all.String()
}
