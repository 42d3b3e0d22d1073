package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// BenchmarkPost: a post of a channel with 100,000 followers in a real file, over three providers, from its append until
// everybody was considered. silent: nobody has registered anything; phones: everybody has a phone and the setting that
// there is at first, so that posts do not ring; one in 100 wants them to ring.
func BenchmarkPost(b *testing.B) {
	followers := 100_000
	if testing.Short() {
		followers = 5_000
	}
	for _, c := range []struct {
		name          string
		phones, rings int // one in so many; 0: nobody
	}{{"silent", 0, 0}, {"phones", 1, 0}, {"rings", 1, 100}} {
		b.Run(c.name, func(b *testing.B) {
			w := newPress(b, followers, c.phones, c.rings)
			b.ResetTimer()
			var most uint64
			base := pressed()
			began := time.Now()
			for b.Loop() {
				r, err := w.store.Append(store.Draft{Log: w.notices, Sender: 1, Text: []byte("hello")}).Result()
				w.ok(err)
				for done := false; !done; time.Sleep(20 * time.Millisecond) {
					n, all, err := w.b.Considered(w.notices, r.Seq)
					w.ok(err)
					if done = all; all && n != followers {
						b.Fatalf("%d were considered", n)
					}
					most = max(most, pressed())
				}
			}
			b.ReportMetric(float64(b.N*followers)/time.Since(began).Seconds(), "followers/s")
			b.ReportMetric(float64(most-min(most, base))/(1<<20), "MiB")
			if c.rings != 0 {
				b.ReportMetric(float64(len(w.lane.pushes))/float64(b.N), "pushes/op")
			}
		})
	}
}

func pressed() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// newPress is a world whose channel is followed by the first accounts.
func newPress(b *testing.B, followers, phones, rings int) *paper {
	dir := b.TempDir()
	cfg := bolt.Config{Dir: dir, MinFree: -1}
	w := &world{t: b, dir: dir, lane: newDoubleLane(), live: &doubleLive{}, limit: defaultLimits}
	w.ok(bolt.Load(b.Context(), cfg, bolt.Seed{Users: followers, Password: "p"}, nil))
	w.open()
	p := &paper{world: w}
	info, _, err := w.store.Open(b.Context(), store.ChannelKey("daily"), store.Creation{By: 1, Members: []store.Member{{Account: 1, Role: store.RoleOwner}}})
	w.ok(err)
	p.notices = info.ID
	w.ok(w.graph.SetChannel(b.Context(), p.notices, func(c *graph.Channel) error {
		*c = graph.Channel{Title: "The Daily", Created: 1, Approved: 1}
		return nil
	}))
	w.ok(w.store.Close())
	row, err := json.Marshal(&graph.Follow{Since: 1})
	w.ok(err)
	w.ok(bolt.LoadFollows(b.Context(), cfg, bolt.Follows{Channels: []store.LogID{p.notices}, Users: followers, Table: graph.TableFollow, Row: row}, nil))
	w.open()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= followers && phones != 0; i = int(next.Add(1)) {
				a, provider := store.AccountID(i), graph.PushProviders()[i%3]
				if i%phones == 0 {
					_, err := w.graph.Register(context.Background(), a, graph.Registration{Device: paperPhone, Provider: provider, Token: fmt.Sprintf("%064d", i)})
					w.ok(err)
				}
				if rings != 0 && i%rings == 0 {
					p.follow(a, func(f *graph.Follow) { f.Push = graph.PostPushRing })
				}
			}
		})
	}
	wg.Wait()
	c := Config{Store: w.store, Access: hooks.NewAccess(w.store, hooks.AccessConfig{}), Live: w.live, Followers: w.store}
	c.setDefaults()
	lanes := map[graph.PushProvider]carrier{}
	for _, name := range graph.PushProviders() {
		lanes[name] = w.lane
	}
	w.b, err = start(c, func(b *Bridge) judge { return b }, lanes, w.limit)
	w.ok(err)
	b.Cleanup(w.close)
	return p
}
