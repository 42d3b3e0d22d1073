package broker

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// audience is a broker with a channel and many connected followers.
type audience struct {
	st      *bolt.Store
	b       *Broker
	channel store.LogID
	got     atomic.Int64 // deliveries of posts
	writes  atomic.Int64
}

// sink is a follower's link: it writes to a socket, and acknowledges like a client would.
type sink struct {
	a    *audience
	conn net.Conn // nil: nowhere
	mu   *sync.Mutex
	s    *Session
	chat func(payload []byte)
	buf  []byte
	once sync.Once
}

func (l *sink) Write(items []Item) error {
	l.buf = l.buf[:0]
	n := 0
	for i := range items {
		if it := &items[i]; it.Kind == ItemDelivery {
			n++
			if l.chat != nil {
				l.chat(it.Payload)
			} else {
				l.buf = append(append(l.buf, it.Topic...), it.Payload...)
			}
		}
	}
	if l.conn != nil && len(l.buf) > 0 {
		l.mu.Lock()
		l.conn.Write(l.buf)
		l.mu.Unlock()
	}
	if l.chat == nil {
		l.a.writes.Add(1)
		l.a.got.Add(int64(n))
	}
	return nil
}
func (l *sink) Close(error)   { l.once.Do(func() { go l.s.Detach(false) }) }
func (l *sink) Overdue() bool { return false }

func newAudience(tb testing.TB, n int, unpaced bool, sockets int) *audience {
	st, err := bolt.Open(bolt.Config{Dir: tb.TempDir(), MinFree: -1})
	if err != nil {
		tb.Fatal(err)
	}
	b, err := New(Config{Store: st, Unpaced: unpaced})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close(tb.Context()); st.Close() })
	a := &audience{st: st, b: b}
	ctx := tb.Context()
	info, _, err := st.Open(ctx, store.ChannelKey("cafe"), store.Creation{})
	if err != nil {
		tb.Fatal(err)
	}
	ads, _, err := st.Open(ctx, store.AdsKey("cafe"), store.Creation{})
	if err != nil {
		tb.Fatal(err)
	}
	a.channel = info.ID
	if err := b.Access().Relations().SetChannel(ctx, info.ID, func(c *graph.Channel) error { c.Created, c.Approved, c.Ads = 1, 1, ads.ID; return nil }); err != nil {
		tb.Fatal(err)
	}
	conns, locks := a.sockets(tb, sockets)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				l := &sink{a: a}
				if sockets > 0 {
					l.conn, l.mu = conns[i%int64(sockets)], locks[i%int64(sockets)]
				}
				acct := a.attach(tb, fmt.Sprint("f", i), l, 0)
				if err := b.Access().Relations().SetFollow(ctx, acct, a.channel, func(f *graph.Follow) error { f.Since = 1; return nil }); err != nil {
					tb.Error(err)
				}
				b.FollowChanged(acct, a.channel)
			}
		})
	}
	wg.Wait()
	return a
}

// sockets are loopback connections that somebody reads.
func (a *audience) sockets(tb testing.TB, n int) (conns []net.Conn, locks []*sync.Mutex) {
	if n == 0 {
		return nil, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		o, err := l.Accept()
		if err != nil {
			tb.Fatal(err)
		}
		go io.Copy(io.Discard, o)
		tb.Cleanup(func() { c.Close(); o.Close() })
		conns, locks = append(conns, c), append(locks, &sync.Mutex{})
	}
	return conns, locks
}

// attach connects a new account with a filter for everything.
func (a *audience) attach(tb testing.TB, name string, l *sink, qos byte) store.AccountID {
	acct, err := a.st.CreateAccount(tb.Context(), store.Account{Name: name})
	if err != nil {
		tb.Fatal(err)
	}
	s, _, err := a.b.Attach(tb.Context(), Connect{Identity: hooks.Identity{Account: acct.ID, Name: name, ClientID: "p", Device: store.DeviceOf(acct.ID, "p"), Guest: true}}, l)
	if err != nil {
		tb.Fatal(err)
	}
	l.s = s
	s.Start()
	for _, f := range []string{"channel/+/json", "user/+/text"} {
		if _, err := s.Subscribe(tb.Context(), []SubRequest{{Filter: f, QoS: qos}}); err != nil {
			tb.Fatal(err)
		}
	}
	return acct.ID
}

func (a *audience) post(tb testing.TB, id string) {
	if _, err := a.b.Post(tb.Context(), a.channel, false, id, view.Content{Text: []byte("thirty characters of a brand's news")}); err != nil {
		tb.Fatal(err)
	}
}

// hear lets every session have heard from its client, which confirms what was written.
func (a *audience) hear() {
	for _, s := range a.b.registry.all() {
		s.Heard()
	}
}

// One post to N connected followers, without sockets: what a delivery costs the server, in time and in memory that is
// used up on the way.
func BenchmarkPost(b *testing.B) {
	for _, n := range []int{100, 5000} {
		b.Run(fmt.Sprint("followers=", n), func(b *testing.B) {
			a := newAudience(b, n, false, 0)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			for i := range b.N {
				a.post(b, strconv.Itoa(i))
				for want := int64((i + 1) * n); a.got.Load() < want; {
					time.Sleep(100 * time.Microsecond)
				}
				a.hear()
			}
			b.StopTimer()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/delivery")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N*n), "B/delivery")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N*n), "allocs/delivery")
		})
	}
}

// Two hundred pairs chat at 1,000 messages a second while ten posts in a row go to all followers, over 64 loopback
// sockets: from PUBLISH to the delivery's write, before and meanwhile, with the bulk lane and without it.
func BenchmarkChatBesideBroadcast(b *testing.B) {
	for _, n := range []int{5000, 15000} {
		if testing.Short() && n > 5000 {
			continue
		}
		for _, lane := range []string{"on", "off"} {
			b.Run(fmt.Sprintf("followers=%d/lane=%s", n, lane), func(b *testing.B) {
				a := newAudience(b, n, lane == "off", 64)
				c := newChatter(b, a, 200)
				c.begin(time.Millisecond)
				time.Sleep(2 * time.Second)
				calm := c.take()
				a.hear()
				b.ResetTimer()
				for i := range b.N {
					for j := range 10 {
						a.post(b, fmt.Sprint(i, "-", j))
					}
					for want := int64((i + 1) * n * 10); a.got.Load() < want; {
						time.Sleep(time.Millisecond)
					}
				}
				b.StopTimer()
				busy := c.take()
				c.stop()
				ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
				b.ReportMetric(ms(at(calm, .99)), "ms-p99-before")
				b.ReportMetric(ms(at(busy, .5)), "ms-p50")
				b.ReportMetric(ms(at(busy, .99)), "ms-p99")
				b.ReportMetric(ms(at(busy, 1)), "ms-max")
				b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s-to-last")
				b.ReportMetric(float64(a.writes.Load())/float64(b.N*n), "writes/follower")
				b.ReportMetric(float64(len(busy))/b.Elapsed().Seconds(), "chat/s")
			})
		}
	}
}

func at(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}

// chatter are pairs who write to each other in turn.
type chatter struct {
	b     *Broker
	pairs []*Session
	names []string
	start time.Time
	end   chan struct{}
	wg    sync.WaitGroup

	mu   sync.Mutex
	late []time.Duration
}

func newChatter(b *testing.B, a *audience, n int) *chatter {
	c := &chatter{b: a.b, start: time.Now(), end: make(chan struct{})}
	for i := range n {
		l := &sink{a: a, chat: func([]byte) {}}
		x := a.attach(b, fmt.Sprint("a", i), l, 0)
		r := &sink{a: a, chat: c.heard}
		y := a.attach(b, fmt.Sprint("b", i), r, 0)
		for _, p := range [][2]store.AccountID{{x, y}, {y, x}} {
			if _, err := a.st.SetEdge(b.Context(), store.EdgeFriend, p[0], p[1], true, 0); err != nil {
				b.Fatal(err)
			}
		}
		c.pairs, c.names = append(c.pairs, l.s), append(c.names, fmt.Sprint("user/b", i, "/text"))
	}
	return c
}

func (c *chatter) heard(payload []byte) {
	at, err := strconv.ParseInt(string(payload), 10, 64)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.late = append(c.late, time.Since(c.start)-time.Duration(at))
	c.mu.Unlock()
}

// begin sends a message every so often, each from its due time on: one that could not be sent in time counts as late.
func (c *chatter) begin(every time.Duration) {
	c.wg.Go(func() {
		due := time.Now()
		for i := 0; ; i++ {
			due = due.Add(every)
			select {
			case <-c.end:
				return
			case <-time.After(time.Until(due)):
			}
			k := i % len(c.pairs)
			c.pairs[k].Publish(Publication{Topic: c.names[k], Payload: strconv.AppendInt(nil, int64(due.Sub(c.start)), 10)}, Ack{})
		}
	})
}

func (c *chatter) take() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.late
	c.late = nil
	return l
}

func (c *chatter) stop() {
	close(c.end)
	c.wg.Wait()
}
