package pushsim

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tape is a socket whose client has said everything already.
type tape struct{ net.Conn }

func (tape) SetDeadline(time.Time) error { return nil }
func (tape) CloseWrite() error           { return nil }
func (t tape) NetConn() net.Conn         { return t }
func (tape) Close() error                { return nil }

// FuzzFrames gives a connection bytes in place of frames, and looks whether what it says is HTTP/2, and whether it keeps
// nothing of streams that it has ended. There is no writer, so that the same bytes always do the same.
func FuzzFrames(f *testing.F) {
	frames := func(write func(fr *http2.Framer, header func(pairs ...string) []byte)) {
		var b, block bytes.Buffer
		fr := http2.NewFramer(&b, nil)
		fr.AllowIllegalWrites = true
		enc := hpack.NewEncoder(&block)
		fr.WriteSettings()
		write(fr, func(pairs ...string) []byte {
			block.Reset()
			for i := 0; i < len(pairs); i += 2 {
				enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
			}
			return bytes.Clone(block.Bytes())
		})
		f.Add(b.Bytes())
	}
	push := []string{":method", "POST", ":scheme", "https", ":path", "/3/device/" + device(1), "apns-topic", DefaultTopic}
	frames(func(fr *http2.Framer, header func(...string) []byte) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: header(push...), EndHeaders: true})
		fr.WriteData(1, true, []byte(`{"aps":{}}`))
	})
	frames(func(fr *http2.Framer, header func(...string) []byte) {
		block := header(append(push, "apns-id", "x", "apns-priority", "5", "content-length", "3")...)
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:5]})
		fr.WriteContinuation(1, true, block[5:])
		fr.WriteDataPadded(1, false, []byte("{"), make([]byte, 9))
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: header("x", "y"), EndHeaders: true, EndStream: true})
		fr.WriteRSTStream(1, http2.ErrCodeCancel)
	})
	frames(func(fr *http2.Framer, header func(...string) []byte) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: header(push...), EndHeaders: true, EndStream: true})
		fr.WriteWindowUpdate(3, 5)
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		fr.WriteWindowUpdate(0, 1<<31-1)
		fr.WritePing(false, [8]byte{1})
		fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		fr.WriteRawFrame(http2.FrameData, 0xff, 1, []byte{200})
	})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))

	dir, err := testDir()
	if err != nil {
		f.Fatal(err)
	}
	s, err := Start(Config{Dir: dir, Keep: 100})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	// Some of what comes is struck, too.
	dos := []Do{{Hang: true}, {Status: 503, Body: strings.Repeat(sorryPage, 20)}, {MaxStreams: 3}, {Reset: "CANCEL"}, {GoAway: GoAwayBelow}, {GoAway: GoAwayCovering}}
	f.Fuzz(func(t *testing.T, b []byte) {
		s.faults.clear(0)
		for _, do := range dos {
			if _, err := s.Add(Fault{Nth: 2, Do: do}); err != nil {
				t.Fatal(err)
			}
		}
		c := s.newConn(s.fronts[frontAPNs], tape{})
		c.in.Reset(bytes.NewReader(b))
		c.limit = streamsAPNs
		c.readFrames()
		for _, st := range c.blocked {
			if c.streams[st.id] != st || len(st.body) == 0 {
				t.Fatalf("stream %d waits, and is over", st.id)
			}
		}
		if len(c.streams) > streamsAPNs || c.out.Len() > outMax+outFull {
			t.Fatalf("%d streams, %d bytes", len(c.streams), c.out.Len())
		}
		fr := http2.NewFramer(nil, &c.out)
		fr.ReadMetaHeaders = hpack.NewDecoder(headerTable, nil)
		fr.SetMaxReadFrameSize(maxFrame)
		for {
			if _, err := fr.ReadFrame(); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("the simulator wrote no HTTP/2: %v, %v", err, fr.ErrorDetail())
				}
				return
			}
		}
	})
}

// FuzzRequest gives APNs' rules any request: an answer always has a status, and a reason that Apple has.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/3/device/"+device(1), "apns-topic", DefaultTopic, "apns-priority", "5", []byte(`{"aps":{}}`))
	f.Add("POST", "/3/device/", "apns-id", "123e4567-e89b-12d3-a456-426655440000", "apns-expiration", "99999999999999999999", []byte(`null`))
	f.Add("GET", "/3/device/../x", "apns-collapse-id", strings.Repeat("x", 65), "authorization", "bearer", []byte{0xff})
	f.Add("POST", "/3/device/"+device(1), "apns-push-type", "background", "apns-topic", "\x00", []byte(`{"aps":{"badge":1e99}}`))
	dir, err := testDir()
	if err != nil {
		f.Fatal(err)
	}
	files, err := readFiles(dir)
	if err != nil {
		f.Fatal(err)
	}
	now := newClock()
	sim := &Sim{files: files, now: now.Now}
	sim.cfg.Dir, sim.journal.keep = dir, 10
	sim.phones.all, sim.phones.counts = make(map[deviceKey]*phone), make(map[countKey]*counted)
	rules := newApple(files, now.Now)
	token := mint(f, sim, nil)
	f.Fuzz(func(t *testing.T, method, path, name1, value1, name2, value2 string, body []byte) {
		for _, auth := range []string{"", token} {
			r := &request{peer: &peer{number: 1}, method: method, path: path, body: body, header: []hpack.HeaderField{{Name: name1, Value: value1}, {Name: name2, Value: value2}}}
			if auth != "" {
				r.header = append(r.header, hpack.HeaderField{Name: "authorization", Value: "bearer " + auth})
			}
			d := sim.exchange(rules, r)
			list, _ := sim.journal.after(sim.journal.last-1, 1)
			if len(list) != 1 || list[0].Status != d.status {
				t.Fatalf("%+v, answered with %d", list, d.status)
			}
			a := list[0]
			if d.status == http.StatusOK {
				if a.Token == "" || a.Topic == "" || auth == "" || len(body) > voipPayload || len(d.body) > 0 {
					t.Fatalf("taken: %+v", a)
				}
				continue
			}
			if apnsReasons[a.Reason] != d.status {
				t.Fatalf("%d with %q", d.status, a.Reason)
			}
			jsonOf(a)
		}
	})
}

// TestFlood is a client's bad manners in numbers: streams opened and reset, settings and pings. The simulator goes on.
func TestFlood(t *testing.T) {
	s := startSim(t, Config{})
	for name, frame := range map[string]func(w *wire, i uint32){
		"reset at once": func(w *wire, i uint32) {
			w.headers(1+2*i, device(1), false)
			w.fr.WriteRSTStream(1+2*i, http2.ErrCodeCancel)
		},
		"settings": func(w *wire, i uint32) {
			w.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: i})
		},
		"empty data": func(w *wire, i uint32) {
			if i == 0 {
				w.headers(1, device(1), false)
			}
			w.fr.WriteData(1, false, nil)
		},
	} {
		w := dial(t, s)
		w.greet()
		go io.Copy(io.Discard, w.c)
		for i := range uint32(5000) {
			frame(w, i)
		}
		if a := newClient(t, s).push(device(1), `{"aps":{}}`); a.status != 200 {
			t.Errorf("%s: %+v", name, a)
		}
		w.c.Close()
	}

	// Headers without an end: the connection is over long before they are large.
	w := dial(t, s)
	w.greet()
	w.fr.WriteRawFrame(http2.FrameHeaders, 0, 1, nil)
	junk := bytes.Repeat([]byte{0x00, 0x01, 'x', 0x7f, 0x00}, 1)
	junk = append(junk, bytes.Repeat([]byte{'y'}, 127)...)
	for sent := 0; ; sent += len(junk) {
		if err := w.fr.WriteContinuation(1, false, junk); err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("it takes headers without end")
		}
	}
}

// TestConnections: a listener has so many connections, and more are closed; silent ones do not stay.
func TestConnections(t *testing.T) {
	s := startSim(t, Config{})
	f := s.fronts[frontAPNs]
	var mine []net.Conn
	for range maxConns {
		a, b := net.Pipe()
		defer b.Close()
		if !f.enter(a) {
			t.Fatal("not let in")
		}
		mine = append(mine, a)
	}
	c := newClient(t, s)
	if a, err := c.do(c.request(context30(t), s.APNsURL(), device(1), `{"aps":{}}`)); err == nil {
		t.Errorf("one too many: %+v", a)
	}
	for _, a := range mine {
		f.leave(a)
	}
	if a := c.push(device(1), `{"aps":{}}`); a.status != 200 {
		t.Errorf("%+v", a)
	}
	if raw, err := net.Dial("tcp", f.listener.Addr().String()); err != nil {
		t.Error(err)
	} else {
		io.WriteString(raw, "no TLS at all")
		raw.SetDeadline(time.Now().Add(3 * handshakeTime))
		io.Copy(io.Discard, raw)
		raw.Close()
	}
}
