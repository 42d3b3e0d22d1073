package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asProgram in the environment makes this test binary the program itself, so that tests can run it as a process of its
// own and kill it.
const asProgram = "RUN_AS_HWANGSO"

// ourVariables are the variables of the environment that tests read.
var ourVariables = []string{"HWANGSO_CRASH_ROUNDS", "HWANGSO_PLAYS", "HWANGSO_TEST_FOLLOWERS"}

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Setenv(asProgram, "1") // for the children, also those that the demo starts
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "HWANGSO_") && !slices.Contains(ourVariables, name) {
			os.Unsetenv(name)
		}
	}
	os.Setenv("HWANGSO_MIN_FREE", "0") // or a disk that is nearly full is what they find
	// The race detector has a process sleep for a second before it ends; the children need not.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	os.Exit(m.Run())
}

// patience is how long a test waits for what must come. It is no measurement: a test that waits so long has failed.
const patience = time.Minute

// process is a running `hwangso`.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	out   *screen
	addrs map[string]string // "mqtt" → address
	done  chan struct{}
	err   error
}

var listening = regexp.MustCompile(`(?m)^  (mqtts?|https?|admin) +(\S+)$`)

// startServer runs `hwangso serve` on free ports of the loopback and waits until it serves.
func startServer(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, out: newScreen(), addrs: make(map[string]string), done: make(chan struct{})}
	args = append([]string{"serve", "-data", dir, "-mqtt", "127.0.0.1:0", "-http", "127.0.0.1:0", "-log-level", "warn"}, args...)
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
		p.out.Close()
	}()
	t.Cleanup(p.kill)
	p.out.wait(t, `(?m)^ready$`)
	for _, m := range listening.FindAllStringSubmatch(p.out.String(), -1) {
		p.addrs[m[1]] = m[2]
	}
	return p
}

// kill kills the process with SIGKILL and waits until it is gone.
func (p *process) kill() {
	p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop ends the process with SIGTERM; it must end with 0.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("the server does not stop:\n%s", p.out)
	}
	if p.err != nil {
		p.t.Fatalf("the server ended with %v:\n%s", p.err, p.out)
	}
}

// hwangso runs a command of the program to its end, in this process, and returns what it printed.
func hwangso(t testing.TB, args ...string) string {
	t.Helper()
	out, errs, err := try(t, args...)
	if err != nil {
		t.Fatalf("hwangso %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

func try(t testing.TB, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	err = run(ctx, args, strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), err
}

var tokenPattern = regexp.MustCompile(`hwt_[A-Za-z0-9_-]+`)

// addUser adds a user with friends and returns the token.
func addUser(t testing.TB, dir, name string, friends ...string) string {
	t.Helper()
	args := []string{"user", "add", name, "-data", dir}
	if len(friends) > 0 {
		args = append(args, "-friend", strings.Join(friends, ","))
	}
	token := tokenPattern.FindString(hwangso(t, args...))
	if token == "" {
		t.Fatalf("user add %s prints no token", name)
	}
	return token
}

// session is a command that goes on, in this process: a chat, a demo.
type session struct {
	t    testing.TB
	in   *io.PipeWriter
	out  *screen
	done chan error
}

func startSession(t testing.TB, args ...string) *session {
	t.Helper()
	r, w := io.Pipe()
	s := &session{t: t, in: w, out: newScreen(), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		err := run(ctx, args, r, s.out, s.out)
		s.out.Close()
		r.CloseWithError(io.ErrClosedPipe)
		s.done <- err
	}()
	t.Cleanup(func() {
		cancel()
		w.Close()
		select {
		case <-s.done:
		case <-time.After(patience):
			t.Errorf("%s does not end", args[0])
		}
	})
	return s
}

func (s *session) line(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, text+"\n"); err != nil {
		s.t.Fatalf("%q is not read: %v\n%s", text, err, s.out)
	}
}

// end waits for the end, which must be without error.
func (s *session) end() {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			s.t.Fatalf("ended with %v\n%s", err, s.out)
		}
	case <-time.After(patience):
		s.t.Fatalf("does not end:\n%s", s.out)
	}
}

// screen collects output and lets tests wait for it.
type screen struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	grown  chan struct{} // closed and replaced when something was written
	closed bool
}

func newScreen() *screen { return &screen{grown: make(chan struct{})} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.grown)
	s.grown = make(chan struct{})
	return s.buf.Write(p)
}

func (s *screen) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.grown)
		s.grown = make(chan struct{})
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// wait waits until the pattern has been written, and returns the match and its groups.
func (s *screen) wait(t testing.TB, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		m := re.FindStringSubmatch(s.buf.String())
		grown, closed := s.grown, s.closed
		s.mu.Unlock()
		if m != nil {
			return m
		}
		if closed {
			t.Fatalf("ended without %q:\n%s", pattern, s)
		}
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("no %q in:\n%s", pattern, s)
		}
	}
}

// shell runs a command line as people paste it, and returns what it printed.
func shell(t testing.TB, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", line).CombinedOutput()
	return string(out), err
}

// background runs a command until the end of the test, and collects what it prints.
func background(t testing.TB, line string) *screen {
	t.Helper()
	s := newScreen()
	cmd := exec.Command("sh", "-c", "exec "+line)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = s
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := bufio.NewReader(out); ; {
			line, err := b.ReadString('\n')
			io.WriteString(s, line)
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		cmd.Process.Kill()
		wg.Wait()
		cmd.Wait()
	})
	return s
}

// needs skips a test where a tool is missing.
func needs(t testing.TB, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not installed", tool)
	}
}

// dataDir is a data directory whose path is short enough for a socket.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "data")
}

func port(t testing.TB, addr string) string {
	t.Helper()
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		t.Fatalf("%q is no address", addr)
	}
	return addr[i+1:]
}

// freePort is an address that is free now, for a server that comes back to it. Its port is below those that systems give
// out by themselves (from 32768 on Linux if it is not set up otherwise, and 49152 elsewhere), or some connection would have
// it while the server is away.
func freePort(t testing.TB) string {
	t.Helper()
	least, below := 10_000, 32_768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		var from int
		if _, err := fmt.Sscan(string(text), &from); err == nil && from < below {
			least, below = 2_000, max(from, 3_000)
		}
	}
	for range 1000 {
		addr := fmt.Sprint("127.0.0.1:", least+rand.N(below-least))
		if _, given := portsGiven.LoadOrStore(addr, true); given {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue // somebody else's
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

var portsGiven sync.Map // addresses that freePort has returned

// mosquitto is the beginning of a mosquitto command line for a user.
func mosquitto(t testing.TB, what string, p *process, user, token string) string {
	return fmt.Sprintf("mosquitto_%s -h 127.0.0.1 -p %s -u %s -P %s", what, port(t, p.addrs["mqtt"]), user, token)
}
