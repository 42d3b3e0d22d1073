//go:build linux

package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// swarm runs the program and reads its JSON report.
func swarm(tb testing.TB, args ...string) *Report {
	tb.Helper()
	r, err := trySwarm(tb, tb.Context(), args...)
	if err != nil {
		tb.Fatalf("swarm %s: %v", strings.Join(args, " "), err)
	}
	return r
}

func trySwarm(tb testing.TB, ctx context.Context, args ...string) (*Report, error) {
	tb.Helper()
	return heardSwarm(tb, ctx, io.Discard, args...)
}

// heardSwarm is trySwarm that tells also somebody else what the program says while it runs.
func heardSwarm(tb testing.TB, ctx context.Context, said io.Writer, args ...string) (*Report, error) {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "report.json")
	var out, log bytes.Buffer
	err := Main(ctx, append(args, "-json", file), &out, io.MultiWriter(&log, said))
	if err != nil && !errors.Is(err, ErrNotClean) {
		return nil, err
	}
	b, rerr := os.ReadFile(file)
	if rerr != nil {
		tb.Fatal(rerr)
	}
	r := new(Report)
	if rerr := json.Unmarshal(b, r); rerr != nil {
		tb.Fatal(rerr)
	}
	if out.Len() == 0 {
		tb.Error("no table on standard output")
	}
	tb.Logf("%s%s", log.String(), out.String())
	return r, err
}

// TestCleanServer: a server that does it right gets a clean report, over all
// versions, loops and ways of sending.
func TestCleanServer(t *testing.T) {
	for _, version := range []string{"3.1", "3.1.1", "5"} {
		for _, args := range [][]string{
			{"pairs", "-n", "5", "-count", "200", "-inflight", "3"},
			{"pairs", "-n", "5", "-count", "40", "-rate", "2000", "-loops", "2"},
			{"pairs", "-n", "3", "-count", "100", "-qos", "0"},
			{"groups", "-rooms", "3", "-members", "5", "-senders", "2", "-count", "30", "-loops", "2"},
			{"fanout", "-n", "20", "-count", "30", "-inflight", "3", "-loops", "2"},
		} {
			b := newFaulty(t)
			args = append(args, "-addr", b.addr(), "-mqtt", version, "-strict", "-time", "20s")
			r := swarm(t, args...)
			if r.Acked == 0 || r.Delivered == 0 || r.Delivery.Count != r.Delivered || !r.Clean() {
				t.Errorf("%v: acked %d, delivered %d, latencies %d", args, r.Acked, r.Delivered, r.Delivery.Count)
			}
			// What the server has is the other witness.
			if n := b.stored(); n != int(r.Sent) {
				t.Errorf("%v: server stored %d, swarm sent %d", args, n, r.Sent)
			}
		}
	}
}

// quiet is the -drain of runs in which something never comes: so long nothing else may come either, on the busiest machine.
const quiet = "2s"

// TestFaultsAreCounted: a server that loses, doubles and swaps known messages
// gets exactly these counted.
func TestFaultsAreCounted(t *testing.T) {
	b := newFaulty(t)
	held := map[string]entry{}
	var lost, doubled, swapped uint64
	b.keep = func(key string, n int, e entry) []entry {
		switch {
		case n%50 == 7:
			lost++
			return nil
		case n%50 == 13:
			doubled += 2
			return []entry{e, e, e}
		case n%50 == 21:
			held[key] = e
			return nil
		case n%50 == 22:
			swapped++
			return []entry{e, held[key]}
		}
		return []entry{e}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.before = func(n int) {
		if n == 4*400-1 { // the last one: what is lost would be waited for
			cancel()
		}
	}
	r, err := trySwarm(t, ctx, "pairs", "-addr", b.addr(), "-n", "4", "-count", "400", "-drain", quiet, "-time", "1h", "-strict")
	if !errors.Is(err, ErrNotClean) {
		t.Errorf("-strict says %v", err)
	}
	if r.Lost != lost || r.Doubled != doubled || r.OutOfOrder != swapped || lost != 32 {
		t.Errorf("lost %d, doubled %d, out of order %d; want %d %d %d", r.Lost, r.Doubled, r.OutOfOrder, lost, doubled, swapped)
	}
	if r.Strays != 0 || r.Refused != 0 || r.Acked != 1600 {
		t.Errorf("strays %d, refused %d, acked %d", r.Strays, r.Refused, r.Acked)
	}
}

// TestRefusedIsNotLost: a refusal counts as such, by reason code in MQTT 5 and
// by a message on reply/ before.
func TestRefusedIsNotLost(t *testing.T) {
	for _, c := range []struct{ version, target, text string }{
		{"5", "mqtt", "PUBACK 0x87 not authorized"},
		{"3.1.1", "mqtt", "reply 403 not_friend"},
		{"3.1.1", "hwangso", "reply 403 not_friend"},
	} {
		b := newFaulty(t)
		b.chat = c.target == "hwangso"
		b.refuse = func(_ string, n int) byte {
			if n%10 == 3 {
				return 0x87
			}
			return 0
		}
		r := swarm(t, "pairs", "-addr", b.addr(), "-target", c.target, "-mqtt", c.version, "-n", "3", "-count", "100", "-inflight", "4", "-time", "20s")
		if r.Refused != 30 || r.Acked != 270 || r.Lost != 0 || r.Delivered != 270 || r.RefusedCame != 0 || r.Errors[c.text] != 30 {
			t.Errorf("%v: refused %d, acked %d, lost %d, delivered %d, errors %v", c, r.Refused, r.Acked, r.Lost, r.Delivered, r.Errors)
		}
	}
}

// TestUnansweredIsNeitherLostNorAcked: without a PUBACK nothing was promised.
func TestUnansweredIsNeitherLostNorAcked(t *testing.T) {
	b := newFaulty(t)
	b.ignore = func(n int) bool { return n == 5 }
	b.keep = func(_ string, n int, e entry) []entry {
		if n == 5 {
			return nil
		}
		return []entry{e}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.before = func(n int) {
		if n == 19 {
			cancel()
		}
	}
	r, err := trySwarm(t, ctx, "pairs", "-addr", b.addr(), "-n", "1", "-count", "20", "-inflight", "4", "-drain", quiet, "-time", "1h")
	if err != nil {
		t.Fatal(err)
	}
	if r.Unanswered != 1 || r.Lost != 0 || r.Acked != 19 || r.Sent != 20 {
		t.Errorf("unanswered %d, lost %d, acked %d, sent %d", r.Unanswered, r.Lost, r.Acked, r.Sent)
	}
}

// TestNoCoordinatedOmission: while the server stalls, an open loop's schedule
// goes on, and all messages that were due then count as late. A generator that
// waited for the answer would see one late message.
func TestNoCoordinatedOmission(t *testing.T) {
	const stall = 500 * time.Millisecond
	b := newFaulty(t)
	b.before = func(n int) {
		if n == 100 {
			time.Sleep(stall) // the fault itself
		}
	}
	r := swarm(t, "pairs", "-addr", b.addr(), "-n", "2", "-rate", "400", "-count", "200", "-time", "20s", "-inflight", "1")
	// 200 of the 400 messages were due within the stall: half of these waited
	// at least half of it.
	if r.Ack.Count != 400 || r.Ack.Max < float64(stall.Microseconds())*.9 {
		t.Errorf("%d latencies, max %v µs", r.Ack.Count, r.Ack.Max)
	}
	late := float64(stall.Microseconds()) / 2
	if r.Ack.P99 < late || r.Delivery.P99 < late {
		t.Errorf("p99 %v and %v µs hide a stall of %v", r.Ack.P99, r.Delivery.P99, stall)
	}
	if mean := r.Ack.Mean; mean < float64(stall.Microseconds())/8 {
		t.Errorf("mean %v µs hides that half of the messages were due in the stall", mean)
	}
}

// TestUnsentIsReported: what was due and could never be sent is told.
func TestUnsentIsReported(t *testing.T) {
	b := newFaulty(t)
	b.ignore = func(int) bool { return true }
	r := swarm(t, "pairs", "-addr", b.addr(), "-n", "1", "-rate", "1000", "-time", "300ms", "-warmup", "0s", "-inflight", "2", "-drain", "100ms")
	if r.Sent != 2 || r.Unsent != 298 || r.Clean() {
		t.Errorf("sent %d, unsent %d", r.Sent, r.Unsent)
	}
}

func TestOffline(t *testing.T) {
	for _, args := range [][]string{
		{"-mqtt", "5", "-via", "pairs"}, {"-mqtt", "3.1.1", "-via", "rooms", "-members", "4"}, {"-mqtt", "5", "-n", "1", "-window", "10"},
	} {
		b := newFaulty(t)
		args = append([]string{"offline", "-addr", b.addr(), "-n", "6", "-messages", "150", "-inflight", "5", "-strict"}, args...)
		r := swarm(t, args...)
		devices := uint64(6)
		if slices.Contains(args, "-window") {
			devices = 1
		}
		if r.Delivered != devices*150 || len(r.Phases) != 3 {
			t.Errorf("%v: delivered %d, phases %v", args, r.Delivered, r.Phases)
		}
		if left := b.followers(); len(left) > 0 {
			t.Errorf("%v: the sessions of %v are left behind", args, left)
		}
	}
}

func TestOfflineCountsWhatIsMissing(t *testing.T) {
	b := newFaulty(t)
	b.keep = func(_ string, n int, e entry) []entry {
		if n == 10 || n == 11 {
			return nil
		}
		return []entry{e}
	}
	r := swarm(t, "offline", "-addr", b.addr(), "-n", "3", "-messages", "50", "-drain", quiet)
	if r.Lost != 6 || r.Delivered != 144 || r.Clean() {
		t.Errorf("lost %d, delivered %d", r.Lost, r.Delivered)
	}
}

func TestStorm(t *testing.T) {
	b := newFaulty(t)
	r := swarm(t, "storm", "-addr", b.addr(), "-n", "40", "-messages", "5", "-connect-rate", "2000", "-strict", "-loops", "2")
	if r.Delivered != 200 || r.Connect.Count != 40 {
		t.Errorf("delivered %d, connects %v", r.Delivered, r.Connect)
	}
}

func TestSlow(t *testing.T) {
	b := newFaulty(t)
	r := swarm(t, "slow", "-addr", b.addr(), "-n", "4", "-stuck", "6", "-rounds", "2", "-rate", "500", "-time", "200ms", "-warmup", "0s", "-strict")
	if len(r.Runs) != 4 || len(r.Notes) != 2 {
		t.Fatalf("%d runs, notes %v", len(r.Runs), r.Notes)
	}
	if a, b := r.Runs[0].Connections, r.Runs[1].Connections; a != 8 || b != 14 {
		t.Errorf("%d and %d connections", a, b)
	}
}

// TestBroadcast: posts are told apart from chat, and chat by when it was due; a post that somebody does not get is lost.
func TestBroadcast(t *testing.T) {
	args := []string{"broadcast", "-n", "4", "-rate", "200", "-followers", "20", "-posts", "5", "-time", "200ms", "-warmup", "50ms", "-drain", "2s", "-strict"}
	b := newFaulty(t)
	r := swarm(t, append(args, "-addr", b.addr())...)
	c := r.Broadcast
	if c == nil || c.Delivery == nil || c.Delivery.Count != 100 || c.Seconds <= 0 || c.Chat[0] == nil || c.Chat[2] == nil || len(r.Notes) != 0 {
		t.Fatalf("%+v, notes %v", c, r.Notes)
	}
	n := c.Delivery.Count
	for _, l := range c.Chat {
		if l != nil {
			n += l.Count
		}
	}
	if n != r.Delivery.Count {
		t.Errorf("%d deliveries of posts and chat, %d in all", n, r.Delivery.Count)
	}

	b = newFaulty(t)
	b.keep = func(key string, n int, e entry) []entry {
		if strings.HasSuffix(key, "c0") && n == 2 {
			return nil
		}
		return []entry{e}
	}
	r, err := trySwarm(t, t.Context(), append(args, "-addr", b.addr(), "-drain", quiet)...)
	if !errors.Is(err, ErrNotClean) || r.Lost != 20 || len(r.Notes) != 1 {
		t.Errorf("%v: lost %d, notes %v", err, r.Lost, r.Notes)
	}
}

func TestIdle(t *testing.T) {
	b := newFaulty(t)
	r := swarm(t, "idle", "-addr", b.addr(), "-n", "30", "-time", "100ms", "-server-pid", fmt.Sprint(os.Getpid()), "-strict")
	if r.Connections != 30 || r.Server == nil || r.Server.AnonReady == 0 {
		t.Errorf("%d connections, server %+v", r.Connections, r.Server)
	}
}

func TestCompare(t *testing.T) {
	a, b := newFaulty(t), newFaulty(t)
	b.chat = true
	var out, log bytes.Buffer
	err := Main(t.Context(), []string{"compare", "-rounds", "2", "-a", "mqtt@" + a.addr(), "-b", "hwangso@" + b.addr() + ",mqtt=5,password=p",
		"pairs", "-n", "2", "-count", "50"}, &out, &log)
	if err != nil {
		t.Fatal(err)
	}
	if a.handled() != 200 || b.handled() != 200 {
		t.Errorf("a got %d, b %d messages, want 2 runs of 100 each", a.handled(), b.handled())
	}
	for _, want := range []string{"acknowledged/s", "to delivery p99", "b/a"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestInterrupted: the end of the context is an early end with a report.
func TestInterrupted(t *testing.T) {
	b := newFaulty(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.before = func(n int) {
		if n == 500 {
			cancel()
		}
	}
	r, err := trySwarm(t, ctx, "pairs", "-addr", b.addr(), "-n", "2", "-time", "1h", "-warmup", "0s")
	if err != nil || !r.Interrupted || r.Lost != 0 || r.Delivered < 500 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	b := newFaulty(t)
	deaf, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(deaf)
	if err := syscall.Bind(deaf, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil { // nobody listens there, or will
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(deaf)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{fmt.Sprint("pairs -addr 127.0.0.1:", at.(*syscall.SockaddrInet4).Port), "connection refused: is the broker running on"},
		{"pairs -addr 192.0.2.1:1883", "not a loopback address"},
		{"pairs -addr example.org:1883", "not a loopback address"},
		{"pairs -addr 127.0.0.1", "give host:port"},
		{"pairs -mqtt 4", "use 3.1, 3.1.1 or 5"},
		{"pairs -qos 2", "use 0 or 1"},
		{"pairs -size 10", "-size"},
		{"pairs -target kafka", "use mqtt or hwangso"},
		{"offline -window 5", "add -mqtt 5"},
		{"crash -qos 0", "crash needs 1 or 2"},
		{"groups -members 1", "-members at least 2"},
		{"dance", "no workload"},
		{"pairs stray", "are flags"},
		{"compare pairs", "give target@host:port"},
		{"pairs -server-pid 1073741824 -addr " + b.addr(), "no process"},
	} {
		var out, log bytes.Buffer
		err := Main(t.Context(), strings.Fields(c.args), &out, &log)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("swarm %s: %v; want %q", c.args, err, c.want)
		}
	}
	for _, args := range []string{"--help", "pairs --help", "compare --help", "crash -h"} {
		var out, log bytes.Buffer
		if err := Main(t.Context(), strings.Fields(args), &out, &log); err != nil || log.Len() < 200 {
			t.Errorf("swarm %s: %v, %d bytes of help", args, err, log.Len())
		}
	}
}
