//lint:file-ignore SA1019 apns2 is built on this transport, and only a pool of one's own can prove a connection first

package apns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

const (
	readIdle    = 5 * time.Second  // without a frame for so long, a connection is asked for a sign of life
	pingTimeout = 5 * time.Second  // which has to come within this
	dialTimeout = 10 * time.Second // for the address, TCP and TLS
	lookEvery   = 5 * time.Millisecond
)

var (
	errClosed = errors.New("apns: closed")
	errDial   = errors.New("apns: no connection")
)

// conns is the connection to one host: an http2.ClientConnPool that has one at a time. It may be used from any goroutine.
//
// A new connection takes one request until that was answered, since Apple allows one stream until it has seen a provider
// token ("Sending notification requests to APNs"), and refuses what x/net would send before it has read the settings. When
// all streams are taken a request waits for one. A connection that is going away (GOAWAY) keeps the requests that it has,
// and the others go over a new one.
type conns struct {
	transport *http2.Transport
	dial      func(context.Context) (net.Conn, error)
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	cur      *conn // for new requests, nil if there is none
	byClient map[*http2.ClientConn]*conn
	dialing  *dialing
	waiters  []chan struct{} // for a place on cur, the longest waiting first; closed when it is worth another try
	watching bool            // a goroutine looks for places
}

// conn is a connection. Guarded by conns.mu.
type conn struct {
	cc     *http2.ClientConn
	proven bool // something was answered on it
	busy   int  // requests on it
}

type dialing struct {
	done chan struct{}
	err  error // before done is closed
}

func newConns(dial func(context.Context) (net.Conn, error)) *conns {
	p := &conns{dial: dial, byClient: make(map[*http2.ClientConn]*conn)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.transport = &http2.Transport{
		ConnPool:           p,
		DisableCompression: true,
		MaxHeaderListSize:  64 << 10,
		ReadIdleTimeout:    readIdle,
		PingTimeout:        pingTimeout,
		WriteByteTimeout:   readIdle + pingTimeout,
	}
	return p
}

// roundTrip sends a request on the connection, and once more on another one what was certainly not processed.
func (p *conns) roundTrip(req *http.Request) (*http.Response, error) {
	return p.transport.RoundTrip(req)
}

// unprocessed reports whether an error says that nothing was done with the request (RFC 9113, 8.7).
func unprocessed(err error) bool {
	var e http2.StreamError
	return errors.As(err, &e) && e.Code == http2.ErrCodeRefusedStream
}

// lastWord is the reason with which a connection was closed, "" if it had none: Apple gives it in GOAWAY.
func lastWord(err error) string {
	var away http2.GoAwayError
	if !errors.As(err, &away) {
		return ""
	}
	reason, _ := reasonIn([]byte(away.DebugData))
	return reason
}

// GetClientConn finds a place for a request, within its context. It is asked again for one that was not processed.
func (p *conns) GetClientConn(req *http.Request, _ string) (*http2.ClientConn, error) {
	ex := exchangeOf(req)
	p.release(ex, false)
	ex.sent.Store(false)
	for {
		c, wait, err := p.take()
		switch {
		case err != nil:
			return nil, err
		case c != nil:
			ex.conn = c
			return c.cc, nil
		}
		if err := wait(req.Context()); err != nil {
			return nil, err
		}
	}
}

// take reserves a place, or tells what to wait for.
func (p *conns) take() (*conn, func(context.Context) error, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errClosed
	}
	if c := p.cur; c != nil {
		switch {
		case !c.proven && c.busy > 0:
			return nil, p.waitLocked(), nil
		case c.cc.ReserveNewRequest():
			c.busy++
			return c, nil, nil
		}
		p.watchLocked() // all places are taken, or it is going away
		return nil, p.waitLocked(), nil
	}
	if p.dialing == nil {
		d := &dialing{done: make(chan struct{})}
		p.dialing = d
		p.wg.Go(func() { p.connect(d) })
	}
	return nil, p.dialing.wait, nil
}

func (d *dialing) wait(ctx context.Context) error {
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect makes a connection, for whoever waits then: none of their contexts ends it.
func (p *conns) connect(d *dialing) {
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	var cc *http2.ClientConn
	nc, err := p.dial(ctx)
	if err == nil {
		if cc, err = p.transport.NewClientConn(nc); err != nil {
			nc.Close()
		}
	}
	p.mu.Lock()
	p.dialing = nil
	late := p.closed
	switch {
	case err != nil:
		d.err = fmt.Errorf("%w: %w", errDial, err)
	case late:
		d.err = errClosed
	default:
		p.cur = &conn{cc: cc}
		p.byClient[cc] = p.cur
	}
	p.mu.Unlock()
	if late && cc != nil {
		cc.Close()
	}
	close(d.done)
}

// release gives back the place of a request, if it has one. answered: the connection has shown what it is good for.
func (p *conns) release(ex *exchange, answered bool) {
	c := ex.conn
	if c == nil {
		return
	}
	ex.conn = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	c.busy--
	if answered && !c.proven {
		c.proven = true
		p.wakeLocked(len(p.waiters))
	} else {
		p.wakeLocked(1)
	}
	if p.cur != c && c.busy == 0 {
		p.hangUpLocked(c)
	}
}

// MarkDead is told of a connection that has ended.
func (p *conns) MarkDead(cc *http2.ClientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.byClient[cc]
	if c == nil {
		return
	}
	delete(p.byClient, cc)
	if p.cur == c {
		p.cur = nil
		p.wakeLocked(len(p.waiters))
	}
}

// retireLocked takes new requests away from a connection.
func (p *conns) retireLocked(c *conn) {
	if p.cur == c {
		p.cur = nil
	}
	if c.busy == 0 {
		p.hangUpLocked(c)
	}
	p.wakeLocked(len(p.waiters))
}

func (p *conns) hangUpLocked(c *conn) {
	if p.byClient[c.cc] == nil {
		return
	}
	delete(p.byClient, c.cc)
	if !p.closed { // else Close does
		p.wg.Go(func() { c.cc.Close() })
	}
}

// waitLocked stands in line for a place.
func (p *conns) waitLocked() func(context.Context) error {
	w := make(chan struct{})
	p.waiters = append(p.waiters, w)
	return func(ctx context.Context) error {
		select {
		case <-w:
			return nil
		case <-ctx.Done():
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := range p.waiters {
			if p.waiters[i] == w {
				p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
				return ctx.Err()
			}
		}
		p.wakeLocked(1) // it was this one's turn
		return ctx.Err()
	}
}

func (p *conns) wakeLocked(n int) {
	n = min(n, len(p.waiters))
	for _, w := range p.waiters[:n] {
		close(w)
	}
	p.waiters = append(p.waiters[:0], p.waiters[n:]...)
}

// watchLocked looks for what x/net tells nobody: that Apple allows more streams by now, or wants no more on this
// connection, or that a stream has ended, which is a moment after its answer.
func (p *conns) watchLocked() {
	if p.watching || p.closed {
		return
	}
	p.watching = true
	p.wg.Go(func() {
		for p.look() {
			select {
			case <-time.After(lookEvery):
			case <-p.ctx.Done():
			}
		}
	})
}

// look wakes as many as there are places for; false: nobody waits.
func (p *conns) look() bool {
	p.mu.Lock()
	c := p.cur
	if c == nil || len(p.waiters) == 0 || p.closed {
		p.watching = false
		p.wakeLocked(len(p.waiters))
		p.mu.Unlock()
		return false
	}
	p.mu.Unlock()

	st := c.cc.State() // may wait for a write to the connection

	p.mu.Lock()
	defer p.mu.Unlock()
	if st.Closed || st.Closing {
		p.retireLocked(c)
	} else if free := int(st.MaxConcurrentStreams) - st.StreamsActive - st.StreamsReserved; free > 0 {
		p.wakeLocked(free)
	}
	return true
}

// closeIdle ends the connection if nothing is under way on it.
func (p *conns) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.cur; c != nil && c.busy == 0 {
		p.retireLocked(c)
	}
}

// close ends all connections and waits for the goroutines.
func (p *conns) close() {
	p.mu.Lock()
	p.closed = true
	var open []*http2.ClientConn
	for cc := range p.byClient {
		open = append(open, cc)
	}
	p.wakeLocked(len(p.waiters))
	p.mu.Unlock()
	p.cancel()
	for _, cc := range open {
		cc.Close()
	}
	p.wg.Wait()
}
