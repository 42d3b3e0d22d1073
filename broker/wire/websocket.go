package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// The WebSocket subprotocols of MQTT (MQTT 5, 6; the second is 3.1's).
var subprotocols = []string{"mqtt", "mqttv3.1"}

// maxFrame bounds one WebSocket message. MQTT packets may span messages and share them, so this bounds nothing that is
// held in memory.
const maxFrame = 1 << 20

// ServeHTTP makes an HTTP request a WebSocket with an MQTT client. A browser's request must come from the server's own
// origin or one of Config.Origins; programs without an Origin header may connect from anywhere. It returns as soon as
// the connection has its own goroutine. The client's address is the request's RemoteAddr. The HTTP server's own shutdown does not wait for it; Shutdown does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.stopped.Load() {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	if !offersMQTT(r.Header) {
		s.metrics.refuse("subprotocol")
		http.Error(w, "this is MQTT over WebSocket: offer the subprotocol mqtt", http.StatusBadRequest)
		return
	}
	h := &hijacker{ResponseWriter: w, srv: s, remote: r.RemoteAddr}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{Subprotocols: subprotocols, OriginPatterns: s.cfg.Origins})
	if err != nil {
		s.metrics.refuse("websocket")
		s.log.Debug("websocket refused", keyRemote, r.RemoteAddr, keyErr, err)
		if h.conn != nil {
			h.conn.sock.Conn.Close()
			s.remove(h.conn)
		}
		return
	}
	ws.SetReadLimit(maxFrame)
	go h.conn.run(&webSocket{ws: ws}) // counted in wg by add
}

func offersMQTT(h http.Header) bool {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for word := range strings.SplitSeq(line, ",") {
			for _, p := range subprotocols {
				if strings.EqualFold(strings.TrimSpace(word), p) {
					return true
				}
			}
		}
	}
	return false
}

// hijacker puts a socket between the HTTP server's connection and the WebSocket, and smaller buffers than HTTP's.
type hijacker struct {
	http.ResponseWriter
	srv    *Server
	remote string // of the client, as the HTTP server or who stands before it says
	conn   *conn
}

// nowhere is a response that nobody reads.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}

var errOverLimit = errors.New("wire: too many connections")

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t := overWS
	if _, ok := nc.(*tls.Conn); ok {
		t = overWSS
	}
	from := hostOf(nc.RemoteAddr())
	if p, err := netip.ParseAddrPort(h.remote); err == nil {
		from = p.Addr().Unmap().WithZone("")
	}
	c, refused := h.srv.addFrom(nc, t, h.remote, from)
	if c == nil {
		h.srv.metrics.refuse(refused)
		nc.Close()
		h.ResponseWriter = nowhere{} // Accept is about to say so to a connection that has gone
		return nil, nil, errOverLimit
	}
	h.conn = c
	nc.SetDeadline(time.Time{}) // those of HTTP
	c.sock.tune(h.srv.cfg.SendBuffer)
	c.setReadDeadline(c.silentUntil())
	const size = 512
	if rw.Reader.Buffered() == 0 {
		rw.Reader = bufio.NewReaderSize(&c.sock, size)
	}
	return &c.sock, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(&c.sock, size)), nil
}

// webSocket is the byte stream in the binary messages of a WebSocket.
type webSocket struct {
	ws *websocket.Conn
	r  io.Reader // of the message that has begun
}

var errText = violation("a WebSocket message that is not binary")

// Read reads on where the last message ended; a packet may span messages [MQTT-6.0.0-2].
func (w *webSocket) Read(p []byte) (int, error) {
	for {
		if w.r == nil {
			kind, r, err := w.ws.Reader(context.Background()) // the socket below keeps the time
			if err != nil {
				return 0, err
			}
			if kind != websocket.MessageBinary {
				return 0, errText // [MQTT-6.0.0-1]
			}
			w.r = r
		}
		n, err := w.r.Read(p)
		if err == io.EOF {
			w.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends p as one message.
func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite says goodbye in WebSocket's own way and waits for the answer, as long as the socket lets it.
func (w *webSocket) CloseWrite() error { return w.ws.Close(websocket.StatusNormalClosure, "") }

// Close ends the connection at once.
func (w *webSocket) Close() error { return w.ws.CloseNow() }
