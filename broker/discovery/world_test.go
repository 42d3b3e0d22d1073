package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// world is a Discovery over a real store, whose clock and worker the test moves.
type world struct {
	t     testing.TB
	dir   string
	cfg   Config
	d     *Discovery
	store *bolt.Store
	graph *graph.Graph
	book  *phone.Book
	tick  chan time.Time
	clock atomic.Int64 // Unix nanoseconds
	seen  map[store.AccountID]store.Seq
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), tick: make(chan time.Time), seen: make(map[store.AccountID]store.Seq)}
	w.clock.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	for _, f := range change {
		f(&w.cfg)
	}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) now() time.Time { return time.Unix(0, w.clock.Add(1)) }

// later moves the clock.
func (w *world) later(d time.Duration) { w.clock.Add(int64(d)) }

func (w *world) open() {
	w.t.Helper()
	st, err := bolt.Open(bolt.Config{Dir: w.dir, MinFree: -1, Now: w.now})
	w.must(err)
	w.store, w.graph, w.book = st, graph.New(st, w.now), phone.NewBook(st, phone.NewKey([32]byte{7}))
	cfg := w.cfg
	cfg.Store, cfg.Numbers, cfg.Now, cfg.Tick = st, w.book, w.now, w.tick
	w.d, err = New(cfg)
	w.must(err)
}

func (w *world) close() {
	w.t.Helper()
	w.must(errors.Join(w.d.Close(), w.d.Close(), w.store.Close()))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// settle returns when the worker has gone through all queues, what that put into them included.
func (w *world) settle() {
	for range 4 { // a tick is taken when the pass before has ended: three whole passes, one more than any work needs
		w.tick <- time.Time{}
	}
}

// num is the i-th phone number.
func num(i int) string { return fmt.Sprintf("010-%04d-%04d", 2000+i/10_000, i%10_000) }

func nums(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, num(i))
	}
	return out
}

// user makes an account, with the i-th number if i is not negative.
func (w *world) user(name string, i int) store.AccountID {
	w.t.Helper()
	u, err := w.store.CreateAccount(context.Background(), store.Account{Name: name, Display: strings.ToUpper(name)})
	w.must(err)
	if i >= 0 {
		w.number(u.ID, i)
	}
	return u.ID
}

// number gives an account the i-th number and says so.
func (w *world) number(a store.AccountID, i int) {
	w.t.Helper()
	n, err := phone.Parse(num(i), "KR")
	w.must(err)
	w.must(w.book.Move(context.Background(), n, 0, a, w.now().UnixMilli()))
	w.must(w.d.Joined(context.Background(), a, w.book.Key().Hash(n)))
}

func (w *world) users(n int) []store.AccountID {
	w.t.Helper()
	out := make([]store.AccountID, n)
	w.must(each(n, func(i int) error {
		u, err := w.store.CreateAccount(context.Background(), store.Account{Name: fmt.Sprintf("u%d", i)})
		if err != nil {
			return err
		}
		out[i] = u.ID
		p, err := phone.Parse(num(i), "KR")
		if err != nil {
			return err
		}
		return w.book.Move(context.Background(), p, 0, u.ID, w.now().UnixMilli())
	}))
	return out
}

func (w *world) discovery(a store.AccountID, mode graph.Discovery) {
	w.t.Helper()
	w.must(w.graph.SetSettings(context.Background(), a, func(s *graph.Settings) error {
		s.Discovery = mode
		return nil
	}))
}

func (w *world) sync(r Request) *Answer {
	w.t.Helper()
	out, err := w.d.Sync(context.Background(), r)
	w.must(err)
	return out
}

// full syncs a whole address book and says who was found.
func (w *world) full(a store.AccountID, numbers ...int) string {
	w.t.Helper()
	r := Request{Account: a, Region: "KR"}
	for _, i := range numbers {
		r.Numbers = append(r.Numbers, num(i))
	}
	return names(w.sync(r))
}

func names(a *Answer) string {
	var out []string
	for _, f := range a.Found {
		s := f.Account.Name
		if f.Friend {
			s += "*"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (w *world) friends(a store.AccountID) string {
	w.t.Helper()
	ids, err := w.store.Edges(store.EdgeFriend, a, 0, 0)
	w.must(err)
	return w.names(ids)
}

func (w *world) names(ids []store.AccountID) string {
	w.t.Helper()
	var out []string
	for _, id := range ids {
		u, err := w.store.Account(id)
		w.must(err)
		out = append(out, u.Name)
	}
	return strings.Join(out, " ")
}

func (w *world) Name(a store.AccountID) string {
	u, err := w.store.Account(a)
	if err != nil {
		return ""
	}
	return u.Name
}

// notices are what an account was told since the last call.
func (w *world) notices(a store.AccountID) string {
	w.t.Helper()
	info, err := w.store.Find(store.NoticeKey(a))
	if store.CodeOf(err) == store.CodeNotFound {
		return ""
	}
	w.must(err)
	p, err := w.store.Read(store.Query{Log: info.ID, After: w.seen[a], Max: 10_000, Bytes: 1 << 30})
	w.must(err)
	w.seen[a] = p.Head
	var out []string
	for _, r := range p.Records {
		out = append(out, string(view.Text(nil, r, view.English, w)))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, x := fmt.Sprint(got), fmt.Sprint(want); g != x {
		t.Fatalf("%s: got %q, want %q", what, g, x)
	}
}

func wantCode(t testing.TB, what string, err error, code store.Code) {
	t.Helper()
	if store.CodeOf(err) != code {
		t.Fatalf("%s: got %v, want code %d", what, err, code)
	}
}

func network(i int) netip.Addr { return netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 7}) }

// say joins values with spaces.
func say(v ...any) string { return strings.TrimSpace(fmt.Sprintln(v...)) }

func split(s string) []string { return strings.Fields(s) }

func (w *world) hash(i int) phone.Hash {
	w.t.Helper()
	n, err := phone.Parse(num(i), "KR")
	w.must(err)
	return w.book.Key().Hash(n)
}
