package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hwangso/hwangso/examples/chat/client"
)

// TestCrash kills a server with SIGKILL while it is written to, again and again: 10 times, or HWANGSO_CRASH_ROUNDS.
// Every acknowledged message is found, once, in order and without a gap, with QoS 1 and with QoS 2 and several under
// way from each sender.
func TestCrash(t *testing.T) {
	rounds := 10
	if s := os.Getenv("HWANGSO_CRASH_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatalf("HWANGSO_CRASH_ROUNDS: %v", err)
		}
	}
	if testing.Short() {
		rounds = 3
	}
	swarm := buildExample(t, "swarm")
	for _, qos := range []int{1, 2} {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			underLoad(t, swarm, qos, (rounds+2-qos)/2, func(p *process) { p.kill() })
		})
	}
}

// TestStopUnderLoad: SIGTERM while it is written to loses nothing either, and the server ends with 0.
func TestStopUnderLoad(t *testing.T) {
	underLoad(t, buildExample(t, "swarm"), 1, 3, func(p *process) { p.stop() })
}

// underLoad writes to a server that ends at random moments and is started again, and checks what there is.
func underLoad(t *testing.T, swarm string, qos, rounds int, end func(*process)) {
	dir := dataDir(t)
	hwangso(t, "seed", "-users", "16", "-friends", "4", "-password", "pw", "-data", dir)
	addr := freePort(t)
	p := startServer(t, dir, "-mqtt", addr)
	out := filepath.Join(t.TempDir(), "report.json")
	load := exec.Command(swarm, "crash", "-addr", addr, "-target", "hwangso", "-password", "pw", "-n", "6", "-inflight", "8",
		"-qos", strconv.Itoa(qos), "-live", "-time", "24h", "-drain", "30s", "-json", out)
	screen := newScreen()
	load.Stdout, load.Stderr = screen, screen
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- load.Wait(); screen.Close() }()
	t.Cleanup(func() { load.Process.Kill() })
	screen.wait(t, `crash the server now`)
	for range rounds {
		time.Sleep(100*time.Millisecond + rand.N(400*time.Millisecond)) // the moment is the test's only input
		end(p)
		p = startServer(t, dir, "-mqtt", addr)
	}
	time.Sleep(300 * time.Millisecond) // some more is written to the last one
	if err := load.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			t.Fatal(exit, err)
		}
	case <-time.After(2 * patience):
		t.Fatalf("the load does not end:\n%s", screen)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("%v\n%s", err, screen)
	}
	var r struct {
		Crash struct {
			Acknowledged, Found, Lost, Maybe, Resent, Reconnects, Redelivered, Gaps uint64
			StoredTwice                                                             uint64 `json:"stored_twice"`
			OutOfOrder                                                              uint64 `json:"out_of_order"`
			Sequenced                                                               bool
		}
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	c := r.Crash
	t.Logf("%d rounds: %+v", rounds, c)
	if c.Acknowledged == 0 || c.Reconnects == 0 || !c.Sequenced {
		t.Errorf("nothing was tested:\n%s", screen)
	}
	if c.Lost+c.Maybe+c.StoredTwice+c.OutOfOrder+c.Gaps != 0 || c.Found != c.Acknowledged {
		t.Errorf("something is wrong:\n%s", screen)
	}
	p.stop()
	if msg := hwangso(t, "check", "-data", dir); !bytes.Contains([]byte(msg), []byte("All is well")) {
		t.Error(msg)
	}
}

// TestRepeatAcrossCrash: a cid that is sent again after a crash gets the number it had, and the message is there once.
func TestRepeatAcrossCrash(t *testing.T) {
	dir := dataDir(t)
	hwangso(t, "seed", "-users", "4", "-friends", "2", "-password", "pw", "-data", dir)
	addr := freePort(t)
	p := startServer(t, dir, "-mqtt", addr)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := make(chan client.Message, 100)
	open := func(user, id string) *client.Client {
		c, err := client.New(ctx, client.Config{
			Server: "mqtt://" + addr, User: user, Token: "pw", ClientID: id,
			Backoff: 20 * time.Millisecond, Message: func(m client.Message) { got <- m },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(context.Background()) })
		return c
	}
	w := open("u0", "w")
	first := make(map[string]uint64)
	for i := range 5 {
		cid := fmt.Sprintf("cid-%d", i)
		seq, err := w.Send(ctx, "user/u1", "text "+cid, cid)
		if err != nil || seq != uint64(i+1) {
			t.Fatalf("%s: %d, %v", cid, seq, err)
		}
		first[cid] = seq
	}
	p.kill()
	startServer(t, dir, "-mqtt", addr)
	for cid, seq := range first {
		again, err := w.Send(ctx, "user/u1", "text "+cid, cid)
		if err != nil || again != seq {
			t.Errorf("%s got %d, again %d, %v", cid, seq, again, err)
		}
	}
	if seq, err := w.Send(ctx, "user/u1", "new", "new"); err != nil || seq != 6 {
		t.Errorf("a new message after repeats: %d, %v", seq, err)
	}
	seen := make(map[uint64]string)
	for m := range got {
		if m.Conversation != "user/u1" {
			continue // the notice that the device has signed in
		}
		if other, ok := seen[m.Seq]; ok && other != m.CID {
			t.Errorf("#%d is %s and %s", m.Seq, other, m.CID)
		}
		seen[m.Seq] = m.CID
		if m.Seq == 6 {
			break
		}
	}
	for cid, seq := range first {
		if seen[seq] != cid {
			t.Errorf("#%d is %q, not %s", seq, seen[seq], cid)
		}
	}
}
