package broker

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
)

// Session is one attached device. It pulls: what wakes it is a sign that a log has grown, and its pump reads the log
// from where the device stands. So a slow device costs its window and a cursor, and there is no queue to overflow.
//
// The pump is a goroutine that exists only while there is something to write or an outcome to wait for; it is the only
// caller of Link.Write. Everything else may be called by the link's reading goroutine.
type Session struct {
	b    *Broker
	link Link

	// Fixed at Attach.
	id        who
	lang      view.Lang
	guest     bool // no device row: nothing outlives the connection
	noEcho    bool
	window    int32 // QoS 1 deliveries in flight
	maxPacket uint32
	active    atomic.Uint32 // when the client last sent something: see Broker.Active
	will      *Publication
	slot      *slot
	shown     bool          // guarded by presence.mu: it makes its user online
	crowds    []store.LogID // guarded by registry.mu: the crowded logs that list this session
	follows   *follows      // guarded by mu: channels; nil: none
	timer     *time.Timer   // ends the session when its credentials expire
	done      chan struct{}

	meter *limit.Meter // owned by the link's reading goroutine; nil until the first use, see allowance

	evicted    atomic.Bool // ended by Disconnect: nothing is taken from the client any more
	hasQoS0    atomic.Bool // something written with QoS 0 is unconfirmed
	background atomic.Bool // the app is not looked at: see Broker.SetBackground

	mu       sync.Mutex
	room     *sync.Cond // on mu, made by who waits: there is room in results or control again, the pump has left, or frozen or held has ended
	started  bool
	ended    bool
	loading  bool  // the pump has yet to look which logs are behind
	running  bool  // the pump exists
	work     *pump // while running
	expiry   uint32
	filters  []store.Filter
	parsed   []hooks.Filter               // the same filters, parsed
	row      *store.Session               // as loaded, until the pump has used it
	since    store.Position               // what lies before it in the journal was considered when the session was loaded
	missed   map[store.LogID]store.LogRef // logs that grew while loading
	feeds    map[store.LogID]*feed
	ready    []*feed // with something to send, in turn
	qos0     []*feed // with unconfirmed QoS 0 deliveries
	resend   []sent  // deliveries of the connection before, to be sent again; they are in out too
	out      []sent  // QoS 1 deliveries in flight, in order of sending
	outBytes int
	nextID   uint16
	control  [][]byte
	controlN int // bytes in control
	results  []result
	ephemera *ephemera                // nil: none
	released map[uint16]store.Receipt // QoS 2 identifiers of a guest
	requests int                      // control requests under way
	dirty    bool                     // in Broker.dirty
	frozen   bool                     // the row is being replaced: cursors wait
	held     store.LogID              // its cursor is being taken back: it is not saved
}

// who is what a session keeps of the identity; an idle phone pays for every byte.
type who struct {
	Account store.AccountID
	Device  store.DeviceID
	Name    string
	client  string
	expires int64 // Unix milliseconds, 0: never
	token   [32]byte
	key     *[]string // the scopes of a key, nil: no key
	address netip.Addr
}

// admits reports whether the session may get anything on a topic: see hooks.Identity.Admits.
func (w *who) admits(t hooks.Topic) bool {
	return w.key == nil || hooks.Identity{Scopes: *w.key}.Admits(t)
}

// admitsTopic is admits for a topic as it is delivered.
func (w *who) admitsTopic(topic string) bool {
	return w.key == nil || hooks.Identity{Scopes: *w.key}.AdmitsTopic(topic)
}

// sent is a QoS 1 delivery in flight.
type sent struct {
	feed  *feed
	first store.Seq // with seq, the sequences it covers: several in the batch view
	seq   store.Seq
	bytes int32
	id    uint16
	acked bool
}

// result is an outcome to be written in arrival order.
type result struct {
	pending *store.Pending
	ack     Ack
}

// Limits of one session. What happens at them: Publish and Send wait (the client's next packets stay in the socket).
const (
	maxResults      = 4096
	maxControlBytes = 64 << 10
	chunkBytes      = 16 << 10
	windowBytes     = 64 << 10
	maxWindow       = 256
)

// Identity is who is attached.
func (s *Session) Identity() hooks.Identity {
	id := hooks.Identity{Account: s.id.Account, Device: s.id.Device, Name: s.id.Name, ClientID: s.id.client,
		NoEcho: s.noEcho, Guest: s.guest, Token: s.id.token, Address: s.id.address}
	if s.id.key != nil {
		id.Scopes = *s.id.key
	}
	if s.id.expires != 0 {
		id.Expires = time.UnixMilli(s.id.expires)
	}
	return id
}

// ClientID is the client identifier, the assigned one if the client sent none.
func (s *Session) ClientID() string { return s.id.client }

// Expiry is how many seconds the session outlives its connection.
func (s *Session) Expiry() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expiry
}

// SetExpiry changes it, as an MQTT 5 DISCONNECT may. More than the server's limit is cut to it; a session that was to
// end with its connection stays so (MQTT 5, 3.14.2.2.2).
func (s *Session) SetExpiry(seconds uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expiry != 0 {
		s.expiry = min(seconds, s.b.cfg.maxExpiry())
	}
}

// Start begins deliveries. The link calls it once, after it has written its CONNACK.
func (s *Session) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	s.wake()
}

// Send gives the pump a packet that the link encoded. It waits while more than 64 KiB are waiting, so that a client
// that sends and does not read is not answered from memory. Packets of an ended session are dropped.
func (s *Session) Send(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.controlN >= maxControlBytes && !s.ended {
		s.wait()
	}
	if s.ended {
		return
	}
	s.control = append(s.control, frame)
	s.controlN += len(frame)
	s.wake()
}

// wait waits for signal. The caller holds mu.
func (s *Session) wait() {
	if s.room == nil {
		s.room = sync.NewCond(&s.mu)
	}
	s.room.Wait()
}

// signal wakes who waits. The caller holds mu.
func (s *Session) signal() {
	if s.room != nil {
		s.room.Broadcast()
	}
}

// settle queues an outcome. It waits while 4,096 are unresolved.
func (s *Session) settle(p *store.Pending, a Ack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.results) >= maxResults && !s.ended {
		s.wait()
	}
	if s.ended {
		return
	}
	s.results = append(s.results, result{p, a})
	s.wake()
}

// wake makes sure that the pump runs and looks again. The caller holds mu.
func (s *Session) wake() {
	if s.running {
		select {
		case s.work.kick <- struct{}{}:
		default:
		}
		return
	}
	if !s.started || s.ended {
		return
	}
	s.running = true
	s.work = pumps.Get().(*pump)
	s.b.startPump(s)
}

// Acked is the client's acknowledgement of a delivery; one with an error reason acknowledges too. An unknown
// identifier is ignored: it may be an answer to the connection before.
func (s *Session) Acked(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acknowledge(id)
	for _, f := range s.ready {
		if s.roomy(f.slow()) {
			s.wake()
			return
		}
	}
}

// roomy reports whether so much of the window is free that waking the pump is worth it: a quarter, so that a device
// that is catching up gets full chunks and not a write for each acknowledgement. The caller holds mu.
func (s *Session) roomy(bulk bool) bool {
	n, bytes := s.limits(bulk)
	return len(s.out) <= n-max(1, n/4) && s.outBytes <= bytes-bytes/4
}

// acknowledge takes a delivery out of flight. The caller holds mu.
func (s *Session) acknowledge(id uint16) {
	at := -1
	for i := range s.out {
		if s.out[i].id == id && !s.out[i].acked {
			at = i
			break
		}
	}
	if at < 0 {
		return
	}
	e := &s.out[at]
	e.acked = true
	s.outBytes -= int(e.bytes)
	f := e.feed
	if f.unacked--; f.unacked == 0 {
		f.mixed = false
	}
	s.b.metrics.acked.Inc()
	if at == 0 {
		n := 0
		for n < len(s.out) && s.out[n].acked {
			n++
		}
		if s.out = s.out[n:]; len(s.out) == 0 {
			s.out = nil
		}
	}
	s.confirm(f)
}

// confirm moves a feed's contiguous acknowledgement. The caller holds mu.
func (s *Session) confirm(f *feed) {
	upto := f.next
	if f.unacked > 0 {
		for i := range s.out {
			if e := &s.out[i]; e.feed == f && !e.acked {
				upto = min(upto, e.first-1)
				if !f.mixed {
					break
				}
			}
		}
	}
	if f.low0 != 0 {
		upto = min(upto, f.low0-1)
	}
	if upto > f.acked {
		f.acked = upto
		s.mark()
	}
}

// mark puts the session on the list of those whose cursors are to be saved. The caller holds mu.
func (s *Session) mark() {
	if !s.dirty {
		s.dirty = true
		s.b.dirty.add(s)
	}
}

// Heard confirms what was written with QoS 0: the client is there, since a packet arrived. Cheap when there is
// nothing to confirm.
func (s *Session) Heard() {
	if !s.hasQoS0.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hear()
}

// hear is Heard. The caller holds mu.
func (s *Session) hear() {
	rest := s.qos0[:0]
	for _, f := range s.qos0 {
		if f.written0 < f.last0 { // the rest is being written right now
			f.low0 = f.written0 + 1
			rest = append(rest, f)
		} else {
			f.low0 = 0
		}
		s.confirm(f)
	}
	clear(s.qos0[len(rest):])
	if s.qos0 = rest; len(rest) == 0 {
		s.qos0 = nil
		s.hasQoS0.Store(false)
	}
}

// full reports whether the window is used up. The caller holds mu.
func (s *Session) full(bulk bool) bool {
	n, bytes := s.limits(bulk)
	return len(s.out) >= n || s.outBytes >= bytes
}

// limits are the window in deliveries and bytes; bulk may use half of it.
func (s *Session) limits(bulk bool) (n, bytes int) {
	if bulk {
		return max(int(s.window)/2, 1), windowBytes / 2
	}
	return int(s.window), windowBytes
}

// saveCursors gives the store what was acknowledged since the last time, and forgets feeds with nothing left to do.
func (s *Session) saveCursors() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = false
	if s.ended || s.loading {
		return // Detach saves; a feed made while loading must stay until all is loaded
	}
	if s.frozen {
		s.mark()
		return
	}
	if m := s.takeCursors(); m != nil {
		s.b.store.PutCursors(s.id.Account, s.id.Device, m)
	}
}

// freeze gives the store all that was acknowledged and holds back what comes until thaw, so that a row that is loaded,
// changed and saved between the two loses no acknowledgement. It waits for a rewind, and a rewind for thaw: what takes the
// row back is not lost either.
func (s *Session) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.held != 0 && !s.ended {
		s.wait()
	}
	s.frozen = true
	if s.loading {
		return // nothing has been acknowledged yet
	}
	if m := s.takeCursors(); m != nil {
		s.b.store.PutCursors(s.id.Account, s.id.Device, m)
	}
}

func (s *Session) thaw() {
	s.mu.Lock()
	s.frozen = false
	s.signal()
	s.mu.Unlock()
}

// takeCursors returns the cursors that moved, nil if none did. The caller holds mu.
func (s *Session) takeCursors() map[store.LogID]store.Cursor {
	var m map[store.LogID]store.Cursor
	followed, late := s.b.followed.Load(), false
	for log, f := range s.feeds {
		if log == s.held {
			late = true
			continue
		}
		if f.acked > f.saved {
			if !s.guest {
				if m == nil {
					m = make(map[store.LogID]store.Cursor, len(s.feeds))
				}
				m[log] = store.Cursor{Acked: f.acked}
			}
			f.saved = f.acked
		}
		if f.unacked == 0 && f.next == f.head && !f.queued && f.acked == f.next {
			if late = late || f.until > followed; f.until <= followed {
				delete(s.feeds, log)
			}
		}
	}
	if late {
		s.mark()
	}
	if len(s.feeds) == 0 {
		s.feeds = nil
	}
	return m
}

// stop ends deliveries at once; the link is closed by the caller.
func (s *Session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.signal()
	if s.running {
		select {
		case s.work.kick <- struct{}{}:
		default:
		}
	}
}
