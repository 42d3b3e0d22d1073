package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/files"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

// world is an API over a real store and broker, behind real HTTP.
type world struct {
	t      testing.TB
	api    *API
	broker *broker.Broker
	store  store.Store
	dir    string
	public *httptest.Server
	admin  *httptest.Server
	socket *httptest.Server
	limits *limit.Limiter
	tokens map[string]string // account tokens by user
	ticks  atomic.Int64
	clock  func() time.Time               // of the broker; nil: time.Now
	media  func(store.Store) *files.Files // nil: there are no files
	full   bool                           // the disk, as a store finds it when it opens
}

func (w *world) space(string) (free, total uint64, err error) {
	if w.full {
		return 1, 100, nil
	}
	return 100, 100, nil
}

// now is a clock on which no two events have the same millisecond.
func (w *world) now() time.Time { return epoch.Add(time.Duration(w.ticks.Add(1)) * time.Millisecond) }

var epoch = time.Now()

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	return newWorldOf(t, nil, change...)
}

// newWorldOf is newWorld in which the limits count.
func newWorldOf(t testing.TB, limits *limit.Limiter, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), tokens: make(map[string]string), limits: limits}
	w.start(change...)
	t.Cleanup(w.stop)
	return w
}

func (w *world) start(change ...func(*Config)) {
	w.t.Helper()
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	var err error
	w.store, err = bolt.Open(bolt.Config{Dir: w.dir, SegmentBytes: 1 << 20, Now: w.now, FreeSpace: w.space})
	must(err)
	reg := prometheus.NewRegistry()
	serves := broker.Config{Store: w.store, Limits: w.limits, Now: w.clock, Registerer: reg}
	if w.media != nil {
		serves.Files = w.media(w.store)
	}
	w.broker, err = broker.New(serves)
	must(err)
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: w.store})
	must(err)
	cfg := Config{Broker: w.broker, Auth: auth, Registerer: reg, Gatherer: reg, Version: "v0.0.0-test"}
	for _, f := range change {
		f(&cfg)
	}
	w.api, err = New(cfg)
	must(err)
	w.broker.SetRequests(w.api)
	w.public = httptest.NewServer(w.api.Public())
	w.admin = httptest.NewServer(w.api.Admin())
	w.socket = httptest.NewServer(w.api.Socket())
}

func (w *world) stop() {
	w.t.Helper()
	if w.public == nil {
		return
	}
	w.public.Close()
	w.admin.Close()
	w.socket.Close()
	w.public = nil
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, err := range []error{w.api.Close(), w.broker.Close(ctx), w.store.Close()} {
		if err != nil {
			w.t.Error(err)
		}
	}
}

// obj is a JSON object.
type obj = map[string]any

// reply is an answer over HTTP.
type reply struct {
	status int
	header http.Header
	raw    []byte
	body   obj
}

// do sends a request. auth is the Authorization header; pairs are further headers.
func do(t testing.TB, base, op, auth string, body any, pairs ...string) reply {
	t.Helper()
	var payload []byte
	switch b := body.(type) {
	case nil:
	case string:
		payload = []byte(b)
	default:
		var err error
		if payload, err = json.Marshal(b); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.NewRequest(http.MethodPost, base+"/v1/"+op, bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
	}
	return roundTrip(t, r)
}

func roundTrip(t testing.TB, r *http.Request) reply {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := reply{status: resp.StatusCode, header: resp.Header, raw: raw}
	json.Unmarshal(raw, &out.body) // not every answer is JSON
	return out
}

// as asks as a user and wants the status.
func (w *world) as(user string, status int, op string, body any, pairs ...string) obj {
	w.t.Helper()
	r := do(w.t, w.public.URL, op, "Bearer "+w.tokens[user], body, pairs...)
	if r.status != status {
		w.t.Fatalf("%s: %s %v: got %d %s, want %d", user, op, body, r.status, r.raw, status)
	}
	if got := r.body["code"]; got != float64(status) {
		w.t.Fatalf("%s: %s: code %v in the body, status %d", user, op, got, status)
	}
	return r.body
}

// op asks as an operator.
func (w *world) op(status int, op string, body any, pairs ...string) obj {
	w.t.Helper()
	r := do(w.t, w.socket.URL, op, "", body, pairs...)
	if r.status != status {
		w.t.Fatalf("operator: %s %v: got %d %s, want %d", op, body, r.status, r.raw, status)
	}
	return r.body
}

// users makes accounts.
func (w *world) users(names ...string) {
	w.t.Helper()
	for _, n := range names {
		w.tokens[n] = w.op(200, "account.create", obj{"name": n})["secret"].(string)
	}
}

// friends makes users mutual friends.
func (w *world) friends(x, y string) {
	w.t.Helper()
	w.op(200, "friend.set", obj{"users": []string{x, y}})
}

func (w *world) account(user string) store.Account {
	w.t.Helper()
	u, err := w.store.AccountByName(user)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// mqtt asks as a user's device over the transport of MQTT.
func (w *world) mqtt(user, client, op, rid, body string) obj {
	w.t.Helper()
	u := w.account(user)
	id := hooks.Identity{Account: u.ID, Name: u.Name, Device: store.DeviceOf(u.ID, client), ClientID: client}
	raw := w.api.Request(w.t.Context(), id, op, rid, []byte(body))
	var out obj
	if err := json.Unmarshal(raw, &out); err != nil {
		w.t.Fatalf("%s: answer %q: %v", op, raw, err)
	}
	return out
}

// records reads a whole log as the server sees it.
func (w *world) records(key store.Key) []*store.Record {
	w.t.Helper()
	info, err := w.store.Find(key)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var out []*store.Record
	for after := store.Seq(0); after < info.Head; {
		p, err := w.store.Read(store.Query{Log: info.ID, After: after, Max: 1000})
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, p.Records...)
		after = p.Next
	}
	return out
}

// wired is a connection that only takes.
type wired struct {
	mu      sync.Mutex
	session *broker.Session
	closed  chan struct{}
	why     error
	replies chan broker.Item // what came on reply/
}

func (l *wired) Write(items []broker.Item) error {
	for _, it := range items {
		if strings.HasPrefix(it.Topic, "reply/") {
			it.Payload = bytes.Clone(it.Payload)
			l.replies <- it
		}
	}
	return nil
}

func (l *wired) Overdue() bool { return false }

func (l *wired) Close(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return
	default:
	}
	l.why = why
	close(l.closed)
}

// connect attaches a device of the user and detaches it when it is closed, as a connection's reader does.
func (w *world) connect(user, client string) *wired {
	w.t.Helper()
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: w.store})
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := auth.Connect(w.t.Context(), hooks.Credentials{User: user, Secret: hooks.Secret(w.tokens[user]), ClientID: client})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.attach(id)
}

// attach is connect for who is known already.
func (w *world) attach(id hooks.Identity) *wired {
	w.t.Helper()
	l := &wired{closed: make(chan struct{}), replies: make(chan broker.Item, 16)}
	s, _, err := w.broker.Attach(w.t.Context(), broker.Connect{Identity: id, Expiry: 3600}, l)
	if err != nil {
		w.t.Fatal(err)
	}
	l.session = s
	s.Start()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		<-l.closed
		s.Detach(false)
	}()
	w.t.Cleanup(func() {
		l.Close(io.EOF)
		<-gone
	})
	return l
}

// texts are the bodies in a history.
func texts(history obj) (out []string) {
	for _, it := range history["items"].([]any) {
		b, _ := it.(obj)["b"].(string)
		out = append(out, b)
	}
	return out
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, x := fmt.Sprint(got), fmt.Sprint(want); g != x {
		t.Fatalf("%s: got %s, want %s", what, g, x)
	}
}

// say joins values with spaces.
func say(v ...any) string { return strings.TrimSpace(fmt.Sprintln(v...)) }
