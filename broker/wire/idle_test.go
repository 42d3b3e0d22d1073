package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
)

const (
	idleCount  = "HWANGSO_TEST_IDLE"        // how many connections to measure with
	idleClient = "HWANGSO_TEST_IDLE_CLIENT" // in the child: transport, address, number
)

// TestIdleMemory measures what an idle connection costs this process in anonymous memory, without its session: after a
// garbage collection, the kernel's part not included. The clients live in a child process. It runs only when asked:
//
//	HWANGSO_TEST_IDLE=10000 go test -run TestIdleMemory -v ./broker/wire/
func TestIdleMemory(t *testing.T) {
	if what := os.Getenv(idleClient); what != "" {
		idleClients(t, strings.Fields(what))
		return
	}
	n, _ := strconv.Atoi(os.Getenv(idleCount))
	if n == 0 {
		t.Skip(idleCount + " is not set")
	}
	for over := overTCP; over <= overWS; over++ {
		t.Run(over.String(), func(t *testing.T) { measureIdle(t, over, n) })
	}
}

func measureIdle(t *testing.T, over transport, n int) {
	var secure *tls.Config
	if over == overTLS {
		pair, _ := newCertificate(t, 1)
		secure = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	r := newTLSRig(t, secure, func(c *Config) { c.Logger = nil }, func(s *Server) {
		s.quietAfter = time.Second
		s.attach = func(_ context.Context, _ broker.Connect, l broker.Link) (session, bool, error) {
			return &idleSession{link: l}, false, nil
		}
	})
	addr := r.addr
	if over == overWS {
		h := httptest.NewServer(r.Server)
		t.Cleanup(h.Close)
		addr = h.URL
	}
	debug.FreeOSMemory() // what an earlier measurement left
	debug.FreeOSMemory()
	before := anonymous(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestIdleMemory$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", idleClient, over, addr, n))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	for over <= overTLS && r.renewed.Load() < int64(n) {
		time.Sleep(10 * time.Millisecond)
	}
	for range 5 { // stacks shrink by half at a time
		debug.FreeOSMemory()
	}
	after := anonymous(t)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d idle connections over %s: %d bytes of anonymous memory each (stacks %d, heap %d)",
		n, over, (after-before)*1024/n, int(m.StackInuse)/n, int(m.HeapAlloc)/n)
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	r.waitEmpty()
}

// idleClients connects, says so, and waits for the end of its input.
func idleClients(t *testing.T, what []string) {
	n, _ := strconv.Atoi(what[2])
	conns := make([]net.Conn, n)
	for i := range conns {
		var err error
		switch what[0] {
		case "tls":
			conns[i], err = tls.Dial("tcp", what[1], &tls.Config{InsecureSkipVerify: true}) // a measurement
		case "ws":
			conns[i], err = dialWS(t.Context(), what[1], nil)
		default:
			conns[i], err = net.Dial("tcp", what[1])
		}
		if err != nil {
			t.Fatal(err)
		}
		say(t, conns[i], `10 [ {MQTT} 04 c2 0000 {dev} {alice} {pw-alice} ]`)
		readConnack(t, conns[i])
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
}

// idleSession is a session of the size of nothing.
type idleSession struct {
	sink
	link broker.Link
}

func (*idleSession) Start()           {}
func (*idleSession) Expiry() uint32   { return 0 }
func (*idleSession) ClientID() string { return "dev" }
func (*idleSession) Detach(bool)      {}

// anonymous is the process's anonymous resident memory in KiB.
func anonymous(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb
}
