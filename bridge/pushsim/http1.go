package pushsim

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

// idleTime is how long a connection of HTTP/1.1 may be silent.
const idleTime = 5 * time.Minute

// serveHTTP1 serves a connection of HTTP/1.1 (RFC 9112), one request after the other. What the faults of HTTP/2 mean
// here: RST and either GOAWAY close the connection without an answer, and there is no limit of streams.
func (s *Sim) serveHTTP1(f *front, t *tls.Conn) {
	p := &peer{number: s.conns.Add(1)}
	in := &allowance{r: t}
	br := bufio.NewReaderSize(in, 4<<10)
	for {
		in.left = maxHeaders + maxBody + 16<<10
		t.SetReadDeadline(time.Now().Add(idleTime))
		req, err := http.ReadRequest(br)
		if err != nil {
			s.log.Debug("connection ended", keyProvider, f.name, keyErr, err)
			return
		}
		t.SetDeadline(time.Now().Add(writeTime))
		r, err := readHTTP1(req, t)
		if err != nil {
			s.log.Debug("no body", keyProvider, f.name, keyErr, err)
			return
		}
		r.peer, r.sandbox = p, f.sandbox
		d := s.exchange(f.service, r)
		switch {
		case d.hang || d.blackHole:
			t.SetDeadline(time.Time{})
			io.Copy(io.Discard, t)
			return
		case d.close || d.reset != "" || d.goAway != "":
			abort(t.NetConn())
			return
		}
		if !s.sleep(d.late) {
			return
		}
		t.SetDeadline(time.Now().Add(writeTime))
		last := req.Close || r.cut
		if err := writeHTTP1(t, req, &d.response, last); err != nil || last {
			return
		}
	}
}

// allowance lets one request have so many bytes, read ahead included.
type allowance struct {
	r    io.Reader
	left int
}

var errTooLong = errors.New("the request is too long")

func (a *allowance) Read(b []byte) (int, error) {
	if a.left <= 0 {
		return 0, errTooLong
	}
	n, err := a.r.Read(b[:min(len(b), a.left)])
	a.left -= n
	return n, err
}

// readHTTP1 makes of a request what HTTP/2 has: names of headers in lower case.
func readHTTP1(req *http.Request, w io.Writer) (*request, error) {
	if strings.EqualFold(req.Header.Get("Expect"), "100-continue") {
		if _, err := io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return nil, err
		}
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	r := &request{method: req.Method, path: req.RequestURI, host: req.Host, body: body}
	if len(body) > maxBody {
		r.body, r.cut = body[:maxBody], true
	}
	for name, values := range req.Header {
		for _, v := range values {
			r.header = append(r.header, hpack.HeaderField{Name: strings.ToLower(name), Value: v})
		}
	}
	return r, nil
}

func writeHTTP1(w io.Writer, req *http.Request, r *response, last bool) error {
	res := &http.Response{
		StatusCode: r.status, ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: make(http.Header), Close: last,
		ContentLength: int64(len(r.body)), Body: io.NopCloser(strings.NewReader(string(r.body))),
	}
	for _, h := range r.header {
		res.Header.Add(h.Name, h.Value)
	}
	out := bufio.NewWriter(w)
	if err := res.Write(out); err != nil {
		return err
	}
	return out.Flush()
}

// sleep waits, and reports whether the simulator still runs.
func (s *Sim) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}
