//go:build unix

package wire

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const descriptorChild = "HWANGSO_TEST_DESCRIPTORS"

// A server that runs out of descriptors goes on: who does not fit is closed at once, and when others have left there is
// room again. The server runs in a child process with few descriptors, nearly all of which it uses up itself.
func TestDescriptorExhaustion(t *testing.T) {
	if os.Getenv(descriptorChild) != "" {
		descriptorServer(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDescriptorExhaustion$", "-test.v")
	cmd.Env = append(os.Environ(), descriptorChild+"=1")
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
	lines := bufio.NewScanner(stdout)
	line := func(prefix string) string {
		t.Helper()
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return rest
			}
		}
		t.Fatalf("the server did not print %s", prefix)
		return ""
	}
	addr := line("addr ")

	try := func() (nc net.Conn, served bool) {
		nc = dial(t, addr)
		say(t, nc, connectV311)
		n, err := io.ReadFull(nc, make([]byte, 4))
		if err != nil && n > 0 {
			t.Fatal(err)
		}
		return nc, err == nil
	}
	var conns []net.Conn
	refused := 0
	for range 40 {
		nc, served := try()
		if conns = append(conns, nc); !served {
			refused++
		}
	}
	if refused == 0 || refused == len(conns) {
		t.Errorf("%d of %d were refused", refused, len(conns))
	}
	for _, nc := range conns {
		nc.Close()
	}
	for deadline := time.Now().Add(time.Minute); ; {
		nc, served := try()
		if served {
			ping(t, nc)
			break
		}
		if nc.Close(); time.Now().After(deadline) {
			t.Fatal("nobody is served any more")
		}
	}
	stdin.Close()
	if errors := line("accept errors "); errors == "0" {
		t.Error("no accept failed, so this proves nothing")
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func descriptorServer(t *testing.T) {
	few := syscall.Rlimit{Cur: 96, Max: 96}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	if n := connectionLimit(1000); n != 48 {
		t.Errorf("%d connections of 96 descriptors", n)
	}
	r := newRig(t, nil)
	ping(t, login(t, r.addr, connectV311)) // everything that opens files on first use has done so
	var hogs []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		hogs = append(hogs, f)
	}
	for range 10 {
		hogs[0].Close()
		hogs = hogs[1:]
	}
	fmt.Printf("addr %s\n", r.addr)
	io.Copy(io.Discard, os.Stdin)
	fmt.Printf("accept errors %d\n", count(r.metrics.acceptErrors))
	for _, f := range hogs {
		f.Close()
	}
	if err := r.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
