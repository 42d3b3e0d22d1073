package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/wire"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

// stage is a whole server behind a real socket, on a clock that stands still unless the test moves it: two runs of the
// same play then bring the same bytes.
type stage struct {
	t      testing.TB
	store  *bolt.Store
	broker *broker.Broker
	api    *api.API
	posts  *broadcast.Broadcasts
	addr   string
	ids    map[string]hooks.Identity
	marks  int // barriers so far

	mu    sync.Mutex
	clock time.Time
}

func (s *stage) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *stage) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

// newStage makes a server with these users; each one's password is "pw".
func newStage(t testing.TB, users ...string) *stage {
	t.Helper()
	return newStageWith(t, broker.Events{}, nil, users...)
}

// newStageWith is newStage of which somebody is told what happens, and with an API that knows of pushes.
func newStageWith(t testing.TB, events broker.Events, pushes *api.Pushes, users ...string) *stage {
	t.Helper()
	return newStageOf(t, stageParts{Events: events, Pushes: pushes}, users...)
}

// stageParts are what a play may have of its own; each may be absent.
type stageParts struct {
	Events   broker.Events
	Pushes   *api.Pushes
	Logger   *slog.Logger
	Registry *prometheus.Registry                         // of the metrics of all parts
	Others   int                                          // accounts that are made before the first user
	Early    int                                          // after so many users as many others are made again
	Broker   func(*stage, *broker.Config)                 // changes the configuration, as the others do
	Posts    func(*stage, *broadcast.Config)              // is asked after Broker
	API      func(*stage, *api.Config) (end func() error) // and then this one; end is called after the API has ended
}

func newStageOf(t testing.TB, parts stageParts, users ...string) *stage {
	t.Helper()
	s := &stage{t: t, ids: make(map[string]hooks.Identity), clock: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.store, err = bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1, Now: s.now})
	ok(err)
	var metrics prometheus.Registerer
	if parts.Registry != nil {
		metrics = parts.Registry
	}
	of := broker.Config{Store: s.store, Events: parts.Events, Logger: parts.Logger, Registerer: metrics, Now: s.now}
	if parts.Broker != nil {
		parts.Broker(s, &of)
	}
	s.broker, err = broker.New(of)
	ok(err)
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: s.store, Now: s.now})
	ok(err)
	posting := broadcast.Config{Store: s.store, Graph: s.broker.Access().Relations(), Poster: s.broker, Logger: parts.Logger, Metrics: metrics, Now: s.now}
	if parts.Posts != nil {
		parts.Posts(s, &posting)
	}
	s.posts, err = broadcast.New(posting)
	ok(err)
	asking, end := api.Config{Broker: s.broker, Auth: auth, Push: parts.Pushes, Broadcasts: s.posts, Followed: s.broker.FollowChanged, Now: s.now}, func() error { return nil }
	if parts.API != nil {
		end = parts.API(s, &asking)
	}
	s.api, err = api.New(asking)
	ok(err)
	s.broker.SetRequests(s.api)
	listen := wire.Default()
	listen.Logger, listen.Registerer = parts.Logger, metrics
	edge, err := wire.New(listen, s.broker, auth)
	ok(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ok(err)
	s.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- edge.Serve(context.Background(), ln) }()
	for i, name := range users {
		if i == 0 || i == parts.Early {
			s.others(i, parts.Others)
		}
		a, err := s.store.CreateAccount(t.Context(), store.Account{Name: name, Created: s.clock.AddDate(-1, 0, 0).UnixMilli()})
		ok(err)
		ok(s.store.PutToken(t.Context(), store.Token{Account: a.ID, Hash: hooks.Secret("pw").Hash()}))
		s.ids[name] = hooks.Identity{Account: a.ID, Name: name, Device: 1, ClientID: "api"}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		ok(edge.Shutdown(ctx))
		<-served
		ok(s.api.Close())
		ok(s.posts.Close())
		ok(end())
		ok(s.broker.Close(ctx))
		ok(s.store.Close())
	})
	return s
}

// others makes accounts that nobody uses.
func (s *stage) others(round, n int) {
	var wg sync.WaitGroup
	for part := range 100 {
		wg.Go(func() { // who waits for one commit at a time waits long
			for i := part; i < n; i += 100 {
				if _, err := s.store.CreateAccount(s.t.Context(), store.Account{Name: fmt.Sprintf("other%d-%d", round, i)}); err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func (s *stage) friends(pairs ...[2]string) {
	s.t.Helper()
	for _, p := range pairs {
		for _, e := range [][2]string{p, {p[1], p[0]}} {
			if _, err := s.store.SetEdge(s.t.Context(), store.EdgeFriend, s.ids[e[0]].Account, s.ids[e[1]].Account, true, 0); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// ask calls an operation as a user and returns the answer.
func (s *stage) ask(user, op, body string) string {
	return string(s.api.Request(s.t.Context(), s.ids[user], op, "", []byte(body)))
}

// does calls an operation that must succeed.
func (s *stage) does(user, op, body string) map[string]any {
	s.t.Helper()
	answer := s.ask(user, op, body)
	var v map[string]any
	if err := json.Unmarshal([]byte(answer), &v); err != nil || v["code"] != 200.0 {
		s.t.Fatalf("%s: %s %s: %s", user, op, body, answer)
	}
	return v
}

// actor is a device on a real socket that keeps every byte it receives.
type actor struct {
	s        *stage
	user, id string
	version  byte // 3 (MQTT 3.1), 4 (3.1.1) or 5
	conn     net.Conn
	ended    chan struct{} // the reader has returned
	packet   uint16
	holds    bool // acknowledges no delivery

	via       string // dials this instead of the server
	password  string // "": that of the stage's users
	keepAlive byte   // seconds; 0: none
	zero      bool   // subscribes with QoS 0

	mu     sync.Mutex
	frames [][]byte
	grown  chan struct{}
}

// device makes an actor, not connected yet.
func (s *stage) device(user, id string, version byte) *actor {
	return &actor{s: s, user: user, id: id, version: version, grown: make(chan struct{}, 1)}
}

func mqttString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func mqttFrame(first byte, body []byte) []byte {
	b := []byte{first}
	for n := len(body); ; {
		c := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			c |= 0x80
		}
		if b = append(b, c); n == 0 {
			return append(b, body...)
		}
	}
}

// connect opens the connection; a persistent session, unless clean.
func (a *actor) connect(clean bool) {
	a.s.t.Helper()
	to := a.s.addr
	if a.via != "" {
		to = a.via
	}
	conn, err := net.Dial("tcp", to)
	if err != nil {
		a.s.t.Fatal(err)
	}
	a.conn, a.ended = conn, make(chan struct{})
	name := "MQTT"
	if a.version == 3 {
		name = "MQIsdp"
	}
	flags := byte(0xc0)
	if clean {
		flags |= 2
	}
	body := append(mqttString(nil, name), a.version, flags, 0, a.keepAlive)
	if a.version == 5 {
		body = append(body, 5, 0x11, 0, 0, 0x0e, 0x10) // the session outlives the connection for an hour
	}
	for _, f := range []string{a.id, a.user, cmp.Or(a.password, "pw")} {
		body = mqttString(body, f)
	}
	ended := a.ended
	go a.read(conn, ended)
	a.write(mqttFrame(0x10, body))
	a.await(func(f []byte) bool { return f[0] == 0x20 })
}

func (a *actor) write(b []byte) {
	a.s.t.Helper()
	if _, err := a.conn.Write(b); err != nil {
		a.s.t.Fatal(err)
	}
}

// ping asks whether the server is there, and waits for the answer.
func (a *actor) ping() {
	a.s.t.Helper()
	pongs := 0
	a.mu.Lock()
	for _, f := range a.frames {
		if f[0] == 0xd0 {
			pongs++
		}
	}
	a.mu.Unlock()
	a.write([]byte{0xc0, 0})
	n := 0
	a.await(func(f []byte) bool {
		if f[0] == 0xd0 {
			n++
		}
		return n > pongs
	})
}

// disconnect ends the connection in order and waits until the server has ended it too.
func (a *actor) disconnect() {
	a.s.t.Helper()
	a.write([]byte{0xe0, 0})
	<-a.ended
	_ = a.conn.Close() // the server has closed it
	a.conn = nil
	for a.s.broker.Online(a.s.ids[a.user].Account, store.DeviceOf(a.s.ids[a.user].Account, a.id)) {
		time.Sleep(time.Millisecond) // the registry is left a moment after the socket
	}
}

// read acknowledges deliveries and keeps frames until the connection ends. It acknowledges first: who has seen a delivery and
// ends the connection has acknowledged it before, or the server would have to send it again on the next one.
func (a *actor) read(conn net.Conn, ended chan struct{}) {
	defer close(ended)
	for {
		frame, err := readFrame(conn)
		if err != nil {
			return
		}
		if id, ok := deliveryID(frame); ok && !a.holds {
			_, err = conn.Write([]byte{0x40, 2, byte(id >> 8), byte(id)})
		}
		a.mu.Lock()
		a.frames = append(a.frames, frame)
		a.mu.Unlock()
		select {
		case a.grown <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	frame := make([]byte, 1, 64)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	size := 0
	for shift := 0; ; shift += 7 {
		var b [1]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return nil, err
		}
		frame = append(frame, b[0])
		if size |= int(b[0]&0x7f) << shift; b[0] < 0x80 {
			break
		}
	}
	head := len(frame)
	frame = append(frame, make([]byte, size)...)
	_, err := io.ReadFull(r, frame[head:])
	return frame, err
}

// deliveryID is the packet identifier of a delivery with QoS 1.
func deliveryID(frame []byte) (uint16, bool) {
	if frame[0]>>4 != 3 || frame[0]&6 == 0 {
		return 0, false
	}
	at := 1
	for frame[at] >= 0x80 {
		at++
	}
	at++
	at += 2 + int(binary.BigEndian.Uint16(frame[at:]))
	return binary.BigEndian.Uint16(frame[at:]), true
}

// await waits until a frame fits, among those that have come and those that come.
func (a *actor) await(fits func([]byte) bool) []byte {
	a.s.t.Helper()
	for from := 0; ; {
		a.mu.Lock()
		for ; from < len(a.frames); from++ {
			if fits(a.frames[from]) {
				f := a.frames[from]
				a.mu.Unlock()
				return f
			}
		}
		a.mu.Unlock()
		select {
		case <-a.grown:
		case <-a.ended:
			a.mu.Lock()
			more := from < len(a.frames)
			a.mu.Unlock()
			if !more {
				a.s.t.Fatalf("%s/%s: the connection ended", a.user, a.id)
			}
		case <-a.s.t.Context().Done():
			a.s.t.Fatal(a.s.t.Context().Err())
		}
	}
}

func (a *actor) subscribe(filters ...string) {
	a.s.t.Helper()
	a.packet++
	id := a.packet
	body := binary.BigEndian.AppendUint16(nil, id)
	if a.version == 5 {
		body = append(body, 0)
	}
	for _, f := range filters {
		qos := byte(1)
		if a.zero {
			qos = 0
		}
		body = append(mqttString(body, f), qos)
	}
	a.write(mqttFrame(0x82, body))
	a.await(func(f []byte) bool {
		return f[0] == 0x90 && bytes.Contains(f[2:5], binary.BigEndian.AppendUint16(nil, id))
	})
}

// publish sends with QoS 1 and waits for the acknowledgement, which it returns.
func (a *actor) publish(topic, payload string) []byte {
	a.s.t.Helper()
	a.packet++
	id := a.packet
	body := binary.BigEndian.AppendUint16(mqttString(nil, topic), id)
	if a.version == 5 {
		body = append(body, 0)
	}
	a.write(mqttFrame(0x32, append(body, payload...)))
	return a.await(func(f []byte) bool { return f[0] == 0x40 && binary.BigEndian.Uint16(f[2:]) == id })
}

// publishAs is publish with a cid as MQTT 5's Correlation Data, where the topic has no place for one.
func (a *actor) publishAs(cid, topic, payload string) []byte {
	a.s.t.Helper()
	a.packet++
	id := a.packet
	props := mqttString([]byte{0x09}, cid)
	body := append(append(binary.BigEndian.AppendUint16(mqttString(nil, topic), id), byte(len(props))), props...)
	a.write(mqttFrame(0x32, append(body, payload...)))
	return a.await(func(f []byte) bool { return f[0] == 0x40 && binary.BigEndian.Uint16(f[2:]) == id })
}

// take returns what has come since the last take, in an order that does not depend on which of two logs was written to the
// socket first.
func (a *actor) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	own := []byte("user/" + a.user + "/read") // of the notes: who comes back sees the head before or after the barrier
	for _, f := range a.frames {
		if !bytes.Contains(f, own) {
			out = append(out, fmt.Sprintf("%q", withoutID(f)))
		}
	}
	a.frames = nil
	slices.Sort(out)
	return out
}

// withoutID takes the packet identifier out of a delivery: it counts deliveries of all conversations in the order of their
// writing, which two logs at once leave to chance.
func withoutID(frame []byte) []byte {
	id, ok := deliveryID(frame)
	if !ok {
		return frame
	}
	at := 1
	for frame[at] >= 0x80 {
		at++
	}
	at++
	at += 2 + int(binary.BigEndian.Uint16(frame[at:]))
	_ = id
	return slices.Delete(slices.Clone(frame), at, at+2)
}

// settle waits until everything that was committed has reached the devices: each gets a note that its user writes to
// itself last.
func (s *stage) settle(devices ...*actor) {
	s.t.Helper()
	s.marks++
	note := fmt.Sprintf("settled-%d", s.marks)
	told := map[string]bool{}
	for _, d := range devices {
		if d.conn != nil && !told[d.user] {
			told[d.user] = true
			s.does(d.user, "message.send", fmt.Sprintf(`{"user":%q,"text":%q}`, d.user, note))
		}
	}
	for _, d := range devices {
		if d.conn != nil {
			d.await(func(f []byte) bool {
				return bytes.Contains(f, []byte(note+`"`)) || bytes.HasSuffix(f, []byte(note)) || bytes.Contains(f, []byte(note))
			})
		}
	}
}
