package pushsim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// wire is a client that writes frames.
type wire struct {
	t     testing.TB
	s     *Sim
	c     net.Conn
	fr    *http2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
	token string
}

// dial opens a connection of HTTP/2 to APNs, and reads nothing yet.
func dial(t testing.TB, s *Sim) *wire {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(s.APNsURL(), "https://"), &tls.Config{RootCAs: s.CA(), NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	w := &wire{t: t, s: s, c: c, fr: http2.NewFramer(c, c), token: mint(t, s, nil)}
	w.fr.AllowIllegalWrites = true
	w.enc = hpack.NewEncoder(&w.block)
	w.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return w
}

// greet sends the preface and settings, and reads the server's.
func (w *wire) greet(settings ...http2.Setting) {
	w.t.Helper()
	if _, err := io.WriteString(w.c, http2.ClientPreface); err != nil {
		w.t.Fatal(err)
	}
	w.fr.WriteSettings(settings...)
	w.want("SETTINGS HEADER_TABLE_SIZE=4096 MAX_CONCURRENT_STREAMS=1 INITIAL_WINDOW_SIZE=65535 MAX_FRAME_SIZE=16384 MAX_HEADER_LIST_SIZE=8000")
	w.fr.WriteSettingsAck()
	w.want("SETTINGS ack")
}

// headers opens a stream with a push's headers; extra ones come in pairs.
func (w *wire) headers(id uint32, token string, end bool, extra ...string) {
	w.t.Helper()
	w.fields(id, end, append([]string{":method", "POST", ":scheme", "https", ":path", "/3/device/" + token, ":authority", "localhost",
		"authorization", "bearer " + w.token, "apns-topic", DefaultTopic, "apns-push-type", "alert"}, extra...)...)
}

func (w *wire) fields(id uint32, end bool, pairs ...string) {
	w.t.Helper()
	w.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		w.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	if err := w.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: w.block.Bytes(), EndHeaders: true, EndStream: end}); err != nil {
		w.t.Fatal(err)
	}
}

// push is a whole request.
func (w *wire) push(id uint32, token, payload string) {
	w.t.Helper()
	w.headers(id, token, false)
	w.fr.WriteData(id, true, []byte(payload))
}

// next is the next frame in words.
func (w *wire) next() string {
	f, err := w.fr.ReadFrame()
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "reset by peer") {
			return "end"
		}
		return "error " + err.Error()
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ack"
		}
		out := "SETTINGS"
		f.ForeachSetting(func(s http2.Setting) error {
			out += fmt.Sprintf(" %s=%d", s.ID, s.Val)
			return nil
		})
		return out
	case *http2.MetaHeadersFrame:
		out := fmt.Sprintf("HEADERS %d %s", f.StreamID, f.PseudoValue("status"))
		if f.StreamEnded() {
			out += " end"
		}
		return out
	case *http2.DataFrame:
		out := fmt.Sprintf("DATA %d %.200s", f.StreamID, f.Data())
		if f.StreamEnded() {
			out += " end"
		}
		return out
	case *http2.PingFrame:
		return fmt.Sprintf("PING %t %s", f.IsAck(), f.Data)
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %s", f.StreamID, f.ErrCode)
	case *http2.GoAwayFrame:
		return strings.TrimSpace(fmt.Sprintf("GOAWAY %d %s %s", f.LastStreamID, f.ErrCode, f.DebugData()))
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d", f.StreamID)
	}
	return fmt.Sprint(f)
}

// want reads frames, and wants them to be these; window updates are passed over.
func (w *wire) want(frames ...string) {
	w.t.Helper()
	for _, f := range frames {
		got := w.next()
		for strings.HasPrefix(got, "WINDOW_UPDATE") {
			got = w.next()
		}
		if got != f {
			w.t.Fatalf("%s\nwant %s", got, f)
		}
	}
}

// TestStreamLimit: one stream until a request was authenticated, then 1,000, as Apple does; more are refused.
func TestStreamLimit(t *testing.T) {
	s := startSim(t, Config{})
	w := dial(t, s)
	w.greet()
	w.headers(1, device(1), false) // not whole, and it fills the limit
	w.push(3, device(2), `{"aps":{}}`)
	w.push(5, device(2), `{"aps":{}}`)
	w.want("RST_STREAM 3 REFUSED_STREAM", "RST_STREAM 5 REFUSED_STREAM")
	if s.Last() != 0 {
		t.Error("a refused stream is an attempt")
	}
	w.fr.WriteData(1, true, []byte(`{"aps":{}}`))
	w.want("SETTINGS MAX_CONCURRENT_STREAMS=1000", "HEADERS 1 200 end")

	for i := range uint32(1001) {
		w.headers(7+2*i, device(1), false)
	}
	w.want("RST_STREAM 2007 REFUSED_STREAM")
	for i := range uint32(1000) {
		w.fr.WriteData(7+2*i, true, []byte(`{"aps":{}}`))
	}
	for i := range uint32(1000) {
		w.want(fmt.Sprintf("HEADERS %d 200 end", 7+2*i))
	}

	// A refused request does not open up, and neither does one of a bad token.
	b := dial(t, s)
	b.token = "x"
	b.greet()
	b.push(1, device(1), `{"aps":{}}`)
	b.want("HEADERS 1 403", `DATA 1 {"reason":"InvalidProviderToken"} end`)
	b.headers(3, device(1), false)
	b.headers(5, device(1), false)
	b.want("RST_STREAM 5 REFUSED_STREAM")

	// A fault narrows it, and its end widens it again.
	add(t, s, Fault{Times: 1, Do: Do{MaxStreams: 7}})
	w.push(3001, device(1), `{"aps":{}}`)
	w.want("SETTINGS MAX_CONCURRENT_STREAMS=7", "HEADERS 3001 200 end")
	w.push(3003, device(1), `{"aps":{}}`)
	w.want("SETTINGS MAX_CONCURRENT_STREAMS=1000", "HEADERS 3003 200 end")
}

// TestGoAwayFrames: what the last stream is, and what becomes of the streams around it.
func TestGoAwayFrames(t *testing.T) {
	s := startSim(t, Config{})
	ready := func() *wire {
		w := dial(t, s)
		w.greet()
		w.push(1, device(1), `{"aps":{}}`)
		w.want("SETTINGS MAX_CONCURRENT_STREAMS=1000", "HEADERS 1 200 end")
		return w
	}

	w := ready()
	w.headers(3, device(3), false)
	add(t, s, Fault{Token: device(5), Times: 1, Do: Do{GoAway: GoAwayBelow, Reason: "Shutdown"}})
	w.push(5, device(5), `{"aps":{}}`)
	w.want(`GOAWAY 1 NO_ERROR {"reason":"Shutdown"}`, "end") // stream 3 was not looked at either

	w = ready()
	w.headers(3, device(3), false)
	add(t, s, Fault{Token: device(5), Times: 1, Do: Do{GoAway: GoAwayCovering}})
	w.push(5, device(5), `{"aps":{}}`)
	w.want("GOAWAY 5 NO_ERROR")
	last := s.Last()
	w.push(7, device(7), `{"aps":{}}`) // came too late: nobody answers, nobody looks
	w.fr.WriteData(3, true, []byte(`{"aps":{}}`))
	w.want("HEADERS 3 200 end", "end")
	if list, err := s.After(context30(t), last); err != nil || len(list) != 1 || list[0].Token != device(3) {
		t.Errorf("%+v, %v", list, err)
	}

	// Nothing waits for a stream that the client gives up.
	w = ready()
	add(t, s, Fault{Token: device(3), Times: 1, Do: Do{Hang: true}})
	w.push(3, device(3), `{"aps":{}}`)
	add(t, s, Fault{Token: device(5), Times: 1, Do: Do{GoAway: GoAwayCovering}})
	w.push(5, device(5), `{"aps":{}}`)
	w.want("GOAWAY 5 NO_ERROR")
	w.fr.WriteRSTStream(3, http2.ErrCodeCancel)
	w.want("end")
}

// TestPing: PING is answered, also while a push hangs, and not in a black hole.
func TestPing(t *testing.T) {
	s := startSim(t, Config{})
	w := dial(t, s)
	w.greet()
	w.fr.WritePing(false, [8]byte([]byte("12345678")))
	w.want("PING true 12345678")
	add(t, s, Fault{Times: 1, Do: Do{Hang: true}})
	w.push(1, device(1), `{"aps":{}}`)
	w.want("SETTINGS MAX_CONCURRENT_STREAMS=1000")
	w.fr.WritePing(false, [8]byte([]byte("abcdefgh")))
	w.want("PING true abcdefgh")
	last := s.Last()
	add(t, s, Fault{Times: 1, Do: Do{BlackHole: true, Deliver: true}})
	w.push(3, device(1), message("t", 1))
	if a, err := s.WaitAfter(context30(t), last, func(Attempt) bool { return true }); err != nil || a.Effect != Shown {
		t.Errorf("%+v, %v", a, err)
	}
	for range 200 { // it reads on
		w.push(5, device(1), strings.Repeat("x", 16000))
	}
	w.fr.WritePing(false, [8]byte([]byte("ijklmnop")))
	w.c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if f, err := w.fr.ReadFrame(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, %v", f, err)
	}
}

// TestFlowControl: a body goes out as the client's windows allow, and the client gets its own back.
func TestFlowControl(t *testing.T) {
	s := startSim(t, Config{})
	w := dial(t, s)
	w.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	add(t, s, Fault{Do: Do{Status: 500, Body: "0123456789abcdefghijABCDEF"}})
	w.push(1, device(1), `{"aps":{}}`)
	w.want("SETTINGS MAX_CONCURRENT_STREAMS=1000", "HEADERS 1 500", "DATA 1 0123456789")
	w.fr.WriteWindowUpdate(1, 5)
	w.want("DATA 1 abcde")
	w.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 15})
	w.want("DATA 1 fghij", "SETTINGS ack")
	w.push(3, device(1), `{"aps":{}}`)
	w.want("HEADERS 3 500", "DATA 3 0123456789abcde")
	w.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	w.fr.WriteWindowUpdate(1, 100) // of a stream that is over: nothing
	w.fr.WriteWindowUpdate(3, 100)
	w.want("DATA 3 fghijABCDEF end")
	s.Clear(0)

	// Many bodies: what they use of the connection's window comes back, padding and refused streams included.
	used := 0
	for id := uint32(5); id < 85; id += 2 {
		w.headers(id, device(1), false)
		w.fr.WriteDataPadded(id, true, []byte(message("t", int(id))+strings.Repeat(" ", 3500)), make([]byte, 200))
		used += 3900
		for got := ""; got != fmt.Sprintf("HEADERS %d 200 end", id); {
			if got = w.next(); !strings.HasPrefix(got, "WINDOW_UPDATE 0") && !strings.HasPrefix(got, "HEADERS") {
				t.Fatal(got)
			}
		}
	}
	if used < 2*window {
		t.Fatalf("only %d bytes", used)
	}

	// A body that is too long is answered before its end, and the rest is not wanted.
	w.headers(101, device(1), false)
	for range 5 {
		w.fr.WriteData(101, false, make([]byte, 16000))
	}
	w.want("HEADERS 101 413", `DATA 101 {"reason":"Payl`)
	w.fr.WriteWindowUpdate(101, 1000)
	w.want(`DATA 101 oadTooLarge"} end`, "RST_STREAM 101 NO_ERROR")
}

// TestBrokenFrames is what is refused, and how far the damage goes.
func TestBrokenFrames(t *testing.T) {
	s := startSim(t, Config{})
	path := "/3/device/" + device(1)
	for name, e := range map[string]struct {
		do   func(w *wire)
		want []string
	}{
		"even stream":           {func(w *wire) { w.headers(2, device(1), true) }, []string{"GOAWAY 0 PROTOCOL_ERROR", "end"}},
		"data before headers":   {func(w *wire) { w.fr.WriteData(1, true, nil) }, []string{"GOAWAY 0 PROTOCOL_ERROR", "end"}},
		"reset before headers":  {func(w *wire) { w.fr.WriteRSTStream(1, http2.ErrCodeCancel) }, []string{"GOAWAY 0 PROTOCOL_ERROR", "end"}},
		"update before headers": {func(w *wire) { w.fr.WriteWindowUpdate(1, 1) }, []string{"GOAWAY 0 PROTOCOL_ERROR", "end"}},
		"window too large":      {func(w *wire) { w.fr.WriteWindowUpdate(0, 1<<31-1) }, []string{"GOAWAY 0 FLOW_CONTROL_ERROR", "end"}},
		"no update":             {func(w *wire) { w.fr.WriteWindowUpdate(0, 0) }, []string{"GOAWAY 0 PROTOCOL_ERROR", "end"}},
		"push promise": {func(w *wire) {
			w.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, []string{"GOAWAY 0 PROTOCOL_ERROR", "end"}},
		"frame too long":          {func(w *wire) { w.fr.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, maxFrame+1)) }, []string{"GOAWAY 0 FRAME_SIZE_ERROR", "end"}},
		"odd setting":             {func(w *wire) { w.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1}) }, []string{"GOAWAY 0 PROTOCOL_ERROR", "end"}},
		"continuation of nothing": {func(w *wire) { w.fr.WriteContinuation(1, true, nil) }, []string{"GOAWAY 0 PROTOCOL_ERROR", "end"}},
		"broken HPACK": {func(w *wire) {
			w.fr.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff})
		}, []string{"GOAWAY 0 COMPRESSION_ERROR", "end"}},
		"unknown frame": {func(w *wire) { w.fr.WriteRawFrame(0x77, 0xff, 9, []byte("x")); w.fr.WritePing(false, [8]byte{}) }, []string{"PING true " + string(make([]byte, 8))}},
		"priority": {func(w *wire) {
			w.fr.WritePriority(1, http2.PriorityParam{StreamDep: 3, Weight: 1})
			w.fr.WritePing(false, [8]byte{})
		}, []string{"PING true " + string(make([]byte, 8))}},
		"no path": {func(w *wire) { w.fields(1, true, ":method", "POST", ":scheme", "https") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"two methods": {func(w *wire) {
			w.fields(1, true, ":method", "POST", ":method", "GET", ":scheme", "https", ":path", path)
		}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"status in a request": {func(w *wire) {
			w.fields(1, true, ":method", "POST", ":scheme", "https", ":path", path, ":status", "200")
		}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"connection header": {func(w *wire) { w.headers(1, device(1), true, "connection", "close") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"upper case":        {func(w *wire) { w.headers(1, device(1), true, "Apns-Id", "x") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"wrong length": {func(w *wire) {
			w.headers(1, device(1), false, "content-length", "5")
			w.fr.WriteData(1, true, []byte("{}"))
		}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"odd length":       {func(w *wire) { w.headers(1, device(1), true, "content-length", "-5") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"headers too long": {func(w *wire) { w.headers(1, device(1), true, "x", strings.Repeat("y", maxHeaders)) }, []string{"HEADERS 1 431 end"}},
		"body twice": {func(w *wire) {
			w.headers(1, device(1), false)
			add(w.t, s, Fault{Times: 1, Do: Do{Hang: true}})
			w.fr.WriteData(1, true, []byte("{}"))
			w.fr.WriteData(1, true, []byte("{}"))
		}, []string{"SETTINGS MAX_CONCURRENT_STREAMS=1000", "GOAWAY 1 STREAM_CLOSED", "end"}},
		"trailers": {func(w *wire) {
			w.headers(1, device(1), false)
			w.fr.WriteData(1, false, []byte(`{"aps":{}}`))
			w.fields(1, true, "x-checked", "yes")
		}, []string{"SETTINGS MAX_CONCURRENT_STREAMS=1000", "HEADERS 1 200 end"}},
		"trailers that go on": {func(w *wire) { w.headers(1, device(1), false); w.fields(1, false, "x", "y") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, s)
			w.greet()
			e.do(w)
			w.want(e.want...)
		})
	}

	w := dial(t, s)
	io.WriteString(w.c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for got := w.next(); got != "end"; got = w.next() {
		if !strings.HasPrefix(got, "SETTINGS HEADER") { // which it may have sent first
			t.Fatal(got)
		}
	}

	w = dial(t, s)
	io.WriteString(w.c, http2.ClientPreface)
	w.fr.WritePing(false, [8]byte{})
	if got := w.next(); !strings.HasPrefix(got, "SETTINGS HEADER") {
		t.Error(got)
	}
	w.want("GOAWAY 0 PROTOCOL_ERROR", "end")
	if a := newClient(t, s).push(device(1), `{"aps":{}}`); a.status != 200 {
		t.Errorf("afterwards: %+v", a)
	}
}

// TestUnread: a client that asks and does not read costs a bounded amount of memory, and is cut off.
func TestUnread(t *testing.T) {
	s := startSim(t, Config{})
	w := dial(t, s)
	w.greet()
	w.c.SetDeadline(time.Now().Add(3 * writeTime))
	var ping bytes.Buffer
	fr := http2.NewFramer(&ping, nil)
	for range 1000 {
		fr.WritePing(false, [8]byte{})
	}
	for sent := 0; ; sent += ping.Len() {
		if _, err := w.c.Write(ping.Bytes()); err != nil {
			return // cut off, or blocked until it was
		}
		if sent > 1<<30 {
			t.Fatal("it took a gigabyte of PINGs, and kept the answers")
		}
	}
}
