package webhook

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

const (
	envDir = "WEBHOOK_CRASH_DIR"
	envCA  = "WEBHOOK_CRASH_CA"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled is the program that TestCrash kills: followers write, and events are delivered meanwhile.
func writeUntilKilled(dir string) error {
	st, err := bolt.Open(bolt.Config{Dir: dir, MinFree: -1})
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(os.Getenv(envCA)))
	s, err := New(context.Background(), Config{Store: st, CA: pool, Allow: loopback,
		Pseudonym: func(_ store.LogID, a store.AccountID) string { return fmt.Sprint("p", uint64(a)) }})
	if err != nil {
		return err
	}
	s.Start()
	threads, err := st.Logs(store.LogThread, 0, 0)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		l := threads[i%len(threads)]
		p := st.Append(store.Draft{Log: l.ID, Sender: l.Key.A, Text: []byte("said")})
		<-p.Done()
		r, err := p.Result()
		if err != nil {
			return err
		}
		fmt.Printf("said p%d %d\n", uint64(l.Key.A), r.Seq)
	}
}

// TestCrash kills the process while followers write and events are delivered: what was on disk arrives, in the order of
// each thread, and what arrives again bears the same identifier.
func TestCrash(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.follower(i)
	}
	w.clock.mu.Lock()
	w.clock.at = time.Now().Add(-time.Hour) // before the child's, which is the machine's
	w.clock.mu.Unlock()
	h, _ := w.set(ThreadMessage)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.to.Certificate().Raw}))
	durable := make(map[string]bool)
	for round := range 2 {
		w.ok(w.s.Close())
		w.ok(w.st.Close())
		ctx, cancel := context.WithCancel(t.Context())
		child := exec.CommandContext(ctx, os.Args[0])
		child.Env = append(os.Environ(), envDir+"="+w.dir, envCA+"="+ca)
		out, err := child.StdoutPipe()
		w.ok(err)
		w.ok(child.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			if word, ok := strings.CutPrefix(lines.Text(), "said "); ok {
				durable[word] = true
				if n++; n == 60+40*round {
					w.ok(child.Process.Kill())
				}
			}
		}
		_ = child.Wait() // it was killed
		cancel()
		w.clock.mu.Lock()
		w.clock.at = time.Now()
		w.clock.mu.Unlock()
		w.openStore()
		w.open()
	}
	if len(durable) < 100 {
		t.Fatalf("%d messages were written", len(durable))
	}
	w.s.cfg.Pseudonym = func(_ store.LogID, a store.AccountID) string { return fmt.Sprint("p", uint64(a)) }
	w.s.Start()
	ids := make(map[string]string) // by thread and sequence
	last := make(map[string]float64)
	for missing := len(durable); missing > 0; {
		d := w.to.next()
		thread, seq := fmt.Sprint(d.doc.Data["thread"]), d.doc.Data["seq"].(float64)
		word := fmt.Sprint(thread, " ", seq)
		switch id, again := ids[word]; {
		case again && id != d.doc.ID:
			t.Fatalf("%s came as %s and as %s", word, id, d.doc.ID)
		case again:
			continue
		}
		if seq <= last[thread] {
			t.Fatalf("%s came after %v", word, last[thread])
		}
		ids[word], last[thread] = d.doc.ID, seq
		if durable[word] {
			missing--
		}
	}
	w.await(h.ID, func(h Hook) bool { return h.Waiting == 0 && h.Dropped == 0 })
}
