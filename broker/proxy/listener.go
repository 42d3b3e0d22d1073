package proxy

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of headers under way.
const (
	HeaderTime = 5 * time.Second // how long a trusted peer may take for its header
	Pending    = 1024            // headers being read at a time, per listener
)

// Trusted are the networks of proxies.
type Trusted []netip.Prefix

// Has reports whether an address is a trusted proxy's.
func (t Trusted) Has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range t {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Listen returns a listener whose connections from trusted peers have told their client's address in a PROXY protocol
// header: RemoteAddr is that address. refused is called for every connection that is closed because of its header, from
// goroutines of the listener; nil calls nothing.
func Listen(l net.Listener, trusted Trusted, refused func(peer net.Addr, err error)) net.Listener {
	return listen(l, trusted, refused, HeaderTime)
}

func listen(l net.Listener, trusted Trusted, refused func(net.Addr, error), wait time.Duration) *listener {
	if refused == nil {
		refused = func(net.Addr, error) {}
	}
	p := &listener{
		Listener: l, trusted: trusted, refused: refused, wait: wait, places: make(chan struct{}, Pending), ready: make(chan accepted),
		closed: make(chan struct{}), open: make(map[net.Conn]struct{}),
	}
	p.wg.Go(p.run)
	return p
}

type listener struct {
	net.Listener
	trusted Trusted
	refused func(net.Addr, error)
	wait    time.Duration
	places  chan struct{}
	ready   chan accepted
	closed  chan struct{}
	once    sync.Once
	wg      sync.WaitGroup

	mu   sync.Mutex            // guards open
	open map[net.Conn]struct{} // whose header is being read; nil once closed
}

type accepted struct {
	conn net.Conn
	err  error
}

// Accept returns the next connection whose header has been read, or that needs none.
func (p *listener) Accept() (net.Conn, error) {
	select {
	case a := <-p.ready:
		return a.conn, a.err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener and the connections that nobody has accepted, and waits for what it has started. Safe twice.
func (p *listener) Close() error {
	err := net.ErrClosed
	p.once.Do(func() {
		close(p.closed)
		err = p.Listener.Close()
		p.mu.Lock()
		for c := range p.open {
			_ = c.Close() // its reader sees it
		}
		p.open = nil
		p.mu.Unlock()
	})
	p.wg.Wait()
	return err
}

func (p *listener) run() {
	for {
		select {
		case p.places <- struct{}{}: // before accepting: who is not accepted waits in the kernel
		case <-p.closed:
			return
		}
		c, err := p.Listener.Accept()
		if err != nil {
			<-p.places
			if !p.hand(accepted{err: err}) {
				return
			}
			continue
		}
		peer, ok := c.RemoteAddr().(*net.TCPAddr)
		if !ok || !p.trusted.Has(peer.AddrPort().Addr()) {
			<-p.places
			p.hand(accepted{conn: c})
			continue
		}
		if !p.keep(c) {
			_ = c.Close() // the listener is closed
			return
		}
		p.wg.Go(func() {
			p.read(c)
			<-p.places
		})
	}
}

// read reads one header and hands the connection on.
func (p *listener) read(c net.Conn) {
	err := c.SetReadDeadline(time.Now().Add(p.wait))
	var from netip.AddrPort
	if err == nil {
		from, err = readHeader(c)
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if !p.drop(c) { // closed meanwhile
		_ = c.Close()
		return
	}
	if err != nil {
		_ = c.Close()
		p.refused(c.RemoteAddr(), err)
		return
	}
	if from.IsValid() {
		c = &conn{Conn: c, remote: net.TCPAddrFromAddrPort(from)}
	}
	p.hand(accepted{conn: c})
}

// hand gives a connection or an error to Accept; false once the listener is closed.
func (p *listener) hand(a accepted) bool {
	select {
	case p.ready <- a:
		return true
	case <-p.closed:
		if a.conn != nil {
			_ = a.conn.Close()
		}
		return false
	}
}

func (p *listener) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return false
	}
	p.open[c] = struct{}{}
	return true
}

func (p *listener) drop(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return false
	}
	delete(p.open, c)
	return true
}

// conn is a connection whose other end is somebody else than its peer.
type conn struct {
	net.Conn
	remote net.Addr
}

// RemoteAddr is the client's address.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// NetConn is the connection below, to the proxy.
func (c *conn) NetConn() net.Conn { return c.Conn }

// TCP is the TCP connection below, nil if it is none. Its bytes are those of this connection.
func (c *conn) TCP() *net.TCPConn {
	tcp, _ := c.Conn.(*net.TCPConn)
	return tcp
}

// CloseWrite ends the sending half, where the connection below has halves.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
