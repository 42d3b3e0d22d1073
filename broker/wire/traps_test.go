package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker"
)

const (
	connectV311 = `10 [ {MQTT} 04 c2 003c {dev} {alice} {pw-alice} ]`
	connackV311 = `20 02 00 00`
	connectV5   = `10 [ {MQTT} 05 c2 003c [ ] {dev} {alice} {pw-alice} ]`
)

// count is the value of a counter.
func count(c prometheus.Collector) int {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	all, err := r.Gather()
	if err != nil || len(all) != 1 || len(all[0].GetMetric()) != 1 {
		panic("not one metric")
	}
	return int(all[0].GetMetric()[0].GetCounter().GetValue())
}

// login connects and reads the CONNACK.
func login(t testing.TB, addr, connect string) net.Conn {
	t.Helper()
	nc := dial(t, addr)
	say(t, nc, connect)
	readConnack(t, nc)
	return nc
}

func readConnack(t testing.TB, r io.Reader) {
	t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || head[0] != 0x20 {
		t.Fatalf("CONNACK: % x, %v", head, err)
	}
	body := make([]byte, head[1])
	if _, err := io.ReadFull(r, body); err != nil || body[1] != 0 {
		t.Fatalf("CONNACK: % x, %v", body, err)
	}
}

func say(t testing.TB, w io.Writer, script string) {
	t.Helper()
	if _, err := w.Write(mustBytes(t, script)); err != nil {
		t.Fatal(err)
	}
}

// ping proves that the connection is served.
func ping(t testing.TB, rw io.ReadWriter) {
	t.Helper()
	say(t, rw, "c0 00")
	expect(t, rw, framePingresp, "PINGRESP")
}

func TestPanicEndsOneConnection(t *testing.T) {
	r := newRig(t, nil)
	other := login(t, r.addr, connectV311)
	nc := login(t, r.addr, connectV311)
	say(t, nc, `30 [ {panic} "body" ]`)
	expectClosed(t, nc)
	ping(t, other)
	if n := count(r.metrics.panics); n != 1 {
		t.Errorf("%d panics counted", n)
	}
	if log := r.log.String(); !strings.Contains(log, "ended by a panic") || strings.Contains(log, "body") {
		t.Errorf("log: %s", log)
	}
}

// The library allocates what a CONNECT claims to be: eight connections of five bytes cost it 2 GiB.
func TestOversizedBeforeLogin(t *testing.T) {
	r := newRig(t, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 50 {
		nc := dial(t, r.addr)
		say(t, nc, "10 ff ff ff 7f")
		expectClosed(t, nc)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("50 claims of 256 MiB cost %d bytes", grown)
	}
	nc := dial(t, r.addr)
	say(t, nc, "10 ff 20") // 4,223 bytes
	expectClosed(t, nc)
	if n := count(r.metrics.refused.WithLabelValues("protocol")); n != 51 {
		t.Errorf("%d refused", n)
	}

	in := login(t, r.addr, connectV311) // after login the same size is fine
	big := strings.Repeat("x", 4223)
	say(t, in, `32 [ {room/lobby/text} 0001 "`+big+`" ]`)
	expect(t, in, []byte{0x40, 2, 0, 1}, "PUBACK")
}

func TestSilenceBeforeConnect(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectTimeout = 50 * time.Millisecond })
	expectClosed(t, dial(t, r.addr))
	half := dial(t, r.addr)
	say(t, half, `10 20 0004 "MQ"`)
	expectClosed(t, half)
	if n := count(r.metrics.refused.WithLabelValues("connect_timeout")); n != 2 {
		t.Errorf("%d timeouts counted", n)
	}
}

func TestSilenceAfterConnect(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	nc := login(t, r.addr, `10 [ {MQTT} 05 c2 0001 [ ] {dev} {alice} {pw-alice} ]`)
	expect(t, nc, mustBytes(t, `e0 [ 8d [ 1f {`+errKeepAlive.text+`} ] ]`), "DISCONNECT")
	expectClosed(t, nc)
	if r.d.last(t).waitDetached(t) {
		t.Error("silence counts as an orderly end")
	}
}

func TestKeepAliveExtremes(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxKeepAlive = 300 * time.Second })
	for ask, want := range map[uint16]int64{0: 0, 1: 1500, 43_690: 65_535_000, 43_691: 65_536_500, 65_535: 98_302_500} {
		c := &conn{srv: r.Server, connected: true, keepAlive: ask}
		c.heard.Store(1)
		if got := c.silentUntil(); ask == 0 && got != 0 || ask != 0 && got != want*int64(time.Millisecond)+1 {
			t.Errorf("keep alive %d: until %d", ask, got)
		}
	}
	// MQTT 5 is told a shorter one, 3.x cannot be.
	for _, ask := range []string{"0000", "ffff"} {
		nc := dial(t, r.addr)
		say(t, nc, `10 [ {MQTT} 05 c2 `+ask+` [ ] {dev} {alice} {pw-alice} ]`)
		expect(t, nc, mustBytes(t, `20 [ 00 00 [ 13 012c 21 0400 22 0010 27 00010804 2a 00 ] ]`), "CONNACK")
		ping(t, nc)
	}
	nc := login(t, r.addr, `10 [ {MQTT} 04 c2 ffff {dev} {alice} {pw-alice} ]`)
	ping(t, nc)
}

func TestStuckReader(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WriteStall, c.SendBuffer = time.Second, 8<<10 })
	other := login(t, r.addr, connectV311)
	nc := login(t, r.addr, connectV311)
	nc.(*net.TCPConn).SetReadBuffer(4 << 10)
	s := r.d.last(t)
	go func() {
		for range 2048 {
			s.give(broker.Item{Kind: broker.ItemDelivery, Topic: "room/lobby/text", Payload: make([]byte, 8<<10)})
		}
	}()
	if s.waitDetached(t) {
		t.Error("a stuck client ended in order")
	}
	ping(t, other)
	if n := count(r.metrics.stalls); n != 1 {
		t.Errorf("%d stalls counted", n)
	}
}

// One chunk takes four minutes to a client that takes a kilobyte every 15 seconds, and it lives; it is closed when it
// takes nothing for 20 seconds.
func TestSlowReaderLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := newMetrics(nil)
		ours, theirs := net.Pipe()
		c := &conn{srv: &Server{cfg: Default(), metrics: m, start: time.Now()}}
		c.sock = socket{Conn: ours, c: c}
		c.stream = &c.sock
		wrote := make(chan error, 1)
		go func() { wrote <- c.send(make([]byte, chunkSize)) }()
		for range chunkSize / 1024 {
			time.Sleep(15 * time.Second)
			if _, err := io.ReadFull(theirs, make([]byte, 1024)); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := c.send(make([]byte, chunkSize)); !errors.Is(err, broker.ErrStuck) {
			t.Errorf("stuck: %v", err)
		}
		if took := time.Since(began); took < 17*time.Second || took > 20*time.Second+time.Millisecond {
			t.Errorf("stuck for %v", took)
		}
		if err := c.send([]byte{1}); err == nil {
			t.Error("a broken stream was written to")
		}
		theirs.Close()
	})
}

func TestWills(t *testing.T) {
	r := newRig(t, nil)
	for topic, kept := range map[string]bool{"room/lobby/typing": true, "user/bob/typing": true, "room/lobby/text": false, "$SYS/x": false, "room/+/typing": false, "a/b": false} {
		nc := login(t, r.addr, `10 [ {MQTT} 04 e6 003c {dev} {`+topic+`} {last words} {alice} {pw-alice} ]`)
		s := r.d.last(t)
		if w := s.req.Will; (w != nil) != kept || kept && (w.Topic != topic || string(w.Payload) != "last words") {
			t.Errorf("will on %s: %+v", topic, w)
		}
		nc.Close()
		if s.waitDetached(t) {
			t.Errorf("%s: a broken connection ended in order", topic)
		}
	}
	if n := count(r.metrics.willsDropped); n != 4 {
		t.Errorf("%d wills dropped", n)
	}
	will := `10 [ {MQTT} 05 c6 003c [ ] {dev} [ 18 00000005 01 01 ] {room/lobby/typing} {} {alice} {pw-alice} ]`
	for bye, orderly := range map[string]bool{"e0 00": true, "e0 01 00": true, "e0 02 00 00": true, "e0 01 04": false, "e0 02 04 00": false} {
		nc := login(t, r.addr, will)
		s := r.d.last(t)
		say(t, nc, bye)
		if got := s.waitDetached(t); got != orderly {
			t.Errorf("DISCONNECT %s: orderly %v", bye, got)
		}
	}
}

func TestReceiveMaximum(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ReceiveMaximum = 4 })
	nc := dial(t, r.addr)
	say(t, nc, connectV5)
	expect(t, nc, mustBytes(t, `20 [ 00 00 [ 21 0004 22 0010 27 00010804 2a 00 ] ]`), "CONNACK")
	for range 20 { // answered ones do not count
		say(t, nc, `32 [ {room/lobby/typing} 0001 00 ] 34 [ {room/lobby/typing} 0002 00 ] 62 02 0002`)
		expect(t, nc, mustBytes(t, `40 02 0001 50 02 0002 70 02 0002`), "answers")
	}
	say(t, nc, `32 [ {never} 0001 00 ] 32 [ {never} 0002 00 ] 34 [ {never} 0003 00 ] 32 [ {never} 0004 00 ] 30 [ {never} 00 ] c0 00`)
	expect(t, nc, framePingresp, "PINGRESP")
	say(t, nc, `32 [ {never} 0005 00 ]`)
	expect(t, nc, mustBytes(t, `e0 [ 93 [ 1f {`+errMany.text+`} ] ]`), "DISCONNECT")
	expectClosed(t, nc)
}

func TestFloodIsRead(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PacketRate, c.PacketBurst = 2000, 10 })
	nc := login(t, r.addr, connectV311)
	began := time.Now()
	go nc.Write(bytes.Repeat([]byte{0xc0, 0}, 500))
	expect(t, nc, bytes.Repeat(framePingresp, 500), "answers")
	ping(t, nc)
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("500 packets at 2,000 a second in %v", took)
	}
	if count(r.metrics.paused) == 0 {
		t.Error("no pause counted")
	}
}

// A 3.x client does not know the limit. If a message that is too large disconnected it, it would send it again for ever.
func TestOversizedPublishIsRefused(t *testing.T) {
	w := newRealWorld(t)
	nc := w.dial(overTCP)
	say(t, nc, `10 [ {MQTT} 04 c2 003c {dev} {alice} {pw-alice} ]`)
	readConnack(t, nc)
	for _, size := range []int{64<<10 + 1, 67_500, 70_000, 1 << 20, maxSkim - 20} {
		big := append(mustBytes(t, `32`), appendVarint(nil, 17+size)...)
		big = append(append(big, mustBytes(t, `{user/bob/text} 0007`)...), bytes.Repeat([]byte("x"), size)...)
		go func() {
			nc.Write(big[:10]) // cut in the topic
			nc.Write(big[10:])
			nc.Write(mustBytes(t, `32 [ {user/bob/text} 0008 "small" ]`))
		}()
		reply := mustBytes(t, `30 [ {reply/-7} "{""code"":413,""error"":""too_large"",""text"":""the message is larger than this server takes"",""retry_ms"":0}" ]`)
		expect(t, nc, append(reply, 0x40, 2, 0, 7, 0x40, 2, 0, 8), fmt.Sprint(size))
	}
	say(t, nc, `32 ff ff ff 08`) // more than is read over
	expectClosed(t, nc)
}

func TestConnectionLimits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConnections, c.MaxConnectionsPerAddress = 3, 2 })
	a, b := login(t, r.addr, connectV311), login(t, r.addr, connectV311)
	expectClosed(t, dial(t, r.addr))
	if n := count(r.metrics.refused.WithLabelValues("address")); n != 1 {
		t.Errorf("%d refused by address", n)
	}
	s := r.d.last(t)
	b.Close()
	s.waitDetached(t)
	for r.connections() > 1 { // remove follows Detach at once
		runtime.Gosched()
	}
	login(t, r.addr, connectV311)
	ping(t, a)

	all := newRig(t, func(c *Config) { c.MaxConnections = 1 })
	login(t, all.addr, connectV311)
	expectClosed(t, dial(t, all.addr))
	if n := count(all.metrics.refused.WithLabelValues("connections")); n != 1 {
		t.Errorf("%d refused", n)
	}
}

// An MQTT 5 client reads why it is disconnected even if it has sent much that nobody will read.
func TestDisconnectReasonIsNotLost(t *testing.T) {
	r := newRig(t, nil)
	for range 20 {
		nc := login(t, r.addr, connectV5)
		s := r.d.last(t)
		nc.Write(append([]byte{0xf0, 0}, bytes.Repeat([]byte{0xc0, 0}, 30<<10)...))
		expect(t, nc, mustBytes(t, `e0 [ 8c [ 1f {`+errAuth.text+`} ] ]`), "DISCONNECT")
		expectClosed(t, nc)
		s.waitDetached(t)
	}
}

func TestCloseReasons(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		why  error
		code byte
	}{{broker.ErrTakenOver, 0x8e}, {broker.ErrRemoved, 0x98}, {broker.ErrExpired, 0xa0}, {broker.ErrShutdown, 0x8b}, {broker.ErrStorage, 0x83}, {errors.New("secret detail"), 0x80}} {
		nc := login(t, r.addr, connectV5)
		s := r.d.last(t)
		s.link.Close(c.why)
		s.link.Close(io.ErrUnexpectedEOF) // the first reason counts
		b, err := io.ReadAll(nc)
		if err != nil || len(b) < 3 || b[0] != 0xe0 || b[2] != c.code || bytes.Contains(b, []byte("secret")) {
			t.Errorf("%v: % x %q, %v", c.why, b, b, err)
		}
		if s.waitDetached(t) {
			t.Errorf("%v: orderly", c.why)
		}
	}
}

// What a client has pipelined behind the end of its session is not taken any more.
func TestNothingIsTakenAfterTheEnd(t *testing.T) {
	r := newRig(t, nil)
	nc := login(t, r.addr, connectV5)
	s := r.d.last(t)
	say(t, nc, `30 [ {room/lobby/text} 00 "1" ] 30 [ {removed} 00 ] 30 [ {room/lobby/text} 00 "2" ]`)
	expect(t, nc, mustBytes(t, `e0 [ 98 [ 1f {the device was signed out} ] ]`), "DISCONNECT")
	s.waitDetached(t)
	if len(s.published) != 2 {
		t.Errorf("%d publishes were taken", len(s.published))
	}
}

// Whatever a client does, nothing it keeps secret is logged, at any level.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	r := newRig(t, nil)
	const s = "s3cret"
	for _, script := range []string{
		`10 [ {MQTT} 04 c2 003c {dev} {alice} {` + s + `} ]`,
		`10 [ {MQTT} 05 c2 003c [ 15 {` + s + `} 16 {` + s + `} ] {dev} {alice} {` + s + `} ]`,
		`10 [ {MQTT} 05 c6 003c [ ] {dev} [ ] {room/lobby/text} {` + s + `} {alice} {` + s + `} ]`,
		`10 [ {MQTT} 05 c2 003c [ 26 {` + s + `} {` + s + `} 00 ] {dev} {alice} {` + s + `} ]`,
		`10 [ {MQTT} 04 c2 003c {dev} {alice} {` + s + `} 00 ]`,
		connectV5 + `30 [ {panic} 00 "` + s + `" ]`,
		connectV5 + `30 [ {room/lobby/text} 02 26 "` + s + `" ]`,
		connectV5 + `32 [ {err/403/muted} 0001 [ 26 {token} {` + s + `} ] "` + s + `" ] 32 [ {plain} 0002 00 "` + s + `" ] f0 00`,
		connectV5 + `32 [ {` + s + `} 0000 00 "` + s + `" ]`,
		connectV5 + `82 [ 0001 [ ] {} {` + s + `} ]`,
		`"GET /` + s + ` HTTP/1.1"`,
	} {
		nc := dial(t, r.addr)
		say(t, nc, script)
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, nc)
	}
	log := r.log.String()
	if strings.Contains(log, s) {
		t.Errorf("the log tells a secret:\n%s", log)
	}
	if strings.Count(log, "\n") < 5 {
		t.Errorf("hardly anything was logged, so this proves nothing:\n%s", log)
	}
}

// Deep filters are refused before anybody walks them.
func TestDeepFilters(t *testing.T) {
	r := newRig(t, nil)
	nc := login(t, r.addr, connectV311)
	deep := strings.Repeat("a/", 32_000) + "#"
	began := time.Now()
	for range 20 {
		say(t, nc, `82 [ 0001 {`+deep+`} 01 ]`)
		head := make([]byte, 2)
		if _, err := io.ReadFull(nc, head); err != nil || head[0] != 0x30 {
			t.Fatalf("reply: % x, %v", head, err)
		}
		rest := make([]byte, head[1])
		io.ReadFull(nc, rest)
		if !strings.HasPrefix(string(rest[2:]), "reply/-1{") {
			t.Fatalf("reply: %q", rest)
		}
		expect(t, nc, []byte{0x90, 3, 0, 1, 0x80}, "SUBACK")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("20 deep filters took %v", took)
	}
	many := `82 [ 0001 ` + strings.Repeat(`{room/+/text} 01 `, 257) + `]`
	say(t, nc, many)
	expectClosed(t, nc)
}

func TestConfigValidate(t *testing.T) {
	if c := Default(); c.Validate() != nil {
		t.Fatal(c.Validate())
	}
	for name, change := range map[string]func(*Config){
		"connections": func(c *Config) { c.MaxConnections = -1 },
		"rate":        func(c *Config) { c.AcceptRate = -1 },
		"burst":       func(c *Config) { c.PacketBurst = 0 },
		"timeout":     func(c *Config) { c.ConnectTimeout = 0 },
		"stall":       func(c *Config) { c.WriteStall = -1 },
		"packet":      func(c *Config) { c.MaxPacket = maxRemaining + 1 },
		"login":       func(c *Config) { c.MaxPacketBeforeLogin = c.MaxPacket + 1 },
		"filters":     func(c *Config) { c.MaxFilters = 0 },
		"receive":     func(c *Config) { c.ReceiveMaximum = 0 },
		"keep alive":  func(c *Config) { c.MaxKeepAlive = 1500 * time.Millisecond },
		"expiry":      func(c *Config) { c.MaxExpiry = math.MaxUint32 * time.Second },
		"reference":   func(c *Config) { c.ServerReference = "\xff" },
		"origin":      func(c *Config) { c.Origins = []string{"[a"} },
	} {
		c := Default()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := newServer(c, keeper{}, newDouble().Attach); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}
