package pushsim

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What a connection of HTTP/2 offers and bears. The first four are what APNs' servers send in their SETTINGS.
const (
	window       = 65535 // bytes a client may send ahead, per stream and for all of them
	maxFrame     = 16384
	headerTable  = 4096
	maxHeaders   = 8000      // bytes of a request's headers
	streamsFirst = 1         // APNs, until a request was authenticated
	streamsAPNs  = 1000      // and from then on
	streamsOther = 100       // everybody else
	outFull      = 256 << 10 // bytes that wait to be written: no more bodies
	outMax       = 1 << 20   // bytes of frames that cannot wait: the client does not read, and is cut off
	writeTime    = 30 * time.Second
	drainTime    = 2 * time.Second // for what is on its way when a connection ends
)

// conn is a connection of HTTP/2, frame by frame (RFC 9113), because what goes wrong has to go wrong exactly. One
// goroutine reads frames and decides requests in the order in which they are whole; one writes.
type conn struct {
	sim   *Sim
	front *front
	c     socket
	in    *bufio.Reader
	kick  chan struct{} // there is something to write; capacity 1
	done  chan struct{} // closed when the reader ends
	late  sync.WaitGroup

	// Of the reader.
	peer    peer
	last    uint32 // the highest stream that was opened
	decided uint32 // the highest stream whose request was decided
	granted int    // bytes that the client may send on all streams
	hole    bool

	mu       sync.Mutex
	fr       *http2.Framer // reads for the reader; its writing half fills out, guarded by mu
	out      bytes.Buffer  // frames that wait for the writer
	enc      *hpack.Encoder
	block    bytes.Buffer // of enc
	streams  map[uint32]*stream
	blocked  []*stream // have a body that waits for the window or for the writer, in order
	window   int64     // bytes that may be sent on all streams
	initial  int64     // what a new stream may send
	maxFrame int       // of the client
	limit    uint32    // SETTINGS_MAX_CONCURRENT_STREAMS as sent last
	ends     bool      // GOAWAY was sent: it closes when no stream is left
	accepts  uint32    // GOAWAY: streams up to here go on
	closing  bool      // nothing is added to out any more, and the connection is closed when it is written
	mute     bool      // nothing is written at all
}

// socket is what a connection needs of its *tls.Conn.
type socket interface {
	net.Conn
	CloseWrite() error
	NetConn() net.Conn
}

// stream is one request and its answer.
type stream struct {
	id      uint32
	req     request
	granted int           // bytes that the client may send
	length  int           // content-length, -1: none
	read    bool          // the request is whole
	ended   bool          // the client has ended its half
	gone    chan struct{} // closed when the stream ends; nil if nobody waits for it

	window int64  // bytes that may be sent
	body   []byte // that waits for it
}

func (s *Sim) newConn(f *front, t socket) *conn {
	c := &conn{
		sim: s, front: f, c: t, in: bufio.NewReaderSize(t, 32<<10),
		kick: make(chan struct{}, 1), done: make(chan struct{}),
		peer: peer{number: s.conns.Add(1)}, granted: window,
		streams: make(map[uint32]*stream), window: window, initial: window, maxFrame: maxFrame,
	}
	c.fr = http2.NewFramer(&c.out, c.in)
	c.fr.SetMaxReadFrameSize(maxFrame)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(headerTable, nil)
	c.fr.MaxHeaderListSize = maxHeaders
	c.enc = hpack.NewEncoder(&c.block)
	return c
}

// serveHTTP2 serves a connection until it ends.
func (s *Sim) serveHTTP2(f *front, t *tls.Conn) {
	c := s.newConn(f, t)
	written := make(chan struct{})
	s.wg.Go(func() {
		defer close(written)
		c.write()
	})
	err := c.run()
	if err != nil {
		s.log.Debug("connection ended", keyProvider, f.name, keyErr, err)
	}
	close(c.done)
	t.NetConn().Close()
	<-written
	c.late.Wait()
}

// run reads until the connection ends. It says what it does not understand with GOAWAY.
func (c *conn) run() error {
	c.limit = streamsOther
	if c.front.provider == APNs {
		c.limit = streamsFirst
	}
	c.mu.Lock()
	c.fr.WriteSettings(
		http2.Setting{ID: http2.SettingHeaderTableSize, Val: headerTable},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: c.limit},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: maxFrame},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaders},
	)
	c.mu.Unlock()
	c.flush()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.in, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		return errors.New("no preface of HTTP/2")
	}
	err := c.readFrames()
	if c.hole {
		_, err = io.Copy(io.Discard, c.in)
		return err
	}
	var broken http2.ConnectionError
	if errors.As(err, &broken) {
		c.goAway(c.last, http2.ErrCode(broken), "")
		c.end()
		err = nil
	}
	if errors.Is(err, errDrain) || err == nil {
		c.c.SetReadDeadline(time.Now().Add(drainTime))
		_, err = io.Copy(io.Discard, c.in)
	}
	return err
}

// errDrain: nothing that comes from now on matters.
var errDrain = errors.New("connection is ending")

func (c *conn) readFrames() error {
	for first := true; ; first = false {
		f, err := c.fr.ReadFrame()
		var bad http2.StreamError
		switch {
		case errors.As(err, &bad):
			if f, ok := f.(*http2.MetaHeadersFrame); ok {
				c.last = max(c.last, f.StreamID)
			}
			c.reset(bad.StreamID, bad.Code)
			err = nil
		case errors.Is(err, http2.ErrFrameTooLarge):
			return http2.ConnectionError(http2.ErrCodeFrameSize)
		case err != nil:
			return err
		case first:
			if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
				return http2.ConnectionError(http2.ErrCodeProtocol)
			}
			c.c.SetDeadline(time.Time{})
			err = c.frame(f)
		default:
			err = c.frame(f)
		}
		if err != nil {
			return err
		}
		if c.in.Buffered() == 0 {
			c.flush()
		}
	}
}

// frame takes one frame. Its error ends the connection.
func (c *conn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.put(func() { c.fr.WritePing(true, f.Data) })
		}
	case *http2.WindowUpdateFrame:
		return c.update(f)
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.mu.Lock()
		c.drop(f.StreamID)
		c.mu.Unlock()
		return c.maybeEnd()
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // PRIORITY is ignored, as Apple says; so is what nobody knows, and a client's GOAWAY
}

// headers opens a stream, or ends its body with trailers.
func (c *conn) headers(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if id <= c.last {
		return c.trailers(f)
	}
	c.last = id
	c.mu.Lock()
	if c.ends && id > c.accepts {
		c.mu.Unlock()
		return nil
	}
	open, limit := len(c.streams), int(c.limit)
	if open < limit {
		st := &stream{id: id, granted: window, length: -1, window: c.initial}
		c.streams[id] = st
		c.mu.Unlock()
		return c.open(st, f)
	}
	c.mu.Unlock()
	c.reset(id, http2.ErrCodeRefusedStream)
	return nil
}

func (c *conn) open(st *stream, f *http2.MetaHeadersFrame) error {
	r := &st.req
	r.peer, r.sandbox, r.stream = &c.peer, c.front.sandbox, st.id
	r.method, r.path, r.host = f.PseudoValue("method"), f.PseudoValue("path"), f.PseudoValue("authority")
	r.header = f.RegularFields()
	if r.method == "" || r.path == "" || f.PseudoValue("scheme") == "" || f.PseudoValue("status") != "" || !c.fields(st) {
		if !f.Truncated {
			c.reset(st.id, http2.ErrCodeProtocol)
			return nil
		}
	}
	st.ended = f.StreamEnded()
	if f.Truncated {
		st.read = true
		c.respond(st, response{status: 431})
		return c.maybeEnd()
	}
	if st.ended {
		return c.whole(st)
	}
	return nil
}

// fields checks the headers of a request (RFC 9113, 8.2.2) and notes its length.
func (c *conn) fields(st *stream) bool {
	for _, h := range st.req.header {
		switch h.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return false
		case "te":
			if h.Value != "trailers" {
				return false
			}
		case "content-length":
			n, err := strconv.ParseUint(h.Value, 10, 31)
			if err != nil || st.length >= 0 && st.length != int(n) {
				return false
			}
			st.length = int(n)
		case "host":
			if st.req.host == "" {
				st.req.host = h.Value
			}
		}
		if strings.HasPrefix(h.Name, ":") {
			return false
		}
	}
	return true
}

// trailers ends a request's body. On a stream that is over they change nothing.
func (c *conn) trailers(f *http2.MetaHeadersFrame) error {
	st := c.stream(f.StreamID)
	switch {
	case st == nil:
		return nil
	case st.ended:
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case !f.StreamEnded() || len(f.PseudoFields()) > 0:
		c.reset(st.id, http2.ErrCodeProtocol)
		return nil
	}
	st.ended = true
	if st.read {
		return nil
	}
	return c.whole(st)
}

func (c *conn) stream(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// data takes a piece of a body, and gives the client back what it used of the windows.
func (c *conn) data(f *http2.DataFrame) error {
	n := int(f.Length) // padding counts
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if n > c.granted {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if c.granted -= n; c.granted < window/2 {
		more := window - c.granted
		c.granted = window
		if err := c.put(func() { c.fr.WriteWindowUpdate(0, uint32(more)) }); err != nil {
			return err
		}
	}
	st := c.stream(f.StreamID)
	switch {
	case st == nil || st.read && !st.ended:
		return nil // it was answered or refused before it was whole
	case st.ended:
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case n > st.granted:
		c.reset(st.id, http2.ErrCodeFlowControl)
		return nil
	}
	st.granted -= n
	st.ended = f.StreamEnded()
	r := &st.req
	b := f.Data()
	if room := maxBody - len(r.body); len(b) > room {
		b, r.cut = b[:room], true
	}
	r.body = append(r.body, b...)
	switch {
	case st.ended || r.cut:
		return c.whole(st)
	case st.granted < window/4:
		more := window - st.granted
		st.granted = window
		return c.put(func() { c.fr.WriteWindowUpdate(st.id, uint32(more)) })
	}
	return nil
}

// whole decides a request that is complete, or too long to wait for its end.
func (c *conn) whole(st *stream) error {
	st.read = true
	if st.length >= 0 && (st.ended && !st.req.cut && st.length != len(st.req.body)) {
		c.reset(st.id, http2.ErrCodeProtocol)
		return nil
	}
	d := c.sim.exchange(c.front.service, &st.req)
	c.offer(d.maxStreams)
	before := c.decided
	c.decided = max(c.decided, st.id)
	switch {
	case d.blackHole:
		c.silence()
		return errDrain
	case d.close:
		c.silence()
		abort(c.c.NetConn())
		return errDrain
	case d.hang:
		return nil
	case d.reset != "":
		c.reset(st.id, resetCodes[d.reset])
		return c.maybeEnd()
	case d.goAway == GoAwayBelow:
		return c.depart(st, before, d.debug)
	case d.goAway == GoAwayCovering:
		return c.depart(st, c.last, d.debug)
	}
	if d.late > 0 {
		c.delay(st, d)
		return nil
	}
	c.respond(st, d.response)
	return c.maybeEnd()
}

// offer says how many streams there may be, if that has changed: by a fault, or by a request that was authenticated.
func (c *conn) offer(fault uint32) {
	n := uint32(streamsOther)
	switch {
	case fault != 0:
		n = fault
	case c.front.provider == APNs && c.peer.authenticated:
		n = streamsAPNs
	case c.front.provider == APNs:
		n = streamsFirst
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n != c.limit && !c.closing && !c.mute {
		c.limit = n
		c.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n})
	}
}

// delay answers later, unless the stream ends first.
func (c *conn) delay(st *stream, d deed) {
	gone := make(chan struct{})
	c.mu.Lock()
	st.gone = gone
	c.mu.Unlock()
	c.late.Go(func() {
		t := time.NewTimer(d.late)
		defer t.Stop()
		select {
		case <-t.C:
			c.respond(st, d.response)
			c.maybeEnd()
			c.flush()
		case <-gone:
		case <-c.done:
		}
	})
}

// settings takes the client's (RFC 9113, 6.5).
func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if f.HasDuplicates() || f.NumSettings() > 100 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	err := f.ForeachSetting(c.setting)
	c.pump()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.put(func() { c.fr.WriteSettingsAck() })
}

func (c *conn) setting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.enc.SetMaxDynamicTableSize(min(s.Val, headerTable))
	case http2.SettingMaxFrameSize:
		c.maxFrame = int(min(s.Val, maxFrame))
	case http2.SettingInitialWindowSize:
		grown := int64(s.Val) - c.initial
		c.initial = int64(s.Val)
		for _, st := range c.streams {
			if st.window += grown; st.window > maxWindow {
				return http2.ConnectionError(http2.ErrCodeFlowControl)
			}
		}
	}
	return nil
}

const maxWindow = 1<<31 - 1

// update takes a WINDOW_UPDATE.
func (c *conn) update(f *http2.WindowUpdateFrame) error {
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	over := false
	if f.StreamID == 0 {
		c.window += int64(f.Increment)
		over = c.window > maxWindow
	} else if st := c.streams[f.StreamID]; st != nil {
		st.window += int64(f.Increment)
		over = st.window > maxWindow
	}
	if !over {
		c.pump()
	}
	c.mu.Unlock()
	switch {
	case over && f.StreamID == 0:
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	case over:
		c.reset(f.StreamID, http2.ErrCodeFlowControl)
	}
	return c.maybeEnd()
}
