package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// clock stands still until a test moves it.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// delivery is a request that arrived.
type delivery struct {
	h    http.Header
	body []byte
	doc  struct {
		ID, Event, Time, Channel, App string
		Data                          map[string]any
	}
}

func (d *delivery) text() string { return fmt.Sprint(d.doc.Data["text"]) }

// receiver is a brand's server.
type receiver struct {
	*httptest.Server
	t      testing.TB
	got    chan *delivery
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request, d *delivery) // nil: 200
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t, got: make(chan *delivery, 20_000)}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the test has ended it
		}
		d := &delivery{h: req.Header.Clone(), body: body}
		if err := json.Unmarshal(body, &d.doc); err != nil {
			t.Errorf("the body is %q: %v", body, err)
		}
		r.mu.Lock()
		answer := r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(w, req, d)
		}
		r.got <- d
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(fn func(w http.ResponseWriter, req *http.Request, d *delivery)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = fn
}

// code answers everything with a status.
func (r *receiver) code(c int) {
	r.answers(func(w http.ResponseWriter, _ *http.Request, _ *delivery) { w.WriteHeader(c) })
}

// next is the next request that arrives.
func (r *receiver) next() *delivery {
	r.t.Helper()
	select {
	case d := <-r.got:
		return d
	case <-r.t.Context().Done():
		r.t.Fatal("nothing arrived")
		return nil
	}
}

// none holds that nothing has arrived by now.
func (r *receiver) none() {
	r.t.Helper()
	select {
	case d := <-r.got:
		r.t.Fatalf("%s arrived: %s", d.doc.Event, d.body)
	default:
	}
}

// world is a store with a channel, its publisher and its followers.
type world struct {
	t       testing.TB
	dir     string
	st      *bolt.Store
	s       *Service
	clock   *clock
	cfg     Config
	brand   store.AccountID
	channel store.LogInfo
	to      *receiver
	numbers func() (*int, string)
	opened  func() ([]Opened, error)
	told    chan Hook
}

const followerName = "followername"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: &clock{at: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)}, to: newReceiver(t), told: make(chan Hook, 10),
		numbers: func() (*int, string) { return nil, "" }, opened: func() ([]Opened, error) { return nil, nil }}
	w.openStore()
	var err error
	b, err := w.st.CreateAccount(t.Context(), store.Account{Name: "brand0"})
	w.ok(err)
	w.brand = b.ID
	w.channel, _, err = w.st.Open(t.Context(), store.ChannelKey("news"), store.Creation{By: w.brand, Members: []store.Member{{Account: w.brand, Role: store.RoleOwner}}})
	w.ok(err)
	w.open()
	t.Cleanup(func() {
		w.ok(w.s.Close())
		w.ok(w.st.Close())
	})
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) openStore() {
	w.t.Helper()
	var err error
	w.st, err = bolt.Open(bolt.Config{Dir: w.dir, Now: w.clock.now, MinFree: -1})
	w.ok(err)
}

// open makes a Service that does not run yet.
func (w *world) open() {
	w.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(w.to.Certificate())
	w.cfg = Config{Store: w.st, CA: pool, Allow: loopback, Now: w.clock.now,
		Pseudonym: func(c store.LogID, a store.AccountID) string {
			return fmt.Sprintf("pseudonym%d", uint64(a)*1000+uint64(c))
		},
		Followers: func(store.LogID) (*int, string, error) { n, day := w.numbers(); return n, day, nil },
		Opened:    func(string) ([]Opened, error) { return w.opened() },
		Tell: func(_ context.Context, _ Owner, h Hook) error {
			w.told <- h
			return nil
		}}
	var err error
	w.s, err = New(w.t.Context(), w.cfg)
	w.ok(err)
}

// forward moves the clock, and has everything look at it.
func (w *world) forward(d time.Duration) {
	w.clock.mu.Lock()
	w.clock.at = w.clock.at.Add(d)
	w.clock.mu.Unlock()
	kick(w.s.kicked)
	kick(w.s.tidied)
}

var news = Owner{Channel: "news"}

// set makes an endpoint at the receiver.
func (w *world) set(events ...string) (Hook, string) {
	w.t.Helper()
	h, secret, err := w.s.Set(w.t.Context(), news, "", w.to.URL+"/hook?key=k", events)
	w.ok(err)
	return h, secret
}

// follower makes a user with a thread to the channel.
func (w *world) follower(i int) (store.AccountID, store.LogInfo) {
	w.t.Helper()
	a, err := w.st.CreateAccount(w.t.Context(), store.Account{Name: fmt.Sprint(followerName, i)})
	w.ok(err)
	info, _, err := w.st.Open(w.t.Context(), store.ThreadKey(a.ID, "news"), store.Creation{Members: []store.Member{{Account: a.ID, Role: store.RoleMember}, {Account: w.brand, Role: store.RoleMember}}})
	w.ok(err)
	return a.ID, info
}

// say appends a record and returns its sequence.
func (w *world) say(d store.Draft) store.Seq {
	w.t.Helper()
	p := w.st.Append(d)
	<-p.Done()
	r, err := p.Result()
	w.ok(err)
	return r.Seq
}

// await waits until a condition holds of an endpoint. What changes it kicks nobody, so it is looked at again and again.
func (w *world) await(id string, is func(Hook) bool) Hook {
	w.t.Helper()
	for {
		h, err := w.s.Get(news, id)
		w.ok(err)
		if is(h) {
			return h
		}
		if w.t.Context().Err() != nil {
			w.t.Fatalf("the endpoint is %+v", h)
		}
		time.Sleep(time.Millisecond)
	}
}

// verified holds that a request is signed under each of the secrets, in this order.
func (w *world) verified(d *delivery, secrets ...string) {
	w.t.Helper()
	var want []string
	for _, k := range secrets {
		want = append(want, Signature([]byte(k), d.h.Get(HeaderTimestamp), d.body))
	}
	if got := d.h.Get(HeaderSignature); got != strings.Join(want, ",") {
		w.t.Errorf("signed %s, want %s", got, want)
	}
	if d.h.Get(HeaderID) != d.doc.ID || d.h.Get(HeaderEvent) != d.doc.Event || len(d.doc.ID) != 26 {
		w.t.Errorf("headers %v for %s", d.h, d.body)
	}
}

// silentAbout holds that nothing in a request tells who somebody is.
func (w *world) silentAbout(d *delivery, words ...string) {
	w.t.Helper()
	var raw bytes.Buffer
	_ = d.h.Write(&raw)
	raw.Write(d.body)
	for _, word := range append(words, followerName, "device", "cid", "language") {
		if bytes.Contains(raw.Bytes(), []byte(word)) {
			w.t.Errorf("%q is told: %s", word, raw.Bytes())
		}
	}
}
