package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Users follow and leave, connect and break, while channels post: everybody gets each post of its time once, in order.
func TestPostsModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const users, channels, posts = 12, 4, 40
	w := newWorld(t, "brand")
	var names []string
	for i := range users {
		n := fmt.Sprint("u", i)
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: n})
		if err != nil {
			t.Fatal(err)
		}
		w.users[n] = a
		names = append(names, n)
	}
	var ids []store.LogID
	for i := range channels {
		ids = append(ids, w.brand(fmt.Sprint("c", i), "brand"))
	}
	var wg sync.WaitGroup
	type span struct{ from, to store.Seq } // what was posted in (from, to] is due
	due := make([]map[store.LogID][]span, users)
	got := make([]map[string][]store.Seq, users)
	for u, n := range names {
		due[u], got[u] = map[store.LogID][]span{}, map[string][]store.Seq{}
		r := rand.New(rand.NewPCG(seed, uint64(u)))
		c := w.connect(n, "p")
		c.subscribe("channel/+/json")
		wg.Go(func() {
			take := func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				for _, it := range c.got {
					var seq store.Seq
					if delivery(it) {
						fmt.Sscanf(string(it.Payload), `{"s":%d,`, &seq)
						if list := got[u][it.Topic]; it.Dup && slices.Contains(list, seq) {
							continue
						}
						got[u][it.Topic] = append(got[u][it.Topic], seq)
					}
				}
				c.got = nil
			}
			on := map[store.LogID]store.Seq{}
			follow := func(ch store.LogID) {
				w.follow(n, ch, true, false)
				f, err := w.b.Access().Relations().Follow(w.users[n].ID, ch)
				if err != nil {
					t.Error(err)
				}
				on[ch] = f.From
			}
			for range 30 {
				ch := ids[r.IntN(channels)]
				from, follows := on[ch]
				switch k := r.IntN(6); {
				case k < 2 && !follows:
					follow(ch)
				case k == 2 && follows: // what has not arrived by now is not due
					take()
					list := got[u]["channel/"+channelOf(w, ch)+"/json"]
					if len(list) > 0 {
						due[u][ch] = append(due[u][ch], span{from, max(from, list[len(list)-1])})
					}
					w.follow(n, ch, false, false)
					delete(on, ch)
				case k == 3:
					c.leave()
					take()
					c = w.connect(n, "p")
				case k == 4:
					c.vanish()
					take()
					c = w.connect(n, "p")
				default:
					time.Sleep(time.Millisecond)
				}
			}
			for _, ch := range ids { // all that follow in the end are due everything from then on
				if _, follows := on[ch]; !follows {
					follow(ch)
				}
				due[u][ch] = append(due[u][ch], span{on[ch], untold})
			}
			_ = c
		})
	}
	for i := range posts {
		for _, ch := range ids {
			w.post(ch, false, fmt.Sprint("p", i), graph.Post{})
		}
	}
	wg.Wait()
	for _, ch := range ids {
		w.post(ch, false, "last", graph.Post{})
	}
	for u, n := range names {
		s := w.b.registry.of(w.users[n].ID)[0]
		c := s.link.(*client)
		until(t, "the last posts of "+n, func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			last := 0
			for _, it := range c.got {
				if delivery(it) && strings.Contains(string(it.Payload), `"b":"last"`) {
					last++
				}
			}
			return last == channels
		})
		c.mu.Lock()
		for _, it := range c.got {
			var seq store.Seq
			if delivery(it) {
				fmt.Sscanf(string(it.Payload), `{"s":%d,`, &seq)
				if list := got[u][it.Topic]; it.Dup && slices.Contains(list, seq) {
					continue
				}
				got[u][it.Topic] = append(got[u][it.Topic], seq)
			}
		}
		c.mu.Unlock()
		for _, ch := range ids {
			list := got[u]["channel/"+channelOf(w, ch)+"/json"]
			for i := range list {
				if i > 0 && list[i] <= list[i-1] {
					t.Fatalf("%s: %d after %d in %v", n, list[i], list[i-1], list)
				}
			}
			for _, sp := range due[u][ch] {
				for seq := sp.from + 1; seq <= min(sp.to, posts+1); seq++ {
					if !slices.Contains(list, seq) {
						t.Fatalf("%s: post %d is missing, due in %v: %v", n, seq, due[u][ch], list)
					}
				}
			}
		}
	}
}

func channelOf(w *world, ch store.LogID) string {
	info, err := w.st.Info(ch)
	if err != nil {
		w.Fatal(err)
	}
	return info.Key.Name
}
