package cmd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/examples/chat/client"
)

// TestVerdict: the count of the demo finds what it claims not to be there.
func TestVerdict(t *testing.T) {
	all := []client.Message{{CID: "k1-1", Seq: 1}, {CID: "k1-2", Seq: 2}, {CID: "k1-3", Seq: 3}}
	for _, c := range []struct {
		name  string
		found []client.Message
		want  string
	}{
		{"good", all, "✓ 3 acknowledged, 3 found, each once"},
		{"redelivered", append(all[:3:3], all[1]), "✓ 3 acknowledged, 3 found, each once"},
		{"others' messages", append(all[:3:3], client.Message{CID: "k2-1", Seq: 9}, client.Message{Seq: 4}), "✓ 3 acknowledged, 3 found, each once"},
		{"lost", all[:2], "✗ 3 acknowledged, 2 found"},
		{"twice", append(all[:3:3], client.Message{CID: "k1-2", Seq: 4}), "1 stored twice"},
		{"another number", []client.Message{all[0], all[1], {CID: "k1-3", Seq: 4}}, "1 under another number"},
		{"out of order", []client.Message{all[1], all[0], all[2]}, "1 out of order"},
	} {
		y := &tally{round: 1, found: make(map[string][]uint64), grown: make(chan struct{}, 1), acked: map[string]uint64{"k1-1": 1, "k1-2": 2, "k1-3": 3}}
		for _, m := range c.found {
			y.read(m)
		}
		v := y.verdict()
		if !strings.Contains(v, c.want) || strings.HasPrefix(c.want, "✓") != strings.HasPrefix(v, "✓") {
			t.Errorf("%s: %s", c.name, v)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if c.name == "lost" {
			cancel()
		}
		if err := y.wait(ctx); (err != nil) != (c.name == "lost") {
			t.Errorf("%s: wait: %v", c.name, err)
		}
		cancel()
	}
}

// TestDemoFile: what another user could have put there is not believed.
func TestDemoFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if _, err := findDemo(); err != errNoDemo {
		t.Errorf("without a demo: %v", err)
	}
	d := &demonstration{Data: "x", MQTT: "127.0.0.1:1", Tokens: map[string]string{"bob": "secret"}, PID: os.Getpid()}
	forget, err := d.publish()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "hwangso-demo.json")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got, err := findDemo(); err != nil || got.Tokens["bob"] != "secret" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.Chmod(path, 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := findDemo(); err == nil || !strings.Contains(err.Error(), "not trusted") {
		t.Errorf("a file that others can write: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	other := &demonstration{Data: "y", PID: d.PID + 1}
	if _, err := other.publish(); err != nil {
		t.Fatal(err)
	}
	forget()
	if got, err := findDemo(); err != nil || got.Data != "y" {
		t.Errorf("the file of another demo was removed: %v", err)
	}

	// Without a runtime directory: one of our own among the temporary files, or none.
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", t.TempDir())
	path, err = demoFile()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := demoFile(); err == nil {
		t.Error("a directory that others can write is believed")
	}
}

func TestFreeAddress(t *testing.T) {
	a, err := freeAddress("", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", a)
	if err != nil {
		t.Fatal(err)
	}
	b, err := freeAddress("", a) // the usual one is taken
	if err != nil || b == a {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := freeAddress(a, ""); err == nil {
		t.Error("an address that is taken, and was asked for")
	}
	ln.Close()
}

// TestProgress: lines without a terminal, and not more than there is to tell.
func TestProgress(t *testing.T) {
	var b strings.Builder
	p := &progress{w: &b}
	began := time.Now()
	for i := range int64(1001) {
		p.show("users", i, 1000)
	}
	p.clear()
	more := int(time.Since(began) / (5 * time.Second)) // lines, on a machine that is this slow
	if got := b.String(); !strings.HasPrefix(got, "users: 0 of 1000\n") || !strings.HasSuffix(got, "\nusers: 1000 of 1000\n") || strings.Count(got, "\n") > 2+more {
		t.Errorf("%q", got)
	}
	b.Reset()
	p = &progress{w: &b, bar: true}
	p.show("users", 500, 1000)
	p.last = time.Time{}
	p.show("users", 1000, 1000)
	p.clear()
	if got := b.String(); !strings.Contains(got, "[===============               ] 500 of 1000") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("%q", got)
	}
}
