package wire

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/hwangso/hwangso/store"
)

// A chat between two paho clients over every transport, at every QoS.
func TestPaho(t *testing.T) {
	w := newRealWorld(t)
	for over := overTCP; over <= overWS; over++ {
		t.Run(over.String(), func(t *testing.T) {
			bob := w.phone(over, "bob", "phone-"+over.String(), false)
			w.subscribe(bob, "user/+/text")
			alice := w.phone(over, "alice", "laptop-"+over.String(), true)
			for qos := range byte(3) {
				want := fmt.Sprintf("hi %d over %s", qos, over)
				r, err := alice.Publish(t.Context(), &paho.Publish{Topic: "user/bob/text", QoS: qos, Payload: []byte(want)})
				if err != nil || r.ReasonCode != 0 {
					t.Fatalf("QoS %d: %+v, %v", qos, r, err)
				}
				if qos == 1 && r.Properties.User.Get("seq") == "" {
					t.Errorf("QoS %d: no sequence in %+v", qos, r.Properties)
				}
				if m := w.next(bob); string(m.Payload) != want || m.Topic != "user/alice/text" || m.QoS != 1 {
					t.Fatalf("QoS %d: got %s", qos, m)
				}
			}
			r, err := alice.Publish(t.Context(), &paho.Publish{Topic: "user/nobody/text", QoS: 1, Payload: []byte("x")})
			if r == nil || r.ReasonCode < 0x80 || r.Properties.ReasonString == "" {
				t.Errorf("refused publish: %+v, %v", r, err)
			}
		})
	}
}

// A message that is larger than any buffer arrives whole over every transport.
func TestLargeMessages(t *testing.T) {
	w := newRealWorld(t)
	for over := overTCP; over <= overWS; over++ {
		bob := w.phone(over, "bob", "phone-"+over.String(), false)
		w.subscribe(bob, "user/+/text")
		alice := w.phone(over, "alice", "laptop-"+over.String(), true)
		for _, size := range []int{1, 100, 16<<10 - 20, 16 << 10, 40_000, 64 << 10} {
			body := strings.Repeat("x", size)
			if _, err := alice.Publish(t.Context(), &paho.Publish{Topic: "user/bob/text", QoS: 1, Payload: []byte(body)}); err != nil {
				t.Fatalf("%d bytes over %s: %v", size, over, err)
			}
			if m := w.next(bob); string(m.Payload) != body {
				t.Fatalf("%d bytes over %s: got %d", size, over, len(m.Payload))
			}
		}
	}
}

// 2,000 publishes without waiting: every one is acknowledged, in order, once.
func TestPipelining(t *testing.T) {
	w := newRealWorld(t)
	for qos, want := range map[byte]byte{1: 0x40, 2: 0x50} {
		nc := w.dial(overTCP)
		say(t, nc, `10 [ {MQTT} 04 c2 003c {dev} {alice} {pw-alice} ]`)
		readConnack(t, nc)
		const n = 2000
		go func() {
			var b []byte
			for i := 1; i <= n; i++ {
				b = append(b, mustBytes(t, fmt.Sprintf(`%02x [ {user/bob/text} %04x "m%d" ]`, 0x30|qos<<1, i, i))...)
			}
			nc.Write(b)
		}()
		for i := 1; i <= n; i++ {
			expect(t, nc, []byte{want, 2, byte(i >> 8), byte(i)}, "acknowledgement "+fmt.Sprint(i))
		}
		nc.Close()
	}
	var seqs int
	for after := store.Seq(0); ; {
		log, err := w.st.Find(store.PairKey(w.users["alice"].ID, w.users["bob"].ID))
		if err != nil {
			t.Fatal(err)
		}
		page, err := w.st.Read(store.Query{Log: log.ID, After: after, Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		seqs += len(page.Records)
		if after = page.Next; after >= page.Head {
			break
		}
	}
	if seqs != 4000 {
		t.Errorf("%d records", seqs)
	}
}

// An alias outlives the right to use it: the next publish through it is refused.
func TestAliasAfterLosingMembership(t *testing.T) {
	w := newRealWorld(t)
	nc := w.dial(overTCP)
	say(t, nc, `10 [ {MQTT} 05 c2 003c [ 17 00 ] {dev} {bob} {pw-bob} ]`)
	readConnack(t, nc)
	say(t, nc, `32 [ {room/lobby/text} 0001 [ 23 0002 ] "in" ] 32 [ {} 0002 [ 23 0002 ] "still in" ]`)
	expect(t, nc, []byte{0x40, 2, 0, 1, 0x40, 2, 0, 2}, "PUBACKs")
	bob := w.users["bob"].ID
	_, err := w.st.Append(store.Draft{Log: w.lobby.ID, Sender: w.users["alice"].ID, Kind: store.KindSystem, Change: store.Change{Kind: store.ChangeRemove, Account: bob}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	say(t, nc, `32 [ {} 0003 [ 23 0002 ] "out" ] 32 [ {user/alice/text} 0004 [ 23 0002 ] "hi" ] 32 [ {} 0005 [ 23 0002 ] "hi again" ]`)
	expect(t, nc, []byte{0x40, 3, 0, 3, 0x87, 0x40, 2, 0, 4, 0x40, 2, 0, 5}, "PUBACKs")
}

// The same client identifier of two users names two devices.
func TestForeignClientID(t *testing.T) {
	w := newRealWorld(t)
	a := w.phone(overTCP, "alice", "phone", false)
	w.subscribe(a, "user/+/text")
	b := w.phone(overTCP, "bob", "phone", false)
	if b.ack.SessionPresent {
		t.Error("bob got alice's session")
	}
	if _, err := b.Publish(t.Context(), &paho.Publish{Topic: "user/alice/text", QoS: 1, Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if m := w.next(a); string(m.Payload) != "x" {
		t.Errorf("alice got %s", m)
	}
	select {
	case d := <-a.gone:
		t.Errorf("alice was disconnected: %+v", d)
	default:
	}
}

// Eight connections of one device at a time, 25 times: one is left, and it works.
func TestTakeoverRaces(t *testing.T) {
	w := newRealWorld(t)
	for round := range 25 {
		conns := make([]net.Conn, 8)
		for i := range conns {
			conns[i] = w.dial(overTCP)
		}
		var alive sync.WaitGroup
		var in atomic.Int32
		left := make(chan net.Conn, len(conns))
		for _, nc := range conns {
			alive.Go(func() {
				say(t, nc, `10 [ {MQTT} 05 c0 003c [ 11 00000e10 ] {phone} {alice} {pw-alice} ]`)
				readConnack(t, nc)
				in.Add(1)
				head := make([]byte, 3)
				n, err := io.ReadFull(nc, head)
				switch {
				case n == 3 && head[0] == 0xe0 && head[2] == reasonTakenOver:
					nc.Close()
				case n == 0 && err != nil && isTimeout(err):
					left <- nc
				default:
					t.Errorf("round %d: % x, %v", round, head[:n], err)
				}
			})
		}
		// The one that is left is known when the seven others have gone; then its read is cut short.
		go func() {
			for in.Load() < 8 || w.srv.connections() > 1 {
				time.Sleep(time.Millisecond)
			}
			for _, nc := range conns {
				nc.SetReadDeadline(past)
			}
		}()
		alive.Wait()
		close(left)
		if len(left) != 1 {
			t.Fatalf("round %d: %d connections are left", round, len(left))
		}
		nc := <-left
		nc.SetReadDeadline(time.Now().Add(time.Minute))
		ping(t, nc)
		for _, nc := range conns {
			nc.Close()
		}
		w.srv.waitEmpty()
	}
}

func (s *Server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// waitEmpty waits until the last connection has ended.
func (s *Server) waitEmpty() {
	for s.connections() != 0 {
		time.Sleep(time.Millisecond)
	}
}

// The mosquitto programs chat in every version of the protocol, also while the reader is away.
func TestMosquitto(t *testing.T) {
	for _, p := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed")
		}
	}
	w := newRealWorld(t)
	host, port, _ := net.SplitHostPort(w.tcp)
	run := func(name string, args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, name, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
		return string(out), err
	}
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		bob := []string{"-V", version, "-u", "bob", "-P", "pw-bob", "-i", "term-" + version, "-q", "1", "-c", "-t", "user/+/line", "-t", "room/+/line"}
		if version == "mqttv5" {
			bob = append(bob, "-x", "3600")
		}
		if out, err := run("mosquitto_sub", append(bob, "-E")...); err != nil {
			t.Fatalf("%s: subscribe: %v %s", version, err, out)
		}
		var want string
		for _, qos := range []string{"0", "1", "2"} {
			for topic, line := range map[string]string{"user/bob/text": "alice: hi " + qos, "room/lobby/text": "alice: hi " + qos} {
				if out, err := run("mosquitto_pub", "-V", version, "-u", "alice", "-P", "pw-alice", "-i", "pub", "-q", qos, "-t", topic, "-m", "hi "+qos); err != nil || out != "" {
					t.Fatalf("%s: publish: %v %s", version, err, out)
				}
				want += line + "\n"
			}
		}
		out, err := run("mosquitto_sub", append(bob, "-C", "6", "-W", "25")...)
		if err != nil {
			t.Fatalf("%s: receive: %v %s", version, err, out)
		}
		for line := range strings.Lines(want) {
			if !strings.Contains(out, line) {
				t.Errorf("%s: %q is missing in\n%s", version, line, out)
			}
		}
		if n := strings.Count(out, "\n"); n != 6 {
			t.Errorf("%s: %d lines:\n%s", version, n, out)
		}
	}
	// A refusal is seen in MQTT 5.
	out, _ := run("mosquitto_pub", "-V", "5", "-u", "alice", "-P", "pw-alice", "-i", "pub", "-q", "1", "-t", "user/nobody/text", "-m", "x")
	if !strings.Contains(out, "failed") && !strings.Contains(out, "Warning") {
		t.Errorf("refused publish printed %q", out)
	}
}
