package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks/limit"
)

// movedLimiter is one whose clock is moved by hand.
func movedLimiter(t testing.TB, rates map[limit.Rule]limit.Rate) (l *limit.Limiter, move func(time.Duration)) {
	t.Helper()
	var at atomic.Int64
	at.Store(time.Now().UnixNano())
	l, err := limit.New(limit.Config{Rates: rates, Now: func() time.Time { return time.Unix(0, at.Load()) }})
	if err != nil {
		t.Fatal(err)
	}
	return l, func(d time.Duration) { at.Add(int64(d)) }
}

// packet reads one packet.
func packet(t testing.TB, r io.Reader) (first byte, body []byte) {
	t.Helper()
	first, body, err := readPacket(r)
	if err != nil {
		t.Fatal(err)
	}
	return first, body
}

func readPacket(r io.Reader) (first byte, body []byte, err error) {
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, nil, err
	}
	first = b[0]
	n, shift := 0, 0
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, nil, err
		}
		n |= int(b[0]&0x7f) << shift
		if shift += 7; b[0] < 0x80 {
			break
		}
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return first, body, err
}

var dialects = []struct {
	name, connect string
	v5            bool
}{
	{"3.1", `10 [ {MQIsdp} 03 c2 003c {dev} {alice} {pw-alice} ]`, false},
	{"3.1.1", connectV311, false},
	{"5", connectV5, true},
}

// loginAny connects in whatever version and skips what the CONNACK says.
func loginAny(t testing.TB, addr, connect string) net.Conn {
	t.Helper()
	nc := dial(t, addr)
	say(t, nc, connect)
	if first, body := packet(t, nc); first != 0x20 || body[1] != 0 {
		t.Fatalf("CONNACK % x % x", first, body)
	}
	return nc
}

// send publishes at QoS 1 (0 with id 0).
func send(t testing.TB, nc net.Conn, v5 bool, topic string, id uint16) {
	t.Helper()
	props, qos, number := "", "30", ""
	if v5 {
		props = "00"
	}
	if id > 0 {
		qos, number = "32", fmt.Sprintf("%04x", id)
	}
	if _, err := nc.Write(mustBytes(t, fmt.Sprintf(`%s [ {%s} %s %s "hi" ]`, qos, topic, number, props))); err != nil {
		t.Fatal(err)
	}
}

// acknowledged wants a PUBACK of success.
func acknowledged(t testing.TB, nc net.Conn, id uint16) {
	t.Helper()
	first, body := packet(t, nc)
	if first != 0x40 || binary.BigEndian.Uint16(body) != id || len(body) > 2 && body[2] != 0 {
		t.Fatalf("want PUBACK %d, got % x %q", id, first, body)
	}
}

// refusedRate wants what a publish over a rate is answered with: on 5 PUBACK 0x97, on 3.x reply/ and then PUBACK.
func refusedRate(t testing.TB, nc net.Conn, v5 bool, id uint16, word string) {
	t.Helper()
	first, body := packet(t, nc)
	if v5 {
		if first != 0x40 || binary.BigEndian.Uint16(body) != id || body[2] != 0x97 || !bytes.Contains(body, []byte(word)) || word == "rate" && !bytes.Contains(body, []byte("retry_ms")) {
			t.Fatalf("want PUBACK 0x97, got % x %q", first, body)
		}
		return
	}
	if first != 0x30 || !strings.Contains(string(body), fmt.Sprintf("reply/-%d", id)) || !strings.Contains(string(body), `"code":429,"error":"`+word+`"`) {
		t.Fatalf("want a refusal on reply/, got % x %q", first, body)
	}
	if word == "rate" && strings.Contains(string(body), `"retry_ms":0`) {
		t.Fatalf("no retry_ms in %q", body)
	}
	acknowledged(t, nc, id)
}

// A publish over the rate is refused, the connection goes on, and what comes when it was told to is taken.
func TestRateOutcomes(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			l, move := movedLimiter(t, map[limit.Rule]limit.Rate{limit.Publish: {Count: 1, Per: time.Second, Burst: 3}})
			w := newRealWorld(t, l)
			nc := loginAny(t, w.tcp, d.connect)
			for id := uint16(1); id <= 3; id++ {
				send(t, nc, d.v5, "room/lobby/text", id)
				acknowledged(t, nc, id)
			}
			for id := uint16(4); id <= 6; id++ {
				send(t, nc, d.v5, "room/lobby/text", id)
				refusedRate(t, nc, d.v5, id, "rate")
			}
			send(t, nc, d.v5, "room/lobby/text", 0) // QoS 0
			if first, body := packet(t, nc); first != 0x30 || !strings.Contains(string(body), "reply/-0") || !strings.Contains(string(body), `"error":"rate"`) {
				t.Fatalf("QoS 0: % x %q", first, body)
			}
			if info, err := w.st.Info(w.lobby.ID); err != nil || info.Head != 3 {
				t.Fatalf("head %d, %v", info.Head, err)
			}
			move(time.Second)
			send(t, nc, d.v5, "room/lobby/text", 7)
			acknowledged(t, nc, 7)

			// A change counts from the next packet on, in both directions.
			if err := l.Set(limit.Settings{Rates: map[limit.Rule]limit.Rate{limit.Publish: {}}}); err != nil {
				t.Fatal(err)
			}
			for id := uint16(8); id < 30; id++ {
				send(t, nc, d.v5, "room/lobby/text", id)
				acknowledged(t, nc, id)
			}
			if err := l.Set(limit.Settings{}); err != nil {
				t.Fatal(err)
			}
			send(t, nc, d.v5, "room/lobby/text", 30)
			refusedRate(t, nc, d.v5, 30, "rate")
			// Typing is never told; on 5 the acknowledgement knows.
			if err := l.Set(limit.Settings{Rates: map[limit.Rule]limit.Rate{limit.Typing: {Count: 1, Per: time.Hour, Burst: 1}}}); err != nil {
				t.Fatal(err)
			}
			send(t, nc, d.v5, "room/lobby/typing", 31)
			acknowledged(t, nc, 31)
			send(t, nc, d.v5, "room/lobby/typing", 32)
			first, body := packet(t, nc)
			if !d.v5 && (first != 0x40 || len(body) != 2) || d.v5 && body[2] != 0x97 {
				t.Fatalf("typing over the rate: % x %q", first, body)
			}
		})
	}
}

// Who goes on in spite of refusals is told why, and disconnected; memory stays bounded meanwhile.
func TestFlood(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			l, move := movedLimiter(t, map[limit.Rule]limit.Rate{
				limit.Publish: {Count: 1, Per: time.Hour, Burst: 1}, limit.Flood: {Count: 1, Per: time.Hour, Burst: 3000},
			})
			w := newRealWorld(t, l)
			nc := loginAny(t, w.tcp, d.connect)
			frame := mustBytes(t, map[bool]string{false: `32 [ {room/lobby/text} 0001 "hi" ]`, true: `30 [ {room/lobby/text} 00 "hi" ]`}[d.v5])
			var flood sync.WaitGroup
			flood.Go(func() { // a client that does not heed anything
				for {
					if _, err := nc.Write(frame); err != nil {
						return
					}
				}
			})
			told, last, refused := false, []byte(nil), 0
			for {
				first, body, err := readPacket(nc)
				if err != nil {
					break
				}
				switch {
				case first == 0xe0:
					last = body
				case bytes.Contains(body, []byte("flood")):
					told = true
				case bytes.Contains(body, []byte("rate")):
					refused++
				}
			}
			if !told || refused < 1000 || refused > 3000 {
				t.Errorf("told %v after %d refusals", told, refused)
			}
			if d.v5 && (len(last) == 0 || last[0] != 0x96) {
				t.Errorf("DISCONNECT %q", last)
			}
			nc.Close()
			flood.Wait()
			// It may come back, and behave.
			move(24 * time.Hour)
			nc = loginAny(t, w.tcp, d.connect)
			send(t, nc, d.v5, "room/lobby/text", 1)
			acknowledged(t, nc, 1)
		})
	}
}

// A client that reads slowly reads why its flood was ended, however much it has sent that nobody will read, and takes the
// time it needs.
func TestFloodIsToldSlowly(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel() // what takes time is reading slowly
			frame := mustBytes(t, map[bool]string{false: `32 [ {room/lobby/text} 0001 "hi" ]`, true: `30 [ {room/lobby/text} 00 "hi" ]`}[d.v5])
			for range 5 {
				l, _ := movedLimiter(t, map[limit.Rule]limit.Rate{
					limit.Publish: {Count: 1, Per: time.Hour, Burst: 1}, limit.Flood: {Count: 1, Per: time.Hour, Burst: 300},
				})
				w := newRealWorld(t, l)
				got, longest := floodSlowly(t, loginAny(t, w.tcp, d.connect), bytes.Repeat(frame, 3<<20/len(frame)))
				if longest > lastWord/2 {
					t.Logf("the machine stood still for %v", longest)
					continue
				}
				if !bytes.Contains(got, []byte(`"error":"flood"`)) {
					t.Errorf("%d bytes came, and do not tell of the flood: %q", len(got), got[max(0, len(got)-200):])
				}
				if d.v5 && !bytes.Contains(got[max(0, len(got)-200):], []byte{0xe0}) {
					t.Errorf("no DISCONNECT: %q", got[max(0, len(got)-200):])
				}
				return
			}
			t.Error("the machine never lets a client read every half second")
		})
	}
}

// floodSlowly writes all of it and reads what the server says to it, a kilobyte ten times a second for longer than lastWord,
// until the connection ends. It returns the longest time in which it did not come to read, too.
func floodSlowly(t *testing.T, nc net.Conn, all []byte) (got []byte, longest time.Duration) {
	t.Helper()
	defer nc.Close()
	if err := nc.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil { // or all of it would have arrived long ago
		t.Fatal(err)
	}
	var flood sync.WaitGroup
	defer flood.Wait()
	flood.Go(func() { nc.Write(all) })
	for began := time.Now(); ; {
		some := make([]byte, 1<<10)
		n, err := nc.Read(some)
		read := time.Now()
		if got = append(got, some[:n]...); err != nil {
			return got, longest
		}
		if time.Since(began) < 3*lastWord {
			time.Sleep(100 * time.Millisecond)
		}
		longest = max(longest, time.Since(read))
	}
}

// A SUBSCRIBE over the rate is refused entry by entry; on 3.1, which has no failure, it is told on reply/.
func TestSubscribeRate(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			l, _ := movedLimiter(t, map[limit.Rule]limit.Rate{limit.Subscribe: {Count: 1, Per: time.Hour, Burst: 1}, limit.Flood: {Count: 1, Per: time.Hour, Burst: 2}})
			w := newRealWorld(t, l)
			nc := loginAny(t, w.tcp, d.connect)
			props := ""
			if d.v5 {
				props = "00"
			}
			ask := func() { say(t, nc, `82 [ 0003 `+props+` {room/+/text} 01 ]`) }
			ask()
			if first, body := packet(t, nc); first != 0x90 || body[len(body)-1] != 1 {
				t.Fatalf("SUBACK % x %q", first, body)
			}
			for range 2 {
				ask()
				if !d.v5 {
					if first, body := packet(t, nc); first != 0x30 || !strings.Contains(string(body), `"error":"rate"`) {
						t.Fatalf("% x %q", first, body)
					}
				}
				want := map[string]byte{"3.1": 0, "3.1.1": 0x80, "5": 0x97}[d.name]
				if first, body := packet(t, nc); first != 0x90 || body[len(body)-1] != want {
					t.Fatalf("SUBACK % x %q", first, body)
				}
			}
			ask()
			first, body := packet(t, nc)
			if d.v5 && (first != 0xe0 || body[0] != 0x96) || !d.v5 && !strings.Contains(string(body), `"error":"flood"`) {
				t.Fatalf("flood: % x %q", first, body)
			}
			expectClosed(t, nc)
		})
	}
}

// Connections of an address are counted, failed logins pause, and whoever does not heed it is not heard any more.
func TestConnectRates(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			l, move := movedLimiter(t, map[limit.Rule]limit.Rate{
				limit.Connect: {Count: 1, Per: time.Second, Burst: 8}, limit.LoginAccount: {Count: 1, Per: time.Hour, Burst: 2},
				limit.FloodAddress: {Count: 1, Per: time.Minute, Burst: 4},
			})
			w := newRealWorld(t, l)
			try := func(secret string) byte {
				t.Helper()
				nc := dial(t, w.tcp)
				defer nc.Close()
				say(t, nc, strings.Replace(d.connect, "pw-alice", secret, 1))
				first, body := packet(t, nc)
				if first != 0x20 {
					t.Fatalf("% x %q", first, body)
				}
				return body[1]
			}
			wrong, paused := byte(4), byte(3)
			if d.v5 {
				wrong, paused = 0x86, 0x9f
			}
			for i := range 3 {
				if got := try("pw-wrong"); got != wrong {
					t.Fatalf("failure %d: %#x", i, got)
				}
			}
			if got := try("pw-alice"); got != paused { // the right one is not looked at
				t.Fatalf("in the pause: %#x", got)
			}
			move(time.Second)
			if got := try("pw-alice"); got != 0 {
				t.Fatalf("after the pause: %#x", got)
			}
			for i := range 4 {
				if got := try("pw-alice"); got != 0 {
					t.Fatalf("connection %d: %#x", i, got)
				}
			}
			for range 3 {
				if got := try("pw-alice"); got != paused {
					t.Fatalf("over the rate: %#x", got)
				}
			}
			expectClosed(t, dial(t, w.tcp)) // unheard
			move(time.Minute)
			if got := try("pw-alice"); got != 0 {
				t.Fatalf("later: %#x", got)
			}
		})
	}
}
