//go:build linux

package load

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// allow lets everybody do everything.
type allow struct{ mqtt.HookBase }

func (*allow) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}
func (*allow) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (*allow) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// mochi starts an independent broker in this process.
func mochi(t *testing.T, ls ...listeners.Listener) *mqtt.Server {
	t.Helper()
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := s.AddHook(new(allow), nil); err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		if err := s.AddListener(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestAgainstMochi(t *testing.T) {
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	mochi(t, l)
	for _, version := range []string{"3.1", "3.1.1", "5"} {
		for _, args := range [][]string{
			{"pairs", "-n", "5", "-count", "50"},
			{"groups", "-rooms", "2", "-members", "4", "-count", "20", "-rate", "400"},
			{"fanout", "-n", "10", "-count", "20"},
			{"broadcast", "-n", "5", "-rate", "200", "-followers", "50", "-posts", "4", "-time", "200ms", "-warmup", "50ms"},
			{"idle", "-n", "20", "-time", "50ms"},
		} {
			r := swarm(t, append([]string{args[0], "-addr", l.Address(), "-mqtt", version, "-strict", "-time", "10s"}, args[1:]...)...)
			if args[0] != "idle" && r.Delivered == 0 {
				t.Errorf("%v: nothing delivered", args)
			}
		}
	}
}

// TestIdleOverTLSAndWebSocket holds connections that ping, over all the
// transports of another implementation.
func TestIdleOverTLSAndWebSocket(t *testing.T) {
	cert, pool := selfSigned(t)
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	secure := listeners.NewTCP(listeners.Config{ID: "tls", Address: "127.0.0.1:0", TLSConfig: conf})
	free := func() string { return fmt.Sprint("127.0.0.1:", freePort(t)) } // mochi's WebSocket listener does not tell its port
	plain, both := free(), free()
	s := mochi(t, secure,
		listeners.NewWebsocket(listeners.Config{ID: "ws", Address: plain}),
		listeners.NewWebsocket(listeners.Config{ID: "wss", Address: both, TLSConfig: conf.Clone()})) // it adds to it when it starts
	for _, args := range [][]string{
		{"-tls", "-addr", secure.Address(), "-ca", pool},
		{"-ws", "-addr", plain},
		{"-ws", "-tls", "-addr", both, "-insecure"},
	} {
		before := atomic.LoadInt64(&s.Info.PacketsReceived)
		r := swarm(t, append([]string{"idle", "-n", "10", "-time", "2s", "-keepalive", "1s", "-ws-path", "/", "-strict"}, args...)...)
		if r.Phases[1].Count != 10 || r.ClosedByPeer != 0 {
			t.Errorf("%v: %+v", args, r.Phases)
		}
		// CONNECT, SUBSCRIBE and at least one PINGREQ of each.
		if got := atomic.LoadInt64(&s.Info.PacketsReceived) - before; got < 30 {
			t.Errorf("%v: the server got %d packets", args, got)
		}
	}
	if _, err := trySwarm(t, t.Context(), "idle", "-tls", "-addr", secure.Address(), "-n", "1", "-time", "1s"); err == nil {
		t.Error("an unknown certificate is trusted")
	}
}

// selfSigned makes a certificate for 127.0.0.1 and a PEM file with it.
func selfSigned(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// mosquitto is Debian's broker as a child process.
type mosquitto struct {
	t    *testing.T
	port int
	conf string
	cmd  *exec.Cmd
}

func startMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("mosquitto is not installed")
		}
	}
	m := &mosquitto{t: t, port: freePort(t), conf: filepath.Join(t.TempDir(), "mosquitto.conf")}
	conf := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nlog_type none\n", m.port)
	if err := os.WriteFile(m.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(bin)
	t.Cleanup(func() { m.kill() })
	return m
}

// freePort is a port for a server of its own that comes back to it. It is below those that Linux gives out by itself,
// or some connection might have it in between.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + mathrand.IntN(22_768)
		if ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func (m *mosquitto) start(bin string) {
	m.t.Helper()
	m.cmd = exec.Command(bin, "-c", m.conf)
	if err := m.cmd.Start(); err != nil {
		m.t.Error(err)
		return
	}
	for { // it has no other way to say that it listens
		c, err := net.Dial("tcp", m.addr())
		if err == nil {
			c.Close()
			return
		}
		if m.t.Context().Err() != nil {
			m.t.Error("mosquitto does not listen")
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// kill ends it with -9, as a crash does, and answers its program.
func (m *mosquitto) kill() string {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	return m.cmd.Path
}

func (m *mosquitto) addr() string { return fmt.Sprintf("127.0.0.1:%d", m.port) }

func TestAgainstMosquitto(t *testing.T) {
	m := startMosquitto(t)
	for _, args := range [][]string{
		{"pairs", "-n", "20", "-count", "200", "-inflight", "2"},
		{"pairs", "-n", "20", "-count", "50", "-rate", "5000", "-mqtt", "5", "-loops", "2"},
		{"pairs", "-n", "5", "-count", "50", "-qos", "0", "-mqtt", "3.1"},
		{"groups", "-rooms", "3", "-members", "10", "-senders", "2", "-count", "20"},
		{"fanout", "-n", "200", "-count", "5"},
		{"idle", "-n", "200", "-time", "50ms"},
		{"offline", "-n", "10", "-messages", "200", "-inflight", "10", "-mqtt", "5", "-window", "20"},
		{"offline", "-n", "10", "-messages", "200", "-inflight", "10", "-via", "rooms"},
		{"storm", "-n", "50", "-messages", "5"},
		{"crash", "-n", "3", "-time", "200ms", "-qos", "2"},
	} {
		r := swarm(t, append([]string{args[0], "-addr", m.addr(), "-server-pid", fmt.Sprint(m.cmd.Process.Pid), "-strict", "-time", "20s"}, args[1:]...)...)
		if r.Server == nil {
			t.Errorf("%v: no figures of the server", args)
		}
	}
}

// hears closes a chan when something is said.
type hears struct {
	what  string
	once  sync.Once
	heard chan struct{}
}

func (h *hears) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(h.what)) {
		h.once.Do(func() { close(h.heard) })
	}
	return len(b), nil
}

// TestMosquittoLosesWhatItQueuesAtKill: it acknowledges what it has in memory
// only, and a crash run has to show that.
func TestMosquittoLosesWhatItQueuesAtKill(t *testing.T) {
	m := startMosquitto(t)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	writing := &hears{what: "crash the server now", heard: make(chan struct{})}
	go func() {
		defer close(done)
		select {
		case <-writing.heard:
		case <-ctx.Done():
			return
		}
		time.Sleep(time.Second) // somewhere in the middle of the run
		m.start(m.kill())
		time.Sleep(300 * time.Millisecond)
		cancel()
	}()
	r, err := heardSwarm(t, ctx, writing, "crash", "-addr", m.addr(), "-n", "5", "-time", forever, "-drain", quiet)
	cancel()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Crash; c.Lost == 0 || c.Lost+c.Found != c.Acknowledged || c.Reconnects == 0 || c.Maybe != 0 || c.SessionsLost != 5 {
		t.Errorf("%+v", c)
	}
}

// TestNothingIsAllocatedPerMessage: the broker is another process, so what this
// one allocates is swarm's.
func TestNothingIsAllocatedPerMessage(t *testing.T) {
	m := startMosquitto(t)
	allocs := func(count string) uint64 {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		r := swarm(t, "pairs", "-addr", m.addr(), "-n", "4", "-inflight", "4", "-count", count, "-time", "20s", "-strict")
		runtime.ReadMemStats(&b)
		// The coordinator looks at the counters every 5 ms, and /proc.
		return b.Mallocs - a.Mallocs - uint64(r.Seconds*1000)
	}
	few, many := allocs("10"), allocs("5010")
	if extra := float64(int64(many-few)) / 20_000; extra > .01 {
		t.Errorf("%d allocations for 40 messages, %d for 20,040: %.3f a message", few, many, extra)
	}
}
