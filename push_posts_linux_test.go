package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// TestPostCrash kills a server, with SIGKILL, while it tells the followers of a channel of a post. Everybody is told once,
// and a crash repeats at most a page of each provider.
func TestPostCrash(t *testing.T) {
	t.Parallel()
	const users = 200 // three phones each: more than a page
	r := newRung(t, users, users, 0)
	r.start() // so that there was a bridge before the post
	r.p.stop()
	r.published(users)
	r.killedInAPost(users)
}

// TestPostCrashAmongMany is TestPostCrash where most followers are not to be told, so that what a crash cuts off is the way
// through all of them: 40,000, or as many as HWANGSO_TEST_FOLLOWERS says.
func TestPostCrashAmongMany(t *testing.T) {
	t.Parallel()
	const users = 100
	followers := 40_000
	if n := os.Getenv("HWANGSO_TEST_FOLLOWERS"); n != "" {
		var err error
		if followers, err = strconv.Atoi(n); err != nil || followers < 10*users {
			t.Fatalf("HWANGSO_TEST_FOLLOWERS=%s: not a number over %d", n, 10*users)
		}
	}
	many := fmt.Sprint(followers)
	r := newRungOf(t, []string{"-users", many, "-channels", "1", "-followers", many}, users, followers/users)
	r.start()
	r.p.stop()
	r.inStore(func(s *bolt.Store, g *graph.Graph) {
		info, err := s.Find(store.ChannelKey("c0"))
		if err != nil {
			t.Fatal(err)
		}
		follows(t, g, info.ID, users, followers/users)
		if _, err = s.Append(store.Draft{Log: info.ID, CID: graph.PostCID("one"), Text: []byte("hello")}).Result(); err != nil {
			t.Fatal(err)
		}
	})
	began := time.Now()
	r.killedInAPost(users)
	t.Logf("%s followers, from the first start to the end in %v", many, time.Since(began).Round(time.Second))
}

// killedInAPost kills the server while it tells so many followers, each of whom has three phones, of a post.
func (r *rung) killedInAPost(users int) {
	t := r.t
	t.Helper()
	const most = 2
	// Answers that take a while, so that every page is under way for some time.
	if _, err := r.sim.Add(pushsim.Fault{Do: pushsim.Do{Latency: 100 * time.Millisecond, Jitter: 100 * time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	var begun uint64
	inside := 0
	for range most {
		r.start()
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		want := begun + 20 + rand.Uint64N(uint64(users))
		if _, err := r.sim.WaitAfter(ctx, begun, func(a pushsim.Attempt) bool { return a.N == want }); err != nil {
			t.Fatalf("%d attempts instead of %d: %v\n%s", r.sim.Last(), want, err, r.p.out)
		}
		cancel()
		r.p.kill()
		if begun = r.sim.Last(); begun < uint64(3*users) {
			inside++
		}
	}
	if inside == 0 {
		t.Error("every push was sent before the server was killed")
	}
	r.start()
	for _, p := range r.phones {
		got := r.shows(p, func(s pushsim.Phone) bool { return len(s.Notifications) > 0 })
		if len(got.Notifications) != 1 || got.Notifications[0].Kind != "post" || got.Rang != 1 {
			t.Errorf("%s's phone at %s: %+v", p.user, p.provider, got)
		}
	}
	r.end()
	r.once()
	pushes := make(map[pushsim.Provider]int)
	for _, a := range r.sim.Attempts() {
		pushes[a.Provider]++
	}
	for p, n := range pushes {
		if again := n - users; again < 0 || again > most*bulk.DefaultPage {
			t.Errorf("%s: %d pushes for %d phones and %d crashes", p, n, users, most)
		}
	}
	t.Logf("killed %d times, %d of them inside: %d phones of each provider, pushes %v", most, inside, users, pushes)
}

// published makes a channel that the first users follow, for whom its posts ring, and a post, while no server runs.
func (r *rung) published(users int) {
	t := r.t
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r.inStore(func(s *bolt.Store, g *graph.Graph) {
		first := store.Creation{By: 1, Members: []store.Member{{Account: 1, Role: store.RoleOwner}}}
		info, _, err := s.Open(t.Context(), store.ChannelKey("gazette"), first)
		ok(err)
		ok(g.SetChannel(t.Context(), info.ID, func(c *graph.Channel) error {
			*c = graph.Channel{Title: "The Gazette", Created: 1, Approved: 1}
			return nil
		}))
		follows(t, g, info.ID, users, 1)
		_, err = s.Append(store.Draft{Log: info.ID, CID: graph.PostCID("one"), Text: []byte("hello")}).Result()
		ok(err)
	})
}

// follows has so many users, of every so many the first, follow a channel whose posts ring for them.
func follows(t *testing.T, g *graph.Graph, channel store.LogID, users, every int) {
	t.Helper()
	done := make(chan error, users)
	for i := range users { // the disk serves them together
		go func() {
			done <- g.SetFollow(t.Context(), store.AccountID(i*every+1), channel, func(f *graph.Follow) error {
				*f = graph.Follow{Since: 1, Push: graph.PostPushRing}
				return nil
			})
		}()
	}
	for range users {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
