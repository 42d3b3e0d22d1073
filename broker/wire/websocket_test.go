package wire

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hwangso/hwangso/broker"
)

// webRig is a rig behind an HTTP server.
func webRig(t *testing.T, change func(*Config)) (*rig, string) {
	t.Helper()
	r := newRig(t, change)
	h := httptest.NewServer(r.Server)
	t.Cleanup(h.Close)
	return r, h.URL
}

func openWS(t *testing.T, url string, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(url, "http", "ws", 1), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	return ws
}

func TestWebSocket(t *testing.T) {
	r, url := webRig(t, nil)
	for _, proto := range subprotocols {
		ws := openWS(t, url, &websocket.DialOptions{Subprotocols: []string{proto}})
		if ws.Subprotocol() != proto {
			t.Errorf("subprotocol %q", ws.Subprotocol())
		}
		// One packet over several messages, several packets in one.
		b := mustBytes(t, connectV311+`c0 00 32 [ {room/lobby/text} 0001 "hi" ] c0`)
		for _, part := range [][]byte{b[:1], b[1:9], {}, b[9:]} {
			if err := ws.Write(t.Context(), websocket.MessageBinary, part); err != nil {
				t.Fatal(err)
			}
		}
		ws.Write(t.Context(), websocket.MessageBinary, []byte{0})
		nc := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
		nc.SetDeadline(time.Now().Add(time.Minute))
		expect(t, nc, mustBytes(t, connackV311+`d0 00 40 02 0001 d0 00`), "answers")
		say(t, nc, `30 [ {room/lobby/text} "`+strings.Repeat("x", 60_000)+`" ]`)
		ping(t, nc)
		s := r.d.last(t)
		say(t, nc, "e0 00")
		if !s.waitDetached(t) {
			t.Error("not an orderly end")
		}
	}
}

func TestWebSocketRefusals(t *testing.T) {
	r, url := webRig(t, func(c *Config) { c.Origins = []string{"*.example.com"} })
	mqtt := []string{"mqtt"}
	for _, c := range []struct {
		origin string
		proto  []string
		ok     bool
	}{
		{"", mqtt, true},
		{url, mqtt, true},
		{"https://chat.example.com", mqtt, true},
		{"https://example.org", mqtt, false},
		{"https://chat.example.com.evil.org", mqtt, false},
		{"null", mqtt, false},
		{"", nil, false},
		{"", []string{"graphql-ws"}, false},
	} {
		h := http.Header{}
		if c.origin != "" {
			h.Set("Origin", c.origin)
		}
		ws, _, err := websocket.Dial(t.Context(), strings.Replace(url, "http", "ws", 1), &websocket.DialOptions{Subprotocols: c.proto, HTTPHeader: h})
		if (err == nil) != c.ok {
			t.Errorf("origin %q, subprotocols %q: %v", c.origin, c.proto, err)
		}
		if err == nil {
			ws.CloseNow()
		}
	}
	resp, err := http.Get(url)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain GET: %v, %v", resp, err)
	}
	if n := count(r.metrics.refused.WithLabelValues("subprotocol")); n != 3 {
		t.Errorf("%d without subprotocol", n)
	}
}

// Text messages, giant messages and silence end the connection.
func TestWebSocketHostile(t *testing.T) {
	r, url := webRig(t, func(c *Config) { c.ConnectTimeout = 500 * time.Millisecond })
	o := &websocket.DialOptions{Subprotocols: []string{"mqtt"}}
	ended := func(ws *websocket.Conn, what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for {
			_, m, err := ws.Reader(ctx)
			if err != nil {
				if ctx.Err() != nil {
					t.Errorf("%s: still open", what)
				}
				return
			}
			io.Copy(io.Discard, m)
		}
	}
	text := openWS(t, url, o)
	text.Write(t.Context(), websocket.MessageText, mustBytes(t, connectV5))
	ended(text, "text")

	ended(openWS(t, url, o), "silence")

	big := openWS(t, url, o)
	big.Write(t.Context(), websocket.MessageBinary, mustBytes(t, connectV5))
	go big.Write(t.Context(), websocket.MessageBinary, make([]byte, 2<<20))
	ended(big, "giant message")

	r.waitEmpty()
	full, url := webRig(t, func(c *Config) { c.MaxConnections = 1 })
	login(t, full.addr, connectV311)
	if ws, _, err := websocket.Dial(t.Context(), strings.Replace(url, "http", "ws", 1), o); err == nil {
		ended(ws, "over the limit")
	}
	if n := count(full.metrics.refused.WithLabelValues("connections")); n != 1 {
		t.Errorf("%d refused", n)
	}
}

// The reason of the end arrives over a WebSocket too.
func TestWebSocketShutdown(t *testing.T) {
	r, url := webRig(t, nil)
	ws := openWS(t, url, &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	nc := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
	say(t, nc, connectV5)
	readConnack(t, nc)
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(context.Background()) }()
	expect(t, nc, mustBytes(t, `e0 [ 8b [ 1f {the server is going down} ] ]`), "DISCONNECT")
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after it: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	resp, err := http.Get(url)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after shutdown: %v, %v", resp, err)
	}
}

// Over TLS, behind an HTTP server whose own timeouts are shorter than the connection's life.
func TestSecureWebSocket(t *testing.T) {
	r := newRig(t, nil)
	var ws *websocket.Conn
	life := 100 * time.Millisecond // as HTTP has it; the handshakes have to fit in, which they do in more on a busy machine
	for ; ws == nil; life *= 4 {
		h := httptest.NewUnstartedServer(r.Server)
		h.Config.ReadTimeout, h.Config.WriteTimeout = life, life
		h.Config.ErrorLog = log.New(io.Discard, "", 0)
		h.StartTLS()
		t.Cleanup(h.Close)
		var err error
		ws, _, err = websocket.Dial(t.Context(), strings.Replace(h.URL, "http", "ws", 1), &websocket.DialOptions{Subprotocols: []string{"mqtt"}, HTTPClient: h.Client()})
		if err != nil && life > time.Minute {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { ws.CloseNow() })
	nc := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
	say(t, nc, connectV311)
	readConnack(t, nc)
	time.Sleep(life / 4 * 3 / 2)
	ping(t, nc)
	say(t, nc, `32 [ {echo/x} 0001 "`+strings.Repeat("x", 60_000)+`" ]`)
	expect(t, nc, mustBytes(t, `40 02 0001 32 [ {echo/x} 0007 "`+strings.Repeat("x", 60_000)+`" ]`), "PUBACK and delivery")
	r.mu.Lock()
	over := r.first.transport
	r.mu.Unlock()
	if over != overWSS {
		t.Errorf("counted as %s", over)
	}
	s := r.d.last(t)
	s.link.Close(broker.ErrTakenOver)
	if s.waitDetached(t) {
		t.Error("orderly")
	}
}
