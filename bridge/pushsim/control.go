package pushsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What the control port bears.
const (
	maxControlBody  = 1 << 20
	maxControlConns = 100
	maxControlWait  = 10 * time.Minute
	defaultWait     = 30 * time.Second
)

// control is the port by which devices and faults are set and phones are looked at: JSON over HTTP, on loopback alone.
type control struct {
	sim    *Sim
	addr   net.Addr
	server *http.Server
	ops    []operation

	mu     sync.Mutex
	closed bool // guarded by mu: no request begins any more
	wg     sync.WaitGroup
}

// operation is one row of the control port.
type operation struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Text   string `json:"text"`
	serve  func(w http.ResponseWriter, r *http.Request) error
}

// openControl serves the control port. Its address is loopback: whoever reaches it sees every payload.
func (s *Sim) openControl(l net.Listener) {
	c := &control{sim: s, addr: l.Addr()}
	c.ops = c.operations()
	mux := http.NewServeMux()
	for _, op := range c.ops {
		mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
			if err := op.serve(w, r); err != nil {
				c.fail(w, err)
			}
		})
	}
	c.server = &http.Server{
		Handler: c.guard(mux), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	s.control = c
	s.wg.Go(func() {
		if err := c.server.Serve(&fewer{Listener: l, slots: make(chan struct{}, maxControlConns)}); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the control port ended", keyErr, err)
		}
	})
}

// ControlURL is the address of the control port.
func (s *Sim) ControlURL() string { return "http://" + s.control.addr.String() }

// close ends every request and waits for all of them.
func (c *control) close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.server.Close()
	c.wg.Wait()
	return err
}

// enter counts a request, so that close waits for it; false: there are to be none.
func (c *control) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Add(1)
	}
	return !c.closed
}

// guard lets in who is on this machine and means to be: not a web page in a browser, which could send here by itself
// (Origin) or under a name of its own that it made point to loopback (Host).
func (c *control) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.enter() {
			c.fail(w, refusal{http.StatusServiceUnavailable, "the simulator is closed"})
			return
		}
		defer c.wg.Done()
		switch {
		case !loopback(r.RemoteAddr) || !loopback(r.Host):
			c.fail(w, refusal{http.StatusForbidden, "the control port is for this machine alone, by a loopback address or localhost"})
			return
		case r.Header.Get("Origin") != "":
			c.fail(w, refusal{http.StatusForbidden, "the control port is not for web pages"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
		next.ServeHTTP(w, r)
	})
}

// loopback tells whether host or host:port is localhost or a loopback address.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// refusal is an error that the asker made.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func badRequest(format string, args ...any) error {
	return refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func (c *control) fail(w http.ResponseWriter, err error) {
	var r refusal
	switch {
	case errors.As(err, &r):
	case errors.Is(err, ErrClosed):
		r = refusal{http.StatusServiceUnavailable, "the simulator is closed"}
	case errors.Is(err, context.DeadlineExceeded):
		r = refusal{http.StatusRequestTimeout, "it did not happen within the timeout"}
	default:
		r = refusal{http.StatusBadRequest, strings.TrimPrefix(err.Error(), "pushsim: ")}
	}
	reply(w, r.status, map[string]string{"error": r.text})
}

func reply(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(jsonOf(v), '\n')) // who is gone by now does not need it
	return nil
}

// body reads a request's JSON.
func body(r *http.Request) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, refusal{http.StatusUnsupportedMediaType, "Content-Type must be application/json"}
	}
	b, err := io.ReadAll(r.Body)
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return nil, refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", long.Limit)}
	}
	if err != nil {
		return nil, badRequest("no body: %v", err)
	}
	return b, nil
}

// query is a request's parameters, checked: names that are not known are errors, so that a typing mistake is not a
// filter that selects everything.
type query struct {
	r *http.Request
}

func queryOf(r *http.Request, known ...string) (query, error) {
	for name, v := range r.URL.Query() {
		if !slices.Contains(known, name) {
			return query{}, badRequest("parameter %.40q is none of %s", name, strings.Join(known, ", "))
		}
		if len(v) > 1 {
			return query{}, badRequest("parameter %s is given more than once", name)
		}
	}
	return query{r}, nil
}

func (q query) get(name string) string { return q.r.URL.Query().Get(name) }

func (q query) number(name string, otherwise uint64) (uint64, error) {
	s := q.get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, badRequest("%s is no number", name)
	}
	return n, nil
}

func (q query) yes(name string) (bool, error) {
	switch q.get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, badRequest("%s is neither true nor false", name)
}

// wait bounds a request that waits by its parameter timeout.
func (q query) wait() (context.Context, context.CancelFunc, error) {
	d := defaultWait
	if s := q.get("timeout"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil || d < 0 || d > maxControlWait {
			return nil, nil, badRequest("timeout is no duration up to %s", maxControlWait)
		}
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), d)
	return ctx, cancel, nil
}

// fewer is a listener with so many connections at a time; the next one waits until another has ended.
type fewer struct {
	net.Listener
	slots chan struct{}
}

// Accept implements net.Listener.
func (f *fewer) Accept() (net.Conn, error) {
	f.slots <- struct{}{}
	c, err := f.Listener.Accept()
	if err != nil {
		<-f.slots
		return nil, err
	}
	return &counts{Conn: c, done: sync.OnceFunc(func() { <-f.slots })}, nil
}

type counts struct {
	net.Conn
	done func()
}

// Close implements net.Conn.
func (c *counts) Close() error {
	defer c.done()
	return c.Conn.Close()
}
