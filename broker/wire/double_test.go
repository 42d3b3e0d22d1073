package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// double stands in for the broker: it answers publishes by their topic and remembers what it was given.
//
//	err/{code}/{word}  refused with that code and word
//	tell/{cid}         stored, and success is told on reply/{cid}
//	panic              panics
//	never              no outcome
//	removed            the session is ended meanwhile
//	echo/…             stored, and delivered back at QoS 1
//	anything else      asks the topic grammar, then stored
type double struct {
	mu       sync.Mutex
	sessions []*doubleSession
	kept     map[string]bool // client ids with a session that is kept
	seq      store.Seq
	attach   func(c broker.Connect) error
}

type doubleSession struct {
	d    *double
	req  broker.Connect
	link broker.Link

	items    chan broker.Item
	done     chan struct{}
	pumped   chan struct{}
	started  atomic.Bool
	detached chan bool
	expiry   uint32

	mu        sync.Mutex
	published []broker.Publication
	acks      []broker.Ack
	acked     []uint16
	released  []uint16
	filters   []broker.SubRequest
	heard     int
}

func newDouble() *double { return &double{kept: make(map[string]bool)} }

func (d *double) Attach(_ context.Context, c broker.Connect, l broker.Link) (session, bool, error) {
	if d.attach != nil {
		if err := d.attach(c); err != nil {
			return nil, false, err
		}
	}
	s := &doubleSession{d: d, req: c, link: l, items: make(chan broker.Item, 4096), done: make(chan struct{}),
		pumped: make(chan struct{}), detached: make(chan bool, 1), expiry: c.Expiry}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions = append(d.sessions, s)
	present := d.kept[c.Identity.ClientID] && !c.Clean
	d.kept[c.Identity.ClientID] = c.Expiry > 0
	return s, present, nil
}

func (d *double) last(t testing.TB) *doubleSession {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.sessions) == 0 {
		t.Fatal("no session")
	}
	return d.sessions[len(d.sessions)-1]
}

func (s *doubleSession) Start() {
	s.started.Store(true)
	go func() {
		defer close(s.pumped)
		batch := make([]broker.Item, 0, 64)
		for {
			select {
			case it := <-s.items:
				batch = append(batch[:0], it)
			case <-s.done:
				return
			}
			for more := true; more && len(batch) < cap(batch); {
				select {
				case it := <-s.items:
					batch = append(batch, it)
				default:
					more = false
				}
			}
			if err := s.link.Write(batch); err != nil {
				s.link.Close(err)
				return
			}
		}
	}()
}

func (s *doubleSession) Expiry() uint32           { return s.expiry }
func (s *doubleSession) ClientID() string         { return s.req.Identity.ClientID }
func (s *doubleSession) SetExpiry(seconds uint32) { s.expiry = seconds }

func (s *doubleSession) give(it broker.Item) {
	select {
	case s.items <- it:
	case <-s.done:
	case <-s.pumped:
	}
}

func (s *doubleSession) Send(frame []byte) {
	s.give(broker.Item{Kind: broker.ItemFrame, Frame: frame})
}

func (s *doubleSession) Publish(p broker.Publication, a broker.Ack) {
	p.Payload = bytes.Clone(p.Payload)
	s.mu.Lock()
	s.published = append(s.published, p)
	s.acks = append(s.acks, a)
	s.mu.Unlock()
	it := broker.Item{Kind: broker.ItemOutcome, Ack: a}
	word := append(strings.Split(p.Topic, "/"), "", "") // a fuzzer leaves words out
	switch word[0] {
	case "panic":
		panic("secret-of-" + string(p.Payload))
	case "never":
		return
	case "removed":
		s.link.Close(broker.ErrRemoved)
	case "err":
		code, _ := strconv.Atoi(word[1])
		it.Err = &store.Error{Code: store.Code(code), Reason: word[2], Text: "no: " + word[2], Retry: 1500 * time.Millisecond}
	case "plain":
		it.Err = errors.New("disk /dev/secret is on fire")
	case "tell":
		it.Ack.Tell, it.Ack.CID = true, word[1]
		it.Receipt = s.d.receipt()
	case "echo":
		it.Receipt = s.d.receipt()
		s.give(it)
		it = broker.Item{Kind: broker.ItemDelivery, Topic: p.Topic, Payload: p.Payload, QoS: 1, PacketID: 7}
	default:
		if t, err := hooks.ParsePublish(p.Topic); err != nil {
			it.Err = err
		} else if t.Act == hooks.Typing {
			it.Ack.Quiet = true
		} else {
			it.Receipt = s.d.receipt()
		}
	}
	if it.Kind == broker.ItemOutcome && a.QoS == 0 && it.Err == nil && !it.Ack.Tell {
		return
	}
	s.give(it)
}

func (d *double) receipt() store.Receipt {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seq++
	return store.Receipt{Log: 1, Seq: d.seq, Time: 1_700_000_000_000, Epoch: 1}
}

func (s *doubleSession) Release(id uint16) {
	s.mu.Lock()
	known := false
	for _, a := range s.acks {
		known = known || a.QoS == 2 && a.PacketID == id
	}
	s.released = append(s.released, id)
	s.mu.Unlock()
	s.give(broker.Item{Kind: broker.ItemOutcome, Ack: broker.Ack{PacketID: id, QoS: 2, Release: true}, Receipt: store.Receipt{Repeated: known}})
}

func (s *doubleSession) Acked(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = append(s.acked, id)
}

func (s *doubleSession) Heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard++
}

func (s *doubleSession) Subscribe(_ context.Context, reqs []broker.SubRequest) ([]broker.SubResult, error) {
	out := make([]broker.SubResult, len(reqs))
	for i, r := range reqs {
		if r.Filter == "storage/fails" {
			return nil, &store.Error{Code: store.CodeUnavailable, Retry: time.Second}
		}
		out[i].Granted = min(r.QoS, 1)
		if _, err := hooks.ParseFilter(r.Filter); err != nil {
			out[i] = broker.SubResult{Err: err}
		}
		if r.Filter == "room/elsewhere/text" {
			out[i].Hint = "selects nothing today"
		}
	}
	s.mu.Lock()
	s.filters = append(s.filters, reqs...)
	s.mu.Unlock()
	return out, nil
}

func (s *doubleSession) Unsubscribe(_ context.Context, filters []string) ([]bool, error) {
	out := make([]bool, len(filters))
	if filters[0] == "storage/fails" {
		return nil, &store.Error{Code: store.CodeUnavailable, Retry: time.Second}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range filters {
		for _, r := range s.filters {
			out[i] = out[i] || r.Filter == f
		}
	}
	return out, nil
}

func (s *doubleSession) Detach(orderly bool) {
	close(s.done)
	if s.started.Load() {
		<-s.pumped
	}
	s.detached <- orderly
}

// waitDetached returns whether the end was orderly.
func (s *doubleSession) waitDetached(t testing.TB) bool {
	t.Helper()
	select {
	case o := <-s.detached:
		return o
	case <-time.After(time.Minute):
		t.Fatal("the session was never detached")
		return false
	}
}

// keeper authenticates everybody whose secret is "pw-" and the user name.
type keeper struct{}

func (keeper) Connect(_ context.Context, c hooks.Credentials) (hooks.Identity, error) {
	if c.User == "slow" {
		return hooks.Identity{}, &store.Error{Code: store.CodeUnavailable, Text: "try later"}
	}
	if string(c.Secret) != "pw-"+c.User || c.User == "" {
		return hooks.Identity{}, hooks.ErrCredentials
	}
	if len(c.ClientID) > hooks.MaxClientID {
		return hooks.Identity{}, hooks.ErrClientID
	}
	id := hooks.Identity{Account: 1, Name: c.User, ClientID: c.ClientID}
	if c.ClientID == "" {
		id.ClientID, id.Assigned = "auto-1", true
	}
	return id, nil
}

// logged is a log that a test reads.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// rig is a server on a loopback port.
type rig struct {
	*Server
	d    *double
	addr string
	log  *logged
}

func newRig(t testing.TB, change func(*Config)) *rig { return newTLSRig(t, nil, change, nil) }

// newTLSRig serves over TLS if secure is not nil. prepare may change the server before it serves.
func newTLSRig(t testing.TB, secure *tls.Config, change func(*Config), prepare func(*Server)) *rig {
	t.Helper()
	r := &rig{d: newDouble(), log: new(logged)}
	cfg := Default()
	cfg.Logger = r.log.logger()
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.Server, err = newServer(cfg, keeper{}, r.d.Attach); err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(r.Server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() {
		if secure != nil {
			served <- r.ServeTLS(t.Context(), l, secure)
		} else {
			served <- r.Serve(t.Context(), l)
		}
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if r.count != 0 || r.first != nil || len(r.addresses) != 0 {
			t.Errorf("%d connections are still counted", r.count)
		}
	})
	return r
}
